# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the SIP servers are: real DHCP clients with our hooks, real DHCP and DNS servers, and a Kamailio at each address."""

import json
import re
import shutil
from pathlib import Path

import pytest

from vpnlab.capture import Capture
from vpnlab.carrier import REALM, Carrier
from vpnlab.namespaces import Workspace, run, wait_for
from vpnlab.router import Router, Settings
from vpnlab.topology import CARRIER, GATEWAY, A, B, Topology

ROOT = Path(__file__).resolve().parents[2]
SECOND = "198.51.100.6"
PASSWORDS = {A.number: "carrier-password-a"}
MAC = "02:00:00:5e:53:22"
MAC_OCTETS = MAC.replace(":", "")
CLASS_OPTION = f"7c0c000000d20706{MAC_OCTETS}"  # option 124 as it has to be on the wire
DOMAIN = "".join(f"{len(label):02x}{label.encode().hex()}" for label in REALM.split(".")) + "00"
NUMBER = A.number.encode().hex()
VENDOR = f"c906{MAC_OCTETS}ca0a{NUMBER}cc{len(DOMAIN) // 2:02x}{DOMAIN}"
ROUTE = "203.0.113.0/24"  # of option 121

DHCPD = """\
authoritative;
default-lease-time {lease}; max-lease-time {lease}; min-lease-time {lease};
option vpnsip-servers code 120 = string;
option vpnsip-routes code 121 = string;
option vpnsip-class code 124 = string;
option vpnsip-vendor code 125 = string;
option dhcp-renewal-time {renewal};
option dhcp-rebinding-time {rebinding};
subnet 198.51.100.0 netmask 255.255.255.0 {{
    range 198.51.100.10 198.51.100.10;
    option routers 198.51.100.1;
    option domain-name-servers 198.51.100.1;
    option vpnsip-servers {servers};
    option vpnsip-routes 18:cb:00:71:c6:33:64:01:00:c6:33:64:01;
    # Who does not say what it is gets nothing of the vendor.
    if substring(option vpnsip-class, 0, 4) = 00:00:00:d2 {{
        option vpnsip-vendor {vendor};
    }}
}}
"""


def colons(text):
    return ":".join(text[i:i + 2] for i in range(0, len(text), 2))


def octets(*addresses):
    """Option 120 with addresses, in hexadecimal."""
    return "01" + "".join(f"{int(part):02x}" for address in addresses for part in address.split("."))


class Mounted:
    """A namespace whose processes see this state of systemd-networkd."""

    def __init__(self, space, state):
        self.space, self.state = space, state

    def command(self, *argv):
        return self.space.command("unshare", "--mount", "sh", "-c", 'mount --bind "$0" /run/systemd/netif && exec "$@"', self.state, *argv)


