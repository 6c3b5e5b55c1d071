# SPDX-License-Identifier: GPL-3.0-or-later
"""Call records against the carrier's accounting, and what a restarted coordinator knows from them."""

import signal
import time

import pytest

from vpnlab.capture import sip_messages
from vpnlab.namespaces import wait_for
from vpnlab.router import Settings

HOLDDOWN = {"holddown": 20, "failback": 1, "answer": 3, "ringing": 3, "ike": 5, "port-reuse": 1}


def calls(router, *options):
    return router.show("calls", "--limit", "1000", *options)["calls"]


def answered(router):
    """{SIP Call-ID: record} of the calls that cost something and are over."""
    return {call["sip_call_id"]: call for call in calls(router) if call["answered_at_usec"] and call["end"] != "running"}


def billed(call):
    return (call["ended_at_usec"] - call["answered_at_usec"]) / 1e6


def carrier_calls(lab, count):
    return wait_for(lambda: len(lab.carrier.call_records()) == count and lab.carrier.call_records(), 20, f"{count} records of the carrier")


def assert_equal_to_the_second(lab, router, records):
    own = wait_for(lambda: len(answered(router)) == len(records) and answered(router), 5, "a record of each call")
    for record in records:
        call = own[record["call_id"]]
        assert call["end"] == "exact", call
        assert abs(billed(call) - record["duration"]) < 1, (call, record)
        # the carrier writes whole seconds, rounded down
        assert 0 <= call["answered_at_usec"] / 1e6 - record["start_time"] < 1.6, (call, record)
        assert 0 <= call["ended_at_usec"] / 1e6 - record["end_time"] < 1.6, (call, record)
        outgoing = record["caller"] == router.site.number
        assert call["direction"] == ("outgoing" if outgoing else "incoming")
        assert call["remote_number"] == (record["callee"] if outgoing else record["caller"])


def test_records_equal_the_carriers(lab):
    """Calls of both directions, ended by either side, by idle and by order: start, end and duration to the second."""
    assert lab.ping(20, interval=0.1) == 20
    lab.wait_up()
    time.sleep(2.3)
    lab.a.cli("hangup", lab.b.site.number)
    lab.wait_resting()
    assert lab.ping(3, source="b") == 3
    lab.wait_up()
    time.sleep(1.4)
    lab.a.cli("hangup", lab.b.site.number)
    lab.wait_resting()
    assert lab.ping(2) == 2
    lab.wait_resting(seconds=12)
    records = carrier_calls(lab, 3)
    for router in lab.routers.values():
        assert_equal_to_the_second(lab, router, records)
    first, second, third = (answered(lab.a)[record["call_id"]] for record in records)
    assert (first["ended_by"], first["cause"]) == ("us", "hangup")
    assert "idle" in third["cause"] or third["ended_by"] == "peer"
    assert answered(lab.b)[records[0]["call_id"]]["ended_by"] == "peer"
    assert first["negotiated_kbit"] == 1000
    assert first["packets_in"] == first["packets_out"] == 20
    assert first["bytes_in"] == 20 * 84
    assert second["packets_in"] == 3
    assert first["up_at_usec"] >= first["answered_at_usec"]
    text = lab.a.cli("show", "calls")
    assert "Total: 3 calls, 3 answered" in text and "~" not in text
    assert lab.a.cli("show", "calls", "--csv").count("\n") == 4
    assert len(calls(lab.a, "--number", "0399999999")) == 0
    assert len(calls(lab.a, "--since", "1h")) == 3


def test_an_attempt_without_a_call_is_not_billed(make_lab):
    lab = make_lab(a=Settings(timers=HOLDDOWN))
    lab.a.space.run("tc", "qdisc", "add", "dev", lab.a.site.tunnel, "root", "tbf", "rate", "1mbit", "burst", "5kb", "latency", "50ms")
    assert lab.ping(1, wait=1) == 0
    (call,) = wait_for(lambda: calls(lab.a), 3, "a record")
    assert "qdisc" in call["cause"] and call["end"] == "exact" and call["billed_sec"] == 0
    assert not [message for message in sip_messages(lab.wan["a"].packets()) if message.start_line.startswith("INVITE ")]


