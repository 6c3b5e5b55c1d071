# SPDX-License-Identifier: GPL-3.0-or-later
"""Gates in the backup network: a closed one drops a kind of packet, so that a call stands still at a chosen place.

What was dropped is sent again by its sender (SIP after 0.5 s, IKE after 1 s): an opened gate lets the call go on.
"""

from .namespaces import Namespace


def _begins(text):
    """A UDP payload that begins with this text."""
    return f"@th,64,{8 * len(text)} 0x{text.encode().hex()}"


GATES = {
    "invite-from-caller": f'iifname "wan-a" udp dport 5060 {_begins("INVITE")}',
    "invite-to-callee": f'oifname "wan-b" udp dport 5060 {_begins("INVITE")}',
    "answer-to-caller": f'oifname "wan-a" udp sport 5060 {_begins("SIP/2.0 200")}',
    "ack-to-callee": f'oifname "wan-b" udp dport 5060 {_begins("ACK")}',
    "ike": "udp dport 50000-50999",
}


class Gates:
    """All gates of one lab; open at first."""

    def __init__(self, net: Namespace):
        self.net = net
        net.nft("table bridge gates {\n chain forward {\n type filter hook forward priority 0\n }\n}\n")

    def close(self, *names):
        """Closes these and opens all others."""
        rules = "".join(f"add rule bridge gates forward {GATES[name]} counter drop\n" for name in names)
        self.net.nft("flush chain bridge gates forward\n" + rules)

    def open(self):
        self.close()
