r"""Do cells interact? What a population's own context explains, against those of others.

A receiver of population :math:`p` is moved by the senders of its own population. Without
interaction it is all the same whose senders one looks at, so the columns of the interaction are
computed for the receivers of every population with the senders of every other, and populations
exchange contexts at random. With :math:`N` the own drift, with an intercept for every interval (a
medium that is changed is own drift), residual :math:`r` of :math:`Y` on :math:`N`, and columns
:math:`X_{p,\pi(p)}` under a permutation :math:`\pi`,

.. math::

    u = \sum_p X_{p,\pi(p)}^\top r_p, \qquad
    M = \sum_p X^\top X - \Bigl(\sum_p N^\top X\Bigr)^\top A \Bigl(\sum_p N^\top X\Bigr), \qquad
    T = \sum_a u^\top M^{-1} u \,/\, \overline{r^2},

a score statistic in which every permutation is a lookup of blocks;
:math:`p = (1 + \#\{T_\pi \ge T\}) / (B + 1)`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from scimf.interaction.regression import Regression, regression
from scimf.interaction.type_means import TypeSnapshots
from scimf.interaction.weak_form import UNPENALISED

MATRIX_PENALTY = 1e-2  #: of the matrix of the own drift
RIDGE = 1e-2  #: of the score statistic, relative to its mean eigenvalue
OTHERS_PENALTY = 1e-4  #: of the columns of other senders, when one edge is asked for
AT_ONCE = 100  #: permutations in memory


@dataclass(frozen=True)
class PermutationTest:
    """p-values of a data set, and the smallest that its number of populations allows."""

    p: float  #: overall
    p_receivers: np.ndarray  #: (types,)
    statistic: np.ndarray  #: (1 + permutations,), the first of the data


def permutation_test(
    snapshots: TypeSnapshots,
    *,
    rows: Sequence[Regression] | None = None,
    strata: np.ndarray | None = None,
    n: int = 999,
    seed: int = 0,
) -> PermutationTest:
    """Test whether cells interact, overall and for each receiver; ``n`` permutations.

    ``rows`` of each receiver, whose columns of the interaction are populations by senders: of
    another change than that of its mean, which its own type has a part in, too. ``strata``
    (populations,): only populations of one stratum exchange their contexts.
    """
    orders = _orders(snapshots, strata, n, seed)
    by_receiver = []
    for contexts, senders in _contexts(snapshots, rows):
        by_receiver.append(contexts.statistic(np.array(senders), orders))
    total = np.sum(by_receiver, axis=0)
    p_receivers = np.array([p_value(statistic) for statistic in by_receiver])
    return PermutationTest(p_value(total), p_receivers, total)


def edge_p_values(
    snapshots: TypeSnapshots,
    *,
    rows: Sequence[Regression] | None = None,
    strata: np.ndarray | None = None,
    n: int = 999,
    seed: int = 0,
) -> np.ndarray:  # (receiver, sender)
    """One sender's context permuted, given the own drift and what all other senders do.

    NaN on the diagonal: the pull of a type on its own kind moves no mean. Arguments as above.
    """
    n_types = len(snapshots.types)
    orders = _orders(snapshots, strata, n, seed)
    found = np.full((n_types, n_types), np.nan)
    for a, (contexts, senders) in enumerate(_contexts(snapshots, rows)):
        for b in senders:
            others = [c for c in senders if c != b]
            found[a, b] = p_value(contexts.given(others).statistic(np.array([b]), orders))
    return found


def _contexts(
    snapshots: TypeSnapshots, rows: Sequence[Regression] | None
) -> Iterator[tuple["_Contexts", list[int]]]:
    """Contexts of every receiver, and which senders act on it."""
    everyone = list(range(len(snapshots.types)))
    mean = snapshots.mean()
    for a in everyone:
        if rows is None:
            mine = _Contexts.of(_rows_of_mean(snapshots, mean, a), len(everyone))
            yield mine, [b for b in everyone if b != a]
        else:
            yield _Contexts.of(rows[a], len(everyone)), everyone


def _rows_of_mean(snapshots: TypeSnapshots, mean: np.ndarray, receiver: int) -> Regression:
    """Rows of a receiver with the pulls in every population; ``mean`` (times, ..., types, dim)."""
    n_times, _, _, dim = mean.shape
    sent = snapshots.sent * (snapshots.count > 0)  # (times, q, senders)
    to_senders = mean[:, None] - mean[:, :, None, None, receiver]  # (times, p, q, senders, dim)
    pulls = sent[:, None, ..., None] * to_senders
    columns = pulls.reshape(n_times, len(snapshots.populations), -1, dim)
    return regression(snapshots, mean, columns, receiver, stages=True, floor=0.0)


def p_value(statistic: np.ndarray) -> float:
    """Share of permutations, and the data, that reach the data (first)."""
    reached = statistic[1:] >= statistic[0] * (1 - 1e-12)
    return (1 + int(reached.sum())) / len(statistic)


def _orders(
    snapshots: TypeSnapshots, strata: np.ndarray | None, n: int, seed: int
) -> np.ndarray:  # (1 + n, populations), the first as they are
    n_populations = len(snapshots.populations)
    strata = np.zeros(n_populations) if strata is None else strata
    rng = np.random.default_rng(seed)
    orders = np.tile(np.arange(n_populations), (1 + n, 1))
    for stratum in np.unique(strata):
        mine = np.flatnonzero(strata == stratum)
        orders[1:, mine] = rng.permuted(orders[1:, mine], axis=1)
    return orders


@dataclass(frozen=True)
class _Contexts:
    """Rows of one receiver, and what they would receive in every population."""

    own: tuple[np.ndarray, ...]  #: one (rows, own columns) for each population that has rows
    y: tuple[np.ndarray, ...]  #: (rows,)
    received: tuple[np.ndarray, ...]  #: (rows, populations, senders)
    population: np.ndarray  #: number of the population of each
    penalty: np.ndarray  #: (own columns,)

    @classmethod
    def of(cls, rows: Regression, n_types: int) -> "_Contexts":
        """Split rows whose columns of the interaction are populations by senders."""
        n_own = rows.columns.free + rows.columns.matrix
        total = sum((x[:, :n_own] ** 2).sum(0) for x in rows.x) + np.zeros(n_own)
        scale = np.sqrt(total / max(rows.n_rows, 1)) + 1e-12
        matrix = slice(rows.columns.free, None)
        if rows.columns.matrix:
            scale[matrix] = np.sqrt((scale[matrix] ** 2).mean())
        return cls(
            own=tuple(x[:, :n_own] / scale for x in rows.x),
            y=rows.y,
            received=tuple(x[:, n_own:].reshape(len(x), -1, n_types) for x in rows.x),
            population=rows.populations,
            penalty=rows.n_rows * np.repeat([UNPENALISED, MATRIX_PENALTY], rows.columns[:2]),
        )

    def given(self, senders: list[int]) -> "_Contexts":
        """Count what these senders really do as own drift."""
        pairs = zip(self.received, self.population, strict=True)
        real = [received[:, p, senders] for received, p in pairs]
        if not real:
            return self
        n_rows = sum(map(len, real))
        scale = np.sqrt(sum((x**2).sum(0) for x in real) / n_rows) + 1e-12
        own = [np.c_[own, x / scale] for own, x in zip(self.own, real, strict=True)]
        more = np.full(len(senders), OTHERS_PENALTY * n_rows)
        return replace(self, own=tuple(own), penalty=np.r_[self.penalty, more])

    def statistic(self, senders: np.ndarray, orders: np.ndarray) -> np.ndarray:  # (orders,)
        """Score statistic of the columns of some senders, for every order of contexts.

        0 for a receiver that is too rare for any row.
        """
        if not self.y:
            return np.zeros(len(orders))
        gram = sum(own.T @ own for own in self.own) + np.diag(self.penalty)
        inverse = np.linalg.inv(gram)
        fitted = inverse @ sum(own.T @ y for own, y in zip(self.own, self.y, strict=True))
        squares, with_own, with_residual, total = [], [], [], 0.0
        for own, y, received in zip(self.own, self.y, self.received, strict=True):
            residual = y - own @ fitted
            total += float(residual @ residual)
            x = received[:, :, senders]  # (rows, q, senders)
            squares.append(np.einsum("rqa,rqb->qab", x, x))
            with_own.append(np.einsum("rqa,rc->qac", x, own))
            with_residual.append(np.einsum("rqa,r->qa", x, residual))
        blocks = (np.stack(squares), np.stack(with_own), np.stack(with_residual))
        each = np.arange(len(self.own))
        found = []
        for first in range(0, len(orders), AT_ONCE):
            chosen = orders[first : first + AT_ONCE, self.population]  # (orders, rows' populations)
            xx, nx, u = (block[each, chosen].sum(1) for block in blocks)
            m = xx - nx @ inverse @ nx.transpose(0, 2, 1)
            n = len(senders)
            ridge = RIDGE * np.trace(m, axis1=1, axis2=2) / n * (n > 1) + 1e-12
            m = m + ridge[:, None, None] * np.eye(n)
            found.append((u * np.linalg.solve(m, u[..., None])[..., 0]).sum(1))
        return np.concatenate(found) / (total / sum(map(len, self.y)))