class Scene:
    """Router A, whose backup WAN gets its address by DHCP, two carriers, and a network that has a DHCP or DNS server."""

    def __init__(self, registrar="dhcp", domain=None):
        self.workspace = Workspace()
        self.topology = Topology(self.workspace)
        self.net, self.space = self.topology.net, self.topology.routers["a"]
        self.carriers = {CARRIER: Carrier(self.workspace, self.topology.carrier, PASSWORDS)}
        self.carriers[SECOND] = Carrier(self.workspace, self.topology.carrier, PASSWORDS, name="carrier2", address=SECOND)
        self.topology.carrier.ip("addr", "add", f"{SECOND}/24", "dev", "eth0")
        self.space.ip("addr", "flush", "dev", "wan0")
        self.space.ip("route", "flush", "default", check=False)
        self.space.ip("link", "set", "wan0", "address", MAC)
        self.router = Router(self.workspace, self.space, A, B, PASSWORDS[A.number],
                             Settings(timers={"register": 2, "register-retry": 1}, log_level="info"))
        text = self.router.config_file.read_text()
        text = text.replace('    gateway = "198.51.100.1"\n', "").replace(f'"{CARRIER}:5060"', f'"{registrar}"')
        text = text.replace(f'    domain = "{REALM}"\n', f'    domain = "{domain}"\n' if domain else "")
        self.router.config_file.write_text(text)
        self.leases = self.router.run_dir / "dhcp"
        self.server = self.client = None

    def start(self, *carriers):
        for address in carriers:
            self.carriers[address].start()
        self.router.start()
        self.router.wait_up()

    def dnsmasq(self, *options):
        """The network's DHCP and DNS server; `options` are lines of its configuration."""
        file = self.workspace.dir / "dnsmasq.conf"
        file.write_text("\n".join(["no-resolv", "no-hosts", "bind-interfaces", "interface=wan", "except-interface=lo", "user=root", "log-dhcp", "pid-file",
                                   "dhcp-range=198.51.100.10,198.51.100.10,255.255.255.0,120s", "dhcp-authoritative", "dhcp-option=3,198.51.100.1",
                                   f"dhcp-leasefile={self.workspace.dir}/dnsmasq.leases", *options]) + "\n")
        self.server = self.workspace.start(self.net.command("dnsmasq", "--keep-in-foreground", "--log-facility=-", f"--conf-file={file}"), "dnsmasq.log")

    def dhcpd(self, servers, lease=600, renewal=300):
        directory = self.workspace.dir / "dhcpd"
        directory.mkdir(exist_ok=True)
        (directory / "leases").touch()
        (directory / "conf").write_text(DHCPD.format(servers=colons(servers), lease=lease, renewal=renewal, rebinding=lease * 7 // 8,
                                                     vendor=colons(f"000000d2{len(VENDOR) // 2:02x}{VENDOR}")))
        self.server = self.workspace.start(self.net.command("dhcpd", "-f", "-4", "-cf", directory / "conf", "-lf", directory / "leases",
                                                            "-pf", directory / "pid", "wan"), "dhcpd.log")

    def private(self, name, program, mounts):
        """`program` in the router with directories and files of its own instead of the machine's: {the machine's: ours}."""
        script = "".join(f"mount --bind {ours} {theirs}\n" for theirs, ours in mounts.items())
        file = self.workspace.dir / f"{name}.sh"
        file.write_text(f"set -e\nhostname lab\n{script}exec \"$@\"\n")
        return self.workspace.start(self.space.command("unshare", "--mount", "--uts", "sh", file, *program), f"{name}.log")

    def empty(self, name):
        directory = self.workspace.dir / name
        directory.mkdir(mode=0o755, exist_ok=True)
        return directory

    def snippet(self, name):
        """What deploy/dhcp gives, with this router's MAC address."""
        text = (ROOT / "deploy/dhcp" / name).read_text()
        return text.replace("\\x00\\x00\\x5e\\x00\\x53\\x22", "".join(f"\\x{octet}" for octet in MAC.split(":")))

    def dhcpcd(self):
        hooks, file = self.empty("hooks"), self.workspace.dir / "dhcpcd.conf"
        shutil.copy(ROOT / "deploy/dhcp/dhcpcd-hook", hooks / "90-vpnsip")
        file.write_text(f"env VPNSIP_LEASES={self.leases}\nnoarp\nnoipv4ll\noption domain_name_servers\n" + self.snippet("dhcpcd.conf"))
        mounts = {"/lib/dhcpcd/dhcpcd-hooks": hooks, "/var/lib/dhcpcd": self.empty("dhcpcd-state"), "/run/dhcpcd": self.empty("dhcpcd-run")}
        for path in mounts:
            Path(path).mkdir(exist_ok=True)
        self.client = self.private("dhcpcd", ["dhcpcd", "--nobackground", "-4", "--config", file, "wan0"], mounts)

    def dhclient(self):
        enter, leave, resolv = self.empty("enter"), self.empty("exit"), self.workspace.dir / "resolv.conf"
        (enter / "no-resolv").write_text("make_resolv_conf() { :; }\n")
        shutil.copy("/etc/dhcp/dhclient-exit-hooks.d/rfc3442-classless-routes", leave)
        shutil.copy(ROOT / "deploy/dhcp/dhclient-hook", leave / "vpnsip")
        resolv.write_text("")
        file = self.workspace.dir / "dhclient.conf"
        file.write_text("request subnet-mask, routers, domain-name-servers;\n" + self.snippet("dhclient.conf"))
        mounts = {"/etc/dhcp/dhclient-enter-hooks.d": enter, "/etc/dhcp/dhclient-exit-hooks.d": leave, "/etc/resolv.conf": resolv}
        files = {"-cf": file, "-lf": self.workspace.dir / "dhclient.leases", "-pf": self.workspace.dir / "dhclient.pid"}
        (self.workspace.dir / "dhclient.leases").touch()
        self.client = self.private("dhclient", ["dhclient", "-d", "-4", *[str(word) for pair in files.items() for word in pair],
                                                "-e", f"VPNSIP_LEASES={self.leases}", "wan0"], mounts)

    def networkd(self):
        """systemd-networkd, alone in the router: no bus, no udev. Our services see its leases, not the machine's; before start()."""
        settings, state = self.empty("network"), self.empty("netif")
        for path in (state, state / "links", state / "leases", state / "lldp"):
            path.mkdir(exist_ok=True)
            shutil.chown(path, "systemd-network", "systemd-network")
        (settings / "wan0.network").write_text(self.snippet("wan0.network"))
        shutil.copy(ROOT / "deploy/dhcp/networkd.conf", self.empty("networkd.conf.d"))
        mounts = {"/run/systemd/netif": state, "/etc/systemd/network": settings, "/etc/systemd/networkd.conf.d": self.empty("networkd.conf.d")}
        for path in mounts:
            Path(path).mkdir(parents=True, exist_ok=True)
        self.router.space = Mounted(self.space, state)
        # what looks like a container has no udev to wait for
        without_udev = "mount -t sysfs sysfs /sys && mount -o remount,ro /sys && exec /lib/systemd/systemd-networkd"
        self.client = self.private("networkd", ["sh", "-c", without_udev], mounts)

    def lease(self):
        """`show vpn-sip sip dhcp` of the one line."""
        (line,) = json.loads(self.router.cli("show", "vpn-sip", "sip", "dhcp", "--json"))["discoveries"]
        return line

    def wait_lease(self, condition, what, seconds=12):
        try:
            return wait_for(lambda: condition(self.lease()), seconds, what, interval=0.1)
        except Exception as failure:
            logs = "\n".join(process.log.read_text()[-1500:] for process in (self.server, self.client) if process)
            raise AssertionError(f"{failure}\n{self.lease()}\n{logs}\n{self.router.log('sip-agent')[-2000:]}") from None

    def servers(self):
        return [server["address"]["address"] for server in self.lease()["servers"]]

    def wait_registered(self, address, seconds=15):
        """Registered at this carrier, by its own account and by `show`."""
        def registered():
            (line,) = self.router.show("vpn-sip", "registration-status")["registrations"]
            return line["is_registered"] and line["destination"].startswith(address) and A.number in self.carriers[address].registered()
        try:
            wait_for(registered, seconds, f"registered at {address}", interval=0.1)
        except Exception as failure:
            raise AssertionError(f"{failure}\n{self.lease()}\n{self.router.log('sip-agent')[-2500:]}") from None

    def line_routes(self):
        return self.space.ip("-4", "route", "show", "table", "5600", check=False)

    def close(self):
        self.workspace.close()


