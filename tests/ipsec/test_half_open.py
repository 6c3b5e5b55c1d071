# SPDX-License-Identifier: GPL-3.0-or-later
"""A thousand initiators that go no further than their first message, to the port of a session on its way up and to ports of none."""

import secrets
import socket
import time

from attacks import IKE_HEADER, SA_INIT, IpsecAttacker, Pace, exchange, resident_kbyte
from stock_lab import StockLab
from vpnlab.namespaces import LabError, wait_for
from vpnlab.noise import ipv4, udp
from vpnlab.router import Settings
from vpnlab.topology import A, B

INITIATORS = 1000
LIMIT_SEC = 5
NONCE = 16
GATE = 'table bridge gate {\n chain forward {\n type filter hook forward priority 0\n iifname "wan-a" udp dport 50000-50999 counter drop\n }\n}\n'
TIMERS = {"holddown": 2, "failback": 1, "answer": 4, "ringing": 4, "ike": 20, "port-reuse": 1}
UNPROTECTED = "  dos_protection = no\n  init_limit_half_open = 100\n"


def first_message(lab):
    """(the IKE_SA_INIT request of `a`, which the gate drops behind the capture, the port that it goes to), or None."""
    found = [packet for packet in (lab.wan if isinstance(lab, StockLab) else lab.wan["a"]).packets() if packet.is_ike and exchange(packet) == SA_INIT and packet.src == A.wan]
    return (found[-1].payload, found[-1].dport) if found else None


def another_initiator(payload):
    """The same proposals and public value with another SPI and nonce."""
    octets = bytearray(payload)
    octets[IKE_HEADER:IKE_HEADER + 8] = secrets.token_bytes(8)
    kind, place = octets[IKE_HEADER + 16], IKE_HEADER + 28
    while kind != 40:  # the nonce's payload
        kind, place = octets[place], place + int.from_bytes(octets[place + 2:place + 4], "big")
    octets[place + 4:place + 4 + NONCE] = secrets.token_bytes(NONCE)
    return bytes(octets)


def flood(attacker, template, port):
    """Each initiator has a port of its own."""
    pace = Pace(2000)
    for number in range(INITIATORS):
        datagram = udp(20000 + number, port, another_initiator(template))
        attacker.raw.sendto(ipv4(A.wan, B.wan, socket.IPPROTO_UDP, datagram, ttl=64), (B.wan, 0))
        pace.step()


def time_to_session(lab, router):
    """Opens the gate; seconds until the session is up, None if longer than LIMIT_SEC."""
    began = time.monotonic()
    lab.topology.net.nft("delete table bridge gate\n")
    try:
        router.wait_status("SESSION_UP", seconds=LIMIT_SEC)
    except LabError:
        return None
    return time.monotonic() - began


def test_legitimate_session_comes_up(make_lab, tell):
    settings = {"timers": TIMERS, "idle_time": 20}
    lab = make_lab(a=Settings(**settings), b=Settings(**settings))
    lab.may_leak = True  # to ports of no session
    attacker = IpsecAttacker(lab)
    before = resident_kbyte(lab.b)
    lab.topology.net.nft(GATE)
    ping = lab.start_ping(0.2)
    template, port = wait_for(lambda: first_message(lab), 5, "the first message")
    began = time.monotonic()
    flood(attacker, template, port + 1 if port < 50999 else 50000)
    flood(attacker, template, port)
    waited = time_to_session(lab, lab.a)
    told = [line for line in lab.b.log("ike-agent").splitlines() if "ike.guard.reject" in line]
    assert any(f"class=cookie src={A.wan} tunnel={B.tunnel} " in line for line in told)
    assert len(told) <= 2 * (time.monotonic() - began + 1), "a flood fills no log"
    growth = {name: kbyte - before[name] for name, kbyte in resident_kbyte(lab.b).items()}
    tell(f"{INITIATORS} half-open initiators at its port: session up after {waited and round(waited, 1)} s, growth {growth} kB")
    assert waited is not None
    ping.stop()
    assert lab.ping(5, interval=0.05) == 5
    attacker.close()
    lab.hang_up()


def test_they_would_keep_others_out(tell):
    """The control: a responder that has a limit and no cookies, stock strongSwan told so."""
    lab = StockLab(settings=Settings(timers=TIMERS), charon_settings=UNPROTECTED)
    try:
        attacker = IpsecAttacker(lab)
        lab.topology.net.nft(GATE)
        lab.answer_calls()
        lab.workspace.start(lab.host_a.command("ping", "-i", "0.2", B.host), "ping.log")
        template, port = wait_for(lambda: first_message(lab), 5, "the first message")
        flood(attacker, template, port)
        waited = time_to_session(lab, lab.router)
        tell(f"without cookies: {'up after %.1f s' % waited if waited else f'not up within {LIMIT_SEC} s'}")
        assert waited is None
        attacker.close()
    finally:
        lab.close()
