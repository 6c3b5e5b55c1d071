# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's fixtures (tests/lab/vpnlab/fixtures.py)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "lab"))
sys.path.insert(0, str(Path(__file__).parent))
sys.dont_write_bytecode = True

from vpnlab.fixtures import *  # noqa: E402, F403
