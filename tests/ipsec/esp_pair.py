# SPDX-License-Identifier: GPL-3.0-or-later
"""Two tunnel-agents whose keys the test knows (tests/bench/tunnel_pair.py), and what their packets look like on the wire."""

import socket
import struct
import sys
import time
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench"))

from agents_parts import inside  # noqa: E402, F401
from tunnel_pair import CBC, CHACHA, GCM, TUNNEL, Pair, run, wait_for  # noqa: E402, F401
from vpnlab.capture import Capture  # noqa: E402

SHA1 = {"encryption": "AES_CBC", "integrity": "HMAC_SHA1_96", "integrity_key": bytes(range(20)).hex()}
SHA384 = {"encryption": "AES_CBC", "integrity": "HMAC_SHA2_384_192", "integrity_key": bytes(range(48)).hex(), "key_size": 32}
SHA512 = {"encryption": "AES_CBC", "integrity": "HMAC_SHA2_512_256", "integrity_key": bytes(range(64)).hex()}
TSHARK_INTEGRITY = {"INTEGRITY_NONE": "NULL", "HMAC_SHA2_256_128": "HMAC-SHA-256-128 [RFC4868]", "HMAC_SHA2_384_192": "HMAC-SHA-384-192 [RFC4868]",
                    "HMAC_SHA2_512_256": "HMAC-SHA-512-256 [RFC4868]", "HMAC_SHA1_96": "HMAC-SHA-1-96 [RFC2404]"}


def key_of(pair, suite, sender):
    """As Pair.install_sas() makes it."""
    size = suite.get("key_size", {"AES_GCM_16": 20, "CHACHA20_POLY1305": 36, "AES_CBC": 16}[suite["encryption"]])
    return bytes((pair.attempt * 16 + sender * 3 + octet) % 256 for octet in range(size))


class Wire:
    """Everything on the WAN between both ends, until read."""

    def __init__(self, pair):
        self.pair = pair
        for side in pair.sides:  # else several packets cross the veth as one
            side.space.run("ethtool", "-K", "wan0", "tx-udp-segmentation", "off")
        self.capture = Capture(pair.workspace, pair.b.space, "wan0", f"wire-{time.monotonic_ns()}")
        self.packets = None

    def read(self):
        if self.packets is None:
            self.packets = self.capture.stop()
        return self.packets

    def esp(self, sender=1):
        """ESP from a (1) or b (2), fragments left out."""
        return [packet for packet in self.read() if packet.src == f"100.64.0.{sender}" and packet.is_esp]

    def decrypted(self, suite, *fields):
        """tshark's view of the fields of each packet, with the keys."""
        self.read()
        options = ["-o", "esp.enable_encryption_decode:TRUE", "-o", "esp.enable_authentication_check:TRUE"]
        cipher = "AES-CBC [RFC3602]" if suite["encryption"] == "AES_CBC" else "AES-GCM with 16 octet ICV [RFC4106]"
        for sender in (1, 2):
            integrity_key = f'0x{suite["integrity_key"]}' if "integrity_key" in suite else ""
            options += ["-o", f'uat:esp_sa:"IPv4","100.64.0.{sender}","100.64.0.{3 - sender}","0x{4096 * sender + self.pair.attempt:08x}","{cipher}",'
                              f'"0x{key_of(self.pair, suite, sender).hex()}","{TSHARK_INTEGRITY[suite["integrity"]]}","{integrity_key}"']
        for side in self.pair.sides:
            options += ["-d", f"udp.port=={side.port},udpencap"]
        text = run(["tshark", "-r", self.capture.path, *options, "-Y", "esp", "-T", "fields", *(word for field in fields for word in ("-e", field))])
        return [line.split("\t") for line in text.splitlines()]


def open_aead(packet, suite, key, is_extended):
    """The plain text: raises when the packet is not authentic."""
    cipher = ChaCha20Poly1305 if suite is CHACHA else AESGCM
    spi, sequence = struct.unpack("!II", packet.payload[:8])
    associated = struct.pack("!III", spi, 0, sequence) if is_extended else packet.payload[:8]
    text = cipher(key[:-4]).decrypt(key[-4:] + packet.payload[8:16], packet.payload[16:], associated)
    padding, next_header = text[-2:]
    assert text[-2 - padding:-2] == bytes(range(1, padding + 1))
    return text[:-2 - padding], next_header


def headers(path, source="100.64.0.1"):
    """(don't-fragment, more-fragments and offset) of each IPv4 header from there, those of fragments too."""
    data = Path(path).read_bytes()[24:]
    result = []
    while len(data) >= 16:
        size = struct.unpack("<I", data[8:12])[0]
        frame, data = data[16:16 + size], data[16 + size:]
        if frame[12:14] == b"\x08\x00" and frame[26:30] == socket.inet_aton(source):
            flags = int.from_bytes(frame[20:22], "big")
            result.append((bool(flags & 0x4000), flags & 0x3FFF))
    return result
