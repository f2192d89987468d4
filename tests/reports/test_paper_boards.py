"""Boards of the papers' own sets: they wait, and run the day their files are in the cache."""

import numpy as np
import pandas as pd
import pytest
from cached import available
from evidence import look_alikes, paper_boards, paper_counts, papers
from evidence.paper_boards import COUNTS, TIME_COURSES, boards_of, waits_for
from evidence.predictions import Training
from evidence.scores import Sizes
from evidence.summaries import summary

from scimf.core import paths
from scimf.data.load import load
from scimf.data.registry import entries
from scimf.data.split import SPLITS
from scimf.dynamics.config import SDEConfig

SMALL = {"width": 16, "tokens": 4, "heads": 2}
COUNT_SIZES = paper_counts.CountSizes(
    n_genes=12,
    n_cells=60,
    n_test=40,
    steps=1,
    published_steps=1,
    flow_steps=1,
    flow_size=(32, 1),
    n_combinations=1,
    published_changes=SMALL,
)


def scores_of(board, cache):
    """Scores of one board, as small as they can be."""
    return paper_boards.score_time_course(
        board,
        load(board.dataset),
        Training(methods=paper_boards.OURS, seeds=(0,), steps=1),
        Sizes(n=16, draws=1, transport_n=4),
        SDEConfig.paper(steps=1, batch_cells=8, target_cells=8, dt=0.5),
        cache=cache,
        workers=1,
    )


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    """An empty folder in the place of the cache."""
    monkeypatch.setattr(paths, "DATA", tmp_path / "data")
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


# -------------------------------------------------------------------------------- the boards


def test_every_named_split_that_holds_something_out_is_a_board():
    for name in TIME_COURSES:
        held = {f"{name}.{split}" for split, times in SPLITS[name].items() if times}
        benchmark = {f"{name}.sctimebench_{kind}" for kind in paper_boards.DIFFICULTIES}
        found = {board.name for board in boards_of(name)}
        assert found == held | (benchmark if "benchmark" in TIME_COURSES[name] else set())


def test_every_set_of_the_papers_has_boards():
    by_hand = {name for name, entry in entries().items() if "manual" in entry}
    assert {*TIME_COURSES, *COUNTS} == by_hand == set(look_alikes.ENOUGH)


def test_splits_of_the_benchmark_are_times():
    (board,) = (b for b in boards_of("zebrafish") if b.name == "zebrafish.sctimebench_hard")
    assert board.setups == ((4.3, 5.3, 7.0, 11.0, 12.0),)


def test_costs_grow_with_the_set():
    small = paper_boards.expected_costs("reprogramming")
    large = paper_boards.expected_costs("pancreas")
    assert small["minutes"] < large["minutes"]
    assert small["gib"] < large["gib"]


# ------------------------------------------------------------------- from "waits" to a number


def test_a_file_in_the_cache_turns_a_row_from_waits_into_a_number(empty_cache):
    assert "GSE114412" in waits_for("pancreas")
    (item,) = (i for i in papers.read_items() if i.name.endswith("scores, pancreas"))
    records = papers.published_records()
    records.pop("paper/papers", None)
    assert papers.judge(item, records)[0] == "waits"
    assert papers.ours(item, records) == ""

    look_alikes.ENOUGH["pancreas"]()
    assert waits_for("pancreas") == ""
    parts = [scores_of(board, empty_cache / "fits") for board in boards_of("pancreas", n_pcs=4)]
    metrics = {}
    for row in summary(pd.concat(parts)).itertuples():
        values = {"mean": row.mean, "lo": row.lo, "hi": row.hi, "n_seeds": row.n_seeds}
        metrics[f"{row.board}.{row.method}.{row.metric}"] = values
    records["paper/papers"] = {"metrics": metrics, "claims": {}}
    status, why = papers.judge(item, records)
    assert status in ("reproduced", "not shown", "contradicted")
    assert "of 7 as stated" in why
    number = metrics["pancreas.leaveout1.published.energy_distance"]["mean"]
    assert f"{number:.4g}" in papers.ours(item, records)


