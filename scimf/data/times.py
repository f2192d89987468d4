"""When cells were taken: from a column of numbers, labels or dates to times, and their unit."""

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from scimf.data.time_labels import SECONDS, Label, read_label, to_unit, unit_of

MISSING = {"", "nan", "na", "n/a", "none", "<na>", "nat"}  #: what DROP may call a missing value
NEAR = 1e-6  #: times that differ by less, relative to their size, cannot be told apart
FEW_CELLS = 10  #: fewer at most of more than MANY_TIMES times: a continuous time, not snapshots
MANY_TIMES = 20
_YEAR_FIRST = re.compile(r"\d{4}([-/.])\d\d?\1\d\d?([ T]\d\d?:\d\d.*)?")
_YEAR_LAST = re.compile(r"\d\d?([-/.])\d\d?\1\d{4}")
_PACKED_DATE = re.compile(r"(19|20)\d{6}(\.0)?")
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
    """Find the cells whose label of the time is none of those to be dropped.

    Parameters
    ----------
    drop
        Labels of ``obs[key]``, as a list or separated by commas; "nan" stands for a missing value.

    Raises
    ------
    ValueError
        If the column or a label is not there, or no cell would be left.
    """
    column = column_of(obs, key, path, "the time of each cell").astype(object)
    where = f"{path}: obs[{key!r}]"
    if isinstance(drop, str):
        drop = drop.split(",")
    wanted = [drop] if np.isscalar(drop) else list(drop)
    texts = column.map(_text)
    dropped = np.zeros(len(column), dtype=bool)
    unknown = []
    for label in map(_text, wanted):
        found = (texts == label).to_numpy()
        if label.lower() in MISSING:
            found = found | column.isna().to_numpy()
        elif not found.any() and _number(label) is not None:  # "999" for 999.0
            found = (texts.map(_number) == _number(label)).to_numpy()
        if not found.any():
            unknown.append(label)
        dropped |= found
    if unknown:
        there = _some(texts.unique(), 8)
        raise ValueError(f"{where}: drop={unknown} is no label of this column, which has {there}")
    if dropped.all():
        raise ValueError(f"{where}: drop={wanted} leaves no cell, expected some with a time")
    left_out = f"{int(dropped.sum())} of {len(column)} cells were dropped"
    notes.append(f"{left_out}, for their {key!r} is one of {[_text(label) for label in wanted]}.")
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
    bins
        For a continuous time: a width in the unit of the column, or "4 equal" for as many bins of
        equal numbers of cells. Each bin stands at the mean time of its cells.
    notes
        What was done is added, in words.

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
        expected = "expected a time for each (drop=['nan'] or DROP=nan leaves these cells out)"
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
    parts = re.findall(r"[A-Z]?[a-z]+|[A-Z]+", key)
    called = {unit_of(part.lower(), before=True)[0] for part in parts} - {None}
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


def find_time(text: str, known: np.ndarray, unit: str | None) -> float | None:
    """Return the number of one of the ``known`` times (times,), from a text such as "day 2".

    ``None`` if it has no number, or its unit does not lead to ``unit``, that of the known times.
    """
    try:
        label = read_label(text)
    except ValueError:
        return None
    time = (label.low + label.high) / 2
    if label.unit not in (None, unit):
        if unit not in SECONDS or label.unit not in SECONDS:
            return None
        time = to_unit(time, label.unit, unit)
    if label.mark == "-" and np.isclose(known, -time, rtol=NEAR).any():
        return -time
    return time


# ------------------------------------------------------------------------- what kind of column


def _values_of(labels: np.ndarray, where: str, notes: list[str]) -> tuple[ArrayLike, str | None]:
    """Time of each different label, and their unit if they tell it."""
    kind = labels.dtype.kind
    if kind == "M":
        return _days(pd.DatetimeIndex(labels), notes)
    if kind == "m":
        return _durations(pd.TimedeltaIndex(labels), notes)
    texts = [_text(label) for label in labels]
    if texts and all(map(_PACKED_DATE.fullmatch, texts)):
        packed = [text.removesuffix(".0") for text in texts]
        if pd.to_datetime(packed, format="%Y%m%d", errors="coerce").notna().all():
            write = "write 2021-01-31 for a date, or the days since the first"
            raise ValueError(f"{where}: {_some(packed)} are numbers or dates, {write}")
    if kind in "iuf":
        return list(map(float, texts)), None  # the shortest decimals, of float32 and float16 too
    if all(map(_YEAR_FIRST.fullmatch, texts)) or all(map(_YEAR_LAST.fullmatch, texts)):
        return _days(_dates(texts, where), notes)
    if all(map(_DURATION.fullmatch, texts)):
        return _durations(pd.to_timedelta(texts), notes)
    return _times_of_texts(texts, where, notes)


