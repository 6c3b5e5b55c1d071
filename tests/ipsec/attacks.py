# SPDX-License-Identifier: GPL-3.0-or-later
"""What an attacker on the WAN's segment does with IKE and ESP that he has overheard: sends it again, changed or not, from the right
addresses."""

import re
import socket
import time
from pathlib import Path

from agents_parts import inside
from attacker import Attacker
from vpnlab.capture import Capture
from vpnlab.noise import ipv4, udp
from vpnlab.topology import A, B

IKE_HEADER = 4  # behind the non-ESP marker
SA_INIT, AUTH, CREATE_CHILD, INFORMATIONAL = 34, 35, 36, 37
LONGEST = 1400  # a raw socket does not fragment
WANS = {A.wan, B.wan}


def exchange(packet):
    return packet.payload[IKE_HEADER + 18]


def is_request(packet):
    return not packet.payload[IKE_HEADER + 19] & 0x20


def session_packets(lab, kind):
    """The IKE ("is_ike") or ESP ("is_esp") packets between the two routers, as captured until now."""
    return [packet for packet in lab.wan["a"].packets() if getattr(packet, kind) and {packet.src, packet.dst} == WANS]


class IpsecAttacker(Attacker):
    """Sends at full speed, with anybody's address."""

    def __init__(self, lab):
        super().__init__(lab)
        self.raw = inside(self.space, lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW))

    def resend(self, packet, payload=None, sport=None):
        """A captured packet once more, with another payload or source port if given."""
        datagram = udp(sport or packet.sport, packet.dport, packet.payload if payload is None else payload)
        self.raw.sendto(ipv4(packet.src, packet.dst, socket.IPPROTO_UDP, datagram, ttl=64), (packet.dst, 0))

    def close(self):
        for each in (self.raw, *self.sockets):
            each.close()


class Pace:
    """Keeps a sender at so many packets a second, in bursts that a socket's buffer holds."""

    def __init__(self, per_second, burst=20):
        self.per_second, self.burst = per_second, burst
        self.sent, self.began = 0, time.monotonic()

    def step(self):
        self.sent += 1
        if self.sent % self.burst == 0:
            time.sleep(max(0, self.began + self.sent / self.per_second - time.monotonic()))


def hosts_captures(lab):
    """{address of a host: capture there}: what arrives came through a tunnel."""
    return {site.host: Capture(lab.workspace, lab.hosts[site.name], "eth0", f"host-{site.name}") for site in (A, B)}


def delivered(captures):
    """ICMP echoes that arrived, at all hosts together."""
    return sum(packet.icmp_type in (0, 8) and packet.dst == host for host, capture in captures.items() for packet in capture.packets())


def drops(router, *reasons):
    """The tunnel's counters of these reasons, told once a second; all of them without a name."""
    time.sleep(1.5)
    (found,) = [each for each in router.show("interface")["interfaces"] if each["interface"] == router.site.tunnel]
    return sum(count for reason, count in found["drops"].items() if not reasons or reason in reasons)


def resident_kbyte(router):
    """{service: kB} of the two that packets of strangers reach."""
    return {name: int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{router.processes[name].pid}/status").read_text())[1])
            for name in ("ike-agent", "tunnel-agent")}


class Mutator:
    """Changes packets so that much of them still makes sense. `draw` is a random generator."""

    def __init__(self, draw, payloads):
        self.draw, self.payloads = draw, payloads

    def one(self):
        """(index of the packet, its changed payload)"""
        draw = self.draw
        index = draw.randrange(len(self.payloads))
        octets = bytearray(self.payloads[index])
        for _ in range(draw.choice((1, 1, 1, 2, 4))):
            draw.choice((self._flip, self._flip, self._overwrite, self._cut, self._extend, self._splice, self._field))(octets)
        return index, bytes(octets[:LONGEST])

    def _flip(self, octets):
        for _ in range(self.draw.choice((1, 1, 2, 8)) if octets else 0):
            octets[self.draw.randrange(len(octets))] ^= 1 << self.draw.randrange(8)

    def _overwrite(self, octets):
        if octets:
            place = self.draw.randrange(len(octets))
            count = min(self.draw.choice((1, 2, 4, 8)), len(octets) - place)
            octets[place:place + count] = self.draw.choice((bytes(count), b"\xff" * count, self.draw.randbytes(count)))

    def _cut(self, octets):
        del octets[self.draw.randrange(len(octets) + 1):]

    def _extend(self, octets):
        octets += self.draw.randbytes(self.draw.choice((1, 3, 16, 200, 1000)))

    def _splice(self, octets):
        other = self.draw.choice(self.payloads)
        place = self.draw.randrange(min(len(octets), len(other)) + 1)
        octets[place:] = other[place:]

    def _field(self, octets):
        """IKE's own: a new initiator SPI (so that it is no retransmission), exchange, flags, message id, lengths of header or payloads."""
        if len(octets) < IKE_HEADER + 32 or octets[:4] != bytes(4):
            return
        place, count = self.draw.choice(((0, 8), (0, 8), (0, 8), (8, 8), (16, 1), (17, 1), (18, 1), (19, 1), (20, 4), (24, 4), (28, 1), (30, 2)))
        place += IKE_HEADER
        octets[place:place + count] = self.draw.randbytes(count)

