"""Library sizes follow time, conditions and latents."""

import numpy as np

from scimf.counts.library_size import LibraryOverTime, LibrarySizes


def test_libraries_are_linear_between_times_and_constant_beyond():
    rng = np.random.default_rng(0)
    times = np.repeat([0.0, 2.0], 4000)
    library = LibraryOverTime.of(np.exp(5 + times / 2 + 0.1 * rng.standard_normal(8000)), times)
    for time, mean in ((0.0, 5), (1.0, 5.5), (2.0, 6), (5.0, 6)):
        drawn = np.log(library.draw(np.full(4000, time)))
        assert abs(drawn.mean() - mean) < 0.02
        assert abs(drawn.std() - 0.1) < 0.01


def test_library_sizes_of_an_unseen_combination_are_the_sum_of_effects():
    rng = np.random.default_rng(0)
    labels = np.array([[0, 0], [0, 1], [1, 0]]).repeat(2000, 0)
    first = np.array([0, 1])[labels[:, 0]]
    second = np.array([0, 0.5])[labels[:, 1]]
    log = 5 + first + second + 0.1 * rng.standard_normal(6000)
    sizes = LibrarySizes.of(np.exp(log), labels, (2, 2))
    for row, mean in (((0, 0), 5), ((0, 1), 5.5), ((1, 1), 6.5)):
        drawn = np.log(sizes.draw(np.array([row] * 3000)))
        assert abs(drawn.mean() - mean) < 0.05
        assert abs(drawn.std() - 0.1) < 0.02
    unknown = np.log(sizes.draw(np.array([[2, 2]] * 3000)))
    assert abs(unknown.mean() - log.mean()) < 0.05
    assert abs(unknown.std() - log.std()) < 0.03


def test_library_sizes_need_no_conditions():
    log = 5 + 0.1 * np.random.default_rng(0).standard_normal(6000)
    sizes = LibrarySizes.of(np.exp(log), np.zeros((6000, 0), int), ())
    assert (sizes.draw(np.zeros((5, 0), int)) > 50).all()


def test_library_sizes_go_with_the_latent_they_are_drawn_for():
    rng = np.random.default_rng(0)
    z = rng.standard_normal((4000, 3))
    labels = rng.integers(0, 2, (4000, 1))
    spread = np.array([0.1, 0.3])[labels[:, 0]]
    log = 6 + 0.8 * z[:, 0] - 0.4 * z[:, 2] + labels[:, 0] + spread * rng.standard_normal(4000)
    sizes = LibrarySizes.of(np.exp(log), labels, (2,), z)
    np.testing.assert_allclose(sizes.slope, [0.8, 0, -0.4], atol=0.05)
    gap = np.log(sizes.draw(labels, latent=z, seed=1)) - log
    for kind, sd in ((0, 0.1), (1, 0.3)):
        mine = gap[labels[:, 0] == kind]
        assert abs(mine.mean()) < 0.05
        assert abs(mine.std() / (np.sqrt(2) * sd) - 1) < 0.1  # two draws, both with noise
    # Latents that no cell has: not e to the thousandth.
    far = sizes.draw(labels[:50], latent=1e3 * z[:50])
    assert np.isfinite(far).all()
    assert far.max() < 3 * np.exp(log).max()
