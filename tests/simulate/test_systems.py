"""Simulated systems do what their equations say, and what is stored as their truth is true."""

import numpy as np
import pandas as pd
import pytest
from beside.moments import linear_moments

from scimf.core.reached import Reached
from scimf.simulate import systems
from scimf.simulate.particles import Sampling


def truth_of(adata):
    return adata.uns["scimf"]["truth"]


def size_of_interaction(adata):  # (cells,)
    return np.abs(adata.obsm["drift_interaction"]).max(1)


# --------------------------------------------------------------------------------- all systems


@pytest.mark.parametrize("name", systems.SYSTEMS)
def test_every_system_can_be_loaded_and_says_what_is_true(name):
    adata = systems.SYSTEMS[name](seed=1, n_populations=3, n_cells=12)
    assert np.isfinite(adata.X).all()
    assert adata.uns["scimf"]["name"] == name
    assert adata.obs.groupby(["population", "time"], observed=True).size().eq(12).all()
    silent = name == "null"
    assert (size_of_interaction(adata).max() == 0) == silent


def test_same_seed_same_cells_other_seed_other_cells():
    a, b, c = (systems.typed(seed=seed, n_populations=2, n_cells=10) for seed in (3, 3, 4))
    assert np.array_equal(a.X, b.X)
    assert not np.array_equal(a.X, c.X)


def test_a_system_is_reached_by_its_name_alone():
    found = Reached()
    found.add_texts(["linear"])
    found.add("scimf.simulate.systems", "SYSTEMS")
    found.digest()
    assert ("scimf.simulate.untyped", "linear") in found.places
    assert ("scimf.simulate.typed", "typed") not in found.places
    assert ("scimf.simulate.typed", "null") not in found.places


def test_measured_cells_are_the_simulated_ones_in_order_of_time():
    x = np.arange(12.0).reshape(1, 12, 1)

    def drift(x, kind, t):
        return np.ones_like(x), np.zeros_like(x)

    sampling = Sampling(sigma=0.0, step=0.5, times=(0.0, 2.0), n_cells=6)
    adata = sampling.measure(x, drift, rng=np.random.default_rng(0))
    first = adata[adata.obs["time"] == 0.0].X[:, 0]
    second = adata[adata.obs["time"] == 2.0].X[:, 0] - 2.0
    assert sorted([*first, *second]) == list(range(12))
    assert np.array_equal(adata.obsm["drift_intrinsic"], np.ones((12, 1)))


# -------------------------------------------------------------------------------- without types


def test_linear_populations_start_where_they_are_asked_to():
    start = {"start_mean": 0.0, "start_sd": (1.5, 1.5)}
    adata = systems.linear(n_populations=6, n_cells=400, times=(0.0, 0.5), **start)
    first = adata[adata.obs["time"] == 0.0]
    population = first.obs["population"].to_numpy()
    groups = pd.DataFrame(np.asarray(first.X)).groupby(population, observed=True)
    np.testing.assert_allclose(groups.mean(), 0, atol=0.3)
    np.testing.assert_allclose(groups.std(), 1.5, rtol=0.1)


def test_linear_attraction_meets_its_closed_form():
    adata = systems.linear(seed=0, n_populations=3, n_cells=1500, times=(0.0, 1.0, 2.0))
    truth = truth_of(adata)
    rates = {key: float(truth[key]) for key in ("theta", "kappa", "sigma")}
    for k, population in enumerate(["p00", "p01", "p02"]):
        mine = adata.obs["population"] == population
        first = adata.X[(mine & (adata.obs["time"] == 0.0)).to_numpy()]
        last = adata.X[(mine & (adata.obs["time"] == 2.0)).to_numpy()]
        start = {"mean": first.mean(0), "variance": float(truth["start_sd"][k]) ** 2}
        mean, variance = linear_moments(2.0, **start, **rates)
        np.testing.assert_allclose(last.mean(0), mean, atol=0.06)
        np.testing.assert_allclose(last.var(0), variance, rtol=0.15)


# ----------------------------------------------------------------------------------- with types


@pytest.fixture(scope="module")
def typed():
    return systems.typed(seed=0, n_populations=4, n_cells=40)


def test_type_matrix_is_not_reciprocal(typed):
    matrix = truth_of(typed)["type_matrix"]
    off = ~np.eye(len(matrix), dtype=bool)
    assert len(matrix) >= 5
    assert np.all(np.diag(matrix) == 0)
    assert (matrix != 0)[off].mean() == pytest.approx(0.4)
    assert not np.any((matrix != 0) & (matrix.T != 0))
    assert (matrix > 0).any()
    assert (matrix < 0).any()


def test_snapshots_are_different_cells_with_finite_drifts(typed):
    assert typed.n_obs == 4 * 40 * 5
    assert len(np.unique(typed.X, axis=0)) == typed.n_obs
    assert np.isfinite(typed.obsm["drift_intrinsic"]).all()
    assert size_of_interaction(typed).max() > 0
    density = typed.obs["density"].groupby(typed.obs["population"].astype(str))
    assert density.nunique().eq(1).all()


def test_null_has_no_interaction():
    adata = systems.null(seed=0, n_populations=2, n_cells=10)
    assert size_of_interaction(adata).max() == 0
    assert adata.uns["scimf"]["name"] == "null"


def test_a_type_receives_only_what_the_matrix_says():
    adata = systems.typed(seed=0, n_populations=3, n_cells=30)
    matrix = truth_of(adata)["type_matrix"]
    receives_nothing = np.flatnonzero((matrix == 0).all(1))
    for k in receives_nothing:
        rows = (adata.obs["cell_type"] == truth_of(adata)["types"][k]).to_numpy()
        assert size_of_interaction(adata)[rows].max() < 1e-6
    assert len(receives_nothing)


def test_typed_pair_sums_are_the_plain_loops():
    # With one time, all cells of a population are measured.
    adata = systems.typed(seed=0, n_populations=1, n_cells=12, n_types=3, dim=3, times=(0.0,))
    x = adata.X.astype(float)
    kind = adata.obs["cell_type"].map({"A": 0, "B": 1, "C": 2}).to_numpy(int)
    matrix = truth_of(adata)["type_matrix"]
    expected = np.zeros_like(x)
    for i in range(12):
        for j in range(12):
            towards = x[j] - x[i]
            pull = matrix[kind[i], kind[j]] / 11
            expected[i] += pull * towards / np.sqrt(1 + towards @ towards)
    expected *= truth_of(adata)["density"][0]
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(adata.obsm["drift_interaction"], expected, atol=1e-5)


def test_replicates_share_the_truth_and_compositions_can_be_set():
    half = np.tile([0.5, 0.5, 0, 0, 0], (3, 1))
    options = {"n_populations": 3, "n_cells": 20, "compositions": half}
    a = systems.typed(replicate=0, **options)
    b = systems.typed(replicate=1, **options)
    assert np.array_equal(truth_of(a)["type_matrix"], truth_of(b)["type_matrix"])
    assert not np.array_equal(a.X, b.X)
    assert set(a.obs["cell_type"]) == {"A", "B"}


def test_bad_options_are_named():
    with pytest.raises(ValueError, match="active=2"):
        systems.typed(active=2)
    with pytest.raises(ValueError, match=r"compositions must be \(2, 5\)"):
        systems.typed(n_populations=2, compositions=np.ones((2, 5)))
