"""Systems without types, in which any two cells interact alike: linear, and a circuit."""

import anndata as ad
import numpy as np

from scimf.simulate.particles import SIMULATED, Sampling, mean_force

CIRCUIT_NOISE = (0.05, 0.05, 0.01)  #: of the three genes, per square root of time


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

    Populations differ in where they start and how widely, not in density. Arguments that all
    systems share are in ``scimf.simulate.systems``.

    Parameters
    ----------
    theta, kappa, sigma
        Rate of intrinsic relaxation, rate of attraction and noise, per unit of time.
    start_mean, start_sd
        The mean of a population is drawn from ``-start_mean`` to ``start_mean`` on every axis, its
        s.d. from the range ``start_sd``. Where populations do not overlap, no state occurs in two
        of them.

    See Also
    --------
    linear_moments : the exact mean and variance at any time.
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


def linear_moments(
    t: float, *, mean: np.ndarray, variance: float, theta: float, kappa: float, sigma: float
) -> tuple[np.ndarray, float]:
    r"""Exact mean and per-axis variance of :func:`linear` at time ``t``, for many cells.

    :math:`m_t = m_0 e^{-\theta t}` and :math:`\dot S = -2(\theta + \kappa) S + \sigma^2`.
    """
    rate = 2 * (theta + kappa)
    limit = sigma**2 / rate
    return mean * np.exp(-theta * t), limit + (variance - limit) * np.exp(-rate * t)


def circuit(
    *,
    seed: int = 0,
    n_populations: int = 16,
    n_cells: int = 60,
    times: tuple[float, ...] = (0.0, 8.0, 16.0, 24.0, 32.0),
    strength: float = 0.2,
    reach: float = 0.5,
    division: float = 0.0,
    step: float = 1.0,
) -> ad.AnnData:
    r"""Three genes that inhibit each other, in cells that attract each other.

    CytoBridge is tested on it. Genes 1 and 2 activate themselves and inhibit each other, gene 3
    inhibits both and activates itself, all by Hill functions with exponent 2 (parameters: Zhang et
    al. 2025, arXiv:2505.11197, appendix B.1; Hill form: Sha et al. 2024, TIGON). Attraction is the
    gradient of :math:`\Phi = r^2` within ``reach``. Cells divide with rate ``division``
    :math:`\cdot X_2^2/(1 + X_2^2)`. Populations mix the two starting clusters in different
    proportions and densities, which that test does not do: with a single mixture the interaction
    cannot be told from the circuit.
    """
    rng = np.random.default_rng(seed)
    share = rng.uniform(0.1, 0.9, size=(n_populations, 1))
    density = np.exp(rng.uniform(np.log(0.5), np.log(2.0), size=n_populations))
    second = rng.random((n_populations, n_cells * len(times))) < share
    centre = np.where(second[..., None], [0.0, 0.0, 2.0], [2.0, 0.2, 0.0])
    x = np.abs(centre + np.sqrt(0.1) * rng.standard_normal(centre.shape))

    def attraction(r: np.ndarray) -> np.ndarray:
        return np.where(r < reach, -2 * strength * r, 0.0)

    def drift(x: np.ndarray, kind: np.ndarray, t: float) -> tuple[np.ndarray, np.ndarray]:
        return _circuit_drift(x), density[:, None, None] * mean_force(x, attraction)

    def growth(x: np.ndarray, kind: np.ndarray) -> np.ndarray:
        return division * x[..., 1] ** 2 / (1 + x[..., 1] ** 2)

    options = {"kind": second.astype(int), "density": density}
    if division:
        options["growth"] = growth
    noise = np.array(CIRCUIT_NOISE)
    sampling = Sampling(sigma=noise, step=step, times=times, n_cells=n_cells)
    adata = sampling.measure(x, drift, rng=rng, **options)
    truth = {"strength": strength, "reach": reach, "division": division}
    adata.uns["scimf"] = {
        **SIMULATED,
        "name": "circuit",
        "title": "Simulated three-gene circuit with short-range attraction",
        "truth": {**truth, "share": share.ravel(), "sigma": noise},
    }
    return adata


def _circuit_drift(x: np.ndarray) -> np.ndarray:
    """Intrinsic drift of :func:`circuit`, (..., 3)."""
    x1, x2, x3 = np.moveaxis(np.maximum(x, 0) ** 2, -1, 0)
    basal = 1.0
    first = (0.5 * x1 + basal) / (1 + 0.5 * x1 + 1.0 * x2 + 10.0 * x3 + basal)
    second = (1.0 * x2 + basal) / (1 + 0.5 * x1 + 1.0 * x2 + 10.0 * x3 + basal)
    third = 1.0 * x3 / (1 + 1.0 * x3)
    return np.stack([first, second, third], -1) - 0.4 * x
