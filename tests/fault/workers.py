# SPDX-License-Identifier: GPL-3.0-or-later
"""Worker processes that each have a lab: whoever ends them, the labs are taken down."""

import contextlib
import signal
import sys

from vpnlab.namespaces import sweep

END_SECONDS = 20


def leave(_number, _frame):
    sys.exit(1)


def begin():
    """In a worker: a signal ends it by SystemExit, so that its `finally` closes the lab."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, leave)


@contextlib.contextmanager
def ended(workers):
    """`workers` is a collection of processes, filled inside; at the end none is left, whatever ended it."""
    begin()
    try:
        yield
    except BaseException:
        for worker in list(workers):
            worker.terminate()
        raise
    finally:
        for worker in list(workers):
            worker.join(END_SECONDS)
            if worker.is_alive():
                worker.kill()
                worker.join()
        sweep()
