"""The test of interaction, asked of simulated data sets with everything that may fool it."""

import time
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from beside.growing import growing
from scimf.core.identity import by_name
from scimf.interaction.interaction_test import do_cells_interact
from scimf.interaction.permutation import edge_p_values
from scimf.interaction.plan import Design
from scimf.interaction.type_means import TypeSnapshots
from scimf.simulate.systems import SYSTEMS

from evidence.staged import staged

if TYPE_CHECKING:
    from anndata import AnnData

#: Simulated systems beside those of ``scimf``.
MORE_SYSTEMS = by_name({"growing": growing, "staged": staged})
FALSE_DISCOVERIES = 0.1  #: rate of false pairs among those found that is asked for
WRONG = 0.1  #: share of cells whose types are shuffled among each other
DONOR_DRIFT = 0.1  #: s.d., in each coordinate and per unit of time, of how a donor drifts


def verdict_on(
    *, system: str, seed: int = 0, spoiled: str = "", pairs: bool = False, **options
) -> dict:
    """Ask whether cells interact in a simulated data set.

    Parameters
    ----------
    system, seed, options
        As for :mod:`scimf.simulate.systems`, ``SYSTEMS[system](seed=seed, **options)``, or
        a key of :data:`MORE_SYSTEMS`.
    spoiled
        What else is wrong with the data, a key of :data:`SPOILED`.
    pairs
        Whether to ask for every pair of types, too.

    Returns
    -------
    dict
        ``answer``, ``p`` and ``seconds`` of the test; ``predicted_power`` where cells interact,
        from counts, densities and the strength; with ``pairs`` how many are ``found``,
        ``found_true`` and ``true``.
    """
    adata = (SYSTEMS | MORE_SYSTEMS)[system](seed=seed, **options)
    adata.obsm["X_scimf"] = np.asarray(adata.X, dtype=float)
    snapshots = TypeSnapshots.of(adata)
    if spoiled:
        SPOILED[spoiled](adata, np.random.default_rng([seed, 1]))
    started = time.perf_counter()
    verdict = do_cells_interact(adata, seed=seed)
    found = {"answer": verdict.answer, "p": verdict.p, "seconds": time.perf_counter() - started}
    design = Design.of(snapshots)
    matrix = adata.uns["scimf"]["truth"]["type_matrix"]
    if matrix.any():
        # Its force saturates: of the displacement d between two types, d / sqrt(1 + d^2) arrives.
        size = np.abs(matrix[matrix != 0]).mean() / np.sqrt(1 + design.distance**2)
        found["predicted_power"] = design.power(float(size))
    if pairs:
        found |= _pairs(snapshots, matrix, seed)
    return found


def proportion(hits: int, n: int) -> dict[str, float]:
    """Share of hits with its exact 95 % interval (Clopper & Pearson 1934), over data sets."""
    from scipy.stats import binomtest

    found = binomtest(int(hits), int(n))
    limits = found.proportion_ci(method="exact")
    interval = {"lo": float(limits.low), "hi": float(limits.high)}
    return {"mean": found.statistic, **interval, "n_seeds": int(n)}


def _shuffle_labels(adata: "AnnData", rng: np.random.Generator) -> None:
    """Let some of the cells exchange their types."""
    rows = np.flatnonzero(rng.random(adata.n_obs) < WRONG)
    types = adata.obs["cell_type"].to_numpy(dtype=str, copy=True)
    types[rows] = rng.permutation(types[rows])
    adata.obs["cell_type"] = types


def _drop_types(adata: "AnnData", rng: np.random.Generator) -> None:
    """Tell nobody the types of the cells."""
    del adata.obs["cell_type"]


def _let_donors_drift(adata: "AnnData", rng: np.random.Generator) -> None:
    """Let all cells of a population drift its own way, whatever it is made of."""
    names, population = np.unique(adata.obs["population"], return_inverse=True)
    velocity = DONOR_DRIFT * rng.standard_normal((len(names), adata.n_vars))
    adata.obsm["X_scimf"] += adata.obs["time"].to_numpy()[:, None] * velocity[population]


def _tie_donors(adata: "AnnData", rng: np.random.Generator) -> None:
    """Let all cells of a population drift a way that goes with what the population is made of."""
    counts = pd.crosstab(adata.obs["population"], adata.obs["cell_type"], normalize="index")
    shares = counts.to_numpy() - counts.to_numpy().mean(0)
    _, population = np.unique(adata.obs["population"], return_inverse=True)
    way = rng.standard_normal((shares.shape[1], adata.n_vars))
    velocity = shares @ way
    velocity = DONOR_DRIFT * velocity / velocity.std()
    adata.obsm["X_scimf"] += adata.obs["time"].to_numpy()[:, None] * velocity[population]


#: What can be wrong with data beside their system, each ``f(adata, rng)``.
SPOILED = by_name(
    {
        "wrong_labels": _shuffle_labels,
        "no_types": _drop_types,
        "donors": _let_donors_drift,
        "tied_donors": _tie_donors,
    }
)


def _pairs(snapshots: TypeSnapshots, matrix: np.ndarray, seed: int) -> dict[str, int]:
    """How many pairs of types are found at the rate asked for, and how many of them are true."""
    from scipy.stats import false_discovery_control

    others = ~np.eye(len(matrix), dtype=bool)
    q = false_discovery_control(edge_p_values(snapshots, seed=seed)[others])
    found = q <= FALSE_DISCOVERIES
    true = matrix[others] != 0
    return {
        "found": int(found.sum()),
        "found_true": int((found & true).sum()),
        "true": int(true.sum()),
    }
