"""The record of the benchmarks, ``bench.json``: what it names, how it is shown and published."""

import json
import os
import platform
import sys
from collections.abc import Callable
from datetime import date
from importlib.metadata import version
from pathlib import Path

import torch

from scimf.core import paths
from scimf.core.files import write_file
from scimf.core.identity import identity
from scimf.notebook import say
from workflow.benchmarks.timing import BUSY

PACKAGES = ("torch", "torchsde", "geomloss", "numpy")
_NOT_SHOWN = ("versions", "curves")


def about(device: str, *measured: Callable) -> dict:
    """Name the machine, the versions and the code that a record speaks of.

    Parameters
    ----------
    device
        "cpu" or "cuda".
    measured
        Functions that measure: what they reach is the code.
    """
    return {
        "date": date.today().isoformat(),
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "code": identity(*measured),
        "versions": {name: version(name) for name in PACKAGES},
    }


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        lines = []
    for line in lines:
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return platform.machine()


def lines_of(found: dict, name: str = "") -> list[str]:
    """One line a number, with smallest and largest where a median is.

    What identifies the run is left to the record.
    """
    lines = []
    for key, value in found.items():
        label = f"{name}.{key}" if name else key
        if isinstance(value, dict) and set(value) == {"median", "min", "max"}:
            ends = f"[{value['min']:.4g}, {value['max']:.4g}]"
            lines.append(f"{label:<58} {value['median']:>10.4g}  {ends}")
        elif isinstance(value, dict) and key not in _NOT_SHOWN:
            lines += lines_of(value, label)
        elif isinstance(value, int | float):
            lines.append(f"{label:<58} {value:>10.4g}")
    return lines


def record(found: dict, busy: float, *, publish: bool) -> int:
    """Show results and put them into the record; what is there of others stays.

    If asked for, into the published one, too, unless others were busy.

    Returns
    -------
    int
        Exit status: 1 if they were to be published and were not.
    """
    sys.stdout.write("\n".join(lines_of(found)) + "\n")
    places = [paths.RESULTS / "bench.json"]
    too_busy = busy > BUSY  # False where nobody knows
    if too_busy:
        say(f"others kept {busy:.1f} cores busy (allowed: {BUSY:g}): nothing is published")
    elif publish:
        places.append(paths.RESULTS / "published" / "bench.json")
    for place in places:
        known = json.loads(place.read_text(encoding="utf-8")) if place.is_file() else {}
        write_file(place, json.dumps(known | found, indent=1) + "\n")
        say(f"{place}")
    return int(publish and too_busy)
