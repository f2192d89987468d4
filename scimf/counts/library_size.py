"""How many counts a generated cell has: log-normal library sizes.

They depend on the time of a cell (:class:`LibraryOverTime`), or on its conditions and, better, its
latent tokens (:class:`LibrarySizes`). The latent of an autoencoder with a softmax head need not
know the depth of a cell, and yet it does: cells of one type that hold more RNA express other
genes. Drawn for the type alone, a cell and its size would not belong together.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

ENOUGH = 10  #: cells from which the library sizes of a combination are taken by themselves
RIDGES = np.logspace(-1, 5, 13)  #: penalties tried on the training cells, for standardised numbers


@dataclass(frozen=True)
class LibraryOverTime:
    """Mean and spread of log total counts: linear between training times, constant beyond."""

    times: tuple[float, ...]
    mean: tuple[float, ...]
    sd: tuple[float, ...]

    @classmethod
    def of(cls, totals: np.ndarray, times: np.ndarray) -> Self:
        """Fit to total counts and times, (cells,) both."""
        log = np.log(totals)
        known = np.unique(np.asarray(times, float))
        seen = [log[times == time] for time in known]
        means = [float(values.mean()) for values in seen]
        sds = [float(values.std()) for values in seen]
        return cls(tuple(known.tolist()), tuple(means), tuple(sds))

    def draw(self, times: np.ndarray, *, seed: int = 0) -> np.ndarray:
        """Total counts (cells,) of cells at these times (cells,): whole numbers from 1."""
        mean = np.interp(times, self.times, self.mean)
        sd = np.interp(times, self.times, self.sd)
        noise = np.random.default_rng(seed).standard_normal(len(mean))
        return _totals(mean + sd * noise)


@dataclass(frozen=True)
class LibrarySizes:
    r"""Log-normal total counts given conditions and, if fitted so, standardised latents :math:`z`.

    :math:`\log L = z\beta + r`: a ridge regression over training cells, its penalty by
    leave-one-out. :math:`z\beta` stays within what it was on training cells; without latents it is
    zero. A combination of conditions with at least ``ENOUGH`` training cells has its own mean and
    standard deviation of :math:`r`. Any other one, unseen combinations included, has the sum of
    the effects of its conditions (least squares over all training cells) and the spread around it.
    An unknown condition has no effect; when all are unknown, mean and spread are those of all
    training cells.
    """

    seen: dict[tuple[int, ...], tuple[float, float]]  #: labels -> mean and s.d. of r
    effects: tuple[tuple[float, ...], ...]  #: of each condition; the last, of "unknown", is 0
    centre: float
    spread: float
    slope: tuple[float, ...] | None = None  #: beta, (numbers,)
    ends: tuple[float, float] = (0.0, 0.0)  #: smallest and largest z beta of the training cells

    @classmethod
    def of(
        cls,
        totals: np.ndarray,
        labels: np.ndarray,
        levels: Sequence[int],
        latent: np.ndarray | None = None,
    ) -> Self:
        """Fit to total counts (cells,) of training cells, given their conditions and latents.

        ``labels`` (cells, conditions) are values of conditions, of which each has so many
        ``levels``; ``latent`` (cells, numbers) has mean 0 and variance 1.
        """
        slope = None
        ends = (0.0, 0.0)
        if latent is not None:
            from sklearn.linear_model import RidgeCV

            fitted = RidgeCV(RIDGES).fit(latent, np.log(totals)).coef_
            slope = tuple(fitted.tolist())
            known = latent @ fitted
            ends = (float(known.min()), float(known.max()))
            totals = totals * np.exp(-known)
        log = np.log(totals)
        centre = float(log.mean())
        effects, spread = _effects(log - centre, labels, levels)
        seen = {}
        rows, which = np.unique(labels, axis=0, return_inverse=True)
        for k, row in enumerate(rows.tolist()):
            values = log[which.ravel() == k]  # numpy 2.0 gives it a second axis
            if len(values) >= ENOUGH:
                seen[tuple(row)] = (float(values.mean()), float(values.std()))
        seen[tuple(levels)] = (centre, float(log.std()))  # all unknown: any training cell
        return cls(seen, effects, centre, spread, slope, ends)

    def draw(
        self, labels: np.ndarray, *, latent: np.ndarray | None = None, seed: int = 0
    ) -> np.ndarray:
        """Total counts (cells,), whole numbers from 1.

        ``labels`` (cells, conditions); ``latent`` (cells, numbers) where it was fitted with
        latents.
        """
        effect = np.zeros(len(labels))
        for by_value, column in zip(self.effects, labels.T, strict=True):
            effect += np.asarray(by_value)[column]
        mean = self.centre + effect
        sd = np.full(len(labels), self.spread)
        for i, row in enumerate(labels.tolist()):
            mean[i], sd[i] = self.seen.get(tuple(row), (mean[i], sd[i]))
        log = mean + sd * np.random.default_rng(seed).standard_normal(len(labels))
        if latent is not None:
            slope = np.asarray(self.slope, latent.dtype)
            log = log + np.clip(latent @ slope, *self.ends)
        return _totals(log)


def _effects(
    log: np.ndarray, labels: np.ndarray, levels: Sequence[int]
) -> tuple[tuple[tuple[float, ...], ...], float]:
    """Effects of each condition on centred logarithms (cells,), and the spread around their sum."""
    if not len(levels):
        return (), float(np.std(log))
    columns = zip(levels, labels.T, strict=True)
    design = np.concatenate([np.eye(n)[column] for n, column in columns], 1)
    # The effects of one condition are known up to a constant only.
    ridge = 1e-3 * len(log) * np.eye(design.shape[1])
    effect = np.linalg.solve(design.T @ design + ridge, design.T @ log)
    parts = np.split(effect, np.cumsum(levels)[:-1])
    effects = tuple((*part.tolist(), 0.0) for part in parts)
    return effects, float(np.std(log - design @ effect))


def _totals(log: np.ndarray) -> np.ndarray:
    """Whole numbers from 1 of their logarithms."""
    return np.maximum(1, np.round(np.exp(log)))
