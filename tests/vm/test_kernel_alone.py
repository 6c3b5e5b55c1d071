# SPDX-License-Identifier: GPL-3.0-or-later
"""Two tunnel-agents on the kernel back end, with played coordinators and ike-agents: what a whole lab shows too late or never."""

import re
import signal
import sys
import time
from pathlib import Path

import pytest
from vpnlab.namespaces import SLOWNESS, run, wait_for

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "bench"))

from tunnel_pair import CBC, CHACHA, GCM, MARK, TUNNEL, Pair  # noqa: E402

OUTBOUND_SPI = 4097  # of the first generation, at A


@pytest.fixture
def pair(request):
    made = Pair(**getattr(request, "param", {}))
    yield made
    made.close()


def states(side):
    """Our ESP states: one line each, without keys."""
    text = side.space.ip("-s", "xfrm", "state", "list", "nokeys").strip()
    return [line for line in (" ".join(part.split()) for part in re.split(r"\n(?=src )", text)) if "if_id" in line]


def is_held(side):
    return TUNNEL in side.space.run("nft", "list", "set", "inet", "vpnsip_hold", "held")


@pytest.mark.parametrize("suite, name", [(GCM, "rfc4106(gcm(aes))"), (CBC, "hmac(sha256)"), (CHACHA, "rfc7539esp(chacha20,poly1305)")],
                         ids=["gcm", "cbc", "chacha"])
def test_suites(pair, suite, name):
    pair.connect(suite)
    assert pair.a.ping(3) == 3
    assert all(name in state for state in states(pair.a)) and len(states(pair.a)) == 2
    pair.clear()
    for side in pair.sides:
        assert not states(side) and not side.space.ip("xfrm", "policy").strip() and is_held(side)


@pytest.mark.parametrize("pair, words", [
    ({"profile": "df-bit = clear  ecn = discard  dscp-copy = false"}, ["nopmtudisc", "noecn", "extra_flag dont-encap-dscp"]),
    ({}, []),
], indirect=["pair"], ids=["off", "usual"])
def test_header_fields_of_the_profile(pair, words):
    pair.connect(replay_window=1024)
    assert pair.a.ping(2) == 2
    text = " ".join(states(pair.a))
    for word in ("nopmtudisc", "noecn", "dont-encap-dscp"):
        assert (word in text) == any(word in wanted for wanted in words), text
    assert "replay_window 1024" in text


def test_spi_that_another_sa_has(pair):
    """The kernel knows an outbound state by SPI and destination alone. The order fails and says so, the other SA stays; another SPI is taken."""
    pair.a.space.ip("xfrm", "state", "add", "src", pair.a.source, "dst", pair.b.wan, "proto", "esp", "spi", OUTBOUND_SPI, "mode", "tunnel",
                    "aead", "rfc4106(gcm(aes))", "0x" + "11" * 20, 128)
    order = {"if_id": MARK, "direction": "SA_OUTBOUND", "encryption": "AES_GCM_16", "integrity": "INTEGRITY_NONE", "encryption_key": "22" * 20}
    assert "no peer" in pair.a.player.order("ike-agent", "InstallSa", spi=OUTBOUND_SPI, **order), "nobody knows yet where it goes"
    pair.set_peers()
    cause = pair.a.player.order("ike-agent", "InstallSa", spi=OUTBOUND_SPI, **order)
    assert cause and "it must choose another" in cause
    assert not states(pair.a) and not pair.a.player.state["sas"]
    assert f"spi {OUTBOUND_SPI:#010x}" in pair.a.space.ip("xfrm", "state")
    pair.install_sas(generation=2)
    pair.open()
    assert pair.a.ping(2) == 2


def test_esp_to_another_port_meets_no_state(pair):
    """ESP of one session sent to another session's port is none of that session's, whatever its SPI."""
    pair.connect()
    assert pair.a.ping(1) == 1
    before = pair.b.space.run("cat", "/proc/net/xfrm_stat")
    pair.b.space.nft("flush map ip vpnsip session-ports\n"
                     f"add element ip vpnsip session-ports {{ {pair.b.wan} . {pair.b.port} : {MARK + 1} }}\n")
    assert pair.a.ping(2, wait=1) == 0
    after = pair.b.space.run("cat", "/proc/net/xfrm_stat")

    def no_states(text):
        return int(re.search(r"XfrmInNoStates\s+(\d+)", text).group(1))

    assert no_states(after) >= no_states(before) + 2


