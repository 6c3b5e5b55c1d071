# SPDX-License-Identifier: GPL-3.0-or-later
"""The WAN goes, comes back, or has another address: during a call, while one is set up, while the line is to register."""

import time

import pytest
from test_registration import sip
from vpnlab.namespaces import wait_for
from vpnlab.router import Settings
from vpnlab.topology import CARRIER, GATEWAY, A

QUIET = {"idle_time": 60}
OTHER = "198.51.100.11"


class Wan:
    """The interface of router a to the carrier's network, and the cable in it."""

    def __init__(self, lab):
        self.net, self.router = lab.topology.net, lab.a.space

    def down(self):
        self.router.ip("link", "set", "wan0", "down")

    def up(self):
        self.router.ip("link", "set", "wan0", "up")
        self.restore_route()

    def unplug(self):
        self.net.ip("link", "set", "wan-a", "down")

    def plug_in(self):
        self.net.ip("link", "set", "wan-a", "up")

    def restore_route(self):
        """The kernel has dropped what a DHCP client would put back."""
        self.router.ip("route", "replace", "default", "via", GATEWAY, "dev", "wan0", "metric", "1000")

    def change_address(self, old, new):
        """In one step: the second address of the network takes the place of the first."""
        self.router.sysctl(net_ipv4_conf_wan0_promote__secondaries=1)
        self.router.batch(f"addr add {new}/24 dev wan0\naddr del {old}/24 dev wan0\n")
        self.restore_route()


@pytest.fixture
def lab(make_lab):
    made = make_lab(a=Settings(**QUIET), b=Settings(**QUIET))
    made.may_leak = True  # the capture's classes know one address of each router
    made.uplink = Wan(made)
    return made


def line(lab):
    (row,) = lab.a.show("vpn-sip", "registration-status")["registrations"]
    return row


def call_again(lab):
    """No hold-down is left: the next packet calls."""
    assert lab.ping(2, wait=8) >= 1
    lab.wait_up()


def test_lost_during_a_call(lab, tell):
    """The call is given up at once; its BYE is owed and leaves when there is a way again. It is one call, with one bill."""
    assert lab.ping(1)
    lab.wait_up()
    lab.uplink.down()
    wait_for(lambda: "the interface is down" in lab.a.session()["last_cause"], 3, "the call is given up")
    assert lab.carrier.open_dialogs(), "nobody has told the carrier yet"
    wait_for(lambda: not line(lab)["is_registered"], 4, "not registered: it is asked to leave once the BYE has had its time")
    lab.wan["a"].fresh()
    begin = time.monotonic()
    lab.uplink.up()
    wait_for(lambda: not lab.carrier.open_dialogs(), 8, "the BYE that was owed")
    tell(f"the carrier has the BYE {time.monotonic() - begin:.1f} s after the WAN is back")
    wait_for(lambda: line(lab)["is_registered"], 5, "registered again")
    assert any(text.startswith("BYE ") for _, text, _ in sip(lab.wan["a"].fresh(), A.wan))
    lab.a.wait_status("READY_TO_CONNECT", seconds=10)
    assert len(lab.carrier.call_records()) == 1
    call_again(lab)


def test_lost_while_a_call_is_set_up(lab, tell):
    """The INVITE is under way: its CANCEL is owed, too, and nobody is billed."""
    lab.carrier.switch("ring", 1)
    lab.carrier.switch("delay", 2500)
    lab.a.cli("call", lab.b.site.number, check=False)
    lab.a.wait_status("RINGING")
    lab.uplink.down()
    wait_for(lambda: "the interface is down" in lab.a.session()["last_cause"], 3, "the call is given up")
    lab.carrier.switch("ring", None)
    lab.carrier.switch("delay", None)
    time.sleep(1)
    begin = time.monotonic()
    lab.uplink.up()
    wait_for(lambda: not lab.carrier.open_dialogs(), 30, "the attempt is ended at the carrier")
    tell(f"the attempt is ended {time.monotonic() - begin:.1f} s after the WAN is back")
    lab.a.wait_status("READY_TO_CONNECT", seconds=10)
    call_again(lab)


def test_lost_before_the_registration(lab):
    """Without a WAN nothing is sent and the cause is shown; with it the line registers at once, whatever was waited for."""
    lab.uplink.down()
    lab.a.stop(names=["sip-agent"])
    lab.a.start_service("sip-agent")
    time.sleep(2)
    assert not line(lab)["is_registered"]
    assert lab.a.status() != "READY_TO_CONNECT"
    lab.uplink.up()
    wait_for(lambda: line(lab)["is_registered"], 3, "registered")
    lab.a.wait_status("READY_TO_CONNECT", seconds=3)
    call_again(lab)


def test_a_cable_is_out_for_a_moment(lab, tell):
    """The interface keeps its address: no call is given up for it, the tunnel goes on, and a refresh in between is repeated."""
    assert lab.ping(1)
    lab.wait_up()
    attempt = lab.a.session()["attempt"]
    lab.uplink.unplug()
    assert lab.ping(1, wait=1) == 0, "nothing passes"
    time.sleep(2)
    lab.uplink.plug_in()
    lab.uplink.restore_route()
    wait_for(lambda: lab.ping(1, wait=1), 5, "the tunnel passes traffic again")
    assert lab.a.session()["attempt"] == attempt and len(lab.carrier.open_dialogs()) == 1
    lab.hang_up()
    assert len(lab.carrier.call_records()) == 1


def test_another_address_during_a_call(lab):
    """The BYE comes from the new address, so does the REGISTER, which takes the old binding away; the next packet calls from there."""
    assert lab.ping(1)
    lab.wait_up()
    before = lab.carrier.registered()[A.number]
    assert A.wan in before
    lab.wan["a"].fresh()
    lab.uplink.change_address(A.wan, OTHER)
    wait_for(lambda: OTHER in lab.carrier.registered().get(A.number, ""), 8, "registered from the new address")
    wait_for(lambda: not lab.carrier.open_dialogs(), 8, "the call is over")
    assert "the WAN address changed" in lab.a.session()["last_cause"]
    lab.a.wait_status("READY_TO_CONNECT", seconds=10)
    sent = sip(lab.wan["a"].fresh(), OTHER)
    assert any(text.startswith("BYE ") and target == CARRIER for _, text, target in sent)
    registers = [text for _, text, _ in sent if text.startswith("REGISTER ")]
    assert registers and any(f"@{A.wan}" in text and "expires=0" in text for text in registers), registers
    call_again(lab)
    assert any(text.startswith("INVITE ") for _, text, _ in sip(lab.wan["a"].fresh(), OTHER))
    lab.hang_up()
    lab.uplink.change_address(OTHER, A.wan)
    wait_for(lambda: A.wan in lab.carrier.registered().get(A.number, ""), 8, "registered from the first address again")
    lab.a.wait_status("READY_TO_CONNECT", seconds=10)
