"""Where the mean and the variance of a simulated population go, exactly."""

import numpy as np


def linear_moments(
    t: float, *, mean: np.ndarray, variance: float, theta: float, kappa: float, sigma: float
) -> tuple[np.ndarray, float]:
    r"""Exact mean and variance per axis of the system ``linear`` at time ``t``, for many cells.

    :math:`m_t = m_0 e^{-\theta t}` and :math:`\dot S = -2(\theta + \kappa) S + \sigma^2`.
    """
    rate = 2 * (theta + kappa)
    limit = sigma**2 / rate
    return mean * np.exp(-theta * t), limit + (variance - limit) * np.exp(-rate * t)
