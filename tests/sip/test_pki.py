# SPDX-License-Identifier: GPL-3.0-or-later
"""vpnsip pki: keys, requests and certificates, with the openssl command as the other side and as the CAs."""

import json
import os
import pty
import stat
import subprocess
import termios
import time

import pytest
from vpnlab.router import program

CONFIG = """
tunnel-source = "10.255.0.1"
trustpoint "own" {{
    certificate-file = "{0}/own.pem"
    key-file = "{0}/own.key"
    ca-file = "{0}/roots.pem"
    crl-file = "{0}/roots.crl"
}}
trustpoint "believing" {{
    ca-file = "{0}/others.pem"
}}
"""

ROOT_EXTENSIONS = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n"


def openssl(*arguments, **options):
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, timeout=60, check=False, **options)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


class Authority:
    """A CA: a root, and an intermediate one that signs."""

    def __init__(self, folder, name):
        self.folder, self.name = folder, name
        (folder / "ca.ext").write_text(ROOT_EXTENSIONS)
        self.root, self.key = folder / f"{name}-root.pem", folder / f"{name}-root.key"
        self.middle, self.middle_key = folder / f"{name}-middle.pem", folder / f"{name}-middle.key"
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", self.key, "-out", self.root,
                "-days", "30", "-subj", f"/O=Test/CN={name} root")
        openssl("req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", self.middle_key, "-out", folder / "middle.csr",
                "-subj", f"/O=Test/CN={name} middle")
        openssl("x509", "-req", "-in", folder / "middle.csr", "-CA", self.root, "-CAkey", self.key, "-CAcreateserial", "-days", "20",
                "-extfile", folder / "ca.ext", "-out", self.middle)

    def sign(self, request, certificate):
        openssl("x509", "-req", "-in", request, "-CA", self.middle, "-CAkey", self.middle_key, "-CAcreateserial", "-days", "10",
                "-copy_extensions", "copyall", "-out", certificate)

    def fingerprint(self, digest="sha256"):
        return openssl("x509", "-in", self.root, "-noout", "-fingerprint", f"-{digest}").split("=")[1].strip()


class Pki:
    def __init__(self, folder):
        self.folder = folder
        self.config = folder / "vpnsip.conf"
        self.config.write_text(CONFIG.format(folder))

    def run(self, *arguments, typed="", user=None):
        return subprocess.run([program("vpnsip"), "-c", self.config, "pki", *map(str, arguments)],
                              input=typed, capture_output=True, text=True, timeout=60, check=False, user=user)

    def __call__(self, *arguments, **options):
        done = self.run(*arguments, "--for", "sip", **options)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def refused(self, *arguments, **options):
        done = self.run(*arguments, "--for", "sip", **options)
        assert done.returncode == 1, (done.stdout, done.stderr)
        return done.stderr

    def file(self, name):
        return self.folder / name

    def chain(self, authority):
        """Our certificate, signed by this CA's intermediate one: as the CA hands it out."""
        self.file("own.csr").write_text(self("request", "own", "--subject", "CN=branch1.example.ne.jp,O=Branch", "--name",
                                             "branch1.example.ne.jp", "--name", "198.51.100.10", "--name", "sip:example.ne.jp"))
        authority.sign(self.file("own.csr"), self.file("signed.pem"))
        chain = self.file("chain.pem")
        chain.write_text(self.file("signed.pem").read_text() + authority.middle.read_text())
        return chain


@pytest.fixture
def pki(tmp_path):
    return Pki(tmp_path)


@pytest.fixture(scope="module")
def authorities(tmp_path_factory):
    return [Authority(tmp_path_factory.mktemp(name), name) for name in ("first", "second")]


def wait_for(condition):
    until = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(("kind", "shown"), [("rsa:2048", "RSA 2048"), ("rsa:4096", "RSA 4096"), ("ec:p256", "EC P-256"), ("ec:p384", "EC P-384")])
def test_keys_are_those_that_were_asked_for(pki, kind, shown):
    assert f"a new key, {shown}" in pki("key", "own", "--type", kind)
    assert mode(pki.file("own.key")) == 0o600
    text = openssl("pkey", "-in", pki.file("own.key"), "-noout", "-text", "-check")
    assert f"{shown.split()[-1].removeprefix('P-')} bit" in text and "Key is valid" in text
    assert [path.name for path in pki.folder.iterdir() if path.name.startswith("own.key")] == ["own.key"]


