# SPDX-License-Identifier: GPL-3.0-or-later
"""Orders of faults to a running service, by `vpnsip debug SERVICE fault`."""

DELAY_MSEC = 500


def are_available(router, service):
    return False
