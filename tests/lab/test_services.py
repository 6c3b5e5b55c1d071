# SPDX-License-Identifier: GPL-3.0-or-later
"""The six services as processes: privileges, start, leaving, hanging up, and a CLI that never hangs."""

import grp
import json
import pwd
import re
import signal
import subprocess
import time

import pytest

from vpnlab.capture import sip_messages
from vpnlab.namespaces import wait_for
from vpnlab.router import SERVICES, WITHOUT_NETWORK, Settings, program
from vpnlab.topology import A, B

NET_ADMIN, NET_RAW = 1 << 12, 1 << 13
CAPABILITIES = {"tunnel-agent": NET_ADMIN, "nat-qos-agent": NET_ADMIN, "track-agent": NET_ADMIN | NET_RAW}
COMMAND_LIMIT_SECONDS = 3
LEAVE_LIMIT_SECONDS = 1.5  # the promise is 1 s; the machine may be busy
# command -> the services that it asks
ALL = frozenset(SERVICES)
SHOW_COMMANDS = {
    "vpn-sip session": {"vpnsip-coordinator"},
    "vpn-sip session detail": {"vpnsip-coordinator", "tunnel-agent"},
    "vpn-sip registration-status": {"sip-agent"},
    "vpn-sip sip registrar": {"sip-agent"},
    "ip nat translations": {"nat-qos-agent"},
    "track": {"track-agent"},
    "interface": {"tunnel-agent", "track-agent"},
    "interface brief": {"tunnel-agent", "track-agent"},
    "timers": {"vpnsip-coordinator"},
    "services": ALL,
    "running-config": ALL,
}
ORDERS = {
    f"call {B.number}": {"vpnsip-coordinator"},
    f"hangup {B.number}": {"vpnsip-coordinator"},
    "clear session all": {"vpnsip-coordinator"},
}


def status_of(process):
    with open(f"/proc/{process.pid}/status") as lines:
        return dict(line.rstrip("\n").split(":\t", 1) for line in lines if ":\t" in line)


def test_uids_and_capabilities(lab):
    """Each is its own user in the one group, with exactly its capabilities and no way to get more."""
    group = grp.getgrnam("vpnsip").gr_gid
    for router in lab.routers.values():
        for name, user in SERVICES.items():
            status = status_of(router.processes[name])
            wanted = f"{CAPABILITIES.get(name, 0):016x}"
            assert status["Uid"].split() == [str(pwd.getpwnam(user).pw_uid)] * 4, name
            assert status["Gid"].split() == [str(group)] * 4 and status["Groups"].split() in ([], [str(group)]), name
            assert (status["CapEff"], status["CapPrm"]) == (wanted, wanted), name
            assert (status["CapInh"], status["CapAmb"], status["CapBnd"]) == ("0" * 16,) * 3, name
            assert status["NoNewPrivs"] == "1", name


def cli(router, words):
    """(seconds, exit status, standard output, standard error) of one command."""
    began = time.monotonic()
    done = subprocess.run([program("vpnsip"), "-c", router.config_file, "--run-dir", router.run_dir, *words.split()],
                          capture_output=True, text=True, timeout=20)
    return time.monotonic() - began, done.returncode, done.stdout, done.stderr


@pytest.mark.slow
def test_cli_ends_and_names_the_service_that_hangs(lab):
    """Every show command with every service stopped in turn: in time, partial, and the service is named."""
    for stopped in SERVICES:
        lab.a.processes[stopped].signal(signal.SIGSTOP)
        for command, asked in {**{f"show {words}": asked for words, asked in SHOW_COMMANDS.items()}, **ORDERS}.items():
            what = f"{command!r} with {stopped} stopped"
            # a call's way through a stopped agent is the coordinator's to wait for, not the command's
            seconds, status, text, complaint = cli(lab.a, command)
            assert seconds < COMMAND_LIMIT_SECONDS, f"{what}: {seconds:.1f} s"
            if stopped in asked:
                assert re.search(rf"{stopped} does not answer", complaint), f"{what}: {complaint!r}"
                assert status != 0, what
            elif command.startswith("show"):
                assert status == 0 and not complaint, f"{what}: {status} {complaint!r}"
                assert text.strip(), what
        seconds, status, text, _ = cli(lab.a, "show services --json")
        services = {service["name"]: service["health"] for service in json.loads(text)["services"]}
        assert services[stopped] == "silent" and list(services.values()).count("up") == len(SERVICES) - 1, services
        lab.a.processes[stopped].signal(signal.SIGCONT)
        # a command that gave up inside nng's handshake ends the listener; the guard looks every 10 s
        lab.a.wait_up(seconds=25)
        lab.a.cli("hangup", "all", check=False)
        lab.wait_resting(seconds=12)
    # with such a listener nng loses the sockets of the commands that had given up
    lab.descriptors = {}


