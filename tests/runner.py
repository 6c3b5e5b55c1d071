# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds the project, runs its tests in parts, and adds up their results. Started by tests/run.

A part is
  format, lint      clang-format and clang-tidy over our C files
  a folder tests/X  ctest's tests with the label X and pytest's tests in that folder
  tests/parts/X     an executable; it passes by exit status 0, or writes JUnit XML to $VPNSIP_JUNIT. Alone on the command line it
                    gets the options that are not the runner's own. Lines that begin with "| " are its result and are shown.
The tests see VPNSIP_BUILD (folder of the built programs), VPNSIP_SEED and, with --long, VPNSIP_LONG=1.
"""

import argparse
import fcntl
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TESTS = ROOT / "tests"
BUILD = ROOT / "build"
RESULTS = BUILD / "test-results"
PROCESSORS = len(os.sched_getaffinity(0))
# Tests wait for timers most of their time; those that measure times themselves stand it less well.
TESTS_AT_A_TIME = 4 * PROCESSORS
LABS_AT_A_TIME = 2 * PROCESSORS
INTERRUPT_GRACE_SECONDS = 30  # for a lab to take its namespaces down
PYTEST_NO_TESTS = 5
JOB_LIMIT_SECONDS = 20 * 60  # not of a --long run, nor of a part that was told itself how long
NOT_PARTS = {"bench", "parts", "fixtures", "corpora"}
FAILURES_SHOWN = 10  # at the end; the logs tell the rest
# So many failed tests of a job are run again, alone, once all jobs beside it have ended: real timers on a busy machine; more are no
# accident.
SECOND_TRIES = 5
TOGETHER = ("format", "unit", "exchange", "alloc", "replay", "compose")  # they measure no times, or coarse ones
ONLY_LONG_OR_NAMED = {"lint", "fuzz", "tsan", "killcost"}
PROGRESS = re.compile(r"(PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS)\b.*::|::.*(PASSED|FAILED|ERROR|SKIPPED)"
                      r"|Test +#\d+:|^FAILED|error:|^progress:|^\| ")
FAILED_FIRST = re.compile(r"\*\*\*(Failed|Timeout|Exception: \w+)|\bFAILED\b")
COMPLAINT = re.compile(r"\[ +ERROR +\] ---|expected |ERROR: |Assertion")
WIDTH = 200  # characters of a reason


@dataclass
class Job:
    """One command of a part. How it is counted: from its JUnit file if it writes one, else as one test."""

    name: str
    command: list
    junit: bool = True
    environment: dict = field(default_factory=dict)
    is_build: bool = False  # counted only when it fails
    is_limited: bool = True
    again: Callable = None  # the command that runs the tests of this list once more, writing its JUnit file to this path
    good_statuses: tuple = (0,)

    @property
    def log(self):
        return RESULTS / f"{self.name}.log"

    @property
    def report(self):
        return RESULTS / f"{self.name}.xml"


@dataclass
class Outcome:
    """What became of a job."""

    job: Job
    status: int
    passed: int
    failed: int
    skipped: int
    seconds: float
    failures: dict  # {name: why} of the failed tests that are known by name
    mended: list = field(default_factory=list)  # names of those that passed at the second try

    @property
    def is_tried_again(self):
        return bool(self.job.again) and 0 < self.failed == len(self.failures) <= SECOND_TRIES

    def mend(self, name):
        del self.failures[name]
        self.mended.append(name)
        self.passed, self.failed = self.passed + 1, self.failed - 1

    def complaints(self):
        """A line for each failed test."""
        named = [f"{name}: {why}" for name, why in self.failures.items()]
        return named or ([f"status {self.status}"] if self.failed else [])

    def row(self):
        return f"{self.job.name:18} {self.passed:5} passed {self.failed:4} failed {self.skipped:4} skipped {self.seconds:7.1f} s"


class Interrupted(Exception):
    pass


class Runner:
    """Runs jobs, several at a time, shows their progress, adds up what passed and failed."""

    def __init__(self):
        self.outcomes = []
        self.started = time.monotonic()
        self.lock = threading.Lock()
        self.processes = set()
        self.is_interrupted = False

    def say(self, text):
        with self.lock:
            print(f"[{time.monotonic() - self.started:6.1f}s] {text}", flush=True)

    def spawn(self, job):
        environment = dict(os.environ, **job.environment, VPNSIP_JUNIT=str(job.report))
        with self.lock:
            if self.is_interrupted:
                raise Interrupted
            process = subprocess.Popen(
                [str(word) for word in job.command], cwd=ROOT, env=environment, text=True, errors="replace",
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
            self.processes.add(process)
        return process

    def execute(self, job):
        """Runs a job to its end, its output in its log; returns its exit status."""
        job.report.unlink(missing_ok=True)
        process = self.spawn(job)
        limit = threading.Timer(JOB_LIMIT_SECONDS, self.end_overdue, (job, process))
        limit.daemon = True
        if job.is_limited and "VPNSIP_LONG" not in os.environ:
            limit.start()
        with job.log.open("w") as log:
            for line in process.stdout:
                log.write(line)
                if PROGRESS.search(line):
                    shown = FAILED_FIRST.sub("not passed at the first try", line) if job.again else line
                    self.say(f"{job.name}: {shown.rstrip()}")
        status = process.wait()
        limit.cancel()
        with self.lock:
            self.processes.discard(process)
        if self.is_interrupted:
            raise Interrupted
        return status

    def run(self, job):
        """Runs and counts a job. Returns whether the next of its chain has what it needs."""
        began = time.monotonic()
        self.say(f"{job.name}: starting")
        try:
            status = self.execute(job)
        except Interrupted:
            return False
        outcome = Outcome(job, status, *self.count(job, status), time.monotonic() - began, failed_tests(job.report))
        with self.lock:
            self.outcomes.append(outcome)
        if outcome.failed and not outcome.is_tried_again:
            self.say(f"{job.name}: the end of {job.log.relative_to(ROOT)}:\n{tail(job.log)}")
        if job.is_build:
            self.say(f"{job.name}: {'failed' if outcome.failed else 'done'} in {outcome.seconds:.1f} s")
            return outcome.failed == 0
        verdict = f"{outcome.passed} passed" + (f", {outcome.skipped} skipped" if outcome.skipped else "")
        if outcome.is_tried_again:
            verdict += f", {outcome.failed} to be run again alone"
        else:
            verdict += f", {outcome.failed} failed"
        self.say(f"{job.name}: {verdict} in {outcome.seconds:.1f} s")
        return True

    def second_try(self, outcome):
        """Runs the failed tests of a job once more, alone. Each that passes is named, so that none stays unseen."""
        job = outcome.job
        for number, name in enumerate(list(outcome.failures)):
            report = job.report.with_suffix(f".again{number}.xml")
            single = Job(f"{job.name}.again{number}", job.again([name], report), environment=job.environment)
            status = self.execute(single)
            passed = status == 0 and report.exists() and count_junit(report)[0] > 0
            if passed:
                outcome.mend(name)
                mark_mended(job.report, name)
            else:
                self.say(f"{job.name}: the end of {single.log.relative_to(ROOT)}:\n{tail(single.log)}")
            self.say(f"{job.name}: SECOND TRY {'passed' if passed else 'FAILED'}: {name}")

    def summary(self):
        """The last lines of a run: a row for each job, what failed and why, and what passed only at the second try."""
        lines = [outcome.row() for outcome in self.outcomes]
        mended = [f"{outcome.job.name}: {name}" for outcome in self.outcomes for name in outcome.mended]
        failures = [f"{outcome.job.name}: {complaint}" for outcome in self.outcomes for complaint in outcome.complaints()]
        lines += [f"SECOND TRY passed: {name}" for name in mended]
        lines += [f"FAILED: {failure}" for failure in failures[:FAILURES_SHOWN]]
        if len(failures) > FAILURES_SHOWN:
            lines.append(f"FAILED: and {len(failures) - FAILURES_SHOWN} more: {RESULTS.relative_to(ROOT)}/*.log")
        return lines

    @staticmethod
    def count(job, status):
        if job.junit and job.report.exists():
            passed, failed, skipped = count_junit(job.report)
            if status not in job.good_statuses and failed == 0:
                failed = 1
            return passed, failed, skipped
        if status not in job.good_statuses:
            return 0, 1, 0
        return (0 if job.is_build else 1), 0, 0

    def run_together(self, chains):
        """Runs chains of jobs side by side, then again what failed by accident; a chain ends at a build that fails."""

        def follow(chain):
            all(self.run(job) for job in chain)

        before = len(self.outcomes)

        threads = [threading.Thread(target=follow, args=(chain,)) for chain in chains]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        try:
            for outcome in self.outcomes[before:]:
                if outcome.is_tried_again:
                    self.second_try(outcome)
        except Interrupted:
            pass

    def interrupt(self, number, _frame):
        """Ctrl-C: every job gets it and time to clean up; then it is killed. Called in the main thread."""
        if self.is_interrupted:
            return
        self.is_interrupted = True
        # Not print(): the signal may have come in the middle of one.
        os.write(1, f"\ninterrupted; waiting up to {INTERRUPT_GRACE_SECONDS} s for the tests to clean up\n".encode())
        threading.Thread(target=self.stop_all, args=(number,), daemon=True).start()

    def end_overdue(self, job, process):
        self.say(f"{job.name}: still running after {JOB_LIMIT_SECONDS} s: interrupted")
        end_group(process)

    def stop_all(self, number):
        with self.lock:
            running = list(self.processes)
        for process in running:
            threading.Thread(target=end_group, args=(process, number), daemon=True).start()


def end_group(process, number=signal.SIGINT):
    """Ends a process and all that it started, with time to clean up."""
    signal_group(process, number)
    try:
        process.wait(INTERRUPT_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        pass
    signal_group(process, signal.SIGKILL)


def signal_group(process, number):
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        pass


def count_junit(path):
    """(passed, failed, skipped) of a JUnit file; a broken one counts as one failure."""
    passed = failed = skipped = 0
    try:
        root = ElementTree.parse(path).getroot()
    except ElementTree.ParseError:
        return 0, 1, 0
    for case in root.iter("testcase"):
        outcomes = {element.tag for element in case}
        if case.get("status") == "fail" or outcomes & {"failure", "error"}:
            failed += 1
        elif "skipped" in outcomes or case.get("status") in ("notrun", "disabled"):
            skipped += 1
        else:
            passed += 1
    return passed, failed, skipped


def failed_cases(root):
    """(name, its element, its failures) of each failed test; names are pytest's node ids, or ctest's."""
    for case in root.iter("testcase"):
        failures = [element for element in case if element.tag in ("failure", "error")]
        if case.get("status") == "fail" or failures:
            folder = case.get("classname", "").replace(".", "/")
            name = f"{folder}.py::{case.get('name')}" if (ROOT / f"{folder}.py").exists() else case.get("name")
            yield name, case, failures


def failed_tests(path):
    """{name: why} of the failed tests of a JUnit file."""
    try:
        root = ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError):
        return {}
    return {name: reason(failures[0].get("message") if failures else "", case.findtext("system-out") or "")
            for name, case, failures in failed_cases(root)}


def mark_mended(path, name):
    """A JUnit file tells of the second try: what failed at the first is kept as the test's output."""
    tree = ElementTree.parse(path)
    for failed, case, failures in list(failed_cases(tree.getroot())):
        if failed == name:
            case.set("status", "run")
            for failure in failures:
                failure.tag = "system-err"
    tree.write(path, encoding="utf-8", xml_declaration=True)


