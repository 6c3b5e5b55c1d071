# SPDX-License-Identifier: GPL-3.0-or-later
"""Traffic that a test keeps running while something happens to its tunnel, counted to the packet."""

import re
import signal
import time

from vpnlab.namespaces import wait_for

INTERVAL_SEC = 0.008  # ping sleeps in ticks: this makes a good 100 a second, 0.01 makes 60


def one_datagram_a_frame(lab):
    """Has the routers' kernels cut what tunnel-agent sends in one piece, so that captures count packets as a wire would carry them."""
    for router in lab.routers.values():
        router.space.run("ethtool", "-K", "wan0", "tx-udp-segmentation", "off")


class SteadyPing:
    """A good 100 pings a second from construction to finish(). `space` is the sender's namespace."""

    def __init__(self, workspace, space, target, name="steady"):
        self.process = workspace.start(space.command("ping", "-n", "-q", "-i", INTERVAL_SEC, "-W", 2, target), f"ping-{name}.log")

    def counts(self):
        """(sent, answered) until now."""
        size = self.process.log.stat().st_size
        self.process.signal(signal.SIGQUIT)
        wait_for(lambda: self.process.log.stat().st_size > size, 2, "ping's figures")
        return _last_counts(self.process.log.read_text())

    def finish(self):
        """Ends it; (sent, answered) of the whole. The figures are of a moment without a packet under way, for a ping that ends
        waits for no answer; what is lost is missing a second later, too."""
        end = time.monotonic() + 1
        while True:
            sent, answered = self.counts()
            if sent == answered or time.monotonic() > end:
                break
        self.process.signal(signal.SIGINT)
        self.process.end(5)
        return sent, answered


def _last_counts(text):
    """Of ping's last summary, or of its answer to SIGQUIT."""
    found = re.findall(r"(\d+)/(\d+) packets|(\d+) packets transmitted, (\d+) received", text)
    received, sent, transmitted, answered = found[-1]
    return (int(transmitted), int(answered)) if transmitted else (int(sent), int(received))
