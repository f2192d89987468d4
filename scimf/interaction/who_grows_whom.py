r"""Who makes whom divide or die: effects of every pair of types on growth, in about a second.

With :math:`n_{pa}(t)`, the number of cells of type :math:`a` in population :math:`p` relative to
the start of the population (its ``obs["mass"]`` times the share of the type), and its density
:math:`s_p` at the start, growth is that of generalised Lotka and Volterra,

.. math::

    \Delta \log n_{pa} = r_a\,\Delta t
        + \sum_b G_{ab} \int s_p\, n_{pb}(t)\,\mathrm d t + \text{noise} :

one ridge regression for each receiver. The numbers of senders come from the same cells, and their
noise must not explain itself: shares are lines in time, and then those of the fitted equation
rolled forward from the start that agrees best with all snapshots.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import anndata as ad
import numpy as np
import pandas as pd

from scimf.dynamics.snapshots import KEY
from scimf.interaction.design_check import LEAST_POPULATIONS, strata
from scimf.interaction.permutation import edge_p_values, permutation_test
from scimf.interaction.regression import LEAST, Columns, Regression, regression
from scimf.interaction.type_means import TypeSnapshots, pair_table, uniform
from scimf.interaction.weak_form import NormalEquations, left_out

if TYPE_CHECKING:
    from anndata import AnnData

PENALTIES = (1e-4, 1e-3)  #: of the effects; larger ones pull true effects out of their intervals
FLOOR = 0.002  #: variance of a change of a log number that does not shrink with cells
STEPS = 20  #: of the fitted equation from one time to the next
PASSES = 5  #: in which the start is found from which it is rolled forward
MOST = 20.0  #: size of the logarithm of a number of cells relative to the start, at most


@dataclass(frozen=True)
class Growth:
    """Who makes whom divide or die.

    Attributes
    ----------
    table
        One row for each ordered pair of types, oneself included (crowding): ``receiver, sender,
        effect`` (on the rate of growth, per density times share), ``lo, hi`` (95 % interval) and
        ``se`` (jackknife over populations), ``p`` and ``q`` of the permutation test (Benjamini and
        Hochberg); NaN with fewer than six populations.
    rates
        By type: ``rate`` of growth where there is nobody, per unit of time, ``lo, hi``.
    p
        Of the test whether growth depends on anybody; NaN with fewer than six populations.
    relative
        Whether ``obs["mass"]`` was missing. Then only differences between types are known: rates
        and effects are those on a type less their mean over types, weighted by shares in all data.
    """

    table: pd.DataFrame
    rates: pd.DataFrame
    p: float
    relative: bool
    snapshots: TypeSnapshots = field(repr=False)

    def matrix(self, column: str = "effect") -> pd.DataFrame:
        """Column of the table as a matrix, receivers by senders."""
        names = list(self.snapshots.types)
        square = self.table.pivot(index="receiver", columns="sender", values=column)
        return square.reindex(index=names, columns=names)

    def predict(self, time: float, *, factors: Mapping[str, float] | None = None) -> pd.DataFrame:
        """Numbers of cells at a time relative to the start, populations by types.

        The fitted equation is rolled forward from the start that agrees best with all snapshots of
        a population. Rows sum to its mass; to 1 if the growth is relative.

        Parameters
        ----------
        factors
            What if there were so many times as many cells of a type at the start: 0 removes it, 2
            doubles it. Numbers stay relative to the start as it was.

        Raises
        ------
        ValueError
            For a type that is not there, or a factor below 0.
        """
        snapshots = self.snapshots
        changed = pd.Series(factors or {}, dtype=float).reindex(list(snapshots.types)).fillna(1.0)
        if unknown := set(factors or {}) - set(snapshots.types):
            raise ValueError(f"factors: {sorted(unknown)} not among the types {snapshots.types}")
        if (changed < 0).any():
            raise ValueError(f"factors: expected numbers from 0, got {dict(factors)}")
        coefficients = np.c_[self.rates["rate"], self.matrix()]
        options = {"relative": self.relative, "factors": changed.to_numpy()}
        (numbers,) = _rolled(snapshots, coefficients, np.array([time]), **options)
        return pd.DataFrame(numbers, list(snapshots.populations), list(snapshots.types))


def who_multiplies_whom(adata: "AnnData", *, permutations: int = 999, seed: int = 0) -> Growth:
    """Read who makes whom divide or die from the numbers of cells in several populations.

    Parameters
    ----------
    adata
        ``obs``: time, cell_type, population, and where known density (relative, one for each
        population) and mass (cells of a population relative to its start, one for each time).
    permutations, seed
        Of the p-values.

    Raises
    ------
    ValueError
        If there is one population only, a type that is too rare, or a mass that is not positive.
    """
    from scipy.stats import false_discovery_control, t

    counted = ad.AnnData(obs=adata.obs, obsm={KEY: np.zeros((adata.n_obs, 1))})
    snapshots = TypeSnapshots.of(counted)
    n_populations, n_types = len(snapshots.populations), len(snapshots.types)
    if n_populations < 2:
        needed = "at least two, of different composition or density, are needed to tell"
        raise ValueError(f"obs['population']: one population, {needed} who multiplies whom")
    relative = "mass" not in adata.obs
    less = snapshots.count.sum((0, 1)) / snapshots.count.sum() if relative else None
    numbers = _log_numbers(snapshots, less)
    equations, penalty = _equations(snapshots, numbers)
    lines = np.stack([each.solve(penalty) for each in equations])
    rolled = _rolled(snapshots, lines, snapshots.times, relative=relative)
    smooth = replace(snapshots, share=rolled / rolled.sum(2, keepdims=True))
    equations, penalty = _equations(smooth, numbers)
    found = np.stack([each.solve(penalty) for each in equations])  # (receivers, 1 + senders)
    without = left_out(equations, penalty, n_populations)
    se = np.sqrt((n_populations - 1) * np.var(without, axis=0))
    half = t.ppf(0.975, n_populations - 1) * se
    intervals = {"effect": found, "lo": found - half, "hi": found + half, "se": se}
    p, edges = np.nan, np.full((n_types, n_types), np.nan)
    if n_populations >= LEAST_POPULATIONS:
        contexts = smooth.sent.reshape(len(snapshots.times), 1, -1).repeat(n_populations, axis=1)
        independent = numbers if relative else numbers + _noise_of_totals(snapshots)
        tested = {"stages": True, "floor": 0.0, "less": less}
        rows = [_rows(smooth, independent, contexts, a, **tested) for a in range(n_types)]
        options = {"rows": rows, "strata": strata(adata), "n": permutations, "seed": seed}
        p = permutation_test(snapshots, **options).p
        edges = edge_p_values(snapshots, **options)
    columns = {name: values[:, 1:] for name, values in intervals.items()} | {"p": edges}
    table = pair_table(snapshots.types, itself=True, **columns)
    table["q"] = false_discovery_control(edges, axis=None).ravel() if np.isfinite(p) else np.nan
    rates = {"rate": found[:, 0], "lo": intervals["lo"][:, 0], "hi": intervals["hi"][:, 0]}
    rates = pd.DataFrame(rates, list(snapshots.types))
    return Growth(table, rates, p, relative, smooth)


def _log_numbers(snapshots: TypeSnapshots, less: np.ndarray | None) -> np.ndarray:
    """Log of the number of each type, (times, populations, types), less their mean by weights."""
    total = np.maximum(snapshots.count.sum(2, keepdims=True), 1)
    numbers = np.log((snapshots.count + 0.5) / total * snapshots.mass[..., None])
    return numbers if less is None else numbers - (numbers @ less)[..., None]


def _noise_of_totals(snapshots: TypeSnapshots) -> np.ndarray:  # (times, populations, 1)
    """Noise that the log of a total would have, if as many cells had been caught as came.

    A snapshot has a fixed number of cells: where one type is caught often others are caught rarely,
    and a test that compares compositions would take this for an effect. With this noise added to
    all types each number is as noisy as a count, whatever the others do. The same every time.
    """
    total = np.maximum(snapshots.count.sum(2), 1)
    first, second = uniform(1, total.size), uniform(2, total.size)
    normal = np.sqrt(-2 * np.log1p(-first)) * np.cos(2 * np.pi * second)  # Box and Muller
    return (normal.reshape(total.shape) / np.sqrt(total))[..., None]


def _rows(
    snapshots: TypeSnapshots,
    numbers: np.ndarray,
    columns: np.ndarray,
    receiver: int,
    *,
    floor: float = FLOOR,
    stages: bool = False,
    less: np.ndarray | None = None,
) -> Regression:
    """Rows of one receiver: those of a mean, but it does not relax.

    Their noise is that of expected counts: where noise made an observed one small it would be off.
    ``less`` (types,): weights of the mean over types that was taken off, which is noisy, too.
    """
    expected = snapshots.share * snapshots.count.sum(2, keepdims=True)
    smooth = replace(snapshots, count=expected)
    if less is not None:
        noise = 1 / np.maximum(expected, 1)
        noise = (1 - 2 * less[receiver]) * noise[..., receiver] + noise @ less**2
        as_noisy = np.where(expected[..., receiver] >= LEAST, 1 / noise, 0)
        smooth = replace(snapshots, count=as_noisy[..., None].repeat(len(less), axis=2))
    given = (numbers[..., None], columns[..., None], receiver)
    rows = regression(smooth, *given, floor=floor, stages=stages)
    free, matrix, interaction = rows.columns
    kept = np.r_[: free - 1, free + matrix : free + matrix + interaction]
    own = Columns(free - 1, 0, interaction)
    return replace(rows, x=tuple(x[:, kept] for x in rows.x), columns=own)


def _equations(
    snapshots: TypeSnapshots, numbers: np.ndarray
) -> tuple[list[NormalEquations], tuple[float, float]]:
    """Equations of every receiver, and the penalties that predict populations left out best."""
    found = []
    for a, name in enumerate(snapshots.types):
        rows = _rows(snapshots, numbers, snapshots.sent, a)
        if not rows.x:
            needed = f"expected {LEAST} cells of it at two times of some population"
            raise ValueError(f"obs['cell_type']: {name!r} is too rare, {needed}")
        found.append(NormalEquations.of(rows))
    pairs = [(penalty, 0.0) for penalty in PENALTIES]
    errors = [sum(each.errors_left_out(pair).sum() for each in found) for pair in pairs]
    return found, pairs[int(np.argmin(errors))]


def _rolled(
    snapshots: TypeSnapshots,
    coefficients: np.ndarray,
    times: np.ndarray,
    *,
    relative: bool,
    factors: np.ndarray | float = 1.0,
) -> np.ndarray:
    """Numbers (times, populations, types) of the fitted equation, by the midpoint rule.

    Each starts where as many cells are expected, over all snapshots, as were counted, times a
    factor (types,).
    """
    rates, effects = coefficients[:, 0], coefficients[:, 1:]

    def numbers(log: np.ndarray) -> np.ndarray:
        found = np.exp(np.clip(log, -MOST, MOST))
        return found / found.sum(1, keepdims=True) if relative else found

    def growth(log: np.ndarray) -> np.ndarray:
        return rates + snapshots.density[:, None] * numbers(log) @ effects.T

    def roll(log: np.ndarray, times: np.ndarray, factors: np.ndarray | float) -> np.ndarray:
        now = log - np.log(np.exp(log).sum(1) / snapshots.mass[0])[:, None]
        with np.errstate(divide="ignore"):  # log 0: a type that is removed
            now = now + np.log(factors)
        found = []
        for gap in np.diff(times, prepend=snapshots.times[0]):
            for _ in range(STEPS):
                half = now + gap / STEPS / 2 * growth(now)
                now = now + gap / STEPS * growth(half)
            found.append(numbers(now))
        return np.stack(found)

    counted = snapshots.count.sum(0)
    total = snapshots.count.sum(2, keepdims=True)
    start = np.log(snapshots.share[0] + 1e-3)
    for _ in range(PASSES):
        found = roll(start, snapshots.times, 1.0)
        expected = (total * found / found.sum(2, keepdims=True)).sum(0)
        start = start + np.log((counted + 0.5) / (expected + 0.5))
    return roll(start, times, factors)
