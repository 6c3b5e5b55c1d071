# SPDX-License-Identifier: GPL-3.0-or-later
"""A path narrower than the WAN: the tunnel learns it from the router that says so, from nobody else, and tells the senders inside.
Controls: without its messages large packets stay unanswered and TCP stands still; a message that quotes what was sent is believed."""

import json
import socket
import struct
import subprocess
import time

import pytest
from esp_pair import TUNNEL, Wire, headers, inside
from vpnlab.namespaces import wait_for
from vpnlab.router import Settings
from vpnlab.topology import A, B

PATH_MTU = 1400
NARROW = 1326  # what fits into it with any suite that may be agreed on
MINIMUM = 576
ROUTER = "100.64.0.9"
DEAF = "table ip deaf {\nchain in {\ntype filter hook prerouting priority -400\niifname wan0 icmp type destination-unreachable counter drop\n}\n}\n"


def ping(side, size, *options, target=None):
    """Of a packet of `size` octets in all (over IPv6 20 more)."""
    done = subprocess.run(side.space.command("ping", "-c", "1", "-W", "1", "-s", str(size - 28), *options, target or side.other_address),
                          capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def learn(pair, size=1400):
    """A first large packet from either end, which is lost, and what comes of it."""
    for side in pair.sides:
        assert " 0 received" in ping(side, size, "-M", "do")
        side.player.wait(lambda state: state["path_mtu"] < 1500, 2, "the path's MTU")


def transfer(pair, address, *options, seconds=3):
    """Octets that arrive over TCP from a to b."""
    server = subprocess.Popen(pair.b.space.command("iperf3", "-s", "-1"), stdout=subprocess.DEVNULL)
    time.sleep(0.4)
    done = subprocess.run(pair.a.space.command("timeout", str(seconds + 2), "iperf3", "-J", "-t", str(seconds), "-c", address, *options),
                          capture_output=True, text=True, check=False)
    server.kill()
    server.wait()
    try:
        return json.loads(done.stdout)["end"]["sum_received"]["bytes"]
    except (KeyError, ValueError):
        return 0


def add_ipv6(pair):
    for side in pair.sides:
        side.space.batch(f"addr add fd00::{side.number}/128 dev lo nodad\nroute add fd00::{3 - side.number}/128 dev {TUNNEL} src fd00::{side.number}\n")


@pytest.mark.parametrize("profile", ["", "df-bit = set", "fragmentation = after"], ids=["copy", "set", "after"])
def test_path_is_learnt_and_told(make, profile):
    pair = make(profile, path_mtu=PATH_MTU)
    pair.connect()
    learn(pair)
    assert pair.a.player.state["path_mtu"] == PATH_MTU and pair.a.player.state["mtu"] == NARROW
    text = ping(pair.a, 1400, "-M", "do")
    assert f"mtu={NARROW}" in text or f"mtu = {NARROW}" in text, text
    wire = Wire(pair)
    assert " 1 received" in ping(pair.a, NARROW, "-M", "do")
    assert " 1 received" in ping(pair.a, 1400, "-M", "dont")
    assert len(wire.esp(1)) == 3 and max(packet.length - 14 for packet in wire.esp(1)) <= PATH_MTU
    assert not any(offset for _, offset in headers(wire.capture.path))


def test_a_host_behind_the_router_is_told(make):
    """IPv4 and IPv6 of somebody else, who has routers of its own before it: the MTU of the tunnel, from this end of it."""
    pair = make(path_mtu=PATH_MTU, peer="dual-overlay = true")
    pair.connect()
    add_ipv6(pair)
    host = pair.workspace.namespace("host")
    pair.a.space.run("ip", "netns", "add", host.name)
    pair.a.space.run("ip", "link", "add", "lan0", "type", "veth", "peer", "name", "eth0", "netns", host.name)
    pair.a.space.batch("addr add 10.1.0.1/24 dev lan0\naddr add fd01::1/64 dev lan0 nodad\nlink set lan0 up\n")
    host.batch("addr add 10.1.0.2/24 dev eth0\naddr add fd01::2/64 dev eth0 nodad\nlink set eth0 up\n"
               "route add default via 10.1.0.1\nroute add default via fd01::1\n")
    pair.a.space.sysctl(net_ipv6_conf_all_forwarding=1)
    pair.b.space.batch(f"route add 10.1.0.0/24 dev {TUNNEL}\nroute add fd01::/64 dev {TUNNEL}\n")
    learn(pair)
    for target, size in (("10.254.0.2", 1400), ("fd00::2", 1380)):
        text = subprocess.run(host.command("ping", "-c", "2", "-i", "0.2", "-W", "1", "-M", "do", "-s", str(size - 28), target),
                              capture_output=True, text=True, check=False).stdout
        assert str(NARROW) in text and "mtu" in text.lower(), text
        text = subprocess.run(host.command("ping", "-c", "1", "-W", "1", "-s", str(size - 28), target), capture_output=True, text=True, check=False).stdout
        assert " 1 received" in text, text  # its kernel cuts it by what it was told


@pytest.mark.parametrize("address", ["10.254.0.2", "fd00::2"], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("is_deaf", [False, True], ids=["product", "control"])
def test_tcp_passes(make, address, is_deaf):
    pair = make(path_mtu=PATH_MTU, peer="dual-overlay = true", bandwidth=100000)
    for side in pair.sides:
        side.space.sysctl(net_ipv4_tcp__mtu__probing=0)
        if is_deaf:
            side.space.nft(DEAF)
    pair.connect()
    add_ipv6(pair)
    delivered = transfer(pair, address)
    if is_deaf:
        assert delivered < 10000
        assert " 0 received" in ping(pair.a, 1400, "-M", "do") and pair.a.player.state["path_mtu"] == 1500
    else:
        assert delivered > 1e6
        assert pair.a.player.state["path_mtu"] == PATH_MTU


def test_ipv6_keeps_its_minimum(make):
    """On a path that takes less than any IPv6 link the ESP packet is fragmented; the interface keeps IPv6."""
    pair = make(path_mtu=1000, peer="dual-overlay = true")
    for side in pair.sides:  # as the product's table does: the kernel puts fragments together then
        side.space.nft("table ip track {\nchain in {\ntype filter hook prerouting priority mangle\nct state invalid accept\n}\n}\n")
    pair.connect()
    add_ipv6(pair)
    learn(pair)
    assert pair.a.player.state["mtu"] == 1280 and pair.a.player.state["path_mtu"] == 1000
    wire = Wire(pair)
    assert " 1 received" in ping(pair.a, 1260, "-M", "do", target="fd00::2")
    assert any(offset & 0x1FFF for _, offset in headers(wire.read() and wire.capture.path))
    text = ping(pair.a, 1280, "-M", "do")
    assert "mtu = 926" in text or "mtu=926" in text, text  # IPv4 is told the truth, by tunnel-agent itself


def forge(pair, esp, mtu, source=ROUTER):
    """The router's message about a packet that began with `esp`; told to a as the WAN would carry it."""
    udp = struct.pack("!HHHH", pair.a.port, pair.b.port, 1400, 0) + esp
    quoted = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 1480, 1, 0x4000, 60, 17, 0, socket.inet_aton(pair.a.wan), socket.inet_aton(pair.b.wan)) + udp
    message = bytearray(struct.pack("!BBHHH", 3, 4, 0, 0, mtu) + quoted)
    total = sum(struct.unpack(f"!{len(message) // 2}H", message))
    total = (total & 0xFFFF) + (total >> 16)
    message[2:4] = struct.pack("!H", ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF)
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 0, 0, 0, 64, 1, 0, socket.inet_aton(source), socket.inet_aton(pair.a.wan))

    def send():
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as made:
            made.sendto(header + message, (pair.a.wan, 0))

    inside(pair.b.space, send)