@pytest.fixture
def scene():
    scenes = []

    def make(**options):
        scenes.append(Scene(**options))
        return scenes[-1]

    yield make
    for made in scenes:
        made.close()


def client_messages(capture):
    """The DHCP messages of clients, in hexadecimal, as tshark finds them."""
    capture.stop()
    return run(["tshark", "-r", capture.path, "-Y", "dhcp.type == 1", "-T", "fields", "-e", "udp.payload"]).split()


def start_lease(scene, server, client, **options):
    capture = Capture(scene.workspace, scene.net, "wan-a", "dhcp")
    if server == "dnsmasq":
        vendor = [f"dhcp-option=vi-encap:210,201,{MAC}", f'dhcp-option=vi-encap:210,202,"{A.number}"', f"dhcp-option=vi-encap:210,204,{colons(DOMAIN)}"]
        scene.dnsmasq("dhcp-option=120,198.51.100.5", f"dhcp-option=121,{ROUTE},198.51.100.1,0.0.0.0/0,198.51.100.1", *vendor)
    else:
        scene.dhcpd(octets(CARRIER), **options)
    scene.start(CARRIER, SECOND)
    getattr(scene, client)()
    return capture


@pytest.mark.parametrize("client", ["dhcpcd", "dhclient"])
@pytest.mark.parametrize("server", ["dnsmasq", "dhcpd"])
def test_a_lease_tells_everything(scene, server, client):
    """Option 124 leaves as the network wants it; 120, 121 and 125 are taken; the line registers without any address in its configuration."""
    scene = scene()
    capture = start_lease(scene, server, client)
    lease = scene.wait_lease(lambda line: line["interface"] == "wan0" and line["servers"] and line, "a lease with servers")
    assert lease["source"] == "DHCP" and lease["client"] == client and lease["address"] == A.wan
    assert lease["sip_servers"] == f"ipv4:{CARRIER}"
    assert (lease["domain"], lease["main_number"], lease["client_mac"]) == (REALM, A.number, MAC)
    assert {(route["destination"], route["prefix_length"], route["gateway"]) for route in lease["routes"]} == {
        ("203.0.113.0", 24, GATEWAY), ("0.0.0.0", 0, GATEWAY)}
    scene.wait_registered(CARRIER)
    wait_for(lambda: re.search(rf"^{ROUTE} via {GATEWAY} dev wan0 proto 56", scene.line_routes(), re.M), 5, "the lease's route in the line's table")
    assert f"default via {GATEWAY} dev wan0 proto 56" in scene.line_routes()
    assert any(CLASS_OPTION in message for message in client_messages(capture))
    text = scene.router.cli("show", "vpn-sip", "sip", "dhcp")
    assert text == f"SIP DHCP Info\n\nSIP-DHCP interface: wan0\n\nSIP server address:\nIPv4 address:         ipv4:{CARRIER}\n"