def _dates(texts: list[str], where: str) -> pd.DatetimeIndex:
    plain = pd.Series(texts).str.replace(r"[/.](?=\d+[-/.]|\d{4}$|\d\d?($|[ T]))", "-", regex=True)
    formats = ["ISO8601"]
    if _YEAR_LAST.fullmatch(texts[0]):
        # Dots are written between day and month; dashes and slashes also between month and day.
        formats = ["%d-%m-%Y"] if "." in texts[0] else ["%d-%m-%Y", "%m-%d-%Y"]
    readings = [pd.to_datetime(plain, format=one, utc=True, errors="coerce") for one in formats]
    whole = [pd.DatetimeIndex(dates) for dates in readings if dates.notna().all()]
    if len(whole) != 1:
        problem = "are no dates" if not whole else "may be day/month or month/day"
        raise ValueError(f"{where}: {_some(texts)} {problem}, write 2021-01-31")
    return whole[0]


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


# --------------------------------------------------------------------------------- labels of text


def _times_of_texts(
    texts: list[str], where: str, notes: list[str]
) -> tuple[list[float], str | None]:
    parsed, bad = {}, {}
    for text in texts:
        try:
            parsed[text] = read_label(text)
        except ValueError as error:
            bad[text] = str(error)
    if bad:
        reason = next(filter(None, bad.values()), "")
        problem = f"{_some(bad)} cannot be read as a time" + (f" ({reason})" if reason else "")
        hint = "choose another column with time_key=..."
        if parsed:
            hint = f"drop={list(bad)[:3]} or DROP={','.join(list(bad)[:3])} leaves such cells out"
        raise ValueError(f"{where}: {problem}, expected numbers or text like 'day 3'; {hint}")
    parsed = _with_signs(parsed, where, notes)
    unit = _common_unit(parsed, where, notes)
    times, written = [], {}
    for text, label in parsed.items():
        low, high = (to_unit(part, label.unit, unit) for part in (label.low, label.high))
        times.append((low + high) / 2)
        written.setdefault(f"{times[-1]:.12g}", []).append(
            (text, f"{low:.12g} {high:.12g} {label.shape}")
        )
    several = [labels for labels in written.values() if len(labels) > 1]
    for labels in several:
        if len({span for _, span in labels}) > 1:
            names = _some([text for text, _ in labels])
            raise ValueError(
                f"{where}: {names} would be one time, expected one label for each time"
            )
    became = [f"{text[:40]!r} became {time:g}" for text, time in zip(parsed, times, strict=True)]
    more = ", ..." if len(became) > 4 else ""
    notes.append(f"Times were read from text labels: {', '.join(became[:4])}{more}.")
    for labels in several[:3]:
        notes.append(f"The labels {_some([text for text, _ in labels])} are one time.")
    _note_windows(parsed, where, notes)
    return times, unit


def _with_signs(
    parsed: dict[str, Label], where: str, notes: list[str]
) -> dict[str, Label]:  # the same, with the sign where it is one
    """Decide from all labels whether what stands between a word and a number is a sign."""
    for mark, name in (("-", "dash"), (".", "dot")):
        marked = [text for text, label in parsed.items() if label.mark == mark]
        if not marked:
            continue
        if len(marked) == len(parsed):
            notes.append(f"The {name} of {marked[0]!r} is taken as a separator: all have one.")
        elif mark == "." or any(parsed[text].low == 0 for text in marked):
            others = [text for text in parsed if text not in marked]
            raise ValueError(
                f"{where}: the {name} of {_some(marked)} may be a part of the number or a "
                f"separator, for {_some(others)} have none; write numbers, such as -1 or 0.5"
            )
        else:
            notes.append(f"The dash of {marked[0]!r} is taken as a sign, for not all have one.")
            for text in marked:
                time = -parsed[text].low
                parsed[text] = parsed[text]._replace(low=time, high=time)
    return parsed


def _common_unit(parsed: dict[str, Label], where: str, notes: list[str]) -> str | None:
    """Return the smallest unit of all labels; an error if one cannot be turned into another."""
    examples = {}
    for text, label in parsed.items():
        if label.unit or label.words or label.low or label.high:  # a bare 0 is 0 in every unit
            examples.setdefault((label.unit, label.words), text)
    units = {unit for unit, _ in examples}
    words = {words for _, words in examples}
    if len(words) > 1 or (len(units) > 1 and not units <= set(SECONDS)):
        found = _some(examples.values())
        expected = "expected the same around every number"
        raise ValueError(f"{where} mixes units or words, such as in {found}, {expected}")
    if len(units) > 1:
        unit = min(units, key=SECONDS.get)
        notes.append(f"Labels in {' and '.join(sorted(units))} were turned into times in {unit}.")
        return unit
    if words and "e" in next(iter(words)):
        notes.append("'E' is taken as embryonic days.")
    return next(iter(units), None)


