"""Which data cannot tell whether cells interact, whatever a fit or a test says."""

from math import factorial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from scimf.dynamics.snapshots import cell_types, populations

if TYPE_CHECKING:
    from anndata import AnnData

LEAST_POPULATIONS = 6  #: of a permutation test
LEVEL = 0.05  #: p-value up to which cells interact, or compositions differ
SAME = 1.1  #: densities whose ratio is at most this are taken for equal


def cannot_be_told(adata: "AnnData", *, types: np.ndarray | None = None) -> str:
    """Why these data cannot tell intrinsic from interaction drift; empty if they can.

    Parameters
    ----------
    adata
        ``obs``: time, population, and where known density, batch and cell_type.
    types
        (cells,) in place of ``obs["cell_type"]``; without either compositions are not compared.
    """
    n_populations = len(np.unique(populations(adata)))
    if n_populations < LEAST_POPULATIONS:
        there = f"are {n_populations} populations" if n_populations > 1 else "is one population"
        return (
            f"There {there}: what a cell receives always comes together with the time and its "
            "intrinsic drift, and the two cannot be told apart. At least "
            f"{LEAST_POPULATIONS} populations of different composition are needed."
        )
    if len(np.unique(adata.obs["time"])) < 2:
        return "There is one time, so that nobody is seen to move: at least two are needed."
    smallest = smallest_p(strata(adata))
    if smallest > LEVEL:
        return (
            "Populations can be compared only within a batch and with those of the same times, and "
            f"too few share both: p cannot fall below {smallest:.2g}, so that an interaction is "
            "confounded with the batch. Batches that hold several populations of different "
            "composition each are needed."
        )
    if types is None and "cell_type" not in adata.obs:
        return ""
    return _same_compositions(adata, cell_types(adata) if types is None else types)


def strata(adata: "AnnData") -> np.ndarray:  # (populations,), sorted by name
    """Which populations can be compared: those of one batch that were seen at the same times.

    A batch counts if ``obs["batch"]`` is the same for all cells of every population.
    """
    obs = adata.obs.assign(population=populations(adata))
    by_population = obs.groupby("population")
    seen = by_population["time"].agg(lambda times: str(np.unique(times)))
    if "batch" in obs:
        batches = by_population["batch"].agg(lambda batch: sorted(set(batch.astype(str))))
        if (batches.str.len() == 1).all():
            seen = seen + batches.str[0]
    return pd.factorize(seen)[0]


def smallest_p(strata: np.ndarray, permutations: int = 999) -> float:
    """Smallest p-value that exchanging populations within strata (populations,) can reach."""
    orders = 1
    for size in np.bincount(strata):
        orders *= factorial(int(size))
    return 1 / min(1 + permutations, orders)


def _same_compositions(adata: "AnnData", types: np.ndarray) -> str:
    """Why populations are replicates of one composition and density; empty if they are not."""
    from scipy.stats import chi2, chi2_contingency

    counts = pd.crosstab(populations(adata), types)
    density = adata.obs.get("density", pd.Series(1.0, index=adata.obs_names)).astype(float)
    density = density.groupby(populations(adata)).mean().to_numpy()
    deviance, degrees = 0.0, 0
    groups = strata(adata)
    for stratum in np.unique(groups):
        mine = groups == stratum
        if density[mine].max() > SAME * density[mine].min():
            return ""
        table = counts[mine].loc[:, counts[mine].sum() > 0]
        found = chi2_contingency(table, lambda_="log-likelihood", correction=False)
        deviance += found.statistic
        degrees += found.dof
    p = chi2.sf(deviance, degrees) if degrees else 1.0
    if p <= LEVEL:
        return ""
    return (
        f"All populations have one composition (p = {p:.2f} for a difference) and one density: "
        "their cells receive the same, which cannot be told apart from the time and the intrinsic "
        "drift. Populations of different composition are needed."
    )
