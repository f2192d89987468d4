r"""Who moves whom as one ridge regression: the drift of type means in closed form.

With the pulls :math:`F` of :mod:`scimf.interaction.type_means`, the mean of type :math:`a` in a
population moves as

.. math::

    \frac{\mathrm d m_a}{\mathrm d t} = c_a - \Theta_a m_a + \sum_{bk} \beta_{abk} F_{abk},
    \qquad \Theta_a = \theta_a I + R_a .

Integrated over each interval by the trapezoid (pulls that grow with the number of cells: times an
exponential) this is linear in :math:`(c, \theta, R, \beta)`: no trajectory of any cell is needed
(weak-form estimation of interacting particles; Wei & Lu 2026, arXiv:2604.02581, one type). What
others do may also point along a free direction, or depend on how many of them there are: then
:math:`F` is replaced by columns :math:`s_p \pi_{pb} e_d` or :math:`g_j(s_p \pi_{pb}) e_d`.

The means are noisy, and both sides of the regression carry the same noise. What this adds to the
normal equations is measured by drawing cells again; what noise of the shares adds is multinomial.
Both are taken off (errors in variables; Fuller 1987). Penalties are chosen by the exact error of
populations that were left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from scimf.interaction.regression import LEAST, Regression, regression
from scimf.interaction.type_means import TypeSnapshots

PENALTIES = ((1e-4, 1e-3, 1e-2), (1e-3, 1e-2, 1e-1, 1.0, 10.0))  #: of the interaction, and of R
UNPENALISED = 1e-6
MOST_NOISE = 0.5  #: no more than this share of any direction is taken for noise
REDRAWN = 10  #: times that cells are drawn again
FULLER = 4  #: over the number of populations: share of the noise of shares that is left in
HILLS = (0.25, 0.5, 1.0, 2.0)  #: half-saturations of the columns that count senders
FORMS = ("towards", "free", "count")


def _interaction_columns(
    snapshots: TypeSnapshots, form: str, widths: tuple[float, ...], cells: np.ndarray | None = None
) -> np.ndarray:  # (times, populations, receivers, columns, dim)
    """Columns of what other types do to the mean of a receiver.

    ``towards`` the sender, one for each kernel; along a ``free`` direction; or free, with the
    ``count`` of senders in place of their density (both are the same for all receivers).
    """
    n_times, n_populations, n_types = snapshots.count.shape
    dim = snapshots.cells.shape[1]
    shape = (n_times, n_populations, n_types, -1, dim)
    if form == "towards":
        return snapshots.pulls(widths, cells).reshape(shape)
    sent = snapshots.sent[..., None]  # (times, populations, senders, 1)
    if form == "count":
        sent = np.concatenate([sent**2 / (half**2 + sent**2) for half in HILLS], axis=-1)
    directions = np.einsum("tpbj,de->tpbjde", sent, np.eye(dim))
    columns = directions.reshape(n_times, n_populations, 1, -1, dim)
    return np.broadcast_to(columns, (*shape[:3], *columns.shape[3:]))


# -------------------------------------------------------------------------------------- ridge


@dataclass(frozen=True)
class NormalEquations:
    """Scaled normal equations of one receiver, population by population, less their noise."""

    rows: Regression  #: with columns divided by ``scale``
    scale: np.ndarray  #: (columns,)
    gram: np.ndarray  #: (populations, columns, columns)
    right: np.ndarray  #: (populations, columns)
    noise_gram: np.ndarray  #: like ``gram``: what noise in the columns adds to it
    noise_right: np.ndarray

    @classmethod
    def of(
        cls,
        rows: Regression,
        redrawn: Sequence[Regression] = (),
        share_noise: np.ndarray | None = None,
    ) -> "NormalEquations":
        """Set them up.

        ``redrawn`` are the same rows of cells that were drawn again. ``share_noise``
        (populations, types, types), see :class:`TypeSnapshots`, is for columns that grow with the
        share of a sender.
        """
        scale = _scale(rows)
        scaled = rows.scaled(scale)
        gram = np.stack([x.T @ x for x in scaled.x])
        right = np.stack([x.T @ y for x, y in zip(scaled.x, scaled.y, strict=True)])
        noise_gram, noise_right = np.zeros_like(gram), np.zeros_like(right)
        for p in range(len(scaled.x)):
            if redrawn:
                x = np.stack([again.x[p] for again in redrawn]) / scale
                y = np.stack([again.y[p] for again in redrawn])
                x = x - x.mean(0)
                y = y - y.mean(0)
                noise_gram[p] = np.einsum("nrc,nrd->cd", x, x) / (len(redrawn) - 1)
                noise_right[p] = np.einsum("nrc,nr->c", x, y) / (len(redrawn) - 1)
        if share_noise is not None:
            taken_off = max(0, 1 - FULLER / len(gram))
            n_columns = rows.columns.interaction
            each = np.ones(2 * [n_columns // share_noise.shape[1]])
            for p, population in enumerate(rows.populations):
                of_columns = taken_off * np.kron(share_noise[population], each)
                noise_gram[p, -n_columns:, -n_columns:] += (
                    of_columns * gram[p, -n_columns:, -n_columns:]
                )
        return cls(scaled, scale, gram, right, noise_gram, noise_right)

    def _penalty(self, penalties: tuple[float, float]) -> np.ndarray:
        """Diagonal; ``penalties`` of the interaction and of the matrix of the own drift."""
        interaction, matrix = penalties
        each = np.repeat([UNPENALISED, matrix, interaction], self.rows.columns)
        return self.rows.n_rows * each

    def solve(
        self, penalties: tuple[float, float], weights: np.ndarray | None = None
    ) -> np.ndarray:  # (columns,), unscaled
        """Solve for the coefficients; ``weights`` (populations,) count a population several times.

        No more than half of any direction is taken for noise.
        """
        weights = np.ones(len(self.gram)) if weights is None else weights
        gram = np.tensordot(weights, self.gram, 1) + np.diag(self._penalty(penalties))
        right = weights @ self.right
        noise = np.tensordot(weights, self.noise_gram, 1)
        if noise.any():
            whiten = np.linalg.inv(np.linalg.cholesky(gram))
            largest = np.linalg.eigvalsh(whiten @ noise @ whiten.T)[-1]
            part = min(1.0, MOST_NOISE / max(largest, 1e-12))
            gram = gram - part * noise
            right = right - part * (weights @ self.noise_right)
        return np.linalg.solve(gram, right) / self.scale

    def errors_left_out(self, penalties: tuple[float, float]) -> np.ndarray:
        """Sum of squared errors of each population of ``rows.populations`` when it is left out.

        Without noise taken off.
        """
        inverse = np.linalg.inv(self.gram.sum(0) + np.diag(self._penalty(penalties)))
        fitted = inverse @ self.right.sum(0)
        found = []
        for x, y in zip(self.rows.x, self.rows.y, strict=True):
            leverage = np.eye(len(y)) - x @ inverse @ x.T
            found.append((np.linalg.solve(leverage, y - x @ fitted) ** 2).sum())
        return np.array(found)


def left_out(
    equations: Sequence[NormalEquations], penalties: tuple[float, float], n_populations: int
) -> np.ndarray:  # (populations, receivers, columns)
    """Coefficients of all receivers, with every population left out once."""
    found = []
    for weights in 1 - np.eye(n_populations):
        solved = [each.solve(penalties, weights[each.rows.populations]) for each in equations]
        found.append(np.stack(solved))
    return np.stack(found)


def _scale(rows: Regression) -> np.ndarray:
    """Size of each column; one for a whole block, or narrow kernels would explode."""
    size2 = sum((x**2).sum(0) for x in rows.x) / rows.n_rows
    free, matrix, _ = rows.columns
    for block in (slice(free, free + matrix), slice(free + matrix, None)):
        size2[block] = size2[block].mean() if size2[block].size else 0
    return np.sqrt(size2) + 1e-12


# ---------------------------------------------------------------------------------------- fit


@dataclass(frozen=True)
class WeakForm:
    """A fitted closed form of one data set."""

    snapshots: TypeSnapshots
    form: str  #: one of :data:`FORMS`
    widths: tuple[float, ...]  #: of the kernels, in the unit of the coordinates
    penalties: tuple[float, float]
    error: float  #: of populations left out, mean over rows
    equations: tuple[NormalEquations, ...]  #: of each receiver
    columns: np.ndarray  #: see :func:`_interaction_columns`
    coefficients: np.ndarray  #: (receivers, columns)

    def received(self, coefficients: np.ndarray | None = None) -> np.ndarray:
        """Return what the mean of a receiver gets from each sender.

        (times, populations, receiver, sender, dim), in coordinates per unit of time.
        """
        coefficients = self.coefficients if coefficients is None else coefficients
        n_types = len(self.snapshots.types)
        beta = self.interaction(coefficients).reshape(n_types, n_types, -1)
        columns = self.columns.reshape(*self.columns.shape[:3], n_types, beta.shape[-1], -1)
        return np.einsum("tpabkd,abk->tpabd", columns, beta)

    def interaction(self, coefficients: np.ndarray) -> np.ndarray:
        """Part of the coefficients that belongs to the interaction, (receivers, columns)."""
        free, matrix, _ = self.equations[0].rows.columns
        return coefficients[:, free + matrix :]

    @cached_property
    def _along_pull(self) -> np.ndarray:
        """Strength of each pair per unit of each of its coefficients, (receiver, sender, each)."""
        pull = self.snapshots.pulls(())[..., 0, :]  # (times, populations, receiver, sender, dim)
        n_types = len(self.snapshots.types)
        shape = (*self.columns.shape[:3], n_types, -1, self.columns.shape[-1])
        along = np.einsum("tpabkd,tpabd->abk", self.columns.reshape(shape), pull)
        return along / np.maximum((pull**2).sum((0, 1, 4)), 1e-9)[..., None]

    def strengths(self, coefficients: np.ndarray | None = None) -> np.ndarray:
        r"""Return how much of the plain pull by each sender arrives, (receiver, sender).

        :math:`S_{ab} = \langle \sum_k \beta_{abk} F_{abk}, F_{ab0} \rangle / |F_{ab0}|^2`:
        above 0 a receiver is pulled towards the sender, below 0 it is pushed away.
        """
        coefficients = self.coefficients if coefficients is None else coefficients
        beta = self.interaction(coefficients).reshape(self._along_pull.shape)
        return (beta * self._along_pull).sum(-1)

    def own(self) -> tuple[np.ndarray, np.ndarray]:
        """Constant (types, dim) and matrix (types, dim, dim) of the own drift c - Theta x."""
        dim = self.snapshots.cells.shape[1]
        free, matrix, _ = self.equations[0].rows.columns
        constant = self.coefficients[:, :dim]
        rate = self.coefficients[:, free - 1, None, None] * np.eye(dim)
        return constant, rate + self.coefficients[:, free : free + matrix].reshape(-1, dim, dim)


def fit_weak_form(
    snapshots: TypeSnapshots, *, form: str = "towards", widths: tuple[float, ...]
) -> WeakForm:
    """Fit the closed form; one penalty for all receivers.

    Raises
    ------
    ValueError
        If a type is never seen with enough cells at two successive times of some population.
    """
    columns = _interaction_columns(snapshots, form, widths)
    everyone = range(len(snapshots.types))
    mass = None if form == "count" or (snapshots.mass == 1).all() else snapshots.mass
    rows = [_rows(snapshots, snapshots.cells, columns, a, mass) for a in everyone]
    for name, row in zip(snapshots.types, rows, strict=True):
        if not row.x:
            needed = f"expected {LEAST} cells of it at two times of some population"
            raise ValueError(f"obs['cell_type']: {name!r} is too rare, {needed}")
    plain = [NormalEquations.of(row) for row in rows]
    penalties, error = _choose_penalties(plain, len(snapshots.populations))
    redrawn = []
    for draw in range(1, REDRAWN + 1):
        cells = snapshots.redrawn(draw)
        again = _interaction_columns(snapshots, form, widths, cells)
        redrawn.append([_rows(snapshots, cells, again, a, mass) for a in everyone])
    share_noise = None if form == "count" else snapshots.share_noise
    equations = []
    for a in everyone:
        again = [rows_again[a] for rows_again in redrawn]
        equations.append(NormalEquations.of(rows[a], again, share_noise))
    solved = np.stack([each.solve(penalties) for each in equations])
    return WeakForm(
        snapshots,
        form,
        widths,
        penalties,
        error / sum(row.n_rows for row in rows),
        tuple(equations),
        columns,
        solved,
    )


def _choose_penalties(
    equations: Sequence[NormalEquations], n_populations: int
) -> tuple[tuple[float, float], float]:
    """Penalties, and the error of populations that were left out.

    Of all that predict these as well as the best, to one standard error, those that keep own drifts
    simplest: a matrix that nothing asks for can stand in for a pull, and would do so by chance.
    """
    grid = [(first, second) for first in PENALTIES[0] for second in PENALTIES[1]]
    errors = np.zeros((len(grid), n_populations))
    for each in equations:
        for k, pair in enumerate(grid):
            errors[k, each.rows.populations] += each.errors_left_out(pair)
    more = errors - errors[errors.sum(1).argmin()]
    standard_error = np.sqrt(n_populations) * more.std(1, ddof=1)
    as_good = np.flatnonzero(more.sum(1) <= standard_error)
    simplest = max(grid[k][1] for k in as_good)
    chosen = min((k for k in as_good if grid[k][1] == simplest), key=lambda k: errors[k].sum())
    return grid[chosen], float(errors[chosen].sum())


def _rows(
    snapshots: TypeSnapshots,
    cells: np.ndarray,
    columns: np.ndarray,
    receiver: int,
    mass: np.ndarray | None,
) -> Regression:
    mean = snapshots.mean(cells)
    return regression(snapshots, mean, columns[:, :, receiver], receiver, mass=mass)
