# SPDX-License-Identifier: GPL-3.0-or-later
"""One router with many peers, and sipp in the place of everybody that it calls or that calls it.

Each row of a test has a peer of its own, so that no row meets the hold-down of another. Directly, sipp has the carrier's address
and port; through the carrier, it has those of the other site.
"""

import hashlib
import itertools
import secrets
from xml.sax.saxutils import escape

from vpnlab.carrier import REALM, Carrier
from vpnlab.namespaces import LabError, Workspace, wait_for
from vpnlab.router import PSK, Router, Settings
from vpnlab.topology import CARRIER, A, B, Topology

PEERS = 60
KEY = ":".join(f"{octet:02X}" for octet in hashlib.sha256(PSK.encode()).digest())
PASSWORD = "carrier-password-a"


def number_of(index):
    return f"03888840{index:02d}"


def sdp(port=50001, address=B.wan, bandwidth="b=AS:1000\r\n", role="active", fingerprint=f"a=psk-fingerprint:SHA-256 {KEY}\r\n",
        media="application {port} udp ike-esp-udpencap", connection="IN IP4 {address}"):
    """A description; every part can be another text."""
    return (f"v=0\r\no=- 1 1 IN IP4 {B.wan}\r\ns=-\r\nc={connection.format(address=address)}\r\nt=0 0\r\n"
            f"m={media.format(port=port)}\r\n{bandwidth}" + (f"a=ike-setup:{role}\r\n" if role else "") + fingerprint)


def configuration(directory, line_options, timers, peer_options):
    peers = "".join(f'peer "{number_of(i)}" {{ tunnel = "vsip{100 + i}"  address = "172.16.1.{i + 1}/32"  bandwidth = 1000 '
                    f'{peer_options.get(i, "")} }}\n' for i in range(PEERS))
    settings = {"ike": 20, "answer": 5, "ringing": 3, "release": 1, "port-reuse": 1} | timers
    return f"""\
enabled = true
tunnel-source = "{A.tunnel_source}"
keyring-file = "{directory}/ike.keyring"
maximum-calls-per-hour = 10000
line "{A.number}" {{
    wan-interface = "wan0"  gateway = "198.51.100.1"  registrar = "{CARRIER}:5060"  domain = "{REALM}"
    credentials-file = "{directory}/sip.password"  {line_options}
}}
ike-profile "default" {{ psk-fingerprint = true }}
ipsec-profile "default" {{ idle-time = 60 }}
{peers}
timers {{ {"  ".join(f"{name} = {value}" for name, value in settings.items())} }}
"""


class CallsLab:
    """`is_direct`: sipp is the carrier. Otherwise Kamailio is, and believes whoever calls."""

    def __init__(self, is_direct, line_options="", timers=None, peer_options=None):
        self.is_direct = is_direct
        self.free = itertools.count()
        self.workspace = Workspace()
        self.topology = Topology(self.workspace)
        self.topology.cut_primary()
        self.router = Router(self.workspace, self.topology.routers["a"], A, B, PASSWORD, Settings())
        directory = self.router.dir
        (directory / "vpnsip.conf").write_text(configuration(directory, line_options, timers or {}, peer_options or {}))
        (directory / "ike.keyring").write_text("".join(
            f'peer "p{i}" {{ identity-key-id = "{number_of(i)}"  pre-shared-key = "{PSK}" }}\n' for i in range(PEERS)))
        self.carrier = None
        try:
            self._start()
        except LabError:
            self.close()
            raise

    def _start(self):
        # First, for a REGISTER that found nobody would be repeated after half a minute only.
        if self.is_direct:
            first = self.sipp("registrar", registrar(), self.topology.carrier, CARRIER, 5060)
        else:
            self.carrier = Carrier(self.workspace, self.topology.carrier, {A.number: PASSWORD})
            self.carrier.start()
        self.router.start()
        self.router.wait_up(15)
        if self.is_direct:
            first.popen.wait(20)
        wait_for(lambda: self.status(0) == "READY_TO_CONNECT", 40, "the line is registered")
        if self.carrier:
            self.carrier.switch("no-auth", 1)

    def sessions(self):
        return {session["remote_number"]: session for session in self.router.show("vpn-sip", "session", "detail")["sessions"]}

    def session(self, index):
        return self.sessions()[number_of(index)]

    def status(self, index):
        return self.session(index)["status"]

    def sipp(self, name, scenario, space, address, port, *more):
        path = self.workspace.dir / f"{name}.xml"
        path.write_text(scenario)
        argv = space.command("sipp", *more, "-sf", path, "-m", "1", "-nostdin", "-i", address, "-p", str(port), "-trace_err", "-trace_msg",
                             "-message_file", self.workspace.dir / f"{name}.messages", "-error_file", self.workspace.dir / f"{name}.errors",
                             "-timeout", "60s", "-timeout_error", "-default_behaviors", "none")
        return self.workspace.start(argv, f"{name}.log", cwd=self.workspace.dir)

    def caller(self, name, scenario):
        """sipp calls the router."""
        if self.is_direct:
            return self.sipp(name, scenario, self.topology.carrier, CARRIER, 5062, f"{A.wan}:5060")
        return self.sipp(name, scenario, self.topology.routers["b"], B.wan, 5062, f"{CARRIER}:5060")

    def callee(self, name, scenario, index):
        """sipp waits for the call to that peer."""
        if self.is_direct:
            process = self.sipp(name, scenario, self.topology.carrier, CARRIER, 5060)
            space = self.topology.carrier
        else:
            space = self.topology.routers["b"]
            process = self.sipp(name, scenario, space, B.wan, 5062)
            number = number_of(index)
            self.carrier.control("ul.add", "location", f"s:{number}", f"s:sip:{number}@{B.wan}:5062", 3600, "1.0", ".", 0, 0, 4095)
        wait_for(lambda: (":13C4" if self.is_direct else ":13C6") in space.run("cat", "/proc/net/udp"), 3, "sipp's socket")
        return process

    def text(self, name):
        """What sipp sent and received, and its complaints."""
        return "".join(path.read_text() for suffix in ("messages", "errors")
                       if (path := self.workspace.dir / f"{name}.{suffix}").exists())

    def finish(self, process, name, seconds=30):
        """The scenario must have been played to its end."""
        status = process.end(seconds)
        assert status == 0, f"sipp ended with {status}\n{self.text(name)[-6000:]}\n{self.router.log('sip-agent')[-1500:]}\n{self.router.log()[-1500:]}"

    def close(self):
        self.workspace.close()


