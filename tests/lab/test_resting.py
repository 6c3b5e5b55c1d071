# SPDX-License-Identifier: GPL-3.0-or-later
"""A resting router places no call, whatever a link's own chatter says on its tunnel."""

import sys
from pathlib import Path

import pytest

from conftest import LONG
from vpnlab import noise
from vpnlab.capture import sip_messages
from vpnlab.topology import A

SECONDS = 600 if LONG else 60


@pytest.mark.slow
def test_chatter_places_no_call(lab):
    assert lab.a.space.run("cat", f"/proc/sys/net/ipv6/conf/{A.tunnel}/disable_ipv6").strip() == "1"
    # the kernel would send a solicitation by itself only with IPv6 on; the noise sends one anyway
    sent = int(lab.a.space.run(sys.executable, Path(noise.__file__), A.tunnel, SECONDS, timeout=SECONDS + 30))
    assert sent > SECONDS * 20
    messages = [message for capture in lab.wan.values() for message in sip_messages(capture.packets())]
    assert not [message for message in messages if message.start_line.startswith("INVITE ")]
    assert [message for message in messages if message.start_line.startswith("REGISTER ")], "the capture sees SIP"
    assert not lab.carrier.open_dialogs() and not lab.carrier.call_records()
    # the control: one packet of a host does call
    assert lab.ping(1) == 1
