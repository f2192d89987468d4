import anndata as ad
import numpy as np
import pandas as pd
import pytest
from evidence.clonal_fates import Vote, clonal_fates, fate_difference, fate_scores
from scipy import sparse

from scimf.data.space import fit_space
from scimf.data.split import hold_out
from scimf.dynamics.config import SDEConfig
from scimf.dynamics.fit import fit

N_CLONES = 24
TIMES = {"early": 0.0, "late": 1.0}


def branches(*, seed=0, hidden=False):
    """Early cells left and right of a fork; three sisters of each end in its branch.

    One of them is an early twin. ``hidden``: the branch cannot be seen early, all early cells are
    drawn from one blob.
    """
    rng = np.random.default_rng(seed)
    side = np.repeat([-1.0, 1.0], N_CLONES // 2)
    apart = 0.0 if hidden else 0.5
    early = np.repeat(np.stack([apart * side, 0 * side], 1), 2, axis=0)
    late = np.repeat(np.stack([3 * side, 2 + 0 * side], 1), 2, axis=0)
    x = np.concatenate([early, late]) + 0.15 * rng.standard_normal((4 * N_CLONES, 2))
    clone = np.tile(np.repeat(np.arange(N_CLONES), 2), 2)
    time = np.repeat([0.0, 1.0], 2 * N_CLONES)
    obs = pd.DataFrame({"time": time}, index=[f"cell{i}" for i in range(len(x))])
    branch = np.where(side[clone] < 0, "left", "right")
    obs["cell_type"] = pd.Categorical(np.where(time == 0, "stem", branch))
    adata = ad.AnnData(x.astype(np.float32), obs=obs)
    adata.obsm["X_clone"] = sparse.csr_matrix(np.eye(N_CLONES, dtype=np.float32)[clone])
    adata.uns["scimf"] = {"form": "state"}
    return adata


def model_of(adata, steps=60):
    split = hold_out(adata)
    config = SDEConfig(
        interaction="none", hidden=(16,), lr=1e-2, steps=steps, batch_cells=48, target_cells=48
    )
    return fit(adata, split, fit_space(adata, split), config=config, progress=False)


@pytest.fixture(scope="module")
def fork():
    adata = branches()
    return adata, model_of(adata)


@pytest.fixture(scope="module")
def fates(fork):
    adata, model = fork
    return clonal_fates({"model": model}, adata, vote=Vote(k=5, draws=5), **TIMES)


def test_known_fates_are_found(fates):
    scores = fate_scores(fates, permutations=200)
    informed = scores.loc[["model", "own_state", "transport"]]
    assert (informed["agreement"] > 0.9).all()
    assert (informed["p"] < 0.01).all()
    assert scores["permuted"].to_numpy() == pytest.approx(0.5, abs=0.03)
    # Sisters do not count.
    assert scores.loc["frequency", "agreement"] == pytest.approx(0.48, abs=0.03)


def test_fates_are_chance_without_the_barcodes(fork):
    adata = fork[0].copy()
    rng = np.random.default_rng(0)
    late = 2 * N_CLONES + np.arange(2 * N_CLONES)
    order = np.concatenate([rng.permutation(2 * N_CLONES), late])
    adata.obsm["X_clone"] = adata.obsm["X_clone"][order]
    found = clonal_fates({"model": fork[1]}, adata, vote=Vote(k=5), **TIMES)
    mixed = fate_scores(found, permutations=200)
    assert mixed.loc["model", "agreement"] == pytest.approx(0.5, abs=0.2)
    assert mixed.loc["model", "p"] > 0.05


def test_sisters_do_not_vote():
    """Fates that cannot be seen early: whoever peeked at the sisters would know them."""
    adata = branches(hidden=True)
    late = (adata.obs["time"] == 1).to_numpy()
    adata.X[late] = 0.01 * adata.X[late]  # all late cells are neighbours of all early cells
    for clone in range(N_CLONES):  # but sisters sit exactly where the early cell is
        members = adata.obsm["X_clone"][:, [clone]].toarray().ravel() > 0
        adata.X[members & late] = adata.X[members & ~late]
    model = model_of(adata, steps=2)
    found = clonal_fates({"model": model}, adata, vote=Vote(k=1, draws=2), **TIMES)
    scores = fate_scores(found, permutations=100)
    assert (scores["agreement"] < 0.75).all()


def test_tables_have_a_row_for_each_clone(fates):
    assert set(fates) == {"observed", "model", "own_state", "transport", "frequency"}
    for table in fates.values():
        assert table.shape == (N_CLONES, 2)
        np.testing.assert_allclose(table.sum(axis=1), 1)
    half = fates["observed"].index[: N_CLONES // 2]
    assert (fates["observed"].loc[half, "left"] == 1).all()


@pytest.fixture
def by_hand():
    """Three clones of two early types, and two predictions."""
    rows = pd.MultiIndex.from_tuples([(0, "a"), (1, "a"), (2, "b")], names=["clone", "early_type"])
    shares_of_x = {
        "observed": [1.0, 0.0, 1.0],
        "model": [0.8, 0.4, 0.3],
        "frequency": [0.5, 0.5, 0.5],
    }
    found = {}
    for name, x in shares_of_x.items():
        found[name] = pd.DataFrame({"x": x, "y": 1 - np.array(x)}, index=rows)
    return found


def test_scores_by_hand(by_hand):
    scores = fate_scores(by_hand, permutations=2000)
    assert scores.loc["model", "agreement"] == pytest.approx((0.8 + 0.6 + 0.3) / 3)
    # p is half x, half y on average.
    assert scores.loc["model", "permuted"] == pytest.approx(0.5, abs=0.01)
    entropy = -np.log(np.array([8.5, 6.5, 3.5]) / 11).mean()
    assert scores.loc["model", "cross_entropy"] == pytest.approx(entropy)


def test_differences_by_hand(by_hand):
    difference = fate_difference(by_hand, "model", "frequency")
    assert difference["agreement"] == pytest.approx((0.3 + 0.1 - 0.2) / 3)
    assert difference["n_clones"] == 3
    assert difference["lo"] < difference["agreement"] < difference["hi"]
    of_type = fate_difference(by_hand, "model", "frequency", early_type="a")
    assert of_type["agreement"] == pytest.approx(0.2)


def test_several_seeds_are_averaged(fork):
    adata, model = fork
    other = model_of(adata, steps=2)
    options = {"vote": Vote(k=5, draws=3), **TIMES}
    both = clonal_fates({"m": [model, other]}, adata, **options)["m"]
    one = clonal_fates({"m": model}, adata, **options)["m"]
    two = clonal_fates({"m": other}, adata, **options)["m"]
    np.testing.assert_allclose(both, (one + two) / 2)


class Growing:
    """A fitted model whose simulated cells stand for so many descendants, by their place."""

    def __init__(self, model, descendants):
        self.model, self.descendants, self.starts = model, descendants, model.starts

    def sample(self, *arguments, **options):
        cells = self.model.sample(*arguments, **options)
        cells.obs["weight"] = self.descendants(cells.obsm["X_scimf"])
        return cells


def test_an_end_counts_as_many_times_as_cells_come_to_it(fork):
    adata = branches(hidden=True)
    vote = Vote(k=5, draws=5)
    model = model_of(adata)
    grows = {
        "plain": [model],
        "alike": [Growing(model, lambda x: np.ones(len(x)))],
        "right": [Growing(model, lambda x: np.where(x[:, 0] > 0, 3.0, 1.0))],
    }
    found = clonal_fates(grows, adata, vote=vote, **TIMES)
    pd.testing.assert_frame_equal(found["plain"], found["alike"], check_exact=True)
    right = found["plain"]["right"]
    odds = right / (1 - right)
    np.testing.assert_allclose(found["right"]["right"], 3 * odds / (1 + 3 * odds), atol=0.1)


def test_types_that_are_no_fate_are_left_out(fork):
    vote = Vote(k=5, draws=3, leave_out=("right",))
    found = clonal_fates({"m": fork[1]}, fork[0], vote=vote, **TIMES)["m"]
    assert list(found.columns) == ["left"] and len(found) == N_CLONES // 2


def test_what_is_missing_is_named(fork, fates):
    adata, model = fork
    with pytest.raises(KeyError, match="X_clone"):
        clonal_fates({"m": model}, ad.AnnData(adata.X, obs=adata.obs), **TIMES)
    no_fate = Vote(leave_out=("left", "right"))
    with pytest.raises(ValueError, match="no clone was measured at time 0"):
        clonal_fates({"m": model}, adata, vote=no_fate, **TIMES)
    with pytest.raises(ValueError, match="no clone of 'nerve'"):
        fate_scores(fates, early_type="nerve")
