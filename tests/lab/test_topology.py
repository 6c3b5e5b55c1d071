# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's own parts: what the other tests conclude from must be able to show the opposite."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vpnlab.capture import Capture, classify_wan
from vpnlab.checks import machine_leftovers
from vpnlab.namespaces import LABS, SLOWNESS, Workspace, sweep, wait_for
from vpnlab.topology import CARRIER, A, B, Topology


@pytest.fixture
def wires():
    workspace = Workspace()
    topology = Topology(workspace)
    yield workspace, topology
    workspace.close()
    assert not machine_leftovers(workspace.prefix)


def ping(space, target, count=1):
    return subprocess.run(space.command("ping", "-n", "-c", count, "-i", "0.02", "-W", "0.3", target), stdout=subprocess.DEVNULL).returncode == 0


def test_primary_is_cut_in_the_middle(wires):
    _, topology = wires
    router = topology.routers["a"]
    assert ping(router, B.primary)
    topology.cut_primary()
    assert not ping(router, B.primary)
    assert "LOWER_UP" in router.ip("-br", "link", "show", "prim0"), "the router's own link must not tell"
    topology.restore_primary()
    assert ping(router, B.primary)


def test_without_the_product_packets_leak_and_the_capture_sees_them(wires):
    workspace, topology = wires
    capture = Capture(workspace, topology.net, "wan-a", "wan-a")
    assert ping(topology.routers["a"], CARRIER), "ICMP of the WAN itself is no leak"
    assert not ping(topology.hosts["a"], B.host, 5)
    classes, clear = classify_wan(capture.stop())
    assert classes["icmp"] >= 2 and classes["arp"] >= 2
    assert classes["clear"] == 5 and {packet.src for packet in clear} == {A.host}


def test_udp_outside_a_session_is_clear(wires):
    """Also between the two WAN addresses, and also with the looks of ESP."""
    workspace, topology = wires
    capture = Capture(workspace, topology.net, "wan-a", "wan-a")
    code = f"import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(bytes(range(64)), ('{B.wan}', 50001))"
    topology.routers["a"].run(sys.executable, "-c", code)
    wait_for(lambda: classify_wan(capture.packets())[0]["clear"] == 1, 2, "the clear packet")


def test_labs_stand_side_by_side_and_start_fast(wires):
    start = time.monotonic()
    other = Workspace()
    try:
        topology = Topology(other)
        assert time.monotonic() - start < 2 * SLOWNESS
        assert ping(topology.routers["b"], A.primary) and ping(wires[1].routers["b"], A.primary)
    finally:
        other.close()
    assert not machine_leftovers(other.prefix)


def test_orphan_of_a_killed_owner_is_swept():
    code = ("import sys, time; sys.path.insert(0, sys.argv[1]); from vpnlab.namespaces import Workspace; from vpnlab.topology import Topology; "
            "w = Workspace(); t = Topology(w); w.start(t.net.command('sleep', 1000), 'sleep.log'); print(w.prefix, flush=True); time.sleep(60)")
    owner = subprocess.Popen([sys.executable, "-c", code, Path(__file__).parent], stdout=subprocess.PIPE, text=True)
    prefix = owner.stdout.readline().strip()
    assert machine_leftovers(prefix)
    sweep()
    assert machine_leftovers(prefix), "a living owner's lab is not touched"
    os.kill(owner.pid, signal.SIGKILL)
    owner.wait()
    wait_for(lambda: sweep() or not (LABS / prefix).exists(), 5, "the sweep")
    assert not machine_leftovers(prefix) and not (LABS / prefix).exists()
