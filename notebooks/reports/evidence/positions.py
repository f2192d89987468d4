r"""One kind of cell in space: the force between two cells, read off where cells stand.

Cells that push each other leave gaps, cells that pull each other crowd. With positions
:math:`x_i`, a force :math:`b_i = \sum_j f(r_{ij})\,(x_i - x_j)/r_{ij}` and random motility
:math:`D`, a picture that does not change in time obeys, for every field :math:`u`,

.. math:: \Bigl\langle \sum_i u_i \cdot b_i + D\, \nabla_i \cdot u_i \Bigr\rangle = 0.

The force is a sum :math:`b_i = D \sum_k c_k G_{ki}` of fields
:math:`G_{ki} = \sum_j e^{-r_{ij}^2 / 2\ell_k^2} (x_i - x_j) / \ell_k`, and the same fields serve as
:math:`u`: one small linear system (score matching, Hyvärinen 2005),

.. math:: A c = -v, \qquad A_{kl} = \sum_i G_{ki} \cdot G_{li}, \quad
          v_k = \sum_i \nabla_i \cdot G_{ki}.

No trajectory is needed, and only **force over motility** can be known. Positive pushes apart.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scimf.data import registry
from scipy import stats
from scipy.spatial import cKDTree

WIDTHS = np.array([5.0, 10.0, 20.0, 40.0])  #: of the Gaussians, micrometres
REACH = 4.0  #: cells further apart than this many of the largest width are left out
MARGIN = 80.0  #: receivers lie this far inside the picture, so that their neighbours are on it
PICTURE = (1440.0, 1900.0)  #: micrometres

#: Cells of one picture, (cells, 2), by name of the well and hour.
Pictures = Mapping[tuple[str, int], np.ndarray]


def read_positions(name: str = "pc3_positions") -> dict[tuple[str, int], np.ndarray]:
    """Positions of every PC-3 cell, micrometres, by well (such as "8000_E2") and hour.

    The number in a well's name is how many cells were put into it. See also
    :func:`scimf.data.registry.fetch`.
    """
    pictures = {}
    for file in registry.fetch(name):
        _, seeded, well, hour = file.stem.split("_")
        cells = pd.read_csv(file, header=None).to_numpy(float)
        pictures[f"{seeded}_{well}", int(hour.removesuffix("h"))] = cells
    return pictures


@dataclass(frozen=True)
class Equations:
    """The linear system of one picture or well; systems of several are added."""

    products: np.ndarray  #: A, (widths, widths)
    divergence: np.ndarray  #: v, (widths,)
    n: int  #: receivers

    @classmethod
    def of(cls, cells: np.ndarray, *, picture: tuple[float, float] = PICTURE) -> "Equations":
        """From positions (cells, 2); all cells act, those well inside the picture receive."""
        cells = np.asarray(cells, dtype=float)
        pairs = cKDTree(cells).query_pairs(REACH * WIDTHS.max(), output_type="ndarray")
        receiver, sender = np.concatenate([pairs, pairs[:, ::-1]]).T
        inside = ((cells > MARGIN) & (cells < np.subtract(picture, MARGIN))).all(axis=1)
        away = cells[receiver] - cells[sender]  # (pairs, 2)
        squared = (away**2).sum(axis=1)
        fields = np.zeros((len(WIDTHS), 2, len(cells)))
        divergences = np.zeros((len(WIDTHS), len(cells)))
        for k, width in enumerate(WIDTHS):
            weight = np.exp(-squared / (2 * width**2)) / width
            for axis in (0, 1):
                fields[k, axis] = np.bincount(receiver, weight * away[:, axis], len(cells))
            of_pairs = weight * (2 - squared / width**2)
            divergences[k] = np.bincount(receiver, of_pairs, len(cells))
        fields = fields[:, :, inside]
        products = np.einsum("kdi,ldi->kl", fields, fields)
        return cls(products, divergences[:, inside].sum(axis=1), int(inside.sum()))

    def __add__(self, other: "Equations") -> "Equations":
        products = self.products + other.products
        return Equations(products, self.divergence + other.divergence, self.n + other.n)

    def solve(self) -> np.ndarray:
        """Coefficients (widths,) of the force."""
        return -np.linalg.solve(self.products, self.divergence)

    def gain(self, coefficients: np.ndarray) -> float:
        """How much better a force describes these cells than none; per receiver, above 0."""
        squared = coefficients @ self.products @ coefficients
        return -float(squared / 2 + coefficients @ self.divergence) / self.n


def force(coefficients: np.ndarray, distances: Sequence[float]) -> np.ndarray:
    """Force over motility, per micrometre, between two cells at these distances; + pushes apart."""
    scaled = np.asarray(distances, dtype=float)[:, None] / WIDTHS
    return (scaled * np.exp(-(scaled**2) / 2)) @ coefficients


def by_well(
    pictures: Pictures, hours: Sequence[int] | None = None, **options
) -> dict[str, Equations]:
    """Equations of every well, its pictures (of some hours) added; options of Equations.of."""
    found: dict[str, Equations] = {}
    for (well, hour), cells in pictures.items():
        if hours is None or hour in hours:
            here = Equations.of(cells, **options)
            found[well] = found[well] + here if well in found else here
    return found


def together(wells: Mapping[str, Equations], without: Sequence[str] = ()) -> Equations:
    """Add the equations of wells, some left out."""
    first, *others = [equations for well, equations in wells.items() if well not in without]
    return sum(others, start=first)


def held_out_gains(wells: Mapping[str, Equations]) -> pd.Series:
    """Gain over no interaction in every well, with the force of the **other** wells."""
    gains = {}
    for well, equations in wells.items():
        gains[well] = equations.gain(together(wells, without=[well]).solve())
    return pd.Series(gains, name="gain")


def transfer_gains(
    wells: Mapping[str, Equations], learned_on: Sequence[str], judged_on: Sequence[str]
) -> pd.DataFrame:
    """Gain in wells of one density, with the force of wells of another density.

    Returns
    -------
    DataFrame
        By well: ``gain``, and ``own_gain`` with the force of the well itself, which no other can
        exceed.
    """
    coefficients = together({well: wells[well] for well in learned_on}).solve()
    rows = {}
    for well in judged_on:
        own = wells[well].gain(wells[well].solve())
        rows[well] = {"gain": wells[well].gain(coefficients), "own_gain": own}
    return pd.DataFrame(rows).T


def force_table(wells: Mapping[str, Equations], distances: Sequence[float]) -> pd.DataFrame:
    """Force over motility of all wells, with jackknife standard errors over wells.

    Returns
    -------
    DataFrame
        By distance: ``force, se, z``.
    """
    estimate = force(together(wells).solve(), distances)
    without = [force(together(wells, without=[well]).solve(), distances) for well in wells]
    n = len(wells)
    se = np.sqrt((n - 1) / n * ((without - np.mean(without, axis=0)) ** 2).sum(axis=0))
    index = pd.Index(distances, name="distance")
    return pd.DataFrame({"force": estimate, "se": se, "z": estimate / se}, index=index)


def jittered(
    pictures: Pictures,
    *,
    by: float = 60.0,
    picture: tuple[float, float] = PICTURE,
    seed: int = 0,
) -> dict[tuple[str, int], np.ndarray]:
    """Move every cell at random, ``by`` micrometres (s.d.) in x and y; edges reflect.

    Crowded and empty regions stay, who stands next to whom is lost: what a force between
    neighbours explains has to vanish.
    """
    rng = np.random.default_rng(seed)
    size = np.asarray(picture)
    moved = {}
    for key, cells in pictures.items():
        there = np.abs(cells + by * rng.standard_normal(cells.shape))
        moved[key] = size - np.abs(size - there)
    return moved


def near_and_far(
    pictures: Pictures, references: Sequence[Pictures], edges: Sequence[float]
) -> pd.DataFrame:
    """Pairs of cells by distance, relative to the mean of ``references`` (jittered cells).

    Returns
    -------
    DataFrame
        Hour x range of distances, such as "6-12".
    """
    labels = [f"{low:g}-{high:g}" for low, high in zip(edges[:-1], edges[1:], strict=True)]
    hours = sorted({hour for _, hour in pictures})
    rows = {}
    for hour in hours:
        seen = _pairs(pictures, hour, edges)
        expected = np.mean([_pairs(other, hour, edges) for other in references], axis=0)
        rows[hour] = dict(zip(labels, seen / expected, strict=True))
    return pd.DataFrame(rows).T.rename_axis("hour")


def _pairs(pictures: Pictures, hour: int, edges: Sequence[float]) -> np.ndarray:
    within = np.zeros(len(edges))
    for (_, when), cells in pictures.items():
        if when == hour:
            tree = cKDTree(cells)
            within += tree.count_neighbors(tree, edges)
    return np.diff(within)


# ---------------------------------------------------------------------------------------- growth


def growth(pictures: Pictures, *, area: float) -> pd.DataFrame:
    """By well: ``density`` in the first picture (cells per ``area``), ``rate`` of growth per hour.

    ``area`` is in the pictures' own units. The rate is of the logarithm of the number of cells,
    from the first picture to the last.
    """
    rows = {}
    for well in sorted({well for well, _ in pictures}):
        counts = {hour: len(cells) for (w, hour), cells in pictures.items() if w == well}
        first, last = min(counts), max(counts)
        rate = np.log(counts[last] / counts[first]) / (last - first)
        rows[well] = {"density": counts[first] * area / np.prod(PICTURE), "rate": rate}
    return pd.DataFrame(rows).T


@dataclass(frozen=True)
class Slope:
    """Growth rate on density over wells: a straight line, and what becomes of it."""

    slope: float
    lo: float  #: 95 % t interval
    hi: float
    p: float
    smallest: float  #: slope that 80 % of such experiments would have told apart from none
    without: pd.Series  #: the p-value without each well

    @property
    def verdict(self) -> str:
        """Yes only if no single well carries it."""
        if max(self.p, self.without.max()) <= 0.05:
            return "yes" if self.slope < 0 else "no: denser wells grow faster"
        return "cannot be told"


def density_limits_growth(table: pd.DataFrame) -> Slope:
    """Ask whether denser wells grow more slowly; ``table`` is of :func:`growth`."""
    line = stats.linregress(table["density"], table["rate"])
    t = stats.t(len(table) - 2)
    half = t.ppf(0.975) * line.stderr
    without = {}
    for well in table.index:
        rest = table.drop(index=well)
        without[well] = stats.linregress(rest["density"], rest["rate"]).pvalue
    smallest = (t.ppf(0.975) + t.ppf(0.8)) * line.stderr
    limits = (line.slope - half, line.slope + half)
    return Slope(line.slope, *limits, line.pvalue, smallest, pd.Series(without))
