# SPDX-License-Identifier: GPL-3.0-or-later
"""Authentication over the whole product: two routers that call each other, with certificates that are right, and with what can be wrong
about them. What is wrong before the call costs no call; each failure says which."""

import tempfile
import time
from pathlib import Path

import pytest
from certificates import DAY, name_of, pem, utc_now, write
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from ike_certificates import LongChain, SelfSigned, certificate, fingerprint, key_of, settings, stock_options
from stock_lab import StockLab
from test_interop import bring_up
from vpnlab.capture import sip_messages
from vpnlab.namespaces import wait_for
from vpnlab.router import Settings
from vpnlab.topology import A, B

TIMERS = {"holddown": 60, "answer": 4, "ringing": 4, "ike": 4, "release": 1, "port-reuse": 1}
USER = "vpnsip-ike"


def descriptions(lab):
    return [message.body.decode() if isinstance(message.body, bytes) else message.body
            for message in sip_messages(lab.wan["a"].packets()) if message.body]


def invites(lab):
    return [message for message in sip_messages(lab.wan["a"].packets()) if message.method == "INVITE" and not message.status]


def fail_call(lab, seconds=10):
    """A packet triggers a call of A's that fails: its cause."""
    lab.ping(1, wait=1)
    session = wait_for(lambda: (found := lab.a.session())["failed"] and found, seconds, "the call fails")
    wait_for(lambda: not lab.carrier.open_dialogs(), 8, "no call is left open")
    assert not session.get("sas")
    return session["last_cause"]


def told_of(router, refusal, source):
    """Whether ike-agent's log has a line of this class about this source."""
    return f"ike.guard.reject class={refusal} src={source} tunnel=" in router.log("ike-agent")


def file_of(router, option):
    """The path that the configuration of a router names."""
    text = router.config_file.read_text()
    return text.split(f'{option} = "', 1)[1].split('"', 1)[0]


@pytest.mark.parametrize("kind", ["rsa", pytest.param("ecdsa", marks=pytest.mark.long), "ecdsa-384"])
def test_self_signed(make_lab, kind):
    """The fingerprint of SDP and the pin of one side name the certificate."""
    made = SelfSigned(kind)
    shown = {site: fingerprint(made.chains[site][0]) for site in ("a", "b")}
    lab = make_lab(a=settings(A, made, pin=shown["b"].removeprefix("a=fingerprint:").strip()), b=settings(B, made))
    assert lab.ping(3, wait=6) == 3
    lab.wait_up()
    texts = descriptions(lab)
    assert all(any(shown[site] in text.split("m=", 1)[1] for text in texts) for site in ("a", "b")), "a=fingerprint at media level"
    assert not any("psk-fingerprint" in text for text in texts)
    lab.hang_up()


def test_keys_by_wildcard(make_lab):
    """One key for all numbers at A, the peer's own at B."""
    lab = make_lab()
    keyring = lab.a.dir / "ike.keyring"
    key = lab.a.settings.psk
    assert lab.ping(1, wait=6) == 1
    lab.hang_up()
    write(keyring, f'peer "all" {{ identity-any = true  pre-shared-key = "{key}" }}\n'.encode(), USER)
    assert lab.ping(1, wait=6) == 1, "found at once: the file is looked at for each call"
    lab.wait_up()
    assert "keyring" in lab.a.log("ike-agent") and "renewed, 1 keys" in lab.a.log("ike-agent")
    lab.hang_up()
    write(keyring, b'peer "all" { identity-key-id = "0399990000"  pre-shared-key = "another-key-of-somebody" }\n', USER)
    before = len(invites(lab))
    assert f"no key for {B.number}" in fail_call(lab)
    assert len(invites(lab)) == before, "a call that cannot work is not placed"


MAP = """certificate-map "head" {{ subject-name = "eq CN={subject}"  issuer-name = "co cn=intermediate" }}\n"""


def with_map(site, made, subject, **more):
    made_settings = settings(site, made, ["match-identity = certificate-map", 'certificate-map = "head"'], **more)
    made_settings.sections += MAP.format(subject=subject)
    return made_settings


def test_authority_with_map(make_lab):
    made = LongChain("rsa")
    lab = make_lab(a=with_map(A, made, "router b"), b=with_map(B, made, "router a"))
    assert lab.ping(3, wait=6) == 3
    lab.wait_up()
    lab.hang_up()


