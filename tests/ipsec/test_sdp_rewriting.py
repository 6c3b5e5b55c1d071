# SPDX-License-Identifier: GPL-3.0-or-later
"""A man in the middle of the signalling who has a real IKE of his own: he answers in the other side's place with his address and his
fingerprint. Whoever is authenticated by more than the call refuses him; a self-signed certificate without a pin does not."""

import base64
import signal

import pytest
from attacker import ADDRESS, Attacker
from certificates import pem
from cryptography.hazmat.primitives import serialization
from ike_certificates import LongChain, SelfSigned, certificate, fingerprint, key_of, key_pem, settings
from stock_lab import CONNECTION
from test_attacks_path import put_in_between
from vpnlab.capture import sip_messages
from vpnlab.namespaces import wait_for
from vpnlab.router import Settings
from vpnlab.stock_charon import StockCharon
from vpnlab.topology import A, B

PORT = 50077  # of his IKE
TIMERS = {"holddown": 60, "answer": 4, "ringing": 4, "ike": 4, "release": 1, "port-reuse": 1}
KEY = key_of("ecdsa", "attacker")
# He names himself as the other side does, and strongSwan believes a key-id identity that is the subject key identifier.
HIS = certificate("router b", KEY, "router b", KEY, key_identifier=B.number.encode())


class Interloper(Attacker):
    """Answers IKE on ADDRESS as if he were B, by default with his own certificate and key. He knows A's certificate: IKE shows it to whoever
    asks."""

    def __init__(self, lab, shown=None, own_certificate=HIS, key=key_pem(KEY)):
        super().__init__(lab)
        files = {"x509/own.pem": pem(own_certificate).decode(), "private/own.pem": key.decode()}
        own, other = "auth = pubkey\n    certs = own.pem", "auth = pubkey\n    certs = peer.pem"
        if shown:
            files["x509/peer.pem"] = pem(shown).decode()
        else:
            own = other = "auth = psk"
        connection = CONNECTION.format(local=ADDRESS, local_port=PORT, remote="%any", remote_port=0, own=B.number, other=A.number,
                                       key="not-the-key-of-these-two", authentication=own, other_authentication=other,
                                       ike="aes128-sha256-ecp256", esp="aes128gcm16", options="", child="")
        self.charon = StockCharon(lab.workspace, self.space, "at", connection, f"  port_nat_t = {PORT}\n", files)

    def sas(self):
        return self.charon.control("--list-sas")


def redirect(pattern, replacement):
    """The rules that make B's description his, and leave A's alone."""
    of_b = rf"(?s)(o=- \d+ \d+ IN IP4 {B.wan}.*?)m=application \d+ (.*?){pattern}"
    return [of_b, rf"\g<1>m=application {PORT} \g<2>{replacement}",
            rf"(?s)(o=- \d+ \d+ IN IP4 {B.wan}.*?)c=IN IP4 {B.wan}", rf"\g<1>c=IN IP4 {ADDRESS}",
            rf"(?s)(m=application {PORT} .*?)c=IN IP4 {B.wan}", rf"\g<1>c=IN IP4 {ADDRESS}"]


CERTIFICATE = redirect(r"a=fingerprint:SHA-256 [0-9A-F:]+\r\n", fingerprint(HIS))
NO_KEY = redirect(r"a=psk-fingerprint:SHA-256 [0-9A-F:]+\r\n", "")
PLACE_ALONE = redirect("", "")


def call_into_the_trap(make_lab, a, b, rules, shown=None, **his):
    lab = make_lab(a=a, b=b)
    lab.may_leak = True  # IKE to his address is no session's
    interloper = Interloper(lab, shown, **his)
    process = put_in_between(lab, *rules)
    lab.traffic = lab.start_ping()
    return lab, interloper, process


def come_to_rest(lab):
    lab.traffic.signal(signal.SIGINT)
    for router in (lab.a, lab.b):
        router.wait_status("READY_TO_CONNECT", "HOLDDOWN", seconds=10)


def pin_of(one):
    return fingerprint(one).removeprefix("a=fingerprint:").strip()


@pytest.mark.parametrize("case", ["key", "authority", "pin"])
def test_refused(make_lab, tell, case):
    made = LongChain("ecdsa") if case == "authority" else SelfSigned("ecdsa")
    if case == "key":
        arguments = (Settings(timers=TIMERS), Settings(timers=TIMERS), NO_KEY)
    else:
        pin = pin_of(made.chains["b"][0]) if case == "pin" else ""
        arguments = (settings(A, made, timers=TIMERS, pin=pin), settings(B, made, timers=TIMERS), CERTIFICATE, made.chains["a"][0])
    lab, interloper, process = call_into_the_trap(make_lab, *arguments)
    session = wait_for(lambda: (found := lab.a.session())["failed"] and found, 12, "the call fails")
    assert "rewritten" in process.log.read_text()
    expected = {"key": "AUTHENTICATION_FAILED", "authority": "is not trusted", "pin": "not the one pinned for this peer"}
    assert expected[case] in session["last_cause"], session["last_cause"]
    assert "INSTALLED" not in interloper.sas() and not session.get("sas")
    wait_for(lambda: not lab.carrier.open_dialogs(), 8, "no call is left open")
    come_to_rest(lab)
    tell(session["last_cause"])


