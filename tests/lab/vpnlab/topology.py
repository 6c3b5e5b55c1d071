# SPDX-License-Identifier: GPL-3.0-or-later
"""The wires of a lab.

    host-a --- router-a ===== primary 192.0.2.0/24 ===== router-b --- host-b
    10.1.0.2      |                                         |        10.2.0.2
                  +------- backup WAN 198.51.100.0/24 ------+
                           gateway .1     carrier .5

The namespace `net` holds both networks as bridges, so that the primary can be cut in its middle: the
routers' own links stay up and only probes can notice. The ports of the backup WAN's bridge are where
captures are taken, one per router.
"""

from dataclasses import dataclass

from .namespaces import Namespace, run

CARRIER = "198.51.100.5"
GATEWAY = "198.51.100.1"


@dataclass(frozen=True)
class Site:
    """The plan of one router: addresses, number, tunnel."""

    name: str
    lan: str
    lan_address: str
    host: str
    primary: str
    wan: str
    tunnel_source: str
    number: str
    tunnel: str
    tunnel_address: str


A = Site("a", "10.1.0.0/24", "10.1.0.1", "10.1.0.2", "192.0.2.10", "198.51.100.10", "10.255.0.1", "0388881001",
         "vsip2", "172.16.0.1")
B = Site("b", "10.2.0.0/24", "10.2.0.1", "10.2.0.2", "192.0.2.20", "198.51.100.20", "10.255.0.2", "0388882001",
         "vsip1", "172.16.0.2")


class Topology:
    """Creates the namespaces and links; Workspace.close() removes them."""

    def __init__(self, workspace):
        self.net: Namespace = workspace.namespace("net")
        self.carrier: Namespace = workspace.namespace("carrier")
        self.routers = {site.name: workspace.namespace(f"r{site.name}") for site in (A, B)}
        self.hosts = {site.name: workspace.namespace(f"h{site.name}") for site in (A, B)}
        self._create([self.net, self.carrier, *self.routers.values(), *self.hosts.values()])

    def _create(self, spaces):
        net, carrier = self.net.name, self.carrier.name
        lines = [f"netns add {space.name}" for space in spaces]
        lines.append(f"link add eth0 netns {carrier} type veth peer name wan-carrier netns {net}")
        for site in (A, B):
            router, host = self.routers[site.name].name, self.hosts[site.name].name
            lines += [
                f"link add lan0 netns {router} type veth peer name eth0 netns {host}",
                f"link add prim0 netns {router} type veth peer name prim-{site.name} netns {net}",
                f"link add wan0 netns {router} type veth peer name wan-{site.name} netns {net}",
            ]
        run(["ip", "-batch", "-"], stdin="\n".join(lines) + "\n")

        self.net.sysctl(net_ipv6_conf_all_disable__ipv6=1, net_ipv6_conf_default_disable__ipv6=1, net_ipv4_ip__forward=1)
        self.net.batch(f"""\
link add prim type bridge
link add wan type bridge
link set prim-a master prim up
link set prim-b master prim up
link set wan-a master wan up
link set wan-b master wan up
link set wan-carrier master wan up
addr add {GATEWAY}/24 dev wan
link set lo up
link set prim up
link set wan up
""")
        self.carrier.sysctl(net_ipv6_conf_all_disable__ipv6=1, net_ipv6_conf_default_disable__ipv6=1)
        self.carrier.batch(f"""\
link set lo up
addr add {CARRIER}/24 dev eth0
link set eth0 up
route add default via {GATEWAY}
""")
        for site in (A, B):
            self._create_site(site)

    def _create_site(self, site):
        router, host = self.routers[site.name], self.hosts[site.name]
        router.sysctl(net_ipv4_ip__forward=1, net_ipv4_conf_all_rp__filter=0, net_ipv4_conf_default_rp__filter=0,
                      net_ipv4_conf_lan0_rp__filter=0, net_ipv4_conf_prim0_rp__filter=0, net_ipv4_conf_wan0_rp__filter=0)
        # The default route by the backup WAN is what DHCP leaves on a router: without the product's
        # guards in the kernel, packets would leave in the clear by it.
        router.batch(f"""\
link set lo up
addr add {site.lan_address}/24 dev lan0
addr add {site.primary}/24 dev prim0
addr add {site.wan}/24 dev wan0
link set lan0 up
link set prim0 up
link set wan0 up
route add default via {GATEWAY} dev wan0 metric 1000
""")
        host.sysctl(net_ipv6_conf_all_disable__ipv6=1, net_ipv6_conf_default_disable__ipv6=1)
        host.batch(f"""\
link set lo up
addr add {site.host}/24 dev eth0
link set eth0 up
route add default via {site.lan_address}
""")

    def cut_primary(self):
        """The primary network stops forwarding; the routers' own links to it stay up."""
        self.net.ip("link", "set", "prim", "down")

    def restore_primary(self):
        self.net.ip("link", "set", "prim", "up")
