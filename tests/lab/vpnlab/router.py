# SPDX-License-Identifier: GPL-3.0-or-later
"""One router of a lab: its configuration, its six services, and what `vpnsip show` says about it."""

import grp
import json
import os
import pwd
import selectors
import signal
import subprocess
import threading
import time
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from .carrier import REALM
from .namespaces import SLOWNESS, LabError, run, wait_for
from .topology import CARRIER

ROOT = Path(__file__).resolve().parents[3]

# name -> system user; the order is that of a start
SERVICES = {
    "track-agent": "vpnsip-track",
    "nat-qos-agent": "vpnsip-natqos",
    "tunnel-agent": "vpnsip-tunnel",
    "ike-agent": "vpnsip-ike",
    "sip-agent": "vpnsip-sip",
    "vpnsip-coordinator": "vpnsip-coordinator",
}
# these two talk to nothing but the bus: they run in an empty network namespace
WITHOUT_NETWORK = {"ike-agent", "vpnsip-coordinator"}
PSK = "lab-key-7d2e5f0c9ab14e63b8f1"


@cache
def program(name):
    """The built program of that name, below $VPNSIP_BUILD or build/release."""
    build = Path(os.environ.get("VPNSIP_BUILD", ROOT / "build/release"))
    for path in sorted(build.rglob(name)):
        if path.is_file() and os.access(path, os.X_OK):
            return path
    raise LabError(f"{name} is not built below {build} (VPNSIP_BUILD names another build directory)")


@cache
def takes_option(name, option):
    """Whether the built program knows this option."""
    return option in subprocess.run([program(name), "--help"], capture_output=True, text=True, timeout=5).stdout


@dataclass
class Settings:
    """What a test wants different at one router. The defaults are quick: a lab is not a bank."""

    idle_time: float = 5  # on a loaded machine two seconds may pass between a ping and a look at its session
    transport: str = "udp"
    password: str = ""
    psk: str = PSK
    key_id: str = ""  # of the keyring entry; default the peer's number
    psk_fingerprint: bool = True
    pin: str = ""
    bandwidth: int = 1000
    frequency: float = 0.2
    destination: str = ""  # of the route through the tunnel; default the other LAN
    wan_exclusive: bool = True
    log_level: str = "info"
    allow_faults: bool = False
    restart_delay: float | None = None  # seconds after which a supervisor starts a dead service again; None = no supervisor
    peer_options: list = field(default_factory=list)
    line_options: list = field(default_factory=list)
    ike_options: list = field(default_factory=list)  # more of the profiles named "default"
    ipsec_options: list = field(default_factory=list)
    registrar_port: int = 5060
    sections: str = ""  # more of vpnsip.conf; {directory} is the router's
    timers: dict = field(default_factory=lambda: {"holddown": 2, "failback": 1, "answer": 4, "ringing": 4, "ike": 5,
                                                  "port-reuse": 1})


