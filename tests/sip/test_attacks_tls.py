# SPDX-License-Identifier: GPL-3.0-or-later
"""What plain UDP leaves open to an attacker on the WAN's own segment is closed by TLS: test_attacks_dialog.py has its control."""

import re
import socket
import time

import pytest
from attacker import CARRIER, Attacker, kernel_counter, payload, request, spi
from certificates import Authority, pem, write
from vpnlab.carrier import REALM
from vpnlab.lab import Lab
from vpnlab.router import Settings

TRUSTPOINT = """
trustpoint "carrier" {
    certificate-file = "{directory}/agent.pem"
    key-file = "{directory}/agent.key"
    ca-file = "{directory}/roots.pem"
}
crypto-signaling { trustpoint = "carrier" }
"""
USER = "vpnsip-sip"


def over_tls():
    return Settings(idle_time=30, transport="tls", registrar_port=5061, sections=TRUSTPOINT,
                    line_options=["session-transport = tls", "registrar-transport = tls"])


@pytest.fixture
def lab():
    made = Lab(a=over_tls(), b=over_tls())
    try:
        root = Authority("root")
        for router in made.routers.values():
            root.issue(router.dir, "agent", [router.site.wan], "agent", user=USER)
            write(router.dir / "roots.pem", pem(root.certificate), USER)
        root.issue(made.carrier.dir, "carrier", [REALM, CARRIER], "carrier")
        write(made.carrier.dir / "roots.pem", pem(root.certificate))
        made.carrier.tls = {"private_key": made.carrier.dir / "carrier.key", "certificate": made.carrier.dir / "carrier.pem",
                            "ca_list": made.carrier.dir / "roots.pem", "verify_certificate": "yes", "require_certificate": "yes",
                            "method": "TLSv1.2+"}
        made.start()
        yield made
    finally:
        for router in made.routers.values():
            if "sip-agent" in router.processes:
                print(router.log("sip-agent")[-3000:])
        made.close()


def test_the_proxys_address_is_not_enough(lab, tell):
    """The attacker knows Call-ID, tags and sequence of the call, and sends with the proxy's address from the proxy's own segment."""
    attacker = Attacker(lab)
    with payload(lab) as count:
        text = lab.carrier.control("dlg.list")
        call_id = re.search(r"call-id: (\S+)", text)[1]
        caller_tag, callee_tag = re.findall(r"\btag: (\S+)", text)[:2]
        before = spi(lab.b)
        for jump, method in ((1, "BYE"), (2, "CANCEL"), (100, "BYE"), (2000000000, "OPTIONS")):
            message = request(method, f"sip:x@{lab.b.site.wan}", call_id, caller_tag, callee_tag, cseq=jump, via=CARRIER, from_user="0388881001",
                              to_user="0388882001", contact=CARRIER)
            for sport in (5060, 5061):
                attacker.spoof(message, CARRIER, lab.b.site.wan, sport=sport)
                attacker.spoof(message, CARRIER, lab.b.site.wan, sport=sport, dport=5061)
        refused = attacker.space.run("timeout", "2", "openssl", "s_client", "-connect", f"{lab.b.site.wan}:5061", check=False, stdin="")
        assert "CONNECTED" not in refused, "a stranger does not even get a connection"
        time.sleep(2)
        assert lab.a.status() == "SESSION_UP" and lab.b.status() == "SESSION_UP" and spi(lab.b) == before
        sent, answered = count()
    assert sent - answered <= 1
    assert kernel_counter(lab.b, "guard-foreign") >= 1
    lab.hang_up()
    assert len(lab.carrier.call_records()) == 1
    overheard = b"".join(packet.payload for packet in lab.wan["b"].packets() if packet.protocol == socket.IPPROTO_TCP and 5061 in (packet.sport, packet.dport))
    assert len(overheard) > 2000, "the signalling was there"
    for word in (b"INVITE", b"psk-fingerprint", call_id.encode(), b"Digest"):
        assert word not in overheard, word
    tell(f"{answered} of {sent} pings; {len(overheard)} octets of signalling, nothing to read in them")
