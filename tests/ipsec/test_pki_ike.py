# SPDX-License-Identifier: GPL-3.0-or-later
"""vpnsip pki --for ike: enrolment and renewal by EST and by SCEP (Debian's scep, of another make), and what can go wrong."""

import json
import os
import socket
import subprocess
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from est_server import EstServer
from pki_scene import HOUR, Authority, Pki, pem
from vpnlab.namespaces import wait_for

IKE = ("--for", "ike")
QUICK = ("--interval", "1")


def colons(certificate):
    return ":".join(f"{octet:02X}" for octet in certificate.fingerprint(hashes.SHA256()))


class Branch(Pki):
    """A branch whose CA signs by this protocol, with the root authenticated and a key made."""

    def enrolled_by(self, protocol, url, challenge):
        self.file("challenge").write_text(challenge + "\n")
        self.file("challenge").chmod(0o600)
        self.configure(f'    enrollment = {protocol}\n    enrollment-url = "{url}"\n    challenge-file = "{self.folder}/challenge"\n'
                       '    subject = "CN=branch1, O=Bank"\n')
        return self

    def authenticate(self, root):
        self("authenticate", "bank", *IKE, "--fingerprint", colons(root))
        self("key", "bank", *IKE, "--yes")
        return self

    def owner(self, name):
        status = self.file(name).stat()
        return status.st_uid, status.st_mode & 0o777


@pytest.fixture
def est(tmp_path):
    server = EstServer(tmp_path, Authority())
    yield server
    server.close()


@pytest.fixture
def branch(tmp_path, est):
    return Branch(tmp_path).enrolled_by("est", est.url, "branch1:secret")


class Scep:
    """Debian's scep: a SCEP server written in Go."""

    def __init__(self, folder, challenge):
        self.folder = folder
        subprocess.run(["scepserver", "ca", "-init", "-depot", folder / "depot", "-keySize", "2048"], check=True, capture_output=True, timeout=60)
        self.root = x509.load_pem_x509_certificate((folder / "depot/ca.pem").read_bytes())
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/scep"
        with (folder / "scep.log").open("wb") as log:
            self.process = subprocess.Popen(["scepserver", "-depot", folder / "depot", "-port", str(self.port), "-challenge", challenge,
                                             "-allowrenew", "0", "-crtvalid", "20"], stdout=log, stderr=log)
        wait_for(self.is_up, 10, "scepserver listens")

    def is_up(self):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def close(self):
        self.process.terminate()
        self.process.wait(10)


@pytest.fixture
def scep(tmp_path):
    server = Scep(tmp_path, "opensesame")
    yield server
    server.close()


def check_files(branch):
    """Key and certificate fit, belong to ike-agent's user, and no leftovers of an exchange are there."""
    if os.geteuid() == 0:
        user = int(subprocess.run(["id", "-u", "vpnsip-ike"], capture_output=True, text=True, check=True).stdout)
        assert branch.owner("own.key") == (user, 0o600) and branch.owner("own.pem") == (user, 0o644)
    assert "of this certificate" in branch("show", "bank", *IKE)
    assert not [path for path in branch.folder.iterdir() if ".next" in path.name or "own.pem." in path.name]


def test_a_self_signed_certificate_has_the_number_and_is_the_services(tmp_path):
    branch = Branch(tmp_path)
    branch("key", "bank", *IKE)
    branch("self-signed", "bank", *IKE)
    assert branch.certificate().subject.rfc4514_string() == "CN=0388881001"
    check_files(branch)
    assert "is not used so: --for ike" in branch.refused("show", "bank", "--for", "sip")


def test_a_trustpoint_of_two_services_is_warned_about(tmp_path):
    branch = Branch(tmp_path)
    assert "give each a trustpoint of its own" not in branch.run("key", "bank", *IKE).stderr
    branch.config.write_text(branch.config.read_text() + 'crypto-signaling { trustpoint = "bank" }\n')
    assert "vpnsip-ike alone can read its key" in branch.run("key", "bank", *IKE, "--yes").stderr


def test_est_signs_our_key(branch, est):
    branch.authenticate(est.authority.certificate)
    told = branch("enroll", "bank", *IKE, "--name", "branch1.bank.example")
    assert "% Certificate request sent to https://" in told and "CN=branch1,O=Bank, by CN=Bank Root" in told
    own = branch.certificate()
    assert own.issuer == est.authority.name
    names = own.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["branch1.bank.example"]
    check_files(branch)


