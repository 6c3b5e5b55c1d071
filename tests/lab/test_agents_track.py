# SPDX-License-Identifier: GPL-3.0-or-later
"""track-agent alone in a router: probes, routes, rules, and what stays in the kernel without it."""

import signal
import time

import pytest
from agents_parts import BEYOND, FAR_PRIMARY, FAR_WAN, PRIMARY, WAN, AgentBox
from vpnlab.namespaces import wait_for


@pytest.fixture
def box(request):
    made = AgentBox(["track-agent"], **getattr(request, "param", {}))
    yield made
    made.close()


def primary_stands(box):
    return any("dev prim0" in line for line in box.routes("10.2.0.0/24"))


def tunnel_stands(box):
    return any("dev vsip2" in line for line in box.routes("10.2.0.0/24"))


def guard_stands(box):
    return "unreachable 10.2.0.0/24 proto 56 metric 4294967295" in " ".join(box.routes("10.2.0.0/24"))


def track(box):
    return box.must("track-agent", "GetSnapshot")["tracks"][0]


def cut(box):
    box.far.ip("link", "set", "prim0", "down")
    return time.monotonic()


def test_routes_at_start(box):
    assert guard_stands(box) and primary_stands(box) and tunnel_stands(box)
    assert "src 172.16.0.1" in " ".join(box.routes("10.2.0.0/24", "dev", "vsip2"))
    rules = box.router.ip("rule")
    for rule in (f"from {WAN} lookup 5600", "from 10.255.0.1 lookup 5600", "from 10.255.0.1 unreachable",
                 "oif prim0 lookup 5700", f"from {PRIMARY} to {FAR_PRIMARY} lookup 5700"):
        assert rule in rules
    wan = box.must("track-agent", "GetSnapshot")["wans"][0]
    assert (wan["is_up"], wan["address"], wan["gateway"], wan["mtu"]) == (True, WAN, FAR_WAN, 1500)


def test_route_leaves_and_returns(box):
    wait_for(lambda: track(box)["status"] == "TRACK_UP", 2, "track up")
    started = cut(box)
    wait_for(lambda: not primary_stands(box), 2, "primary route removed")
    took = time.monotonic() - started
    assert took < 1, f"detection took {took:.3f} s with frequency 0.2 s and timeout 0.1 s"
    assert tunnel_stands(box) and guard_stands(box)
    assert track(box)["status"] == "TRACK_DOWN"
    box.far.ip("link", "set", "prim0", "up")
    # with neighbour resolution: the kernel tries a failed neighbour again after a second
    wait_for(lambda: primary_stands(box), 5, "primary route restored")
    assert track(box)["latest_rtt_usec"] > 0


def test_answers_of_another_program_do_not_count(box):
    """A ping of somebody else to the same target, while ours are dropped, keeps nothing up."""
    wait_for(lambda: track(box)["status"] == "TRACK_UP", 2, "track up")
    # our probes carry 36 octets of ICMP: 56 with the IP header
    box.far.nft("table ip noprobe {\nchain in {\ntype filter hook prerouting priority 0; policy accept;\n"
                "icmp type echo-request ip length 56 drop\n}\n}\n")
    box.workspace.start(box.router.command("ping", "-q", "-i", "0.05", "-c", "40", FAR_PRIMARY), "ping.log")
    wait_for(lambda: not primary_stands(box), 2, "primary route removed")
    time.sleep(0.6)
    assert track(box)["status"] == "TRACK_DOWN"


@pytest.mark.parametrize("box", [{"failback": 1.5}], indirect=True)
def test_failback_waits(box):
    wait_for(lambda: track(box)["status"] == "TRACK_UP", 2, "track up")
    cut(box)
    wait_for(lambda: not primary_stands(box), 2, "primary route removed")
    box.far.ip("link", "set", "prim0", "up")
    wait_for(lambda: track(box)["status"] == "TRACK_UP", 5, "track up again")
    up = time.monotonic()
    wait_for(lambda: primary_stands(box), 3, "primary route restored")
    assert 1.2 < time.monotonic() - up < 2.0


def test_tunnel_deleted_ends_at_the_guard(box):
    cut(box)
    wait_for(lambda: not primary_stands(box), 2, "primary route removed")
    box.router.ip("link", "del", "vsip2")
    wait_for(lambda: not tunnel_stands(box), 1, "tunnel route gone")
    assert "unreachable" in box.router.ip("route", "get", BEYOND, check=False) or not box.router.ip(
        "route", "get", BEYOND, check=False)
    assert guard_stands(box)
    # control: without the guard the packet takes the WAN
    box.processes["track-agent"].stop(signal.SIGKILL)
    box.router.ip("route", "del", "unreachable", "10.2.0.0/24", "metric", "4294967295")
    assert f"via {FAR_WAN} dev wan0" in box.router.ip("route", "get", BEYOND)


