# SPDX-License-Identifier: GPL-3.0-or-later
"""The story of a fail-over, told inside compose.lab.yaml: in the network namespace of `wires`, between the sites.

It cuts the primary network in its middle, looks at the captures, asks both routers over their buses, and ends
with status 0 when everything held.
"""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

from vpnlab.capture import classify_wan, read_packets, sip_messages
from vpnlab.namespaces import LabError, run, wait_for

CAPTURES = Path("/captures")
CARRIER = "198.51.100.34"
ECHO_REQUEST, ECHO_REPLY = 8, 0
NUMBERS = {"a": "0388881001", "b": "0388882001"}
START = time.time()


class StoryBroken(Exception):
    """Something did not happen as it should; the text says what."""


def say(text):
    print(f"[{time.time() - START:6.2f} s] {text}", flush=True)


def wait(condition, seconds, what):
    try:
        return wait_for(condition, seconds, what, interval=0.05)
    except LabError as failure:
        raise StoryBroken(str(failure)) from None


def vpnsip(router, *words, check=True):
    return run(["vpnsip", "--run-dir", f"/routers/{router}/run", "-c", f"/routers/{router}/etc/vpnsip.conf", *words], check=check)


def show(router, *words):
    """The --json form of `vpnsip show WORDS`; empty while the router does not answer in full."""
    try:
        return json.loads(vpnsip(router, "show", *words, "--json", check=False))
    except json.JSONDecodeError:
        return {}


def quote(router, *words):
    print(f"             $ vpnsip show {' '.join(words)}        (router {router.upper()})")
    for line in vpnsip(router, "show", *words, check=False).rstrip().splitlines():
        print(f"             | {line}", flush=True)


def services_up(router):
    services = show(router, "services").get("services", [])
    return len(services) == 6 and all(service["health"] == "up" for service in services)


def status(router):
    sessions = show(router, "vpn-sip", "session", "detail").get("sessions") or [{}]
    return sessions[0].get("status")


def is_track_up(router):
    tracks = show(router, "track").get("tracks") or [{}]
    return tracks[0].get("status") == "UP"


def cut_primary():
    """In the middle: the routers' own links to the primary stay up."""
    for interface in ("prim-a", "prim-b"):
        run(["ip", "rule", "add", "priority", "10", "iif", interface, "blackhole"])


def restore_primary():
    while subprocess.run(["ip", "rule", "del", "priority", "10"], stderr=subprocess.DEVNULL).returncode == 0:
        pass


def capture(name):
    return read_packets(CAPTURES / f"{name}.pcap")


def echoes(kind):
    return [packet for packet in capture("host-a") if packet.icmp_type == kind]


def first_reply(cut):
    """The first reply to a request that was sent after the cut."""
    sent = {packet.echo for packet in echoes(ECHO_REQUEST) if packet.time >= cut}
    return next((packet for packet in echoes(ECHO_REPLY) if packet.time >= cut and packet.echo in sent), None)


def sip_call_ids(method, since):
    """Distinct Call-IDs of the requests of that method that router A has sent or received since then."""
    return {message.call_id for message in sip_messages(capture("wan-a"))
            if message.time >= since and message.start_line.startswith(f"{method} ")}


def call_records():
    """What kamailio.cfg has written about each call that ended, oldest first."""
    fields = ("start_time", "end_time", "duration", "caller", "callee", "call_id")
    lines = [line for path in Path("/carrier/call-records").iterdir() for line in path.read_text().splitlines()]
    return sorted((dict(zip(fields, line.split("|"))) for line in lines), key=lambda record: record["end_time"])


def open_dialogs():
    """Call-IDs of the calls that the carrier has open; state 5 is deleted, kept for late requests."""
    dialogs = re.findall(r"call-id: (\S+).*?state: (\d+)", run(["kamcmd", "-s", "unix:/carrier/ctl", "dlg.list"]), re.DOTALL)
    return [call_id for call_id, state in dialogs if state != "5"]


