"""Every figure, table and claim of both papers beside our records: the rows of ``papers.toml``.

No status is written by hand. A row names records, and a rule reads them. A comparison holds where
the intervals do not overlap, is level where they do, or is the other way round; a row is reproduced
(contradicted) where more comparisons hold (are the other way round) than are level and none says
the opposite. Anything else is not shown. Fewer than three training seeds decide nothing.
"""

import json
import tomllib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from scimf.core import paths
from scimf.core.config import Config
from scimf.data import registry

#: In the order in which they are counted.
STATUSES = (
    "reproduced",
    "reproduced on other data",
    "not shown",
    "contradicted",
    "waits",
    "cannot be",
)
ON = {"same": "the paper's", "other": "other real cells", "simulated": "simulated cells"}
PRINTED = {
    "picture": "a picture",
    "statement": "a statement",
    "unread": "numbers that we could not read",
    "numbers": "",  # they follow
}
PUBLISHED = paths.ROOT / "results" / "published"  #: the tracked records, wherever a run writes
OWN_REPORT = "papers"  #: its records may be missing: they wait for files, or for a run
FEWEST_SEEDS = 3  #: fewer training seeds are a trial, which is level with everything
NEAR = 0.1  #: relative, of a published value without a spread

#: What a paper's statement says of one comparison.
HOLDS = "holds"
LEVEL = "level"
OPPOSITE = "opposite"

#: Records by "profile/notebook".
Records = dict[str, dict[str, Any]]


class Value(NamedTuple):
    """A recorded number with its 95 % interval; both ends are the number where there is none.

    ``n_seeds`` is 0 for what is not trained.
    """

    mean: float
    lo: float
    hi: float
    n_seeds: int = 0

    @property
    def is_a_trial(self) -> bool:
        """Whether it rests on too few training seeds to decide anything."""
        return 0 < self.n_seeds < FEWEST_SEEDS

    def __str__(self) -> str:
        if self.lo == self.hi:
            text = f"{self.mean:.4g}"
        else:
            text = f"{self.mean:.3g} [{self.lo:.3g}, {self.hi:.3g}]"
        return f"{text} (n = {self.n_seeds})" if self.is_a_trial else text


@dataclass(frozen=True, kw_only=True)
class Item(Config):
    """One row of ``papers.toml``, which explains the fields."""

    paper: str
    name: str
    shows: str
    notebook: str
    printed: str
    data: str
    claims: list = field(default_factory=list)
    lower: list = field(default_factory=list)
    higher: list = field(default_factory=list)
    negative: list = field(default_factory=list)
    positive: list = field(default_factory=list)
    equals: list = field(default_factory=list)
    near: list = field(default_factory=list)
    waits: str = ""
    cannot: str = ""

    def __post_init__(self) -> None:
        """Refuse words that mean nothing."""
        self.require_one_of("printed", tuple(PRINTED))
        self.require_one_of("data", tuple(ON))

    @property
    def keys(self) -> list[str]:
        """Every record the row rests on."""
        found = [*self.claims, *self.negative, *self.positive]
        for first, second in (*self.lower, *self.higher):
            found += [key for key in (first, second) if ":" in key]
        found += [row[0] for row in (*self.equals, *self.near)]
        return found


# ----------------------------------------------------------------------------------- reading


def _table(name: str) -> dict[str, Any]:
    with open(Path(__file__).with_name(name), "rb") as file:
        return tomllib.load(file)


def read_items() -> list[Item]:
    """Read all rows, in their order."""
    return [Item.from_dict(row) for row in _table("papers.toml")["item"]]


def listed() -> dict[str, list[str]]:
    """Figures and tables that each paper is known to hold."""
    return _table("papers.toml")["listed"]


def printed_values() -> dict[tuple[str, str], dict[str, Any]]:
    """Read what the papers, and others of them, printed, by paper and name of the row.

    Each with ``source``, ``status`` and ``values``: metric, then method, then the value, with its
    spread if there is one.
    """
    rows = _table("published_scores.toml")["paper_score"]
    return {(row["paper"], row["item"]): row for row in rows}


def published_records() -> Records:
    """Read every published record, by "profile/notebook"."""
    found = {}
    for path in sorted(PUBLISHED.glob("*/*.json")):
        found[f"{path.parent.name}/{path.stem}"] = json.loads(path.read_text(encoding="utf-8"))
    return found


def is_recorded(records: Records, key: str) -> bool:
    """Whether a record has this number or claim."""
    place, _, name = key.partition(":")
    record = records.get(place, {"metrics": {}, "claims": {}})
    return name in record["metrics"] or name in record["claims"]


def value_of(records: Records, key: str) -> Value:
    """Return a recorded number; a plain number stands for itself.

    Raises
    ------
    KeyError
        If it is not recorded.
    """
    place, _, name = key.partition(":")
    if not name:
        return _exact(float(key))
    if not is_recorded(records, key):
        raise KeyError(f"{key} is in no published record")
    found = records[place]["metrics"][name]
    if not isinstance(found, dict):
        found = {"mean": found}
    mean = found["mean"]
    return Value(mean, found.get("lo", mean), found.get("hi", mean), found.get("n_seeds", 0))


def _exact(number: float) -> Value:
    return Value(number, number, number)


# ------------------------------------------------------------------------------------- rules


def _is_lower(first: Value, second: Value) -> str:
    if first.is_a_trial or second.is_a_trial:
        return LEVEL
    if first.hi < second.lo:
        return HOLDS
    return OPPOSITE if first.lo > second.hi else LEVEL


