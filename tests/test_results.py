"""Published numbers are the expected ones, and a number in prose is a published one."""

import json
import re
from functools import cache

import pytest

from scimf.core import paths
from workflow.settings import notebook_names

PUBLISHED = paths.ROOT / "results" / "published"
#: A number, its unit and what it is:
#: ``**0.83** <!-- teach/04_evaluate:cite.heldout.w1.mean -->``, or ``bench:...``
QUOTED = re.compile(
    r"(?P<number>[-\N{MINUS SIGN}]?\d[\d,]*(?:\.\d+)?)?(?P<unit> ?%)?[*_`]* ?"
    r"<!-- (?P<source>(\w+/\w+|bench):\S+) -->"
)


def expected_values():
    """Profile, notebook and key of every value that is held to a tolerance."""
    found = []
    for path in sorted((paths.ROOT / "results" / "expected").glob("*.json")):
        for notebook, metrics in json.loads(path.read_text(encoding="utf-8")).items():
            found += [(path.stem, notebook, key) for key in metrics]
    return found


def quotes():
    """File, source, number and whether it is in percent, of every number that names its source."""
    found = []
    pages = [paths.ROOT / "README.md", paths.ROOT / "notebooks" / "README.md"]
    for path in [*pages, *sorted((paths.ROOT / "docs").glob("*.md"))]:
        if not path.is_file():
            continue
        file = path.relative_to(paths.ROOT).as_posix()
        for match in QUOTED.finditer(path.read_text(encoding="utf-8")):
            found.append((file, match["source"], match["number"], bool(match["unit"])))
    return found


@cache
def published(profile, notebook):
    path = PUBLISHED / profile / f"{notebook}.json"
    if not path.is_file():
        pytest.skip(f"results/published/{profile}/{notebook}.json is not published yet")
    return json.loads(path.read_text(encoding="utf-8"))


def value_of(record, key):
    """Return a metric, a field of one (``key.mean``) or the seconds of the run, and its seeds."""
    values = record["metrics"] | {"seconds": record["seconds"]}
    whole, _, field = key.rpartition(".")
    if key not in values:
        return values[whole][field], values[whole].get("n_seeds")
    if isinstance(values[key], dict):
        return values[key]["mean"], values[key]["n_seeds"]
    return values[key], None


def quoted_value(source):
    """Return the value behind a comment of the prose, and how many seeds it rests on, if any."""
    place, key = source.split(":")
    if place != "bench":
        return value_of(published(*place.split("/")), key)
    found = json.loads((PUBLISHED / "bench.json").read_text(encoding="utf-8"))
    whole = key
    while isinstance(found, dict):  # names of its parts hold dots themselves
        parts = [part for part in found if f"{whole}.".startswith(f"{part}.")]
        longest = max(parts, key=len)
        found = found[longest]
        whole = whole[len(longest) + 1 :]
    return found, None  # seconds and bytes


def test_expected_values_are_of_notebooks_that_exist():
    assert {notebook for _, notebook, _ in expected_values()} <= set(notebook_names())


@pytest.mark.parametrize(("profile", "notebook", "key"), expected_values())
def test_published_value_is_the_expected_one(profile, notebook, key):
    path = paths.ROOT / "results" / "expected" / f"{profile}.json"
    expected = json.loads(path.read_text(encoding="utf-8"))[notebook][key]
    assert set(expected) == {"value", "tolerance", "why"}
    assert expected["why"], "a tolerance has a reason"
    got, _ = value_of(published(profile, notebook), key)
    near = pytest.approx(expected["value"], rel=0, abs=expected["tolerance"])
    assert got == near, expected["why"]


@pytest.mark.parametrize(("file", "source", "number", "percent"), quotes())
def test_number_in_prose_is_the_published_one(file, source, number, percent):
    assert number, f"{file}: no number before <!-- {source} -->"
    got, n_seeds = quoted_value(source)
    decimals = len(number.partition(".")[2])
    shown = number.replace(",", "").replace("\N{MINUS SIGN}", "-")
    half = 0.5 * 10**-decimals * (1 + 1e-9)
    value = 100 * got if percent else got
    assert abs(float(shown) - value) <= half, f"{file} says {number}, published is {got}"
    results = ("README.md", "docs/RESULTS.md")
    if file in results and n_seeds:  # 0: nothing was trained
        assert n_seeds >= 5, f"{file}: {source} rests on {n_seeds} seeds, fewer than 5"
