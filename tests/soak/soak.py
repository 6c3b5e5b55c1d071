#!/usr/bin/python3 -B
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many sessions with kills among them, in labs side by side; what every process and kernel holds must not grow.

    tests/run soak --cycles 200
    tests/run soak --minutes 60

A cycle: one packet calls, traffic flows, often one service is killed at a random moment, the session falls idle and is taken down,
nothing is left. In a lab with an even number the caller's services are killed, in one with an odd number the callee's:
the others live through the whole run, and it is they whose resources are fitted.
"""

import argparse
import json
import multiprocessing
import os
import queue
import random
import signal
import statistics
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "fault"), str(HERE.parent / "lab")]
sys.dont_write_bytecode = True

import flat  # noqa: E402
import workers  # noqa: E402
from drive import RESTART_DELAY, TIMERS, Pings  # noqa: E402
from invariants import Invariants  # noqa: E402
from vpnlab.checks import qdiscs, routes, translations  # noqa: E402
from vpnlab.lab import Lab  # noqa: E402
from vpnlab.namespaces import LabError, wait_for  # noqa: E402
from vpnlab.router import SERVICES, Settings  # noqa: E402

LABS = 8
CYCLES = 100
WARM_CYCLES = 50  # of all labs together, before anything is compared
ENDED = -1  # instead of a series: this worker is done
KILL_PROBABILITY = 0.5
IDLE_SECONDS = 2
RECOVER_SECONDS = 30
REST_SECONDS = 15
# what `debug SERVICE stats` calls those of its counters that say how much there is now
GAUGES = {"calls.in-flight", "requests.open", "sessions", "sessions.up", "ike-sas", "rekeys.waiting", "sas.inbound", "sas.outbound",
          "sas.orphaned-tunnels", "packets.held", "debts.open"}


def process_figures(process):
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{process.pid}/status").read_text().splitlines())
    return {"fds": len(os.listdir(f"/proc/{process.pid}/fd")), "threads": int(fields["Threads"]), "RSS kB": int(fields["VmRSS"].split()[0])}


def figures(router):
    """{(owner, resource): how much of it there is} of a router at rest."""
    found = {}
    for service, process in router.processes.items():
        found.update({(service, name): value for name, value in process_figures(process).items()})
        counters = json.loads(router.cli("debug", service, "stats", "--json"))["counters"]
        found[service, "heap octets"] = counters["heap.used-octets"]
        found.update({(service, f"handles {name}"): value for name, value in counters.items() if name in GAUGES})
        state = router.state_dir / service
        found[service, "state files"] = sum(1 for _ in state.rglob("*")) if state.exists() else 0
    found["kernel", "map elements"] = sum(len(elements) for elements in translations(router.space).values())
    found["kernel", "qdiscs"] = len(qdiscs(router.space))
    found["kernel", "routes and rules"] = len(routes(router.space))
    found["kernel", "SAs"] = len(router.session().get("sas", []))
    return found


class Soak:
    """One lab that goes through cycles."""

    def __init__(self, number, seed):
        self.chance = random.Random(f"{seed} {number}")
        self.lab = Lab(*(Settings(idle_time=IDLE_SECONDS, timers=TIMERS, restart_delay=RESTART_DELAY) for _ in range(2)))
        try:
            self.lab.start()
            self.victim = self.lab.a if number % 2 == 0 else self.lab.b
            self.survivor = self.lab.b if number % 2 == 0 else self.lab.a
            self.lab.ping(1)
            self.lab.wait_resting(REST_SECONDS)
            wait_for(lambda: not self.lab.carrier.open_dialogs(), 5, "the first call's end")
            self.invariants = Invariants(self.lab)
            self.killed = ""
        except BaseException:
            self.lab.close()
            raise

    def cycle(self):
        """One session from rest to rest. Returns (what was killed, the survivor's figures)."""
        self.killed = killed = self.chance.choice(list(SERVICES)) if self.chance.random() < KILL_PROBABILITY else ""
        moment = self.chance.choice([0, self.chance.uniform(0, 0.05), self.chance.uniform(0.1, 0.6), "idle"]) if killed else 0
        pings = Pings(self.lab, 0.1)
        try:
            if killed and moment != "idle":
                time.sleep(moment)
                self.victim.processes[killed].signal(signal.SIGKILL)
            since = time.time()
            wait_for(lambda: pings.answered_since(since) and pings.flow() and not self.invariants.not_up(), RECOVER_SECONDS, "traffic")
            time.sleep(0.3)
        finally:
            pings.process.stop(signal.SIGINT)
        if moment == "idle":
            time.sleep(self.chance.uniform(IDLE_SECONDS - 0.2, IDLE_SECONDS + 0.3))
            self.victim.processes[killed].signal(signal.SIGKILL)
        self.rest()
        return killed, figures(self.survivor)

    def logs(self):
        """The ends of the logs, when they are asked for."""
        if "VPNSIP_FAULT_LOGS" not in os.environ:
            return ""
        return "".join(f"\n----- router {router.site.name} {name}\n{process.log.read_text()[-3000:]}"
                       for router in self.lab.routers.values() for name, process in router.processes.items())

    def rest(self):
        """The idle session is taken down, and nothing is left."""
        found, clear = [], []

        def left():
            clear.extend(self.invariants.watch_wan()[0])
            dead = [name for router in self.lab.routers.values() for name, process in router.processes.items() if not process.running()]
            try:
                found[:] = dead or self.invariants.at_rest()
            except LabError as failure:
                found[:] = [str(failure)]  # a service that has just been killed does not answer yet
            return found

        try:
            wait_for(lambda: not left(), REST_SECONDS, "rest", interval=0.2)
        except LabError:
            raise LabError("left behind: " + "; ".join(found)) from None
        if clear:
            raise LabError("; ".join(clear))


def work(number, options, started, results):
    """A worker process: cycles until enough have been started or the time is over."""
    workers.begin()
    soak, series = None, 0
    try:
        while time.time() < options.until and take(started, options.cycles):
            try:
                soak = soak or Soak(number, options.seed + series)
                results.put((number, series, *soak.cycle(), ""))
            except (LabError, AssertionError, OSError, ValueError) as failure:
                why = f"lab {number}, killed {soak.killed if soak else 'nothing'}: {failure}; {soak.invariants.not_up() if soak else 'not started'}"
                if soak:
                    why += soak.logs()
                    soak.lab.close()
                soak, series = None, series + 1
                results.put((number, series, "", {}, why))
    finally:
        if soak:
            soak.lab.close()
    results.put((number, ENDED, "", {}, ""))


def take(started, limit):
    """Counts one cycle more, unless there have been enough."""
    with started.get_lock():
        is_left = started.value < limit
        started.value += is_left
        return is_left


class Run:
    """All labs together."""

    def __init__(self, options):
        self.options = options
        self.samples = {}  # (lab, series) -> [(cycle, figures)]; a lab that failed begins a new series
        self.failures = []
        self.done = self.kills = 0
        self.began = self.told = time.monotonic()

    def go(self):
        started, results = multiprocessing.Value("i", 0), multiprocessing.Queue()
        hired = [multiprocessing.Process(target=work, args=(number, self.options, started, results)) for number in range(self.options.labs)]
        with workers.ended(hired):
            for worker in hired:
                worker.start()
            ended = 0
            while ended < len(hired):
                try:
                    number, series, killed, values, why = results.get(timeout=1)
                except queue.Empty:
                    continue
                if series == ENDED:
                    ended += 1
                else:
                    self.note(number, series, killed, values, why)

    def note(self, number, series, killed, values, why):
        self.done += 1
        self.kills += bool(killed)
        if why:
            self.failures.append(why)
            print(f"FAILED soak::cycle {self.done}: {why}", flush=True)
        else:
            self.samples.setdefault((number, series), []).append((self.done, values))
        if time.monotonic() - self.told > 10:
            self.told = time.monotonic()
            newest = [sum(value for (_, name), value in lab[-1][1].items() if name == "RSS kB") for lab in self.samples.values()]
            print(f"progress: {self.done} cycles in {self.told - self.began:.0f} s, {self.kills} kills, {len(self.failures)} failed; a router's "
                  f"six have {statistics.median(newest) / 1024 if newest else 0:.1f} MiB", flush=True)


def main():
    parser = argparse.ArgumentParser(prog="tests/run soak", description=__doc__.splitlines()[0])
    parser.add_argument("--cycles", type=int, default=0, help=f"of all labs together, default {CYCLES}")
    parser.add_argument("--minutes", type=float, default=0, help="run so long instead")
    parser.add_argument("--labs", type=int, default=LABS)
    parser.add_argument("--seed", type=int, default=int(os.environ.get("VPNSIP_SEED", random.randrange(1 << 31))))
    options = parser.parse_args()
    options.until = time.time() + 60 * options.minutes if options.minutes else float("inf")
    options.cycles = options.cycles or (1 << 30 if options.minutes else CYCLES)
    flat.check_itself()
    began = time.monotonic()
    print(f"soak: {options.labs} labs, seed {options.seed}", flush=True)
    run = Run(options)
    run.go()
    warm = min(WARM_CYCLES, run.done // 2)
    lines, leaks = flat.judge(run.samples, warm)
    for line in lines:
        print(f"| {line}")
    for leak in leaks:
        print(f"| LEAK: {leak}")
    print(f"| soak: {run.done} cycles in {time.monotonic() - began:.0f} s, {run.kills} kills, {len(run.failures)} failed, {len(leaks)} resources "
          f"grow from cycle {warm} on; seed {options.seed}")
    return 1 if run.failures or leaks else 0


if __name__ == "__main__":
    sys.exit(main())
