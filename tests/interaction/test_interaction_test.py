import numpy as np
import pandas as pd
import pytest

from scimf.dynamics.config import SDEConfig
from scimf.interaction.interaction_test import (
    SETTINGS,
    TestDesign,
    _gain,
    _summary,
    do_cells_interact,
)
from scimf.simulate import systems

TestDesign.__test__ = False  # pytest would take it for a test
QUICK = SDEConfig.from_dict(SETTINGS.to_dict() | {"steps": 3, "batch_cells": 12})
REFIT = "scimf.interaction.interaction_test._refit"


def typed(**options):
    return systems.typed(**{"seed": 0, "n_populations": 8, "n_cells": 12, "dim": 3} | options)


def scores(times, compositions):
    """Scores of one refit with the given gains."""
    rows = [
        ("times", "p0", 1.0, np.exp(times)),
        ("compositions", "p0", 1.0, np.exp(compositions)),
    ]
    return pd.DataFrame(rows, columns=["question", "population", "interacting", "independent"])


def test_one_population_cannot_tell():
    verdict = do_cells_interact(typed(n_populations=1))
    assert verdict.answer == "cannot be told"
    assert "one population" in verdict.reason
    assert "Cannot be told." in str(verdict)


def test_replicates_of_one_composition_cannot_tell():
    one = {"compositions": np.full((8, 5), 0.2), "n_cells": 30, "density_range": (1.0, 1.0)}
    verdict = do_cells_interact(typed(**one))
    assert verdict.answer == "cannot be told"
    assert "begin alike" in verdict.reason


def test_gain_and_p_value_by_hand():
    gains = [(0.5, 0.1), (0.0, 0.0), (0.2, 0.3)]
    table = pd.concat([scores(*pair).assign(refit=k) for k, pair in enumerate(gains)])
    data = _gain(table[table["refit"] == 0])
    assert data.round(6).to_dict() == {"times": 0.5, "compositions": 0.1}
    found = _summary(table, {"times": None, "compositions": 2})
    assert found.loc["times", "p"] == pytest.approx(1 / 3)
    assert found.loc["compositions", "p"] == pytest.approx(1 / 2)
    assert found.loc["times", "null"] == pytest.approx(0.1)


def test_refits_end_when_both_questions_are_settled(monkeypatch):
    seeds = []

    def refit(null, seed, device):
        seeds.append(seed)
        return scores(9.0, 9.0 if seed >= 2 else -9.0)

    monkeypatch.setattr(REFIT, refit)
    found = do_cells_interact(typed(), config=QUICK, workers=1)
    assert seeds == [1, 2]
    assert found.answer == "no"
    assert found.table["p"].to_dict() == {"times": 1.0, "compositions": 0.5}


@pytest.mark.parametrize(
    ("reached", "answer"), [((-9.0, -9.0), "yes"), ((9.0, -9.0), "no"), ((-9.0, 9.0), "no")]
)
def test_yes_needs_both_questions(monkeypatch, reached, answer):
    monkeypatch.setattr(REFIT, lambda *_: scores(*reached))
    found = do_cells_interact(typed(), config=QUICK, workers=1)
    assert found.answer == answer
    if answer == "yes":
        assert (found.table["p"] == 1 / 20).all()
        assert (found.table["n_refits"] == 19).all()


def test_the_whole_test_runs_repeats_and_names_its_units(tmp_path):
    first = do_cells_interact(typed(), config=QUICK, workers=1, cache=tmp_path)
    second = do_cells_interact(typed(), config=QUICK, workers=1, cache=tmp_path)
    pd.testing.assert_frame_equal(first.scores, second.scores)
    assert first.table.loc[["times", "compositions"], "n_populations"].tolist() == [5, 3]


def test_refits_in_processes_are_those_computed_here():
    alone = do_cells_interact(typed(), config=QUICK, workers=1)
    beside = do_cells_interact(typed(), config=QUICK, workers=2)
    pd.testing.assert_frame_equal(alone.scores, beside.scores)


def test_too_few_refits_and_populations_are_named():
    with pytest.raises(ValueError, match="n_refits: at least 19"):
        TestDesign(n_refits=5)
    with pytest.raises(ValueError, match="n_held: expected 3 to 5"):
        do_cells_interact(typed(), design=TestDesign(n_held=7))