# --- scenarios ---

def scenario(*steps):
    return '<?xml version="1.0" encoding="UTF-8"?>\n<scenario name="calls">\n' + "\n".join(steps) + "\n</scenario>\n"


def send(text, **attributes):
    words = "".join(f' {name}="{value}"' for name, value in attributes.items())
    return f"<send{words}><![CDATA[\n{text}]]></send>"


def message(start, headers, body="", kind="application/sdp"):
    content = f"Content-Type: {kind}\r\nContent-Length: [len]\r\n\r\n{body}" if body else "Content-Length: 0\r\n\r\n"
    return "\n".join(f"{line}" for line in (start + "\r\n" + headers + content).replace("\r\n", "\n").split("\n"))


_variables = itertools.count(1)


def check(header, pattern):
    """An action: this header of what came must match."""
    return (f'<ereg regexp="{escape(pattern)}" search_in="hdr" header="{header}:" check_it="true" assign_to="{(number := next(_variables))}"/>'
            f'<log message="{header} [${number}]"/>')


def receive(what, checks=(), **attributes):
    kind = "response" if what[0].isdigit() else "request"
    words = "".join(f' {name}="{value}"' for name, value in attributes.items())
    actions = "<action>" + "".join(check(*one) for one in checks) + "</action>" if checks else ""
    return f'<recv {kind}="{what}"{words}>{actions}</recv>'


def pause(msec):
    return f'<pause milliseconds="{msec}"/>'


class CallerScript:
    """The requests of one caller."""

    def __init__(self, lab, caller, identity=None):
        self.lab, self.caller = lab, caller
        self.branch = f"z9hG4bK{secrets.token_hex(6)}"
        self.tag = secrets.token_hex(4)
        if identity is None:
            identity = f"P-Asserted-Identity: <sip:{caller}@{REALM}>\r\n"
        self.identity = identity

    def request(self, method, sequence, headers="", body="", branch=None, to_tag="[peer_tag_param]", kind="application/sdp"):
        target = "[next_url]" if to_tag else f"sip:{A.number}@[remote_ip]:[remote_port]"
        return message(
            f"{method} {target} SIP/2.0",
            f"Via: SIP/2.0/UDP [local_ip]:[local_port];branch={branch or self.branch + str(sequence) + method}\r\n"
            f"Max-Forwards: 70\r\nFrom: <sip:{self.caller}@{REALM}>;tag={self.tag}\r\n"
            f"To: <sip:{A.number}@{REALM}>{to_tag}\r\nCall-ID: [call_id]\r\nCSeq: {sequence} {method}\r\n"
            f"Contact: <sip:{self.caller}@[local_ip]:[local_port]>\r\n" + ("[routes]\r\n" if to_tag else "")
            + (self.identity if method == "INVITE" and not to_tag else "") + headers, body, kind)

    def invite(self, headers="", body="", kind="application/sdp"):
        return send(self.request("INVITE", 1, headers, body, to_tag="", kind=kind), retrans=500)

    def ack_refusal(self, sequence=1, to_tag="[peer_tag_param]"):
        """In the INVITE's own transaction."""
        text = self.request("ACK", sequence, branch=f"{self.branch}{sequence}INVITE", to_tag=to_tag)
        if sequence == 1:
            text = text.replace("[next_url]", f"sip:{A.number}@[remote_ip]:[remote_port]").replace("[routes]\n", "")
        return send(text)

    def ack(self, sequence=1):
        return send(self.request("ACK", sequence))


def registrar():
    """Answers one REGISTER."""
    return scenario(receive("REGISTER"), send(message(
        "SIP/2.0 200 OK", "[last_Via:]\r\n[last_From:]\r\n[last_To:];tag=r1\r\n[last_Call-ID:]\r\n[last_CSeq:]\r\n"
        "[last_Contact:];expires=3600\r\n")), pause(300))


def respond(status, headers="", body="", tag="[call_number]c", contact="[local_ip]:[local_port]"):
    return send(message(
        f"SIP/2.0 {status} Said", f"[last_Via:]\r\n[last_Record-Route:]\r\n[last_From:]\r\n[last_To:];tag={tag}\r\n[last_Call-ID:]\r\n[last_CSeq:]\r\n"
        f"Contact: <sip:callee@{contact}>\r\n{headers}", body))


def respond_within(status, headers=""):
    """To a request of the dialog, whose To has its tag."""
    return send(message(f"SIP/2.0 {status} Said", "[last_Via:]\r\n[last_From:]\r\n[last_To:]\r\n[last_Call-ID:]\r\n[last_CSeq:]\r\n" + headers))
