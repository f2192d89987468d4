"""When cells were taken: from a column of numbers, labels or dates to times, and their unit."""

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from scimf.data.time_labels import SECONDS, a_few, times_of_texts, unit_of

MISSING = {"", "nan", "na", "none", "<na>", "nat"}  #: what ``drop`` may call a missing value
NEAR = 1e-6  #: times that differ by less, relative to their size, cannot be told apart
MANY_TIMES = 20  #: more, of fewer than FEW_CELLS cells each, are a continuous time
FEW_CELLS = 10
_YEAR_FIRST = re.compile(r"\d{4}([-/.])\d\d?\1\d\d?([ T]\d\d?:\d\d.*)?")
_YEAR_LAST = re.compile(r"\d\d?([-/.])\d\d?\1\d{4}")
_PACKED_DATE = re.compile(r"((?:19|20)\d{6})(?:\.0)?")
_DURATION = re.compile(r"-?\d+ days [+-]?\d\d:\d\d:\d\d(\.\d+)?")  # as pandas writes them


def column_of(obs: pd.DataFrame, key: str, path: Path, what: str) -> pd.Series:
    """Return a column of ``obs``, or say that it is missing and what was expected."""
    if key not in obs:
        found = list(obs.columns)
        raise ValueError(f"{path}: obs[{key!r}] is missing, expected {what}; there are {found}")
    return obs[key]


def cells_with_a_time(
    obs: pd.DataFrame, key: str, path: Path, drop: str | Iterable, notes: list[str]
) -> np.ndarray:  # (cells,) bool
    """Find the cells whose label in ``obs[key]`` is none of those to be dropped.

    Parameters
    ----------
    drop
        Labels, as a list or separated by commas; "nan" stands for a missing value.

    Raises
    ------
    ValueError
        If the column or a label is not there, or no cell would be left.
    """
    column = column_of(obs, key, path, "the time of each cell").astype(object)
    where = f"{path}: obs[{key!r}]"
    drop = drop.split(",") if isinstance(drop, str) else np.atleast_1d(np.array(drop, object))
    wanted = [_text(label) for label in drop]
    texts = column.map(_text)
    numbers = pd.to_numeric(texts, errors="coerce")
    dropped = np.zeros(len(column), dtype=bool)
    for label in wanted:
        found = (texts == label) | (numbers == pd.to_numeric(label, errors="coerce"))
        if label.lower() in MISSING:
            found |= column.isna()
        if not found.any():
            there = f"which has {a_few(texts.unique(), 8)}"
            raise ValueError(f"{where}: drop={label!r} is no label of this column, {there}")
        dropped |= found.to_numpy()
    if dropped.all():
        raise ValueError(f"{where}: drop={wanted} leaves no cell, expected some with a time")
    left_out = f"{dropped.sum()} of {len(column)} cells were dropped"
    notes.append(f"{left_out}: their {key!r} is {' or '.join(map(repr, wanted))}.")
    return ~dropped


def read_times(
    obs: pd.DataFrame,
    key: str,
    path: Path,
    notes: list[str],
    bins: str | float | None = None,
) -> tuple[np.ndarray, str | None]:
    """Return times (cells,) float64, and the unit if labels or the name of the column tell it.

    Parameters
    ----------
    notes
        What was done is added, in words.
    bins
        For a continuous time: a width in the unit of the column, or "4 equal" for as many bins of
        equal numbers of cells. Each bin stands at the mean time of its cells.

    Raises
    ------
    ValueError
        If some cells have no time, labels have no reading or more than one, or there are not
        several snapshots; names the column and what to write instead.
    """
    what = "the time of each cell (choose another column with time_key=...)"
    column = column_of(obs, key, path, what)
    where = f"{path}: obs[{key!r}]"
    missing = int(column.isna().sum())
    if missing:
        expected = "expected a time for each (drop=['nan'] or DROP=nan leaves them out)"
        raise ValueError(f"{where} is NaN or missing for {missing} cells, {expected}")
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(object)
    array = column.infer_objects().to_numpy()
    kinds = {type(value) for value in array} if array.dtype == object else {array.dtype.type}
    if kinds & {bool, np.bool_}:
        raise ValueError(f"{where} is not numeric but True or False, expected the time of a cell")
    codes, labels = pd.factorize(array)
    values, unit = _values_of(labels, where, notes)
    times = np.asarray(values, dtype=np.float64)[codes]
    bad = int((~np.isfinite(times)).sum())
    if bad:
        raise ValueError(f"{where} is NaN or infinite for {bad} cells, expected finite times")
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+", key)
    called = {unit_of(word.lower(), in_front=True)[0] for word in words} - {None}
    if unit and called and unit not in called:
        notes.append(f"The unit is {unit}, as the labels say, though the column is called {key!r}.")
    unit = unit or (called.pop() if len(called) == 1 else None)
    if bins is not None:
        times = _binned(times, bins, where, notes)
    else:
        _require_no_continuum(times, where)
        times = _without_noise(times, where, notes)
    _require_snapshots(times, where)
    return times, unit


