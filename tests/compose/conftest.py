# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine, the images and the lab, each made once and taken away after the last test."""

import sys
import time
from pathlib import Path

import pytest

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "lab"))

from engine import ROOT, Engine, HostState, docker, say  # noqa: E402
from project import Project  # noqa: E402

timings = []


class Timed:
    """Measures what is done inside a `with` and tells it at the end of the run."""

    def __init__(self, what):
        self.what = what

    def __enter__(self):
        say(f"{self.what} ...")
        self.began = time.monotonic()

    def __exit__(self, *_):
        timings.append((self.what, time.monotonic() - self.began))


def pytest_terminal_summary(terminalreporter):
    for what, seconds in timings:
        terminalreporter.write_line(f"{what:50} {seconds:6.1f} s")


@pytest.fixture(scope="session")
def engine():
    with Timed("engine and base image"):
        engine = Engine()
    yield engine
    with Timed("engine ended"):
        engine.close()


@pytest.fixture(scope="session")
def host(engine):
    """What the host looked like before the first container."""
    return HostState()


def forget_older_builds():
    """Keeps the build stage that was just used, for the next time, and removes those of older sources: 1 GB each."""
    docker("build", "-q", "-f", ROOT / "deploy/Dockerfile", "--target", "build", "-t", "vpnsip-build", ROOT, timeout=900)
    for label in ("vpnsip=build", "vpnsip=image"):
        docker("image", "prune", "-f", "--filter", f"label={label}")


@pytest.fixture(scope="session")
def lab_project(engine, host):
    """The lab with its images built, not yet up. What an interrupted run left is taken down first."""
    project = Project(engine, "vpnsip-test", "compose.lab.yaml")
    project.down()
    with Timed("building both images"):
        project.compose("build", timeout=900)
        forget_older_builds()
    yield project
    with Timed("lab down"):
        project.down()


@pytest.fixture(scope="session")
def lab(lab_project):
    """The lab after its story."""
    with Timed("lab up"):
        lab_project.compose("up", "-d", "--no-build")
    return lab_project
