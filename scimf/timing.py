"""How to measure what things cost: candidates in turns, spreads, who else keeps the machine busy, and the record of it.

Candidates take turns within a round, so that a slow minute of the machine hits all of them; a ratio is taken within
each round, and median, smallest and largest over rounds are recorded. Nothing is published where others keep more than
BUSY cores busy.
"""

import hashlib
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from scimf import paths
from scimf.notebook import say

BUSY = 1.0  #: cores that others may keep busy; above, nothing is published


def in_turns(candidates: dict[str, Callable[[], object]], rounds: int) -> dict[str, np.ndarray]:  # name -> (rounds,)
    """Seconds of each candidate in each round, all of them run once before."""
    seconds = {name: [] for name in candidates}
    for k in range(-1, rounds):
        for name, run in candidates.items():
            begin = time.perf_counter()
            run()
            if k >= 0:
                seconds[name].append(time.perf_counter() - begin)
    return {name: np.array(values) for name, values in seconds.items()}


def spread(values: np.ndarray) -> dict[str, float]:
    """Median, smallest and largest of (rounds,) values."""
    return {"median": float(np.median(values)), "min": float(values.min()), "max": float(values.max())}


def peak(call: str, **arguments) -> dict[str, float]:
    """Run ``call``, a room and its function, in a process of its own: what it returns, and its peak memory in GiB.

    Memory is that of the process above what it held before the call.
    """
    room, name = call.split(".")
    code = (
        f"import json, sys\nfrom scimf import {room}, timing\n"
        f"run, given = {room}.{name}, json.loads(sys.argv[1])\n"
        "before = timing.memory('VmRSS')\nfound = run(**given)\n"
        "print(json.dumps(found | {'peak_gib': (timing.memory('VmHWM') - before) / 2**20}))"
    )
    made = subprocess.run([sys.executable, "-c", code, json.dumps(arguments)], capture_output=True, text=True)
    if made.returncode:
        raise RuntimeError(f"{call}({arguments}) failed:\n{made.stderr[-2000:]}")
    return json.loads(made.stdout.splitlines()[-1])


def memory(what: str) -> float:
    """Memory of this process in KiB: "VmRSS", held now, or "VmHWM", the most since "VmRSS" was asked for."""
    try:
        if what == "VmRSS":  # imports may have held more than they left
            Path("/proc/self/clear_refs").write_text("5")
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith(what))
    except OSError:  # not Linux: the most since the start, for both
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "darwin" else 1)


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Slope of log values over log sizes, over the top decade of sizes."""
    sizes, values = np.array(sizes, float), np.array(values, float)
    top = sizes >= sizes.max() / 10.5
    return float(np.polyfit(np.log(sizes[top]), np.log(np.maximum(values[top], 1e-9)), 1)[0])


def others_busy(since: tuple[float, float, float] | None = None) -> tuple[float, tuple[float, float, float]]:
    """Cores that other processes kept busy since the last call, and what the next call needs; NaN where unknown."""
    try:
        fields = [float(v) for v in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    except OSError:
        return float("nan"), (0.0, 0.0, 0.0)
    busy = (sum(fields[:3]) + sum(fields[5:7])) / os.sysconf("SC_CLK_TCK")
    mine = sum(getattr(resource.getrusage(who), key) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
               for key in ("ru_utime", "ru_stime"))  # fmt: skip
    now = (time.monotonic(), busy, mine)
    if since is None:
        return float("nan"), now
    elapsed, total, own = (b - a for a, b in zip(since, now, strict=True))
    return max(0.0, (total - own) / max(elapsed, 1e-9)), now


def busy_while(run: Callable[[], dict]) -> tuple[dict, float]:
    """Return what ``run`` returns, and the cores that others kept busy before or during it."""
    _, since = others_busy()
    time.sleep(2)
    before, since = others_busy(since)
    found = run()
    return found, max(before, others_busy(since)[0])


def lines_of(found: dict, name: str = "") -> list[str]:
    """One line a number, with smallest and largest where a median is; what identifies the run is left to the record."""
    lines = []
    for key, value in found.items():
        where = f"{name}.{key}" if name else key
        if isinstance(value, dict) and set(value) == {"median", "min", "max"}:
            lines.append(f"{where:<58} {value['median']:>10.4g}  [{value['min']:.4g}, {value['max']:.4g}]")
        elif isinstance(value, dict) and key not in ("versions", "curves"):
            lines += lines_of(value, where)
        elif isinstance(value, int | float):
            lines.append(f"{where:<58} {value:>10.4g}")
    return lines


def record(found: dict, busy: float, *, publish: bool) -> int:
    """Print results, put them into the record, and into the published one unless others were busy; the rest stays."""
    print("\n".join(lines_of(found)))
    places = [paths.RESULTS / "bench.json", *([paths.RESULTS / "published" / "bench.json"] if publish else [])]
    if busy > BUSY:
        places = places[:1]
        say(f"others kept {busy:.1f} cores busy (allowed: {BUSY:g}): nothing is published")
    for place in places:
        known = json.loads(place.read_text(encoding="utf-8")) if place.is_file() else {}
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(json.dumps(known | found, indent=1) + "\n", encoding="utf-8")
        say(f"{place}")
    return int(publish and len(places) == 1)


def about(device: str) -> dict:
    """Name the machine, the versions and the code that a record speaks of."""
    rooms = sorted(Path(__file__).parent.glob("*.py"))
    code = hashlib.sha256(b"\0".join(room.read_bytes() for room in rooms)).hexdigest()
    model = next(
        (line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")), platform.machine()
    )
    return {
        "date": date.today().isoformat(), "cpu": model, "cores": os.cpu_count(), "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu", "code": f"sha256:{code}",
        "versions": {name: version(name) for name in ("torch", "torchsde", "geomloss", "numpy")},
    }  # fmt: skip


def _cpuinfo() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []
