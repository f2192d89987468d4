"""Scores of boards: one job, whole or in parts, and what makes them due again."""

import ast
import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from evidence import scores as scoring
from evidence.choices import Choice
from evidence.predictions import Training
from evidence.scores import (
    DECIDED_BY,
    Sizes,
    from_columns,
    score_board,
    score_methods,
    score_setup,
    to_columns,
    whole_w1,
)

from scimf.core import paths
from scimf.core.reached import Reached
from scimf.data import readers

SIZES = Sizes(n=10, draws=1, transport_n=5)


def test_parts_of_a_set_up_are_the_rows_of_the_whole(setup, samples, scores):
    keys = ["method", "seed", "kind", "population", "time", "metric", "draw"]
    only_baselines = score_setup(setup, {}, SIZES)
    parts = [only_baselines]
    for trained, cells in samples.items():
        parts.append(score_setup(setup, {trained: cells}, SIZES, baselines=False))
    assert only_baselines["seed"].isna().all() and parts[1]["seed"].notna().all()
    whole = scores.sort_values(keys, ignore_index=True)
    joined = pd.concat(parts).sort_values(keys, ignore_index=True)
    pd.testing.assert_frame_equal(whole, joined, check_exact=True)


def test_a_job_scores_what_it_is_asked_for(setup, tmp_path):
    training = Training(methods=("scimf", "no_interaction"), steps=1)
    sizes = replace(SIZES, paired_draws=3, whole=True)
    options = {"cache": tmp_path, "workers": 1}
    found = score_methods(setup, Choice(), training, sizes, baselines=False, **options)
    assert set(found) == {"scores", "paired", "whole"}
    assert set(found["scores"]["method"]) == {"scimf", "no_interaction"}
    assert set(found["scores"]["choice"]) == {str(Choice())}
    assert set(found["scores"]["setup"]) == {"2"}
    assert set(found["paired"]["draw"]) == {0, 1, 2}
    assert {"scimf", "no_interaction", "mixture"} <= set(found["paired"]["method"])
    only_scores = score_methods(setup, Choice(), training, SIZES, **options)
    assert set(only_scores) == {"scores"}
    assert {"floor", "schroedinger_bridge"} <= set(only_scores["scores"]["method"])


def test_w1_at_full_size_is_of_each_population_and_time(setup, samples):
    found = whole_w1(setup, samples)
    assert set(found["method"]) >= {"scimf", "scimf_forward", "mixture"}
    ours = found[(found["method"] == "scimf") & (found["time"] == 2.0)]
    assert len(ours) == 2 * 5  # seeds and populations
    assert found.loc[found["method"] == "mixture", "seed"].isna().all()
    assert (found["w1"] > 0).all()


def test_tables_are_plain_values_and_come_back_as_they_were(scores):
    text = json.dumps(to_columns(scores), allow_nan=False)
    pd.testing.assert_frame_equal(
        from_columns(json.loads(text)), scores.reset_index(drop=True), check_exact=True
    )


def test_scores_are_read_when_nothing_changed_and_made_anew_when_a_cell_did(
    tiny, board, tmp_path, monkeypatch
):
    board = replace(board, headline=True)
    training = Training(methods=("scimf", "no_interaction"), steps=1)
    sizes = Sizes(n=board.n, draws=2, transport_n=5, paired_draws=3, whole=True)
    asked = (training, sizes)
    options = {"cache": tmp_path, "workers": 1}
    first = score_board(board, tiny[0], *asked, **options)
    assert set(first["paired"]["draw"]) == {0, 1, 2}
    assert set(first["whole"]["method"]) >= {"scimf", "mixture"}
    (kept,) = tmp_path.glob("scores_*.json")
    assert set(json.loads(kept.read_text())["scores"]) == set(first["scores"])

    def refuse(*args, **kwargs):
        pytest.fail("was scored before")

    monkeypatch.setattr(scoring, "predict", refuse)
    again = score_board(board, tiny[0], *asked, **options)
    for name, table in first.items():
        pd.testing.assert_frame_equal(table, again[name])
    changed = tiny[0].copy()
    row = np.flatnonzero(changed.obs["time"] == 2.0)[0]
    changed.X[row] += 1  # a held-out cell changes the scores, not the fits
    with pytest.raises(pytest.fail.Exception):
        score_board(board, changed, *asked, **options)
    with pytest.raises(pytest.fail.Exception):
        score_board(board, tiny[0], training, replace(sizes, draws=3), **options)


def test_paired_differences_are_for_headline_boards(tiny, board, tmp_path):
    training = Training(methods=("scimf",), steps=1)
    sizes = Sizes(n=10, draws=1, transport_n=5, paired_draws=3)
    found = score_board(board, tiny[0], training, sizes, cache=tmp_path, workers=1)
    assert len(found["scores"]) and not len(found["paired"]) and not len(found["whole"])


# ---------------------------------------------------------------------- what makes scores due again


@pytest.fixture
def copied(tmp_path):
    """A copy of the sources that decide scores."""
    for place in ("scimf", "notebooks/reports/evidence"):
        shutil.copytree(
            paths.ROOT / place, tmp_path / place, ignore=shutil.ignore_patterns("__pycache__")
        )
    return tmp_path


def digest(root):
    """What is reached from the functions that decide the scores of ``pbmc_activation``."""
    found = Reached(root)
    found.add_texts(["pbmc_activation"])
    for function in DECIDED_BY:
        found.add(function.__module__, function.__name__)
    return found.digest()


def change(path, name):
    """Add a statement to a function or a method, or an attribute to a class."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    definitions = (ast.FunctionDef, ast.ClassDef)
    nodes = [node for node in ast.walk(tree) if isinstance(node, definitions)]
    (place,) = [node for node in nodes if node.name == name]
    place.body.append(ast.parse("another = 1").body[0])
    path.write_text(ast.unparse(tree), encoding="utf-8")


@pytest.mark.parametrize(
    "place",
    [
        "scimf/evaluation/baselines.py _mixture",
        "scimf/evaluation/held_out.py evaluate",
        "notebooks/reports/evidence/two_sided.py TwoSided",
        "scimf/dynamics/training_data.py Batch",
        "scimf/data/space.py Space",
        "notebooks/reports/evidence/setups.py only_neighbours",
        "notebooks/reports/evidence/other_methods.py FlowMatching",
        "notebooks/reports/evidence/setups.py predicted",
        "the reader",
    ],
)
def test_other_code_gives_other_scores(copied, place):
    if place == "the reader":
        reader = readers.READERS["pbmc_activation"]
        place = f"{reader.__module__.replace('.', '/')}.py {reader.__name__}"
    before = digest(copied)
    path, name = place.split()
    change(copied / path, name)
    assert digest(copied) != before


def test_a_comment_or_another_board_gives_no_other_scores(copied):
    before = digest(copied)
    for path in copied.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        path.write_text(text + "\n# a comment\n", encoding="utf-8")
    boards = copied / "notebooks/reports/evidence/boards.toml"
    boards.write_text(boards.read_text().replace("n = 2500", "n = 2000"), encoding="utf-8")
    change(copied / "notebooks/reports/evidence/recovery.py", "drift_errors")
    assert digest(copied) == before