def test_a_foreign_client_agrees_with_the_test_server(branch, est, tmp_path):
    """strongSwan's client is served too: the server of these tests is not one of our own making alone."""
    branch.authenticate(est.authority.certificate)
    request = tmp_path / "request.pem"
    request.write_text(branch("request", "bank", *IKE))
    done = subprocess.run(["pki", "--est", "--url", est.url, "--in", request, "--cacert", tmp_path / "roots.pem", "--userpass", "branch1:secret",
                           "--outform", "pem"], capture_output=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert x509.load_pem_x509_certificate(done.stdout).issuer == est.authority.name


def test_scep_signs_our_key_and_renews_it(tmp_path, scep):
    branch = Branch(tmp_path).enrolled_by("scep", scep.url, "opensesame").authenticate(scep.root)
    assert "RSA 2048" in branch("show", "bank", *IKE)
    branch("enroll", "bank", *IKE)
    first = branch.certificate()
    assert first.issuer == scep.root.subject and set(first.subject.rfc4514_string().split(",")) == {"CN=branch1", "O=Bank"}
    check_files(branch)
    assert "not due until" in branch("renew", "--all")
    assert "bank: renewed" in branch("renew", "bank", "--force")
    second = branch.certificate()
    assert second.subject == first.subject and second.public_key().public_numbers() != first.public_key().public_numbers()
    check_files(branch)


def test_scep_with_a_wrong_challenge_is_refused(tmp_path, scep):
    branch = Branch(tmp_path).enrolled_by("scep", scep.url, "wrong").authenticate(scep.root)
    assert "the CA refuses" in branch.refused("enroll", "bank", *IKE)
    assert not branch.file("own.pem").exists()
    branch.enrolled_by("scep", scep.url, "opensesame")("enroll", "bank", *IKE)  # control


def test_scep_needs_a_key_that_decrypts(tmp_path, scep):
    branch = Branch(tmp_path).enrolled_by("scep", scep.url, "opensesame").authenticate(scep.root)
    branch("key", "bank", *IKE, "--type", "ec:p256", "--yes")
    assert "--type rsa:2048" in branch.refused("enroll", "bank", *IKE)


def test_est_with_a_wrong_challenge_is_refused(branch, est):
    branch.authenticate(est.authority.certificate)
    branch.enrolled_by("est", est.url, "branch1:wrong")
    assert "wrong or missing challenge password" in branch.refused("enroll", "bank", *IKE)
    assert not branch.file("own.pem").exists() and len(est.requests) == 1, "a refusal is not asked for again"
    branch.enrolled_by("est", est.url, "password")
    assert '"NAME:PASSWORD"' in branch.refused("enroll", "bank", *IKE)


def test_the_challenge_is_in_no_output_and_its_file_is_nobody_elses(branch, est):
    branch.authenticate(est.authority.certificate)
    branch.file("challenge").chmod(0o640)
    assert "may be read or written by others" in branch.refused("enroll", "bank", *IKE)
    assert not est.requests
    branch.file("challenge").chmod(0o600)
    done = branch.run("enroll", "bank", *IKE)
    branch.file("challenge").chmod(0o640)
    assert "may be read or written by others" in branch.refused("renew", "bank", "--force")
    assert done.returncode == 0 and "secret" not in done.stdout + done.stderr


def test_a_server_that_is_away_is_asked_again_and_then_given_up(branch, est):
    branch.authenticate(est.authority.certificate)
    branch.enrolled_by("est", "https://127.0.0.1:1", "branch1:secret")
    began = time.monotonic()
    done = branch.run("enroll", "bank", *IKE, *QUICK, "--retries", "2")
    assert done.returncode == 1 and 2 <= time.monotonic() - began < 10
    assert "% Attempt 2 of 3 in 1 s" in done.stdout and "% Attempt 3 of 3 in 1 s" in done.stdout
    assert "given up after 3 attempts" in done.stderr and "Failed to connect" in done.stderr


def test_a_ca_that_has_not_decided_is_asked_until_it_has(branch, est):
    branch.authenticate(est.authority.certificate)
    est.pending = 2
    told = branch("enroll", "bank", *IKE, *QUICK)
    assert told.count("% The CA has not decided") == 2 and len(est.requests) == 3
    check_files(branch)


def test_patience_with_a_ca_ends(branch, est):
    branch.authenticate(est.authority.certificate)
    est.pending = 1000
    assert "the request stands, ask again later" in branch.refused("enroll", "bank", *IKE, *QUICK, "--wait", "2", status=2)
    assert 2 <= len(est.requests) <= 4 and not branch.file("own.pem").exists()
    est.retry_after = 3600  # longer than we wait: no hour is slept
    assert "ask again later" in branch.refused("enroll", "bank", *IKE, *QUICK, "--wait", "2", status=2)


def test_a_foreign_fingerprint_is_not_believed(branch, est):
    stranger = colons(Authority("Bank Root").certificate)
    assert "it is not believed" in branch.refused("authenticate", "bank", *IKE, "--fingerprint", stranger)
    assert not branch.file("roots.pem").exists()
    branch("authenticate", "bank", *IKE, "--fingerprint", colons(est.authority.certificate))  # control
    assert branch.file("roots.pem").read_bytes() == pem(est.authority.certificate)


def test_a_server_of_another_ca_gets_no_challenge(branch, est):
    """Whoever stands in the CA's place, with a root of the same name: no request reaches him."""
    branch.file("roots.pem").write_bytes(pem(Authority("Bank Root").certificate))
    branch("key", "bank", *IKE)
    assert "the server's CA is not one of those in" in branch.refused("enroll", "bank", *IKE)
    assert not est.requests
    branch.file("roots.pem").unlink()
    branch.authenticate(est.authority.certificate)("enroll", "bank", *IKE)  # control


@pytest.mark.parametrize("kind", ["stranger", "expired"])
def test_a_certificate_that_is_worth_nothing_is_not_taken(branch, est, kind):
    branch.authenticate(est.authority.certificate)
    if kind == "stranger":
        est.stranger = Authority("Bank Root")
    else:
        est.life = (-3 * HOUR, -HOUR)
    assert "the certificate that came is not taken" in branch.refused("enroll", "bank", *IKE)
    assert not branch.file("own.pem").exists()


def test_renewal_when_it_is_due(branch, est):
    branch.authenticate(est.authority.certificate)
    est.life = (-8 * HOUR, 3 * HOUR)  # 72 percent of its life
    branch("enroll", "bank", *IKE)
    first, key = branch.certificate(), branch.file("own.key").read_bytes()
    assert "bank: not due until" in branch("renew", "--all")
    assert len(est.requests) == 1 and branch.file("own.key").read_bytes() == key
    est.life = (-9 * HOUR, 2 * HOUR)  # 81 percent
    branch("enroll", "bank", *IKE, "--yes")
    est.life = (-HOUR, 24 * HOUR)
    assert "bank: renewed" in branch("renew", "--all")
    second = branch.certificate()
    assert est.requests[-1].endswith("/simplereenroll") and second.not_valid_after > first.not_valid_after
    assert branch.file("own.key").read_bytes() != key, "a renewed certificate has a new key"
    assert "not due until" in branch("renew", "--all")
    check_files(branch)


def test_a_renewal_that_fails_leaves_what_is_there_and_goes_on_later(branch, est):
    branch.authenticate(est.authority.certificate)
    branch("enroll", "bank", *IKE)
    before = branch.file("own.pem").read_bytes(), branch.file("own.key").read_bytes()
    est.pending = 1000
    branch.refused("renew", "bank", "--force", *QUICK, "--wait", "1", status=2)
    assert (branch.file("own.pem").read_bytes(), branch.file("own.key").read_bytes()) == before
    waiting = branch.file("own.key.next").read_bytes()
    est.pending = 0
    branch("renew", "bank", "--force")
    assert branch.file("own.key").read_bytes() == waiting, "the CA was asked about the same key"
    check_files(branch)


def test_an_exchange_that_was_cut_short_is_finished(branch, est):
    """Killed between the two renames: the new key is there, its certificate still beside the old one."""
    branch.authenticate(est.authority.certificate)
    branch("enroll", "bank", *IKE)
    old = branch.file("own.pem").read_bytes()
    branch("renew", "bank", "--force")
    branch.file("own.pem").rename(branch.file("own.pem.next"))
    branch.file("own.pem").write_bytes(old)
    assert "NOT of this certificate" in branch("show", "bank", *IKE)
    branch("renew", "--all")
    assert branch.file("own.pem").read_bytes() != old
    check_files(branch)


def test_what_cannot_be_enrolled_says_so(tmp_path):
    branch = Branch(tmp_path)
    assert "has no enrollment" in branch.refused("enroll", "bank", *IKE)
    assert "say which trustpoint, or --all" in branch.refused("renew")
    assert branch("renew", "--all") == ""
    branch.enrolled_by("est", "https://127.0.0.1:1", "a:b")
    branch("key", "bank", *IKE)
    assert "holds no root: vpnsip pki authenticate bank --for ike" in branch.refused("enroll", "bank", *IKE)


def test_show_certificates(branch, est):
    """As the manual's routers show them: both certificates, with their labels in order."""
    branch.authenticate(est.authority.certificate)
    branch("enroll", "bank", *IKE, "--name", "branch1.bank.example")
    branch.file("roots.crl").write_bytes(est.authority.revocations(7, 8))
    text = branch("certificates", "verbose", command="show crypto pki")
    at = 0
    for label in ["Certificate\n  Status: Available", "Certificate Serial Number (hex): ", "Certificate Usage: General Purpose", "Issuer:",
                  "cn=Bank Root", "Subject:", "cn=branch1", "Validity Date:", "start date: ", "end   date: ", "renew date: ", "Subject Key Info:",
                  "Signature Algorithm: ", f"Fingerprint SHA256: {colons(branch.certificate())}", "Fingerprint SHA384: ", "Fingerprint SHA512: ", "Fingerprint SHA1: ", "X509v3 extensions:",
                  "DNS:branch1.bank.example", "Associated Trustpoints: bank", "Key Label: ", "CA Certificate\n", "cn=Bank Root",
                  f"Fingerprint SHA256: {colons(est.authority.certificate)}", "Associated Trustpoints: bank", "CRL\n", "Revoked certificates: 2"]:
        found = text.find(label, at)
        assert found >= 0, (label, text)
        at = found + len(label)
    brief = branch("certificates", command="show crypto pki")
    assert "Fingerprint" not in brief and "Associated Trustpoints: bank" in brief
    model = json.loads(branch("certificates", "--json", command="show crypto pki"))
    assert [one["is_own"] for one in model["certificates"]] == [True, False] and model["crls"][0]["revoked"] == 2
