# SPDX-License-Identifier: GPL-3.0-or-later
"""Certification authorities for the tests of TLS: roots, intermediates, leaves, revocation lists, as PEM files."""

import datetime
import ipaddress
import os
import pwd
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = datetime.timedelta(days=1)


def utc_now():
    return datetime.datetime.utcnow().replace(microsecond=0)


def name_of(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def alternative(text):
    """ "198.51.100.5" -> IP address, "sip:carrier.example" -> URI, else DNS."""
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.UniformResourceIdentifier(text) if ":" in text else x509.DNSName(text)


def pem(*certificates):
    return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in certificates)


def write(path, data, user=None):
    """Replaces the file at once, as an operator's tool does."""
    fresh = Path(f"{path}.new")
    fresh.write_bytes(data)
    fresh.chmod(0o600)
    if user:
        os.chown(fresh, pwd.getpwnam(user).pw_uid, -1)
    fresh.rename(path)
    return path


class Authority:
    def __init__(self, name, issuer=None):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = name_of(name)
        self.revoked = []
        self.issuer = issuer or self
        self.certificate = self._certificate(name_of(name), self.key.public_key(), [], True, -DAY, 365 * DAY, self.issuer)
        self.chain = [] if issuer is None else [self.certificate, *issuer.chain]

    @staticmethod
    def _certificate(subject, key, names, is_authority, begins, ends, issuer):
        builder = (x509.CertificateBuilder().subject_name(subject).issuer_name(issuer.name).public_key(key)
                   .serial_number(x509.random_serial_number())
                   .not_valid_before(utc_now() + begins).not_valid_after(utc_now() + ends)
                   .add_extension(x509.BasicConstraints(is_authority, None), critical=True))
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(list(map(alternative, names))), critical=False)
        return builder.sign(issuer.key, hashes.SHA256())

    def issue(self, directory, label, names, common_name="leaf", begins=-DAY, ends=30 * DAY, user=None, with_chain=True):
        """Writes LABEL.pem (with the intermediates) and LABEL.key; returns the certificate."""
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = self._certificate(name_of(common_name), key.public_key(), names, False, begins, ends, self)
        write(directory / f"{label}.key", key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()), user)
        write(directory / f"{label}.pem", pem(leaf, *(self.chain if with_chain else [])), user)
        return leaf

    def revocations(self, path, *leaves, user=None):
        """Writes a revocation list with these leaves in it."""
        builder = x509.CertificateRevocationListBuilder().issuer_name(self.name)
        builder = builder.last_update(utc_now() - DAY).next_update(utc_now() + 30 * DAY)
        for leaf in leaves:
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder().serial_number(leaf.serial_number).revocation_date(utc_now() - DAY).build())
        write(path, builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM), user)
