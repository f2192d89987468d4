r"""Which pairs of types an experiment can tell, from counts and densities alone, before any fit.

A sender whose density times share is :math:`z_{pb}` moves receivers of type :math:`a` in population
:math:`p` by :math:`S_{ab}\,z_{pb}\,|d|\,g(t)` until time :math:`t`. As they relax at a rate
:math:`\theta` they forget what moved them: :math:`g(t) = (1 - e^{-\theta t}) / \theta`. Their mean
over :math:`n_{pa}(t)` cells has variance :math:`\sigma^2 / n_{pa}(t)` in each coordinate, and what
all populations have in common counts as own drift, so that :math:`S_{ab}` has the information

.. math::

    J_{ab} = \sum_p w_{pa} \bigl[(z_{pb} - \bar z_{ab})^2 - v_{pb}\bigr], \qquad
    w_{pa} = \sum_t n_{pa}(t) \bigl[g(t) - \bar g_{pa}\bigr]^2, \qquad
    \mathrm{se}_{ab} = \frac{\sigma}{|d|\,\sqrt{J_{ab}}},

where :math:`v` is what sampling adds to the square. The power of a test at level
:math:`\alpha` follows from a non-central :math:`\chi^2`. The test of one pair of :math:`K` types is
given what all other senders do: of the variation between :math:`P` populations that leaves
:math:`(P - K) / (P - 1)`.
"""

from dataclasses import dataclass, replace
from typing import Self

import anndata as ad
import numpy as np
import pandas as pd

from scimf.dynamics.snapshots import KEY
from scimf.interaction.regression import LEAST
from scimf.interaction.type_means import TypeSnapshots, pair_table
from scimf.interaction.who_moves_whom import LEAST_POPULATIONS

LEVEL = 0.05
STRENGTH = 0.5  #: that should be found, per interval between two times
GAIN = 1.5  #: of the noncentrality of the test of a pair; calibrated on designs drawn at random
TOLD, RANKED = 0.2, 0.4  #: standard error over strength up to which a pair is told, or ranked
MOST_TIMES_MORE = 64  #: larger experiments are not looked for
TIMES_MORE = (1, 1.25, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, MOST_TIMES_MORE)


@dataclass(frozen=True)
class Design:
    """What an experiment measures: how many cells of which type, where and when."""

    count: np.ndarray  #: cells, (times, populations, types)
    density: np.ndarray  #: (populations,), relative
    times: np.ndarray  #: (times,)
    types: tuple[str, ...]
    spread: float = 0.3  #: s.d. of a cell in its type, in one coordinate
    distance: float = 1.0  #: of two types, in the same unit
    #: (populations,), see :func:`scimf.interaction.design_check.strata`; None: all are compared
    strata: np.ndarray | None = None
    rate: float = 0.0  #: at which cells relax by themselves, per unit of time

    @classmethod
    def of(cls, data: "ad.AnnData | TypeSnapshots", *, strata: np.ndarray | None = None) -> Self:
        """Take it from data with types.

        Spread and distance are those in ``obsm["X_scimf"]``; before there are coordinates, types
        are taken for three times the spread apart.
        """
        if isinstance(data, ad.AnnData) and KEY not in data.obsm:
            counted = ad.AnnData(obs=data.obs, obsm={KEY: np.zeros((data.n_obs, 1))})
            design = cls.of(counted, strata=strata)
            return replace(design, spread=cls.spread, distance=cls.distance)
        snapshots = data if isinstance(data, TypeSnapshots) else TypeSnapshots.of(data)
        mean = snapshots.mean()
        each = mean.reshape(-1, mean.shape[-1]).repeat(np.diff(snapshots.start), axis=0)
        spread = float(np.sqrt(((snapshots.cells - each) ** 2).mean()))
        seen = snapshots.count >= LEAST
        apart = mean[:, :, :, None] - mean[:, :, None]  # (times, populations, types, types, dim)
        both = seen[:, :, :, None] & seen[:, :, None] & ~np.eye(len(snapshots.types), dtype=bool)
        distance = float(np.median(np.linalg.norm(apart, axis=-1)[both])) if both.any() else 1.0
        return cls(
            count=snapshots.count,
            density=snapshots.density,
            times=snapshots.times,
            types=snapshots.types,
            spread=spread,
            distance=distance,
            strata=strata,
            rate=_rate(snapshots.count, mean, snapshots.times),
        )

    def more(self, *, populations: int = 1, cells: float = 1) -> Self:
        """Return the design with so many times the populations (of the same kinds), or cells."""
        return replace(
            self,
            count=np.tile(cells * self.count, (1, populations, 1)),
            density=np.tile(self.density, populations),
            strata=None if self.strata is None else np.tile(self.strata, populations),
        )

    def varied(self, fold: float = 2.0) -> Self:
        """Return cultures of different composition, with as many cells as the mean one.

        One as it is on average, and one each with every type ``fold`` times as frequent, and as
        rare, at the expense of all others.
        """
        count = self.count.mean(1)  # (times, types)
        mixes = [count]
        for a in range(len(self.types)):
            for factor in (fold, 1 / fold):
                mix = count.copy()
                mix[:, a] *= factor
                mixes.append(mix * count.sum(1, keepdims=True) / mix.sum(1, keepdims=True))
        density = np.full(len(mixes), self.density.mean())
        return replace(self, count=np.stack(mixes, axis=1), density=density)

    def information(self) -> np.ndarray:  # (receiver, sender)
        """Information of each pair, in units of the squared distance over the squared spread."""
        n_types = len(self.types)
        total = np.maximum(self.count.sum((0, 2)), 1)[:, None]
        share = self.count.sum(0) / total
        z = self.density[:, None] * share  # (populations, senders)
        sampling = self.density[:, None] ** 2 * share * (1 - share) / total
        strata = np.zeros(len(self.density)) if self.strata is None else self.strata
        since = self.times - self.times[0]
        rate = max(self.rate, 1e-9)
        found = np.zeros((n_types, n_types))
        for a in range(n_types):
            weight = np.zeros(len(self.density))
            seen = self.count[:, :, a] >= LEAST
            for p in np.flatnonzero(seen.sum(0) > 1):
                n = self.count[seen[:, p], p, a]
                moved = -np.expm1(-rate * since[seen[:, p]]) / rate
                weight[p] = n @ (moved - n @ moved / n.sum()) ** 2
            for stratum in np.unique(strata):
                mine = weight * (strata == stratum)
                centre = mine @ z / max(mine.sum(), 1e-12)
                found[a] += mine @ ((z - centre) ** 2 - sampling)
        return np.maximum(found, 0)

    def standard_errors(self) -> np.ndarray:  # (receiver, sender)
        """Return the predicted standard error of each strength; infinite: cannot be told."""
        with np.errstate(divide="ignore"):
            return self.spread / self.distance / np.sqrt(self.information())

    def power_of_pairs(self, strength: float, *, populations: float = 1) -> np.ndarray:
        """Power of the test of each pair of types, (receiver, sender), if it has this strength.

        ``populations``: with so many times as many of the same compositions. Other senders take
        their share of a few populations.
        """
        n_populations, n_types = populations * len(self.density), len(self.types)
        left = max(n_populations - n_types, 0) / max(n_populations - 1, 1)
        size = populations * (strength / self.standard_errors()) ** 2
        return _power(GAIN * left * size, 1)

    def power(self, strength: float, *, active: float = 0.4) -> float:
        """Power of the overall test if a share ``active`` of the pairs has this strength."""
        others = ~np.eye(len(self.types), dtype=bool)
        size = (strength * self.distance / self.spread) ** 2
        noncentrality = size * active * self.information()[others].sum()
        return _power(noncentrality, int(others.sum()))


