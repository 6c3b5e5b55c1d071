# SPDX-License-Identifier: GPL-3.0-or-later
"""One compose project under test: up, its containers and what they do, down, and what stayed."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

from engine import ROOT, docker, inspect, run

SERVICES = {
    "coordinator": (5641, set()),
    "sip-agent": (5642, set()),
    "ike-agent": (5643, set()),
    "tunnel-agent": (5644, {"NET_ADMIN"}),
    "track-agent": (5645, {"NET_ADMIN", "NET_RAW"}),
    "nat-qos-agent": (5646, {"NET_ADMIN"}),
}
# Dropped with the sockets that they open.
ONLY_TO_START = {"tunnel-agent": {"NET_RAW"}}
GROUP = 5640
CAPABILITY_BITS = {"CHOWN": 0, "SETGID": 6, "SETUID": 7, "NET_ADMIN": 12, "NET_RAW": 13}


def mask(names):
    return sum(1 << CAPABILITY_BITS[name] for name in names)


def wait_for(condition, seconds, what, interval=0.1):
    """Polls condition() until it is true and returns its value."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        time.sleep(interval)


def status_fields(path):
    return dict(line.split(":\t", 1) for line in Path(path).read_text().splitlines())


class Project:
    def __init__(self, engine, name, file, *options):
        self.engine, self.name = engine, name
        self.command = [*engine.compose, "-p", name, *options, "-f", ROOT / "deploy" / file]

    def compose(self, *words, timeout=300, check=True, **options):
        return run([*self.command, *words], timeout=timeout, check=check, **options)

    def container(self, service):
        """The id of the container that runs that service; also of one that has ended."""
        ids = docker("ps", "-aq", "--filter", f"label=com.docker.compose.project={self.name}",
                     "--filter", f"label=com.docker.compose.service={service}").split()
        assert len(ids) == 1, f"{service}: {len(ids)} containers"
        return ids[0]

    def state(self, service):
        return inspect(self.container(service))[0]

    def pid(self, service):
        """On the host; 0 while it does not run."""
        return self.state(service)["State"]["Pid"]

    def log(self, service, lines=200):
        done = subprocess.run(["docker", "logs", "--tail", str(lines), self.container(service)], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, errors="replace")
        return done.stdout

    def exec(self, service, *words, **options):
        return docker("exec", self.container(service), *words, **options)

    def show(self, router, *words):
        """The --json form of `vpnsip show WORDS`; empty while nothing whole is answered."""
        try:
            return json.loads(self.exec(f"{router}-coordinator", "vpnsip", "show", *words, "--json", check=False))
        except json.JSONDecodeError:
            return {}

    def session(self, router):
        return (self.show(router, "vpn-sip", "session", "detail").get("sessions") or [{}])[0]

    def health(self, router):
        """{service: health} as the CLI finds it, asked in the container of a service that is not under test."""
        return {entry["name"].removeprefix("vpnsip-"): entry["health"] for entry in self.show(router, "services").get("services", [])}

    def kill(self, service):
        """Kills the process, as a crash would: `docker kill` counts as an operator's stop, and nothing restarts then."""
        os.kill(self.pid(service), signal.SIGKILL)

    def volume(self, name):
        (volume,) = json.loads(docker("volume", "inspect", f"{self.name}_{name}"))
        return Path(volume["Mountpoint"])

    def nsenter(self, service, *words):
        return run(["nsenter", f"--net=/proc/{self.pid(service)}/ns/net", *words])

    def down(self):
        self.compose("down", "-v", "--remove-orphans", check=False)

    def leftovers(self):
        """Readable lines about what is left of the project; empty = nothing."""
        mark = f"label=com.docker.compose.project={self.name}"
        found = [f"container {line}" for line in docker("ps", "-a", "--format", "{{.Names}}", "--filter", mark).split()]
        found += [f"volume {line}" for line in docker("volume", "ls", "-q", "--filter", mark).split()]
        found += [f"network {line}" for line in docker("network", "ls", "--format", "{{.Name}}", "--filter", mark).split()]
        found += [f"mount {line.split()[1]}" for line in Path("/proc/mounts").read_text().splitlines() if self.name in line]
        return found
