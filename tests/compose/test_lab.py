# SPDX-License-Identifier: GPL-3.0-or-later
"""compose.lab.yaml on a real engine: the story, how each process is confined, what its death costs, what stays.

The tests build on each other, in this order.
"""

import os
import time
from collections import namedtuple
from pathlib import Path

import pytest

from conftest import Timed, timings
from engine import BASE, docker, inspect, run, say
from project import GROUP, ONLY_TO_START, SERVICES, mask, status_fields, wait_for
from vpnlab.capture import classify_wan, read_packets, sip_messages
from vpnlab.checks import qdiscs, translations

OUR_LAYERS_LIMIT_MB = 100
ECHO_REQUEST, ECHO_REPLY = 8, 0
PING_INTERVAL = 0.1
CARRIER, WAN = "198.51.100.34", {"a": "198.51.100.2", "b": "198.51.100.18"}
WITHOUT_NETWORK = {"coordinator", "ike-agent"}
ROOT_CAPABILITIES = {"SETUID", "SETGID", "CHOWN"}

# What the death of each process may cost a running call: pings lost at 10/s, and seconds until it answers again.
# The engine starts a dead container again after 0.1 s and takes some tenths of a second for it. User-space SAs die
# with tunnel-agent, so its figure is the time that it takes to make new ones.
Cost = namedtuple("Cost", "pings_lost back_seconds")
COSTS = {
    "coordinator": Cost(0, 6),
    "sip-agent": Cost(0, 6),
    "ike-agent": Cost(1, 6),
    "tunnel-agent": Cost(15, 6),
    "track-agent": Cost(0, 6),
    "nat-qos-agent": Cost(0, 6),
}


class Space:
    """A container's network namespace, as vpnlab's checks want it."""

    def __init__(self, lab, service):
        self.pid = lab.pid(service)

    def run(self, *words, check=True):
        return run(["nsenter", f"--net=/proc/{self.pid}/ns/net", *words], check=check)


def capture(lab, name, since=0):
    return [packet for packet in read_packets(lab.volume("captures") / f"{name}.pcap") if packet.time >= since]


def lost_pings(lab, since, until):
    """The requests of host A in that time that were never answered."""
    packets = capture(lab, "host-a", since)
    answered = {packet.echo for packet in packets if packet.icmp_type == ECHO_REPLY}
    return [packet for packet in packets if packet.icmp_type == ECHO_REQUEST and packet.time < until and packet.echo not in answered]


def replies(lab, since):
    return [packet for packet in capture(lab, "host-a", since) if packet.icmp_type == ECHO_REPLY]


def invites(lab, since):
    return {message.call_id for message in sip_messages(capture(lab, "wan-a", since) + capture(lab, "wan-b", since))
            if message.start_line.startswith("INVITE ")}


def open_dialogs(lab):
    listed = lab.exec("carrier", "kamcmd", "-s", "unix:/carrier/ctl", "dlg.list")
    return [line for line in listed.splitlines() if "state:" in line and not line.strip().endswith(" 5")]


def primary_rules(lab, verb):
    for interface in ("prim-a", "prim-b"):
        lab.exec("wires", "ip", "rule", verb, "priority", "10", "iif", interface, "blackhole")


@pytest.fixture(scope="module")
def call(lab):
    """A call that carries pings: the primary is cut, host A pings host B ten times a second."""
    begun = time.time()
    primary_rules(lab, "add")
    (lab.volume("captures") / "ping").touch()
    for router in "ab":
        wait_for(lambda: lab.session(router).get("status") == "SESSION_UP", 20, f"router {router}: SESSION_UP")
    wait_for(lambda: len(replies(lab, begun)) > 10, 10, "ten pings through the tunnel")
    return begun


def test_our_layers_are_small(lab_project):
    image, base = inspect("vpnsip", BASE)
    ours = (image["Size"] - base["Size"]) / 1e6
    timings.append((f"our layers: {ours:.1f} MB on top of {base['Size'] / 1e6:.0f} MB", 0))
    assert ours < OUR_LAYERS_LIMIT_MB


def test_the_story_holds(lab):
    with Timed("story"):
        status = docker("wait", lab.container("story"), timeout=150).strip()
    told = lab.log("story")
    say(f"the story:\n{told}")
    assert status == "0", told


def excesses(pid, service):
    """What any thread of the process is or may more than the table of SERVICES says; empty = confined."""
    uid, capabilities = SERVICES[service]
    own, at_start = mask(capabilities), mask(capabilities | ROOT_CAPABILITIES | ONLY_TO_START.get(service, set()))
    found = []
    for thread in sorted(Path(f"/proc/{pid}/task").iterdir()):
        fields = status_fields(thread / "status")
        wanted = {"Uid": [str(uid)] * 4, "Gid": [str(GROUP)] * 4, "NoNewPrivs": ["1"], "Seccomp": ["2"]}
        found += [f"{name}: {fields[name]}" for name, value in wanted.items() if fields[name].split() != value]
        if fields["Groups"].split() not in ([], [str(GROUP)]):
            found.append(f"Groups: {fields['Groups']}")
        for name, allowed in {"CapEff": own, "CapPrm": own, "CapAmb": 0, "CapInh": at_start, "CapBnd": at_start}.items():
            if int(fields[name], 16) & ~allowed:
                found.append(f"{name}: {fields[name]}")
        if int(fields["CapEff"], 16) != own:
            found.append(f"CapEff: {fields['CapEff']} is not {own:x}")
    return found


