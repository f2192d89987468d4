"""How to measure what things cost: candidates in turns, spreads, and who else is busy here.

Candidates take turns within a round, so that a slow minute of the machine hits all of them; a
ratio is taken within each round, and median, smallest and largest over rounds are recorded.
Nothing is published where others keep more than BUSY cores busy.
"""

import os
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

BUSY = 1.0  #: cores that others may keep busy; above, nothing is published
_WARM_UP = 2.0  #: seconds in which the machine is watched before a measurement


def in_turns(candidates: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, np.ndarray]:
    """Seconds of each candidate in each round, name -> (rounds,); all are run once before."""
    seconds = {name: [] for name in candidates}
    for run in candidates.values():
        run()
    for _ in range(rounds):
        for name, run in candidates.items():
            begin = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - begin)
    return {name: np.array(values) for name, values in seconds.items()}


def spread(values: np.ndarray) -> dict[str, float]:
    """Median, smallest and largest of (rounds,) values."""
    return {
        "median": float(np.median(values)),
        "min": float(values.min()),
        "max": float(values.max()),
    }


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Slope of log values over log sizes, over the top decade of sizes."""
    sizes = np.array(sizes, float)
    values = np.array(values, float)
    top = sizes >= sizes.max() / 10.5
    slope, _ = np.polyfit(np.log(sizes[top]), np.log(np.maximum(values[top], 1e-9)), 1)
    return float(slope)


# --------------------------------------------------------------------------------- a busy machine


class Moment(NamedTuple):
    """Clocks at one moment, in seconds; NaN where the system does not say."""

    now: float
    busy: float  #: of all cores together, in anything but idling and waiting
    own: float  #: of them, in this process and those it started


def look() -> Moment:
    """Read the clocks."""
    own = 0.0
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        usage = resource.getrusage(who)
        own += usage.ru_utime + usage.ru_stime
    return Moment(time.monotonic(), _busy_seconds(), own)


def _busy_seconds() -> float:
    try:
        line = Path("/proc/stat").read_text().splitlines()[0]
    except OSError:  # not Linux
        return float("nan")
    ticks = [float(value) for value in line.split()[1:]]
    # user, nice and system; then, after idle and waiting, hardware and software interrupts
    return (sum(ticks[:3]) + sum(ticks[5:7])) / os.sysconf("SC_CLK_TCK")


def others_busy(since: Moment) -> float:
    """Cores that other processes kept busy since a moment; NaN where nobody knows."""
    end = look()
    others = (end.busy - since.busy) - (end.own - since.own)
    return float(np.maximum(0.0, others / max(end.now - since.now, 1e-9)))


def busy_while(run: Callable[[], dict]) -> tuple[dict, float]:
    """Return what ``run`` returns, and the cores that others kept busy before or during it."""
    start = look()
    time.sleep(_WARM_UP)
    before = others_busy(start)
    start = look()
    found = run()
    return found, max(before, others_busy(start))