def reason(message, output):
    """One line: pytest's message of the failure, or what cmocka or exchange complained of last."""
    lines = [line.strip() for line in (message or output).splitlines() if line.strip()]
    if not message:
        lines = [line for line in reversed(lines) if COMPLAINT.search(line)] or lines[-1:]
    return lines[0][:WIDTH] if lines else "no word of it: ended by a signal, or the time was over"


def tail(path, lines=60):
    return "\n".join("    " + line for line in path.read_text(errors="replace").splitlines()[-lines:])


def remove_orphan_labs():
    """Takes down the networks of labs whose test process was killed before it could do that itself."""
    library = TESTS / "lab"
    if (library / "vpnlab").is_dir():
        subprocess.run(["/usr/bin/python3", "-B", "-c", "from vpnlab.namespaces import sweep; sweep()"], cwd=library)


# ---- the parts

def c_files():
    return sorted(path for folder in ("bus", "services", "tests")
                  for path in (ROOT / folder).rglob("*.[ch]"))


def folder_parts():
    return sorted(path.name for path in TESTS.iterdir()
                  if path.is_dir() and not path.name.startswith((".", "_")) and path.name not in NOT_PARTS)


def script_parts():
    folder = TESTS / "parts"
    return sorted(path.name for path in folder.iterdir() if os.access(path, os.X_OK)) if folder.is_dir() else []