def _is_published(value: Value, printed: list[float], tolerance: float) -> str:
    if value.is_a_trial:
        return LEVEL
    return HOLDS if abs(value.mean - printed[0]) <= tolerance else OPPOSITE


def _unit_of(number: float) -> float:
    """Half of the last decimal of a printed number."""
    return 0.5 * 10 ** -len(str(number).partition(".")[2])


def verdicts(item: Item, records: Records) -> list[str]:
    """Return what each comparison of a row says of the paper's statement."""
    found = []
    for key in item.claims:
        place, _, claim = key.partition(":")
        kept = records[place]["claims"][claim]["status"] == "kept"
        found.append(HOLDS if kept else OPPOSITE)
    for first, second in item.lower:
        found.append(_is_lower(value_of(records, first), value_of(records, second)))
    for first, second in item.higher:
        found.append(_is_lower(value_of(records, second), value_of(records, first)))
    zero = _exact(0.0)
    found += [_is_lower(value_of(records, key), zero) for key in item.negative]
    found += [_is_lower(zero, value_of(records, key)) for key in item.positive]
    for key, metric, method in (*item.equals, *item.near):
        printed = printed_values()[item.paper, item.name]["values"][metric][method]
        tolerance = printed[1] if len(printed) > 1 else NEAR * abs(printed[0])
        if [key, metric, method] in item.equals:
            tolerance = _unit_of(printed[0])
        found.append(_is_published(value_of(records, key), printed, tolerance))
    return found


def judge(item: Item, records: Records) -> tuple[str, str]:
    """Return the status of a row, one of :data:`STATUSES`, and what it rests on.

    Raises
    ------
    KeyError
        If a record is missing that is not of report ``papers`` itself.
    """
    if item.cannot:
        return "cannot be", item.cannot
    missing = [key for key in item.keys if not is_recorded(records, key)]
    of_others = [key for key in missing if key.partition(":")[0].split("/")[1] != OWN_REPORT]
    if of_others:
        raise KeyError(f"{item.paper}, {item.name}: {of_others[0]} is in no published record")
    if missing and item.waits:
        files = [row["file"].split("/")[-1] for row in registry.entries()[item.waits]["files"]]
        return "waits", f"for {', '.join(files)}"
    if missing:
        return "waits", f"for a published run of report {OWN_REPORT}"
    count = Counter(verdicts(item, records))
    n = count.total()
    if count[OPPOSITE] > count[LEVEL] and not count[HOLDS]:
        status = "contradicted"
    elif count[HOLDS] > count[LEVEL] and not count[OPPOSITE]:
        status = "reproduced" if item.data == "same" else "reproduced on other data"
    else:
        status = "not shown"
    if n == 1:
        return status, ""
    said = f"{count[HOLDS]} of {n} as stated"
    for word, kind in (("level", LEVEL), ("the other way round", OPPOSITE)):
        if count[kind]:
            said += f", {count[kind]} {word}"
    return status, said


# ------------------------------------------------------------------------------ for the reader


def ours(item: Item, records: Records, most: int = 2) -> str:
    """Our numbers in words: of up to ``most`` comparisons."""
    if not all(is_recorded(records, key) for key in item.keys) or item.cannot:
        return ""
    shown = []
    for first, second in (*item.lower, *item.higher):
        pair = [str(value_of(records, first)), str(value_of(records, second))]
        shown.append(f"{_where(first, second)}{pair[0]} against {pair[1]}")
    for key in (*item.negative, *item.positive):
        shown.append(f"{_where(key)}{value_of(records, key)}")
    for key, *_ in (*item.equals, *item.near):
        value = value_of(records, key).mean
        shown.append(f"{value:,.0f}" if value > 1e5 else f"{value:.4g}")
    shown += [key.partition(":")[2] for key in item.claims]
    more = len(shown) - most
    return "; ".join(shown[:most]) + (f"; {more} more" if more > 0 else "")


def _where(*keys: str) -> str:
    """Return what comes before our number: the words that the keys of a comparison share."""
    words = [key.partition(":")[2].split(".") for key in keys if ":" in key]
    shared = []
    for same in zip(*words, strict=False):
        if len(set(same)) > 1:
            break
        shared.append(same[0])
    if len(words) == 1:
        shared = shared[:-1]
    return f"{'.'.join(shared)}: "


def printed(item: Item) -> str:
    """Return what the paper has there, in words."""
    row = printed_values().get((item.paper, item.name))
    if row is None:
        return PRINTED[item.printed]
    parts = []
    for metric, methods in row["values"].items():
        said = []
        for method, (value, *spread) in methods.items():
            text = f"{value:,}" if value > 1e5 else f"{value:g}"
            said.append(f"{method} {text}{f' ± {spread[0]:g}' if spread else ''}")
        parts.append(f"{metric}: {', '.join(said)}")
    return "; ".join(parts)


def item_table(records: Records | None = None) -> pd.DataFrame:
    """Every row with its status.

    Returns
    -------
    DataFrame
        ``paper, item, shows, notebook, printed, ours, on, status, why``.
    """
    records = published_records() if records is None else records
    rows = []
    for item in read_items():
        status, why = judge(item, records)
        rows.append(
            {
                "paper": item.paper,
                "item": item.name,
                "shows": item.shows,
                "notebook": item.notebook,
                "printed": printed(item),
                "ours": ours(item, records),
                "on": ON[item.data],
                "status": status,
                "why": why,
            }
        )
    return pd.DataFrame(rows)


def status_counts(table: pd.DataFrame) -> pd.DataFrame:
    """How many rows of each paper (columns) have each status."""
    count = table.groupby(["status", "paper"]).size().unstack(fill_value=0)
    return count.reindex(STATUSES, fill_value=0)
