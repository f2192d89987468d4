"""Labels of times: the number, the sign and the unit that each says, in the light of all others."""

import re
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

#: How each unit is written (a plural "s" may follow), and its seconds; months and years vary.
UNITS = {
    "second": ("s sec second", 1),
    "minute": ("min minute", 60),
    "hour": ("h hr hour", 3600),
    "day": ("d day", 86_400),
    "week": ("w wk week", 604_800),
    "month": ("mo mon month", None),
    "year": ("y yr year", None),
}
#: Abbreviations that also say since when; those like "hpf" and "dpi" are read by rule.
SINCE = {"e": ("day", "e"), "div": ("day", "iv"), "pcw": ("week", "pc"), "gw": ("week", "g")}
SECONDS = {unit: seconds for unit, (_, seconds) in UNITS.items() if seconds}
_WORDS = {word: unit for unit, (words, _) in UNITS.items() for word in words.split()}
_SINCE = re.compile("([hdw])(p[a-z])")

_DASHES = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2212\ufe63\uff0d"), "-")
_NUMBER = re.compile(r"(?:[0-9]+(?:\.[0-9]*|,[0-9]+)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_THOUSANDS = re.compile(r"[1-9][0-9]{0,2},[0-9]{3}")
_DOT_BEHIND_WORD = re.compile(r"(?<=[^\W\d_])\.(?=[0-9])")
_IN_FRONT = re.compile(r"(?P<words>[^<>≤≥]*?)(?P<gap>[\s_=:(\[<>≤≥]*)(?P<sign>[-+]?)(?P<space>\s*)")
_BOUND = r"\s*([-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[-+]?[0-9]+)?|[-+]?inf)\s*"
_INTERVAL = re.compile(rf"[\[(]{_BOUND},{_BOUND}[\])]")  # as R and pandas cut
_MORE_NUMBERS = "there is more than one number"


class _Label(NamedTuple):
    """What a label of a time says."""

    low: float
    high: float  #: the same unless it is a window
    unit: str | None = None  #: one of :data:`UNITS`
    words: frozenset[str] = frozenset()  #: what else stands beside the number
    shape: str = ""  #: "window", "open" (``> 650``) or ""
    mark: str = ""  #: "-", "--" or "." directly behind a word: separates, or belongs to the number

    def middle(self, unit: str | None) -> float:
        """Time in another unit; one without a unit stays as it is."""
        time = (self.low + self.high) / 2 + 0.0  # no -0.0
        return time if self.unit in (None, unit) else time * SECONDS[self.unit] / SECONDS[unit]


def unit_of(word: str, *, in_front: bool) -> tuple[str | None, str]:
    """Return the unit that a word means, and what else it says: "hpf" is an hour of "pf".

    In front of a number "s" and "y" are no units (``S1`` is a sample), behind it "e" is none.
    """
    word = word.removesuffix("s") or word
    if word in (("s", "y") if in_front else ("e",)):
        return None, word
    if since := _SINCE.fullmatch(word):
        return _WORDS[since[1]], since[2]
    return SINCE.get(word) or ((_WORDS[word], "") if word in _WORDS else (None, word))


def find_time(text: str, known: np.ndarray, unit: str | None) -> float | None:
    """Return the number that a text such as "day 2" says, in the unit of the ``known`` times.

    ``None`` if it says none, or its unit cannot be turned into ``unit``. A dash that may be a sign
    is one if that time is known (times,).
    """
    try:
        label = _read_label(text)
    except ValueError:
        return None
    if label.unit not in (None, unit) and not {label.unit, unit} <= set(SECONDS):
        return None
    time = label.middle(unit)
    return -time if label.mark == "-" and np.isclose(known, -time).any() else time


def _read_label(label: str) -> _Label:
    """Read one label, such as "Day 3.5", "24hpf", "E8.5", "hrs_04_08" or "> 650".

    Raises
    ------
    ValueError
        If it is not one number or window, or has two readings; says why, as far as it is known.
    """
    text = " ".join(label.translate(_DASHES).split())
    if interval := _INTERVAL.fullmatch(text):
        return _window(*map(float, interval.groups()))
    text, dots = _DOT_BEHIND_WORD.subn(" ", text, count=1)
    texts = _NUMBER.split(text)
    numbers = _NUMBER.findall(text)
    front = _IN_FRONT.fullmatch(texts[0])
    if len(numbers) not in (1, 2) or front is None:
        raise ValueError(_MORE_NUMBERS if len(numbers) > 2 else "")
    in_front = _words(front["words"], " _.-'/:")
    if front["words"] and not in_front:
        raise ValueError("")
    behind = _words(texts[-1], " _.:()[]-'+")
    if texts[-1].endswith("-"):
        raise ValueError("there is a dash without a second number")
    if in_front and re.search("[eE][0-9]", "".join(numbers)):
        raise ValueError(_MORE_NUMBERS)  # P1e2
    values = [_value(number) for number in numbers]
    mark = "." if dots else ""
    if front["sign"] == "-" and in_front and (front["space"] or not front["gap"]):
        mark = "--" if front["words"].endswith("-") else "-"
    if front["sign"] == "-" and mark != "-":
        values[0] = -values[0]
    is_open = bool(set(front["gap"]) & set("<>≤≥")) or "+" in texts[-1]
    if len(numbers) == 1:
        read = _Label(values[0], values[0], shape="open" if is_open else "")
    elif is_open or "-" in mark:
        raise ValueError(_MORE_NUMBERS)
    else:
        between = _words(texts[1], " _-")
        if not set(between) <= {"to", *in_front, *behind}:
            raise ValueError(_MORE_NUMBERS)  # 4-OHT 24h
        read = _window(values[0], values[1] * _second_sign(texts[1], between, numbers))
    found = [unit_of(word, in_front=True) for word in in_front]
    found += [unit_of(word, in_front=False) for word in behind]
    units = {unit for unit, _ in found} - {None}
    if len(units) > 1:
        raise ValueError("there is more than one unit")
    words = frozenset(word for _, word in found if word)
    return read._replace(unit=next(iter(units), None), words=words, mark=mark)


def _words(text: str, allowed: str) -> list[str]:
    """Words between what may separate them; an error if there is anything else."""
    if any(not letter.isalpha() and letter not in allowed for letter in text):
        raise ValueError("")
    return "".join(letter if letter.isalpha() else " " for letter in text.lower()).split()


def _value(number: str) -> float:
    if _THOUSANDS.fullmatch(number):
        raise ValueError("its comma may stand for thousands or decimals: write 1000 or 1.0")
    return float(number.replace(",", "."))


def _second_sign(text: str, words: list[str], numbers: list[str]) -> int:
    """Sign of a window's second number; an error if what stands between makes no window."""
    marks = "".join(letter for letter in text if letter in "_-")
    if "to" in words:
        marks = "-" + marks.strip("_")
    if marks == "_":
        # hrs_04_08 is a window; day_1_5 may be one, or 1.5, or a replicate.
        lengths = {len(number) if number.isdecimal() else 0 for number in numbers}
        if len(lengths) > 1 or lengths <= {0, 1}:
            raise ValueError("write 4-8 for a window, 4.8 for a number")
    elif marks not in ("-", "--"):
        raise ValueError(_MORE_NUMBERS)
    return -1 if marks == "--" else 1


def _window(low: float, high: float) -> _Label:
    bounds = [bound for bound in (low, high) if np.isfinite(bound)]
    if not low < high or not bounds:
        raise ValueError("there are two numbers, but not as in a window, from less to more")
    return _Label(bounds[0], bounds[-1], shape="window" if len(bounds) == 2 else "open")


# ------------------------------------------------------------------------------- labels together


def times_of_texts(
    texts: list[str], where: str, notes: list[str]
) -> tuple[list[float], str | None]:
    """Return the time of each label, and their unit if they tell it.

    Raises
    ------
    ValueError
        If a label cannot be read, if there are two readings, or if two labels would be one time.
    """
    labels, bad = {}, {}
    for text in texts:
        try:
            labels[text] = _read_label(text)
        except ValueError as error:
            bad[text] = f" ({error})" if str(error) else ""
    if bad:
        few = list(bad)[:3]
        hint = "choose another column with time_key=..."
        if labels:
            hint = f"drop={few} or DROP={','.join(few)!r} leaves such cells out"
        problem = f"{a_few(bad)} cannot be read{bad[few[0]]}"
        raise ValueError(f"{where}: {problem}, expected numbers or text like 'day 3'; {hint}")
    _decide_marks(labels, where, notes)
    unit = _common_unit(labels, where, notes)
    times = [label.middle(unit) for label in labels.values()]
    became = [f"{text[:40]!r} became {time:g}" for text, time in zip(labels, times, strict=True)]
    more = ", ..." if len(became) > 4 else ""
    notes.append(f"Times were read from text labels: {', '.join(became[:4])}{more}.")
    written = {}
    for text, time in zip(labels, times, strict=True):
        written.setdefault(f"{time:.12g}", []).append(text)
    for same in written.values():
        if len(same) == 1:
            continue
        if len({labels[text].shape and labels[text][:2] for text in same}) > 1:
            raise ValueError(f"{where}: {a_few(same)} would be one time, expected one label each")
        notes.append(f"The labels {a_few(same)} are one time.")
    _note_windows(labels, where, notes)
    time_of = dict(zip(labels, times, strict=True))
    return [time_of[text] for text in texts], unit  # 1 and "1" are one text


def _decide_marks(labels: dict[str, _Label], where: str, notes: list[str]) -> None:
    """Decide from all labels whether what stands between a word and a number is a sign."""
    for mark, name in (("-", "dash"), (".", "dot")):
        marked = [text for text, label in labels.items() if label.mark.startswith(mark)]
        doubtful = mark == "." or any(labels[text].low <= 0 for text in marked)
        if len(marked) == len(labels):
            doubtful = all(label.mark == "--" for label in labels.values())
        if marked and doubtful:
            raise ValueError(
                f"{where}: the {name} of {a_few(marked)} may separate or belong to the number, "
                "which other labels do not decide; write numbers such as -1 or 0.5"
            )
        if len(marked) == len(labels):
            notes.append(f"The {name} of {marked[0]!r} is taken as a separator: all have one.")
        elif marked:
            notes.append(f"The dash of {marked[0]!r} is taken as a sign, for not all have one.")
            for text in marked:
                time = -labels[text].low
                labels[text] = labels[text]._replace(low=time, high=time)


def _common_unit(labels: dict[str, _Label], where: str, notes: list[str]) -> str | None:
    """Return the smallest unit of all labels; an error if one cannot be turned into another."""
    examples = {}
    for text, label in labels.items():
        if label != _Label(0, 0):  # a bare 0 is 0 in every unit
            examples.setdefault((label.unit, label.words), text)
    units = {unit for unit, _ in examples}
    words = {words for _, words in examples}
    if len(words) > 1 or (len(units) > 1 and not units <= set(SECONDS)):
        problem = f"mixes units or words, such as in {a_few(examples.values())}"
        raise ValueError(f"{where} {problem}, expected the same around every number")
    if any("e" in part for part in words):
        notes.append("'E' is taken as embryonic days.")
    if len(units) < 2:
        return next(iter(units), None)
    unit = min(units, key=SECONDS.get)
    notes.append(f"Labels in {' and '.join(sorted(units))} were turned into times in {unit}.")
    return unit


def _note_windows(labels: dict[str, _Label], where: str, notes: list[str]) -> None:
    windows = [text for text, label in labels.items() if label.shape == "window"]
    beyond = [text for text, label in labels.items() if label.shape == "open"]
    spans = {labels[text][:2] for text in windows}
    if any(len({span[end] for span in spans}) < len(spans) for end in (0, 1)):
        problem = f"{a_few(windows)} look like windows, but two begin or end alike"
        raise ValueError(f"{where}: {problem}; write one number for each, such as its middle")
    if windows:
        notes.append(f"Windows such as {windows[0]!r} are taken at their middles.")
    if beyond:
        notes.append(f"{a_few(beyond)} has no other end and is taken at its bound.")


def a_few(labels: Iterable, most: int = 3) -> str:
    """Write the first labels, none longer than can be read."""
    labels = list(labels)
    shown = [repr(label[:40] if isinstance(label, str) else label) for label in labels[:most]]
    return ", ".join(shown) + (", ..." if len(labels) > most else "")
