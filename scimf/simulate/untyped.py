"""A system without types, in which any two cells interact alike."""

import anndata as ad
import numpy as np

from scimf.simulate.particles import SIMULATED, Sampling


def linear(
    *,
    seed: int = 0,
    n_populations: int = 8,
    n_cells: int = 100,
    dim: int = 2,
    times: tuple[float, ...] = (0.0, 1.0, 2.0, 3.0),
    theta: float = 0.3,
    kappa: float = 0.5,
    sigma: float = 0.3,
    start_mean: float = 3.0,
    start_sd: tuple[float, float] = (0.3, 1.2),
    step: float = 0.01,
) -> ad.AnnData:
    r"""Linear attraction, :math:`b(x) = -\theta x` and :math:`K(x, y) = \kappa (y - x)`.

    Populations differ in where they start and how widely, not in density: the mean is drawn from
    ``-start_mean`` to ``start_mean`` on every axis, the s.d. from the range ``start_sd``. Where
    populations do not overlap, no state occurs in two of them. Rates are per unit of time. Other
    arguments: ``scimf.simulate.systems``.
    """
    rng = np.random.default_rng(seed)
    mean = rng.uniform(-start_mean, start_mean, size=(n_populations, 1, dim))
    sd = rng.uniform(*start_sd, size=(n_populations, 1, 1))
    n_total = n_cells * len(times)
    x = mean + sd * rng.standard_normal((n_populations, n_total, dim))

    def drift(x: np.ndarray, kind: None, t: float) -> tuple[np.ndarray, np.ndarray]:
        mean_of_others = (x.sum(1, keepdims=True) - x) / (n_total - 1)  # (populations, cells, dim)
        return -theta * x, kappa * (mean_of_others - x)

    sampling = Sampling(sigma=sigma, step=step, times=times, n_cells=n_cells)
    adata = sampling.measure(x, drift, rng=rng)
    adata.uns["scimf"] = {
        **SIMULATED,
        "name": "linear",
        "title": "Simulated cells that relax and are drawn to their population's mean",
        "truth": {"theta": theta, "kappa": kappa, "sigma": sigma, "start_sd": sd.ravel()},
    }
    return adata
