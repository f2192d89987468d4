r"""What becomes of receivers when a sender is present, absent, or behind a membrane.

When every culture is seen at one time only, no drift can be estimated; what can be compared are
**conditions**. The unit is the plate, not the cell. A plate's state is the square root of the
shares of its states, :math:`y_p = \sqrt{\pi_p}` (whose sampling noise is the same for all shares),
and within a stratum :math:`s` (time, date, sorting)

.. math:: y_p = \mu_s + v\, x_p + \text{noise}, \qquad x_p = 1 \text{ if the sender is present},

with a free direction :math:`v` per sender and kind of receiver. The statistic is the share of the
plates' variance within strata that :math:`v` explains. Without an effect it is all the same which
plates of a stratum are called "present", so **every** such relabelling is tried: the p-value is
exact, and no smaller than one over their number, its *floor*. (Of more than two million, 9,999
drawn at random are.)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb, prod

import numpy as np
import pandas as pd
from scimf.data import registry
from scipy import stats

ALONE, TOGETHER, MEMBRANE = "alone", "co-culture", "membrane"
CONDITIONS = {
    "OVA + LPS": TOGETHER,
    "OVA + LPS T only": ALONE,
    "OVA + LPS DC only": ALONE,
    "OVA + LPS transwell": MEMBRANE,
}
RECEIVERS = {"Trbc+": "T cells", "Cd11c+": "dendritic cells"}
#: Number of the first well of the first plate of every sequencing batch.
FIRST_WELL = {"SB304": 1_016_609, "SB309": 1_078_049}
WELLS = 384  #: on a plate; plates follow each other in the order of their names

STRATUM = ("receiver", "time", "date")
LEVEL = 0.05
MOST_ORDERS = 2_000_000  #: relabellings that are tried one by one
DRAWN = 9_999  #: of more than that
SAME = 1e-9  #: statistics that differ by less are equal


# ------------------------------------------------------------------------------- cells and plates


def read_cells(name: str = "picseq_coculture") -> pd.DataFrame:
    """Read single cells of the co-culture experiment, with their state and where they come from.

    Returns
    -------
    DataFrame
        By cell: ``state`` (missing where the authors named none), ``plate, receiver, condition,
        time`` (hours), ``date``.

    Raises
    ------
    ValueError
        If a cell lies on no plate of single cells; see also :func:`scimf.data.registry.fetch`.
    """
    files = {file.stem.split("__")[-1]: file for file in registry.fetch(name)}
    tables = {key: pd.read_csv(file, sep="\t") for key, file in files.items()}
    colour_of = tables["colors"].set_index(tables["colors"].columns[0])["x"]
    state_of = tables["color_key"].set_index("color")["group"]
    cells = tables["mc"].set_index(tables["mc"].columns[0]).rename_axis("cell")
    cells["state"] = cells["mc"].map(colour_of).map(state_of)
    plates = _plates(tables["metadata"])
    number = cells.index.str.removeprefix("WMC").astype(int).to_numpy()
    row = np.searchsorted(plates["first"], number, side="right") - 1
    found = plates.iloc[row].set_index(cells.index)
    lost = (number - found["first"] >= WELLS) | found["condition"].isna() | found["receiver"].isna()
    if lost.any():
        raise ValueError(f"{name}: {int(lost.sum())} cells are on no plate of single cells")
    return cells[["state"]].join(found.drop(columns="first"))


def _plates(metadata: pd.DataFrame) -> pd.DataFrame:
    """One row per plate, in the order of wells; ``first`` is the number of its first well."""
    parts = []
    for batch, first in FIRST_WELL.items():
        part = metadata[metadata["Seq.Batch.ID"] == batch].sort_values("Amp.Batch.ID")
        parts.append(part.assign(first=first + WELLS * np.arange(len(part))))
    plates = pd.concat(parts).sort_values("first")
    return pd.DataFrame(
        {
            "first": plates["first"],
            "plate": plates["Amp.Batch.ID"],
            "receiver": plates["sorting.scheme"].map(RECEIVERS),
            "condition": plates["treatment"].map(CONDITIONS),
            "time": plates["timepoint"].str.removesuffix("h").astype(int),
            "date": plates["date"].astype(str),
        }
    )


def count_states(cells: pd.DataFrame) -> pd.DataFrame:
    """Cells of every state on every plate, (plates, states); cells without a state are left out."""
    keys = [cells[key] for key in (*STRATUM, "condition", "plate")]
    return pd.crosstab(keys, cells["state"])


def plate_states(counts: pd.DataFrame) -> pd.DataFrame:
    """Square roots of the shares of states, (plates, states)."""
    return np.sqrt(counts.div(counts.sum(axis=1), axis=0))


# ------------------------------------------------------------------------------------ exact test


@dataclass(frozen=True)
class Contrast:
    """One exact test, and the direction of the effect."""

    statistics: np.ndarray  #: (relabellings,), the first as it was
    floor: float  #: smallest p that this design can reach, whatever the data
    n_plates: tuple[int, int]  #: absent, present; in strata that have both
    direction: pd.Series  #: v, by state

    @property
    def p(self) -> float:
        """Share of relabellings that do at least as well."""
        return float((self.statistics >= self.statistics[0] - SAME).mean())

    @property
    def verdict(self) -> str:
        """Yes, no evidence, or cannot be told: the floor lies above the level."""
        if self.floor > LEVEL:
            return f"cannot be told (no p below {self.floor:.2g} is possible)"
        return "yes" if self.p <= LEVEL else "no evidence at this size"


def contrast(
    states: pd.DataFrame, absent: str = ALONE, present: str = TOGETHER, *, seed: int = 0
) -> Contrast:
    """Test whether plates of two conditions differ; plates are relabelled within strata.

    Parameters
    ----------
    states
        (plates, states) of :func:`plate_states`, index levels of :data:`STRATUM` and ``condition``.
    absent, present
        The two conditions; strata with one of them only say nothing and are left out.
    seed
        Of the relabellings, where there are too many to try all.

    Raises
    ------
    ValueError
        If no stratum has both.
    """
    strata = strata_of_both(states, absent, present)
    if not strata:
        raise ValueError(f"no time, date and kind of receiver has both {absent!r} and {present!r}")
    sizes = [(len(is_present), int(is_present.sum())) for _, is_present in strata]
    n_orders = prod(comb(n, k) for n, k in sizes)
    rng = np.random.default_rng(seed)
    totals = np.zeros((1, states.shape[1]))  # sum of y over "present" plates, by relabelling
    squares = weight = 0.0
    for part, is_present in strata:
        n, k = len(part), int(is_present.sum())
        y = part.to_numpy() - part.to_numpy().mean(axis=0)
        chosen = tuple(np.flatnonzero(is_present))
        if n_orders <= MOST_ORDERS:
            sums = y[_choices(n, chosen)].sum(axis=1)  # (relabellings of this stratum, states)
            totals = (totals[:, None] + sums).reshape(-1, states.shape[1])
        else:
            drawn = [rng.permutation(n)[:k] for _ in range(DRAWN)]
            totals = totals + y[np.array([chosen, *drawn])].sum(axis=1)
        squares += (y**2).sum()
        weight += k * (n - k) / n
    statistics = (totals**2).sum(axis=1) / (weight * max(squares, SAME))
    direction = pd.Series(totals[0] / weight, index=states.columns)
    # Where halves are exchanged, the same difference comes back with the other sign.
    mirrored = all(2 * k == n for n, k in sizes)
    floor = (2 if mirrored else 1) / min(n_orders, len(statistics))
    n_plates = (sum(n - k for n, k in sizes), sum(k for _, k in sizes))
    return Contrast(statistics, floor, n_plates, direction)


def strata_of_both(
    states: pd.DataFrame, absent: str, present: str
) -> list[tuple[pd.DataFrame, np.ndarray]]:
    """Plates of two conditions, by stratum that has both, and which of them are ``present``."""
    found = []
    for _, part in states.groupby(list(STRATUM)):
        condition = part.index.get_level_values("condition")
        part = part[condition.isin([absent, present])]
        is_present = part.index.get_level_values("condition") == present
        if 0 < is_present.sum() < len(part):
            found.append((part, is_present))
    return found


def _choices(n: int, chosen: tuple[int, ...]) -> np.ndarray:
    """All ways to call as many of n plates "present"; first the real one."""
    others = [found for found in combinations(range(n), len(chosen)) if found != chosen]
    return np.array([chosen, *others])


def of_both(contrasts: Sequence[Contrast]) -> Contrast:
    """Test several kinds of receivers together: their plates are relabelled independently."""
    statistics = np.zeros(1)
    for one in contrasts:
        statistics = np.add.outer(statistics, one.statistics).ravel()
    absent, present = np.sum([one.n_plates for one in contrasts], axis=0)
    direction = pd.concat([one.direction for one in contrasts])
    floor = float(np.prod([one.floor for one in contrasts]))
    return Contrast(statistics, floor, (int(absent), int(present)), direction)


def smallest_p(n_absent: int, n_present: int) -> float:
    """Floor of a design with one stratum of so many plates."""
    return (2 if n_absent == n_present else 1) / comb(n_absent + n_present, n_present)


# ------------------------------------------------------------------- effect along a known direction


@dataclass(frozen=True)
class Effect:
    """How far a condition lies on the way from "alone" (0) to "co-culture" (1), with 95 %."""

    share: float
    lo: float
    hi: float
    smallest: float  #: share that 80 % of such experiments would have told apart from 0
    cosine: float  #: between the co-culture's effect on this date and on the other
    places: pd.DataFrame  #: by plate: ``condition, place``, 0 alone, 1 co-culture

    def verdict(self, most: float = 0.1) -> str:
        """Put into words what the interval allows; ``most`` is what counts as little."""
        words = []
        if self.lo > 0 or self.hi < 0:
            way = "towards" if self.share > 0 else "away from"
            words.append(f"a difference, {way} co-culture")
        if self.hi <= most:
            words.append(f"at most {most:g} of the co-culture's effect")
        return "; ".join(words) or "cannot be told at this size"


def effect_along_other_date(
    states: pd.DataFrame, *, receiver: str, date: str, other: str, time: int = 20
) -> Effect:
    """Place the membrane's plates between those alone and in co-culture.

    The direction, co-culture minus alone, is learned on the ``other`` date, so that no plate helps
    to choose the direction on which it is placed. The share is a ratio of two differences of means
    over plates of ``date``; its interval is Fieller's (1954), with one variance of plates for all
    three conditions.

    Parameters
    ----------
    states
        Of :func:`plate_states`.
    receiver, time
        Which plates.
    date, other
        The date with a membrane; the date on which the direction is learned.
    """
    here = states.xs((receiver, time, date), level=list(STRATUM))
    there = states.xs((receiver, time, other), level=list(STRATUM))
    direction = _difference(there)
    own = _difference(here)
    cosine = own @ direction / np.sqrt((own @ own) * (direction @ direction))
    scores = here @ direction
    by_condition = scores.groupby(level="condition")
    mean, n = by_condition.mean(), by_condition.size()
    freedom = len(scores) - len(n)
    variance = ((scores - by_condition.transform("mean")) ** 2).sum() / freedom
    whole = mean[TOGETHER] - mean[ALONE]
    part = mean[MEMBRANE] - mean[ALONE]
    var_part = variance * (1 / n[MEMBRANE] + 1 / n[ALONE])
    var_whole = variance * (1 / n[TOGETHER] + 1 / n[ALONE])
    t = stats.t(freedom)
    lo, hi = _fieller(part, whole, (var_part, var_whole, variance / n[ALONE]), t.ppf(0.975))
    smallest = (t.ppf(0.975) + t.ppf(0.8)) * np.sqrt(var_part) / whole
    places = ((scores - mean[ALONE]) / whole).rename("place").reset_index()
    return Effect(part / whole, lo, hi, float(smallest), float(cosine), places)


def _difference(states: pd.DataFrame) -> pd.Series:
    """Co-culture minus alone, means over plates."""
    mean = states.groupby(level="condition").mean()
    return mean.loc[TOGETHER] - mean.loc[ALONE]


def _fieller(
    part: float, whole: float, variances: tuple[float, float, float], t: float
) -> tuple[float, float]:
    """Interval of part / whole; variances of part, of whole, and their covariance."""
    var_part, var_whole, covariance = variances
    a = whole**2 - t**2 * var_whole
    b = part * whole - t**2 * covariance
    c = part**2 - t**2 * var_part
    if a <= 0:  # the co-culture's own effect is not told from none: any share is possible
        return -np.inf, np.inf
    half = np.sqrt(max(b**2 - a * c, 0.0))
    return float((b - half) / a), float((b + half) / a)


# ------------------------------------------------------------------------------------- pitfalls


def on_some_dates_only(states: pd.DataFrame) -> dict[str, list[str]]:
    """Conditions that were not done on every date: against other dates they mean the date, too."""
    index = states.index.to_frame(index=False)
    every = set(index["date"])
    dates = index.groupby("condition")["date"].unique()
    return {name: sorted(found) for name, found in dates.items() if set(found) != every}


def overdispersion(counts: pd.DataFrame) -> pd.Series:
    """Variance between plates of one condition, relative to that of drawing cells; by condition.

    1: plates differ as draws of one culture do. Groups with one plate are left out.
    """
    found = {}
    for key, part in counts.groupby(level=[*STRATUM, "condition"]):
        if len(part) > 1:
            test = stats.chi2_contingency(part.loc[:, part.sum() > 0])
            found[key] = test.statistic / test.dof
    return pd.Series(found)


def p_of_cells(counts: pd.DataFrame, first: str, second: str) -> float:
    """Chi-square test with **cells** as units: a pitfall, shown beside the test of plates."""
    table = counts.groupby(level="condition").sum().loc[[first, second]]
    return float(stats.chi2_contingency(table.loc[:, table.sum() > 0]).pvalue)
