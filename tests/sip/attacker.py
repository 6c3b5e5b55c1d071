# SPDX-License-Identifier: GPL-3.0-or-later
"""An attacker on the routers' WAN segment: sends what it likes from any address, and knows what it has overheard.

What it overhears is taken from the lab's captures, as if the segment were a hub.
"""

import json
import os
import re
import signal
import socket
import time
from contextlib import contextmanager, suppress

from agents_parts import inside
from vpnlab.capture import sip_messages
from vpnlab.namespaces import LabError, run, wait_for
from vpnlab.noise import ipv4, udp
from vpnlab.router import Settings
from vpnlab.topology import CARRIER, GATEWAY

ADDRESS, VICTIM = "198.51.100.66", "198.51.100.77"
GUARD_OFF = "VPNSIP_TEST_NO_SIP_GUARD"


class Attacker:
    """A namespace with the address ADDRESS (and VICTIM, who must hear nothing) on the backup network of a lab."""

    def __init__(self, lab):
        self.lab = lab
        self.space = lab.workspace.namespace("at")
        net = lab.topology.net
        run(["ip", "-batch", "-"], stdin=f"netns add {self.space.name}\n"
            f"link add eth0 netns {self.space.name} type veth peer name wan-at netns {net.name}\n")
        net.batch("link set wan-at master wan up\n")
        self.space.batch(f"link set lo up\naddr add {ADDRESS}/24 dev eth0\naddr add {VICTIM}/24 dev eth0\nlink set eth0 up\n"
                         f"route add default via {GATEWAY}\n")
        self.sockets = []
        self.ear = self.socket(ADDRESS, 5060)
        self.victim = self.socket(VICTIM, 5060)

    def socket(self, address, port):
        def make():
            made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            made.bind((address, port))
            made.settimeout(0.2)
            return made

        self.sockets.append(inside(self.space, make))
        return self.sockets[-1]

    def send(self, message, to, count=1):
        for _ in range(count):
            self.ear.sendto(message, (to, 5060))

    def spoof(self, message, source, to, sport=5060, dport=5060, space=None):
        """With somebody else's address."""
        packet = ipv4(source, to, socket.IPPROTO_UDP, udp(sport, dport, message), ttl=64)

        def transmit():
            with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as sender:
                sender.sendto(packet, (to, 0))

        inside(space or self.space, transmit)

    def heard(self, ear=None, seconds=0.3):
        """Everything that came back."""
        ear, found, end = ear or self.ear, [], time.monotonic() + seconds
        while (rest := end - time.monotonic()) > 0:
            ear.settimeout(rest)
            try:
                found.append(ear.recv(65536).decode(errors="replace"))
            except TimeoutError:
                break
        return found


def request(method, target, call_id, from_tag="", to_tag="", cseq=1, via=ADDRESS, branch=None, from_user="0388882001", to_user="0388881001",
            headers="", body="", contact=ADDRESS):
    """The octets of a request."""
    tagged = f";tag={to_tag}" if to_tag else ""
    text = (f"{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP {via}:5060;branch={branch or 'z9hG4bK' + os.urandom(8).hex()}\r\n"
            f"Max-Forwards: 70\r\nFrom: <sip:{from_user}@carrier.example>;tag={from_tag or os.urandom(4).hex()}\r\n"
            f"To: <sip:{to_user}@carrier.example>{tagged}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n"
            f"Contact: <sip:{from_user}@{contact}:5060>\r\n{headers}")
    if body:
        text += "Content-Type: application/sdp\r\n"
    return (text + f"Content-Length: {len(body)}\r\n\r\n{body}").encode()


def offer(address=ADDRESS, fingerprint="AA"):
    return (f"v=0\r\no=- 7 7 IN IP4 {address}\r\ns=-\r\nc=IN IP4 {address}\r\nt=0 0\r\nm=application 50500 udp ike-esp-udpencap\r\n"
            f"b=AS:1000\r\na=ike-setup:active\r\na=psk-fingerprint:SHA-256 {':'.join([fingerprint] * 32)}\r\n")


def tag_of(header):
    return header.partition(";tag=")[2].partition(";")[0]


def uri_of(header):
    return header.partition("<")[2].partition(">")[0] or header


class Dialog:
    """What somebody who hears the segment knows of the call that is up at router `b`, which was called."""

    def __init__(self, lab):
        messages = sip_messages(lab.wan["b"].packets())
        self.invite = [message for message in messages if message.start_line.startswith("INVITE ") and message.dst == lab.b.site.wan][-1]
        (self.answer, *_) = [message for message in messages if message.status == 200 and message.method == "INVITE"
                             and message.call_id == self.invite.call_id]
        self.call_id = self.invite.call_id
        self.target = uri_of(self.answer.headers["contact"])
        self.caller_tag, self.callee_tag = tag_of(self.invite.headers["from"]), tag_of(self.answer.headers["to"])
        self.cseq = int(self.invite.headers["cseq"].split()[0])

    def request(self, method, jump=1, **options):
        """As the caller would send it to b."""
        options.setdefault("to_tag", self.callee_tag)
        options.setdefault("from_tag", self.caller_tag)
        return request(method, self.target, self.call_id, cseq=self.cseq + jump, from_user="0388881001", to_user="0388882001", **options)


def spi(router):
    return [sa["spi"] for sa in router.session()["sas"]] if router.session().get("sas") else []


def drop_kernel_guard(router):
    """Control: nobody repairs the table, and the entrance of the guard is empty."""
    router.processes["nat-qos-agent"].signal(signal.SIGSTOP)
    router.space.run("nft", "flush", "chain", "ip", "vpnsip", "sip_guard")


def restore_kernel_guard(router):
    router.processes["nat-qos-agent"].signal(signal.SIGCONT)


def kernel_counter(router, name):
    text = router.space.run("nft", "list", "counter", "ip", "vpnsip", name)
    return int(text.partition("packets ")[2].split()[0])


def guard_classes(router):
    """{class: count} of sip-agent's guard, also while nat-qos-agent is stopped."""
    shown = json.loads(router.cli("show", "vpn-sip", "guard", "--json", check=False))
    return {entry["class"]: entry["count"] for entry in shown["classes"]}


def unguarded(monkeypatch, **options):
    """Settings of a router whose sip-agent turns nobody away; with drop_kernel_guard() the control of every attack."""
    monkeypatch.setenv(GUARD_OFF, "1")
    return Settings(allow_faults=True, **options)


@contextmanager
def payload(lab, interval=0.1):
    """Pings through the tunnel all the time; yields a function that gives (sent, answered) since the start. Late is not lost: the answers
    still under way get a second."""
    ping = lab.start_ping(interval)
    lab.wait_up()
    wait_for(lambda: "bytes from" in ping.log.read_text(), 5, "the first answer through the tunnel")
    began = ping.log.stat().st_size

    def numbers(what):
        return set(re.findall(rf"(?:{what}).*icmp_seq=(\d+)", ping.log.read_text()[began:]))

    def count():
        sent = numbers("bytes from|no answer yet")
        with suppress(LabError):
            wait_for(lambda: sent <= numbers("bytes from"), 1, "the last answers")
        return len(sent), len(sent & numbers("bytes from"))

    try:
        yield count
    finally:
        ping.stop(signal.SIGINT)

