"""Labels of times: the number, the sign and the unit that each says, in the light of all others."""

import re
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd

SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400, "week": 604_800}  #: in a unit
SHORT = {"sec": "second", "min": "minute", "h": "hour", "hr": "hour"}
SHORT |= {"d": "day", "w": "week", "wk": "week", "pcw": "week"}
EXPECTED = "expected one number each, or text such as 'day 3', '24 hpf', '4-8 h' or '2021-01-31'"

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


def units_in(words: Iterable[str]) -> tuple[set[str], frozenset[str]]:
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


def times_of_labels(
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


def _read_label(label: str) -> _Label | None:
    """Read a label, such as "Day 3.5", "24hpf", "E8.5", "hrs_04_08" or "> 650"."""
    text = label.translate(_DASHES).lower()
    text = _INTERVAL.sub(r"\1 - \2", " ".join(text.split()))
    found = _LABEL.fullmatch(" ".join(text.split()))
    if found is None or _THOUSANDS.search(text):
        return None
    part = found.groupdict(default="")
    words = re.findall(_LETTERS, f"{part['front']} {part['behind']}")
    units, others = units_in(words)
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