@pytest.mark.slow  # the smoke run of the report has all of them
@pytest.mark.parametrize("name", TIME_COURSES)
def test_records_of_a_board_are_those_that_rows_ask_for(name, empty_cache):
    look_alikes.ENOUGH[name]()
    asked = set()
    for item in papers.read_items():
        if item.waits == name:
            asked |= {key.partition(":")[2] for key in item.keys}
    known = set()
    for board in boards_of(name, n_pcs=4):
        table = summary(scores_of(board, empty_cache / "fits"))
        known |= set(table["board"] + "." + table["method"] + "." + table["metric"])
    assert asked and asked <= known


@pytest.mark.parametrize("name", COUNTS)
def test_counts_from_look_alikes_to_the_records_that_rows_ask_for(name, empty_cache):
    look_alikes.ENOUGH[name]()
    options = {"seeds": range(1), "cache": empty_cache / "fits"}
    table = paper_counts.score(load(name), COUNTS[name], COUNT_SIZES, **options)
    known = set(name + "." + table["row"].str.replace(" ", "_") + "." + table["metric"])
    asked = set()
    for item in papers.read_items():
        if item.waits == name:
            asked |= {key.partition(":")[2] for key in item.keys}
    assert asked and asked <= known
    assert np.isfinite(table["value"]).all()


def test_look_alikes_lie_elsewhere_and_the_cache_comes_back(tmp_path):
    before = paths.DATA
    with look_alikes.look_alike_cache(None):
        assert before == paths.DATA
    with pytest.raises(KeyError), look_alikes.look_alike_cache(tmp_path / "elsewhere"):
        assert waits_for("hlca") == ""
        raise KeyError
    assert before == paths.DATA


# ------------------------------------------------------------------------------------- counts


def test_a_control_that_is_not_there_is_named():
    about = COUNTS["replogle"]
    with pytest.raises(ValueError, match="gene: expected 'non-targeting' among"):
        paper_counts.held_treatments(pd.Series(["TP53", "MYC"]), about, 1)


def test_held_treatments_are_those_of_the_paper_where_they_are_known():
    there = pd.Series(["PBS", "IL-2", "IFN-gamma"])
    assert paper_counts.held_treatments(there, COUNTS["parse_1m"], 5) == ["IL-2"]


def test_correlation_is_of_genes_over_cells():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 2))
    y = np.column_stack([2 * x[:, 0] + 1, -x[:, 1]])
    both = paper_counts._correlation_of_genes(
        np.column_stack([x, x[:, :1] * 0]), np.hstack([y, y[:, :1]])
    )
    assert both == pytest.approx(0.0, abs=1e-12)  # one agrees, one is opposite, one is constant
    assert paper_counts._correlation_of_genes(x[:, :1], y[:, :1]) == pytest.approx(1)


# ------------------------------------------------------------------------------- scTimeBench


def test_the_benchmark_prints_what_the_table_of_printed_numbers_has():
    if not available(paper_boards.BENCHMARK):
        pytest.skip("the benchmark's scores are not in the cache")
    table = paper_boards.read_benchmark(paper_boards.benchmark_file())
    means = table[table["time"].isna()].set_index(["board", "method"])["value"]
    spelt = {"PI-SDE": "PISDE", "Cell-MNN": "CellMNN"}
    compared = 0
    for (_, item), row in papers.printed_values().items():
        name, _, difficulty = item.removeprefix("scTimeBench, ").partition(" ")
        if item.startswith("scTimeBench") and name in TIME_COURSES:
            for method, (value,) in row["values"]["Sinkhorn per gene"].items():
                key = (f"{name}.sctimebench_{difficulty}", spelt.get(method, method))
                assert round(means[key], 4) == value
                compared += 1
    assert compared == 54
