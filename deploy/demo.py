# SPDX-License-Identifier: GPL-3.0-or-later
"""Plays the story of the first call on a lab and counts, from captures and the kernel, whether it held.

Run it by deploy/demo, which sets up and builds before.
"""

import argparse
import datetime
import json
import re
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests/lab"))

from vpnlab.capture import Capture, classify_wan, sip_messages  # noqa: E402
from vpnlab.checks import difference, kernel_state, machine_leftovers, session_leftovers  # noqa: E402
from vpnlab.lab import Lab  # noqa: E402
from vpnlab.namespaces import LabError, kept_labs, sweep, wait_for  # noqa: E402
from vpnlab.router import Settings, program  # noqa: E402
from vpnlab.topology import A, B  # noqa: E402

PING_INTERVAL = 0.1
ECHO_REQUEST, ECHO_REPLY = 8, 0


class StoryBroken(Exception):
    """Something did not happen as it should; the text says what."""


class Narrator:
    def __init__(self):
        self.start = time.time()

    def say(self, text):
        print(f"[{time.time() - self.start:7.2f} s] {text}", flush=True)

    def quote(self, text):
        for line in text.rstrip().splitlines():
            print(f"             | {line}", flush=True)


class RouteMonitor:
    """When the kernel of a router removed and restored its primary route."""

    def __init__(self, lab, router):
        self.prefix = router.peer.lan
        argv = ["env", "TZ=UTC", "ip", "-ts", "monitor", "route"]
        self.process = lab.workspace.start(router.space.command(*argv), f"routes-{router.site.name}.log")

    def _moments(self, deleted):
        pattern = re.compile(rf"^\[([^\]]+)\] ?{'Deleted ' if deleted else ''}{re.escape(self.prefix)} .*dev prim0", re.MULTILINE)
        return [datetime.datetime.fromisoformat(stamp).replace(tzinfo=datetime.timezone.utc).timestamp()
                for stamp in pattern.findall(self.process.log.read_text())]

    def removed(self, since):
        return next((moment for moment in self._moments(True) if moment >= since), None)

    def restored(self, since):
        return next((moment for moment in self._moments(False) if moment >= since), None)


