# SPDX-License-Identifier: GPL-3.0-or-later
"""What a packet costs tunnel-agent beside its work: no allocation and no lock, its own or a library's, in a batch or alone. The whole
process is counted (tests/unit/path_counter.c), from its event loop to OpenSSL; tests/unit/test_tunnel_costs.c looks at the core alone."""

import socket
import struct
import time

import pytest
from esp_pair import CBC, GCM, inside
from vpnlab.router import program

PORT = 5001
PACKETS = 10000  # each way
BURST, BURST_PAUSE_SEC = 50, 0.004
ALONE, ALONE_PAUSE_SEC = 500, 0.002
IV_LOCKS = 8 / 64  # AES-CBC's random IVs: OpenSSL's locks, once for 64 packets
# What happens beside packets (a tick, a heartbeat, what is told) goes on with its own pace, which is not exactly the same twice.
UNEVEN = 150


def counted(make, *environment):
    """A pair whose tunnel-agents count what they do."""
    words = [f"LD_PRELOAD={program('libpath_counter.so')}", "COST_FILE={directory}/costs", *environment]
    return make(environment=words, bandwidth=1000000)


def costs(side):
    """(allocations, locks) until now."""
    return struct.unpack("=2Q", (side.directory / "costs").read_bytes())


def passed(side):
    return side.player.packets("SA_INBOUND") + side.player.packets("SA_OUTBOUND")


def send(pair, count, burst, pause):
    """`count` datagrams each way, nearly at once; the receivers take what they can."""
    sockets = []
    for side in pair.sides:
        made = inside(side.space, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        made.bind((side.address, PORT))
        sockets.append((made, (side.other_address, PORT)))
    for done in range(0, count, burst):
        for made, target in sockets:
            for _ in range(burst):
                made.sendto(bytes(400), target)
        time.sleep(pause)
    for made, _ in sockets:
        made.close()


def measure(pair, work):
    """What work() costs: (packets, allocations, locks) of A beyond those of a time as long with a packet now and then."""
    def count(action):
        pair.wait_for_news()
        packets, before = passed(pair.a), costs(pair.a)
        began = time.monotonic()
        action()
        pair.wait_for_news()
        after = costs(pair.a)
        return time.monotonic() - began, passed(pair.a) - packets, [now - then for now, then in zip(after, before, strict=True)]

    seconds, packets, busy = count(work)
    rounds = max(1, round((seconds - 1.2) / 0.5))
    _, _, quiet = count(lambda: send(pair, rounds, 1, 0.5))
    return packets, *(max(0, one - other) for one, other in zip(busy, quiet, strict=True))


@pytest.mark.parametrize("suite, locks_each", [(GCM, 0), (CBC, IV_LOCKS)], ids=["gcm", "cbc"])
def test_a_packet_costs_no_allocation_and_no_lock(make, tell, suite, locks_each):
    pair = counted(make)
    pair.connect(suite)
    send(pair, 1000, BURST, BURST_PAUSE_SEC)  # warm
    for name, work in (("in batches", (PACKETS, BURST, BURST_PAUSE_SEC)), ("alone", (ALONE, 1, ALONE_PAUSE_SEC))):
        packets, allocations, locks = measure(pair, lambda work=work: send(pair, *work))
        tell(f"{packets} packets {name}: {allocations} allocations, {locks} locks")
        assert packets > 1.8 * work[0]
        assert allocations <= UNEVEN and locks <= UNEVEN + packets * locks_each


def test_control_what_each_packet_costs_is_seen(make):
    """A lock, an allocation and its release for each packet that is sent."""
    pair = counted(make, "COST_SPOIL=1")
    pair.connect()
    packets, allocations, locks = measure(pair, lambda: send(pair, 2000, BURST, BURST_PAUSE_SEC))
    assert packets > 3600
    assert allocations >= 2 * 0.9 * packets / 2 and locks >= 0.9 * packets / 2
