"""Distances between two clouds of cells, exact, for scores; units are those of the coordinates."""

from collections.abc import Sequence

import numpy as np
import ot
from scipy.spatial.distance import cdist

MOST_ITERATIONS = 1_000_000  #: of exact transport


def wasserstein(x: np.ndarray, y: np.ndarray, order: int = 1) -> float:
    """Exact W1 or W2 between two equally weighted clouds, in units of the coordinates."""
    metric = {1: "euclidean", 2: "sqeuclidean"}[order]
    cost = ot.emd2([], [], cdist(x, y, metric), numItermax=MOST_ITERATIONS)
    return float(cost if order == 1 else np.sqrt(cost))


def distances(x: np.ndarray, y: np.ndarray | None = None) -> np.ndarray:
    """Euclidean distances by one matrix product in double precision.

    (n, dim), (m, dim) -> (n, m); without ``y`` within one cloud, exactly zero on the diagonal.
    """
    other = x if y is None else y
    centre = other.mean(0, dtype=np.float64)  # large common offsets would cost precision
    x = x - centre
    other = other - centre
    squared = (x @ other.T) * -2
    squared += (x**2).sum(1)[:, None]
    squared += (other**2).sum(1)
    if y is None:
        np.fill_diagonal(squared, 0)
    return np.sqrt(np.maximum(squared, 0, out=squared), out=squared)


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
        within_x = distances(x)
    if within_y is None:
        within_y = distances(y)
    n = len(x)
    m = len(y)
    inner = within_x.sum() / (n * (n - 1)) + within_y.sum() / (m * (m - 1))
    return float(distances(x, y).mean() - inner / 2)


def cost_of_mean(x: np.ndarray, y: np.ndarray, *, within_y: np.ndarray | None = None) -> float:
    """Energy distance between observed cells ``y`` and the same cells moved to the mean of ``x``.

    What a prediction with the true shape and the mean of ``x`` scores; unbiased.
    """
    if within_y is None:
        within_y = distances(y)
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
    within_x = (_kernel_sum(distances(x), widths) - n) / (n * (n - 1))
    within_y = (_kernel_sum(distances(y), widths) - m) / (m * (m - 1))
    return within_x + within_y - 2 * _kernel_sum(distances(x, y), widths) / (n * m)


def _kernel_sum(distance: np.ndarray, widths: list[float]) -> float:
    """Sum over all pairs of the mean of the Gaussian kernels."""
    squared = distance**2
    total = 0.0
    for width in widths:
        total += float(np.exp(squared / (-2 * width**2)).sum())
    return total / len(widths)
