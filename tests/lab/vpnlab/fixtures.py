# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures and hooks of every test that starts a lab. Whoever starts one gets it checked and removed, also after a failure."""

import os
import random
import time

import pytest

from .capture import classify_wan
from .checks import routes, wait_clean
from .lab import Lab
from .namespaces import sweep

LONG = bool(os.environ.get("VPNSIP_LONG"))
SEED = int(os.environ.get("VPNSIP_SEED", random.randrange(1 << 31)))
DESCRIPTOR_SLACK = 4  # descriptors that a service may open once, lazily
LEAK_SECONDS = 10  # the sockets of a replaced listener are closed 5 s later


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: 10 s and more; starts before the quick ones")
    config.addinivalue_line("markers", "long: only with VPNSIP_LONG=1 (tests/run PART --long); in CI its siblings stand for it")


def pytest_report_header():
    return f"lab: VPNSIP_SEED={SEED}{' VPNSIP_LONG=1' if LONG else ''}"


def pytest_collection_modifyitems(items):
    """Slow tests first: with several workers the short ones fill the gaps."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """A worker gets one test at a time, for they last from half a second to two minutes; xdist would deal out dozens, and at the end
    one worker would have minutes of them while the others rest."""
    from xdist.scheduler import LoadScheduling

    class OneByOne(LoadScheduling):
        def _send_tests(self, node, num):
            # the one that runs and the next: a worker tears down what its next test does not need
            super()._send_tests(node, min(num, 2 - len(self.node2pending[node])))

    return OneByOne(config, log)


def pytest_runtest_setup(item):
    if item.get_closest_marker("long") and not LONG:
        pytest.skip("only with --long")


def pytest_terminal_summary(terminalreporter):
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            for name, text in report.user_properties if report.when == "call" else ():
                if name == "figure":
                    terminalreporter.write_line(f"| {report.nodeid.rpartition('::')[2]}: {text}")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    if call.when == "call":
        item.failed = outcome.get_result().failed


@pytest.fixture(scope="session", autouse=True)
def orphans():
    sweep()


@pytest.fixture
def tell(record_property):
    """tell("100 of 100 answered") shows a figure of this test at the end of the run, also when it passed."""
    return lambda text: record_property("figure", text)


@pytest.fixture
def seeded(request):
    """A random generator that VPNSIP_SEED repeats."""
    print(f"VPNSIP_SEED={SEED}")
    return random.Random(f"{SEED} {request.node.name}")


@pytest.fixture
def make_lab(request):
    """make_lab(a=Settings(...), b=..., primary=False) starts a lab; afterwards nothing may be left of it.

    A test sets lab.may_leak before it takes the guards away on purpose.
    """
    labs = []

    def make(primary=False, **options):
        lab = Lab(**options)
        labs.append(lab)
        lab.may_leak = False
        lab.start(primary)
        lab.descriptors = {name: router.descriptors() for name, router in lab.routers.items()}
        lab.routes = {name: routes(router.space) for name, router in lab.routers.items()}
        return lab

    yield make
    problems = []
    for lab in labs:
        try:
            if not getattr(request.node, "failed", False):
                problems += finish(lab)
            else:
                print_logs(lab)
        except AssertionError as failure:
            problems.append(str(failure))
            print_logs(lab)
        finally:
            lab.close()
    assert not problems, "\n".join(problems)


@pytest.fixture
def lab(make_lab):
    """A lab of default routers, the primary network dead, both lines registered."""
    return make_lab()


def descriptor_leaks(lab):
    """Against the larger count of both routers: at the start of a lab one may not have been connected to all others yet."""
    leaks = []
    for name, router in lab.routers.items():
        for service, count in router.descriptors().items():
            before = max((counts[service] for counts in lab.descriptors.values() if service in counts), default=count)
            if count > before + DESCRIPTOR_SLACK:
                leaks.append(f"router {name}: {service} had {before} descriptors, now {count}")
    return leaks


def route_changes(lab, routers):
    """A track that a slow machine let fail for a moment has its route back after some probes."""
    changes = []
    for router in routers:
        before, after = lab.routes[router.site.name], routes(router.space)
        changes += [f"router {router.site.name}: route or rule {line} was not there before" for line in after if line not in before]
        changes += [f"router {router.site.name}: route or rule {line} is gone" for line in before if line not in after]
    return changes


def finish(lab):
    """Ends what is up, then looks for anything that a session left behind."""
    living = [router for router in lab.routers.values() if all(process.running() for process in router.processes.values())]
    for router in living:
        router.cli("hangup", router.peer.number, check=False)
    if len(living) == len(lab.routers):
        wait_clean(lab)
    end = time.monotonic() + LEAK_SECONDS
    while (problems := descriptor_leaks(lab) + route_changes(lab, living)) and time.monotonic() < end:
        time.sleep(0.2)
    for name, capture in lab.wan.items():
        classes, clear = classify_wan(capture.stop())
        if clear and not lab.may_leak:
            problems.append(f"clear packets on the WAN of {name} ({dict(classes)}):\n" + "\n".join(map(str, clear[:10])))
    return problems


def print_logs(lab):
    for router in lab.routers.values():
        for name, process in router.processes.items():
            print(f"----- router {router.site.name} {name} ({'running' if process.running() else 'ended'})")
            print(process.log.read_text()[-4000:])
    if lab.carrier.process:
        print("----- carrier\n" + lab.carrier.process.log.read_text()[-2000:])
