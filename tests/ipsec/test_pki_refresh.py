# SPDX-License-Identifier: GPL-3.0-or-later
"""vpnsip pki refresh: what of the revocation lists that servers hand out is believed, how often they are asked, by which way."""

import json
import os
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from pki_scene import HOUR, Authority, Pki, Web, pem


@pytest.fixture
def web():
    web = Web()
    yield web
    web.close()


@pytest.fixture
def authority():
    return Authority()


@pytest.fixture
def pki(tmp_path, web, authority):
    pki = Pki(tmp_path, f'    crl-url = "{web.url}/root.crl"\n')
    pki.file("roots.pem").write_bytes(pem(authority.certificate))
    return pki


def serials(pki):
    found = x509.load_pem_x509_crl(pki.file("roots.crl").read_bytes())
    return sorted(one.serial_number for one in found)


def test_a_list_of_our_ca_is_taken_and_belongs_to_the_service(pki, web, authority):
    web.files["/root.crl"] = authority.revocations(17, 18)
    assert "bank: CN=Bank Root: a new list, 2 revoked" in pki("refresh")
    assert serials(pki) == [17, 18]
    status = pki.file("roots.crl").stat()
    assert status.st_mode & 0o777 == 0o644
    if os.geteuid() == 0:
        owner = subprocess.run(["stat", "-c", "%U", pki.file("roots.crl")], capture_output=True, text=True, check=True).stdout.strip()
        assert owner == "vpnsip-ike"


def test_an_issuer_is_asked_once_in_half_an_hour(pki, web, authority):
    web.files["/root.crl"] = authority.revocations()
    pki("refresh")
    assert "again in 30 min" in pki("refresh") and len(web.asked) == 1
    inode = pki.file("roots.crl").stat().st_ino
    assert "unchanged" in pki("refresh", "bank", "--force") and len(web.asked) == 2
    assert pki.file("roots.crl").stat().st_ino == inode, "an unchanged list is not written again"
    memory = pki.file("roots.crl.fetched")
    memory.write_text(json.dumps({name: at - 1801 for name, at in json.loads(memory.read_text()).items()}))
    assert "unchanged" in pki("refresh") and len(web.asked) == 3


PART = "it covers only a part of what the CA has signed"
FOR_CAS = x509.IssuingDistributionPoint(full_name=None, relative_name=None, only_contains_user_certs=False, only_contains_ca_certs=True,
                                        only_some_reasons=None, indirect_crl=False, only_contains_attribute_certs=False)
UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")
BAD = {
    "of CAs alone": (lambda ca: ca.revocations(number=9, extension=FOR_CAS), PART),
    "delta": (lambda ca: ca.revocations(number=9, extension=x509.DeltaCRLIndicator(1)), PART),
    "unknown": (lambda ca: ca.revocations(number=9, extension=UNKNOWN), PART),
    "forged": (lambda ca: ca.revocations(99, key=ec.generate_private_key(ec.SECP256R1()), number=9), "none of our CAs signed it"),
    "foreign": (lambda ca: Authority("Somebody").revocations(99, number=9), "none of our CAs signed it"),
    "expired": (lambda ca: ca.revocations(99, updated=-3 * HOUR, ends=-HOUR, number=9), "it has expired"),
    "future": (lambda ca: ca.revocations(99, updated=2 * HOUR, number=9), "it is not yet valid"),
    "replayed": (lambda ca: ca.revocations(number=4), "it is older than the one that is there"),
    "no list": (lambda ca: b"<html>please log in</html>", "what came is no revocation list"),
    "cut": (lambda ca: ca.revocations(99, number=9)[:-20], "what came is no revocation list"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_list_that_is_not_believed_changes_nothing(pki, web, authority, kind):
    make, cause = BAD[kind]
    web.files["/root.crl"] = authority.revocations(17, number=5)
    pki("refresh")
    before = pki.file("roots.crl").read_bytes()
    web.files["/root.crl"] = make(authority)
    assert cause in pki.refused("refresh", "--force")
    assert pki.file("roots.crl").read_bytes() == before
    web.files["/root.crl"] = authority.revocations(17, 99, number=9)  # control: the same serial in a good list is taken
    pki("refresh", "--force")
    assert serials(pki) == [17, 99]


def test_a_server_that_is_away_or_has_none_is_named(pki, web, authority):
    assert "HTTP status 404" in pki.refused("refresh")
    pki.configure('    crl-url = "http://127.0.0.1:1/root.crl"\n')
    assert "http://127.0.0.1:1/root.crl: Failed to connect" in pki.refused("refresh")
    assert not pki.file("roots.crl").exists()


def test_the_certificates_say_where(pki, web, authority):
    """Without crl-url: the place that our certificate names; one list an issuer, others stay in the file."""
    pki.configure("")
    other = Authority("Other Root")
    pki.file("roots.pem").write_bytes(pem(authority.certificate, other.certificate))
    key = ec.generate_private_key(ec.SECP256R1())
    pki.install(authority.sign(x509.Name([]), key.public_key(), crl_url=f"{web.url}/by-cdp.crl"), key)
    pki.file("roots.crl").write_bytes(pem(x509.load_der_x509_crl(other.revocations(5))))
    web.files["/by-cdp.crl"] = authority.revocations(21)
    assert "a new list, 1 revoked" in pki("refresh")
    text = pki.file("roots.crl").read_bytes()
    parts = [part + b"-----END X509 CRL-----\n" for part in text.split(b"-----END X509 CRL-----\n") if part]
    found = [x509.load_pem_x509_crl(part) for part in parts]
    assert {one.issuer for one in found} == {authority.name, other.name}


def test_nothing_is_fetched_over_a_call(pki, web, authority):
    """The way to the server leads through the tunnel: in a namespace whose only route is that. The control has another name for it."""
    web.files["/root.crl"] = authority.revocations()
    url = "http://198.51.100.77:8080/root.crl"
    pki.configure(f'    crl-url = "{url}"\n')

    def through(interface):
        shell = (f"ip link set lo up && ip tuntap add {interface} mode tun && ip link set {interface} up && "
                 f"ip route add 198.51.100.0/24 dev {interface} && exec timeout 3 \"$@\"")
        return pki.run("refresh", "--force", prefix=("unshare", "-n", "sh", "-c", shell, "sh")).stderr

    assert "leads through vsip1 now: nothing is fetched over a call" in through("vsip1")
    assert "leads through" not in through("other0")
