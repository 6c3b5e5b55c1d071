# SPDX-License-Identifier: GPL-3.0-or-later
"""Changed ESP and IKE packets by the thousand, from the peer's own address, to both ends of a session that is up."""

import pytest
from attacks import IpsecAttacker, Mutator, Pace, drops, resident_kbyte, session_packets
from vpnlab.fixtures import LONG
from vpnlab.router import Settings

WARM_UP = 2000  # half-open IKE_SAs up to their limit, buffers that stay
GROWTH_KBYTE = 4096
PER_SECOND = 2000
LIFETIME = 400  # packets of a child: a rekeying is among the packets, and there is time for another while IKE is flooded


@pytest.mark.slow
@pytest.mark.parametrize("count", [1000000 if LONG else 10000])
def test_mutated_packets(make_lab, seeded, tell, count):
    options = {"idle_time": 60, "ipsec_options": [f"lifetime-packets = {LIFETIME}"]}
    lab = make_lab(a=Settings(**options), b=Settings(**options))
    lab.may_leak = True  # short ones are neither IKE nor ESP
    attacker = IpsecAttacker(lab)
    assert lab.ping(LIFETIME, interval=0.004) == LIFETIME
    lab.wait_up()
    packets = session_packets(lab, "is_ike") * 4 + session_packets(lab, "is_esp")
    mutator = Mutator(seeded, [packet.payload for packet in packets])
    pids = {name: router.processes[name].pid for router in lab.routers.values() for name in router.processes}
    call = lab.a.session()["sip_call_id"]
    pace, warm = Pace(PER_SECOND), None
    ping = lab.start_ping(0.2)
    for number in range(count + WARM_UP):
        index, payload = mutator.one()
        attacker.resend(packets[index], payload)
        pace.step()
        if number == WARM_UP:
            warm = {name: resident_kbyte(router) for name, router in lab.routers.items()}
    ping.stop()
    growth = {f"{name} of {side}": kbyte - warm[side][name] for side, router in lab.routers.items()
              for name, kbyte in resident_kbyte(router).items()}
    counted = sum(drops(router) for router in lab.routers.values())
    tell(f"{count} mutated packets: {counted} counted by tunnel-agent, growth {growth} kB")
    assert {name: router.processes[name].pid for router in lab.routers.values() for name, process in router.processes.items()
            if process.running()} == pids
    assert max(growth.values()) < GROWTH_KBYTE, growth
    assert lab.ping(10, interval=0.05) == 10
    assert lab.a.session()["sip_call_id"] == call and lab.a.status() == "SESSION_UP"
    attacker.close()
    lab.hang_up()
