# SPDX-License-Identifier: GPL-3.0-or-later
"""SIP over TLS against a real Kamailio: who is believed, what is spoken, what is refused and why."""

import re
import socket
import struct
import time

import pytest

from certificates import DAY, Authority, pem, write
from tls_scene import STRANGER, USER, WAN, Scene
from vpnlab.carrier import REALM
from vpnlab.namespaces import wait_for
from vpnlab.topology import CARRIER

FAILS_WITHIN = 4  # seconds; sofia-sip alone takes 32


@pytest.fixture
def scene():
    one = Scene()
    yield one
    print(one.log()[-4000:])
    one.close()


def connection(scene):
    return next(one for one in scene.connections()["connections"] if one["state"] == "Established")


def assert_refused(scene, cause):
    """The registration fails at once, and the log says why."""
    begin = time.monotonic()
    scene.register()
    scene.wait_log(cause)
    wait_for(lambda: "registration failed" in scene.log(), FAILS_WITHIN, "REGISTER fails")
    assert time.monotonic() - begin < FAILS_WITHIN
    assert not scene.is_registered()
    assert scene.connections()["handshake_errors"] >= 1
    assert cause in scene.registration()["cause"], "the operator is told too"
    assert cause in scene.cli("show", "vpn-sip", "registration-status")


def test_one_shared_root(scene):
    """Both certificates by one root: TLS 1.3, checked by both sides."""
    scene.one_authority()
    scene.start_carrier()
    scene.start()
    scene.wait_registered()
    one = connection(scene)
    assert one["protocol"] == "TLSv1.3" and REALM in one["peer_subject"] and not one["is_incoming"]
    status = scene.show("sip-ua", "status")
    assert status["tls_self_check"] == "" and status["lines"][0]["listens_tls"]
    assert status["trustpoints"][0]["subject"] == "/CN=agent" and status["trustpoints"][0]["authorities"] == 1


def test_two_roots(scene):
    """Each side believes the root of the other alone."""
    scene.authorities(Authority("our root"), Authority("their root"))
    scene.start_carrier()
    scene.start()
    scene.wait_registered()
    assert connection(scene)["protocol"] == "TLSv1.3"


def test_chains_are_sent(scene):
    """Both leaves are signed by an intermediate authority, of which the other side has the root alone."""
    ours, theirs = (Authority(f"{name} intermediate", Authority(f"{name} root")) for name in ("our", "their"))
    scene.authorities(ours, theirs)
    scene.start_carrier()
    scene.start()
    scene.wait_registered()


def test_missing_intermediate_is_refused(scene):
    """The control of the chain: without the intermediate certificate the carrier is not believed."""
    theirs = Authority("their intermediate", Authority("their root"))
    scene.authorities(Authority("our root"), theirs, with_chain=False)
    scene.start_carrier()
    scene.start(register=False)
    assert_refused(scene, "unable to get local issuer certificate")


def test_unknown_root_is_refused(scene):
    scene.authorities(Authority("our root"), Authority("their root"))
    write(scene.dir / "roots.pem", pem(Authority("another root").certificate), USER)
    scene.start_carrier()
    scene.start(register=False)
    assert_refused(scene, "certificate")


def test_carrier_refuses_our_root(scene):
    """The other side says no: the request fails at once too, and says with which alert."""
    scene.authorities(Authority("our root"), Authority("their root"))
    write(scene.carrier_dir / "roots.pem", pem(Authority("another root").certificate))
    scene.start_carrier()
    scene.start(register=False)
    scene.register()
    wait_for(lambda: "registration failed" in scene.log(), FAILS_WITHIN, "REGISTER fails")
    assert not scene.is_registered()
    assert "TLS: tlsv1 alert unknown ca" in scene.registration()["cause"]


def test_expired_certificate_is_refused(scene):
    scene.one_authority(begins=-3 * DAY, ends=-DAY)
    scene.start_carrier()
    scene.start(register=False)
    assert_refused(scene, "certificate has expired")


