# SPDX-License-Identifier: GPL-3.0-or-later
"""nat-qos-agent alone in a router: translation by mark, the guards, the shaper. Each guard with a control run without it."""

import shutil
import signal
import time

import pytest
from agents_parts import BEYOND, FAR_WAN, TUNNEL_SOURCE, WAN, AgentBox, drain, receive
from vpnlab.namespaces import wait_for

MARK = 2
REMOTE_PORT = 50007
OVERHEAD = 73


@pytest.fixture
def box(request):
    made = AgentBox(["track-agent", "nat-qos-agent"], **getattr(request, "param", {}))
    # BEYOND is reached by the tunnel alone
    made.far.ip("link", "set", "prim0", "down")
    yield made
    made.close()


def reserve(box, attempt=1):
    return box.must("nat-qos-agent", "ReservePort", tunnel="vsip2", attempt=attempt)["port"]


def translate(box, attempt=1, source="SOURCE_EXACT"):
    port = reserve(box, attempt)
    box.must("nat-qos-agent", "InstallTranslation", tunnel="vsip2", attempt=attempt, if_id=MARK, wan_address=WAN, port=port,
             remote={"address": FAR_WAN, "port": REMOTE_PORT}, peer_source=source)
    return port


def purge(box):
    outcome, cause, _ = box.order("nat-qos-agent", "PurgeFirewall", sender="vpnsip")
    assert outcome == "done", cause


def exchange(box, port, size=200, checksum=False):
    """One packet in and its answer out; what each end saw."""
    inner = box.udp(box.router, TUNNEL_SOURCE, 4500, mark=MARK, checksum=False)
    outer = box.udp(box.far, FAR_WAN, REMOTE_PORT, checksum=checksum)
    outer.sendto(b"x" * size, (WAN, port))
    came = receive(inner)
    if came:
        inner.sendto(came[0], came[1])
    back = receive(outer)
    inner.close()
    outer.close()
    return came, back


@pytest.mark.parametrize("checksum", [False, True])
@pytest.mark.parametrize("offload", ["on", "off"])
@pytest.mark.parametrize("size", [1, 1400, 8000])
def test_translation_both_ways(box, checksum, offload, size):
    for space in (box.router, box.far):
        space.run("ethtool", "-K", "wan0", "tx", offload)
    port = translate(box)
    came, back = exchange(box, port, size, checksum)
    assert came == (b"x" * size, (FAR_WAN, REMOTE_PORT), MARK)
    assert back and back[:2] == (b"x" * size, (WAN, port))
    counters = box.counters()
    assert (counters["session-in"], counters["session-out"]) == (1, 1)
    assert box.router.run("sh", "-c", "cat /proc/net/nf_conntrack 2>/dev/null | grep -c dport=4500 || true").strip() in ("", "0")


@pytest.mark.parametrize("strict", [0, 1])
def test_translation_with_reverse_path_filter(box, strict):
    box.router.sysctl(net_ipv4_conf_wan0_rp__filter=strict)
    came, back = exchange(box, translate(box))
    assert came and back


def test_checksum_of_a_socket_that_computes_one(box):
    """The control of SO_NO_CHECK: through a port without offload, a computed checksum does not survive as a wrong one either."""
    box.router.run("ethtool", "-K", "wan0", "tx", "off")
    port = translate(box)
    inner = box.udp(box.router, TUNNEL_SOURCE, 4500, mark=MARK, checksum=True)
    outer = box.udp(box.far, FAR_WAN, REMOTE_PORT)
    outer.sendto(b"x", (WAN, port))
    came = receive(inner)
    inner.sendto(b"y", came[1])
    assert receive(outer)


def test_nothing_answers_without_a_session(box):
    outer = box.udp(box.far, FAR_WAN, REMOTE_PORT)
    outer.connect((WAN, 50123))
    outer.send(b"x")
    assert receive(outer) is None
    assert box.counters()["untranslated-in"] == 1
    # control: without the table the kernel tells everybody that the port is closed
    purge(box)
    with pytest.raises(ConnectionRefusedError):
        outer.send(b"x")
        receive(outer)


