# SPDX-License-Identifier: GPL-3.0-or-later
"""Stock strongSwan at the other end: who calls, who rekeys, who ends it, behind a translation of its own or with a port of its own."""

import pytest
from ike_certificates import LongChain, SelfSigned, settings, stock_options
from stock_lab import StockLab
from traffic import SteadyPing
from vpnlab.namespaces import wait_for
from vpnlab.router import Settings
from vpnlab.topology import A, B

REKEYED_PACKETS = 400  # our SAs live so many packets where a test wants us to rekey


@pytest.fixture
def stock(request):
    """stock(...) starts such a lab; its log is shown when the test failed."""
    labs = []

    def make(**options):
        labs.append(StockLab(**options))
        return labs[-1]

    yield make
    for lab in labs:
        if getattr(request.node, "failed", False):
            print(lab.logs())
        lab.close()


def bring_up(lab, we_call, seconds=None):
    """A session on a call of ours, or on one of the other side, whose charon then begins."""
    if we_call:
        lab.answer_calls()
        assert lab.ping("a", 1, wait=6) == 1
    else:
        lab.call(seconds)
        lab.charon.control("--initiate", "--child", "net", "--timeout", "5")
    lab.wait_up()


@pytest.mark.parametrize("is_translated", [True, False], ids=["translated", "own-port"])
@pytest.mark.parametrize("we_call", [True, False], ids=["we-call", "it-calls"])
def test_session(stock, we_call, is_translated):
    """Data both ways; then the IKE_SA is deleted by the peer where it called, and by our hanging up where we did."""
    lab = stock(is_translated=is_translated)
    bring_up(lab, we_call)
    lab.data_both_ways()
    if we_call:
        lab.router.cli("hangup", B.number)
    else:
        lab.charon.control("--terminate", "--ike", "lab")
    lab.finish_call()


@pytest.mark.parametrize("make, kind, we_call", [
    pytest.param(make, kind, we_call, id=f"{name}-{kind}-{'we-call' if we_call else 'it-calls'}",
                 # one of each pair stands for both
                 marks=[] if kind != "ecdsa-384" and we_call == ((kind == "rsa") == (make is SelfSigned)) else pytest.mark.long)
    for name, make in (("self-signed", SelfSigned), ("authority", LongChain))
    for kind in ("rsa", "ecdsa", "ecdsa-384") for we_call in (True, False)])
def test_certificates(stock, make, kind, we_call):
    made = make(kind)
    lab = stock(settings=settings(A, made), **stock_options(made))
    bring_up(lab, we_call)
    lab.data_both_ways()
    lab.charon.control("--rekey", "--ike", "lab")
    lab.data_both_ways()
    lab.charon.control("--terminate", "--ike", "lab")
    lab.finish_call()


def test_bye_of_the_other_side(stock):
    """Its BYE alone ends the session, with its IKE_SA still up."""
    lab = stock()
    bring_up(lab, False, seconds=2.5)
    lab.data_both_ways()
    lab.finish_call()


@pytest.mark.parametrize("we_call", [True, pytest.param(False, marks=pytest.mark.long)], ids=["we-call", "it-calls"])
def test_rekeys(stock, tell, we_call):
    """Two rekeyings of the IKE_SA and four of the child by the peer, two of the child by us at a packet limit, under 100 pings a second."""
    lab = stock(settings=Settings(ipsec_options=[f"lifetime-packets = {REKEYED_PACKETS}"]))
    bring_up(lab, we_call)
    children = lab.child_spis()
    ping = SteadyPing(lab.workspace, lab.host_a, B.host)

    def renew(spis, what, *words):
        before = spis()
        if words:
            lab.charon.control(*words)
        wait_for(lambda: (now := spis()) and not now & before, 8, what)
        children.update(lab.child_spis())

    for _ in range(2):
        renew(lab.child_spis, "we rekey the child")
        renew(lab.ike_spis, "it rekeys the IKE_SA", "--rekey", "--ike", "lab")
        for _ in range(2):
            renew(lab.child_spis, "it rekeys the child", "--rekey", "--child", "net")
    sent, answered = ping.finish()
    tell(f"{answered} of {sent} pings answered over 2 IKE rekeyings and {len(children) // 2 - 1} of the child")
    assert answered == sent > 300
    assert lab.router.status() == "SESSION_UP"
    if we_call:
        lab.router.cli("hangup", B.number)
    else:
        lab.charon.control("--terminate", "--ike", "lab")
    lab.finish_call()


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("we_call", [True, False], ids=["we-call", "it-calls"])
def test_our_ike_rekeying(stock, tell, we_call):
    """At the end of our IKE_SA's minute."""
    lab = stock(settings=Settings(ike_options=["lifetime = 60"]))
    bring_up(lab, we_call)
    ping = SteadyPing(lab.workspace, lab.host_a, B.host)
    first = lab.ike_spis()
    wait_for(lambda: (found := lab.ike_spis()) and not found & first, 70, "a new IKE_SA alone", interval=0.5)
    sent, answered = ping.finish()
    tell(f"{answered} of {sent} pings answered")
    assert answered == sent > 3000
    lab.data_both_ways()


@pytest.mark.slow
@pytest.mark.parametrize("we_call", [True, pytest.param(False, marks=pytest.mark.long)], ids=["we-call", "it-calls"])
def test_our_reauthentication(stock, tell, we_call):
    """A second IKE_SA beside the first, whoever began that; the first one is deleted, on both sides."""
    lab = stock(settings=Settings(idle_time=60, ike_options=["reauthentication = 9"]))
    bring_up(lab, we_call)
    ping = SteadyPing(lab.workspace, lab.host_a, B.host)
    first = lab.ike_spis()
    wait_for(lambda: (found := lab.ike_spis()) and len(found) == 2 and not found & first, 20, "a new IKE_SA alone", interval=0.5)
    sent, answered = ping.finish()
    tell(f"{answered} of {sent} pings answered")
    assert answered == sent > 300
    lab.data_both_ways()
