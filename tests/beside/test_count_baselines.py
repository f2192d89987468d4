"""Forecasts of counts: of the right cells, from no held-out cell, redrawn as they were given."""

import anndata as ad
import numpy as np
import pytest
from beside.count_baselines import forecasts, redraw
from beside.simulated_counts import counted

import scimf
from scimf.counts.config import CountConfig
from scimf.counts.fit_autoencoder import fit_counts
from scimf.counts.fit_flow import fit_flow
from scimf.counts.flow import FlowConfig
from scimf.counts.forecast import fit_latent_space
from scimf.simulate import systems

COUNTS = CountConfig(architecture="mlp", width=4, tokens=2, latent=4, heads=2, steps=10)
SDE = scimf.SDEConfig(
    hidden=(8,), rank=2, hidden_interaction=8, batch_cells=16, target_cells=16, steps=4
)
FLOW = FlowConfig(width=16, blocks=1, heads=2, steps=4)
MODELS = ["joined", "pca_rounded", "pca_poisson", "flow"]
WITHOUT_MODEL = ["copy_previous", "mixture", "ot_interpolation"]


def fitted(adata, split):
    """Fit all that forecasts need to training cells."""
    adata.obs["when"] = adata.obs["time"].astype(str)
    train = split.train_mask(adata)
    counts = fit_counts(adata, train, genes=list(adata.var_names), config=COUNTS, progress=False)
    flow = fit_flow(counts, adata, train, conditions=["when"], config=FLOW, progress=False)
    in_latents, in_pcs = adata.copy(), adata.copy()
    latent_space = fit_latent_space(counts, in_latents, split, n_dims=4)
    joined = scimf.fit(in_latents, split, latent_space, config=SDE, progress=False)
    space = scimf.fit_space(in_pcs, split, n_pcs=5)
    pca = scimf.fit(in_pcs, split, space, config=SDE, progress=False)
    return {"joined": joined, "pca": pca, "flow": flow, "column": "when"}


def populations_of(n):
    states = systems.typed(n_populations=n, n_cells=25, n_types=3, dim=3)
    return counted(states, n_genes=30)


@pytest.fixture(scope="module")
def course():
    """Three populations of 25 cells, time 2 held out; the models, and what they forecast."""
    adata = populations_of(3)
    split = scimf.hold_out(adata, times=[2.0])
    models = fitted(adata, split)
    return adata, split, models, forecasts(adata, split, 2.0, seed=1, **models)


def predicted(found):
    """Forecasts without the measured cells and what is made of them."""
    return {name: found[name] for name in (*MODELS, *WITHOUT_MODEL)}


def test_truth_and_floor_are_the_measured_cells_of_that_time(course):
    adata, _, _, found = course
    measured = adata[adata.obs["time"] == 2.0].X
    both = np.concatenate([found["truth"], found["floor"]])
    assert np.array_equal(np.unique(both, axis=0), np.unique(np.asarray(measured), axis=0))
    assert len(found["truth"]) == 38 and len(found["floor"]) == len(found["ceiling"]) == 37


def test_all_answer_with_counts_of_every_population(course):
    adata, _, _, found = course
    names = ["truth", "floor", "ceiling", *MODELS, *WITHOUT_MODEL]
    assert list(found) == names
    for name, values in predicted(found).items():
        assert values.shape == (3 * 13, adata.n_vars), name  # 38 cells of truth, in 3 populations
        assert (values >= 0).all() and (values == np.round(values)).all(), name


def test_held_out_cells_are_never_seen(course):
    adata, split, _, found = course
    changed = adata.copy()
    changed.X[split.held_mask(changed)] = 7
    again = forecasts(changed, split, 2.0, seed=1, **fitted(changed, split))
    assert not np.array_equal(again["truth"], found["truth"])
    for name, values in predicted(again).items():
        assert np.array_equal(values, found[name]), name


def test_copies_are_real_cells_of_the_neighbours_and_of_their_population(course):
    adata, _, _, found = course
    time = adata.obs["time"].to_numpy()
    population = adata.obs["population"].astype(str).to_numpy()
    for name, times in (("copy_previous", [1.0]), ("mixture", [1.0, 3.0])):
        for k, p in enumerate(np.unique(population)):
            rows = adata.X[np.isin(time, times) & (population == p)]
            known = {tuple(row) for row in rows}
            assert {tuple(row) for row in found[name][13 * k : 13 * (k + 1)]} <= known


def test_library_sizes_of_decoded_models_are_those_of_the_training_times(course):
    adata, _, _, found = course
    time = adata.obs["time"].to_numpy()
    totals = adata.X.sum(1)
    expected = (np.log(totals[time == 1.0]).mean() + np.log(totals[time == 3.0]).mean()) / 2
    for name in (*MODELS, "ot_interpolation"):
        if name == "pca_rounded":  # rounding loses counts
            continue
        assert abs(np.log(found[name].sum(1)).mean() - expected) < 0.15, name


def test_redrawn_counts_have_the_library_and_the_profile_they_were_given(course):
    adata, _, models, _ = course
    space = models["pca"].space
    x = np.repeat(space.encode(adata[:1]), 4000, axis=0)
    library = np.full(4000, 500.0)
    drawn = redraw(space, x, library)
    rounded = redraw(space, x, library, noise=False)
    assert abs(drawn.sum(1).mean() / 500 - 1) < 0.01
    assert abs(drawn.sum(1).var() / 500 - 1) < 0.1  # Poisson
    np.testing.assert_allclose(drawn.mean(0), rounded[0], atol=1)
    assert (rounded == rounded[0]).all()


def test_a_time_outside_has_no_mixture(course):
    adata, _, models, _ = course
    last = scimf.hold_out(adata, times=[4.0])
    with pytest.raises(ValueError, match="before or after"):
        forecasts(adata, last, 4.0, **models)  # the flow was trained on time 4
    with pytest.raises(ValueError, match="both sides"):
        forecasts(adata, last, 4.0, **fitted(adata.copy(), last))


def test_one_population_without_a_name():
    adata = populations_of(1)
    plain = ad.AnnData(adata.X, obs=adata.obs[["time"]], var=adata.var, uns=adata.uns)
    split = scimf.hold_out(plain, times=[2.0])
    found = forecasts(plain, split, 2.0, **fitted(plain, split))
    assert {len(values) for values in predicted(found).values()} == {13}
