# SPDX-License-Identifier: GPL-3.0-or-later
"""compose.yaml, one router on interfaces of its host (macvlan), by the steps that docs/containers.md gives."""

import contextlib
import os
import re
import shutil

import pytest

from conftest import Timed
from engine import ROOT, find_compose, run
from project import SERVICES, Project, wait_for

PORTS = {"LAN": "vct-lan", "PRIMARY": "vct-prim", "BACKUP": "vct-wan"}


@contextlib.contextmanager
def host_interfaces():
    """Three Ethernet ports for the macvlan networks; the far ends stand for what they are plugged into."""
    for port in PORTS.values():
        run(["ip", "link", "del", port], check=False)
        run(["ip", "link", "add", port, "type", "veth", "peer", "name", f"{port}-far"])
        for end in (port, f"{port}-far"):
            run(["ip", "link", "set", end, "up"])
    try:
        yield
    finally:
        for port in PORTS.values():
            run(["ip", "link", "del", port], check=False)


def write_configuration(folder):
    """The example of a branch, with the names that its interfaces have in the container and the paths of its secrets."""
    text = (ROOT / "deploy/examples/branch.conf").read_text()
    for old, new in (('"eth0"', '"prim0"'), ('"eth1"', '"wan0"'), ("/etc/vpnsip/ike.keyring", "/run/secrets/ike.keyring"),
                     ("/etc/vpnsip/sip.password", "/run/secrets/sip.password")):
        assert old in text
        text = text.replace(old, new)
    (folder / "vpnsip.conf").write_text(text)
    shutil.copy(ROOT / "deploy/examples/ike.keyring", folder / "ike.keyring")
    (folder / "sip.password").write_text("secret\n")
    for name, uid in (("ike.keyring", SERVICES["ike-agent"][0]), ("sip.password", SERVICES["sip-agent"][0])):
        os.chmod(folder / name, 0o400)
        os.chown(folder / name, uid, 0)
    environment = (ROOT / "deploy/container/router.env").read_text()
    for variable, port in PORTS.items():
        environment = re.sub(rf"^{variable}_INTERFACE=.*", f"{variable}_INTERFACE={port}", environment, flags=re.M)
    environment = re.sub(r"^VPNSIP_CONFIGURATION=.*", f"VPNSIP_CONFIGURATION={folder}", environment, flags=re.M)
    (folder / "env").write_text(environment)


@pytest.fixture
def router(engine, lab_project, tmp_path):
    """One router, up. Its images are those of the lab."""
    write_configuration(tmp_path)
    project = Project(engine, "vpnsip-router-test", "compose.yaml", "--env-file", tmp_path / "env")
    project.down()
    with host_interfaces():
        with Timed("one router up"):
            project.compose("up", "-d", "--no-build")
        try:
            yield project
        finally:
            project.down()
    assert project.leftovers() == []


def test_the_leases_are_shown_to_sip_agent_alone(tmp_path):
    """compose.yaml with compose.dhcp.yaml: the host's folder, read-only, behind the sockets' volume; nobody else gets it."""
    write_configuration(tmp_path)
    (tmp_path / "leases").mkdir()
    files = ("-f", ROOT / "deploy/compose.yaml", "-f", ROOT / "deploy/compose.dhcp.yaml")
    with (tmp_path / "env").open("a") as environment:
        environment.write(f"VPNSIP_LEASES={tmp_path}/leases\n")
    text = run([*find_compose(), "--env-file", tmp_path / "env", *files, "config"])
    section = re.search(r"^services:\n((?: .*\n)+)", text, re.M)[1]
    services = dict(re.findall(r"^  ([a-z-]+):\n((?:    .*\n)+)", section, re.M))
    assert set(services) == {"net", *SERVICES}
    sharing = {name for name, words in services.items() if "/run/vpnsip/dhcp" in words}
    assert sharing == {"sip-agent"}
    mount = re.search(rf"{tmp_path}/leases:/run/vpnsip/dhcp:ro|source: {tmp_path}/leases\n +target: /run/vpnsip/dhcp\n +read_only: true",
                      services["sip-agent"])
    assert mount, services["sip-agent"]
    assert "/run/vpnsip" in services["sip-agent"].replace("/run/vpnsip/dhcp", "") and "/var/lib/vpnsip" in services["sip-agent"]


def health(router):
    """Whether each service is up, as its own health check found it."""
    return {service: router.state(service)["State"]["Health"]["Status"] for service in SERVICES}


def test_a_router_from_compose_yaml(router):
    wait_for(lambda: set(health(router).values()) == {"healthy"}, 30, "every service healthy")
    links = router.exec("net", "ip", "-o", "-4", "address")
    for name, address in (("lan0", "10.1.1.1/24"), ("prim0", "192.0.2.10/24"), ("wan0", "198.51.100.10/24"), ("lo", "10.255.0.1/32")):
        assert re.search(rf" {name} +inet {re.escape(address)}", links), links
    assert router.exec("sip-agent", "cat", "/run/secrets/sip.password", check=False) == "", "root of the container reads the secret"
    assert "secret" in router.compose("exec", "-T", "-u", "vpnsip-sip", "sip-agent", "cat", "/run/secrets/sip.password")
    assert "vpnsip" in router.exec("nat-qos-agent", "vpnsip", "show", "running-config")
    assert "not kept from local programs" not in router.log("nat-qos-agent"), "net has not reserved the session ports"


def test_one_service_is_upgraded_alone(router):
    """A new container of sip-agent; the others are not touched."""
    wait_for(lambda: set(health(router).values()) == {"healthy"}, 30, "every service healthy")
    before = {service: router.container(service) for service in SERVICES}
    router.compose("up", "-d", "--no-build", "--no-deps", "--force-recreate", "sip-agent")
    after = {service: router.container(service) for service in SERVICES}
    assert [service for service in SERVICES if before[service] != after[service]] == ["sip-agent"]
    wait_for(lambda: set(health(router).values()) == {"healthy"}, 30, "every service healthy again")
