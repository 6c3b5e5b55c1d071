# SPDX-License-Identifier: GPL-3.0-or-later
"""What must be true after every fault. Read from captures, the kernel and the carrier, not from our services' word alone."""

from vpnlab.capture import classify_wan, sdp_endpoint, sip_messages
from vpnlab.checks import difference, kernel_state, session_leftovers
from vpnlab.namespaces import LabError

DESCRIPTOR_SLACK = 6  # opened once, lazily, when a service first needs them


class SessionEnds:
    """Any two ends of sessions of this lab. An IKE packet that a fault has delayed may leave from the port of the next session."""

    def __init__(self):
        self.ends = set()

    def add(self, offer, answer):
        self.ends |= {offer, answer}

    def __contains__(self, pair):
        return pair <= self.ends


class Invariants:
    """Remembers how a lab rests when nothing has happened yet, and compares with that."""

    def __init__(self, lab):
        self.lab = lab
        self.rest = {name: kernel_state(router.space) for name, router in lab.routers.items()}
        self.descriptors = {name: router.descriptors() for name, router in lab.routers.items()}
        self.offers, self.pairs, self.answered, self.cancelled = {}, SessionEnds(), set(), set()
        self.ladders = {}  # Call-ID -> its messages in words, for those that are told about

    def watch_wan(self):
        """Reads on in the captures of both WANs; returns (lines about clear packets, all new packets by router)."""
        lines, fresh = [], {}
        for name, capture in self.lab.wan.items():
            fresh[name] = capture.fresh()
            for message in sip_messages(fresh[name]):
                self._note_call(message)
                self.ladders.setdefault(message.call_id, []).append(f"{message.time:.3f} {name}: {message.src} {message.start_line[:24]} {message.method}")
        for name, packets in fresh.items():
            _, clear = classify_wan(packets, pairs=self.pairs)
            lines += [f"clear packet on the WAN of {name}: {packet}" for packet in clear[:3]]
        return lines, fresh

    def _note_call(self, message):
        if message.start_line.startswith("CANCEL "):
            self.cancelled.add(message.call_id)
        if message.method != "INVITE":
            return
        end = sdp_endpoint(message)
        if end and message.status == 0:
            self.offers[message.call_id] = end
        if 200 <= message.status < 300:
            self.answered.add(message.call_id)
            if end and message.call_id in self.offers:
                self.pairs.add(self.offers[message.call_id], end)

    def open_calls(self):
        """Call-IDs open at the carrier. One that was cancelled and never answered is not billed; the carrier itself forgets it after
        32 s when the callee, killed meanwhile, does not confirm the CANCEL.
        """
        return set(self.lab.carrier.open_dialogs()) - (self.cancelled - self.answered)

    def not_up(self):
        """Why the session is not up and whole at both ends; "" when it is. One call at the carrier, owned by both."""
        sessions = {}
        for name, router in self.lab.routers.items():
            dead = [service for service, process in router.processes.items() if not process.running()]
            if dead:
                return f"router {name}: {', '.join(dead)} not running"
            try:
                sessions[name] = router.session()
            except (LabError, ValueError) as failure:
                return f"router {name}: show fails: {str(failure)[:200]}"
        for name, session in sessions.items():
            if session["session_status"] != "SESSION_UP":
                return f"router {name}: {session['session_status']} ({session['last_cause']})"
            if {sa["direction"] for sa in session.get("sas", [])} != {"inbound", "outbound"}:
                return f"router {name}: SESSION_UP without a pair of SAs"
        owned = {session["sip_call_id"] for session in sessions.values()}
        calls = self.open_calls()
        if calls != owned or len(calls) != 1:
            return f"calls open at the carrier: {sorted(calls)}; owned by the routers: {sorted(owned)}"
        return ""

    def unaccounted(self):
        """Answered calls for which the carrier has not written the end."""
        ended = {record["call_id"] for record in self.lab.carrier.call_records()}
        for call_id in ended:
            self.ladders.pop(call_id, None)
        return [f"carrier: answered call {call_id} has no end in the call records: {', '.join(self.ladders.get(call_id, []))}; carrier's log: "
                f"{self.lab.carrier.process.log.read_text()[-300:]!r}" for call_id in self.answered - ended]

    def at_rest(self):
        """Lines about everything that a rested lab should not have."""
        found = session_leftovers(self.lab, self.open_calls())
        for name, router in self.lab.routers.items():
            found += [f"router {name}: {line}" for line in difference(self.rest[name], kernel_state(router.space))]
            for service, count in router.descriptors().items():
                before = self.descriptors[name][service]
                if count > before + DESCRIPTOR_SLACK:
                    found.append(f"router {name}: {service} had {before} descriptors, now {count}")
        return found + self.unaccounted()