@pytest.mark.parametrize("victim", ["a", "b"])
def test_no_sip_agent_sees_the_end(lab, victim):
    """The other side hangs up while one side's sip-agent is dead: its record is an estimate, and not less than the carrier's."""
    assert lab.ping(3) == 3
    lab.wait_up()
    dead = lab.routers[victim]
    other = lab.routers["b" if victim == "a" else "a"]
    dead.stop(signal.SIGKILL, ["sip-agent"])
    time.sleep(1)
    other.cli("hangup", other.peer.number)
    (record,) = wait_for(lambda: lab.carrier.call_records(), 40, "the carrier's record")
    dead.start_service("sip-agent")
    own = wait_for(lambda: answered(dead).get(record["call_id"]), 45, "the record is settled")
    assert billed(own) >= record["duration"] - 0.05, (own, record)
    assert own["end"] == "estimated" or abs(billed(own) - record["duration"]) < 1
    if own["end"] == "estimated":
        assert "~" in dead.cli("show", "calls")
    assert billed(answered(other)[record["call_id"]]) >= record["duration"] - 0.05


def test_killed_coordinator_knows_its_calls(lab):
    """The coordinator is killed during a call: the record goes on and is exact."""
    assert lab.ping(5) == 5
    lab.wait_up()
    lab.a.stop(signal.SIGKILL, ["vpnsip-coordinator"])
    lab.a.start_service("vpnsip-coordinator")
    lab.a.wait_up()
    time.sleep(1)
    lab.a.cli("hangup", lab.b.site.number)
    lab.wait_resting()
    records = carrier_calls(lab, 1)
    assert_equal_to_the_second(lab, lab.a, records)
    (call,) = answered(lab.a).values()
    assert call["packets_out"] >= 5


@pytest.mark.parametrize("keeps_records", [True, False], ids=["records", "control"])
def test_holddown_outlives_the_coordinator(make_lab, keeps_records):
    """A kill -9 does not lift a hold-down, nor its doubling; without the database it would."""
    lab = make_lab(a=Settings(timers=HOLDDOWN))
    lab.carrier.switch("busy", lab.b.site.number)
    lab.ping(1, wait=1)
    lab.a.wait_status("HOLDDOWN", seconds=8)
    wait_for(lambda: lab.a.session()["holddown_remaining_sec"] > 10, 8, "the hold-down after the second busy")
    before = lab.a.session()
    lab.a.stop(signal.SIGKILL, ["vpnsip-coordinator"])
    if not keeps_records:
        for file in (lab.a.state_dir / "vpnsip-coordinator").glob("calls.db*"):
            file.unlink()
    lab.carrier.switch("busy", None)
    lab.a.start_service("vpnsip-coordinator")
    lab.a.wait_up()
    if keeps_records:
        session = lab.a.wait_status("HOLDDOWN", seconds=5)
        assert session["last_cause"] == before["last_cause"]
        assert 0 < session["holddown_remaining_sec"] <= before["holddown_remaining_sec"]
        assert lab.ping(1, wait=1) == 0
        assert not lab.carrier.open_dialogs()
        lab.a.cli("hangup", lab.b.site.number)
    else:
        lab.a.wait_status("READY_TO_CONNECT", "CALLING", "SESSION_UP", seconds=5)
        assert lab.ping(1) == 1


def test_without_records_no_call_is_placed(make_lab):
    """The folder cannot be written: calls are answered, none is placed, one error says why; then all is well by itself."""
    lab = make_lab()
    assert lab.ping(2) == 2
    lab.wait_up()
    file = lab.a.state_dir / "vpnsip-coordinator" / "calls.db"
    lab.a.stop(signal.SIGKILL, ["vpnsip-coordinator"])
    moved = file.with_name("moved.db")
    file.rename(moved)
    for leftover in file.parent.glob("calls.db-*"):
        leftover.rename(str(moved) + leftover.name[len("calls.db"):])
    file.mkdir()
    lab.a.start_service("vpnsip-coordinator")
    lab.a.wait_up()
    assert lab.ping(3) == 3, "running sessions are unharmed"
    lab.a.cli("hangup", lab.b.site.number)
    lab.wait_resting()
    assert lab.ping(1, wait=1) == 0
    cause = lab.a.session()["last_cause"]
    assert str(file) in cause and "call records" in cause
    errors = [line for line in lab.a.log().splitlines() if "error" in line and str(file) in line]
    assert len(errors) == 1, errors
    assert lab.ping(1, source="b") == 1, "a call is answered"
    lab.wait_up()
    file.rmdir()
    moved.rename(file)
    for leftover in file.parent.glob("moved.db-*"):
        leftover.rename(str(file) + leftover.name[len("moved.db"):])
    wait_for(lambda: lab.a.cli("show", "calls", check=False).startswith("Call"), 10, "the records are kept again")
    lab.b.cli("hangup", lab.a.site.number)
    lab.wait_resting()
    assert lab.ping(1) == 1
    assert len(calls(lab.a)) >= 3, "also the one that was answered meanwhile"
