"""The closed form finds laws it can write down, and leaves populations out exactly."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from scimf import who_moves_whom
from scimf.interaction.regression import _integral
from scimf.interaction.type_means import TypeSnapshots
from scimf.interaction.weak_form import _choose_penalties, fit_weak_form
from scimf.simulate.systems import typed

WIDTHS = (0.5, 2.0)
SIZES = {"n_populations": 8, "n_cells": 40, "n_types": 3, "dim": 3, "active": 0.5}


@pytest.fixture(scope="module")
def data():
    adata = typed(seed=1, **SIZES)
    adata.obsm["X_scimf"] = np.asarray(adata.X, float)
    return adata


@pytest.fixture(scope="module")
def fitted(data):
    return fit_weak_form(TypeSnapshots.of(data), widths=WIDTHS)


def law(push, *, n_populations=12, n_cells=30, seed=0):
    """Means of A that follow ``push(sent by B, from A to B)``; all cells of a type are one point.

    By small steps, so that the trapezoid over an interval is nearly exact.
    """
    rng = np.random.default_rng(seed)
    times = np.arange(0.0, 2.01, 0.25)
    n_b = rng.integers(6, n_cells - 6, size=n_populations)
    density = rng.uniform(0.5, 2.0, size=n_populations)
    a = np.tile([0.0, 0.0], (n_populations, 1))
    b = np.tile([2.0, 1.0], (n_populations, 1))
    sent = (density * n_b / n_cells)[:, None]
    obs, places = [], []
    for k, time in enumerate(times):
        for _ in range(100 if k else 0):
            a = a + 0.0025 * (0.3 - 0.4 * a + push(sent, b - a))
            b = b - 0.0025 * 0.2 * b
        for p in range(n_populations):
            kinds = np.repeat(["A", "B"], [n_cells - n_b[p], n_b[p]])
            columns = {"time": time, "population": f"p{p:02d}", "density": density[p]}
            obs.append(pd.DataFrame(columns | {"cell_type": kinds}))
            places.append(np.where((kinds == "A")[:, None], a[p], b[p]))
    obs = pd.concat(obs, ignore_index=True)
    obs.index = obs.index.astype(str)
    noise = 1e-3 * rng.standard_normal((len(obs), 2))
    return ad.AnnData(obs=obs, obsm={"X_scimf": np.concatenate(places) + noise})


def test_a_pull_towards_the_sender_is_found_with_its_strength():
    found = who_moves_whom(law(lambda sent, way: 0.7 * sent * way), widths=(50.0,))
    strength = found.matrix()
    assert found.errors.idxmin() == "towards"
    np.testing.assert_allclose(strength.loc["A", "B"], 0.7, atol=0.02)
    assert abs(strength.loc["B", "A"]) < 0.02
    own, _ = found.model.own()
    np.testing.assert_allclose(own[0], [0.3, 0.3], atol=0.03)


def test_a_push_along_a_direction_of_its_own_is_told_from_a_pull():
    across = np.array([1.0, -1.0])
    found = who_moves_whom(law(lambda sent, way: sent * across), widths=(50.0,))
    assert found.errors.idxmin() in ("free", "count")
    assert found.errors["free"] < 0.2 * found.errors["towards"]
    moved = found.model.received()[:, :, 0, 1].mean((0, 1))
    np.testing.assert_allclose(moved / np.linalg.norm(moved), across / np.sqrt(2), atol=0.05)


def test_an_answer_that_needs_many_senders_is_told_by_their_count():
    across = np.array([1.0, -1.0])

    def many(sent, way):
        return sent**2 / (0.6**2 + sent**2) * across

    found = who_moves_whom(law(many, n_populations=24), widths=(50.0,))
    assert found.errors["count"] < found.errors["free"]


@pytest.mark.parametrize("grown", [0.0, 1e-6, 0.4, -2.0])
def test_what_grows_between_two_times_is_integrated(grown):
    """A line times an exponential, against small steps; without growth the trapezoid."""
    gap, start, end = 0.5, np.array([1.0, -2.0]), np.array([3.0, 0.5])
    place = (np.arange(100_000) + 0.5)[:, None] / 100_000
    exact = gap * (np.exp(grown * place) * (start + place * (end - start))).mean(0)
    values = np.stack([start, np.exp(grown) * end])
    found = _integral(values, np.array([gap]), np.array([grown]))
    np.testing.assert_allclose(found, exact[None], rtol=1e-4)
    plain = _integral(values, np.array([gap]))
    assert np.allclose(plain, exact, rtol=1e-4) == (abs(grown) < 1e-3)


def test_left_out_means_fitted_without(fitted):
    equations = fitted.equations[0]
    plain = [equations.rows.x, equations.rows.y]
    total = 0.0
    for p in range(len(equations.rows.x)):
        x = np.concatenate([rows for k, rows in enumerate(plain[0]) if k != p])
        y = np.concatenate([rows for k, rows in enumerate(plain[1]) if k != p])
        n = equations.rows.n_rows
        each = np.repeat([1e-6, fitted.penalties[1], fitted.penalties[0]], equations.rows.columns)
        fit = np.linalg.solve(x.T @ x + n * np.diag(each), x.T @ y)
        total += ((plain[1][p] - plain[0][p] @ fit) ** 2).sum()
    np.testing.assert_allclose(equations.errors_left_out(fitted.penalties).sum(), total, rtol=1e-6)


def test_a_weight_of_zero_is_a_population_less(data, fitted):
    equations = fitted.equations[1]
    weights = np.ones(len(equations.gram))
    weights[2] = 0
    solved = equations.solve(fitted.penalties, weights)
    kept = [k for k in range(len(equations.gram)) if k != 2]
    assert not np.allclose(solved, equations.solve(fitted.penalties))
    without = type(equations)(
        equations.rows,
        equations.scale,
        equations.gram[kept],
        equations.right[kept],
        equations.noise_gram[kept],
        equations.noise_right[kept],
    )
    np.testing.assert_allclose(without.solve(fitted.penalties), solved, rtol=1e-8)


def test_noise_that_is_taken_off_makes_strengths_larger(data):
    snapshots = TypeSnapshots.of(data)
    fitted = fit_weak_form(snapshots, widths=WIDTHS)
    as_if_exact = []
    for equations in fitted.equations:
        silent = np.zeros_like(equations.noise_gram), np.zeros_like(equations.noise_right)
        exact = type(equations)(
            equations.rows, equations.scale, equations.gram, equations.right, *silent
        )
        as_if_exact.append(exact.solve(fitted.penalties))
    edges = data.uns["scimf"]["truth"]["type_matrix"] != 0
    with_noise = np.abs(fitted.strengths(np.stack(as_if_exact)))[edges].mean()
    assert np.abs(fitted.strengths())[edges].mean() > with_noise


def test_the_same_cells_in_another_order_give_the_same_answer(data):
    # Cells of one group are drawn again by their place in it, so these keep their order.
    group = data.obs.groupby(["time", "population", "cell_type"], observed=True).ngroup()
    key = np.random.default_rng(0).permutation(group.max() + 1)[group]
    order = np.argsort(key, kind="stable")
    first = who_moves_whom(data, form="towards", permutations=19)
    again = who_moves_whom(data[order].copy(), form="towards", permutations=19)
    pd.testing.assert_frame_equal(first.table, again.table)
    for one, other in zip(first.drift(data), again.drift(data[order]), strict=True):
        np.testing.assert_allclose(one[order], other)


def test_drift_is_own_and_received(data):
    found = who_moves_whom(data, form="towards", permutations=1)
    own, heard = found.drift(data)
    cell = int(np.flatnonzero(data.obs["cell_type"] == "B")[5])
    constant, matrix = found.model.own()
    x = np.asarray(data.obsm["X_scimf"])[cell]
    np.testing.assert_allclose(own[cell], constant[1] - matrix[1] @ x)
    snapshots = found.model.snapshots
    t = snapshots.times.tolist().index(data.obs["time"].iloc[cell])
    p = snapshots.populations.index(data.obs["population"].iloc[cell])
    np.testing.assert_allclose(heard[cell], found.model.received()[t, p, 1].sum(0))


def test_what_moves_genes_goes_through_the_loadings(data):
    from scimf.data.space import Space

    found = who_moves_whom(data, form="towards", permutations=1)
    loadings = np.linalg.qr(np.random.default_rng(0).standard_normal((5, 3)))[0].T
    names = tuple(f"g{k}" for k in range(5))
    scale = np.arange(1.0, 6.0)
    space = Space("lognorm", names, names, np.ones(5), scale, loadings)
    genes = found.moved_genes(space)
    snapshots = found.model.snapshots
    received = found.model.received()[:, :, 0, 1]
    mean = np.average(received.reshape(-1, 3), axis=0, weights=snapshots.count[:, :, 0].ravel())
    np.testing.assert_allclose(genes.loc[("A", "B")], mean @ loadings * scale, atol=1e-5)


def test_kernels_are_drawn_by_distance(data):
    found = who_moves_whom(data, form="towards", permutations=1, widths=WIDTHS)
    beta = found.model.interaction(found.model.coefficients).reshape(3, 3, -1)
    np.testing.assert_allclose(found.kernels["A <- B"].iloc[0], beta[0, 1].sum())
    assert found.widths_from == "as given"
    assert who_moves_whom(data, form="free", permutations=1).kernels.empty


def test_few_populations_get_no_p_value_and_one_is_refused(data):
    few = data[data.obs["population"].isin(["p00", "p01", "p02"])].copy()
    table = who_moves_whom(few, permutations=9).table
    assert table[["p", "q"]].isna().all(axis=None)
    assert table[["strength", "lo", "hi"]].notna().all(axis=None)
    one = data[data.obs["population"] == "p00"].copy()
    with pytest.raises(ValueError, match="one population"):
        who_moves_whom(one)
    with pytest.raises(ValueError, match="form='sideways', expected"):
        who_moves_whom(data, form="sideways")


def test_a_rare_type_is_named(data):
    kinds = data.obs["cell_type"].astype(str).to_numpy()
    kinds[:2] = "rare one"
    rare = data.copy()
    rare.obs["cell_type"] = kinds
    with pytest.raises(ValueError, match="'rare one' is too rare"):
        who_moves_whom(rare)


def test_own_drifts_are_as_simple_as_predictions_allow():
    """A stronger penalty on matrices is taken if it is as good to one standard error."""

    class Equations:
        rows = type("Rows", (), {"populations": np.arange(4)})()

        def __init__(self, of_simple):
            self.of_simple = np.array(of_simple)

        def errors_left_out(self, penalties):
            simple = self.of_simple if penalties[1] == 10.0 else np.array([5.0, 5.0, 5.0, 9.0])
            return np.ones(4) if penalties == (1e-3, 1e-2) else simple

    as_good, error = _choose_penalties([Equations([1.0, 1.0, 1.0, 1.4])], 4)
    assert as_good[1] == 10.0 and error == pytest.approx(4.4)
    worse, error = _choose_penalties([Equations([1.3, 1.4, 1.3, 1.4])], 4)
    assert worse == (1e-3, 1e-2) and error == 4.0
