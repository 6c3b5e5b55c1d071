# SPDX-License-Identifier: GPL-3.0-or-later
"""What control runs take away from a router: what makes its services survive, or what keeps clear packets in."""

import shutil

BEFORE, AFTER = "before the fault", "after it"


def no_dialog_store(moment, router):
    """sip-agent comes back without its memory."""
    def forget(name):
        if name == "sip-agent":
            for path in (router.state_dir / name).iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    if moment == BEFORE:
        router.supervisor.before_restart = forget


def no_snapshots(moment, router):
    """Nobody tells the restarted coordinator what there is."""
    if moment == BEFORE:
        for service in router.processes:
            if service != "vpnsip-coordinator":
                router.cli("debug", service, "fault", "send-reply", "drop", "GetSnapshot", "--peer", "vpnsip-coordinator")


def no_nft_table(moment, router):
    """Translation, guard and filter are deleted while their owner stands still."""
    if moment == AFTER:
        router.space.run("nft", "delete", "table", "ip", "vpnsip")


def no_guards(moment, router):
    """Neither the filter nor the unreachable routes are there while all six are dead, for as long as ten pings."""
    if moment == BEFORE:
        router.supervisor.delay = 1
    if moment == AFTER:
        no_nft_table(moment, router)
        for line in router.space.ip("route", "show", "table", "main", "proto", "56").splitlines():
            if line.startswith("unreachable"):
                router.space.ip("route", "del", *line.split(), check=False)


CONTROLS = {"no-dialog-store": no_dialog_store, "no-snapshots": no_snapshots, "no-nft-table": no_nft_table, "no-guards": no_guards}
