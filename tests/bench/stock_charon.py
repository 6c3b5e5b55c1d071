# SPDX-License-Identifier: GPL-3.0-or-later
"""strongSwan's own charon at both ends of a lab's backup WAN: the peer that figures stand beside.

ESP runs in kernel-libipsec (this works on kernels without ESP too). IKE is as in the product: PSK, key identities,
forced UDP encapsulation, the same proposals.
"""

import os

from vpnlab.namespaces import run, wait_for

KEY = "bench-key-5f0c9ab14e63b8f17d2e"
PLUGINS = "random nonce openssl kdf pem kernel-libipsec kernel-netlink socket-default vici"
SETTINGS = """\
charon {{
  load = {plugins}
  install_routes = no
  install_virtual_ip = no
  plugins {{ vici {{ socket = unix://{directory}/vici }} }}
  filelog {{ log {{ path = {directory}/charon.log
      default = 1 }} }}
}}
swanctl {{ load = nonce openssl pem }}
"""
CONNECTION = """\
connections {{ bench {{
  version = 2
  local_addrs = {own}
  remote_addrs = {other}
  encap = yes
  mobike = no
  proposals = aes128-sha256-ecp256
  local {{ auth = psk
    id = keyid:{own_id} }}
  remote {{ auth = psk
    id = keyid:{other_id} }}
  children {{ net {{
    local_ts = {own_lan}
    remote_ts = {other_lan}
    esp_proposals = aes128gcm16
  }} }}
}} }}
secrets {{ ike-bench {{ id-a = keyid:{own_id}
  id-b = keyid:{other_id}
  secret = "{key}" }} }}
"""


class StockCharon:
    """One charon in the router namespace of a site."""

    def __init__(self, workspace, space, site, other):
        self.workspace, self.space = workspace, space
        self.dir = workspace.dir / f"charon-{site.name}"
        self.dir.mkdir()
        (self.dir / "strongswan.conf").write_text(SETTINGS.format(plugins=PLUGINS, directory=self.dir))
        (self.dir / "swanctl.conf").write_text(CONNECTION.format(
            own=site.wan, other=other.wan, own_id=site.number, other_id=other.number, own_lan=site.lan, other_lan=other.lan, key=KEY))
        self.environment = {**os.environ, "STRONGSWAN_CONF": str(self.dir / "strongswan.conf"), "SWANCTL_DIR": str(self.dir)}
        self.process = workspace.start(["unshare", "--mount", *space.command("sh", "-c", self._start_script())],
                                       f"charon-{site.name}.log", env=self.environment)
        wait_for((self.dir / "vici").exists, 5, "charon's control socket")
        self.control("--load-all", "--noprompt")

    def _start_script(self):
        """charon's pid file has a fixed place below /run: give it a /run of its own that still shows our folder."""
        return (f"mount --bind {self.dir} /mnt && mount -t tmpfs run /run && mkdir -p {self.dir} && "
                f"mount --move /mnt {self.dir} && exec /usr/lib/ipsec/charon")

    def control(self, *words, check=True):
        return run(["env", f"STRONGSWAN_CONF={self.dir}/strongswan.conf", f"SWANCTL_DIR={self.dir}", "swanctl", *words,
                    "--uri", f"unix://{self.dir}/vici"], check=check)
