# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's fixtures, for tests that run inside the virtual machine; helpers of tests/ipsec and tests/sip may be imported too."""

import sys
from pathlib import Path

for folder in ("sip", "ipsec", "lab"):
    sys.path.insert(0, str(Path(__file__).parents[1] / folder))
sys.dont_write_bytecode = True

from vpnlab.fixtures import *  # noqa: E402, F403
