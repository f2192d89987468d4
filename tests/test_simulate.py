import numpy as np
import pytest

from scimf import simulate


@pytest.fixture(scope="module")
def typed():
    return simulate.typed(seed=0, n_populations=4, n_cells=40)


def test_type_matrix_is_not_reciprocal(typed):
    matrix = typed.uns["scimf"]["truth"]["type_matrix"]
    off = ~np.eye(len(matrix), dtype=bool)
    assert len(matrix) >= 5 and np.all(np.diag(matrix) == 0)
    assert (matrix != 0)[off].mean() == pytest.approx(0.4)
    assert not np.any((matrix != 0) & (matrix.T != 0))
    assert (matrix > 0).any() and (matrix < 0).any()


def test_same_seed_same_cells_other_seed_other_cells():
    a, b, c = (simulate.typed(seed=s, n_populations=2, n_cells=10) for s in (3, 3, 4))
    assert np.array_equal(a.X, b.X) and not np.array_equal(a.X, c.X)


def test_snapshots_are_different_cells_with_finite_drifts(typed):
    assert typed.n_obs == 4 * 40 * 5 and len(np.unique(typed.X, axis=0)) == typed.n_obs
    assert np.isfinite(typed.obsm["drift_own"]).all() and np.abs(typed.obsm["drift_heard"]).max() > 0
    assert typed.obs["density"].groupby(typed.obs["population"].astype(str)).nunique().eq(1).all()


def test_null_hears_nothing():
    adata = simulate.null(seed=0, n_populations=2, n_cells=10)
    assert np.abs(adata.obsm["drift_heard"]).max() == 0
    assert adata.uns["scimf"]["name"] == "null"


def test_one_type_alone_hears_only_what_the_matrix_says():
    adata = simulate.typed(seed=0, n_populations=3, n_cells=30)
    matrix = adata.uns["scimf"]["truth"]["type_matrix"]
    deaf = np.flatnonzero((matrix == 0).all(1))
    for k in deaf:
        rows = (adata.obs["cell_type"] == adata.uns["scimf"]["truth"]["types"][k]).to_numpy()
        assert np.abs(adata.obsm["drift_heard"][rows]).max() < 1e-6
    assert len(deaf)


def test_linear_attraction_meets_its_closed_form():
    adata = simulate.linear(seed=0, n_populations=3, n_cells=1500, times=(0.0, 1.0, 2.0))
    truth = adata.uns["scimf"]["truth"]
    rates = {key: float(truth[key]) for key in ("theta", "kappa", "sigma")}
    for k, p in enumerate(["p00", "p01", "p02"]):
        cloud = {t: adata.X[((adata.obs["population"] == p) & (adata.obs["time"] == t)).to_numpy()] for t in (0.0, 2.0)}
        start = {"mean": cloud[0.0].mean(0), "variance": float(truth["start_sd"][k]) ** 2}
        mean, variance = simulate.linear_moments(2.0, **start, **rates)
        np.testing.assert_allclose(cloud[2.0].mean(0), mean, atol=0.06)
        np.testing.assert_allclose(cloud[2.0].var(0), variance, rtol=0.15)


def test_bad_options_are_named():
    with pytest.raises(ValueError, match="active=2"):
        simulate.typed(active=2)
