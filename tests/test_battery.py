import numpy as np
import pandas as pd
import pytest
import torch

from scimf import battery, simulate
from scimf.battery import (
    composition_distance,
    drift_errors,
    heard_here,
    less_elsewhere,
    pair_forces,
    proportion,
    verdict_on,
    verdicts,
)
from scimf.preprocess import fit_space, hold_out
from scimf.sde import SDEConfig
from scimf.train import fit


@pytest.fixture(scope="module")
def fitted():
    adata = simulate.typed(n_populations=6, n_cells=20, n_types=3, dim=3)
    split = hold_out(adata)
    fit_space(adata, split)
    return fit(adata, split, config=SDEConfig(hidden=(8,), hidden_interaction=8, steps=2), progress=False), adata


class Known:
    """A model that knows the true drift, up to a gauge: a constant moved from own to heard."""

    def __init__(self, own=0.0, heard=0.0):
        self.own, self.heard = own, heard

    def drift(self, adata):
        return adata.obsm["drift_own"] + self.own, adata.obsm["drift_heard"] + self.heard


def test_systems_simulated_side_by_side_are_those_simulated_alone():
    options = {"n_populations": 3, "n_cells": 6, "times": (0.0, 1.0)}
    pair = battery.simulated("typed", (4, 5), **options)
    for s, found in zip((4, 5), pair, strict=True):
        np.testing.assert_array_equal(found.X, simulate.typed(seed=s, **options).X)


def test_the_truth_has_no_error_and_a_gauge_costs_all_but_the_gauge_free_score(fitted):
    assert (drift_errors(Known(), fitted[1]) == 0).all()
    moved = drift_errors(Known(own=-0.5, heard=0.5), fitted[1])
    assert moved["heard"] > 0.1 and moved["heard_type_mean"] > 0.1
    assert moved["total"] < 1e-6 and moved["heard_gauge_free"] < 1e-6
    assert (drift_errors(fitted[0], fitted[1]) > 0.1).all()


def test_several_fits_are_judged_by_their_mean_drift(fitted):
    apart = [Known(own=-0.5, heard=0.5), Known(own=0.5, heard=-0.5)]
    assert (drift_errors(apart, fitted[1]) < 1e-6).all()
    assert drift_errors(apart[:1], fitted[1])["heard"] > 0.1


def test_a_second_experiment_is_judged_by_its_type_means(fitted):
    again = simulate.typed(n_populations=6, n_cells=20, n_types=3, dim=3, replicate=1)
    found = drift_errors(again, fitted[1], min_cells=3)
    assert list(found.index) == ["own_type_mean", "heard_type_mean", "heard_gauge_free", "heard_strength"]
    assert ((found.abs() > 0) & (found.abs() < 1)).all() and (found.drop("heard_strength") > 0).all()
    assert (drift_errors(fitted[1], fitted[1]) == 0).all()


def test_half_of_what_is_heard_is_half_of_its_strength(fitted):
    weak = Known(heard=-0.5 * fitted[1].obsm["drift_heard"])
    assert drift_errors(weak, fitted[1])["heard_strength"] == pytest.approx(0.5)
    assert drift_errors(Known(heard=fitted[1].obsm["drift_heard"]), fitted[1])["heard_strength"] == pytest.approx(-1)


def test_no_interaction_has_no_relative_error():
    adata = simulate.null(n_populations=3, n_cells=10, n_types=2, dim=2)
    assert np.isnan(drift_errors(Known(), adata)["heard"])


def test_pair_forces_are_those_of_a_known_kernel(fitted, monkeypatch):
    model, adata = fitted
    block = model.sde.interaction[0]

    def contributions(x, density):  # K(x, y) = 2 (y - x), in model units
        n = x.shape[1]
        return 2 * (x[:, None, :, :] - x[:, :, None, :]) / (n - 1) * density[:, None, None, None]

    monkeypatch.setattr(block, "contributions", contributions)
    distance, force = pair_forces(model, adata, n_pairs=500)
    np.testing.assert_allclose(force, -2 * distance * model.clock.rate(0.0), rtol=1e-4)  # it pulls