def test_cli_names_the_service_that_is_not_there(lab):
    for missing in SERVICES:
        lab.a.stop(signal.SIGKILL, [missing])
        seconds, status, _, complaint = cli(lab.a, "show services")
        assert seconds < COMMAND_LIMIT_SECONDS and status == 2
        assert f"{missing} does not answer" in complaint and "not running" in complaint, complaint
        lab.a.start_service(missing)
        lab.a.wait_up()


def start_again(router, name):
    """A second start of a service: (exit status, what it says)."""
    argv = [program(name), "-c", router.config_file, "--run-dir", router.run_dir, "--state-dir", router.state_dir]
    command = ["unshare", "--net", *argv] if name in WITHOUT_NETWORK else router.space.command(*argv)
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=10)
    return done.returncode, done.stderr


def test_a_service_starts_only_once(lab):
    """The second is refused and says which process is there; the first does not notice."""
    before = {name: process.pid for name, process in lab.a.processes.items()}
    for name, process in lab.a.processes.items():
        status, text = start_again(lab.a, name)
        assert status not in (0, None), name
        assert str(process.pid) in text, f"{name}: {text}"
    lab.a.wait_up()
    assert before == {name: process.pid for name, process in lab.a.processes.items() if process.running()}
    assert lab.ping(2) == 2


class Squatter:
    """A program that has a port before the service comes."""

    def __init__(self, workspace, space, kind, address, port):
        code = (f"import socket, time; s = socket.socket(socket.AF_INET, socket.{kind}); s.bind(('{address}', {port})); "
                f"{'s.listen()' if kind == 'SOCK_STREAM' else 'pass'}; print('ready', flush=True); time.sleep(1000)")
        self.process = workspace.start(space.command("/usr/bin/python3", "-c", code), f"squatter-{port}-{kind}.log")
        wait_for(lambda: "ready" in self.process.log.read_text(), 5, f"port {port} taken")


def test_taken_ike_port_names_the_process(lab):
    """The service does not start, and says who has UDP 4500."""
    lab.a.stop(signal.SIGTERM, ["tunnel-agent"])
    squatter = Squatter(lab.workspace, lab.a.space, "SOCK_DGRAM", "0.0.0.0", 4500)
    status, text = start_again(lab.a, "tunnel-agent")
    assert status == 1
    assert re.search(rf"port 4500 is in use by python3\S* \(process {squatter.process.pid}\)", text), text
    squatter.process.stop(signal.SIGKILL)
    lab.a.start_service("tunnel-agent")
    lab.a.wait_up()
    wait_for(lambda: lab.a.route_to(B.host) == A.tunnel, 5, "the route through the tunnel that is made anew")
    assert lab.ping(1) == 1


@pytest.mark.parametrize("kind", ["SOCK_DGRAM", "SOCK_STREAM"])
def test_taken_sip_port_names_the_process(make_lab, kind):
    """The service runs, its line does not, and `show` says who has 5060. Once the port is free the line registers."""
    settings = Settings(transport="{ udp, tcp }")
    settings.timers["register-retry"] = 1
    lab = make_lab(a=settings)
    lab.a.stop(signal.SIGTERM, ["sip-agent"])
    squatter = Squatter(lab.workspace, lab.a.space, kind, A.wan, 5060)
    lab.a.start_service("sip-agent")

    wanted = rf"port 5060 is in use by python3\S* \(process {squatter.process.pid}\)"
    wait_for(lambda: re.search(wanted, lab.a.cli("show", "vpn-sip", "registration-status", check=False)), 5, f"{wanted} in show",
             interval=0.2)
    assert re.search(wanted, lab.a.log("sip-agent")), lab.a.log("sip-agent")
    squatter.process.stop(signal.SIGKILL)
    lab.wait_registered(seconds=10)
    assert lab.ping(1) == 1


@pytest.mark.parametrize("name", SERVICES)
def test_check_only(lab, name, tmp_path):
    """-n: 0 and silent for a good file; 1 and file:line, with a suggestion, for a bad one. The running service does not notice."""
    space, argv = lab.a.space, [program(name), "-n", "-c"]

    def check(path):
        done = subprocess.run(list(map(str, space.command(*argv, path))), capture_output=True, text=True, timeout=5)
        return done.returncode, done.stdout + done.stderr

    status, text = check(lab.a.config_file)
    assert status == 0 and "error" not in text, text
    bad = tmp_path / "bad.conf"
    lines = lab.a.config_file.read_text().splitlines()
    number = next(index for index, line in enumerate(lines) if "bandwidth" in line)
    lines[number] = lines[number].replace("bandwidth", "bandwith")
    bad.write_text("\n".join(lines) + "\n")
    status, text = check(bad)
    assert status == 1
    assert f"bad.conf:{number + 1}: " in text and "bandwidth" in text, text
    assert lab.a.processes[name].running()


