# SPDX-License-Identifier: GPL-3.0-or-later
"""show sip-ua, clear sip-ua, transports as configured, ageing: the guide's words and meanings."""

import re
import time

import pytest

from tls_scene import WAN, Scene
from vpnlab.namespaces import LabError, wait_for
from vpnlab.topology import CARRIER

BRIEF = """\
Total active connections : {active}
No. of send failures : 0
No. of remote closures : 0
No. of conn. failures : 0
No. of inactive conn. ageouts : 0
"""
NOTE = """\
---------Printing Detailed Connection Report---------
Note:
 ** Tuples with no matching socket entry
    - Do 'clear sip <tcp/udp> conn t ipv4:<addr>:<port>'
      to overcome this error condition
 ++ Tuples with mismatched address/port entry
    - Do 'clear sip <tcp/udp> conn t ipv4:<addr>:<port> id <connid>'
      to overcome this error condition
"""
COLUMNS = """\
  Remote-Port Conn-Id Conn-State  WriteQ-Size
  =========== ======= =========== ===========
"""
LINES = {"udp": "transport = { udp }", "tcp": "transport = { tcp }", "tls": "transport = { tls }"}
PORTS = {"udp": 5060, "tcp": 5060, "tls": 5061}
WORDS = {"udp": ["udp"], "tcp": ["tcp"], "tls": ["tcp", "tls"]}


@pytest.fixture
def scene():
    one = Scene()
    one.one_authority()
    yield one
    print(one.log()[-4000:])
    one.close()


def start(scene, transport, more=""):
    scene.start_carrier()
    scene.start(line=f"{LINES[transport]} {more}", registrar=f"{CARRIER}:{PORTS[transport]}")
    scene.wait_registered()


def detail(scene, transport):
    return scene.cli("show", "sip-ua", "connections", *WORDS[transport], "detail")


def clear(scene, transport, *words, check=True):
    return scene.cli("clear", "sip-ua", *WORDS[transport], "connection", *words, check=check)


def head(scene, transport, active):
    """What comes before the list of remotes; the longest queue was the one message that was written."""
    errors = "No. of handshake errors : 0\n" if transport == "tls" else ""
    queue = f"Max. {transport} send msg queue size of 1, recorded for {CARRIER}:{PORTS[transport]}\n"
    return BRIEF.format(active=active) + errors + queue + NOTE


@pytest.mark.parametrize("transport", LINES)
def test_shown_and_cleared(scene, transport):
    """The guide's story: one established connection, cleared by id and target together; the remote stays listed with none."""
    start(scene, transport)
    target = f"ipv4:{CARRIER}:{PORTS[transport]}"
    (one,) = scene.connections(*WORDS[transport])["connections"]
    row = f"  {PORTS[transport]:11} {one['id']:7} {'Established':11} {0:11}\n"
    assert detail(scene, transport) == head(scene, transport, 1) + f"\nRemote-Agent:{CARRIER}, Connections-Count:1\n" + COLUMNS + row
    process = "udp" if transport == "udp" else "tcp"
    assert clear(scene, transport, "id", one["id"], "target", target) == (
        f"Purging the entry from sip {process} process\nPurging the entry from reusable global connection table\n")
    assert detail(scene, transport) == head(scene, transport, 0) + f"\nRemote-Agent:{CARRIER}, Connections-Count:0\n"
    assert "no such connection" in clear_fails(scene, transport, "id", one["id"])


def clear_fails(scene, transport, *words):
    with pytest.raises(LabError) as failure:
        clear(scene, transport, *words)
    return str(failure.value)


@pytest.mark.parametrize("transport", LINES)
def test_id_alone_leaves_the_tuple(scene, transport):
    """id: from the process. The tuple is shown without socket (**) until its target is cleared."""
    start(scene, transport)
    (one,) = scene.connections(*WORDS[transport])["connections"]
    process = "udp" if transport == "udp" else "tcp"
    assert clear(scene, transport, "id", one["id"]) == f"Purging the entry from sip {process} process\n"
    (left,) = scene.connections(*WORDS[transport])["connections"]
    assert left["has_no_socket"] and scene.connections(*WORDS[transport])["active"] == 0
    assert re.search(rf"^\*\* +{PORTS[transport]} ", detail(scene, transport), re.MULTILINE)
    assert clear(scene, transport, "target", f"ipv4:{CARRIER}:{PORTS[transport]}") == (
        "Purging the entry from reusable global connection table\n")
    assert scene.connections(*WORDS[transport])["connections"] == []


