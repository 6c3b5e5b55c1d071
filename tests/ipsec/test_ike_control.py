# SPDX-License-Identifier: GPL-3.0-or-later
"""What keeps an IKE session in order: authentication anew, a peer that moves, cookies, what the operator clears and watches."""

import json
import time

from traffic import SteadyPing
from vpnlab.namespaces import wait_for
from vpnlab.router import Settings
from vpnlab.topology import A, B

LONG = {"idle_time": 60}
RELAY = """table bridge relay {{
 chain forward {{
  type filter hook forward priority 0
  iifname "wan-b" udp sport {old} udp sport set {new} counter
  oifname "wan-b" udp dport {old} counter drop
  oifname "wan-b" udp dport {new} udp dport set {old} counter
 }}
}}
"""


def snapshot(router, service="ike-agent"):
    return json.loads(router.cli("debug", service, "snapshot", "--json"))


def session_of(router):
    (session,) = snapshot(router)["sessions"]
    return session


def session_port(lab, site):
    """From which port the site's ESP comes."""
    return [packet.sport for packet in lab.wan["a"].packets() if packet.is_esp and packet.src == site.wan][-1]


def test_reauthentication(make_lab, tell):
    """A new IKE_SA takes the old one's place every few seconds, and not a packet is lost."""
    settings = {**LONG, "ike_options": ["reauthentication = 4"]}
    lab = make_lab(a=Settings(**settings), b=Settings(**settings))
    assert lab.ping(1) == 1
    lab.wait_up()
    pings = [SteadyPing(lab.workspace, lab.hosts["a"], B.host, "a"), SteadyPing(lab.workspace, lab.hosts["b"], A.host, "b")]
    time.sleep(11)
    counts = [ping.finish() for ping in pings]
    times = [session_of(router)["reauthentications"] for router in lab.routers.values()]
    tell(f"{times} authentications anew, {[sent - answered for sent, answered in counts]} pings lost")
    assert min(times) >= 2
    assert all(int(session_of(router)["sa"]["reauthenticates_at_mono_usec"]) > 0 for router in lab.routers.values())
    assert all(sent == answered and sent > 500 for sent, answered in counts)
    assert len(lab.carrier.open_dialogs()) == 1
    lab.hang_up()


def test_peer_behind_another_port(make_lab):
    """A relay gives the peer another port amid the call: the first packet that proves to be the peer's takes ours along."""
    lab = make_lab(a=Settings(**LONG), b=Settings(**LONG))
    assert lab.ping(2) == 2
    lab.wait_up()
    lab.may_leak = True  # the new port is in no SDP: the lab's own check takes its packets for clear ones
    old = session_port(lab, B)
    new = old + 4000
    lab.topology.net.nft(RELAY.format(old=old, new=new))
    assert lab.ping(1, wait=1) == 0, "the old port is closed, and nothing has come from the new one"
    assert lab.ping(3, source="b") >= 2
    assert lab.ping(3) == 3
    lab.wan["a"].packets()
    wait_for(lambda: session_of(lab.a)["remote"]["port"] == new, 3, "IKE follows")
    assert "ours go there" in lab.a.log("tunnel-agent")
    # IKE goes there too: the operator's wish for new keys is carried out
    spis = session_of(lab.a)["child"]["inbound_spi"]
    lab.a.cli("clear", "crypto", "sa", "remote-number", B.number)
    wait_for(lambda: session_of(lab.a)["child"]["inbound_spi"] != spis, 3, "new keys")
    assert lab.ping(2) == 2
    lab.topology.net.nft("delete table bridge relay\n")
    lab.hang_up()


def test_forged_packets_move_nobody(make_lab):
    """The control: ESP and IKE from another port of the peer's address, which nobody signed."""
    lab = make_lab(a=Settings(**LONG), b=Settings(**LONG))
    assert lab.ping(2) == 2
    lab.wait_up()
    lab.may_leak = True  # so is the forger's
    port = session_port(lab, A)
    spi = [packet.spi for packet in lab.wan["a"].packets() if packet.is_esp and packet.src == B.wan][-1]
    known = session_of(lab.a)["remote"]["port"]
    forger = f"""
import socket, struct
out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
out.bind(("{B.wan}", 45678))
for number in range(2, 60):
    out.sendto(struct.pack("!II", {spi}, number) + bytes(64), ("{A.wan}", {port}))
    out.sendto(bytes(4) + bytes(range(16)) + bytes([46, 0x20, 37, 8]) + struct.pack("!II", number, 76) + bytes(48), ("{A.wan}", {port}))
"""
    lab.b.space.run("python3", "-c", forger)
    time.sleep(1)
    assert lab.ping(3) == 3
    assert session_of(lab.a)["remote"]["port"] == known
    assert "ours go there" not in lab.a.log("tunnel-agent")
    drops = {drop["reason"]: int(drop["packets"]) for drop in snapshot(lab.a, "tunnel-agent")["tunnels"][0]["drops"]}
    assert drops["integrity"] + drops.get("replay", 0) >= 50, "they did arrive"
    lab.hang_up()


def test_cookies(make_lab):
    """With a threshold of 0 each initiator has to return a cookie first; the call comes up all the same."""
    lab = make_lab(a=Settings(**LONG), b=Settings(**LONG, sections="ike-cookie-threshold = 0\n"))
    assert lab.ping(1) == 1
    lab.wait_up()
    admission = snapshot(lab.b)["admission"]
    assert int(admission["cookies_demanded"]) >= 1 and int(admission["cookies_proven"]) >= 1
    assert "cookies_demanded" not in snapshot(lab.a)["admission"] or int(snapshot(lab.a)["admission"]["cookies_demanded"]) == 0
    lab.hang_up()


def test_conditional_debug(make_lab):
    """IKE in the log of one peer, and nothing of it for another."""
    lab = make_lab(a=Settings(**LONG), b=Settings(**LONG))
    lab.a.cli("debug", "crypto", "condition", "remote-number", "0399999999")
    lab.a.cli("debug", "crypto", "ikev2")
    assert lab.ping(1) == 1
    lab.wait_up()
    assert "charon" not in lab.a.log("ike-agent")
    lab.a.cli("debug", "crypto", "condition", "remote-number", B.number)
    lab.a.cli("clear", "crypto", "sa", "remote-number", B.number)
    wait_for(lambda: "charon enc: generating CREATE_CHILD_SA request" in lab.a.log("ike-agent"), 3, "libcharon's lines")
    said = lab.a.cli("show", "crypto", "debug-condition")
    assert "turned ON" in said and B.number in said
    lab.a.cli("debug", "crypto", "condition", "reset")
    lab.a.cli("undebug", "crypto", "ikev2")
    assert "turned OFF" in lab.a.cli("show", "crypto", "debug-condition")
    lab.hang_up()
