#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/troubleshooting.md explains causes that the services really give: each one stands in their source."""

import re
import sys
from pathlib import Path

root = Path(sys.argv[1])
source = "".join(path.read_text() for path in sorted((root / "services").rglob("*.c")))
# Adjacent string literals are one text.
source = re.sub(r'"\s*\n\s*"', "", source)
page = (root / "docs/troubleshooting.md").read_text()
causes = re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE)
missing = [cause for cause in causes if cause not in source]
for cause in missing:
    print(f"docs/troubleshooting.md: no service says: {cause}")
print(f"{len(causes)} causes checked")
sys.exit(bool(missing) or not causes)