@pytest.mark.parametrize("transport", ["tcp", "tls"])
def test_target_alone_leaves_the_socket(scene, transport):
    """target: from the table. The open socket is shown as mismatched (++), and what is sent next takes another."""
    start(scene, transport)
    (one,) = scene.connections(*WORDS[transport])["connections"]
    target = f"ipv4:{CARRIER}:{PORTS[transport]}"
    clear(scene, transport, "target", target)
    (left,) = scene.connections(*WORDS[transport])["connections"]
    assert left["id"] == one["id"] and left["is_mismatched"] and not left["has_no_socket"]
    assert re.search(rf"^\+\+ +{PORTS[transport]} ", detail(scene, transport), re.MULTILINE)
    scene.cli("debug", "sip-agent", "send", "DeregisterLine", '{"local_number": "0388881001"}', "--as", "vpnsip-coordinator")
    wait_for(lambda: len(scene.connections(*WORDS[transport])["connections"]) == 2, 4, "a second connection")
    assert clear(scene, transport, "id", one["id"], "target", target).startswith("Purging the entry from sip tcp process\n")
    assert one["id"] not in [left["id"] for left in scene.connections(*WORDS[transport])["connections"]]


def test_wrong_words(scene):
    start(scene, "tcp")
    assert "say 'id NUMBER'" in clear_fails(scene, "tcp")
    assert "say 'id NUMBER'" in clear_fails(scene, "tcp", "target", CARRIER)
    assert "no such connection" in clear_fails(scene, "tcp", "target", "ipv4:198.51.100.99:5060")
    (one,) = scene.connections("tcp")["connections"]
    assert "another target" in clear_fails(scene, "tcp", "id", one["id"], "target", "ipv4:198.51.100.99:5060")
    # the guide's own abbreviation
    assert "Purging" in scene.cli("clear", "sip", "tcp", "conn", "t", f"ipv4:{CARRIER}:5060", "id", one["id"])


@pytest.mark.parametrize("transport", LINES)
def test_idle_connections_age_out(scene, transport):
    start(scene, transport, "connection-aging = 5")
    assert scene.connections(*WORDS[transport])["active"] == 1
    wait_for(lambda: scene.connections(*WORDS[transport])["inactive_ageouts"] == 1, 9, "an ageout")
    shown = scene.connections(*WORDS[transport])
    assert shown["connections"] == [] and shown["remote_closures"] == 0


@pytest.mark.parametrize("transport", ["tcp", "tls"])
def test_closures_and_failures_are_counted(scene, transport):
    start(scene, transport)
    scene.carrier.kill()
    wait_for(lambda: scene.connections(*WORDS[transport])["remote_closures"] == 1, 4, "a remote closure")
    begin = time.monotonic()
    scene.cli("debug", "sip-agent", "send", "DeregisterLine", '{"local_number": "0388881001"}', "--as", "vpnsip-coordinator")
    wait_for(lambda: scene.connections(*WORDS[transport])["connection_failures"] >= 1, 4, "a connection failure")
    assert time.monotonic() - begin < 4


@pytest.mark.parametrize("transport", LINES)
def test_only_the_listed_transports_listen(scene, transport):
    start(scene, transport)
    listeners = scene.space.run("ss", "-lntuH", "src", WAN)
    ports = sorted((line.split()[0], int(line.split()[4].rpartition(":")[2])) for line in listeners.splitlines())
    assert ports == [("udp" if transport == "udp" else "tcp", PORTS[transport])]
    line = scene.show("sip-ua", "status")["lines"][0]
    assert [line[f"listens_{name}"] for name in LINES] == [name == transport for name in LINES]
    contact = scene.carrier.registered()["0388881001"]
    assert (f"transport={transport}" in contact) == (transport != "udp")
    text = scene.cli("show", "sip-ua", "status")
    assert f"SIP User Agent for TLS over TCP : {'ENABLED' if transport == 'tls' else 'DISABLED'}" in text


def test_queue_and_silence_over_tls(scene):
    """Who connects and never shakes hands is closed after five seconds."""
    start(scene, "tls")
    silent = scene.workspace.start(scene.space.command(
        "python3", "-c", f"import socket; s = socket.create_connection(('{WAN}', 5061), source_address=('{CARRIER}', 0)); print(s.recv(1))"),
        "silent.log")
    wait_for(lambda: any(one["is_incoming"] for one in scene.connections()["connections"]), 4, "the connection")
    wait_for(lambda: not silent.running(), 8, "its end")
    assert scene.connections()["handshake_errors"] == 1
