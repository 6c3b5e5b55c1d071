# SPDX-License-Identifier: GPL-3.0-or-later
"""Does a figure grow with the cycles? A straight line is fitted to each lab's series; the median of the labs decides.

Memory is judged by what a cycle of the lab adds, and only from FILLED_CYCLES of its own on: by then the traces hold their 100 finished attempts,
and ike-agent, at three of each a cycle, its 1024 remembered replies and trace entries of no attempt. Other services get fewer of these, some 150
octets each, and fill up until cycle 1024: the limit leaves room for that.
"""

import random
import statistics

LEAST_SAMPLES = 5
# What a figure may have grown by, along the fitted line, from the first to the last compared cycle.
TOLERANCE = {"fds": 3, "threads": 2, "state files": 6}  # of calls that have just ended there are files for 32 s
OTHERWISE = 1.5
FILLED_CYCLES = 360
LEAST_SPAN = 100  # cycles: over fewer, a page or a call that is just ending weighs more than a leak
PER_CYCLE = {"heap octets": 640, "RSS kB": 1}


def slope(points):
    """By how much the line fitted to the (cycle, value) points rises in a cycle."""
    mean_x, mean_y = statistics.fmean(x for x, _ in points), statistics.fmean(y for _, y in points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0


def growth(points, resource):
    """In a cycle, for memory; else over the span of the points. None: too few to tell."""
    span = points[-1][0] - points[0][0] if points else 0
    if len(points) < LEAST_SAMPLES or (resource in PER_CYCLE and span < LEAST_SPAN):
        return None
    return slope(points) * (1 if resource in PER_CYCLE else span)


def judge(samples, warm):
    """(a line per resource, the causes) for samples {lab: [(cycle of all labs, {(owner, resource): value})]}."""
    growths, lasts = {}, {}
    for lab in samples.values():
        compared = [(cycle, values) for cycle, values in lab if cycle >= warm]
        if len(compared) < LEAST_SAMPLES:
            continue
        filled = list(enumerate(values for _, values in lab))[FILLED_CYCLES:]
        for key in compared[-1][1]:
            points = [(cycle, values[key]) for cycle, values in (filled if key[1] in PER_CYCLE else compared) if key in values]
            grown = growth(points, key[1])
            if grown is not None:
                growths.setdefault(key, []).append(grown)
                lasts.setdefault(key, []).append(points[-1][1])
    lines, leaks = [], []
    for (owner, resource), values in sorted(growths.items(), key=lambda item: (item[0][1], item[0][0])):
        middle, limit = statistics.median(values), PER_CYCLE.get(resource, TOLERANCE.get(resource, OTHERWISE))
        span = " a cycle" if resource in PER_CYCLE else ""
        lines.append(f"{resource:28} {owner:20} last {statistics.median(lasts[owner, resource]):9.0f}   grew {middle:8.2f}{span} (at most {limit})")
        if middle > limit:
            leaks.append(f"{resource} of {owner} grew by {middle:.1f}{span} (median of {len(values)} labs)")
    if growths and not any(resource in PER_CYCLE for _, resource in growths):
        lines.append(f"memory: not judged, no lab has {FILLED_CYCLES + LEAST_SPAN} cycles")
    if not growths:
        leaks.append(f"nothing to compare: no lab has {LEAST_SAMPLES} samples after cycle {warm}")
    return lines, leaks


def check_itself():
    """A leak of one descriptor in eight cycles of a lab is found, and of 1 kB of heap in each; noise and a cache that fills are not."""
    noise = random.Random(1)
    for leak in (0, 1):
        lab = [(cycle, {("x", "fds"): 30 + noise.choice([0, 0, 1]) + leak * cycle // 8}) for cycle in range(0, 100, 2)]
        _, leaks = judge({0: lab, 1: lab}, 10)
        assert bool(leaks) == bool(leak), leaks
        lab = [(8 * cycle, {("x", "heap octets"): 10000 * min(cycle, 100) + noise.randrange(20000) + leak * 1000 * cycle}) for cycle in range(600)]
        _, leaks = judge({0: lab, 1: lab}, 100)
        assert bool(leaks) == bool(leak), leaks
