"""The page of both papers: in step with the records, complete, and decided by rules."""

import re

import pytest
from evidence import papers
from evidence.papers import Item, Value, judge

from scimf.core import paths
from scimf.data.registry import entries
from workflow import papers as page
from workflow.settings import notebook_names

ITEMS = papers.read_items()
RECORDS = papers.published_records()
of_every_item = pytest.mark.parametrize("item", ITEMS, ids=lambda item: item.name)


def item(**rules):
    about = {"paper": "scIMF", "name": "a row", "shows": "x", "notebook": "counts"}
    return Item(**(about | {"printed": "statement", "data": "same"} | rules))


def record(**values):
    """Records of one notebook; a triple is a mean with its interval."""
    metrics = {}
    for key, value in values.items():
        if isinstance(value, tuple):
            value = dict(zip(("mean", "lo", "hi"), value, strict=True))
        metrics[key] = value
    claims = {"a claim": {"status": "kept"}, "another": {"status": "failed"}}
    return {"paper/counts": {"metrics": metrics, "claims": claims}}


# ---------------------------------------------------------------------------------- the page


def test_the_page_is_in_step_with_the_records():
    assert page.PAGE.read_text(encoding="utf-8") == page.page(), "make papers"


def test_links_lead_to_files_and_headings():
    text = page.page()
    links = re.findall(r"\]\(([^)]+)\)", text)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    for target in links:
        if target.startswith("#"):
            assert target[1:] in anchors
        else:
            assert (page.PAGE.parent / target).resolve().is_file(), target


def test_rows_of_the_page_are_whole():
    for line in page.page().splitlines():
        if line.startswith("| ") and line.count(" | ") > 5:
            assert line.count(" | ") in (5, 6), line


def test_the_page_does_not_depend_on_the_cache(tmp_path, monkeypatch):
    before = page.page()
    monkeypatch.setattr(paths, "DATA", tmp_path)
    assert page.page() == before


# ---------------------------------------------------------------------------------- the rows


def test_every_figure_and_table_of_both_papers_has_a_row():
    for paper, names in papers.listed().items():
        rows = [row.name for row in ITEMS if row.paper == paper]
        assert len(rows) == len(set(rows))
        assert set(names) <= set(rows)
        titled = {row for row in rows if row.startswith(("Figure", "Table"))}
        assert titled == set(names)


def test_every_printed_value_is_shown_in_a_row():
    known = {(row.paper, row.name) for row in ITEMS}
    assert set(papers.printed_values()) <= known
    for row in ITEMS:
        has = (row.paper, row.name) in papers.printed_values()
        assert has == (row.printed == "numbers"), row.name


@of_every_item
def test_a_row_names_records_and_a_notebook_that_exist(item):
    assert item.notebook in notebook_names()
    assert bool(item.keys) != bool(item.cannot), "records, or a reason"
    if item.waits:
        assert "manual" in entries()[item.waits]
    for key in item.keys:
        place = key.partition(":")[0]
        assert place.split("/")[1] in notebook_names()
        if place.split("/")[1] != papers.OWN_REPORT:
            assert papers.is_recorded(RECORDS, key), key


def test_a_record_that_is_gone_is_named():
    with pytest.raises(KeyError, match=r"a row: paper/counts:gone is in no published record"):
        judge(item(negative=["paper/counts:gone"]), record(x=1.0))


# --------------------------------------------------------------------------------- the rules

LOW = (1.0, 0.9, 1.1)
WIDE = (1.5, 1.0, 2.0)
HIGH = (2.0, 1.9, 2.1)
PAIRS = {
    "lower": ("low", "high"),
    "higher": ("high", "low"),
}


@pytest.mark.parametrize("rule", PAIRS)
@pytest.mark.parametrize(
    ("swap", "status"), [(False, "reproduced"), (True, "contradicted")], ids=["as stated", "not"]
)
def test_intervals_that_do_not_overlap_decide(rule, swap, status):
    first, second = PAIRS[rule][::-1] if swap else PAIRS[rule]
    pair = [f"paper/counts:{first}", f"paper/counts:{second}"]
    assert judge(item(**{rule: [pair]}), record(low=LOW, high=HIGH)) == (status, "")


