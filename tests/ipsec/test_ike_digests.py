# SPDX-License-Identifier: GPL-3.0-or-later
"""The hashes of fingerprints in SDP: what we show of ours, and which of a peer that shows one alone are taken."""

import pytest
from cryptography.hazmat.primitives import hashes
from ike_certificates import SelfSigned, fingerprint, settings, stock_options
from stock_lab import StockLab
from test_interop import bring_up
from vpnlab.capture import sip_messages
from vpnlab.namespaces import wait_for
from vpnlab.topology import A, B

TIMERS = {"holddown": 60, "ike": 4}
SIGNATURES = {"SHA-384": hashes.SHA384(), "SHA-512": hashes.SHA512()}


def shown_by_us(lab):
    """The fingerprint lines of our description."""
    bodies = [message.body for message in sip_messages(lab.wan.packets()) if message.src == A.wan and message.body]
    text = bodies[-1].decode() if isinstance(bodies[-1], bytes) else bodies[-1]
    return [line.strip() for line in text.splitlines() if line.startswith("a=fingerprint:")]


class PeerOfOneHash:
    """A stock peer whose description names its certificate by this hash alone; all certificates are signed with it, where one may."""

    def __init__(self, name, is_allowed=False, is_wrong=False):
        self.made = SelfSigned("ecdsa", SIGNATURES.get(name, hashes.SHA256()))
        self.line = fingerprint(self.made.chains["b"][0], name)
        wrong = self.line[:-4] + ("00" if self.line[-4:-2] != "00" else "01") + "\r\n"
        options = ["allow-sha1 = true"] if is_allowed else []
        self.lab = StockLab(settings=settings(A, self.made, options, timers=TIMERS), **stock_options(self.made) | {"fingerprint": wrong if is_wrong else self.line})


@pytest.fixture
def peer():
    peers = []

    def make(*arguments, **more):
        peers.append(PeerOfOneHash(*arguments, **more))
        return peers[-1]

    yield make
    for each in peers:
        each.lab.close()


@pytest.mark.parametrize("name, is_allowed", [("SHA-256", False), ("SHA-384", False), ("SHA-512", False), ("SHA-1", True)])
def test_taken(peer, name, is_allowed):
    one = peer(name, is_allowed)
    bring_up(one.lab, we_call=True)
    one.lab.data_both_ways()
    ours = one.made.chains["a"][0]
    expected = ["SHA-256"] + ([name] if name != "SHA-256" else [])
    assert shown_by_us(one.lab) == [fingerprint(ours, each).strip() for each in expected], "SHA-256, that of the certificate's signature, SHA-1 on request"
    told = one.lab.router.cli("show", "crypto", "ikev2", "session", "detail")
    assert f"Peer fingerprint: {one.line.strip().removeprefix('a=fingerprint:')}\n" in told
    one.lab.router.cli("hangup", B.number)
    one.lab.finish_call()


@pytest.mark.parametrize("name, is_wrong, cause", [
    ("SHA-1", False, "no fingerprint of the kind and hash that are expected"),
    ("SHA-512", True, "does not match the fingerprint of the call"),
])
def test_refused(peer, name, is_wrong, cause):
    """SHA-1 without allow-sha1; and the control of those that are taken: another value."""
    lab = peer(name, is_wrong=is_wrong).lab
    lab.answer_calls()
    lab.ping("a", 1, wait=1)
    session = wait_for(lambda: (found := lab.router.session())["last_cause"] and found, 8, "the call fails")
    assert cause in session["last_cause"]
    assert not any("SHA-1 " in line for line in shown_by_us(lab))
    assert not lab.sas()
    lab.finish_call()
