"""Trivial predictions that every model has to beat. They see training cells only, like the model.

Each function returns a cloud (cells, dim) for one population at one held-out time, or ``None`` where it is not defined.
"""

from collections.abc import Callable

import numpy as np
import ot
from scipy.spatial.distance import cdist

from scimf.snapshots import Snapshots

Cloud = np.ndarray | None


def _neighbours(starts: Snapshots, population: str, time: float) -> tuple[float | None, float | None]:
    times = starts.times(population)
    before, after = [t for t in times if t < time], [t for t in times if t > time]
    return (max(before) if before else None), (min(after) if after else None)


def copy_previous(starts: Snapshots, population: str, time: float, n: int, rng: np.random.Generator) -> Cloud:
    """Return the latest observed snapshot before the held-out time, unchanged."""
    before, _ = _neighbours(starts, population, time)
    return None if before is None else resample(starts.cells[population, before], n, rng)


def copy_nearest(starts: Snapshots, population: str, time: float, n: int, rng: np.random.Generator) -> Cloud:
    """Return the observed snapshot nearest in time, unchanged; the earlier one of two equally near."""
    times = [t for t in starts.times(population) if t != time]
    return resample(starts.cells[population, min(times, key=lambda t: (abs(t - time), t))], n, rng) if times else None


def mixture(starts: Snapshots, population: str, time: float, n: int, rng: np.random.Generator) -> Cloud:
    """Cells of the two neighbouring snapshots, in proportion to closeness in time."""
    before, after = _neighbours(starts, population, time)
    if before is None or after is None:
        return None
    n_after = round(n * (time - before) / (after - before))
    parts = [(before, n - n_after), (after, n_after)]
    return np.concatenate([resample(starts.cells[population, t], k, rng) for t, k in parts])


def mixture_all(starts: Snapshots, population: str, time: float, n: int, rng: np.random.Generator) -> Cloud:
    """Equal parts of all other observed times of the population."""
    times = [t for t in starts.times(population) if t != time]
    sizes = [(k + 1) * n // len(times) - k * n // len(times) for k in range(len(times))]
    parts = [resample(starts.cells[population, t], k, rng) for t, k in zip(times, sizes, strict=True)]
    return np.concatenate(parts) if len(parts) > 1 else None


def mean_shift(starts: Snapshots, population: str, time: float, n: int, rng: np.random.Generator) -> Cloud:
    """Cells of the snapshot before, all moved by one vector to the mean that is linear in time."""
    before, after = _neighbours(starts, population, time)
    if before is None or after is None:
        return None
    x, y = starts.cells[population, before], starts.cells[population, after]
    return resample(x, n, rng) + (y.mean(0) - x.mean(0)) * ((time - before) / (after - before))


def last_velocity(starts: Snapshots, population: str, time: float, n: int, rng: np.random.Generator) -> Cloud:
    """Cells of the snapshot before, all moved on by the mean velocity between the two snapshots before."""
    earlier = [t for t in starts.times(population) if t < time][-2:]
    if len(earlier) < 2:
        return None
    x, y = (starts.cells[population, t] for t in earlier)
    return resample(y, n, rng) + (y.mean(0) - x.mean(0)) * ((time - earlier[1]) / (earlier[1] - earlier[0]))


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
    "copy_nearest": copy_nearest,
    "mixture": mixture,
    "mixture_all": mixture_all,
    "mean_shift": mean_shift,
    "last_velocity": last_velocity,
    "ot_interpolation": ot_interpolation,
    "other_populations": other_populations,
}