# --------------------------------------------------------------------------- what the labels are


def _values_of(
    labels: np.ndarray, where: str, notes: list[str]
) -> tuple[ArrayLike, str | None]:  # the time of each, and their unit if they tell it
    kind = labels.dtype.kind
    if kind == "M":
        return _days(pd.DatetimeIndex(labels), notes)
    if kind == "m":
        return _durations(pd.TimedeltaIndex(labels), notes)
    texts = [_text(label) for label in labels]
    packed = [match[1] for match in map(_PACKED_DATE.fullmatch, texts) if match]
    dates = pd.to_datetime(packed, format="%Y%m%d", errors="coerce")
    if len(texts) and dates.notna().sum() == len(texts):
        write = "write 2021-01-31 for a date, or the days since the first"
        raise ValueError(f"{where}: {a_few(packed)} may be numbers or dates, {write}")
    if kind in "iuf":
        return list(map(float, texts)), None  # the shortest decimals, of float32 and float16 too
    for pattern in (_YEAR_FIRST, _YEAR_LAST):
        if all(map(pattern.fullmatch, texts)):
            return _days(_dates(texts, pattern, where), notes)
    if all(map(_DURATION.fullmatch, texts)):
        return _durations(pd.to_timedelta(texts), notes)
    return times_of_texts(texts, where, notes)


def _dates(texts: list[str], pattern: re.Pattern, where: str) -> pd.DatetimeIndex:
    plain = [text.replace(pattern.fullmatch(text)[1], "-", 2) for text in texts]
    # Behind a dash or a slash it may be the month that comes first, behind a dot it is the day.
    formats = ["%d-%m-%Y"] if "." in texts[0] else ["%d-%m-%Y", "%m-%d-%Y"]
    if pattern is _YEAR_FIRST:
        formats = ["ISO8601"]
    readings = [pd.to_datetime(plain, format=one, utc=True, errors="coerce") for one in formats]
    readings = [dates for dates in readings if dates.notna().all()]
    if len(readings) != 1:
        problem = "may be day/month or month/day" if readings else "are no dates"
        raise ValueError(f"{where}: {a_few(texts)} {problem}, write 2021-01-31")
    return readings[0]


def _days(dates: pd.DatetimeIndex, notes: list[str]) -> tuple[np.ndarray, str]:
    notes.append(f"Dates were read as days since the first, {dates.min():%Y-%m-%d}.")
    return ((dates - dates.min()) / pd.Timedelta(days=1)).to_numpy(), "day"


def _durations(spans: pd.TimedeltaIndex, notes: list[str]) -> tuple[np.ndarray, str]:
    """Take the largest unit in which all are whole numbers, or seconds."""
    for unit in ("day", "hour", "minute", "second"):
        values = (spans / pd.Timedelta(seconds=SECONDS[unit])).to_numpy()
        if (values == np.rint(values)).all():
            break
    notes.append(f"Durations were read in units of one {unit}.")
    return values, unit


# --------------------------------------------------------------------------- numbers of all cells


