# SPDX-License-Identifier: GPL-3.0-or-later
"""The cases of the fault matrix: each service x role x session state x fault. Tables only; drive.py carries them out."""

import json
import random
import re
from dataclasses import dataclass
from pathlib import Path

MESSAGES = Path(__file__).with_name("messages.json")

SERVICES = ["vpnsip-coordinator", "sip-agent", "ike-agent", "tunnel-agent", "nat-qos-agent", "track-agent"]

# The states that a session of this role passes; HOLDDOWN follows an own call that failed.
STATES = {
    "caller": ["READY_TO_CONNECT", "CALLING", "RINGING", "NEGOTIATING_IKE", "SESSION_UP", "RELEASING", "HOLDDOWN"],
    "callee": ["READY_TO_CONNECT", "RINGING", "NEGOTIATING_IKE", "SESSION_UP", "RELEASING"],
}

# Moments of a call that no session state tells apart: (role, service, name of the moment).
MOMENTS = [
    ("caller", "sip-agent", "CALLING", "before-100"),
    ("caller", "sip-agent", "CALLING", "after-100"),
    ("caller", "sip-agent", "CALLING", "between-200-and-ACK"),
    ("callee", "sip-agent", "NEGOTIATING_IKE", "before-the-ACK-came"),
]

# What is switched off (controls.py) -> the case that must then fail, and how. A case that survives without it has shown nothing.
CONTROLS = {
    "no-dialog-store": (("caller", "sip-agent", "SESSION_UP", "kill"), "did not survive|open at the carrier|open dialog"),
    "no-snapshots": (("caller", "vpnsip-coordinator", "SESSION_UP", "kill"), "did not survive|not recovered"),
    "no-nft-table": (("caller", "nat-qos-agent", "SESSION_UP", "stop"), "clear packet"),
    "no-guards": (("caller", "all", "SESSION_UP", "kill"), "clear packet"),
}

# Cases that may fail, how (both regular expressions), and why; what fails otherwise is a failure. They are counted and named apart.
KNOWN = []

PROCESS_FAULTS = ["kill", "stop"]
MESSAGE_FAULTS = ["drop", "delay", "duplicate", "corrupt"]
# where a message of this kind is met, at its sender and at its receiver
POINTS = {
    "event": ("send-event", "receive-event"),
    "request": ("send-request", "before-handler"),
    "reply": ("send-reply", "receive-reply"),
}


@dataclass(frozen=True)
class Message:
    """One message that a service sends or receives in a state, in a recorded normal session (messages.json)."""

    role: str
    service: str
    state: str
    point: str
    body: str
    peer: str  # who is at the other end; empty for an event that is sent to all
    skip: int  # so many of the same pass before, since the session rested or, in RELEASING, was up


@dataclass(frozen=True)
class Case:
    role: str
    service: str  # "all" = the six at once
    state: str
    fault: str
    moment: str = ""
    message: Message = None
    control: str = ""

    @property
    def name(self):
        parts = [self.control and f"control-{self.control}", self.role, self.service, self.state, self.moment, self.fault]
        if self.message:
            parts += [self.message.point, self.message.body, self.message.peer]
        return ":".join(part for part in parts if part)

    @property
    def is_kill(self):
        return self.fault == "kill" and not self.message


def process_cases():
    for role, states in STATES.items():
        for service in [*SERVICES, "all"]:
            for state in states:
                for fault in PROCESS_FAULTS:
                    if fault == "kill" or service != "all":
                        yield Case(role, service, state, fault)
    for role, service, state, moment in MOMENTS:
        yield Case(role, service, state, "kill", moment)


def control_cases():
    for control, (what, _) in CONTROLS.items():
        yield Case(*what, control=control)


def messages():
    return [Message(**entry) for entry in json.loads(MESSAGES.read_text())] if MESSAGES.exists() else []


def message_cases():
    for message in messages():
        for fault in MESSAGE_FAULTS:
            yield Case(message.role, message.service, message.state, fault, message=message)
        if message.point == "before-handler":
            # the order has taken effect, nobody has heard of it: what is said again must change nothing
            crash = Message(message.role, message.service, message.state, "after-effect", message.body, message.peer, message.skip)
            yield Case(message.role, message.service, message.state, "kill", message=crash)


def all_cases():
    return [*process_cases(), *control_cases(), *message_cases()]


def sample(cases, count, seed):
    """All kills and controls, and `count` of the rest chosen by the seed; in an order that spreads the long ones."""
    kills = [case for case in cases if case.is_kill or case.control]
    rest = [case for case in cases if case not in kills]
    chooser = random.Random(seed)
    chosen = kills + chooser.sample(rest, min(count, len(rest)))
    chooser.shuffle(chosen)
    return chosen


# ---- the recording

ORDERED_BY_PEOPLE = {"vpnsip", "cli"}


def entries(lines):
    """The messages of a `vpnsip monitor --json`, in the order of their sending."""
    return sorted((json.loads(line) for line in lines if line.startswith("{")), key=lambda entry: entry["mono_usec"])


def end_of_session(caller_entries):
    """When the operator hung up: from there all belongs to RELEASING, at both ends."""
    return next(entry["mono_usec"] for entry in caller_entries if entry["body"] == "ReleaseSession")


def learn(role, recorded, ended_at, subscribers):
    """Messages of one router, of a recording of one session from rest to rest.

    `subscribers` is {service: [services that hear its events]}.
    """
    state, passed, found = "READY_TO_CONNECT", {}, {}
    for entry in recorded:
        sender, receiver, kind, body = entry["from"], entry["to"], entry["kind"], entry["body"]
        if entry["mono_usec"] >= ended_at:
            if state != "RELEASING":
                state, passed = "RELEASING", {}
        elif body == "SessionChanged":
            state = entry["fields"]["status"]
        if ORDERED_BY_PEOPLE & {sender, receiver}:
            continue
        receivers = [receiver] if receiver else subscribers.get(sender, [])
        ends = [(sender, POINTS[kind][0], receiver)] + [(service, POINTS[kind][1], sender) for service in receivers]
        for service, point, peer in ends:
            key = (service, point, body, peer)
            skip = passed.get(key, 0)
            passed[key] = skip + 1
            found.setdefault((state, *key), Message(role, service, state, point, body, peer, skip))
    return [message for message in found.values() if message.state in STATES[role]]


def write(messages_found):
    text = ",\n".join(json.dumps(vars(message)) for message in messages_found)
    MESSAGES.write_text(f"[\n{text}\n]\n")


def known(name, why):
    """The reason for which this case may fail in this way, or "". """
    return next((reason for case, how, reason in KNOWN if re.search(case, name) and re.search(how, why)), "")


def select(cases, pattern):
    """The case of that name, or those whose names match the regular expression."""
    return [case for case in cases if case.name == pattern] or [case for case in cases if re.search(pattern, case.name)]
