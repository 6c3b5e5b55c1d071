# SPDX-License-Identifier: GPL-3.0-or-later
"""A router on which track-agent and nat-qos-agent run alone, and what their tests need around it.

    host --- lan0 [ router ] wan0 --- far (the backup WAN's other end)
                     |      prim0 --- far (the primary's)
                   vsip2
"""

import ctypes
import fcntl
import json
import os
import select
import socket
import struct
import subprocess
import threading
import time

from vpnlab.namespaces import LabError, Workspace, run, wait_for
from vpnlab.router import program

TUNNEL_SOURCE = "10.255.0.1"
WAN, FAR_WAN = "198.51.100.10", "198.51.100.1"
PRIMARY, FAR_PRIMARY = "192.0.2.10", "192.0.2.20"
BEYOND = "10.2.0.2"  # a host of the other site
SO_RCVMARK, SO_NO_CHECK = 75, 11
CLONE_NEWNET = 0x40000000
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000

CONFIGURATION = """\
enabled = true
tunnel-source = "{source}"
line "0388881001" {{ wan-interface = "wan0"  registrar = "198.51.100.5:5060"  wan-exclusive = {exclusive} }}
peer "0388882001" {{
    tunnel = "vsip2"
    address = "172.16.0.1/32"
    bandwidth = 1000
    ike-profile = "default"
    ipsec-profile = "default"
}}
ike-profile "default" {{ authentication = pre-share }}
ipsec-profile "default" {{ idle-time = 2 }}
sla 1 {{ icmp-echo = "{target}"  interface = "prim0"  frequency = 0.2  threshold = 100  timeout = 100 }}
track 1 {{ sla = 1 }}
route {{ destination = "{destination}"  gateway = "{target}"  interface = "prim0"  track = 1  metric = 1 }}
route {{ destination = "{destination}"  tunnel = "vsip2"  metric = 250 }}
timers {{ failback = {failback}  port-reuse = 1 }}
"""


def inside(namespace, work):
    """Runs work() on a thread of its own in the namespace and returns its result: sockets stay where they were made."""
    box = {}

    def runner():
        try:
            with open(f"/run/netns/{namespace.name}") as handle:
                if ctypes.CDLL(None, use_errno=True).setns(handle.fileno(), CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), "setns")
            box["result"] = work()
        except Exception as error:  # handed to the caller
            box["error"] = error

    thread = threading.Thread(target=runner)
    thread.start()
    thread.join()
    if "error" in box:
        raise box["error"]
    return box["result"]


