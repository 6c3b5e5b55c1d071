# SPDX-License-Identifier: GPL-3.0-or-later
"""Does a figure grow with the cycles? A straight line is fitted to each lab's series; the median of the labs decides."""

import random
import statistics

LEAST_SAMPLES = 5
# What a figure may have grown by, along the fitted line, from the first to the last compared cycle.
TOLERANCE = {"RSS kB": 1024, "fds": 3, "threads": 2, "state files": 6}  # of calls that have just ended there are files for 32 s
OTHERWISE = 1.5


def growth(points):
    """By how much the fitted line rises over the span of (cycle, value) points."""
    mean_x, mean_y = statistics.fmean(x for x, _ in points), statistics.fmean(y for _, y in points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0
    return slope * (points[-1][0] - points[0][0])


def judge(samples, warm):
    """(a line per resource, the causes) for samples {lab: [(cycle, {(owner, resource): value})]}."""
    growths, lasts = {}, {}
    for lab in samples.values():
        compared = [(cycle, values) for cycle, values in lab if cycle >= warm]
        if len(compared) < LEAST_SAMPLES:
            continue
        for key in compared[-1][1]:
            points = [(cycle, values[key]) for cycle, values in compared if key in values]
            if len(points) >= LEAST_SAMPLES:
                growths.setdefault(key, []).append(growth(points))
                lasts.setdefault(key, []).append(points[-1][1])
    lines, leaks = [], []
    for (owner, resource), values in sorted(growths.items(), key=lambda item: (item[0][1], item[0][0])):
        middle, limit = statistics.median(values), TOLERANCE.get(resource, OTHERWISE)
        lines.append(f"{resource:28} {owner:20} last {statistics.median(lasts[owner, resource]):9.0f}   grew {middle:8.2f} (at most {limit})")
        if middle > limit:
            leaks.append(f"{resource} of {owner} grew by {middle:.1f} (median of {len(values)} labs)")
    if not growths:
        leaks.append(f"nothing to compare: no lab has {LEAST_SAMPLES} samples after cycle {warm}")
    return lines, leaks


def check_itself():
    """A leak of one descriptor in eight cycles of a lab is found, noise is not."""
    noise = random.Random(1)
    for leak in (0, 1):
        lab = [(cycle, {("x", "fds"): 30 + noise.choice([0, 0, 1]) + leak * cycle // 8}) for cycle in range(0, 100, 2)]
        _, leaks = judge({0: lab, 1: lab}, 10)
        assert bool(leaks) == bool(leak), leaks
