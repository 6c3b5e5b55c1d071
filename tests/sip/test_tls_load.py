# SPDX-License-Identifier: GPL-3.0-or-later
"""TLS connections opened and closed by the thousand: no memory stays behind. Without our mending of sofia-sip it does."""

from pathlib import Path

import pytest

from certificates import Authority
from tls_scene import Scene, WAN
from vpnlab.namespaces import wait_for
from vpnlab.router import program
from vpnlab.topology import CARRIER

FLOOD = Path(__file__).with_name("tls_flood.py")
WARM_UP = 300  # connections after which what is kept once has been allocated
LIMIT_KB = 2.0  # for each connection


@pytest.fixture
def scene():
    one = Scene()
    authority = one.one_authority()
    Authority("another root").issue(one.carrier_dir, "rogue", [CARRIER])
    # what the bare library reads
    for name in ("agent.pem", "agent.key"):
        with open(one.carrier_dir / "bare.pem", "ab") as bare:
            bare.write((one.dir / name).read_bytes())
    bare = one.dir / "bare"
    bare.mkdir()
    (one.carrier_dir / "bare.pem").rename(bare / "agent.pem")
    (bare / "cafile.pem").write_bytes((one.dir / "roots.pem").read_bytes())
    del authority
    yield one
    one.close()


def flood(scene, count):
    text = scene.space.run("/usr/bin/python3", FLOOD, WAN, CARRIER, count, scene.carrier_dir, timeout=280)
    return {kind: int(number) for kind, number in (word.split("=") for word in text.split())}


def rss_kb(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


def growth(scene, pid, count):
    """Kilobytes that stay for each connection, and what came up."""
    flood(scene, WARM_UP)
    before = rss_kb(pid)
    up = flood(scene, count)
    return (rss_kb(pid) - before) / count, up


def measure(scene, count, tell):
    scene.start()
    wait_for(lambda: scene.show("sip-ua", "status")["lines"][0]["listens_tls"], 5, "TLS port")
    kept, up = growth(scene, scene.agent.pid, count)
    tell(f"{count} TLS connections: {kept:.2f} kB kept for each, {up}")
    assert up == {"complete": (count + 2) // 3, "aborted": 0, "rejected": 0}
    assert kept < LIMIT_KB
    wait_for(lambda: scene.connections()["active"] <= 1, 8, "no connection left")


@pytest.mark.slow
def test_no_memory_stays(scene, tell):
    measure(scene, 1500, tell)


@pytest.mark.slow
@pytest.mark.long
def test_no_memory_stays_long(scene, tell):
    measure(scene, 10000, tell)


@pytest.mark.slow
def test_bare_library_keeps_every_connection(scene, tell):
    """The control: the same connections to the library without our functions."""
    bare = scene.workspace.start(scene.space.command(program("tls_control"), WAN, scene.dir / "bare"), "bare.log")
    wait_for(lambda: "started" in bare.log.read_text(), 5, "the bare user agent")
    kept, up = growth(scene, bare.pid, 600)
    tell(f"bare sofia-sip: {kept:.1f} kB kept for each of 600 TLS connections, {up}")
    assert kept > 10 * LIMIT_KB
