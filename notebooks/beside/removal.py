"""A removal that is predicted, against the experiment in which the type is missing."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from beside.counterfactual import Change, Simulation, simulated_means
from scimf.dynamics.fitted import FittedSDE
from scimf.dynamics.snapshots import KEY

if TYPE_CHECKING:
    from anndata import AnnData


def errors_of_removal(
    models: Sequence[FittedSDE],
    adata: "AnnData",
    experiment: "AnnData",
    removed: str,
    *,
    simulation: Simulation | None = None,
) -> pd.DataFrame:
    """Distance of predicted type means to an experiment in which a type is missing, at the end.

    In ``experiment`` its place is taken by the other types. One row for each population, mean over
    types; ``as_it_was``: simulated unchanged; ``changed``: simulated without the type;
    ``observed``: the means of ``adata``, nothing changes; ``observed_and_shift``: these plus the
    predicted difference.
    """
    last = float(adata.obs["time"].max())
    observed = _means_at(adata, last)
    true = _means_at(experiment, last)
    density = experiment.obs.groupby("population", observed=True)["density"].first()
    first = adata.obs[adata.obs["time"] == adata.obs["time"].min()]
    rows = []
    for population, types in first.groupby("population", observed=True)["cell_type"]:
        factors = {removed: 0.0} if removed in set(types) else {}
        asked = {"change": Change(factors=factors, density=density[population]), "times": [last]}
        asked |= {"population": population, "simulation": simulation}
        kinds, means = simulated_means(models, adata, **asked)
        as_it_was, changed = means.mean(0)[:, -1]  # (types, dim) each
        for kind, before, after in zip(kinds, as_it_was, changed, strict=True):
            key = (population, kind)
            if key in observed and key in true:
                guesses = {"as_it_was": before, "changed": after, "observed": observed[key]}
                guesses["observed_and_shift"] = observed[key] + (after - before)
                off = {name: np.linalg.norm(x - true[key]) for name, x in guesses.items()}
                rows.append({"population": population, **off})
    return pd.DataFrame(rows).groupby("population").mean()


def _means_at(adata: "AnnData", time: float, least: int = 5) -> dict[tuple, np.ndarray]:
    """Mean of each type of at least ``least`` cells, by population and type."""
    found = {}
    now = adata.obs[adata.obs["time"] == time]
    for key, cells in now.groupby(["population", "cell_type"], observed=True):
        if len(cells) >= least:
            found[key] = adata[cells.index].obsm[KEY].mean(0, dtype=float)
    return found
