"""The permutation test against loops over populations, and what must not move it."""

from dataclasses import replace

import numpy as np
import pytest

from scimf.interaction.permutation import edge_p_values, p_value, permutation_test
from scimf.interaction.regression import covariance
from scimf.interaction.type_means import TypeSnapshots
from scimf.simulate import systems

N_ORDERS = 20


def snapshots_of(**options):
    adata = systems.typed(**{"seed": 2, "n_types": 3, "dim": 2, "n_cells": 60} | options)
    adata.obsm["X_scimf"] = adata.X
    return TypeSnapshots.of(adata)


@pytest.fixture(scope="module")
def snapshots():
    return snapshots_of(n_populations=6, compositions=compositions())


def compositions():
    """No type is too rare anywhere, so that every row is there."""
    return 0.2 + 0.4 * np.random.default_rng(0).dirichlet(np.ones(3), size=6)


def naive_statistic(snapshots, receiver, order):
    """T of one receiver if population p receives what order[p] sends; whole matrices."""
    mean, times, dim = snapshots.mean(), snapshots.times, snapshots.cells.shape[1]
    gaps = np.diff(times)
    senders = [b for b in range(len(snapshots.types)) if b != receiver]
    own, columns, y = [], [], []
    for p, q in enumerate(order):
        here = mean[:, p, receiver]
        whiten = np.linalg.inv(np.linalg.cholesky(covariance(snapshots.count[:, p, receiver], 0.0)))
        whiten = np.kron(whiten, np.eye(dim))  # rows: interval, then coordinate
        middle = (gaps[:, None] * (here[1:] + here[:-1]) / 2).ravel()
        intercepts = np.kron(np.diag(gaps), np.eye(dim))
        matrix = np.concatenate([np.kron(np.eye(dim), m) for m in middle.reshape(-1, dim)])
        own.append(whiten @ np.column_stack([intercepts, -middle, -matrix]))
        pulls = []
        for b in senders:
            sent = snapshots.sent[:, q, b, None] * (snapshots.count[:, q, b, None] > 0)
            pull = sent * (mean[:, q, b] - here)
            pulls.append((gaps[:, None] * (pull[1:] + pull[:-1]) / 2).ravel())
        columns.append(whiten @ np.stack(pulls, axis=1))
        y.append(whiten @ np.diff(here, axis=0).ravel())
    own, columns, y = map(np.concatenate, (own, columns, y))
    n_matrix = dim**2
    size2 = (own**2).mean(0)
    penalty = np.r_[1e-6 * size2[:-n_matrix], np.full(n_matrix, 1e-2 * size2[-n_matrix:].mean())]
    inverse = np.linalg.inv(own.T @ own + len(y) * np.diag(penalty))
    residual = y - own @ inverse @ own.T @ y
    u = columns.T @ residual
    m = columns.T @ columns - columns.T @ own @ inverse @ own.T @ columns
    m += 1e-2 * np.trace(m) / len(m) * np.eye(len(m))
    return u @ np.linalg.solve(m, u) / (residual**2).mean()


def test_statistic_is_that_of_whole_matrices(snapshots):
    found = permutation_test(snapshots, n=N_ORDERS, seed=3)
    rng = np.random.default_rng(3)
    orders = [np.arange(6), *rng.permuted(np.tile(np.arange(6), (N_ORDERS, 1)), axis=1)]
    expected = [sum(naive_statistic(snapshots, a, order) for a in range(3)) for order in orders]
    np.testing.assert_allclose(found.statistic, expected, rtol=1e-5)
    assert found.p == p_value(np.array(expected))


def test_p_value_counts_the_data_among_the_permutations():
    assert p_value(np.array([3.0, 1.0, 2.0, 0.0])) == 1 / 4
    assert p_value(np.array([1.0, 1.0, 2.0, 0.0])) == 3 / 4


def test_contexts_are_exchanged_within_strata_only(snapshots):
    pairs = permutation_test(snapshots, strata=np.array([0, 0, 1, 1, 2, 2]), n=200)
    assert len(np.unique(pairs.statistic.round(8))) <= 2**3
    alone = permutation_test(snapshots, strata=np.arange(6), n=20)
    assert alone.p == 1.0


def test_a_medium_that_changes_for_all_moves_nothing_though_a_type_is_missing_at_a_time():
    snapshots = snapshots_of(n_populations=8, n_cells=30)
    assert (snapshots.count < 5).any()
    when = np.searchsorted(snapshots.start, np.arange(len(snapshots.cells)), side="right") - 1
    when = when // np.prod(snapshots.count.shape[1:])
    medium = 0.3 * np.random.default_rng(1).standard_normal((len(snapshots.times), 2))
    moved = replace(snapshots, cells=snapshots.cells + medium[when])
    before = permutation_test(snapshots, n=50)
    after = permutation_test(moved, n=50)
    np.testing.assert_allclose(after.statistic, before.statistic, rtol=0.05)


def test_a_type_that_is_too_rare_has_no_say():
    rare = np.tile([0.5, 0.5, 0.0], (6, 1)) + [[0.1, -0.1, 0]] * np.arange(6)[:, None] / 3
    adata = systems.typed(seed=2, n_types=3, dim=2, n_cells=60, n_populations=6, compositions=rare)
    adata.obsm["X_scimf"] = adata.X
    types = adata.obs["cell_type"].to_numpy(dtype=str, copy=True)
    types[0] = "C"
    snapshots = TypeSnapshots.of(adata, types=types)
    found = permutation_test(snapshots, n=50)
    assert found.p_receivers[2] == 1.0
    assert np.isfinite(found.statistic).all()
    assert np.isfinite(edge_p_values(snapshots, n=20)[:2, :2][[0, 1], [1, 0]]).all()


def test_true_pairs_have_the_smallest_p_values():
    adata = systems.typed(seed=1, n_populations=12, n_cells=60, n_types=3, dim=4)
    adata.obsm["X_scimf"] = adata.X
    p = edge_p_values(TypeSnapshots.of(adata), n=99)
    true = adata.uns["scimf"]["truth"]["type_matrix"] != 0
    assert p[true].max() == 0.01
    assert np.isnan(np.diag(p)).all()
