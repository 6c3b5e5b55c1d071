# SPDX-License-Identifier: GPL-3.0-or-later
"""What a registrar may answer beside a plain 200: 423, other bindings, routes (real Kamailio), and each digest of RFC 8760."""

import hashlib
import os
import re
import socket
import threading

import pytest
from agents_parts import inside
from test_registration import EXPIRES, NUMBER, registrar_row, restart, settings, sip
from vpnlab.lab import PASSWORDS
from vpnlab.namespaces import wait_for
from vpnlab.router import Settings
from vpnlab.topology import CARRIER

FOREIGN = "198.51.100.66"
ELSEWHERE = "198.51.100.77"


def wait_registered(lab, seconds=6):
    return wait_for(lambda: registrar_row(lab)["is_registered"] and registrar_row(lab), seconds, "registered")


def test_interval_too_brief(make_lab):
    """423: asked for once more with what it names, and from then on."""
    lab = make_lab(a=settings(), b=Settings())
    lab.carrier.switch("brief", 600)
    lab.wan["a"].fresh()
    restart(lab, "expires = 60")
    wait_for(lambda: "Expires: 600\r\n" in str([text for _, text, _ in sip(lab.wan["a"].packets(), lab.a.site.wan, "REGISTER")])
             .replace("\\r\\n", "\r\n"), 5, "the longer interval")
    row = wait_registered(lab)
    assert 590 < row["expires_sec"] <= 600
    messages = sip(lab.wan["a"].fresh())
    assert [text for _, text, _ in messages if text.startswith("SIP/2.0 423") and "Min-Expires: 600" in text]
    asked = [re.search(r"^Expires: (\d+)", text, re.M)[1] for _, text, _ in messages if text.startswith("REGISTER ")]
    assert set(asked) == {"60", "600"} and asked == sorted(asked), asked


