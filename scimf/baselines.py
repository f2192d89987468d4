"""Trivial predictions that every model has to beat. They see training cells only, like the model.

Each function returns a cloud (cells, dim) for one population at one held-out time, or ``None`` where it is not defined.
"""

from collections.abc import Callable

import numpy as np
import ot
from scipy.spatial.distance import cdist

from scimf.train import Snapshots

Cloud = np.ndarray | None


def _neighbours(starts: Snapshots, population: str, time: float) -> tuple[float | None, float | None]:
    times = starts.times(population)
    before, after = [t for t in times if t < time], [t for t in times if t > time]
    return (max(before) if before else None), (min(after) if after else None)


def copy_previous(starts: Snapshots, population: str, time: float, n: int, rng: np.random.Generator) -> Cloud:
    """Return the latest observed snapshot before the held-out time, unchanged."""
    before, _ = _neighbours(starts, population, time)
    return None if before is None else resample(starts.cells[population, before], n, rng)


def mixture(starts: Snapshots, population: str, time: float, n: int, rng: np.random.Generator) -> Cloud:
    """Cells of the two neighbouring snapshots, in proportion to closeness in time."""
    before, after = _neighbours(starts, population, time)
    if before is None or after is None:
        return None
    n_after = round(n * (time - before) / (after - before))
    parts = [(before, n - n_after), (after, n_after)]
    return np.concatenate([resample(starts.cells[population, t], k, rng) for t, k in parts])


def ot_interpolation(starts: Snapshots, population: str, time: float, n: int, rng: np.random.Generator) -> Cloud:
    """Exact optimal-transport pairs between the two neighbours, moved along straight lines."""
    before, after = _neighbours(starts, population, time)
    if before is None or after is None:
        return None
    x = resample(starts.cells[population, before], n, rng)
    y = resample(starts.cells[population, after], n, rng)
    partner = ot.emd([], [], cdist(x, y, "sqeuclidean"), numItermax=1_000_000).argmax(1)
    fraction = (time - before) / (after - before)
    return (1 - fraction) * x + fraction * y[partner]


def other_populations(starts: Snapshots, population: str, time: float, n: int, rng: np.random.Generator) -> Cloud:
    """Cells of all other populations that were observed at this very time, pooled."""
    clouds = [x for (p, t), x in starts.cells.items() if t == time and p != population]
    return resample(np.concatenate(clouds), n, rng) if clouds else None


def resample(cloud: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """``n`` different cells, or all of them and then repeats where there are fewer."""
    order = [rng.permutation(len(cloud)) for _ in range(-(-n // len(cloud)))] or [np.array([], dtype=int)]
    return cloud[np.concatenate(order)[:n]]


#: Baselines by name.
BASELINES: dict[str, Callable[..., Cloud]] = {
    "copy_previous": copy_previous,
    "mixture": mixture,
    "ot_interpolation": ot_interpolation,
    "other_populations": other_populations,
}
