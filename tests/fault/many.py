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
ADOPT_WAIT_SECONDS = 20
ADOPT_STAY_SECONDS = 17  # an owner that is absent for 15 s counts as empty
BATCH = 10
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
        settings = [Settings(idle_time=600, timers={}) for _ in range(2)]
        super().__init__(*settings)
        self.count = count
        users = {number(site, k): PASSWORD for site in (A, B) for k in range(count)}
        os.rmdir(self.carrier.dir / "call-records")
        os.remove(self.carrier.dir / "tables/users")
        os.rmdir(self.carrier.dir / "tables")
        self.carrier = Carrier(self.workspace, self.topology.carrier, users, children=1)
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
        # Each address is answered for by its own interface alone, not by all of them.
        space.sysctl(net_ipv4_conf_all_arp__ignore=1, **{f"net_ipv4_conf_wan{k + 1}_rp__filter": 0 for k in range(self.count)})
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
        wait_for(lambda: self.statistic("usrloc", "location_contacts") == 2 * self.count, seconds, f"{2 * self.count} numbers registered", interval=0.2)

    def statistic(self, group, name):
        """One of the carrier's counters; its lists are too long for kamcmd."""
        return int(re.search(rf"{name} = (\d+)", self.carrier.control("stats.get_statistics", f"{group}:"))[1])

    def call_all(self):
        """Some at a time, and again what fails: what is measured afterwards is no rush of calls."""
        for first in range(0, self.count, BATCH):
            batch = range(first, min(first + BATCH, self.count))
            wait_for(lambda: self._call(batch), 60, f"sessions {batch[0]} to {batch[-1]} up", interval=0.5)

    def _call(self, batch):
        missing = [k for k in batch if f"vsip{k + 1}" not in self.calls(self.a)]
        for k in missing:
            self.a.cli("call", number(B, k), check=False)
        end = time.monotonic() + 8
        while missing and time.monotonic() < end:
            time.sleep(0.1)
            missing = [k for k in missing if f"vsip{k + 1}" not in self.calls(self.a)]
        return not missing

    def calls(self, router):
        """{tunnel: Call-ID} of the sessions that are up."""
        sessions = router.show("vpn-sip", "session", "detail")["sessions"]
        return {session["interface"]: session["sip_call_id"] for session in sessions if session["status"] == "SESSION_UP"}

    def up_count(self):
        return len(self.calls(self.a))

    def open_calls(self):
        return self.statistic("dialog", "active_dialogs")


def dead_man():
    """The caller's coordinator stops for good with calls up: sip-agent ends them alone. Returns (whether in time, a sentence)."""
    lab = ManyLab(DEAD_MAN_CALLS)
    try:
        lab.start()
        lab.call_all()
        began = time.monotonic()
        lab.a.processes["vpnsip-coordinator"].signal(signal.SIGSTOP)
        while lab.open_calls() and time.monotonic() - began < DEAD_MAN_LIMIT_SECONDS + 5:
            time.sleep(0.1)
        seconds, left = time.monotonic() - began, lab.open_calls()
        lab.a.processes["vpnsip-coordinator"].signal(signal.SIGCONT)
        time.sleep(2)  # the carrier writes its records after the end
        ended = len(lab.carrier.call_records())
    finally:
        lab.close()
    is_good = not left and ended == DEAD_MAN_CALLS and seconds <= DEAD_MAN_LIMIT_SECONDS
    return is_good, (f"dead-man: coordinator stopped for good with {DEAD_MAN_CALLS} calls up: {left} still open after {seconds:.1f} s, "
                     f"{ended} accounted (aim: all within {DEAD_MAN_LIMIT_SECONDS} s) {'reached' if is_good else 'MISSED'}")


def adopt_many():
    """The caller's coordinator is killed with many sessions up and starts again. Returns (whether all were adopted, a sentence)."""
    lab = ManyLab(ADOPT_SESSIONS)
    try:
        lab.start()
        lab.call_all()
        before = lab.calls(lab.a)
        lab.a.processes["vpnsip-coordinator"].stop(signal.SIGKILL)
        began = time.monotonic()
        lab.a.start_service("vpnsip-coordinator")
        seconds, now = 0.0, {}
        while time.monotonic() - began < ADOPT_WAIT_SECONDS:
            try:
                now = lab.calls(lab.a)
            except (LabError, ValueError):
                now = {}  # does not answer yet
            seconds = time.monotonic() - began
            if now == before:
                break
            time.sleep(0.05)
        time.sleep(ADOPT_STAY_SECONDS)
        stayed, open_calls = lab.calls(lab.a) == before, lab.open_calls()
    finally:
        lab.close()
    adopted = sum(before[tunnel] == now.get(tunnel) for tunnel in before)
    is_good = now == before and stayed and open_calls == ADOPT_SESSIONS and seconds <= ADOPT_LIMIT_SECONDS
    return is_good, (f"adoption: coordinator killed with {len(before)} sessions up: {adopted} adopted {seconds:.2f} s after its start, "
                     f"{open_calls} calls open {ADOPT_STAY_SECONDS} s later (aim: all within {ADOPT_LIMIT_SECONDS} s) {'reached' if is_good else 'MISSED'}")
