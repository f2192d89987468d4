"""A simulated system for one report: cells that count how many others there are."""

from dataclasses import replace

import anndata as ad
import numpy as np
from scimf.simulate.particles import Sampling
from scimf.simulate.typed import TIMES, Design

SIGMA = 0.15  #: noise per square root of time
STEP = 0.1  #: largest Euler-Maruyama step


def quorum(
    *,
    seed: int = 0,
    n_populations: int = 24,
    n_cells: int = 100,
    dim: int = 4,
    times: tuple[float, ...] = TIMES,
    strength: float = 1.5,
    threshold: float = 0.5,
    density_range: tuple[float, float] = (0.2, 5.0),
) -> ad.AnnData:
    r"""Responders (B) turn to secretors (A) once there are enough: the total counts, not the share.

    With :math:`Q = s\,n_A / (N - 1)`, the number of other secretors relative to a reference
    population, every B cell gets :math:`\text{strength} \cdot Q^2 / (\text{threshold}^2 + Q^2)`
    along one fixed direction, from the fate of B to that of A. C receives nothing. Densities vary
    by more than an order of magnitude, so a message that is scale-free in the number of cells, such
    as a softmax, cannot say how large it is. Other arguments are those of
    :func:`scimf.simulate.typed.typed`.
    """
    rng = np.random.default_rng(seed)
    design = Design.draw(rng, n_populations, 3, dim, density_range)
    composition = rng.dirichlet(np.full(3, 3.0), size=n_populations)
    design = replace(design, composition=composition)
    n_total = n_cells * len(times)
    kind, x = design.draw_cells(rng, n_total)
    difference = design.fate[0] - design.fate[1]
    direction = difference / np.linalg.norm(difference)
    secretor = kind == 0
    responder = kind == 1
    others = secretor.sum(1, keepdims=True) - secretor  # secretors besides oneself
    total = design.density[:, None] * others / (n_total - 1)
    response = strength * total**2 / (threshold**2 + total**2) * responder
    interaction = response[..., None] * direction

    def drift(x: np.ndarray, kind: np.ndarray, t: float) -> tuple[np.ndarray, np.ndarray]:
        return design.relaxation(x, kind), interaction

    sampling = Sampling(sigma=SIGMA, step=STEP, times=times, n_cells=n_cells)
    adata = sampling.measure(x, drift, rng=rng, kind=kind, density=design.density)
    matrix = np.zeros((3, 3))
    matrix[1, 0] = strength
    truth = {"type_matrix": matrix, "threshold": threshold, "direction": direction}
    return design.described(
        adata, "quorum", "Simulated responders that count secretors", SIGMA, truth
    )
