# SPDX-License-Identifier: GPL-3.0-or-later
"""A re-INVITE or UPDATE that would change a session while its tunnel carries traffic: refused, and the SAs stay as they are."""

import re
import socket

import pytest
from agents_parts import inside
from vpnlab.capture import sip_messages
from vpnlab.namespaces import wait_for
from vpnlab.topology import CARRIER, A, B

# what is put in the place of the offer's own
CHANGES = {
    "address": (r"IN IP4 \S+", "IN IP4 198.51.100.66"),
    "port": (r"m=application \d+", "m=application 40000"),
    "bandwidth": (r"b=AS:\d+", "b=AS:64"),
    "fingerprint": (r"(psk-fingerprint:\S+) ..", r"\1 00"),
    "nothing": ("$^", ""),
}


def dialog(lab):
    """(INVITE as B got it, B's 200); what comes later is ours"""
    messages = sip_messages(lab.wan["b"].packets())
    invite = [message for message in messages if message.start_line.startswith("INVITE ") and message.dst == B.wan][0]
    answer = [message for message in messages if message.status == 200 and message.method == "INVITE" and message.call_id == invite.call_id][0]
    return invite, answer


def exchange(lab, method, sequence, change):
    """Sends the request to B as the carrier would, and returns the status of its final response."""
    invite, answer = dialog(lab)
    pattern, text = CHANGES[change]
    body = re.sub(pattern, text, invite.body.decode())
    sent_by = f"{CARRIER}:5099"
    request = (f"{method} sip:x@{B.wan}:5060 SIP/2.0\r\nVia: SIP/2.0/UDP {sent_by};branch=z9hG4bKforged{method}{sequence}\r\nMax-Forwards: 70\r\n"
               f"From: {answer.headers['from']}\r\nTo: {answer.headers['to']}\r\nCall-ID: {invite.call_id}\r\nCSeq: {sequence} {method}\r\n"
               f"Contact: <sip:{A.number}@{CARRIER}:5060>\r\nContent-Type: application/sdp\r\nContent-Length: {len(body)}\r\n\r\n{body}")

    def talk():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as carrier:
            carrier.bind((CARRIER, 5099))
            carrier.settimeout(3)
            carrier.sendto(request.encode(), (B.wan, 5060))
            status = 0
            while status < 200:
                response = carrier.recv(65535)
                if f"CSeq: {sequence} ".encode() in response:  # a late repetition of an earlier one may come too
                    status = int(response.split(b" ", 2)[1])
            if method == "INVITE":
                acknowledgement = request.replace("INVITE sip:", "ACK sip:").replace(f"{sequence} INVITE", f"{sequence} ACK")
                acknowledgement = re.sub(r"Content-Type.*", "Content-Length: 0\r\n\r\n", acknowledgement, flags=re.DOTALL)
                carrier.sendto(acknowledgement.encode(), (B.wan, 5060))
            return status

    return inside(lab.topology.carrier, talk)


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_a_change_leaves_the_sa_alone(lab, method):
    assert lab.ping() == 1
    lab.wait_up()
    before = lab.b.session()
    sequence = int(dialog(lab)[0].headers["cseq"].split()[0])
    for change in CHANGES:
        sequence += 1
        assert exchange(lab, method, sequence, change) == (200 if change == "nothing" else 488), change
        assert lab.ping() == 1, "traffic goes on"
    after = lab.b.session()
    same = [name for name in before if re.search("spi|port|bandwidth|kbit|attempt|status", name)]
    assert same and {name: before[name] for name in same} == {name: after[name] for name in same}
    assert len(lab.carrier.open_dialogs()) == 1


def kept_invites(router):
    return int(re.search(r"^sip\.invites-kept\s+(\d+)", router.cli("debug", "sip-agent", "stats"), re.M)[1])


def packets_of(lab, start, method):
    """A's SIP packets in order that begin so and are of that method."""
    return [packet for packet in lab.wan["a"].packets() if packet.is_sip and packet.payload.startswith(start)
            and re.search(rb"^CSeq: \d+ " + method, packet.payload, re.M | re.I)]


@pytest.mark.slow
def test_an_answered_invite_is_not_kept_as_long_as_its_call(lab):
    """64 T1 after the ACK nobody repeats the 200, and no transaction is kept for one; one that comes still is acknowledged."""
    assert lab.ping() == 1
    lab.wait_up()
    assert kept_invites(lab.a) == 1, "until then"
    wait_for(lambda: kept_invites(lab.a) == 0, 34, "no transaction is kept", interval=0.5)
    answer = packets_of(lab, b"SIP/2.0 200", b"INVITE")[-1]
    before = len(packets_of(lab, b"ACK ", b"ACK"))

    def repeat():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as carrier:
            carrier.bind((CARRIER, 5099))
            carrier.sendto(answer.payload, (A.wan, 5060))

    inside(lab.topology.carrier, repeat)
    wait_for(lambda: len(packets_of(lab, b"ACK ", b"ACK")) == before + 1, 3, "the late 200 is acknowledged")
    assert lab.ping() == 1 and len(lab.carrier.open_dialogs()) == 1, "the call goes on"
