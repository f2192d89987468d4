"""A simulated system for one report: cells that attract from afar and repel near by."""

from collections.abc import Callable

import anndata as ad
import numpy as np
from scimf.simulate.particles import SIMULATED, Sampling

RELAXATION = 0.2  #: rate at which particles are pulled to the origin, per unit of time
DIM = 2
DENSITIES = (0.5, 2.0)  #: range of the relative density of a population, log-uniform
SIGMA = 0.15  #: noise per square root of time
STEP = 0.05  #: largest Euler-Maruyama step


def morse(
    *,
    seed: int = 0,
    n_populations: int = 16,
    n_cells: int = 60,
    times: tuple[float, ...] = (0.0, 1.0, 2.0, 3.0),
    repulsion: tuple[float, float] = (1.0, 0.5),
    attraction: tuple[float, float] = (0.5, 2.0),
    strength: float = 3.0,
) -> ad.AnnData:
    r"""Attraction at a distance, repulsion near by, and a weak pull to the origin.

    The Morse potential :math:`\Phi(r) = C_r e^{-r/\ell_r} - C_a e^{-r/\ell_a}` with the kernel
    :math:`K(x, y) = -\text{strength}\,\Phi'(r)\,(x - y)/r`, see :func:`morse_force`. Other
    arguments are in ``scimf.simulate.systems``.

    Parameters
    ----------
    repulsion, attraction
        :math:`(C_r, \ell_r)` and :math:`(C_a, \ell_a)`.
    strength
        Factor of the force.
    """
    rng = np.random.default_rng(seed)
    n_total = n_cells * len(times)
    centre = rng.uniform(-1.5, 1.5, size=(n_populations, 1, DIM))
    spread = rng.uniform(0.3, 1.5, size=(n_populations, 1, 1))
    density = np.exp(rng.uniform(*np.log(DENSITIES), size=n_populations))
    x = centre + spread * rng.standard_normal((n_populations, n_total, DIM))
    shape = {"repulsion": repulsion, "attraction": attraction, "strength": strength}

    def force(r: np.ndarray) -> np.ndarray:
        return morse_force(r, **shape)

    def drift(x: np.ndarray, kind: None, t: float) -> tuple[np.ndarray, np.ndarray]:
        return -RELAXATION * x, density[:, None, None] * mean_force(x, force)

    sampling = Sampling(sigma=SIGMA, step=STEP, times=times, n_cells=n_cells)
    adata = sampling.measure(x, drift, rng=rng, density=density)
    truth = {key: np.asarray(value) for key, value in shape.items()}
    adata.uns["scimf"] = {
        **SIMULATED,
        "name": "morse",
        "title": "Simulated cells that attract from afar and repel near by",
        "truth": {**truth, "theta": RELAXATION, "sigma": SIGMA},
    }
    return adata


def morse_force(
    r: np.ndarray,
    *,
    repulsion: tuple[float, float],
    attraction: tuple[float, float],
    strength: float,
) -> np.ndarray:
    r"""Force of the Morse potential at distance ``r``: strength :math:`\cdot -\Phi'(r)`.

    Above 0 it pushes apart.
    """
    push = repulsion[0] / repulsion[1] * np.exp(-r / repulsion[1])
    pull = attraction[0] / attraction[1] * np.exp(-r / attraction[1])
    return strength * (push - pull)


def mean_force(x: np.ndarray, force: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Mean over the other cells of a force that depends on the distance alone, like ``x``.

    Parameters
    ----------
    x
        State, (populations, cells, dim).
    force
        Distances to the force along the unit vector **from** sender to receiver; above 0 it pushes
        apart.
    """
    n_total = x.shape[1]
    total = np.empty_like(x)
    for p, cells in enumerate(x):
        away = cells[:, None] - cells[None]  # (receiver, sender, dim)
        r = np.linalg.norm(away, axis=-1)
        # Oneself, and a daughter that still lies on its mother: at no distance, pushed nowhere.
        strength = np.divide(force(r), r, out=np.zeros_like(r), where=r > 0)
        total[p] = np.einsum("ij,ijd->id", strength, away) / (n_total - 1)
    return total
