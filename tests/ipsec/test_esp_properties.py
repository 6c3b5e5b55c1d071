# SPDX-License-Identifier: GPL-3.0-or-later
"""The properties of an ipsec-profile that show outside the cipher: outer header, fragments, dummies, limits, unknown SPIs."""

import re
import socket
import struct
import subprocess
import time

import pytest
from esp_pair import GCM, TUNNEL, Wire, headers, inside, key_of, open_aead

ECT_0, CE = 2, 3


def ping(side, *options, count=1):
    done = subprocess.run(side.space.command("ping", "-c", str(count), "-i", "0.1", "-W", "1", *map(str, options), side.other_address),
                          capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


@pytest.mark.parametrize("df_bit, expected", [("clear", (False, False)), ("copy", (False, True)), ("set", (True, True))])
def test_dont_fragment(make, df_bit, expected):
    pair = make(f"df-bit = {df_bit}")
    pair.connect()
    for option, outer in zip(("dont", "do"), expected):
        wire = Wire(pair)
        assert " 1 received" in ping(pair.a, "-M", option)
        assert len(wire.esp(1)) == 1
        assert [has_df for has_df, _ in headers(wire.capture.path)] == [outer]


@pytest.mark.parametrize("profile, expected", [
    ("", 0xB8 | ECT_0), pytest.param("dscp-copy = false", ECT_0, marks=pytest.mark.long),
    pytest.param("ecn = discard", 0xB8, marks=pytest.mark.long), ("ecn = discard  dscp-copy = false", 0)])
def test_service_field_of_the_outer_header(make, profile, expected):
    pair = make(profile)
    pair.connect()
    wire = Wire(pair)
    assert " 1 received" in ping(pair.a, "-Q", 0xB8 | ECT_0)
    assert {packet.tos for packet in wire.esp(1)} == {expected}


@pytest.mark.parametrize("ecn, inner, outer, arriving", [
    ("propagate", ECT_0, CE, CE), ("discard", ECT_0, CE, ECT_0), ("propagate", 0, CE, None),
    pytest.param("discard", 0, CE, 0, marks=pytest.mark.long), pytest.param("propagate", CE, 0, CE, marks=pytest.mark.long),
    pytest.param("propagate", ECT_0, ECT_0, ECT_0, marks=pytest.mark.long)])
def test_congestion_mark_of_the_path(make, ecn, inner, outer, arriving):
    """RFC 6040: a router of the WAN marks; the mark arrives inside, or the packet is dropped if nobody could understand it."""
    pair = make(f"ecn = {ecn}")
    pair.connect()
    marks = {CE: "ce", ECT_0: "ect0", 0: "not-ect"}
    pair.b.space.nft(f'table ip path {{\nchain in {{\ntype filter hook prerouting priority -400\niifname "wan0" ip ecn set {marks[outer]}\n}}\n}}\n')
    dump = subprocess.Popen(pair.b.space.command("tcpdump", "-vlni", TUNNEL, "-c", "1", "icmp[0] = 8"), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True)
    dump.stderr.readline()
    answered = " 1 received" in ping(pair.a, "-Q", inner)
    pair.wait_for_news()
    if arriving is None:
        dump.kill()
        assert not answered and pair.b.player.drops() == {"ecn": 1}
    else:
        assert answered and int(re.search(r"tos 0x(\w+)", dump.communicate(timeout=3)[0]).group(1), 16) & 3 == arriving
        assert pair.b.player.drops() == {}
    assert pair.b.player.state["ecn_marked_packets"] == (arriving == CE and inner != CE)


def test_dummies_by_rate(make):
    """Only while the session is open; authentic, dropped and counted at the other end; idle comes as if there were none."""
    pair = make("dummy-rate = 50", idle=1)
    wire = Wire(pair)
    pair.set_peers()
    pair.install_sas(has_extended_sequence=False)
    time.sleep(0.3)
    assert not wire.esp(1) and not wire.esp(2)
    pair.open()
    wire = Wire(pair)
    started = time.monotonic()
    pair.a.player.wait(lambda state: state["is_idle"], 3, "idle")
    pair.b.player.wait(lambda state: state["is_idle"], 3, "idle")
    assert time.monotonic() - started < 2.5
    time.sleep(1)
    count, seconds = len(wire.esp(1)), wire.esp(1)[-1].time - wire.esp(1)[0].time
    assert 40 < count / seconds < 60
    assert len({packet.length for packet in wire.esp(1)}) > 10
    assert {open_aead(packet, GCM, key_of(pair, GCM, 1), False)[1] for packet in wire.esp(1)} == {59}
    pair.clear()
    pair.wait_for_news()
    a, b = pair.a.player.state, pair.b.player.state
    assert a["packets_out"] == b["packets_in"] == 0
    assert a["dummy_packets_sent"] >= count
    for sender, receiver in ((a, b), (b, a)):  # the last ones may arrive after the receiver's session has ended
        assert 0 <= sender["dummy_packets_sent"] - receiver["dummy_packets_received"] <= 5
    wire = Wire(pair)
    time.sleep(0.3)
    assert not wire.esp(1)


def test_dummies_by_interval(make):
    """After a second of silence, none while there is traffic."""
    pair = make("dummy-interval = 1")
    pair.connect()
    assert " 15 received" in ping(pair.a, count=15)
    assert pair.a.player.state["dummy_packets_sent"] == 0
    time.sleep(2.5)
    pair.wait_for_news()
    assert 2 <= pair.a.player.state["dummy_packets_sent"] <= 4


def test_fragments_before_encryption(make):
    """The control of the next one: nothing of the WAN is fragmented, and what may not be fragmented is refused by the kernel."""
    pair = make("df-bit = clear")
    pair.connect()
    wire = Wire(pair)
    assert " 1 received" in ping(pair.a, "-M", "dont", "-s", 2000)
    assert "mtu" in ping(pair.a, "-M", "do", "-s", 1472).lower()
    assert len(wire.esp(1)) == 2 and not any(packet.fragment for packet in wire.read())


def test_fragments_after_encryption(make):
    pair = make("fragmentation = after  df-bit = copy")
    for side in pair.sides:  # what the product's table does, too: the kernel puts fragments together while somebody tracks connections
        side.space.nft("table ip track {\nchain in {\ntype filter hook prerouting priority mangle\nct state invalid accept\n}\n}\n")
    pair.connect()
    wire = Wire(pair)
    assert " 1 received" in ping(pair.a, "-M", "dont", "-s", 1472)
    text = ping(pair.a, "-M", "do", "-s", 1472)
    assert "Frag needed" in text and "mtu = 1422" in text, text
    pair.wait_for_news()
    assert pair.a.player.state["mtu"] == 1500 and pair.a.player.drops() == {"too-big": 1}
    wire.read()
    assert [bool(offset & 0x2000) for _, offset in headers(wire.capture.path)] == [True, False]


def test_too_big_is_told_through_the_cleared_bit_too(make):
    """With df-bit = clear the ESP packet may be fragmented, whatever the inner one says."""
    pair = make("fragmentation = after  df-bit = clear")
    for side in pair.sides:
        side.space.nft("table ip track {\nchain in {\ntype filter hook prerouting priority mangle\nct state invalid accept\n}\n}\n")
    pair.connect()
    assert " 1 received" in ping(pair.a, "-M", "do", "-s", 1472)


def test_icmp_errors_pass(make):
    pair = make()
    pair.connect()
    pair.a.space.ip("route", "add", "10.9.9.9/32", "dev", TUNNEL)
    pair.b.space.ip("route", "add", "unreachable", "10.9.9.9/32")
    text = pair.a.space.run("ping", "-c", "1", "-W", "1", "10.9.9.9", check=False)
    assert "10.254.0.2" in text and "Unreachable" in text, text
    assert pair.a.player.drops() == {}


def resend(pair, octets):
    """Sends ESP from b's session port to a's, as b itself would."""
    def send():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
            made.bind((pair.b.wan, pair.b.port))
            made.sendto(octets, (pair.a.wan, pair.a.port))

    inside(pair.b.space, send)


@pytest.mark.parametrize("window, old_one_passes", [(0, True), (64, False), (1024, True)])
def test_replay_window(make, window, old_one_passes):
    """b's first reply is kept from a, 200 others follow, then it comes: too old for 64, in time for 1024. Twice it passes with 0 alone."""
    pair = make(bandwidth=100000)
    pair.connect(replay_window=window, has_extended_sequence=False)
    pair.a.space.nft('table ip loss {\nchain in {\ntype filter hook prerouting priority -400\niifname "wan0" udp length > 900 drop\n}\n}\n')
    wire = Wire(pair)
    ping(pair.a, "-s", 1000)
    (late,) = wire.esp(2)
    pair.a.space.nft("delete table ip loss\n")
    assert pair.a.ping(200, interval=0.002) == 200
    pair.wait_for_news()
    before = pair.a.player.packets("SA_INBOUND")
    for _ in range(2):
        resend(pair, late.payload)
    pair.wait_for_news()
    assert pair.a.ping(1) == 1
    pair.wait_for_news()
    passed = pair.a.player.packets("SA_INBOUND") - before - 1
    assert passed == {0: 2, 64: 0, 1024: 1}[window]
    (inbound,) = [sa for sa in pair.a.player.state["sas"] if sa["direction"] == "SA_INBOUND"]
    assert inbound["replay_window"] == window and inbound["replay_drops"] == 2 - passed


def test_limits_in_bytes_and_seconds(make):
    pair = make()
    pair.connect(soft_byte_limit=3000, hard_byte_limit=6000)
    assert pair.a.ping(8, interval=0.05, size=972, wait=0.3) == 6
    pair.wait_for_news()
    spoken = [(report["body"]["spi"], report["body"]["is_hard"]) for report in pair.a.player.requests if report["message"] == "ReportSaLimit"]
    assert spoken.count((4096 + 1, False)) == spoken.count((4096 + 1, True)) == 1
    pair.clear()
    pair.connect(hard_lifetime_sec=2)
    assert pair.a.ping(2) == 2
    (outbound,) = [sa for sa in pair.a.player.state["sas"] if sa["direction"] == "SA_OUTBOUND"][:1]
    assert outbound["remaining_sec"] <= 2
    time.sleep(2.2)
    assert pair.a.ping(1, wait=0.3) == 0
    assert [report["body"]["is_hard"] for report in pair.a.player.requests if report["message"] == "ReportSaLimit"][-1]


@pytest.mark.parametrize("profile, reports", [("", 1), ("invalid-spi-recovery = false", 0)])
def test_unknown_spi_is_told_to_ike_at_most_once_in_10_s(make, profile, reports):
    pair = make(profile)
    pair.connect()
    for number in range(5):
        resend(pair, struct.pack("!II", 0x99, number + 1) + bytes(40))
        time.sleep(0.3)
    time.sleep(1)
    assert pair.a.ping(1) == 1
    pair.wait_for_news()
    told = [request["body"] for request in pair.a.player.requests if request["message"] == "ReportUnknownSpi"]
    assert told == [{"if_id": 7, "spi": 0x99}] * reports
    assert pair.a.player.state["unknown_spi_reports"] == reports and pair.a.player.drops()["unknown-spi"] == 5
