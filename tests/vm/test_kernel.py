# SPDX-License-Identifier: GPL-3.0-or-later
"""What only the kernel back end has to show: its own states, policies and tables, and that they outlive tunnel-agent."""

import json
import re
import signal
import time

import pytest

from vpnlab.namespaces import wait_for
from vpnlab.router import Settings

pytestmark = pytest.mark.slow


def states(router):
    """Lines `src ... dst ...` of ESP states, with their details joined."""
    return [" ".join(part.split()) for part in re.split(r"\n(?=src )", router.space.ip("-s", "xfrm", "state", "list", "nokeys").strip()) if "proto esp" in part]


def policies(router):
    return [line for line in router.space.ip("xfrm", "policy").splitlines() if re.search(r"\bdir (in|out|fwd)\b", line)]


def held(router):
    """Names of the interfaces whose packets are held."""
    objects = json.loads(router.space.run("nft", "-j", "list", "set", "inet", "vpnsip_hold", "held"))["nftables"]
    return next(entry["set"].get("elem", []) for entry in objects if "set" in entry)


def assert_nothing_left(router):
    assert not states(router) and not policies(router)
    assert held(router) == [router.site.tunnel]


def spis(router):
    return sorted(re.search(r"spi (0x[0-9a-f]+)", state).group(1) for state in states(router))


def lost(pings):
    """Ends the pings: how many had no answer."""
    pings.stop(signal.SIGINT)
    sent, received = re.search(r"(\d+) packets transmitted, (\d+) received", pings.log.read_text()).groups()
    return int(sent) - int(received)


def assert_carries(router):
    """The states are the tunnel's, and nothing is held."""
    number = re.search(r"\d+$", router.site.tunnel).group()
    found = states(router)
    assert len(found) == 2 and all(f"if_id 0x{int(number):x}" in state and "espinudp" in state for state in found), found
    assert held(router) == [] and len(policies(router)) == 3
    sas = router.session()["sas"]
    assert {sa["direction"] for sa in sas} == {"inbound", "outbound"} and all(sa["packets"] >= 10 for sa in sas), sas


def test_a_session(make_lab, tell):
    """The first packets are held and none is lost; at a byte limit the kernel tells, IKE makes the next child in time, and no packet is
    lost over it; nothing of the session stays."""
    limit = Settings(ipsec_options=["lifetime-kilobytes = 300"])
    lab = make_lab(a=limit, b=limit)
    for router in lab.routers.values():
        assert "data plane kernel" in router.logs()
        assert_nothing_left(router)
    assert lab.ping(10, interval=0.3, wait=20) == 10
    lab.wait_up()
    for router in lab.routers.values():
        assert_carries(router)
    call, before = lab.a.session()["sip_call_id"], spis(lab.a)
    text = lab.hosts["a"].run("ping", "-n", "-s", 1200, "-c", 400, "-i", 0.06, lab.b.site.host, timeout=40)
    answered = int(re.search(r"(\d+) received", text).group(1))
    after = wait_for(lambda: spis(lab.a) if not set(spis(lab.a)) & set(before) else None, 8, "the first child is gone")
    tell(f"{answered} of 400 answered over new children; SAs {before} -> {after}")
    assert answered == 400
    assert "reached its soft limit" in lab.a.logs() + lab.b.logs()
    assert lab.a.session()["sip_call_id"] == call
    lab.hang_up()
    for router in lab.routers.values():
        assert_nothing_left(router)


def test_killed_tunnel_agent_finds_its_sas_again(make_lab, tell):
    """kill -9 under traffic: what goes out is not touched, what comes in waits for the new start's socket; nobody is told to."""
    lab = make_lab(a=Settings(restart_delay=0.05, idle_time=10), b=Settings(idle_time=10))
    assert lab.ping(1, wait=20) == 1
    lab.wait_up()
    call, before = lab.a.session()["sip_call_id"], spis(lab.a)
    pings = lab.start_ping(interval=0.05)
    time.sleep(2)
    lab.a.processes["tunnel-agent"].signal(signal.SIGKILL)
    wait_for(lambda: lab.a.supervisor.restarts["tunnel-agent"] == 1, 5, "tunnel-agent is started again")
    wait_for(lambda: "SAs of before carry packets on" in lab.a.log("tunnel-agent"), 5, "the SAs are adopted")
    time.sleep(4)
    missing = lost(pings)
    tell(f"{missing} pings of 20 a second were lost to a kill of tunnel-agent")
    assert missing <= 20 * 3  # the aim is a second; this machine is three times slower
    session = lab.a.session()
    assert (session["session_status"], session["sip_call_id"]) == ("SESSION_UP", call)
    assert spis(lab.a) == before, "the same SAs"
    unreachable = [packet for packet in lab.wan["a"].packets() if packet.icmp_type == 3]
    assert not unreachable, "the peer is not told of the missing socket"
    lab.a.wait_status("READY_TO_CONNECT", seconds=12)
    for router in lab.routers.values():
        assert_nothing_left(router)


@pytest.mark.long
def test_leaving_and_purge(make_lab):
    """SIGTERM leaves all to the next start; a purge leaves nothing, not even the interface and the tables."""
    lab = make_lab()
    assert lab.ping(1, wait=20) == 1
    lab.wait_up()
    before = spis(lab.a)
    lab.a.stop(names=["tunnel-agent"])
    assert spis(lab.a) == before and len(policies(lab.a)) == 3
    assert lab.a.space.ip("link", "show", lab.a.site.tunnel)
    lab.a.start_service("tunnel-agent")
    lab.a.wait_up()
    lab.hang_up()
    assert_nothing_left(lab.a)
    lab.may_leak = True  # the guards go too
    lab.a.cli("--yes", "purge")
    assert not lab.a.space.ip("link", "show", "type", "xfrm").strip()
    assert "vpnsip" not in lab.a.space.run("nft", "list", "tables")
    lab.a.stop(names=["tunnel-agent"])