def his_key_for(shown):
    """His own private key, which says that its public half is that of the certificate `shown`: strongSwan believes it, and signs."""
    point = [key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
             for key in (KEY.public_key(), shown.public_key())]
    text = KEY.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
    assert point[0] in text
    return f"-----BEGIN EC PRIVATE KEY-----\n{base64.encodebytes(text.replace(*point)).decode()}-----END EC PRIVATE KEY-----\n".encode()


@pytest.mark.parametrize("has_key", [False, True], ids=["forged", "control"])
def test_certificate_of_the_other_side_without_its_key(make_lab, tell, has_key):
    """He moves the call to his address and leaves the fingerprint alone: he shows B's own certificate, and signs with another key. The control:
    with B's key he has the tunnel."""
    made = SelfSigned("ecdsa")
    shown = made.chains["b"][0]
    key = key_pem(made.keys["b"]) if has_key else his_key_for(shown)
    pin = pin_of(shown)
    lab, interloper, process = call_into_the_trap(make_lab, settings(A, made, timers=TIMERS, pin=pin), settings(B, made, timers=TIMERS), PLACE_ALONE,
                                                  made.chains["a"][0], own_certificate=shown, key=key)
    if has_key:
        lab.a.wait_status("SESSION_UP", seconds=8)
        lab.traffic.signal(signal.SIGINT)
        lab.a.cli("hangup", B.number)
    else:
        session = wait_for(lambda: (found := lab.a.session())["failed"] and found, 12, "the call fails")
        assert "peer's signature is not of its certificate's key" in session["last_cause"], session["last_cause"]
        assert f"class=wrong-signature src={ADDRESS}" in lab.a.log("ike-agent")
        assert "INSTALLED" not in interloper.sas() and not session.get("sas")
        wait_for(lambda: not lab.carrier.open_dialogs(), 8, "no call is left open")
        tell(session["last_cause"])
    assert "rewritten" in process.log.read_text()
    come_to_rest(lab)


def test_rewritten_offer_is_not_answered(make_lab):
    """The callee compares the pin before its 200, so the attempt costs nothing."""
    made = SelfSigned("ecdsa")
    of_a = rf"(?s)(o=- \d+ \d+ IN IP4 {A.wan}.*?)a=fingerprint:SHA-256 [0-9A-F:]+\r\n"
    lab = make_lab(a=settings(A, made, timers=TIMERS), b=settings(B, made, timers=TIMERS, pin=pin_of(made.chains["a"][0])))
    process = put_in_between(lab, of_a, rf"\g<1>{fingerprint(HIS)}")
    assert lab.ping(1, wait=1) == 0
    session = wait_for(lambda: (found := lab.a.session())["failed"] and found, 8, "the call fails")
    assert "rewritten" in process.log.read_text() and "488" in session["last_cause"]
    assert "not the one pinned for this peer" in lab.b.session()["last_cause"]
    assert not [message for message in sip_messages(lab.wan["b"].packets()) if message.method == "INVITE" and message.status == 200]
    wait_for(lambda: not lab.carrier.open_dialogs(), 8, "no call is left open")


def test_control_self_signed_without_a_pin(make_lab):
    """Only the carrier vouches for it: he has the tunnel and reads what goes through it. `vpnsip check` says so beforehand."""
    made = SelfSigned("ecdsa")
    lab, interloper, process = call_into_the_trap(make_lab, settings(A, made, timers=TIMERS), settings(B, made, timers=TIMERS), CERTIFICATE,
                                                  made.chains["a"][0])
    assert "trusts the carrier" in lab.a.cli("check", check=False)
    lab.a.wait_status("SESSION_UP", seconds=8)
    assert "rewritten" in process.log.read_text()
    wait_for(lambda: "INSTALLED" in interloper.sas() and " 0 bytes" not in interloper.sas().split("in  ", 1)[1].split("\n", 1)[0], 5,
             "he receives our packets in clear")
    (peer,) = lab.a.show("security")["peers"]
    assert any(one["state"].startswith("trusts the carrier") for one in peer["protections"])
    lab.traffic.signal(signal.SIGINT)
    lab.a.cli("hangup", B.number)
    come_to_rest(lab)