def _note_windows(parsed: dict[str, Label], where: str, notes: list[str]) -> None:
    windows = [text for text, label in parsed.items() if label.shape == "window"]
    beyond = [text for text, label in parsed.items() if label.shape == "open"]
    spans = {(parsed[text].low, parsed[text].high) for text in windows}
    if len({low for low, _ in spans}) < len(spans) or len({high for _, high in spans}) < len(spans):
        problem = f"{_some(windows)} look like windows, but two begin or end alike"
        raise ValueError(f"{where}: {problem}; write one number for each, such as its middle")
    if windows:
        notes.append(f"Windows such as {windows[0]!r} are taken at their middles.")
    if beyond:
        notes.append(f"{_some(beyond)} has no other end and is taken at its bound.")


# --------------------------------------------------------------------------- numbers of all cells


def _binned(
    times: np.ndarray, bins: str | float, where: str, notes: list[str]
) -> np.ndarray:  # (cells,)
    text = str(bins).strip().lower()
    number = text.replace("equal", "", 1).strip(" =:_-")
    low, high = times.min(), times.max()
    if number != text and number.isdecimal() and int(number) > 1:
        edges = np.unique(np.quantile(times, np.linspace(0, 1, int(number) + 1)))
    else:
        width = _number(text)
        if width is None or not 0 < width < high - low or (high - low) / width > len(times):
            span = f"times go from {low:g} to {high:g}"
            expected = "expected a width in the unit of the column such as 60, or '4 equal'"
            raise ValueError(f"{where}: bins={bins!r} cannot be used, {expected}; {span}")
        first, last = np.floor(low / width + NEAR), np.ceil(high / width - NEAR)
        edges = np.arange(first, last + 1) * width
    inner = edges[1:-1] - NEAR * (edges[1] - edges[0])  # 0.3 is in the bin that begins at 3 * 0.1
    index = np.searchsorted(inner, times, side="right")
    binned, shown = np.empty_like(times), []
    for k in np.unique(index).tolist():
        mine = index == k
        mean = float(f"{times[mine].mean():.6g}")  # short enough to be typed
        binned[mine] = mean
        shown.append(f"{edges[k]:g} to {edges[k + 1]:g} ({mine.sum()} cells, at {mean:g})")
    notes.append(f"Times were put into {len(shown)} bins: {', '.join(shown[:30])}.")
    return binned


def _without_noise(
    times: np.ndarray, where: str, notes: list[str]
) -> np.ndarray:  # (cells,), one time where one was stored in several precisions
    values, codes = np.unique(times, return_inverse=True)
    if len(values) < 2:
        return times
    step = values[-1] / (len(values) - 1) - values[0] / (len(values) - 1)
    groups = [[values[0]]]
    for value in values[1:].tolist():
        short, long = sorted((_shortest(groups[-1]), value), key=_length)
        apart = abs(short - long)
        near = apart <= NEAR * max(abs(short), abs(long)) or apart <= 1e-9 * step
        near = near and not (short.is_integer() and long.is_integer())
        with np.errstate(over="ignore"):
            rounded = float(np.float16(short)) == long and _length(long) > _length(short)
        if near and not rounded and apart > 1e-3 * step:
            problem = f"has times that are hardly apart, {short!r} and {long!r}"
            raise ValueError(f"{where} {problem}, expected one number for each time")
        if near or rounded:
            groups[-1].append(value)
        else:
            groups.append([value])
    for group in groups:
        if len(group) > 1:
            notes.append(f"{_some(group)} are one time, {_shortest(group):g}, but for rounding.")
    return np.array([_shortest(group) for group in groups for _ in group])[codes]


def _require_no_continuum(times: np.ndarray, where: str) -> None:
    values, cells = np.unique(times, return_counts=True)
    middle = np.median(cells)
    if len(values) < 3 or not (middle < 2 or (len(values) > MANY_TIMES and middle < FEW_CELLS)):
        return
    width = f"{(values[-1] - values[0]) / 8:.1g}"
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
            "expected a snapshot of many cells at each time: use drop=... (DROP=), or bins=... "
            "(BINS=) if the time is continuous"
        )


# ----------------------------------------------------------------------------------------- writing


def _text(label: object) -> str:
    return (label.decode("utf-8", "replace") if isinstance(label, bytes) else str(label)).strip()


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _some(labels: Iterable, most: int = 3) -> str:
    """Write the first labels, each no longer than can be read."""
    labels = list(labels)
    shown = [repr(label[:40] if isinstance(label, str) else label) for label in labels[:most]]
    return ", ".join(shown) + (", ..." if len(labels) > most else "")


def _length(value: float) -> int:
    return len(repr(float(value)))


def _shortest(values: list[float]) -> float:
    return float(min(values, key=_length))