class Story:
    def __init__(self, narrator):
        self.narrator = narrator
        # B is the headend: it lets the branch decide when the call has been idle long enough
        timers = {"failback": 2, "holddown": 2}
        self.lab = Lab(a=Settings(idle_time=4, timers=timers), b=Settings(idle_time=30, timers=timers))
        self.figures = {}
        self.cut = self.route = self.own_route = None

    def say(self, text):
        self.narrator.say(text)

    def wait(self, condition, seconds, what):
        try:
            return wait_for(condition, seconds, what)
        except LabError as failure:
            raise StoryBroken(str(failure)) from None

    def show(self, router, *words):
        print(f"             $ vpnsip show {' '.join(words)}        (router {router.site.name.upper()})")
        self.narrator.quote(router.cli("show", *words))

    def play(self):
        self.begin()
        self.ping_over_primary()
        self.cut_primary()
        self.call()
        self.restore_primary()
        self.hang_up()

    def begin(self):
        self.say("starting two routers, a host behind each, two networks and the telephone carrier")
        self.lab.start(primary=True)
        self.lan = Capture(self.lab.workspace, self.lab.hosts["a"], "eth0", "host-a")
        self.monitors = {name: RouteMonitor(self.lab, router) for name, router in self.lab.routers.items()}
        self.before = {name: kernel_state(router.space) for name, router in self.lab.routers.items()}
        self.say(f"router A ({A.number}) and router B ({B.number}) are registered at the carrier")
        self.show(self.lab.a, "vpn-sip", "registration-status")

    def ping_over_primary(self):
        self.say(f"host A ({A.host}) pings host B ({B.host}), ten times a second, over the primary network")
        self.ping = self.lab.start_ping(PING_INTERVAL)
        self.wait(lambda: len(self.replies()) >= 10, 5, "ten pings answered over the primary")
        self.show(self.lab.a, "track")

    def cut_primary(self):
        self.say("cutting the primary network in its middle: the routers' own links stay up, only probes can notice")
        self.lab.topology.cut_primary()
        self.cut = time.time()  # from now on no request can be answered over the primary
        moments = self.wait(lambda: self.route_moments("removed", self.cut), 15, "both routers removing their primary route")
        self.own_route, self.route = moments["a"], max(moments.values())
        for name, moment in moments.items():
            self.say(f"router {name.upper()} took its primary route out {(moment - self.cut) * 1000:.0f} ms after the cut; "
                     "its traffic goes to the tunnel, which has no peer")

    def route_moments(self, what, since):
        moments = {name: getattr(monitor, what)(since) for name, monitor in self.monitors.items()}
        return moments if all(moments.values()) else None

    def call(self):
        reply = self.wait(self.first_reply, 15, "the first ping answered through the tunnel")
        for what, moment in self.milestones():
            self.say(f"  {(moment - self.cut) * 1000:7.0f} ms after the cut: {what}")
        self.say(f"  {(reply.time - self.cut) * 1000:7.0f} ms after the cut: the first ping is answered through the tunnel")
        for router in self.lab.routers.values():
            self.wait(lambda: router.status() == "SESSION_UP", 5, f"SESSION_UP at router {router.site.name.upper()}")
        time.sleep(2)
        self.show(self.lab.a, "vpn-sip", "session", "detail")
        self.show(self.lab.b, "vpn-sip", "session")
        self.show(self.lab.a, "ip", "nat", "translations")

    def milestones(self):
        packets = [packet for packet in self.lab.wan["a"].packets() if packet.time >= self.cut]
        messages = sip_messages(packets)
        found = [
            ("router A sends the INVITE", (m.time for m in messages if m.start_line.startswith("INVITE ") and m.src == A.wan)),
            ("the 200 OK arrives: the call stands", (m.time for m in messages if m.status == 200 and m.method == "INVITE")),
            ("first IKE packet", (packet.time for packet in packets if packet.is_ike)),
            ("first ESP packet", (packet.time for packet in packets if packet.is_esp)),
        ]
        return [(what, moment) for what, moments in found if (moment := next(moments, None))]

    def restore_primary(self):
        self.say("the primary network is back")
        moment = time.time()
        self.lab.topology.restore_primary()
        moments = self.wait(lambda: self.route_moments("restored", moment), 20, "both routers restoring their primary route")
        self.say(f"both primary routes are back {(max(moments.values()) - moment) * 1000:.0f} ms later; the tunnel falls idle")

    def hang_up(self):
        self.wait(lambda: self.sip_call_ids("BYE"), 20, "the BYE of the idle call")
        self.say("the call has been idle for 4 s: router A has sent the BYE, the bill ends")
        self.ping.stop(signal.SIGINT)
        for router in self.lab.routers.values():
            self.wait(lambda: router.status() == "READY_TO_CONNECT", 8, f"READY_TO_CONNECT at router {router.site.name.upper()}")
        self.show(self.lab.a, "vpn-sip", "session")
        (record,) = self.wait(self.lab.carrier.call_records, 5, "the carrier's accounting record")
        self.say(f"the carrier bills {record['duration']} s, {record['caller']} to {record['callee']}")

    def echoes(self, kind):
        return [packet for packet in self.lan.packets() if packet.icmp_type == kind and kind == ECHO_REQUEST and packet.src == A.host
                or packet.icmp_type == kind and kind == ECHO_REPLY and packet.dst == A.host]

    def replies(self):
        return self.echoes(ECHO_REPLY)

    def first_reply(self):
        """The first reply to a request that was sent after the cut."""
        sent = {packet.echo for packet in self.echoes(ECHO_REQUEST) if packet.time >= self.cut}
        return next((packet for packet in self.replies() if packet.time >= self.cut and packet.echo in sent), None)

    def sip_call_ids(self, method):
        """Distinct Call-IDs of the requests of that method that router A sent on the backup WAN."""
        return {message.call_id for message in sip_messages(self.lab.wan["a"].packets())
                if message.start_line.startswith(f"{method} ") and message.src == A.wan}

    def leftovers(self):
        found = session_leftovers(self.lab)
        for name, router in self.lab.routers.items():
            found += [f"router {name}: {line}" for line in difference(self.before[name], kernel_state(router.space))]
        return found

    def count(self):
        """The figures, from captures and the kernel alone. Counts what there is also when the story broke off."""
        requests = self.echoes(ECHO_REQUEST) if hasattr(self, "lan") else []
        answered = {packet.echo for packet in self.replies()} if hasattr(self, "lan") else set()
        lost = [packet for packet in requests if packet.echo not in answered]
        classes, self.clear = classify_wan(self.lab.wan["a"].packets()) if self.lab.wan else ({}, [])
        reply = self.first_reply() if self.cut else None
        trigger = next((packet for packet in requests if self.own_route and packet.time >= self.own_route), None)
        try:
            self.left = self.leftovers() if hasattr(self, "before") else []
        except LabError as failure:
            self.left = [str(failure)]
        self.figures = {
            "pings_sent": len(requests),
            "pings_lost": len([packet for packet in lost if self.route and packet.time >= self.route]),
            "pings_lost_detecting": len([packet for packet in lost if not self.route or packet.time < self.route]),
            "failover_ms": round((reply.time - self.cut) * 1000, 1) if reply else None,
            "trigger_to_first_reply_ms": round((reply.time - trigger.time) * 1000, 1) if reply and trigger else None,
            "sip_invites": len(self.sip_call_ids("INVITE")) if self.lab.wan else 0,
            "sip_byes": len(self.sip_call_ids("BYE")) if self.lab.wan else 0,
            "esp_packets_on_wan": classes.get("esp", 0),
            "clear_packets_on_wan": classes.get("clear", 0),
            "leftovers": len(self.left),
        }

    def judge(self):
        """Sentences about what did not hold; empty when all did."""
        figures, wrong = self.figures, []
        if figures["pings_lost"]:
            wrong.append(f"{figures['pings_lost']} pings were lost after the tunnel's route was installed")
        if figures["failover_ms"] is None:
            wrong.append("no ping was answered after the cut")
        for name in ("sip_invites", "sip_byes"):
            if figures[name] != 1:
                wrong.append(f"{name} is {figures[name]}, not 1")
        if not figures["esp_packets_on_wan"]:
            wrong.append("no ESP packet was seen on the backup WAN")
        wrong += [f"clear packet on the backup WAN: {packet}" for packet in self.clear[:5]]
        wrong += [f"left behind: {line}" for line in self.left]
        return wrong