def test_networkd_notes_addresses_and_routes(scene):
    """No hook: its own file is read. It drops option 125, so the line has a domain."""
    scene = scene(domain=REALM)
    capture = Capture(scene.workspace, scene.net, "wan-a", "dhcp")
    scene.dhcpd(octets(CARRIER, SECOND))
    scene.networkd()
    scene.start(CARRIER)
    lease = scene.wait_lease(lambda line: line["servers"] and line, "a lease with servers")
    assert (lease["client"], lease["address"]) == ("systemd-networkd", A.wan)
    assert lease["sip_servers"] == f"ipv4:{CARRIER} ipv4:{SECOND}" and lease["main_number"] == ""
    scene.wait_registered(CARRIER)
    wait_for(lambda: re.search(rf"^{ROUTE} via {GATEWAY} dev wan0 proto 56", scene.line_routes(), re.M), 5, "the lease's route in the line's table")
    assert any(CLASS_OPTION in message for message in client_messages(capture))


def test_the_network_says_nothing_to_who_is_nobody(scene):
    """Control of option 124: without it the same server sends no option 125."""
    scene = scene()
    scene.snippet = lambda name: "".join(line for line in Scene.snippet(scene, name).splitlines(True) if "send vpnsip" not in line)
    start_lease(scene, "dhcpd", "dhclient")
    lease = scene.wait_lease(lambda line: line["servers"] and line, "a lease with servers")
    assert lease["main_number"] == "" and lease["vendor_option"] == ""


