import pandas as pd
import pytest
from evidence import verdicts as asked_of_many
from evidence.verdicts import proportion, verdict_on, verdicts

SIZES = {"n_populations": 6, "n_cells": 30, "n_types": 3, "dim": 2}


def test_verdicts_are_kept_and_read_again(tmp_path, monkeypatch):
    asked = []
    real = asked_of_many.do_cells_interact

    def answer(adata, *, seed):
        asked.append(seed)
        return real(adata, seed=seed)

    monkeypatch.setattr(asked_of_many, "do_cells_interact", answer)
    first = verdict_on("null", seed=4, cache=tmp_path, **SIZES)
    again = verdict_on("null", seed=4, cache=tmp_path, **SIZES)
    assert first == again and asked == [4]
    assert 0 < first["p"] <= 1 and first["seconds"] > 0
    requests = [{"system": name, "seed": 5, **SIZES} for name in ("null", "staged")]
    found = verdicts(requests, cache=tmp_path, workers=1)
    assert found["system"].tolist() == ["null", "staged"] and asked == [4, 5, 5]


def test_pairs_that_are_found_are_counted_against_the_truth(tmp_path):
    options = {"strength": (2.0, 2.0), "n_cells": 60, "n_populations": 12}
    found = verdict_on("typed", seed=1, cache=tmp_path, pairs=True, **SIZES | options)
    assert found["true"] == 2
    assert found["found_true"] == 2 <= found["found"]
    assert found["answer"] == "yes" and found["predicted_power"] > 0.9


def test_labels_are_shuffled_and_nothing_else_changes():
    adata = asked_of_many.SYSTEMS["null"](seed=0, **SIZES)
    before = adata.obs["cell_type"].astype(str)
    asked_of_many._shuffle_labels(adata, 0.5, seed=0)
    after = adata.obs["cell_type"].astype(str)
    assert 0.1 < (after != before).mean() < 0.5
    pd.testing.assert_series_equal(after.value_counts(), before.value_counts())


def test_exact_interval_of_a_share():
    none = proportion(0, 100)
    assert none["mean"] == none["lo"] == 0
    assert none["hi"] == pytest.approx(1 - 0.025 ** (1 / 100))
    assert proportion(5, 5)["hi"] == 1
    assert proportion(2, 10)["lo"] == pytest.approx(0.0252, abs=1e-4)
