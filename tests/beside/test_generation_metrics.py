"""Scores of generated cells against closed forms and against cells right by construction."""

import numpy as np
from beside.generation_metrics import generation_table, log_pca
from scipy import stats
from scipy.spatial.distance import cdist


def cloud(n=300, seed=0, shift=0.0, scale=1.0, dim=4):
    return shift + scale * np.random.default_rng(seed).standard_normal((n, dim))


def whitened(x):
    """Move a cloud so that its own mean is 0 and its own covariance the identity."""
    centred = x - x.mean(0)
    return centred @ np.linalg.inv(np.linalg.cholesky(np.cov(centred, rowvar=False))).T


def scores(x, y):
    """Score clouds as they are; numbers like counts, from zero on, are what genes are asked for."""
    least = min(x.min(), y.min())
    table = generation_table({"x": x - least}, y - least, project=lambda counts: counts)
    return table.loc["x"]


def cells(n=150, seed=0, rate=1.0, genes=20):
    """Counts of which no cell is empty."""
    mean = rate * np.linspace(0.2, 4, genes)
    counts = np.random.default_rng(seed).negative_binomial(2, 2 / (2 + mean), size=(n, genes))
    return counts.astype(np.float32) + (np.arange(genes) == 0)


def test_a_cloud_is_at_no_distance_from_itself():
    found = scores(cloud(), cloud())
    assert abs(found["frechet"]) < 1e-8 and found["w2"] < 1e-6
    assert abs(found["mmd2"]) < 0.05  # unbiased: the diagonal is missing on two sides only
    assert (found["precision"], found["recall"]) == (1.0, 1.0)


def test_frechet_distance_of_gaussians_is_the_closed_form():
    x, y = whitened(cloud(seed=0)), 1 + 3 * whitened(cloud(seed=1))
    assert abs(scores(x, y)["frechet"] - (4 * 1.0 + 4 * (1 - 3) ** 2)) < 1e-6


def test_frechet_distance_of_correlated_gaussians_is_the_closed_form():
    mix = np.array([[2.0, 1.0], [0.0, 1.0]])
    x, y = whitened(cloud(dim=2)) @ mix, whitened(cloud(seed=1, dim=2))
    covariance = mix.T @ mix
    root = np.sqrt(np.linalg.eigvalsh(covariance)).sum()
    assert abs(scores(x, y)["frechet"] - (np.trace(covariance) + 2 - 2 * root)) < 1e-6


def test_equal_laws_score_nothing_on_average_and_different_ones_something():
    same = []
    for k in range(40):
        same.append(scores(cloud(100, k), cloud(100, 50 + k))["mmd2"])
    assert abs(np.mean(same)) < 3 * stats.sem(same) + 1e-3
    assert scores(cloud(), cloud(seed=1, shift=1.0))["mmd2"] > 0.3


def test_mmd_is_the_sum_over_kernels():
    x, y = cloud(20), cloud(20, seed=1, shift=0.5)
    others = ~np.eye(20, dtype=bool)
    expected = 0.0
    for sigma in (1.0, 2.0, 4.0, 8.0, 16.0):
        within_x, within_y, between = (
            np.exp(-cdist(*pair, "sqeuclidean") / (2 * sigma**2))
            for pair in ((x, x), (y, y), (x, y))
        )
        expected += within_x[others].mean() + within_y[others].mean() - 2 * between.mean()
    assert abs(scores(x, y)["mmd2"] - expected) < 1e-9


def test_neighbours_tell_clouds_apart_or_not():
    assert abs(scores(cloud(), cloud(seed=1))["nn_accuracy"] - 0.5) < 0.1
    assert scores(cloud(), cloud(seed=1, shift=4.0))["nn_accuracy"] > 0.95
    assert scores(cloud(), cloud() + 1e-6)["nn_accuracy"] < 0.1  # paired cells


def test_concentration_is_precise_and_does_not_recall():
    narrow = scores(cloud(seed=1, scale=0.2), cloud())
    assert narrow["precision"] > 0.95 and narrow["recall"] < 0.3
    wide = scores(cloud(seed=1, scale=5.0), cloud())
    assert wide["precision"] < 0.5 < wide["recall"]


def test_errors_of_genes_by_hand():
    real = np.random.default_rng(0).poisson(2.0, size=(30, 2)).astype(float)
    found = scores(real * [[1, 10]], real)  # one of two genes is ten times higher
    mean, variance = real[:, 1].mean(), real[:, 1].var()
    gaps = np.log10([10 * mean + 1e-3, 100 * variance + 1e-3])
    gaps -= np.log10([mean + 1e-3, variance + 1e-3])
    errors = [found["log10_mean_error"], found["log10_variance_error"]]
    np.testing.assert_allclose(errors, gaps / 2**0.5)
    assert found["zero_fraction_error"] == 0
    zeros = (real[:, 0] == 0).mean()
    filled = scores(real + [[1, 0]], real)["zero_fraction_error"]
    assert zeros > 0 and abs(filled - zeros / 2**0.5) < 1e-12


def test_components_are_those_of_log_normalised_real_cells():
    real = cells()
    project = log_pca(real, 3)
    assert project(cells(seed=1)).shape == (150, 3)
    np.testing.assert_allclose(project(real).mean(0), 0, atol=1e-9)
    np.testing.assert_allclose(project(7 * real), project(real), atol=1e-4)  # depth plays no part


def test_the_table_has_a_floor_that_wrong_cells_do_not_reach():
    samples = {"same": cells(seed=1), "deeper": cells(seed=2, rate=4)}
    table = generation_table(samples, cells(seed=4), train=cells(seed=3))
    assert list(table.index) == ["floor", "same", "deeper"]
    assert np.isfinite(table.to_numpy()).all()
    genes = ["zero_fraction_error", "log10_variance_error"]
    for score in ("frechet", "mmd2", "energy_distance", *genes):
        level = abs(table.loc[["floor", "same"], score]).max()
        assert table.loc["deeper", score] > 2 * level, score
