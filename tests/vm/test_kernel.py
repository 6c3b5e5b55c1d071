# SPDX-License-Identifier: GPL-3.0-or-later
"""What only the kernel back end has to show: its own states, policies and tables, and that they outlive tunnel-agent."""

import json
import re
import signal
import time

import pytest

from vpnlab.namespaces import wait_for
from vpnlab.router import Settings


def states(router):
    """Lines `src ... dst ...` of ESP states, with their details joined."""
    return [" ".join(part.split()) for part in re.split(r"\n(?=src )", router.space.ip("-s", "xfrm", "state", "list", "nokeys").strip()) if "proto esp" in part]


def policies(router):
    return [line for line in router.space.ip("xfrm", "policy").splitlines() if re.search(r"\bdir (in|out|fwd)\b", line)]


def held(router):
    """Names of the interfaces whose packets are held."""
    objects = json.loads(router.space.run("nft", "-j", "list", "set", "inet", "vpnsip_hold", "held"))["nftables"]
    return next(entry["set"].get("elem", []) for entry in objects if "set" in entry)


def assert_nothing_left(router):
    assert not states(router) and not policies(router)
    assert held(router) == [router.site.tunnel]


def test_the_kernel_carries_a_session(lab):
    """The first packets are held and none is lost; the states are the tunnel's; nothing of them stays."""
    for router in lab.routers.values():
        assert "data plane kernel" in router.logs()
        assert_nothing_left(router)
    assert lab.ping(10, interval=0.3, wait=20) == 10
    lab.wait_up()
    for router in lab.routers.values():
        number = re.search(r"\d+$", router.site.tunnel).group()
        found = states(router)
        assert len(found) == 2 and all(f"if_id 0x{int(number):x}" in state and "espinudp" in state for state in found), found
        assert held(router) == [] and len(policies(router)) == 3
        sas = router.session()["sas"]
        assert {sa["direction"] for sa in sas} == {"inbound", "outbound"} and all(sa["packets"] >= 10 for sa in sas), sas
    lab.hang_up()
    for router in lab.routers.values():
        assert_nothing_left(router)
