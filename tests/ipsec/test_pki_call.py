# SPDX-License-Identifier: GPL-3.0-or-later
"""From nothing to a call and back: both routers enrol at one CA while they run, call, renew, and one is revoked."""

import re
import tempfile
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from est_server import EstServer
from pki_scene import Authority, Web
from vpnlab.namespaces import wait_for
from vpnlab.router import Settings
from vpnlab.topology import A, B

TRUSTPOINT = """\
trustpoint "bank" {{
    certificate-file = "{0}/own.pem"  key-file = "{0}/own.key"  ca-file = "{0}/roots.pem"
    crl-file = "{0}/roots.crl"  crl-url = "{2}/root.crl"  revocation-check = strict
    enrollment = est  enrollment-url = "{1}"  challenge-file = "{0}/challenge"
}}
"""


class Bank:
    """The CA with its servers, and a folder of each router's."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="vpnsip-bank-"))
        self.folder.chmod(0o755)
        self.authority, self.web = Authority(), Web()
        self.est = EstServer(self.folder, self.authority, "router:secret")
        self.lists = 0

    def settings(self, site):
        folder = self.folder / site.name
        folder.mkdir(mode=0o755)
        (folder / "challenge").write_text("router:secret\n")
        (folder / "challenge").chmod(0o600)
        return Settings(idle_time=60, ike_options=["authentication = certificate", 'trustpoint = "bank"'],
                        sections=TRUSTPOINT.format(folder, self.est.url, self.web.url))

    def publish(self, *serials):
        self.lists += 1
        self.web.files["/root.crl"] = self.authority.revocations(*serials, number=self.lists)

    def close(self):
        self.est.close()
        self.web.close()


def enrol(router, bank):
    digest = bank.authority.certificate.fingerprint(hashes.SHA256()).hex()
    for words in (["authenticate", "bank", "--fingerprint", digest], ["key", "bank"], ["enroll", "bank"]):
        router.cli("pki", *words, "--for", "ike", timeout=30)
    assert "a new list" in router.cli("pki", "refresh", "bank", timeout=30)


def peer_of(router):
    """The serial of the peer's certificate, or None."""
    text = router.cli("show", "crypto", "ikev2", "session", "detail")
    found = re.search(r"Peer certificate: CN=(\d+), serial ([0-9A-Fa-f]+), issuer CN=Bank Root", text)
    return found and (found[1], int(found[2], 16))


def test_enrol_call_renew_revoke(make_lab):
    bank = Bank()
    try:
        bank.publish()
        lab = make_lab(a=bank.settings(A), b=bank.settings(B))
        for router in (lab.a, lab.b):
            enrol(router, bank)
        assert lab.ping(2, wait=6) == 2
        lab.wait_up()
        number, first = peer_of(lab.b)
        assert number == A.number and "Auth sign: ECDSA" in lab.b.cli("show", "crypto", "ikev2", "sa")

        assert "bank: renewed" in lab.a.cli("pki", "renew", "bank", "--force", timeout=30)
        assert lab.ping(1) == 1 and lab.b.status() == "SESSION_UP", "the session goes on with the old certificate"
        lab.hang_up()
        assert lab.ping(1, wait=6) == 1
        lab.wait_up()
        _, second = peer_of(lab.b)
        assert second != first, "the next call is made with the new one"

        bank.publish(first)
        lab.b.cli("pki", "refresh", "bank", "--force", timeout=30)
        assert lab.ping(5, interval=0.3) == 5 and lab.b.status() == "SESSION_UP", "control: another certificate is on the list"
        bank.publish(first, second)
        assert "2 revoked" in lab.b.cli("pki", "refresh", "bank", "--force", timeout=30)
        session = lab.b.wait_status("READY_TO_CONNECT", "HOLDDOWN", seconds=10)
        assert "is revoked" in session["last_cause"]
        wait_for(lambda: not lab.carrier.open_dialogs(), 4, "the call is hung up")
    finally:
        bank.close()