class AgentBox:
    """The namespaces, and the agents in the router's."""

    def __init__(self, agents, destination="10.2.0.0/24", failback=0, exclusive="true"):
        self.workspace = Workspace()
        self.router, self.far, self.host = (self.workspace.namespace(role) for role in ("router", "far", "host"))
        self.processes = {}
        self.senders = {}
        self.open_files = []
        self._wire()
        directory = self.workspace.dir
        (directory / "vpnsip.conf").write_text(CONFIGURATION.format(
            source=TUNNEL_SOURCE, target=FAR_PRIMARY, destination=destination, failback=failback, exclusive=exclusive))
        for name in agents:
            self.start(name)

    def _wire(self):
        router, far, host = self.router.name, self.far.name, self.host.name
        run(["ip", "-batch", "-"], stdin=f"""\
netns add {router}
netns add {far}
netns add {host}
link add wan0 netns {router} type veth peer name wan0 netns {far}
link add prim0 netns {router} type veth peer name prim0 netns {far}
link add lan0 netns {router} type veth peer name eth0 netns {host}
""")
        for space in (self.router, self.far, self.host):
            space.sysctl(net_ipv6_conf_all_disable__ipv6=1, net_ipv6_conf_default_disable__ipv6=1)
        self.router.sysctl(net_ipv4_ip__forward=1)
        self.router.batch(f"""\
link set lo up
addr add {TUNNEL_SOURCE}/32 dev lo
addr add {WAN}/24 dev wan0
addr add {PRIMARY}/24 dev prim0
addr add 10.1.0.1/24 dev lan0
link set wan0 up
link set prim0 up
link set lan0 up
route add default via {FAR_WAN} dev wan0 metric 1000
""")
        self.make_tunnel()
        self.far.batch(f"""\
link set lo up
addr add 203.0.113.1/32 dev lo
addr add {FAR_WAN}/24 dev wan0
addr add 198.51.100.2/24 dev wan0
addr add {FAR_PRIMARY}/24 dev prim0
link set wan0 up
link set prim0 up
route add 10.1.0.0/24 via {WAN}
""")
        self.host.batch("link set lo up\naddr add 10.1.0.2/24 dev eth0\nlink set eth0 up\nroute add default via 10.1.0.1\n")

    def make_tunnel(self):
        self.router.batch("tuntap add vsip2 mode tun\naddr add 172.16.0.1/32 dev vsip2\nlink set vsip2 mtu 1380 up\n")

    def start(self, name, wrapper=()):
        """`wrapper` is a command that runs the service, such as unshare."""
        directory = self.workspace.dir
        before = len(self.log(name))
        self.processes[name] = self.workspace.start(
            self.router.command(*wrapper, program(name), "-c", directory / "vpnsip.conf", "--run-dir", directory / "run",
                                "--state-dir", directory / "state"), f"{name}.log")
        wait_for(lambda: "started" in self.log(name)[before:] or not self.processes[name].running(), 5, f"start of {name}")
        if not self.processes[name].running():
            raise LabError(f"{name} did not start:\n{self.log(name)}")

    def log(self, name):
        path = self.workspace.dir / f"{name}.log"
        return path.read_text() if path.exists() else ""

    def order(self, to, order, sender="vpnsip-coordinator", **body):
        """Sends one order and returns (outcome, cause, reply)."""
        if sender not in self.senders:
            self.senders[sender] = subprocess.Popen([str(program("bus_order")), str(self.workspace.dir / "run"), sender],
                                                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        process = self.senders[sender]
        process.stdin.write(json.dumps({"to": to, "order": order, "body": body}) + "\n")
        process.stdin.flush()
        if not select.select([process.stdout], [], [], 5)[0]:
            raise LabError(f"{order}: no answer within 5 s")
        answer = json.loads(process.stdout.readline())
        return answer["outcome"], answer["cause"], answer["reply"]

    def must(self, to, order, **body):
        outcome, cause, reply = self.order(to, order, **body)
        assert outcome == "done", f"{order}: {outcome}: {cause}"
        return reply

    def counters(self):
        return {counter["name"]: counter["packets"]
                for counter in self.must("nat-qos-agent", "GetSnapshot")["counters"]}

    def udp(self, namespace, address, port, mark=0, checksum=True):
        def make():
            made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            made.setsockopt(socket.SOL_SOCKET, SO_RCVMARK, 1)
            if mark:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
            if not checksum:
                made.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, 1)
            made.bind((address, port))
            made.settimeout(0.5)
            return made

        made = inside(namespace, make)
        self.open_files.append(made)
        return made

    def tun(self):
        """The other end of vsip2, as tunnel-agent has it."""
        def make():
            fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", b"vsip2", IFF_TUN | IFF_NO_PI))
            return os.fdopen(fd, "r+b", buffering=0)

        made = inside(self.router, make)
        self.open_files.append(made)
        return made

    def seen(self, table):
        """Packets that the far end counted in one of its `count()` tables."""
        text = self.far.run("nft", "list", "table", "ip", table)
        return int(text.split("packets ")[1].split()[0])

    def count(self, table, match):
        """Counts what arrives at the far end and matches."""
        self.far.nft(f"table ip {table} {{\nchain in {{\ntype filter hook prerouting priority -400; policy accept;\n"
                     f"{match} counter\n}}\n}}\n")

    def routes(self, *selector):
        return self.router.ip("route", "show", *selector).splitlines()

    def close(self):
        for handle in self.open_files:
            handle.close()
        for process in self.senders.values():
            process.kill()
            process.wait()
            process.stdin.close()
            process.stdout.close()
        self.workspace.close()


def receive(made):
    """(octets, source, mark), or None when nothing comes within the socket's timeout."""
    try:
        octets, control, _, source = made.recvmsg(65536, 64)
    except TimeoutError:
        return None
    marks = [struct.unpack("I", data[:4])[0] for level, kind, data in control
             if level == socket.SOL_SOCKET and kind == socket.SO_MARK]
    return octets, source, marks[0] if marks else None


def drain(tun, seconds):
    """Packets read from the tunnel within that time."""
    packets, end = [], time.monotonic() + seconds
    while (rest := end - time.monotonic()) > 0:
        if select.select([tun], [], [], rest)[0]:
            packets.append((time.monotonic(), tun.read(2048)))
    return packets
