"""How much of a shift a network calls growth: by the price of growth, and by what is known of it.

A bell curve of width 1 moves by one between two days: half because cells move, half because cells
divide the more often the farther right they are. Both days look as if all had moved, or as if all
had multiplied (chapter 6).
"""

import anndata as ad
import numpy as np
import pandas as pd
from scimf.data.split import hold_out
from scimf.dynamics.config import SDEConfig
from scimf.dynamics.fit import fit
from scimf.dynamics.snapshots import KEY

MOVED = 0.5  #: share of the shift that is motion
KINETIC = 0.003  #: of the fits: a way has a price, too
SIZE = {"hidden": (32,), "batch_cells": 256, "target_cells": 256}


def two_days(seed: int, n_cells: int = 1000) -> ad.AnnData:
    """Cells of day 0 and day 1, (cells, 1), with ``obs["known_growth"]``: the true rates.

    A rate of ``1 - MOVED`` times the place moves a bell of width 1 by as much in a day. Cells that
    move along grow a little more on the way; rates are those of the place where they begin.
    """
    rng = np.random.default_rng(seed)
    x = np.concatenate([rng.normal(size=n_cells), 1 + rng.normal(size=n_cells)])
    obs = pd.DataFrame({"time": np.repeat([0.0, 1.0], n_cells)})
    obs["known_growth"] = (1 - MOVED) * x
    obs.index = obs.index.astype(str)
    x = x[:, None].astype(np.float32)
    return ad.AnnData(x, obs=obs, obsm={KEY: x})


def moved_of(*, seed: int, price: float, known: bool, steps: int) -> dict[str, float]:
    """Fit a network with growth by state at this price; ``known`` says whether it sees the rates.

    Returns
    -------
    dict
        ``moved``: mean way of the simulated cells, not weighted; ``shift``: mean place of the
        weighted cells less that of day 0, of which the truth is 1.
    """
    adata = two_days(seed)
    if not known:
        del adata.obs["known_growth"]
    split = hold_out(adata)
    settings = {"growth": "state", "interaction": "none", "growth_weight": price}
    settings |= {"mass_weight": 0.0, "kinetic_weight": KINETIC, "steps": steps}
    config = SDEConfig(**settings, **SIZE)
    model = fit(adata, split, config=config, seed=seed, progress=False)
    cells = model.sample([1.0], n=1000, seed=seed)
    begin = adata[cells.obs["start_cell"]].obsm[KEY][:, 0]
    end = cells.obsm[KEY][:, 0]
    weight = cells.obs["weight"].to_numpy()
    shift = float(np.average(end, weights=weight) - begin.mean())
    return {"moved": float((end - begin).mean()), "shift": shift}