def writable(container):
    """The folders of its image that a container can write to."""
    said = docker("exec", container, "sh", "-c", "for dir in /root /usr /etc; do touch $dir/x 2>/dev/null && echo $dir; done; true")
    return said.split()


@pytest.fixture
def careless(lab_project):
    """A container of the same image as an engine makes it by default: the control of what follows."""
    container = docker("run", "-d", "--rm", "--network", "none", "vpnsip", "sleep", "60").strip()
    yield container
    docker("rm", "-f", container)


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("router", "ab")
def test_each_process_is_confined(lab, router, service):
    name = f"{router}-{service}"
    pid = lab.pid(name)
    assert excesses(pid, service) == []
    if service in WITHOUT_NETWORK:
        links = Space(lab, name).run("ip", "-br", "link")
        assert [line.split()[0] for line in links.splitlines()] == ["lo"]
    else:
        assert os.readlink(f"/proc/{pid}/ns/net") == os.readlink(f"/proc/{lab.pid(f'{router}-net')}/ns/net")


@pytest.mark.parametrize("service", ["net", *SERVICES])
def test_roots_are_read_only(lab, service):
    name = f"a-{service}"
    assert writable(lab.container(name)) == []
    mounts = [line.split() for line in Path(f"/proc/{lab.pid(name)}/mounts").read_text().splitlines()]
    assert next(mount for mount in mounts if mount[1] == "/")[3].startswith("ro,")


def test_a_careless_container_is_found(careless):
    pid = inspect(careless)[0]["State"]["Pid"]
    found = {line.split(":")[0] for line in excesses(pid, "sip-agent")}
    assert {"Uid", "Gid", "NoNewPrivs", "CapEff", "CapBnd"} <= found
    assert writable(careless) == ["/root", "/usr", "/etc"]


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("router", "ab")
def test_a_killed_process_comes_back(lab, call, router, service):
    """Its container is started again by its policy; the call goes on, and the pings with it."""
    name, cost = f"{router}-{service}", COSTS[service]
    before, restarts = lab.pid(name), lab.state(name)["RestartCount"]
    dialogs = open_dialogs(lab)
    killed = time.time()
    lab.kill(name)
    wait_for(lambda: lab.pid(name) not in (0, before), 5, f"{name}: started again")
    wait_for(lambda: list(lab.health(router).values()) == ["up"] * 6, cost.back_seconds, f"{name}: answers again")
    back = time.time() - killed
    for site in "ab":
        wait_for(lambda: lab.session(site).get("status") == "SESSION_UP", 10, f"router {site}: SESSION_UP")
    settled = time.time()
    wait_for(lambda: len(replies(lab, settled)) >= 10, 10, "pings through the tunnel again")
    lost = lost_pings(lab, killed, time.time() - 0.5)
    timings.append((f"{name} killed: {len(lost)} pings lost, answers again after", back))
    assert lab.state(name)["RestartCount"] == restarts + 1
    assert len(lost) <= cost.pings_lost, f"{len(lost)} pings lost, {cost.pings_lost} are allowed"
    assert open_dialogs(lab) == dialogs and len(invites(lab, call)) == 1, "it is another call"


def test_stopped_containers_leave_the_call_up(lab, call):
    """SIGTERM hangs nothing up: that is what `vpnsip shutdown` is for."""
    dialogs = open_dialogs(lab)
    lab.compose("stop", "a-sip-agent", "a-coordinator")
    time.sleep(1)
    assert open_dialogs(lab) == dialogs and len(dialogs) == 1
    lab.compose("start", "a-sip-agent", "a-coordinator")
    wait_for(lambda: lab.session("a").get("status") == "SESSION_UP", 20, "router a: SESSION_UP")
    assert open_dialogs(lab) == dialogs


def test_shutdown_ends_the_call(lab, call):
    (lab.volume("captures") / "ping").unlink()
    lab.exec("a-coordinator", "vpnsip", "shutdown")
    wait_for(lambda: not open_dialogs(lab), 10, "no call open at the carrier")


def test_no_clear_packet_on_the_wan(lab, call):
    for router in "ab":
        classes, clear = classify_wan(capture(lab, f"wan-{router}"), carrier=CARRIER)
        assert classes["esp"] > 100 and not clear, [str(packet) for packet in clear[:10]]


def test_a_session_leaves_nothing(lab, call):
    primary_rules(lab, "del")
    for router in "ab":
        space = Space(lab, f"{router}-net")
        wait_for(lambda: not translations(space) and not qdiscs(space), 10, f"router {router}: no translation, no qdisc")


def test_down_leaves_nothing(lab, host):
    namespaces = {os.readlink(f"/proc/{lab.pid(name)}/ns/net") for name in ("a-net", "b-net", "wires", "a-ike-agent")}
    lab.down()
    assert lab.leftovers() == []
    # The kernel takes the links of a namespace away some time after its last process, on a busy machine many seconds.
    try:
        wait_for(lambda: not host.added(), 60, "links and tables of the engine gone", interval=0.5)
    except AssertionError as failure:
        raise AssertionError(f"{failure}: {host.added()}") from None
    listed = run(["lsns", "-t", "net", "-n", "-o", "NS"]).split()
    assert not namespaces & {f"net:[{number}]" for number in listed}