def test_forged_reports(make):
    """Who does not see the packets guesses SPI and number in vain, and is counted by what was wrong. Control: with both the MTU is taken,
    but never below the minimum, and what is small goes on."""
    pair = make()
    pair.connect()
    spi = 4096 + pair.attempt
    assert pair.a.ping(20, interval=0.01) == 20
    guesses = [(spi + 1, 20), (spi, 21), (spi, 0), (spi, 70000), (spi, 0xFFFFFFFF), (8192 + pair.attempt, 1)]
    for guess in guesses:
        forge(pair, struct.pack("!II", *guess), 68)
    forge(pair, bytes(8), 68)
    forge(pair, struct.pack("!II", spi, 10), 1480)
    time.sleep(0.3)
    pair.a.ping()
    pair.wait_for_news()
    assert pair.a.player.state["path_mtu"] == 1500
    drops = pair.a.player.drops()
    assert (drops["path-report-spi"], drops["path-report-sequence"], drops["path-report-size"]) == (3, 4, 1)
    log = (pair.workspace.dir / "a.log").read_text()
    assert f"tunnel.guard.reject class=path-report src={ROUTER} tunnel={TUNNEL} cause=path-report-spi mtu=576 count=1" in log
    assert log.count("class=path-report") < 4, "told at a pace"
    assert " 1 received" in ping(pair.a, 1400, "-M", "do")
    forge(pair, struct.pack("!II", spi, 10), 68)
    pair.a.player.wait(lambda state: state["path_mtu"] == MINIMUM, 2, "the minimum")
    assert pair.a.player.state["mtu"] == 494
    assert " 1 received" in ping(pair.a, 1400, "-M", "dont")
    assert pair.a.ping(3) == 3
    pair.clear()
    pair.a.player.wait(lambda state: state["path_mtu"] == 1500, 2, "the WAN's MTU for the next session")


