import anndata as ad
import numpy as np
import pandas as pd
import pytest
from beside.velocities import agreement_with_next, velocity_grid

from scimf.data.space import fit_space
from scimf.data.split import hold_out
from scimf.dynamics.config import SDEConfig
from scimf.dynamics.fit import fit

N = 48  # cells at either time


@pytest.fixture(scope="module")
def fork():
    """Early cells left and right of a fork that end in its two branches, up left and up right."""
    rng = np.random.default_rng(0)
    side = np.repeat([-1.0, 1.0], N // 2)
    early = np.stack([0.5 * side, np.zeros(N)], axis=1)
    late = np.stack([3 * side, np.full(N, 2.0)], axis=1)
    x = np.concatenate([early, late]) + 0.15 * rng.standard_normal((2 * N, 2))
    obs = pd.DataFrame({"time": np.repeat([0.0, 1.0], N)}, index=[f"cell{i}" for i in range(2 * N)])
    adata = ad.AnnData(x.astype(np.float32), obs=obs)
    adata.uns["scimf"] = {"form": "state"}
    fit_space(adata, hold_out(adata))
    return adata


def test_agreement_with_next(fork):
    early = fork.obs["time"].to_numpy() == 0
    way = np.zeros((fork.n_obs, 2))
    way[early] = np.where(fork.X[early, :1] < 0, [[-2.5, 2.0]], [[2.5, 2.0]])
    (right,) = agreement_with_next(way, fork).to_dict("records")
    assert right["cosine"] > 0.98
    assert right["n"] == N
    assert (right["time"], right["next_time"]) == (0, 1)
    # Half of the cells go either way: a permuted velocity is right half of the time.
    opposite = (2.5**2 * -1 + 2.0**2) / (2.5**2 + 2.0**2)
    assert right["permuted"] == pytest.approx((1 + opposite) / 2, abs=0.05)
    assert right["mean_direction"] == pytest.approx(2 / np.hypot(2.5, 2), abs=0.05)
    (wrong,) = agreement_with_next(-way, fork).to_dict("records")
    assert wrong["cosine"] == pytest.approx(-right["cosine"])
    with pytest.raises(ValueError, match="expected the shape"):
        agreement_with_next(way[:3], fork)


def test_a_fitted_model_agrees_with_the_next_snapshot(fork):
    adata = fork.copy()
    split = hold_out(adata)
    settings = {"hidden": (16,), "lr": 1e-2, "steps": 60, "batch_cells": N, "target_cells": N}
    config = SDEConfig(interaction="none", **settings)
    model = fit(adata, split, fit_space(adata, split), config=config, progress=False)
    (fitted,) = agreement_with_next(model, adata).to_dict("records")
    assert fitted["cosine"] > fitted["permuted"] + 0.2


def test_only_snapshots_of_one_population_follow_each_other(tiny):
    adata = tiny[0]
    table = agreement_with_next(np.ones(adata.obsm["X_scimf"].shape), adata, n=5)
    pairs = adata.obs.groupby("population", observed=True)["time"].nunique() - 1
    assert table.groupby("population").size().to_dict() == pairs.to_dict()
    assert (table["next_time"] > table["time"]).all()
    assert (table["n"] == 5).all()


def test_velocity_grid():
    rng = np.random.default_rng(0)
    xy = rng.uniform([0, 0], [2, 1], size=(4000, 2))
    rotation = np.array([[0.0, 1.0], [-1.0, 0.0]])
    points, arrows = velocity_grid(xy, xy @ rotation, n=20)
    assert 200 < len(points) <= 21 * 11
    inside = (points > 0.2).all(1) & (points < [1.8, 0.8]).all(1)
    np.testing.assert_allclose(arrows[inside], points[inside] @ rotation, atol=0.06)


def test_there_are_no_arrows_where_there_are_no_cells():
    rng = np.random.default_rng(0)
    xy = rng.uniform([0, 0], [2, 1], size=(500, 2))
    far = np.concatenate([xy, xy + 20])
    points, _ = velocity_grid(far, far, n=20)
    between = (points > 3.5).all(1) & (points < 18).all(1)
    assert not between.any()