def _binned(
    times: np.ndarray, bins: str | float, where: str, notes: list[str]
) -> np.ndarray:  # (cells,)
    text = str(bins).strip().lower()
    number = text.replace("equal", "", 1).strip()
    low, high = times.min(), times.max()
    width = pd.to_numeric(text, errors="coerce")
    if number != text and number.isdecimal() and 1 < int(number) < len(times) and low < high:
        edges = np.unique(np.quantile(times, np.linspace(0, 1, int(number) + 1)))
    elif 0 < width < high - low and (high - low) / width < len(times):
        first, last = np.floor(low / width + NEAR), np.ceil(high / width - NEAR)
        edges = np.arange(first, last + 1) * width
    else:
        expected = "expected a width in the unit of the column such as 60, or '4 equal'"
        span = f"times go from {low:g} to {high:g}"
        raise ValueError(f"{where}: bins={bins!r} cannot be used, {expected}; {span}")
    narrow = np.diff(edges).min()
    inner = edges[1:-1] - NEAR * narrow  # 0.3 is in the bin that begins at 3 * 0.1
    index = np.searchsorted(inner, times, side="right")
    digits = 3 - int(np.floor(np.log10(narrow)))  # few enough to be typed
    binned = np.empty_like(times)
    shown = []
    for k in np.unique(index).tolist():
        mine = index == k
        mean = round(float(times[mine].mean()), digits)
        binned[mine] = mean
        shown.append(f"{edges[k]:g} to {edges[k + 1]:g} ({mine.sum()} cells, at {mean})")
    notes.append(f"Times were put into {len(shown)} bins: {', '.join(shown[:30])}.")
    return binned


def _without_noise(
    times: np.ndarray, where: str, notes: list[str]
) -> np.ndarray:  # (cells,), one number for a time that was stored in several precisions
    values, codes = np.unique(times, return_inverse=True)
    groups = [[values[0].item()]]
    step = np.ptp(values) / max(1, len(values) - 1)
    for value in values[1:].tolist():
        short, long = sorted((_shortest(groups[-1]), value), key=_length)
        apart = abs(short - long)
        near = apart <= max(NEAR * abs(long), 1e-9 * step)
        near = near and not (short.is_integer() and long.is_integer())
        if near and apart > 1e-3 * step:
            problem = f"has times that are hardly apart, {short} and {long}"
            raise ValueError(f"{where} {problem}, expected one number for each time")
        with np.errstate(over="ignore"):
            half = float(np.float16(short)) == long and _length(long) > _length(short)
        if near or half:
            groups[-1].append(value)
        else:
            groups.append([value])
    for group in groups:
        if len(group) > 1:
            notes.append(f"{a_few(group)} are one time, {_shortest(group)}, but for rounding.")
    return np.array([_shortest(group) for group in groups for _ in group])[codes]


def _length(value: float) -> int:
    return len(repr(value))


def _shortest(values: list[float]) -> float:
    return min(values, key=_length)


def _require_no_continuum(times: np.ndarray, where: str) -> None:
    values, cells = np.unique(times, return_counts=True)
    few = 2 if len(values) <= MANY_TIMES else FEW_CELLS
    if len(values) < 3 or np.median(cells) >= few:
        return
    width = f"{np.ptp(values) / 8:.1g}"
    raise ValueError(
        f"{where} has {len(values)} times for {len(times)} cells, a continuous time (or a "
        f"pseudotime), expected snapshots of many cells: give bins={width} (BINS={width}), a width "
        "in its own unit, or bins='8 equal' for equal numbers of cells"
    )


def _require_snapshots(times: np.ndarray, where: str) -> None:
    values, cells = np.unique(times, return_counts=True)
    if len(values) < 2:
        raise ValueError(f"{where} has {len(values)} time point(s), expected at least two")
    lonely = values[cells < 2]
    if len(lonely):
        raise ValueError(
            f"{where} has {len(lonely)} time points with one cell, such as {lonely[:3].tolist()}; "
            "expected a snapshot of many cells at each (drop=... or DROP= leaves cells out, "
            "bins=... or BINS= makes snapshots of a continuous time)"
        )


def _text(label: object) -> str:
    return (label.decode("utf-8", "replace") if isinstance(label, bytes) else str(label)).strip()
