# SPDX-License-Identifier: GPL-3.0-or-later
"""INVITEs that meet in one dialog (RFC 3261 section 14): sipp calls a router, or is called by it."""

import re
from datetime import datetime

import pytest
from calls_lab import CallerScript, CallsLab, number_of, pause, receive, respond, respond_within, scenario, sdp, send
from vpnlab.namespaces import wait_for

ANSWER = {"role": "passive"}
TIMER = "Require: timer\r\nSession-Expires: {};refresher={}\r\nAllow: INVITE,ACK,BYE,CANCEL\r\n"
REFRESH_AFTER = 12  # seconds: half of what is agreed; a third before its end the call is given up, so that 4 s are left


@pytest.fixture(scope="module")
def direct():
    made = CallsLab(True, timers={"ike": 40, "session-expires": 2 * REFRESH_AFTER, "session-minimum": 2, "holddown": 60})
    yield made
    made.close()


def within(text):
    """A response of ours in the dialog, whose To has its tag already."""
    return text.replace("[last_To:];tag=[call_number]c", "[last_To:]")


def accept_refresh(refresher):
    return within(respond(200, f"Require: timer\r\nSession-Expires: {2 * REFRESH_AFTER};refresher={refresher}\r\n", sdp(**ANSWER)))


def new_invites(text):
    """{CSeq: when} of each INVITE in sipp's log, its repetitions left out."""
    seen = {}
    for when, sequence in re.findall(r"^-+ (\S+[ \t]\S+)\n[^\n]*\n\nINVITE sip:(?:[^\n]*\n)*?CSeq: (\d+) INVITE", text.replace("\r", ""), re.M):
        seen.setdefault(int(sequence), datetime.fromisoformat(when[:26].replace("\t", " ")).timestamp())
    return seen


@pytest.mark.slow
def test_our_refresh_meets_491_as_owner(direct, tell):
    """We placed the call: 2.1 to 4 s later again, and the call goes on."""
    index, name = next(direct.free), "491-owner"
    steps = [receive("INVITE"), respond(200, TIMER.format(2 * REFRESH_AFTER, "uac"), sdp(**ANSWER)), receive("ACK"),
             receive("INVITE", timeout="15000"), within(respond(491)), receive("ACK"),
             receive("INVITE", timeout="6000"), accept_refresh("uac"), receive("ACK"), receive("BYE", timeout="8000"), respond_within(200)]
    process = direct.callee(name, scenario(*steps), index)
    direct.router.cli("call", number_of(index), check=False)
    wait_for(lambda: len(new_invites(direct.text(name))) == 3 or not process.running(), REFRESH_AFTER + 12, "the refresh once more", interval=0.1)
    assert direct.status(index) == "NEGOTIATING_IKE", "the call goes on"
    direct.router.cli("hangup", number_of(index), check=False)
    direct.finish(process, name)
    first, refresh, again = sorted(new_invites(direct.text(name)).values())
    tell(f"refreshed after {refresh - first:.1f} s, after 491 again {again - refresh:.2f} s later")
    assert 2.05 <= again - refresh <= 4.5


@pytest.mark.slow
def test_refreshes_meet(direct, tell):
    """They call, we refresh; theirs comes while ours is open: 491. Ours is answered 491: 0 to 2 s later again, for the call is theirs."""
    index, name = next(direct.free), "491-both"
    script = CallerScript(direct, number_of(index))
    # the answer to our INVITE needs its headers, which its repetition brings again
    steps = [script.invite(f"Supported: timer\r\nSession-Expires: {2 * REFRESH_AFTER};refresher=uas\r\nAllow: INVITE,ACK,BYE,CANCEL\r\n", sdp()),
             receive("100", optional="true"), receive("200", rrs="true"), script.ack(),
             receive("INVITE", timeout="15000"),
             send(script.request("INVITE", 2, body=sdp())), receive("INVITE", optional="true"), receive("100", optional="true"),
             receive("491"), script.ack_refusal(2),
             receive("INVITE", timeout="3000"), within(respond(491)), receive("ACK"),
             receive("INVITE", timeout="3500"), accept_refresh("uac"), receive("ACK"), pause(300),
             send(script.request("BYE", 3), retrans=500), receive("200")]
    direct.finish(direct.caller(name, scenario(*steps)), name)
    ours = sorted(new_invites(direct.text(name)).items())[-2:]
    tell(f"after 491 again {ours[1][1] - ours[0][1]:.2f} s later")


@pytest.mark.parametrize("open_one", ["first", "second"])
def test_an_invite_before_the_last_is_settled(direct, open_one):
    """500 with a Retry-After of 0 to 10 s, and the call goes on as it was."""
    index, name = next(direct.free), f"overlap-{open_one}"
    script = CallerScript(direct, number_of(index))
    settled = [script.ack()] if open_one == "second" else []
    second = 2 if open_one == "second" else 1
    steps = [script.invite(body=sdp()), receive("100", optional="true"), receive("200", rrs="true"), *settled]
    if open_one == "second":
        steps += [pause(200), send(script.request("INVITE", 2, body=sdp())), receive("100", optional="true"), receive("200")]
    steps += [send(script.request("INVITE", second + 1, body=sdp())), receive("100", optional="true"), receive("200", optional="true"),
              receive("500", [("Retry-After", "([0-9]|10)([^0-9]|$)")]), script.ack_refusal(second + 1), script.ack(second), pause(300),
              send(script.request("INVITE", second + 2, body=sdp())), receive("100", optional="true"), receive("200"), script.ack(second + 2), pause(200), send(script.request("BYE", second + 3), retrans=500), receive("200")]
    direct.finish(direct.caller(name, scenario(*steps)), name)
    wait_for(lambda: direct.status(index) in ("READY_TO_CONNECT", "HOLDDOWN"), 5, "the call is over")


def test_nothing_is_open_nothing_is_refused(direct):
    """The control: the same INVITE after the ACK is a refresh like any other."""
    index, name = next(direct.free), "overlap-none"
    script = CallerScript(direct, number_of(index))
    steps = [script.invite(body=sdp()), receive("100", optional="true"), receive("200", rrs="true"), script.ack(), pause(200),
             send(script.request("INVITE", 2, body=sdp())), receive("100", optional="true"), receive("200"), script.ack(2), pause(200),
             send(script.request("BYE", 3), retrans=500), receive("200")]
    direct.finish(direct.caller(name, scenario(*steps)), name)