def traffic_flows(lab, source="a"):
    return lab.ping(2, interval=0.1, wait=3, source=source) == 2


def invite_count(lab):
    return len({message.call_id for capture in lab.wan.values() for message in sip_messages(capture.packets())
                if message.start_line.startswith("INVITE ")})


def bye_count(lab):
    return len({message.call_id for capture in lab.wan.values() for message in sip_messages(capture.packets())
                if message.start_line.startswith("BYE ")})


def rules(space):
    """The rule set without what packets change: on the kernel data plane they go on."""
    return re.sub(r"packets \d+ bytes \d+|timeout \S+ expires \S+", "", space.run("nft", "list", "ruleset"))


def test_sigterm_leaves_and_does_not_hang_up(lab):
    """Each service leaves within a second, also when told twice; call, routes, rules stay; no BYE, no IKE DELETE."""
    keeper = lab.start_ping(0.2)  # against the idle timer
    lab.wait_up()
    routes = lab.a.space.ip("route", "show", "table", "all", "proto", "56")
    ruleset = rules(lab.a.space)
    began = time.monotonic()
    for process in lab.a.processes.values():
        process.signal(signal.SIGTERM)
    for _ in range(20):
        for process in lab.a.processes.values():
            process.signal(signal.SIGTERM)
        time.sleep(0.01)
    statuses = {name: process.end() for name, process in lab.a.processes.items()}
    assert time.monotonic() - began < LEAVE_LIMIT_SECONDS
    assert statuses == dict.fromkeys(SERVICES, 0)
    time.sleep(0.5)
    assert bye_count(lab) == 0 and len(lab.carrier.open_dialogs()) == 1
    informational = [packet for packet in lab.wan["a"].packets() if packet.is_ike and packet.src == A.wan and packet.payload[22] == 37]
    assert not informational, "an IKE DELETE (or DPD) of a service that leaves"
    left = lab.a.space.ip("route", "show", "table", "all", "proto", "56")
    assert [line for line in routes.splitlines() if A.tunnel not in line] == [line for line in left.splitlines() if A.tunnel not in line]
    assert rules(lab.a.space) == ruleset
    lab.a.start()
    lab.a.wait_up()
    wait_for(lambda: traffic_flows(lab), 20, "traffic after the return of all six")
    keeper.stop(signal.SIGINT)
    lab.wait_resting(seconds=15)
    wait_for(lambda: not lab.carrier.open_dialogs(), 5, "no call open")


@pytest.mark.parametrize("name", SERVICES)
def test_one_service_leaves_and_returns(lab, name):
    """Traffic goes on while any one service is away, and again after its return; never two calls, never one left open."""
    keeper = lab.start_ping(0.2)
    lab.wait_up()
    process = lab.a.processes[name]
    began = time.monotonic()
    assert process.stop(signal.SIGTERM) == 0
    assert time.monotonic() - began < LEAVE_LIMIT_SECONDS
    if name != "tunnel-agent":  # the user-space data plane is that process
        assert traffic_flows(lab)
    assert bye_count(lab) == 0 and len(lab.carrier.open_dialogs()) == 1
    lab.a.start_service(name)
    lab.a.wait_up()
    wait_for(lambda: traffic_flows(lab), 15, f"traffic after the return of {name}")
    lab.wait_up()
    assert len(lab.carrier.open_dialogs()) == 1
    keeper.stop(signal.SIGINT)
    lab.wait_resting()
    calls, records = invite_count(lab), lab.carrier.call_records()
    assert len(records) == calls, "each call is ended and accounted"


def test_shutdown_hangs_up_and_ends_the_registration(lab):
    """`vpnsip shutdown`: BYE, unregistered, and no packet calls any more."""
    assert lab.ping(1) == 1
    lab.wait_up()
    lab.a.cli("shutdown")
    assert bye_count(lab) == 1
    wait_for(lambda: not lab.carrier.open_dialogs(), 2, "no call open")
    wait_for(lambda: set(lab.carrier.registered()) == {B.number}, 2, "A unregistered")
    (record,) = wait_for(lab.carrier.call_records, 3, "the accounting record")
    assert record["caller"] == A.number
    before = invite_count(lab)
    assert lab.ping(3, interval=0.3, wait=1) == 0
    assert invite_count(lab) == before