def test_removed_translation_is_gone(box):
    port = translate(box)
    assert all(exchange(box, port))
    box.must("nat-qos-agent", "RemoveTranslation", tunnel="vsip2", attempt=1)
    assert exchange(box, port) == (None, None)
    assert "elements = { 0x" not in box.router.run("nft", "list", "table", "ip", "vpnsip")
    assert box.must("nat-qos-agent", "GetSnapshot")["translations"] == []
    box.must("nat-qos-agent", "RemoveTranslation", tunnel="vsip2", attempt=1)


@pytest.mark.parametrize("source, passes", [
    ("SOURCE_EXACT", {"peer": True, "other port": False, "other address": False}),
    ("SOURCE_ADDRESS", {"peer": True, "other port": True, "other address": False}),
    ("SOURCE_ANY", {"peer": True, "other port": True, "other address": True}),
])
def test_who_may_send(box, source, passes):
    port = translate(box, source=source)
    inner = box.udp(box.router, TUNNEL_SOURCE, 4500)
    senders = {"peer": (FAR_WAN, REMOTE_PORT), "other port": (FAR_WAN, 40000), "other address": ("198.51.100.2", REMOTE_PORT)}
    for name, address in senders.items():
        box.udp(box.far, *address).sendto(name.encode(), (WAN, port))
        came = receive(inner)
        assert (came is not None) == passes[name], name
    assert box.counters()["wrong-peer-in"] == list(passes.values()).count(False)


def test_tunnel_source_is_not_reached_directly(box):
    translate(box)
    box.far.ip("route", "add", TUNNEL_SOURCE, "via", WAN)
    inner = box.udp(box.router, TUNNEL_SOURCE, 4500)
    outer = box.udp(box.far, FAR_WAN, REMOTE_PORT)
    outer.sendto(b"x", (TUNNEL_SOURCE, 4500))
    assert receive(inner) is None
    assert box.counters()["direct-in"] == 1
    purge(box)
    outer.sendto(b"x", (TUNNEL_SOURCE, 4500))
    assert receive(inner), "control: without the table it arrives"


def test_nothing_leaves_untranslated(box):
    port = translate(box)
    box.count("count", f"ip saddr {TUNNEL_SOURCE}")
    # no mark, the mark of no session, and a port that is not tunnel-agent's: the sender is told (EPERM)
    for local, mark in ((4500, 0), (4500, 3), (4501, 0), (4501, MARK)):
        inner = box.udp(box.router, TUNNEL_SOURCE, local, mark=mark)
        with pytest.raises(PermissionError):
            inner.sendto(b"x", (FAR_WAN, REMOTE_PORT))
        inner.close()
    # a port of the tunnel source without a program: its ICMP error stays here too
    box.udp(box.far, FAR_WAN, REMOTE_PORT).sendto(b"x", (WAN, port))
    time.sleep(0.2)
    assert box.seen("count") == 0
    assert box.counters()["untranslated-out"] == 5
    purge(box)
    box.udp(box.router, TUNNEL_SOURCE, 4500, mark=3).sendto(b"x", (FAR_WAN, REMOTE_PORT))
    time.sleep(0.2)
    assert box.seen("count") > 0, "control: without the table it leaves"


def ping_from_host(box, address):
    box.host.run("ping", "-c", "1", "-W", "1", address, check=False)


@pytest.mark.parametrize("box", [{"exclusive": "true"}, {"exclusive": "false"}], indirect=True)
def test_nothing_is_forwarded_over_an_exclusive_wan(box, request):
    box.count("count", "ip saddr 10.1.0.0/24")
    ping_from_host(box, "203.0.113.1")
    counters = box.counters()
    if "exclusive = false" in (box.workspace.dir / "vpnsip.conf").read_text().replace("wan-exclusive", "exclusive"):
        assert box.seen("count") == 1 and counters["forward-out"] == 0
        return
    assert box.seen("count") == 0 and counters["forward-out"] == 1
    box.far.run("ping", "-c", "1", "-W", "1", "10.1.0.2", check=False)
    assert box.counters()["forward-in"] == 1
    # killed: the kernel goes on; purged: it leaks
    box.processes["nat-qos-agent"].stop(signal.SIGKILL)
    ping_from_host(box, "203.0.113.1")
    assert box.seen("count") == 0
    box.router.nft("delete table ip vpnsip\n")
    ping_from_host(box, "203.0.113.1")
    assert box.seen("count") == 1, "control: without the table it leaves"