def test_a_flood_of_reports_costs_little(make):
    """They are heard at a pace: traffic goes on, and the processor time is bounded."""
    pair = make(tunnels=20)
    pair.connect()
    esp = struct.pack("!II", 0x12345678, 1)

    def cpu_seconds():
        fields = open(f"/proc/{pair.a.agent.pid}/stat").read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / 100

    forge(pair, esp, 600)
    before = cpu_seconds()
    quoted = pair.b.space.command("timeout", "10", "python3", "-c", FLOOD, pair.a.wan, pair.b.wan)
    flood = subprocess.Popen(quoted, stdout=subprocess.PIPE, text=True)
    answered = pair.a.ping(20, interval=0.1)
    sent = int(flood.communicate()[0])
    assert sent > 3000 and answered == 20  # a tenth of it is heard
    assert cpu_seconds() - before < 0.5
    pair.wait_for_news()
    assert pair.a.player.state["path_mtu"] == 1500


FLOOD = """
import socket, struct, sys, time
own, other = (socket.inet_aton(each) for each in sys.argv[1:3])
quoted = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 1480, 1, 0x4000, 60, 17, 0, own, other) + struct.pack("!HHHHII", 50001, 50002, 1400, 0, 1, 1)
message = bytearray(struct.pack("!BBHHH", 3, 4, 0, 0, 600) + quoted)
total = sum(struct.unpack(f"!{len(message) // 2}H", message))
total = (total & 0xFFFF) + (total >> 16)
message[2:4] = struct.pack("!H", ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF)
made = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
sent, end = 0, time.monotonic() + 2.5
while time.monotonic() < end:
    for _ in range(50):
        sent += made.sendto(message, (sys.argv[1], 0)) > 0
    time.sleep(0.005)
print(sent)
"""


def narrow_the_backup_wan(lab):
    """The routers reach each other through the gateway alone, which forwards no larger packets."""
    net = lab.topology.net
    net.run("bridge", "link", "set", "dev", "wan-a", "isolated", "on")
    net.run("bridge", "link", "set", "dev", "wan-b", "isolated", "on")
    net.sysctl(net_ipv4_conf_wan_proxy__arp__pvlan=1, net_ipv4_conf_wan_send__redirects=0, net_ipv4_conf_all_send__redirects=0)
    for site in (A, B):
        net.ip("route", "replace", f"{site.wan}/32", "dev", "wan", "mtu", "lock", PATH_MTU)
        lab.topology.routers[site.name].ip("neigh", "flush", "dev", "wan0")


def test_routers_of_a_call(make_lab):
    """The whole product: its firewall lets the message in, and it shows the path."""
    lab = make_lab(a=Settings(), b=Settings())
    narrow_the_backup_wan(lab)
    assert lab.ping(2) == 2
    lab.wait_up()
    host = lab.hosts["a"]
    large = ["ping", "-c", "1", "-W", "1", "-s", "1350", B.host]
    assert " 0 received" in host.run(*large, "-M", "do", check=False)
    assert " 0 received" in lab.hosts["b"].run(*large[:-1], A.host, "-M", "do", check=False)
    for router in lab.routers.values():
        wait_for(lambda router=router: f"path mtu {PATH_MTU}," in router.cli("show", "crypto", "ipsec", "sa"), 3, "path mtu")
    text = host.run(*large, "-M", "do", check=False)
    assert "Frag needed" in text and f"mtu = {NARROW}" in text, text
    assert " 1 received" in host.run(*large, "-M", "dont", check=False)
    assert f"the path takes {PATH_MTU} octets: MTU {NARROW}" in lab.a.log("tunnel-agent")
    lab.hang_up()
