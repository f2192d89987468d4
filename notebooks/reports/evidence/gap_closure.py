r"""Cells that divide and spread: how an empty band closes.

The density :math:`u(y, t)` across a scratch, cells for each band of the picture, follows

.. math:: \partial_t u = D\,\partial_y^2 u + r u\,(1 - u / K)

(Fisher 1937), nothing leaves the picture. One :math:`D`, :math:`r` and :math:`K` are learned on
all wells but one, and foretell that one from its first picture. What diffusion is held against:

- growth alone (:math:`D = 0`);
- growth of a **blurred** first picture, with a blur that does not widen with time. A blur takes off
  the noise of counts, which any diffusion does as well, and would be taken for closure.

Errors are of square roots of counts, whose noise is 1/4 whatever the density.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.fft import dct, idct
from scipy.optimize import least_squares

from evidence.over_units import Number, mean_of
from evidence.positions import PICTURE, Pictures

BAND = 50.0  #: micrometres
NOISE = 0.25  #: variance of the square root of a count
STEPS = 12  #: from one picture to the next
STARTS = {"D": 100.0, "blur": 50.0, "rate": 0.03, "capacity": 100.0}
#: What is learned in each form.
FORMS = {
    "growth": ("rate",),
    "growth, blurred": ("rate", "blur"),
    "growth and diffusion": ("rate", "D"),
    "growth, crowded": ("rate", "capacity"),
    "growth, crowded, blurred": ("rate", "capacity", "blur"),
    "growth, crowded, and diffusion": ("rate", "capacity", "D"),
}


@dataclass(frozen=True)
class Spread:
    """How cells spread and divide."""

    rate: float  #: per hour
    D: float = 0.0  #: micrometres squared per hour
    capacity: float = np.inf  #: cells in a band
    blur: float = 0.0  #: micrometres, once


def bands(pictures: Pictures) -> dict[int, pd.DataFrame]:
    """Cells in every band across the scratch, (wells, bands), by hour."""
    edges = np.linspace(0, PICTURE[1], round(PICTURE[1] / BAND) + 1)
    rows: dict[int, dict[str, np.ndarray]] = {}
    for (well, hour), cells in pictures.items():
        rows.setdefault(hour, {})[well] = np.histogram(cells[:, 1], edges)[0]
    return {hour: pd.DataFrame(rows[hour]).T.astype(float) for hour in sorted(rows)}


def foretell(first: np.ndarray, hours: Sequence[float], spread: Spread) -> list[np.ndarray]:
    """Densities (wells, bands) at all ``hours`` but the first, from those at the first."""
    squared = (np.pi * np.arange(first.shape[1]) / (BAND * first.shape[1])) ** 2
    density = _smoothed(first, np.exp(-(spread.blur**2) / 2 * squared))
    found = []
    for start, end in zip(hours[:-1], hours[1:], strict=True):
        step = (end - start) / STEPS
        decay = np.exp(-spread.D * squared * step)
        for _ in range(STEPS):
            density = _grown(density, spread, step / 2)
            density = _grown(_smoothed(density, decay), spread, step / 2)
        found.append(density)
    return found


def _smoothed(density: np.ndarray, decay: np.ndarray) -> np.ndarray:
    return np.maximum(idct(dct(density, norm="ortho") * decay, norm="ortho"), 0)


def _grown(density: np.ndarray, spread: Spread, time: float) -> np.ndarray:
    factor = np.exp(spread.rate * time)
    return density * factor / (1 + density * (factor - 1) / spread.capacity)


def learn(counts: dict[int, pd.DataFrame], form: str) -> Spread:
    """Fit one form to all wells of ``counts``, which is of :func:`bands`."""
    names = FORMS[form]
    hours = [*counts]
    first, *later = (table.to_numpy() for table in counts.values())

    def missed(logs: np.ndarray) -> np.ndarray:
        spread = Spread(**dict(zip(names, np.exp(logs), strict=True)))
        parts = zip(foretell(first, hours, spread), later, strict=True)
        return np.concatenate([(np.sqrt(p) - np.sqrt(seen)).ravel() for p, seen in parts])

    start = np.log([STARTS[name] for name in names])
    fitted = least_squares(missed, start, bounds=(start - 7, start + 7))
    return Spread(**dict(zip(names, map(float, np.exp(fitted.x)), strict=True)))


@dataclass(frozen=True)
class Closure:
    """Held-out errors of all forms, and what was learned without each well."""

    errors: pd.DataFrame  #: wells x forms; mean over bands and later pictures
    learned: dict[str, pd.DataFrame]  #: by form: wells (left out) x parameters
    whole: dict[str, Spread]  #: by form, of all wells
    predicted: dict[str, pd.DataFrame]  #: by form: last picture, wells x bands

    def gain(self, form: str, over: str) -> Number:
        """How much smaller the error of a form is; limits: wells drawn anew."""
        return mean_of(self.errors[over] - self.errors[form])

    def wells_better(self, form: str, over: str) -> int:
        """In how many wells."""
        return int((self.errors[form] < self.errors[over]).sum())

    def parameter(self, form: str, name: str) -> Number:
        """Give a parameter of all wells, with 95 % limits of the jackknife over wells."""
        without = self.learned[form][name]
        n = len(without)
        half = 1.96 * np.sqrt((n - 1) / n * ((without - without.mean()) ** 2).sum())
        value = getattr(self.whole[form], name)
        return Number(value, value - half, value + half)


def closure(counts: dict[int, pd.DataFrame], forms: Sequence[str] = tuple(FORMS)) -> Closure:
    """Foretell every well with what the other wells teach."""
    hours = [*counts]
    wells = counts[hours[0]].index
    errors, learned, predicted = {}, {}, {}
    for form in forms:
        errors[form], rows, last = {}, {}, {}
        for well in wells:
            rest = {hour: table.drop(index=well) for hour, table in counts.items()}
            spread = learn(rest, form)
            found = foretell(counts[hours[0]].loc[[well]].to_numpy(), hours, spread)
            seen = np.concatenate([counts[hour].loc[[well]].to_numpy() for hour in hours[1:]])
            errors[form][well] = ((np.sqrt(np.concatenate(found)) - np.sqrt(seen)) ** 2).mean()
            rows[well] = {name: getattr(spread, name) for name in FORMS[form]}
            last[well] = found[-1][0]
        learned[form] = pd.DataFrame(rows).T
        predicted[form] = pd.DataFrame(last).T
    whole = {form: learn(counts, form) for form in forms}
    return Closure(pd.DataFrame(errors), learned, whole, predicted)


def gap_of(profile: np.ndarray, *, share: float = 0.3) -> slice:
    """Bands of the gap: the longest stretch with less than this share of the median band."""
    empty = profile <= share * np.median(profile[profile > 0])
    best = start = 0
    found = slice(0, 0)
    for k, is_empty in enumerate([*empty, False]):
        if not is_empty:
            if k - start > best:
                best, found = k - start, slice(start, k)
            start = k + 1
    return found


def cells_in_gap(counts: dict[int, pd.DataFrame], found: Closure) -> pd.DataFrame:
    """By well: width of the first picture's gap, cells in it in the last, seen and foretold."""
    hours = [*counts]
    rows = {}
    for well in found.errors.index:
        gap = gap_of(counts[hours[0]].loc[well].to_numpy())
        rows[well] = {"width": BAND * (gap.stop - gap.start)}
        rows[well]["seen"] = counts[hours[-1]].loc[well].iloc[gap].sum()
        for form, table in found.predicted.items():
            rows[well][form] = table.loc[well].iloc[gap].sum()
    return pd.DataFrame(rows).T
