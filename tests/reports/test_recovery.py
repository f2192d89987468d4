import numpy as np
import pandas as pd
import pytest
import torch
from evidence.recovery import (
    composition_distance,
    composition_distance_of_replicate,
    drift_errors,
    drift_errors_of_replicate,
    gauge_free_interaction,
    gauge_free_truth,
    pair_forces,
    simulated,
)

from scimf.data.space import fit_space
from scimf.data.split import hold_out
from scimf.dynamics.config import SDEConfig
from scimf.dynamics.fit import fit
from scimf.simulate import systems

QUICK = SDEConfig(hidden=(8,), hidden_interaction=8, steps=2)


@pytest.fixture(scope="module")
def fitted():
    adata = systems.typed(n_populations=6, n_cells=20, n_types=3, dim=3)
    split = hold_out(adata)
    fit_space(adata, split)
    return fit(adata, split, config=QUICK, progress=False), adata


class Known:
    """A model that knows the true drift, up to what is added to its two parts."""

    def __init__(self, intrinsic=0.0, interaction=0.0):
        self.intrinsic = intrinsic
        self.interaction = interaction

    def drift(self, adata):
        intrinsic = adata.obsm["drift_intrinsic"] + self.intrinsic
        return intrinsic, adata.obsm["drift_interaction"] + self.interaction


def test_systems_simulated_side_by_side_are_those_simulated_alone():
    options = {"n_populations": 3, "n_cells": 6, "times": (0.0, 1.0)}
    pair = simulated("typed", (4, 5), **options)
    for seed, found in zip((4, 5), pair, strict=True):
        np.testing.assert_array_equal(found.X, systems.typed(seed=seed, **options).X)


def test_the_truth_has_no_error_and_a_gauge_costs_all_but_the_gauge_free_score(fitted):
    model, adata = fitted
    assert (drift_errors([Known()], adata) == 0).all()
    moved = drift_errors([Known(intrinsic=-0.5, interaction=0.5)], adata)
    assert moved["heard"] > 0.1 and moved["heard_type_mean"] > 0.1
    assert moved["total"] < 1e-6 and moved["heard_gauge_free"] < 1e-6
    assert (drift_errors([model], adata) > 0.1).all()


def test_several_fits_are_scored_by_their_mean_drift(fitted):
    apart = [Known(-0.5, 0.5), Known(0.5, -0.5)]
    assert (drift_errors(apart, fitted[1]) < 1e-6).all()
    assert drift_errors(apart[:1], fitted[1])["heard"] > 0.1


def test_a_second_experiment_is_scored_by_its_type_means(fitted):
    again = systems.typed(n_populations=6, n_cells=20, n_types=3, dim=3, replicate=1)
    found = drift_errors_of_replicate(again, fitted[1], min_cells=3)
    assert list(found.index) == [
        "own_type_mean",
        "heard_type_mean",
        "heard_gauge_free",
        "heard_strength",
    ]
    assert (found.abs() > 0).all() and (found.abs() < 1).all()
    assert (found.drop("heard_strength") > 0).all()
    assert (drift_errors_of_replicate(fitted[1], fitted[1]) == 0).all()


def test_half_of_the_interaction_is_half_of_its_strength(fitted):
    interaction = fitted[1].obsm["drift_interaction"]
    weak = drift_errors([Known(interaction=-0.5 * interaction)], fitted[1])
    assert weak["heard_strength"] == pytest.approx(0.5)
    strong = drift_errors([Known(interaction=interaction)], fitted[1])
    assert strong["heard_strength"] == pytest.approx(-1)


def test_no_interaction_has_no_relative_error():
    adata = systems.null(n_populations=3, n_cells=10, n_types=2, dim=2)
    assert np.isnan(drift_errors([Known()], adata)["heard"])


def test_pair_forces_are_those_of_a_known_kernel(fitted, monkeypatch):
    model, adata = fitted

    def contributions(x, density):  # K(x, y) = 2 (y - x), in model units
        apart = x[:, None, :, :] - x[:, :, None, :]
        return 2 * apart / (x.shape[1] - 1) * density[:, None, None, None]

    monkeypatch.setattr(model.sde.interaction[0], "contributions", contributions)
    distance, force = pair_forces(model, adata, n_pairs=500)
    pull = -2 * distance * model.time_scale.rate(0.0)
    np.testing.assert_allclose(force, pull, rtol=1e-4)