def test_a_key_is_replaced_only_when_it_is_wanted(pki):
    pki("key", "own")
    before = pki.file("own.key").read_text()
    assert "nothing was done" in pki.refused("key", "own", typed="no\n")
    assert pki.file("own.key").read_text() == before
    pki("key", "own", "--yes")
    assert pki.file("own.key").read_text() != before
    assert "rsa:2048" in pki.refused("key", "own", "--yes", "--type", "rsa:512")
    assert "no trustpoint" in pki.refused("key", "nobody")
    assert "has no key-file" in pki.refused("key", "believing")


def test_the_purpose_must_be_said(pki):
    assert "--for is missing" in pki.run("key", "own").stderr
    assert "certificates are for: sip, ike" in pki.run("key", "own", "--for", "mail").stderr


def test_what_root_writes_belongs_to_the_service(pki):
    import pwd
    pki("key", "own")
    try:
        owner = pwd.getpwnam("vpnsip-sip").pw_uid
    except KeyError:
        owner = os.geteuid()
    assert pki.file("own.key").stat().st_uid == owner


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_somebody_else_can_neither_read_nor_write(pki):
    pki("key", "own")
    before = pki.file("own.key").read_text()
    for path in [pki.folder, *pki.folder.parents][:-2]:
        path.chmod(path.stat().st_mode | 0o055)
    assert "Permission denied" in pki.refused("key", "own", "--yes", user=65534)
    assert "Permission denied" in pki.refused("request", "own", user=65534)
    assert "Permission denied" in pki("show", "own", user=65534)  # of the key; the rest may be seen
    assert pki.file("own.key").read_text() == before


def test_self_signed_is_believed_by_openssl(pki):
    pki("key", "own")
    shown = pki("self-signed", "own", "--subject", "CN=branch1", "--name", "branch1.example.ne.jp", "--days", "7")
    own = pki.file("own.pem")
    openssl("verify", "-CAfile", own, own)
    fingerprint = openssl("x509", "-in", own, "-noout", "-fingerprint", "-sha256").split("=")[1].strip()
    assert fingerprint in shown
    text = openssl("x509", "-in", own, "-noout", "-text")
    assert "DNS:branch1.example.ne.jp" in text and "CA:FALSE" in text and "TLS Web Server Authentication" in text
    assert mode(own) == 0o644
    assert "nothing was done" in pki.refused("self-signed", "own", typed="\n")


def test_request_carries_subject_and_names(pki):
    assert "vpnsip pki key own" in pki.refused("request", "own")
    pki("key", "own", "--type", "ec:p384")
    pki.file("own.csr").write_text(pki("request", "own", "--subject", "CN=branch1.example.ne.jp,O=Branch", "--name",
                                       "branch1.example.ne.jp", "--name", "198.51.100.10", "--name", "sip:example.ne.jp"))
    text = openssl("req", "-in", pki.file("own.csr"), "-noout", "-text", "-verify")
    for part in ("CN = branch1.example.ne.jp", "O = Branch", "DNS:branch1.example.ne.jp", "IP Address:198.51.100.10", "URI:sip:example.ne.jp",
                 "ecdsa-with-SHA384"):
        assert part in text
    assert "expected \"CN=" in pki.refused("request", "own", "--subject", "branch1")


def test_chain_of_a_ca(pki, authorities):
    first, second = authorities
    pki("key", "own")
    chain = pki.chain(first)
    pki("authenticate", "own", first.root, "--fingerprint", first.fingerprint())
    assert "2 certificates" in pki("import", "own", chain)
    openssl("verify", "-CAfile", first.root, "-untrusted", pki.file("own.pem"), pki.file("own.pem"))
    assert pki("export", "own") == pki.file("own.pem").read_text()
    assert pki("export", "own", "root") == openssl("x509", "-in", first.root)
    # The root of the other CA beside ours: both are believed.
    pki("authenticate", "own", second.root, typed="yes\n")
    assert pki.file("roots.pem").read_text().count("BEGIN CERTIFICATE") == 2
    trustpoint = json.loads(pki("show", "own", "--json"))["trustpoints"][0]
    assert [entry["sha256"] for entry in trustpoint["authorities"]] == [first.fingerprint(), second.fingerprint()]
    assert trustpoint["key"]["matches"] is True
    assert "CN=branch1.example.ne.jp" in trustpoint["chain"][0]["subject"]
    assert "URI:sip:example.ne.jp" in trustpoint["chain"][0]["names"]
    assert "of this certificate" in pki("show")


