r"""Cell types that develop towards their fates, with signals between types or without.

A cell of type :math:`a` relaxes to its fate, :math:`b(x) = \theta(\mu_a - x)`. Populations differ
in composition (Dirichlet) and in density (log-uniform), which the experimenter knows:
``obs["density"]``.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import anndata as ad
import numpy as np

from scimf.simulate.particles import SIMULATED, TYPE_NAMES, Sampling

TIMES = (0.0, 1.0, 2.0, 3.0, 4.0)
THETA = 0.4  #: rate at which cells relax to their fate, per unit of time
#: State and type of cells, (populations, cells, ...) -> own drift, like the state.
OwnDrift = Callable[[np.ndarray, np.ndarray], np.ndarray]


def typed(
    *,
    seed: int = 0,
    n_populations: int = 24,
    n_cells: int = 100,
    n_types: int = 5,
    dim: int = 8,
    times: tuple[float, ...] = TIMES,
    active: float = 0.4,
    strength: tuple[float, float] = (1.0, 2.0),
    density_range: tuple[float, float] = (0.5, 2.0),
    compositions: np.ndarray | None = None,
    replicate: int = 0,
    n_simulated: int | None = None,
    own: Callable[["Design"], OwnDrift] | None = None,
    sigma: float = 0.15,
    step: float = 0.1,
) -> ad.AnnData:
    r"""Cell types that signal to each other without reciprocity.

    A sender of type :math:`b` pulls (:math:`A_{ab} > 0`) or pushes a receiver of type :math:`a`
    with :math:`K(x_i, x_j) = A_{a_i a_j} (x_j - x_i) / \sqrt{1 + \lVert x_j - x_i \rVert^2}`; the
    truth ``type_matrix`` is :math:`A`, (receiver, sender). Other arguments:
    ``scimf.simulate.systems``.

    Parameters
    ----------
    active, strength
        Share of ordered pairs of different types that are not zero, and the range of their absolute
        values.
    compositions
        Proportions of types in place of the drawn ones, (populations, types), rows sum to 1.
    replicate
        Other cells and other noise of the same system: two replicates differ as two experiments do.
    n_simulated
        Cells of a population, of which those measured are a part; by default no more than those.
    own
        Makes another own drift of the design, in place of :meth:`Design.relaxation`.

    A ``ValueError`` for fewer than two types, a share outside [0, 1] or proportions that do not sum
    to 1.
    """
    _require_types(n_types, active)
    rng = np.random.default_rng(seed)
    matrix = _draw_type_matrix(rng, n_types, active, strength)
    design = Design.draw(rng, n_populations, n_types, dim, density_range)
    if compositions is not None:
        design = design.with_compositions(compositions)
    if replicate:
        rng = np.random.default_rng([seed, replicate])
    n_total = n_cells * len(times)  # as many as are measured, unless there are more
    kind, x = design.draw_cells(rng, max(n_total, n_simulated or 0))
    weight = _pair_weights(matrix, kind, design.density)

    own_drift = design.relaxation if own is None else own(design)

    def drift(x: np.ndarray, kind: np.ndarray, t: float) -> tuple[np.ndarray, np.ndarray]:
        return own_drift(x, kind), saturating_pull(x, weight)

    sampling = Sampling(sigma=sigma, step=step, times=times, n_cells=n_cells)
    adata = sampling.measure(x, drift, rng=rng, kind=kind, density=design.density)
    title = "Simulated cell types that signal to each other without reciprocity"
    return design.described(adata, "typed", title, sigma, {"type_matrix": matrix})


def null(*, seed: int = 0, **options) -> ad.AnnData:
    """Cells that ignore each other: :func:`typed` with an empty type matrix."""
    adata = typed(seed=seed, active=0.0, **options)
    adata.uns["scimf"]["name"] = "null"
    adata.uns["scimf"]["title"] = "Simulated cell types that develop without interaction"
    return adata


# ---------------------------------------------------------------------- what they have in common


@dataclass(frozen=True)
class Design:
    """Where types start and go, and what populations are made of."""

    start: np.ndarray  # (types, dim)
    fate: np.ndarray  # (types, dim)
    composition: np.ndarray  # (populations, types)
    density: np.ndarray  # (populations,)

    @classmethod
    def draw(
        cls,
        rng: np.random.Generator,
        n_populations: int,
        n_types: int,
        dim: int,
        density_range: tuple[float, float],
    ) -> "Design":
        """Draw fates near each other, compositions (Dirichlet) and densities (log-uniform)."""
        size = max(dim, n_types)
        basis = np.linalg.qr(rng.standard_normal((size, size)))[0]
        start = 2.0 * basis[:n_types, :dim]
        common = rng.standard_normal(dim)  # all types go this way, each with a deviation
        deviation = rng.normal(0, 1.0 / np.sqrt(dim), size=(n_types, dim))
        fate = start + common / np.linalg.norm(common) + deviation
        composition = rng.dirichlet(np.ones(n_types), size=n_populations)
        density = np.exp(rng.uniform(*np.log(density_range), size=n_populations))
        return cls(start, fate, composition, density)

    def with_compositions(self, compositions: np.ndarray) -> "Design":
        """Replace the drawn compositions, (populations, types)."""
        composition = np.asarray(compositions, float)
        expected = self.composition.shape
        if composition.shape != expected or not np.allclose(composition.sum(1), 1):
            raise ValueError(
                f"typed: compositions must be {expected} with rows that sum to 1, "
                f"got shape {composition.shape}"
            )
        return replace(self, composition=composition)

    def draw_cells(
        self, rng: np.random.Generator, n_total: int
    ) -> tuple[np.ndarray, np.ndarray]:  # types (populations, cells), states (..., dim)
        """Draw the type and the first state of ``n_total`` cells of every population."""
        n_types, dim = self.start.shape
        kind = np.stack([rng.choice(n_types, size=n_total, p=p) for p in self.composition])
        scatter = rng.standard_normal((len(self.composition), n_total, dim))
        return kind, self.start[kind] + 0.3 * scatter

    def relaxation(self, x: np.ndarray, kind: np.ndarray) -> np.ndarray:
        """Intrinsic drift of each cell to the fate of its type."""
        return THETA * (self.fate[kind] - x)

    def described(
        self, adata: ad.AnnData, name: str, title: str, sigma: float, truth: dict
    ) -> ad.AnnData:
        """Store what is true of a system beside what is true of all systems of types."""
        adata.uns["scimf"] = {
            **SIMULATED,
            "name": name,
            "title": title,
            "truth": {
                **truth,
                **vars(self),
                "types": np.array(TYPE_NAMES[: len(self.start)]),
                "populations": np.array(adata.obs["population"].unique(), dtype=str),
                "theta": THETA,
                "sigma": sigma,
            },
        }
        return adata


def _require_types(n_types: int, active: float) -> None:
    if n_types < 2 or not 0 <= active <= 1:
        expected = "typed needs n_types >= 2 and 0 <= active <= 1"
        raise ValueError(f"{expected}, got n_types={n_types}, active={active}")


def _draw_type_matrix(
    rng: np.random.Generator, n_types: int, active: float, strength: tuple[float, float]
) -> np.ndarray:  # (receiver, sender)
    """Draw signs and strengths; both directions of a pair only if the share demands it."""
    pairs = []
    for a in range(n_types):
        for b in range(a):
            pairs.append((a, b) if rng.random() < 0.5 else (b, a))
    rng.shuffle(pairs)
    pairs += [(b, a) for a, b in pairs]  # the other directions come last
    matrix = np.zeros((n_types, n_types))
    for k, (receiver, sender) in enumerate(pairs[: round(active * len(pairs))]):
        sign = 1 if k % 2 else -1
        matrix[receiver, sender] = sign * rng.uniform(*strength)
    return matrix


def _pair_weights(matrix: np.ndarray, kind: np.ndarray, density: np.ndarray) -> np.ndarray:
    """Factor of the force on each receiver by each sender, (populations, receiver, sender)."""
    weight = matrix[kind[:, :, None], kind[:, None, :]] * density[:, None, None]
    return (weight / (kind.shape[1] - 1)).astype(np.float32)


def saturating_pull(x: np.ndarray, weight: np.ndarray) -> np.ndarray:  # (populations, cells, dim)
    r"""Sum over senders of :math:`w_{ij} (x_j - x_i) / \sqrt{1 + \lVert x_j - x_i\rVert^2}`.

    ``weight`` (populations, receiver, sender), float32; the sums are bound by memory, not by
    precision.
    """
    total = np.empty_like(x)
    for p, cells in enumerate(x.astype(np.float32)):  # one at a time: they fit into less memory
        squares = (cells**2).sum(-1)
        pull = cells @ cells.T  # (receiver, sender), reused in place
        pull *= -2
        pull += squares[:, None]
        pull += squares + 1  # 1 + squared distance
        np.sqrt(np.maximum(pull, 1, out=pull), out=pull)
        np.divide(weight[p], pull, out=pull)
        total[p] = pull @ cells - pull.sum(-1, keepdims=True) * cells
    return total