def test_revoked_certificate_is_refused(scene):
    """Revocation list with the carrier's certificate: refused. A list without it, put in place meanwhile: believed."""
    authority = scene.one_authority()
    authority.revocations(scene.dir / "revoked.pem", scene.carrier_leaf, user=USER)
    scene.start_carrier()
    scene.start(register=False, trust=f'crl-file = "{scene.dir}/revoked.pem" revocation-check = strict')
    assert_refused(scene, "certificate revoked")
    authority.revocations(scene.dir / "revoked.pem", user=USER)
    scene.cli("debug", "sip-agent", "send", "DeregisterLine", '{"local_number": "0388881001"}', "--as", "vpnsip-coordinator")
    scene.register()
    scene.wait_registered(40)


def test_no_revocation_list_is_refused(scene):
    """revocation-check = strict and a list of another authority: nobody is believed."""
    scene.one_authority()
    Authority("another root").revocations(scene.dir / "revoked.pem", user=USER)
    scene.start_carrier()
    scene.start(register=False, trust=f'crl-file = "{scene.dir}/revoked.pem" revocation-check = strict')
    assert_refused(scene, "unable to get certificate CRL")


@pytest.mark.parametrize("names", [[CARRIER], [REALM], [f"sip:{REALM}"]], ids=["address", "name", "uri"])
def test_subject_is_ours(scene, names):
    scene.one_authority(names=names)
    scene.start_carrier()
    scene.start()
    scene.wait_registered()


@pytest.mark.parametrize("names", [["198.51.100.6"], ["other.example"], ["*.example"], [f"sip:user@{REALM}"]],
                         ids=["address", "name", "wildcard", "user"])
def test_wrong_subject_is_refused(scene, names):
    scene.one_authority(names=names)
    scene.start_carrier()
    scene.start(register=False)
    assert_refused(scene, "the certificate names")


def test_subject_is_not_checked_when_told_so(scene):
    """The control of the subject check."""
    scene.one_authority(names=["other.example"])
    scene.start_carrier()
    scene.start(signaling="check-subject = false")
    scene.wait_registered()


def test_strict_cipher(scene):
    """A suite without forward secrecy: spoken by default, refused with strict-cipher."""
    authority = scene.one_authority()
    del authority
    scene.start_carrier(method="TLSv1.2", cipher_list="ECDHE-ECDSA-AES128-SHA256")
    scene.start()
    scene.wait_registered()
    assert connection(scene)["protocol"] == "TLSv1.2" and connection(scene)["cipher"] == "ECDHE-ECDSA-AES128-SHA256"
    scene.agent.stop()
    (scene.dir / "sip-agent.log").unlink()
    scene.start(register=False, signaling="strict-cipher = true")
    assert_refused(scene, "alert handshake failure")


def test_trustpoint_by_remote_address(scene):
    """Two trustpoints: the longest prefix that holds the carrier's address wins over a default that would fail."""
    scene.authorities(Authority("our root"), Authority("their root"))
    write(scene.dir / "none.pem", pem(Authority("another root").certificate), USER)
    other = (f'trustpoint "other" {{ certificate-file = "{scene.dir}/agent.pem" key-file = "{scene.dir}/agent.key" '
             f'ca-file = "{scene.dir}/none.pem" }}\ncrypto-signaling {{ trustpoint = "other" }}')
    scene.start_carrier()
    scene.start(more=other, signaling=f'remote-address = "{CARRIER}/32"')
    scene.wait_registered()


def client_hello(scene):
    """The versions and the server name of the first message that sip-agent sends to a server."""
    from agents_parts import inside

    def listen():
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((CARRIER, 5061))
        listener.listen()
        listener.settimeout(8)
        return listener

    listener = inside(scene.space, listen)
    scene.register()
    peer, _ = listener.accept()
    peer.settimeout(5)
    size = struct.unpack("!H", peer.recv(5, socket.MSG_WAITALL)[3:])[0]
    hello = peer.recv(size, socket.MSG_WAITALL)
    peer.close()
    listener.close()
    return hello


def extensions(hello):
    at = 4 + 2 + 32
    at += 1 + hello[at]
    at += 2 + struct.unpack_from("!H", hello, at)[0]
    at += 1 + hello[at]
    end = at + 2 + struct.unpack_from("!H", hello, at)[0]
    at += 2
    found = {}
    while at < end:
        kind, size = struct.unpack_from("!HH", hello, at)
        found[kind] = hello[at + 4:at + 4 + size]
        at += 4 + size
    return found


