# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's fixtures, for tests that run inside the virtual machine."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "lab"))
sys.dont_write_bytecode = True

from vpnlab.fixtures import *  # noqa: E402, F403
