"""Held-out tables: floors, baselines, names and seeds, draws, genes, samples that are refused."""

import re

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import scimf
from scimf.core import paths
from scimf.data.space import Space, fit_space
from scimf.data.split import hold_out
from scimf.evaluation.baselines import BASELINES
from scimf.evaluation.held_out import GENE_METRICS, METRICS, Scoring, evaluate

FEW = Scoring(draws=3, metrics=("energy_distance", "cost_of_mean"))
COLUMNS = ["population", "time", "kind", "method", "seed", "metric", "value", "n"]


def held_out_cells(tiny):
    adata, split, _ = tiny
    return adata[split.held_mask(adata)].copy()


def test_truth_scores_like_the_floor_and_baselines_are_present(tiny):
    adata, split, _ = tiny
    table = evaluate(held_out_cells(tiny), adata, split)
    assert list(table.columns) == COLUMNS
    assert set(table["metric"]) == set(METRICS)
    held_time = table[table["kind"] == "time"]
    defined = {*BASELINES} - {"other_populations"}
    assert set(held_time["method"]) == {"floor", "floor_stratified", "model", *defined}
    energy = table[table["metric"] == "energy_distance"].groupby("method")["value"].mean()
    assert energy["model"] < energy["copy_previous"]
    assert abs(energy["floor"]) < energy["copy_previous"]
    composition = table[table["kind"] == "population"]
    assert set(composition["population"]) == {"p04"}
    assert set(composition["time"]) == {1.0, 2.0, 3.0, 4.0}


def test_sizes_match_within_a_row(tiny):
    adata, split, _ = tiny
    table = evaluate(held_out_cells(tiny), adata, split, scoring=Scoring(n=7))
    assert set(table.loc[table["method"] != "floor_stratified", "n"]) == {7}
    assert set(table["n"]) <= {6, 7, 8}  # whole cells of every type


def test_evaluate_repeats(tiny):
    adata, split, _ = tiny
    samples = held_out_cells(tiny)
    assert evaluate(samples, adata, split).equals(evaluate(samples, adata, split))


def test_shape_and_mean_are_scored_apart(tiny):
    adata, split, _ = tiny
    moved = held_out_cells(tiny)
    moved.obsm["X_scimf"] = moved.obsm["X_scimf"] + 5
    table = evaluate(moved, adata, split).groupby(["method", "metric"])["value"].mean()
    assert table["model", "centred_energy"] < 0.1 < table["model", "cost_of_mean"]
    energy = table["model", "energy_distance"]
    assert energy == pytest.approx(table["model", "cost_of_mean"], rel=0.1)


def test_draws_are_kept_apart_and_workers_change_nothing(tiny):
    adata, split, _ = tiny
    problem = (held_out_cells(tiny), adata, split)
    apart = evaluate(*problem, scoring=Scoring(draws=3), per_draw=True)
    assert list(apart.columns) == [*COLUMNS, "draw"]
    assert set(apart["draw"]) == {0, 1, 2}
    side_by_side = evaluate(*problem, scoring=Scoring(draws=3), per_draw=True, workers=2)
    pd.testing.assert_frame_equal(apart, side_by_side)
    mean = evaluate(*problem, scoring=Scoring(draws=3))
    keys = ["population", "time", "method", "metric"]
    expected = apart.groupby(keys)["value"].mean()
    np.testing.assert_allclose(mean.set_index(keys)["value"].sort_index(), expected.sort_index())


def test_unknown_metric_is_refused():
    with pytest.raises(ValueError, match="metrics: unknown"):
        Scoring(metrics=("w3",))


def test_unknown_held_out_time_is_refused(tiny):
    with pytest.raises(ValueError, match="times"):
        hold_out(tiny[0], times=[17.0])


# ------------------------------------------------------------------------------ names and seeds


def test_samples_named_by_method_and_seed_have_both_as_columns(tiny):
    adata, split, _ = tiny
    cells = held_out_cells(tiny)
    moved = cells.copy()
    moved.obsm["X_scimf"] = moved.obsm["X_scimf"] + 2
    samples = {("ours", 0): cells, ("ours", 1): moved, ("other", 0): moved, "plain": cells}
    table = evaluate(samples, adata, split, scoring=FEW)
    assert list(table.columns) == COLUMNS
    assert table["seed"].dtype == "Int64"
    seeds = {}
    for method, part in table.groupby("method"):
        seeds[method] = set(part["seed"].dropna())
    assert seeds.pop("ours") == {0, 1} and seeds.pop("other") == {0}
    assert {"plain", "floor", "floor_stratified", "mixture"} < set(seeds)
    assert not any(seeds.values())
    energy = table[table["metric"] == "energy_distance"].groupby(["method", "seed"])["value"].mean()
    assert energy["ours", 0] < 1 < energy["ours", 1]  # seeds are not averaged


