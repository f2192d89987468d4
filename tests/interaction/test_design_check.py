import numpy as np
import pandas as pd
from anndata import AnnData

from scimf.data.space import fit_space
from scimf.data.split import hold_out
from scimf.interaction.design_check import _same_starts, cannot_be_told
from scimf.simulate import systems


def typed(**options):
    return systems.typed(**{"seed": 0, "n_populations": 8, "n_cells": 12, "dim": 3} | options)


def test_growth_that_was_counted_cannot_tell():
    adata = systems.growing(seed=0, n_populations=8, n_cells=10)
    assert "divide or die" in cannot_be_told(adata)
    del adata.obs["mass"]
    assert cannot_be_told(adata) == ""


def test_other_times_or_too_few_cannot_tell():
    adata = typed()
    late = (adata.obs["population"] == "p00") & (adata.obs["time"] == 1.0)
    assert "different times" in cannot_be_told(adata[~late.to_numpy()])
    early = (adata.obs["time"] < 2).to_numpy()
    assert "fewer than three times" in cannot_be_told(adata[early])


def test_populations_that_begin_alike_cannot_tell():
    same_composition = {"compositions": np.full((8, 5), 0.2), "n_cells": 30}
    same_density = {"density_range": (1.0, 1.0), "n_cells": 30}
    alike = typed(**same_composition | same_density)
    fit_space(alike, hold_out(alike))
    assert cannot_be_told(alike) == ""
    assert "begin alike" in cannot_be_told(alike, compare_starts=True)
    for one_difference in (same_composition, same_density):
        adata = typed(**one_difference)
        fit_space(adata, hold_out(adata))
        assert cannot_be_told(adata, compare_starts=True) == ""


def test_replicates_are_taken_for_different_as_rarely_as_the_level_says():
    rng = np.random.default_rng(0)
    names = np.repeat([f"p{k}" for k in range(8)], 20)
    obs = pd.DataFrame({"time": 0.0, "population": names}, index=map(str, range(160)))
    different = 0
    for seed in range(60):
        adata = AnnData(np.zeros((160, 0)), obs, obsm={"X_scimf": rng.standard_normal((160, 3))})
        different += _same_starts(adata, n_shuffles=39, seed=seed) == ""
    assert different <= 9  # 3 expected; more than 9 has a chance of 1 in 1,000
