"""When cells were taken: from a column of numbers, labels or dates to times, and their unit."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from scimf.data.blocks import DataFile

SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400, "week": 604_800}  #: in a unit
SHORT = {"sec": "second", "min": "minute", "h": "hour", "hr": "hour"}
SHORT |= {"d": "day", "w": "week", "wk": "week", "pcw": "week"}
EXPECTED = "expected one number each, or text such as 'day 3', '24 hpf', '4-8 h' or '2021-01-31'"
MISSING = {"", "nan", "na", "none", "<na>", "nat"}  #: what ``drop`` may call a missing value
NEAR = 1e-6  #: times that differ by less, relative to their size, cannot be told apart
MANY_TIMES = 20  #: more, of fewer than FEW_CELLS cells each, are a continuous time
FEW_CELLS = 10

_DASHES = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2212\ufe63\uff0d"), "-")
_INTERVAL = re.compile(r"[\[(](.+),(.+)[\])]")  # as R and pandas cut
_THOUSANDS = re.compile(r"(?<!\d)[1-9]\d{0,2},\d{3}(?!\d)")  # 1,000 may be 1
_DATE = re.compile(r"\d{4}-\d\d-\d\d([ t]\d\d:\d\d.*)?", re.I)
_PACKED_DATE = re.compile(r"(19|20)\d\d(0[1-9]|1[0-2])([0-2]\d|3[01])(\.0)?")
_NUMBER = r"(?:\d+(?:[.,]\d+|\.)?|\.\d+)(?:e[-+]?\d+)?"
_LETTERS = r"[^\W\d_]+"
_WORDS = rf"{_LETTERS}(?:[ _.'/-]+{_LETTERS})*"
_LABEL = re.compile(
    rf"""
    (?:(?P<front>{_WORDS})(?P<dash>-|[ ]-[ ])?(?!\.\d))?  # the dash separates, or is a sign
    (?:\.[ ])?[ _=:(]*
    (?P<bound>[<>≤≥]=?)?[ ]?
    (?P<low>[-+]?{_NUMBER})
    (?:(?P<middle>[ ]?(?:{_LETTERS})?[ ]?(?:-|_|to)[ ]?(?:{_LETTERS})?[ ]?)
       (?P<high>-?{_NUMBER}))?
    (?P<more>\+?)
    (?:[ _.(-]*(?P<behind>{_WORDS}))?[).]*
    """,
    re.VERBOSE,
)


class _Label(NamedTuple):
    """What a label of a time says."""

    low: float
    high: float  #: the same unless it is a window
    unit: str | None = None
    words: frozenset[str] = frozenset()  #: what else stands beside the number
    has_dash: bool = False  #: behind a word: it separates, or is a sign
    is_open: bool = False  #: as in ``> 650``

    def time(self, unit: str | None) -> float:
        """Return the middle, in another unit; one without a unit stays as it is."""
        time = (self.low + self.high) / 2 + 0.0  # no -0.0
        return time if self.unit in (None, unit) else time * SECONDS[self.unit] / SECONDS[unit]


def _units_in(words: Iterable[str]) -> tuple[set[str], frozenset[str]]:
    """Return the units that words mean, and what else they say: "hpf" is an hour of "pf"."""
    units, others = set(), set()
    for word in map(str.lower, words):
        since = ""
        if word == "e":
            word, since = "d", "e"
        elif re.fullmatch("[hdw]p[a-z]", word):
            word, since = word[0], word[1:]
        unit = SHORT.get(word.removesuffix("s"), word.removesuffix("s"))
        if unit in SECONDS:
            units.add(unit)
        others.add(since if unit in SECONDS else word)
    return units, frozenset(others - {""})


def find_time(text: str, known: np.ndarray, unit: str | None) -> float | None:
    """Return the time that a text says, in the unit of the ``known`` ones; these tell its sign."""
    label = _read_label(text)
    if label is None or (label.unit not in (None, unit) and unit not in SECONDS):
        return None
    time = label.time(unit)
    return -time if label.has_dash and np.isclose(known, -time).any() else time


def _read_label(label: str) -> _Label | None:
    """Read a label, such as "Day 3.5", "24hpf", "E8.5", "hrs_04_08" or "> 650"."""
    text = label.translate(_DASHES).lower()
    text = _INTERVAL.sub(r"\1 - \2", " ".join(text.split()))
    found = _LABEL.fullmatch(" ".join(text.split()))
    if found is None or _THOUSANDS.search(text):
        return None
    part = found.groupdict(default="")
    words = re.findall(_LETTERS, f"{part['front']} {part['behind']}")
    units, others = _units_in(words)
    is_open = bool(part["bound"] or part["more"])
    if len(units) > 1 or (part["front"] and re.search(r"e\d", part["low"])):  # P1e2
        return None
    low = high = float(part["low"].replace(",", "."))
    if part["high"]:
        high = float(part["high"].replace(",", "."))
        # hrs_04_08 is a window; day_1_5 may be one, or 1.5, or a replicate.
        is_replicate = "_" in part["middle"] and not len(part["low"]) == len(part["high"]) > 1
        others_between = {*re.findall(_LETTERS, part["middle"])} - {"to", *words}  # 4-OHT 24h
        if part["dash"] or is_open or is_replicate or others_between or not low < high:
            return None
    return _Label(low, high, next(iter(units), None), others, bool(part["dash"]), is_open)


# --------------------------------------------------------------------------------- columns of times


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
    values, unit = _times_of_labels(labels, where, notes)
    times = np.asarray(values, dtype=np.float64)[codes]
    if not np.isfinite(times).all():
        raise ValueError(f"{where} is infinite for {np.isinf(times).sum()} cells")
    called, _ = _units_in(re.findall(r"[A-Z]?[a-z]+|[A-Z]+", key))
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
    step = gaps.mean()
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


# ---------------------------------------------------------------- labels in the light of all others


def _times_of_labels(
    labels: np.ndarray, where: str, notes: list[str]
) -> tuple[list[float], str | None]:
    """Return the time of each label (numbers, texts or dates), and their unit if they tell it.

    A ``ValueError`` if a label has no reading or two, or if two labels would be one time.
    """
    texts = [str(label).strip() for label in labels]
    if texts and all(map(_PACKED_DATE.fullmatch, texts)):
        raise ValueError(f"{where}: {_few(texts)} may be numbers or dates, write 2021-01-31")
    if labels.dtype.kind == "m":
        notes.append("Durations were read in hours.")
        return (labels / np.timedelta64(1, "h")).tolist(), "hour"
    if labels.dtype.kind in "iuf":
        return list(map(float, texts)), None  # the shortest decimals, of float32 and float16 too
    if all(map(_DATE.fullmatch, texts)):
        dates = pd.to_datetime(texts, format="ISO8601", utc=True, errors="coerce")
        if dates.isna().any():
            raise ValueError(f"{where}: {_few(texts)} are no dates, write 2021-01-31")
        notes.append(f"Dates were read as days since the first, {dates.min():%Y-%m-%d}.")
        return ((dates - dates.min()) / pd.Timedelta(days=1)).tolist(), "day"
    read = {text: _read_label(text) for text in texts}
    bad = [text for text in read if read[text] is None]
    if bad:
        hint = "choose another column with time_key=..."
        if len(bad) < len(read):
            hint = f"drop={bad[:3]} or DROP={','.join(bad[:3])!r} leaves such cells out"
        raise ValueError(f"{where}: {_few(bad)} cannot be read as one time, {EXPECTED}; {hint}")
    _decide_dashes(read, where, notes)
    unit = _common_unit(read, where, notes)
    times = {text: label.time(unit) for text, label in read.items()}
    became = [f"{text[:40]!r} became {time:g}" for text, time in list(times.items())[:4]]
    notes.append(f"Times were read from text labels: {', '.join(became)}.")
    _require_one_label_each(read, times, where, notes)
    return [times[text] for text in texts], unit


def _decide_dashes(labels: dict[str, _Label], where: str, notes: list[str]) -> None:
    """Decide from all labels whether a dash between a word and a number is a sign."""
    dashed = {text: label for text, label in labels.items() if label.has_dash}
    if not dashed:
        return
    lows = [label.low for label in dashed.values()]
    is_separator = len(dashed) == len(labels)
    if max(lows) < 0 if is_separator else min(lows) <= 0:
        problem = f"the dash of {_few(dashed)} may separate or belong to the number"
        raise ValueError(f"{where}: {problem}, write numbers such as -1")
    means = "separator: all have one" if is_separator else "sign, for not all have one"
    notes.append(f"The dash of {next(iter(dashed))!r} is taken as a {means}.")
    if not is_separator:
        for text, label in dashed.items():
            labels[text] = label._replace(low=-label.low, high=-label.high)


def _common_unit(labels: dict[str, _Label], where: str, notes: list[str]) -> str | None:
    """Return the smallest unit of all labels; an error if they say different things."""
    examples = {}
    for text, label in labels.items():
        if label != _Label(0, 0):  # a bare 0 is 0 in every unit
            examples.setdefault((label.unit, label.words), text)
    units = {unit for unit, _ in examples}
    words = {words for _, words in examples}
    if len(words) > 1 or (len(units) > 1 and None in units):
        raise ValueError(f"{where} mixes units or words, such as in {_few(examples.values())}")
    if any("e" in part for part in words):
        notes.append("'E' is taken as embryonic days.")
    unit = min(units, key=SECONDS.get) if None not in units and units else None
    if len(units) > 1:
        notes.append(f"Labels in {' and '.join(sorted(units))} were turned into times in {unit}.")
    return unit


def _require_one_label_each(
    labels: dict[str, _Label], times: dict[str, float], where: str, notes: list[str]
) -> None:
    """Refuse labels that mean different things but would be one time."""
    windows = [text for text, label in labels.items() if label.low < label.high]
    beyond = [text for text, label in labels.items() if label.is_open]
    written = {}
    for text, time in times.items():
        written.setdefault(f"{time:.12g}", []).append(text)
    for same in written.values():
        if len(same) > 1 and {*same} & {*windows, *beyond}:
            raise ValueError(f"{where}: {_few(same)} would be one time, expected one label each")
        if len(same) > 1:
            notes.append(f"The labels {_few(same)} are one time.")
    # Of day 1-2 and day 1-3 the second number may be a replicate; 4-6 h and 4-8 h are windows.
    doubtful = [text for text in windows if labels[text].unit in (None, "day")]
    for end in ("low", "high"):
        if len({getattr(labels[text], end) for text in doubtful}) < len(doubtful):
            problem = f"of the windows {_few(windows)} two begin or end alike"
            raise ValueError(f"{where}: {problem}, write their middles")
    if windows:
        notes.append(f"Windows such as {windows[0]!r} are taken at their middles.")
    if beyond:
        notes.append(f"{_few(beyond)} has no other end and is taken at its bound.")


def _few(labels: Iterable[str]) -> str:
    """Write the first labels, none longer than can be read."""
    labels = list(labels)
    return ", ".join(repr(label[:40]) for label in labels[:3]) + (", ..." if labels[3:] else "")
