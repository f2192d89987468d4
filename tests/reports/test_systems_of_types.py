"""Three systems of types do what their equations say, and what is stored as their truth is true."""

import numpy as np
import pytest
from beside.growing import growing
from evidence.quorum import quorum
from evidence.staged import staged


@pytest.mark.parametrize(
    ("system", "is_silent"), [(growing, True), (staged, True), (quorum, False)]
)
def test_a_system_says_what_is_true(system, is_silent):
    adata = system(seed=1, n_populations=3, n_cells=12)
    assert np.isfinite(adata.X).all()
    assert adata.uns["scimf"]["name"] == system.__name__
    assert adata.obs.groupby(["population", "time"], observed=True).size().eq(12).all()
    assert (np.abs(adata.obsm["drift_interaction"]).max() == 0) == is_silent


def test_staged_medium_moves_all_fates_together():
    adata = staged(seed=0, n_populations=2, n_cells=30)
    truth = adata.uns["scimf"]["truth"]
    time = adata.obs["time"].to_numpy()
    fate = truth["fate"][adata.obs["cell_type"].cat.codes]
    found = adata.obsm["drift_intrinsic"] / 0.4 + adata.X - fate
    for k, t in enumerate(np.unique(time)):
        expected = np.tile(truth["medium"][k], (60, 1))
        np.testing.assert_allclose(found[time == t], expected, atol=1e-5)


def test_quorum_counts_secretors():
    adata = quorum(seed=0, n_populations=8, n_cells=200, times=(0.0, 1.0))
    received = np.linalg.norm(adata.obsm["drift_interaction"], axis=1)
    kind = adata.obs["cell_type"].to_numpy(str)
    assert received[kind != "B"].max() == 0
    for p in range(8):
        rows = (adata.obs["population"] == f"p{p:02d}").to_numpy()
        total = adata.uns["scimf"]["truth"]["density"][p] * (kind[rows] == "A").mean()
        expected = 1.5 * total**2 / (0.25 + total**2)
        np.testing.assert_allclose(received[rows & (kind == "B")].mean(), expected, rtol=0.15)


def test_growth_changes_proportions_at_the_stated_rates():
    adata = growing(seed=0, n_populations=6, n_cells=3000, n_types=2, times=(0.0, 1.0))
    rates = adata.uns["scimf"]["truth"]["rates"]
    groups = adata.obs.groupby(["population", "time"], observed=True)

    def log_odds(types):
        return np.log((types == "B").sum() / (types == "A").sum())

    odds = groups["cell_type"].apply(log_odds).unstack()
    np.testing.assert_allclose((odds[1.0] - odds[0.0]).mean(), rates[1] - rates[0], atol=0.15)
    mass = groups["mass"].first().unstack()
    assert (mass[0.0] == 1).all()
    assert (mass[1.0] != 1).all()
