"""Cells from noise: conditions, and a flow that learns what a condition means."""

from dataclasses import replace
from types import SimpleNamespace

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from beside.many_fits import fit_flow_many

from scimf.counts.config import CountConfig
from scimf.counts.fit_autoencoder import FittedCounts, fit_counts
from scimf.counts.fit_flow import fit_flow
from scimf.counts.flow import FlowConfig

GENES = 24
COUNTS = CountConfig(
    width=16,
    tokens=2,
    latent=4,
    layers=1,
    heads=2,
    cross_heads=1,
    batch_cells=64,
    steps=150,
    lr=1e-2,
)
FLOW = FlowConfig(width=32, blocks=1, heads=2, batch_cells=128, steps=250, lr=5e-3, average=0.9)
#: 60 cells of each kind, both depths in turn.
ASKED = pd.DataFrame({"kind": ["a"] * 60 + ["b"] * 60, "depth": ["low", "high"] * 60})


@pytest.fixture(scope="module")
def adata():
    """Two kinds of cells with different genes, and two depths."""
    rng = np.random.default_rng(0)
    kind, depth = rng.integers(2, size=(2, 200))
    first_half = np.arange(GENES) < GENES // 2
    rates = np.where(first_half == (kind[:, None] == 0), 4.0, 0.2)
    rates = rates * np.where(depth, 3, 1)[:, None]
    obs = pd.DataFrame(
        {"kind": np.array(["a", "b"])[kind], "depth": np.array(["low", "high"])[depth]}
    )
    obs.index = obs.index.astype(str)
    names = [f"g{k}" for k in range(GENES)]
    counts = rng.poisson(rates).astype(np.float32)
    return ad.AnnData(counts, obs=obs, var=pd.DataFrame(index=names))


@pytest.fixture(scope="module")
def fitted(adata):
    counts = fit_counts(adata, genes=list(adata.var_names), config=COUNTS, progress=False)
    return fit_flow(counts, adata, conditions=["kind", "depth"], config=FLOW, progress=False)


def share_of_first_half(x):
    return x[:, : GENES // 2].sum(1) / x.sum(1)


def test_known_conditions_are_seen_in_the_cells(fitted):
    cells = fitted.sample(ASKED, seed=1)
    x = cells.X.toarray()
    share = share_of_first_half(x)
    assert share[:60].mean() > 0.8
    assert share[60:].mean() < 0.2
    total = pd.Series(x.sum(1)).groupby(ASKED["depth"]).mean()
    assert 2 < total["high"] / total["low"] < 4
    assert list(cells.obs["kind"]) == list(ASKED["kind"])
    assert cells.obsm["X_latent"].shape == (120, 8)


def test_what_is_unknown_is_drawn(fitted):
    share = share_of_first_half(fitted.sample(120, seed=2).X.toarray())
    assert 0.2 < (share > 0.5).mean() < 0.8
    half_known = pd.DataFrame({"kind": ["a"] * 60 + [None] * 60})
    share = share_of_first_half(fitted.sample(half_known, seed=2).X.toarray())
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
        fit_flow(fitted.counts, adata, conditions=["dose"], config=FLOW, progress=False)
    incomplete = adata.copy()
    incomplete.obs["kind"] = None
    with pytest.raises(ValueError, match="missing values"):
        fit_flow(fitted.counts, incomplete, conditions=["kind"], config=FLOW, progress=False)


def test_a_killed_flow_goes_on_with_the_same_numbers(fitted, adata, tmp_path, monkeypatch):
    monkeypatch.setattr("scimf.core.optimise.CHECKPOINT_EVERY", 5)
    options = {"conditions": ["kind"], "config": replace(FLOW, steps=12)}
    whole = fit_flow(fitted.counts, adata, progress=False, **options)

    def kill(step, terms):
        if step == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_flow(fitted.counts, adata, cache=tmp_path, progress=kill, **options)
    again = fit_flow(fitted.counts, adata, cache=tmp_path, progress=False, **options)
    assert again.history == whole.history
    assert len(list(tmp_path.iterdir())) == 1


def test_only_training_cells_are_touched(fitted, adata):
    changed = adata.copy()
    train = np.arange(200) < 100
    options = {"conditions": ["kind"], "config": replace(FLOW, steps=5), "progress": False}
    before = fit_flow(fitted.counts, adata, train, **options)
    changed.X[~train] = 7
    after = fit_flow(fitted.counts, changed, train, **options)
    assert before.history == after.history
    assert before.library.seen == after.library.seen


def test_without_conditions_cells_are_asked_for_by_number(fitted, adata):
    blind = fit_flow(fitted.counts, adata, config=replace(FLOW, steps=20), progress=False)
    cells = blind.sample(7, seed=1)
    assert cells.shape == (7, GENES)
    assert (cells.X.toarray().sum(1) > 0).all()
    assert not cells.obs.shape[1]
    assert blind.conditions.labels(adata.obs).shape == (adata.n_obs, 0)


def test_conditions_learned_one_at_a_time_are_added(fitted, adata):
    config = replace(FLOW, guidance="additive", steps=400)
    names = ["kind", "depth"]
    added = fit_flow(fitted.counts, adata, conditions=names, config=config, progress=False)
    share = share_of_first_half(added.sample(ASKED, seed=1).X.toarray())
    assert share[:60].mean() > 0.8
    assert share[60:].mean() < 0.2


def test_flows_fitted_side_by_side_are_those_fitted_alone(fitted, adata, tmp_path, monkeypatch):
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "2")  # processes
    shared = {"counts": fitted.counts, "adata": adata, "config": replace(FLOW, steps=6)}
    jobs = [{**shared, "seed": seed} for seed in (0, 1)]
    first, second = fit_flow_many(jobs, cache=tmp_path)
    assert first.history == fit_flow(**jobs[0], progress=False).history
    assert second.history == fit_flow(**jobs[1], progress=False).history
    assert first.history != second.history


class Recorder(FittedCounts):
    """An autoencoder without a network that keeps what it is asked to encode."""

    def __init__(self, split):
        self.model = SimpleNamespace(config=CountConfig(split=split))

    def encode(self, matrix):
        self.seen = matrix


def test_cells_are_encoded_at_the_depth_of_training():
    counts = np.random.default_rng(0).poisson(20, (300, 8)).astype(np.float32)
    counts[:30] = 0
    counts[:30, 3] = 1  # one molecule: half of these have an empty half
    whole = Recorder(split=False)
    halves = Recorder(split=True)
    whole.encode_as_trained(counts, seed=1)
    halves.encode_as_trained(counts, seed=1)
    assert np.array_equal(whole.seen, counts)
    assert (halves.seen <= counts).all()
    assert abs(halves.seen.sum() / counts.sum() - 0.5) < 0.01
    assert halves.seen.sum(1).all()