class Authority:
    """One root, both sites' certificates, its revocation list; renewable while the routers run."""

    method = "certificate"

    def __init__(self):
        self.key = key_of("ecdsa", "authority")
        self.root = certificate("Root", self.key, "Root", self.key, is_authority=True)
        self.keys = {site.name: key_of("ecdsa", site.name) for site in (A, B)}
        self.chains = {site.name: [self.issue(site)] for site in (A, B)}

    def issue(self, site, days=30):
        return certificate(f"router {site.name}", self.keys[site.name], "Root", self.key, days=days)

    def publish(self, path, *revoked):
        builder = x509.CertificateRevocationListBuilder().issuer_name(name_of("Root"))
        builder = builder.last_update(utc_now() - DAY).next_update(utc_now() + DAY)
        for one in revoked:
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder().serial_number(one.serial_number).revocation_date(utc_now() - DAY).build())
        write(path, builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM), USER)

    def settings(self, site, crl="", ike_options=(), **more):
        made = settings(site, self, ike_options, **more)
        if crl:
            made.sections = made.sections.replace("}\n", f' crl-file = "{crl}"  revocation-check = strict }}\n')
        return made


def test_revoked_during_a_call(make_lab):
    """The session ends with its call soon after the new list is there; the next call fails, also on a list that is out of date."""
    made = Authority()
    folder = Path(tempfile.mkdtemp(prefix="vpnsip-ike-"))
    folder.chmod(0o755)
    made.publish(folder / "root.crl")
    lab = make_lab(a=made.settings(A, timers=TIMERS), b=made.settings(B, folder / "root.crl", timers=TIMERS, idle_time=60))
    assert lab.ping(1, wait=6) == 1
    lab.wait_up()
    revoked = made.chains["a"][0]
    made.publish(folder / "root.crl", revoked)
    lab.b.wait_status("READY_TO_CONNECT", "HOLDDOWN", seconds=10)
    cause = lab.b.session()["last_cause"]
    assert f"is revoked: serial {revoked.serial_number:X}".lower() in cause.lower().replace("serial 0", "serial "), cause
    assert told_of(lab.b, "revoked", A.wan)
    wait_for(lambda: not lab.carrier.open_dialogs(), 4, "the call is hung up")
    lab.a.wait_status("READY_TO_CONNECT", "HOLDDOWN")
    lab.ping(1, wait=1, source="b")
    wait_for(lambda: "is revoked" in lab.b.session()["last_cause"] and lab.b.session()["failed"], 10, "the next call fails")
    wait_for(lambda: not lab.carrier.open_dialogs(), 8, "no call is left open")


@pytest.mark.long
def test_root_taken_away_during_a_call(make_lab):
    """Whom it vouched for is believed no more: the session ends with its call. The control: another root goes first."""
    made, other = Authority(), Authority()
    lab = make_lab(a=made.settings(A, timers=TIMERS, idle_time=60), b=made.settings(B, timers=TIMERS, idle_time=60))
    roots = file_of(lab.b, "ca-file")
    write(roots, pem(made.root, other.root), USER)
    assert lab.ping(1, wait=6) == 1
    lab.wait_up()
    looks = lab.b.log("ike-agent").count("renewed,")
    write(roots, pem(made.root), USER)
    wait_for(lambda: lab.b.log("ike-agent").count("renewed,") > looks, 8, "the files are looked at")
    time.sleep(1)
    lab.wait_up()
    other.root = certificate("Another", other.key, "Another", other.key, is_authority=True)
    write(roots, pem(other.root), USER)
    lab.b.wait_status("READY_TO_CONNECT", "HOLDDOWN", seconds=10)
    assert "is not trusted" in lab.b.session()["last_cause"] and told_of(lab.b, "untrusted", A.wan)
    wait_for(lambda: not lab.carrier.open_dialogs(), 4, "the call is hung up")


def test_expires_during_a_call(make_lab):
    """Also an SA in tunnel-agent does not outlive the certificate."""
    made = Authority()
    lab = make_lab(a=made.settings(A, timers=TIMERS, idle_time=60), b=made.settings(B, timers=TIMERS, idle_time=60))
    write(file_of(lab.b, "certificate-file"), pem(made.issue(B, days=9 / 86400)), USER)
    assert lab.ping(1, wait=6) == 1
    lab.wait_up()
    for router in lab.routers.values():
        left = [sa["remaining_sec"] for sa in router.session()["sas"]]
        assert len(left) == 2 and all(0 < sec <= 9 for sec in left), left
    end = time.time() + 9
    lab.a.wait_status("READY_TO_CONNECT", "HOLDDOWN", seconds=14)
    assert abs(time.time() - end) < 5
    causes = lab.a.session()["last_cause"] + lab.b.session()["last_cause"]
    assert "certificate expired at" in causes, causes
    wait_for(lambda: not lab.carrier.open_dialogs(), 4, "the call is hung up")
    # Our own certificate is of no use any more: no call is placed with it.
    before = len(invites(lab))
    lab.ping(1, wait=1, source="b")
    wait_for(lambda: "our certificate expired at" in lab.b.session()["last_cause"], 6, "the cause")
    assert len(invites(lab)) == before
    # A renewed one is used from the next call on, without a restart.
    write(file_of(lab.b, "certificate-file"), pem(made.issue(B)), USER)
    lab.a.cli("call", B.number, check=False)
    lab.wait_up()
    assert all(sa["remaining_sec"] > 3000 for sa in lab.a.session()["sas"]), "the control: those of the profile"
    lab.hang_up()


