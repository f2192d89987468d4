"""Published numbers are the expected ones, and a number in prose is a published one."""

import json
import re
from functools import cache

import pytest

from scimf import paths

PUBLISHED = paths.ROOT / "results" / "published"
EXPECTED = [
    (path.stem, notebook, key)
    for path in sorted((paths.ROOT / "results" / "expected").glob("*.json"))
    for notebook, metrics in json.loads(path.read_text(encoding="utf-8")).items()
    for key in metrics
]
#: A number, its unit and what it is: ``**0.83** <!-- teach/04_evaluate:cite.heldout.w1.mean -->``, or ``bench:…``
QUOTED = re.compile(
    r"(?P<number>[-\N{MINUS SIGN}]?\d[\d,]*(?:\.\d+)?)?(?P<unit> ?%)?[*_`]* ?<!-- (?P<source>(\w+/\w+|bench):\S+) -->"
)
QUOTES = [
    (path.relative_to(paths.ROOT).as_posix(), match["source"], match["number"], bool(match["unit"]))
    for path in (paths.ROOT / "README.md", paths.ROOT / "notebooks" / "README.md")
    if path.is_file()
    for match in QUOTED.finditer(path.read_text(encoding="utf-8"))
]


@cache
def published(profile, notebook):
    path = PUBLISHED / profile / f"{notebook}.json"
    if not path.is_file():
        pytest.skip(f"results/published/{profile}/{notebook}.json is not published yet")
    return json.loads(path.read_text(encoding="utf-8"))


def value_of(record, key):
    """Return a metric, a field of one (``key.mean``) or the seconds of the run, and its number of seeds if any."""
    values = record["metrics"] | {"seconds": record["seconds"]}
    whole, _, field = key.rpartition(".")
    found = values[key] if key in values else values[whole][field]
    seeds = values[whole].get("n_seeds") if key not in values else None
    return (found["mean"], found["n_seeds"]) if isinstance(found, dict) else (found, seeds)


def quoted_value(source):
    """Return the value behind a comment of the prose, and its number of seeds if it rests on any."""
    place, key = source.split(":")
    if place != "bench":
        return value_of(published(*place.split("/")), key)
    found = json.loads((PUBLISHED / "bench.json").read_text(encoding="utf-8"))
    whole = key
    while isinstance(found, dict):  # names of its parts hold dots themselves
        part = max((part for part in found if whole == part or whole.startswith(f"{part}.")), key=len)
        found, whole = found[part], whole[len(part) + 1 :]
    return found, None  # seconds and bytes


@pytest.mark.parametrize(("profile", "notebook", "key"), EXPECTED)
def test_published_value_is_the_expected_one(profile, notebook, key):
    path = paths.ROOT / "results" / "expected" / f"{profile}.json"
    expected = json.loads(path.read_text(encoding="utf-8"))[notebook][key]
    assert set(expected) == {"value", "tolerance", "why"} and expected["why"], "value, tolerance and its reason"
    got, _ = value_of(published(profile, notebook), key)
    assert got == pytest.approx(expected["value"], rel=0, abs=expected["tolerance"]), expected["why"]


@pytest.mark.parametrize(("file", "source", "number", "percent"), QUOTES)
def test_number_in_prose_is_the_published_one(file, source, number, percent):
    assert number, f"{file}: no number before <!-- {source} -->"
    got, n_seeds = quoted_value(source)
    decimals = len(number.partition(".")[2])
    shown = number.replace(",", "").replace("\N{MINUS SIGN}", "-")
    half = 0.5 * 10**-decimals * (1 + 1e-9)
    assert abs(float(shown) - (100 * got if percent else got)) <= half, f"{file} says {number}, published is {got}"
    if file == "README.md" and n_seeds:  # 0: nothing was trained
        assert n_seeds >= 5, f"{file}: {source} rests on {n_seeds} seeds, fewer than 5"
