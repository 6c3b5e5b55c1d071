# SPDX-License-Identifier: GPL-3.0-or-later
"""Carries out one case of the matrix in a lab that is used for many: reach the state, do the fault, wait, look."""

import re
import signal
import time
from dataclasses import dataclass, field

from vpnlab.capture import sip_messages
from vpnlab.gates import Gates
from vpnlab.lab import Lab
from vpnlab.namespaces import LabError, wait_for
from vpnlab.router import Settings

import controls
import faults
import matrix
from invariants import Invariants

PING_INTERVAL = 0.1
RESTART_DELAY = 0.1
STOP_SECONDS = 5
REACH_SECONDS = 6  # to reach the state of the case
REST_SECONDS = 10  # from the hang-up to rest
# To be up again: the longest way is an attempt that is answered by nobody (answer, ringing, ike), its hold-down, and a new call.
RECOVER_SECONDS = 25
SETTLE_SECONDS = 0.6  # what has recovered must stay so
TIMERS = {"holddown": 2, "failback": 1, "answer": 4, "ringing": 4, "ike": 5, "port-reuse": 1, "register-retry": 1}
IKE_AUTH = 35  # exchange type


class Missed(Exception):
    """The state of the case was not reached, or its message did not come: nothing has been shown."""


class Failure(Exception):
    """An invariant does not hold."""


@dataclass
class Result:
    case: str
    verdict: str  # survived, failed, missed
    why: list = field(default_factory=list)
    recover_seconds: float = 0
    lost: int = 0
    seconds: float = 0
    seen: str = ""  # the states that the target passed


class StateLog:
    """The states that a router's coordinator has logged since a moment."""

    LINE = re.compile(r": vsip\d+ \d+: \w+ -> (\w+)")

    def __init__(self, router):
        self.path = router.processes["vpnsip-coordinator"].log
        self.offset = self.path.stat().st_size

    def states(self):
        with open(self.path, "rb") as file:
            file.seek(self.offset)
            return self.LINE.findall(file.read().decode(errors="replace"))

    def wait(self, state, seconds=REACH_SECONDS):
        try:
            wait_for(lambda: state in self.states(), seconds, state, interval=0.003)
        except LabError:
            raise Missed(f"{state} not reached within {seconds} s, seen: {' '.join(self.states()) or 'nothing'}") from None


class Pings:
    """Ten echo requests a second from host A to host B, as an application that never gives up."""

    REPLY = re.compile(r"\[(\d+\.\d+)\] \d+ bytes.*icmp_seq=(\d+) .*time=([\d.]+) ms")

    def __init__(self, lab, interval=PING_INTERVAL):
        self.interval = interval
        self.log = lab.workspace.dir / "ping-a.log"
        self.offset = self.log.stat().st_size if self.log.exists() else 0  # what earlier ones have written
        self.process = lab.start_ping(interval)

    def replies(self):
        """{sequence: (when sent, when answered)}"""
        with open(self.log, errors="replace") as file:
            file.seek(self.offset)
            found = self.REPLY.findall(file.read())
        return {int(number): (float(when) - float(trip) / 1000, float(when)) for when, number, trip in found}

    def answered_since(self, moment):
        """When the first echo request sent after the moment was answered; 0 = none yet."""
        return min((answered for sent, answered in self.replies().values() if sent > moment), default=0)

    def flow(self):
        """The newest requests are being answered."""
        newest = max((answered for _, answered in self.replies().values()), default=0)
        return time.time() - newest < 4 * self.interval

    def stop(self, since):
        """Ends it. Returns how many requests sent after `since` were never answered."""
        time.sleep(2 * self.interval)  # for the last answers
        replies = self.replies()
        self.process.stop(signal.SIGINT)
        after = [number for number, (sent, _) in replies.items() if sent > since]
        before = [number for number, (sent, _) in replies.items() if sent <= since]
        first = max(before, default=min(after, default=1) - 1) + 1
        return max(after) - first + 1 - len(after) if after else 0


class Bench:
    """One lab for many cases. After a failed case it is thrown away: make another."""

    def __init__(self):
        settings = [Settings(idle_time=60, timers=TIMERS, allow_faults=True, restart_delay=RESTART_DELAY) for _ in range(2)]
        self.lab = Lab(*settings)
        try:
            self.lab.start()
            self.gates = Gates(self.lab.topology.net)
            # A first session: what is opened or created once is not a leftover of the first case.
            if self.lab.ping(1) != 1:
                raise LabError("the first ping of a new lab is not answered")
            self.lab.wait_up()
            self.lab.hang_up()
            wait_for(lambda: not self.lab.carrier.open_dialogs(), 5, "the first call's end")
            time.sleep(0.3)
            self.invariants = Invariants(self.lab)
            self.invariants.watch_wan()
        except BaseException:
            self.lab.close()
            raise

    def close(self):
        self.lab.close()

    def run(self, case):
        """Does the case; never raises for what the product does."""
        began = time.monotonic()
        run = Run(self, case)
        result = Result(case.name, "survived")
        try:
            run.go(result)
        except Missed as missed:
            result.verdict, result.why = "missed", [str(missed)]
        except (Failure, LabError) as failure:
            result.verdict, result.why = "failed", str(failure).splitlines()
        finally:
            run.clean_up()
        if case.control and result.verdict != "missed":
            is_shown = result.verdict == "failed" and re.search(matrix.CONTROLS[case.control][1], " ".join(result.why))
            result.verdict = "survived" if is_shown else "failed"
            result.why = ["fails, as it must: " + " ".join(result.why)] if is_shown else ["the control does not fail as it must", *result.why]
        result.seen = " ".join(run.states.states())
        result.seconds = time.monotonic() - began
        return result


