# SPDX-License-Identifier: GPL-3.0-or-later
"""A whole lab: topology, carrier, both routers, captures; used by the tests and by deploy/demo."""

from .capture import Capture
from .carrier import Carrier
from .checks import machine_leftovers
from .namespaces import LabError, Workspace, wait_for
from .router import Router, Settings
from .topology import A, B, Topology

PASSWORDS = {A.number: "carrier-password-a", B.number: "carrier-password-b"}


class Lab:
    """start() returns when both lines are registered. close() removes everything and tells what stayed."""

    def __init__(self, a=None, b=None, digest="MD5", expires=None):
        self.workspace = Workspace()
        self.topology = Topology(self.workspace)
        self.carrier = Carrier(self.workspace, self.topology.carrier, PASSWORDS, digest)
        self.carrier.expires = expires
        spaces = self.topology.routers
        self.a = Router(self.workspace, spaces["a"], A, B, PASSWORDS[A.number], a or Settings())
        self.b = Router(self.workspace, spaces["b"], B, A, PASSWORDS[B.number], b or Settings())
        self.routers = {"a": self.a, "b": self.b}
        self.hosts = self.topology.hosts
        self.wan = {}

    def start(self, primary=False, seconds=10):
        """Starts all and waits for both registrations. Without `primary` the primary network is cut from the start."""
        if not primary:
            self.topology.cut_primary()
        for name in ("a", "b"):
            self.wan[name] = Capture(self.workspace, self.topology.net, f"wan-{name}", f"wan-{name}")
        self.carrier.start()
        for router in self.routers.values():
            router.start()
        for router in self.routers.values():
            router.wait_up(seconds)
        self.wait_registered(seconds)
        for router in self.routers.values():
            wait_for(lambda: router.route_to(router.peer.host) == ("prim0" if primary else router.site.tunnel), seconds,
                     f"router {router.site.name}: route to {router.peer.lan}", interval=0.05)

    def wait_registered(self, seconds=10):
        wait_for(lambda: len(self.carrier.registered()) == 2, seconds, "both numbers registered at the carrier", interval=0.05)
        for router in self.routers.values():
            router.wait_status("READY_TO_CONNECT", seconds=seconds)

    def ping(self, count=1, interval=0.2, wait=6, source="a"):
        """Pings the other host; returns the number of answers."""
        target = (B if source == "a" else A).host
        text = self.hosts[source].run("ping", "-n", "-c", count, "-i", interval, "-W", wait, target, check=False, timeout=count * interval + wait + 5)
        return int(text.split(" received")[0].split()[-1])

    def start_ping(self, interval=0.05, source="a"):
        """Pings until stopped with SIGINT; its output goes to a file."""
        target = (B if source == "a" else A).host
        return self.workspace.start(self.hosts[source].command("ping", "-n", "-D", "-O", "-i", interval, target), f"ping-{source}.log")

    def wait_up(self, seconds=6):
        """Until both sides show SESSION_UP; returns both sessions."""
        return tuple(router.wait_status("SESSION_UP", seconds=seconds) for router in self.routers.values())

    def wait_resting(self, seconds=8):
        return tuple(router.wait_status("READY_TO_CONNECT", seconds=seconds) for router in self.routers.values())

    def hang_up(self):
        """Ends the session by operator order and waits until both sides rest."""
        self.a.cli("hangup", B.number)
        self.wait_resting()

    def open_descriptors(self):
        """{"SERVICE of SIDE": number of open file descriptors}"""
        return {f"{name} of {side}": count for side, router in self.routers.items() for name, count in router.descriptors().items()}

    def close(self):
        self.workspace.close()
        found = machine_leftovers(self.workspace.prefix)
        if found:
            raise LabError("the lab left behind: " + ", ".join(found))