@pytest.mark.slow
def test_somebody_else_is_registered(make_lab):
    """A binding that is not ours is an alarm, in the log and by `show`, and no reason to leave; it ends with the binding."""
    lab = make_lab(a=settings(), b=Settings(), expires=EXPIRES)
    lab.carrier.switch("bindings", "many")
    assert "Alarm" not in lab.a.cli("show", "vpn-sip", "sip", "registrar")
    lab.carrier.control("ul.add", "location", f"s:{NUMBER}", f"s:sip:{NUMBER}@{FOREIGN}:5060", 3600, "1.0", ".", 0, 0, 4095)
    restart(lab, "expires = 60")
    alarm = f"somebody else is registered as {NUMBER}: sip:{NUMBER}@{FOREIGN}"
    wait_for(lambda: alarm in registrar_row(lab)["alarm"], 5, "the alarm")
    assert registrar_row(lab)["is_registered"]
    assert f"Alarm: {alarm}" in lab.a.cli("show", "vpn-sip", "sip", "registrar")
    assert lab.a.log("sip-agent").count(f"error: line {NUMBER}: {alarm}") == 1
    assert f"sip:{NUMBER}@{FOREIGN}" in lab.carrier.control("ul.dump"), "it is not ours to take away"
    lab.carrier.control("ul.rm_contact", "location", f"s:{NUMBER}", f"s:sip:{NUMBER}@{FOREIGN}:5060")
    wait_for(lambda: registrar_row(lab)["alarm"] == "", EXPIRES // 2 + 5, "the alarm's end at the next refresh", interval=0.5)
    lab.carrier.switch("bindings", None)


def routes_of_invite(lab):
    """The Route of the last INVITE, one URI after the other."""
    invite = sip(lab.wan["a"].packets(), lab.a.site.wan, "INVITE")[-1][1]
    return [route.strip() for line in re.findall(r"^Route: (.*)\r$", invite, re.M) for route in line.split(",")], invite


def test_service_route_is_followed_and_path_is_not(make_lab):
    """Behind the first hop, in order (RFC 3608); what only names that hop again is left out. Path is the registrar's (RFC 3327)."""
    lab = make_lab(a=settings(), b=Settings())
    first = f"<sip:{CARRIER}:5060;lr>"
    assert lab.ping(1)
    assert routes_of_invite(lab)[0] == [first], "control: nothing was said of routes"
    lab.hang_up()
    behind = [f"<sip:orig@{CARRIER}:5060;lr>", f"<sip:{CARRIER}:5060;lr;id=7>"]
    lab.carrier.switch("path", f"<sip:{ELSEWHERE};lr>")
    for service_route in ([first, *behind], behind):
        lab.carrier.switch("service-route", ", ".join(service_route))
        restart(lab, "expires = 60")
        wait_registered(lab)
        lab.a.wait_status("READY_TO_CONNECT")
        assert lab.ping(2)
        lab.wait_up()
        routes, invite = routes_of_invite(lab)
        assert routes == [first, *behind]
        assert ELSEWHERE not in invite
        lab.hang_up()
    assert not [packet for packet in lab.wan["a"].packets() if packet.dst == ELSEWHERE]
    registers = [text for _, text, _ in sip(lab.wan["a"].packets(), lab.a.site.wan, "REGISTER")]
    assert all("Supported: path" in text and "\r\nRoute:" not in text for text in registers)


class Challenger(threading.Thread):
    """A registrar of its own making, in the carrier's place: asks for one of these digests, checks what it gets."""

    HASHES = {"MD5": "md5", "SHA-256": "sha256", "SHA-512-256": "sha512_256"}

    def __init__(self, space, offered):
        super().__init__(daemon=True)
        self.offered, self.nonce, self.seen, self.is_over = offered, os.urandom(8).hex(), [], threading.Event()

        def make():
            made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            made.bind((CARRIER, 5060))
            made.settimeout(0.1)
            return made

        self.socket = inside(space, make)

    def run(self):
        while not self.is_over.is_set():
            try:
                data, source = self.socket.recvfrom(65536)
            except TimeoutError:
                continue
            self.socket.sendto(self.answer(data.decode()).encode(), source)

    def answer(self, text):
        kept = "".join(f"{line}\r\n" for line in text.split("\r\n") if re.match(r"(Via|From|To|Call-ID|CSeq):", line))
        found = re.search(r"^Authorization: Digest (.*)\r$", text, re.M)
        if not found:
            challenges = "".join(f'WWW-Authenticate: Digest realm="carrier.example", nonce="{self.nonce}", algorithm={name}, qop="auth"\r\n'
                                 for name in self.offered)
            return f"SIP/2.0 401 Unauthorized\r\n{kept}{challenges}Content-Length: 0\r\n\r\n"
        fields = dict(re.findall(r'(\w+)="?([^",]*)"?', found[1]))
        self.seen.append((fields["algorithm"], fields["response"] == self.expected(fields)))
        contact = re.search(r"^Contact: .*\r$", text, re.M)[0]
        status = "200 OK" if self.seen[-1][1] else "403 Forbidden"
        return f"SIP/2.0 {status}\r\n{kept}{contact}\nContent-Length: 0\r\n\r\n"

    def expected(self, fields):
        def of(*parts):
            return hashlib.new(self.HASHES[fields["algorithm"]], ":".join(parts).encode()).hexdigest()

        secret = of(NUMBER, "carrier.example", PASSWORDS[NUMBER])
        return of(secret, self.nonce, fields["nc"], fields["cnonce"], fields["qop"], of("REGISTER", fields["uri"]))

    def finish(self):
        self.is_over.set()
        self.join()
        self.socket.close()


@pytest.mark.parametrize("offered, chosen", [
    (["SHA-512-256"], "SHA-512-256"),
    (["MD5", "SHA-256", "SHA-512-256"], "SHA-512-256"),
    (["MD5", "SHA-256"], "SHA-256"),
    (["SHA-999", "MD5"], "MD5"),
    (["SHA-999"], None),
], ids=["alone", "strongest of three", "stronger of two", "unknown beside", "unknown"])
def test_digest_on_the_wire(make_lab, offered, chosen):
    """The strongest that both know, computed as RFC 8760 and 7616 say; with none of them the password stays where it is."""
    lab = make_lab(a=settings(), b=Settings())
    lab.carrier.kill()
    registrar = None

    def take_place():
        nonlocal registrar
        try:
            registrar = Challenger(lab.topology.carrier, offered)
        except OSError:
            return False
        return True

    wait_for(take_place, 5, "the carrier's port is free")
    registrar.start()
    restart(lab, "expires = 60")
    if chosen:
        wait_registered(lab)
        assert registrar.seen == [(chosen, True)]
    else:
        wait_for(lambda: registrar_row(lab)["cause"], 5, "the refusal")
        assert not registrar.seen and not registrar_row(lab)["is_registered"]
        assert "no authentication that we can use" in registrar_row(lab)["cause"]
    registrar.finish()
    lab.carrier.start()
