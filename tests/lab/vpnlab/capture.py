# SPDX-License-Identifier: GPL-3.0-or-later
"""Packet captures: tcpdump writes, this module reads every packet; tshark gives a second opinion.

Reading here is plain Ethernet/IPv4/IPv6/UDP/TCP/ICMP, enough to give each packet of a WAN a class.
"""

import ipaddress
import re
import signal
import struct
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from .namespaces import run, wait_for

ARP, IPV4, IPV6 = 0x0806, 0x0800, 0x86DD
ICMP, IGMP, TCP, UDP, ICMPV6 = 1, 2, 6, 17, 58


@dataclass
class Packet:
    """One frame. Ports are 0 without UDP or TCP; `payload` is what follows the UDP, TCP or ICMP header."""

    time: float
    ethertype: int
    src: str = ""
    dst: str = ""
    protocol: int = 0
    sport: int = 0
    dport: int = 0
    tos: int = 0
    identification: int = 0
    fragment: bool = False
    length: int = 0
    icmp_type: int = -1
    udp_checksum: int = 0
    payload: bytes = b""

    @property
    def is_sip(self):
        return self.protocol in (UDP, TCP) and 5060 in (self.sport, self.dport)

    @property
    def is_ike(self):
        """With the non-ESP marker of RFC 3948: four zero octets, then an IKE header of version 2."""
        return self.protocol == UDP and self.payload[:4] == b"\0\0\0\0" and self.payload[21:22] == b"\x20"

    @property
    def is_keepalive(self):
        return self.protocol == UDP and self.payload == b"\xff"

    @property
    def is_esp(self):
        return self.protocol == UDP and not self.is_sip and len(self.payload) >= 28 and self.payload[:4] != b"\0\0\0\0"

    @property
    def spi(self):
        return int.from_bytes(self.payload[:4], "big")

    @property
    def sequence(self):
        return int.from_bytes(self.payload[4:8], "big")

    @property
    def echo(self):
        """(identifier, sequence) of an ICMP echo request or reply."""
        return struct.unpack("!HH", self.payload[:4])

    def __str__(self):
        where = f"{self.src}:{self.sport} -> {self.dst}:{self.dport}" if self.sport else f"{self.src} -> {self.dst}"
        return f"{self.time:.6f} type {self.ethertype:#06x} {where} protocol {self.protocol} length {self.length}"


def read_packets(path):
    """Every packet of a pcap file; a last record that is still being written is left out."""
    return read_packets_from(path, 0)[0]


