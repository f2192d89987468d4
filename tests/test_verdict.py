import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from scimf import simulate
from scimf.preprocess import fit_space, hold_out
from scimf.sde import SDEConfig
from scimf.train import fit
from scimf.verdict import (
    SETTINGS,
    begin_alike,
    cannot_be_told,
    deaf_config,
    do_cells_interact,
    gain,
    simulate_unheard,
    summarise,
)

QUICK = SDEConfig.from_dict(SETTINGS.to_dict() | {"steps": 3, "batch_cells": 12})


def typed(**options):
    return simulate.typed(**{"seed": 0, "n_populations": 8, "n_cells": 12, "dim": 3} | options)


def test_one_population_cannot_tell():
    verdict = do_cells_interact(typed(n_populations=1))
    assert verdict.answer == "cannot be told" and "one population" in verdict.reason
    assert "Cannot be told." in str(verdict)


def test_growth_that_was_counted_cannot_tell():
    adata = simulate.growing(seed=0, n_populations=8, n_cells=10)
    assert "divide or die" in cannot_be_told(adata)
    del adata.obs["mass"]
    assert cannot_be_told(adata) == ""


def test_replicates_of_one_composition_cannot_tell():
    one = {"compositions": np.full((8, 5), 0.2), "n_cells": 30}
    verdict = do_cells_interact(typed(**one, density_range=(1.0, 1.0)))
    assert verdict.answer == "cannot be told" and "begin alike" in verdict.reason
    for differ in (one, {"density_range": (1.0, 1.0), "n_cells": 30}):  # in density; in composition
        adata = typed(**differ)
        fit_space(adata, hold_out(adata))
        assert begin_alike(adata) == ""


def test_replicates_are_taken_for_different_as_rarely_as_the_level_says():
    rng, different = np.random.default_rng(0), 0
    obs = pd.DataFrame(
        {"time": 0.0, "population": np.repeat([f"p{k}" for k in range(8)], 20)}, index=map(str, range(160))
    )
    for seed in range(60):
        adata = AnnData(np.zeros((160, 0)), obs, obsm={"X_scimf": rng.standard_normal((160, 3))})
        different += begin_alike(adata, n_shuffles=39, seed=seed) == ""
    assert different <= 9  # 3 expected; more than 9 has a chance of 1 in 1,000


def test_other_times_or_too_few_cannot_tell():
    adata = typed()
    early = adata[~((adata.obs["population"] == "p00") & (adata.obs["time"] == 1.0)).to_numpy()]
    assert "different times" in cannot_be_told(early)
    assert "fewer than three times" in cannot_be_told(adata[(adata.obs["time"] < 2).to_numpy()])


def test_simulated_data_have_the_same_design_and_nobody_hears():
    adata = typed(n_cells=30)
    split = hold_out(adata, times=[4.0])
    fit_space(adata, split)
    deaf = fit(adata, split, config=deaf_config(split, QUICK), progress=False)
    assert deaf.config.interaction == "none" and len(deaf.config.stages) == 2
    one, two = (simulate_unheard(deaf, adata, seed=s) for s in (1, 1))
    np.testing.assert_array_equal(one.obsm["X_scimf"], two.obsm["X_scimf"])
    pd.testing.assert_frame_equal(one.obs, adata.obs)
    begins = (adata.obs["time"] == 0) & (adata.obs["population"] == "p03")
    before = {tuple(row) for row in adata.obsm["X_scimf"][begins.to_numpy()].round(3)}
    assert {tuple(row) for row in one.obsm["X_scimf"][begins.to_numpy()].round(3)} <= before  # drawn from its own cells
    moved = one.obsm["X_scimf"][(adata.obs["time"] == 4).to_numpy()]
    assert np.isfinite(moved).all() and not np.allclose(
        moved, adata.obsm["X_scimf"][(adata.obs["time"] == 4).to_numpy()]
    )


def scores(gains):  # {refit: (times, compositions)}
    rows = [
        (k, question, "p0", 1.0, np.exp(value))
        for k, pair in gains.items()
        for question, value in zip(("times", "compositions"), pair, strict=True)
    ]
    return pd.DataFrame(rows, columns=["refit", "question", "population", "heard", "unheard"])


def test_gain_and_p_value_by_hand():
    table = scores({0: (0.5, 0.1), 1: (0.0, 0.0), 2: (0.2, 0.3)})
    assert gain(table[table["refit"] == 0]).round(6).to_dict() == {"times": 0.5, "compositions": 0.1}
    found = summarise(table, {"times": None, "compositions": 2})
    assert found.loc["times", "p"] == pytest.approx(1 / 3) and found.loc["compositions", "p"] == pytest.approx(1 / 2)
    assert found.loc["times", "null"] == pytest.approx(0.1)


def test_refits_end_when_both_questions_are_settled(monkeypatch):
    asked = []

    def refit(deaf, adata, split, config, seed, options):
        asked.append(seed)
        return scores({0: (9.0, 9.0 if seed >= 2 else -9.0)}).drop(columns="refit")

    monkeypatch.setattr("scimf.verdict._refit", refit)
    found = do_cells_interact(typed(), config=QUICK, workers=1)
    assert asked == [1, 2] and found.answer == "no"
    assert found.table["p"].to_dict() == {"times": 1.0, "compositions": 0.5}


@pytest.mark.parametrize("reached, answer", [((-9, -9), "yes"), ((9, -9), "no"), ((-9, 9), "no")])
def test_yes_needs_both_questions(monkeypatch, reached, answer):
    monkeypatch.setattr(
        "scimf.verdict._refit", lambda *_: scores({0: tuple(map(float, reached))}).drop(columns="refit")
    )
    found = do_cells_interact(typed(), config=QUICK, workers=1)
    assert found.answer == answer
    if answer == "yes":
        assert (found.table["p"] == 1 / 20).all() and (found.table["n_refits"] == 19).all()


def test_the_whole_test_runs_repeats_and_names_its_units(tmp_path):
    first, second = (do_cells_interact(typed(), config=QUICK, workers=1, cache=tmp_path) for _ in range(2))
    pd.testing.assert_frame_equal(first.scores, second.scores)
    assert first.table.loc[["times", "compositions"], "n_populations"].tolist() == [5, 3]


def test_too_few_refits_and_populations_are_named():
    with pytest.raises(ValueError, match="n_refits: at least 19"):
        do_cells_interact(typed(), n_refits=5)
    with pytest.raises(ValueError, match="n_held: expected 3 to 5"):
        do_cells_interact(typed(), n_held=7)
