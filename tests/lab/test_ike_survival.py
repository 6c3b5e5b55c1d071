# SPDX-License-Identifier: GPL-3.0-or-later
"""ike-agent and tunnel-agent die or hang under traffic: the call goes on, and afterwards nothing is left of either life."""

import re
import signal
import time

import pytest

from vpnlab.namespaces import SLOWNESS, wait_for
from vpnlab.router import Settings

INTERVAL = 0.1
STOP_SECONDS = 5
SETTLE_SECONDS = 7  # SAs that were replaced still receive for five
# Longer than a stop: the other side of a stopped tunnel-agent sees no payload either.
RESTARTED = {"restart_delay": 0.05, "idle_time": 8}
# What a death may cost. tunnel-agent takes its SAs with it: a second, at ten pings in each; an emulated machine starts it later.
LOST_LIMIT = {"ike-agent": 1, "tunnel-agent": 10 * SLOWNESS}


@pytest.fixture
def running(make_lab):
    """A lab with a session up and ten pings a second through it; every service is restarted when it ends."""
    lab = make_lab(a=Settings(**RESTARTED), b=Settings(**RESTARTED))
    assert lab.ping(1) == 1
    lab.wait_up()
    lab.pings = lab.start_ping(interval=INTERVAL)
    wait_for(lambda: answered(lab.pings) >= 10, 5, "traffic flows")
    return lab


def answers(process):
    """{sequence number: time of the answer}"""
    found = re.findall(r"^\[([\d.]+)\] .*icmp_seq=(\d+) ttl", process.log.read_text(), re.MULTILINE)
    return {int(number): float(when) for when, number in found}


def answered(process):
    return len(answers(process))


def lost(lab):
    """Ends the pings: how many had no answer, and the longest time without one."""
    lab.pings.stop(signal.SIGINT)
    seen = answers(lab.pings)
    times = sorted(seen.values())
    return max(seen) - len(seen), max(after - before for before, after in zip(times, times[1:]))


def kill(lab, service, *sites):
    """Kills the service on these routers at once and waits for the supervisors."""
    routers = [lab.routers[site] for site in sites]
    before = [router.supervisor.restarts[service] for router in routers]
    for router in routers:
        router.processes[service].signal(signal.SIGKILL)
    for router, count in zip(routers, before):
        wait_for(lambda: router.supervisor.restarts[service] > count, 5, f"{service} is started again")


def is_whole(lab):
    """Both sessions up on exactly one child, whose SAs fit together."""
    sessions = [router.session() for router in lab.routers.values()]
    if any(session["status"] != "SESSION_UP" for session in sessions):
        return False
    spis = [{sa["direction"]: sa["spi"] for sa in session["sas"]} for session in sessions]
    return all(len(session["sas"]) == 2 for session in sessions) and spis[0]["inbound"] == spis[1]["outbound"] and \
        spis[1]["inbound"] == spis[0]["outbound"]


def assert_survived(lab, service):
    """Traffic flows on one child; it is the same call; idle ends it."""
    before = answered(lab.pings)
    wait_for(lambda: answered(lab.pings) >= before + 10, 8, "traffic flows again")
    wait_for(lambda: is_whole(lab), SETTLE_SECONDS + 3, "one child, up on both sides", interval=0.2)
    count, gap = lost(lab)
    print(f"{service}: {count} pings lost, {gap:.2f} s without an answer")
    for router in lab.routers.values():
        assert router.session()["attempts"] <= 1, "no second call"
    assert len(lab.carrier.open_dialogs()) == 1
    lab.wait_resting(seconds=18)
    wait_for(lambda: len(lab.carrier.call_records()) == 1, 3, "one call")
    return count


@pytest.mark.slow
@pytest.mark.parametrize("site", ["a", "b"])
@pytest.mark.parametrize("service", LOST_LIMIT)
def test_killed(running, service, site):
    kill(running, service, site)
    assert assert_survived(running, service) <= LOST_LIMIT[service]


@pytest.mark.slow
@pytest.mark.parametrize("service", LOST_LIMIT)
def test_killed_on_both_sides_at_once(running, service):
    kill(running, service, "a", "b")
    assert assert_survived(running, service) <= LOST_LIMIT[service]


@pytest.mark.slow
@pytest.mark.parametrize("site", ["a", "b"])
def test_both_killed_on_one_side(running, site):
    """The keys and the SAs are gone together: a new IKE_SA within the same call brings both."""
    kill(running, "ike-agent", site)
    kill(running, "tunnel-agent", site)
    assert_survived(running, "both")


@pytest.mark.slow
@pytest.mark.parametrize("site", ["a", "b"])
@pytest.mark.parametrize("service", LOST_LIMIT)
def test_stopped_for_a_while(running, service, site):
    process = running.routers[site].processes[service]
    process.signal(signal.SIGSTOP)
    time.sleep(STOP_SECONDS)
    process.signal(signal.SIGCONT)
    count = assert_survived(running, service)
    # packets wait in the interface of a tunnel-agent that stands still
    assert count <= (0 if service == "ike-agent" else STOP_SECONDS / INTERVAL)


@pytest.mark.slow
def test_killed_again_and_again(running):
    """One after the other on changing sides, each within the other's aftermath: nothing accumulates."""
    descriptors = sum(running.open_descriptors().values())
    for service, site in [("ike-agent", "a"), ("tunnel-agent", "b"), ("ike-agent", "b"), ("ike-agent", "a"), ("tunnel-agent", "a")]:
        kill(running, service, site)
        time.sleep(1.5)
    assert_survived(running, "five kills")
    assert sum(running.open_descriptors().values()) <= descriptors + 8
