r"""A simulated system for one report: cells that change type on their way, and move each other.

Types are soft regions of the state, not labels: with centres :math:`\mu_a` and a width :math:`h`,
the membership of a cell in type :math:`a` is

.. math::

    \varphi_a(x) = \frac{\exp(-|x - \mu_a|^2 / 2 h^2)}{\sum_c \exp(-|x - \mu_c|^2 / 2 h^2)} .

The first types are the stages of a lineage: a cell of one stage relaxes towards the centre of the
next and, on its way, becomes a cell of it. A cell of type :math:`b` moves one of type :math:`a` as
in :func:`scimf.simulate.typed.typed`, by as much as the two belong to these types,

.. math::

    K(x_i, x_j) = \sum_{ab} \varphi_a(x_i)\, A_{ab}\, \varphi_b(x_j)
        \,\frac{x_j - x_i}{\sqrt{1 + |x_j - x_i|^2}} .
"""

import anndata as ad
import numpy as np
from scimf.simulate.particles import SIMULATED, TYPE_NAMES, Sampling
from scimf.simulate.typed import THETA, TIMES

WIDTH = 0.8  #: of memberships; centres are 2.8 apart
SCATTER = 0.3  #: s.d. of cells around where they start
SIGMA = 0.15  #: noise per square root of time
STEP = 0.1  #: largest Euler-Maruyama step
DENSITIES = (0.5, 2.0)  #: range of the relative density of a population, log-uniform


def memberships(x: np.ndarray, centre: np.ndarray, width: float) -> np.ndarray:  # (..., types)
    """How much cells (..., dim) belong to each type, by the distances to its ``centre``."""
    away = x[..., None, :] - centre
    score = -(away**2).sum(-1) / (2 * width**2)
    weight = np.exp(score - score.max(-1, keepdims=True))
    return weight / weight.sum(-1, keepdims=True)


def changing(
    *,
    seed: int = 0,
    n_populations: int = 24,
    n_cells: int = 100,
    n_types: int = 5,
    n_stages: int = 3,
    dim: int = 5,
    active: float = 0.4,
    strength: tuple[float, float] = (1.0, 2.0),
) -> ad.AnnData:
    """Cells that change type on their way, in populations of different composition and density.

    ``obs["cell_type"]`` is the type to which a cell belongs most when it is measured. Other
    arguments are those of :func:`scimf.simulate.typed.typed`.

    Parameters
    ----------
    n_stages
        How many of the types are stages of one lineage, first to last; 1: no cell develops into
        another type (some are carried there).
    """
    rng = np.random.default_rng(seed)
    centre = 2.0 * np.linalg.qr(rng.standard_normal((dim, dim)))[0][:n_types]
    fate = centre + rng.normal(0, 0.5 / np.sqrt(dim), size=centre.shape)
    fate[: n_stages - 1] = centre[1:n_stages]
    matrix = _draw_matrix(rng, n_types, active, strength)
    composition = rng.dirichlet(np.ones(n_types), size=n_populations)
    density = np.exp(rng.uniform(*np.log(DENSITIES), size=n_populations))
    x = _first_cells(rng, centre, fate, composition, n_cells * len(TIMES))

    def drift(x: np.ndarray, kind: None, t: float) -> tuple[np.ndarray, np.ndarray]:
        member = memberships(x, centre, WIDTH)
        return THETA * (member @ fate - x), _received(x, member, matrix, density)

    sampling = Sampling(sigma=SIGMA, step=STEP, times=TIMES, n_cells=n_cells)
    adata = sampling.measure(x, drift, rng=rng, density=density)
    most = memberships(np.asarray(adata.X, float), centre, WIDTH).argmax(1)
    adata.obs["cell_type"] = TYPE_NAMES[most]
    adata.obs["cell_type"] = adata.obs["cell_type"].astype("category")
    truth = {"type_matrix": matrix, "types": np.array(TYPE_NAMES[:n_types]), "centre": centre}
    truth |= {"fate": fate, "composition": composition, "density": density}
    adata.uns["scimf"] = {
        **SIMULATED,
        "name": "changing",
        "title": "Simulated cells that change type on their way, and move each other",
        "truth": {**truth, "width": WIDTH, "theta": THETA, "sigma": SIGMA},
    }
    return adata


def _draw_matrix(
    rng: np.random.Generator, n_types: int, active: float, strength: tuple[float, float]
) -> np.ndarray:  # (receiver, sender)
    """Draw which ordered pairs are active, half of them pulls and half pushes."""
    receiver, sender = np.nonzero(~np.eye(n_types, dtype=bool))
    order = rng.permutation(len(receiver))[: round(active * len(receiver))]
    sign = np.where(np.arange(len(order)) % 2, 1.0, -1.0)
    matrix = np.zeros((n_types, n_types))
    matrix[receiver[order], sender[order]] = sign * rng.uniform(*strength, size=len(order))
    return matrix


def _first_cells(
    rng: np.random.Generator,
    centre: np.ndarray,
    fate: np.ndarray,
    composition: np.ndarray,
    n_total: int,
) -> np.ndarray:  # (populations, cells, dim)
    """Draw cells anywhere on the first half of the way from the centre of a type to its fate."""
    kind = np.stack([rng.choice(len(centre), size=n_total, p=p) for p in composition])
    way = rng.uniform(0, 0.5, size=(*kind.shape, 1))
    middle = centre[kind] + way * (fate - centre)[kind]
    return middle + SCATTER * rng.standard_normal(middle.shape)


def _received(
    x: np.ndarray, member: np.ndarray, matrix: np.ndarray, density: np.ndarray
) -> np.ndarray:
    """Interaction drift; ``x`` (populations, cells, dim), ``member`` (populations, cells, types).

    In float32: bound by memory, not by precision.
    """
    total = np.empty_like(x)
    cells, member = x.astype(np.float32), member.astype(np.float32)
    for p in range(len(x)):  # one at a time: they fit into less memory
        squares = (cells[p] ** 2).sum(-1)
        distance2 = squares[:, None] + squares - 2 * cells[p] @ cells[p].T
        weight = member[p] @ matrix.astype(np.float32) @ member[p].T  # (receiver, sender)
        weight *= density[p] / (x.shape[1] - 1)
        weight /= np.sqrt(1 + np.maximum(distance2, 0))
        total[p] = weight @ cells[p] - weight.sum(1, keepdims=True) * cells[p]
    return total
