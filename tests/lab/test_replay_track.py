# SPDX-License-Identifier: GPL-3.0-or-later
"""A recorded run of track-agent, fed to its core alone, gives the same outputs; with another configuration it does not."""

import subprocess
import time

import pytest
from agents_parts import AgentBox
from vpnlab.namespaces import wait_for
from vpnlab.router import program


@pytest.fixture
def box():
    made = AgentBox([])
    yield made
    made.close()


def replay(box, configuration, recording):
    return subprocess.run([program("track-agent"), "-c", configuration, "--replay", recording], capture_output=True, text=True, timeout=20, check=False)


def test_recorded_core_gives_the_same_outputs(box):
    configuration = box.workspace.dir / "vpnsip.conf"
    process = box.workspace.start(box.router.command(
        program("track-agent"), "-c", configuration, "--run-dir", box.workspace.dir / "run", "--state-dir", box.workspace.dir / "state",
        "--record", "tracks"), "track-agent.log")
    wait_for(lambda: "track 1 (icmp-echo 192.0.2.20): up" in box.log("track-agent"), 3, "the track is up")
    box.far.ip("link", "set", "prim0", "down")
    wait_for(lambda: "down" in box.log("track-agent"), 3, "the track is down")
    box.far.ip("link", "set", "prim0", "up")
    time.sleep(1.5)
    assert process.stop() == 0
    recording = box.workspace.dir / "state/track-agent/tracks.record"

    done = replay(box, configuration, recording)
    assert done.returncode == 0, done.stdout + done.stderr
    inputs = int(done.stdout.split("replayed ")[1].split()[0])
    assert inputs > 20 and " 0 differences" in done.stdout

    other = box.workspace.dir / "other.conf"
    other.write_text(configuration.read_text().replace("track 1 { sla = 1 }", "track 1 { sla = 1  down-count = 3 }"))
    done = replay(box, other, recording)
    assert done.returncode == 1 and "output of core" in done.stdout, "control: another core gives other outputs"
