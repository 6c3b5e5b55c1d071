# SPDX-License-Identifier: GPL-3.0-or-later
"""A peer that nothing is heard of any more, with all its processes alive: after dpd-interval + 5 x dpd-retry the call is hung up, whatever
others send in its name."""

import signal
import time

import pytest
from attacks import IpsecAttacker, session_packets
from vpnlab.capture import sip_messages
from vpnlab.namespaces import wait_for
from vpnlab.router import Settings
from vpnlab.topology import A, B

SLACK_SEC = 6
SILENCE = 'table bridge silence {\n chain forward {\n type filter hook forward priority 0\n iifname "wan-b" counter drop\n }\n}\n'


def bye_time(lab):
    """When the first BYE of `a` was on its WAN, or None."""
    found = [message.time for message in sip_messages(lab.wan["a"].packets()) if message.start_line.startswith("BYE ") and message.src == A.wan]
    return found[0] if found else None


def hang_up_what_was_called_again(lab):
    """Traffic that goes on after the BYE calls again: both sides rest when they did so twice, a second apart."""
    looks = []

    def rest():
        looks.append({router.status() for router in lab.routers.values()})
        if looks[-1] == {"SESSION_UP"}:
            lab.a.cli("hangup", B.number)
        return looks[-2:] == 2 * [{"READY_TO_CONNECT"}]

    wait_for(rest, 30, "rest", interval=1)


@pytest.mark.slow
@pytest.mark.parametrize("is_pinging, interval, retry", [
    pytest.param(True, 10, 6, id="40-s-under-traffic"),
    pytest.param(False, 10, 6, id="40-s-at-rest", marks=pytest.mark.long),
    # Longer than libcharon would repeat a request by itself.
    pytest.param(False, 4, 10, id="54-s-at-rest", marks=pytest.mark.long),
])
def test_dead_after_interval_and_retries(make_lab, tell, is_pinging, interval, retry):
    dead_sec = interval + 5 * retry
    dpd = [f"dpd-interval = {interval}", f"dpd-retry = {retry}"]
    settings = {"idle_time": 300, "ike_options": dpd}
    lab = make_lab(a=Settings(**settings), b=Settings(**settings))
    assert lab.ping(3) == 3
    lab.wait_up()
    lab.topology.net.nft(SILENCE)
    ping = lab.start_ping(0.5) if is_pinging else None
    heard = [packet.time for packet in lab.wan["a"].packets() if packet.src == B.wan and (packet.is_esp or packet.is_ike)][-1]
    assert time.time() - heard < 2
    wait_for(lambda: time.time() - heard > dead_sec - 2, dead_sec, "most of the time", interval=0.5)
    assert bye_time(lab) is None and lab.a.status() == "SESSION_UP"
    wait_for(lambda: bye_time(lab), SLACK_SEC + 4, "a BYE", interval=0.5)
    waited = bye_time(lab) - heard
    tell(f"BYE {waited:.1f} s after the last packet")
    assert dead_sec <= waited <= dead_sec + SLACK_SEC
    if ping:
        ping.stop()
    lab.topology.net.nft("delete table bridge silence\n")
    hang_up_what_was_called_again(lab)


def test_heard_peer_stays(make_lab):
    """The control: at rest for longer than that, but heard."""
    settings = {"idle_time": 300, "ike_options": ["dpd-interval = 1", "dpd-retry = 1"]}
    lab = make_lab(a=Settings(**settings), b=Settings(**settings))
    assert lab.ping(1) == 1
    lab.wait_up()
    time.sleep(8)
    assert lab.a.status() == "SESSION_UP" and bye_time(lab) is None
    lab.hang_up()


@pytest.mark.parametrize("has_ike_agent", [True, False], ids=["verified", "control"])
def test_forged_ike_keeps_no_call_up(make_lab, tell, has_ike_agent):
    """The peer is silent, and somebody sends its IKE messages again, as they were and changed. The control: nobody is there to verify them."""
    settings = {"idle_time": 300, "ike_options": ["dpd-interval = 1", "dpd-retry = 1"]}
    lab = make_lab(a=Settings(**settings), b=Settings(**settings))
    assert lab.ping(1) == 1
    lab.wait_up()
    wait_for(lambda: len([packet for packet in session_packets(lab, "is_ike") if packet.src == B.wan]) > 3, 5, "dead peer detection", interval=0.2)
    messages = [packet for packet in session_packets(lab, "is_ike") if packet.src == B.wan]
    attacker, sent = IpsecAttacker(lab), 0
    if not has_ike_agent:
        lab.a.stop(signal.SIGKILL, ["ike-agent"])
    lab.topology.net.nft(SILENCE)
    silent = time.time()
    try:
        while time.time() - silent < 12 and not bye_time(lab):
            packet = messages[sent % len(messages)]
            attacker.resend(packet, packet.payload if sent % 2 else packet.payload[:-1] + bytes([packet.payload[-1] ^ 1]))
            sent += 1
            time.sleep(0.2)
    finally:
        attacker.close()
        lab.topology.net.nft("delete table bridge silence\n")
    ended = bye_time(lab)
    tell(f"{sent} forged IKE messages: " + (f"BYE {ended - silent:.1f} s after the last real one" if ended else f"no BYE within {time.time() - silent:.0f} s"))
    assert bool(ended) == has_ike_agent
    if not has_ike_agent:
        lab.a.start_service("ike-agent")
        lab.hang_up()
    lab.wait_resting(20)
