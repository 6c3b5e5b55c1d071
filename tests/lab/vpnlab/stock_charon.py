# SPDX-License-Identifier: GPL-3.0-or-later
"""strongSwan's own charon in a namespace: the foreign peer of tests, and the one that figures stand beside.

ESP runs in its kernel-libipsec, which works on kernels without ESP too, or in the kernel. Its interface is ipsec0, and it installs no route.
"""

import os

from .namespaces import run, wait_for

PLUGINS = "random nonce openssl kdf pem pkcs1 x509 revocation {esp} kernel-netlink socket-default vici"
SETTINGS = """\
charon {{
  load = {plugins}
  install_routes = no
  install_virtual_ip = no
{settings}
  plugins {{ vici {{ socket = unix://{directory}/vici }} }}
  filelog {{ log {{ path = {directory}/charon.log
      default = 1
      flush_line = yes }} }}
}}
swanctl {{ load = nonce openssl pem pkcs1 x509 }}
"""
INTERFACE = "ipsec0"
IF_ID = 77  # of the interface, when the kernel does ESP
CHILD_IN_KERNEL = f"if_id_in = {IF_ID}\n    if_id_out = {IF_ID}"  # what a child's section of swanctl.conf then needs


class StockCharon:
    """Started and loaded with `connections`, the text of a swanctl.conf; `settings` are more of strongswan.conf's charon section.

    `files` are {path below swanctl's directory: text}, such as x509/own.pem and private/own.pem.
    `is_in_kernel`: the kernel does its ESP, behind an XFRM interface on wan0; the children name it (CHILD_IN_KERNEL).
    """

    def __init__(self, workspace, space, name, connections, settings="", files=None, is_in_kernel=False):
        self.workspace, self.space = workspace, space
        self.dir = workspace.dir / f"charon-{name}"
        self.dir.mkdir()
        plugins = PLUGINS.format(esp="" if is_in_kernel else "kernel-libipsec")
        if is_in_kernel:
            space.ip("link", "add", INTERFACE, "type", "xfrm", "dev", "wan0", "if_id", IF_ID)
        (self.dir / "strongswan.conf").write_text(SETTINGS.format(plugins=plugins, settings=settings, directory=self.dir))
        for path, text in (files or {}).items():
            (self.dir / path).parent.mkdir(exist_ok=True)
            (self.dir / path).write_text(text)
        self.environment = {**os.environ, "STRONGSWAN_CONF": str(self.dir / "strongswan.conf"), "SWANCTL_DIR": str(self.dir)}
        self.process = workspace.start(["unshare", "--mount", *space.command("sh", "-c", self._start_script())],
                                       f"charon-{name}.log", env=self.environment)
        wait_for(lambda: "uptime" in self.control("--stats", check=False), 5, "charon listens on its control socket")
        self.load(connections)

    def _start_script(self):
        """charon's pid file has a fixed place below /run: give it a /run of its own that still shows our folder."""
        return (f"mount --bind {self.dir} /mnt && mount -t tmpfs run /run && mkdir -p {self.dir} && "
                f"mount --move /mnt {self.dir} && exec /usr/lib/ipsec/charon")

    def load(self, connections):
        """From now on this configuration is in force; running SAs stay."""
        (self.dir / "swanctl.conf").write_text(connections)
        self.control("--load-all", "--noprompt")

    def control(self, *words, check=True, timeout=20):
        return run(["env", f"STRONGSWAN_CONF={self.dir}/strongswan.conf", f"SWANCTL_DIR={self.dir}", "swanctl", *words,
                    "--uri", f"unix://{self.dir}/vici"], check=check, timeout=timeout)

    @property
    def log(self):
        return (self.dir / "charon.log").read_text()
