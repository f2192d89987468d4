import json

import numpy as np
import pandas as pd
import pytest
from evidence import verdicts as asked_of_many
from evidence.verdicts import proportion, verdict_on

SIZES = {"n_populations": 6, "n_cells": 30, "n_types": 3, "dim": 2}


def test_an_answer_is_plain_and_the_same_each_time():
    first = verdict_on(system="null", seed=4, **SIZES)
    again = verdict_on(system="null", seed=4, **SIZES)
    assert 0 < first["p"] <= 1 and first.pop("seconds") > 0 < again.pop("seconds")
    assert first == again == json.loads(json.dumps(first))
    assert verdict_on(system="staged", seed=5, **SIZES)["answer"] in ("no", "cannot be told")


def test_pairs_that_are_found_are_counted_against_the_truth():
    options = {"strength": (2.0, 2.0), "n_cells": 60, "n_populations": 12}
    found = verdict_on(system="typed", seed=1, pairs=True, **SIZES | options)
    assert found["true"] == 2
    assert found["found_true"] == 2 <= found["found"]
    assert found["answer"] == "yes" and found["predicted_power"] > 0.9


def test_labels_are_shuffled_and_nothing_else_changes():
    adata = asked_of_many.SYSTEMS["null"](seed=0, **SIZES)
    before = adata.obs["cell_type"].astype(str)
    asked_of_many._shuffle_labels(adata, np.random.default_rng(0))
    after = adata.obs["cell_type"].astype(str)
    assert 0.02 < (after != before).mean() < asked_of_many.WRONG
    pd.testing.assert_series_equal(after.value_counts(), before.value_counts())


@pytest.mark.parametrize(("spoil", "tied"), [("donors", False), ("tied_donors", True)])
def test_donors_drift_with_their_composition_only_if_they_are_tied_to_it(spoil, tied):
    adata = asked_of_many.SYSTEMS["null"](seed=0, **SIZES | {"n_populations": 30, "n_cells": 90})
    adata.obsm["X_scimf"] = np.zeros((adata.n_obs, 2))
    asked_of_many.SPOILED[spoil](adata, np.random.default_rng(0))
    moved = adata.obsm["X_scimf"][:, 0] / np.maximum(adata.obs["time"], 1)
    assert np.allclose(moved[adata.obs["time"] == 0], 0)
    later = adata.obs["time"] > 0
    by_population = moved[later].groupby(adata.obs["population"], observed=True).mean()
    shares = pd.crosstab(adata.obs["population"], adata.obs["cell_type"], normalize="index")
    design = np.c_[np.ones(len(shares)), shares.to_numpy()[:, :2]]
    _, left, _, _ = np.linalg.lstsq(design, by_population.to_numpy(), rcond=None)
    explained = 1 - left[0] / ((by_population - by_population.mean()) ** 2).sum()
    assert explained > 0.999 if tied else explained < 0.4


def test_without_types_the_question_is_still_asked():
    found = verdict_on(system="null", seed=1, spoiled="no_types", **SIZES)
    assert 0 < found["p"] <= 1


def test_exact_interval_of_a_share():
    none = proportion(0, 100)
    assert none["mean"] == none["lo"] == 0
    assert none["hi"] == pytest.approx(1 - 0.025 ** (1 / 100))
    assert proportion(5, 5)["hi"] == 1
    assert proportion(2, 10)["lo"] == pytest.approx(0.0252, abs=1e-4)
