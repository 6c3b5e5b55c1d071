# SPDX-License-Identifier: GPL-3.0-or-later
"""Captured ESP and IKE packets, sent again by somebody else from the right addresses: none is delivered, each is counted."""

import time

import pytest
from attacks import IpsecAttacker, delivered, drops, hosts_captures, session_packets
from traffic import one_datagram_a_frame
from vpnlab.namespaces import wait_for
from vpnlab.router import Settings

PINGS = 30
ROUNDS = 3
KEPT = 16  # packets of an unknown SA that a router keeps for some seconds: the SA may be on its way


@pytest.fixture
def scene(make_lab):
    """scene(**settings) gives a lab with a session over which PINGS pings went both ways, its attacker and the hosts' captures."""
    attackers = []

    def make(**settings):
        lab = make_lab(a=Settings(idle_time=30, **settings), b=Settings(idle_time=30, **settings))
        attackers.append(IpsecAttacker(lab))
        captures = hosts_captures(lab)
        one_datagram_a_frame(lab)
        assert lab.ping(PINGS, interval=0.01) == PINGS
        lab.wait_up()
        return lab, attackers[-1], captures

    yield make
    for attacker in attackers:
        attacker.close()


def replay(attacker, packets, pause=0):
    for _ in range(ROUNDS):
        for packet in packets:
            attacker.resend(packet)
            time.sleep(pause)
    return ROUNDS * len(packets)


def test_esp(scene, tell):
    lab, attacker, captures = scene()
    before = delivered(captures)
    packets = session_packets(lab, "is_esp")
    assert before == 2 * PINGS and len(packets) == 2 * PINGS
    sent = replay(attacker, packets)
    counted = sum(drops(router, "replay") for router in lab.routers.values())
    tell(f"{sent} ESP packets again: {delivered(captures) - before} delivered, {counted} counted as replayed")
    assert delivered(captures) == before
    assert counted == sent
    assert all(sum(sa["replay_drops"] for sa in router.session()["sas"]) == sent // 2 for router in lab.routers.values())
    assert lab.ping(5, interval=0.05) == 5


def test_esp_without_protection(scene, tell):
    """The control."""
    lab, attacker, captures = scene(ipsec_options=["replay-window = 0", "esn = false"])
    before = delivered(captures)
    packets = session_packets(lab, "is_esp")
    sent = replay(attacker, packets)
    wait_for(lambda: delivered(captures) - before >= sent, 3, "the replayed packets at the hosts", interval=0.2)
    tell(f"replay-window = 0: {delivered(captures) - before} delivered of {sent} ESP packets sent again")

    def is_quiet():
        count = delivered(captures)
        time.sleep(1)
        return delivered(captures) == count

    wait_for(is_quiet, 10, "the hosts' answers to what was replayed have arrived")


def test_esp_of_an_earlier_child(scene, tell):
    """What was recorded under keys that have been replaced since belongs to no SA."""
    lab, attacker, captures = scene(ipsec_options=["lifetime-packets = 100"])
    packets = session_packets(lab, "is_esp")
    first = {packet.spi for packet in packets}
    assert lab.ping(100, interval=0.01) == 100

    def inbound():
        return {int(sa["spi"], 16) for router in lab.routers.values() for sa in router.session()["sas"] if sa["direction"] == "inbound"}

    wait_for(lambda: not inbound() & first, 12, "the first child's SAs are gone", interval=0.3)
    before = delivered(captures)
    sent = replay(attacker, packets)
    counted = sum(drops(router, "unknown-spi") for router in lab.routers.values())
    tell(f"{sent} ESP packets of an earlier child: {delivered(captures) - before} delivered, {counted} counted as of no SA")
    assert delivered(captures) == before
    assert sent - 2 * KEPT <= counted <= sent
    assert lab.ping(5, interval=0.05) == 5


def state(lab):
    """What an IKE message of effect would change."""
    return [(sorted(sa["spi"] for sa in router.session()["sas"]), router.session()["sip_call_id"], router.status()) for router in lab.routers.values()]


def repeated(lab):
    """How many IKE messages both sides have counted as of an exchange that was over."""
    return sum(router.show("crypto", "call", "admission", "statistics")["messages_repeated"] for router in lab.routers.values())


def test_ike(scene, tell):
    """The whole set-up and a rekeying, again, to both sides: no SA moves, nobody is let in twice, each is counted."""
    lab, attacker, captures = scene(ipsec_options=["lifetime-packets = 60"])
    assert lab.ping(40, interval=0.01) == 40
    packets = session_packets(lab, "is_ike")
    assert len(packets) >= 6, "set-up and a rekeying"
    wait_for(lambda: all(len(router.session()["sas"]) == 2 for router in lab.routers.values()), 12, "the old SAs are gone", interval=0.3)
    before, at_hosts, counted = state(lab), delivered(captures), repeated(lab)
    sent = replay(attacker, packets, pause=0.01)
    assert lab.ping(10, interval=0.1) == 10
    assert state(lab) == before
    assert delivered(captures) == at_hosts + 20
    assert len(lab.carrier.open_dialogs()) == 1
    counted = repeated(lab) - counted
    tell(f"{sent} IKE messages again: SAs and session as before, {counted} counted as repeated")
    # The last request of each side is answered once more, and that answer is a repeated message too.
    assert sent <= counted <= sent + 2 * ROUNDS
