# SPDX-License-Identifier: GPL-3.0-or-later
"""A thousand initiators that go no further than their first message, to the port of a session on its way up and to ports of none."""

import secrets
import socket
import time

import pytest
from attacks import IKE_HEADER, SA_INIT, IpsecAttacker, Pace, exchange, is_request, resident_kbyte, session_packets
from vpnlab.capture import sdp_endpoint, sip_messages
from vpnlab.namespaces import wait_for
from vpnlab.noise import ipv4, udp
from vpnlab.router import Settings
from vpnlab.topology import A, B

INITIATORS = 1000
LIMIT_SEC = 5
NONCE = 16
GATE = 'table bridge gate {\n chain forward {\n type filter hook forward priority 0\n iifname "wan-a" udp dport 50000-50999 counter drop\n }\n}\n'
TIMERS = {"holddown": 2, "failback": 1, "answer": 4, "ringing": 4, "ike": 20, "port-reuse": 1}
UNPROTECTED = "ike-cookie-threshold = 10000\nmaximum-half-open-ike = 200\n"


def first_message(lab):
    """A real IKE_SA_INIT request of `a`."""
    return next(packet for packet in session_packets(lab, "is_ike") if exchange(packet) == SA_INIT and is_request(packet) and packet.src == A.wan)


def another_initiator(payload):
    """The same proposals and public value with another SPI and nonce."""
    octets = bytearray(payload)
    octets[IKE_HEADER:IKE_HEADER + 8] = secrets.token_bytes(8)
    kind, place = octets[IKE_HEADER + 16], IKE_HEADER + 28
    while kind != 40:  # the nonce's payload
        kind, place = octets[place], place + int.from_bytes(octets[place + 2:place + 4], "big")
    octets[place + 4:place + 4 + NONCE] = secrets.token_bytes(NONCE)
    return bytes(octets)


def answered_port(lab, calls):
    """The session port in `b`'s answer to the newest of so many calls, or None."""
    ends = {message.call_id: sdp_endpoint(message) for message in sip_messages(lab.wan["a"].packets())
            if message.status == 200 and message.method == "INVITE" and message.src == "198.51.100.5" and message.body}
    return list(ends.values())[-1][1] if len(ends) == calls else None


def flood(attacker, template, port):
    pace = Pace(2000)
    for number in range(INITIATORS):
        datagram = udp(20000 + number, port, another_initiator(template))
        attacker.raw.sendto(ipv4(A.wan, B.wan, socket.IPPROTO_UDP, datagram, ttl=64), (B.wan, 0))
        pace.step()


def attack(make_lab, sections):
    """Seconds from the end of the flood until the session is up, None if longer than LIMIT_SEC; and the lab."""
    options = {"timers": TIMERS, "sections": sections, "idle_time": 20}
    lab = make_lab(a=Settings(**options), b=Settings(**options))
    lab.may_leak = True  # to ports of no session
    attacker = IpsecAttacker(lab)
    assert lab.ping(1) == 1
    lab.wait_up()
    template = first_message(lab).payload
    lab.hang_up()
    before = resident_kbyte(lab.b)
    flood(attacker, template, 50000 + (int(time.time()) % 900))
    lab.topology.net.nft(GATE)
    ping = lab.start_ping(0.2)
    port = wait_for(lambda: answered_port(lab, 2), 5, "the second call's answer")
    flood(attacker, template, port)
    began = time.monotonic()
    lab.topology.net.nft("delete table bridge gate\n")
    try:
        lab.a.wait_status("SESSION_UP", seconds=LIMIT_SEC)
        waited = time.monotonic() - began
    except Exception:
        waited = None
    ping.stop()
    growth = {name: kbyte - before[name] for name, kbyte in resident_kbyte(lab.b).items()}
    attacker.close()
    return waited, growth, lab


def test_legitimate_session_comes_up(make_lab, tell):
    waited, growth, lab = attack(make_lab, "")
    tell(f"{INITIATORS} half-open initiators at its port: session up after {waited and round(waited, 1)} s, growth {growth} kB")
    assert waited is not None
    assert lab.ping(5, interval=0.05) == 5
    lab.hang_up()


def test_without_cookies(make_lab, tell):
    """The control: without cookies the half-open ones take all places."""
    waited, growth, lab = attack(make_lab, UNPROTECTED)
    tell(f"without cookies: {'up after %.1f s' % waited if waited else f'not up within {LIMIT_SEC} s'}, growth {growth} kB")
    assert waited is None
    for router in lab.routers.values():
        router.cli("hangup", router.peer.number, check=False)
    lab.wait_resting(30)
