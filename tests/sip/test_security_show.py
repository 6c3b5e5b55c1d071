# SPDX-License-Identifier: GPL-3.0-or-later
"""show vpn-sip guard and show security tell what is in force."""

import json

from attacker import CARRIER, drop_kernel_guard, restore_kernel_guard, unguarded
from vpnlab.router import Settings


def states(entry):
    return {one["protection"]: one["state"] for one in entry["protections"]}


def test_what_is_in_force_is_told(make_lab):
    lab = make_lab(a=Settings(line_options=["allow-md5 = false", "guard-rate = 77", "caller-identity = from"],
                              peer_options=["peer-source = any", "maximum-call = 600"]), digest="SHA-256")
    shown = lab.a.show("security")
    line, peer = states(shown["lines"][0]), states(shown["peers"][0])
    assert line["signalling"].startswith("UDP") and line["tls"] == "off"
    assert line["digest"] == "SHA-512-256, SHA-256"
    assert line["source-check"].endswith(f"only {CARRIER}")
    assert line["rate-limit"].startswith("77 packets/s")
    assert "From" in line["caller"] and line["wan"].startswith("exclusive")
    assert peer["peer-source"] == "any" and peer["longest-call"] == "600 s" and peer["pin"] == "none"
    assert "proxy's address" in peer["left-open"]
    text = lab.a.cli("show", "security")
    assert text.startswith(f"Line {lab.a.site.number} on wan0\n  signalling ") and f"Peer {lab.a.peer.number} on vsip2" in text

    guard = lab.a.show("vpn-sip", "guard")
    assert guard["servers"] == [{"line": lab.a.site.number, "addresses": [CARRIER]}]
    assert {one["class"]: one for one in guard["kernel"]}["accepted"]["packets"] > 0, "the registration's answers"
    assert f"{lab.a.site.number} source-check on" in guard["protections"]
    assert guard["half_open"] == 0 and guard["half_open_maximum"] == 50
    text = lab.a.cli("show", "vpn-sip", "guard")
    assert text.startswith(f"Line {lab.a.site.number} takes SIP from: {CARRIER}\nIn the kernel") and "Half-open calls: 0 of 50" in text


def test_a_guard_that_is_off_is_told(make_lab, monkeypatch):
    lab = make_lab(b=unguarded(monkeypatch))
    assert f"{lab.b.site.number} source-check off" in lab.b.show("vpn-sip", "guard")["protections"]
    drop_kernel_guard(lab.b)
    shown = json.loads(lab.b.cli("show", "vpn-sip", "guard", "--json", check=False))
    assert not shown["kernel"] and shown["classes"], "one of the two does not answer: the other's part is shown"
    restore_kernel_guard(lab.b)
