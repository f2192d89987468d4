"""Which cells nothing may see: held-out times and populations, fixed before anything is fitted."""

from collections.abc import Iterable
from dataclasses import dataclass

import anndata as ad
import numpy as np

from scimf.core.identity import by_name
from scimf.data.time_labels import find_time
from scimf.data.times import NEAR

#: Held-out times of the scIMF paper's named splits, by data set, in the data's own unit; its code
#: names them by index. Drosophila stands in the code's history only, not in the paper.
SPLITS: dict[str, dict[str, tuple[float, ...]]] = by_name(
    {
        "zebrafish": {
            "three_interpolation": (5.3, 7.0, 9.0),
            "two_forecasting": (11.0, 12.0),
            "remove_recovery": (4.3, 5.3, 7.0, 9.0, 11.0, 12.0),
            "all_times": (),
        },
        "reprogramming": {
            "three_interpolation": (5.0, 10.0, 15.0),
            "three_forecasting": (16.0, 17.0, 18.0),
            "remove_recovery": (5.0, 7.0, 9.0, 11.0, 15.0, 16.0, 17.0, 18.0),
            "all_times": (),
        },
        "pancreas": {
            **{f"leaveout{week}": (float(week),) for week in range(1, 8)},
            "all_times": (),
        },
        "drosophila": {
            "three_interpolation": (6.0, 10.0, 14.0),
            "three_forecasting": (14.0, 16.0, 18.0),
            "remove_recovery": (3.0, 6.0, 10.0, 14.0, 16.0, 18.0),
            "all_times": (),
        },
    }
)


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

    def only_neighbours(self, adata: ad.AnnData) -> tuple[ad.AnnData, "Split"]:
        """Keep the one held-out time and the training times next to it, of cells and of the split.

        It is the protocol *neighbours_only*.

        Raises
        ------
        ValueError
            If there is not exactly one held-out time, or it has no training time on one side.
        """
        if len(self.held_times) != 1 or self.held_populations:
            expected = "expected one held-out time and no held-out population"
            raise ValueError(f"neighbours_only: {expected}, got {self.held_times}")
        held = self.held_times[0]
        before = [t for t in self.train_times if t < held]
        after = [t for t in self.train_times if t > held]
        if not before or not after:
            expected = f"time {held:g} needs training times on both sides"
            raise ValueError(f"neighbours_only: {expected}, there are {self.train_times}")
        kept = adata[np.isin(_time(adata), (before[-1], held, after[0]))].copy()
        return kept, hold_out(kept, times=[held])

    def to_dict(self) -> dict[str, np.ndarray]:
        """Plain arrays of numbers and texts for a checkpoint."""
        return {
            "held_times": np.array(self.held_times, dtype=np.float64),
            "held_populations": np.array(self.held_populations, dtype=str),
            "times": np.array(self.times, dtype=np.float64),
            "train_times": np.array(self.train_times, dtype=np.float64),
        }

    @classmethod
    def from_dict(cls, arrays: dict[str, np.ndarray]) -> "Split":
        """Inverse of :meth:`to_dict`."""
        return cls(**{name: tuple(np.asarray(part).tolist()) for name, part in arrays.items()})


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
        the scIMF paper's splits, such as "three_interpolation" (:data:`SPLITS` has them). As there,
        :func:`scimf.fit_space` then chooses its (by default 2000) genes, scaler and PCs on training
        times only. Unlike there, genes are chosen by scanpy's default flavour in every data set,
        and counts are normalised to the sum of all genes, not of the chosen ones.
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


def _named_times(adata: ad.AnnData, name: str) -> tuple[float | str, ...]:
    data = str(adata.uns.get("scimf", {}).get("name"))
    splits = SPLITS.get(data, {})
    if name in splits:
        return splits[name]
    if any(letter.isdecimal() for letter in name):
        return (name,)  # a time, such as "day 2"
    if data not in SPLITS:
        expected = f"a set with named splits: {', '.join(SPLITS)}"
        raise ValueError(f"uns['scimf']['name'] is {data!r}, expected {expected}")
    raise ValueError(f"{data}: no split {name!r}, expected one of {list(splits)}")


def _held_times(adata: ad.AnnData, wanted: Iterable[float | str]) -> list[float]:
    """Find the wanted times among those of the cells; sorted."""
    known = np.unique(_time(adata))
    unit = adata.uns.get("scimf", {}).get("time_unit")
    held = set()
    for value in wanted:
        number = find_time(str(value), known, unit)
        match = known[np.isclose(known, np.nan if number is None else number, rtol=NEAR, atol=1e-9)]
        if number in match and (match == np.rint(match)).all():
            match = np.array([number])  # whole numbers are never noise, however large
        if not len(match):
            shown = repr(value) if isinstance(value, str) else f"{value}"
            there = f"obs['time'], which has {known.tolist()}"
            raise ValueError(f"times: {shown} is not in {there} ({unit or 'a.u.'})")
        held.update(match.tolist())  # all: one time may be stored in several precisions
    return sorted(held)


def _held_populations(adata: ad.AnnData, wanted: Iterable[str] | str) -> list[str]:
    names = [wanted] if isinstance(wanted, str) else wanted
    held = sorted({str(name) for name in names})
    if held and "population" not in adata.obs:
        reason = "there is no obs['population']"
        raise ValueError(f"populations: {held} cannot be held out, {reason}")
    known = np.unique(_population(adata)).tolist()
    unknown = [name for name in held if name not in known]
    if unknown:
        raise ValueError(f"populations: {unknown} are not in obs['population'], which has {known}")
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
