# SPDX-License-Identifier: GPL-3.0-or-later
"""Somebody takes away what nat-qos-agent and track-agent keep in the kernel; and both are killed under traffic."""

import re
import signal
import statistics
import time

import pytest
from agents_parts import FAR_WAN, WAN, AgentBox
from vpnlab.namespaces import wait_for

KILLS = 20
MARK, PORT = 2, 50007


@pytest.fixture
def box():
    made = AgentBox(["track-agent", "nat-qos-agent"])
    yield made
    made.close()


def session(box, attempt=3):
    """A translation and a shaper as of a running session. Returns the session port."""
    port = box.must("nat-qos-agent", "ReservePort", tunnel="vsip2", attempt=attempt)["port"]
    box.must("nat-qos-agent", "InstallTranslation", tunnel="vsip2", attempt=attempt, if_id=MARK, wan_address=WAN, port=port,
             remote={"address": FAR_WAN, "port": PORT}, peer_source="SOURCE_EXACT")
    box.must("nat-qos-agent", "InstallShaper", tunnel="vsip2", attempt=attempt, rate_kbit=512, overhead_byte=73)
    return port


def rules(box):
    """The tables without the state of counters."""
    return re.sub(r"packets \d+ bytes \d+", "", box.router.run("nft", "-s", "list", "ruleset"))


def qdiscs(box):
    return box.router.run("tc", "qdisc", "show", "dev", "vsip2") + re.sub(r"sent .*", "", box.router.run("tc", "-d", "class", "show", "dev", "vsip2"))


def routing(box):
    return sorted(box.routes("table", "all", "proto", "56")), sorted(box.router.ip("rule").splitlines())


NAT_QOS = {
    "table": ("nft delete table ip vpnsip", "table vpnsip deleted by nft"),
    "table-ipv6": ("nft delete table ip6 vpnsip", "table vpnsip deleted by nft"),
    "everything": ("nft flush ruleset", "table vpnsip deleted by nft"),
    "chain": ("nft flush chain ip vpnsip forward", "rule of forward deleted by nft"),
    "element": (f"nft delete element ip vpnsip session_mark {{ {WAN} . PORT : {MARK} }}", "element of session_mark deleted by nft"),
    "qdisc": ("tc qdisc del dev vsip2 root", "the shaper of 512 kbit/s was gone"),
    "class-rate": ("tc class change dev vsip2 classid 5649:1 htb rate 64kbit", "the shaper of 512 kbit/s was gone"),
}


@pytest.mark.parametrize("name", NAT_QOS)
def test_firewall_and_shaper_are_restored(box, name):
    command, said = NAT_QOS[name]
    port = session(box)
    before = rules(box), qdiscs(box)
    if name == "element":
        (element,) = re.findall(rf"map session_mark.*?elements = {{ ([^}}]*?) }}", before[0], re.DOTALL) or [None]
        command = f"nft delete element ip vpnsip session_mark {{ {element} }}"
    if name == "class-rate":
        (classid,) = re.findall(r"class htb (5649:\S+)", before[1])[:1]
        command = f"tc class change dev vsip2 parent 5649: classid {classid} htb rate 64kbit"
    box.router.run(*command.split())
    # what was said proves that something was away, however quickly it is back
    wait_for(lambda: said in box.log("nat-qos-agent") and (rules(box), qdiscs(box)) == before, 1, f"{name} restored")
    snapshot = box.must("nat-qos-agent", "GetSnapshot")
    assert snapshot["translations"][0]["wan"]["port"] == port


ROUTING = {
    "route": "ip route del table 5600 default",
    "rule": "ip rule del priority 5600",
    "guard": "ip route del unreachable 10.2.0.0/24 metric 4294967295",
    "all-routes": "ip route flush proto 56 table all",
}


@pytest.mark.parametrize("name", ROUTING)
def test_routes_and_rules_are_restored(box, name):
    wait_for(lambda: "unreachable" in " ".join(box.routes("10.2.0.0/24")), 2, "the guard")
    time.sleep(0.3)
    before = routing(box)
    box.router.run(*ROUTING[name].split())
    wait_for(lambda: routing(box) == before and "was missing: installed again" in box.log("track-agent"), 1, f"{name} restored")


