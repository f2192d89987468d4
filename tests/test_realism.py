"""Scores of generated and reconstructed cells, against closed forms and against cells right by construction."""

import numpy as np
import pytest
from scipy import stats

from scimf import realism
from scimf.realism import frechet, generation_table, mmd2, nearest_neighbour_accuracy, precision_recall


def cloud(n=300, seed=0, shift=0.0, scale=1.0, dim=4):
    return shift + scale * np.random.default_rng(seed).standard_normal((n, dim))


def cells(n=150, seed=0, rate=1.0, genes=20):
    rng = np.random.default_rng(seed)
    return rng.negative_binomial(2, 2 / (2 + rate * np.linspace(0.2, 4, genes)), size=(n, genes)).astype(np.float32) + (
        np.arange(genes) == 0
    )


def test_a_cloud_is_at_no_distance_from_itself():
    x = cloud()
    assert abs(frechet(x, x)) < 1e-8 and realism.w2(x, x) < 1e-6
    assert abs(mmd2(x, x)) < 0.05  # unbiased: the diagonal is missing on two sides only
    assert precision_recall(x, x) == (1.0, 1.0)


def test_frechet_distance_of_gaussians_is_the_closed_form():
    x, y = cloud(40_000, 0), cloud(40_000, 1, shift=1.0, scale=3.0)
    assert abs(frechet(x, y) - (4 * 1.0 + 4 * (1 - 3) ** 2)) < 0.3


def test_equal_laws_score_nothing_on_average_and_different_ones_something():
    same = [mmd2(cloud(100, k), cloud(100, 50 + k)) for k in range(40)]
    assert abs(np.mean(same)) < 3 * stats.sem(same) + 1e-3
    assert mmd2(cloud(), cloud(seed=1, shift=1.0)) > 0.3
    narrow = mmd2(cloud(dim=30), cloud(seed=1, shift=1.0, dim=30), scales=(0.01,))
    assert abs(narrow) < 1e-12  # a single narrow kernel sees nothing


def test_neighbours_tell_clouds_apart_or_not():
    assert abs(nearest_neighbour_accuracy(cloud(), cloud(seed=1)) - 0.5) < 0.1
    assert nearest_neighbour_accuracy(cloud(), cloud(seed=1, shift=4.0)) > 0.95
    x = cloud()
    assert nearest_neighbour_accuracy(x, x + 1e-6) < 0.1  # paired cells


def test_concentration_is_precise_and_does_not_recall():
    precision, recall = precision_recall(cloud(seed=1, scale=0.2), cloud())
    assert precision > 0.95 and recall < 0.3
    precision, recall = precision_recall(cloud(seed=1, scale=5.0), cloud())
    assert precision < 0.5 < recall


def test_the_table_has_a_floor_that_wrong_cells_do_not_reach():
    table = generation_table({"same": cells(seed=1), "deeper": cells(seed=2, rate=4)}, cells(seed=3), cells(seed=4))
    assert list(table.index) == ["floor", "same", "deeper"] and np.isfinite(table.to_numpy()).all()
    for score in ("frechet", "mmd2", "energy_distance", "zero_fraction_error", "log10_variance_error"):
        assert table.loc["deeper", score] > 2 * abs(table.loc[["floor", "same"], score]).max(), score


def test_the_true_parameters_reconstruct_better_than_a_profile():
    rng = np.random.default_rng(0)
    kinds = rng.integers(2, size=400)
    mean = np.where(kinds[:, None] == 0, np.linspace(0.5, 9, 12), np.linspace(9, 0.5, 12))
    theta = np.full(12, 3.0)
    counts = rng.negative_binomial(theta, theta / (theta + mean)).astype(np.float32)
    parts = counts[:200], counts[200:]
    constant = realism.profile_error(*parts, halve=False)
    by_type = realism.profile_error(*parts, (kinds[:200], kinds[200:]), halve=False)
    drawn = rng.negative_binomial(theta, theta / (theta + mean))
    known = realism.reconstruction_scores(counts, mean, np.broadcast_to(theta, mean.shape), drawn)
    assert known["error"] < constant - 2 and abs(known["error"] - by_type) < 2
    assert known["correlation_by_gene"] > known["correlation_by_gene_drawn"] > 0.2
    assert realism.profile_error(*parts) < constant  # half of the counts are told with fewer nats
    with pytest.raises(ValueError, match="types.*1"):
        realism.profile_error(*parts, (np.zeros(200, int), kinds[200:]))


def test_dispersions_are_recovered():
    rng = np.random.default_rng(0)
    theta, mean = np.array([0.3, 2.0, 8.0]), np.full((6000, 3), 5.0)
    counts = rng.negative_binomial(theta, theta / (theta + mean))
    np.testing.assert_allclose(realism.fit_dispersion(counts, mean), theta, rtol=0.15)


def test_halves_are_the_same_for_everybody_and_leave_out_empty_ones():
    x = np.concatenate([cells(20), np.eye(1, 20, dtype=np.float32)])
    first, second = realism.halves(x, seed=1)
    assert len(first) == 20 and np.array_equal(first + second, x[:20])
    assert np.array_equal(realism.halves(x, seed=1)[0], first)


def test_embedding_f1_is_of_held_out_cells_and_chance_without_signal():
    rng = np.random.default_rng(0)
    labels, held = np.repeat(["a", "b"], 200), np.arange(400) % 2 == 0
    signal = (labels == "a")[:, None] * 4 + rng.standard_normal((400, 3))
    assert realism.embedding_f1(signal, labels, held) > 0.95
    assert abs(realism.embedding_f1(rng.standard_normal((400, 3)), labels, held) - 0.5) < 0.12
    leaked = np.where(held, labels == "b", labels == "a")[:, None].astype(float)  # right in training, reversed later
    assert realism.embedding_f1(leaked, labels, held) < 0.05
