"""A simulated system for one report: a circuit of genes in cells that attract each other."""

import anndata as ad
import numpy as np
from scimf.simulate.particles import SIMULATED, Sampling

from evidence.morse import mean_force

CIRCUIT_NOISE = (0.05, 0.05, 0.01)  #: of the three genes, per square root of time


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

    def growth(x: np.ndarray, kind: np.ndarray, mass: np.ndarray) -> np.ndarray:
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