def test_nothing_is_forwarded_by_ipv6_either(box):
    for space in (box.router, box.far, box.host):
        space.sysctl(net_ipv6_conf_all_disable__ipv6=0, net_ipv6_conf_default_disable__ipv6=0)
    box.router.sysctl(net_ipv6_conf_all_forwarding=1)
    box.router.batch("addr add fd01::1/64 dev lan0 nodad\naddr add fd99::10/64 dev wan0 nodad\n")
    box.far.batch("addr add fd99::1/64 dev wan0 nodad\nroute add fd01::/64 via fd99::10\n")
    box.host.batch("addr add fd01::2/64 dev eth0 nodad\nroute add default via fd01::1\n")

    def reaches():
        return ", 0% packet loss" in box.host.run("ping", "-6", "-c", "2", "-i", "0.2", "-W", "1", "fd99::1", check=False)

    assert not reaches()
    box.processes["nat-qos-agent"].stop(signal.SIGKILL)
    assert not reaches()
    box.router.run("nft", "delete", "table", "ip6", "vpnsip")
    assert reaches(), "control: without the table it does"


def test_flushed_rules_return_with_their_sessions(box):
    port = translate(box)
    box.router.run("nft", "flush", "ruleset")
    wait_for(lambda: "session_mark" in box.router.run("nft", "list", "ruleset"), 2, "the table")
    assert all(exchange(box, port))
    box.router.run("nft", "flush", "chain", "ip", "vpnsip", "forward")
    wait_for(lambda: "forward-out" in box.router.run("nft", "list", "chain", "ip", "vpnsip", "forward"), 2, "the chain")
    box.router.run("nft", "delete", "table", "ip6", "vpnsip")
    wait_for(lambda: "ip6 vpnsip" in box.router.run("nft", "list", "ruleset"), 2, "the table of IPv6")


def test_own_changes_are_known_in_a_container(box):
    """In a PID namespace the kernel names us by another process id: our own change must not look like somebody's."""
    box.processes["nat-qos-agent"].stop()
    box.start("nat-qos-agent", ["unshare", "--pid", "--fork", "--kill-child"])
    port = translate(box)
    assert all(exchange(box, port))
    time.sleep(0.5)
    assert "made anew" not in box.log("nat-qos-agent")
    box.router.nft("flush chain ip vpnsip forward\n")
    wait_for(lambda: "made anew" in box.log("nat-qos-agent"), 2, "control: another program's change is seen")
    # unshare passes no signal on: with it the service is killed
    box.processes["nat-qos-agent"].stop(signal.SIGKILL)


@pytest.mark.parametrize("name", ["nat-qos-agent", "tunnel-agent"])
def test_a_change_is_judged_by_its_table(box, tmp_path, name):
    """Not by the name of its process, which may be one of ours."""
    nft = tmp_path / name
    nft.symlink_to(shutil.which("nft"))
    box.router.run(nft, "add", "table", "ip", "other")
    translate(box)
    time.sleep(0.3)
    assert "made anew" not in box.log("nat-qos-agent")
    box.router.run(nft, "flush", "chain", "ip", "vpnsip", "forward")
    wait_for(lambda: f"rule of forward deleted by {name}: it is made anew" in box.log("nat-qos-agent"), 2, "the change is seen")


def test_later_attempt_takes_the_place(box):
    first = translate(box, 1)
    second = translate(box, 2)
    assert first != second
    assert all(exchange(box, second))
    assert exchange(box, first) == (None, None)
    outcome, cause, _ = box.order("nat-qos-agent", "ReservePort", tunnel="vsip2", attempt=1)
    assert outcome == "failed" and "later attempt" in cause
    box.must("nat-qos-agent", "RemoveTranslation", tunnel="vsip2", attempt=1)
    assert all(exchange(box, second))