def test_a_method_and_seed_draw_the_same_cells_as_both_in_one_name(tiny):
    adata, split, _ = tiny
    cells = held_out_cells(tiny)
    apart = evaluate({("ours", 3): cells}, adata, split, scoring=FEW, per_draw=True)
    joined = evaluate({"ours 3": cells}, adata, split, scoring=FEW, per_draw=True)
    assert set(joined["method"]) - set(apart["method"]) == {"ours 3"}
    np.testing.assert_array_equal(apart["value"], joined["value"])
    other = evaluate({("ours", 4): cells}, adata, split, scoring=FEW, per_draw=True)
    mine = apart["method"] == "ours"
    assert not np.isclose(apart["value"][mine], other["value"][mine]).any()
    np.testing.assert_array_equal(apart["value"][~mine], other["value"][~mine])


def test_every_score_of_a_seed_is_a_row_of_its_own_in_every_draw(tiny):
    adata, split, _ = tiny
    samples = {("ours", seed): held_out_cells(tiny) for seed in range(2)}
    table = evaluate(samples, adata, split, scoring=FEW, baselines={}, per_draw=True)
    rows = table[table["method"] == "ours"]
    keys = ["population", "time", "seed", "metric", "draw"]
    assert not rows.duplicated(keys).any()
    n_snapshots = len(rows[["population", "time"]].drop_duplicates())
    assert len(rows) == n_snapshots * 2 * len(FEW.metrics) * FEW.draws


def test_a_name_with_a_seed_is_shown_in_errors(tiny):
    adata, split, _ = tiny
    cells = held_out_cells(tiny)
    cells.obs["time"] = 99.0
    with pytest.raises(ValueError, match=r"samples \('ours', 2\): p00 at 99 was not held out"):
        evaluate({("ours", 2): cells}, adata, split)


# ----------------------------------------------------------------------- samples that are refused

BAD = {
    "dim": "dimensions",
    "nan": "NaN",
    "time": 'obs\\["time"\\]',
    "nowhere": "p00 at 99 was not held out",
    "population": 'obs\\["population"\\] is missing',
}


@pytest.mark.parametrize("fault, message", BAD.items())
def test_bad_samples_are_refused(tiny, fault, message):
    adata, split, _ = tiny
    samples = held_out_cells(tiny)
    if fault == "dim":
        samples.obsm["X_scimf"] = samples.obsm["X_scimf"][:, :2]
    elif fault == "nan":
        samples.obsm["X_scimf"][0] = np.nan
    elif fault == "nowhere":
        samples.obs["time"] = 99.0
    else:
        del samples.obs[fault]
    with pytest.raises(ValueError, match=message):
        evaluate(samples, adata, split)


def test_times_may_be_off_by_rounding(tiny):
    adata, split, _ = tiny
    samples = held_out_cells(tiny)
    table = evaluate(samples, adata, split, scoring=FEW)
    samples.obs["time"] = samples.obs["time"] * (1 + 1e-8)
    pd.testing.assert_frame_equal(table, evaluate(samples, adata, split, scoring=FEW))


def test_too_few_held_out_cells_are_refused():
    obs = pd.DataFrame({"time": np.repeat([0.0, 1.0, 2.0], [8, 3, 8])})
    obs.index = [f"c{i}" for i in range(19)]
    adata = ad.AnnData(np.zeros((19, 2), np.float32), obs=obs)
    adata.obsm["X_scimf"] = np.random.default_rng(0).normal(size=(19, 2))
    split = hold_out(adata, times=[1.0])
    with pytest.raises(ValueError, match="time 1: 3 held-out cells; a floor needs at least 4"):
        evaluate(np.zeros((5, 2)), adata, split)


# ---------------------------------------- predictions of other tools: arrays, genes, other names


@pytest.fixture
def counted():
    """Counts of 60 genes at times 0, 1, 2; time 1 is held out."""
    rng = np.random.default_rng(0)
    time = np.repeat([0.0, 1.0, 2.0], 40)
    rate = rng.gamma(2, 2, size=60) * np.exp(0.3 * time[:, None] * rng.normal(size=60))
    names = [f"g{k}" for k in range(60)]
    obs = pd.DataFrame({"time": time}, index=[f"c{i}" for i in range(120)])
    adata = ad.AnnData(rng.poisson(rate).astype(np.float32), obs=obs, var=pd.DataFrame(index=names))
    adata.uns["scimf"] = {"form": "counts"}
    split = hold_out(adata, times=[1.0])
    return adata, split, fit_space(adata, split, n_pcs=5)


def of_other_tool(adata, n_genes=60):
    """Forty cells with genes and a time, and nothing else."""
    part = adata[:40, :n_genes]
    obs = pd.DataFrame({"time": np.ones(40)}, index=[f"theirs{i}" for i in range(40)])
    return ad.AnnData(part.X, obs=obs, var=part.var)


def test_an_array_is_scored_where_one_snapshot_is_held_out(tiny, counted):
    adata, split, _ = counted
    table = evaluate(adata.obsm["X_scimf"][:40], adata, split)
    named = adata[:40].copy()
    named.obs["time"] = 1.0
    pd.testing.assert_frame_equal(table, evaluate(named, adata, split))
    with pytest.raises(ValueError, match="one held-out snapshot"):
        evaluate(np.zeros((5, 4)), *tiny[:2])


