"""When cells were taken: from a column of numbers or of labels to times, and their unit."""

import re
from pathlib import Path

import numpy as np
import pandas as pd

DAYS = {"d", "day"}
HOURS = {"h", "hr", "hour", "hpf"}


def column_of(obs: pd.DataFrame, key: str, path: Path, what: str) -> pd.Series:
    """Return a column of ``obs``, or say that it is missing and what was expected."""
    if key not in obs:
        found = list(obs.columns)
        raise ValueError(f"{path}: obs[{key!r}] is missing, expected {what}; there are {found}")
    return obs[key]


def read_times(
    obs: pd.DataFrame, key: str, path: Path, notes: list[str]
) -> tuple[np.ndarray, str | None]:
    """Return times (cells,) float64, and the unit if labels or the name of the column tell it."""
    what = "the time of each cell (choose another column with time_key=...)"
    column = column_of(obs, key, path, what)
    where = f"{path}: obs[{key!r}]"
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(object).infer_objects()
    missing = int(column.isna().sum())
    if missing:
        raise ValueError(f"{where} is NaN or missing for {missing} cells, expected a time for each")
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        times = column.to_numpy(dtype=np.float64)
        word = ""
    else:
        times, word = _times_of_texts(column, where, notes)
    _require_snapshots(times, where)
    words = {word}
    for part in re.split(r"[^a-z]+", key.lower()):
        words.add(part.rstrip("s"))
    if words & DAYS:
        return times, "day"
    return times, "hour" if words & HOURS else None


def _times_of_texts(
    column: pd.Series, where: str, notes: list[str]
) -> tuple[np.ndarray, str]:  # (cells,), and the word that stands beside every number
    numbers, words, bad = {}, set(), []
    for label in column.unique():
        parsed = _parse_time(str(label))
        if parsed is None:
            bad.append(label)
        else:
            numbers[label] = parsed[0]
            words.add(parsed[1])
    if bad:
        expected = "expected numbers or text like 'day 3'"
        raise ValueError(f"{where} is not numeric and {bad[:3]} cannot be read, {expected}")
    if len(words) > 1:
        expected = "expected the same around every number"
        raise ValueError(f"{where} mixes units or words {sorted(words)}, {expected}")
    example, number = next(iter(numbers.items()))
    notes.append(f"Times were read from text labels: {str(example)!r} became {number:g}.")
    return column.map(numbers).to_numpy(dtype=np.float64), words.pop()


def _parse_time(label: str) -> tuple[float, str] | None:
    """``"Day 3.5"`` -> ``(3.5, "day")``; ``None`` unless there is exactly one number."""
    numbers = re.findall(r"\d+(?:\.\d+)?", label)
    if len(numbers) != 1:
        return None
    # Only at the front: elsewhere a dash is a separator, as in "day-3".
    sign = -1 if re.match(r"\s*-\s*\d", label) else 1
    return sign * float(numbers[0]), re.sub(r"[^a-z]", "", label.lower()).removesuffix("s")


def _require_snapshots(times: np.ndarray, where: str) -> None:
    bad = int((~np.isfinite(times)).sum())
    if bad:
        raise ValueError(f"{where} is NaN or infinite for {bad} cells, expected finite times")
    values, cells = np.unique(times, return_counts=True)
    if len(values) < 2:
        raise ValueError(f"{where} has {len(values)} time point(s), expected at least two")
    lonely = values[cells < 2]
    if len(lonely):
        raise ValueError(
            f"{where} has {len(lonely)} time points with one cell, such as {lonely[:3].tolist()}; "
            "expected a snapshot of many cells at each time (not a pseudotime)"
        )
