import numpy as np
import pandas as pd
import pytest
import torch

from scimf.data.space import fit_space
from scimf.data.split import hold_out
from scimf.dynamics.config import SDEConfig
from scimf.interaction.interaction_test import SETTINGS
from scimf.interaction.null_data import NullData
from scimf.simulate import systems

QUICK = SDEConfig.from_dict(SETTINGS.to_dict() | {"steps": 3, "batch_cells": 12})


@pytest.fixture(scope="module")
def observed():
    adata = systems.typed(seed=0, n_populations=8, n_cells=30, dim=3)
    split = hold_out(adata, times=[4.0])
    fit_space(adata, split)
    return adata, split


def rounded(cells):
    return {tuple(row) for row in np.asarray(cells).round(3)}


def test_simulated_data_have_the_same_design_and_no_interaction(observed):
    adata, split = observed
    null = NullData.like(adata, split, QUICK)
    assert null.model.config.interaction == "none"
    assert len(null.model.config.stages) == 2
    one = null.draw(1)
    two = null.draw(1)
    np.testing.assert_array_equal(one.obsm["X_scimf"], two.obsm["X_scimf"])
    pd.testing.assert_frame_equal(one.obs, adata.obs)
    begins = ((adata.obs["time"] == 0) & (adata.obs["population"] == "p03")).to_numpy()
    # Drawn from its own cells.
    assert rounded(one.obsm["X_scimf"][begins]) <= rounded(adata.obsm["X_scimf"][begins])
    late = (adata.obs["time"] == 4).to_numpy()
    moved = one.obsm["X_scimf"][late]
    assert np.isfinite(moved).all()
    assert not np.allclose(moved, adata.obsm["X_scimf"][late])


def test_null_fits_are_the_same_side_by_side_and_are_kept(observed, tmp_path):
    found = {}
    for name, workers in (("a", 1), ("b", 2)):
        options = {"device": "cpu", "cache": tmp_path / name}
        null = NullData.like(*observed, QUICK, seed=3, **options)
        found[name] = null.fits(2, workers=workers, **options)
    alone = found["a"]
    beside = found["b"]
    assert [model.seed for model in alone] == [4, 5]
    for one, two in zip(alone, beside, strict=True):
        assert one.config == QUICK
        for a, b in zip(one.sde.parameters(), two.sde.parameters(), strict=True):
            assert torch.equal(a, b)
    kept = {path.name for path in (tmp_path / "a").iterdir()}
    assert len(kept) == 3  # the fit that simulates, and two
    assert kept == {path.name for path in (tmp_path / "b").iterdir()}
