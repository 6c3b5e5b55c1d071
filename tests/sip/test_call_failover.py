# SPDX-License-Identifier: GPL-3.0-or-later
"""The server dies between the registration and the call: the INVITE goes to the next one (two real Kamailios), or fails with its reason."""

import time

import pytest
from certificates import DAY
from test_registration import SECOND, TIMERS, second_carrier, sip
from test_tls_call import secure_lab  # noqa: F401
from vpnlab.namespaces import wait_for
from vpnlab.router import Settings
from vpnlab.topology import CARRIER, A, B


def settings():
    return Settings(timers={**TIMERS, "answer": 8, "ringing": 8}, idle_time=60, line_options=[f'secondary-registrar = "{SECOND}"', "retry-invite = 2"])


@pytest.mark.parametrize("outage", ["dead", "silent"])
def test_invite_goes_to_the_second_server(make_lab, tell, outage):
    """The same attempt as a new transaction: one session, one bill, at the second carrier; BYE goes there too."""
    lab = make_lab(a=settings(), b=settings())
    lab.may_leak = True  # the second carrier is no address that the capture's classes know
    second = second_carrier(lab)
    contact = lab.carrier.registered()[B.number].partition(";")[0]
    second.control("ul.add", "location", f"s:{B.number}", f"s:{contact}", 3600, "1.0", ".", 0, 0, 4095)
    if outage == "dead":
        lab.carrier.kill()
    else:
        lab.topology.carrier.nft(f"table ip silence {{\n chain in {{\n type filter hook input priority 0\n  ip daddr {CARRIER} udp dport 5060 drop\n }}\n}}\n")
    lab.wan["a"].fresh()
    begin = time.monotonic()
    assert lab.ping(4, wait=8) >= 1
    lab.a.wait_status("SESSION_UP")
    tell(f"{outage}: traffic {time.monotonic() - begin:.1f} s after the first packet")
    attempt = lab.a.session()["attempt"]
    assert len(second.open_dialogs()) == 1
    sent = [target for _, text, target in sip(lab.wan["a"].packets(), A.wan, "INVITE")]
    assert sent[0] == CARRIER and sent[-1] == SECOND
    assert not outage == "silent" or sent.count(CARRIER) == 1 + 2, "as often as retry-invite says"
    assert attempt == lab.a.session()["attempt"]
    (row,) = lab.a.show("vpn-sip", "sip", "registrar")["registrations"]
    assert row["is_secondary"], "the line goes on with the second server"
    lab.a.cli("hangup", B.number)
    wait_for(lambda: not second.open_dialogs(), 5, "the call is over")
    (record,) = wait_for(second.call_records, 3, "its record")
    assert (record["caller"], record["callee"]) == (A.number, B.number)
    if outage == "dead":
        lab.carrier.start()
    else:
        lab.topology.carrier.nft("delete table ip silence")


def test_invite_over_a_handshake_that_fails(secure_lab, tell):  # noqa: F811
    """The carrier comes back with a certificate that has expired: no call, at once and with the reason; nothing is sent in clear."""
    lab = secure_lab(roots=1)
    lab.carrier.kill()
    lab.carrier_root.issue(lab.carrier.dir, "carrier", ["carrier.example", CARRIER], "carrier", begins=-3 * DAY, ends=-DAY)
    lab.carrier.start()
    lab.a.cli("clear", "sip-ua", "tcp", "tls", "connection", "target", f"ipv4:{CARRIER}:5061", check=False)
    begin = time.monotonic()
    lab.ping(1, wait=2)
    # between two attempts: a new one begins without a cause
    session = wait_for(lambda: (found := lab.a.session())["last_cause"] and found, 8, "the call fails", interval=0.05)
    tell(f"failed after {time.monotonic() - begin:.1f} s: {session['last_cause']}")
    assert "TLS: certificate" in session["last_cause"] and "expired" in session["last_cause"]
