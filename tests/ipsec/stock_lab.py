# SPDX-License-Identifier: GPL-3.0-or-later
"""A lab whose site B is not ours: strongSwan's charon does its IKE and ESP, sipp its SIP, rules of nftables its translation.

Site A, the carrier and the wires are the lab's. Either side calls; who calls is IKE's initiator, as the product offers it.
"""

import re

from calls_lab import CallerScript, pause, receive, respond, respond_within, scenario, sdp, send
from vpnlab.capture import Capture, classify_wan, sdp_endpoint, sip_messages
from vpnlab.carrier import Carrier
from vpnlab.checks import qdiscs, translations
from vpnlab.namespaces import LabError, Workspace, run, wait_for
from vpnlab.router import PSK, Router, Settings
from vpnlab.stock_charon import CHILD_IN_KERNEL, INTERFACE, StockCharon
from vpnlab.topology import CARRIER, A, B, Topology

PORT = 50002  # of B's description
PSK_AUTHENTICATION = "auth = psk"
CONNECTION = """\
connections {{ lab {{
  version = 2
  local_addrs = {local}
  local_port = {local_port}
  remote_addrs = {remote}
  remote_port = {remote_port}
  encap = yes
  mobike = no
  proposals = {ike}
{options}
  local {{ {authentication}
    id = keyid:{own} }}
  remote {{ {other_authentication}
    id = keyid:{other} }}
  children {{ net {{
    local_ts = 0.0.0.0/0
    remote_ts = 0.0.0.0/0
    esp_proposals = {esp}
    {child}
  }} }}
}} }}
secrets {{ ike-lab {{ id-a = keyid:{own}
  id-b = keyid:{other}
  secret = "{key}" }} }}
"""
TRANSLATION = """\
table ip pat {{
 chain in {{
  type filter hook prerouting priority raw
  iifname "wan0" udp dport {port} notrack ip daddr set {source} udp dport set 4500 udp checksum set 0
 }}
 chain untracked {{
  type filter hook output priority raw
  oifname "wan0" ip saddr {source} notrack
 }}
 chain out {{
  type filter hook postrouting priority srcnat
  oifname "wan0" ip saddr {source} udp sport 4500 udp sport set {port} ip saddr set {wan} udp checksum set 0
 }}
}}
"""


