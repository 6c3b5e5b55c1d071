# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that hosts and routing daemons say on a link by themselves, put on an interface for a while.

Run in a namespace: python3 noise.py INTERFACE SECONDS. None of it may make a resting tunnel place a call.
"""

import errno
import socket
import struct
import sys
import time

IPV4, IPV6 = 0x0800, 0x86DD


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def ipv4(source, destination, protocol, payload, ttl=1):
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0xC0, 20 + len(payload), 0, 0, ttl, protocol, 0,
                         socket.inet_aton(source), socket.inet_aton(destination))
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + payload


def udp(sport, dport, payload):
    return struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload


def icmp(kind, code, payload):
    body = struct.pack("!BBHI", kind, code, 0, 0) + payload
    return body[:2] + struct.pack("!H", checksum(body)) + body[4:]


def ipv6(source, destination, next_header, payload):
    return struct.pack("!IHBB", 6 << 28, len(payload), next_header, 255) + socket.inet_pton(socket.AF_INET6, source) + \
        socket.inet_pton(socket.AF_INET6, destination) + payload


def packets():
    """(name, ethertype, packet) of each kind."""
    own = "172.16.0.1"
    unicast = ipv4("10.2.0.2", "10.1.0.2", 17, udp(9, 9, b"payload"))
    return [
        ("OSPF hello", IPV4, ipv4(own, "224.0.0.5", 89, b"\x02\x01\x00\x2c" + bytes(40))),
        ("EIGRP hello", IPV4, ipv4(own, "224.0.0.10", 88, b"\x02\x05" + bytes(18))),
        ("RIP request", IPV4, ipv4(own, "224.0.0.9", 17, udp(520, 520, b"\x01\x02\0\0" + bytes(20)))),
        ("IGMP report", IPV4, ipv4(own, "224.0.0.22", 2, b"\x22\0\xf9\xfd" + bytes(12))),
        ("mDNS", IPV4, ipv4(own, "224.0.0.251", 17, udp(5353, 5353, bytes(12)), ttl=255)),
        ("multicast of a wider scope", IPV4, ipv4("10.1.0.2", "239.1.2.3", 17, udp(1000, 1000, b"x"), ttl=16)),
        ("broadcast", IPV4, ipv4(own, "255.255.255.255", 17, udp(68, 67, bytes(240)))),
        ("link-local source", IPV4, ipv4("169.254.7.7", "10.2.0.2", 17, udp(1000, 1000, b"x"), ttl=64)),
        ("ICMP error", IPV4, ipv4("10.1.0.2", "10.2.0.2", 1, icmp(3, 3, unicast[:28]), ttl=64)),
        ("router solicitation", IPV6, ipv6("fe80::1", "ff02::2", 58, b"\x85\0\0\0\0\0\0\0")),
        ("MLD report", IPV6, ipv6("fe80::1", "ff02::16", 58, b"\x8f\0\0\0\0\0\0\0")),
        ("IPv6 unicast", IPV6, ipv6("2001:db8::1", "2001:db8::2", 17, udp(1000, 1000, b"x"))),
        ("runt", IPV4, b"\x45\0\0"),
    ]


def say(sender, interface, ethertype, packet):
    """A packet that the tunnel's own rule drops on its way out is said too: the kernel tells a packet socket of the drop."""
    try:
        sender.sendto(packet, (interface, ethertype))
    except OSError as failure:
        if failure.errno != errno.ENOBUFS:
            raise


def main():
    interface, seconds = sys.argv[1], float(sys.argv[2])
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM) as sender:
        end = time.monotonic() + seconds
        sent = 0
        while time.monotonic() < end:
            for _, ethertype, packet in packets():
                say(sender, interface, ethertype, packet)
                sent += 1
            time.sleep(0.5)
    print(sent)


if __name__ == "__main__":
    main()
