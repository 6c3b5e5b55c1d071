# SPDX-License-Identifier: GPL-3.0-or-later
"""What a router makes of each response to its call: sipp is called, directly (as the carrier) and through Kamailio."""

import re

import pytest
from calls_lab import KEY, CallsLab, number_of, pause, receive, respond, respond_within, scenario, sdp
from vpnlab.namespaces import wait_for

WRONG = f"a=psk-fingerprint:SHA-256 00:{KEY[3:]}\r\n"
ANSWER = {"role": "passive"}
TIMER = "Require: timer\r\nSession-Expires: {};refresher={}\r\nAllow: INVITE,ACK,BYE,CANCEL{}\r\n"

# status: headers
FINALS = {
    302: "Contact: <sip:0990123456@198.51.100.66>\r\n",
    403: "", 404: "", 410: "", 484: "", 604: "", 603: "",
    408: "", 480: "", 486: "", 487: "", 500: "", 502: "", 504: "", 600: "",
    488: 'Warning: 370 x "too little bandwidth"\r\n', 606: 'Warning: 399 x "not this one"\r\n',
    491: "", 503: "Retry-After: 17\r\n",
}
CHALLENGE = 'Digest realm="carrier.example", nonce="n%d", algorithm=MD5, qop="auth"'
BAD_ANSWERS = {
    "port-0": sdp(port=0, **ANSWER),
    "bandwidth-missing": sdp(bandwidth="", **ANSWER),
    "role-active": sdp(role="active"),
    "other-key": sdp(fingerprint=WRONG, **ANSWER),
    "fingerprint-md5": sdp(fingerprint="a=psk-fingerprint:MD5 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF\r\n", **ANSWER),
    "no-description": "",
    "syntax": "v=0\r\nnonsense\r\n",
    "ipv6": sdp(connection="IN IP6 2001:db8::1", **ANSWER),
}


@pytest.fixture(scope="module")
def direct():
    made = CallsLab(True, "allow-md5 = true", {"ike": 30, "session-expires": 6, "session-minimum": 2, "holddown": 60})
    yield made
    made.close()


@pytest.fixture(scope="module")
def relayed():
    made = CallsLab(False, "allow-md5 = true", {"ike": 30, "holddown": 60})
    yield made
    made.close()


def call(lab, name, *steps, seconds=30):
    """Calls a peer whose side plays the steps, from the INVITE on; returns the peer's index."""
    index = next(lab.free)
    process = lab.callee(name, scenario(*steps), index)
    lab.router.cli("call", number_of(index))
    lab.finish(process, name, seconds)
    return index


def invites(lab, name):
    return len(re.findall(r"^INVITE sip:", lab.text(name), re.MULTILINE))


def run_final(lab, status):
    name = f"final-{status}"
    index = call(lab, name, receive("INVITE"), respond(100), respond(status, FINALS[status]), receive("ACK"), pause(1200))
    assert invites(lab, name) == 1, "never repeated, never followed elsewhere"
    session = wait_for(lambda: (found := lab.session(index))["status"] in ("HOLDDOWN", "READY_TO_CONNECT") and found, 5, "the call has failed")
    assert str(status) in session["last_cause"], session
    if "Warning" in FINALS[status]:
        assert re.search(r'"(.*)"', FINALS[status]).group(1) in session["last_cause"]


@pytest.mark.parametrize("status", FINALS)
def test_final_response(direct, status):
    run_final(direct, status)


# 408 of the callee is what Kamailio itself would say; 503 it makes 500 (RFC 3261 section 16.7)
@pytest.mark.parametrize("status", [status for status in FINALS if status != 503])
def test_final_response_through_the_carrier(relayed, status):
    run_final(relayed, status)


@pytest.mark.parametrize("status, header", [(401, "WWW-Authenticate"), (407, "Proxy-Authenticate")])
def test_wrong_password_is_said_once(direct, status, header):
    name = f"password-{status}"
    index = call(direct, name, receive("INVITE"), respond(status, f"{header}: {CHALLENGE % 1}\r\n"), receive("ACK"),
                 receive("INVITE"), respond(status, f"{header}: {CHALLENGE % 2}\r\n"), receive("ACK"), pause(1000))
    assert invites(direct, name) == 2
    assert "password" in direct.session(index)["last_cause"]


def test_session_too_brief(direct):
    index = call(direct, "too-brief", receive("INVITE", [("Session-Expires", "6")]), respond(422, "Min-SE: 600\r\n"), receive("ACK"),
                 receive("INVITE", [("Session-Expires", "600"), ("Min-SE", "600")]), respond(422, "Min-SE: 900\r\n"), receive("ACK"), pause(1000))
    assert invites(direct, "too-brief") == 2
    assert "422" in direct.session(index)["last_cause"]


def run_bad_answer(lab, name):
    index = call(lab, f"answer-{name}", receive("INVITE"), respond(200, body=BAD_ANSWERS[name]), receive("ACK"), receive("BYE"),
                 respond_within(200))
    session = wait_for(lambda: (found := lab.session(index))["status"] in ("HOLDDOWN", "READY_TO_CONNECT") and found, 5, "the call is over")
    assert session["last_cause"]


@pytest.mark.parametrize("name", BAD_ANSWERS)
def test_bad_answer(direct, name):
    run_bad_answer(direct, name)


@pytest.mark.parametrize("name", BAD_ANSWERS)
def test_bad_answer_through_the_carrier(relayed, name):
    run_bad_answer(relayed, name)


