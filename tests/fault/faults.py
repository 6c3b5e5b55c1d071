# SPDX-License-Identifier: GPL-3.0-or-later
"""Orders of faults to a running service, by `vpnsip debug SERVICE fault`."""

import json
import zlib

DELAY_MSEC = 500
seed = 1  # of the whole run: which octet is corrupted


def status(router, service):
    return json.loads(router.cli("debug", service, "faults", "--json"))


def order(router, case):
    """One fault, once, at the case's message. Returns what was_injected() needs."""
    message = case.message
    words = ["debug", case.service, "fault", message.point, case.fault, message.body, "--count", 1,
             "--seed", (seed ^ zlib.crc32(case.name.encode())) or 1]
    if message.peer:
        words += ["--peer", message.peer]
    if message.skip:
        words += ["--skip", message.skip]
    if case.fault == "delay":
        words += ["--delay", DELAY_MSEC]
    router.cli(*words)
    return router.supervisor.restarts[case.service]


def was_injected(router, case, restarts):
    if case.fault == "kill":
        return router.supervisor.restarts[case.service] > restarts
    return any(fault["injected"] for fault in status(router, case.service)["faults"])


def clear(router, service):
    router.cli("debug", service, "fault", "clear", check=False)
