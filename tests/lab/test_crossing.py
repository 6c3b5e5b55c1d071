# SPDX-License-Identifier: GPL-3.0-or-later
"""Both sides call each other at the same instant: one call, one bill, one tunnel."""

import time

import pytest

from vpnlab.capture import sip_messages
from vpnlab.namespaces import SLOWNESS, LabError, wait_for
from vpnlab.topology import A, B

ROUNDS = 50
# The kernel drops what is sent in the milliseconds in which the shaper's root qdisc takes its place on a tunnel. The side that is
# called puts it there as the INVITE comes, which here is when its own packet comes: then the next packet is the first.
def packets(lab):
    """For ping. The kernel data plane drops ESP that overtakes the IKE message of its SA, as docs/tunnels.md has it: the first ones may be lost."""
    return ["-c", "10" if "data plane kernel" in lab.a.log("tunnel-agent") else "2", "-i", "0.3"]


def answered_calls(lab, since):
    """Call-IDs of the INVITEs that were answered 200, seen on both WANs."""
    return {message.call_id for capture in lab.wan.values() for message in sip_messages(capture.packets())
            if message.time >= since and message.status == 200 and message.method == "INVITE"}


def conversation(lab, since):
    """What both WANs saw, in order of time."""
    messages = [message for capture in lab.wan.values() for message in sip_messages(capture.packets()) if message.time >= since]
    return "\n".join(f"{message.time - since:.3f} {message.src} > {message.dst} {message.start_line} ({message.method}) {message.call_id}"
                     for message in sorted(messages, key=lambda message: message.time))


@pytest.mark.slow
def test_both_triggered_at_once(lab, seeded):
    for number in range(ROUNDS):
        delay = seeded.choice([0, 0, seeded.uniform(-0.02, 0.02), seeded.uniform(-0.1, 0.1)])
        lab.carrier.switch("delay", seeded.choice([None, 20, 50]))
        before, since = len(lab.carrier.call_records()), time.time()
        pings = []
        for source in ("a", "b") if delay >= 0 else ("b", "a"):
            target = (B if source == "a" else A).host
            pings.append(lab.workspace.start(lab.hosts[source].command("ping", "-n", *packets(lab), "-W", 3 * SLOWNESS, target), f"cross-{source}.log"))
            if len(pings) == 1:
                time.sleep(abs(delay))
        what = f"round {number}, {delay * 1000:.1f} ms apart"
        assert [ping.popen.wait(12 * SLOWNESS) for ping in pings] == [0, 0], f"{what}: both pings are answered"
        lab.wait_up(seconds=10)
        # The call that gave way may still be on its way out of the carrier: a busy one repeats what it sends, after 0.5, 1 and 2 s.
        try:
            wait_for(lambda: len(lab.carrier.open_dialogs()) == 1, 8, f"{what}: one call open at the carrier")
        except LabError as failure:
            raise LabError(f"{failure}\n{lab.carrier.control('dlg.list')}\n{conversation(lab, since)}") from None
        lab.hang_up()
        assert len(answered_calls(lab, since)) == 1, what
        wait_for(lambda: len(lab.carrier.call_records()) > before, 3, f"{what}: the accounting record")
        assert len(lab.carrier.call_records()) == before + 1, what
