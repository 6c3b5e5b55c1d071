# SPDX-License-Identifier: GPL-3.0-or-later
"""No clear packet leaves by the backup WAN, whatever dies. Every capture is classified packet by packet."""

import signal
import sys
import time

import pytest

from vpnlab.capture import Capture, classify_wan
from vpnlab.router import Settings
from vpnlab.topology import A, B


def clear_packets(lab, since):
    return [packet for packet in classify_wan(lab.wan["a"].packets())[1] if packet.time >= since]


def forwarded(capture, since):
    """Echo requests that host A sent after that moment: the traffic that could leak."""
    return [packet for packet in capture.packets() if packet.icmp_type == 8 and packet.time >= since]


def test_tunnel_deleted_under_traffic(lab):
    lan = Capture(lab.workspace, lab.hosts["a"], "eth0", "host-a")
    ping = lab.start_ping(0.01)
    lab.wait_up()
    moment = time.time()
    lab.a.space.ip("link", "del", A.tunnel)
    time.sleep(2)
    ping.stop(signal.SIGINT)
    assert len(forwarded(lan, moment)) > 20
    assert not clear_packets(lab, 0)


def test_services_stopped_under_traffic(lab):
    lan = Capture(lab.workspace, lab.hosts["a"], "eth0", "host-a")
    ping = lab.start_ping(0.01)
    lab.wait_up()
    moment = time.time()
    assert set(lab.a.stop(signal.SIGTERM).values()) == {0}
    time.sleep(1.5)
    ping.stop(signal.SIGINT)
    assert len(forwarded(lan, moment)) > 20
    assert not clear_packets(lab, 0)


def delete_routes(space):
    """The guard in the routing table: our unreachable routes."""
    for line in space.ip("route", "show", "table", "main", "proto", "56").splitlines():
        if line.startswith("unreachable"):
            space.ip("route", "del", *line.split())


def delete_filter(space):
    """The guard in the filter: the drop of forwarded packets, with the whole table."""
    space.run("nft", "delete", "table", "ip", "vpnsip")


def kill_and_watch(lab, lan, *removals):
    """Kills A's six processes under traffic; then takes the given guards away. Returns (sent, clear) afterwards."""
    ping = lab.start_ping(0.01)
    lab.wait_up()
    moment = time.time()
    lab.a.stop(signal.SIGKILL)
    # on the kernel data plane it outlives the processes, and goes on encrypting
    lab.a.space.ip("link", "del", A.tunnel, check=False)
    time.sleep(1)
    assert not clear_packets(lab, 0), "with both guards"
    for remove in removals:
        remove(lab.a.space)
    moment = time.time()
    time.sleep(1)
    ping.stop(signal.SIGINT)
    return len(forwarded(lan, moment)), len(clear_packets(lab, moment))


def test_six_processes_killed_under_traffic(lab):
    lan = Capture(lab.workspace, lab.hosts["a"], "eth0", "host-a")
    sent, clear = kill_and_watch(lab, lan)
    assert sent > 20 and clear == 0


def test_each_guard_is_enough_alone_and_without_both_it_leaks(make_lab):
    """The control: only with both guards removed are clear packets seen, so the other runs could have seen them."""
    for removals, leaks in ([delete_routes], False), ([delete_filter], False), ([delete_routes, delete_filter], True):
        lab = make_lab()
        lab.may_leak = leaks
        lan = Capture(lab.workspace, lab.hosts["a"], "eth0", "host-a")
        sent, clear = kill_and_watch(lab, lan, *removals)
        assert sent > 20
        assert (clear > 0) == leaks, f"{clear} clear packets without {[remove.__name__ for remove in removals]}"


@pytest.mark.parametrize("removals", [[], [delete_filter]], ids=["guarded", "control"])
def test_everything_through_the_tunnel_and_killed(make_lab, removals):
    """0.0.0.0/0: beside the WAN's own default route only the filter stands; without it, it leaks."""
    lab = make_lab(a=Settings(destination="0.0.0.0/0"), b=Settings(destination="0.0.0.0/0"))
    lab.may_leak = bool(removals)
    lan = Capture(lab.workspace, lab.hosts["a"], "eth0", "host-a")
    sent, clear = kill_and_watch(lab, lan, *removals)
    assert sent > 20
    assert (clear > 0) == bool(removals)


def test_tunnel_source_never_leaves_untranslated(lab):
    """Whatever uses the tunnel-source address outside a session ends in the router, also on the session's port."""
    send = ("import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1); "
            f"s.bind(('{A.tunnel_source}', 0)); [s.sendto(b'payload', ('{B.wan}', port)) for port in (4500, 50000, 50001)]")
    lab.a.space.run(sys.executable, "-c", send, check=False)
    lab.a.space.run("ping", "-c", "2", "-i", "0.2", "-W", "0.3", "-I", A.tunnel_source, B.wan, check=False)
    time.sleep(0.2)
    assert not clear_packets(lab, 0)