def all_parts():
    names = ["format", "lint", *folder_parts(), *script_parts()]
    return list(dict.fromkeys(names))


def preset_build(preset):
    """Configures and builds a preset; a build folder that was copied from elsewhere is set up afresh."""
    script = ('fresh=--fresh\n'
              'if grep -qsxF "CMAKE_HOME_DIRECTORY:INTERNAL=$PWD" "build/$1/CMakeCache.txt"; then fresh=; fi\n'
              'cmake $fresh --preset "$1" && exec cmake --build --preset "$1" --parallel "$2" -- -k 0')
    return Job(f"build-{preset}", ["bash", "-c", script, "build", preset, PROCESSORS],
               junit=False, is_build=True)


def ctest(part, preset):
    job = Job(f"{part}-{preset}", [], environment={"VPNSIP_BUILD": str(BUILD / preset)})
    # In a loopback of its own: the builds are tested side by side, and tests use fixed ports.
    job.command = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh",
                   "ctest", "--test-dir", BUILD / preset, "-L", f"^{part}$", "-j", TESTS_AT_A_TIME, "--no-tests=ignore",
                   "--output-on-failure", "--output-junit", job.report]
    words = job.command[:job.command.index("-L")]
    job.again = lambda names, report: [*words, "-R", f"^({'|'.join(map(re.escape, names))})$", "--output-on-failure",
                                       "--output-junit", report]
    return job


