"""Counts at an unseen time: coordinates go there and back, libraries follow time, held-out cells are never touched."""

import numpy as np
import pytest

import scimf
from scimf import simulate
from scimf.autoencode import fit_counts
from scimf.counts import CountConfig
from scimf.countworlds import counted
from scimf.forecast import LibraryOverTime, fit_latent_space, forecast_counts

COUNTS = CountConfig(width=16, tokens=3, latent=4, layers=1, heads=2, cross_heads=1, batch_cells=64, steps=60, lr=1e-2)
SDE = scimf.SDEConfig(hidden=(8,), rank=2, hidden_interaction=8, batch_cells=16, target_cells=16, steps=6)


@pytest.fixture(scope="module")
def course():
    adata = counted(simulate.typed(n_populations=3, n_cells=25, n_types=3, dim=3), n_genes=30)
    split = scimf.hold_out(adata, times=[2.0])
    counts = fit_counts(adata, split.train_mask(adata), genes=list(adata.var_names), config=COUNTS, progress=False)
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
    assert cells.n_vars == 30 and (cells.obs["time"] == 2.0).all() and (cells.X.data == np.round(cells.X.data)).all()
    known = adata[(adata.obs["time"] != 2.0).to_numpy()]
    assert 0.5 < cells.X.sum(1).mean() / known.X.sum(1).mean() < 2
    assert (cells.X != forecast_counts(model, [2.0], seed=1).X).nnz == 0


def test_held_out_cells_are_never_touched(course):
    adata, split, counts, space = course
    changed, held = adata.copy(), ~split.train_mask(adata)
    changed.X[held] = 3
    again = fit_counts(changed, split.train_mask(changed), genes=list(adata.var_names), config=COUNTS, progress=False)
    assert again.history == counts.history
    other = fit_latent_space(again, changed, split)
    assert other.library == space.library and np.array_equal(other.components, space.components)


def test_libraries_are_linear_between_times_and_constant_beyond():
    rng = np.random.default_rng(0)
    times = np.repeat([0.0, 2.0], 4000)
    library = LibraryOverTime.of(np.exp(5 + times / 2 + 0.1 * rng.standard_normal(8000)), times)
    for time, mean in ((0.0, 5), (1.0, 5.5), (2.0, 6), (5.0, 6)):
        drawn = np.log(library.draw(np.full(4000, time)))
        assert abs(drawn.mean() - mean) < 0.02 and abs(drawn.std() - 0.1) < 0.01


def test_a_fit_in_another_space_has_no_counts(course):
    adata = simulate.typed(n_populations=2, n_cells=10, n_types=2, dim=2)
    split = scimf.hold_out(adata)
    model = scimf.fit(adata, split, scimf.fit_space(adata, split), config=SDE, progress=False)
    with pytest.raises(TypeError, match="LatentSpace"):
        forecast_counts(model, [2.0])
