"""Priors that need no training, and the mean shift on counts."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from scimf import priors
from scimf.autoencode import fit_counts
from scimf.counts import CountConfig
from scimf.flow import FlowConfig
from scimf.generate import fit_flow

COUNTS = CountConfig(width=16, tokens=2, latent=4, layers=1, heads=2, cross_heads=1, steps=20)
FLOW = FlowConfig(width=32, blocks=1, heads=2, steps=10)
GENES = 12


@pytest.fixture(scope="module")
def adata():
    rng = np.random.default_rng(0)
    obs = pd.DataFrame({"kind": np.array(["a", "b"])[rng.integers(2, size=120)]}, index=[f"c{k}" for k in range(120)])
    deep = np.where(obs["kind"] == "b", 8.0, 2.0)[:, None]
    var = pd.DataFrame(index=[f"g{k}" for k in range(GENES)])
    return ad.AnnData(rng.poisson(deep * np.ones((1, GENES))).astype(np.float32) + (np.arange(GENES) == 0), obs, var)


@pytest.fixture(scope="module")
def flow(adata):
    counts = fit_counts(adata, genes=list(adata.var_names), config=COUNTS, progress=False)
    return fit_flow(counts, adata, conditions=["kind"], config=FLOW, progress=False)


def test_the_gaussian_has_the_moments_of_the_training_latents(flow):
    z = priors.gaussian_prior(flow, 20_000, seed=1)
    assert z.shape == (20_000, 2, 4)
    assert np.allclose(z.mean(0), flow.mean, atol=0.05) and np.allclose(z.std(0), flow.sd, rtol=0.05)
    z = priors.standard_prior(flow, 20_000, seed=1)
    assert np.allclose(z.mean(0), 0, atol=0.05) and np.allclose(z.std(0), 1, rtol=0.05)


def test_a_prior_is_blind_to_conditions_but_its_library_sizes_are_not(flow):
    obs = pd.DataFrame({"kind": ["a"] * 100 + ["b"] * 100})
    total = priors.sample_prior(flow, obs, seed=2).X.toarray().sum(1)
    assert 3 < total[100:].mean() / total[:100].mean() < 5  # 8 / 2 in training, whatever the latents are
    given = priors.sample_prior(flow, obs, library=np.full(200, 500), seed=2).X.toarray().sum(1)
    assert abs(given.mean() / 500 - 1) < 0.1


def test_every_row_has_as_many_cells_as_the_test_set(flow, adata):
    rows = priors.generation_samples(flow, adata[:30], seed=3)
    flows, trivial = ["flow", "flow_sized_by_type", "flow_unconditional"], ["fitted_gaussian", "standard_normal"]
    assert list(rows) == ["reconstruction", *flows, *trivial]
    assert {part.shape for part in rows.values()} == {(30, GENES)}
    more = priors.generation_samples(flow, adata[:30], train=adata[30:], others={"plain": flow}, seed=3)
    assert set(more) - set(rows) == {"perfect_flow", "plain_reconstruction", "plain_flow"}
    assert np.array_equal(more["plain_flow"], rows["flow"]) and more["perfect_flow"].shape == (30, GENES)
    blind = fit_flow(flow.counts, adata, config=FLOW, progress=False)
    assert "flow_unconditional" not in priors.generation_samples(blind, adata[:30])


def test_fold_changes_are_found_and_applied():
    rng = np.random.default_rng(0)
    types, treated = np.array(["a", "b"]).repeat(400), np.tile([False, True], 400)
    fold = np.array([1.0, 2.0, 0.5, 1.0, 1.0, 1.0])
    share = np.array([[2.0, 1, 2, 1, 1, 1], [1.0, 2, 1, 2, 2, 1]])[(types == "b").astype(int)]
    share = share * np.where(treated[:, None], fold, 1)
    counts = rng.poisson(300 * share / share.sum(1, keepdims=True)).astype(float)
    found = priors.fold_change(counts, types, treated)
    assert np.allclose(found / found[0], fold, rtol=0.1)
    control = counts[(types == "a") & ~treated]
    library = np.full(len(control), 600)
    moved = priors.shift_cells(control, found, library, seed=1)
    assert np.allclose(priors.log_share(moved), priors.log_share(counts[(types == "a") & treated]), atol=0.1)
    assert abs(moved.sum(1).mean() / 600 - 1) < 0.05 and (moved == moved.round()).all() and moved.min() >= 0
    assert np.allclose(priors.shift_cells(control, np.ones(6), control.sum(1)), control)  # nothing asked, nothing done


def test_a_type_without_untreated_cells_is_refused_by_name():
    with pytest.raises(ValueError, match="'b'"):
        priors.fold_change(np.ones((4, 2)), np.array(["a", "a", "b", "b"]), np.array([True, False, True, True]))


def test_a_right_prediction_of_a_combination_scores_as_the_floor_and_no_effect_does_not():
    rng = np.random.default_rng(0)
    share = rng.dirichlet(np.full(30, 5.0))
    fold = np.where(np.arange(30) < 10, 4.0, 1.0)

    def cells(treated, n=240):
        rate = share * np.where(treated, fold, 1)
        return rng.poisson(500 * rate / rate.sum() * np.ones((n, 1))).astype(np.float32)

    held, control, right = cells(True), cells(False), cells(True)
    table = priors.score_combination({"right": right}, held, control, fold, held.sum(1))
    assert list(table.index) == ["floor", "control", "mean shift", "right"]
    assert abs(table.loc["right", "energy_distance"]) < 0.1 < table.loc["control", "energy_distance"]
    assert table.loc["mean shift", "energy_distance"] < table.loc["control", "energy_distance"]
    assert table.loc["control", "fold_correlation"] == 0 and table.loc["right", "fold_correlation"] > 0.9
    same = priors.score_combination({}, cells(False), control, np.ones(30), control.sum(1))
    assert same.loc["control", "energy_distance"] < 0.1  # nothing happened, and nothing was predicted
    true = [
        priors.score_combination({"x": cells(False)}, cells(False), cells(False), np.ones(30), control.sum(1))
        for _ in range(20)
    ]
    assert abs(np.mean([t.loc["x", "fold_correlation"] for t in true])) < 0.15  # no noise is shared


def test_the_fold_change_of_a_combination_never_looks_at_it(adata):
    rng = np.random.default_rng(1)
    adata = adata.copy()
    adata.obs["dose"] = np.array(["control", "p1", "p2"])[rng.integers(3, size=120)]
    target, genes = {"kind": "a", "dose": "p1"}, list(adata.var_names[:5])
    held, control, fold = priors.combination_cells(adata, genes, target)
    mine = (adata.obs["kind"] == "a").to_numpy()
    assert len(held) == (mine & (adata.obs["dose"] == "p1")).sum() and held.shape[1] == 5
    assert len(control) == (mine & (adata.obs["dose"] == "control")).sum()
    adata.X[mine] += 3
    again = priors.combination_cells(adata, genes, target)
    assert np.array_equal(again[2], fold) and not np.array_equal(again[0], held)
