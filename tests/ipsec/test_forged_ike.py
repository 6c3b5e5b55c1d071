# SPDX-License-Identifier: GPL-3.0-or-later
"""IKE messages that somebody without the keys has made up, for IKE_SAs whose SPIs he has overheard: they end no session and move none."""

import time

import pytest
from attacks import AUTH, IKE_HEADER, INFORMATIONAL, SA_INIT, WANS, IpsecAttacker, exchange, is_request, session_packets
from stock_lab import StockLab
from vpnlab.namespaces import wait_for
from vpnlab.router import Settings
from vpnlab.topology import A, B

MESSAGE_IDS = 40  # a session of some seconds has had fewer
ENCRYPTED = 46


def made_up(packet, kind, number, is_answer, payload=b"", first=0):
    """As `packet`, with the same SPIs and direction, but of another exchange, with another message ID and these payloads."""
    octets = bytearray(packet.payload[:IKE_HEADER + 28])
    header = memoryview(octets)[IKE_HEADER:]
    header[16], header[18] = first, kind
    header[19] = header[19] & 0x08 | (0x20 if is_answer else 0)
    header[20:24] = number.to_bytes(4, "big")
    header[24:28] = (28 + len(payload)).to_bytes(4, "big")
    return bytes(octets) + payload


def broken(packet, number, _answer):
    """A request of which the only payload is longer than the message."""
    return made_up(packet, INFORMATIONAL, number, False, b"\x00\x00\xff\xff" + bytes(60), ENCRYPTED)


def answer_to_a_beginning(packet, number, answer):
    """The IKE_SA_INIT response once more, as the answer to a later request."""
    return made_up(packet, SA_INIT, number, True, answer[IKE_HEADER + 28:], answer[IKE_HEADER + 16])


def empty_request(packet, number, _answer):
    """A request of no payload, in clear: answered, it would be a sign of life from where it came."""
    return made_up(packet, INFORMATIONAL, number, False)


def empty_answer(packet, number, _answer):
    return made_up(packet, INFORMATIONAL, number, True)


def overheard(packets):
    """({receiver: an IKE packet to it of the IKE_SA that is up}, the IKE_SA_INIT response)"""
    first = {}
    for packet in packets:
        if exchange(packet) == AUTH:
            first[packet.dst] = packet
    (answer, *_) = [packet.payload for packet in packets if exchange(packet) == SA_INIT and not is_request(packet)]
    return first, answer


def send(attacker, packets, forge, sport=None):
    first, answer = overheard(packets)
    for packet in first.values():
        for number in range(MESSAGE_IDS):
            attacker.resend(packet, forge(packet, number, answer), sport)


FORGERIES = [broken, answer_to_a_beginning, empty_request, empty_answer]


def malformed(router):
    (found,) = [each["count"] for each in router.show("crypto", "call", "admission", "statistics")["classes"] if each["class"] == "malformed"]
    return found


@pytest.mark.parametrize("forge", FORGERIES, ids=[each.__name__ for each in FORGERIES])
def test_session_stays(make_lab, tell, forge):
    """Each second, while both ask each other for signs of life, so that requests are open; from the peer's port and from another one."""
    options = {"idle_time": 60, "ike_options": ["dpd-interval = 1", "dpd-retry = 1"]}
    lab = make_lab(a=Settings(**options), b=Settings(**options))
    lab.may_leak = True  # what is refused is answered by nobody
    attacker = IpsecAttacker(lab)
    assert lab.ping(2) == 2
    lab.wait_up()
    call = lab.a.session()["sip_call_id"]
    for _ in range(5):
        packets = session_packets(lab, "is_ike")
        for sport in (None, 40000):
            send(attacker, packets, forge, sport)
        time.sleep(1)
    refused = {name: malformed(router) for name, router in lab.routers.items()}
    tell(f"{forge.__name__}: refused {refused}")
    assert all(refused.values())
    assert lab.ping(10, interval=0.05) == 10
    assert lab.a.session()["sip_call_id"] == call and lab.a.status() == lab.b.status() == "SESSION_UP"
    attacker.close()
    lab.hang_up()


def test_stock_charon_ends(tell):
    """The control: the same message to the other end, where stock strongSwan takes it."""
    lab = StockLab(settings=Settings(idle_time=60))
    try:
        attacker = IpsecAttacker(lab)
        lab.answer_calls()
        assert lab.ping("a", 1, wait=6) == 1
        lab.wait_up()
        first, answer = overheard([packet for packet in lab.wan.packets() if packet.is_ike and {packet.src, packet.dst} == WANS])
        for number in range(MESSAGE_IDS):
            attacker.resend(first[B.wan], broken(first[B.wan], number, answer))
        wait_for(lambda: "ESTABLISHED" not in lab.stock_sas(), 3, "charon's IKE_SA ends")
        tell(f"stock charon: {[line for line in lab.charon.log.splitlines() if 'parsed' in line][-1][-80:]}")
        attacker.close()
    finally:
        lab.close()
