"""Combinations that nobody trained on: fold changes, the mean shift, scores of predictions."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from evidence import unseen_combinations

GENES = 12


@pytest.fixture(scope="module")
def adata():
    rng = np.random.default_rng(0)
    obs = pd.DataFrame(
        {"kind": np.array(["a", "b"])[rng.integers(2, size=120)]},
        index=[f"c{k}" for k in range(120)],
    )
    deep = np.where(obs["kind"] == "b", 8.0, 2.0)[:, None]
    var = pd.DataFrame(index=[f"g{k}" for k in range(GENES)])
    return ad.AnnData(
        rng.poisson(deep * np.ones((1, GENES))).astype(np.float32) + (np.arange(GENES) == 0),
        obs,
        var,
    )


def test_fold_changes_are_found_and_applied():
    rng = np.random.default_rng(0)
    types, treated = np.array(["a", "b"]).repeat(400), np.tile([False, True], 400)
    fold = np.array([1.0, 2.0, 0.5, 1.0, 1.0, 1.0])
    share = np.array([[2.0, 1, 2, 1, 1, 1], [1.0, 2, 1, 2, 2, 1]])[(types == "b").astype(int)]
    share = share * np.where(treated[:, None], fold, 1)
    counts = rng.poisson(300 * share / share.sum(1, keepdims=True)).astype(float)
    found = unseen_combinations.fold_change(counts, types, treated)
    assert np.allclose(found / found[0], fold, rtol=0.1)
    control = counts[(types == "a") & ~treated]
    library = np.full(len(control), 600)
    moved = unseen_combinations.shift_cells(control, found, library, seed=1)
    assert np.allclose(
        unseen_combinations.log_share(moved),
        unseen_combinations.log_share(counts[(types == "a") & treated]),
        atol=0.1,
    )
    assert (
        abs(moved.sum(1).mean() / 600 - 1) < 0.05
        and (moved == moved.round()).all()
        and moved.min() >= 0
    )
    assert np.allclose(
        unseen_combinations.shift_cells(control, np.ones(6), control.sum(1)), control
    )  # nothing asked, nothing done


def test_a_type_without_untreated_cells_is_refused_by_name():
    with pytest.raises(ValueError, match="'b'"):
        unseen_combinations.fold_change(
            np.ones((4, 2)), np.array(["a", "a", "b", "b"]), np.array([True, False, True, True])
        )


def test_a_right_prediction_of_a_combination_scores_as_the_floor_and_no_effect_does_not():
    rng = np.random.default_rng(0)
    share = rng.dirichlet(np.full(30, 5.0))
    fold = np.where(np.arange(30) < 10, 4.0, 1.0)

    def cells(treated, n=240):
        rate = share * np.where(treated, fold, 1)
        return rng.poisson(500 * rate / rate.sum() * np.ones((n, 1))).astype(np.float32)

    held, control, right = cells(True), cells(False), cells(True)
    table = unseen_combinations.score_combination(
        {"right": right}, held, control, fold, held.sum(1)
    )
    assert list(table.index) == ["floor", "control", "mean shift", "right"]
    assert (
        abs(table.loc["right", "energy_distance"]) < 0.1 < table.loc["control", "energy_distance"]
    )
    assert table.loc["mean shift", "energy_distance"] < table.loc["control", "energy_distance"]
    assert (
        table.loc["control", "fold_correlation"] == 0
        and table.loc["right", "fold_correlation"] > 0.9
    )
    same = unseen_combinations.score_combination(
        {}, cells(False), control, np.ones(30), control.sum(1)
    )
    assert (
        same.loc["control", "energy_distance"] < 0.1
    )  # nothing happened, and nothing was predicted
    true = [
        unseen_combinations.score_combination(
            {"x": cells(False)}, cells(False), cells(False), np.ones(30), control.sum(1)
        )
        for _ in range(20)
    ]
    assert abs(np.mean([t.loc["x", "fold_correlation"] for t in true])) < 0.15  # no noise is shared


def test_the_fold_change_of_a_combination_never_looks_at_it(adata):
    rng = np.random.default_rng(1)
    adata = adata.copy()
    adata.obs["dose"] = np.array(["control", "p1", "p2"])[rng.integers(3, size=120)]
    target, genes = {"kind": "a", "dose": "p1"}, list(adata.var_names[:5])
    held, control, fold = unseen_combinations.combination_cells(adata, genes, target)
    mine = (adata.obs["kind"] == "a").to_numpy()
    assert len(held) == (mine & (adata.obs["dose"] == "p1")).sum() and held.shape[1] == 5
    assert len(control) == (mine & (adata.obs["dose"] == "control")).sum()
    adata.X[mine] += 3
    again = unseen_combinations.combination_cells(adata, genes, target)
    assert np.array_equal(again[2], fold) and not np.array_equal(again[0], held)