class Run:
    """One case under way."""

    def __init__(self, bench, case):
        self.bench, self.case, self.lab = bench, case, bench.lab
        self.target = self.lab.a if case.role == "caller" else self.lab.b
        self.states = StateLog(self.target)
        self.other_states = StateLog(self.lab.b if case.role == "caller" else self.lab.a)
        self.invariants = bench.invariants
        self.pings = None
        self.helper = None  # a service of the target that stands still, so that the state lasts
        self.acted = 0.0
        self.call = ""  # the Call-ID that must survive
        self.needs_new_ike = case.state == "SESSION_UP" and case.service == "ike-agent" and case.is_kill
        self.saw_new_ike = False
        self.clear = []  # lines about clear packets

    # ---- the course of a case

    def go(self, result):
        if self.case.message:
            self.reach_message()
        else:
            self.reach_state()
        result.recover_seconds = self.recover()
        result.lost = self.pings.stop(self.acted)
        self.pings = None
        self.rest()
        self.next_trigger()

    def reach_state(self):
        """Brings the session into the case's state, holds it there, and does the fault."""
        getattr(self, "reach_" + self.case.moment.replace("-", "_").lower() if self.case.moment else "reach_" + self.case.state.lower())()

    def reach_ready_to_connect(self):
        self.act()
        self.trigger()

    def reach_calling(self):
        self.hold_and_act("invite-to-callee")

    def reach_before_100(self):
        self.hold_and_act("invite-from-caller")

    reach_after_100 = reach_calling

    def reach_between_200_and_ack(self):
        """The 200 is in the socket of the stopped sip-agent when it is killed."""
        self.bench.gates.close("answer-to-caller")
        self.trigger()
        self.other_states.wait("NEGOTIATING_IKE")
        self.signal(signal.SIGSTOP)
        self.watch_wan()
        self.bench.gates.open()
        self.wait_on_wire("a", lambda message: message.status == 200 and message.method == "INVITE", "200")
        self.act()

    def reach_before_the_ack_came(self):
        self.hold_and_act("ack-to-callee")

    def reach_ringing(self):
        if self.case.role == "caller":
            self.lab.carrier.switch("ring", "1")
            self.hold_and_act("invite-to-callee")
        else:
            self.stop_helper()
            self.hold_and_act()

    def reach_negotiating_ike(self):
        self.hold_and_act("ike")

    def reach_session_up(self):
        self.bring_up()
        self.call = self.target.session()["sip_call_id"] if self.case.service != "all" else ""
        self.act()

    def reach_releasing(self):
        self.bring_up()
        self.pings.stop(0)
        self.states = StateLog(self.target)
        self.stop_helper()
        self.order_hang_up()
        self.states.wait("RELEASING")
        self.act()
        self.continue_helper()
        self.trigger()

    def reach_holddown(self):
        self.lab.carrier.switch("reject", "503")
        self.trigger()
        self.states.wait("HOLDDOWN")
        self.act()
        self.lab.carrier.switch("reject", None)

    def hold_and_act(self, *gates):
        """The call goes until a closed gate, or a helper that stands still, holds it in the state."""
        self.bench.gates.close(*gates)
        self.trigger()
        self.states.wait(self.case.state)
        time.sleep(0.05)  # into the state, not its first moment
        self.act(self.let_go)

    def let_go(self):
        self.bench.gates.open()
        self.continue_helper()

    def reach_message(self):
        """Orders the fault for the moment when the message passes in the state, and lets that moment come."""
        message = self.case.message
        self.lab.carrier.switch("ring", "1")  # as in the recording
        if message.state == "HOLDDOWN":
            self.lab.carrier.switch("reject", "503")
        if message.state == "RELEASING":
            self.bring_up()
            self.pings.stop(0)
            self.pings = None
        self.acted = time.time()
        restarts = faults.order(self.target, self.case)
        if message.state == "RELEASING":
            self.order_hang_up()
        else:
            self.trigger()
        try:
            wait_for(lambda: faults.was_injected(self.target, self.case, restarts), REACH_SECONDS, f"the {message.body} of the case")
        except LabError as late:
            raise Missed(str(late)) from None
        self.acted = time.time()
        self.lab.carrier.switch("reject", None)
        if not self.pings:
            self.trigger()

    # ---- its steps

    def trigger(self):
        self.pings = Pings(self.lab)

    def bring_up(self):
        self.trigger()
        self.states.wait("SESSION_UP")
        wait_for(lambda: not self.invariants.not_up() and self.pings.flow(), REACH_SECONDS, "the session of the case")

    def signal(self, number, services=None):
        for service in services or ([self.case.service] if self.case.service != "all" else list(self.target.processes)):
            self.target.processes[service].signal(number)

    def act(self, then=lambda: None):
        """The fault itself; `then` is done while a stopped process stands."""
        self.acted = time.time()
        spoil = controls.CONTROLS.get(self.case.control, lambda moment, router: None)
        spoil(controls.BEFORE, self.target)
        self.signal(signal.SIGKILL if self.case.fault == "kill" else signal.SIGSTOP)
        spoil(controls.AFTER, self.target)
        then()
        if self.case.fault == "kill":
            return
        time.sleep(STOP_SECONDS)
        self.signal(signal.SIGCONT)

    def stop_helper(self):
        self.helper = "nat-qos-agent" if self.case.service != "nat-qos-agent" else "tunnel-agent"
        self.signal(signal.SIGSTOP, [self.helper])

    def continue_helper(self):
        if self.helper:
            self.signal(signal.SIGCONT, [self.helper])
            self.helper = None

    def order_hang_up(self):
        """By the caller's operator; not waited for, because a stopped service may delay the answer."""
        router = self.lab.a
        self.lab.workspace.start(router.cli_command("hangup", router.peer.number), "hangup.log")

    def wait_on_wire(self, router, is_wanted, what):
        def seen():
            return any(is_wanted(message) for message in sip_messages(self.watch_wan()[router]))

        try:
            wait_for(seen, REACH_SECONDS, what)
        except LabError as late:
            raise Missed(str(late)) from None

    def recover(self):
        """Waits until traffic flows and the session is whole at both ends, and stays so. Returns the seconds from the fault."""
        def whole():
            self.watch_wan()
            if self.needs_new_ike and not self.saw_new_ike:
                return 0
            first = self.pings.answered_since(self.acted)
            return first if first and self.pings.flow() and not self.invariants.not_up() else 0

        end = time.monotonic() + RECOVER_SECONDS
        while True:
            try:
                wait_for(whole, end - time.monotonic(), "recovery", interval=0.05)
            except LabError:
                why = self.invariants.not_up() or ("no new IKE_SA" if self.needs_new_ike and not self.saw_new_ike else "pings are not answered")
                raise Failure(f"not recovered within {RECOVER_SECONDS} s: {why}; states seen: {' '.join(self.states.states())}") from None
            seconds = max(time.time(), self.pings.answered_since(self.acted)) - self.acted
            time.sleep(SETTLE_SECONDS)
            if whole():
                break
        if self.call and self.target.session()["sip_call_id"] != self.call:
            raise Failure(f"the call {self.call} did not survive: now {self.target.session()['sip_call_id']}")
        return seconds

    def rest(self):
        """Hangs up; then nothing may be left, and nothing clear may have been on the WAN."""
        try:
            self.lab.a.cli("hangup", self.lab.a.peer.number)
        except LabError as failure:
            raise Failure(f"hangup fails: {failure}") from None
        found = []
        try:
            wait_for(lambda: not self.left(found), REST_SECONDS, "rest", interval=0.1)
        except LabError:
            raise Failure("\n".join(["left behind:"] + found)) from None
        self.watch_wan()
        if self.clear:
            raise Failure("\n".join(self.clear))

    def watch_wan(self):
        """Reads on in the captures; returns the new packets by router."""
        clear, fresh = self.invariants.watch_wan()
        self.clear += clear
        self.saw_new_ike |= any(packet.is_ike and packet.payload[22] == IKE_AUTH and packet.time > self.acted > 0 for packet in fresh["a"])
        return fresh

    def left(self, found):
        self.watch_wan()
        found[:] = self.invariants.at_rest()
        return found

    def next_trigger(self):
        before = {name: StateLog(router) for name, router in self.lab.routers.items()}
        if self.lab.ping(1, wait=6) != 1:
            seen = "; ".join(f"router {name}: {' '.join(log.states()) or 'no state'}, {self.lab.routers[name].session()['last_cause']!r}"
                             for name, log in before.items())
            raise Failure(f"the next trigger is not served: its ping is not answered; {seen}")
        try:
            self.lab.wait_up()
        except LabError as failure:
            raise Failure(f"after the next trigger: {failure}") from None
        self.rest()

    def clean_up(self):
        """Takes back what the case has switched, whatever happened."""
        self.bench.gates.open()
        for name in ("ring", "reject"):
            self.lab.carrier.switch(name, None)
        for router in self.lab.routers.values():
            for process in router.processes.values():
                process.signal(signal.SIGCONT)
        if self.case.message:
            faults.clear(self.target, self.case.service)
        if self.pings:
            self.pings.process.stop(signal.SIGINT)