@pytest.mark.parametrize("commands, refused", [
    (["qdisc add dev vsip2 root tbf rate 1mbit burst 5kb latency 50ms"], "foreign qdisc tbf 8"),
    (["qdisc add dev vsip2 root handle 7: htb"], "foreign qdisc htb 7:"),
    (["qdisc add dev vsip2 clsact", "filter add dev vsip2 egress protocol ip u32 match u32 0 0 flowid 1:1"], "foreign qdisc clsact"),
    (["qdisc add dev vsip2 clsact"], None),
    ([], None),
])
def test_foreign_qdisc_is_refused(box, commands, refused):
    for command in commands:
        box.router.run("tc", *command.split())
    outcome, cause, reply = box.order("nat-qos-agent", "ReservePort", tunnel="vsip2", attempt=1)
    if refused:
        assert outcome == "failed" and reply["kind"] == "REALITY" and f"tunnel vsip2 has a {refused}" in cause
        assert box.must("nat-qos-agent", "GetSnapshot")["reserved_ports"] == 0
    else:
        assert outcome == "done", cause


def test_missing_tunnel_is_refused(box):
    box.router.ip("link", "del", "vsip2")
    outcome, cause, _ = box.order("nat-qos-agent", "ReservePort", tunnel="vsip2", attempt=1)
    assert outcome == "failed" and "vsip2 does not exist" in cause


def shape(box, rate, attempt=1):
    box.must("nat-qos-agent", "InstallShaper", tunnel="vsip2", attempt=attempt, rate_kbit=rate, overhead_byte=OVERHEAD)


def outer_kbit(box, tun, size, seconds, offered_kbit):
    """What leaves through the tunnel while more is offered, in outer bytes."""
    sender = box.udp(box.router, "172.16.0.1", 0)
    sender.setblocking(False)
    packets, end = [], time.monotonic() + seconds
    pause = size * 8 / offered_kbit / 1000
    while time.monotonic() < end:
        try:
            sender.sendto(b"x" * size, (BEYOND, 9))
        except BlockingIOError:
            pass
        packets += drain(tun, pause)
    # the first packets found a full bucket, the last gap is not over
    packets = [(when, octets) for when, octets in packets if when > packets[0][0] + 0.2]
    octets = sum(len(octets) + OVERHEAD for _, octets in packets[1:])
    return octets * 8 / 1000 / (packets[-1][0] - packets[0][0])


@pytest.mark.parametrize("rate, size, seconds", [(1000, 1300, 4), (1000, 100, 4), (128, 500, 6), (64, 200, 6)])
def test_shaper_holds_the_rate_of_outer_bytes(box, rate, size, seconds):
    tun = box.tun()
    wait_for(lambda: "dev vsip2" in box.router.ip("route", "get", BEYOND), 2, "tunnel route")
    shape(box, rate)
    measured = outer_kbit(box, tun, size, seconds, 3 * rate)
    assert abs(measured - rate) < 0.05 * rate, f"{measured:.1f} kbit/s instead of {rate}"
    status = box.must("nat-qos-agent", "GetSnapshot")["shapers"][0]
    assert status["rate_kbit"] == rate and status["packets"] > 0
    box.must("nat-qos-agent", "RemoveShaper", tunnel="vsip2", attempt=1)
    assert "5649" not in box.router.run("tc", "qdisc", "show", "dev", "vsip2")
    free = outer_kbit(box, tun, size, 1, 3 * rate)
    assert free > 2 * rate, f"control: {free:.1f} kbit/s without the shaper"


def test_shaper_of_another_rate_and_of_a_new_interface(box):
    def shown():
        return box.router.run("tc", "class", "show", "dev", "vsip2")

    shape(box, 1000)
    shape(box, 64, attempt=2)
    assert "rate 64Kbit" in shown()
    box.must("nat-qos-agent", "RemoveShaper", tunnel="vsip2", attempt=1)
    assert "rate 64Kbit" in shown(), "a late removal of the first attempt leaves the second's shaper"
    box.router.ip("link", "del", "vsip2")
    box.make_tunnel()
    wait_for(lambda: "rate 64Kbit" in shown(), 2, "the shaper on the new interface")