def configuration(site, peer, settings, directory):
    """The text of vpnsip.conf (docs/configuration.md)."""
    pin = f'    fingerprint = "{settings.pin}"\n' if settings.pin else ""
    more = "".join(f"    {option}\n" for option in settings.peer_options)
    of_line, of_ike, of_ipsec = ("".join(f"    {option}\n" for option in options) for options in
                                 (settings.line_options, settings.ike_options, settings.ipsec_options))
    timers = "  ".join(f"{name} = {round(value * SLOWNESS, 3):g}" for name, value in settings.timers.items())
    return f"""\
enabled = true
logging = true
tunnel-source = "{site.tunnel_source}"
keyring-file = "{directory}/ike.keyring"
log-level = {settings.log_level}
maximum-calls-per-hour = 10000

line "{site.number}" {{
    wan-interface = "wan0"
    gateway = "198.51.100.1"
    registrar = "{CARRIER}:{settings.registrar_port}"
    domain = "{REALM}"
    transport = {settings.transport}
    credentials-file = "{directory}/sip.password"
    wan-exclusive = {"true" if settings.wan_exclusive else "false"}
{of_line}}}

peer "{peer.number}" {{
    tunnel = "{site.tunnel}"
    address = "{site.tunnel_address}/32"
    description = "lab {peer.name}"
    bandwidth = {settings.bandwidth}
{pin}{more}}}

ike-profile "default" {{
    psk-fingerprint = {"true" if settings.psk_fingerprint else "false"}
{of_ike}}}

ipsec-profile "default" {{
    idle-time = {settings.idle_time * SLOWNESS:g}
{of_ipsec}}}

sla 1 {{
    icmp-echo = "{peer.primary}"
    interface = "prim0"
    frequency = {settings.frequency}
    threshold = {int(settings.frequency * 1000)}
    timeout = {int(settings.frequency * 1000)}
}}

track 1 {{
    sla = 1
}}

route {{
    destination = "{peer.lan}"
    gateway = "{peer.primary}"
    interface = "prim0"
    track = 1
    metric = 1
}}

route {{
    destination = "{settings.destination or peer.lan}"
    tunnel = "{site.tunnel}"
    metric = 250
}}

timers {{ {timers} }}
{settings.sections.replace("{directory}", str(directory))}"""


class Router:
    """The services of one site, in the namespace `space`."""

    def __init__(self, workspace, space, site, peer, password, settings=None):
        self.workspace, self.space, self.site, self.peer = workspace, space, site, peer
        self.settings = settings or Settings()
        self.dir = workspace.dir / f"router-{site.name}"
        self.run_dir, self.state_dir = self.dir / "run", self.dir / "state"
        self.processes = {}
        self.supervisor = None
        self.dir.mkdir(mode=0o755)
        self.config_file = self.dir / "vpnsip.conf"
        self.write_configuration()
        self._write_secret("sip.password", "vpnsip-sip", (self.settings.password or password) + "\n")
        self._write_secret("ike.keyring", "vpnsip-ike",
                           f'peer "{peer.name}" {{\n    identity-key-id = "{self.settings.key_id or peer.number}"\n'
                           f'    pre-shared-key = "{self.settings.psk}"\n}}\n')

    def write_configuration(self):
        self.config_file.write_text(configuration(self.site, self.peer, self.settings, self.dir))

    def _write_secret(self, name, user, text):
        path = self.dir / name
        path.touch(mode=0o400)
        path.write_text(text)
        try:
            os.chown(path, pwd.getpwnam(user).pw_uid, grp.getgrnam("vpnsip").gr_gid)
        except KeyError as missing:
            raise LabError(f"{missing}: run deploy/setup first, it creates the system users") from None

    def start(self):
        for name in SERVICES:
            self.start_service(name)
        if self.settings.restart_delay is not None:
            self.supervisor = Supervisor(self)

    def start_service(self, name):
        argv = [program(name), "-c", self.config_file, "--run-dir", self.run_dir, "--state-dir", self.state_dir]
        if self.settings.allow_faults and takes_option(name, "--allow-faults"):
            argv.append("--allow-faults")
        command = ["unshare", "--net", *argv] if name in WITHOUT_NETWORK else self.space.command(*argv)
        self.processes[name] = self.workspace.start(command, f"router-{self.site.name}/{name}.log")

    def wait_up(self, seconds=8):
        """Until every service answers, and the coordinator knows what the others hold: before that it places no call."""
        wait_for(self._all_up, seconds, f"router {self.site.name}: all services up", interval=0.1)

    def _all_up(self):
        dead = [name for name, process in self.processes.items() if not process.running()]
        if dead:
            tail = self.processes[dead[0]].log.read_text()[-2000:]
            raise LabError(f"router {self.site.name}: {', '.join(dead)} ended:\n{tail}")
        try:
            services = self.show("services")["services"]
        except (LabError, json.JSONDecodeError):
            return False
        return (len(services) == len(SERVICES) and all(service.get("health") == "up" for service in services)
                and "ADOPTING" not in self.cli("debug", "vpnsip-coordinator", "state", check=False))

    def stop(self, number=signal.SIGTERM, names=None):
        """Signals all (or the named) services at once and waits for them. Returns {name: exit status}. Ends a supervisor."""
        if self.supervisor:
            self.supervisor.stop()
        chosen = {name: self.processes[name] for name in names or self.processes}
        for process in chosen.values():
            process.signal(number)
        return {name: process.end() for name, process in chosen.items()}

    def cli_command(self, *words):
        return [str(program("vpnsip")), "-c", str(self.config_file), "--run-dir", str(self.run_dir), *map(str, words)]

    def cli(self, *words, check=True, timeout=10):
        return run(self.cli_command(*words), check=check, timeout=timeout)

    def show(self, *words):
        """The --json form of `vpnsip show WORDS`."""
        return json.loads(self.cli("show", *words, "--json"))

    def log(self, name="vpnsip-coordinator"):
        return self.processes[name].log.read_text()

    def logs(self):
        return "".join(self.log(name) for name in self.processes)

    def session(self):
        """The one session of this router, as `show vpn-sip session detail --json` gives it."""
        (session,) = self.show("vpn-sip", "session", "detail")["sessions"]
        return session

    def status(self):
        return self.session()["status"]

    def wait_status(self, *wanted, seconds=6):
        """Waits for one of the session statuses and returns the session. A service of a busy machine may miss one question."""
        seen = []

        def reached():
            try:
                session = self.session()
                what = session["status"]
            except LabError as failure:
                session, what = None, str(failure)
            if not seen or seen[-1] != what:
                seen.append(what)
            return session if what in wanted else None

        try:
            return wait_for(reached, seconds, f"router {self.site.name}: session {' or '.join(wanted)}")
        except LabError as failure:
            raise LabError(f"{failure} (seen: {', '.join(seen)})") from None

    def descriptors(self):
        """{service: number of open file descriptors}"""
        return {name: len(os.listdir(f"/proc/{process.pid}/fd")) for name, process in self.processes.items() if process.running()}

    def capabilities(self, name):
        """(uid, effective capability mask) of a running service."""
        fields = dict(line.split(":\t", 1) for line in Path(f"/proc/{self.processes[name].pid}/status").read_text().splitlines())
        return int(fields["Uid"].split()[0]), int(fields["CapEff"], 16)

    def route_to(self, address):
        """The kernel's choice for a packet from the LAN: the interface, or "unreachable"."""
        words = self.space.ip("route", "get", address, "from", self.site.host, "iif", "lan0", check=False).split()
        return words[words.index("dev") + 1] if "dev" in words and "unreachable" not in words else "unreachable"


