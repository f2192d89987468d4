"""Latents that need no training have the moments they should, and every row its cells."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from evidence.latent_baselines import generation_samples

from scimf.counts.config import CountConfig
from scimf.counts.fit_autoencoder import fit_counts
from scimf.counts.fit_flow import fit_flow
from scimf.counts.flow import FlowConfig

COUNTS = CountConfig(width=16, tokens=2, latent=4, layers=1, heads=2, cross_heads=1, steps=20)
FLOW = FlowConfig(width=32, blocks=1, heads=2, steps=10)
GENES = 12


def two_kinds(n, seed=0):
    """Cells of two kinds, of which b has four times the counts of a; no cell is empty."""
    rng = np.random.default_rng(seed)
    kinds = np.array(["a", "b"])[rng.integers(2, size=n)]
    obs = pd.DataFrame({"kind": kinds}, index=[f"c{k}" for k in range(n)])
    deep = np.where(obs["kind"] == "b", 8.0, 2.0)[:, None]
    var = pd.DataFrame(index=[f"g{k}" for k in range(GENES)])
    counts = rng.poisson(deep * np.ones((1, GENES))).astype(np.float32)
    return ad.AnnData(counts + (np.arange(GENES) == 0), obs, var)


@pytest.fixture(scope="module")
def adata():
    return two_kinds(120)


@pytest.fixture(scope="module")
def flow(adata):
    counts = fit_counts(adata, genes=list(adata.var_names), config=COUNTS, progress=False)
    return fit_flow(counts, adata, conditions=["kind"], config=FLOW, progress=False)


def test_latents_without_training_have_the_moments_they_should(flow, monkeypatch):
    decoded = []
    draw = flow.counts.draw

    def recorded(z, library, *, seed):
        decoded.append(z.reshape(len(z), *flow.mean.shape))
        return draw(z, library, seed=seed)

    monkeypatch.setattr(flow.counts, "draw", recorded)
    generation_samples(flow, two_kinds(8000), seed=1)
    gaussian, normal = decoded[-2:]
    assert gaussian.shape == normal.shape == (8000, 2, 4)
    assert np.allclose(gaussian.mean(0), flow.mean, atol=0.05)
    assert np.allclose(gaussian.std(0), flow.sd, rtol=0.05)
    assert np.allclose(normal.mean(0), 0, atol=0.05)
    assert np.allclose(normal.std(0), 1, rtol=0.05)


@pytest.mark.parametrize("name", ["fitted_gaussian", "standard_normal"])
def test_latents_are_blind_to_conditions_but_their_library_sizes_are_not(flow, name):
    test = two_kinds(200)
    total = generation_samples(flow, test, seed=2)[name].sum(1)
    deep = (test.obs["kind"] == "b").to_numpy()
    # 8 / 2 in training, whatever the latents are.
    assert 3 < total[deep].mean() / total[~deep].mean() < 5


def test_every_row_has_as_many_cells_as_the_test_set(flow, adata):
    rows = generation_samples(flow, adata[:30], seed=3)
    flows = ["flow", "flow_sized_by_type", "flow_unconditional"]
    assert list(rows) == ["reconstruction", *flows, "fitted_gaussian", "standard_normal"]
    assert {part.shape for part in rows.values()} == {(30, GENES)}
    others = {"plain": flow}
    more = generation_samples(flow, adata[:30], train=adata[30:], others=others, seed=3)
    assert set(more) - set(rows) == {"perfect_flow", "plain_reconstruction", "plain_flow"}
    assert np.array_equal(more["plain_flow"], rows["flow"])
    assert np.array_equal(more["plain_reconstruction"], rows["reconstruction"])
    assert more["perfect_flow"].shape == (30, GENES)


def test_a_flow_without_conditions_has_one_row(flow, adata):
    blind = fit_flow(flow.counts, adata, config=FLOW, progress=False)
    rows = generation_samples(blind, adata[:30])
    assert "flow" in rows
    assert "flow_unconditional" not in rows and "flow_sized_by_type" not in rows
