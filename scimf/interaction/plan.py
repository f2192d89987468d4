r"""Which pairs of types an experiment can tell, from counts and densities alone, before any fit.

Where receivers of type :math:`a` are seen in population :math:`p` at times :math:`t`, the errors of
the successive changes of their mean have covariance :math:`\sigma^2 C_{pa}`
(:func:`scimf.interaction.weak_form.covariance`), and a sender whose density times share is
:math:`z_{pb}` moves them by :math:`S_{ab}\,z_{pb}\,|d|\,\Delta t`. What all populations have in
common counts as own drift, so that a strength :math:`S_{ab}` has the information

.. math::

    J_{ab} = \sum_p w_{pa} \bigl[(z_{pb} - \bar z_{ab})^2 - v_{pb}\bigr], \qquad
    w_{pa} = \Delta t^\top C_{pa}^{-1} \Delta t, \qquad
    \mathrm{se}_{ab} = \frac{\sigma}{|d|\,\sqrt{J_{ab}}},

where :math:`v` is what sampling adds to the square. The power of a test at level
:math:`\alpha` follows from a non-central :math:`\chi^2`.
"""

from dataclasses import dataclass, replace
from typing import Self

import anndata as ad
import numpy as np
import pandas as pd

from scimf.dynamics.snapshots import KEY
from scimf.interaction.type_means import TypeSnapshots
from scimf.interaction.weak_form import LEAST, covariance
from scimf.interaction.who_moves_whom import LEAST_POPULATIONS

LEVEL = 0.05
STRENGTH = 0.5  #: that should be found, per interval between two times
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
        )

    def more(self, *, populations: int = 1, cells: float = 1, densities: float = 1.0) -> Self:
        """Return the design with so many times the populations or cells, or a wider range.

        ``densities`` is the factor of the logarithm of each density.
        """
        log = np.log(self.density)
        wider = np.exp(log.mean() + densities * (log - log.mean()))
        return replace(
            self,
            count=np.tile(cells * self.count, (1, populations, 1)),
            density=np.tile(wider, populations),
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
        found = np.zeros((n_types, n_types))
        for a in range(n_types):
            weight = np.zeros(len(self.density))
            seen = self.count[:, :, a] >= LEAST
            for p in np.flatnonzero(seen.sum(0) > 1):
                gap = np.diff(self.times[seen[:, p]])
                errors = covariance(self.count[seen[:, p], p, a], 0.0)
                weight[p] = gap @ np.linalg.solve(errors, gap)
            for stratum in np.unique(strata):
                mine = weight * (strata == stratum)
                centre = mine @ z / max(mine.sum(), 1e-12)
                found[a] += mine @ ((z - centre) ** 2 - sampling)
        return np.maximum(found, 0)

    def standard_errors(self) -> np.ndarray:  # (receiver, sender)
        """Return the predicted standard error of each strength; infinite: cannot be told."""
        with np.errstate(divide="ignore"):
            return self.spread / self.distance / np.sqrt(self.information())

    def power(self, strength: float, *, active: float = 0.4) -> float:
        """Power of the overall test if a share ``active`` of the pairs has this strength."""
        others = ~np.eye(len(self.types), dtype=bool)
        size = (strength * self.distance / self.spread) ** 2
        noncentrality = size * active * self.information()[others].sum()
        return _power(noncentrality, int(others.sum()))


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
    enough = {"populations": _enough(design, "populations", strength, power)}
    enough["cells"] = _enough(design, "cells", strength, power)
    n_populations = len(design.density)
    n_cells = design.count.sum((0, 2)).mean() / len(design.times)
    rows = []
    for a, receiver in enumerate(design.types):
        for b, sender in enumerate(design.types):
            if a == b:
                continue
            ratio = se[a, b] / strength
            verdict = "ranked" if ratio <= RANKED else "cannot be told"
            if ratio <= TOLD and n_populations >= LEAST_POPULATIONS:
                verdict = "told"
            rows.append(
                {
                    "receiver": receiver,
                    "sender": sender,
                    "se": se[a, b],
                    "power": float(_power(ratio**-2, 1)),
                    "verdict": verdict,
                    "populations": np.maximum(
                        np.ceil(enough["populations"][a, b] * n_populations), LEAST_POPULATIONS
                    ),
                    "cells": np.ceil(enough["cells"][a, b] * n_cells),
                }
            )
    return pd.DataFrame(rows)


def _enough(design: Design, what: str, strength: float, power: float) -> np.ndarray:
    """How many times as many each pair needs, (receiver, sender); NaN where none is found."""
    information = design.information()
    size = (strength * design.distance / design.spread) ** 2
    found = np.full(information.shape, np.nan)
    for times in reversed(TIMES_MORE):
        if what == "populations":  # more of the same compositions
            more = times * information
        else:
            more = design.more(cells=times).information()
        found[_power(size * more, 1) >= power] = times
    return found
