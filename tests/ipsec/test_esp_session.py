# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole routers: what IKE agrees on is what the data path uses, IPv6 through a call of its own, an SA that one side has lost."""

import subprocess

import pytest
from vpnlab.namespaces import wait_for
from vpnlab.router import Settings

NETS = {"a": "fd00:1::", "b": "fd00:2::"}


@pytest.mark.parametrize("proposals, algorithms", [
    ("chacha20poly1305", "ChaCha20-Poly1305 256 ESN"), ("aes128-sha1", "AES-CBC 128 HMAC-SHA1-96 ESN"), pytest.param("aes256gcm16", "AES-GCM-16 256 ESN", marks=pytest.mark.long)])
def test_agreed_suite_is_used(make_lab, proposals, algorithms):
    options = [f'proposals = "{proposals}"', "allow-weak = true"]
    made = make_lab(a=Settings(ipsec_options=options), b=Settings(ipsec_options=options))
    assert made.ping(3) == 3
    made.wait_up()
    text = made.a.cli("debug", "tunnel-agent", "snapshot")
    assert text.count(f'"{algorithms}"') == 2, text


def test_ipv6_places_a_call_and_passes(make_lab):
    """A route of the configuration leads it into the tunnel; behind it stands its guard."""
    def settings(peer):
        return Settings(peer_options=["dual-overlay = true"],
                        sections=f'route {{ destination = "{NETS[peer]}/64"  tunnel = "{"vsip2" if peer == "b" else "vsip1"}"  metric = 250 }}\n')

    made = make_lab(a=settings("b"), b=settings("a"))
    for name, router in made.routers.items():
        other = NETS["b" if name == "a" else "a"]
        router.space.batch(f"addr add {NETS[name]}1/128 dev lo nodad\n")
        wait_for(lambda router=router, other=other: router.site.tunnel in router.space.ip("-6", "route", "show", f"{other}/64"), 3, "the IPv6 route")
        assert "metric 4294967295" in router.space.ip("-6", "route", "show", "type", "unreachable", f"{other}/64")
    text = subprocess.run(made.a.space.command("ping", "-c", "3", "-i", "0.3", "-W", "5", "-I", f"{NETS['a']}1", f"{NETS['b']}1"),
                          capture_output=True, text=True, timeout=20, check=False).stdout
    assert " 3 received" in text, text
    made.wait_up()
    assert made.ping(2) == 2  # IPv4 beside it
