"""Which ingredient matters: one is changed at a time, on problems inside the training times."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from scimf.dynamics.model import matched_config
from scimf.evaluation.baselines import BASELINES
from scimf.evaluation.held_out import evaluate

from evidence.choices import ENERGY, PACED, Choice, recommended
from evidence.setups import Setup, predicted
from evidence.two_sided import fit_two_sided

#: Changes of the recommended settings; "no interaction" is added with its own width.
INGREDIENTS = {
    "as recommended": {},
    "attention": {"interaction": "attention", "dropout": 0.1},
    "kinetic energy": {"kinetic_weight": PACED.kinetic_weight},
    "exact OT loss": {"loss": "ot"},
    "debiased OT loss": {"loss": "debiased_ot"},
    "snapshot index as time": {"time": "index"},
    "noise three times larger": {"sigma": 0.3},
    "learned diffusion": {"diffusion": "state"},
    "warm start": {"warm_steps": 50},
    "averaged weights": {"average": 0.98},
}


def ablate(
    setup: Setup, *, seeds: Iterable[int], cache: Path, steps: int = 200, **options
) -> pd.DataFrame:
    """Energy distance on an inner problem with one ingredient changed at a time, by training seed.

    Parameters
    ----------
    setup
        From :func:`evidence.setups.inner_setup`: an ablation on held-out times would be a search on
        them.
    seeds, cache, steps, options
        Training seeds, folder of the fits, optimiser steps; others as for
        :func:`evidence.two_sided.fit_two_sided`.

    Returns
    -------
    DataFrame
        Index seed, one column an ingredient, and "neighbour mixture"; NaN where a fit diverged.
    """
    seeds = list(seeds)
    base = recommended(kinetic_weight=Choice().kinetic_weight, steps=steps)
    configs = {name: replace(base, **changes) for name, changes in INGREDIENTS.items()}
    configs["no interaction"] = matched_config(setup.space.dim, base)
    samples = {}
    for name, config in configs.items():
        try:
            fits = fit_two_sided(
                *setup.problem, configs={name: config}, seeds=seeds, cache=cache, **options
            )
        except FloatingPointError:
            continue  # it diverged: its column stays empty
        for (_, seed), model in fits.items():
            samples[f"{name} / {seed}"] = predicted(model, setup, seed=seed)
    mixture = {"mixture": BASELINES["mixture"]}
    table = evaluate(samples, setup.adata, setup.split, scoring=ENERGY, baselines=mixture)
    values = table.groupby("method")["value"].mean()
    found = pd.DataFrame(index=pd.Index(seeds, name="seed"))
    for name in configs:
        found[name] = [values.get(f"{name} / {seed}", np.nan) for seed in seeds]
    found["neighbour mixture"] = values["mixture"]
    return found
