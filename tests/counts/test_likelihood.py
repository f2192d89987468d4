"""The negative binomial is the known one, and halves of counts are independent."""

import numpy as np
import torch
from scipy import stats

from scimf.counts.likelihood import log_negative_binomial, log_normalised, split_counts


def test_negative_binomial_is_that_of_scipy_and_tends_to_poisson():
    x = np.arange(20.0)
    mean = np.linspace(0.1, 30, 20)
    theta = np.linspace(0.05, 50, 20)
    found = log_negative_binomial(torch.tensor(x), torch.tensor(mean), torch.tensor(theta))
    known = stats.nbinom.logpmf(x, theta, theta / (theta + mean))
    np.testing.assert_allclose(found, known, atol=1e-6)
    large = torch.full((20,), 1e7).double()
    found = log_negative_binomial(torch.tensor(x), torch.tensor(mean), large)
    np.testing.assert_allclose(found, stats.poisson.logpmf(x, mean), atol=1e-4)


def test_halves_of_a_cell_add_up_and_are_uncorrelated():
    x = torch.poisson(torch.full((4000, 2), 5.0), generator=torch.Generator().manual_seed(0))
    first, second = split_counts(x, torch.Generator().manual_seed(1))
    assert torch.equal(first + second, x)
    between_halves = np.corrcoef(first[:, 0], second[:, 0])[0, 1]
    with_the_whole = np.corrcoef(first[:, 0], x[:, 0])[0, 1]
    assert abs(between_halves) < 0.05 < with_the_whole


def test_log_normalised_values_do_not_depend_on_the_depth():
    x = torch.tensor([[1.0, 3.0], [10.0, 30.0]])
    expected = torch.log1p(torch.tensor([2500.0, 7500.0]))
    torch.testing.assert_close(log_normalised(x), expected.expand(2, 2))
