# SPDX-License-Identifier: GPL-3.0-or-later
"""RSA-4096 below three intermediate authorities over a path that drops IP fragments: IKE's own fragments (RFC 7383) get through."""

import pytest
from attacks import IKE_HEADER
from ike_certificates import CHAIN, LongChain, settings, stock_options
from stock_lab import StockLab
from vpnlab.checks import cause_lines
from vpnlab.namespaces import wait_for
from vpnlab.topology import A, B

ENCRYPTED_FRAGMENT = 53  # next payload
NO_FRAGMENTS = "table bridge fragments {\n chain forward {\n type filter hook forward priority 0\n ip frag-off & 0x3fff != 0 counter drop\n }\n}\n"


@pytest.fixture(scope="module")
def chains():
    made = LongChain("rsa-4096", is_one_key=True)
    assert len(made.chains["a"]) == CHAIN + 1
    return made


def dropped_fragments(lab):
    rule = lab.topology.net.run("nft", "list", "table", "bridge", "fragments")
    return int(rule.partition("packets ")[2].split()[0])


def test_with_ike_fragments(make_lab, chains, tell):
    lab = make_lab(a=settings(A, chains), b=settings(B, chains))
    lab.topology.net.nft(NO_FRAGMENTS)
    assert lab.ping(3, wait=8) == 3
    lab.wait_up()
    pieces = [packet for packet in lab.wan["a"].packets() if packet.is_ike and packet.payload[IKE_HEADER + 16] == ENCRYPTED_FRAGMENT]
    tell(f"IKE_AUTH in {len(pieces)} pieces of at most {max(packet.length - 14 for packet in pieces)} octets; {dropped_fragments(lab)} IP fragments")
    assert {packet.src for packet in pieces} == {A.wan, B.wan}
    assert max(packet.length - 14 for packet in pieces) <= 1280
    assert dropped_fragments(lab) == 0
    lab.hang_up()


def test_without_ike_fragments(chains, tell):
    """The control: with a peer that has them not (our own configuration refuses that) IKE_AUTH leaves as IP fragments."""
    lab = StockLab(settings=settings(A, chains), options="  fragmentation = no\n", **stock_options(chains))
    try:
        lab.topology.net.nft(NO_FRAGMENTS)
        lab.answer_calls()
        lab.workspace.start(lab.host_a.command("ping", "-c", "1", B.host), "ping.log")
        lab.router.wait_status("HOLDDOWN", seconds=12)
        cause = lab.router.session()["last_cause"]
        tell(f"{dropped_fragments(lab)} IP fragments dropped; cause: {cause}")
        assert dropped_fragments(lab) >= 4
        assert "no answer" in cause, cause
        assert cause_lines(lab.router.log(), cause)
        wait_for(lambda: not lab.carrier.open_dialogs(), 5, "the call has ended")
    finally:
        lab.close()
