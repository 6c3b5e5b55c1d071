# SPDX-License-Identifier: GPL-3.0-or-later
"""Attacks on the way between us and the carrier, and on what is told from outside: SDP rewriting, rogue registrars, replay, reflection,
scanning. Each with a control run in which it succeeds."""

import hashlib
import os
import re
import socket
import threading
import time
from pathlib import Path

import pytest
from agents_parts import inside
from attacker import (ADDRESS, CARRIER, VICTIM, Attacker, drop_kernel_guard, guard_classes, offer, request, restore_kernel_guard,
                      unguarded)
from vpnlab.capture import sip_messages
from vpnlab.namespaces import wait_for
from vpnlab.router import PSK, Settings

QUIET = {"idle_time": 30}
TIMERS = {"holddown": 60, "answer": 4, "ringing": 4, "ike": 4, "release": 1, "port-reuse": 1}
FOREIGN = ":".join(["AB"] * 32)
PIN = "SHA-256 " + hashlib.sha256(PSK.encode()).digest().hex(":").upper()


def put_in_between(lab, *rules):
    """Router a's cable to the carrier's network now ends at the man in the middle."""
    net = lab.topology.net
    net.batch("link add mitm0 type veth peer name mitm1\nlink set mitm1 master wan up\nlink set mitm0 up promisc on\n"
              "link set wan-a nomaster\nlink set wan-a promisc on\n")
    for interface in ("wan-a", "mitm0", "mitm1"):
        net.run("ethtool", "-K", interface, "tx", "off", "rx", "off", "gso", "off", "tso", "off", "gro", "off", check=False)
    lab.a.space.run("ethtool", "-K", "wan0", "tx", "off", "gso", "off", "tso", "off", check=False)
    process = lab.workspace.start(net.command("/usr/bin/python3", "-B", Path(__file__).with_name("mitm.py"), "wan-a", "mitm0", *rules), "mitm.log")
    wait_for(lambda: "forwarding" in process.log.read_text(), 5, "the man in the middle")
    return process


STRIP = [r"a=psk-fingerprint:[^\r]*\r\n", ""]
REWRITES = {
    "fingerprint": [r"psk-fingerprint:SHA-256 [0-9A-F:]+", f"psk-fingerprint:SHA-256 {FOREIGN}"],
    "no-fingerprint": STRIP,
    "address": [r"c=IN IP4 198\.51\.100\.\d+", f"c=IN IP4 {ADDRESS}"],
}


@pytest.mark.parametrize("name", REWRITES)
def test_rewritten_sdp_makes_no_tunnel(make_lab, tell, name):
    lab = make_lab(a=Settings(timers=TIMERS, pin=PIN), b=Settings(timers=TIMERS, pin=PIN))
    lab.may_leak = True  # IKE to the attacker's address is no session's
    attacker = Attacker(lab)
    process = put_in_between(lab, *REWRITES[name])
    assert lab.ping(1, wait=1) == 0
    session = wait_for(lambda: (found := lab.a.session())["failed"] and found, 12, "the call fails")
    assert "rewritten" in process.log.read_text()
    assert not session.get("sas") and lab.b.status() in ("READY_TO_CONNECT", "HOLDDOWN", "RELEASING", "NEGOTIATING_IKE")
    wait_for(lambda: not lab.carrier.open_dialogs(), 8, "no call is left open")
    assert not attacker.heard(), "nothing in clear comes to the attacker"
    tell(session["last_cause"])


def test_control_without_a_pin_it_passes(make_lab):
    """Who takes the fingerprint away goes unnoticed by a call without a pin; only IKE's own authentication is left."""
    lab = make_lab()
    process = put_in_between(lab, *STRIP)
    assert lab.ping(1)
    lab.wait_up()
    assert "rewritten" in process.log.read_text()
    lab.hang_up()


class Rogue(threading.Thread):
    """Answers in the carrier's place, with its address: challenges for a realm, redirects calls."""

    def __init__(self, lab, realm):
        super().__init__(daemon=True)
        self.realm, self.heard, self.is_over = realm, [], threading.Event()

        def make():
            made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            made.bind((CARRIER, 5060))
            made.settimeout(0.1)
            return made

        self.socket = wait_for(lambda: self.take_place(lab, make), 5, "the carrier's port is free")

    @staticmethod
    def take_place(lab, make):
        try:
            return inside(lab.topology.carrier, make)
        except OSError:
            return None

    def run(self):
        while not self.is_over.is_set():
            try:
                data, source = self.socket.recvfrom(65536)
            except TimeoutError:
                continue
            text = data.decode(errors="replace")
            self.heard.append(text)
            if text.startswith("ACK"):
                continue
            kept = "".join(f"{line}\r\n" for line in text.split("\r\n") if re.match(r"(Via|From|Call-ID|CSeq):", line))
            to = re.search(r"^To: (.*?)\r$", text, re.MULTILINE)[1]
            status = (f"401 Unauthorized\r\nWWW-Authenticate: Digest realm=\"{self.realm}\", nonce=\"{os.urandom(8).hex()}\", algorithm=MD5, "
                      "qop=\"auth\"")
            if text.startswith("INVITE"):
                status = f"302 Moved\r\nContact: <sip:0388882001@{ADDRESS}:5060>"
            self.socket.sendto(f"SIP/2.0 {status}\r\n{kept}To: {to};tag=rogue\r\nContent-Length: 0\r\n\r\n".encode(), source)

    def finish(self):
        self.is_over.set()
        self.join()
        self.socket.close()


