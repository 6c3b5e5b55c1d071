# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes messages.json: which messages each service sends and receives in each state, from recorded sessions of both routers."""

import time

import matrix
from drive import Bench, StateLog
from vpnlab.namespaces import wait_for

ROLES = {"caller": "a", "callee": "b"}
SESSIONS = 4  # what comes only in some of them would often be waited for in vain
UP_SECONDS = 4  # long enough for what comes once a second or as traffic's counters


def subscribers(router):
    """{service: [services that hear its events]}, as `show services` tells it of each bus."""
    found = {}
    for service in router.show("services")["services"]:
        for peer in service["peers"]:
            if peer["snapshots"]:
                found.setdefault(peer["name"], []).append(service["name"])
    return found


def record(bench, act):
    """Both routers' monitors while act() runs from rest to rest: {role: messages}."""
    lab = bench.lab
    monitors = {role: lab.workspace.start(lab.routers[name].cli_command("monitor", "--json"), f"monitor-{role}-{time.monotonic_ns()}.json")
                for role, name in ROLES.items()}
    for monitor in monitors.values():
        wait_for(lambda: monitor.log.read_text().count(" is up") == len(matrix.SERVICES), 8, "the monitor's connections")
    time.sleep(0.5)
    act()
    time.sleep(1)
    for monitor in monitors.values():
        monitor.stop()
    return {role: matrix.entries(monitor.log.read_text().splitlines()) for role, monitor in monitors.items()}


def session(lab):
    """Rings, comes up, carries traffic, is hung up."""
    lab.carrier.switch("ring", "1")
    lab.ping(UP_SECONDS * 10, interval=0.1)
    lab.wait_up()
    lab.hang_up()
    lab.carrier.switch("ring", None)


def failing_call(lab):
    """Is rejected, waits its hold-down; then the packet that is still held calls again."""
    lab.carrier.switch("reject", "503")
    states = StateLog(lab.a)
    lab.ping(1, wait=1)
    states.wait("HOLDDOWN")
    lab.carrier.switch("reject", None)
    lab.wait_up()
    lab.hang_up()


def learn_sessions(bench, act, states, hearers):
    """The messages of some sessions in these {role: states}; only those that came in each of them."""
    runs = []
    for _ in range(SESSIONS):
        recorded = record(bench, lambda: act(bench.lab))
        ended_at = matrix.end_of_session(recorded["caller"])
        runs.append({(*list(vars(message).values())[:-1],): message for role in states
                     for message in matrix.learn(role, recorded[role], ended_at, hearers[role]) if message.state in states[role]})
    return [message for key, message in runs[0].items() if all(key in run for run in runs)]


def learn():
    bench = Bench()
    try:
        hearers = {role: subscribers(bench.lab.routers[name]) for role, name in ROLES.items()}
        found = learn_sessions(bench, session, matrix.STATES, hearers)
        found += learn_sessions(bench, failing_call, {"caller": ["HOLDDOWN"]}, hearers)
    finally:
        bench.close()
    matrix.write(found)
    print(f"{len(found)} messages in {matrix.MESSAGES}")
    return 0
