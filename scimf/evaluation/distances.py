"""Distances between two clouds of cells, exact, for scores; units are those of the coordinates."""

from collections.abc import Sequence

import numpy as np
import ot
from scipy.spatial.distance import cdist

MOST_ITERATIONS = 1_000_000  #: of exact transport


def w1(x: np.ndarray, y: np.ndarray) -> float:
    """Exact W1 between two equally weighted clouds, in units of the coordinates."""
    return float(ot.emd2([], [], cdist(x, y), numItermax=MOST_ITERATIONS))


def w2(x: np.ndarray, y: np.ndarray) -> float:
    """Exact W2 between two equally weighted clouds, in units of the coordinates."""
    cost = ot.emd2([], [], cdist(x, y, "sqeuclidean"), numItermax=MOST_ITERATIONS)
    return float(np.sqrt(cost))


def distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:  # (n, dim), (m, dim) -> (n, m)
    """Euclidean distances by one matrix product in double precision."""
    centre = y.mean(0, dtype=np.float64)  # large common offsets would cost precision
    x = x - centre
    y = y - centre
    squared = (x @ y.T) * -2
    squared += (x**2).sum(1)[:, None]
    squared += (y**2).sum(1)
    return np.sqrt(np.maximum(squared, 0, out=squared), out=squared)


def distances_within(x: np.ndarray) -> np.ndarray:  # (n, dim) -> (n, n)
    """Distances between the cells of one cloud, exactly zero on the diagonal."""
    within = distances(x, x)
    np.fill_diagonal(within, 0)
    return within


def energy_distance(
    x: np.ndarray,
    y: np.ndarray,
    *,
    within_x: np.ndarray | None = None,
    within_y: np.ndarray | None = None,
) -> float:
    r"""Unbiased energy distance, in units of the coordinates.

    :math:`E|X-Y| - \tfrac12 E|X-X'| - \tfrac12 E|Y-Y'|` over pairs of different cells, half of
    what Székely and Rizzo (2013) define; zero in expectation for equal laws, so it may be negative.
    ``within_x`` and ``within_y`` save work where the distances within a cloud are known.
    """
    if within_x is None:
        within_x = distances_within(x)
    if within_y is None:
        within_y = distances_within(y)
    n = len(x)
    m = len(y)
    inner = within_x.sum() / (n * (n - 1)) + within_y.sum() / (m * (m - 1))
    return float(distances(x, y).mean() - inner / 2)


def cost_of_mean(x: np.ndarray, y: np.ndarray, *, within_y: np.ndarray | None = None) -> float:
    """Energy distance between observed cells ``y`` and the same cells moved to the mean of ``x``.

    What a prediction with the true shape and the mean of ``x`` scores; unbiased.
    """
    if within_y is None:
        within_y = distances_within(y)
    m = len(y)
    shift = x.mean(0, dtype=np.float64) - y.mean(0, dtype=np.float64)
    # A cell is not paired with itself, which was moved by the whole shift.
    between = distances(y, y + shift).sum() - m * np.linalg.norm(shift)
    return float((between - within_y.sum()) / (m * (m - 1)))


def rbf_mmd2(
    x: np.ndarray, y: np.ndarray, *, bandwidth: float, scales: Sequence[float] = (0.5, 1.0, 2.0)
) -> float:
    r"""Unbiased squared maximum mean discrepancy (Gretton et al. 2012); may be negative.

    The kernel is the mean of :math:`\exp(-\|x-y\|^2 / 2(s\,b)^2)` over the scales s. A single
    narrow one is degenerate: where no cell is near another, it says nothing of any prediction.
    """
    widths = [scale * bandwidth for scale in scales]
    n = len(x)
    m = len(y)
    # Every kernel is 1 between a cell and itself.
    within_x = (_kernel_sum(distances_within(x), widths) - n) / (n * (n - 1))
    within_y = (_kernel_sum(distances_within(y), widths) - m) / (m * (m - 1))
    return within_x + within_y - 2 * _kernel_sum(distances(x, y), widths) / (n * m)


def _kernel_sum(distance: np.ndarray, widths: list[float]) -> float:
    """Sum over all pairs of the mean of the Gaussian kernels."""
    squared = distance**2
    total = 0.0
    for width in widths:
        total += float(np.exp(squared / (-2 * width**2)).sum())
    return total / len(widths)
