"""A file of your own: conditions that are compared by plates, and one kind of cell in space.

:func:`read_own` reads what both need and nothing else, :func:`count_by_plate` and
:func:`contrast_table` answer for conditions (:mod:`evidence.contrasts`), :func:`pictures_of` and
:func:`pair_force` for positions (:mod:`evidence.positions`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from scimf.data.registry import DataUnavailable
from scipy import stats
from scipy.spatial import cKDTree

from evidence.contrasts import (
    LEVEL,
    contrast,
    count_states,
    plate_states,
    smallest_p,
    strata_of_both,
)
from evidence.positions import MARGIN, Equations, Pictures, force_table, held_out_gains, jittered

NEIGHBOUR = 24.0  #: to which the nearest cell's median distance is scaled: that of the PC-3 cells
DISTANCES = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)  #: relative to it
NEAR = 0.5  #: of these, what a verdict in words looks at
LEAST_WELLS = 5  #: with which a sign test reaches the level


def read_own(path: str | Path, names: Mapping[str, str]) -> ad.AnnData:
    """Read ``obs`` and ``obsm`` of an ``.h5ad``; values of genes are not needed and not looked at.

    Parameters
    ----------
    path
        The file.
    names
        What a column is called in the file, by what it is: "condition", "population", "cell_type",
        "batch", "time"; those that are empty are called so.

    Raises
    ------
    ValueError
        It is no ``.h5ad``, or a column that was named is not there.
    """
    path = Path(path)
    try:
        adata = ad.read_h5ad(path, backed="r")
    except (OSError, KeyError) as error:
        advice = "write yours with adata.write_h5ad"
        raise ValueError(f"{path}: is no .h5ad file; {advice}") from error
    obs = pd.DataFrame(index=adata.obs_names)
    for name, column in names.items():
        if column and column not in adata.obs:
            there = [*adata.obs.columns]
            raise ValueError(f"{path}: obs[{column!r}] is missing; there are {there}")
        if (column or name) in adata.obs:
            obs[name] = adata.obs[column or name]
    found = ad.AnnData(obs=obs, obsm={key: np.asarray(x) for key, x in adata.obsm.items()})
    adata.file.close()
    return found


def not_asked() -> None:
    """Stand in for the reader of a real set, where a file of your own is asked instead.

    Raises
    ------
    DataUnavailable
        Always.
    """
    raise DataUnavailable("a file of your own is asked instead")


def modes_of(adata: ad.AnnData, path: str) -> list[str]:
    """Tell what can be asked of a file: "conditions", "positions".

    Raises
    ------
    ValueError
        Neither.
    """
    modes = {"conditions": "condition" in adata.obs, "positions": "spatial" in adata.obsm}
    found = [name for name, is_there in modes.items() if is_there]
    if not found:
        asked = "expected obs['condition'] (CONDITION_KEY=) or obsm['spatial']"
        raise ValueError(f"{path}: {asked}; obsm has {[*adata.obsm]}")
    return found


@dataclass(frozen=True)
class Conditions:
    """What becomes of two conditions at a time."""

    table: pd.DataFrame  #: of :func:`contrast_table`
    differences: dict[tuple[str, str], pd.DataFrame]  #: of those that meet, smallest p first


def answers_of(
    own: Mapping[str, ad.AnnData], *, seed: int = 0
) -> "dict[str, Conditions | PairForce | str]":
    """Ask what there is to ask, by mode; a text says why it cannot be."""
    found = {}
    for mode, adata in own.items():
        try:
            if mode == "positions":
                found[mode] = pair_force(pictures_of(adata), seed=seed)
            else:
                found[mode] = _conditions(adata)
        except ValueError as refusal:
            found[mode] = str(refusal)
    return found


def _conditions(adata: ad.AnnData) -> Conditions:
    counts = count_by_plate(adata)
    table = contrast_table(counts)
    by_pair = {}
    for row in table.sort_values("p", kind="stable").itertuples():
        if sum(row.plates):
            by_pair[row.first, row.second] = differences(counts, row.first, row.second)
    return Conditions(table, by_pair)


# ------------------------------------------------------------------------------------- conditions


def count_by_plate(adata: ad.AnnData) -> pd.DataFrame:
    """Count the cells of every state on every plate of a file of your own.

    Parameters
    ----------
    adata
        ``obs``: ``condition``; ``population``, the plate, that is what was treated and harvested by
        itself; ``cell_type``, the state (cells without one are left out); where there are any,
        ``batch`` and ``time``, within which plates are compared.

    Returns
    -------
    DataFrame
        As from :func:`count_states`; the time of a file without times is 0.

    Raises
    ------
    ValueError
        A column is missing or has holes, a plate has two conditions, batches or times, or there is
        but one condition or state.
    """
    obs = adata.obs
    needed = {"condition": "CONDITION_KEY=", "population": "POPULATION_KEY="}
    for column, option in (needed | {"cell_type": "TYPE_KEY="}).items():
        if column not in obs:
            raise ValueError(f"obs[{column!r}] is missing; if it is called otherwise, say {option}")
    state = obs["cell_type"].astype(object)
    cells = pd.DataFrame({"state": state, "plate": obs["population"].astype(str)})
    cells["condition"] = obs["condition"].astype(str)
    cells["receiver"] = "all cells"
    cells["time"] = obs["time"].to_numpy() if "time" in obs else 0
    cells["date"] = obs["batch"].astype(str) if "batch" in obs else "one"
    for column in obs.columns.intersection(["condition", "population", "batch", "time"]):
        if lost := int(obs[column].isna().sum()):
            raise ValueError(f"obs[{column!r}] is missing for {lost} cells; name it, or drop them")
    for column, name in (("condition", "condition"), ("date", "batch"), ("time", "time")):
        values = cells.groupby("plate")[column].unique()
        several = values[values.map(len) > 1]
        if len(several):
            found = ", ".join(map(str, several.iloc[0]))
            raise ValueError(
                f"population {several.index[0]!r} has more than one {name} ({found}); a plate is "
                "harvested once: name plates apart, or ask do_cells_interact, which reads courses"
            )
    for column, name in (("condition", "condition"), ("state", "cell_type")):
        if cells[column].nunique() < 2:
            there = [*cells[column].dropna().unique()]
            raise ValueError(f"obs[{name!r}] has {there}, expected at least two values")
    return count_states(cells)


def contrast_table(counts: pd.DataFrame) -> pd.DataFrame:
    """Test every two conditions of a file of your own, and say which cannot be told.

    Returns
    -------
    DataFrame
        ``first, second, plates`` (of each), ``p, q`` (Benjamini and Hochberg over the rows),
        ``smallest_p`` (that the design can reach) and ``verdict``.
    """
    states = plate_states(counts)
    rows = []
    for first, second in combinations(sorted(set(counts.index.get_level_values("condition"))), 2):
        row = {"first": first, "second": second, "plates": (0, 0), "p": 1.0, "smallest_p": 1.0}
        if strata_of_both(states, first, second):
            test = contrast(states, first, second)
            row |= {"plates": test.n_plates, "p": test.p, "smallest_p": test.floor}
        rows.append(row)
    table = pd.DataFrame(rows)
    table.insert(4, "q", stats.false_discovery_control(table["p"]))
    return table.assign(verdict=[_verdict(row) for row in table.itertuples()])


def _verdict(row) -> str:
    """Yes, no evidence, or what would be needed; of a row of :func:`contrast_table`."""
    if not sum(row.plates):
        return "cannot be told: no batch and time has both; plates of both in one batch are needed"
    if row.smallest_p > LEVEL:
        enough = next(n for n in range(1, 20) if smallest_p(n, n) <= LEVEL)
        return f"cannot be told: {enough} plates of each in one batch are needed, or more batches"
    return "yes" if row.q <= LEVEL else "no evidence at this size"


def differences(counts: pd.DataFrame, first: str, second: str) -> pd.DataFrame:
    """By how much the share of every state differs: ``second`` minus ``first``, within strata.

    Returns
    -------
    DataFrame
        By state: ``first, second`` (mean share in strata that have both), ``difference, lo, hi``
        (95 %, t, plates as units, each state by itself) and ``smallest``, the difference that 80 %
        of such experiments would have told apart from none. Without limits where no plate is left
        to tell how much plates vary.
    """
    shares = counts.div(counts.sum(axis=1), axis=0)
    strata = strata_of_both(shares, first, second)
    if not strata:
        raise ValueError(f"no time, date and kind of receiver has both {first!r} and {second!r}")
    weights = [there.sum() * (~there).sum() / len(there) for _, there in strata]
    each = [[part[~there].mean(), part[there].mean()] for part, there in strata]
    means = np.average(each, axis=0, weights=weights)  # (first and second, states)
    delta = means[1] - means[0]
    residual = 0.0
    for part, there in strata:
        y = (part - part.mean()).to_numpy()
        residual = residual + ((y - np.outer(there - there.mean(), delta)) ** 2).sum(0)
    free = sum(len(part) for part, _ in strata) - len(strata) - 1
    variance = residual / free / sum(weights) if free > 0 else np.nan
    se = np.sqrt(variance * np.ones(len(delta)))
    t = stats.t(max(free, 1))
    table = {"first": means[0], "second": means[1], "difference": delta}
    table |= {"lo": delta - t.ppf(0.975) * se, "hi": delta + t.ppf(0.975) * se}
    table["smallest"] = (t.ppf(0.975) + t.ppf(0.8)) * se
    return pd.DataFrame(table, index=counts.columns)


# ------------------------------------------------------------------------------------- positions


def pictures_of(adata: ad.AnnData) -> dict[tuple[str, float], np.ndarray]:
    """Take the pictures of one kind of cell from a file of your own.

    Parameters
    ----------
    adata
        ``obsm["spatial"]`` (cells, 2), in any unit; ``obs["population"]``, the well, in its own
        coordinates; ``obs["time"]`` where there are several pictures of a well.

    Raises
    ------
    ValueError
        There are no positions in a plane, or holes in them, or more than one type of cell.
    """
    if "spatial" not in adata.obsm:
        raise ValueError(f'obsm["spatial"] is missing; there are {[*adata.obsm]}')
    cells = np.asarray(adata.obsm["spatial"], dtype=float)
    if cells.ndim != 2 or cells.shape[1] != 2 or not np.isfinite(cells).all():
        raise ValueError(f'obsm["spatial"] {cells.shape}: expected finite (cells, 2)')
    obs = adata.obs
    if "cell_type" in obs and obs["cell_type"].nunique() > 1:
        kinds = [*obs["cell_type"].unique()]
        raise ValueError(f'obs["cell_type"] has {kinds}: a force is read for one kind; keep one')
    well = obs["population"].astype(str) if "population" in obs else pd.Series("one", obs.index)
    time = obs["time"] if "time" in obs else pd.Series(0, obs.index)
    rows = pd.DataFrame({"cell": cells.tolist()}, index=[well.to_numpy(), time.to_numpy()])
    groups = rows.groupby(level=[0, 1])["cell"]
    return {key: np.stack([*part]) for key, part in groups}


@dataclass(frozen=True)
class PairForce:
    """Force between two cells of a file of your own; ``unit`` is what it is measured in."""

    unit: float  #: median distance to the nearest other cell, in the file's coordinates
    table: pd.DataFrame  #: by distance (units): ``force, lo, hi, smallest, jittered``
    gains: pd.DataFrame  #: by well left out: ``gain, jittered``
    p: float
    smallest_p: float  #: that so many wells can reach

    @property
    def verdict(self) -> str:
        """What can be said of nearest neighbours, or what would be needed."""
        if self.smallest_p > LEVEL:
            return f"cannot be told: {len(self.gains)} wells, {LEAST_WELLS} are needed"
        if self.p > LEVEL:
            return "no evidence at this size"
        near = self.table.loc[NEAR]
        if near["lo"] > 0:
            return "yes: near cells push each other apart"
        return "yes: near cells pull each other" if near["hi"] < 0 else "yes, at some distance"


def pair_force(pictures: Pictures, *, seed: int = 0) -> PairForce:
    """Learn the force between two cells, judge it on wells that were left out.

    Lengths are relative to the median distance to the nearest cell, so the unit of the positions
    does not matter. A well is for the force if it is described better than by none, and better
    than with cells moved by two and a half such distances; ``p`` is that of a sign test over wells.
    Limits are 95 % (t, jackknife over wells); ``smallest``: the force that 80 % of such experiments
    would have told apart from none.

    Raises
    ------
    ValueError
        There is but one well, or a picture is too small for the reach of a force.
    """
    names = sorted({well for well, _ in pictures})
    if len(names) < 2:
        needed = f"a force is judged on wells that were left out, name {LEAST_WELLS}"
        raise ValueError(f'obs["population"] names one well: {needed}')
    nearest = [cKDTree(cells).query(cells, k=2)[0][:, 1] for cells in pictures.values()]
    unit = float(np.median(np.concatenate(nearest)))
    if not 0 < unit < np.inf:
        raise ValueError('obsm["spatial"]: most cells stand on each other, or alone in a picture')
    wells: dict[str, Equations] = {}
    moved: dict[str, Equations] = {}
    for k, ((well, time), cells) in enumerate(pictures.items()):
        scaled = (cells - cells.min(axis=0)) * NEIGHBOUR / unit
        size = tuple(scaled.max(axis=0))
        key = (well, time)
        copy = jittered({key: scaled}, picture=size, seed=seed + k)[key]
        for found, here in ((wells, scaled), (moved, copy)):
            equations = Equations.of(here, picture=size)
            found[well] = found[well] + equations if well in found else equations
    if small := [well for well in names if not wells[well].n]:
        reach = f"{2 * MARGIN / NEIGHBOUR:g} distances between neighbours wide"
        raise ValueError(
            f"well {small[0]!r}: no cell is far from the edges; pictures must be {reach}"
        )
    gains = pd.DataFrame({"gain": held_out_gains(wells), "jittered": held_out_gains(moved)})
    table = force_table(wells, NEIGHBOUR * np.array(DISTANCES)) * (NEIGHBOUR, NEIGHBOUR, 1)
    t = stats.t(len(names) - 1)
    limits = {"lo": table["force"] - t.ppf(0.975) * table["se"]}
    limits["hi"] = table["force"] + t.ppf(0.975) * table["se"]
    limits["smallest"] = (t.ppf(0.975) + t.ppf(0.8)) * table["se"]
    limits["jittered"] = NEIGHBOUR * force_table(moved, table.index)["force"]
    table = table[["force"]].assign(**limits).set_axis(DISTANCES).rename_axis("distance")
    better = gains["gain"] > gains["jittered"].clip(lower=0)
    p = stats.binomtest(int(better.sum()), len(names), alternative="greater").pvalue
    return PairForce(unit, table, gains, float(p), 0.5 ** len(names))
