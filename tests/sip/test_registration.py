# SPDX-License-Identifier: GPL-3.0-or-later
"""Registrations at real registrars (Kamailio): two of them, their death and return, digests, bindings, retransmissions, the end."""

import re
import time

import pytest
from vpnlab.carrier import Carrier
from vpnlab.lab import PASSWORDS
from vpnlab.namespaces import LabError, wait_for
from vpnlab.router import Settings
from vpnlab.topology import CARRIER

SECOND = "198.51.100.6"
NUMBER = "0388881001"
EXPIRES = 20  # granted where a test waits for a refresh
TIMERS = {"holddown": 2, "failback": 1, "answer": 4, "ringing": 4, "ike": 5, "port-reuse": 1, "register": 2, "register-retry": 5}


def settings(*options, **more):
    return Settings(timers=TIMERS, line_options=['expires = 60', *options], **more)


def second_carrier(lab):
    lab.topology.carrier.ip("addr", "add", f"{SECOND}/24", "dev", "eth0")
    carrier = Carrier(lab.workspace, lab.topology.carrier, PASSWORDS, name="second", address=SECOND)
    carrier.start()
    return carrier


def restart(lab, *options):
    """A's sip-agent anew, with these options of its line."""
    lab.a.settings.line_options = list(options)
    lab.a.write_configuration()
    lab.a.stop(names=["sip-agent"])
    lab.a.start_service("sip-agent")


def sip(packets, source=None, method=None):
    """(time, text, destination) of SIP messages."""
    found = [packet for packet in packets if packet.payload and b"SIP/2.0" in packet.payload[:200]]
    return [(packet.time, packet.payload.decode("utf8", "replace"), packet.dst) for packet in found
            if (source is None or packet.src == source) and (method is None or packet.payload.startswith(method.encode() + b" "))]


def registrar_row(lab):
    """What sip-agent says of the line; nothing yet while it starts."""
    try:
        rows = lab.a.show("vpn-sip", "sip", "registrar")["registrations"]
    except LabError:
        rows = []
    return rows[0] if rows else {"is_registered": False, "is_secondary": False, "cause": "", "alarm": ""}


@pytest.mark.slow
def test_failover_and_return(make_lab, tell):
    """The first registrar dies: the line is at the second one within a refresh; it lives again: the line is back when its bar ends."""
    lab = make_lab(a=settings(f'secondary-registrar = "{SECOND}"'), b=Settings(), expires=EXPIRES)
    second = second_carrier(lab)
    lab.may_leak = True  # the second carrier is no address that the capture's classes know
    assert not second.registered()
    lab.carrier.kill()
    begin = time.monotonic()
    wait_for(lambda: NUMBER in second.registered(), 45, "registered at the second registrar", interval=0.2)
    tell(f"at the second registrar after {time.monotonic() - begin:.1f} s (refresh every {EXPIRES // 2} s)")
    row = wait_for(lambda: registrar_row(lab) if registrar_row(lab)["is_secondary"] else None, 3, "shown as second")
    assert row["is_registered"] and row["destination"].startswith(SECOND)
    text = lab.a.cli("show", "vpn-sip", "sip", "registrar")
    assert "The first registrar does not answer." in text
    lab.carrier.start()
    begin = time.monotonic()
    wait_for(lambda: NUMBER in lab.carrier.registered(), 75, "back at the first registrar", interval=0.2)
    tell(f"back at the first one after {time.monotonic() - begin:.1f} s")
    row = wait_for(lambda: None if registrar_row(lab)["is_secondary"] else registrar_row(lab), 3, "shown as first")
    assert row["is_registered"] and row["destination"].startswith(CARRIER)
    restart_b(lab)