def is_answered(text):
    return re.search(r"^(Proxy-)?Authorization:", text, re.MULTILINE) is not None


@pytest.mark.parametrize("realm", ["evil.example", "carrier.example"], ids=["guarded", "control"])
def test_rogue_registrar(make_lab, realm):
    """Our password answers the carrier's realm alone. Who has the carrier's address and knows its realm is answered, on plain UDP."""
    lab = make_lab(a=Settings(timers=TIMERS), b=Settings())
    lab.may_leak = True
    attacker = Attacker(lab)
    lab.carrier.kill()
    rogue = Rogue(lab, realm)
    rogue.start()
    assert lab.ping(1, wait=1) == 0
    wait_for(lambda: any(text.startswith("INVITE") for text in rogue.heard), 5, "a call at the rogue, who says 302")
    lab.a.stop(names=["sip-agent"])
    lab.a.start_service("sip-agent")
    wait_for(lambda: any(text.startswith("REGISTER") for text in rogue.heard), 10, "a REGISTER at the rogue")
    if realm == "carrier.example":
        wait_for(lambda: any(map(is_answered, rogue.heard)), 5, "control: the answer to the rogue's challenge")
    else:
        time.sleep(2)
    rogue.finish()
    assert any(map(is_answered, rogue.heard)) == (realm == "carrier.example")
    assert not attacker.heard(), "a redirection is not followed"


@pytest.mark.parametrize("is_guarded", [True, pytest.param(False, marks=pytest.mark.long)], ids=["guarded", "control"])
def test_replayed_invite(make_lab, monkeypatch, is_guarded):
    """The INVITE of a call that has ended, again, with the proxy's address: no second session."""
    lab = make_lab(a=Settings(), b=Settings() if is_guarded else unguarded(monkeypatch))
    lab.may_leak = True
    attacker = Attacker(lab)
    assert lab.ping(1)
    lab.wait_up()
    lab.hang_up()
    recorded = [packet for packet in lab.wan["b"].packets() if packet.is_sip and packet.dst == lab.b.site.wan
                and packet.payload.startswith(b"INVITE ")][0].payload
    if not is_guarded:
        time.sleep(33)  # an ended call is known for 32 s by itself
    since = time.time()
    for number in range(20):
        attacker.spoof(re.sub(rb"branch=[^;\r]+", b"branch=z9hG4bKreplay%d" % number, recorded, count=1), CARRIER, lab.b.site.wan)
    time.sleep(2)
    answers = [message.status for message in sip_messages(lab.wan["b"].packets())
               if message.method == "INVITE" and message.src == lab.b.site.wan and message.status and message.time > since]
    if is_guarded:
        assert set(answers) == {482} and guard_classes(lab.b)["replay"] + answers.count(482) >= 20
        assert lab.b.status() == "READY_TO_CONNECT"
    else:
        assert 200 in answers, "control: the replay is answered, and billed"
        lab.b.cli("hangup", "all", check=False)
        lab.b.wait_status("READY_TO_CONNECT", seconds=45)


@pytest.mark.parametrize("is_kept", [True, False], ids=["guarded", "control"])
def test_replayed_invite_after_a_restart(make_lab, is_kept):
    """A restart of sip-agent does not make an overheard INVITE good again. The control has forgotten its calls."""
    lab = make_lab()
    lab.may_leak = True
    attacker = Attacker(lab)
    assert lab.ping(1)
    lab.wait_up()
    lab.hang_up()
    recorded = [packet for packet in lab.wan["b"].packets() if packet.is_sip and packet.dst == lab.b.site.wan
                and packet.payload.startswith(b"INVITE ")][0].payload
    lab.b.stop(names=["sip-agent"])
    state = lab.b.state_dir / "sip-agent"
    for record in state.glob("call-*"):
        record.unlink()  # as 32 s later
    if not is_kept:
        (state / "ended-calls").unlink()
    lab.b.start_service("sip-agent")
    wait_for(lambda: any(row["is_registered"] for row in lab.b.show("vpn-sip", "registration-status")["registrations"]), 10, "registered")
    lab.b.wait_status("READY_TO_CONNECT", seconds=10)
    since = time.time()
    attacker.spoof(re.sub(rb"branch=[^;\r]+", b"branch=z9hG4bKreplay", recorded, count=1), CARRIER, lab.b.site.wan)

    def answers():
        return [message.status for message in sip_messages(lab.wan["b"].packets())
                if message.method == "INVITE" and message.src == lab.b.site.wan and (message.status or 0) >= 200 and message.time > since]

    wait_for(answers, 5, "an answer")
    if is_kept:
        assert set(answers()) == {482} and guard_classes(lab.b)["replay"] >= 1
        assert lab.b.status() == "READY_TO_CONNECT"
    else:
        assert 200 in answers(), "control: the replay is answered, and billed"
        lab.b.cli("hangup", "all", check=False)
        lab.b.wait_status("READY_TO_CONNECT", seconds=45)


