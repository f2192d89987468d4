"""Trivial predictions that every model has to beat. They see training cells only, like the model.

Each function ``(starts, population, time, n, rng)`` of :data:`BASELINES` returns cells (n, dim) of
one population at one held-out time, or ``None`` where it is not defined.
"""

from collections.abc import Callable

import numpy as np
import ot
from scipy.spatial.distance import cdist

from scimf.dynamics.snapshots import Snapshots
from scimf.evaluation.distances import MOST_ITERATIONS

Cloud = np.ndarray | None
Rng = np.random.Generator


def resample(cloud: np.ndarray, n: int, rng: Rng) -> np.ndarray:
    """``n`` different cells, or all of them and then repeats where there are fewer."""
    if n == 0:
        return cloud[:0]
    n_rounds = -(-n // len(cloud))
    rounds = [rng.permutation(len(cloud)) for _ in range(n_rounds)]
    return cloud[np.concatenate(rounds)[:n]]


def _neighbours(
    starts: Snapshots, population: str, time: float
) -> tuple[float | None, float | None]:
    """Observed times just before and just after a held-out time."""
    times = starts.times(population)
    before = max((t for t in times if t < time), default=None)
    after = min((t for t in times if t > time), default=None)
    return before, after


def _copy_previous(starts: Snapshots, population: str, time: float, n: int, rng: Rng) -> Cloud:
    """Return the latest observed snapshot before the held-out time, unchanged."""
    before, _ = _neighbours(starts, population, time)
    if before is None:
        return None
    return resample(starts.cells[population, before], n, rng)


def _copy_nearest(starts: Snapshots, population: str, time: float, n: int, rng: Rng) -> Cloud:
    """Return the observed snapshot nearest in time, unchanged; the earlier of two equally near."""
    times = [t for t in starts.times(population) if t != time]
    if not times:
        return None
    nearest = min(times, key=lambda t: (abs(t - time), t))
    return resample(starts.cells[population, nearest], n, rng)


def _mixture(starts: Snapshots, population: str, time: float, n: int, rng: Rng) -> Cloud:
    """Cells of the two neighbouring snapshots, in proportion to closeness in time."""
    before, after = _neighbours(starts, population, time)
    if before is None or after is None:
        return None
    n_after = round(n * (time - before) / (after - before))
    earlier = resample(starts.cells[population, before], n - n_after, rng)
    later = resample(starts.cells[population, after], n_after, rng)
    return np.concatenate([earlier, later])


def _mixture_all(starts: Snapshots, population: str, time: float, n: int, rng: Rng) -> Cloud:
    """Equal parts of all other observed times of the population."""
    times = [t for t in starts.times(population) if t != time]
    parts = []
    for k, t in enumerate(times):
        size = (k + 1) * n // len(times) - k * n // len(times)
        parts.append(resample(starts.cells[population, t], size, rng))
    if len(parts) < 2:  # cells were drawn all the same: the baselines after it keep their draws
        return None
    return np.concatenate(parts)


def _mean_shift(starts: Snapshots, population: str, time: float, n: int, rng: Rng) -> Cloud:
    """Cells of the snapshot before, all moved by one vector to the mean that is linear in time."""
    before, after = _neighbours(starts, population, time)
    if before is None or after is None:
        return None
    x = starts.cells[population, before]
    y = starts.cells[population, after]
    fraction = (time - before) / (after - before)
    return resample(x, n, rng) + (y.mean(0) - x.mean(0)) * fraction


def _last_velocity(starts: Snapshots, population: str, time: float, n: int, rng: Rng) -> Cloud:
    """Cells of the snapshot before, moved on by the mean velocity between the two before."""
    earlier = [t for t in starts.times(population) if t < time]
    if len(earlier) < 2:
        return None
    first, second = earlier[-2:]
    x = starts.cells[population, first]
    y = starts.cells[population, second]
    fraction = (time - second) / (second - first)
    return resample(y, n, rng) + (y.mean(0) - x.mean(0)) * fraction


def _ot_interpolation(starts: Snapshots, population: str, time: float, n: int, rng: Rng) -> Cloud:
    """Exact optimal-transport pairs between the two neighbours, moved along straight lines."""
    before, after = _neighbours(starts, population, time)
    if before is None or after is None:
        return None
    x = resample(starts.cells[population, before], n, rng)
    y = resample(starts.cells[population, after], n, rng)
    plan = ot.emd([], [], cdist(x, y, "sqeuclidean"), numItermax=MOST_ITERATIONS)
    partner = y[plan.argmax(1)]
    fraction = (time - before) / (after - before)
    return (1 - fraction) * x + fraction * partner


def _other_populations(starts: Snapshots, population: str, time: float, n: int, rng: Rng) -> Cloud:
    """Cells of all other populations that were observed at this very time, pooled."""
    clouds = []
    for (other, t), cells in starts.cells.items():
        if t == time and other != population:
            clouds.append(cells)
    if not clouds:
        return None
    return resample(np.concatenate(clouds), n, rng)


#: Baselines by name.
BASELINES: dict[str, Callable[..., Cloud]] = {
    "copy_previous": _copy_previous,
    "copy_nearest": _copy_nearest,
    "mixture": _mixture,
    "mixture_all": _mixture_all,
    "mean_shift": _mean_shift,
    "last_velocity": _last_velocity,
    "ot_interpolation": _ot_interpolation,
    "other_populations": _other_populations,
}
