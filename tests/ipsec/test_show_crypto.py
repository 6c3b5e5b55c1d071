# SPDX-License-Identifier: GPL-3.0-or-later
"""show crypto and clear crypto on a live session: the labels of the manual's samples in their order, and figures that agree with the wire."""

import re

import pytest
from traffic import SteadyPing
from vpnlab.namespaces import LabError, wait_for
from vpnlab.router import Settings
from vpnlab.topology import A, B

# The samples' labels. Left out: "sibling_flags", a pointer inside the manual's routers.
SESSION_DETAIL = [
    "Crypto session current status", "Code: C - IKE Configuration mode, D - Dead Peer Detection", "K - Keepalives, N - NAT-traversal",
    "X - IKE Extended Authentication, F - IKE Fragmentation", "R - IKE Auto Reconnect, U - IKE Dynamic Route Update", "S - SIP",
    "Interface: ", "Profile: ", "Uptime: ", "Session status: ", "Peer: ", " port ", " fvrf: (none) ivrf: (none)", "Phase1_id: ", "Desc: ",
    "Session ID: ", "IKEv2 SA: local ", " remote ", " Active", "Capabilities:", " connid:", " lifetime:",
    "IPSEC FLOW: permit ip 0.0.0.0/0.0.0.0 0.0.0.0/0.0.0.0", "Active SAs: 2, origin: crypto map", "Inbound:", "#pkts dec'ed ", " drop ",
    " life (KB/Sec) ", "Outbound:", "#pkts enc'ed ", " drop ", " life (KB/Sec) ",
]
SESSION = ["Crypto session current status", "Interface: ", "Profile: ", "Session status: ", "Peer: ", " port ", "Session ID: ",
           "IKEv2 SA: local ", " remote ", " Active", "IPSEC FLOW: permit ip", "Active SAs: 2, origin: crypto map"]
SA = ["spi: 0x", "transform: esp-", "in use settings =", "conn id: ", "flow_id: ", "crypto map: ", "sa timing: remaining key lifetime (k/sec): (",
      "replay detection support: Y", "Status: ACTIVE(ACTIVE)"]
IPSEC_SA = [
    "interface: ", "Crypto map tag: ", "local addr ", "protected vrf: (none)", "local  ident (addr/mask/prot/port): (0.0.0.0/0.0.0.0/0/0)",
    "remote ident (addr/mask/prot/port): (0.0.0.0/0.0.0.0/0/0)", "current_peer ", " port ", "PERMIT, flags={origin_is_acl,}",
    "#pkts encaps: ", "#pkts encrypt: ", "#pkts digest: ", "#pkts decaps: ", "#pkts decrypt: ", "#pkts verify: ", "#pkts compressed: 0",
    "#pkts decompressed: 0", "#pkts not compressed: 0", "#pkts compr. failed: 0", "#pkts not decompressed: 0", "#pkts decompress failed: 0",
    "#send errors ", "#recv errors ", "local crypto endpt.: ", "remote crypto endpt.: ", "plaintext mtu ", "path mtu ", "ip mtu ", "ip mtu idb ",
    "current outbound spi: 0x", "PFS (Y/N): ", "DH group: ", "inbound esp sas:", *SA, "inbound ah sas:", "inbound pcp sas:",
    "outbound esp sas:", *SA, "outbound ah sas:", "outbound pcp sas:",
]
IKEV2_SESSION = [
    "IPv4 Crypto IKEv2 Session", "Session-id:", "Status:UP-ACTIVE", "IKE count:1", "CHILD count:1", "Tunnel-id", "Local", "Remote", "fvrf/ivrf",
    "Status", "READY", "Encr: ", "keysize: ", "PRF: ", "Hash: ", "DH Grp:", "Auth sign: ", "Auth verify: ", "Life/Active Time: ", "CE id: ",
    "Session-id: ", "Local spi: ", "Remote spi: ", "Child sa:", "local selector 0.0.0.0/0 - 255.255.255.255/65535",
    "remote selector 0.0.0.0/0 - 255.255.255.255/65535", "ESP spi in/out: 0x", "IPv6 Crypto IKEv2 Session",
]
IKEV2_SESSION_DETAIL = [
    "Encr: ", "CE id: ", "Local spi: ", "Remote spi: ", "Life/Remaining/Active Time: ", "Status Description: Negotiation done", "Local id: ",
    "Remote id: ", "DPD configured for ", "NAT-T is ", "Disconnect Revoked Peer: Enabled", "ESP spi in/out: ", "AH spi in/out: ", "Encr: ",
    "keysize: ", "esp_hmac: ", "ah_hmac: ", "comp: ", "mode tunnel",
]
PROPOSAL = ["IKEv2 proposal: ", "Encryption : ", "Integrity  : ", "PRF        : ", "DH Group   : ", "/Group "]
ADMISSION = [
    "Crypto Call Admission Control Statistics", "System Resource Limit:", "Max IKE SAs:", "Total IKE SA Count:", "active:", "negotiating:",
    "Incoming IKE Requests:", "accepted:", "rejected:", "Outgoing IKE Requests:", "accepted:", "rejected:", "Rejected IKE Requests:", "SA limit:",
]


