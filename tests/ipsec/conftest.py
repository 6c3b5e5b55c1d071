# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's fixtures (tests/lab/vpnlab/fixtures.py); helpers of tests/sip may be imported too."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "lab"))
sys.path.insert(0, str(Path(__file__).parent))
sys.path.append(str(Path(__file__).parents[1] / "sip"))
sys.dont_write_bytecode = True

import pytest  # noqa: E402
from esp_pair import Pair  # noqa: E402
from vpnlab.fixtures import *  # noqa: E402, F403


@pytest.fixture
def make():
    """Makes pairs of tunnel-agents, which end with the test."""
    made = []

    def maker(profile="", **options):
        made.append(Pair(profile=profile, **options))
        return made[-1]

    yield maker
    for pair in made:
        pair.close()
