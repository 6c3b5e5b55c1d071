# SPDX-License-Identifier: GPL-3.0-or-later
"""Attacks on a call that is up, while the tunnel carries traffic. Each with a control run in which it succeeds."""

import signal
import time

import pytest
from attacker import (ADDRESS, CARRIER, Attacker, Dialog, drop_kernel_guard, guard_classes, kernel_counter, offer, payload,
                      restore_kernel_guard, spi, unguarded)
from vpnlab.capture import sip_messages
from vpnlab.namespaces import wait_for
from vpnlab.router import Settings

QUIET = {"idle_time": 30}  # the pings keep it up; a lost one must not end it
ATTACKS = {
    "bye-blind": lambda dialog: dialog.request("BYE", to_tag="guessed", from_tag="guessed"),
    "bye-sniffed": lambda dialog: dialog.request("BYE"),
    "bye-without-tag": lambda dialog: dialog.request("BYE", to_tag=""),
    "bye-high-cseq": lambda dialog: dialog.request("BYE", jump=2000000000),
    "cseq-poisoning": lambda dialog: dialog.request("OPTIONS", jump=2000000000),
    "cancel": lambda dialog: dialog.request("CANCEL", jump=0, to_tag="", branch=dialog.invite.headers["via"].partition("branch=")[2].split(";")[0]),
    "re-invite": lambda dialog: dialog.request("INVITE", body=offer()),
    "update": lambda dialog: dialog.request("UPDATE", body=offer()),
    "new-invite": lambda dialog: dialog.request("INVITE", to_tag="", jump=5, body=offer(),
                                                headers="P-Asserted-Identity: <sip:0388881001@carrier.example>\r\n"),
}


def established(make_lab, **options):
    lab = make_lab(a=Settings(**QUIET), b=Settings(**(QUIET | options)))
    lab.may_leak = True  # the attacker's own packets
    return lab, Attacker(lab)


def assert_untouched(lab, attacker, before):
    assert not attacker.heard(), "an attacker gets no answer"
    assert lab.a.status() == "SESSION_UP" and lab.b.status() == "SESSION_UP"
    assert spi(lab.b) == before, "the SAs are the same"
    assert len(lab.carrier.open_dialogs()) == 1


def test_kernel_stops_every_forged_request(make_lab, tell):
    lab, attacker = established(make_lab)
    with payload(lab) as count:
        dialog, before = Dialog(lab), spi(lab.b)
        for attack in ATTACKS.values():
            attacker.send(attack(dialog), lab.b.site.wan, count=3)
        time.sleep(2)
        assert_untouched(lab, attacker, before)
        sent, answered = count()
    assert kernel_counter(lab.b, "guard-foreign") == 3 * len(ATTACKS)
    assert sent - answered <= 1, "no packet of the tunnel is lost"
    tell(f"{3 * len(ATTACKS)} forged requests dropped in the kernel, {answered} of {sent} pings answered")
    lab.hang_up()


def test_sip_agent_stops_them_alone(make_lab, tell):
    """The firewall has been flushed by somebody: the second layer."""
    lab, attacker = established(make_lab)
    with payload(lab) as count:
        dialog, before = Dialog(lab), spi(lab.b)
        drop_kernel_guard(lab.b)
        for attack in ATTACKS.values():
            attacker.send(attack(dialog), lab.b.site.wan, count=3)
        time.sleep(1.5)
        assert_untouched(lab, attacker, before)
        assert guard_classes(lab.b)["foreign-source"] == 3 * len(ATTACKS)
        sent, answered = count()
        restore_kernel_guard(lab.b)
    lines = [line for line in lab.b.log("sip-agent").splitlines() if "sip.guard.reject" in line]
    assert 1 <= len(lines) <= 3, "one line a second for a class"
    assert f"class=foreign-source src={ADDRESS} line={lab.b.site.number} count=" in lines[0]
    assert sent - answered <= 1
    tell(f"{3 * len(ATTACKS)} forged requests turned away by sip-agent, {len(lines)} log lines, {answered} of {sent} pings answered")
    lab.hang_up()


@pytest.mark.parametrize("name", ["bye-sniffed", "bye-without-tag", "bye-high-cseq"])
def test_control_a_forged_bye_ends_the_call(make_lab, monkeypatch, name):
    lab = make_lab(a=Settings(**QUIET), b=unguarded(monkeypatch, **QUIET))
    lab.may_leak = True
    attacker = Attacker(lab)
    assert lab.ping(1)
    lab.wait_up()
    dialog = Dialog(lab)
    drop_kernel_guard(lab.b)
    attacker.send(ATTACKS[name](dialog), lab.b.site.wan)
    lab.b.wait_status("READY_TO_CONNECT", "RELEASING", "HOLDDOWN", seconds=5)
    restore_kernel_guard(lab.b)
    assert [text for text in attacker.heard() if text.startswith("SIP/2.0 200")], "and the attacker is told so"


def test_control_requests_that_change_nothing_are_answered(make_lab, monkeypatch):
    """What a forged re-INVITE would change is refused by the call itself, but the attacker learns of the call."""
    lab = make_lab(a=Settings(**QUIET), b=unguarded(monkeypatch, **QUIET))
    lab.may_leak = True
    attacker = Attacker(lab)
    assert lab.ping(1)
    lab.wait_up()
    dialog, before = Dialog(lab), spi(lab.b)
    drop_kernel_guard(lab.b)
    for name, status in (("bye-blind", "481"), ("re-invite", "488"), ("update", "488")):
        dialog.cseq += 1
        attacker.send(ATTACKS[name](dialog), lab.b.site.wan)
        answers = attacker.heard(seconds=1)
        assert any(text.startswith(f"SIP/2.0 {status}") for text in answers), (name, answers)
    assert lab.b.status() == "SESSION_UP" and spi(lab.b) == before
    restore_kernel_guard(lab.b)
    # The attacker has used up the caller's sequence numbers: only the called side's BYE still counts.
    lab.b.cli("hangup", lab.a.site.number)
    lab.wait_resting()


@pytest.mark.parametrize("is_guarded", [True, False], ids=["guarded", "control"])
def test_cseq_poisoning_by_the_proxys_address(make_lab, monkeypatch, is_guarded):
    """Plain UDP cannot tell an attacker with the proxy's address from the proxy; a jump is refused all the same, and a session whose
    sequence was poisoned still ends: it is idle, or its IKE peer is gone."""
    lab = make_lab(a=Settings(), b=Settings() if is_guarded else unguarded(monkeypatch))
    lab.may_leak = True
    attacker = Attacker(lab)
    assert lab.ping(1)
    lab.wait_up()
    dialog = Dialog(lab)
    attacker.spoof(ATTACKS["cseq-poisoning"](dialog), CARRIER, lab.b.site.wan)
    if is_guarded:
        wait_for(lambda: guard_classes(lab.b)["cseq-jump"] == 1, 3, "the jump counted")
    else:
        time.sleep(0.5)
    since = time.time()
    lab.a.cli("hangup", lab.b.site.number)
    lab.wait_resting(seconds=15)
    answers = [message.status for message in sip_messages(lab.wan["b"].packets())
               if message.method == "BYE" and message.status and message.src == lab.b.site.wan and message.time > since]
    assert (200 in answers) == is_guarded, answers
    assert is_guarded or 500 in answers, "control: the real BYE is refused"


@pytest.mark.parametrize("where", ["lan", "wan"])
def test_bye_with_the_proxys_address(make_lab, tell, where):
    """From the LAN it is stopped by the interface; on the WAN's own segment plain UDP has no defence (docs/security.md)."""
    lab, attacker = established(make_lab)
    with payload(lab) as count:
        dialog, before = Dialog(lab), spi(lab.b)
        message = dialog.request("BYE", jump=3, via=CARRIER)
        if where == "lan":
            attacker.spoof(message, CARRIER, lab.b.site.wan, space=lab.hosts["b"])
            time.sleep(1)
            assert_untouched(lab, attacker, before)
            assert kernel_counter(lab.b, "guard-interface") == 1
            sent, answered = count()
            assert sent - answered <= 1
        else:
            attacker.spoof(message, CARRIER, lab.b.site.wan)
            wait_for(lambda: spi(lab.b) != before, 5, "the session ended")
            tell("residual risk of plain UDP: a BYE with the proxy's address on the same segment ends the call")
    lab.hang_up()


@pytest.mark.parametrize("is_guarded", [True, False], ids=["guarded", "control"])
def test_cancel_while_it_rings(make_lab, monkeypatch, is_guarded):
    """B is called and does not answer yet, because its ike-agent does not; the attacker knows branch and tags."""
    lab = make_lab(a=Settings(**QUIET), b=Settings(**QUIET) if is_guarded else unguarded(monkeypatch, **QUIET))
    lab.may_leak = True
    attacker = Attacker(lab)
    if not is_guarded:
        drop_kernel_guard(lab.b)
    lab.b.processes["ike-agent"].signal(signal.SIGSTOP)
    ping = lab.start_ping(0.2)
    invite = wait_for(lambda: [message for message in sip_messages(lab.wan["b"].packets())
                               if message.start_line.startswith("INVITE ") and message.dst == lab.b.site.wan], 5, "the INVITE at B")[-1]
    text = (f"CANCEL {invite.start_line.split()[1]} SIP/2.0\r\nVia: {invite.headers['via'].split(',')[0]}\r\nFrom: {invite.headers['from']}\r\n"
            f"To: {invite.headers['to']}\r\nCall-ID: {invite.call_id}\r\nCSeq: {invite.headers['cseq'].split()[0]} CANCEL\r\n"
            "Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n")
    attacker.send(text.encode(), lab.b.site.wan)
    time.sleep(0.2)
    lab.b.processes["ike-agent"].signal(signal.SIGCONT)
    if not is_guarded:
        lab.b.processes["nat-qos-agent"].signal(signal.SIGCONT)
    refused = [message for message in sip_messages(lab.wan["b"].packets())
               if message.call_id == invite.call_id and message.status == 487 and message.src == lab.b.site.wan]
    assert bool(refused) != is_guarded
    lab.wait_up(seconds=10)
    ping.stop(signal.SIGINT)
    lab.hang_up()
