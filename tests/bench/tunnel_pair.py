# SPDX-License-Identifier: GPL-3.0-or-later
"""Two tunnel-agents with a WAN between them and nobody else: coordinator and ike-agent are played, keys are fixed.

    [ a ] wan0 ---------- wan0 [ b ]         vsip7 (10.254.0.1) === vsip7 (10.254.0.2)

The translation of session ports is the product's in its shape: by mark, stateless.
"""

import grp
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "lab"))
sys.dont_write_bytecode = True

from vpnlab.namespaces import SLOWNESS, LabError, Workspace, run, wait_for  # noqa: E402
from vpnlab.router import program  # noqa: E402

TUNNEL = "vsip7"
MARK = 7
GCM = {"encryption": "AES_GCM_16", "integrity": "INTEGRITY_NONE"}
CHACHA = {"encryption": "CHACHA20_POLY1305", "integrity": "INTEGRITY_NONE"}
CBC = {"encryption": "AES_CBC", "integrity": "HMAC_SHA2_256_128", "integrity_key": bytes(range(32)).hex()}
KEY_SIZES = {"AES_GCM_16": 20, "CHACHA20_POLY1305": 36, "AES_CBC": 16}
REPLY_SECONDS = 5

CONFIGURATION = """\
enabled = true
tunnel-source = "{source}"
line "{own}" {{ wan-interface = "wan0"  registrar = "100.64.0.9:5060" }}
{peers}ike-profile "default" {{ authentication = pre-share }}
ipsec-profile "default" {{ idle-time = {idle}  {profile} }}
sla 1 {{ icmp-echo = "192.0.2.20"  interface = "wan0" }}
timers {{ hold = {hold} }}
"""

PEER = """\
peer "{other}" {{
    tunnel = "{tunnel}"
    {address}
    bandwidth = {bandwidth}
    any-bandwidth = true
    {more}
    ike-profile = "default"
    ipsec-profile = "default"
}}
"""

TRANSLATION = """\
table ip vpnsip {{
 map session-ports {{ type ipv4_addr . inet_service : mark
  elements = {{ {marks} }}
 }}
 map source-ports {{ type mark : inet_service
  elements = {{ {ports} }}
 }}
 map source-addresses {{ type mark : ipv4_addr
  elements = {{ {addresses} }}
 }}
 chain in {{ type filter hook prerouting priority raw
  iifname "wan0" udp dport 50000-50999 notrack meta mark set ip daddr . udp dport map @session-ports ip daddr set {source} udp dport set 4500 udp checksum set 0
 }}
 chain output {{ type filter hook output priority raw
  oifname "wan0" ip saddr {source} notrack
 }}
 chain out {{ type filter hook postrouting priority srcnat
  oifname "wan0" ip saddr {source} udp sport 4500 udp checksum 0 udp sport set meta mark map @source-ports ip saddr set meta mark map @source-addresses udp checksum set 0
  oifname "wan0" ip saddr {source} udp sport 4500 udp sport set meta mark map @source-ports ip saddr set meta mark map @source-addresses{spoil}
  oifname "wan0" ip saddr {source} counter drop
 }}
}}
"""


class Player:
    """Plays coordinator and ike-agent towards one tunnel-agent, and remembers what it told."""

    def __init__(self, directory):
        self.process = subprocess.Popen([program("bus_driver"), directory], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True, bufsize=1, umask=0o007)
        self.state = {}  # of the first tunnel
        self.requests = []
        self._replies = []
        self._news = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            message = json.loads(line)
            with self._news:
                if message["kind"] in ("done", "failed"):
                    self._replies.append(message)
                elif message["kind"] == "request":
                    self.requests.append(message)
                elif message["message"] == "TunnelChanged":
                    self._note(message["body"])
                elif message["message"] == "TunnelSnapshot":
                    for tunnel in message["body"]["tunnels"]:
                        self._note(tunnel)
                self._news.notify_all()

    def _note(self, tunnel):
        if tunnel["tunnel"] == TUNNEL:
            self.state = tunnel

    def order(self, sender, message, **body):
        """The cause of the failure, or None when the order was carried out."""
        with self._news:
            self._replies.clear()
            self.process.stdin.write(f"{sender} tunnel-agent {message} {json.dumps(body)}\n")
            self.process.stdin.flush()
            if not self._news.wait_for(lambda: self._replies, REPLY_SECONDS * SLOWNESS):
                raise LabError(f"no reply to {message}")
            reply = self._replies[0]
        return None if reply["kind"] == "done" else reply["body"].get("cause", "failed")

    def must(self, sender, message, **body):
        cause = self.order(sender, message, **body)
        assert cause is None, f"{message}: {cause}"

    def coordinator(self, message, **body):
        self.must("coordinator", message, tunnel=TUNNEL, **body)

    def wait(self, condition, seconds, what):
        with self._news:
            if not self._news.wait_for(lambda: self.state and condition(self.state), seconds * SLOWNESS):
                raise AssertionError(f"{what}: not within {seconds} s: {self.state}")

    def drops(self):
        return {drop["reason"]: drop["packets"] for drop in self.state["drops"]}

    def packets(self, direction):
        return sum(sa["packets"] for sa in self.state["sas"] if sa["direction"] == direction)

    def close(self):
        self.process.stdin.close()
        try:
            self.process.wait(3)
        except subprocess.TimeoutExpired:
            self.process.kill()


