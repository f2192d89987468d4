"""A type is removed: numbers that a network and the fitted equation foretell, against the truth."""

import numpy as np
import pandas as pd
import scimf
from beside.counterfactual import Change, Simulation, what_if
from scimf.dynamics.config import SDEConfig
from scimf.dynamics.fit import fit

from evidence.growth_recovery import shares_of
from evidence.helping import helping

STEP = 0.01  #: of the true equation
SIMULATED = Simulation(n=300, draws=2)


def numbers_without(*, seed: int, growth: str, steps: int, n_asked: int, **options) -> pd.DataFrame:
    """Remove the helper of the system ``helping`` from some populations at the start.

    Returns
    -------
    DataFrame
        By population and type that stays: the change of the log of its number at the last time,
        ``true`` (by the equation that is simulated) and ``network`` (growth of the kind
        ``growth``).
    """
    adata = helping(seed=seed, motion=False, **options)
    split = scimf.hold_out(adata)
    space = scimf.fit_space(adata, split)
    model = fit(adata, split, space, config=SDEConfig(growth=growth, steps=steps), progress=False)
    truth = adata.uns["scimf"]["truth"]
    helper = truth["types"][int(np.argmax(truth["effects"].max(0)))]
    last = float(adata.obs["time"].max())
    true = true_change(adata, helper, last)
    rows = []
    for population in true.index[:n_asked]:
        asked = {"population": population, "times": [last], "simulation": SIMULATED}
        table = what_if(model, adata, change=Change(factors={helper: 0.0}), **asked)
        for row in table[table["cell_type"] != helper].itertuples():
            known = true.loc[population, row.cell_type]
            found = float(np.log(row.number_changed / row.number))
            labels = {"population": population, "cell_type": row.cell_type}
            rows.append(labels | {"true": known, "network": found})
    return pd.DataFrame(rows).set_index(["population", "cell_type"])


def true_change(adata, removed: str, time: float) -> pd.DataFrame:
    """Change of log numbers, populations by types, if a type is not there from the start."""
    truth = adata.uns["scimf"]["truth"]
    first = adata.obs[adata.obs["time"] == adata.obs["time"].min()]
    shares = shares_of(first)[list(truth["types"])]
    density = first.groupby("population", observed=True)["density"].first()[shares.index]
    sent = density.to_numpy(float)[:, None]
    without = shares.assign(**{removed: 0.0})
    ends = []
    for start in (shares.to_numpy(), without.to_numpy()):
        grown = np.zeros_like(start)  # log of descendants of each cell
        for _ in range(round((time - float(first["time"].iloc[0])) / STEP)):
            rate = truth["rates"] + sent * (start * np.exp(grown)) @ truth["effects"].T
            grown += STEP * rate
        ends.append(grown)
    return pd.DataFrame(ends[1] - ends[0], shares.index, shares.columns)
