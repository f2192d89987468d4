"""Cells from noise: conditions, library sizes, and a flow that learns what a condition means."""

from dataclasses import replace

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from scimf.autoencode import fit_counts
from scimf.counts import CountConfig
from scimf.flow import FlowConfig
from scimf.generate import Conditions, encode_as_trained, fit_flow, fit_flow_many
from scimf.librarysizes import LibraryGivenLatent, LibrarySizes

GENES = 24
COUNTS = CountConfig(width=16, tokens=2, latent=4, layers=1, heads=2, cross_heads=1, batch_cells=64, steps=150, lr=1e-2)
FLOW = FlowConfig(width=32, blocks=1, heads=2, batch_cells=128, steps=250, lr=5e-3, average=0.9)


@pytest.fixture(scope="module")
def adata():
    """Two kinds of cells with different genes, and two depths."""
    rng = np.random.default_rng(0)
    kind, depth = rng.integers(2, size=(2, 200))
    rates = np.where((np.arange(GENES) < GENES // 2) == (kind[:, None] == 0), 4.0, 0.2) * np.where(depth, 3, 1)[:, None]
    obs = pd.DataFrame({"kind": np.array(["a", "b"])[kind], "depth": np.array(["low", "high"])[depth]})
    obs.index = obs.index.astype(str)
    return ad.AnnData(
        rng.poisson(rates).astype(np.float32), obs=obs, var=pd.DataFrame(index=[f"g{k}" for k in range(GENES)])
    )


@pytest.fixture(scope="module")
def fitted(adata):
    counts = fit_counts(adata, genes=list(adata.var_names), config=COUNTS, progress=False)
    return fit_flow(counts, adata, conditions=["kind", "depth"], config=FLOW, progress=False)


def test_told_conditions_are_seen_in_the_cells(fitted):
    obs = pd.DataFrame({"kind": ["a"] * 60 + ["b"] * 60, "depth": ["low", "high"] * 60})
    cells = fitted.sample(obs, seed=1)
    x = cells.X.toarray()
    share = x[:, : GENES // 2].sum(1) / x.sum(1)
    assert share[:60].mean() > 0.8 and share[60:].mean() < 0.2
    total = pd.Series(x.sum(1)).groupby(obs["depth"]).mean()
    assert 2 < total["high"] / total["low"] < 4
    assert list(cells.obs["kind"]) == list(obs["kind"]) and cells.obsm["X_latent"].shape == (120, 8)


def test_what_is_not_told_is_drawn(fitted):
    x = fitted.sample(120, seed=2).X.toarray()
    share = x[:, : GENES // 2].sum(1) / x.sum(1)
    assert 0.2 < (share > 0.5).mean() < 0.8
    told = fitted.sample(pd.DataFrame({"kind": ["a"] * 60 + [None] * 60}), seed=2).X.toarray()
    share = told[:, : GENES // 2].sum(1) / told.sum(1)
    assert share[:60].mean() > 0.8 > 0.7 > share[60:].mean()


def test_the_same_seed_gives_the_same_cells_and_the_library_can_be_given(fitted):
    obs = pd.DataFrame({"kind": ["a"] * 5})
    assert (fitted.sample(obs, seed=3).X != fitted.sample(obs, seed=3).X).nnz == 0
    assert (fitted.sample(obs, seed=3).X != fitted.sample(obs, seed=4).X).nnz > 0
    large = fitted.sample(obs, library=np.full(5, 10_000), seed=3)
    assert abs(large.X.sum(1).mean() / 10_000 - 1) < 0.2


def test_unknown_conditions_are_refused_by_name(fitted, adata):
    with pytest.raises(ValueError, match="kind.*'c'.*training had.*'a'"):
        fitted.sample(pd.DataFrame({"kind": ["a", "c"]}))
    with pytest.raises(ValueError, match="no cell"):
        fitted.sample(pd.DataFrame({"kind": []}))
    with pytest.raises(KeyError, match="dose"):
        Conditions.of(adata.obs, ["dose"])
    with pytest.raises(ValueError, match="missing values"):
        Conditions.of(adata.obs.assign(kind=None), ["kind"])


def test_library_sizes_of_an_unseen_combination_are_the_sum_of_effects():
    rng = np.random.default_rng(0)
    labels = np.array([[0, 0], [0, 1], [1, 0]]).repeat(2000, 0)
    log = 5 + np.array([0, 1])[labels[:, 0]] + np.array([0, 0.5])[labels[:, 1]] + 0.1 * rng.standard_normal(6000)
    sizes = LibrarySizes.of(np.exp(log), labels, (2, 2))
    for row, mean in (((0, 0), 5), ((0, 1), 5.5), ((1, 1), 6.5)):
        drawn = np.log(sizes.draw(np.array([row] * 3000)))
        assert abs(drawn.mean() - mean) < 0.05 and abs(drawn.std() - 0.1) < 0.02
    untold = np.log(sizes.draw(np.array([[2, 2]] * 3000)))
    assert abs(untold.mean() - log.mean()) < 0.05 and abs(untold.std() - log.std()) < 0.03
    assert (LibrarySizes.of(np.exp(log), np.zeros((6000, 0), int), ()).draw(np.zeros((5, 0), int)) > 50).all()


def test_library_sizes_go_with_the_latent_they_are_drawn_for():
    rng = np.random.default_rng(0)
    z, labels = rng.standard_normal((4000, 3)), rng.integers(0, 2, (4000, 1))
    spread = np.array([0.1, 0.3])[labels[:, 0]]
    log = 6 + 0.8 * z[:, 0] - 0.4 * z[:, 2] + labels[:, 0] + spread * rng.standard_normal(4000)
    sizes = LibraryGivenLatent.of(z, np.exp(log), labels, (2,))
    np.testing.assert_allclose(sizes.slope, [0.8, 0, -0.4], atol=0.05)
    drawn = np.log(sizes.draw(z, labels, seed=1))
    for kind in (0, 1):
        mine = labels[:, 0] == kind
        assert abs((drawn - log)[mine].mean()) < 0.05
        assert abs((drawn - log)[mine].std() / (np.sqrt(2) * spread[mine][0]) - 1) < 0.1  # two draws, both with noise
    far = sizes.draw(1e3 * z[:50], labels[:50])  # latents that no cell has: not e to the thousandth
    assert np.isfinite(far).all() and far.max() < 3 * np.exp(log).max()


def test_a_killed_flow_goes_on_with_the_same_numbers(fitted, adata, tmp_path, monkeypatch):
    monkeypatch.setattr("scimf.optimise.CHECKPOINT_EVERY", 5)
    options = {"conditions": ["kind"], "config": replace(FLOW, steps=12), "progress": False}
    whole = fit_flow(fitted.counts, adata, **options)

    def kill(step, terms):
        if step == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_flow(fitted.counts, adata, cache=tmp_path, on_step=kill, **options)
    again = fit_flow(fitted.counts, adata, cache=tmp_path, **options)
    assert again.history == whole.history and len(list(tmp_path.iterdir())) == 1


def test_only_training_cells_are_touched(fitted, adata):
    changed, train = adata.copy(), np.arange(200) < 100
    options = {"conditions": ["kind"], "config": replace(FLOW, steps=5), "progress": False}
    before = fit_flow(fitted.counts, adata, train, **options)
    changed.X[~train] = 7
    after = fit_flow(fitted.counts, changed, train, **options)
    assert before.history == after.history and before.library.seen == after.library.seen


def test_without_conditions_cells_are_asked_for_by_number(fitted, adata):
    blind = fit_flow(fitted.counts, adata, config=replace(FLOW, steps=20), progress=False)
    cells = blind.sample(7, seed=1)
    assert cells.shape == (7, GENES) and (cells.X.toarray().sum(1) > 0).all() and not cells.obs.shape[1]
    assert blind.conditions.labels(adata.obs).shape == (adata.n_obs, 0)


def test_conditions_learned_one_at_a_time_are_added(fitted, adata):
    config = replace(FLOW, guidance="additive", steps=400)
    added = fit_flow(fitted.counts, adata, conditions=["kind", "depth"], config=config, progress=False)
    x = added.sample(pd.DataFrame({"kind": ["a"] * 60 + ["b"] * 60, "depth": ["low", "high"] * 60}), seed=1).X.toarray()
    share = x[:, : GENES // 2].sum(1) / x.sum(1)
    assert share[:60].mean() > 0.8 and share[60:].mean() < 0.2


def test_flows_fitted_side_by_side_are_those_fitted_alone(fitted, adata, tmp_path):
    jobs = [{"counts": fitted.counts, "adata": adata, "config": replace(FLOW, steps=6), "seed": s} for s in (0, 1)]
    both = fit_flow_many(jobs, cache=tmp_path, workers=2)
    alone = [fit_flow(**job, progress=False) for job in jobs]
    assert [f.history for f in both] == [f.history for f in alone] and both[0].history != both[1].history


def test_cells_are_encoded_at_the_depth_of_training():
    seen = []

    class Recorder:
        def __init__(self, split):
            self.config = CountConfig(split=split)

        def encode(self, matrix):
            seen.append(matrix)

    counts = np.random.default_rng(0).poisson(20, (300, 8)).astype(np.float32)
    counts[:30], counts[:30, 3] = 0, 1  # one molecule: half of these have an empty half
    for split in (False, True):
        encode_as_trained(Recorder(split), counts, seed=1)
    assert np.array_equal(seen[0], counts)
    assert (seen[1] <= counts).all() and abs(seen[1].sum() / counts.sum() - 0.5) < 0.01 and seen[1].sum(1).all()
