#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/troubleshooting.md and docs/sip-codes.md explain causes that the services really give: each one stands in their source."""

import re
import sys
from pathlib import Path

root = Path(sys.argv[1])
source = "".join(path.read_text() for path in sorted((root / "services").rglob("*.c")))
# Adjacent string literals are one text.
source = re.sub(r'"\s*\n\s*"', "", source)
missing = count = 0
for name in ("troubleshooting", "sip-codes"):
    page = (root / f"docs/{name}.md").read_text()
    causes = re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE)
    count += len(causes)
    for cause in causes:
        if cause not in source:
            print(f"docs/{name}.md: no service says: {cause}")
            missing += 1
print(f"{count} causes checked")
sys.exit(bool(missing) or not count)
