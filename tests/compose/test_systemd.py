# SPDX-License-Identifier: GPL-3.0-or-later
"""deploy/systemd: units that systemd accepts, with the users and capabilities that the containers have."""

import os
import re
import shutil
import subprocess

import pytest

from engine import ROOT
from project import ONLY_TO_START, SERVICES

UNITS = ROOT / "deploy/systemd"


def settings(path):
    """{name: value} of a unit file; of repeated names the last."""
    return dict(re.findall(r"^(\w+)=(.*)$", path.read_text(), re.M))


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
def test_systemd_accepts_the_units(tmp_path):
    """verify wants programs that exist: these stand in for the installed ones."""
    shutil.copytree(UNITS, tmp_path / "units")
    for unit in (tmp_path / "units").glob("*.service"):
        text = unit.read_text()
        for program in re.findall(r"^Exec\w+=/usr/sbin/(\S+)", text, re.M):
            stand_in = tmp_path / program
            shutil.copy("/bin/true", stand_in)
            text = text.replace(f"/usr/sbin/{program}", str(stand_in))
        unit.write_text(text)
    units = sorted(tmp_path.glob("units/vpnsip*.*e*"))
    assert len([unit for unit in units if unit.is_file()]) == len(SERVICES) + 4  # and calls, pki with its timer, and the target
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", "--recursive-errors=yes", *[unit for unit in units if unit.is_file()]],
                          capture_output=True, text=True, env={**os.environ, "SYSTEMD_LOG_LEVEL": "warning"})
    ours = [line for line in (done.stdout + done.stderr).splitlines() if "vpnsip" in line]
    assert done.returncode == 0 and not ours, done.stdout + done.stderr


@pytest.mark.parametrize("service", SERVICES)
def test_units_are_confined_as_the_containers_are(service):
    unit = settings(UNITS / f"vpnsip-{service}.service")
    wanted = {f"CAP_{name}" for name in SERVICES[service][1] | ONLY_TO_START.get(service, set())}
    assert set(unit["CapabilityBoundingSet"].split()) == wanted
    assert set(unit.get("AmbientCapabilities", "").split()) == wanted
    assert unit["RuntimeDirectory"] == unit["StateDirectory"] == f"vpnsip/{unit['ExecStart'].removeprefix('/usr/sbin/')}"
    users = re.findall(r"^\s+'\d+ (\S+) (\S+)'", (ROOT / "deploy/Dockerfile").read_text(), re.M)
    assert (unit["User"], unit["ExecStart"].removeprefix("/usr/sbin/")) in users


def test_the_target_hangs_up_first():
    """vpnsip-calls comes after every service, so it stops before any of them."""
    unit = UNITS / "vpnsip-calls.service"
    after = " ".join(re.findall(r"^After=(.*)$", unit.read_text(), re.M)).split()
    assert {f"vpnsip-{service}.service" for service in SERVICES} <= set(after)
    assert settings(unit)["ExecStop"].endswith("vpnsip shutdown")
    assert settings(UNITS / "vpnsip-.service.d/confinement.conf")["PartOf"] == "vpnsip.target"