def _rate(count: np.ndarray, mean: np.ndarray, times: np.ndarray) -> float:
    """Rate at which the mean over populations of each type slows down as it goes; 0 or more."""
    total = count.sum(1)  # (times, types)
    place = (count[..., None] * mean).sum(1) / np.maximum(total, 1)[..., None]
    place = place[:, (total > 0).all(0)]  # (times, types seen at all times, dim)
    speed = np.diff(place, axis=0) / np.diff(times)[:, None, None]
    between = (place[1:] + place[:-1]) / 2
    between = between - between.mean(0)
    return max(0.0, -float((speed * between).sum() / max((between**2).sum(), 1e-12)))


def _power(noncentrality: float | np.ndarray, degrees: int, level: float = LEVEL):
    from scipy.stats import chi2, ncx2

    return ncx2.sf(chi2.isf(level, degrees), degrees, np.minimum(noncentrality, 1e6))


def plan_experiment(
    design: Design | ad.AnnData, *, strength: float | None = None, power: float = 0.8
) -> pd.DataFrame:
    """Say which pairs can be told, and what to add where they cannot.

    Parameters
    ----------
    design
        What was measured, or is to be; data stand for their own design.
    strength
        That should be found: a multiple of density times share times displacement, per unit time.
        By default :data:`STRENGTH` from one time to the next.
    power
        With which each pair should be found, at level 0.05.

    Returns
    -------
    DataFrame
        One row for each ordered pair: ``receiver, sender, se`` (of the strength), ``power``,
        ``verdict`` ("told"; "ranked": strong from weak only, as always with fewer than six
        populations; "cannot be told"), and the smallest experiment that reaches the power:
        ``populations`` and ``cells`` (each alone, in all and per population and time; NaN: not even
        64 times as many do, as where all have the same composition).
    """
    if not isinstance(design, Design):
        design = Design.of(design)
    if strength is None:
        strength = STRENGTH / float(np.median(np.diff(design.times)))
    se = design.standard_errors()
    now = design.power_of_pairs(strength)
    enough = {"populations": _enough(design, "populations", strength, power)}
    enough["cells"] = _enough(design, "cells", strength, power)
    n_populations = len(design.density)
    n_cells = design.count.sum((0, 2)).mean() / len(design.times)
    verdict = np.where(se <= RANKED * strength, "ranked", "cannot be told")
    if n_populations >= LEAST_POPULATIONS:
        verdict[se <= TOLD * strength] = "told"
    more = np.maximum(np.ceil(enough["populations"] * n_populations), LEAST_POPULATIONS)
    columns = {"se": se, "power": now, "verdict": verdict, "populations": more}
    return pair_table(design.types, **columns, cells=np.ceil(enough["cells"] * n_cells))


def _enough(design: Design, what: str, strength: float, power: float) -> np.ndarray:
    """How many times as many each pair needs, (receiver, sender); NaN where none is found."""
    found = np.full((len(design.types), len(design.types)), np.nan)
    for times in reversed(TIMES_MORE):
        if what == "populations":  # more of the same compositions
            reached = design.power_of_pairs(strength, populations=times)
        else:
            reached = design.more(cells=times).power_of_pairs(strength)
        found[reached >= power] = times
    return found
