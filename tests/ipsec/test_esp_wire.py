# SPDX-License-Identifier: GPL-3.0-or-later
"""ESP of each suite as others read it on the wire, with the keys: tshark, and for what it does not know python3-cryptography."""

import subprocess

import pytest
from esp_pair import CBC, CHACHA, GCM, SHA1, SHA384, SHA512, TUNNEL, Pair, Wire, key_of, open_aead

GCM256 = {**GCM, "key_size": 36}
SUITES = {
    "gcm128": ("aes128gcm16", GCM, 1438), "gcm256": ("aes256gcm16", GCM256, 1438), "chacha20": ("chacha20poly1305", CHACHA, 1438),
    "cbc-sha256": ("aes128-sha256", CBC, 1422), "cbc256-sha384": ("aes256-sha384", SHA384, 1422), "cbc-sha512": ("aes128-sha512", SHA512, 1406),
    "cbc-sha1": ("aes128-sha1", SHA1, 1422),
}

LONG = {"gcm256", "cbc256-sha384", "cbc-sha512"}


def make_pair(proposals, **options):
    return Pair(profile=f'proposals = "{proposals}"  allow-weak = true', **options)


def ping(side, size, *options):
    """Whether a packet of that size in all was answered."""
    return subprocess.run(side.space.command("ping", "-q", "-c", "1", "-W", "1", "-s", str(size - 28), *options, side.other_address),
                          capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.long] if name in LONG else []) for name in SUITES])
def test_each_suite_fills_the_wan_and_no_more(name):
    """The MTU is the largest packet that leaves in one piece; one block more would not fit."""
    proposals, suite, mtu = SUITES[name]
    pair = make_pair(proposals)
    try:
        pair.connect(suite, has_extended_sequence=False)
        wire = Wire(pair)
        assert ping(pair.a, mtu, "-M", "do") and ping(pair.a, 100)
        assert not ping(pair.a, mtu + 1, "-M", "do")  # the kernel knows the interface's MTU
        pair.wait_for_news()
        assert pair.a.player.state["mtu"] == mtu and pair.a.player.state["path_mtu"] == 1500
        block = 16 if suite["encryption"] == "AES_CBC" else 4
        packets = wire.esp(1)
        assert len(packets) == 2 and not any(packet.fragment for packet in wire.read())
        largest = max(packet.length - 14 for packet in packets)
        assert largest <= 1500 < largest + block
        if suite is CHACHA:
            for packet in packets:
                inner, next_header = open_aead(packet, suite, key_of(pair, suite, 1), False)
                assert next_header == 4 and inner[9] == 1 and inner[12:20] == bytes([10, 254, 0, 1, 10, 254, 0, 2])
        else:
            rows = wire.decrypted(suite, "ip.src", "icmp.type", "esp.icv_bad", "esp.icv_good")
            assert [row[0] for row in rows].count("100.64.0.1,10.254.0.1") == 2
            assert [row[1] for row in rows].count("8") == 2 and [row[1] for row in rows].count("0") == 2
            if suite["encryption"] == "AES_CBC":
                assert not any(row[2] == "1" for row in rows) and all(row[3] == "1" for row in rows), rows
    finally:
        pair.close()


@pytest.mark.parametrize("suite", [GCM, CHACHA], ids=["gcm", "chacha20"])
@pytest.mark.parametrize("is_extended", [True, False], ids=["esn", "no-esn"])
def test_extended_numbers_are_authenticated_unseen(suite, is_extended):
    pair = Pair()
    try:
        pair.connect(suite, has_extended_sequence=is_extended)
        wire = Wire(pair)
        assert pair.a.ping(2, interval=0.05) == 2
        pair.wait_for_news()
        assert {sa["has_extended_sequence"] for sa in pair.a.player.state["sas"]} == {is_extended}
        assert {sa["sequence"] for sa in pair.a.player.state["sas"]} == {2}
        assert all(sa["algorithms"].endswith(" ESN") == is_extended for sa in pair.a.player.state["sas"])
        for packet in wire.esp(1):
            assert open_aead(packet, suite, key_of(pair, suite, 1), is_extended)[0][9] == 1
            with pytest.raises(Exception):
                open_aead(packet, suite, key_of(pair, suite, 1), not is_extended)
    finally:
        pair.close()


def test_ipv6_only_with_dual_overlay():
    """IPv6 packets pass and wake the tunnel; large TCP packets are cut and joined as IPv4's are."""
    pair = Pair(peer="dual-overlay = true", bandwidth=100000)
    try:
        for side in pair.sides:
            assert side.space.run("cat", f"/proc/sys/net/ipv6/conf/{TUNNEL}/disable_ipv6").strip() == "0"
            side.space.batch(f"addr add fd00::{side.number}/128 dev lo nodad\nroute add fd00::{3 - side.number}/128 dev {TUNNEL} src fd00::{side.number}\n")
        pinging = subprocess.Popen(pair.a.space.command("ping", "-q", "-c", "3", "-i", "0.3", "-W", "2", "fd00::2"), stdout=subprocess.PIPE, text=True)
        pair.a.player.wait(lambda state: state["wants_peer"], 2, "wants a peer")
        pair.connect(GCM, has_extended_sequence=False)
        wire = Wire(pair)
        assert " 3 received" in pinging.communicate()[0]
        server = subprocess.Popen(pair.b.space.command("iperf3", "-s", "-1"), stdout=subprocess.DEVNULL)
        pair.a.space.run("sh", "-c", "sleep 0.5; iperf3 -6 -c fd00::2 -n 2M", timeout=15)
        server.wait(5)
        rows = wire.decrypted(GCM, "ipv6.src", "tcp.flags.syn", "tcp.checksum.status")
        assert any(row[0] == "fd00::1" and row[1] == "1" for row in rows)
        pair.wait_for_news()
        assert set(pair.a.player.drops()) | set(pair.b.player.drops()) <= {"multicast"}  # listener reports of the kernel
    finally:
        pair.close()


def test_no_ipv6_without_dual_overlay():
    pair = Pair()
    try:
        for side in pair.sides:
            side.space.sysctl(**{f"net_ipv6_conf_{TUNNEL}_disable__ipv6": 0})
            side.space.batch(f"addr add fd00::{side.number}/128 dev lo nodad\nroute add fd00::{3 - side.number}/128 dev {TUNNEL} src fd00::{side.number}\n")
        assert subprocess.run(pair.a.space.command("ping", "-q", "-c", "2", "-i", "0.2", "-W", "1", "fd00::2"), capture_output=True, check=False).returncode
        pair.wait_for_news()
        assert pair.a.ping(1, wait=0.1) == 0  # news of the drops come with it
        pair.a.player.wait(lambda state: state["wants_peer"], 2, "wants a peer")
        assert pair.a.player.drops()["ipv6"] >= 2
    finally:
        pair.close()