@pytest.mark.parametrize("is_guarded", [True, False], ids=["guarded", "control"])
def test_reflection_and_scanning(make_lab, monkeypatch, is_guarded):
    """Nothing goes to a victim named by source and Via, and a scan learns nothing."""
    lab = make_lab(b=Settings() if is_guarded else unguarded(monkeypatch))
    lab.may_leak = True
    attacker = Attacker(lab)
    if not is_guarded:
        drop_kernel_guard(lab.b)
    wan = lab.b.site.wan
    for number in range(50):
        for method in ("OPTIONS", "INVITE", "REGISTER"):
            message = request(method, f"sip:{1000 + number}@{wan}", f"scan-{method}-{number}", to_user=str(1000 + number),
                              body=offer() if method == "INVITE" else "")
            attacker.send(message, wan)
        attacker.spoof(request("OPTIONS", f"sip:x@{wan}", f"reflect-{number}", via=VICTIM), VICTIM, wan)
    scanned, reflected = attacker.heard(seconds=1), attacker.heard(attacker.victim, seconds=1)
    if is_guarded:
        assert not scanned and not reflected
    else:
        assert len(scanned) >= 100 and len(reflected) >= 40, "control"
        restore_kernel_guard(lab.b)


def register(lab, attacker, headers="", contact=ADDRESS, contacts=None, call_id=None):
    text = request("REGISTER", "sip:carrier.example", call_id or os.urandom(6).hex(), from_user=lab.a.site.number, to_user=lab.a.site.number,
                   headers=headers).decode()
    if contacts:
        text = re.sub(r"^Contact:.*?\r\n", contacts, text, count=1, flags=re.MULTILINE)
    attacker.send(text.encode(), CARRIER)
    return attacker.heard(seconds=1)


def test_registration_cannot_be_taken(make_lab, tell):
    """Without our password the carrier keeps our binding; the control is a carrier that asks nobody."""
    lab = make_lab()
    lab.may_leak = True
    attacker = Attacker(lab)
    number, before = lab.a.site.number, lab.carrier.registered()
    wrong = (f'Authorization: Digest username="{number}", realm="carrier.example", nonce="00", uri="sip:carrier.example", '
             f'response="{"0" * 32}"\r\n')
    everything = "Contact: *\r\nExpires: 0\r\n"
    for headers, contacts in (("", None), (wrong, None), ("", everything), (wrong, everything)):
        answers = register(lab, attacker, headers, contacts=contacts)
        assert answers and all(text.startswith(("SIP/2.0 401", "SIP/2.0 403")) for text in answers), answers
    overheard = [message.headers["authorization"] for message in sip_messages(lab.wan["a"].packets())
                 if message.method == "REGISTER" and "authorization" in message.headers]
    answers = register(lab, attacker, f"Authorization: {overheard[0]}\r\n")
    tell(f"an Authorization that was overheard, again: {answers[0].splitlines()[0]}")
    if not answers[0].startswith("SIP/2.0 200"):
        assert lab.carrier.registered() == before
    lab.carrier.switch("no-auth", 1)
    assert register(lab, attacker)[0].startswith("SIP/2.0 200")
    assert ADDRESS in lab.carrier.registered()[number], "control: an open registrar gives our calls away"
    lab.carrier.switch("no-auth", None)


@pytest.mark.slow
def test_stolen_binding_is_taken_back(make_lab):
    """What a careless carrier lets happen is noticed at the next refresh at the latest: half of `expires`."""
    lab = make_lab(a=Settings(line_options=["expires = 60"]), expires=20)
    lab.may_leak = True
    attacker = Attacker(lab)
    lab.carrier.switch("no-auth", 1)
    assert register(lab, attacker)[0].startswith("SIP/2.0 200")
    number = lab.a.site.number
    assert ADDRESS in lab.carrier.registered()[number]
    wait_for(lambda: lab.a.site.wan in lab.carrier.registered()[number], 15, "our binding is back", interval=0.5)
    lab.carrier.switch("no-auth", None)