class Story:
    def __init__(self):
        self.begun = time.time()
        self.records_before = 0
        self.cut = self.detected = None

    def play(self):
        self.begin()
        self.fail_over()
        self.fail_back()

    def begin(self):
        for router in NUMBERS:
            wait(lambda: services_up(router), 60, f"router {router.upper()}: six services up")
            wait(lambda: status(router) == "READY_TO_CONNECT", 60, f"router {router.upper()}: registered and resting")
            wait(lambda: is_track_up(router), 10, f"router {router.upper()}: the primary path is up")
            say(f"router {router.upper()} ({NUMBERS[router]}): six containers answer, registered at the carrier")
        quote("a", "services")
        self.begun = time.time()
        self.records_before = len(call_records())
        (CAPTURES / "ping").touch()
        wait(lambda: len([packet for packet in echoes(ECHO_REPLY) if packet.time > self.begun]) >= 10, 10,
             "ten pings answered over the primary")
        say("host A pings host B, ten times a second, over the primary network")

    def fail_over(self):
        cut_primary()
        self.cut = time.time()
        say("the primary network is cut in its middle: the routers' own links stay up, only probes can notice")
        wait(lambda: not is_track_up("a") and not is_track_up("b"), 15, "both routers notice")
        self.detected = time.time()
        reply = wait(lambda: first_reply(self.cut), 20, "the first ping answered through the tunnel")
        say(f"the first ping is answered through the tunnel {(reply.time - self.cut) * 1000:.0f} ms after the cut")
        for router in NUMBERS:
            wait(lambda: status(router) == "SESSION_UP", 10, f"SESSION_UP at router {router.upper()}")
        time.sleep(2)
        quote("a", "vpn-sip", "session", "detail")

    def fail_back(self):
        restore_primary()
        say("the primary network is back")
        # A hangs up; when its IKE DELETE overtakes its BYE, B is the first to say BYE.
        wait(lambda: sip_call_ids("BYE", self.begun), 30, "the BYE of the idle call")
        say("the call has been idle for 4 s: BYE, the bill ends")
        for router in NUMBERS:
            wait(lambda: status(router) == "READY_TO_CONNECT", 10, f"READY_TO_CONNECT at router {router.upper()}")
        (CAPTURES / "ping").unlink()
        record = wait(lambda: call_records()[self.records_before:], 10, "the carrier's accounting record")[0]
        say(f"the carrier bills {record['duration']} s, {record['caller']} to {record['callee']}")
        time.sleep(0.5)

    def figures(self):
        requests = [packet for packet in echoes(ECHO_REQUEST) if packet.time >= self.begun]
        answered = {packet.echo for packet in echoes(ECHO_REPLY)}
        lost = [packet for packet in requests if packet.echo not in answered]
        figures = {"pings_sent": len(requests), "pings_lost_detecting": 0, "pings_lost": 0}
        for packet in lost:
            figures["pings_lost" if self.detected and packet.time >= self.detected else "pings_lost_detecting"] += 1
        for router in NUMBERS:
            classes, clear = classify_wan(capture(f"wan-{router}"), carrier=CARRIER)
            figures[f"esp_packets_on_wan_{router}"] = classes.get("esp", 0)
            figures[f"clear_packets_on_wan_{router}"] = len(clear)
            for packet in clear[:5]:
                print(f"  clear on the WAN of {router.upper()}: {packet}")
        figures["sip_invites"] = len(sip_call_ids("INVITE", self.begun))
        figures["sip_byes"] = len(sip_call_ids("BYE", self.begun))
        figures["calls_billed"] = len(call_records()) - self.records_before
        figures["calls_open"] = len(open_dialogs())
        return figures


WANTED = {"pings_lost": 0, "clear_packets_on_wan_a": 0, "clear_packets_on_wan_b": 0, "sip_invites": 1, "sip_byes": 1,
          "calls_billed": 1, "calls_open": 0}


def main():
    story, wrong = Story(), []
    try:
        story.play()
    except (StoryBroken, LabError) as failure:
        wrong.append(str(failure))
    finally:
        restore_primary()
        (CAPTURES / "ping").unlink(missing_ok=True)
    figures = story.figures()
    wrong += [f"{name} is {figures[name]}, not {value}" for name, value in WANTED.items() if figures[name] != value]
    wrong += [f"no ESP packet on the WAN of {router.upper()}" for router in NUMBERS if not figures[f"esp_packets_on_wan_{router}"]]
    print()
    for name, value in figures.items():
        print(f"  {name:28} {value}")
    for line in wrong:
        print(f"  WRONG: {line}")
    say(f"the story {'did not hold' if wrong else 'held'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