def test_what_is_heard_everywhere_cancels(fitted, monkeypatch):
    model, adata = fitted
    block = model.sde.interaction[0]
    monkeypatch.setattr(block, "forward", lambda x, *_: x.sin())  # a function of the cell alone
    assert np.abs(heard_here(model, adata)).max() < 1e-6

    def density_only(x, mask, density, speak, hears):
        return torch.ones_like(x) * (density if hears is None else density[hears])[:, None, None]

    monkeypatch.setattr(block, "forward", density_only)
    unit = model.units.scale * model.clock.rate(0.0)
    by_population = adata.obs.groupby("population", observed=True)["density"].first()
    wanted = (adata.obs["density"] - by_population.mean()).to_numpy() * unit
    np.testing.assert_allclose(heard_here(model, adata), wanted[:, None].repeat(3, 1), atol=1e-5)


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


def test_a_shuffled_context_only_matters_to_a_model_that_hears(fitted, monkeypatch):
    adata = simulate.typed(n_populations=6, n_cells=20, n_types=3, dim=3)
    split = hold_out(adata, populations=["p04", "p05"])
    fit_space(adata, split)
    model = fit(adata, split, config=SDEConfig(hidden=(8,), hidden_interaction=8, steps=2), progress=False)
    heard = []

    def forward(x, mask, density, speak, hears):
        heard.append(hears.tolist())
        return torch.zeros_like(x)

    monkeypatch.setattr(model.sde.interaction[0], "forward", forward)
    still = composition_distance(model, adata, split, shuffled=True)
    assert heard[0] == [1, 0]  # nobody hears its own population
    monkeypatch.setattr(model.sde.interaction[0], "forward", lambda x, *_: torch.full_like(x, 5.0))
    assert composition_distance(model, adata, split, shuffled=True) > still + 1


def test_less_elsewhere_leaves_what_differs_between_populations():
    adata = simulate.linear(n_populations=4, n_cells=10)
    x, kappa = np.asarray(adata.X), adata.uns["scimf"]["truth"]["kappa"]
    message = less_elsewhere(adata, np.asarray(adata.obsm["drift_heard"]) + kappa * x)  # kappa times the mean
    by = pd.DataFrame(message).groupby(adata.obs["time"].to_numpy())
    assert np.abs(by.mean()).to_numpy().max() < 1e-6 and by.std().to_numpy().min() > 0.05
    shifted = less_elsewhere(adata, np.asarray(adata.obsm["drift_heard"]) + kappa * x + 3.0)
    np.testing.assert_allclose(shifted, message, atol=1e-5)


def test_halves_share_no_population(fitted, tmp_path):
    config = SDEConfig(hidden=(8,), hidden_interaction=8, steps=1)
    one, two = battery.halves(fitted[1], config=config, cache=tmp_path)
    assert list(one.index) == list(two.index) == ["A", "B", "C"] and not np.allclose(one, two, equal_nan=True)
    assert len(list(tmp_path.glob("*.pt"))) == 2


def test_verdicts_are_kept_and_read_again(tmp_path, monkeypatch):
    calls = []
    table = pd.DataFrame({"p": [0.05, 0.5], "gain": [1.0, 0.0], "n_refits": [19, 19]}, ["times", "compositions"])

    def ask(adata, *, config, seed, workers):
        calls.append(seed)
        return battery.verdict.Verdict("no", "because", table, pd.DataFrame())

    monkeypatch.setattr(battery.verdict, "do_cells_interact", ask)
    options = {"n_populations": 3, "n_cells": 5, "cache": tmp_path}
    first, again = (verdict_on("null", seed=4, **options) for _ in range(2))
    assert first == again and calls == [4] and first["answer"] == "no"
    assert (first["p_times"], first["p_compositions"], first["system"]) == (0.05, 0.5, "null")
    verdict_on("null", seed=5, **options)
    assert calls == [4, 5]
    both = verdicts([{"system": "null", "seed": s, "n_populations": 3, "n_cells": 5} for s in (4, 5)], cache=tmp_path)
    assert both["seed"].tolist() == [4, 5]


def test_exact_interval_of_a_share():
    none = proportion(0, 100)
    assert none["mean"] == none["lo"] == 0 and none["hi"] == pytest.approx(1 - 0.025 ** (1 / 100))
    assert proportion(5, 5)["hi"] == 1 and proportion(2, 10)["lo"] == pytest.approx(0.0252, abs=1e-4)
