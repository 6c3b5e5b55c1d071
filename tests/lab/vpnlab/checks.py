# SPDX-License-Identifier: GPL-3.0-or-later
"""What must be gone when a session has ended: read from the kernel and the carrier, not from our services."""

import json
import re
from pathlib import Path

from .namespaces import LABS, NETNS, LabError, lab_pids, wait_for


def translations(space):
    """{map name: elements} of every non-empty map of the nft table `vpnsip`."""
    text = space.run("nft", "-j", "list", "table", "ip", "vpnsip", check=False)
    objects = json.loads(text)["nftables"] if text else []
    return {entry["map"]["name"]: entry["map"]["elem"] for entry in objects if "map" in entry and entry["map"].get("elem")}


def qdiscs(space):
    """Lines of `tc qdisc` that are ours (handle 5649:)."""
    return [line for line in space.run("tc", "qdisc", "show").splitlines() if " 5649:" in line]


def routes(space):
    """Every IPv4 route and rule, in a form that compares."""
    table = space.ip("-4", "route", "show", "table", "all")
    rules = space.ip("-4", "rule", "show")
    return sorted(re.sub(r"\s+", " ", line).strip() for line in (table + rules).splitlines())


def kernel_state(space):
    """All that the services keep in the kernel. Counters are left out: equal states compare equal."""
    return {"translations": translations(space), "qdiscs": qdiscs(space), "routes": routes(space)}


def difference(before, after):
    """Readable lines about what differs between two kernel states; empty when nothing does."""
    lines = []
    for part in before:
        if before[part] != after[part]:
            lines.append(f"{part}: before {before[part]!r}, after {after[part]!r}")
    return lines


def session_leftovers(lab, open_calls=None):
    """Lines about everything a session left behind on routers and at the carrier; empty = clean. `open_calls`: default the carrier's list."""
    found = []
    for name, router in lab.routers.items():
        space = router.space
        found += [f"router {name}: translation {key} {value}" for key, value in translations(space).items()]
        found += [f"router {name}: qdisc {line}" for line in qdiscs(space)]
        if router.processes and all(process.running() for process in router.processes.values()):
            session = router.session()
            found += [f"router {name}: SA {sa}" for sa in session.get("sas", [])]
            if session["session_status"] not in ("READY_TO_CONNECT", "HOLDDOWN"):
                found.append(f"router {name}: session {session['session_status']}")
    if lab.carrier.process and lab.carrier.process.running():
        calls = lab.carrier.open_dialogs() if open_calls is None else open_calls
        found += [f"carrier: open dialog {call_id}" for call_id in calls]
    return found


def wait_clean(lab, seconds=6):
    """Waits until no session has left anything; LabError with what is still there."""
    try:
        wait_for(lambda: not session_leftovers(lab), seconds, "leftovers gone", interval=0.1)
    except LabError:
        found = session_leftovers(lab)
        if found:
            raise AssertionError("left behind:\n" + "\n".join(found)) from None


def machine_leftovers(prefix):
    """Lines about what a closed lab left on the machine."""
    found = [f"namespace {path.name}" for path in NETNS.glob(f"{prefix}-*")] if NETNS.exists() else []
    found += [f"process {pid}" for pid in lab_pids(prefix)]
    found += [f"mount {line.split()[1]}" for line in Path("/proc/mounts").read_text().splitlines() if f"{LABS}/{prefix}" in line
              or f"{NETNS}/{prefix}-" in line]
    return found


def cause_lines(text, cause):
    """The log lines for the operator (notice and above; state changes are info) that tell a failure's cause."""
    return [line for line in text.splitlines() if cause in line and re.search(r" (notice|warning|error): ", line)]
