# SPDX-License-Identifier: GPL-3.0-or-later
"""Two routers with many numbers and tunnels between them: number k of the one calls number k of the other."""

import os
import re
import signal
import time

from vpnlab.carrier import REALM, Carrier
from vpnlab.lab import Lab
from vpnlab.namespaces import LabError, wait_for
from vpnlab.router import PSK, Settings
from vpnlab.topology import CARRIER, A, B

DEAD_MAN_CALLS = 10
DEAD_MAN_LIMIT_SECONDS = 65
ADOPT_SESSIONS = 200
ADOPT_LIMIT_SECONDS = 2
PASSWORD = "carrier-password-many"


def number(site, index):
    return f"{site.number[:5]}{index:05}" if site is A else f"{site.number[:5]}{50000 + index:05}"


def wan_address(site, index):
    return f"198.51.{100 + (1 if site is A else 2)}.{index + 1}"


def overlay(site, index):
    """The address behind the tunnel that pings come from and go to."""
    return f"10.{100 if site is A else 101}.{index // 250}.{index % 250 + 1}"


def configuration(site, peer, count, settings, directory):
    lines = "".join(f"""
line "{number(site, k)}" {{
    wan-interface = "wan{k + 1}"
    gateway = "198.51.100.1"
    registrar = "{CARRIER}:5060"
    domain = "{REALM}"
    credentials-file = "{directory}/sip.password"
}}

peer "{number(peer, k)}" {{
    line = "{number(site, k)}"
    tunnel = "vsip{k + 1}"
    address = "172.{16 if site is A else 17}.{k // 250}.{k % 250 + 1}/32"
    bandwidth = 64
}}

route {{
    destination = "{overlay(peer, k)}/32"
    tunnel = "vsip{k + 1}"
    metric = 250
}}
""" for k in range(count))
    timers = "  ".join(f"{name} = {value}" for name, value in settings.timers.items())
    return f"""\
enabled = true
logging = true
tunnel-source = "{site.tunnel_source}"
keyring-file = "{directory}/ike.keyring"
maximum-calls-per-hour = 100000
maximum-sessions = 1000
ike-profile "default" {{ }}
ipsec-profile "default" {{ idle-time = {settings.idle_time} }}
timers {{ {timers} }}
{lines}"""


class ManyLab(Lab):
    """`count` numbers, WAN interfaces and tunnels at each router."""

    def __init__(self, count):
        settings = [Settings(idle_time=600, allow_faults=True, restart_delay=None) for _ in range(2)]
        super().__init__(*settings)
        self.count = count
        users = {number(site, k): PASSWORD for site in (A, B) for k in range(count)}
        (self.carrier.dir / "call-records.sqlite").unlink()
        os.remove(self.carrier.dir / "tables/users")
        os.rmdir(self.carrier.dir / "tables")
        self.carrier = Carrier(self.workspace, self.topology.carrier, users)
        for router, site, peer in ((self.a, A, B), (self.b, B, A)):
            self._add_wans(router, site)
            router.config_file.write_text(configuration(site, peer, count, router.settings, router.dir))
            router._write_secret("sip.password", "vpnsip-sip", PASSWORD + "\n")
            router._write_secret("ike.keyring", "vpnsip-ike", "".join(
                f'peer "p{k}" {{\n    identity-key-id = "{number(peer, k)}"\n    pre-shared-key = "{PSK}"\n}}\n' for k in range(count)))

    def _add_wans(self, router, site):
        net, space = self.topology.net, router.space
        space.batch("".join(f"link add wan{k + 1} type veth peer name w{site.name}{k} netns {net.name}\n"
                            f"addr add {wan_address(site, k)}/16 dev wan{k + 1}\nlink set wan{k + 1} up\n" for k in range(self.count)))
        space.sysctl(**{f"net_ipv4_conf_wan{k + 1}_rp__filter": 0 for k in range(self.count)})
        space.batch("".join(f"addr add {overlay(site, k)}/32 dev lo\n" for k in range(self.count)))
        net.batch("".join(f"link set w{site.name}{k} master wan up\n" for k in range(self.count)))

    def start(self, seconds=60):
        self.topology.net.ip("addr", "replace", "198.51.100.1/16", "dev", "wan")
        self.topology.carrier.ip("addr", "replace", f"{CARRIER}/16", "dev", "eth0")
        self.carrier.start()
        for router in self.routers.values():
            router.start()
        for router in self.routers.values():
            router.wait_up(30)
        wait_for(lambda: self.statistic("usrloc", "location-contacts") == 2 * self.count, seconds, f"{2 * self.count} numbers registered", interval=0.2)

    def statistic(self, group, name):
        """One of the carrier's counters; its lists are too long for kamcmd."""
        return int(re.search(rf"{name} = (\d+)", self.carrier.control("stats.get_statistics", f"{group}:"))[1])

    def call_all(self, seconds=60):
        for k in range(self.count):
            self.a.cli("call", number(B, k))
        try:
            wait_for(lambda: self.up_count() == self.count, seconds, "sessions up", interval=0.3)
        except LabError as failure:
            raise LabError(f"{failure}: {self.up_count()} of {self.count} up") from None

    def up_count(self, router=None):
        sessions = (router or self.a).show("vpn-sip", "session", "detail")["sessions"]
        return sum(session["status"] == "SESSION_UP" for session in sessions)


if __name__ == "__main__":
    import sys
    count = int(sys.argv[1])
    lab = ManyLab(count)
    try:
        began = time.time()
        lab.start()
        print(f"registered {time.time()-began:.1f}")
        lab.call_all()
        print(f"up {time.time()-began:.1f}")
        print(lab.a.space.run("ping", "-c", "3", "-i", "0.2", "-I", overlay(A, count-1), overlay(B, count-1), check=False))
    finally:
        for r in lab.routers.values(): print(r.logs()[-6000:])
        lab.close()
