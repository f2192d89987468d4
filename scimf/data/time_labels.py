"""What one label of a time says: numbers, a unit, and what else stands beside them."""

import re
from typing import NamedTuple

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
#: Abbreviations that also say since when; those like "hpf" and "dpi" are recognised by rule.
SINCE = {"e": ("day", "e"), "div": ("day", "iv"), "pcw": ("week", "pc"), "gw": ("week", "g")}
SECONDS = {unit: seconds for unit, (_, seconds) in UNITS.items() if seconds}
_UNIT_OF = {word: unit for unit, (words, _) in UNITS.items() for word in words.split()}
_SINCE = re.compile("([hdw])(p[a-z])")

_DASHES = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2212\ufe63\uff0d"), "-")
_NUMBER = re.compile(r"(?:[0-9]+(?:\.[0-9]*|,[0-9]+)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_THOUSANDS = re.compile(r"[1-9][0-9]{0,2},[0-9]{3}")
_DOT_BEHIND_WORD = re.compile(r"(?<=[^\W\d_])\.(?=[0-9])")
_BOUND = r"\s*([-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[-+]?[0-9]+)?|[-+]?inf)\s*"
_INTERVAL = re.compile(rf"[\[(]{_BOUND},{_BOUND}[\])]")  # as R and pandas cut
_BEFORE = re.compile(r"(?P<words>[^<>≤≥]*?)(?P<gap>[\s_=:(\[<>≤≥]*)(?P<sign>[-+]?)(?P<after>\s*)")


class Label(NamedTuple):
    """What a label of a time says."""

    low: float
    high: float  #: the same unless it is a window
    unit: str | None = None  #: one of :data:`UNITS`
    words: frozenset[str] = frozenset()  #: what else stands beside the number
    shape: str = ""  #: "window", "open" (``> 650``) or ""
    mark: str = ""  #: "-" or "." directly behind a word: a separator, or a part of the number


def unit_of(word: str, before: bool = False) -> tuple[str | None, str]:
    """Return the unit that a word means, and what it says else: ``"hpf"`` is an hour of ``"pf"``.

    Before a number (``before``), "s" and "y" are no units: ``S1`` is a sample.
    """
    plain = word.removesuffix("s") or word
    if since := _SINCE.fullmatch(plain):
        return _UNIT_OF[since[1]], since[2]
    if before and plain in ("s", "y"):
        return None, plain
    return SINCE.get(plain) or ((_UNIT_OF[plain], "") if plain in _UNIT_OF else (None, plain))


def to_unit(time: float, unit: str | None, wanted: str | None) -> float:
    """Turn a time into another unit; one without a unit stays."""
    if unit in (None, wanted):
        return time
    return time * SECONDS[unit] / SECONDS[wanted]


def read_label(label: str) -> Label:
    """Read one label, such as ``"Day 3.5"``, ``"24hpf"``, ``"E8.5"``, ``"hrs_04_08"``, ``"> 650"``.

    Raises
    ------
    ValueError
        If it is not one number or window, or has two readings; says why, as far as it is known.
    """
    text = " ".join(label.translate(_DASHES).split())
    if interval := _INTERVAL.fullmatch(text):
        return _window(*map(float, interval.groups()))
    text, dots = _DOT_BEHIND_WORD.subn(" ", text, count=1)
    texts, numbers = _NUMBER.split(text), _NUMBER.findall(text)
    before = _BEFORE.fullmatch(texts[0])
    if len(numbers) not in (1, 2) or before is None:
        raise ValueError("" if len(numbers) < 2 else "there is more than one number")
    in_front, behind = _words(before["words"], " _.-'/:"), _words(texts[-1], " _.:)]-'+")
    if in_front and re.search("[eE]", "".join(numbers)):
        raise ValueError("two numbers around an 'e'")
    values = [_value(number) for number in numbers]
    joined = bool(before["words"]) and (not before["gap"] or bool(before["after"]))
    mark = "." if dots else ""
    if before["sign"] == "-" and joined:
        mark = "-"
    elif before["sign"] == "-":
        values[0] = -values[0]
    is_open = bool(set(before["gap"]) & set("<>≤≥")) or "+" in texts[-1]
    if len(numbers) == 1:
        read = Label(values[0], values[0], shape="open" if is_open else "", mark=mark)
    elif is_open or mark == "-":
        raise ValueError("there is more than one number")
    else:
        between = _words(texts[1], " _-")
        values[1] *= _sign_between(texts[1], between, numbers)
        read = _window(*values)._replace(mark=mark)
        behind += [word for word in between if word != "to"]
    return _with_unit(read, in_front, behind)


def _with_unit(read: Label, in_front: list[str], behind: list[str]) -> Label:
    found = [unit_of(word, before=True) for word in in_front] + [unit_of(word) for word in behind]
    units = {unit for unit, _ in found} - {None}
    if len(units) > 1:
        raise ValueError("there is more than one unit")
    words = frozenset(word for _, word in found if word)
    return read._replace(unit=next(iter(units), None), words=words)


def _value(number: str) -> float:
    if _THOUSANDS.fullmatch(number):
        raise ValueError("the comma may stand for thousands or decimals: write 1000 or 1.0")
    return float(number.replace(",", "."))


def _sign_between(text: str, words: list[str], numbers: list[str]) -> int:
    """Sign of a window's second number; an error if what stands between makes no window."""
    marks = "".join(letter for letter in text if letter in "_-")
    if "to" in words:
        marks = "-" + marks.strip("_")
    if marks == "_":
        # hrs_04_08 is a window; day_1_5 may be one, a day with a replicate, or 1.5.
        if not all(number.isdecimal() for number in numbers) or len(numbers[0]) < 2:
            raise ValueError("write 4-8 for a window, 4.8 for a number")
        if len(numbers[0]) != len(numbers[1]):
            raise ValueError("write 4-8 for a window, 4.8 for a number")
    elif marks not in ("-", "--"):
        raise ValueError("there is more than one number")
    return -1 if marks == "--" else 1


def _window(low: float, high: float) -> Label:
    if not low < high:
        raise ValueError("two numbers, but not as in a window, where the second is larger")
    bounds = [bound for bound in (low, high) if abs(bound) != float("inf")]
    if not bounds:
        raise ValueError("it has no bound")
    return Label(bounds[0], bounds[-1], shape="window" if len(bounds) == 2 else "open")


def _words(text: str, allowed: str) -> list[str]:
    """Words between signs that may separate; an error if there is any other sign."""
    if any(not letter.isalpha() and letter not in allowed for letter in text):
        raise ValueError("")
    if text.rstrip().endswith("-") and " _-" != allowed:
        raise ValueError("a dash without a second number")
    return "".join(letter if letter.isalpha() else " " for letter in text.lower()).split()