def assert_labels(text, labels):
    at = 0
    for label in labels:
        found = text.find(label, at)
        assert found >= 0, f"{label!r} is not behind {text[:at][-60:]!r} in\n{text}"
        at = found + len(label)


def spis(text):
    inbound, outbound = re.search(r"ESP spi in/out: (0x[0-9A-F]{8})/(0x[0-9A-F]{8})", text).groups()
    return inbound, outbound


def text_of(router, *words):
    return router.cli("show", "crypto", *words)


def test_a_live_session(make_lab):
    lab = make_lab(a=Settings(idle_time=20), b=Settings(idle_time=20))
    assert lab.ping(5, interval=0.1) == 5
    lab.wait_up()
    a, b = lab.a, lab.b

    assert_labels(text_of(a, "session"), SESSION)
    detail = text_of(a, "session", "detail")
    assert_labels(detail, SESSION_DETAIL)
    assert re.search(r"Capabilities:DKNFS connid:\d+ lifetime:2[2-4]:\d\d:\d\d", detail), detail
    assert_labels(text_of(a, "ipsec", "sa"), IPSEC_SA)
    assert_labels(text_of(a, "ikev2", "sa"), ["IPv4 Crypto IKEv2 SA", "Tunnel-id", "READY", "Encr: ", "Life/Active Time: "])
    assert_labels(text_of(a, "ikev2", "session"), IKEV2_SESSION)
    assert_labels(text_of(a, "ikev2", "session", "detail"), IKEV2_SESSION_DETAIL)
    assert_labels(text_of(a, "ikev2", "proposal"), PROPOSAL)
    assert_labels(text_of(a, "call", "admission", "statistics"), ADMISSION)

    # One side's inbound is the other's outbound, in IKE and ESP.
    assert spis(text_of(a, "ikev2", "session")) == spis(text_of(b, "ikev2", "session"))[::-1]
    ours, theirs = (router.show("crypto", "session", "detail")["sessions"][0] for router in (a, b))
    assert ours["ike_sa"]["local_spi"] == theirs["ike_sa"]["remote_spi"]
    assert ours["phase1_id"] == B.number and theirs["phase1_id"] == A.number
    packets = {sa["direction"]: sa["packets"] for sa in ours["sas"]}
    assert packets == {"inbound": 5, "outbound": 5}
    assert ours["ike_sa"]["capabilities"].endswith("S")
    counted = a.show("crypto", "call", "admission", "statistics")
    assert counted["established"] == 1 and counted["outgoing_accepted"] == 1 and counted["half_open"] == 0
    assert b.show("crypto", "call", "admission", "statistics")["incoming_accepted"] == 1
    assert text_of(a, "session", "remote-number", "1").strip() == "Crypto session current status"


def test_clear(make_lab):
    lab = make_lab(a=Settings(idle_time=20), b=Settings(idle_time=20))
    assert lab.ping(2, interval=0.1) == 2
    lab.wait_up()
    a = lab.a
    before = spis(text_of(a, "ikev2", "session"))
    call = a.session()["call_record"]

    traffic = SteadyPing(lab.workspace, lab.hosts["a"], B.host)
    with pytest.raises(LabError, match="say which"):
        a.cli("clear", "crypto", "sa")
    assert "vsip2: new keys are negotiated" in a.cli("clear", "crypto", "sa", "remote-number", B.number)
    wait_for(lambda: spis(text_of(a, "ikev2", "session")) != before, 5, "other SPIs")
    sent, answered = traffic.finish()
    assert sent == answered > 0, "new keys cost no packet"
    assert a.session()["call_record"] == call and a.status() == "SESSION_UP"
    peer = a.show("crypto", "session")["sessions"][0]["peer"]["address"]
    before = spis(text_of(a, "ikev2", "session"))
    assert "vsip2: new keys are negotiated" in a.cli("clear", "crypto", "sa", "peer", peer)
    wait_for(lambda: spis(text_of(a, "ikev2", "session")) != before, 5, "other SPIs")

    with pytest.raises(LabError, match="no session is up with that peer"):
        a.cli("clear", "crypto", "session", "peer", "192.0.2.99")
    assert a.status() == "SESSION_UP"
    assert "vsip2: cleared" in a.cli("clear", "crypto", "session", "peer", peer)
    lab.wait_resting()
    resting = text_of(a, "session")
    assert "Session status: DOWN\nPeer: 0.0.0.0 port 0\n" in resting and "IKEv2 SA" not in resting and "Session ID" not in resting
    with pytest.raises(LabError, match="no session is up with that peer"):
        a.cli("clear", "crypto", "session", "remote-number", B.number)

    assert lab.ping(1) == 1
    lab.wait_up()
    with pytest.raises(LabError, match="nothing was done"):
        a.cli("clear", "crypto", "session", "all")
    assert "vsip2: new keys are negotiated" in a.cli("clear", "crypto", "sa", "all", "--yes")
    assert "all sessions: cleared" in a.cli("clear", "crypto", "session", "all", "--yes")
    lab.wait_resting()

    assert lab.ping(1) == 1
    lab.wait_up()
    assert "vsip2: cleared" in a.cli("clear", "crypto", "session", "remote-number", B.number)
    lab.wait_resting()
