import numpy as np
import pandas as pd
import pytest

from scimf import simulate
from scimf.networks import circuit_drift
from scimf.particles import pairwise, saturating


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


def test_linear_populations_start_where_they_are_asked_to():
    adata = simulate.linear(n_populations=6, n_cells=400, times=(0.0, 0.5), start_mean=0.0, start_sd=(1.5, 1.5))
    first = adata[adata.obs["time"] == 0.0]
    by = pd.DataFrame(np.asarray(first.X)).groupby(first.obs["population"].to_numpy(), observed=True)
    np.testing.assert_allclose(by.mean(), 0, atol=0.3)
    np.testing.assert_allclose(by.std(), 1.5, rtol=0.1)


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


def test_pair_sums_are_the_plain_loops():
    x = np.random.default_rng(0).normal(size=(1, 7, 3))
    weight = np.random.default_rng(1).normal(size=(1, 7, 7)).astype(np.float32)
    away, typed = np.zeros((7, 3)), np.zeros((7, 3))
    for i in range(7):
        for j in range(7):
            d = x[0, i] - x[0, j]
            r = np.linalg.norm(d)
            typed[i] += weight[0, i, j] * -d / np.sqrt(1 + r**2)
            away[i] += 0 if i == j else np.exp(-r) * d / r / 6
    np.testing.assert_allclose(pairwise(x, lambda r: np.exp(-r))[0], away, atol=1e-12)
    np.testing.assert_allclose(saturating(x, weight)[0], typed, atol=1e-5)


def test_morse_force_is_minus_the_slope_of_its_potential():
    shape = {"repulsion": (1.0, 0.5), "attraction": (0.5, 2.0), "strength": 3.0}
    r, h = np.linspace(0.1, 5, 50), 1e-5

    def potential(r):
        return 3.0 * (np.exp(-r / 0.5) - 0.5 * np.exp(-r / 2.0))

    slope = (potential(r + h) - potential(r - h)) / (2 * h)
    np.testing.assert_allclose(simulate.morse_force(r, **shape), -slope, rtol=1e-6)
    assert simulate.morse_force(r[0], **shape) > 0 > simulate.morse_force(r[-1], **shape)  # near apart, far together


def test_circuit_by_hand():
    # Genes at (1, 1, 0): production (0.5 + 1) / (1 + 0.5 + 1 + 1) and (1 + 1) / 3.5, decay 0.4.
    np.testing.assert_allclose(circuit_drift(np.array([1.0, 1.0, 0.0])), [1.5 / 3.5 - 0.4, 2 / 3.5 - 0.4, 0.0])


@pytest.mark.parametrize("name", simulate.SYSTEMS)
def test_every_system_can_be_loaded_and_says_what_is_true(name):
    adata = simulate.SYSTEMS[name](seed=1, n_populations=3, n_cells=12)
    assert np.isfinite(adata.X).all() and adata.uns["scimf"]["name"] == name
    assert adata.obs.groupby(["population", "time"], observed=True).size().eq(12).all()
    silent = name in ("null", "staged", "growing")
    assert (np.abs(adata.obsm["drift_heard"]).max() == 0) == silent


def test_staged_medium_moves_all_fates_together():
    adata = simulate.staged(seed=0, n_populations=2, n_cells=30)
    truth, time = adata.uns["scimf"]["truth"], adata.obs["time"].to_numpy()
    fate = truth["fate"][adata.obs["cell_type"].cat.codes]
    found = adata.obsm["drift_own"] / 0.4 + adata.X - fate
    for k, t in enumerate(np.unique(time)):
        np.testing.assert_allclose(found[time == t], np.tile(truth["medium"][k], (60, 1)), atol=1e-5)


def test_growth_changes_proportions_at_the_stated_rates():
    adata = simulate.growing(seed=0, n_populations=6, n_cells=3000, n_types=2, times=(0.0, 1.0))
    rates, counts = adata.uns["scimf"]["truth"]["rates"], adata.obs.groupby(["population", "time"], observed=True)
    odds = counts["cell_type"].apply(lambda c: np.log((c == "B").sum() / (c == "A").sum())).unstack()
    np.testing.assert_allclose((odds[1.0] - odds[0.0]).mean(), rates[1] - rates[0], atol=0.15)
    mass = counts["mass"].first().unstack()
    assert (mass[0.0] == 1).all() and (mass[1.0] != 1).all()


