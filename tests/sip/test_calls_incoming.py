# SPDX-License-Identifier: GPL-3.0-or-later
"""Each fault of an INVITE and the response that it gets: sipp calls a router, directly and through Kamailio."""

import calls_lab
import pytest
from calls_lab import KEY, CallerScript, CallsLab, number_of, pause, receive, scenario, sdp, send
from vpnlab.carrier import REALM
from vpnlab.namespaces import wait_for
from vpnlab.topology import CARRIER, A

MD5 = "a=psk-fingerprint:MD5 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF\r\n"
SHA1 = "a=psk-fingerprint:SHA-1 86:E1:39:EF:1F:A2:8B:75:AC:28:31:8B:0B:0D:91:68:B5:D4:1C:5E\r\n"
PIN = "00:" + KEY[3:]
OTHER_KEY = f"a=psk-fingerprint:SHA-256 {PIN}\r\n"
DISABLED, LOW, PINNED, QDISC = 40, 41, 42, 43
PEER_OPTIONS = {DISABLED: "enabled = false", LOW: "minimum-bandwidth = 512"}


def warning(code):
    return [("Warning", f"{code} ")]


# name: (final response, checks of its headers, what is different in the INVITE)
ROWS = {
    "unknown-caller": ("403", [], {"caller": "0399999999"}),
    "disabled-peer": ("403", [], {"caller": number_of(DISABLED)}),
    "delayed-offer": ("488", warning(399), {"body": ""}),
    "body-not-sdp": ("415", [("Accept", "application/sdp")], {"kind": "text/plain", "body": "hello\r\n"}),
    "syntax": ("400", [], {"body": "v=0\r\nnonsense\r\n"}),
    "require-unknown": ("420", [("Unsupported", "replaces")], {"headers": "Require: replaces\r\n"}),
    "audio": ("488", warning(304), {"body": sdp(media="audio {port} RTP/AVP 0")}),
    "tcp": ("488", warning(302), {"body": sdp(media="application {port} tcp ike-esp-udpencap")}),
    "plain-esp": ("488", warning(305), {"body": sdp(media="application {port} udp ike-esp")}),
    "octet-stream": ("488", warning(305), {"body": sdp(media="application {port} udp octet-stream")}),
    "ipv6": ("488", warning(301), {"body": sdp(connection="IN IP6 2001:db8::1")}),
    "role-unknown": ("488", warning(306), {"body": sdp(role="both")}),
    "role-holdconn": ("488", warning(306), {"body": sdp(role="holdconn")}),
    "fingerprint-short": ("488", warning(306), {"body": sdp(fingerprint="a=psk-fingerprint:SHA-256 AB:CD\r\n")}),
    "fingerprint-md5": ("488", warning(306), {"body": sdp(fingerprint=MD5)}),
    "fingerprint-sha1": ("488", warning(306), {"body": sdp(fingerprint=SHA1)}),
    "other-key": ("488", warning(399), {"body": sdp(fingerprint=OTHER_KEY)}),
    "bandwidth-missing": ("488", warning(399), {"body": sdp(bandwidth="")}),
    "bandwidth-other-type": ("488", warning(303), {"body": sdp(bandwidth="b=TIAS:64000\r\n")}),
    "bandwidth-0": ("488", warning(370), {"body": sdp(bandwidth="b=AS:0\r\n")}),
    "bandwidth-low": ("488", warning(370), {"body": sdp(bandwidth="b=AS:64\r\n"), "caller": number_of(LOW)}),
    "session-too-brief": ("422", [("Min-SE", "90")], {"headers": "Supported: timer\r\nSession-Expires: 60\r\n"}),
    "shaper-unavailable": ("500", [("Retry-After", "10")], {"caller": number_of(QDISC)}),
}
# The carrier replaces the identity, so these are seen directly alone.
IDENTITIES = {
    "withheld": ("433", ""),
    "anonymous": ("433", '"Anonymous" <sip:anonymous@anonymous.invalid>'),
    "no-number": ("403", f"<sip:alice@{REALM}>"),
    "two-numbers": ("403", f"<sip:{number_of(1)}@{REALM}>, <tel:{number_of(2)}>"),
}


@pytest.fixture(scope="module")
def direct():
    made = CallsLab(True, peer_options=PEER_OPTIONS)
    yield made
    made.close()


@pytest.fixture(scope="module")
def relayed():
    made = CallsLab(False, peer_options=PEER_OPTIONS)
    yield made
    made.close()


def play(lab, name, script, *steps, seconds=30):
    lab.finish(lab.caller(name, scenario(*steps)), name, seconds)


def refused(lab, name, script, status, checks, **invite):
    play(lab, name, script, script.invite(**invite), receive("100", optional="true"), receive(status, checks), script.ack_refusal(), pause(300))


