# SPDX-License-Identifier: GPL-3.0-or-later
"""sip-agent killed at every stage of a call, in both roles, against a real carrier.

Only sip-agent runs on the two routers; the test plays their coordinators. After the restart no call may be open at the
carrier that nobody owns. The control of each case takes the records away before the restart (or does not restart at all,
where a repeated 200 would tell): then the call stays open.
"""

import json
import select
import signal
import subprocess
import time

import pytest

from vpnlab.carrier import Carrier
from vpnlab.lab import PASSWORDS
from vpnlab.namespaces import LabError, Workspace, wait_for
from vpnlab.router import Router, Settings, program
from vpnlab.topology import A, B, Topology

NEVER = 2.5  # seconds after which a call that was not ended counts as left open
LIVE = ("CALL_ANSWERED", "CALL_CONFIRMED")


class Agent:
    """One router's sip-agent, and orders in its coordinator's name."""

    def __init__(self, workspace, space, site, peer, transport):
        self.router = Router(workspace, space, site, peer, PASSWORDS[site.number], Settings(transport=transport))
        self.site, self.peer, self.space = site, peer, space
        self.attempt = 0
        self.senders = {}

    def start(self):
        router = self.router
        before = len(router.log("sip-agent")) if "sip-agent" in router.processes else 0
        router.processes["sip-agent"] = router.workspace.start(
            self.space.command(program("sip-agent"), "-c", router.config_file, "--run-dir", router.run_dir,
                               "--state-dir", router.state_dir, "--allow-faults"), f"router-{self.site.name}/sip-agent.log")
        wait_for(lambda: "started" in router.log("sip-agent")[before:], 5, "start of sip-agent")

    def register(self):
        self.must("RegisterLine", local_number=self.site.number, wan_address=self.site.wan)

    def kill(self):
        self.router.stop(signal.SIGKILL, ["sip-agent"])

    def signal(self, number):
        self.router.processes["sip-agent"].signal(number)

    def order(self, order, sender="vpnsip-coordinator", **body):
        if sender not in self.senders:
            self.senders[sender] = subprocess.Popen([str(program("bus_order")), str(self.router.run_dir), sender],
                                                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        process = self.senders[sender]
        process.stdin.write(json.dumps({"to": "sip-agent", "order": order, "body": body}) + "\n")
        process.stdin.flush()
        if not select.select([process.stdout], [], [], 5)[0]:
            raise LabError(f"{order}: no answer within 5 s")
        answer = json.loads(process.stdout.readline())
        return answer["outcome"], answer["cause"], answer["reply"]

    def must(self, order, **body):
        outcome, cause, reply = self.order(order, **body)
        assert outcome == "done", f"{order}: {outcome}: {cause}"
        return reply

    def die_at(self, point):
        """It kills itself when it comes there."""
        self.must("SetFault", sender="vpnsip", point="NAMED_POINT", action="FAULT_KILL", message=f"sip-agent.{point}")

    def wait_dead(self):
        process = self.router.processes["sip-agent"]
        wait_for(lambda: not process.running(), 5, f"sip-agent of {self.site.name} dead")

    def close(self):
        for process in self.senders.values():
            process.kill()
            process.wait()
            process.stdin.close()
            process.stdout.close()
        self.senders = {}

    def media(self, role):
        return {"address": {"address": self.site.wan, "port": 50001}, "bandwidth_kbit": 500, "role": role,
                "fingerprints": [{"subject": "PRE_SHARED_KEY", "hash": "SHA-256", "value": "00" * 32}]}

    def place(self, attempt):
        self.attempt = attempt
        self.must("PlaceCall", attempt=attempt, tunnel=self.site.tunnel, local_number=self.site.number,
                  remote_number=self.peer.number, offer=self.media("ACTIVE"))

    def calls(self):
        outcome, _, reply = self.order("GetSnapshot")
        return reply["calls"] if outcome == "done" else []

    def call(self, *statuses, seconds=5):
        """The one call that has one of the statuses, as soon as there is one."""
        return wait_for(lambda: next((call for call in self.calls() if call["status"] in statuses), None), seconds,
                        f"{self.site.name}: {' or '.join(statuses)}")

    def answer(self, attempt):
        call = self.call("CALL_OFFERED")
        self.attempt = attempt
        self.must("AnswerCall", call_id=call["call_id"], attempt=attempt, tunnel=self.site.tunnel, answer=self.media("PASSIVE"))

    def hang_up(self):
        self.must("HangUp", attempt=self.attempt, cause="the test is over")

    def remove_records(self):
        for path in (self.router.state_dir / "sip-agent").glob("call-*"):
            path.rmdir() if path.is_dir() else path.unlink()

    def records(self):
        return sorted(path.name for path in (self.router.state_dir / "sip-agent").glob("call-*"))

    def deaf(self, what):
        """Nothing of this kind reaches or leaves this router: "udp sport 5060" in, "udp dport 5060" out."""
        hook = "input" if "sport" in what else "output"
        self.space.nft(f"table ip deaf {{ chain c {{ type filter hook {hook} priority 0; policy accept; {what} drop; }}; }}\n")

    def hears(self):
        self.space.nft("delete table ip deaf")


class SipLab:
    def __init__(self, transport="udp"):
        self.workspace = Workspace()
        self.topology = Topology(self.workspace)
        self.carrier = Carrier(self.workspace, self.topology.carrier, PASSWORDS)
        spaces = self.topology.routers
        self.a = Agent(self.workspace, spaces["a"], A, B, transport)
        self.b = Agent(self.workspace, spaces["b"], B, A, transport)
        self.attempt = 0

    def start(self):
        self.carrier.start()
        # its control socket answers first; a REGISTER that is refused is repeated after half a minute only
        wait_for(lambda: ":13C4 " in self.topology.carrier.run("cat", "/proc/net/udp"), 5, "the carrier's port 5060")
        # a call is a matter of the attempt alone then, and its INVITE needs no second one
        self.carrier.switch("no-auth", 1)
        for agent in (self.a, self.b):
            agent.start()
            agent.register()
        wait_for(lambda: len(self.carrier.registered()) == 2, 8, "both registered")

    def anew(self):
        """After a control: nothing of its call is left anywhere."""
        for agent in (self.a, self.b):
            agent.kill()
            agent.remove_records()
            agent.close()
        self.carrier.kill()
        self.start()

    def next(self):
        self.attempt += 1
        return self.attempt

    def is_open(self):
        return bool(self.carrier.open_dialogs())

    def close(self):
        for agent in (self.a, self.b):
            agent.close()
        self.workspace.close()


@pytest.fixture(scope="module")
def shared():
    lab = SipLab()
    try:
        lab.start()
        yield lab
    finally:
        lab.close()


@pytest.fixture
def lab(shared, request):
    yield shared
    for agent in (shared.a, shared.b):
        agent.space.run("nft", "delete", "table", "ip", "deaf", check=False)
    if request.node.failed:
        for agent in (shared.a, shared.b):
            print(f"----- sip-agent of {agent.site.name}\n{agent.router.log('sip-agent')[-3000:]}")
    shared.anew()


def calling_before_100(lab):
    lab.a.deaf("udp sport 5060")
    lab.a.place(lab.next())
    lab.b.call("CALL_OFFERED")
    lab.a.kill()
    lab.a.hears()
    return lab.a


def calling_after_100(lab):
    lab.carrier.switch("delay", 1500)
    lab.a.place(lab.next())
    wait_for(lab.is_open, 3, "the carrier's dialog")
    time.sleep(0.1)
    lab.a.kill()
    lab.b.call("CALL_OFFERED")
    lab.carrier.switch("delay", None)
    return lab.a


def offered_to_the_other_side(lab):
    lab.a.place(lab.next())
    lab.b.call("CALL_OFFERED")
    lab.a.kill()
    return lab.a


def caller_between_200_and_ack(lab):
    lab.a.place(lab.next())
    lab.b.call("CALL_OFFERED")
    lab.a.signal(signal.SIGSTOP)
    lab.b.answer(lab.next())
    lab.b.call("CALL_ACCEPTED")
    lab.a.kill()
    return lab.a


def bring_up(lab):
    lab.a.place(lab.next())
    lab.b.answer(lab.next())
    lab.a.call("CALL_ANSWERED")
    lab.b.call("CALL_CONFIRMED")


def caller_releasing(lab):
    bring_up(lab)
    lab.a.deaf("udp dport 5060")
    lab.a.hang_up()
    lab.a.call("CALL_ENDING")
    lab.a.kill()
    lab.a.hears()
    return lab.a


def callee_offered(lab):
    lab.a.place(lab.next())
    lab.b.call("CALL_OFFERED")
    lab.b.kill()
    return lab.b


def callee_releasing(lab):
    bring_up(lab)
    lab.b.deaf("udp dport 5060")
    lab.b.hang_up()
    lab.b.call("CALL_ENDING")
    lab.b.kill()
    lab.b.hears()
    return lab.b


def caller_at(point):
    def stage(lab):
        lab.a.die_at(point)
        try:
            lab.a.place(lab.next())
        except AssertionError:  # it died before the reply
            pass
        if point == "before-ack":
            lab.b.answer(lab.next())
        lab.a.wait_dead()
        if point == "after-invite":
            lab.b.call("CALL_OFFERED")
        return lab.a

    stage.__name__ = f"caller_{point}"
    return stage


def callee_at(point):
    def stage(lab):
        lab.a.place(lab.next())
        lab.b.call("CALL_OFFERED")
        lab.b.die_at(point)
        try:
            lab.b.answer(lab.next())
        except AssertionError:
            pass
        lab.b.wait_dead()
        return lab.b

    stage.__name__ = f"callee_{point}"
    return stage


def caller_before_bye(lab):
    bring_up(lab)
    lab.a.die_at("before-bye")
    try:
        lab.a.hang_up()
    except AssertionError:
        pass
    lab.a.wait_dead()
    return lab.a


UNFINISHED = [calling_before_100, calling_after_100, offered_to_the_other_side, caller_between_200_and_ack, caller_releasing,
              callee_offered, callee_releasing, caller_at("after-invite"), caller_at("after-provisional"), caller_at("before-ack"),
              caller_before_bye]


@pytest.mark.parametrize("stage", UNFINISHED, ids=lambda stage: stage.__name__)
def test_what_was_unfinished_is_ended(lab, stage):
    killed = stage(lab)
    assert lab.is_open()
    killed.start()
    began = time.monotonic()
    wait_for(lambda: not lab.is_open(), 6, "no call open at the carrier")
    print(f"{stage.__name__}: {time.monotonic() - began:.2f} s")
    # whoever was not killed knows too, and nothing comes back
    other = lab.b if killed is lab.a else lab.a
    other.call("CALL_ENDED")
    assert not [call for call in killed.calls() if call["status"] in LIVE]
    killed.register()
    time.sleep(0.3)
    assert not lab.is_open()


@pytest.mark.parametrize("stage", UNFINISHED, ids=lambda stage: stage.__name__)
def test_without_records_it_stays_open(lab, stage):
    killed = stage(lab)
    assert killed.records()
    # the 200 is repeated and would betray the call to any user agent: here nobody comes back
    if stage.__name__ not in ("caller_between_200_and_ack", "caller_before-ack"):
        killed.remove_records()
        killed.start()
    end = time.monotonic() + NEVER
    while time.monotonic() < end:
        assert lab.is_open()
        time.sleep(0.2)


def callee_between_200_and_ack(lab):
    """The ACK does not arrive: the 200 is repeated after the restart until it does."""
    lab.a.place(lab.next())
    lab.b.call("CALL_OFFERED")
    attempt = lab.next()
    lab.b.deaf("udp sport 5060")
    lab.b.answer(attempt)
    lab.a.call("CALL_ANSWERED")
    lab.b.call("CALL_ACCEPTED")
    lab.b.kill()
    lab.b.hears()
    return lab.b


def caller_up(lab):
    bring_up(lab)
    lab.a.kill()
    return lab.a


def callee_up(lab):
    bring_up(lab)
    lab.b.kill()
    return lab.b


UP = [callee_between_200_and_ack, callee_at("before-200"), callee_at("after-200"), caller_up, callee_up]


@pytest.mark.parametrize("stage", UP, ids=lambda stage: stage.__name__)
def test_what_is_up_stays_owned(lab, stage):
    killed = stage(lab)
    (call_id,) = lab.carrier.open_dialogs()
    killed.start()
    call = killed.call(*LIVE)
    assert (call["call_id"], call["attempt"], call["tunnel"]) == (call_id, killed.attempt, killed.site.tunnel)
    assert call["is_restored"] and call["local"]["address"]["address"] and call["remote"]["address"]["address"]
    assert call["started_at_usec"] and call["answered_at_usec"]
    time.sleep(1.5)  # the question whether the other side still has it
    assert lab.carrier.open_dialogs() == [call_id]
    assert killed.call(*LIVE)["call_id"] == call_id
    killed.hang_up()
    wait_for(lambda: not lab.is_open(), 3, "no call open at the carrier")
    (lab.b if killed is lab.a else lab.a).call("CALL_ENDED")


@pytest.mark.parametrize("stage", UP, ids=lambda stage: stage.__name__)
def test_without_records_nobody_ends_it(lab, stage):
    killed = stage(lab)
    killed.remove_records()
    killed.start()
    killed.hang_up()  # of a call that it does not know: done
    time.sleep(1.5)
    assert lab.is_open()


def test_over_tcp():
    """The connections die with the process: what is owed goes over new ones."""
    lab = SipLab("tcp")
    try:
        lab.start()
        for stage in (offered_to_the_other_side, caller_between_200_and_ack, callee_offered, caller_before_bye):
            killed = stage(lab)
            assert lab.is_open(), stage.__name__
            killed.start()
            wait_for(lambda: not lab.is_open(), 6, f"{stage.__name__}: no call open at the carrier")
            lab.anew()
        for stage in (callee_at("before-200"), caller_up):
            killed = stage(lab)
            killed.start()
            killed.call(*LIVE)
            killed.hang_up()
            wait_for(lambda: not lab.is_open(), 3, f"{stage.__name__}: no call open at the carrier")
            lab.anew()
    finally:
        for agent in (lab.a, lab.b):
            print(f"----- sip-agent of {agent.site.name}\n{agent.router.log('sip-agent')[-3000:]}")
        lab.close()


def test_an_end_that_nobody_heard_is_an_estimate(lab):
    """The other side hangs up while sip-agent is dead, and has forgotten the call when it asks."""
    bring_up(lab)
    lab.a.kill()
    lab.b.kill()
    lab.b.remove_records()
    lab.b.start()
    lab.b.register()
    lab.a.start()
    call = lab.a.call("CALL_ENDED")
    assert call["is_end_estimated"] and "refresh" in call["cause"], call
    wait_for(lambda: not lab.is_open(), 3, "no call open at the carrier")


def test_what_cannot_be_recorded_is_not_begun(lab):
    """Own calls are not placed, offered ones are refused, with the file and the error; the call that is up does not notice."""
    def in_the_way(agent, attempt):
        path = agent.router.state_dir / "sip-agent" / f"call-{attempt}"
        path.mkdir()
        return path

    billed = len(lab.carrier.call_records())
    attempt = lab.next()
    blocked = in_the_way(lab.a, attempt)
    with pytest.raises(AssertionError, match=rf"cannot write .*/call-{attempt}: Is a directory"):
        lab.a.place(attempt)
    assert not lab.is_open() and not lab.b.calls()
    blocked.rmdir()
    lab.a.place(lab.next())
    attempt = lab.next()
    lab.b.call("CALL_OFFERED")
    blocked = in_the_way(lab.b, attempt)
    with pytest.raises(AssertionError, match=rf"cannot write .*/call-{attempt}: Is a directory"):
        lab.b.answer(attempt)
    lab.a.call("CALL_ENDED")
    wait_for(lambda: not lab.is_open(), 3, "no call open at the carrier")
    assert len(lab.carrier.call_records()) == billed
    blocked.rmdir()
    lab.a.place(lab.next())
    wait_for(lambda: any(call["status"] == "CALL_OFFERED" for call in lab.b.calls()), 3, "the next offer")
    lab.b.answer(lab.next())
    lab.b.call("CALL_CONFIRMED")


def test_leaving_says_nothing(lab):
    """SIGTERM: out within a second, no BYE, the binding stays; the call goes on with the next process."""
    bring_up(lab)
    dialogs = lab.carrier.open_dialogs()
    began = time.monotonic()
    assert lab.a.router.stop(signal.SIGTERM, ["sip-agent"]) == {"sip-agent": 0}
    assert time.monotonic() - began < 1.5  # the promise is 1 s; the machine may be busy
    time.sleep(0.3)
    assert lab.carrier.open_dialogs() == dialogs
    assert A.number in lab.carrier.registered()
    lab.a.start()
    assert lab.a.call("CALL_ANSWERED")["call_id"] == dialogs[0]
