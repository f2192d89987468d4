"""What a driver is given and what it gives back.

A driver, ``fit_NAME.py``, is a script that runs in the environment of its peer: it and this file
import numpy, the peer and what the peer brings, and nothing of ours. It is called as ``python
fit_NAME.py TASK ANSWER``, both ``.npz`` files.
"""

import json
import os
import resource
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

#: Of what else is installed, this is named in the answer.
BESIDE = ("torch", "jax", "numpy", "scipy", "POT", "geomloss", "anndata", "torchsde", "lightning")


@dataclass(frozen=True)
class Task:
    """Training cells, and the times at which cells are to be predicted.

    A time is known by its real value and by its place among all times of the data, held-out ones
    counted, because some peers know real times and some know places only.

    Attributes
    ----------
    cells
        Coordinates of training cells, (cells, dim).
    times, places
        Real time and place of each training cell, (cells,).
    held_times, held_places
        The same of what is to be predicted, (held,).
    seed
        For all random numbers.
    settings
        What the table ``peers.toml`` says of the peer.
    """

    cells: np.ndarray
    times: np.ndarray
    places: np.ndarray
    held_times: np.ndarray
    held_places: np.ndarray
    seed: int
    settings: dict

    @property
    def train_places(self) -> list[int]:
        """Places of the training times, in order."""
        return [int(place) for place in np.unique(self.places)]

    def at(self, place: float) -> np.ndarray:  # (cells at that place, dim)
        """Training cells at a place."""
        return self.cells[self.places == place]

    def before(self, place: float) -> int:
        """Last training place before a held-out one."""
        return max(other for other in self.train_places if other < place)

    def after(self, place: float) -> int:
        """First training place after a held-out one."""
        return min(other for other in self.train_places if other > place)

    def time_of(self, place: float) -> float:
        """Real time of a training place."""
        return float(self.times[self.places == place][0])

    def way(self, k: int) -> tuple[int, int, float]:
        """Places around the k-th held-out time, and how far it lies between them, 0 to 1."""
        before = self.before(self.held_places[k])
        after = self.after(self.held_places[k])
        start = self.time_of(before)
        share = (self.held_times[k] - start) / (self.time_of(after) - start)
        return before, after, float(share)


#: Cells (cells, dim) at the k-th held-out time.
Predict = Callable[[int], np.ndarray]


def answer(package: str, fit: Callable[[Task], Predict]) -> None:
    """Read the task that the command line names, fit, predict, and write the answer.

    Only ``fit`` is timed, in CPU seconds of this process and its children: who else uses the
    machine does not change them. It runs in an empty folder, for what the package itself writes.
    """
    task = read_task(sys.argv[1])
    path = Path(sys.argv[2]).resolve()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        begin = cpu_seconds()
        predict = fit(task)
        seconds = cpu_seconds() - begin
        clouds = {}
        for k in range(len(task.held_times)):
            clouds[f"cells_{k}"] = np.asarray(predict(k), np.float32)
        os.chdir(path.parent)
    about = {"seconds": seconds, "versions": _versions(package)}
    np.savez(path, about=json.dumps(about), **clouds)


def cpu_seconds() -> float:
    """Seconds of all threads of this process and of its finished children."""
    total = 0.0
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        used = resource.getrusage(who)
        total += used.ru_utime + used.ru_stime
    return total


def read_task(path: str) -> Task:
    """Read a task."""
    with np.load(path, allow_pickle=False) as file:
        found = {name: file[name] for name in file.files}
    found["seed"] = int(found["seed"])
    found["settings"] = json.loads(str(found["settings"]))
    return Task(**found)


def _versions(package: str) -> dict[str, str]:
    found = {"python": ".".join(str(part) for part in sys.version_info[:3])}
    for name in (package, *BESIDE):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def at_most(cells: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """All cells, or ``n`` of them where there are more."""
    if len(cells) <= n:
        return cells
    return cells[rng.choice(len(cells), n, replace=False)]