def restart_b(lab):
    """B, whose registrar has forgotten it, registers anew, so that the lab ends as it began."""
    lab.b.stop(names=["sip-agent"])
    lab.b.start_service("sip-agent")
    wait_for(lambda: len(lab.carrier.registered()) == 2, 10, "both registered")


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_silent_registrar(make_lab, tell, transport):
    """Nothing comes back, not even a refusal: over UDP as many REGISTERs as configured, over TCP the guard timer; then the second one."""
    options = [f'secondary-registrar = "{SECOND}"', "retry-register = 3", "register-retransmit = 100", "expires = 60"]
    lab = make_lab(a=settings(transport=transport), b=Settings())
    second = second_carrier(lab)
    lab.may_leak = True  # the second carrier is no address that the capture's classes know
    lab.topology.net.nft("table bridge silence {\n chain forward {\n type filter hook forward priority 0\n"
                         f'  iifname "wan-a" ip daddr {CARRIER} {transport} dport 5060 counter drop\n }}\n}}\n')
    restart(lab, *options)
    lab.wan["a"].fresh()
    begin = time.monotonic()
    wait_for(lambda: NUMBER in second.registered(), 10, "registered at the second registrar", interval=0.05)
    seconds = time.monotonic() - begin
    tell(f"{transport}: at the second registrar after {seconds:.1f} s")
    lab.topology.net.nft("delete table bridge silence")
    silent = [message for message in sip(lab.wan["a"].packets(), lab.a.site.wan, "REGISTER") if message[2] == CARRIER]
    last = silent[-1]
    if transport == "udp":
        branch = re.search(r"branch=([^;\r]+)", last[1]).group(1)
        same = [message for message in silent if branch in message[1]]
        assert len(same) == 1 + 3
        gaps = [round(b[0] - a[0], 2) for a, b in zip(same, same[1:])]
        tell(f"gaps {gaps}")
        for gap, wanted in zip(gaps, (0.1, 0.2, 0.4)):
            assert wanted - 0.03 < gap < wanted + 0.15
    else:
        assert seconds < TIMERS["register"] + 2


@pytest.mark.parametrize("digest", ["MD5", "SHA-256"])
def test_digest(make_lab, digest):
    """What the carrier asks for is answered; MD5 only while that is allowed."""
    lab = make_lab(a=settings(), b=Settings(), digest=digest)
    answered = [text for _, text, _ in sip(lab.wan["a"].packets(), lab.a.site.wan, "REGISTER") if "Authorization:" in text]
    assert answered and all(f"algorithm={digest}" in text for text in answered)
    lab.wan["a"].fresh()
    restart(lab, "allow-md5 = false", "expires = 60")
    time.sleep(2)
    answered = [text for _, text, _ in sip(lab.wan["a"].fresh(), lab.a.site.wan, "REGISTER") if "Authorization:" in text]
    assert bool(answered) == (digest == "SHA-256")
    if digest == "MD5":
        assert "allow-md5" in registrar_row(lab)["cause"]


def test_wrong_password_is_not_repeated(make_lab):
    lab = make_lab(a=settings(), b=Settings())
    lab.a._write_secret("sip.password", "vpnsip-sip", "wrong\n")
    lab.wan["a"].fresh()
    restart(lab, "expires = 60")
    time.sleep(8)  # longer than a pause after any other failure
    registers = sip(lab.wan["a"].fresh(), lab.a.site.wan, "REGISTER")
    assert sum("Authorization:" in text for _, text, _ in registers) == 1
    assert "refused the password" in registrar_row(lab)["cause"]


@pytest.mark.slow
def test_lost_binding_comes_back(make_lab, tell):
    """Taken away behind our back (`ul.rm`), it is there again within a refresh: half of what was granted."""
    lab = make_lab(a=settings(), b=Settings(), expires=EXPIRES)
    lab.carrier.control("ul.rm", "location", f"s:{NUMBER}")
    assert NUMBER not in lab.carrier.registered()
    begin = time.monotonic()
    wait_for(lambda: NUMBER in lab.carrier.registered(), EXPIRES // 2 + 3, "registered again", interval=0.2)
    tell(f"back after {time.monotonic() - begin:.1f} s")


def test_deregistration_follows_the_bye(make_lab):
    """`vpnsip shutdown` during a call: BYE, its answer, then REGISTER with Expires: 0; nothing is left at the registrar."""
    lab = make_lab(a=settings(), b=Settings())
    assert lab.ping(1)
    lab.wait_up()
    lab.wan["a"].fresh()
    lab.a.cli("shutdown")
    wait_for(lambda: NUMBER not in lab.carrier.registered(), 5, "deregistered")
    time.sleep(0.3)
    messages = sip(lab.wan["a"].fresh())
    byes = [when for when, text, _ in messages if text.startswith("BYE ")]
    answers = [when for when, text, _ in messages if text.startswith("SIP/2.0 200") and "BYE\r\n" in text]
    leaves = [when for when, text, _ in messages if text.startswith("REGISTER ") and "Expires: 0\r\n" in text]
    assert byes and answers and leaves
    assert max(byes) < min(leaves) and min(answers) < min(leaves)