@pytest.mark.parametrize("where", ["direct", "relayed"])
def test_ringing_too_long_is_cancelled(request, where):
    lab = request.getfixturevalue(where)
    call(lab, "ringing", receive("INVITE"), respond(180), receive("CANCEL", timeout="8000"), respond_within(200),
         pause(100))


def keep(name, header, pattern, what):
    """A request that is received, a part of it kept as [$name]."""
    return (f'<recv request="{what}" timeout="8000"><action><ereg regexp="{pattern}" search_in="hdr" header="{header}:" assign_to="{name}"/>'
            '</action></recv>')


def test_answer_crosses_the_cancel(direct):
    """The 200 was on its way when the CANCEL came: acknowledged and ended. The CANCEL is answered last, so that it leaves nothing behind."""
    answer = respond(200, body=sdp(**ANSWER)).replace("[last_CSeq:]", "CSeq: [last_cseq_number] INVITE")  # the CANCEL shares the number
    late = respond_within(200).replace("[last_Via:]", "Via:[$via]").replace("[last_CSeq:]", "CSeq: [$sequence] CANCEL")
    call(direct, "crossing", keep("via", "Via", ".*", "INVITE"), respond(180), keep("sequence", "CSeq", "[0-9]+", "CANCEL"), answer,
         receive("ACK"), receive("BYE"), respond_within(200), late)


def test_reliable_ringing(direct):
    call(direct, "reliable", receive("INVITE", [("Supported", "100rel")]), respond(180, "Require: 100rel\r\nRSeq: 5\r\n"),
         receive("PRACK", [("RAck", "5 [0-9]+ INVITE")]), respond_within(200),
         receive("CANCEL", timeout="8000"), respond_within(200), pause(100))


def test_two_parties_answer(direct):
    """A forked call: each answer is acknowledged and ended."""
    name = "forked"
    # sipp forgets what comes between two things that it sends: the second answer waits for the ACK of the first
    second = respond(200, body=sdp(**ANSWER), tag="two").replace("[last_To:]", "To: <sip:forked@carrier.example>").replace(
        "[last_Via:]", "Via:[$via]").replace("[last_CSeq:]", "CSeq: [last_cseq_number] INVITE")
    call(direct, name, keep("via", "Via", ".*", "INVITE"), respond(200, body=sdp(**ANSWER), tag="one"), receive("ACK"), second,
         receive("ACK"), receive("BYE"), respond_within(200), receive("BYE"), respond_within(200), pause(200))
    tags = set(re.findall(r"^BYE .*?;tag=(one|two)", direct.text(name), re.MULTILINE | re.DOTALL))
    assert tags == {"one", "two"}


@pytest.mark.parametrize("method, allow", [("UPDATE", ",UPDATE"), ("INVITE", "")])
def test_we_refresh(direct, method, allow):
    """Half of 6 s, with the same description and version."""
    refresh = [receive(method, [("Session-Expires", "6;refresher=uac")], timeout="5000")]
    refresh += [respond_within(200, "Require: timer\r\nSession-Expires: 6;refresher=uac\r\n")] if method == "UPDATE" else [
        respond(200, "Require: timer\r\nSession-Expires: 6;refresher=uac\r\n", sdp(**ANSWER)).replace("[last_To:];tag=[call_number]c", "[last_To:]"),
        receive("ACK")]
    index, name = next(direct.free), f"refresh-{method}"
    process = direct.callee(name, scenario(receive("INVITE"), respond(200, TIMER.format(6, "uac", allow), sdp(**ANSWER)), receive("ACK"),
                                           *refresh, *refresh, receive("BYE", timeout="10000"), respond_within(200)), index)
    direct.router.cli("call", number_of(index), check=False)
    wait_for(lambda: len(re.findall("^Session-Expires: 6;refresher=uac", direct.text(name), re.M)) >= 5, 12, "two refreshes and their answers")
    assert direct.status(index) == "NEGOTIATING_IKE", "the call goes on"
    direct.router.cli("hangup", number_of(index), check=False)
    direct.finish(process, name)


def test_refresh_without_answer_ends_the_call(direct):
    call(direct, "refresh-lost", receive("INVITE"), respond(200, TIMER.format(6, "uac", ",UPDATE"), sdp(**ANSWER)), receive("ACK"),
         receive("UPDATE", timeout="5000"), *[receive("UPDATE", optional="true") for _ in range(6)], receive("BYE", timeout="5000"), respond_within(200),
         # the next sipp would take a repetition for its call
         receive("UPDATE", timeout="6000"), respond_within(481))


def test_callee_forgets_to_refresh(direct):
    call(direct, "refresh-none", receive("INVITE"), respond(200, TIMER.format(6, "uas", ""), sdp(**ANSWER)), receive("ACK"),
         receive("BYE", timeout="7000"), respond_within(200))


def test_challenged_prack(direct):
    """A proxy that asks for credentials at each request gets them with the PRACK too."""
    challenge = f"Proxy-Authenticate: {CHALLENGE % 3}\r\n"
    call(direct, "prack", receive("INVITE"), respond(180, "Require: 100rel\r\nRSeq: 5\r\n"), receive("PRACK"), respond_within(407, challenge),
         receive("PRACK", [("RAck", "5 [0-9]+ INVITE"), ("Proxy-Authorization", 'nonce="n3".*qop=auth')]), respond_within(200),
         receive("CANCEL", timeout="8000"), respond_within(200), pause(100))