def test_other_method(make_lab):
    """B wants a certificate: an offer with the fingerprint of a key is refused before it is answered."""
    lab = make_lab(a=Settings(timers=TIMERS), b=settings(B, SelfSigned("ecdsa"), timers=TIMERS))
    assert "488" in fail_call(lab)
    assert not [message for message in sip_messages(lab.wan["a"].packets()) if message.status == 200 and message.method == "INVITE"]


def test_other_method_unannounced(make_lab):
    """Without fingerprints in the descriptions IKE itself finds out."""
    lab = make_lab(a=Settings(timers=TIMERS, psk_fingerprint=False), b=Authority().settings(B, timers=TIMERS))
    cause = fail_call(lab)
    assert "no fingerprint of the kind" in cause or "488" in cause or "AUTHENTICATION_FAILED" in cause, cause


def test_reauthentication(make_lab, tell):
    """Both prove themselves again, certificates included, without a packet lost."""
    made = Authority()
    lab = make_lab(a=made.settings(A, timers=TIMERS, idle_time=60, ike_options=["reauthentication = 3"]),
                   b=made.settings(B, timers=TIMERS, idle_time=60))
    assert lab.ping(1, wait=6) == 1
    lab.wait_up()
    answered = lab.ping(70, interval=0.1)
    ups = lab.a.log("ike-agent").count("IKE is up")
    tell(f"{answered} of 70 pings answered over {ups - 1} reauthentications")
    assert answered == 70 and ups >= 3
    lab.wait_up()
    lab.hang_up()


@pytest.mark.parametrize("we_call", [True, False], ids=["we-call", "it-calls"])
@pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
def test_methods_before_rfc_7427(kind, we_call):
    """A peer that knows only the methods of RFC 7296 and RFC 4754: RSA with SHA-1 over the exchange, ECDSA by curve."""
    made = SelfSigned(kind)
    lab = StockLab(settings=settings(A, made), charon_settings="  signature_authentication = no\n", **stock_options(made))
    try:
        bring_up(lab, we_call)
        lab.data_both_ways()
        if we_call:
            lab.router.cli("hangup", B.number)
        else:
            lab.charon.control("--terminate", "--ike", "lab")
        lab.finish_call()
        assert ("with RSA signature successful" if kind == "rsa" else "with ECDSA-256 signature successful") in lab.charon.log
    finally:
        lab.close()


@pytest.mark.parametrize("fault", ["untrusted", "map"])
def test_refused(make_lab, fault):
    made = Authority()
    if fault == "untrusted":
        other = Authority()
        other.key = key_of("ecdsa", "another authority")
        other.root = made.root
        other.chains = {site.name: [other.issue(site)] for site in (A, B)}
        b = other.settings(B, timers=TIMERS)
    else:
        b = made.settings(B, timers=TIMERS)
    a = with_map(A, made, "router c", timers=TIMERS) if fault == "map" else made.settings(A, timers=TIMERS)
    if fault == "map":
        a.sections = a.sections.replace("co cn=intermediate", "co cn=root")
    lab = make_lab(a=a, b=b)
    expected = "does not fit certificate-map head" if fault == "map" else "is not trusted"
    cause = fail_call(lab)
    assert expected in cause, cause
    assert told_of(lab.a, "untrusted", B.wan)


def test_key_that_others_read(make_lab):
    """The check says it, and no call is placed with it."""
    made = SelfSigned("ecdsa")
    lab = make_lab(a=settings(A, made, timers=TIMERS), b=settings(B, made, timers=TIMERS))
    key = file_of(lab.a, "key-file")
    lab.a.space.run("chmod", "644", key)
    assert "others may read it: chmod 600" in lab.a.cli("check", check=False)
    # What was loaded before stays in use; a service that starts takes nothing from it.
    lab.a.stop(names=["ike-agent"])
    lab.a.start_service("ike-agent")
    lab.a.wait_up()
    assert "others may read it" in fail_call(lab)
    assert not invites(lab)
