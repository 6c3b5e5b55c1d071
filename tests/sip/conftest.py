# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's fixtures (tests/lab/vpnlab/fixtures.py), and what is shown of a run: `tell`."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "lab"))
sys.path.insert(0, str(Path(__file__).parent))
sys.dont_write_bytecode = True

from vpnlab import fixtures  # noqa: E402
from vpnlab.fixtures import *  # noqa: E402, F403


def pytest_configure(config):
    fixtures.pytest_configure(config)
    config.addinivalue_line("markers", "long: only with VPNSIP_LONG=1 (tests/run sip --long); in CI its siblings stand for it")


def pytest_runtest_setup(item):
    if item.get_closest_marker("long") and not fixtures.LONG:
        pytest.skip("only with --long")


@pytest.fixture
def tell(record_property):
    """tell("100 of 100 answered") shows a figure of this test at the end of the run, also when it passed."""
    return lambda text: record_property("figure", text)


def pytest_terminal_summary(terminalreporter):
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            for name, text in report.user_properties if report.when == "call" else ():
                if name == "figure":
                    terminalreporter.write_line(f"| {report.nodeid.rpartition('::')[2]}: {text}")
