#!/usr/bin/python3 -B
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the death of one service costs running traffic: pings lost at ten a second, and the time to traffic again.

    tests/run killcost [--kills N] [--service NAME] [--bounds] [--json FILE]

Each service of the caller and of the callee in turn is killed under a running call; the supervisor starts it again.
Then the bounds of a bill: ten calls whose coordinator has stopped for good, and many sessions whose coordinator is killed.
"""

import argparse
import json
import multiprocessing
import signal
import statistics
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "lab")]
sys.dont_write_bytecode = True

from drive import Bench, Pings  # noqa: E402
from many import adopt_many, dead_man  # noqa: E402
from vpnlab.namespaces import LabError, wait_for  # noqa: E402

KILLS = 20
# service -> what each kill may cost: pings lost, or the median and the longest time to traffic again
LIMITS = {
    "vpnsip-coordinator": {"lost": 0},
    "sip-agent": {"lost": 0},
    "nat-qos-agent": {"lost": 0},
    "track-agent": {"lost": 0},
    "ike-agent": {"lost": 1},
    "tunnel-agent": {"seconds": 0.5, "at most": 1.0},
}
RECOVER_SECONDS = 15
LABS = 2


def kill_once(bench, router, service, pings):
    """(pings lost, seconds until an echo request sent after the kill was answered)"""
    wait_for(lambda: pings.flow() and not bench.invariants.not_up(), RECOVER_SECONDS, "a whole session with traffic")
    time.sleep(1 + pings.interval * (time.time() % 1))  # not always at the same place between two requests
    restarts = router.supervisor.restarts[service]
    moment = time.time()
    router.processes[service].signal(signal.SIGKILL)
    first = wait_for(lambda: pings.answered_since(moment), RECOVER_SECONDS, "traffic again", interval=0.01)
    wait_for(lambda: router.supervisor.restarts[service] > restarts, 5, "the restart")
    wait_for(lambda: pings.flow() and not bench.invariants.not_up(), RECOVER_SECONDS, "a whole session again")
    time.sleep(1)  # what is lost later, while the restarted one settles, is its cost too
    replies = pings.replies()
    sent = [number for number, (when, _) in replies.items() if when > moment - 2 * pings.interval]
    return max(sent) - min(sent) + 1 - len(sent), first - moment


def measure(argument):
    """All kills of one service: half of them at the caller, half at the callee."""
    service, kills = argument
    rows, why = [], ""
    bench = Bench()
    try:
        pings = Pings(bench.lab, 0.1 if "lost" in LIMITS[service] else 0.02)
        bench.lab.wait_up()
        call = bench.lab.a.session()["sip_call_id"]
        for number in range(kills):
            rows.append(kill_once(bench, bench.lab.a if number % 2 == 0 else bench.lab.b, service, pings))
        if bench.lab.a.session()["sip_call_id"] != call:
            why = "the call did not survive"
    except LabError as failure:
        why = f"kill {len(rows) + 1}: {failure}; {bench.invariants.not_up()}"
    finally:
        bench.close()
    return service, rows, why


def line(service, rows, why):
    lost, seconds = [row[0] for row in rows] or [0], [row[1] for row in rows] or [0]
    limit = LIMITS[service]
    is_good = not why and (max(lost) <= limit["lost"] if "lost" in limit else
                            statistics.median(seconds) <= limit["seconds"] and max(seconds) <= limit["at most"])
    aim = f"{limit['lost']} lost" if "lost" in limit else f"median {limit['seconds']:.1f} s, at most {limit['at most']:.1f} s"
    print(f"| {service:20} {len(rows):5} kills   lost median {statistics.median(lost):3.0f} max {max(lost):3}   traffic again median "
          f"{statistics.median(seconds):5.2f} s max {max(seconds):5.2f} s   aim {aim} {'reached' if is_good else 'MISSED'} {why}", flush=True)
    return is_good


def main():
    parser = argparse.ArgumentParser(prog="tests/run killcost", description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=KILLS)
    parser.add_argument("--service", action="append", choices=LIMITS)
    parser.add_argument("--bounds", action="store_true", help="only the bounds of a bill")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    is_good, result = True, {}
    services = [] if options.bounds else options.service or list(LIMITS)
    with multiprocessing.Pool(LABS, maxtasksperchild=1) as pool:
        for service, rows, why in pool.imap(measure, [(service, options.kills) for service in services]):
            is_good &= line(service, rows, why)
            result[service] = rows
    if options.bounds or not options.service:
        with multiprocessing.Pool(1) as pool:  # the dead-man's minute is mostly waiting
            waiting = pool.apply_async(dead_man)
            results = [adopt_many(), waiting.get()]
        for good, text in results:
            print(f"| {text}", flush=True)
            is_good &= good
    if options.json:
        Path(options.json).write_text(json.dumps(result, indent=1) + "\n")
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