def test_samples_with_genes_are_encoded_and_scored_in_gene_space(counted):
    adata, split, space = counted
    table = evaluate(of_other_tool(adata), adata, split, space)
    value = table.set_index(["method", "metric"])["value"]
    assert {metric for _, metric in value.index} == {*METRICS, *GENE_METRICS}
    copied = value.loc["copy_previous"]
    assert value["model", "gene_mean_error"] == pytest.approx(copied["gene_mean_error"], rel=0.3)
    assert value["floor", "gene_sinkhorn"] < value["model", "gene_sinkhorn"]


PREDICTED = {  # how a prediction of counts is handed over, and whether it says what it is
    "counts": (lambda x: x, None),
    "log1p to 10,000": (lambda x: np.log1p(x / x.sum(1, keepdims=True) * 1e4), None),
    "log1p to another sum": (lambda x: np.log1p(x / x.sum(1, keepdims=True) * 77), None),
    "log1p, as it says": (lambda x: np.log1p(x / x.sum(1, keepdims=True) * 1e4), "lognorm"),
    "mean counts, as it says": (lambda x: x * 1.5, "counts"),
}


@pytest.mark.parametrize(("change", "form"), PREDICTED.values(), ids=PREDICTED)
def test_predictions_are_normalised_once(counted, change, form):
    adata, split, space = counted
    theirs = of_other_tool(adata)
    expected = evaluate(theirs, adata, split, space, scoring=FEW)
    theirs.X = change(theirs.X)
    if form is not None:
        theirs.uns["scimf"] = {"form": form}
    table = evaluate(theirs, adata, split, space, scoring=FEW)
    np.testing.assert_allclose(table["value"], expected["value"], atol=1e-4)


def test_predictions_that_may_be_counts_or_logarithms_are_asked_about(counted):
    adata, split, space = counted
    theirs = of_other_tool(adata)
    theirs.X = np.log1p(theirs.X * np.random.default_rng(0).uniform(0.5, 1, theirs.shape))
    with pytest.raises(ValueError, match=r"samples 'model': X holds fractions up to .*'form'"):
        evaluate(theirs, adata, split, space)


def test_counts_are_no_prediction_of_log_normalised_values(counted):
    counts, split, _ = counted
    theirs = of_other_tool(counts)
    adata = counts.copy()
    adata.X = np.log1p(adata.X / adata.X.sum(1, keepdims=True) * 1e4)
    adata.uns["scimf"] = {"form": "lognorm"}
    space = fit_space(adata, split, n_pcs=5)
    with pytest.raises(ValueError, match="samples 'model': X: counts, expected log-normalised"):
        evaluate(theirs, adata, split, space)


def test_counts_that_bring_coordinates_are_normalised_in_gene_space(counted):
    adata, split, space = counted
    truth = adata[split.held_mask(adata)].copy()
    table = evaluate(truth, adata, split, space, scoring=FEW)
    value = table.set_index(["method", "metric"])["value"]
    assert value["model", "gene_mean_error"] < 1.5 * value["floor", "gene_mean_error"]


def test_wrong_genes_are_named(counted):
    adata, split, space = counted
    theirs = of_other_tool(adata, n_genes=50)
    message = r"samples 'model': var_names: 10 of 60 are missing, such as \['g50'"
    with pytest.raises(ValueError, match=message):
        evaluate(theirs, adata, split, space)
    with pytest.raises(ValueError, match="space="):
        evaluate(theirs, adata, split)


def test_gene_scores_of_a_shifted_cloud_are_those_of_the_shift():
    """Two genes; all held-out cells in one place, and the prediction moved by (3, 4)."""
    obs = pd.DataFrame(
        {"time": np.repeat([0.0, 1.0, 2.0], 40)}, index=[f"c{i}" for i in range(120)]
    )
    x = np.random.default_rng(0).normal(scale=1e-3, size=(120, 2)).astype(np.float32)
    adata = ad.AnnData(x, obs=obs, var=pd.DataFrame(index=["a", "b"]), obsm={"X_scimf": x})
    genes = ("a", "b")
    space = Space("lognorm", genes, genes, np.zeros(2), np.ones(2), np.eye(2))
    moved = adata[adata.obs["time"] == 1.0].copy()
    moved.X = moved.X + np.array([3.0, 4.0], np.float32)
    table = evaluate(moved, adata, hold_out(adata, times=[1.0]), space, scoring=Scoring(draws=1))
    value = table[table["method"] == "model"].set_index("metric")["value"]
    assert value["gene_sinkhorn"] == pytest.approx(12.5, rel=0.02)  # half of 3 squared + 4 squared
    assert value["gene_mean_error"] == pytest.approx(3.5, rel=0.01)
    assert value["gene_variance_error"] < 1e-4


def test_five_lines_that_score_a_method_of_ones_own(capsys):
    text = (paths.ROOT / "docs" / "YOURS.md").read_text(encoding="utf-8")
    lines = re.search(r"in five lines\n\n```python\n(.*?)```", text, re.DOTALL)[1]
    assert len(lines.strip().splitlines()) == 5
    exec(lines, {"scimf": scimf})
    assert "model" in capsys.readouterr().out
