# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls that cannot succeed: each ends in time, says why once, and leaves nothing."""

import re
import time
from dataclasses import dataclass, field

import pytest

from vpnlab.capture import sip_messages
from vpnlab.checks import cause_lines
from vpnlab.namespaces import wait_for
from vpnlab.router import Settings
from vpnlab.topology import B

TIMERS = {"holddown": 60, "answer": 3, "ringing": 3, "ike": 4, "release": 1, "port-reuse": 1}
OTHER_KEY = "another-key-1f0c7a55d3b94d1bb2aa"
WRONG_PIN = "SHA-256 " + ":".join(["AB"] * 32)


@dataclass
class Case:
    """What is wrong, before or after the start, and what A must say about it."""

    cause: str
    a: dict = field(default_factory=dict)
    b: dict = field(default_factory=dict)
    spoil: callable = lambda lab: None
    calls: int = 1  # that A tries; 0 = found out before a call costs money
    answered: bool = False  # a 200 is allowed: then a BYE must follow
    seconds: float = 8


def foreign_qdisc(router):
    router.space.run("tc", "qdisc", "add", "dev", router.site.tunnel, "root", "tbf", "rate", "1mbit", "burst", "5kb", "latency", "50ms")


CASES = {
    "wrong-psk-fingerprint": Case("fingerprint|488", b={"psk": OTHER_KEY}),
    "wrong-psk": Case("auth|AUTH|key", a={"psk_fingerprint": False}, b={"psk": OTHER_KEY, "psk_fingerprint": False}, answered=True),
    "no-key-for-the-peer": Case("key", a={"key_id": "0388889999"}, calls=0),
    "peer-has-no-key-for-us": Case(r"4\d\d|key", b={"key_id": "0388889999"}),
    # 486 may be the crossing of two calls: the lower number tries once more
    "busy": Case("486|[Bb]usy", spoil=lambda lab: lab.carrier.switch("busy", B.number), calls=2),
    "carrier-dead": Case("reach|answer|408", spoil=lambda lab: lab.carrier.kill(), seconds=10),
    "no-bandwidth-in-offer": Case("488|bandwidth", spoil=lambda lab: lab.carrier.switch("strip-bandwidth", "offer")),
    "no-bandwidth-in-answer": Case("b=AS|bandwidth", spoil=lambda lab: lab.carrier.switch("strip-bandwidth", "answer"), answered=True),
    "wrong-pin": Case("fingerprint|pin", a={"pin": WRONG_PIN}, calls=0),
    "foreign-qdisc": Case("qdisc", spoil=lambda lab: foreign_qdisc(lab.a), calls=0),
    "foreign-qdisc-at-the-peer": Case(r"4\d\d|5\d\d|qdisc", spoil=lambda lab: foreign_qdisc(lab.b)),
}


@pytest.mark.parametrize("name", CASES)
def test_failure(make_lab, name):
    case = CASES[name]
    lab = make_lab(a=Settings(timers=TIMERS, **case.a), b=Settings(timers=TIMERS, **case.b))
    case.spoil(lab)
    since = time.time()
    assert lab.ping(1, wait=1) == 0

    def ended():
        session = lab.a.session()
        return session if session["status"] == "HOLDDOWN" and session["failed"] >= max(1, case.calls) else None

    session = wait_for(ended, case.seconds, f"{name}: the session ends with a cause")
    assert re.search(case.cause, session["last_cause"]), session["last_cause"]
    assert session["last_cause"] in lab.a.cli("show", "vpn-sip", "session", "detail")
    lines = cause_lines(lab.a.log(), session["last_cause"])
    assert len(lines) == max(1, case.calls), "one log line a failure:\n" + "\n".join(lines)

    wait_for(lambda: lab.b.session()["status"] in ("READY_TO_CONNECT", "HOLDDOWN"), case.seconds, f"{name}: the other side rests")
    messages = [message for message in sip_messages(lab.wan["a"].packets()) if message.time >= since]
    calls = {message.call_id for message in messages if message.start_line.startswith("INVITE ")}
    assert len(calls) == case.calls
    answered = {message.call_id for message in messages if message.status == 200 and message.method == "INVITE"}
    hung_up = {message.call_id for message in messages if message.start_line.startswith("BYE ")}
    assert answered == hung_up, "every answered call got its BYE"
    assert case.answered or not answered, "no 200 may start the bill"
    if name.startswith("foreign-qdisc"):
        router = lab.b if name.endswith("peer") else lab.a
        assert "tbf" in router.space.run("tc", "qdisc", "show", "dev", router.site.tunnel), "a foreign qdisc is left alone"


def test_the_other_side_says_why_too(make_lab):
    """B, which refused or failed, has the cause in its own show."""
    lab = make_lab(b=Settings(psk=OTHER_KEY, timers=TIMERS))
    assert lab.ping(1, wait=1) == 0
    session = wait_for(lambda: lab.b.session() if lab.b.session()["last_cause"] else None, 5, "B's cause")
    assert "fingerprint" in session["last_cause"]


def test_pin_that_fits(make_lab):
    """The control of wrong-pin: with the right pin the same lab works."""
    from test_first_call import fingerprint
    from vpnlab.router import PSK

    lab = make_lab(a=Settings(pin=f"SHA-256 {fingerprint(PSK)}"))
    assert lab.ping(1) == 1
    lab.wait_up()
    assert lab.a.session()["remote_number"] == B.number
