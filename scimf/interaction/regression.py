r"""Rows of the regression of one receiver: changes of a mean, and what they may come from.

Between two times the mean of type :math:`a` in a population changes by :math:`c_a` times the time,
:math:`-\Theta_a` times the integral of the mean, and coefficients times the integrals of columns of
the interaction (:mod:`scimf.interaction.weak_form`). Successive changes share a snapshot, so that
their noise is correlated (:func:`covariance`): rows are whitened, population by population.
"""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from scimf.interaction.type_means import TypeSnapshots

STILL = 1e-4  #: relative change of a number of cells below which it does not change
LEAST = 5  #: fewest cells of a type in a snapshot that count
FLOOR = 0.02  #: variance of a type mean that does not shrink with cells, relative to one cell's


class Columns(NamedTuple):
    """How many columns of a regression stand for what, in this order."""

    free: int  #: intercepts and the common rate
    matrix: int  #: what the own drift differs from a common rate, (dim, dim)
    interaction: int


@dataclass(frozen=True)
class Regression:
    """Rows of one receiver, whitened, by population: least squares once it is scaled."""

    x: tuple[np.ndarray, ...]  #: one (rows, columns) for each population
    y: tuple[np.ndarray, ...]
    populations: np.ndarray  #: number of the population of each of these
    columns: Columns

    def scaled(self, scale: np.ndarray) -> "Regression":
        """Divide the columns."""
        return replace(self, x=tuple(x / scale for x in self.x))

    @property
    def n_rows(self) -> int:
        """Rows of all populations."""
        return sum(len(y) for y in self.y)


def covariance(n: np.ndarray, floor: float) -> np.ndarray:
    """Covariance of the errors of successive changes of a mean over ``n`` cells (times,).

    Up to a factor; neighbours share the snapshot between them.
    """
    between = -np.diag(1 / n[1:-1], 1)
    return np.diag(1 / n[:-1] + 1 / n[1:] + floor) + between + between.T


def regression(
    snapshots: TypeSnapshots,
    mean: np.ndarray,
    columns: np.ndarray,
    receiver: int,
    *,
    stages: bool = False,
    floor: float = FLOOR,
    mass: np.ndarray | None = None,
) -> Regression:
    """Rows of one receiver.

    Parameters
    ----------
    mean
        Of types, (times, populations, types, dim).
    columns
        Of the interaction for this receiver, (times, populations, columns, dim).
    stages
        Whether every interval has an intercept of its own: a medium that is changed. Where a type
        was not seen at a time between two others, these are an interval of their own, too.
    floor
        See :data:`FLOOR`.
    mass
        Number of cells that the columns are in proportion to, (times, populations), if it changes.
    """
    count = snapshots.count[:, :, receiver]
    dim = mean.shape[-1]
    x, y = [], []
    kept = np.flatnonzero((count >= LEAST).sum(0) > 1)
    seen_in = {p: np.flatnonzero(count[:, p] >= LEAST) for p in kept}
    intervals = sorted({pair for seen in seen_in.values() for pair in pairwise(seen.tolist())})
    for p, seen in seen_in.items():
        gap = np.diff(snapshots.times[seen])  # (intervals,)
        own = _integral(mean[seen, p, receiver], gap)  # (intervals, dim)
        grown = None if mass is None else np.diff(np.log(mass[seen, p]))
        others = _integral(columns[seen, p], gap, grown)  # (intervals, columns, dim)
        stage = np.ones((len(gap), 1))
        if stages:
            mine = [intervals.index(pair) for pair in pairwise(seen.tolist())]
            stage = np.eye(len(intervals))[mine]
        intercepts = np.einsum("g,gs,de->gdse", gap, stage, np.eye(dim))
        block = [
            intercepts.reshape(len(gap), dim, -1),
            -own[:, :, None],
            -np.einsum("de,gf->gdef", np.eye(dim), own).reshape(len(gap), dim, -1),
            others.transpose(0, 2, 1),
        ]
        whiten = np.linalg.inv(np.linalg.cholesky(covariance(count[seen, p], floor)))
        rows = np.einsum("hg,gdc->hdc", whiten, np.concatenate(block, axis=2))
        x.append(rows.reshape(len(gap) * dim, -1))
        y.append((whiten @ np.diff(mean[seen, p, receiver], axis=0)).ravel())
    n_free = dim * (len(intervals) if stages else 1) + 1
    n_columns = Columns(n_free, dim**2, columns.shape[2])
    return Regression(tuple(x), tuple(y), kept, n_columns)


def _integral(values: np.ndarray, gap: np.ndarray, grown: np.ndarray | None = None) -> np.ndarray:
    r"""Trapezoid over each interval, of values that change by a factor besides.

    With :math:`k` (``grown``, (intervals,)) the log of this factor, exact where
    :math:`v(u) = e^{ku} l(u)` with :math:`l` linear in the place :math:`u` in the interval:
    :math:`v(0) (e^k - 1 - k) / k^2 + v(1) (e^{-k} - 1 + k) / k^2`.
    """
    shape = (-1, *[1] * (values.ndim - 1))
    if grown is None:
        return 0.5 * gap.reshape(shape) * (values[1:] + values[:-1])
    k = np.where(np.abs(grown) < STILL, STILL, grown)
    first = gap * (np.expm1(k) - k) / k**2
    last = gap * (np.expm1(-k) + k) / k**2
    return first.reshape(shape) * values[:-1] + last.reshape(shape) * values[1:]
