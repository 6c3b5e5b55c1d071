# SPDX-License-Identifier: GPL-3.0-or-later
"""The telephone carrier of a lab: Kamailio with deploy/carrier/kamailio.cfg."""

import os
import re
import signal
from pathlib import Path

from .namespaces import LabError, run, wait_for
from .topology import CARRIER

CONFIGURATION = Path(__file__).resolve().parents[3] / "deploy/carrier/kamailio.cfg"
REALM = "carrier.example"
RECORD_FIELDS = ("start_time", "end_time", "duration", "caller", "callee", "call_id")  # as kamailio.cfg says


class Carrier:
    """`users` is {number: password}. Start it with start(); kill() and start() again act as an outage."""

    def __init__(self, workspace, space, users, digest="MD5", children=None, name="carrier", address=CARRIER):
        self.workspace = workspace
        self.space = space
        self.name, self.address = name, address
        self.dir = workspace.dir / name
        self.digest = digest
        self.children = children  # processes for UDP
        self.expires = None  # seconds; the most that is granted
        self.tls = {}  # what tls.cfg is to say; empty = no TLS
        self.process = None
        tables = self.dir / "tables"
        tables.mkdir(parents=True)
        lines = ["key_name(string) key_type(int) value_type(int) key_value(string) expires(int)"]
        lines += [f"{number}:0:0:{password}:0" for number, password in users.items()]
        (tables / "users").write_text("\n".join(lines) + "\n")
        (self.dir / "call-records").mkdir()

    def start(self):
        (self.dir / "ctl").unlink(missing_ok=True)
        words = {"DIR": self.dir, "REALM": REALM, "DIGEST": self.digest}
        argv = ["kamailio", "-DD", "-E", "-f", CONFIGURATION, "-Y", self.dir, "-P", self.dir / "pid", "-m", "32", "-M", "4"]
        argv += [f"--subst=!@{word}@!{value}!g" for word, value in words.items()]
        if self.children:
            argv += ["-n", self.children]
        if self.expires:
            argv += ["-A", f"MAX_EXPIRES={self.expires}"]
        for transport in ("udp", "tcp"):
            argv += ["-l", f"{transport}:{self.address}:5060"]
        if self.tls:
            text = "".join(f"{name} = {value}\n" for name, value in self.tls.items())
            (self.dir / "tls.cfg").write_text(f"[server:default]\n{text}[client:default]\n{text}")
            argv += ["-A", "WITH_TLS", "-l", f"tls:{self.address}:5061"]
        # Kamailio looks up its host's name; on a machine without /etc/hosts that would wait for a DNS server that a lab has not.
        names = self.dir / "nsswitch.conf"
        names.write_text("hosts: files\n")
        without_dns = ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/nsswitch.conf && exec "$@"', names]
        self.process = self.workspace.start(self.space.command(*without_dns, *argv), f"{self.name}/log")
        try:
            wait_for(self._answers, 5, "the carrier's control socket")
        except LabError as failure:
            raise LabError(f"{failure}: {self.process.log.read_text()[-1000:]}") from None

    def _answers(self):
        return (self.dir / "ctl").exists() and self.control("core.version", check=False)

    def control(self, *words, check=True):
        return run(["kamcmd", "-s", f"unix:{self.dir}/ctl", *map(str, words)], check=check)

    def switch(self, name, value):
        """Sets one of the switches that kamailio.cfg describes; None clears it."""
        if value is None:
            self.control("htable.delete", "switch", name)
        else:
            # "s:" keeps kamcmd from reading digits as an integer
            self.control("htable.sets", "switch", name, f"s:{value}")

    def kill(self):
        """An outage: every process of Kamailio is gone at once."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.stop()

    def registered(self):
        """{number: contact URI}"""
        dump = self.control("ul.dump")
        return dict(zip(re.findall(r"AoR: (\S+)", dump), re.findall(r"Address: (\S+)", dump)))

    def open_dialogs(self):
        """Call-IDs of the calls that the carrier still has open (early or answered)."""
        dialogs = re.findall(r"call-id: (\S+).*?state: (\d+)", self.control("dlg.list"), re.DOTALL)
        return [call_id for call_id, state in dialogs if state != "5"]  # 5 = deleted, kept for late requests

    def call_records(self):
        """One dict per answered call that has ended, oldest first; times in seconds since 1970, rounded down."""
        lines = [line for path in (self.dir / "call-records").iterdir() for line in path.read_text().splitlines(keepends=True)]
        records = [dict(zip(RECORD_FIELDS, line.rstrip("\n").split("|"))) for line in lines if line.endswith("\n")]
        for record in records:
            record.update({name: float(record[name]) for name in ("start_time", "end_time", "duration")})
        return sorted(records, key=lambda record: record["end_time"])