def test_nothing_is_restored_without_the_agent(box):
    """The control of the tests above."""
    wait_for(lambda: "unreachable" in " ".join(box.routes("10.2.0.0/24")), 2, "the guard")
    session(box)
    for name in ("nat-qos-agent", "track-agent"):
        box.processes[name].stop(signal.SIGKILL)
    box.router.run("tc", "qdisc", "del", "dev", "vsip2", "root")
    box.router.run("nft", "delete", "table", "ip", "vpnsip")
    box.router.run("ip", "rule", "del", "priority", "5600")
    time.sleep(1.5)
    assert "table ip vpnsip" not in rules(box) and "5649:" not in qdiscs(box)
    box.start("nat-qos-agent")
    box.start("track-agent")
    wait_for(lambda: "table ip vpnsip" in rules(box), 1, "a start mends too")
    assert "5600:" in box.router.ip("rule")


def test_route_of_nobody_is_removed(box):
    box.router.ip("route", "add", "10.77.0.0/24", "dev", "prim0", "proto", "56")
    wait_for(lambda: not box.routes("10.77.0.0/24"), 1, "a route of ours that nothing wants")
    assert "was left over: removed" in box.log("track-agent")
    box.router.ip("route", "add", "10.78.0.0/24", "dev", "prim0")
    time.sleep(0.5)
    assert box.routes("10.78.0.0/24"), "others' routes are never touched"


def test_stale_and_repeated_orders(box):
    """A lower attempt is refused and changes nothing, a repetition changes nothing."""
    port = session(box, attempt=5)
    before = rules(box), qdiscs(box)
    outcome, cause, _ = box.order("nat-qos-agent", "InstallTranslation", tunnel="vsip2", attempt=4, if_id=MARK, wan_address=WAN,
                                  port=port, remote={"address": FAR_WAN, "port": PORT}, peer_source="SOURCE_EXACT")
    assert outcome != "done" and cause
    outcome, _, _ = box.order("nat-qos-agent", "InstallShaper", tunnel="vsip2", attempt=4, rate_kbit=64, overhead_byte=73)
    assert outcome != "done"
    box.must("nat-qos-agent", "RemoveTranslation", tunnel="vsip2", attempt=4)
    box.must("nat-qos-agent", "RemoveShaper", tunnel="vsip2", attempt=4)
    box.must("nat-qos-agent", "InstallTranslation", tunnel="vsip2", attempt=5, if_id=MARK, wan_address=WAN, port=port,
             remote={"address": FAR_WAN, "port": PORT}, peer_source="SOURCE_EXACT")
    box.must("nat-qos-agent", "InstallShaper", tunnel="vsip2", attempt=5, rate_kbit=512, overhead_byte=73)
    assert (rules(box), qdiscs(box)) == before


def lost_packets(lab, seconds, work):
    """Pings 10 a second while work() runs; returns how many were not answered."""
    count = int(seconds * 10)
    pinging = lab.hosts["a"].command("ping", "-n", "-q", "-i", "0.1", "-c", str(count), "-W", "2", lab.b.site.host)
    process = lab.workspace.start(pinging, "ping-under-kill")
    time.sleep(0.35)
    work()
    process.end(seconds + 10)
    sent, received = map(int, re.findall(r"(\d+) packets transmitted, (\d+) received", process.log.read_text())[-1])
    return sent - received


@pytest.mark.slow
@pytest.mark.parametrize("service", ["nat-qos-agent", "track-agent"])
def test_no_packet_is_lost_by_a_kill(lab, service):
    assert lab.ping(3) == 3
    lab.wait_up()
    lost = []
    for _ in range(KILLS):
        def kill():
            lab.a.stop(signal.SIGKILL, [service])
            lab.a.start_service(service)

        lost.append(lost_packets(lab, 1.5, kill))
    print(f"{service}: {KILLS} kills at 10 pings/s, lost: median {statistics.median(lost)}, max {max(lost)}")
    assert lab.a.status() == "SESSION_UP"
    assert statistics.median(lost) == 0 and max(lost) == 0, lost
