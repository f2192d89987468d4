r"""The closed form for cells of one type: means do not show that they attract, distances do.

With the drift :math:`b(x_i) = c - \Theta x_i + \sum_k \beta_k P_{ik}` and
:math:`P_{ik} = s_p \langle \varphi_k(r_{ij}) (x_j - x_i) \rangle_{j \ne i}`, what cells do to each
other leaves the mean of a population where it is. A function :math:`\Psi` of the displacement of
two cells moves as

.. math::

    \frac{\mathrm d}{\mathrm dt} E[\Psi(x_i - x_j)] = 2\,E[\nabla\Psi(x_i - x_j) \cdot b(x_i)]
        + \sigma^2 E[\Delta\Psi(x_i - x_j)] .

Tests are the coordinates, the *second moments* :math:`\Psi = y_d y_e / 2`, and if asked for the
*energies* of the kernels themselves, :math:`\Psi_k = -\ell_k^2 \varphi_k`, whose gradient is
:math:`\varphi_k(|y|)\,y` (the self-test of Wei & Lu 2026, arXiv:2604.02581). All that is needed
are products of the :math:`P_{ik}`.

Squares of distances decay fast, so that the trapezoid between two snapshots is too coarse: after a
first fit the cells of each snapshot are simulated with it up to the next, and integrals are taken
along this path.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scimf.interaction.type_means import TypeSnapshots
from scimf.interaction.weak_form import REDRAWN, Columns

from evidence.moments import Moments, regression, solved, whitening

if TYPE_CHECKING:
    from anndata import AnnData

#: Weaker than those of types: pulls on a cell cancel, and what is left of them is small.
PENALTIES = ((1e-6, 1e-5, 1e-4, 1e-3), (1e-3, 1e-1, 10.0))
PASSES = 3  #: fits; all but the first along the path of the one before
STEPS = 5  #: of a path from one snapshot to the next


@dataclass(frozen=True)
class PairTests:
    """Kernels, the first of them constant, and which functions of two cells are followed."""

    widths: tuple[float, ...]
    energies: bool = False  #: whether the energies of the kernels are, besides second moments

    def pulls(self, x: np.ndarray, density: float) -> np.ndarray:  # (cells, kernels, dim)
        """:math:`P` of cells ``x`` (cells, dim)."""
        return density * _pulls(x, self.kernels(_distance2(x)))

    def values(self, x: np.ndarray) -> np.ndarray:  # (cells, tests)
        """Return tests cell by cell; one of pairs as the mean over the other cell."""
        n = len(x)
        away = x - x.mean(0)
        first, second = np.triu_indices(x.shape[1])
        squares = away[:, first] * away[:, second]
        values = [x, (n * squares + squares.sum(0)) / (2 * (n - 1))]
        if self.energies:
            near = self.kernels(_distance2(x))[1:].sum(2) - 1  # without oneself
            values.append(-(np.square(self.widths)[:, None] * near).T / (n - 1))
        return np.concatenate(values, axis=1)

    def columns(self, x: np.ndarray, density: float) -> np.ndarray:  # (tests, columns)
        """Means of what moves the tests: c, rate, noise; matrix; kernels."""
        n, dim = x.shape
        distance2 = _distance2(x)
        kernels = self.kernels(distance2)
        pull = _pulls(x, kernels)
        both = _both_pulls(x, kernels, pull) * density
        place = np.einsum("ikd,ie->kde", pull, x) / n
        rows = []
        for unit in np.eye(dim):
            matrix = -np.outer(unit, x.mean(0))
            rows.append(_row(unit, 0.0, matrix, np.zeros(len(kernels))))
        for d, e in zip(*np.triu_indices(dim), strict=True):
            matrix = np.zeros((dim, dim))
            matrix[d] += place[0, e]
            matrix[e] += place[0, d]
            received = -both[0, :, e, d] - both[0, :, d, e]
            rows.append(_row(np.zeros(dim), float(d == e), matrix, received))
        for k, width in enumerate(self.widths if self.energies else (), start=1):
            bent = kernels[k] * (dim - distance2 / width**2)
            noise = (bent.sum() - dim * n) / (n * (n - 1))
            received = -2 * np.einsum("ldd->l", both[k])
            rows.append(_row(np.zeros(dim), noise, 2 * place[k], received))
        return np.stack(rows)

    def kernels(self, distance2: np.ndarray) -> np.ndarray:  # (kernels, ...)
        """Kernels at squares of distances."""
        kernels = [np.ones_like(distance2)]
        kernels += [np.exp(-distance2 / (2 * width**2)) for width in self.widths]
        return np.stack(kernels)


def _distance2(x: np.ndarray) -> np.ndarray:  # (cells, cells)
    squares = (x**2).sum(1)
    return np.maximum(squares[:, None] + squares - 2 * x @ x.T, 0)


def _pulls(x: np.ndarray, kernels: np.ndarray) -> np.ndarray:  # (cells, kernels, dim)
    arriving = kernels @ x - kernels.sum(2)[..., None] * x
    return arriving.transpose(1, 0, 2) / (len(x) - 1)


def _both_pulls(x: np.ndarray, kernels: np.ndarray, pull: np.ndarray) -> np.ndarray:
    """Mean over cells of the product of two pulls on it by two different senders.

    (kernels, kernels, dim, dim); as in a large population, of which ``x`` are a part.
    """
    n, dim = x.shape
    found = np.einsum("ikd,ile->klde", pull, pull, optimize=True) * (n - 1) ** 2
    flat = kernels.reshape(len(kernels), -1)
    for d in range(dim):
        for e in range(dim):
            apart2 = np.subtract.outer(x[:, d], x[:, d]) * np.subtract.outer(x[:, e], x[:, e])
            found[:, :, d, e] -= (flat * apart2.ravel()) @ flat.T
    return found / (n * (n - 1) * (n - 2))


def _row(
    constant: np.ndarray, noise: float, matrix: np.ndarray, received: np.ndarray
) -> np.ndarray:
    return np.concatenate([constant, [np.trace(matrix), noise], matrix.ravel(), received])


@dataclass(frozen=True)
class PairForm:
    """A fitted closed form of cells of one type."""

    tests: PairTests
    coefficients: np.ndarray  #: (columns,)
    dim: int
    error: float  #: of populations left out, mean over rows

    @property
    def beta(self) -> np.ndarray:  # (kernels,)
        """Coefficients of the interaction."""
        return self.coefficients[-1 - len(self.tests.widths) :]

    @property
    def sigma(self) -> float:
        """Noise per square root of time; 0 if its square was not positive."""
        return float(np.sqrt(max(self.coefficients[self.dim + 1], 0)))

    def drift(self, x: np.ndarray, density: float) -> np.ndarray:  # (cells, dim)
        """Drift of all cells of a population."""
        dim = self.dim
        matrix = self.coefficients[dim + 2 : dim + 2 + dim**2].reshape(dim, dim)
        matrix = matrix + self.coefficients[dim] * np.eye(dim)
        received = np.einsum("k,ikd->id", self.beta, self.tests.pulls(x, density))
        return self.coefficients[:dim] - x @ matrix.T + received

    def strength(self, adata: "AnnData") -> float:
        """Return how much of the plain pull arrives, as strengths of pairs of types."""
        snapshots = TypeSnapshots.of(adata, types=np.full(adata.n_obs, "all"))
        along, size = 0.0, 0.0
        for k, first in enumerate(snapshots.start[:-1]):
            x = snapshots.cells[first : snapshots.start[k + 1]]
            pull = self.tests.pulls(x, snapshots.density[k % len(snapshots.density)])
            received = np.einsum("k,ikd->id", self.beta, pull)
            along += float((received * pull[:, 0]).sum())
            size += float((pull[:, 0] ** 2).sum())
        return along / size

    def force(self, distance: np.ndarray) -> np.ndarray:
        """Force between two cells at a distance; above 0 it pushes apart."""
        return -distance * (self.beta @ self.tests.kernels(distance**2))


def fit_one_type(adata: "AnnData", tests: PairTests, *, passes: int = PASSES) -> PairForm:
    """Fit the closed form of one type to coordinates in ``obsm["X_scimf"]``."""
    snapshots = TypeSnapshots.of(adata, types=np.full(adata.n_obs, "all"))
    dim = snapshots.cells.shape[1]
    n_columns = Columns(dim + 2, dim**2, 1 + len(tests.widths))
    found = _moments(snapshots, tests, snapshots.cells)
    whiten = whitening(snapshots, found)
    redrawn = []
    for draw in range(1, REDRAWN + 1):
        redrawn.append(_moments(snapshots, tests, snapshots.redrawn(draw)))
    plain = found.integrals(snapshots.times)
    corrected = 0.0  # what the path of the fit adds to the trapezoid
    for _ in range(passes):
        rows = regression(found.values, plain + corrected, whiten, n_columns)
        again = []
        for drawn in redrawn:
            integrals = drawn.integrals(snapshots.times) + corrected
            again.append(regression(drawn.values, integrals, whiten, n_columns))
        coefficients, error = solved(rows, again, PENALTIES)
        fitted = PairForm(tests, coefficients, dim, error)
        corrected = _along_path(snapshots, fitted, found)
    return fitted


def _moments(snapshots: TypeSnapshots, tests: PairTests, cells: np.ndarray) -> Moments:
    n_times, n_populations, _ = snapshots.count.shape
    n_single = cells.shape[1]
    values, columns, spread = [], [], []
    for k, (first, last) in enumerate(zip(snapshots.start[:-1], snapshots.start[1:], strict=True)):
        x = cells[first:last]
        each = tests.values(x)
        values.append(each.mean(0))
        columns.append(tests.columns(x, snapshots.density[k % n_populations]))
        each[:, n_single:] *= 2  # a cell is in its pairs twice: the variance of their mean
        spread.append(np.cov(each.T))
    return Moments.of(values, columns, spread, (n_times, n_populations))


def _along_path(snapshots: TypeSnapshots, fitted: PairForm, found: Moments) -> np.ndarray:
    """Return what integrals along the fit's own path differ by from the trapezoid between its ends.

    (intervals, populations, tests, columns)
    """
    rng = np.random.default_rng(0)
    n_times, n_populations, _ = snapshots.count.shape
    weights = np.full(STEPS + 1, 1 / STEPS)  # less those of the trapezoid between the ends
    weights[[0, -1]] = 0.5 / STEPS - 0.5
    corrected = np.zeros((n_times - 1, *found.columns.shape[1:]))
    for k in range((n_times - 1) * n_populations):
        t, p = divmod(k, n_populations)
        x = snapshots.cells[snapshots.start[k] : snapshots.start[k + 1]]
        gap = snapshots.times[t + 1] - snapshots.times[t]
        density = snapshots.density[p]
        for step, weight in enumerate(weights):
            if step:
                noise = fitted.sigma * np.sqrt(gap / STEPS) * rng.standard_normal(x.shape)
                x = x + gap / STEPS * fitted.drift(x, density) + noise
            corrected[t, p] += gap * weight * fitted.tests.columns(x, density)
    return corrected