def pytest_again(names, report):
    return ["/usr/bin/python3", "-B", "-m", "pytest", "-v", "-p", "no:cacheprovider", f"--junit-xml={report}", *names]


def script_again(part):
    """How single tests of a script's part are run again; None if that is all or nothing."""
    script = TESTS / "parts" / part
    if part == "fault":
        return lambda names, report: [script, *(word for name in names for word in ("--case", name))]
    if part == "vm":
        return lambda names, report: [script, *names]  # in the machine, not here
    return pytest_again if (TESTS / part / "conftest.py").exists() else None


def pytest(part):
    """pytest's tests of a folder, several at a time where xdist is there."""
    job = Job(f"{part}-pytest", [], good_statuses=(0, PYTEST_NO_TESTS), again=pytest_again)
    job.command = ["/usr/bin/python3", "-B", "-m", "pytest", "-v", "-p", "no:cacheprovider", f"--junit-xml={job.report}"]
    if has_xdist():
        job.command += ["-n", LABS_AT_A_TIME]
    job.command.append(TESTS / part)
    return job


def has_xdist():
    return subprocess.run(["/usr/bin/python3", "-c", "import xdist"], stderr=subprocess.DEVNULL).returncode == 0


def format_check():
    script = ('status=0; for file; do clang-format --dry-run -Werror "$file" 2>/dev/null || '
              '{ echo "FAILED: clang-format -i $file"; status=1; }; done; exit $status')
    files = [path.relative_to(ROOT) for path in c_files()]
    return Job("format", ["bash", "-c", script, "format", *files], junit=False)


