"""Which cells nothing may see: held-out times and populations, fixed before anything is fitted."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import anndata as ad
import numpy as np

from scimf.core.files import read_toml
from scimf.data.times import find_time

#: The scIMF paper's named splits: by data set and name, the held-out times.
SPLITS = read_toml(Path(__file__).with_name("splits.toml"))
ROUNDED = {"rtol": 1e-7, "atol": 1e-9}  #: how far a time in single precision may be off


@dataclass(frozen=True)
class Split:
    """Which times and populations are held out; times are sorted, in the data's own unit."""

    held_times: tuple[float, ...]
    #: Nothing of them is fitted; their first snapshot may only start a simulation.
    held_populations: tuple[str, ...]
    times: tuple[float, ...]  #: all times
    train_times: tuple[float, ...]  #: those of training cells

    def train_mask(self, adata: ad.AnnData) -> np.ndarray:  # (cells,) bool
        """Cells that may be fitted: neither their time nor their population is held out."""
        held_time = np.isin(_time(adata), self.held_times)
        return ~held_time & ~np.isin(_population(adata), self.held_populations)

    def held_mask(self, adata: ad.AnnData) -> np.ndarray:  # (cells,) bool
        """Cells to be predicted: a held time, or a held population after its first time."""
        time = _time(adata)
        population = _population(adata)
        held = np.isin(time, self.held_times)
        for name in self.held_populations:
            mine = population == name
            if mine.any():
                held |= mine & (time > time[mine].min())
        return held


def hold_out(
    adata: ad.AnnData,
    *,
    times: Iterable[float | str] | float | str = (),
    populations: Iterable[str] = (),
) -> Split:
    """Hold out whole times, whole populations, or both.

    Parameters
    ----------
    times
        In the data's own unit, as numbers or texts such as "E9" or "48 h"; or the name of one of
        the scIMF paper's splits, such as "three_interpolation" (:data:`SPLITS` has them). Unlike
        there, genes are chosen by scanpy's default flavour in every data set, and counts are
        normalised to the sum of all genes, not of the chosen ones.
    populations
        Names in ``obs["population"]``.

    Raises
    ------
    ValueError
        If a time, population or named split is not there, if a held time is the first of a
        population (a simulation starts there), or if fewer than two training times are left.
    """
    if isinstance(times, str):
        times = _named_times(adata, times)
    elif np.isscalar(times):
        times = [times]
    time = _time(adata)
    population = _population(adata)
    held_times = _held_times(adata, times)
    held_populations = _held_populations(adata, populations)
    for name in np.unique(population).tolist():
        first = float(time[population == name].min())
        if first in held_times:
            whose = f" of population {name!r}" if "population" in adata.obs else ""
            problem = f"{first:g} is the first time{whose} and cannot be held out"
            raise ValueError(f"times: {problem}, a start is needed")
    training = ~np.isin(time, held_times) & ~np.isin(population, held_populations)
    train_times = np.unique(time[training]).tolist()
    if len(train_times) < 2:
        problem = f"{train_times} are left for training"
        raise ValueError(f"times, populations: {problem}, expected at least two times")
    all_times = np.unique(time).tolist()
    return Split(tuple(held_times), tuple(held_populations), tuple(all_times), tuple(train_times))


def _named_times(adata: ad.AnnData, name: str) -> Iterable[float | str]:
    data = str(adata.uns.get("scimf", {}).get("name"))
    splits = SPLITS.get(data, {})
    if name not in splits and any(letter.isdecimal() for letter in name):
        return [name]  # a time, such as "day 2"
    if name not in splits:
        expected = list(splits) or f"a time (named splits are there for {', '.join(SPLITS)})"
        raise ValueError(f"{data}: no split {name!r}, expected one of {expected}")
    return splits[name]


def _held_times(adata: ad.AnnData, wanted: Iterable[float | str]) -> list[float]:
    """Find the wanted times among those of the cells; sorted."""
    known = np.unique(_time(adata))
    unit = adata.uns.get("scimf", {}).get("time_unit")
    held = set()
    for value in wanted:
        number = find_time(str(value), known, unit)
        match = set() if number is None else set(known[np.isclose(known, number, **ROUNDED)])
        if not match:
            shown = repr(value) if isinstance(value, str) else f"{value}"
            there = f"obs['time'], which has {known.tolist()}"
            raise ValueError(f"times: {shown} is not in {there} ({unit or 'a.u.'})")
        held |= match  # all: one time may be stored in several precisions
    return sorted(map(float, held))


def _held_populations(adata: ad.AnnData, wanted: Iterable[str] | str) -> list[str]:
    names = [wanted] if isinstance(wanted, str) else wanted
    held = sorted({str(name) for name in names})
    known = np.unique(_population(adata)).tolist() if "population" in adata.obs else []
    unknown = [name for name in held if name not in known]
    if unknown:
        there = f"has {known}" if known else "is missing"
        raise ValueError(f"populations: {unknown} are not in obs['population'], which {there}")
    return held


def _time(adata: ad.AnnData) -> np.ndarray:  # (cells,)
    if "time" not in adata.obs:
        problem = "obs['time'] is missing, expected data from scimf.load"
        raise ValueError(f"{problem}; there are {list(adata.obs.columns)}")
    return adata.obs["time"].to_numpy(dtype=np.float64)


def _population(adata: ad.AnnData) -> np.ndarray:  # (cells,) of str
    if "population" not in adata.obs:
        return np.full(adata.n_obs, "")
    return adata.obs["population"].astype(str).to_numpy(dtype=str)