def test_quorum_counts_secretors():
    adata = simulate.quorum(seed=0, n_populations=8, n_cells=200, times=(0.0, 1.0))
    heard, truth = np.linalg.norm(adata.obsm["drift_heard"], axis=1), adata.uns["scimf"]["truth"]
    kind = adata.obs["cell_type"].to_numpy(str)
    assert heard[kind != "B"].max() == 0
    for p in range(8):
        rows = (adata.obs["population"] == f"p{p:02d}").to_numpy()
        total = truth["density"][p] * (kind[rows] == "A").mean()
        expected = 1.5 * total**2 / (0.25 + total**2)
        np.testing.assert_allclose(heard[rows & (kind == "B")].mean(), expected, rtol=0.15)


def test_paracrine_decoys_move_nothing():
    adata = simulate.paracrine(seed=0, n_populations=3, n_cells=30)
    truth, moved = adata.uns["scimf"]["truth"], np.abs(adata.obsm["drift_heard"]).max(0) > 0
    assert set(adata.var_names[moved]) <= set(truth["targets"].ravel()) and moved.any()
    deaf = adata.obs["cell_type"].cat.codes.isin(np.flatnonzero(truth["type_matrix"].sum(1) == 0)).to_numpy()
    size = np.abs(adata.obsm["drift_heard"]).max(1)
    assert deaf.any() and size[deaf].mean() < 0.1 * size[~deaf].mean()  # their receptors are nearly off
    assert truth["active"].sum() == 3 and len(truth["active"]) == 23


def test_paracrine_active_pairs_can_be_told_from_decoys():
    """Whoever knew the heard drift: the Hill term of a pair, of cells and populations, beside the targets' drift."""
    adata = simulate.paracrine(seed=2, n_populations=24, n_cells=40)
    active, names = adata.uns["scimf"]["truth"]["active"], adata.var_names.to_series()
    ligand, receptor, target = (adata.X[:, names.str.startswith(kind)] for kind in ("lig", "rec", "tgt"))
    heard, obs = adata.obsm["drift_heard"][:, names.str.startswith("tgt")], adata.obs
    groups = [obs["population"].to_numpy(), obs["time"].to_numpy()]
    around = pd.DataFrame(ligand).groupby(groups).transform("mean").to_numpy() * obs["density"].to_numpy()[:, None]
    bound = np.maximum(receptor * around, 0) ** 2
    match = np.abs(np.corrcoef((bound / (1 + bound)).T, heard.T))[: len(active), len(active) :].max(1)
    assert match[active].min() > 0.95 and match[active].min() > match[~active].max() + 0.1
    shown = np.abs(np.corrcoef(target.T, heard.T))[: target.shape[1], target.shape[1] :].diagonal()
    assert shown.max() < 0.8  # a target at rest would show what it hears


def test_replicates_share_the_truth_and_compositions_can_be_set():
    half = np.tile([0.5, 0.5, 0, 0, 0], (3, 1))
    a, b = (simulate.typed(n_populations=3, n_cells=20, replicate=k, compositions=half) for k in (0, 1))
    assert np.array_equal(*(x.uns["scimf"]["truth"]["type_matrix"] for x in (a, b))) and not np.array_equal(a.X, b.X)
    assert set(a.obs["cell_type"]) == {"A", "B"}
    both = simulate.typed(n_populations=1, n_cells=5, reciprocal=True).uns["scimf"]["truth"]["type_matrix"]
    assert np.array_equal(both, both.T) and (both != 0).any()


def test_bad_options_are_named():
    with pytest.raises(ValueError, match="active=2"):
        simulate.typed(active=2)
    with pytest.raises(ValueError, match=r"compositions must be \(2, 5\)"):
        simulate.typed(n_populations=2, compositions=np.ones((2, 5)))
