"""A simulated system for one report: one type makes another divide, a third makes it die."""

import anndata as ad
import numpy as np
from scimf.dynamics.snapshots import KEY
from scimf.simulate.particles import Sampling
from scimf.simulate.typed import TIMES, Design, saturating_pull

SIGMA = 0.15  #: noise per square root of time
STEP = 0.04  #: largest Euler-Maruyama step: pulls are strong where there are many cells
RATE = 0.4  #: largest of the rates of types
EFFECT = (0.4, 0.8)  #: range of the size of an effect on growth, per density times share
STILL = 0.1  #: the same where nobody moves anybody
SIMULATED = 4000  #: cells of a population; births and deaths of few would be chance
STRENGTH = (1.0, 2.0)  #: range of the size of a pull
ACTIVE = 0.4  #: share of ordered pairs of different types that pull or push


def helping(
    *,
    seed: int = 0,
    n_populations: int = 24,
    n_cells: int = 200,
    n_types: int = 5,
    dim: int = 8,
    motion: bool = True,
    heard: bool = True,
    speed: float = 1.0,
) -> ad.AnnData:
    r"""Types whose cells divide and die by themselves and as others make them.

    With the relative density :math:`s_p`, the number of cells relative to the start
    :math:`m_p(t)` (``obs["mass"]``) and shares :math:`\pi_{pb}(t)`, cells of type :math:`a` divide
    at the net rate

    .. math::

        r_a + \sum_b G_{ab}\, s_p\, m_p(t)\, \pi_{pb}(t) .

    Populations are those of :func:`scimf.simulate.typed.typed`.

    Parameters
    ----------
    motion
        Whether types also pull and push each other as in ``typed``, in proportion to
        :math:`s_p m_p(t)`.
    heard
        Whether one type makes another divide and a third makes it die; else :math:`G = 0`.
    speed
        Of growth: what all rates and effects are multiplied by. At 0 no cell divides or dies; at 1
        some population changes its number of cells three- to fiftyfold, at 0.5 about twofold.

    Returns
    -------
    AnnData
        The truth is ``rates``, ``effects`` and ``type_matrix``, (receiver, sender) both.
    """
    rng = np.random.default_rng(seed)
    design = Design.draw(rng, n_populations, n_types, dim, (0.5, 2.0))
    rates = speed * rng.permutation(np.linspace(-RATE, RATE, n_types))
    effects = np.zeros((n_types, n_types))
    receiver, helper, killer = rng.permutation(n_types)[:3]
    sizes = speed * rng.uniform(*EFFECT, size=2)
    if heard:
        effects[receiver, helper], effects[receiver, killer] = sizes[0], -sizes[1]
    matrix = _pulls(rng, n_types) if motion else np.zeros((n_types, n_types))
    n_total = n_cells * len(TIMES)  # those measured only, as all pairs of cells pull each other
    if not motion:
        n_total = max(n_total, SIMULATED)
    kind, x = design.draw_cells(rng, n_total)

    def drift(x: np.ndarray, kind: np.ndarray, t: float) -> tuple[np.ndarray, np.ndarray]:
        own = design.relaxation(x, kind)
        if not motion:
            return own, np.zeros_like(x)
        pulled = design.density[:, None, None] / (n_total - 1) * matrix[kind]
        member = np.eye(n_types, dtype=np.float32)[kind]  # (populations, cells, types)
        weight = pulled.astype(np.float32) @ member.transpose(0, 2, 1)
        return own, saturating_pull(x, weight)

    def growth(x: np.ndarray, kind: np.ndarray, mass: np.ndarray) -> np.ndarray:
        share = np.eye(n_types)[kind].mean(1)  # (populations, types)
        sent = (design.density * mass)[:, None] * share
        rate = rates + sent @ effects.T
        return np.take_along_axis(rate, kind, axis=1)

    sampling = Sampling(sigma=SIGMA, step=STEP if motion else STILL, times=TIMES, n_cells=n_cells)
    groups = {"kind": kind, "density": design.density}
    adata = sampling.measure(x, drift, rng=rng, **groups, growth=growth, crowding=True)
    adata.obsm[KEY] = np.asarray(adata.X, np.float32)
    title = "Simulated cell types that make each other divide and die"
    truth = {"rates": rates, "effects": effects, "type_matrix": matrix}
    return design.described(adata, "helping", title, SIGMA, truth)


def _pulls(rng: np.random.Generator, n_types: int) -> np.ndarray:  # (receiver, sender)
    """Strengths of pulls (above 0) and pushes between different types."""
    others = np.argwhere(~np.eye(n_types, dtype=bool))
    chosen = rng.permutation(others)[: round(ACTIVE * len(others))]
    matrix = np.zeros((n_types, n_types))
    for receiver, sender in chosen:
        matrix[receiver, sender] = rng.choice([-1, 1]) * rng.uniform(*STRENGTH)
    return matrix