@pytest.mark.parametrize(
    ("rules", "values", "status"),
    [
        ({"lower": [["paper/counts:x", "paper/counts:y"]]}, {"x": LOW, "y": WIDE}, "not shown"),
        ({"lower": [["paper/counts:x", "2"]]}, {"x": LOW}, "reproduced"),
        ({"negative": ["paper/counts:x"]}, {"x": (-1.0, -2.0, -0.1)}, "reproduced"),
        ({"negative": ["paper/counts:x"]}, {"x": (-1.0, -2.0, 0.1)}, "not shown"),
        ({"negative": ["paper/counts:x"]}, {"x": LOW}, "contradicted"),
        ({"positive": ["paper/counts:x"]}, {"x": LOW}, "reproduced"),
        ({"positive": ["paper/counts:x"], "data": "other"}, {"x": LOW}, "reproduced on other data"),
        ({"claims": ["paper/counts:a claim"]}, {}, "reproduced"),
        ({"claims": ["paper/counts:another"]}, {}, "contradicted"),
        ({"cannot": "nobody knows"}, {}, "cannot be"),
        ({"negative": ["paper/papers:gone"]}, {}, "waits"),
        ({"negative": ["paper/papers:gone"], "waits": "hlca"}, {}, "waits"),
    ],
)
def test_a_rule_gives_the_status(rules, values, status):
    assert judge(item(**rules), record(**values))[0] == status


@pytest.mark.parametrize(("n_seeds", "status"), [(2, "not shown"), (3, "reproduced")])
def test_few_training_seeds_decide_nothing(n_seeds, status):
    known = record(x={"mean": -1.0, "lo": -1.1, "hi": -0.9, "n_seeds": n_seeds})
    asked = item(negative=["paper/counts:x"])
    assert judge(asked, known)[0] == status
    assert ("(n = 2)" in papers.ours(asked, known)) == (n_seeds == 2)


@pytest.mark.parametrize(
    ("held", "level", "opposite", "status"),
    [
        (3, 1, 0, "reproduced"),
        (1, 1, 0, "not shown"),
        (3, 0, 1, "not shown"),
        (0, 1, 2, "contradicted"),
        (1, 0, 5, "not shown"),
    ],
)
def test_most_comparisons_decide_and_none_against(held, level, opposite, status):
    keys = ["paper/counts:minus"] * held + ["paper/counts:zero"] * level
    keys += ["paper/counts:plus"] * opposite
    known = record(minus=(-1.0, -2.0, -0.5), zero=(0.0, -1.0, 1.0), plus=LOW)
    found, why = judge(item(negative=keys), known)
    assert found == status
    assert why.startswith(f"{held} of {held + level + opposite} as stated")


def test_a_row_that_waits_names_the_files():
    _, why = judge(item(negative=["paper/papers:gone"], waits="hlca"), record())
    assert why == "for hlca_core.h5ad"


@pytest.mark.parametrize(
    ("rule", "ours", "status"),
    [
        ("equals", 119_748, "reproduced"),
        ("equals", 119_749, "contradicted"),
        ("near", 119_748 * 1.09, "reproduced"),
        ("near", 119_748 * 1.11, "contradicted"),
    ],
)
def test_a_printed_number_is_met_or_not(rule, ours, status):
    row = ["paper/counts:x", "parameters", "scIMF, 50 PCs"]
    asked = item(name="Size of the model", **{rule: [row]})
    assert judge(asked, record(x=ours))[0] == status


def test_a_value_shows_its_interval():
    assert str(Value(2.38333, 2.352, 2.414)) == "2.38 [2.35, 2.41]"
    assert str(Value(0.5, 0.5, 0.5)) == "0.5"
