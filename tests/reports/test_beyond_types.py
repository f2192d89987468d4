"""Closed forms beyond hard types: their equations, and what they find where the truth is known."""

import numpy as np
import pytest
from evidence import changing_types
from evidence.changing import _received, changing, memberships
from evidence.smooth_types import SmoothForm, SoftTypes, moments, pulls
from evidence.soft_test import context_p_value

from scimf.dynamics.snapshots import KEY
from scimf.interaction.regression import Columns
from scimf.interaction.type_means import TypeSnapshots

SMALL = {"n_populations": 12, "n_cells": 60}


@pytest.fixture(scope="module")
def cells():
    adata = changing(seed=1, **SMALL)
    adata.obsm[KEY] = np.asarray(adata.X, np.float32)
    return adata


def test_cells_change_type_along_the_lineage(cells):
    assert cells.uns["scimf"]["name"] == "changing"
    share = cells.obs.groupby("time", observed=True)["cell_type"].value_counts(normalize=True)
    first, last = share.unstack().loc[[0.0, 4.0]].to_numpy()
    assert last[0] < 0.3 * first[0]
    assert last[2] > 1.5 * first[2]


def test_what_cells_receive_is_that_of_loops_over_pairs():
    rng = np.random.default_rng(0)
    x, centre = rng.normal(size=(1, 6, 2)), rng.normal(size=(3, 2))
    matrix, density = rng.normal(size=(3, 3)), np.array([1.7])
    member = memberships(x, centre, 0.8)
    expected = np.zeros((6, 2))
    for i in range(6):
        for j in set(range(6)) - {i}:
            away = x[0, j] - x[0, i]
            weight = member[0, i] @ matrix @ member[0, j] * 1.7 / 5
            expected[i] += weight * away / np.sqrt(1 + away @ away)
    np.testing.assert_allclose(_received(x, member, matrix, density)[0], expected, atol=1e-5)


def test_gradients_and_laplacians_are_those_of_differences():
    rng = np.random.default_rng(1)
    soft = SoftTypes(rng.normal(size=(3, 2)), 0.7)
    x, h = rng.normal(size=(5, 2)), 1e-4
    values, gradient, laplacian = soft.tests(x)
    np.testing.assert_allclose(values.reshape(5, 3, 3)[:, :, 0].sum(1), 1)
    bent = 0
    for d, step in enumerate(h * np.eye(2)):
        after, before = soft.tests(x + step)[0], soft.tests(x - step)[0]
        np.testing.assert_allclose((after - before) / (2 * h), gradient[:, :, d], atol=1e-6)
        bent = bent + (after + before - 2 * values) / h**2
    np.testing.assert_allclose(bent, laplacian, atol=1e-5)


def test_pulls_are_those_by_a_mean_cell_of_each_type():
    rng = np.random.default_rng(2)
    x, member = rng.normal(size=(40, 2)), np.repeat(np.eye(2), 20, axis=0)
    found = pulls(x, member, (1.0,))
    kernel = np.exp(-((x[20:] - x[0]) ** 2).sum(1, keepdims=True) / 2)
    expected = (kernel * (x[20:] - x[0])).mean(0) / (1 - 1 / 40)
    np.testing.assert_allclose(found[0, 1, 1], expected)


def test_columns_times_coefficients_are_what_the_drift_does_to_the_tests(cells):
    x = np.asarray(cells.X, float)
    soft = SoftTypes.of(x, cells.obs["cell_type"].to_numpy(str))
    one = cells[(cells.obs["time"] == 0) & (cells.obs["population"] == "p03")].copy()
    one.obs["density"] = 1.0
    snapshots = TypeSnapshots.of(one, types=np.full(one.n_obs, "all"))
    columns = moments(snapshots, soft, (1.0,), snapshots.cells).columns[0, 0]
    beta = np.random.default_rng(3).normal(size=columns.shape[1])
    n_columns = Columns(5 * 6 + 1, 5 * 25, 50)
    model = SmoothForm(soft, (1.0,), snapshots, beta, n_columns, 0.0)
    own, received = model.drift(one)
    _, gradient, laplacian = soft.tests(np.asarray(one.X, float))
    expected = np.einsum("nrd,nd->r", gradient, own + received) / one.n_obs
    expected += beta[30] / 2 * laplacian.mean(0)
    np.testing.assert_allclose(columns @ beta, expected, rtol=1e-6, atol=1e-9)


def test_memberships_find_what_hard_types_miss():
    scores = changing_types.changing_types(seed=2, n_populations=16, n_cells=50)
    error = scores["memberships.heard_type_mean_error"]
    assert error < 0.8 * scores["hard_types.heard_type_mean_error"]
    assert scores["memberships.edge_auroc"] > scores["hard_types.edge_auroc"]


def test_contexts_matter_where_cells_interact(cells):
    x = np.asarray(cells.X, float)
    soft = SoftTypes.of(x, cells.obs["cell_type"].to_numpy(str))
    assert context_p_value(cells, soft, n=99) == 0.01
    # The same cells under exchanged names of populations say nothing else.
    renamed = cells.copy()
    order = np.random.default_rng(0).permutation(12)
    names = np.array([f"q{k:02d}" for k in order])
    renamed.obs["population"] = names[cells.obs["population"].cat.codes]
    assert context_p_value(renamed, soft, n=99) == 0.01
