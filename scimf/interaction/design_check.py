"""Which data cannot tell whether cells interact, whatever a fit says."""

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse
from scipy.spatial.distance import cdist

from scimf.dynamics.snapshots import KEY, populations

if TYPE_CHECKING:
    from anndata import AnnData

LEAST_POPULATIONS = 8  #: fewer compositions cannot tell intrinsic from interaction drift
LEAST_TIMES = 3
SAME = 1.1  #: densities or cell numbers whose ratio is at most this are taken for equal
LEVEL = 0.05  #: p-value up to which the first snapshots of populations count as different
MOST_CELLS = 2000  #: of the first snapshots that are compared


def cannot_be_told(adata: "AnnData", *, compare_starts: bool = False, seed: int = 0) -> str:
    """Why these data cannot tell intrinsic from interaction drift; empty if they can.

    Parameters
    ----------
    adata
        ``obs``: time, population, and where known density and mass (cell number relative to the
        start).
    compare_starts
        Whether to look at cells, too: populations that begin with draws of the same cells, at the
        same density, are replicates of one composition. Needs ``obsm["X_scimf"]``.
    seed
        Of that comparison.
    """
    reason = _wrong_snapshots(adata) or _growth(adata)
    if compare_starts and not reason:
        reason = _same_starts(adata, seed=seed)
    return reason


def _wrong_snapshots(adata: "AnnData") -> str:
    names = populations(adata)
    time = adata.obs["time"].to_numpy(float)
    times = {name: tuple(np.unique(time[names == name])) for name in np.unique(names)}
    if len(times) < LEAST_POPULATIONS:
        there = "is one population" if len(times) == 1 else f"are {len(times)} populations"
        return (
            f"There {there}: what a cell receives always comes together with the time and its "
            "intrinsic drift, and the two cannot be told apart. At least "
            f"{LEAST_POPULATIONS} populations of different composition are needed."
        )
    if len(set(times.values())) > 1:
        return "Populations were measured at different times, so their gains cannot be compared."
    if len(np.unique(time)) < LEAST_TIMES:
        return "There are fewer than three times, so that none can be held out."
    return ""


def _growth(adata: "AnnData") -> str:
    if "mass" not in adata.obs:
        return ""
    mass = adata.obs["mass"].groupby(populations(adata))
    change = float((mass.max() / mass.min()).max())
    if change <= SAME:
        return ""
    return (
        f"Cells divide or die (obs['mass'] changes up to {change:.1f}-fold within a population): "
        "proportions then change by what all cells of a population do, which this model cannot "
        "tell from an interaction."
    )


def _same_starts(adata: "AnnData", *, seed: int, n_shuffles: int = 199) -> str:
    """Why these populations are replicates of one composition; empty if they are not.

    Every prediction starts at the first snapshots. If these are draws of the same cells, at the
    same density, the cells of all populations receive the same at all times. The energy distance
    within populations is compared with that after cells were shuffled between them.
    """
    time = adata.obs["time"].to_numpy(float)
    first = np.flatnonzero(time == time.min())
    if "density" in adata.obs:
        density = adata.obs["density"].to_numpy(float)[first]
        if density.max() > SAME * density.min():
            return ""
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.permutation(first)[:MOST_CELLS])
    _, member = np.unique(populations(adata)[rows], return_inverse=True)
    x = np.asarray(adata.obsm[KEY], dtype=float)[rows]
    distance = cdist(x, x)
    observed = _distance_within(distance, member)
    shuffled = [_distance_within(distance, rng.permutation(member)) for _ in range(n_shuffles)]
    p = (1 + np.sum(np.array(shuffled) <= observed)) / (1 + n_shuffles)
    if p <= LEVEL:
        return ""
    return (
        f"All populations begin alike (p = {p:.2f} for a difference), at one density: their cells "
        "receive the same, which cannot be told apart from the time and the intrinsic drift. "
        "Populations of different composition are needed."
    )


def _distance_within(distance: np.ndarray, member: np.ndarray) -> float:
    """Sum over all cells of the mean distance to the cells of the same population.

    ``distance`` (cells, cells); ``member`` (cells,), the number of the population of each cell.
    """
    n = len(member)
    indicator = sparse.csr_array((np.ones(n), (member, np.arange(n))))  # (populations, cells)
    sums = indicator.multiply(indicator @ distance).sum(1)  # (populations,)
    return float((sums / np.bincount(member)).sum())
