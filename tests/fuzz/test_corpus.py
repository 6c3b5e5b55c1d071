# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages that are meant to break a parser, sent to a whole sip-agent under AddressSanitizer and UBSan: it lives, gives the right answer,
and takes the next honest call. VPNSIP_BUILD names the sanitized build. VPNSIP_RFC4475 may name a folder with the RFC's own messages
(NAME.dat): they are sent too.
"""

import os
import queue
import random
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from torture import CARRIER, CALLER, LINE, TESTS, compose

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "lab"))

from vpnlab.namespaces import wait_for  # noqa: E402
from vpnlab.router import program  # noqa: E402

AGENT = "127.59.0.2"
ORIGINALS = Path(os.environ["VPNSIP_RFC4475"]) if "VPNSIP_RFC4475" in os.environ else None
LONG = "VPNSIP_LONG" in os.environ
CONFIGURATION = f"""\
enabled = true
tunnel-source = "10.255.0.1"
line "{LINE}" {{ wan-interface = "lo"  registrar = "{CARRIER}:5060"  domain = "carrier.example" }}
peer "{CALLER}" {{ tunnel = "vsip2"  address = "10.254.0.1/32"  bandwidth = 1000  ike-profile = "default"  ipsec-profile = "default" }}
ike-profile "default" {{ authentication = pre-share }}
ipsec-profile "default" {{ idle-time = 120 }}
"""


class Carrier:
    """The registrar, and who sends everything: its address is the one that the agent believes."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((CARRIER, 5060))
        self.received = queue.Queue()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            octets, source = self.socket.recvfrom(65536)
            if octets.startswith(b"REGISTER "):
                self.socket.sendto(self._grant(octets.decode()), source)
            else:
                self.received.put(octets)

    @staticmethod
    def _grant(text):
        lines = text.split("\r\n")
        kept = [line for line in lines if line.split(":")[0] in ("Via", "From", "Call-ID", "CSeq")]
        to = next(line for line in lines if line.startswith("To:"))
        contact = next(line for line in lines if line.startswith("Contact:")) + ";expires=3600"
        return "\r\n".join(["SIP/2.0 200 OK", *kept, to + ";tag=r", contact, "Content-Length: 0", "", ""]).encode()

    def send(self, octets):
        while not self.received.empty():
            self.received.get()
        self.socket.sendto(octets, (AGENT, 5060))

    def final(self, seconds, *words):
        """The first final response with all these words in it, None when there is none in that time."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            try:
                octets = self.received.get(timeout=left)
            except queue.Empty:
                break
            text = octets.decode("latin-1")
            if re.match(r"SIP/2\.0 [2-6]\d\d", text) and all(word in text for word in words):
                return text
        return None


class Agent:
    """sip-agent, with a coordinator that answers every call (sip_driver)."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "vpnsip.conf").write_text(CONFIGURATION)
        for name in ("run", "state"):
            (folder / name).mkdir()
        self.log = folder / "sip-agent.log"
        stream = self.log.open("w")
        self.process = subprocess.Popen([program("sip-agent"), "-c", folder / "vpnsip.conf", "--run-dir", folder / "run", "--state-dir", folder / "state", "--user", ""],
                                        stdout=stream, stderr=stream, env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=0"})
        wait_for(lambda: list((folder / "run").rglob("requests.sock")), 10, "sip-agent")
        self.driver = subprocess.Popen([program("sip_driver"), folder / "run", LINE, AGENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                       env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}, umask=0o007)
        assert self.driver.stdout.readline().strip() == "registered", self.log.read_text(errors="replace")

    def check(self):
        assert self.process.poll() is None, self.log.read_text(errors="replace")[-6000:]
        assert "ERROR: AddressSanitizer" not in self.log.read_text(errors="replace") and "runtime error:" not in self.log.read_text(errors="replace")

    def stop(self):
        for process in (self.driver, self.process):
            process.terminate()
            process.wait(10)


def headers_of(response, *names):
    """Whole header lines, folded ones in one piece."""
    lines = re.sub(r"\r\n[ \t]+", " ", response).split("\r\n")
    return [line for line in lines if line.split(":")[0].strip().lower() in [name.lower() for name in names]]


def finish(carrier, response, call):
    """ACK, and BYE when it was answered with 200."""
    status = int(response.split()[1])
    kept = headers_of(response, "From", "To", "Call-ID")
    target = re.search(r"<(.*?)>", (headers_of(response, "Contact") or [f"<sip:{LINE}@{AGENT}:5060>"])[0]).group(1)
    number = re.search(r"\d+", headers_of(response, "CSeq")[0]).group()
    for method, follows in (("ACK", 0), ("BYE", 1))[:2 if status == 200 else 1]:
        via = f"Via: SIP/2.0/UDP {CARRIER}:5060;branch=z9hG4bK{call}{method if status == 200 else ''}"
        text = "\r\n".join([f"{method} {target} SIP/2.0", via, *kept, f"CSeq: {int(number) + follows} {method}", "Max-Forwards: 70", "Content-Length: 0", "", ""])
        carrier.send(text.encode())
    if status == 200:
        answer = carrier.final(3, " BYE", call)
        assert answer and answer.startswith("SIP/2.0 200 "), answer


@pytest.fixture(scope="module")
def carrier():
    return Carrier()


@pytest.fixture(scope="module")
def agent(carrier, tmp_path_factory):
    running = Agent(tmp_path_factory.mktemp("agent"))
    yield running
    running.check()
    running.stop()


def honest_call(carrier, agent, name):
    for attempt in range(3):
        carrier.send(compose(f"honest-{name}-{attempt}"))
        response = carrier.final(3, f"honest-{name}-{attempt}")
        agent.check()
        assert response, "no answer to an honest call"
        finish(carrier, response, f"honest-{name}-{attempt}")
        if response.startswith("SIP/2.0 200 "):
            return
        time.sleep(1)  # the limit of calls a second
    pytest.fail(f"an honest call is refused: {response}")


@pytest.mark.parametrize("name", TESTS)
def test_by_datagram(carrier, agent, name):
    _, octets, right = TESTS[name]
    carrier.send(octets)
    response = carrier.final(2 if None not in right else 0.4, name)
    agent.check()
    status = int(response.split()[1]) if response else None
    assert status in right, response
    if response and any("INVITE" in line for line in headers_of(response, "CSeq")):
        finish(carrier, response, name)
    honest_call(carrier, agent, name)


@pytest.mark.parametrize("name", TESTS)
def test_by_stream(carrier, agent, name):
    """The same over TCP, in pieces: the framing is by Content-Length, and a broken one may cost the connection, no more."""
    octets = TESTS[name][1].replace(b"SIP/2.0/UDP", b"SIP/2.0/TCP").replace(f"{name}@".encode(), f"{name}-tcp@".encode()).replace(
        f"z9hG4bK{name}".encode(), f"z9hG4bK{name}tcp".encode())
    with socket.create_connection((AGENT, 5060), timeout=5, source_address=(CARRIER, 0)) as stream:
        for start in range(0, len(octets), 97):
            try:
                stream.sendall(octets[start:start + 97])
            except OSError:
                break
            time.sleep(0.0005)
        stream.settimeout(0.3)
        try:
            while stream.recv(65536):
                pass
        except OSError:
            pass
    agent.check()
    honest_call(carrier, agent, f"{name}-tcp")


@pytest.mark.skipif(ORIGINALS is None, reason="VPNSIP_RFC4475 does not name the RFC's messages")
def test_originals(carrier, agent):
    for path in sorted(ORIGINALS.glob("*.dat")):
        carrier.send(path.read_bytes())
        response = carrier.final(0.3)
        agent.check()
        assert not response or not response.startswith("SIP/2.0 2") or " OPTIONS" in response, (path.name, response)
    honest_call(carrier, agent, "originals")


def mutate(octets, source):
    octets = bytearray(octets)
    for _ in range(source.choice((1, 1, 2, 4, 16))):
        at = source.randrange(len(octets))
        kind = source.randrange(5)
        if kind == 0:
            octets[at] = source.randrange(256)
        elif kind == 1:
            del octets[at:at + source.randrange(1, 20)]
        elif kind == 2:
            octets[at:at] = bytes(source.choice(b"\r\n:;,<>\"% \t\0@=\xff") for _ in range(source.randrange(1, 8)))
        elif kind == 3:
            octets[at:at] = octets[at:at + source.randrange(1, 200)]
        else:
            octets[at:at] = str(source.choice((0, -1, 2**31, 2**32, 2**64, 10**30))).encode()
        if not octets:
            octets = bytearray(b"\r\n")
    return bytes(octets[:60000])


def test_mutations(carrier, agent):
    """Seeded changes of all of them; the seed is shown by a failure."""
    seed = int(os.environ.get("VPNSIP_SEED", "4475"))
    source = random.Random(seed)
    texts = [octets for _, octets, _ in TESTS.values()]
    for number in range(20000 if LONG else 2000):
        carrier.socket.sendto(mutate(source.choice(texts), source), (AGENT, 5060))
        if number % 50 == 0:
            time.sleep(0.05)
            assert agent.process.poll() is None, (seed, number, agent.log.read_text(errors="replace")[-6000:])
    time.sleep(2)
    agent.check()
    honest_call(carrier, agent, f"mutated-{seed}")