def explain_keep(lab):
    ha, ra = lab.hosts["a"].name, lab.routers["a"]
    print(f"""
The lab stays up. Some things to try:
  ip netns exec {ha} ping {B.host}
  ip -n {lab.topology.net.name} link set prim down        (cuts the primary; `up` restores it)
  {program("vpnsip")} --run-dir {ra.run_dir} show vpn-sip session detail
  {program("vpnsip")} --run-dir {ra.run_dir} monitor
  kamcmd -s unix:{lab.carrier.dir}/ctl dlg.list
  tcpdump -n -r {lab.wan["a"].path}
  logs: {ra.dir}/*.log
It is removed by: deploy/demo down""")


def play(arguments):
    narrator = Narrator()
    story = Story(narrator)
    workspace = story.lab.workspace
    wrong = []
    try:
        story.play()
    except (StoryBroken, LabError) as failure:
        wrong.append(str(failure))
    story.count()
    wrong += story.judge()
    if arguments.keep:
        workspace.keep()
        explain_keep(story.lab)
    else:
        workspace.close()
        found = machine_leftovers(workspace.prefix)
        story.figures["leftovers"] += len(found)
        wrong += [f"left on the machine: {line}" for line in found]
    report(narrator, story.figures, wrong, arguments.json)
    return 1 if wrong else 0


def report(narrator, figures, wrong, file):
    figures = {"verdict": "failed" if wrong else "held", **figures}
    print()
    for name, value in figures.items():
        print(f"  {name:28} {value}")
    for line in wrong:
        print(f"  WRONG: {line}")
    if file:
        Path(file).write_text(json.dumps({**figures, "wrong": wrong}, indent=2) + "\n")
    narrator.say(f"the story {'did not hold' if wrong else 'held'}")


def main():
    parser = argparse.ArgumentParser(prog="deploy/demo", description="Plays the story of the first call live.")
    parser.add_argument("command", nargs="?", choices=["down"], help="remove what --keep left")
    parser.add_argument("lab", nargs="?", help="with down: this one only")
    parser.add_argument("--keep", action="store_true", help="leave the lab up afterwards, to explore it")
    parser.add_argument("--json", metavar="FILE", help="write the figures")
    arguments = parser.parse_args()
    if arguments.command == "down":
        removed = sweep(kept=[arguments.lab] if arguments.lab else kept_labs())
        print(f"demo: removed {', '.join(removed)}" if removed else "demo: nothing to remove")
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return play(arguments)
    except KeyboardInterrupt:
        print("\ndemo: interrupted; everything is removed")
        return 130


if __name__ == "__main__":
    sys.exit(main())
