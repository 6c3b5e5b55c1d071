# SPDX-License-Identifier: GPL-3.0-or-later
"""A CA that signs by EST (RFC 7030): /cacerts, /simpleenroll (HTTP Basic), /simplereenroll (the certificate that is renewed).

Debian has no EST server; strongSwan's own client (pki --est) is tested against this one beside ours.
"""

import base64
import http.server
import ipaddress
import ssl
import threading

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs7
from pki_scene import HOUR, name_of, pem


class EstServer:
    def __init__(self, folder, authority, user_password="branch1:secret"):
        self.authority, self.requests = authority, []
        self.pending = 0  # so many requests are answered with 202 before one is decided
        self.retry_after = 1
        self.life = (-HOUR, 24 * HOUR)
        self.stranger = None  # a CA that signs instead
        self.expected = "Basic " + base64.b64encode(user_password.encode()).decode()
        context = self._context(folder)
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                self.reply(200, server.bag(server.authority.certificate) if self.path.endswith("/.well-known/est/cacerts") else None)

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                server.requests.append(self.path)
                is_known = self.path.endswith("/simplereenroll") and self.connection.getpeercert()
                if not is_known and self.headers.get("Authorization") != server.expected:
                    return self.reply(401)
                if server.pending:
                    server.pending -= 1
                    return self.reply(202)
                return self.reply(200, server.issue(x509.load_der_x509_csr(base64.b64decode(body))))

            def reply(self, status, body=None):
                body = body or b""
                self.send_response(status)
                self.send_header("Content-Type", "application/pkcs7-mime")
                self.send_header("Content-Length", str(len(body)))
                if status == 202:
                    self.send_header("Retry-After", str(server.retry_after))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.server.handle_error = lambda *_: None
        self.url = f"https://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def _context(self, folder):
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        own = self.authority.sign(name_of("est"), key.public_key(), names=names)
        (folder / "est.pem").write_bytes(pem(own) + key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        (folder / "est-root.pem").write_bytes(pem(self.authority.certificate))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "est.pem")
        context.verify_mode = ssl.CERT_OPTIONAL
        context.load_verify_locations(folder / "est-root.pem")
        return context

    @staticmethod
    def bag(*certificates):
        return base64.b64encode(pkcs7.serialize_certificates(list(certificates), serialization.Encoding.DER))

    def issue(self, request):
        assert request.is_signature_valid
        try:
            names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            names = ()
        begins, ends = self.life
        return self.bag((self.stranger or self.authority).sign(request.subject, request.public_key(), begins=begins, ends=ends, names=names))

    def close(self):
        self.server.shutdown()
        self.server.server_close()
