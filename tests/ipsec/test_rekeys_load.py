# SPDX-License-Identifier: GPL-3.0-or-later
"""Children and IKE_SAs of short lives under traffic between two routers: not one packet is lost. Counts are the wire's."""

import json
import signal
import time
from collections import Counter

import pytest
from traffic import SteadyPing, one_datagram_a_frame
from vpnlab.namespaces import wait_for
from vpnlab.router import Settings
from vpnlab.topology import A, B

# Each side's child ends by what it carried in one direction, whichever side reaches that first: they often rekey at once.
OPTIONS = {
    "idle_time": 60, "bandwidth": 20000, "peer_options": ["any-bandwidth = true"],
    "ike_options": ["lifetime = 60"],  # rekeyed after 51 to 54 s, by either side
    "ipsec_options": ["lifetime-kilobytes = 3000"],
}
STREAM = ["-b", "5M", "-l", "4K"]  # small writes: the shaper's queue of 64 packets takes each whole
CHILD_REKEYINGS = 10


def tunnel(router):
    """Its counters, told once a second."""
    time.sleep(1.5)
    (found,) = [each for each in router.show("interface")["interfaces"] if each["interface"] == router.site.tunnel]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("ike_rekeyings", [1, pytest.param(3, marks=pytest.mark.long)])
def test_nothing_is_lost(make_lab, tell, ike_rekeyings):
    lab = make_lab(a=Settings(**OPTIONS), b=Settings(**OPTIONS))
    one_datagram_a_frame(lab)
    assert lab.ping(1) == 1
    lab.wait_up()
    seconds = 57 * ike_rekeyings
    server = lab.workspace.start(lab.hosts["b"].command("iperf3", "-s", "-1"), "iperf3-server.log")
    wait_for(lambda: ":1451" in lab.hosts["b"].run("cat", "/proc/net/tcp", "/proc/net/tcp6"), 3, "iperf3 listens")
    pings = [SteadyPing(lab.workspace, lab.hosts["a"], B.host, "a"), SteadyPing(lab.workspace, lab.hosts["b"], A.host, "b")]
    text = lab.hosts["a"].run("iperf3", "-J", "-c", B.host, "-t", seconds, *STREAM, timeout=seconds + 20)
    counts = [ping.finish() for ping in pings]
    server.stop(signal.SIGINT)
    delivered = json.loads(text)["end"]["sum_received"]["bytes"]
    packets = [packet for packet in lab.wan["a"].packets() if packet.is_esp or packet.is_ike]
    ike = {packet.payload[4:20] for packet in packets if packet.is_ike and packet.payload[12:20] != bytes(8)}
    spis = Counter(src for src, _ in {(packet.src, packet.spi) for packet in packets if packet.is_esp})
    tell(f"{len(ike) - 1} IKE rekeyings, {min(spis.values()) - 1} of the child; TCP {delivered * 8e-6 / seconds:.1f} Mbit/s; "
         + ", ".join(f"{sent - answered} of {sent} pings lost" for sent, answered in counts))
    assert len(ike) > ike_rekeyings
    assert min(spis[A.wan], spis[B.wan]) > CHILD_REKEYINGS
    assert delivered > 4e6 / 8 * seconds
    assert all(sent == answered and sent > 50 * seconds for sent, answered in counts)
    # what the wire carried, the other side has decrypted, all of it
    for router in lab.routers.values():
        of_peer = sum(packet.is_esp and packet.src == router.peer.wan for packet in packets)
        assert tunnel(router)["packets_in"] == of_peer, tunnel(router)
    assert {router.status() for router in lab.routers.values()} == {"SESSION_UP"}
    assert len(lab.carrier.open_dialogs()) == 1
    lab.hang_up()
