# SPDX-License-Identifier: GPL-3.0-or-later
"""Looking inside running services: trace of real calls, debug switches, monitor, faults on order."""

import json
import os
import re
import signal
import subprocess
import time

import pytest

from vpnlab.namespaces import wait_for
from vpnlab.router import SERVICES, Settings, program
from vpnlab.topology import A, B


def cli(router, *words, timeout=10, **options):
    """One command: the finished process, its output as text."""
    return subprocess.run([program("vpnsip"), "--run-dir", router.run_dir, *map(str, words)], capture_output=True, text=True,
                          timeout=timeout, **options)


def trace(router, *words):
    done = cli(router, "trace", *words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def first(entries, kind, pattern):
    """Place of the first entry of that kind whose text fits."""
    for place, entry in enumerate(entries):
        if entry["kind"] == kind and re.search(pattern, entry["text"]):
            return place
    shown = "\n".join(f"{entry['msec']:9.1f} {entry['service']} {entry['kind']} {entry['text']}" for entry in entries)
    raise AssertionError(f"no {kind} {pattern!r} in\n{shown}")


STORY = [("sip", r"^INVITE"), ("sip", r"^200"), ("ike", r"IKE_SA_INIT"), ("ike", r"IKE_AUTH"), ("state", r"-> SESSION_UP")]


def test_trace_of_a_call(lab):
    """During and after a call, at the caller and at the called: the same story in the right order, from every process."""
    assert lab.ping(3) == 3
    lab.wait_up()
    attempts = {name: router.session()["attempt"] if "attempt" in router.session() else None for name, router in lab.routers.items()}
    for during in (True, False):
        if not during:
            lab.hang_up()
        for name, router in lab.routers.items():
            told = trace(router, router.site.tunnel)
            places = [first(told["entries"], *step) for step in STORY]
            assert places == sorted(places), (name, places)
            times = [entry["msec"] for entry in told["entries"]]
            assert times == sorted(times) and times[0] == 0
            assert told["direction"] == {"a": "OUTGOING", "b": "INCOMING"}[name] and not told["notes"], told["notes"]
            assert told["number"] == router.peer.number
            assert {entry["service"] for entry in told["entries"]} >= {"vpnsip-coordinator", "sip-agent", "ike-agent"}, attempts
            requests = [entry for entry in told["entries"] if entry["kind"] == "request"]
            assert requests and all(entry["duration_msec"] > 0 and not entry["outcome"] for entry in requests), requests
            if not during:
                first(told["entries"], "sip", r"^BYE")
    # the ladder of the same, and the list that names it
    ladder = cli(lab.a, "trace").stdout.splitlines()
    assert max(map(len, ladder)) <= 120 and "carrier" in ladder[1] and "peer" in ladder[1], ladder[:2]
    listed = json.loads(cli(lab.a, "trace", "--list", "--json").stdout)["attempts"]
    assert [attempt["session"] for attempt in listed] == [A.tunnel] and listed[0]["cause"], listed


def test_trace_of_a_shutdown(lab):
    """It ends everything at once; of a session's trace the order to deregister is no part."""
    assert lab.ping(1) == 1
    lab.wait_up()
    # what is not down after two seconds, on a slow machine, is told; asked again it goes on
    wait_for(lambda: cli(lab.a, "shutdown").returncode == 0, 10, "router a is shut down")
    told = trace(lab.a, A.tunnel)
    first(told["entries"], "sip", r"^BYE")
    with pytest.raises(AssertionError, match="no request"):
        first(told["entries"], "request", r"^DeregisterLine")


def test_trace_says_what_a_restart_lost(lab):
    assert lab.ping(3) == 3
    lab.wait_up()
    time.sleep(1.5)  # uptime is told in whole seconds
    lab.a.stop(signal.SIGKILL, ["nat-qos-agent"])
    lab.a.start_service("nat-qos-agent")
    lab.a.wait_up()
    notes = wait_for(lambda: trace(lab.a, "last")["notes"], 5, "a note about the restart")
    assert len(notes) == 1 and re.match(r"nat-qos-agent was started .* its part until then is lost", notes[0]), notes


def test_debug_sip_messages(lab):
    """Off: no message in the log. On: a whole INVITE. Never what the carrier's password could be found from."""
    assert lab.ping(3) == 3
    lab.wait_up()
    assert "INVITE sip:" not in lab.a.log("sip-agent")
    lab.hang_up()
    done = cli(lab.a, "debug", "vpn-sip", "sip", "messages")
    assert done.returncode == 0 and "sip-agent" in done.stdout, done
    assert cli(lab.a, "show", "debugging").stdout == "sip-agent:\n  sip messages debugging is on\n"
    assert lab.ping(3) == 3
    lab.wait_up()
    log = lab.a.log("sip-agent")
    for part in (rf"INVITE sip:{B.number}@", r"CSeq: \d+ INVITE", r"m=udp|m=application|m=", r"a=ike-setup:active"):
        assert re.search(part, log), part
    answers = [line for line in log.splitlines() if "uthorization:" in line]
    assert answers, "no message with credentials was shown at all"
    # control: on the wire the response is there
    wire = b"".join(packet.payload for packet in lab.wan["a"].packets() if packet.is_sip and packet.payload)
    assert re.search(rb'uthorization: Digest .*response="?[0-9a-f]{32}', wire)
    assert not any(re.search(r'[0-9a-f]{32}', line) for line in answers), answers
    assert (lab.a.dir / "sip.password").read_text().strip() not in log
    assert cli(lab.a, "undebug", "all").returncode == 0
    assert cli(lab.a, "show", "debugging").stdout == "No debugging is on\n"
    lab.hang_up()
    before = lab.a.log("sip-agent").count("INVITE sip:")
    assert lab.ping(3) == 3
    assert lab.a.log("sip-agent").count("INVITE sip:") == before


def test_debug_event_of_one_session(lab):
    assert cli(lab.a, "debug", "vpn-sip", "event", B.number).returncode == 0
    shown = json.loads(cli(lab.a, "show", "debugging", "--json").stdout)["services"]
    assert {service["name"] for service in shown if service["switches"] == [{"category": "event", "session": A.tunnel}]} == set(SERVICES), shown
    before = lab.a.logs().count(" debug: ")
    assert lab.ping(3) == 3
    assert lab.a.logs().count(" debug: ") > before


def test_monitor_redacts(lab):
    """Every key that tunnel-agent is given passes as "(secret)", on the screen and in the file."""
    file = lab.workspace.dir / "messages"
    screen = lab.workspace.start([program("vpnsip"), "--run-dir", lab.a.run_dir, "monitor", "--json"], "monitor-a.json")
    writer = lab.workspace.start([program("vpnsip"), "--run-dir", lab.a.run_dir, "monitor", "-w", file], "monitor-a.log")
    wait_for(lambda: screen.log.read_text().count("\n") > 3, 5, "the monitor sees events")
    assert lab.ping(3) == 3
    lab.wait_up()
    wait_for(lambda: "InstallChild" in screen.log.read_text(), 5, "InstallChild passed")
    for process in (screen, writer):
        assert process.stop(signal.SIGINT) == 0
    again = cli(lab.a, "monitor", "-r", file, "--json").stdout
    for text in (screen.log.read_text(), again):
        children = [json.loads(line) for line in text.splitlines() if '"InstallChild"' in line and '"request"' in line]
        assert children
        for child in children:
            for side in ("inbound", "outbound"):
                assert child["fields"][side]["encryption_key"] == "(secret)"
    latency = cli(lab.a, "monitor", "-r", file, "--latency", "--kind", "reply").stdout
    assert re.search(r"sip-agent -> vpnsip-coordinator reply Done .*\(\d+\.\d{3} ms\)", latency), latency[:2000]


def test_recordings(lab):
    """A service writes down what passes it, without keys; monitor shows it; replay is the service's own program with its status."""
    for service in ("coordinator", "tunnel-agent"):
        assert cli(lab.a, "debug", service, "record", "start", "call-1").returncode == 0
    assert lab.ping(3) == 3
    lab.wait_up()
    for service in ("coordinator", "tunnel-agent"):
        assert cli(lab.a, "debug", service, "record", "stop").returncode == 0
    files = {name: lab.a.state_dir / name / "call-1.record" for name in ("vpnsip-coordinator", "tunnel-agent")}
    told = cli(lab.a, "monitor", "-r", files["vpnsip-coordinator"])
    assert told.returncode == 0, told.stderr
    for line in ("tunnel-agent -> all event TunnelChanged", "vpnsip-coordinator -> sip-agent request PlaceCall",
                 "sip-agent -> vpnsip-coordinator reply Done", "vpnsip-coordinator -> all event SessionChanged"):
        assert line in told.stdout, (line, told.stdout[:3000])
    child = cli(lab.a, "monitor", "-r", files["tunnel-agent"], "--message", "InstallChild", "--json").stdout
    assert json.loads(child.splitlines()[0])["fields"]["inbound"]["encryption_key"] == "(secret)"
    coordinator = program("vpnsip-coordinator")
    own = subprocess.run([coordinator, "-c", lab.a.config_file, "--replay", files["vpnsip-coordinator"]], capture_output=True, text=True, timeout=20)
    ours = subprocess.run([program("vpnsip"), "-c", lab.a.config_file, "replay", files["vpnsip-coordinator"], "coordinator"], capture_output=True,
                          text=True, timeout=20, env={**os.environ, "PATH": f"{coordinator.parent}:{os.environ['PATH']}"})
    assert (ours.returncode, ours.stdout) == (own.returncode, own.stdout), (ours, own)


def test_send_and_look(lab):
    done = cli(lab.a, "debug", "tunnel-agent", "send", "CheckTunnel", json.dumps({"tunnel": A.tunnel}))
    assert done.returncode == 0 and json.loads(done.stdout)["reply"] == "Done", done
    done = cli(lab.a, "debug", "tunnel-agent", "send", "CheckTunnel", '{"tunnel": "vsip77"}')
    assert done.returncode == 1 and done.stderr, done
    for service in SERVICES:
        for what in ("state", "stats", "peers"):
            done = cli(lab.a, "debug", service, what)
            assert done.returncode == 0 and not done.stderr, done
        assert json.loads(cli(lab.a, "debug", service, "snapshot").stdout) is not None
        assert cli(lab.a, "health", service).returncode == 0


def test_faults_are_refused(lab):
    """Without --allow-faults nothing can be injected, not even by root."""
    for service in SERVICES:
        done = cli(lab.a, "debug", service, "fault", "before-handler", "kill")
        assert done.returncode == 1 and "--allow-faults" in done.stderr, done
        assert not json.loads(cli(lab.a, "debug", service, "faults", "--json").stdout)["is_allowed"]
    assert lab.ping(3) == 3


def test_what_is_for_root_alone(lab):
    """Who is in the group may look; to change what a service does or to send in its name takes root."""
    someone = {"user": "nobody", "group": "vpnsip", "extra_groups": []}
    for words in (["show", "debugging"], ["debug", "sip-agent", "state"], ["debug", "sip-agent", "snapshot"], ["trace", "--list"],
                  ["health", "sip-agent"]):
        assert cli(lab.a, *words, **someone).returncode == 0, words
    for words in (["debug", "vpn-sip", "errors"], ["undebug", "all"], ["debug", "sip-agent", "log", "debug"],
                  ["debug", "sip-agent", "fault", "send-event", "drop"], ["debug", "sip-agent", "fault", "clear"],
                  ["debug", "sip-agent", "record", "start", "x"], ["debug", "sip-agent", "record", "stop"],
                  ["debug", "tunnel-agent", "send", "CheckTunnel", json.dumps({"tunnel": A.tunnel})]):
        done = cli(lab.a, *words, **someone)
        assert done.returncode == 1 and "root" in done.stderr and done.stderr.count("\n") == 1, (words, done)


def test_faults_on_order(make_lab):
    """The control of the above: with the option the same kind of order is obeyed, and counted."""
    lab = make_lab(a=Settings(allow_faults=True))
    assert cli(lab.a, "debug", "nat-qos-agent", "fault", "before-handler", "drop", "ReservePort", "--count", "1").returncode == 0
    lab.ping(1, wait=3)
    faults = json.loads(cli(lab.a, "debug", "nat-qos-agent", "faults", "--json").stdout)
    assert faults["is_allowed"] and faults["faults"][0]["injected"] == 1, faults
    assert cli(lab.a, "debug", "nat-qos-agent", "fault", "clear").returncode == 0
    lab.wait_resting(seconds=12)
    assert lab.ping(3) == 3


@pytest.mark.parametrize("stopped", ["sip-agent", "vpnsip-coordinator"])
def test_never_hangs(lab, stopped):
    """With a service stopped every new command ends in time and names it; what the others know is shown."""
    assert lab.ping(3) == 3
    lab.wait_up()
    lab.a.processes[stopped].signal(signal.SIGSTOP)
    try:
        for words in (["debug", stopped, "state"], ["debug", stopped, "send", "StopRecording"], ["debug", "vpn-sip", "errors"],
                      ["show", "debugging"], ["trace", "--list"], ["trace", A.tunnel], ["health", stopped], ["undebug", "all"]):
            began = time.monotonic()
            done = cli(lab.a, *words)
            seconds = time.monotonic() - began
            assert seconds < 3, f"{words}: {seconds:.1f} s"
            assert done.returncode != 0 and f"{stopped} does not answer" in done.stdout + done.stderr, (words, done)
    finally:
        lab.a.processes[stopped].signal(signal.SIGCONT)
    # a command that gave up inside nng's handshake ends the listener; the guard looks every 10 s
    lab.a.wait_up(seconds=25)
    lab.descriptors = {}