class Side:
    """One router: its namespace, tunnel-agent and player."""

    def __init__(self, workspace, role, number, options):
        self.role, self.number = role, number
        self.space = workspace.namespace(role)
        self.workspace = workspace
        self.wan, self.port = f"100.64.0.{number}", 50000 + number
        self.source, self.address = f"10.255.0.{number}", f"10.254.0.{number}"
        self.other_address = f"10.254.0.{3 - number}"
        self.tunnels = [(f"vsip{MARK + index}", MARK + index) for index in range(options.get("tunnels", 1))]
        self.directory = workspace.dir / role
        self.options = options

    def configure(self):
        own = f"038888100{self.number}"
        more = {"bandwidth": self.options.get("bandwidth", 1000), "more": self.options.get("peer", "")}
        peers = "".join(
            PEER.format(other=f"03999{3 - self.number}{index:04}", tunnel=tunnel,
                        address=self.options.get("address", f'address = "10.254.{index}.{self.number}/32"'), **more)
            for index, (tunnel, _) in enumerate(self.tunnels))
        (self.directory / "vpnsip.conf").write_text(CONFIGURATION.format(
            source=self.source, own=own, peers=peers, idle=self.options.get("idle", 120), hold=self.options.get("hold", 10),
            profile=self.options.get("profile", "")))
        self.space.batch(f"link set lo up\naddr add {self.wan}/24 dev wan0\nlink set wan0 up\n"
                         f"route add default via 100.64.0.{3 - self.number}\n")
        self.space.sysctl(net_ipv4_ip__forward=1)
        places = [(mark, self.port + 2 * index) for index, (_, mark) in enumerate(self.tunnels)]
        self.space.nft(TRANSLATION.format(
            source=self.source, spoil=self.options.get("spoil", ""),
            marks=", ".join(f"{self.wan} . {port} : {mark}" for mark, port in places),
            ports=", ".join(f"{mark} : {port}" for mark, port in places),
            addresses=", ".join(f"{mark} : {self.wan}" for mark, _ in places)))

    def start_agent(self):
        log = self.workspace.dir / f"{self.role}.log"
        before = len(log.read_text()) if log.exists() else 0
        self.agent = self.workspace.start(
            self.space.command(*self.environment(), program("tunnel-agent"), "-c", self.directory / "vpnsip.conf", "--run-dir",
                               self.directory / "run", "--state-dir", self.directory / "state"), log.name)
        wait_for(lambda: "started" in log.read_text()[before:] or not self.agent.running(), 5, "start of tunnel-agent")
        if not self.agent.running():
            raise LabError(log.read_text())
        self.route()

    def environment(self):
        """Words before the program's name; an option of the pair, with the folder of either side in it."""
        words = [word.format(directory=self.directory) for word in self.options.get("environment", ())]
        return ["env", *words] if words else []

    def route(self):
        self.space.batch("".join(f"route replace 10.254.{index}.{3 - self.number}/32 dev {tunnel}\n"
                                 for index, (tunnel, _) in enumerate(self.tunnels)))

    def start_player(self):
        # where services make theirs: readable by the services' group alone
        for name in ("vpnsip-coordinator", "ike-agent"):
            path = self.directory / "run" / name
            path.mkdir(exist_ok=True)
            os.chown(path, 0, grp.getgrnam("vpnsip").gr_gid)
            path.chmod(0o2750)
        self.player = Player(self.directory / "run")
        self.player.wait(lambda state: True, 5, "snapshot")

    def ping(self, count=1, interval=0.2, size=56, wait=1):
        """How many were answered."""
        text = self.space.run("ping", "-q", "-c", count, "-i", interval, "-s", size, "-W", wait, self.other_address,
                              check=False, timeout=60)
        return int(text.split(" received")[0].split()[-1])


