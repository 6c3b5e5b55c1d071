# SPDX-License-Identifier: GPL-3.0-or-later
"""What the peer's IKE hears of a hang-up: the DELETE leaves while its path still stands, whoever ended the call, and nothing waits long for
the answer."""

import json
import signal
import time

import pytest
from attacks import INFORMATIONAL, exchange, is_request
from stock_lab import StockLab
from traffic import SteadyPing
from vpnlab.capture import sip_messages
from vpnlab.namespaces import wait_for
from vpnlab.router import Settings
from vpnlab.topology import A, B

DELETE_MSEC = 500  # how long ike-agent waits for the answer (ENGINE_CLOSE_MSEC)
SLACK_MSEC = 400
LOST_MAXIMUM = 3  # one a hang-up may meet the peer's answer on its way
IDLE_SEC = 1
DEAF = 'table bridge deaf {\n chain forward {\n type filter hook forward priority 0\n iifname "wan-b" udp sport 50002 counter drop\n }\n}\n'


@pytest.fixture
def stock(request):
    """stock(...) starts a lab with a foreign peer; its log is shown when the test failed."""
    labs = []

    def make(**options):
        labs.append(StockLab(**options))
        return labs[-1]

    yield make
    for lab in labs:
        if getattr(request.node, "failed", False):
            print(lab.logs())
        lab.close()


def bring_up(lab, we_call=True, seconds=None):
    if we_call:
        lab.answer_calls()
        assert lab.ping("a", 1, wait=6) == 1
    else:
        lab.call(seconds)
        lab.charon.control("--initiate", "--child", "net", "--timeout", "5")
    lab.wait_up()
    lab.data_both_ways()


def bye_time(lab):
    """When the first BYE was on the WAN of `a`."""
    return wait_for(lambda: [each.time for each in sip_messages(lab.wan.packets()) if each.start_line.startswith("BYE ")], 10, "a BYE")[0]


def last_exchange(lab):
    """The INFORMATIONAL messages that are younger than the last ESP packet, and that packet's time."""
    packets = lab.wan.packets()
    last_esp = max(packet.time for packet in packets if packet.is_esp)
    return last_esp, [packet for packet in packets if packet.is_ike and exchange(packet) == INFORMATIONAL and packet.time > last_esp]


def release_msec(lab):
    """From the decision to hang up until the session rests."""
    entries = json.loads(lab.router.cli("trace", A.tunnel, "--json"))["entries"]
    changes = {entry["text"]: entry["msec"] for entry in entries if entry["service"] == "vpnsip-coordinator" and entry["kind"] == "state"}
    (begun,) = [msec for text, msec in changes.items() if text.startswith("SESSION_UP -> ")]
    (rested,) = [msec for text, msec in changes.items() if "-> READY_TO_CONNECT" in text]
    return rested - begun


@pytest.mark.parametrize("ending", ["idle", "its-bye", pytest.param("operator", marks=pytest.mark.long)])
def test_stock_peer_is_told(stock, tell, ending):
    """strongSwan has no call that ends with the BYE: the DELETE alone removes its IKE_SA. Without it that stays until its own
    dead peer detection, which is off here."""
    lab = stock(settings=Settings(idle_time=IDLE_SEC if ending == "idle" else 60))
    bring_up(lab, we_call=ending != "its-bye", seconds=3)
    if ending == "operator":
        lab.router.cli("hangup", B.number)
    ended = bye_time(lab)
    wait_for(lambda: "ESTABLISHED" not in lab.stock_sas(), 2, "strongSwan's IKE_SA is gone", interval=0.05)
    gone_sec = time.time() - ended
    assert gone_sec < 2
    assert "received DELETE for IKE_SA" in lab.charon.log
    lab.finish_call()
    _, told = last_exchange(lab)
    assert [(packet.src, is_request(packet)) for packet in told] == [(A.wan, True), (B.wan, False)], told
    tell(f"DELETE {1000 * (told[0].time - ended):.1f} ms after the BYE, answered after {1000 * (told[1].time - told[0].time):.1f} ms; "
         f"IKE_SA gone within {gone_sec:.2f} s; at rest after {release_msec(lab):.1f} ms")
    assert release_msec(lab) < DELETE_MSEC


def test_nobody_told(stock, tell):
    """The control: without ike-agent the release goes on at once and the call ends, but strongSwan's IKE_SA stays."""
    lab = stock()
    bring_up(lab)
    lab.router.stop(signal.SIGKILL, ["ike-agent"])
    lab.router.cli("hangup", B.number)
    ended = bye_time(lab)
    lab.router.start_service("ike-agent")
    lab.finish_call()
    tell(f"at rest after {release_msec(lab):.1f} ms without ike-agent")
    assert release_msec(lab) < DELETE_MSEC
    time.sleep(max(0, ended + 2 - time.time()))
    assert "ESTABLISHED" in lab.stock_sas() and last_exchange(lab)[1] == []


def test_silent_peer(stock, tell):
    """What comes from the peer is lost, but SIP: the BYE waits for nothing, the DELETE is repeated once, and the session rests soon."""
    lab = stock()
    bring_up(lab)
    lab.topology.net.nft(DEAF)
    lab.router.cli("hangup", B.number)
    lab.finish_call()
    ended, (_, told) = bye_time(lab), last_exchange(lab)
    requests = [packet.time for packet in told if packet.src == A.wan and is_request(packet)]
    assert len(requests) == 2 and 0 <= requests[0] - ended < 0.4, (ended, requests)
    tell(f"DELETE {1000 * (requests[0] - ended):.1f} ms after the BYE and {1000 * (requests[1] - requests[0]):.0f} ms later; at rest after {release_msec(lab):.0f} ms")
    assert DELETE_MSEC <= release_msec(lab) < DELETE_MSEC + SLACK_MSEC


def test_traffic_goes_on(make_lab, tell):
    """Packets of the moment in which IKE takes leave are neither sent to a peer that has forgotten the keys nor lost: they call again. (None is
    in clear: the fixture looks.)"""
    lab = make_lab()
    assert lab.ping(1) == 1
    lab.wait_up()
    ping = SteadyPing(lab.workspace, lab.hosts["a"], B.host)
    for _ in range(3):
        time.sleep(0.5)
        lab.a.cli("hangup", B.number)
        time.sleep(0.1)
        for router in lab.routers.values():
            router.wait_status("SESSION_UP", seconds=10)
    time.sleep(0.5)
    sent, answered = ping.finish()
    tell(f"{answered} of {sent} pings answered over 3 hang-ups")
    assert sent - answered <= LOST_MAXIMUM and sent > 100
    lab.hang_up()
