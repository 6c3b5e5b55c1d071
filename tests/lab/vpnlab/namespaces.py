# SPDX-License-Identifier: GPL-3.0-or-later
"""Network namespaces, the processes in them, and the private directory of one lab.

A lab writes the pid of its owner beside its files. A lab whose owner is gone (killed, power lost) is
an orphan: the next lab that starts, and `deploy/demo down`, remove it.
"""

import atexit
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

SLOWNESS = float(os.environ.get("VPNSIP_SLOWNESS", 1))  # how many times longer everything may take: in an emulated machine 3
LABS = Path("/run/vpnsip-lab")
NETNS = Path("/run/netns")


class LabError(Exception):
    """The lab itself failed, as opposed to the product under test."""


def run(argv, check=True, timeout=20, stdin=None):
    """Runs a command to its end and returns its standard output."""
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=timeout * SLOWNESS)
    if check and done.returncode != 0:
        raise LabError(f"{' '.join(map(str, argv))}: exit {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def wait_for(condition, seconds, what, interval=0.02):
    """Polls condition() until it is true and returns its value; LabError after `seconds`: `what` was awaited, or what() tells then."""
    end = time.monotonic() + seconds * SLOWNESS
    while True:
        asked = time.monotonic()
        value = condition()
        if value:
            return value
        answered = time.monotonic()
        if answered >= end:
            raise LabError(f"{what() if callable(what) else what}: not within {seconds} s")
        # Asking takes at most half the time: what is waited for needs the processor too.
        time.sleep(max(interval, answered - asked))


class Namespace:
    """One network namespace. `role` is the short name that people read, `name` the unique one."""

    def __init__(self, prefix, role):
        self.role = role
        self.name = f"{prefix}-{role}"

    def command(self, *argv):
        return ["nsenter", f"--net={NETNS / self.name}", "--", *map(str, argv)]

    def run(self, *argv, **options):
        return run(self.command(*argv), **options)

    def ip(self, *argv, **options):
        return run(["ip", "-n", self.name, *map(str, argv)], **options)

    def batch(self, text):
        """Runs one iproute2 command per line, all in one process."""
        run(["ip", "-n", self.name, "-batch", "-"], stdin=text)

    def sysctl(self, **values):
        """sysctl(net_ipv4_ip_forward=1): `_` stands for `.` and `__` for `_`."""
        words = [f"{key.replace('__', chr(0)).replace('_', '.').replace(chr(0), '_')}={value}" for key, value in values.items()]
        self.run("sysctl", "-qw", *words)

    def nft(self, text):
        return self.run("nft", "-f", "-", stdin=text)

    def pids(self):
        return [int(pid) for pid in run(["ip", "netns", "pids", self.name], check=False).split()]


class Process:
    """A program that runs beside the test; its output goes to a file."""

    def __init__(self, argv, log, **options):
        self.argv = [str(word) for word in argv]
        self.log = Path(log)
        with open(self.log, "ab") as output:
            self.popen = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                          start_new_session=True, **options)
        self.pid = self.popen.pid

    def running(self):
        return self.popen.poll() is None

    def stop(self, number=signal.SIGTERM, seconds=3):
        """Sends the signal and waits for the end. Returns the exit status."""
        self.signal(number)
        return self.end(seconds)

    def signal(self, number):
        if self.running():
            self.popen.send_signal(number)

    def end(self, seconds=3):
        """Waits for the end and kills what is late. Returns the exit status."""
        try:
            return self.popen.wait(seconds * SLOWNESS)
        except subprocess.TimeoutExpired:
            os.killpg(self.pid, signal.SIGKILL)
            return self.popen.wait()


class Workspace:
    """The names, the private directory and the processes of one lab; removes all of it."""

    def __init__(self):
        sweep()
        self.prefix = self._claim()
        self.dir = LABS / self.prefix
        self.namespaces = []
        self.processes = []
        self.closers = []
        atexit.register(self.close)

    @staticmethod
    def _claim():
        LABS.mkdir(mode=0o755, exist_ok=True)
        for number in range(10000):
            prefix = f"vl{(os.getpid() * 7 + number) % 10000:04d}"
            try:
                (LABS / prefix).mkdir(mode=0o755)
            except FileExistsError:
                continue
            (LABS / prefix / "owner").write_text(f"{os.getpid()} {_start_time(os.getpid())}\n")
            return prefix
        raise LabError("no free lab name")

    def namespace(self, role):
        space = Namespace(self.prefix, role)
        self.namespaces.append(space)
        return space

    def start(self, argv, log, **options):
        process = Process(argv, self.dir / log, **options)
        self.processes.append(process)
        return process

    def before_close(self, closer):
        """Calls closer() before the processes are ended."""
        self.closers.append(closer)

    def keep(self):
        """Leaves everything up when this program ends; `deploy/demo down` removes it later."""
        (self.dir / "kept").touch()
        atexit.unregister(self.close)

    def close(self):
        """Ends and removes everything. VPNSIP_LAB_FILES=1 in the environment leaves the files (captures, logs)."""
        atexit.unregister(self.close)
        for closer in self.closers:
            closer()
        for process in self.processes:
            process.signal(signal.SIGTERM)
        for process in self.processes:
            process.end(1)
        keep_files = "VPNSIP_LAB_FILES" in os.environ
        if keep_files:
            (self.dir / "kept").touch()
        remove(self.prefix, keep_files)


def _start_time(pid):
    """The kernel's start time of a process: tells a process from a later one with the same pid."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19]
    except OSError:
        return ""


def owner_alive(directory):
    try:
        pid, started = (directory / "owner").read_text().split()
    except (OSError, ValueError):
        # just created, its owner is about to write the file
        return directory.exists() and time.time() - directory.stat().st_mtime < 10
    return _start_time(pid) == started


def remove(prefix, keep_files=False):
    """Ends every process of the lab, deletes its namespaces and its directory."""
    names = [path.name for path in NETNS.glob(f"{prefix}-*")] if NETNS.exists() else []
    for number in (signal.SIGTERM, signal.SIGKILL):
        pids = set(lab_pids(prefix))
        for pid in pids:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
        end = time.monotonic() + 1
        while time.monotonic() < end and lab_pids(prefix):
            time.sleep(0.01)
    if names:
        run(["ip", "-batch", "-"], stdin="".join(f"netns del {name}\n" for name in names), check=False)
    if not keep_files:
        shutil.rmtree(LABS / prefix, ignore_errors=True)


def lab_pids(prefix):
    """Processes in the lab's namespaces, and those that name the lab's directory on their command line."""
    pids = []
    inodes = {path.stat().st_ino for path in NETNS.glob(f"{prefix}-*")} if NETNS.exists() else set()
    mark = f"{LABS}/{prefix}/".encode()
    for proc in Path("/proc").iterdir():
        if not proc.name.isdigit() or int(proc.name) == os.getpid():
            continue
        try:
            if os.stat(proc / "ns/net").st_ino in inodes or mark in (proc / "cmdline").read_bytes():
                pids.append(int(proc.name))
        except OSError:
            continue
    return pids


def kept_labs():
    """The names of the labs that were kept on purpose."""
    return sorted(mark.parent.name for mark in LABS.glob("*/kept"))


def sweep(kept=()):
    """Removes the labs whose owner is gone, and of those that were kept on purpose the ones named in `kept`."""
    if not LABS.exists():
        return []
    removed = []
    for directory in sorted(LABS.iterdir()):
        if directory.is_dir() and not owner_alive(directory) and (directory.name in kept or not (directory / "kept").exists()):
            remove(directory.name)
            removed.append(directory.name)
    return removed
