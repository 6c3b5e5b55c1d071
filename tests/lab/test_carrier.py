# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's own carrier, with sipp at both ends: what the other lab tests rely on."""

import time
from pathlib import Path

import pytest

from vpnlab.capture import Capture, sip_messages
from vpnlab.carrier import REALM, Carrier
from vpnlab.namespaces import Workspace, wait_for
from vpnlab.topology import CARRIER, A, B, Topology

SCENARIOS = Path(__file__).parent / "sipp"
PASSWORDS = {A.number: "secret-a", B.number: "secret-b"}


class SippLab:
    def __init__(self):
        self.workspace = Workspace()
        self.topology = Topology(self.workspace)
        self.carrier = Carrier(self.workspace, self.topology.carrier, PASSWORDS)
        self.carrier.start()

    def sipp(self, site, scenario, transport, *more, port=5060):
        space = self.topology.routers[site.name]
        argv = space.command("sipp", f"{CARRIER}:5060", "-sf", SCENARIOS / f"{scenario}.xml", "-m", "1", "-nostdin", "-i", site.wan,
                             "-p", str(port), "-t", "t1" if transport == "tcp" else "u1", "-trace_err", "-timeout", "8s", "-timeout_error",
                             "-key", "number", site.number, "-au", site.number, "-ap", PASSWORDS[site.number], "-key", "realm", REALM, *more)
        return self.workspace.start(argv, f"sipp-{site.name}-{scenario}.log", cwd=self.workspace.dir)

    def register(self, site, transport="udp"):
        assert self.sipp(site, "register", transport, port=5070).popen.wait(10) == 0

    def call(self, transport="udp"):
        callee = self.sipp(B, "callee", transport)
        port = "13C4"  # 5060
        wait_for(lambda: port in self.topology.routers["b"].run("cat", "/proc/net/udp" if transport == "udp" else "/proc/net/tcp"), 2,
                 "sipp's socket")
        caller = self.sipp(A, "caller", transport, "-key", "callee", B.number)
        return caller, callee

    def close(self):
        self.workspace.close()


@pytest.fixture
def lab():
    lab = SippLab()
    yield lab
    lab.close()


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_call_is_authenticated_routed_and_accounted(lab, transport):
    capture = Capture(lab.workspace, lab.topology.net, "wan-b", "wan-b")
    for site in (A, B):
        lab.register(site, transport)
    assert set(lab.carrier.registered()) == {A.number, B.number}
    caller, callee = lab.call(transport)
    wait_for(lab.carrier.open_dialogs, 3, "an open dialog at the carrier")
    assert (caller.popen.wait(10), callee.popen.wait(10)) == (0, 0)
    wait_for(lambda: not lab.carrier.open_dialogs(), 3, "the end of the dialog")
    (record,) = lab.carrier.call_records()
    assert (record["caller"], record["callee"]) == (A.number, B.number)
    assert 1.0 <= record["duration"] <= 2.5
    invites = [message for message in sip_messages(capture.stop()) if message.start_line.startswith("INVITE ")]
    assert invites[0].call_id == record["call_id"]
    assert invites[0].headers["p-asserted-identity"] == f"<sip:{A.number}@{REALM}>"
    assert "p-preferred-identity" not in invites[0].headers
    assert "authorization" not in invites[0].headers and "proxy-authorization" not in invites[0].headers
    assert CARRIER in invites[0].headers["record-route"]
    assert "b=AS:1000" in invites[0].sdp_lines


def test_wrong_password_is_refused(lab):
    process = lab.sipp(A, "register", "udp", "-ap", "wrong", port=5070)
    assert process.popen.wait(10) != 0
    assert not lab.carrier.registered()


def test_switches(lab):
    for site in (A, B):
        lab.register(site)
    capture = Capture(lab.workspace, lab.topology.net, "wan-b", "wan-b")
    lab.carrier.switch("strip-bandwidth", "offer")
    caller, _ = lab.call()
    assert caller.popen.wait(10) == 0
    (invite,) = [message for message in sip_messages(capture.packets()) if message.start_line.startswith("INVITE ")]
    assert "m=application 50001 udp ike-esp-udpencap" in invite.sdp_lines
    assert not [line for line in invite.sdp_lines if line.startswith("b=")]
    lab.carrier.switch("strip-bandwidth", None)

    lab.carrier.switch("busy", B.number)
    caller, callee = lab.call()
    assert caller.popen.wait(10) != 0
    callee.stop(9)
    assert len(lab.carrier.call_records()) == 1
    assert not lab.carrier.open_dialogs()
    lab.carrier.switch("busy", None)

    lab.carrier.switch("delay", 700)
    start = time.monotonic()
    caller, _ = lab.call()
    assert caller.popen.wait(10) == 0
    assert time.monotonic() - start > 0.7 + 1.2