def test_what_we_offer(scene):
    """As client: TLS 1.3 and 1.2 alone, with the server's name."""
    scene.one_authority()
    scene.start(register=False)
    found = extensions(client_hello(scene))
    assert found[43] == bytes([4, 3, 4, 3, 3])
    assert REALM.encode() in found[0]


def s_client(scene, *words, source=CARRIER, certificate=True):
    """What openssl s_client says of our server."""
    argv = ["openssl", "s_client", "-connect", f"{WAN}:5061", "-bind", source, "-CAfile", scene.carrier_dir / "roots.pem", *words]
    if certificate:
        argv += ["-cert", scene.carrier_dir / "carrier.pem", "-key", scene.carrier_dir / "carrier.key"]
    return scene.space.run("timeout", "5", *argv, stdin="", check=False)


@pytest.mark.parametrize("version", ["-tls1", "-tls1_1"])
def test_old_versions_are_refused(scene, version):
    """As server: nothing below TLS 1.2, also for a client that takes anything."""
    scene.one_authority()
    scene.start()
    wait_for(lambda: scene.show("sip-ua", "status")["lines"][0]["listens_tls"], 5, "TLS port")
    assert "Cipher is (NONE)" in s_client(scene, version, "-cipher", "ALL@SECLEVEL=0")
    for good in ("-tls1_2", "-tls1_3"):
        assert re.search(r"Cipher is [TE]", s_client(scene, good)), good


def test_client_certificate_is_asked_for(scene):
    """Who connects without a certificate, or as a stranger, gets no connection; without the option he does."""
    scene.one_authority()
    scene.start()
    wait_for(lambda: scene.show("sip-ua", "status")["lines"][0]["listens_tls"], 5, "TLS port")
    s_client(scene, certificate=False)
    scene.wait_log("peer did not return a certificate")
    time.sleep(1.2)  # one line a second is logged
    s_client(scene, source=STRANGER)
    scene.wait_log("it is no SIP server of ours")
    assert scene.connections()["handshake_errors"] >= 2


def test_certificates_are_renewed(scene):
    """A new certificate is shown on the next connection; a broken file leaves the old one in use, with a cause."""
    authority = scene.one_authority()
    scene.start()
    wait_for(lambda: scene.show("sip-ua", "status")["lines"][0]["listens_tls"], 5, "TLS port")
    assert "CN = agent\n" in s_client(scene)
    authority.issue(scene.dir, "agent", [WAN], "renewed", user=USER)
    assert "CN = renewed\n" in s_client(scene)
    (scene.dir / "agent.pem").write_text("broken")
    assert "CN = renewed\n" in s_client(scene)
    cause = scene.show("sip-ua", "status")["trustpoints"][0]["cause"]
    assert "certificate-file" in cause


def test_clock_before_our_certificate(scene):
    """A certificate of ours that begins next year: TLS is refused with the clock as its cause."""
    authority = scene.one_authority()
    authority.issue(scene.dir, "agent", [WAN], "agent", begins=365 * DAY, ends=700 * DAY, user=USER)
    scene.start_carrier()
    scene.start(register=False)
    assert_refused(scene, "is the clock right?")
    assert "is the clock right?" in scene.show("sip-ua", "status")["trustpoints"][0]["cause"]


def test_without_our_functions_there_is_no_tls(scene):
    """A library that does not call our functions would keep every connection and believe anybody: TLS is refused, with the reason."""
    scene.one_authority()
    scene.start_carrier()
    scene.configure()
    scene.start_agent(register=False, name="sip_agent_hiding")
    scene.register()
    wait_for(lambda: scene.registration()["cause"], 5, "the cause")
    cause = scene.show("sip-ua", "status")["tls_self_check"]
    assert re.fullmatch(r"this sofia-sip calls SSL_\w+ past our own: TLS is not used", cause)
    assert scene.registration()["cause"] == cause and not scene.is_registered()
    assert not scene.space.run("ss", "-Hltn", "sport", "=", ":5061", "src", WAN).strip(), "nobody listens"
    assert "TLS with" not in scene.log()