def read_packets_from(path, offset):
    """(packets, offset to go on from) of a pcap file; 0 is its beginning."""
    with open(path, "rb") as file:
        head = file.read(24)
        offset = max(offset, 24)
        file.seek(offset)
        data = file.read()
    if len(head) < 24:
        return [], 0
    order = "<" if head[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1") else ">"
    fraction = 1e-9 if head[:4] in (b"\x4d\x3c\xb2\xa1", b"\xa1\xb2\x3c\x4d") else 1e-6
    header = struct.Struct(order + "IIII")
    packets, place = [], 0
    while place + 16 <= len(data):
        seconds, part, captured, _ = header.unpack_from(data, place)
        frame = data[place + 16:place + 16 + captured]
        if len(frame) < captured:
            break
        packets.append(parse_frame(seconds + part * fraction, frame))
        place += 16 + captured
    return packets, offset + place


def parse_frame(when, frame):
    ethertype = int.from_bytes(frame[12:14], "big")
    packet = Packet(when, ethertype, length=len(frame))
    if ethertype == IPV4 and len(frame) >= 34:
        ip = frame[14:]
        size = (ip[0] & 15) * 4
        total = int.from_bytes(ip[2:4], "big")
        flags = int.from_bytes(ip[6:8], "big")
        packet.tos, packet.protocol = ip[1], ip[9]
        packet.identification = int.from_bytes(ip[4:6], "big")
        packet.fragment = bool(flags & 0x3FFF)
        packet.src, packet.dst = (str(ipaddress.IPv4Address(part)) for part in (ip[12:16], ip[16:20]))
        if not flags & 0x1FFF:
            _parse_transport(packet, ip[size:total])
    elif ethertype == IPV6 and len(frame) >= 54:
        ip = frame[14:]
        packet.protocol = ip[6]
        packet.src, packet.dst = (str(ipaddress.IPv6Address(part)) for part in (ip[8:24], ip[24:40]))
        body = ip[40:]
        if packet.protocol == 0 and len(body) >= 8:
            packet.protocol, body = body[0], body[(body[1] + 1) * 8:]
        _parse_transport(packet, body)
    return packet


def _parse_transport(packet, body):
    if packet.protocol in (UDP, TCP) and len(body) >= 8:
        packet.sport, packet.dport = struct.unpack("!HH", body[:4])
        if packet.protocol == UDP:
            packet.udp_checksum = int.from_bytes(body[6:8], "big")
            packet.payload = body[8:]
        else:
            packet.payload = body[(body[12] >> 4) * 4:] if len(body) >= 20 else b""
    elif packet.protocol in (ICMP, ICMPV6) and len(body) >= 8:
        packet.icmp_type = body[0]
        packet.payload = body[4:]


class Capture:
    """tcpdump on one interface, from construction to stop()."""

    def __init__(self, workspace, space, interface, name):
        self.path = workspace.dir / f"{name}.pcap"
        self.log = workspace.dir / f"{name}.tcpdump"
        self.offset = 0
        self.process = workspace.start(
            space.command("tcpdump", "-i", interface, "-n", "-s", "10000", "-U", "--immediate-mode", "-B", "32768", "-Z", "root",
                          "-w", self.path), f"{name}.tcpdump")
        wait_for(lambda: "listening on" in self.log.read_text(), 5, f"tcpdump on {interface}", interval=0.005)

    def _counts(self):
        """The newest (captured, received by filter, dropped by kernel) that tcpdump has told; it tells on SIGUSR1 and at its end."""
        told = re.findall(r"(\d+) packets? captured\D+(\d+) packets? received by filter\D+(\d+) packets? dropped by kernel",
                          self.log.read_text())
        return tuple(map(int, told[-1])) if told else None

    def _catch_up(self, seconds):
        """Waits until tcpdump has written every packet that the kernel has given it; on a busy machine it lags behind. The counts then."""
        end = time.monotonic() + seconds
        while self.process.running() and time.monotonic() < end:
            told = self.log.stat().st_size
            self.process.signal(signal.SIGUSR1)
            while self.log.stat().st_size == told and self.process.running() and time.monotonic() < end:
                time.sleep(0.002)
            time.sleep(0.002)  # the line is written in parts
            counts = self._counts()
            if counts and counts[0] + counts[2] == counts[1]:
                break
        return self._counts()

    def packets(self):
        """What has been captured until now."""
        self._catch_up(1)
        return read_packets(self.path)

    def fresh(self):
        """What has been captured since the last call of this."""
        self._catch_up(1)
        packets, self.offset = read_packets_from(self.path, self.offset)
        return packets

    def stop(self):
        """Ends the capture and returns its packets; fails when one is missing."""
        received = self._catch_up(5)[1]
        self.process.stop(signal.SIGINT)
        captured, _, dropped = self._counts()  # what came after the order to stop may be missing
        assert captured >= received and not dropped, f"the capture is not whole: {self.log.read_text()[-300:]}"
        return read_packets(self.path)

    def dissect(self, condition, *fields):
        """tshark's view, as a second opinion: one tuple of fields per packet that fits its display filter."""
        argv = ["tshark", "-n", "-r", self.path, "-d", "udp.port==50000-50999,udpencap", "-Y", condition, "-T", "fields",
                "-E", "separator=/t", "-E", "occurrence=f"]
        for field in fields or ("frame.number",):
            argv += ["-e", field]
        return [tuple(line.split("\t")) for line in run(argv, timeout=60).splitlines()]


@dataclass(frozen=True)
class SipMessage:
    """One SIP message as it was on the wire; header names in lower case, the first value of each."""

    time: float
    src: str
    dst: str
    start_line: str
    headers: dict
    body: bytes

    @property
    def method(self):
        """The method of a request, or of the transaction that a response belongs to."""
        return self.headers.get("cseq", " ").split()[-1]

    @property
    def status(self):
        """0 for a request."""
        return int(self.start_line.split()[1]) if self.start_line.startswith("SIP/2.0") else 0

    @property
    def call_id(self):
        return self.headers.get("call-id", "")

    @property
    def sdp_lines(self):
        return self.body.decode().split("\r\n")[:-1]


COMPACT = {"i": "call-id", "v": "via", "f": "from", "t": "to", "m": "contact", "l": "content-length", "c": "content-type"}


def sip_messages(packets):
    """The SIP messages of a capture in order; TCP streams are joined by arrival (labs lose no segment)."""
    messages, streams = [], {}
    for packet in packets:
        if not packet.is_sip or not packet.payload:
            continue
        if packet.protocol == UDP:
            message, _ = _parse_sip(packet, packet.payload)
            if message:
                messages.append(message)
            continue
        key = (packet.src, packet.sport, packet.dst, packet.dport)
        data = streams.get(key, b"") + packet.payload
        while True:
            data = data.lstrip(b"\r\n")
            message, used = _parse_sip(packet, data)
            if not message:
                break
            messages.append(message)
            data = data[used:]
        streams[key] = data
    return messages


def _parse_sip(packet, data):
    """(message, octets used), or (None, 0) when the message is not whole."""
    head, separator, rest = data.partition(b"\r\n\r\n")
    if not separator:
        return None, 0
    lines = head.decode("utf-8", "replace").split("\r\n")
    headers = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        name = name.strip().lower()
        headers.setdefault(COMPACT.get(name, name), value.strip())
    size = int(headers.get("content-length", len(rest)))
    if len(rest) < size:
        return None, 0
    return SipMessage(packet.time, packet.src, packet.dst, lines[0], headers, rest[:size]), len(head) + 4 + size


def wan_class(packet, wan, carrier, session_ports):
    """The class of one packet on a backup WAN. "clear" is what must never be seen there.

    `wan` is the WAN's network, `session_ports` a set of {(address, port), (address, port)} pairs.
    """
    if packet.ethertype == ARP:
        return "arp"
    if packet.ethertype == IPV6:
        local = ipaddress.ip_address(packet.src).is_link_local or packet.src == "::"
        return "icmp" if local and packet.protocol == ICMPV6 else "clear"
    if packet.ethertype != IPV4:
        return "clear"
    own = ipaddress.ip_address(packet.src) in wan and ipaddress.ip_address(packet.dst) in wan
    if packet.protocol == IGMP or (packet.protocol == ICMP and own):
        return "icmp"
    if packet.protocol == UDP and {packet.sport, packet.dport} == {67, 68}:
        return "dhcp"
    if not own:
        return "clear"
    if packet.is_sip and carrier in (packet.src, packet.dst):
        return "sip"
    if packet.protocol in (UDP, TCP) and 53 in (packet.sport, packet.dport):
        return "dns"
    if packet.protocol == UDP and frozenset([(packet.src, packet.sport), (packet.dst, packet.dport)]) in session_ports:
        return "esp" if packet.is_esp else "ike" if packet.is_ike or packet.is_keepalive else "clear"
    return "clear"


def classify_wan(packets, wan="198.51.100.0/24", carrier="198.51.100.5", pairs=None):
    """(Counter of classes, list of the clear packets). Session ports are those of the capture's own SDP, unless given."""
    network = ipaddress.ip_network(wan)
    pairs = session_port_pairs(packets) if pairs is None else pairs
    classes, clear = Counter(), []
    for packet in packets:
        name = wan_class(packet, network, carrier, pairs)
        classes[name] += 1
        if name == "clear":
            clear.append(packet)
    return classes, clear


def sdp_endpoint(message):
    """(address, port) of the IKE media in a message's SDP, or None."""
    address = port = None
    for line in message.sdp_lines if message.body else []:
        if line.startswith("c=IN IP4 "):
            address = line[9:]
        elif line.startswith("m=application "):
            port = int(line.split()[1])
    return (address, port) if address and port else None


def session_port_pairs(packets):
    """{frozenset of both ends} for every offer/answer pair of one Call-ID in the capture."""
    offers, pairs = {}, set()
    for message in sip_messages(packets):
        end = sdp_endpoint(message)
        if end and message.method == "INVITE" and message.status == 0:
            offers[message.call_id] = end
        elif end and message.method == "INVITE" and 200 <= message.status < 300 and message.call_id in offers:
            pairs.add(frozenset([offers[message.call_id], end]))
    return pairs
