import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from scimf.fates import agreement_with_next, clonal_fates, fate_difference, fate_scores, velocity_grid
from scimf.preprocess import fit_space, hold_out
from scimf.sde import SDEConfig
from scimf.train import fit

N_CLONES = 24


def branches(*, seed=0, hidden=False):
    """Early cells left and right of a fork; three sisters of each end in its branch, one of them is an early twin.

    ``hidden``: the branch cannot be seen early, all early cells are drawn from one blob.
    """
    rng = np.random.default_rng(seed)
    side = np.repeat([-1.0, 1.0], N_CLONES // 2)
    early = np.repeat(np.stack([0.0 * side if hidden else 0.5 * side, 0 * side], 1), 2, axis=0)
    late = np.repeat(np.stack([3 * side, 2 + 0 * side], 1), 2, axis=0)
    x = np.concatenate([early, late]) + 0.15 * rng.standard_normal((4 * N_CLONES, 2))
    clone = np.tile(np.repeat(np.arange(N_CLONES), 2), 2)
    obs = pd.DataFrame({"time": np.repeat([0.0, 1.0], 2 * N_CLONES)}, index=[f"cell{i}" for i in range(len(x))])
    branch = np.where(side[clone] < 0, "left", "right")
    obs["cell_type"] = pd.Categorical(np.where(obs["time"] == 0, "stem", branch))
    adata = ad.AnnData(x.astype(np.float32), obs=obs)
    adata.obsm["X_clone"] = sparse.csr_matrix(np.eye(N_CLONES, dtype=np.float32)[clone])
    adata.uns["scimf"] = {"form": "state"}
    return adata


def model_of(adata, steps=60):
    split = hold_out(adata)
    config = SDEConfig(interaction="none", hidden=(16,), lr=1e-2, steps=steps, batch_cells=48, target_cells=48)
    return fit(adata, split, fit_space(adata, split), config=config, progress=False)


@pytest.fixture(scope="module")
def fork():
    adata = branches()
    return adata, model_of(adata)


@pytest.fixture(scope="module")
def fates(fork):
    return clonal_fates({"model": fork[1]}, fork[0], early=0.0, late=1.0, k=5, draws=5)


def test_known_fates_are_found_and_are_chance_without_the_barcodes(fork, fates):
    scores = fate_scores(fates, permutations=200)
    assert (scores.loc[["model", "own_state", "transport"], "agreement"] > 0.9).all()
    assert (scores.loc[["model", "own_state", "transport"], "p"] < 0.01).all()
    assert scores["permuted"].to_numpy() == pytest.approx(0.5, abs=0.03)
    assert scores.loc["frequency", "agreement"] == pytest.approx(0.48, abs=0.03)  # sisters do not count
    adata = fork[0].copy()
    rng = np.random.default_rng(0)
    order = np.concatenate([rng.permutation(2 * N_CLONES), 2 * N_CLONES + np.arange(2 * N_CLONES)])
    adata.obsm["X_clone"] = adata.obsm["X_clone"][order]
    mixed = fate_scores(clonal_fates({"model": fork[1]}, adata, early=0.0, late=1.0, k=5), permutations=200)
    assert mixed.loc["model", "agreement"] == pytest.approx(0.5, abs=0.2) and mixed.loc["model", "p"] > 0.05


def test_sisters_do_not_vote():
    """Fates that cannot be seen early: whoever peeked at the sisters would know them."""
    adata = branches(hidden=True)
    late = adata.obs["time"] == 1
    adata.X[late.to_numpy()] = 0.01 * adata.X[late.to_numpy()]  # all late cells are neighbours of all early cells
    for clone in range(N_CLONES):  # but sisters sit exactly where the early cell is
        mine = adata.obsm["X_clone"][:, [clone]].toarray().ravel() > 0
        adata.X[mine & late.to_numpy()] = adata.X[mine & ~late.to_numpy()]
    model = model_of(adata, steps=2)
    found = clonal_fates({"model": model}, adata, early=0.0, late=1.0, k=1, draws=2)
    scores = fate_scores(found, permutations=100)
    assert (scores["agreement"] < 0.75).all()


def test_tables_and_scores_by_hand(fork, fates):
    shapes = {name: table.shape for name, table in fates.items()}
    assert set(shapes.values()) == {(N_CLONES, 2)} and set(fates) >= {"observed", "model", "own_state", "transport"}
    for table in fates.values():
        np.testing.assert_allclose(table.sum(axis=1), 1)
    half = fates["observed"].index[: N_CLONES // 2]
    assert (fates["observed"].loc[half, "left"] == 1).all()
    small = {
        "observed": pd.DataFrame({"x": [1.0, 0.0, 1.0], "y": [0.0, 1.0, 0.0]}),
        "model": pd.DataFrame({"x": [0.8, 0.4, 0.3], "y": [0.2, 0.6, 0.7]}),
        "frequency": pd.DataFrame({"x": [0.5] * 3, "y": [0.5] * 3}),
    }
    rows = pd.MultiIndex.from_tuples([(0, "a"), (1, "a"), (2, "b")], names=["clone", "early_type"])
    small = {name: table.set_index(rows) for name, table in small.items()}
    scores = fate_scores(small, permutations=2000)
    assert scores.loc["model", "agreement"] == pytest.approx((0.8 + 0.6 + 0.3) / 3)
    assert scores.loc["model", "permuted"] == pytest.approx(0.5, abs=0.01)  # p is half x, half y on average
    assert scores.loc["model", "permuted_within"] == pytest.approx((0.5 + 0.5 + 0.3) / 3, abs=0.01)
    entropy = -np.log(np.array([8.5, 6.5, 3.5]) / 11).mean()
    assert scores.loc["model", "cross_entropy"] == pytest.approx(entropy)
    difference = fate_difference(small, "model", "frequency")
    assert difference["agreement"] == pytest.approx((0.3 + 0.1 - 0.2) / 3) and difference["n_clones"] == 3
    assert difference["lo"] < difference["agreement"] < difference["hi"]
    assert fate_difference(small, "model", "frequency", early_type="a")["agreement"] == pytest.approx(0.2)


def test_nothing_is_known_beyond_the_early_type_if_that_is_all_there_is(fork, fates):
    """Early types that name the branch: within a type, exchanging sisters changes nothing."""
    adata = fork[0].copy()
    side = np.where(np.asarray(adata.X)[:, 0] < 0, "left", "right")
    adata.obs["cell_type"] = pd.Categorical(side)
    found = fate_scores(clonal_fates({"model": fork[1]}, adata, early=0.0, late=1.0, k=5), permutations=100)
    assert found.loc["model", "p"] < 0.05 and found.loc["model", "p_within"] > 0.5


def test_several_seeds_are_averaged_and_types_left_out(fork):
    adata, model = fork
    other = model_of(adata, steps=2)
    ask = {"early": 0.0, "late": 1.0, "k": 5, "draws": 3}
    both, one, two = (clonal_fates({"m": m}, adata, **ask)["m"] for m in ([model, other], model, other))
    np.testing.assert_allclose(both, (one + two) / 2)
    left = clonal_fates({"m": model}, adata, leave_out=["right"], **ask)
    assert list(left["m"].columns) == ["left"] and len(left["m"]) == N_CLONES // 2


def test_what_is_missing_is_named(fork, fates):
    adata, model = fork
    with pytest.raises(KeyError, match="X_clone"):
        clonal_fates({"m": model}, ad.AnnData(adata.X, obs=adata.obs), early=0.0, late=1.0)
    with pytest.raises(ValueError, match="no clone was measured at time 0"):
        clonal_fates({"m": model}, adata, early=0.0, late=1.0, leave_out=["left", "right"])
    with pytest.raises(ValueError, match="no clone of 'nerve'"):
        fate_scores(fates, early_type="nerve")


def test_agreement_with_next(fork):
    adata = fork[0].copy()
    fit_space(adata, hold_out(adata))
    early = adata.obs["time"].to_numpy() == 0
    way = np.zeros((adata.n_obs, 2))
    way[early] = np.where(adata.X[early, :1] < 0, [[-2.5, 2.0]], [[2.5, 2.0]])
    (right,) = agreement_with_next(way, adata).to_dict("records")
    assert right["cosine"] > 0.98 and right["n"] == 2 * N_CLONES and (right["time"], right["next_time"]) == (0, 1)
    # Half of the cells go either way: a permuted velocity is right half of the time.
    opposite = (2.5**2 * -1 + 2.0**2) / (2.5**2 + 2.0**2)
    assert right["permuted"] == pytest.approx((1 + opposite) / 2, abs=0.05)
    assert right["mean_direction"] == pytest.approx(2 / np.hypot(2.5, 2), abs=0.05)
    (wrong,) = agreement_with_next(-way, adata).to_dict("records")
    assert wrong["cosine"] == pytest.approx(-right["cosine"])
    (fitted,) = agreement_with_next(model_of(adata), adata).to_dict("records")
    assert fitted["cosine"] > fitted["permuted"] + 0.2
    with pytest.raises(ValueError, match="expected the shape"):
        agreement_with_next(way[:3], adata)


def test_velocity_grid():
    rng = np.random.default_rng(0)
    xy = rng.uniform([0, 0], [2, 1], size=(4000, 2))
    points, arrows = velocity_grid(xy, xy @ np.array([[0.0, 1.0], [-1.0, 0.0]]), n=20)
    assert 200 < len(points) <= 21 * 11
    inside = (points > 0.2).all(1) & (points < [1.8, 0.8]).all(1)
    np.testing.assert_allclose(arrows[inside], points[inside] @ np.array([[0.0, 1.0], [-1.0, 0.0]]), atol=0.06)
    far = np.concatenate([xy[:500], xy[:500] + 20])  # nothing in between: no arrows there
    points, _ = velocity_grid(far, far, n=20)
    assert not ((points > [3.5, 3.5]).all(1) & (points < 18).all(1)).any()
