"""A simulated system for reports: types divide and die, no cell acts on another."""

import anndata as ad
import numpy as np

from scimf.simulate.particles import Sampling
from scimf.simulate.typed import TIMES, Design

WITHOUT_INTERACTION = (0.5, 2.0)  #: range of the density where nothing depends on it


def growing(
    *,
    seed: int = 0,
    n_populations: int = 24,
    n_cells: int = 100,
    n_types: int = 5,
    dim: int = 8,
    times: tuple[float, ...] = TIMES,
    rate: float = 0.5,
    sigma: float = 0.15,
    step: float = 0.1,
) -> ad.AnnData:
    """No interaction, but types divide and die at rates from ``-rate`` to ``rate``.

    Fools a naive test: proportions change by what all cells of the population do. ``obs["mass"]``
    is the number of cells relative to the start, which an experimenter could count. Other arguments
    are those of :func:`scimf.simulate.typed.typed`.
    """
    rng = np.random.default_rng(seed)
    design = Design.draw(rng, n_populations, n_types, dim, WITHOUT_INTERACTION)
    rates = rng.permutation(np.linspace(-rate, rate, n_types))
    kind, x = design.draw_cells(rng, n_cells * len(times))

    def drift(x: np.ndarray, kind: np.ndarray, t: float) -> tuple[np.ndarray, np.ndarray]:
        return design.relaxation(x, kind), np.zeros_like(x)

    def growth(x: np.ndarray, kind: np.ndarray, mass: np.ndarray) -> np.ndarray:
        return rates[kind]

    sampling = Sampling(sigma=sigma, step=step, times=times, n_cells=n_cells)
    groups = {"kind": kind, "density": design.density}
    adata = sampling.measure(x, drift, rng=rng, **groups, growth=growth)
    title = "Simulated cell types that divide and die, without interaction"
    truth = {"type_matrix": np.zeros((n_types, n_types)), "rates": rates}
    return design.described(adata, "growing", title, sigma, truth)
