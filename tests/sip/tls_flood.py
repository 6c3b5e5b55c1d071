# SPDX-License-Identifier: GPL-3.0-or-later
"""Opens and closes TLS connections: a third complete, a third aborted within the handshake, a third with a certificate of
another root. Arguments: server, source, count, directory with carrier.pem, carrier.key, rogue.pem, rogue.key. Prints how many of
each kind came up."""

import socket
import ssl
import sys

ABORTED = bytes.fromhex("16030100c8010000c40303") + bytes(20)  # the beginning of a ClientHello


def context(certificate, key):
    one = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    one.check_hostname = False
    one.verify_mode = ssl.CERT_NONE
    one.load_cert_chain(certificate, key)
    return one


def main(server, source, count, directory):
    good = context(f"{directory}/carrier.pem", f"{directory}/carrier.key")
    rogue = context(f"{directory}/rogue.pem", f"{directory}/rogue.key")
    up = {"complete": 0, "aborted": 0, "rejected": 0}
    for i in range(int(count)):
        kind = tuple(up)[i % 3]
        plain = socket.create_connection((server, 5061), 10, (source, 0))
        try:
            if kind == "aborted":
                plain.sendall(ABORTED)
                continue
            with (good if kind == "complete" else rogue).wrap_socket(plain) as secure:
                # With TLS 1.3 the client learns only now whether its certificate was taken: a keepalive and no answer is good.
                secure.settimeout(0.002 if kind == "complete" else 5)
                secure.sendall(b"\r\n\r\n")
                try:
                    up[kind] += secure.recv(1) != b""
                except TimeoutError:
                    up[kind] += 1
        except (ssl.SSLError, OSError):
            pass
        finally:
            plain.close()
    print(*(f"{kind}={number}" for kind, number in up.items()))


main(*sys.argv[1:])
