# SPDX-License-Identifier: GPL-3.0-or-later
"""deploy/fail2ban reads the lines that the SIP guard and ike-agent write, and takes no others for an attack."""

import configparser
import re
import subprocess
from pathlib import Path

FILTER = Path(__file__).parents[2] / "deploy/fail2ban/vpnsip.conf"
PREFIX = "2026-01-31T13:04:07+0000 branch sip-agent[812]: "
LINES = {
    "sip-agent notice: sip.guard.reject class=foreign-source src=192.0.2.66 line=0388881001 count=12": True,
    "sip-agent notice: sip.guard.reject class=foreign-source src=192.0.2.66 line=0388881001 count=1": True,
    "sip-agent notice: sip.guard.reject class=unknown-caller src=198.51.100.5 line=0388881001 count=1": False,
    "sip-agent notice: sip.guard.reject class=half-open src=198.51.100.5 line=0388881001 count=3": False,
    "sip-agent notice: vsip2 0388882001: call x: hung up by sip.guard.reject class=foreign-source src=192.0.2.1 line=1 count=1 of": False,
    "ike-agent notice: ike.guard.reject class=wrong-key src=192.0.2.66 tunnel=vsip2 count=3": True,
    "ike-agent notice: ike.guard.reject class=wrong-fingerprint src=192.0.2.66 tunnel=vsip2 count=1": True,
    "ike-agent notice: ike.guard.reject class=half-open src=198.51.100.5 tunnel=vsip2 count=7": False,
    "ike-agent notice: vsip2 0388882001: IKE failed: peer key-id ike.guard.reject class=revoked src=192.0.2.1 tunnel=- count=1 matches": False,
    "sip-agent info: line 0388881001: SIP on 198.51.100.10 port 5060": False,
}


def test_filter_by_its_expression():
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(FILTER)
    expressions = [re.compile(line.replace("<HOST>", r"(?P<host>[0-9.]+)")) for line in parser["Definition"]["failregex"].splitlines()]
    for line, is_attack in LINES.items():
        found = next(filter(None, (expression.search(line) for expression in expressions)), None)
        assert bool(found) == is_attack, line
        assert not found or found["host"] == "192.0.2.66"


def test_filter_by_fail2ban(tmp_path):
    log = tmp_path / "log"
    log.write_text("".join(f"{PREFIX}{line}\n" for line in LINES))
    told = subprocess.run(["fail2ban-regex", log, FILTER], capture_output=True, text=True, check=True).stdout
    attacks = sum(LINES.values())
    assert f"Lines: {len(LINES)} lines, 0 ignored, {attacks} matched, {len(LINES) - attacks} missed" in told, told
