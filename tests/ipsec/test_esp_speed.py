# SPDX-License-Identifier: GPL-3.0-or-later
"""What makes the data path quick, seen from outside: system calls by strace, order by the numbers that the packets carry."""

import re
import signal
import socket
import struct
import subprocess
import time

from esp_pair import Wire, inside
from vpnlab.namespaces import wait_for

TUNNELS = 20
ROUNDS = 40


class Calls:
    """The system calls of an agent on packets, with their results, until read."""

    def __init__(self, pair, side):
        self.log = pair.workspace.dir / f"strace-{side.role}"
        self.process = pair.workspace.start(["strace", "-f", "-e", "trace=sendmmsg,recvmmsg,sendmsg,readv,writev", "-e", "abbrev=all", "-o", self.log, "-p", side.agent.pid],
                                            f"strace-{side.role}.log")
        wait_for(lambda: "attached" in self.process.log.read_text(), 5, "strace")

    def read(self):
        self.process.stop(signal.SIGINT)
        # a call that another thread's interrupts stands on two lines, the result on the second
        return [(name, int(result)) for name, result in re.findall(r"(\w+)(?:\(| resumed>).* = (\d+)", self.log.read_text())]


def send_numbered(pair, rounds, tunnels=TUNNELS):
    """A packet into each tunnel, and again; the number is the content."""
    def send():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
            for number in range(rounds):
                for index in range(tunnels):
                    made.sendto(struct.pack("!I", number) + bytes(400), (f"10.254.{index}.2", 9999))

    inside(pair.a.space, send)


def test_one_system_call_sends_for_many_tunnels(make):
    """What waits in 20 tunnels when tunnel-agent wakes leaves in one, and is received in one."""
    pair = make(tunnels=TUNNELS)
    pair.connect()
    calls = {side.role: Calls(pair, side) for side in pair.sides}
    pair.a.agent.signal(signal.SIGSTOP)
    send_numbered(pair, 1)
    pair.b.agent.signal(signal.SIGSTOP)
    pair.a.agent.signal(signal.SIGCONT)
    time.sleep(0.5)
    pair.b.agent.signal(signal.SIGCONT)
    time.sleep(0.5)
    sent = [count for name, count in calls["a"].read() if name == "sendmmsg"]
    received = [count for name, count in calls["b"].read() if name == "recvmmsg"]
    assert max(sent) == TUNNELS, sent
    assert max(received) == TUNNELS, received


def test_large_packets_save_system_calls(make):
    """TCP through a quick tunnel: large packets are read, several ESP packets leave in a message, and are written joined."""
    pair = make(bandwidth=1000000)
    pair.connect()
    server = subprocess.Popen(pair.b.space.command("iperf3", "-s", "-1"), stdout=subprocess.DEVNULL)
    time.sleep(0.4)
    calls = [Calls(pair, side) for side in pair.sides]
    pair.a.space.run("iperf3", "-n", "4M", "-c", pair.b.address, timeout=30)
    server.wait(10)
    a, b = (each.read() for each in calls)
    pair.wait_for_news()
    packets = pair.a.player.packets("SA_OUTBOUND")
    assert packets > 500 and pair.b.player.packets("SA_INBOUND") == packets
    assert max(size for name, size in a if name == "readv") > 20000
    assert max(size for name, size in b if name == "writev") > 5000
    # each of a packet's two system calls is there for several packets; acknowledgements are counted, too
    assert len(a) < packets and sum(name == "sendmmsg" for name, _ in a) < packets / 4, (len(a), packets)


def test_order_of_each_sa_is_kept(make):
    """Through batches of 20 tunnels: on the wire the numbers of each SA follow each other, inside the packets do."""
    pair = make(tunnels=TUNNELS, bandwidth=100000)
    pair.connect()
    arrivals = {}

    def listen():
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.setsockopt(socket.SOL_SOCKET, 33, 4 << 20)  # SO_RCVBUFFORCE
        made.setsockopt(socket.SOL_IP, 8, 1)  # IP_PKTINFO
        made.bind(("0.0.0.0", 9999))
        made.settimeout(1)
        return made

    receiver = inside(pair.b.space, listen)
    wire = Wire(pair)
    send_numbered(pair, ROUNDS)
    try:
        while True:
            octets, extra, _, _ = receiver.recvmsg(500, 100)
            arrivals.setdefault(extra[0][2][8:12], []).append(struct.unpack("!I", octets[:4])[0])
    except TimeoutError:
        receiver.close()
    assert len(arrivals) == TUNNELS
    assert all(numbers == list(range(ROUNDS)) for numbers in arrivals.values()), arrivals
    numbers = {}
    for packet in wire.esp(1):
        numbers.setdefault(packet.dport, []).append(packet.sequence)
    assert len(numbers) == TUNNELS and all(each == list(range(1, ROUNDS + 1)) for each in numbers.values()), numbers
