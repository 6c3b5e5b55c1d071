# SPDX-License-Identifier: GPL-3.0-or-later
"""Checksums of what the stateless translation has changed, with and without a network card that computes them; and the pace of a slow
line, for a TCP packet of 64 KB passes a shaper as one."""

import json
import socket
import struct
import subprocess
import time
from collections import Counter

import pytest
from esp_pair import TUNNEL, Wire, inside, run

SO_MARK, UDP_SEGMENT = 36, 103
BAD, GOOD, ABSENT = "0", "1", "3"  # tshark's words for a checksum


def checksums(wire):
    """{status: packets} of the UDP checksums from a, of packets that crossed as one datagram each."""
    wire.read()
    text = run(["tshark", "-r", wire.capture.path, "-o", "udp.check_checksum:TRUE", "-Y", "ip.src == 100.64.0.1 && udp",
                "-T", "fields", "-e", "udp.checksum.status"])
    return Counter(text.split())


def transfer(pair, megabytes=4):
    """TCP from a to b; Mbit/s."""
    server = subprocess.Popen(pair.b.space.command("iperf3", "-s", "-1"), stdout=subprocess.DEVNULL)
    time.sleep(0.4)
    text = pair.a.space.run("iperf3", "-J", "-n", f"{megabytes}M", "-c", pair.b.address, timeout=20)
    server.wait(10)
    return json.loads(text)["end"]["sum_received"]["bits_per_second"] / 1e6


def offload(pair, state):
    for side in pair.sides:
        side.space.run("ethtool", "-K", "wan0", "tx", state)
    time.sleep(0.5)  # tunnel-agent looks at its interfaces


@pytest.mark.parametrize("spoil", ["", " udp checksum set 0"], ids=["product", "always-zeroed"])
def test_no_wrong_checksum_without_offload(make, spoil):
    """Through a port without checksum offload: all leave without one, whatever the translation does to those that have one."""
    pair = make(bandwidth=1000000, spoil=spoil)
    offload(pair, "off")
    pair.connect()
    wire = Wire(pair)
    assert transfer(pair) > 1
    found = checksums(wire)
    assert set(found) == {ABSENT} and found[ABSENT] > 1000, found


def send_joined(pair, segment):
    """From the session's mark and place as tunnel-agent sends, but looking at nothing: 3 packets, joined in one message or not."""
    def send():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.setsockopt(socket.SOL_SOCKET, SO_MARK, 7)
            made.setsockopt(socket.SOL_IP, 15, 1)  # IP_FREEBIND
            made.bind((pair.a.source, 4500))
            destination = (pair.b.wan, pair.b.port)
            if segment:
                made.sendmsg([bytes(3000)], [(socket.IPPROTO_UDP, UDP_SEGMENT, struct.pack("H", 1000))], 0, destination)
            else:
                for _ in range(3):
                    made.sendto(bytes(1000), destination)

    inside(pair.a.space, send)


@pytest.mark.parametrize("state, segment, expected", [("off", True, {BAD: 3}), ("off", False, {GOOD: 3})], ids=["joined", "single"])
def test_control_joined_packets_without_offload_are_spoilt(make, state, segment, expected):
    """Why tunnel-agent asks the card first: the kernel has computed the checksums before the translation then, and does not adjust them."""
    pair = make(bandwidth=1000000)
    pair.a.agent.stop()
    pair.b.agent.stop()
    offload(pair, state)
    wire = Wire(pair)
    send_joined(pair, segment)
    time.sleep(0.3)
    assert dict(checksums(wire)) == expected


def test_joined_packets_with_offload_arrive(make):
    """With the card computing: the other end's kernel takes them for sound, before its translation removes the checksum."""
    pair = make(bandwidth=1000000)
    pair.connect()
    pair.b.space.nft('table ip sound {\nchain in {\ntype filter hook prerouting priority -400\niifname "wan0" udp checksum != 0 counter\n}\n}\n')
    assert transfer(pair) > 1
    assert int(pair.b.space.run("nft", "list", "table", "ip", "sound").split("packets ")[1].split()[0]) > 10
    counters = pair.b.space.run("cat", "/proc/net/snmp").splitlines()
    names, values = [line.split() for line in counters if line.startswith("Udp:")]
    assert dict(zip(names, values))["InCsumErrors"] == "0"
    pair.wait_for_news()
    assert pair.a.player.packets("SA_OUTBOUND") == pair.b.player.packets("SA_INBOUND") and pair.b.player.drops() == {}


@pytest.mark.parametrize("is_control", [False, True], ids=["product", "large-packets"])
def test_slow_line_is_paced(make, is_control):
    """TCP of the router itself at 256 kbit/s: after the first burst no 100 ms carry more than the rate and two packets. Control: the
    interface is told that large packets are welcome."""
    pair = make(bandwidth=256)
    segments = json.loads(pair.a.space.ip("-d", "-j", "link", "show", TUNNEL))[0]["gso_max_segs"]
    assert segments == 1
    if is_control:
        pair.a.space.ip("link", "set", TUNNEL, "gso_max_segs", "64")
    pair.a.space.run("tc", "qdisc", "add", "dev", TUNNEL, "root", "handle", "1:", "htb", "default", "1")
    pair.a.space.run("tc", "class", "add", "dev", TUNNEL, "parent", "1:", "classid", "1:1", "htb", "rate", "256kbit", "burst", "1600")
    pair.connect()
    wire = Wire(pair)
    server = subprocess.Popen(pair.b.space.command("iperf3", "-s", "-1"), stdout=subprocess.DEVNULL)
    time.sleep(0.4)
    pair.a.space.run("iperf3", "-t", "3", "-c", pair.b.address, timeout=20)
    server.wait(10)
    sent = [packet for packet in wire.esp(1) if packet.length > 1000]
    begin = sent[0].time + 1
    slots = Counter(int((packet.time - begin) * 10) for packet in sent if packet.time > begin)
    largest = max(slots.values())
    assert (largest > 5) == is_control, slots
