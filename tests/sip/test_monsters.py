# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages that no honest sender makes, from the proxy's own address: no memory, no crash, and calls go on."""

import socket
import time

import pytest
from agents_parts import inside
from attacker import CARRIER, guard_classes, request
from test_flood import rss_kb
from vpnlab.namespaces import wait_for
from vpnlab.router import Settings

MEGABYTE = 1 << 20


def connect(lab):
    def make():
        made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        made.bind((CARRIER, 0))
        made.settimeout(3)
        made.connect((lab.b.site.wan, 5060))
        return made

    return inside(lab.topology.carrier, make)


def pour(connection, octets):
    """As much as is taken."""
    sent = 0
    try:
        while sent < octets:
            sent += connection.send(b"x" * 65536)
    except (TimeoutError, OSError):
        pass
    return sent


@pytest.mark.parametrize("kind", ["content-length", "endless-header", "endless-line"])
def test_monster_over_tcp(make_lab, tell, kind):
    lab = make_lab(b=Settings(transport="{ udp, tcp }", line_options=["session-transport = udp"]))
    before = rss_kb(lab.b)
    message = request("INVITE", f"sip:x@{lab.b.site.wan}", "monster", via=CARRIER, contact=CARRIER).decode().replace("/UDP", "/TCP")
    start = {"content-length": message.replace("Content-Length: 0", "Content-Length: 1000000000"),
             "endless-header": message.partition("Content-Length")[0] + "X-Long: ", "endless-line": "INVITE sip:"}[kind]
    connection = connect(lab)
    connection.sendall(start.encode())
    sent = pour(connection, 20 * MEGABYTE)
    time.sleep(1)
    grown = rss_kb(lab.b) - before
    tell(f"{kind}: {sent // 1024} kB taken, RSS {grown:+d} kB")
    assert grown < 2 * 1024
    connection.close()
    assert lab.ping(1), "calls go on"
    lab.wait_up()
    lab.hang_up()


def test_monsters_over_udp(lab):
    """More hops and headers than any way has: refused without a transaction."""
    lab.may_leak = True  # their fragments are no SIP for the capture
    def make():
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.bind((CARRIER, 5070))
        made.settimeout(1)
        return made

    sender = inside(lab.topology.carrier, make)
    hops = "".join(f"Via: SIP/2.0/UDP 192.0.2.{number}:5060;branch=z9hG4bK{number}\r\n" for number in range(100))
    for headers in (hops, "X-Filler: x\r\n" * 300, "Record-Route: <sip:192.0.2.1;lr>\r\n" * 100, "Route: <sip:192.0.2.1;lr>\r\n" * 100):
        sender.sendto(request("INVITE", f"sip:x@{lab.b.site.wan}", f"monster-{len(headers)}", via=CARRIER, contact=CARRIER, headers=headers),
                      (lab.b.site.wan, 5060))
    wait_for(lambda: guard_classes(lab.b)["too-large"] == 4, 3, "all are counted")
    assert lab.ping(1)
    lab.wait_up()
    lab.hang_up()
