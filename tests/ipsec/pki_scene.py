# SPDX-License-Identifier: GPL-3.0-or-later
"""One router's vpnsip pki, and an HTTP server that hands out what a test gives it, both in a network namespace of their own."""

import datetime
import http.server
import itertools
import os
import subprocess
import threading

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from vpnlab.router import program

CONFIG = """
tunnel-source = "10.255.0.1"
trustpoint "bank" {{
    certificate-file = "{0}/own.pem"
    key-file = "{0}/own.key"
    ca-file = "{0}/roots.pem"
    crl-file = "{0}/roots.crl"
{1}
}}
ike-profile "ike" {{ authentication = certificate  trustpoint = "bank" }}
ipsec-profile "esp" {{ idle-time = 120 }}
line "0388881001" {{ wan-interface = "lo"  registrar = "127.0.0.1" }}
peer "0388884001" {{ tunnel = "vsip1"  address = "10.99.0.1/30"  bandwidth = 1000  line = "0388881001"  ike-profile = "ike"  ipsec-profile = "esp" }}
"""
HOUR = datetime.timedelta(hours=1)


def now():
    return datetime.datetime.utcnow().replace(microsecond=0)


def name_of(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def pem(*objects):
    return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in objects)


class Authority:
    """A root: signs certificates and lists."""

    def __init__(self, name="Bank Root", kind="ec"):
        self.name = name_of(name)
        self.key = rsa.generate_private_key(65537, 2048) if kind == "rsa" else ec.generate_private_key(ec.SECP256R1())
        self.serials = itertools.count(2)
        self.certificate = self.sign(self.name, self.key.public_key(), is_authority=True)

    def sign(self, subject, key, is_authority=False, begins=-HOUR, ends=24 * HOUR, crl_url=None, names=()):
        builder = (x509.CertificateBuilder().subject_name(subject).issuer_name(self.name).public_key(key)
                   .serial_number(next(self.serials)).not_valid_before(now() + begins).not_valid_after(now() + ends)
                   .add_extension(x509.BasicConstraints(is_authority, None), critical=True))
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        if crl_url:
            point = x509.DistributionPoint([x509.UniformResourceIdentifier(crl_url)], None, None, None)
            builder = builder.add_extension(x509.CRLDistributionPoints([point]), critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def revocations(self, *serials, key=None, updated=-HOUR, ends=24 * HOUR, number=1, extension=None):
        """A list as DER; with `key` it is a forged one; `extension` is a critical one."""
        builder = x509.CertificateRevocationListBuilder().issuer_name(self.name).last_update(now() + updated).next_update(now() + ends)
        builder = builder.add_extension(x509.CRLNumber(number), critical=False)
        if extension:
            builder = builder.add_extension(extension, critical=True)
        for serial in serials:
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now() - HOUR).build())
        return builder.sign(key or self.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


class Web:
    """An HTTP server on loopback: what it has by path, and how often it was asked."""

    def __init__(self):
        self.files, self.asked = {}, []
        web = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                web.asked.append(self.path)
                if self.path not in web.files:
                    return self.send_error(404)
                self.send_response(200)
                self.send_header("Content-Length", str(len(web.files[self.path])))
                self.end_headers()
                return self.wfile.write(web.files[self.path])

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Pki:
    """The command line of a branch."""

    def __init__(self, folder, options=""):
        self.folder, self.config = folder, folder / "vpnsip.conf"
        self.configure(options)

    def configure(self, options):
        self.config.write_text(CONFIG.format(self.folder, options))

    def file(self, name):
        return self.folder / name

    def run(self, *arguments, typed="", prefix=(), command="pki"):
        return subprocess.run([*prefix, program("vpnsip"), "-c", self.config, *command.split(), *map(str, arguments)],
                              input=typed, capture_output=True, text=True, timeout=90, check=False, env={**os.environ, "LC_ALL": "C"})

    def __call__(self, *arguments, **options):
        done = self.run(*arguments, **options)
        assert done.returncode == 0, (done.stdout, done.stderr)
        return done.stdout

    def refused(self, *arguments, status=1, **options):
        done = self.run(*arguments, **options)
        assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
        return done.stderr

    def install(self, certificate, key):
        self.file("own.pem").write_bytes(pem(certificate))
        self.file("own.key").write_bytes(key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        self.file("own.key").chmod(0o600)

    def certificate(self):
        return x509.load_pem_x509_certificate(self.file("own.pem").read_bytes())
