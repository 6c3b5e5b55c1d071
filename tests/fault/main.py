#!/usr/bin/python3 -B
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fault matrix: kills, stops, and spoils messages of each service in each state of a session; README.md tells how to read it.

    tests/run fault                                  all kill -9 cases and a seeded sample of the rest
    tests/run fault --seed N                         the same sample again
    tests/run fault --case NAME [--case NAME...]     only these (a name, or a regular expression)
    tests/run fault --long [--minutes M]             all that have not been done yet, for M minutes at most
"""

import argparse
import json
import multiprocessing
import os
import queue
import random
import statistics
import sys
import time
import xml.sax.saxutils
from dataclasses import asdict
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "lab")]
sys.dont_write_bytecode = True

import faults  # noqa: E402
import matrix  # noqa: E402
import workers  # noqa: E402
from drive import Bench, Result  # noqa: E402
from vpnlab.namespaces import LabError  # noqa: E402

LABS = 4 * len(os.sched_getaffinity(0))  # they wait for timers most of their time
SAMPLE = 80
CASE_LIMIT_SECONDS = 120
VERDICTS = ("survived", "failed", "known", "missed")
TRIES = 2  # a state or a message that was missed is waited for once more
DONE_FILE = HERE.parents[1] / "build/fault-matrix.jsonl"


def work(cases, results):
    """A worker process: one lab after another, one case after another."""
    workers.begin()
    bench = None
    try:
        while (case := cases.get()) is not None:
            results.put((os.getpid(), case.name, None))
            bench, result = attempt(case, bench)
            results.put((os.getpid(), case.name, result))
    finally:
        if bench:
            bench.close()


def attempt(case, bench):
    """Does a case in this lab or a new one. Returns (the lab if it is fit for more, the result)."""
    try:
        for _ in range(TRIES):
            bench = bench or Bench()
            result = bench.run(case)
            if result.verdict != "survived" or case.control:
                result.why += logs(bench) if result.verdict == "failed" and "VPNSIP_FAULT_LOGS" in os.environ else []
                bench.close()
                bench = None
            if result.verdict != "missed":
                break
    except (LabError, AssertionError, OSError) as failure:
        result = Result(case.name, "failed", [f"the lab: {failure}"])
        if bench:
            bench.close()
        bench = None
    return bench, result


def logs(bench):
    return [f"----- router {router.site.name} {name}\n{process.log.read_text()[-3000:]}"
            for router in bench.lab.routers.values() for name, process in router.processes.items()]


class Matrix:
    """Distributes the cases over the workers and collects the results."""

    def __init__(self, cases, labs, until, note):
        self.cases, self.labs, self.until, self.note = cases, labs, until, note
        self.results = []
        self.began = time.monotonic()

    def run(self):
        tasks, results = multiprocessing.Queue(), multiprocessing.Queue()
        hired, running = {}, {}
        with workers.ended(hired.values()):
            for _ in range(min(self.labs, len(self.cases))):
                self.hire(hired, tasks, results)
            self.distribute(tasks, results, hired, running)
            for _ in hired:
                tasks.put(None)

    def distribute(self, tasks, results, hired, running):
        """Until all cases have a result, or the time for new ones is over."""
        waiting, fed, told = list(self.cases), 0, time.monotonic()
        while True:
            while fed - len(self.results) < len(hired) and waiting and time.monotonic() < self.until:
                tasks.put(waiting.pop(0))
                fed += 1
            if fed == len(self.results):
                return
            try:
                pid, name, result = results.get(timeout=1)
                if result is None:
                    running[pid] = (name, time.monotonic())
                else:
                    running.pop(pid, None)
                    self.note_result(result)
            except queue.Empty:
                pass
            for pid, (name, since) in list(running.items()):
                if time.monotonic() - since > CASE_LIMIT_SECONDS or not hired[pid].is_alive():
                    hired.pop(pid).kill()
                    del running[pid]
                    self.note_result(Result(name, "failed", [f"the case did not end within {CASE_LIMIT_SECONDS} s"]))
                    self.hire(hired, tasks, results)
            if time.monotonic() - told > 10:
                told = time.monotonic()
                self.progress()

    def hire(self, hired, tasks, results):
        worker = multiprocessing.Process(target=work, args=(tasks, results))
        worker.start()
        hired[worker.pid] = worker

    def note_result(self, result):
        reason = matrix.known(result.case, " ".join(result.why)) if result.verdict == "failed" else ""
        if reason:
            result.verdict, result.why = "known", [reason, *result.why]
        self.results.append(result)
        self.note(result)
        if result.verdict != "survived":
            print(f"{result.verdict.upper()} fault::{result.case} after {result.seconds:.1f} s: " + "\n    ".join(result.why), flush=True)

    def progress(self):
        counts = {verdict: sum(result.verdict == verdict for result in self.results) for verdict in VERDICTS}
        print(f"progress: {len(self.results)} of {len(self.cases)} cases in {time.monotonic() - self.began:.0f} s, "
              + ", ".join(f"{count} {verdict}" for verdict, count in counts.items()), flush=True)


def table(cases, results):
    """The rows: fault and service; of those that survived the time to recover and the pings lost."""
    by_name = {case.name: case for case in cases}
    rows = {}
    for result in results:
        case = by_name[result.case]
        kind = f"{case.fault} message" if case.message else f"{case.fault} (control)" if case.control else case.fault
        for key in ((kind, case.service), (kind, "(all)")):
            rows.setdefault(key, []).append(result)
    lines = [f"| {'fault':18} {'service':20} {'cases':>6} {'survived':>9} {'missed':>7} {'recover median':>15} {'max':>7} {'pings lost median':>18} {'max':>5}"]
    for (kind, service), group in sorted(rows.items()):
        good = [result for result in group if result.verdict == "survived"]
        missed = sum(result.verdict == "missed" for result in group)
        times = [result.recover_seconds for result in good] or [0]
        lost = [result.lost for result in good] or [0]
        lines.append(f"| {kind:18} {service:20} {len(group):6} {len(good):9} {missed:7} {statistics.median(times):13.2f} s {max(times):5.2f} s "
                     f"{statistics.median(lost):18.0f} {max(lost):5}")
    return lines


def conclude(cases, results, seed):
    """Prints the table and the failing cases; returns the exit status."""
    print("\n".join(table(cases, results)))
    by_control = {case.name: case.control for case in cases}
    for result in results:
        if by_control.get(result.case) and result.verdict == "survived":
            print(f"| control {result.case}: {result.why[0][:300]}")
    bad = [result for result in results if result.verdict != "survived"]
    for result in sorted(bad, key=lambda result: result.case):
        print(f"| {result.verdict}: tests/run fault --case '{result.case}' --seed {seed}: {result.why[0] if result.why else ''}"
              + (f" {result.why[1]}" if len(result.why) > 1 else ""))
    counts = ", ".join(f"{sum(result.verdict == verdict for result in results)} {verdict}" for verdict in VERDICTS)
    print(f"| {len(results)} cases: {counts}; seed {seed}")
    return 1 if any(result.verdict == "failed" for result in results) else 0


def write_junit(results):
    path = os.environ.get("VPNSIP_JUNIT")
    if not path:
        return
    escape = xml.sax.saxutils.quoteattr
    lines = []
    for result in results:
        tag = {"failed": "failure", "missed": "skipped", "known": "skipped"}.get(result.verdict)
        body = f"<{tag} message={escape(chr(10).join(result.why))}/>" if tag else ""
        lines.append(f'<testcase classname="fault" name={escape(result.case)} time="{result.seconds:.1f}">{body}</testcase>')
    Path(path).write_text("<testsuite>\n" + "\n".join(lines) + "\n</testsuite>\n")


def load_done():
    if not DONE_FILE.exists():
        return []
    return [Result(**json.loads(line)) for line in DONE_FILE.read_text().splitlines()]


def note_done(result):
    with DONE_FILE.open("a") as file:
        file.write(json.dumps(asdict(result)) + "\n")


def arguments():
    parser = argparse.ArgumentParser(prog="tests/run fault", description=__doc__.splitlines()[0])
    parser.add_argument("--case", action="append", metavar="NAME", help="this case, or those that match the regular expression")
    parser.add_argument("--seed", type=int, default=int(os.environ.get("VPNSIP_SEED", random.randrange(1 << 31))))
    parser.add_argument("--sample", type=int, default=SAMPLE, metavar="N", help="so many beside the kills")
    parser.add_argument("--labs", type=int, default=LABS, metavar="N", help="side by side")
    parser.add_argument("--long", action="store_true", default="VPNSIP_LONG" in os.environ, help="all cases; resumes what was begun")
    parser.add_argument("--minutes", type=float, default=60, help="of --long: no new case after so many minutes")
    parser.add_argument("--fresh", action="store_true", help="of --long: forget what was done before")
    parser.add_argument("--list", action="store_true", help="only the names")
    parser.add_argument("--learn", action="store_true", help="write messages.json anew from a recorded session of each role")
    return parser.parse_args()


def main():
    options = arguments()
    faults.seed = options.seed
    cases = matrix.all_cases()
    if options.learn:
        import recording

        return recording.learn()
    if options.case:
        chosen = list(dict.fromkeys(case for pattern in options.case for case in matrix.select(cases, pattern)))
    elif options.long:
        chosen = cases
    else:
        chosen = matrix.sample(cases, options.sample, options.seed)
    if options.list:
        print("\n".join(case.name for case in chosen))
        return 0
    done, note, until = [], lambda result: None, float("inf")
    if options.long and not options.case:
        if options.fresh:
            DONE_FILE.unlink(missing_ok=True)
        done = load_done()
        note, until = note_done, time.monotonic() + 60 * options.minutes
    finished = {result.case for result in done}
    left = [case for case in chosen if case.name not in finished]
    if options.long:
        random.Random(options.seed).shuffle(left)
    print(f"fault matrix: {len(left)} of {len(cases)} cases, {options.labs} labs, seed {options.seed}"
          + (f", {len(done)} done before" if done else ""), flush=True)
    run = Matrix(left, options.labs, until, note)
    run.run()
    results = [result for result in done if result.case in {case.name for case in chosen}] + run.results
    write_junit(results)
    status = conclude(chosen, results, options.seed)
    print(f"| {time.monotonic() - run.began:.0f} s" + ("" if len(results) == len(chosen) else f"; {len(chosen) - len(results)} cases are still to be done: run it again"))
    return status


if __name__ == "__main__":
    sys.exit(main())
