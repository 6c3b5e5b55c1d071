# SPDX-License-Identifier: GPL-3.0-or-later
"""deploy/demo: its verdicts, its figures, what it leaves with --keep, what it leaves when interrupted (nothing)."""

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from vpnlab.checks import machine_leftovers
from vpnlab.namespaces import LABS, wait_for
from vpnlab.router import ROOT, program

DEMO = ROOT / "deploy/demo"


@pytest.fixture
def environment():
    """The demo on the programs under test, without set-up and build."""
    return {**os.environ, "VPNSIP_BUILD": os.environ.get("VPNSIP_BUILD", str(ROOT / "build/release")), "PYTHONUNBUFFERED": "1"}


def kept_prefix(text):
    return re.search(r"ip netns exec (vl\d+)-", text)[1]


@pytest.mark.slow
def test_story_holds_and_keep_keeps(environment, tmp_path):
    assert program("vpnsip")
    figures_file = tmp_path / "figures.json"
    done = subprocess.run([DEMO, "--keep", "--json", figures_file], env=environment, capture_output=True, text=True, timeout=120)
    print(done.stdout + done.stderr)
    prefix = kept_prefix(done.stdout)
    try:
        assert done.returncode == 0
        figures = json.loads(figures_file.read_text())
        assert figures["verdict"] == "held"
        assert figures["pings_lost"] == figures["clear_packets_on_wan"] == figures["leftovers"] == 0
        assert figures["sip_invites"] == figures["sip_byes"] == 1
        assert figures["esp_packets_on_wan"] > 0 and figures["pings_sent"] > 50
        assert 0 < figures["trigger_to_first_reply_ms"] < figures["failover_ms"] < 5000
        assert machine_leftovers(prefix), "--keep leaves the lab up"
        answer = subprocess.run(["ip", "netns", "exec", f"{prefix}-ha", "ping", "-c1", "-W5", "10.2.0.2"], stdout=subprocess.DEVNULL)
        assert answer.returncode == 0
    finally:
        subprocess.run([DEMO, "down", prefix], check=True)  # and no lab that somebody else has kept
    assert not machine_leftovers(prefix) and not (LABS / prefix).exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
def test_interrupted_leaves_nothing(environment, number, tmp_path):
    log = tmp_path / "demo.log"
    with open(log, "w") as output:
        demo = subprocess.Popen([DEMO], env=environment, stdout=output, stderr=output)
    owned = wait_for(lambda: [path.parent.name for path in LABS.glob("*/owner") if path.read_text().split()[:1] == [str(demo.pid)]], 10,
                     "the demo's lab")
    time.sleep(2)
    demo.send_signal(number)
    assert demo.wait(20) == (130 if number == signal.SIGINT else 143), log.read_text()
    assert not machine_leftovers(owned[0]) and not Path(LABS / owned[0]).exists()


@pytest.mark.slow
def test_story_that_does_not_hold_says_so(environment, tmp_path):
    """Without a carrier there is no call: exit status 1, what is wrong, the figures of what did happen, nothing left."""
    log, figures_file = tmp_path / "demo.log", tmp_path / "figures.json"
    with open(log, "w") as output:
        demo = subprocess.Popen([DEMO, "--json", figures_file], env=environment, stdout=output, stderr=output)
    wait_for(lambda: "pings host B" in log.read_text(), 20, "the story's second chapter", interval=0.05)
    (owned,) = [path.parent for path in LABS.glob("*/owner") if path.read_text().split()[:1] == [str(demo.pid)]]
    os.killpg(int((owned / "carrier/pid").read_text()), signal.SIGKILL)
    assert demo.wait(60) == 1, log.read_text()
    text, figures = log.read_text(), json.loads(figures_file.read_text())
    assert "the story did not hold" in text and "WRONG: " in text
    assert figures["verdict"] == "failed" and figures["wrong"]
    assert figures["pings_lost"] > 0 and figures["failover_ms"] is None
    assert figures["esp_packets_on_wan"] == figures["clear_packets_on_wan"] == 0
    assert not machine_leftovers(owned.name)