class StockLab:
    """`settings` are those of our router; the rest is the other side's. `is_translated`: charon sits behind a translation as ours does,
    on an address that nobody routes; else it has the announced port itself. `is_in_kernel`: the kernel does its ESP."""

    def __init__(self, settings=None, is_translated=True, ike="aes128-sha256-ecp256", esp="aes128gcm16", options="", charon_settings="",
                 authentication=PSK_AUTHENTICATION, other_authentication=PSK_AUTHENTICATION, files=None,
                 fingerprint=None, bandwidth=1000, is_in_kernel=False):
        self.is_translated, self.is_in_kernel = is_translated, is_in_kernel
        self.fields = {"ike": ike, "esp": esp, "options": options, "child": CHILD_IN_KERNEL if is_in_kernel else "", "authentication": authentication,
                       "other_authentication": other_authentication}
        self.description = {"port": PORT, "bandwidth": f"b=AS:{bandwidth}\r\n"} | ({"fingerprint": fingerprint} if fingerprint else {})
        self.charon_settings, self.files = charon_settings, files
        self.workspace = Workspace()
        self.topology = Topology(self.workspace)
        self.topology.cut_primary()
        self.space = self.topology.routers["b"]
        self.host_a, self.host_b = self.topology.hosts["a"], self.topology.hosts["b"]
        self.router = Router(self.workspace, self.topology.routers["a"], A, B, "carrier-password-a", settings or Settings())
        self.carrier = Carrier(self.workspace, self.topology.carrier, {A.number: "carrier-password-a"})
        try:
            self._start()
        except (LabError, OSError):
            self.close()
            raise

    def _start(self):
        self.wan = Capture(self.workspace, self.topology.net, "wan-a", "wan-a")
        self.carrier.start()
        self.router.start()
        self._start_charon()
        self.router.wait_up()
        self.router.wait_status("READY_TO_CONNECT", seconds=10)
        wait_for(lambda: self.router.route_to(B.host) == A.tunnel, 5, "the route through the tunnel", interval=0.05)
        self.carrier.switch("no-auth", 1)
        self.carrier.control("ul.add", "location", f"s:{B.number}", f"s:sip:{B.number}@{B.wan}:5060", 3600, "1.0", ".", 0, 0, 4095)

    def connection(self, remote_port):
        local, port = (B.tunnel_source, 4500) if self.is_translated else (B.wan, PORT)
        return CONNECTION.format(local=local, local_port=port, remote=A.wan, remote_port=remote_port, own=B.number, other=A.number,
                                 key=self.router.settings.psk or PSK, **self.fields)

    def _start_charon(self):
        if self.is_translated:
            self.space.ip("addr", "add", f"{B.tunnel_source}/32", "dev", "lo")
            self.space.nft(TRANSLATION.format(port=PORT, source=B.tunnel_source, wan=B.wan))
        own_port = "" if self.is_translated else f"  port_nat_t = {PORT}\n"
        self.charon = StockCharon(self.workspace, self.space, "b", self.connection(4500), own_port + self.charon_settings, self.files,
                                  self.is_in_kernel)
        wait_for(lambda: INTERFACE in self.space.ip("link"), 5, "charon's interface")
        # Before charon's own table (priority 220), where it routes all that the selectors cover, back to the sender too.
        self.space.batch(f"link set {INTERFACE} up\nroute replace {A.lan} dev {INTERFACE}\nrule add priority 200 lookup main\n")

    # --- the other side's SIP

    def _sipp(self, name, steps, *more):
        path = self.workspace.dir / f"{name}.xml"
        path.write_text(scenario(*steps))
        argv = self.space.command("sipp", *more, "-sf", path, "-m", "1", "-nostdin", "-i", B.wan, "-p", "5060", "-trace_err", "-trace_msg",
                                  "-message_file", self.workspace.dir / f"{name}.messages", "-error_file",
                                  self.workspace.dir / f"{name}.errors", "-timeout", "200s", "-timeout_error", "-default_behaviors", "none")
        self.sipp = self.workspace.start(argv, f"{name}.log", cwd=self.workspace.dir)

    def answer_calls(self):
        """sipp waits for one call of ours, answers it as the passive side and waits for our BYE."""
        self._sipp("callee", [receive("INVITE", rrs="true"), respond(180), respond(200, body=sdp(role="passive", **self.description)),
                              receive("ACK"), receive("BYE"), respond_within(200)])
        wait_for(lambda: ":13C4" in self.space.run("cat", "/proc/net/udp"), 3, "sipp's socket")

    def call(self, seconds=None):
        """sipp calls us as the active side; returns once our answer is there. charon then knows our session port.

        sipp waits for our BYE, or hangs up after so many seconds."""
        script = CallerScript(self, B.number)
        ending = [receive("BYE"), respond_within(200)]
        if seconds:
            ending = [pause(int(1000 * seconds)), send(script.request("BYE", 2), retrans=500), receive("200")]
        self._sipp("caller", [script.invite(body=sdp(role="active", **self.description)), receive("100", optional="true"),
                              receive("180", optional="true"), receive("200", rrs="true"), script.ack(),
                              *ending], f"{CARRIER}:5060")
        wait_for(lambda: self.our_port(), 5, "our answer")
        self.charon.load(self.connection(self.our_port()))

    def our_port(self):
        """The port of our newest description, or None."""
        ends = [sdp_endpoint(each) for each in sip_messages(self.wan.packets()) if each.src == A.wan and each.body]
        return ends[-1][1] if ends and ends[-1] else None

    def finish_call(self, seconds=10):
        """The other side's scenario was played to its end, and nothing is left of the session at ours."""
        status = self.sipp.end(seconds)
        said = "".join(path.read_text()[-3000:] for path in self.workspace.dir.glob("call*.errors"))
        assert status == 0, f"sipp ended with {status}\n{said}"
        self.router.wait_status("READY_TO_CONNECT", "HOLDDOWN")
        wait_for(lambda: not translations(self.router.space) and not qdiscs(self.router.space), 3, "translation and shaper are gone")
        wait_for(lambda: not self.carrier.open_dialogs(), 3, "the carrier has no open call")
        _, clear = classify_wan([packet for packet in self.wan.packets() if packet.src != B.wan], pairs=self._pairs())
        assert not [packet for packet in clear if packet.src in (A.wan, A.host)], clear[:5]

    def _pairs(self):
        return {frozenset([sdp_endpoint(each), (B.wan, PORT)]) for each in sip_messages(self.wan.packets()) if each.src == A.wan and each.body}

    # --- both sides' state

    def sas(self):
        """Our ESP SAs: {spi: direction}"""
        return {sa["spi"]: sa["direction"] for sa in self.router.session().get("sas", [])}

    def stock_sas(self):
        return self.charon.control("--list-sas")

    def child_spis(self):
        """Of charon's children in use; replaced ones are listed for 5 s more."""
        found = re.findall(r" INSTALLED,.*?\bin +([0-9a-f]{8}).*?\bout +([0-9a-f]{8})", self.stock_sas(), re.DOTALL)
        return {spi for pair in found for spi in pair}

    def ike_spis(self):
        return {spi for pair in re.findall(r" ESTABLISHED, IKEv2, (\w{16})_i\*? (\w{16})_r", self.stock_sas()) for spi in pair}

    def wait_up(self, seconds=6):
        session = self.router.wait_status("SESSION_UP", seconds=seconds)
        wait_for(lambda: "ESTABLISHED" in self.stock_sas() and "INSTALLED" in self.stock_sas(), 3, "charon's SAs", interval=0.1)
        return session

    def ping(self, source="a", count=5, interval=0.1, wait=3):
        """The number of answers."""
        space, target = (self.host_a, B.host) if source == "a" else (self.host_b, A.host)
        text = space.run("ping", "-n", "-c", count, "-i", interval, "-W", wait, target, check=False, timeout=count * interval + wait + 5)
        return int(text.split(" received")[0].split()[-1])

    def data_both_ways(self):
        assert self.ping("a") == 5, self.logs()
        assert self.ping("b") == 5, self.logs()

    def logs(self):
        return self.router.logs()[-6000:] + "\n----- charon\n" + self.charon.log[-4000:]

    def close(self):
        self.workspace.close()
