"""A number, and how far it may be off: whole cultures, wells or embryos are drawn anew."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scimf.data.registry import DataUnavailable


class Number(NamedTuple):
    """A number with its 95 % limits."""

    value: float
    lo: float
    hi: float

    def __str__(self) -> str:
        return f"{self.value:.3g} [{self.lo:.3g}, {self.hi:.3g}]"

    def under(self, key: str) -> dict[str, float]:
        """Say what a report records: the number under ``key``, its limits beside it."""
        return {key: self.value, f"{key}.lo": self.lo, f"{key}.hi": self.hi}


def number(
    statistic: Callable[[np.ndarray], float],
    units: Sequence,
    *,
    within: Sequence | None = None,
    draws: int = 300,
    seed: int = 0,
) -> Number:
    """Compute a statistic of all rows, and limits from rows of units drawn with replacement.

    Parameters
    ----------
    statistic
        Of the places of rows, some of them several times; draws in which it is NaN are left out.
    units
        By row, which culture (well, embryo) it is of.
    within
        By row, its group: as many units are drawn of every group as it has.
    draws, seed
        How often units are drawn, and the seed of it.
    """
    rng = np.random.default_rng(seed)
    groups = np.zeros(len(units)) if within is None else np.asarray(within)
    rows = pd.DataFrame({"group": groups, "unit": np.asarray(units)})
    units_of = []
    for _, group in rows.groupby("group"):
        units_of.append([part.index.to_numpy() for _, part in group.groupby("unit")])
    drawn = []
    for _ in range(draws):
        picked = []
        for parts in units_of:
            picked += [parts[k] for k in rng.integers(len(parts), size=len(parts))]
        drawn.append(statistic(np.concatenate(picked)))
    limits = np.nanquantile(drawn, [0.025, 0.975])
    return Number(float(statistic(np.arange(len(units)))), *map(float, limits))


def mean_of(values: Sequence[float], **options) -> Number:
    """Mean over units of one value each; options of :func:`number`."""
    values = np.asarray(values, dtype=float)
    return number(lambda rows: values[rows].mean(), np.arange(len(values)), **options)


def r_squared(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Share of the variance that a prediction explains; below 0 it is worse than the mean."""
    truth, predicted = np.asarray(truth), np.asarray(predicted)
    return float(1 - ((truth - predicted) ** 2).sum() / ((truth - truth.mean()) ** 2).sum())


def line(columns: np.ndarray, values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Predict by least squares with an intercept; ``columns`` (rows, k) or (rows,), ``at`` too."""
    weights = np.linalg.lstsq(with_one(columns), np.asarray(values, dtype=float), rcond=None)[0]
    return with_one(at) @ weights


def with_one(columns: np.ndarray) -> np.ndarray:
    """Put a column of ones before others."""
    columns = np.asarray(columns, dtype=float)
    columns = columns.reshape(len(columns), -1)
    return np.column_stack([np.ones(len(columns)), columns])


def not_wanted() -> None:
    """Stand in for the reader of real data where none is asked for.

    Raises
    ------
    DataUnavailable
        Always.
    """
    raise DataUnavailable("real experiments are not asked for (real = False)")
