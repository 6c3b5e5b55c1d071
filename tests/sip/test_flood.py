# SPDX-License-Identifier: GPL-3.0-or-later
"""Floods of requests at a router whose tunnel carries traffic: whom it knows is served all the while."""

import os
import re
import socket
import threading
import time
from pathlib import Path

import pytest
from agents_parts import inside
from attacker import Attacker, drop_kernel_guard, kernel_counter, offer, payload, request, restore_kernel_guard, unguarded
from vpnlab.fixtures import LONG
from vpnlab.router import Settings
from vpnlab.topology import CARRIER

RATE = 5000
SECONDS = 60 if LONG else 5
QUIET = {"idle_time": 60}
RSS_LIMIT_KB = 16 * 1024
ANSWER_SECONDS = 2
METHODS = ("INVITE", "REGISTER", "OPTIONS")


def rss_kb(router):
    text = Path(f"/proc/{router.processes['sip-agent'].pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", text)[1])


def cpu_seconds(router):
    fields = Path(f"/proc/{router.processes['sip-agent'].pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Caller(threading.Thread):
    """The proxy offers calls of a known peer, ten a second; each must get a final answer in time (here 486: the peer's call is up)."""

    def __init__(self, lab, contact):
        super().__init__(daemon=True)
        self.target, self.wan = contact, lab.b.site.wan
        self.asked, self.answered, self.is_over = {}, {}, threading.Event()

        def make():
            made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            made.bind((CARRIER, 5070))
            made.setblocking(False)
            return made

        self.socket = inside(lab.topology.carrier, make)

    def run(self):
        number = 0
        while not self.is_over.is_set():
            call_id = f"legitimate-{number}"
            # answers come back to where the request came from: the port of its Via
            message = request("INVITE", self.target, call_id, from_user="0388881001", to_user="0388882001", via=CARRIER, contact=CARRIER,
                              headers="P-Asserted-Identity: <sip:0388881001@carrier.example>\r\n", body=offer(CARRIER))
            self.asked[call_id] = time.monotonic()
            self.socket.sendto(message.replace(f"Via: SIP/2.0/UDP {CARRIER}:5060".encode(), f"Via: SIP/2.0/UDP {CARRIER}:5070".encode()),
                               (self.wan, 5060))
            end = time.monotonic() + 0.1
            while time.monotonic() < end:
                self.listen()
                time.sleep(0.002)
            number += 1

    def listen(self):
        try:
            text = self.socket.recv(65536).decode()
        except BlockingIOError:
            return
        call_id = re.search(r"Call-ID: (\S+)", text)
        if call_id and not text.startswith("SIP/2.0 1"):
            self.answered.setdefault(call_id[1], time.monotonic())
            header = dict(re.findall(r"^(Via|From|To|CSeq): (.*)\r$", text, re.MULTILINE))
            ack = (f"ACK {self.target} SIP/2.0\r\nVia: {header['Via']}\r\nFrom: {header['From']}\r\nTo: {header['To']}\r\n"
                   f"Call-ID: {call_id[1]}\r\nCSeq: {header['CSeq'].split()[0]} ACK\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n")
            self.socket.sendto(ack.encode(), (self.wan, 5060))

    def finish(self):
        """(answered in time, asked)"""
        self.is_over.set()
        self.join()
        end = time.monotonic() + ANSWER_SECONDS
        while len(self.answered) < len(self.asked) and time.monotonic() < end:
            self.listen()
            time.sleep(0.002)
        self.socket.close()
        in_time = sum(self.answered.get(call_id, end + 99) - asked <= ANSWER_SECONDS for call_id, asked in self.asked.items())
        return in_time, len(self.asked)


def flood(lab, attacker, method, sources):
    """Runs a flood at router b; returns what was seen."""
    with payload(lab) as count:
        contact = lab.carrier.registered()[lab.b.site.number].partition(";")[0]
        caller = Caller(lab, contact)
        caller.start()
        rss, cpu = rss_kb(lab.b), cpu_seconds(lab.b)
        sent, seconds = attacker.space.run("/usr/bin/python3", "-B", Path(__file__).with_name("flood.py"), method, lab.b.site.wan, RATE, SECONDS,
                                           sources, timeout=SECONDS + 30).split()
        in_time, asked = caller.finish()
        pings, pongs = count()
        return {"sent": int(sent), "rate": int(sent) / float(seconds), "rss_kb": rss_kb(lab.b) - rss, "cpu": cpu_seconds(lab.b) - cpu,
                "in_time": in_time, "asked": asked, "pings": pings, "pongs": pongs, "replies": len(attacker.heard(seconds=0.2))}


def told(name, seen):
    return (f"{name}: {seen['sent']} requests at {seen['rate']:.0f}/s, {seen['in_time']} of {seen['asked']} calls answered within "
            f"{ANSWER_SECONDS} s, RSS {seen['rss_kb']:+d} kB, CPU {seen['cpu']:.2f} s, {seen['pongs']} of {seen['pings']} pings, "
            f"{seen['replies']} replies heard by the flooder")


@pytest.mark.slow
@pytest.mark.parametrize("sources", [1, 200])
def test_flood(make_lab, tell, sources):
    lab = make_lab(a=Settings(**QUIET), b=Settings(**QUIET))
    lab.may_leak = True  # the flood itself
    attacker = Attacker(lab)
    for method in METHODS:
        dropped = kernel_counter(lab.b, "guard-foreign")
        seen = flood(lab, attacker, method, sources)
        tell(told(f"{method} from {sources}", seen))
        assert seen["rate"] > RATE * 0.8, "the flood is one"
        assert kernel_counter(lab.b, "guard-foreign") - dropped == seen["sent"]
        assert seen["in_time"] >= seen["asked"] * 0.99
        assert seen["rss_kb"] < RSS_LIMIT_KB
        assert seen["pings"] - seen["pongs"] <= max(1, seen["pings"] * 0.01)
        assert not seen["replies"]
    lab.hang_up()
    assert lab.ping(1), "a new call comes up at once"


@pytest.mark.slow
def test_control_flood_without_guard(make_lab, monkeypatch, tell):
    """Nobody is turned away: what a flood costs then."""
    lab = make_lab(a=Settings(**QUIET), b=unguarded(monkeypatch, **QUIET))
    lab.may_leak = True
    attacker = Attacker(lab)
    assert lab.ping(1)
    lab.wait_up()
    drop_kernel_guard(lab.b)
    heard = 0
    for method in reversed(METHODS if LONG else METHODS[:1]):
        seen = flood(lab, attacker, method, 1)
        tell(told(f"control {method}", seen))
        heard += seen["replies"]
        if method == "INVITE":
            assert seen["in_time"] < seen["asked"] * 0.99 or seen["rss_kb"] > RSS_LIMIT_KB, "control: calls fail or memory grows"
    assert heard, "control: the flooder is answered"
    restore_kernel_guard(lab.b)