def test_tunnel_route_returns_with_its_interface(box):
    box.router.ip("link", "del", "vsip2")
    wait_for(lambda: not tunnel_stands(box), 1, "tunnel route gone")
    box.make_tunnel()
    wait_for(lambda: "src 172.16.0.1" in " ".join(box.routes("10.2.0.0/24", "dev", "vsip2")), 1, "tunnel route")


def test_vandalism_is_repaired(box):
    def everything():
        return sorted(box.routes("table", "all", "proto", "56")), box.router.ip("rule")

    before = everything()
    box.router.ip("route", "flush", "proto", "56")
    box.router.ip("route", "flush", "table", "5600")
    for _ in range(2):
        box.router.ip("rule", "del", "priority", "5600")
    wait_for(lambda: everything() == before, 2, "routes and rules repaired")


def standing(box):
    """Our routes and rules; that an interface has no carrier the kernel says of them some time later."""
    return [route.replace("linkdown ", "") for route in box.routes("table", "all", "proto", "56")], box.router.ip("rule")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_death_leaves_everything(box, number):
    cut(box)
    wait_for(lambda: not primary_stands(box), 2, "primary route removed")
    before = standing(box)
    started = time.monotonic()
    box.processes["track-agent"].stop(number)
    assert time.monotonic() - started < 2
    assert standing(box) == before
    # a restart does not bring the primary route back for the time of the first probe
    box.start("track-agent")
    for _ in range(10):
        assert not primary_stands(box)
        time.sleep(0.05)
    assert tunnel_stands(box) and guard_stands(box)


@pytest.mark.parametrize("box", [{"destination": "0.0.0.0/0"}], indirect=True)
def test_probe_and_sip_never_take_the_tunnel(box):
    """With everything routed into the tunnel, and strict reverse path checks on the WAN and the primary."""
    box.router.sysctl(net_ipv4_conf_wan0_rp__filter=1, net_ipv4_conf_prim0_rp__filter=1)
    cut(box)
    wait_for(lambda: "dev vsip2" in box.router.ip("route", "get", "203.0.113.77"), 2, "default route by the tunnel")
    assert "dev wan0" in box.router.ip("route", "get", "203.0.113.77", "from", WAN)
    assert "dev wan0" in box.router.ip("route", "get", "203.0.113.77", "from", "10.255.0.1")
    box.far.ip("link", "set", "prim0", "up")
    wait_for(lambda: track(box)["status"] == "TRACK_UP", 5, "track up: the probe's answer passes the strict filter")
    # the WAN lost: what belongs on it must not leave elsewhere
    box.router.ip("link", "set", "wan0", "down")
    wait_for(lambda: not box.must("track-agent", "GetSnapshot")["wans"][0]["is_up"], 2, "WAN down")
    assert box.router.ip("route", "get", "203.0.113.77", "from", "10.255.0.1", check=False) == ""


def test_rules_follow_the_wan_address(box):
    def wan():
        return box.must("track-agent", "GetSnapshot")["wans"][0]

    box.router.ip("addr", "add", "198.51.100.77/24", "dev", "wan0")
    box.router.ip("addr", "del", f"{WAN}/24", "dev", "wan0")
    box.router.ip("addr", "replace", "198.51.100.77/24", "dev", "wan0")
    wait_for(lambda: wan()["address"] == "198.51.100.77", 2, "the new address")
    assert "from 198.51.100.77 lookup 5600" in box.router.ip("rule") and f"from {WAN} " not in box.router.ip("rule")
    box.router.ip("addr", "flush", "dev", "wan0")
    wait_for(lambda: wan()["cause"] == "the interface has no IPv4 address", 2, "no address")
    box.router.ip("route", "flush", "table", "main", "proto", "boot")
    box.router.batch(f"addr add {WAN}/24 dev wan0\nroute add default via 198.51.100.2 dev wan0\n")
    wait_for(lambda: wan()["gateway"] == "198.51.100.2", 2, "the new gateway")
    assert any("via 198.51.100.2" in line for line in box.routes("table", "5600"))


def test_purge_removes_all(box):
    outcome, cause, _ = box.order("track-agent", "PurgeRoutes", sender="vpnsip")
    assert outcome == "done", cause
    assert box.routes("table", "all", "proto", "56") == []
    assert "proto 56" not in box.router.ip("rule")
    box.router.ip("link", "set", "vsip2", "down")
    box.router.ip("link", "set", "vsip2", "up")
    time.sleep(0.3)
    assert box.routes("table", "all", "proto", "56") == []
