"""Times as they stand in files of others, and the numbers they mean."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from hypothesis import strategies as st

#: How a time is written, and the unit that the label tells; "" leaves it to the name of the column.
LABELS = {
    "{}": "",
    "+{}": "",
    "day {}": "day",
    "Day {}": "day",
    "day{}": "day",
    "day_{}": "day",
    "d{}": "day",
    "D{}": "day",
    "{}d": "day",
    "{} days": "day",
    "{} dpi": "day",
    "E{}": "day",
    "{}h": "hour",
    "{} h": "hour",
    "{}hr": "hour",
    "{} hours": "hour",
    "{}H": "hour",
    "h{}": "hour",
    "{}hpf": "hour",
    "{} hpf": "hour",
    "hpf_{}": "hour",
    "{}min": "minute",
    "week {}": "week",
    "{}wk": "week",
    "t{}": "",
    "T{}": "",
    "time {}": "",
    "tp_{}": "",
}
#: A window becomes its middle.
WINDOWS = {
    "{}-{}h": "hour",
    "{}-{} h": "hour",
    "hrs_{}_{}": "hour",
    "{}-{}": "",
    "{}–{} hpf": "hour",
    "day {}-{}": "day",
    "{} to {} h": "hour",
}
KINDS = (*["numbers"] * 4, *["labels"] * 5, *["windows"] * 2, "dates", "units")
MINUS = ("-", "\u2212")  # the second is the sign that typesetters use
KEYS = {
    "day": "day",
    "days": "day",
    "collection_day": "day",
    "hours": "hour",
    "hpf": "hour",
    "time": "",
    "stage": "",
    "timepoint": "",
    "Age": "",
}


@dataclass(frozen=True)
class Times:
    """A column of times: what stands in the file for each snapshot, and what it means."""

    key: str
    labels: tuple  #: numbers or texts
    numbers: tuple[float, ...]
    unit: str
    doubtful: bool = False  #: two readings, so that a refusal is right, too
    dtype: str = "object"
    categorical: bool = False
    mixed: bool = False  #: every other cell went through float32, as after a concatenation

    def column(self, snapshot: tuple[int, ...]):  # (cells,)
        labels = np.array(self.labels, dtype=self.dtype)[list(snapshot)]
        if self.mixed:
            labels[::2] = labels[::2].astype(np.float32)
        return pd.Categorical(labels) if self.categorical else labels


@st.composite
def times(draw, fits, kinds: tuple[str, ...] = KINDS) -> Times:
    kind = draw(st.sampled_from(kinds))
    if kind == "numbers":
        return draw(_numbers())
    if kind == "labels":
        return draw(_labels(fits))
    if kind == "windows":
        return draw(_windows(fits))
    return draw(_dates() if kind == "dates" else _mixed_units())


def _distinct(elements):
    return st.lists(elements, min_size=2, max_size=4, unique=True)


NUMBERS = {
    "int64": st.integers(-3, 20),
    "int8": st.integers(0, 20),
    "int32": st.integers(0, 10_000),
    "float64": st.integers(-20, 200).map(lambda k: k / 10),
    "float32": st.integers(0, 200).map(lambda k: k / 10),
    "float16": st.integers(0, 200).map(lambda k: k / 10),
}


@st.composite
def _numbers(draw) -> Times:
    key = draw(st.sampled_from(list(KEYS)))
    dtype = draw(st.sampled_from(list(NUMBERS)))
    numbers = draw(_distinct(NUMBERS[dtype]))
    if dtype == "float64" and draw(st.booleans()):
        scale = draw(st.sampled_from([1e-3, 1e3]))
        numbers = [scale * number for number in numbers]
    labels = tuple(np.array(numbers, dtype=dtype).tolist())
    return Times(
        key,
        labels,
        tuple(numbers),
        KEYS[key] or "a.u.",
        dtype=dtype,
        categorical=dtype != "float16" and draw(st.booleans()),
        mixed=dtype == "float64" and draw(st.booleans()),
    )


@st.composite
def _dates(draw) -> Times:
    """Dates are no numbers: days since the first of them, or refused."""
    days = draw(_distinct(st.sampled_from([0, 3, 11, 40])))
    texts = [str(np.datetime64("2021-01-27") + day) for day in days]
    numbers = tuple(float(day - min(days)) for day in days)
    if draw(st.booleans()):
        return Times("date", tuple(texts), numbers, "day", doubtful=True)
    labels = tuple(int(text.replace("-", "")) for text in texts)
    return Times("date", labels, numbers, "day", doubtful=True, dtype="int64")


@st.composite
def _mixed_units(draw) -> Times:
    """Hours and days in one column: the same clock for both, or refused."""
    hours = draw(_distinct(st.sampled_from([2, 6, 12, 24, 48, 96])))
    labels = [f"{hour // 24}d" if hour >= 24 else f"{hour}h" for hour in hours]
    return Times("sampled", tuple(labels), tuple(map(float, hours)), "hour", doubtful=True)


@st.composite
def _labels(draw, fits) -> Times:
    pattern = draw(st.sampled_from([label for label in LABELS if fits(label)]))
    key, unit, doubtful = _unit(draw, LABELS[pattern])
    numbers = draw(_distinct(st.sampled_from([0, 1, 2, 3, 4.5, 0.5, 8.25, 10, 12, 24, 0.125])))
    texts = [f"{number:g}" for number in numbers]
    joined = not pattern.startswith("{}") and pattern[pattern.index("{") - 1] not in " +"
    if draw(st.booleans()):  # .5h
        short = [text.removeprefix("0") if "." in text else text for text in texts]
        dots = sum(text.startswith(".") for text in short)
        if not joined or dots < len(texts):  # all of them after a letter: a separator, as in Day.3
            texts = short
            doubtful |= joined and dots > 0
    if pattern not in ("+{}", "E{}") and draw(st.booleans()):
        minus = draw(st.sampled_from([sign for sign in MINUS if fits(sign)]))
        numbers[0] = -max(numbers[0], 1)
        texts[0] = f"{minus}{-numbers[0]:g}"
        # After a word, a dash may separate.
        doubtful |= not pattern.startswith("{}")
    labels = tuple(pattern.format(text) for text in texts)
    return Times(key, labels, tuple(map(float, numbers)), unit, doubtful)


@st.composite
def _windows(draw, fits) -> Times:
    pattern = draw(st.sampled_from([label for label in WINDOWS if fits(label)]))
    key, unit, doubtful = _unit(draw, WINDOWS[pattern])
    starts = draw(_distinct(st.sampled_from([0, 2, 4, 8, 10, 210])))
    width = draw(st.sampled_from([2, 3, 60]))
    pad = "{:02d}" if draw(st.booleans()) else "{}"
    doubtful |= "{}_{}" in pattern and pad == "{}"  # 2_5 may be 2.5
    labels, numbers = [], []
    for start in starts:
        labels.append(pattern.format(pad.format(start), pad.format(start + width)))
        numbers.append(start + width / 2)
    return Times(key, tuple(labels), tuple(numbers), unit, doubtful)


def _unit(draw, of_label: str) -> tuple[str, str, bool]:
    """Key of the column, unit of the times, and whether key and labels contradict each other."""
    key = draw(st.sampled_from(list(KEYS)))
    of_key = KEYS[key]
    return key, of_label or of_key or "a.u.", bool(of_key and of_label and of_key != of_label)
