"""How many counts a generated cell has: log-normal library sizes, given conditions and, better, its latent tokens.

The latent of an autoencoder with a softmax head need not know the depth of a cell, and yet it does: cells of one type
that hold more RNA express other genes. Drawn for the type alone, a cell and its size would not belong together.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

ENOUGH = 10  #: cells from which the library sizes of a combination are taken by themselves
RIDGES = np.logspace(-1, 5, 13)  #: penalties tried on the training cells, for standardised numbers


@dataclass(frozen=True)
class LibrarySizes:
    r"""Log-normal total counts given conditions.

    A combination with at least ``ENOUGH`` training cells has its own mean and standard deviation of
    :math:`\log L`. Any other one, unseen combinations included, has the sum of the effects of its conditions (least
    squares over all training cells) and the spread around it. What is not told has no effect; if nothing is told, mean
    and spread are those of all training cells.
    """

    seen: dict[tuple[int, ...], tuple[float, float]]
    effects: tuple[np.ndarray, ...]  #: one array per condition; the last entry, "not told", is 0
    centre: float
    spread: float

    @classmethod
    def of(cls, totals: np.ndarray, labels: np.ndarray, levels: Sequence[int]) -> "LibrarySizes":
        """Fit to total counts (cells,) and labels (cells, conditions)."""
        log = np.log(totals)
        design = [np.eye(n)[column] for n, column in zip(levels, labels.T, strict=True)]
        x = np.concatenate(design, 1) if design else np.zeros((len(log), 0))
        centre = float(log.mean())
        ridge = 1e-3 * len(log) * np.eye(x.shape[1])  # the effects of one condition are known up to a constant
        effect = np.linalg.solve(x.T @ x + ridge, x.T @ (log - centre)) if x.shape[1] else np.zeros(0)
        parts = np.split(effect, np.cumsum(levels)[:-1]) if design else []
        groups: dict[tuple[int, ...], list[float]] = {}
        for key, value in zip(map(tuple, labels.tolist()), log, strict=True):
            groups.setdefault(key, []).append(value)
        seen = {k: (float(np.mean(v)), float(np.std(v))) for k, v in groups.items() if len(v) >= ENOUGH}
        seen[tuple(levels)] = (centre, float(log.std()))  # nothing is told: any training cell
        return cls(
            seen, tuple(np.append(part, 0.0) for part in parts), centre, float(np.std(log - centre - x @ effect))
        )

    def draw(
        self, labels: np.ndarray, *, seed: int = 0, offset: np.ndarray | float = 0.0
    ) -> np.ndarray:  # (cells,), whole numbers from 1
        """Total counts of cells with these labels; ``offset`` (cells,) is added to their logarithms."""
        mean = self.centre + sum(part[column] for part, column in zip(self.effects, labels.T, strict=True))
        stats = np.stack([mean * np.ones(len(labels)), np.full(len(labels), self.spread)], 1)
        for i, key in enumerate(map(tuple, labels.tolist())):
            stats[i] = self.seen.get(key, stats[i])
        noise = np.random.default_rng(seed).standard_normal(len(labels))
        return np.maximum(1, np.round(np.exp(stats[:, 0] + stats[:, 1] * noise + offset)))


@dataclass(frozen=True)
class LibraryGivenLatent:
    r"""Log-normal total counts given standardised latent numbers :math:`z` and conditions.

    :math:`\log L = z\beta + r`: a ridge regression over training cells, its penalty by leave-one-out; what it leaves,
    :math:`r`, has the law of :class:`LibrarySizes`. :math:`z\beta` stays within what it was on training cells.
    """

    slope: np.ndarray  #: beta, (numbers,)
    ends: tuple[float, float]  #: smallest and largest z beta of the training cells
    rest: LibrarySizes

    @classmethod
    def of(cls, z: np.ndarray, totals: np.ndarray, labels: np.ndarray, levels: Sequence[int]) -> "LibraryGivenLatent":
        """Fit to latents (cells, numbers), each of mean 0 and variance 1, and what :meth:`LibrarySizes.of` takes."""
        from sklearn.linear_model import RidgeCV

        slope = RidgeCV(RIDGES).fit(z, np.log(totals)).coef_
        known = z @ slope
        rest = LibrarySizes.of(totals * np.exp(-known), labels, levels)
        return cls(slope, (float(known.min()), float(known.max())), rest)

    def draw(self, z: np.ndarray, labels: np.ndarray, *, seed: int = 0) -> np.ndarray:  # (cells,), whole numbers from 1
        """Total counts of cells with latents (cells, numbers) and these labels (cells, conditions)."""
        return self.rest.draw(labels, seed=seed, offset=np.clip(z @ self.slope, *self.ends))