def test_peer_that_moved(pair):
    """Once IKE has proven where the peer is, nothing goes to where it was: packets wait, and IKE makes a child to the new place."""
    pair.connect()
    assert pair.a.ping(2) == 2
    moved_to = pair.b.port + 10
    pair.b.space.nft(f"flush map ip vpnsip source-ports\nadd element ip vpnsip source-ports {{ {MARK} : {moved_to} }}\n"
                     f"add element ip vpnsip session-ports {{ {pair.b.wan} . {moved_to} : {MARK} }}\n")
    pair.a.player.must("ike-agent", "FollowPeer", if_id=MARK, attempt=pair.attempt, **{
        name: {"address": pair.b.wan, "port": port} for name, port in (("from", pair.b.port), ("to", moved_to))})
    assert len(states(pair.a)) == 1, "the outbound SA to the former place is given up"
    held = pair.workspace.start(pair.a.space.command("ping", "-c", "3", "-i", "0.3", "-W", "10", pair.a.other_address), "held.log")
    pair.a.player.wait(lambda state: state["wants_sa"], 3, "a child is asked for")
    pair.install_sas(generation=2)
    assert held.end(15) == 0 and " 3 received" in held.log.read_text()
    assert all(f"dport {moved_to}" in state for state in states(pair.a) if f"dst {pair.b.wan}" in state)


@pytest.mark.long
def test_orphans_are_removed(pair):
    """SAs of before that nobody answers for carry packets on for a minute; then the tunnel is held."""
    pair.connect()
    pair.a.agent.stop(signal.SIGKILL)
    pair.a.start_agent()
    assert pair.a.ping(2) == 2 and len(states(pair.a)) == 2
    wait_for(lambda: not states(pair.a), 75 / SLOWNESS, "the SAs are removed", interval=1)
    assert not pair.a.space.ip("xfrm", "policy").strip() and is_held(pair.a)


def test_death_and_adoption(pair, tell):
    """kill -9: packets go out on the same SAs; the new start takes them up, IKE replaces them, and they go when it is told so."""
    pair.connect()
    assert pair.a.ping(2) == 2
    pings = pair.workspace.start(pair.a.space.command("ping", "-i", "0.05", pair.a.other_address), "ping.log")
    time.sleep(1)
    pair.a.agent.stop(signal.SIGKILL)
    assert len(states(pair.a)) == 2 and not is_held(pair.a)
    pair.a.start_agent()
    time.sleep(1)
    pings.stop(signal.SIGINT)
    sent, received = map(int, re.search(r"(\d+) packets transmitted, (\d+) received", pings.log.read_text()).groups())
    pair.wait_for_news()
    tell(f"{sent - received} of {sent} pings, 20 a second, were lost to a kill and a start by hand")
    assert pair.b.player.packets("SA_INBOUND") == 2 + sent, "none that went out was lost"
    assert received > 10
    wait_for(lambda: len(pair.a.player.state["sas"]) == 2 and pair.a.player.state["attempt"] == 0, 5, "the SAs are told, as nobody's")
    pair.install_sas(generation=2)  # a rekeying that is ahead of the coordinator
    pair.a.player.coordinator("SetPeer", attempt=pair.attempt, remote={"address": pair.b.wan, "port": pair.b.port})
    assert pair.a.ping(2) == 2, "nothing is held in between"
    pair.a.player.coordinator("OpenTunnel", attempt=pair.attempt)
    assert pair.a.ping(2) == 2
    pair.a.player.coordinator("ClearPeer", attempt=pair.attempt)
    assert not states(pair.a) and is_held(pair.a)


