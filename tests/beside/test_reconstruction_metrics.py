"""Errors of reconstructed counts against known truth, and what an embedding tells of labels."""

import numpy as np
import pytest
from beside.reconstruction_metrics import (
    count_halves,
    negative_log_likelihood,
    profile_error,
    split_error,
)


def drawn(rng, mean, dispersion):
    """Negative-binomial counts."""
    return rng.negative_binomial(dispersion, dispersion / (dispersion + mean)).astype(np.float32)


def test_log_likelihood_of_single_counts():
    """With dispersion 1 a count is geometric: P(k) = (mean / (1 + mean))^k / (1 + mean)."""
    counts, mean = np.array([[0.0, 2.0], [1.0, 0.0]]), np.array([[1.0, 3.0]])
    expected = -np.log(1 / 2 * 1 / 4 * (3 / 4) ** 2) - np.log(1 / 2 * 1 / 2 * 1 / 4)
    found = negative_log_likelihood(counts, mean, np.ones((1, 2)))
    assert found == pytest.approx(expected / 2, rel=1e-6)


def test_the_true_parameters_reconstruct_better_than_a_profile():
    rng = np.random.default_rng(0)
    kinds = rng.integers(2, size=400)
    mean = np.where(kinds[:, None] == 0, np.linspace(0.5, 9, 12), np.linspace(9, 0.5, 12))
    theta = np.full(12, 3.0)
    counts = drawn(rng, mean, theta)
    parts = counts[:200], counts[200:]
    constant = profile_error(*parts)
    by_type = profile_error(*parts, (kinds[:200], kinds[200:]))
    _, half, _ = count_halves(counts[200:])
    known = negative_log_likelihood(half, mean[200:] / 2, theta[None])
    assert known < constant - 1.5 and abs(known - by_type) < 0.5
    with pytest.raises(ValueError, match="types.*1"):
        profile_error(*parts, (np.zeros(200, int), kinds[200:]))


def test_dispersions_of_a_profile_are_the_true_ones():
    """Of 600 genes with three dispersions none could be told a value that is off by 15 %.

    A half of negative-binomial counts has the dispersion of the whole.
    """
    rng = np.random.default_rng(0)
    theta = np.tile([0.3, 2.0, 8.0], 200)
    counts = drawn(rng, np.full((1000, 600), 5.0), theta)
    found = profile_error(counts, counts)
    _, half, _ = count_halves(counts)
    mean = half.sum(1, keepdims=True) * (counts.sum(0) / counts.sum())
    assert found <= negative_log_likelihood(half, mean, theta[None])
    for kind in (0.3, 2.0, 8.0):
        for factor in (1.15, 1 / 1.15):
            wrong = np.where(theta == kind, factor * theta, theta)
            assert found < negative_log_likelihood(half, mean, wrong[None]) - 0.1


def test_halves_are_the_same_for_everybody_and_leave_out_empty_ones():
    rng = np.random.default_rng(0)
    x = drawn(rng, np.full((20, 20), 3.0), np.full(20, 2.0))
    x = np.concatenate([x, np.eye(1, 20, dtype=np.float32)])
    first, second, kept = count_halves(x, seed=1)
    assert kept.tolist() == [True] * 20 + [False]
    assert np.array_equal(first + second, x[:20])
    assert np.array_equal(count_halves(x, seed=1)[0], first)
    assert not np.array_equal(count_halves(x, seed=2)[0], first)


class Remembers:
    """Reconstructs a cell as what it was shown, scaled to the library it is told."""

    def encode(self, counts):
        return counts

    def decode(self, z, library):
        mean = z / z.sum(1, keepdims=True) * library[:, None]
        return mean + 0.1, np.full_like(mean, 2.0)


def test_split_error_is_that_of_the_half_that_was_not_shown():
    rng = np.random.default_rng(0)
    counts = drawn(rng, np.full((50, 20), 3.0), np.full(20, 2.0))
    first, second, _ = count_halves(counts, seed=3)
    mean, dispersion = Remembers().decode(first, second.sum(1))
    error = split_error(Remembers(), counts, seed=3)
    assert error == negative_log_likelihood(second, mean, dispersion)
    memory = Remembers().decode(second, second.sum(1))
    assert negative_log_likelihood(second, *memory) < error - 5  # what memory would have gained