def test_dscp_and_mss_in_the_tunnel(box):
    tun = box.tun()
    wait_for(lambda: "dev vsip2" in box.router.ip("route", "get", BEYOND), 2, "tunnel route")
    box.workspace.start(box.host.command("python3", "-c",
                                         f"import socket; socket.create_connection(('{BEYOND}', 80), 1)"), "syn.log")
    packets = [octets for _, octets in drain(tun, 1) if octets[9] == 6]
    assert packets and packets[0][1] == 0x80
    options = packets[0][(packets[0][0] & 15) * 4 + 20:]
    assert options[:2] == b"\x02\x04" and int.from_bytes(options[2:4], "big") == 1380 - 40


def test_session_ports_are_kept_from_local_programs(box):
    path = "/proc/sys/net/ipv4/ip_local_reserved_ports"
    assert box.router.run("cat", path).strip() == "50000-50999"
    purge(box)
    assert box.router.run("cat", path).strip() == ""


def test_purge_is_final_until_the_next_start(box):
    translate(box)
    shape(box, 64)
    purge(box)
    assert box.router.run("nft", "list", "ruleset") == ""
    assert "5649" not in box.router.run("tc", "qdisc", "show", "dev", "vsip2")
    box.router.nft("table ip other {\n}\n")
    time.sleep(0.3)
    assert "vpnsip" not in box.router.run("nft", "list", "ruleset")
    assert box.order("nat-qos-agent", "ReservePort", tunnel="vsip2", attempt=2)[0] == "failed"
    box.processes["nat-qos-agent"].stop()
    box.start("nat-qos-agent")
    assert "vpnsip" in box.router.run("nft", "list", "ruleset")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_death_and_restart_leave_the_session(box, number):
    def state():
        snapshot = box.must("nat-qos-agent", "GetSnapshot")
        return (snapshot["translations"], [(shaper["tunnel"], shaper["attempt"], shaper["rate_kbit"])
                                           for shaper in snapshot["shapers"]])

    port = translate(box, 3)
    shape(box, 128, 3)
    before = state()
    started = time.monotonic()
    box.processes["nat-qos-agent"].stop(number)
    assert time.monotonic() - started < 2
    assert all(exchange(box, port))
    box.start("nat-qos-agent")
    assert state() == before and before[1] == [("vsip2", 3, 128)]
    assert all(exchange(box, port))
    assert "overhead 73" in box.router.run("tc", "-d", "class", "show", "dev", "vsip2")
    box.must("nat-qos-agent", "RemoveTranslation", tunnel="vsip2", attempt=3)
    box.must("nat-qos-agent", "RemoveShaper", tunnel="vsip2", attempt=3)
    assert exchange(box, port) == (None, None)
    assert "5649" not in box.router.run("tc", "qdisc", "show", "dev", "vsip2")


def test_restart_removes_what_no_session_owns(box):
    """But not at once: a coordinator that runs may claim it."""
    shape(box, 128)
    box.processes["nat-qos-agent"].stop()
    assert "5649" in box.router.run("tc", "qdisc", "show", "dev", "vsip2")
    box.start("nat-qos-agent")
    time.sleep(1)
    assert "5649" in box.router.run("tc", "qdisc", "show", "dev", "vsip2")
    wait_for(lambda: "5649" not in box.router.run("tc", "qdisc", "show", "dev", "vsip2"), 22, "the shaper is removed")
    assert "no session owns" in box.log("nat-qos-agent")


def test_fragments_need_the_reassembling_chain(box):
    port = translate(box)
    assert all(exchange(box, port, 8000))
    box.processes["nat-qos-agent"].stop(signal.SIGKILL)
    box.router.run("nft", "delete", "chain", "ip", "vpnsip", "reassemble")
    assert exchange(box, port, 8000)[0] is None, "control: without it the fragments are not translated"
    assert all(exchange(box, port, 200))
