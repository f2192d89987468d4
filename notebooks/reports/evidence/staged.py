"""A simulated system for one report: types alone in a medium that is changed now and then."""

import anndata as ad
import numpy as np
from beside.growing import WITHOUT_INTERACTION
from scimf.simulate.particles import Sampling
from scimf.simulate.typed import THETA, TIMES, Design

SIGMA = 0.15  #: noise per square root of time
STEP = 0.1  #: largest Euler-Maruyama step


def staged(
    *,
    seed: int = 0,
    n_populations: int = 24,
    n_cells: int = 100,
    n_types: int = 5,
    dim: int = 8,
    times: tuple[float, ...] = TIMES,
    shift: float = 1.5,
) -> ad.AnnData:
    """No interaction, but a medium that is changed once per interval: all fates move by ``shift``.

    Fools a naive test: a population tells the time, so a model with interaction predicts better
    than one without. Other arguments are those of :func:`scimf.simulate.typed.typed`.
    """
    rng = np.random.default_rng(seed)
    design = Design.draw(rng, n_populations, n_types, dim, WITHOUT_INTERACTION)
    medium = rng.standard_normal((len(times), dim))  # one direction per interval
    medium *= shift / np.linalg.norm(medium, axis=1, keepdims=True)
    kind, x = design.draw_cells(rng, n_cells * len(times))

    def drift(x: np.ndarray, kind: np.ndarray, t: float) -> tuple[np.ndarray, np.ndarray]:
        stage = np.searchsorted(times, t + 1e-9, side="right") - 1
        stage = int(np.clip(stage, 0, len(times) - 1))
        return THETA * (design.fate[kind] + medium[stage] - x), np.zeros_like(x)

    sampling = Sampling(sigma=SIGMA, step=STEP, times=times, n_cells=n_cells)
    adata = sampling.measure(x, drift, rng=rng, kind=kind, density=design.density)
    title = "Simulated cell types in a medium that is changed, without interaction"
    truth = {"type_matrix": np.zeros((n_types, n_types)), "medium": medium}
    return design.described(adata, "staged", title, SIGMA, truth)
