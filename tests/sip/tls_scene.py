# SPDX-License-Identifier: GPL-3.0-or-later
"""sip-agent alone and a carrier with TLS, in one namespace: what the tests of transports need."""

import json

from certificates import Authority, pem, write
from vpnlab.carrier import REALM, Carrier
from vpnlab.namespaces import Workspace, run, wait_for
from vpnlab.router import program
from vpnlab.topology import CARRIER, A

WAN = "198.51.100.10"
STRANGER = "198.51.100.66"
USER = "vpnsip-sip"
PASSWORDS = {A.number: "carrier-password-a"}
OURS = (REALM, CARRIER)  # what the carrier's certificate names

CONFIGURATION = """\
enabled = true
tunnel-source = "10.255.0.1"
log-level = debug
{trustpoints}
line "{number}" {{
    wan-interface = "lo"
    registrar = "{registrar}"
    domain = "{realm}"
    credentials-file = "{directory}/sip.password"
    {line}
}}
"""

TRUSTPOINT = """\
trustpoint "{name}" {{
    certificate-file = "{directory}/{label}.pem"
    key-file = "{directory}/{label}.key"
    ca-file = "{directory}/{roots}.pem"
    {more}
}}
"""


class Scene:
    """Files of the router are in `dir`: agent.pem, agent.key, roots.pem; those of the carrier in `carrier_dir`."""

    def __init__(self):
        self.workspace = Workspace()
        self.space = self.workspace.namespace("sip")
        run(["ip", "netns", "add", self.space.name])
        self.space.batch(f"link set lo up\naddr add {CARRIER}/32 dev lo\naddr add {WAN}/32 dev lo\naddr add {STRANGER}/32 dev lo\n")
        self.dir = self.workspace.dir
        self.carrier = Carrier(self.workspace, self.space, PASSWORDS)
        self.carrier_dir = self.carrier.dir
        self.agent = None
        write(self.dir / "sip.password", (PASSWORDS[A.number] + "\n").encode(), USER)

    def close(self):
        self.workspace.close()

    # -- certificates

    def one_authority(self, **leaf):
        """One shared root; returns it. `leaf` goes to the carrier's certificate."""
        return self.authorities(Authority("one root"), **leaf)[0]

    def authorities(self, ours, theirs=None, **leaf):
        """Our certificate is signed by `ours`, the carrier's by `theirs`; each believes the other's root."""
        theirs = theirs or ours
        ours.issue(self.dir, "agent", [WAN], "agent", user=USER)
        write(self.dir / "roots.pem", pem(root_of(theirs).certificate), USER)
        self.carrier_leaf = theirs.issue(self.carrier_dir, "carrier", **{"names": OURS, "common_name": "carrier", **leaf})
        write(self.carrier_dir / "roots.pem", pem(root_of(ours).certificate))
        return ours, theirs

    # -- carrier

    def start_carrier(self, **options):
        self.carrier.tls = {"private_key": self.carrier_dir / "carrier.key", "certificate": self.carrier_dir / "carrier.pem",
                            "ca_list": self.carrier_dir / "roots.pem", "verify_certificate": "yes", "require_certificate": "yes",
                            "method": "TLSv1.2+", **options}
        self.carrier.start()

    # -- sip-agent

    def configure(self, line="transport = { udp, tcp, tls } session-transport = tls registrar-transport = tls",
                  registrar=f"{CARRIER}:5061", signaling="", trust="", more=""):
        trustpoints = TRUSTPOINT.format(name="carrier", directory=self.dir, label="agent", roots="roots", more=trust)
        trustpoints += f'{more}\ncrypto-signaling {{ trustpoint = "carrier" {signaling} }}\n'
        self.config = self.dir / "vpnsip.conf"
        self.config.write_text(CONFIGURATION.format(trustpoints=trustpoints, number=A.number, realm=REALM, directory=self.dir,
                                                    line=line, registrar=registrar))

    def start_agent(self, register=True, wrapper=(), name="sip-agent"):
        self.agent = self.workspace.start(
            self.space.command(*wrapper, program(name), "-c", self.config, "--run-dir", self.dir / "run", "--state-dir",
                               self.dir / "state"), "sip-agent.log")
        wait_for(lambda: "started" in self.log() or not self.agent.running(), 8, "start of sip-agent")
        assert self.agent.running(), self.log()
        if register:
            self.register()

    def start(self, register=True, **options):
        self.configure(**options)
        self.start_agent(register)

    def register(self):
        self.cli("debug", "sip-agent", "send", "RegisterLine",
                 json.dumps({"local_number": A.number, "wan_address": WAN}), "--as", "vpnsip-coordinator")

    def log(self):
        path = self.dir / "sip-agent.log"
        return path.read_text() if path.exists() else ""

    def cli(self, *words, check=True):
        return run([str(program("vpnsip")), "-c", str(self.config), "--run-dir", str(self.dir / "run"), *map(str, words)],
                   check=check, timeout=10)

    def show(self, *words):
        return json.loads(self.cli("show", *words, "--json"))

    def connections(self, *transport):
        return self.show("sip-ua", "connections", *(transport or ("tcp", "tls")), "detail")

    def registration(self):
        (line,) = self.show("vpn-sip", "registration-status")["registrations"]
        return line

    def is_registered(self):
        return self.registration()["is_registered"]

    def wait_registered(self, seconds=8):
        wait_for(self.is_registered, seconds, "registration", interval=0.05)

    def wait_log(self, text, seconds=8):
        wait_for(lambda: text in self.log(), seconds, f"'{text}' in the log of sip-agent", interval=0.05)

    def rss(self):
        """Resident kilobytes of sip-agent."""
        with open(f"/proc/{self.agent.pid}/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


def root_of(authority):
    return authority if authority.issuer is authority else root_of(authority.issuer)
