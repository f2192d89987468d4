"""A simulated system for one report: signals that push along a direction of their own."""

import anndata as ad
import numpy as np
from scimf.simulate.particles import Sampling
from scimf.simulate.typed import TIMES, Design

SIGMA = 0.15  #: noise per square root of time
STEP = 0.1  #: largest Euler-Maruyama step
STRENGTH = (1.0, 2.0)


def directed(
    *,
    seed: int = 0,
    n_populations: int = 24,
    n_cells: int = 100,
    n_types: int = 5,
    dim: int = 8,
    times: tuple[float, ...] = TIMES,
    active: float = 0.4,
    density_range: tuple[float, float] = (0.5, 2.0),
) -> ad.AnnData:
    r"""Every pair of types that interacts has a direction, which is not that to the sender.

    With :math:`Q_b = s\,n_b / (N - 1)`, the number of other cells of type :math:`b` relative to a
    reference population, a cell of type :math:`a` gets :math:`\sum_b Q_b v_{ab}`. A share
    ``active`` of the ordered pairs of different types has a :math:`v_{ab}`, of random direction;
    ``type_matrix`` is its length. Other arguments are those of :func:`scimf.simulate.typed.typed`.
    """
    rng = np.random.default_rng(seed)
    design = Design.draw(rng, n_populations, n_types, dim, density_range)
    n_total = n_cells * len(times)
    kind, x = design.draw_cells(rng, n_total)
    others = np.argwhere(~np.eye(n_types, dtype=bool))
    chosen = rng.permutation(others)[: round(active * len(others))]
    push = np.zeros((n_types, n_types, dim))  # (receiver, sender, dim)
    for receiver, sender in chosen:
        direction = rng.standard_normal(dim)
        push[receiver, sender] = rng.uniform(*STRENGTH) * direction / np.linalg.norm(direction)
    member = np.eye(n_types)[kind]  # (populations, cells, types)
    number = member.sum(1, keepdims=True) - member
    sent = design.density[:, None, None] * number / (n_total - 1)
    interaction = np.einsum("pib,pibd->pid", sent, push[kind])

    def drift(x: np.ndarray, kind: np.ndarray, t: float) -> tuple[np.ndarray, np.ndarray]:
        return design.relaxation(x, kind), interaction

    sampling = Sampling(sigma=SIGMA, step=STEP, times=times, n_cells=n_cells)
    adata = sampling.measure(x, drift, rng=rng, kind=kind, density=design.density)
    truth = {"type_matrix": np.linalg.norm(push, axis=2), "push": push}
    title = "Simulated cell types whose signals push along directions of their own"
    return design.described(adata, "directed", title, SIGMA, truth)
