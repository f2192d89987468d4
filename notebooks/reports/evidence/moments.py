r"""Moments of snapshots as rows of one ridge regression, whatever their tests are.

For tests :math:`\psi_r`, functions of the state of a cell or of two, and a drift that is linear in
unknowns :math:`\beta`,

.. math::

    \frac{\mathrm d}{\mathrm dt} E[\psi_r] = \sum_c X_{rc}\, \beta_c ,

integrated over the interval between two snapshots. The rows of a population are correlated: its
snapshots are shared by two intervals, and all tests by the same cells.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scimf.interaction.regression import FLOOR, Columns, Regression, covariance
from scimf.interaction.type_means import TypeSnapshots
from scimf.interaction.weak_form import PENALTIES, NormalEquations

OWN_COVARIANCE = 0.9  #: weight of a population's own covariance against that of all
JITTER = 1e-2  #: added to the diagonal of covariances, relative to its mean


class Moments(NamedTuple):
    """Means over the cells of each snapshot."""

    values: np.ndarray  #: (times, populations, tests)
    columns: np.ndarray  #: (times, populations, tests, columns)
    covariance: np.ndarray  #: of the tests over cells, (populations, tests, tests), mean over times

    @classmethod
    def of(
        cls,
        values: Sequence[np.ndarray],
        columns: Sequence[np.ndarray],
        spread: Sequence[np.ndarray],
        shape: tuple[int, int],
    ) -> "Moments":
        """Put together what was found in each snapshot; ``shape`` is (times, populations)."""
        values, columns, spread = np.stack(values), np.stack(columns), np.stack(spread)
        spread = spread.reshape(*shape, *spread.shape[1:]).mean(0)
        columns = columns.reshape(*shape, *columns.shape[1:])
        return cls(values.reshape(*shape, -1), columns, spread)

    def integrals(self, times: np.ndarray) -> np.ndarray:
        """Columns by the trapezoid over each interval, (intervals, populations, tests, columns)."""
        gap = np.diff(times)[:, None, None, None]
        return 0.5 * gap * (self.columns[1:] + self.columns[:-1])


def whitening(snapshots: TypeSnapshots, found: Moments, floor: float = FLOOR) -> np.ndarray:
    """Inverse roots of the covariance of the rows of each population; ``snapshots`` of one type."""
    pooled = found.covariance.mean(0)
    ridge = JITTER * np.trace(pooled) / len(pooled) * np.eye(len(pooled))
    whiten = []
    for p, own in enumerate(found.covariance):
        tests = OWN_COVARIANCE * own + (1 - OWN_COVARIANCE) * pooled + ridge
        steps = covariance(snapshots.count[:, p, 0], floor)
        root = np.kron(np.linalg.cholesky(steps), np.linalg.cholesky(tests))
        whiten.append(np.linalg.inv(root))
    return np.stack(whiten)


def regression(
    values: np.ndarray, integrals: np.ndarray, whiten: np.ndarray, columns: Columns
) -> Regression:
    """Rows of all tests, whitened by population.

    ``values`` (times, populations, tests), ``integrals`` as of :meth:`Moments.integrals`.
    """
    x, y = [], []
    everyone = np.arange(values.shape[1])
    for p in everyone:
        rows = integrals[:, p].reshape(-1, integrals.shape[-1])
        x.append(whiten[p] @ rows)
        y.append(whiten[p] @ np.diff(values[:, p], axis=0).ravel())
    return Regression(tuple(x), tuple(y), everyone, columns)


def solved(
    rows: Regression,
    redrawn: Sequence[Regression],
    penalties: tuple[Sequence[float], Sequence[float]] = PENALTIES,
) -> tuple[np.ndarray, float]:
    """Coefficients, and the error of populations left out (mean over rows) that chose penalties."""
    plain = NormalEquations.of(rows)
    grid = [(first, second) for first in penalties[0] for second in penalties[1]]
    errors = [plain.errors_left_out(pair).sum() for pair in grid]
    best = int(np.argmin(errors))
    coefficients = NormalEquations.of(rows, redrawn).solve(grid[best])
    return coefficients, errors[best] / rows.n_rows