class Pair:
    """Both routers. Options of Side: address, idle, hold, bandwidth, peer and profile (more options of these sections),
    spoil (what the translation does to a checksum), environment (of tunnel-agent: NAME={directory}/VALUE), tunnels (how many; those after the first have no part in ping()).
    `path_mtu` puts a router between them that forwards no larger packets and says so; their own links take 1500."""

    def __init__(self, path_mtu=None, **options):
        self.workspace = Workspace()
        self.attempt = 0
        self.a, self.b = (Side(self.workspace, role, number, options) for number, role in enumerate(("a", "b"), 1))
        self.sides = (self.a, self.b)
        for side in self.sides:
            run(["ip", "netns", "add", side.space.name])
        if path_mtu:
            self.lay_path(path_mtu)
        else:
            run(["ip", "link", "add", "wan0", "netns", self.a.space.name, "type", "veth", "peer", "name", "wan0", "netns", self.b.space.name])
        for side in self.sides:
            side.directory.mkdir()
            side.configure()
            side.start_agent()
            side.start_player()

    def lay_path(self, mtu):
        """Either side takes the other for a neighbour: the router answers for it."""
        self.path = self.workspace.namespace("path")
        run(["ip", "netns", "add", self.path.name])
        self.path.batch("link set lo up\naddr add 100.64.0.9/32 dev lo\n")
        self.path.sysctl(net_ipv4_ip__forward=1)
        for side in self.sides:
            port = f"to-{side.role}"
            run(["ip", "link", "add", "wan0", "netns", side.space.name, "type", "veth", "peer", "name", port, "netns", self.path.name])
            self.path.batch(f"link set {port} up\nroute add {side.wan}/32 dev {port} mtu lock {mtu}\n")
            self.path.sysctl(**{f"net_ipv4_conf_{port}_proxy__arp": 1, f"net_ipv4_conf_{port}_rp__filter": 0})

    def set_peers(self):
        self.attempt += 1
        for side, other in (self.sides, self.sides[::-1]):
            for index, (tunnel, _) in enumerate(side.tunnels):
                side.player.must("coordinator", "SetPeer", tunnel=tunnel, attempt=self.attempt,
                                 remote={"address": other.wan, "port": other.port + 2 * index})

    def install_sas(self, suite=GCM, generation=None, directions=("SA_INBOUND", "SA_OUTBOUND"), **more):
        """Inbound ones first, as IKE does."""
        generation = generation or self.attempt
        size = suite.get("key_size", KEY_SIZES[suite["encryption"]])
        suite = {name: value for name, value in suite.items() if name != "key_size"}
        for direction in directions:
            for side, (_, mark) in [(side, tunnel) for side in self.sides for tunnel in side.tunnels]:
                sender = side.number if direction == "SA_OUTBOUND" else 3 - side.number
                key = bytes((generation * 16 + sender * 3 + octet) % 256 for octet in range(size)).hex()
                fields = {"replay_window": 64, "has_extended_sequence": True, "encryption_key": key, **suite, **more}
                side.player.must("ike-agent", "InstallSa", if_id=mark, direction=direction, spi=4096 * sender + generation,
                                 **fields)

    def open(self, rate_kbit=0):
        for side in self.sides:
            for tunnel, _ in side.tunnels:
                side.player.must("coordinator", "OpenTunnel", tunnel=tunnel, attempt=self.attempt, rate_kbit=rate_kbit)

    def connect(self, suite=GCM, rate_kbit=0, **more):
        self.set_peers()
        self.install_sas(suite, **more)
        self.open(rate_kbit)

    def clear(self):
        for side in self.sides:
            for tunnel, _ in side.tunnels:
                side.player.must("coordinator", "ClearPeer", tunnel=tunnel, attempt=self.attempt)

    def wait_for_news(self):
        """Counters are told once a second."""
        time.sleep(1.2)

    def close(self):
        for side in self.sides:
            if hasattr(side, "player"):
                side.player.close()
        self.workspace.close()
