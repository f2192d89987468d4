"""Distances between clouds against hand values, brute force, scipy and POT."""

import numpy as np
import ot
import pytest
from scipy.spatial.distance import cdist

from scimf.evaluation import distances


def test_hand_values_on_two_points():
    x, y = np.zeros((2, 1)), np.full((2, 1), 3.0)
    assert distances.wasserstein(x, y) == pytest.approx(3)
    assert distances.wasserstein(x, y, order=2) == pytest.approx(3)
    assert distances.energy_distance(x, y) == pytest.approx(3)
    # Between: the mean of 0, 4, 2 and 2 is 2; within: 2 and 4.
    a, b = np.array([[0.0], [2.0]]), np.array([[0.0], [4.0]])
    assert distances.energy_distance(a, b) == pytest.approx(2 - 1 - 2)


def test_scores_agree_with_pot():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((40, 3)), 0.5 + rng.standard_normal((30, 3))
    exact = ot.emd2([], [], ot.dist(x, y, "euclidean"))
    assert distances.wasserstein(x, y) == pytest.approx(exact, rel=1e-6)
    assert distances.wasserstein(x, y, order=2) ** 2 == pytest.approx(
        ot.emd2([], [], ot.dist(x, y)), rel=1e-6
    )


def test_known_distances_within_a_cloud_change_no_score():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 3)), 1 + rng.normal(size=(30, 3))
    within_x, within_y = distances.distances(x), distances.distances(y)
    known = distances.energy_distance(x, y, within_x=within_x, within_y=within_y)
    assert known == distances.energy_distance(x, y)
    assert distances.cost_of_mean(x, y, within_y=within_y) == distances.cost_of_mean(x, y)


def test_mmd_is_unbiased_and_grows_with_the_shift():
    rng = np.random.default_rng(0)
    draws = []
    for _ in range(200):
        x, y = rng.standard_normal((2, 50, 3))
        draws.append(distances.rbf_mmd2(x, y, bandwidth=2.0))
    assert abs(np.mean(draws)) < 3 * np.std(draws) / 200**0.5
    shifted = []
    for shift in (1, 3):
        x = rng.standard_normal((50, 3))
        y = shift + rng.standard_normal((50, 3))
        shifted.append(distances.rbf_mmd2(x, y, bandwidth=2.0))
    near, far = shifted
    assert 0 < near < far


def test_a_single_narrow_kernel_sees_nothing():
    x = np.random.default_rng(0).standard_normal((300, 30))
    y = 1 + np.random.default_rng(1).standard_normal((300, 30))
    assert abs(distances.rbf_mmd2(x, y, bandwidth=1.0, scales=(0.01,))) < 1e-12


def test_cost_of_mean_by_brute_force_and_zero_without_a_shift():
    rng = np.random.default_rng(0)
    y, x = rng.normal(size=(30, 3)), rng.normal(size=(20, 3)) + 1
    moved = y + x.mean(0) - y.mean(0)
    off_diagonal = ~np.eye(30, dtype=bool)
    between = cdist(y, moved)[off_diagonal].mean()
    within = cdist(y, y)[off_diagonal].mean()
    assert distances.cost_of_mean(x, y) == pytest.approx(between - within)
    assert abs(distances.cost_of_mean(y, y)) < 1e-9


def test_distances_are_those_of_scipy_far_from_the_origin():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 5)) + 1e4, rng.normal(size=(15, 5)) + 1e4
    np.testing.assert_allclose(distances.distances(x, y), cdist(x, y), rtol=1e-6)
    assert not np.diag(distances.distances(x)).any()