def test_a_chain_in_any_order_is_put_in_order_and_its_root_left_out(pki, authorities):
    first, second = authorities
    pki("key", "own")
    chain = pki.chain(first)
    mixed = pki.file("mixed.pem")
    mixed.write_text(pki.file("signed.pem").read_text() + first.root.read_text() + first.middle.read_text())
    pki("import", "own", mixed)
    assert pki.file("own.pem").read_text().count("BEGIN CERTIFICATE") == 2
    openssl("verify", "-CAfile", first.root, "-untrusted", pki.file("own.pem"), pki.file("own.pem"))
    mixed.write_text(chain.read_text() + second.middle.read_text())
    assert "belongs to no other" in pki.refused("import", "own", mixed)
    assert not pki.file("roots.pem").exists()
    assert "authenticate it first" in pki.refused("export", "own", "root")


def test_a_certificate_of_another_key_is_refused(pki, authorities):
    pki("key", "own")
    chain = pki.chain(authorities[0])
    pki("key", "own", "--yes")
    assert "of another key" in pki.refused("import", "own", chain)
    assert not pki.file("own.pem").exists()


def test_authenticate_compares_or_asks(pki, authorities):
    first, second = authorities
    right, wrong = first.fingerprint(), second.fingerprint()
    for answer in ("no\n", "\n", ""):
        assert "nothing was done" in pki.refused("authenticate", "believing", first.root, typed=answer)
    # Nobody is believed by a script that says yes to everything.
    assert "nothing was done" in pki.refused("authenticate", "believing", first.root, "--yes")
    assert "not the one that was expected" in pki.refused("authenticate", "believing", first.root, "--fingerprint", wrong)
    assert "expected the 64" in pki.refused("authenticate", "believing", first.root, "--fingerprint", right[:-3])
    assert not pki.file("others.pem").exists()
    shown = pki("authenticate", "believing", first.root, typed="yes\n")
    assert right in shown and first.fingerprint("sha1") in shown and "[yes/no]" in shown and "accepted." in shown
    assert "accepted before" in pki("authenticate", "believing", first.root, "--fingerprint", right.replace(":", "").lower())
    pki("authenticate", "believing", second.root, "--fingerprint", second.fingerprint("sha1"))
    assert pki.file("others.pem").read_text().count("BEGIN CERTIFICATE") == 2


def test_only_a_root_is_authenticated(pki, authorities):
    first = authorities[0]
    assert "not a root" in pki.refused("authenticate", "believing", first.middle, typed="yes\n")
    pki.file("two.pem").write_text(first.root.read_text() * 2)
    assert "expected one certificate" in pki.refused("authenticate", "believing", pki.file("two.pem"), typed="yes\n")
    pki.file("none.pem").write_text("no certificate\n")
    assert "expected one certificate" in pki.refused("authenticate", "believing", pki.file("none.pem"), typed="yes\n")
    assert "cannot be read" in pki.refused("authenticate", "believing", pki.file("missing.pem"), typed="yes\n")
    openssl("x509", "-in", first.root, "-outform", "DER", "-out", pki.file("root.der"))
    pki("authenticate", "believing", pki.file("root.der"), typed="yes\n")


