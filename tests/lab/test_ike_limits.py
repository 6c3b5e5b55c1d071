# SPDX-License-Identifier: GPL-3.0-or-later
"""ike-agent and tunnel-agent without descriptors: at the start they say so and leave, at run time they need none; their
points of death that no single message names; and what the trace tells afterwards."""

import re
import signal
import subprocess
from pathlib import Path

import pytest

from vpnlab.namespaces import run, wait_for
from vpnlab.router import Settings, program

EXCHANGE = Path(__file__).resolve().parents[1] / "exchange"
CONFIGURATIONS = {"ike-agent": "two-sites.conf", "tunnel-agent": "one-tunnel.conf"}
KEYRING = 'peer "a" { identity-key-id = "0388882001"  pre-shared-key = "example-psk-0388881001" }\n'
WHAT_LACKS = re.compile("Too many open files|Out of files|descriptors")


def start_alone(directory, service, descriptors):
    """(exit status, or None if it ran on; what it said) of a service in an empty network that may have so many descriptors."""
    for name in ("run", "state"):
        (directory / name).mkdir(parents=True)
    text = (EXCHANGE / service / CONFIGURATIONS[service]).read_text().replace("@DIR@", str(directory))
    (directory / "vpnsip.conf").write_text(text)
    (directory / "ike.keyring").write_text(KEYRING)
    (directory / "ike.keyring").chmod(0o600)
    words = ["unshare", "-n", program(service), "-c", directory / "vpnsip.conf", "--run-dir", directory / "run", "--state-dir",
             directory / "state", "--user", ""]
    started = subprocess.Popen(["prlimit", f"--nofile={descriptors}:{descriptors}", *map(str, words)], text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        return started.wait(3), started.stdout.read()
    except subprocess.TimeoutExpired:
        started.terminate()
        said = started.communicate(timeout=3)[0]
        return None, said


@pytest.mark.parametrize("service, descriptors", [("ike-agent", 6), ("ike-agent", 12), ("tunnel-agent", 8), ("tunnel-agent", 20)])
def test_too_few_to_start(tmp_path, service, descriptors):
    status, said = start_alone(tmp_path, service, descriptors)
    assert status == 1
    assert WHAT_LACKS.search(said.splitlines()[-1]), said


@pytest.mark.parametrize("service", CONFIGURATIONS)
def test_enough_to_start(tmp_path, service):
    """The control: what ends the others is the number of descriptors alone."""
    status, said = start_alone(tmp_path, service, 64)
    assert status is None and "started, version" in said


@pytest.fixture
def lab(make_lab):
    settings = {"restart_delay": 0.05, "idle_time": 8}
    made = make_lab(a=Settings(**settings), b=Settings(**settings))
    assert made.ping(1) == 1
    made.wait_up()
    return made


def allow_descriptors(process, count):
    """Sets how many descriptors a running service may have, as its own user: root in a container may not."""
    fields = dict(line.split(":\t", 1) for line in Path(f"/proc/{process.pid}/status").read_text().splitlines())
    user, group = fields["Uid"].split()[0], fields["Gid"].split()[0]
    run(["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", "prlimit", f"--pid={process.pid}", f"--nofile={count}:"])


def test_none_left_at_run_time(lab):
    """The session of a router whose two services get no descriptor any more goes on, and even its interface is made again."""
    router = lab.a
    call = router.session()["sip_call_id"]
    chosen = {name: router.processes[name] for name in CONFIGURATIONS}
    pids = [process.pid for process in chosen.values()]
    for process in chosen.values():
        allow_descriptors(process, 4)
        limits = Path(f"/proc/{process.pid}/limits").read_text()
        assert re.search(r"Max open files +4 ", limits), limits  # the control: it is in force
    assert lab.ping(20, interval=0.05) == 20
    for _ in range(3):
        router.space.ip("link", "del", router.site.tunnel)
        wait_for(lambda: lab.ping(1, wait=1) == 1, 5, "the interface is there again and traffic flows")
    for process in chosen.values():
        allow_descriptors(process, 1024)
    assert lab.ping(3) == 3
    assert router.session()["sip_call_id"] == call
    assert [process.pid for process in chosen.values() if process.running()] == pids


POINTS = {"ike-agent.before-start": "ike-agent", "ike-agent.child-installed": "ike-agent", "tunnel-agent.sa-installed": "tunnel-agent"}


@pytest.mark.parametrize("point, service", POINTS.items())
def test_killed_at_a_point_of_its_own(make_lab, point, service):
    """The service dies there while the session is set up; what follows is a whole session, and then rest."""
    lab = make_lab(a=Settings(restart_delay=0.05, allow_faults=True), b=Settings(restart_delay=0.05))
    router = lab.a
    router.cli("debug", service, "fault", "named-point", "kill", point, "--count", "1")
    before = router.supervisor.restarts[service]
    lab.ping(1, wait=4)
    wait_for(lambda: router.supervisor.restarts[service] == before + 1, 3, f"{service} died at {point}")
    wait_for(lambda: lab.ping(1, wait=1) == 1, 15, "traffic")
    lab.wait_up()
    assert len(lab.carrier.open_dialogs()) == 1
    trace = router.cli("trace", router.site.tunnel)
    assert all(re.search(text, trace) for text in ("IKE_SA_INIT", "IKE_AUTH", "SA [0-9a-f]{8} inbound installed")), trace
    lab.wait_resting(seconds=18)
    assert not lab.carrier.open_dialogs()


INSTALLED = re.compile("SA [0-9a-f]{8} inbound installed")


def told(router):
    """The trace of its tunnel; a service that is just being started is left out."""
    return router.cli("trace", router.site.tunnel, check=False)


def test_trace_tells_of_new_children(lab):
    """A session's trace after the deaths of both services: their messages and SAs, old and new."""
    router = lab.a
    deaths = [("tunnel-agent", "CREATE_CHILD_SA"), ("ike-agent", "IKE_AUTH")]
    if "data plane kernel" in router.log("tunnel-agent"):
        deaths = deaths[1:]  # there the SAs outlive tunnel-agent
    for service, text in deaths:
        trace = router.cli("trace", router.site.tunnel)
        # what a service told dies with it
        messages = 0 if service == "ike-agent" else trace.count(text)
        installed = 0 if service == "tunnel-agent" else len(INSTALLED.findall(trace))
        restarts = router.supervisor.restarts[service]
        router.processes[service].signal(signal.SIGKILL)
        wait_for(lambda: router.supervisor.restarts[service] > restarts, 3, f"{service} is started again")
        wait_for(lambda: told(router).count(text) > messages, 8, f"{text} after the death of {service}")
        wait_for(lambda: len(INSTALLED.findall(told(router))) > installed, 5, "the new SA")
        wait_for(lambda: lab.ping(1, wait=1) == 1, 5, "traffic")
    wait_for(lambda: re.search("SA [0-9a-f]{8} (in|out)bound removed", told(router)), 9, "the old SAs' end")
