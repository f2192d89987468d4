"""Counts at an unseen time: coordinates go there and back, held-out cells are never touched."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from beside.simulated_counts import counted

import scimf
from scimf.counts.config import CountConfig
from scimf.counts.fit_autoencoder import fit_counts
from scimf.counts.forecast import fit_latent_space, forecast_counts
from scimf.simulate import systems

COUNTS = CountConfig(
    width=16,
    tokens=3,
    latent=4,
    layers=1,
    heads=2,
    cross_heads=1,
    batch_cells=64,
    steps=60,
    lr=1e-2,
)
SDE = scimf.SDEConfig(
    hidden=(8,), rank=2, hidden_interaction=8, batch_cells=16, target_cells=16, steps=6
)


def fit_to_training_cells(adata, split):
    train = split.train_mask(adata)
    return fit_counts(adata, train, genes=list(adata.var_names), config=COUNTS, progress=False)


@pytest.fixture(scope="module")
def course():
    adata = counted(systems.typed(n_populations=3, n_cells=25, n_types=3, dim=3), n_genes=30)
    split = scimf.hold_out(adata, times=[2.0])
    counts = fit_to_training_cells(adata, split)
    return adata, split, counts, fit_latent_space(counts, adata, split)


def test_coordinates_go_back_to_the_latents_they_came_from(course):
    adata, _, counts, space = course
    z = counts.encode(adata).reshape(adata.n_obs, -1)
    np.testing.assert_allclose(space.latents(adata.obsm["X_scimf"]), z, atol=1e-3)
    np.testing.assert_allclose(space.encode(adata), adata.obsm["X_scimf"], atol=1e-5)
    assert adata.obsm["X_scimf"].shape[1] == 9  # three tokens of four numbers, each of zero mean


def test_counts_at_an_unseen_time(course):
    adata, split, _, space = course
    model = scimf.fit(adata, split, space, config=SDE, progress=False)
    cells = forecast_counts(model, [2.0], seed=1)
    assert cells.n_vars == 30
    assert (cells.obs["time"] == 2.0).all()
    assert (cells.X.data == np.round(cells.X.data)).all()
    known = adata[(adata.obs["time"] != 2.0).to_numpy()]
    assert 0.5 < cells.X.sum(1).mean() / known.X.sum(1).mean() < 2
    assert (cells.X != forecast_counts(model, [2.0], seed=1).X).nnz == 0


def test_held_out_cells_are_never_touched(course):
    adata, split, counts, space = course
    changed = adata.copy()
    changed.X[~split.train_mask(adata)] = 3
    again = fit_to_training_cells(changed, split)
    assert again.history == counts.history
    other = fit_latent_space(again, changed, split)
    assert other.library == space.library
    assert np.array_equal(other.components, space.components)


def test_a_latent_space_is_refused_with_another_split(course):
    adata, split, _, space = course
    assert space.split == split
    other = scimf.hold_out(adata, times=[3.0])
    with pytest.raises(ValueError, match="space: was fitted with another split"):
        scimf.fit(adata, other, space, config=SDE, progress=False)


def test_a_fit_in_another_space_has_no_counts():
    adata = systems.typed(n_populations=2, n_cells=10, n_types=2, dim=2)
    split = scimf.hold_out(adata)
    model = scimf.fit(adata, split, scimf.fit_space(adata, split), config=SDE, progress=False)
    with pytest.raises(TypeError, match="LatentSpace"):
        forecast_counts(model, [2.0])


def test_counts_of_cells_that_grow_have_the_shares_of_their_weights(course):
    """A count matrix has no weights: each drawn cell carries the one of the cell it was drawn for.

    A type whose cells double more often is more frequent by as much, and by weight alone.
    """
    adata, split, _, space = course
    config = replace(SDE, growth="type", interaction="none")
    model = scimf.fit(adata, split, space, config=config, progress=False)
    with torch.no_grad():
        model.sde.growth.rate.copy_(torch.tensor([1.0, 0.0, -1.0]))
    cells = forecast_counts(model, [2.0], seed=1)
    moved = model.sample([2.0], seed=1)
    assert list(cells.obs["weight"]) == list(moved.obs["weight"])
    assert list(cells.obs["cell_type"]) == list(moved.obs["cell_type"])
    start = cells.obs["cell_type"].value_counts(normalize=True).sort_index()
    gap = model.time_scale(2.0) - model.time_scale(cells.obs["start_time"].iloc[0])
    expected = start * np.exp(gap * np.array([1.0, 0.0, -1.0]))
    found = cells.obs["weight"].groupby(cells.obs["cell_type"]).sum()
    np.testing.assert_allclose(found / found.sum(), expected / expected.sum(), rtol=1e-4)
    assert cells.obs["start_time"].nunique() == 1
