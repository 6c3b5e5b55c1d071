# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates of the two sites for IKE, made once a run, as files of a router and of a stock charon."""

import datetime
import hashlib
import tempfile
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from certificates import DAY, name_of, pem, utc_now, write
from vpnlab.router import Settings
from vpnlab.topology import A, B

CHAIN = 3  # intermediate authorities
DIGESTS = {"SHA-1": hashlib.sha1, "SHA-256": hashlib.sha256, "SHA-384": hashlib.sha384, "SHA-512": hashlib.sha512}
KEYS = {"rsa": lambda: rsa.generate_private_key(65537, 2048), "ecdsa": lambda: ec.generate_private_key(ec.SECP256R1()),
        "ecdsa-384": lambda: ec.generate_private_key(ec.SECP384R1()), "rsa-4096": lambda: rsa.generate_private_key(65537, 4096)}


@cache
def key_of(kind, owner):
    return KEYS[kind]()


def certificate(subject, key, issuer, issuer_key, is_authority=False, key_identifier=None, days=30, digest=hashes.SHA256()):
    """`key_identifier` are the octets of the subject key identifier. strongSwan believes an IKE identity of the kind key-id if it is that."""
    builder = (x509.CertificateBuilder().subject_name(name_of(subject)).issuer_name(name_of(issuer)).public_key(key.public_key())
               .serial_number(x509.random_serial_number()).not_valid_before(utc_now() - DAY)
               .not_valid_after(utc_now() + datetime.timedelta(days=days))
               .add_extension(x509.BasicConstraints(is_authority, None), critical=True))
    if key_identifier:
        builder = builder.add_extension(x509.SubjectKeyIdentifier(key_identifier), critical=False)
    return builder.sign(issuer_key, digest)


def key_pem(key):
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def fingerprint(one, name="SHA-256"):
    """The line of SDP."""
    digest = DIGESTS[name](one.public_bytes(serialization.Encoding.DER)).digest()
    return f"a=fingerprint:{name} {':'.join(f'{octet:02X}' for octet in digest)}\r\n"


class SelfSigned:
    """Both sites' own certificates of one kind of key."""

    method = "self-signed"

    def __init__(self, kind, digest=hashes.SHA256()):
        self.keys = {site.name: key_of(kind, site.name) for site in (A, B)}
        self.chains = {site.name: [certificate(f"router {site.name}", self.keys[site.name], f"router {site.name}", self.keys[site.name],
                                               key_identifier=site.number.encode(), digest=digest)] for site in (A, B)}
        self.root = None


class LongChain:
    """Both sites' certificates below the last of CHAIN intermediate authorities. The authorities share a key, and with `is_one_key` the
    sites too: a large one takes seconds to make."""

    method = "certificate"

    def __init__(self, kind, is_one_key=False):
        authority = key_of(kind, "authority")
        names = ["Root"] + [f"Intermediate {number}" for number in range(1, CHAIN + 1)]
        self.root = certificate("Root", authority, "Root", authority, is_authority=True)
        below = [certificate(name, authority, above, authority, is_authority=True) for above, name in zip(names, names[1:])]
        self.keys = {site.name: authority if is_one_key else key_of(kind, site.name) for site in (A, B)}
        self.chains = {site.name: [certificate(f"router {site.name}", self.keys[site.name], names[-1], authority,
                                               key_identifier=site.number.encode()), *reversed(below)] for site in (A, B)}


def settings(site, made, ike_options=(), **more):
    """Settings of our router with the certificate of its site; the files are the service's."""
    folder = Path(tempfile.mkdtemp(prefix="vpnsip-ike-"))
    folder.chmod(0o755)
    write(folder / "own.pem", pem(*made.chains[site.name]), "vpnsip-ike")
    write(folder / "own.key", key_pem(made.keys[site.name]), "vpnsip-ike")
    roots = ""
    if made.root:
        write(folder / "roots.pem", pem(made.root), "vpnsip-ike")
        roots = f'ca-file = "{folder}/roots.pem"'
    trustpoint = f'trustpoint "own" {{ certificate-file = "{folder}/own.pem"  key-file = "{folder}/own.key"  {roots} }}\n'
    return Settings(ike_options=[f"authentication = {made.method}", 'trustpoint = "own"', *ike_options], sections=trustpoint, **more)


def stock_options(made):
    """The keyword arguments of a StockLab whose other side has B's certificate."""
    files = {"x509/own.pem": pem(made.chains["b"][0]).decode(), "x509/peer.pem": pem(made.chains["a"][0]).decode(),
             "private/own.pem": key_pem(made.keys["b"]).decode()}
    trust = "certs = peer.pem"
    if made.root:
        files |= {f"x509ca/ca{number}.pem": pem(one).decode() for number, one in enumerate([made.root, *made.chains["b"][1:]])}
        trust = ""
    return {"authentication": "auth = pubkey\n    certs = own.pem", "other_authentication": f"auth = pubkey\n    {trust}",
            "files": files, "fingerprint": fingerprint(made.chains["b"][0])}
