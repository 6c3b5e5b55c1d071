# SPDX-License-Identifier: GPL-3.0-or-later
"""A whole call over TLS in the two-router lab, with traffic; and the forms of the Request-URI."""

from collections import Counter

import pytest

from certificates import Authority, pem, write
from tls_scene import TRUSTPOINT, USER
from vpnlab.capture import TCP, UDP, Capture
from vpnlab.carrier import REALM
from vpnlab.fixtures import finish, print_logs
from vpnlab.checks import routes
from vpnlab.lab import Lab
from vpnlab.router import Settings
from vpnlab.topology import CARRIER, A, B


SECTIONS = TRUSTPOINT.replace("{name}", "sip").replace("{label}", "agent").replace("{roots}", "roots").replace("{more}", "")
SECTIONS = SECTIONS.replace("{{", "{").replace("}}", "}") + 'crypto-signaling { trustpoint = "sip" strict-cipher = true }\n'


class SecureLab(Lab):
    """Both routers speak TLS with the carrier; with three roots each has its own, the carrier a third one."""

    def __init__(self, line=(), peer=(), roots=3):
        def settings():
            return Settings(transport="tls", registrar_port=5061, line_options=list(line), peer_options=list(peer),
                            sections=SECTIONS)

        super().__init__(a=settings(), b=settings())
        self.carrier_root = carrier_root = Authority("carrier root")
        own = [Authority(f"root {name}") for name in "ab"] if roots == 3 else [carrier_root] * 2
        directory = self.carrier.dir
        carrier_root.issue(directory, "carrier", [REALM, CARRIER], "carrier")
        write(directory / "roots.pem", pem(*(root.certificate for root in own)))
        self.carrier.tls = {"private_key": directory / "carrier.key", "certificate": directory / "carrier.pem",
                            "ca_list": directory / "roots.pem", "verify_certificate": "yes", "require_certificate": "yes",
                            "method": "TLSv1.2+"}
        for root, router in zip(own, self.routers.values()):
            root.issue(router.dir, "agent", [router.site.wan], f"router {router.site.name}", user=USER)
            write(router.dir / "roots.pem", pem(carrier_root.certificate), USER)


def kind(packet):
    """What a packet on the WAN is; the session ports are not read from the SDP, which nobody sees."""
    if packet.protocol == TCP and 5061 in (packet.sport, packet.dport):
        return "tls"
    if packet.protocol == UDP and {packet.sport // 1000, packet.dport // 1000} == {50}:
        return "ike" if packet.is_ike else "esp" if packet.is_esp or packet.is_keepalive else "clear"
    return "clear" if packet.protocol in (TCP, UDP) or "10." in (packet.src[:3], packet.dst[:3]) else "other"


@pytest.fixture
def secure_lab(request):
    labs = []

    def make(**options):
        lab = SecureLab(**options)
        labs.append(lab)
        lab.may_leak = False
        lab.start()
        lab.descriptors = {name: router.descriptors() for name, router in lab.routers.items()}
        lab.wan.clear()  # their check reads the SDP; that of these tests is kind()
        lab.routes = {name: routes(router.space) for name, router in lab.routers.items()}
        return lab

    yield make
    for lab in labs:
        try:
            if getattr(request.node, "failed", False):
                print_logs(lab)
            else:
                assert not finish(lab)
        finally:
            lab.close()


@pytest.mark.parametrize("roots", [1, 3], ids=["one root", "three roots"])
def test_call_over_tls(secure_lab, roots):
    """A packet makes the call over TLS; IKE, ESP, traffic, BYE; nothing of SIP is readable on the wire."""
    lab = secure_lab(roots=roots)
    capture = Capture(lab.workspace, lab.topology.net, "wan-a", "tls-a")
    assert lab.ping(10, interval=0.1) == 10
    lab.wait_up()
    for router in lab.routers.values():
        shown = router.show("sip-ua", "connections", "tcp", "tls", "detail")
        assert shown["active"] >= 1 and shown["handshake_errors"] == 0
        assert {one["protocol"] for one in shown["connections"]} == {"TLSv1.3"}
    lab.hang_up()
    (record,) = lab.carrier.call_records()
    assert (record["caller"], record["callee"]) == (A.number, B.number)
    packets = capture.stop()
    classes = Counter(kind(packet) for packet in packets)
    assert classes["tls"] and classes["ike"] and classes["esp"] >= 10 and not classes["clear"], classes
    assert not any(b"SIP/2.0" in packet.payload for packet in packets if packet.protocol == TCP)


@pytest.mark.parametrize("options, begins", [
    (["url = sips"], f"sips:{B.number}@{REALM}\n"),
    (["url = tel"], f"tel:+81{B.number[1:]}\n"),
    (["url = tel", 'trunk-prefix = "9"'], f"tel:{B.number};phone-context={REALM}\n"),
], ids=["sips", "tel global", "tel local"])
def test_forms_of_the_request_uri(secure_lab, options, begins):
    """What the INVITE asks for; the carrier finds the number in each form, and the call is a call like any other."""
    lab = secure_lab(line=options)
    lab.a.cli("debug", "vpn-sip", "sip", "transport")
    assert lab.ping(2) >= 1
    lab.wait_up()
    assert f"INVITE {begins}" in lab.a.log("sip-agent")
    lab.hang_up()
    (record,) = lab.carrier.call_records()
    assert (record["caller"], record["callee"]) == (A.number, B.number)


def test_peer_overrides_transport_and_url(secure_lab):
    """A peer's session-transport and url are its own; `system` is the line's."""
    lab = secure_lab(line=["transport = { udp, tcp, tls }", "session-transport = tls", "registrar-transport = tls"],
                     peer=["session-transport = tcp", "url = sip"])
    lab.a.cli("debug", "vpn-sip", "sip", "transport")
    assert lab.ping(2) >= 1
    assert f"tcp to {CARRIER}:5060: INVITE sip:{B.number}@" in lab.a.log("sip-agent")
