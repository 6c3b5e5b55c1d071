# SPDX-License-Identifier: GPL-3.0-or-later
"""A man in the middle of a cable: forwards every frame between two interfaces and rewrites the SIP in it.

Run in a namespace: python3 mitm.py NEAR FAR PATTERN REPLACEMENT [PATTERN REPLACEMENT...]; the patterns are regular expressions on
whole SIP messages over UDP.
"""

import re
import selectors
import socket
import struct
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "lab"))

from vpnlab.noise import checksum  # noqa: E402

ETHERNET, IPV4, UDP = 14, b"\x08\x00", 17
SOL_PACKET, PACKET_IGNORE_OUTGOING = 263, 23


def rewrite(frame, rules):
    header = (frame[ETHERNET] & 15) * 4 if len(frame) > ETHERNET + 28 else 0
    if frame[12:14] != IPV4 or header == 0 or frame[ETHERNET + 9] != UDP:
        return frame
    start = ETHERNET + header
    ports = struct.unpack("!HH", frame[start:start + 4])
    size = struct.unpack("!H", frame[start + 4:start + 6])[0]
    if 5060 not in ports:
        return frame
    message = frame[start + 8:start + size]
    head, _, body = message.partition(b"\r\n\r\n")
    changed = body
    for pattern, replacement in rules:
        changed = re.sub(pattern, replacement, changed)
    if changed == body:
        return frame
    print("rewritten", head.split(b"\r\n")[0].decode(), flush=True)
    head = re.sub(rb"(?im)^(Content-Length|l):[^\r\n]*", b"Content-Length: %d" % len(changed), head)
    payload = head + b"\r\n\r\n" + changed
    packet = bytearray(frame[ETHERNET:start])
    packet[2:4] = struct.pack("!H", header + 8 + len(payload))
    packet[10:12] = b"\0\0"
    packet[10:12] = struct.pack("!H", checksum(bytes(packet)))
    # without a UDP checksum, as IPv4 allows
    return frame[:ETHERNET] + bytes(packet) + struct.pack("!HHHH", *ports, 8 + len(payload), 0) + payload


def open_link(interface):
    link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    link.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    link.bind((interface, 0))
    return link


def main():
    near, far = open_link(sys.argv[1]), open_link(sys.argv[2])
    words = [word.encode() for word in sys.argv[3:]]
    rules = list(zip(words[::2], words[1::2]))
    selector = selectors.DefaultSelector()
    selector.register(near, selectors.EVENT_READ, far)
    selector.register(far, selectors.EVENT_READ, near)
    print("forwarding", flush=True)
    while True:
        for key, _ in selector.select():
            key.data.send(rewrite(key.fileobj.recv(65536), rules))


if __name__ == "__main__":
    main()
