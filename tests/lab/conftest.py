# SPDX-License-Identifier: GPL-3.0-or-later
"""The fixtures are in vpnlab/fixtures.py, for tests of other folders start labs too."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.dont_write_bytecode = True

from vpnlab.fixtures import *  # noqa: E402, F403