def test_what_is_received_everywhere_cancels(fitted, monkeypatch):
    model, adata = fitted
    block = model.sde.interaction[0]
    monkeypatch.setattr(block, "forward", lambda x, *_: x.sin())  # a function of the cell alone
    assert np.abs(gauge_free_interaction(model, adata)).max() < 1e-6

    def density_only(x, mask, density, sender_weight, context, weight):
        received = density if context is None else density[context]
        return torch.ones_like(x) * received[:, None, None]

    monkeypatch.setattr(block, "forward", density_only)
    unit = model.standardiser.scale * model.time_scale.rate(0.0)
    by_population = adata.obs.groupby("population", observed=True)["density"].first()
    expected = (adata.obs["density"] - by_population.mean()).to_numpy() * unit
    found = gauge_free_interaction(model, adata)
    np.testing.assert_allclose(found, expected[:, None].repeat(3, 1), atol=1e-5)


def test_distance_to_held_out_compositions_is_zero_for_their_own_cells(fitted, monkeypatch):
    model, adata = fitted
    split = hold_out(adata, populations=["p04", "p05"])

    def copy(times, *, start, populations, seed):
        rows = adata.obs["time"].isin(times) & adata.obs["population"].isin(populations)
        return adata[rows.to_numpy()].copy()

    monkeypatch.setattr(model, "sample", copy)
    assert composition_distance(model, adata, split) < 0.01
    monkeypatch.setattr(model, "sample", lambda times, **options: copy([0.0], **options))
    assert composition_distance(model, adata, split) > 0.05


def test_a_second_experiment_is_near_and_another_composition_is_far(fitted):
    adata = fitted[1]
    split = hold_out(adata, populations=["p04", "p05"])
    itself = composition_distance_of_replicate(adata, adata, split)
    again = systems.typed(n_populations=6, n_cells=20, n_types=3, dim=3, replicate=1)
    again.obsm["X_scimf"] = np.asarray(again.X, np.float32)
    assert itself < composition_distance_of_replicate(again, adata, split)
    again.obs["time"] = again.obs["time"].max() - again.obs["time"]
    far = composition_distance_of_replicate(again, adata, split)
    assert far > 0.05


def test_a_shuffled_context_only_matters_to_a_model_that_interacts(monkeypatch):
    adata = systems.typed(n_populations=6, n_cells=20, n_types=3, dim=3)
    split = hold_out(adata, populations=["p04", "p05"])
    fit_space(adata, split)
    model = fit(adata, split, config=QUICK, progress=False)
    contexts = []

    def forward(x, mask, density, sender_weight, context, weight):
        contexts.append(context.tolist())
        return torch.zeros_like(x)

    block = model.sde.interaction[0]
    monkeypatch.setattr(block, "forward", forward)
    still = composition_distance(model, adata, split, shuffled=True)
    assert contexts[0] == [1, 0]  # nobody receives from its own population
    monkeypatch.setattr(block, "forward", lambda x, *_: torch.full_like(x, 5.0))
    assert composition_distance(model, adata, split, shuffled=True) > still + 1


def test_gauge_free_truth_is_what_differs_between_populations():
    adata = systems.linear(n_populations=4, n_cells=10)
    kappa = adata.uns["scimf"]["truth"]["kappa"]
    interaction = np.asarray(adata.obsm["drift_interaction"])
    message = interaction + kappa * np.asarray(adata.X)  # kappa times the mean
    found = gauge_free_truth(adata, message)
    by_time = pd.DataFrame(found).groupby(adata.obs["time"].to_numpy())
    assert np.abs(by_time.mean()).to_numpy().max() < 1e-6
    assert by_time.std().to_numpy().min() > 0.05
    np.testing.assert_allclose(gauge_free_truth(adata, message + 3.0), found, atol=1e-5)
