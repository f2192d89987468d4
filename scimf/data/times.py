"""When cells were taken: from a column of numbers, labels or dates to times, and their unit."""

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from scimf.data.blocks import DataFile
from scimf.data.time_labels import times_of_labels, units_in

MISSING = {"", "nan", "na", "none", "<na>", "nat"}  #: what ``drop`` may call a missing value
NEAR = 1e-6  #: times that differ by less, relative to their size, cannot be told apart
MANY_TIMES = 20  #: more, of fewer than FEW_CELLS cells each, are a continuous time
FEW_CELLS = 10


def cells_with_a_time(
    obs: pd.DataFrame, key: str, path: Path, drop: str | Iterable, notes: list[str]
) -> np.ndarray:  # (cells,) bool
    """Find the cells whose label in ``obs[key]`` is none of those to be dropped.

    These are a list, or a text with commas between them; "nan" stands for a missing value. A
    ``ValueError`` if the column or a label is not there.
    """
    column = DataFile(path).column(obs, key, "the time of each cell").astype(object)
    where = f"{path}: obs[{key!r}]"
    drop = drop.split(",") if isinstance(drop, str) else np.atleast_1d(np.array(drop, object))
    wanted = [str(label).strip() for label in drop]
    texts = column.astype(str).str.strip()
    numbers = pd.to_numeric(texts, errors="coerce")
    dropped = np.zeros(len(column), dtype=bool)
    for label in wanted:
        found = (texts == label) | (numbers == pd.to_numeric(label, errors="coerce"))
        if label.lower() in MISSING:
            found |= column.isna()
        if not found.any():
            there = texts.unique()[:8].tolist()
            raise ValueError(f"{where}: drop={label!r} is no label, expected some of {there}")
        dropped |= found.to_numpy()
    labels = " or ".join(map(repr, wanted))
    notes.append(f"{dropped.sum()} of {len(column)} cells were dropped: their {key!r} is {labels}.")
    return ~dropped


def read_times(
    obs: pd.DataFrame, key: str, path: Path, notes: list[str], bins: str | float | None = None
) -> tuple[np.ndarray, str | None]:
    """Return times (cells,) float64, and the unit if labels or the name of the column tell it.

    For a continuous time, ``bins`` is a width in the unit of the column, or "4 equal" for as many
    bins of equal numbers of cells; each stands at the mean time of its cells. A ``ValueError``
    names the column and what to write instead if there are not several snapshots in it.
    """
    column = DataFile(path).column(obs, key, "times (or another column: time_key=...)")
    where = f"{path}: obs[{key!r}]"
    if column.isna().any():
        missing = f"missing for {column.isna().sum()} cells"
        raise ValueError(f"{where} is {missing} (drop=['nan'] or DROP=nan leaves them out)")
    codes, labels = pd.factorize(column.infer_objects().to_numpy())
    values, unit = times_of_labels(labels, where, notes)
    times = np.asarray(values, dtype=np.float64)[codes]
    if not np.isfinite(times).all():
        raise ValueError(f"{where} is infinite for {np.isinf(times).sum()} cells")
    called, _ = units_in(re.findall(r"[A-Z]?[a-z]+|[A-Z]+", key))
    if unit and called and unit not in called:
        notes.append(f"The unit is {unit}, as the labels say, though the column is called {key!r}.")
    if unit is None and len(called) == 1:
        (unit,) = called
    if bins is not None:
        times = _binned(times, bins, where, notes)
    _require_snapshots(times, where)
    return _without_noise(times, where, notes), unit


def _binned(
    times: np.ndarray, bins: str | float, where: str, notes: list[str]
) -> np.ndarray:  # (cells,)
    text = str(bins).strip().lower()
    equal = re.fullmatch(r"(\d+) *equal", text)
    low, high = times.min(), times.max()
    width = pd.to_numeric(text, errors="coerce")
    if equal and 1 < int(equal[1]) < len(times) and low < high:
        edges = np.unique(np.quantile(times, np.linspace(0, 1, int(equal[1]) + 1)))
    elif 0 < width < high - low and (high - low) / width < len(times):
        first, last = np.floor(low / width + NEAR), np.ceil(high / width - NEAR)
        edges = np.arange(first, last + 1) * width
    else:
        expected = "expected a width in its own unit, or '4 equal'"
        span = f"times go from {low:g} to {high:g}"
        raise ValueError(f"{where}: bins={bins!r}, {expected}; {span}")
    narrow = np.diff(edges).min()
    inner = edges[1:-1] - NEAR * narrow  # 0.3 is in the bin that begins at 3 * 0.1
    index = np.searchsorted(inner, times, side="right")
    digits = 3 - int(np.floor(np.log10(narrow)))  # few enough to be typed
    means = pd.Series(times).groupby(index).mean().round(digits)
    shown = []
    for k, mean in means.items():
        shown.append(f"{edges[k]:g} to {edges[k + 1]:g} ({(index == k).sum()} cells, at {mean})")
    notes.append(f"Times were put into {len(shown)} bins: {', '.join(shown[:30])}.")
    return means[index].to_numpy()


def _without_noise(
    times: np.ndarray, where: str, notes: list[str]
) -> np.ndarray:  # (cells,), one number for a time that was stored in several precisions
    values, codes = np.unique(times, return_inverse=True)
    gaps = np.diff(values)
    step = gaps.mean() if len(gaps) else 0.0
    near = gaps <= np.maximum(NEAR * np.abs(values[1:]), 1e-9 * step)
    is_whole = values == np.rint(values)
    near &= ~(is_whole[1:] & is_whole[:-1])  # whole numbers are never noise, however large
    apart = near & (gaps > 1e-3 * step)
    if apart.any():
        first = apart.argmax()
        raise ValueError(f"{where}: {values[first]} and {values[first + 1]} are hardly apart")
    for group in np.split(np.arange(len(values)), np.flatnonzero(~near) + 1):
        if len(group) > 1:
            same = values[group].tolist()
            values[group] = min(same, key=lambda value: len(repr(value)))
            notes.append(f"{same} are one time, {values[group[0]]}, but for rounding.")
    return values[codes]


def _require_snapshots(times: np.ndarray, where: str) -> None:
    values, cells = np.unique(times, return_counts=True)
    near = [f"{value:.6g}" for value in values]  # one time may be stored in several precisions
    cells = pd.Series(cells).groupby(near).transform("sum").to_numpy()
    if len(values) < 2:
        raise ValueError(f"{where} has {len(values)} time point(s), expected at least two")
    width = f"{np.ptp(values) / 8:.1g}"
    if cells.min() < 2 or (len(values) > MANY_TIMES and np.median(cells) < FEW_CELLS):
        fewest = f"{values[cells.argmin()]} has {cells.min()}"
        raise ValueError(
            f"{where} has {len(values)} times for {len(times)} cells ({fewest}), expected snapshots"
            f" of many cells: of a continuous time, bins={width} (BINS={width}) in its own unit or "
            "bins='8 equal' makes them; drop=... (DROP=...) leaves cells out"
        )
