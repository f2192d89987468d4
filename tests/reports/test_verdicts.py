import pandas as pd
import pytest
from evidence.verdicts import proportion, verdict_on, verdicts

from scimf.interaction import interaction_test


def test_verdicts_are_kept_and_read_again(tmp_path, monkeypatch):
    asked = []
    table = pd.DataFrame(
        {"p": [0.05, 0.5], "gain": [1.0, 0.0], "n_refits": [19, 19]}, ["times", "compositions"]
    )

    def answer(adata, *, config, seed, workers):
        asked.append(seed)
        return interaction_test.Verdict("no", "because", table, pd.DataFrame())

    monkeypatch.setattr(interaction_test, "do_cells_interact", answer)
    sizes = {"n_populations": 3, "n_cells": 5}
    first = verdict_on("null", seed=4, cache=tmp_path, **sizes)
    again = verdict_on("null", seed=4, cache=tmp_path, **sizes)
    assert first == again and asked == [4]
    assert first["answer"] == "no" and first["system"] == "null"
    assert first["p_times"] == 0.05 and first["p_compositions"] == 0.5
    verdict_on("null", seed=5, cache=tmp_path, **sizes)
    assert asked == [4, 5]
    requests = [{"system": "null", "seed": 4, **sizes}, {"system": "null", "seed": 5, **sizes}]
    assert verdicts(requests, cache=tmp_path)["seed"].tolist() == [4, 5]


def test_exact_interval_of_a_share():
    none = proportion(0, 100)
    assert none["mean"] == none["lo"] == 0
    assert none["hi"] == pytest.approx(1 - 0.025 ** (1 / 100))
    assert proportion(5, 5)["hi"] == 1
    assert proportion(2, 10)["lo"] == pytest.approx(0.0252, abs=1e-4)