class Supervisor:
    """Starts each service of a router again when it has ended, as systemd or a container's restart policy would."""

    def __init__(self, router):
        self.router = router
        self.delay = router.settings.restart_delay
        self.restarts = dict.fromkeys(router.processes, 0)
        self.before_restart = lambda name: None  # a control run takes something away here
        self.is_stopping = False
        self.selector = selectors.DefaultSelector()
        for name in router.processes:
            self._watch(name)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        router.workspace.before_close(self.stop)

    def _watch(self, name):
        self.selector.register(os.pidfd_open(self.router.processes[name].pid), selectors.EVENT_READ, name)

    def _run(self):
        due = {}  # name -> when to start it
        while not self.is_stopping:
            for key, _ in self.selector.select(0.02 if due else 0.2):
                self.selector.unregister(key.fileobj)
                os.close(key.fileobj)
                due[key.data] = time.monotonic() + self.delay
            for name in [name for name, when in due.items() if when <= time.monotonic() and not self.is_stopping]:
                del due[name]
                self.before_restart(name)
                self.router.processes[name].end()
                self.router.start_service(name)
                self.restarts[name] += 1
                self._watch(name)

    def stop(self):
        """After this a service that ends stays away."""
        if self.is_stopping:
            return
        self.is_stopping = True
        self.thread.join()
        for key in list(self.selector.get_map().values()):
            os.close(key.fileobj)
        self.selector.close()
