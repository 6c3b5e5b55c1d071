# SPDX-License-Identifier: GPL-3.0-or-later
"""A Docker engine to test with: the machine's own, or one that is started for the tests and ended after them.

An engine that runs is used as it is. Otherwise Debian's is installed (deploy/setup --containers) and started here.
Without a way to a registry the base image is made by debootstrap from the machine's own package mirror.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BASE = "debian:bookworm-slim"
START_LIMIT_SECONDS = 60
PULL_LIMIT_SECONDS = 120


class EngineError(Exception):
    """The engine, as opposed to the product under test."""


def say(text):
    """On a line of its own: pytest has begun one with the name of the test."""
    print(f"\ncompose: {text}", flush=True)


def run(argv, check=True, timeout=60, **options):
    """Runs a command to its end and returns its standard output."""
    done = subprocess.run([str(word) for word in argv], capture_output=True, text=True, errors="replace", timeout=timeout, **options)
    if check and done.returncode:
        raise EngineError(f"{' '.join(map(str, argv))}: exit {done.returncode}: {(done.stderr or done.stdout).strip()[-1500:]}")
    return done.stdout


def succeeds(argv, timeout=60):
    try:
        return subprocess.run(argv, capture_output=True, timeout=timeout).returncode == 0
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return False


def docker(*words, **options):
    return run(["docker", *words], **options)


def inspect(*names):
    return json.loads(docker("inspect", *names))


def find_compose():
    """The command of compose: the plugin, or docker-compose. None = neither is there."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if succeeds([*command, "version"]):
            return command
    return None


class HostState:
    """What engines change on their host: links named docker0, br-ID and vethID, tables with chains of theirs, forwarding."""

    FORWARD = Path("/proc/sys/net/ipv4/ip_forward")
    LINK = re.compile(r"docker0|br-[0-9a-f]{12}|veth[0-9a-f]{7}")

    def __init__(self):
        self.links, self.tables, self.forward = self._links(), self._tables(), self.FORWARD.read_text()

    def _links(self):
        return {link["ifname"] for link in json.loads(run(["ip", "-j", "link", "show"])) if self.LINK.fullmatch(link["ifname"])}

    @staticmethod
    def _tables():
        tables = run(["nft", "list", "tables"], check=False).splitlines()
        return {table for table in tables if "DOCKER" in run(["nft", "list", *table.split()], check=False)}

    def added(self):
        """Names of the links and tables that were not there before."""
        return sorted(self._links() - self.links) + sorted(self._tables() - self.tables)

    def restore(self):
        for link in self._links() - self.links:
            run(["ip", "link", "del", link], check=False)
        for table in self._tables() - self.tables:
            run(["nft", "delete", *table.split()], check=False)
        self.FORWARD.write_text(self.forward)


class Engine:
    """A running engine with the base image. close() ends it if it was started here; the images stay for the next time."""

    def __init__(self):
        self.process = self.log = self.host = None
        if not succeeds(["docker", "info"]) or not find_compose():
            self._install()
        if not succeeds(["docker", "info"]):
            self._start()
        self.compose = find_compose()
        try:
            self._provide_base()
        except BaseException:
            self.close()
            raise

    @staticmethod
    def _install():
        say("no engine answers: installing what is missing of Debian's")
        done = subprocess.run([ROOT / "deploy/setup", "--containers"], capture_output=True, text=True)
        if done.returncode:
            raise EngineError(f"deploy/setup --containers failed:\n{(done.stdout + done.stderr)[-2000:]}")

    def _start(self):
        self.host = HostState()
        self.log = Path(tempfile.mkstemp(prefix="vpnsip-dockerd-", suffix=".log")[1])
        say(f"starting dockerd, log {self.log}")
        with self.log.open("w") as log:
            self.process = subprocess.Popen(["dockerd"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        end = time.monotonic() + START_LIMIT_SECONDS
        while not succeeds(["docker", "info"], 5):
            if self.process.poll() is not None or time.monotonic() > end:
                why = self.log.read_text()[-2000:]
                self.close()
                raise EngineError(f"a Docker engine cannot be started here; dockerd said:\n{why}")
            time.sleep(0.2)

    def _provide_base(self):
        if succeeds(["docker", "image", "inspect", BASE]):
            return
        say(f"pulling {BASE}")
        if succeeds(["docker", "pull", BASE], PULL_LIMIT_SECONDS):
            return
        say("it cannot be pulled: making it by debootstrap from this machine's mirror (half a minute)")
        make_base()

    def close(self):
        if not self.process:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.log.unlink()
        self.host.restore()


def make_base():
    """Imports a minimal Debian 12 as the base image, with the apt sources of this machine."""
    sources = run(["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages",
                   "Origin: Debian"]).splitlines()
    mirror = next((line.split()[0] for line in sources if line.split()[1:] == ["bookworm", "main"]), None)
    if not mirror:
        raise EngineError("apt knows no mirror of Debian bookworm; next step: apt-get update")
    folder = Path(tempfile.mkdtemp(prefix="vpnsip-base-"))
    try:
        run(["debootstrap", "--variant=minbase", "bookworm", folder, mirror], timeout=600)
        (folder / "etc/apt/sources.list").write_text("".join(f"deb {line}\n" for line in sorted(set(sources))))
        for path in [*folder.glob("var/cache/apt/archives/*.deb"), *folder.glob("var/lib/apt/lists/*_*")]:
            path.unlink()
        archive = subprocess.Popen(["tar", "-C", folder, "-c", "."], stdout=subprocess.PIPE)
        docker("import", "-", BASE, stdin=archive.stdout, timeout=300)
        if archive.wait() != 0:
            raise EngineError("tar could not read the new base")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