def test_pkcs12_from_openssl_and_back(pki, authorities):
    first = authorities[0]
    pki("key", "own")
    chain = pki.chain(first)
    pki("import", "own", chain)
    before = pki.file("own.key").read_text(), pki.file("own.pem").read_text()
    passphrase = pki.file("passphrase")
    passphrase.write_text("correct horse battery\n")
    container = pki.file("own.p12")
    pki("export", "own", "--pkcs12", container, "--passphrase-file", passphrase)
    assert mode(container) == 0o600
    shown = openssl("pkcs12", "-in", container, "-passin", f"file:{passphrase}", "-nodes")
    assert shown.count("BEGIN CERTIFICATE") == 2 and "PRIVATE KEY" in shown
    # Another machine imports it.
    other_folder = pki.file("other")
    other_folder.mkdir()
    other = Pki(other_folder)
    other("import", "own", container, "--passphrase-file", passphrase)
    assert (other.file("own.key").read_text(), other.file("own.pem").read_text()) == before
    assert mode(other.file("own.key")) == 0o600
    # And what openssl made.
    openssl("pkcs12", "-export", "-inkey", pki.file("own.key"), "-in", pki.file("signed.pem"), "-certfile", first.middle, "-passout",
            f"file:{passphrase}", "-out", pki.file("made.p12"))
    other("import", "own", pki.file("made.p12"), "--passphrase-file", passphrase)
    assert (other.file("own.key").read_text(), other.file("own.pem").read_text()) == before
    pki.file("wrong").write_text("incorrect\n")
    assert "mac verify failure" in other.refused("import", "own", container, "--passphrase-file", pki.file("wrong"))
    pki.file("empty").write_text("\n")
    assert "must be a passphrase" in other.refused("import", "own", container, "--passphrase-file", pki.file("empty"))


def test_passphrase_is_asked_for_on_the_terminal_and_not_echoed(pki, authorities):
    pki("key", "own")
    pki("import", "own", pki.chain(authorities[0]))
    child, terminal = pty.fork()
    if child == 0:
        os.execv(program("vpnsip"),
                 ["vpnsip", "-c", str(pki.config), "pki", "export", "own", "--for", "sip", "--pkcs12", str(pki.file("asked.p12"))])
    said = b""
    for _ in range(2):
        while not said.endswith(b"assphrase: "):
            said += os.read(terminal, 1024)
        wait_for(lambda: not termios.tcgetattr(terminal)[3] & termios.ECHO)
        os.write(terminal, b"typed by hand\n")
        said += b"|"
    try:
        while part := os.read(terminal, 1024):
            said += part
    except OSError:  # the end, on a terminal
        pass
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, said
    os.close(terminal)
    assert b"typed by hand" not in said
    openssl("pkcs12", "-in", pki.file("asked.p12"), "-passin", "pass:typed by hand", "-nodes")


def test_pem_with_a_key_and_what_does_not_fit(pki, authorities):
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", pki.file("made.key"), "-out", pki.file("made.pem"), "-days", "5",
            "-subj", "/CN=made")
    both = pki.file("both.pem")
    both.write_text(pki.file("made.pem").read_text() + pki.file("made.key").read_text())
    assert "and their key" in pki("import", "own", both)
    assert "RSA 2048, of this certificate" in pki("show", "own")
    pki("key", "own", "--yes")
    assert "NOT of this certificate" in pki("show", "own")
    both.write_text(pki.file("made.pem").read_text() + "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    assert "both.pem" in pki.refused("import", "own", both)
    both.write_bytes(os.urandom(3000))
    assert "no certificate in it" in pki.refused("import", "own", both)


def test_show_tells_validity_and_revocation_lists(pki, authorities):
    first = authorities[0]
    pki("key", "own")
    (pki.folder / "index.txt").write_text("")
    pki.file("ca.conf").write_text(f"[ca]\ndefault_ca=c\n[c]\ndatabase={pki.folder}/index.txt\nnew_certs_dir={pki.folder}\nrand_serial=yes\n"
                                   "default_md=sha256\ndefault_crl_days=3\npolicy=p\n[p]\ncommonName=supplied\n")
    pki.file("own.csr").write_text(pki("request", "own"))
    openssl("ca", "-batch", "-config", pki.file("ca.conf"), "-selfsign", "-keyfile", pki.file("own.key"), "-in", pki.file("own.csr"),
            "-startdate", "20200101000000Z", "-enddate", "20200201000000Z", "-out", pki.file("own.pem"), "-notext")
    assert "to 2020-02-01 00:00:00 UTC (expired)" in pki("show", "own")
    assert "no longer valid" in pki.refused("authenticate", "believing", pki.file("own.pem"), typed="yes\n")
    openssl("ca", "-gencrl", "-config", pki.file("ca.conf"), "-cert", first.root, "-keyfile", first.key, "-out", pki.file("roots.crl"))
    assert "Revocations : of CN=first root,O=Test, next 20" in pki("show", "own")
    assert "Certificate : none" in pki("show", "believing")
