r"""One kind of cell that attracts itself, in closed form: what means cannot tell, variances can.

The pull of a kind on its own kind moves no mean. In :func:`scimf.simulate.untyped.linear` the mean
:math:`m` of a population and the variance :math:`S` per axis of its cells move as

.. math::

    \dot m = c - \theta m, \qquad \dot S = \sigma^2 - 2(\theta + \kappa)\,S ,

two regressions of the same kind, :math:`v(t') - v(t) = q\,(t' - t) - r \int v`. The integral is
taken along the path that the fit itself gives between two snapshots, so that long intervals do no
harm: a few passes, of which the first is the trapezoid. What the noise of the moments adds to the
normal equations is known, and taken off.
"""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scimf.dynamics.snapshots import populations
from scimf.simulate.untyped import linear

if TYPE_CHECKING:
    from anndata import AnnData

PASSES = 4
FLAT = 1e-6  #: a rate below which a path between two snapshots is a straight line


class Moments(NamedTuple):
    """Of every population and time."""

    times: np.ndarray  #: (times,)
    mean: np.ndarray  #: (populations, times, dim)
    variance: np.ndarray  #: (populations, times, 1), mean over axes
    count: np.ndarray  #: (populations, times, 1), of cells


def attraction_in_closed_form(adata: "AnnData") -> dict[str, float]:
    """``theta``, at which cells relax, and ``kappa``, at which they are drawn to each other."""
    moments = _moments(adata)
    dim = moments.mean.shape[-1]
    noise = moments.variance / moments.count
    theta = 0.0
    for _ in range(PASSES):
        theta = _rate(moments.mean, noise, moments.times, theta)[0]
    rate = 0.0
    path = moments.variance
    for _ in range(PASSES):
        noise = 2 * path**2 / (dim * moments.count)
        rate, limit = _rate(moments.variance, noise, moments.times, rate)
        path = _path(moments.variance, noise, moments.times, rate, limit[0] / rate)
    return {"theta": float(theta), "kappa": float(rate / 2 - theta)}


def attraction_of(**options) -> dict[str, float]:
    """Read :func:`scimf.simulate.untyped.linear`, whose options are passed on."""
    return attraction_in_closed_form(linear(**options))


def _moments(adata: "AnnData") -> Moments:
    x = np.asarray(adata.X, float)
    time = adata.obs["time"].to_numpy(float)
    population = populations(adata)
    times = np.unique(time)
    mean, variance, count = [], [], []
    for p in np.unique(population):
        groups = [x[(population == p) & (time == t)] for t in times]
        mean.append([cells.mean(0) for cells in groups])
        variance.append([[cells.var(0, ddof=1).mean()] for cells in groups])
        count.append([[len(cells)] for cells in groups])
    return Moments(times, np.array(mean), np.array(variance), np.array(count))


def _rate(
    values: np.ndarray, noise: np.ndarray, times: np.ndarray, rate: float
) -> tuple[float, np.ndarray]:
    """Rate and constants (axes,) of the decay of ``values`` (populations, times, axes).

    ``noise`` is their variance, (populations, times, 1); ``rate`` that of the path in between.
    """
    gap = np.diff(times)[:, None]
    last = gap / 2 if abs(rate) < FLAT else gap / (1 - np.exp(-rate * gap)) - 1 / rate
    first = gap - last  # weights of both ends in the integral
    weight = 1 / (noise[:, :-1] + noise[:, 1:])
    integral = first * values[:, :-1] + last * values[:, 1:]
    n_axes = values.shape[-1]
    constants = gap[..., None] * np.eye(n_axes)  # (intervals, axes, constants)
    constants = np.broadcast_to(constants, (*integral.shape, n_axes))
    x = np.concatenate([-integral[..., None], constants], axis=-1).reshape(-1, 1 + n_axes)
    y = np.diff(values, axis=1).ravel()
    weighted = x * np.broadcast_to(weight, integral.shape).reshape(-1, 1)
    gram = weighted.T @ x
    right = weighted.T @ y
    before, after = n_axes * weight * noise[:, :-1], n_axes * weight * noise[:, 1:]
    gram[0, 0] -= (first**2 * before + last**2 * after).sum()
    right[0] -= (first * before - last * after).sum()
    solved = np.linalg.solve(gram, right)
    return float(solved[0]), solved[1:]


def _path(
    values: np.ndarray, noise: np.ndarray, times: np.ndarray, rate: float, limit: float
) -> np.ndarray:
    """Decay to a limit, of each population from where it fits best."""
    decay = np.exp(-rate * (times - times[0]))[:, None]
    start = ((values - limit) * decay / noise).sum(1) / (decay**2 / noise).sum(1)
    return np.maximum(limit + start[:, None] * decay, values.min())