def lint():
    """clang-tidy over every file of the release build that is ours, with as many at a time as processors."""
    script = ('find bus services tests -name "*.c" | sort | while read -r file; do '
              'grep -qF "/$file\\"" "$1/compile_commands.json" && printf "%s\\0" "$file"; done | '
              'xargs -0 -r -n 1 -P "$2" clang-tidy --quiet -p "$1" --extra-arg=-Wno-unknown-warning-option')
    return Job("lint", ["bash", "-c", script, "lint", BUILD / "release", PROCESSORS], junit=False)


def chains_of(part, options=()):
    """The chains of jobs that make up a part; they are independent of each other. `options` are for a script's."""
    if part == "format":
        return [[format_check()]]
    if part == "lint":
        return [[lint()]]
    if part in script_parts():
        return [[Job(part, [TESTS / "parts" / part, *options], is_limited=not options, again=script_again(part))]]
    chains = [[ctest(part, "release")]]
    if part == "unit":
        chains.append([preset_build("asan"), ctest(part, "asan")])
    if any((TESTS / part).rglob("test_*.py")):
        chains.append([pytest(part)])
    return chains


def parse_arguments():
    parser = argparse.ArgumentParser(
        prog="tests/run", description="Sets the machine up, builds, runs the tests; ends with 'N passed, N failed'.")
    parser.add_argument("parts", metavar="PART", nargs="*", help=f"one or more of: {' '.join(all_parts())}")
    parser.add_argument("--long", action="store_true", help="whole matrices instead of samples, and lint")
    arguments, arguments.options = parser.parse_known_args()
    if arguments.options and len(arguments.parts) > 0 and arguments.parts[0] in script_parts():
        # what follows the name of a script's part is the script's
        place = sys.argv.index(arguments.parts[0])
        arguments.options = [word for word in sys.argv[place + 1:] if word != "--long"]
        arguments.parts = arguments.parts[:1]
    elif arguments.options:
        parser.error(f"only a part of tests/parts takes options: {' '.join(arguments.options)}")
    for part in arguments.parts:
        if part not in all_parts():
            parser.error(f"there is no part {part!r}; there are: {' '.join(all_parts())}")
    return arguments


def lock_build():
    """One run at a time in a build folder. The lock ends with the process."""
    BUILD.mkdir(exist_ok=True)
    lock = (BUILD / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit("tests/run: another tests/run uses this tree; next step: wait for it, or use a second clone")
    return lock


def main():
    arguments = parse_arguments()
    os.environ["VPNSIP_BUILD"] = str(BUILD / "release")
    os.environ.setdefault("VPNSIP_SEED", str(random.randrange(1 << 31)))
    if arguments.long:
        os.environ["VPNSIP_LONG"] = "1"
    parts = arguments.parts or [part for part in all_parts() if arguments.long or part not in ONLY_LONG_OR_NAMED]

    lock = lock_build()
    RESULTS.mkdir(exist_ok=True)
    runner = Runner()
    signal.signal(signal.SIGINT, runner.interrupt)
    signal.signal(signal.SIGTERM, runner.interrupt)
    runner.say(f"parts: {' '.join(parts)}; VPNSIP_SEED={os.environ['VPNSIP_SEED']}")

    # First, all together, what measures no times; then the parts that do, one after the other (each runs its own tests side by side).
    together = [part for part in parts if part in TOGETHER]
    if parts == ["format"] or runner.run(preset_build("release")):
        runner.run_together([chain for part in together for chain in chains_of(part, arguments.options)])
        for part in parts:
            if part not in together:
                runner.run_together(chains_of(part, arguments.options))
    remove_orphan_labs()
    lock.close()
    if runner.is_interrupted:
        print("interrupted")
        sys.exit(130)
    print("\n".join(runner.summary()))
    passed, failed = (sum(getattr(outcome, name) for outcome in runner.outcomes) for name in ("passed", "failed"))
    print(f"{passed} passed, {failed} failed", flush=True)
    sys.exit(0 if passed and not failed else 1)


if __name__ == "__main__":
    main()