def run_row(lab, name):
    status, checks, different = ROWS[name]
    invite = {"body": sdp()} | different
    caller = invite.pop("caller", None) or number_of(next(lab.free))
    if caller == number_of(QDISC):
        lab.router.space.run("tc", "qdisc", "replace", "dev", f"vsip{100 + QDISC}", "root", "pfifo")
    refused(lab, name, CallerScript(lab, caller), status, checks, **invite)
    assert lab.router.show("vpn-sip", "session", "detail"), "the router goes on"


@pytest.mark.parametrize("name", ROWS)
def test_refusal(direct, name):
    run_row(direct, name)


@pytest.mark.parametrize("name", ROWS)
def test_refusal_through_the_carrier(relayed, name):
    run_row(relayed, name)


@pytest.mark.parametrize("name", IDENTITIES)
def test_identity(direct, name):
    status, identity = IDENTITIES[name]
    script = CallerScript(direct, number_of(next(direct.free)), f"P-Asserted-Identity: {identity}\r\n" if identity else "")
    refused(direct, name, script, status, [], body=sdp())


def test_dialog_unknown(direct):
    script = CallerScript(direct, number_of(0))
    request = script.request("BYE", 2, to_tag=";tag=nobody").replace("[next_url]", "sip:x@[remote_ip]:[remote_port]").replace("[routes]\n", "")
    play(direct, "dialog-unknown", script, send(request), receive("481"))


CHANGES = {
    "same": ("200", sdp()),
    "no-description": ("200", ""),
    "address": ("488", sdp(address="198.51.100.99")),
    "port": ("488", sdp(port=50002)),
    "fingerprint": ("488", sdp(fingerprint=OTHER_KEY)),
    "bandwidth": ("488", sdp(bandwidth="b=AS:64\r\n")),
}


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("where", ["direct", "relayed"])
def test_session_may_not_change(request, where, change, method):
    lab = request.getfixturevalue(where)
    status, body = CHANGES[change]
    index = next(lab.free)
    script = CallerScript(lab, number_of(index))
    name = f"change-{method}-{change}"
    steps = [script.invite(body=sdp()), receive("100", optional="true"), receive("200", rrs="true"), script.ack(), pause(300),
             send(script.request(method, 2, body=body), retrans=500), receive("100", optional="true"), receive(status)]
    if method == "INVITE":
        steps.append(script.ack(2) if status == "200" else script.ack_refusal(2))
    steps += [pause(200), send(script.request("BYE", 3), retrans=500), receive("200")]
    process = lab.caller(name, scenario(*steps))
    lab.finish(process, name)
    wait_for(lambda: lab.status(index) in ("READY_TO_CONNECT", "HOLDDOWN"), 5, "the call is over")


@pytest.mark.slow
def test_no_ack(direct):
    """64*T1 without an ACK: the call is ended and not billed on."""
    script = CallerScript(direct, number_of(next(direct.free)))
    play(direct, "no-ack", script, script.invite(body=sdp()), receive("100", optional="true"), receive("200", rrs="true"),
         *[receive("200", optional="true") for _ in range(12)], receive("BYE", timeout="40000"), calls_lab.respond_within("200"), seconds=50)


def test_no_channel():
    """A line with one channel, and that in use."""
    lab = CallsLab(True, "maximum-calls = 1")
    try:
        first = CallerScript(lab, number_of(0))
        process = lab.caller("in-use", scenario(first.invite(body=sdp()), receive("100", optional="true"), receive("200", rrs="true"), first.ack(),
                                                pause(6000), send(first.request("BYE", 2), retrans=500), receive("200")))
        wait_for(lambda: lab.status(0) == "NEGOTIATING_IKE", 5, "the first call")
        script = CallerScript(lab, number_of(1))
        steps = [script.invite(body=sdp()), receive("100", optional="true"), receive("486"), script.ack_refusal(), pause(300)]
        second = lab.sipp("no-channel", scenario(*steps), lab.topology.carrier, CARRIER, 5064, f"{A.wan}:5060")
        lab.finish(second, "no-channel")
        lab.finish(process, "in-use")
    finally:
        lab.close()


def test_ike_does_not_come_up():
    """Answered, and nobody speaks IKE: hung up by us after `ike`."""
    lab = CallsLab(True, timers={"ike": 2})
    try:
        script = CallerScript(lab, number_of(0))
        play(lab, "no-ike", script, script.invite(body=sdp()), receive("100", optional="true"), receive("200", rrs="true"), script.ack(),
             receive("BYE", timeout="8000"), calls_lab.respond_within("200"))
    finally:
        lab.close()


def test_shut_down():
    """Last, in a lab of its own: who shuts down says so."""
    lab = CallsLab(True)
    try:
        lab.router.cli("shutdown", check=False, timeout=30)
        script = CallerScript(lab, number_of(0))
        refused(lab, "shut-down", script, "480", [("Retry-After", "30")], body=sdp())
    finally:
        lab.close()