@pytest.mark.slow
def test_a_renewal_with_another_server_and_a_lost_lease(scene):
    """What a renewal changes is applied at once, and the line registered at the other server; when the lease is gone, so are its servers and routes."""
    scene = scene()
    start_lease(scene, "dhcpd", "dhclient", lease=12, renewal=3)
    scene.wait_registered(CARRIER)
    scene.server.stop()
    scene.dhcpd(octets(SECOND), lease=12, renewal=3)
    scene.wait_lease(lambda line: line["sip_servers"] == f"ipv4:{SECOND}", "the other server", 10)
    scene.wait_registered(SECOND)
    assert scene.servers() == [SECOND]
    scene.server.stop()
    gone = scene.wait_lease(lambda line: line["interface"] == "" and line, "the lease's end", 30)
    assert gone["servers"] == [] and gone["cause"] == "no lease on wan0 that could name a SIP server"
    wait_for(lambda: ROUTE not in scene.line_routes(), 5, "the lease's route to go")


ZONE = [f"naptr-record={REALM},20,10,S,SIP+D2U,,_sip._udp.{REALM}", f"srv-host=_sip._udp.{REALM},one.{REALM},5060,10,50",
        f"srv-host=_sip._udp.{REALM},two.{REALM},5060,20,50", f"host-record=one.{REALM},{CARRIER}", "local-ttl=6"]


def test_dns_and_the_next_answer_when_the_first_is_dead(scene):
    """NAPTR, SRV and A, asked from the WAN's address of the lease's server; option 120 has a name."""
    scene = scene()
    scene.dnsmasq(f"dhcp-option=120,{REALM}", *ZONE, f"host-record=two.{REALM},{SECOND}")
    capture = Capture(scene.workspace, scene.net, "wan-a", "dns")
    scene.start(SECOND)  # the one that is preferred is dead
    scene.dhcpcd()
    lease = scene.wait_lease(lambda line: len(line["servers"]) == 2 and line, "two servers by DNS")
    assert lease["sip_servers"] == f"dns:{REALM}"
    assert scene.servers() == [CARRIER, SECOND] and {server["transport"] for server in lease["servers"]} == {"UDP"}
    scene.wait_registered(SECOND, 40)
    capture.stop()
    asked = capture.dissect("dns.flags.response == 0", "ip.src", "ip.dst", "dns.qry.type", "dns.qry.name")
    assert {(source, target) for source, target, *_ in asked} == {(A.wan, GATEWAY)}
    assert [(kind, name) for *_, kind, name in asked[:4]] == [("35", REALM), ("33", f"_sip._udp.{REALM}"), ("1", f"one.{REALM}"), ("1", f"two.{REALM}")]


@pytest.mark.slow
def test_records_are_looked_up_again_when_they_have_lived(scene):
    """A registrar's name that leads elsewhere: followed within its TTL, in both directions of an outage of DNS."""
    scene = scene(registrar=REALM)
    scene.dnsmasq(*ZONE, f"host-record=two.{REALM},{CARRIER}")
    scene.start(CARRIER, SECOND)
    scene.dhcpcd()
    scene.wait_registered(CARRIER)
    assert scene.servers() == [CARRIER]
    scene.server.stop()
    # DNS does not answer: what was good stays, and the cause is told
    scene.wait_lease(lambda line: "DNS does not answer" in line["cause"], "DNS missed", 30)
    assert scene.servers() == [CARRIER]
    scene.dnsmasq(*[line.replace(CARRIER, SECOND) for line in ZONE], f"host-record=two.{REALM},{SECOND}")
    scene.wait_lease(lambda line: [server["address"]["address"] for server in line["servers"]] == [SECOND] and not line["cause"], "the new address", 60)
    scene.wait_registered(SECOND)