@pytest.mark.parametrize("pair", [{"idle": 2}], indirect=True)
def test_only_payload_keeps_a_call(pair):
    """Hellos to 224.0.0.5 pass through the open tunnel, and do not hinder that it is idle; a ping does."""
    pair.connect()
    state = pair.a.player
    assert pair.a.ping(1) == 1
    for _ in range(5):
        assert pair.a.ping(1) == 1
        time.sleep(0.7)
        assert not state.state["is_idle"]
    before = state.packets("SA_OUTBOUND")
    hello = pair.workspace.start(pair.a.space.command("ping", "-I", TUNNEL, "-i", "0.2", "224.0.0.5"), "hello.log")
    state.wait(lambda news: news["is_idle"], 6, "idle under hellos")
    assert state.packets("SA_OUTBOUND") > before + 3, "the control: they did pass"
    hello.stop(signal.SIGINT)


def test_flushed_rule_set_holds_again(pair):
    pair.a.space.run("nft", "flush", "ruleset")
    wait_for(lambda: "vpnsip_hold" in pair.a.space.run("nft", "list", "tables") and is_held(pair.a), 3, "the tables are there again")
    assert pair.a.ping(1, wait=0.2) == 0
    pair.a.player.wait(lambda state: state["wants_peer"], 3, "a packet is a wish again")


def test_nothing_of_the_kernel_back_end_remains_for_user_space(pair):
    """After a start with data-plane = userspace the states, the interface and the tables of before are gone."""
    pair.connect()
    assert pair.a.ping(1) == 1
    pair.a.agent.stop()
    path = pair.a.directory / "vpnsip.conf"
    path.write_text('data-plane = "userspace"\n' + path.read_text())
    pair.a.start_agent()
    assert "data plane userspace" in (pair.workspace.dir / "a.log").read_text()
    assert not states(pair.a) and "vpnsip_hold" not in pair.a.space.run("nft", "list", "tables")
    assert "tun " in run(["ip", "-n", pair.a.space.name, "-d", "link", "show", TUNNEL])


@pytest.mark.parametrize("pair", [{"peer": "dual-overlay = true"}], indirect=True)
def test_ipv6_inside(pair):
    """With dual-overlay IPv6 goes through the same two states; it makes a call, too."""
    for side in pair.sides:
        side.space.ip("-6", "addr", "add", f"fd00::{side.number}/64", "dev", TUNNEL, "nodad")
    first = pair.workspace.start(pair.a.space.command("ping", "-6", "-c", "5", "-i", "0.3", "-W", "10", "fd00::2"), "ping6.log")
    pair.a.player.wait(lambda state: state["wants_peer"], 3, "IPv6 wants a peer")
    pair.connect()
    assert first.end(15) == 0 and " 5 received" in first.log.read_text()
    assert len(states(pair.a)) == 2 and len(re.findall(r"\bdir ", pair.a.space.ip("xfrm", "policy"))) == 6
    assert pair.a.ping(1) == 1


def ping6(side, size):
    """Whether an IPv6 packet of `size` octets came and went."""
    text = side.space.run("ping", "-6", "-c", "1", "-W", 2 * SLOWNESS, "-M", "do", "-s", size - 48, f"fd00::{3 - side.number}", check=False)
    return " 1 received" in text


@pytest.mark.parametrize("pair", [{"peer": "dual-overlay = true", "path_mtu": 1000}], indirect=True)
def test_ipv6_keeps_its_minimum(pair):
    """A path on which IPv6's 1280 octets do not fit: the ESP packet may be fragmented, for IPv4 too. The control: with don't-fragment they are
    lost, and from then on the kernel refuses them itself."""
    for side in pair.sides:
        side.space.ip("-6", "addr", "add", f"fd00::{side.number}/64", "dev", TUNNEL, "nodad")
        # as the product's table does: the kernel puts fragments together then
        side.space.nft("table ip track {\nchain in {\ntype filter hook prerouting priority mangle\nct state invalid accept\n}\n}\n")
    pair.connect()
    assert ping6(pair.a, 1280) and ping6(pair.b, 1280)
    assert pair.a.ping(1, size=1200, wait=2 * SLOWNESS) == 1
    assert all(side.player.state["path_mtu"] == 1500 for side in pair.sides), "nobody complains"
    pair.a.space.nft("table ip df {\nchain out {\ntype filter hook postrouting priority 200\noifname wan0 ip frag-off set 0x4000\n}\n}\n")
    assert not ping6(pair.a, 1280)
    pair.a.space.run("nft", "delete", "table", "ip", "df")
    assert not ping6(pair.a, 1280)
