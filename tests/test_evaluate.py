import re

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import scimf
from scimf import baselines, paths
from scimf.baselines import BASELINES, mixture, ot_interpolation
from scimf.evaluate import GENE_METRICS, METRICS, evaluate, interval, skill
from scimf.preprocess import fit_space, hold_out
from scimf.snapshots import Snapshots


def test_truth_scores_like_the_floor_and_baselines_are_present(tiny):
    adata, split, _ = tiny
    truth = adata[split.held_mask(adata)].copy()
    table = evaluate(truth, adata, split)
    assert set(table["metric"]) == set(METRICS)
    held_time = table[table["kind"] == "time"]
    assert set(held_time["method"]) == {"floor", "floor_stratified", "model", *BASELINES} - {"other_populations"}
    energy = table[table["metric"] == "energy_distance"].groupby("method")["value"].mean()
    assert energy["model"] < energy["copy_previous"] and abs(energy["floor"]) < energy["copy_previous"]
    composition = table[table["kind"] == "population"]
    assert set(composition["population"]) == {"p04"} and set(composition["time"]) == {1.0, 2.0, 3.0, 4.0}


def test_sizes_match_within_a_row(tiny):
    adata, split, _ = tiny
    table = evaluate(adata[split.held_mask(adata)].copy(), adata, split, n=7)
    assert set(table.loc[table["method"] != "floor_stratified", "n"]) == {7}
    assert set(table["n"]) <= {6, 7, 8}  # whole cells of every type


def test_evaluate_repeats(tiny):
    adata, split, _ = tiny
    samples = adata[split.held_mask(adata)].copy()
    first, second = evaluate(samples, adata, split), evaluate(samples, adata, split)
    assert first.equals(second)


BAD = {"dim": "dimensions", "nan": "NaN", "time": 'obs\\["time"\\]', "nowhere": "p00 at 99 was not held out"}


@pytest.mark.parametrize("fault, message", BAD.items())
def test_bad_samples_are_refused(tiny, fault, message):
    adata, split, _ = tiny
    samples = adata[split.held_mask(adata)].copy()
    if fault == "dim":
        samples.obsm["X_scimf"] = samples.obsm["X_scimf"][:, :2]
    elif fault == "nan":
        samples.obsm["X_scimf"][0] = np.nan
    elif fault == "time":
        del samples.obs["time"]
    else:
        samples.obs["time"] = 99.0
    with pytest.raises(ValueError, match=message):
        evaluate(samples, adata, split)


def test_mixture_and_interpolation_by_hand():
    key = ("all", 0.0), ("all", 4.0)
    cells = {key[0]: np.zeros((8, 1)), key[1]: np.full((8, 1), 4.0)}
    starts = Snapshots(cells, {}, {"all": 1.0})
    rng = np.random.default_rng(0)
    assert sorted(mixture(starts, "all", 1.0, 8, rng).ravel()) == [0] * 6 + [4] * 2
    assert np.allclose(ot_interpolation(starts, "all", 1.0, 8, rng), 1.0)
    assert mixture(starts, "all", 5.0, 8, rng) is None


def test_interval_is_the_t_interval():
    result = interval([1.0, 2.0, 3.0])
    assert result["mean"] == 2 and result["n_seeds"] == 3
    assert result["hi"] - result["mean"] == pytest.approx(4.3027 / 3**0.5, rel=1e-3)


def test_skill_is_one_at_the_floor_and_zero_at_the_baseline():
    assert skill(0.1, 0.5, 0.1) == 1 and skill(0.5, 0.5, 0.1) == 0


def test_unknown_held_out_time_is_refused(tiny):
    with pytest.raises(ValueError, match="times"):
        hold_out(tiny[0], times=[17.0])


# --- predictions of other tools: arrays, other genes, other names


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
    mine = ad.AnnData(adata[:40].X, obs=pd.DataFrame({"time": np.ones(40)}), var=adata.var)
    table = evaluate(mine, adata, split, space).set_index(["method", "metric"])["value"]
    assert {m for _, m in table.index} == {*METRICS, *GENE_METRICS}
    copied = table.loc["copy_previous"]
    assert table["model", "gene_mean_error"] == pytest.approx(copied["gene_mean_error"], rel=0.3)
    assert table["floor", "gene_sinkhorn"] < table["model", "gene_sinkhorn"]


def test_wrong_genes_are_named(counted):
    adata, split, space = counted
    mine = ad.AnnData(adata[:40, :50].X, obs=pd.DataFrame({"time": np.ones(40)}), var=adata[:, :50].var)
    with pytest.raises(ValueError, match=r"samples 'model': var_names: 10 of 60 are missing, such as \['g50'"):
        evaluate(mine, adata, split, space)
    with pytest.raises(ValueError, match="space="):
        evaluate(mine, adata, split)


def test_shape_and_mean_are_scored_apart(tiny):
    adata, split, _ = tiny
    moved = adata[split.held_mask(adata)].copy()
    moved.obsm["X_scimf"] = moved.obsm["X_scimf"] + 5
    table = evaluate(moved, adata, split).groupby(["method", "metric"])["value"].mean()
    assert table["model", "centred_energy"] < 0.1 < table["model", "cost_of_mean"]
    assert table["model", "energy_distance"] == pytest.approx(table["model", "cost_of_mean"], rel=0.1)


def test_draws_are_kept_apart_and_workers_change_nothing(tiny):
    adata, split, _ = tiny
    samples = adata[split.held_mask(adata)].copy()
    apart = evaluate(samples, adata, split, draws=3, per_draw=True)
    assert set(apart["draw"]) == {0, 1, 2}
    pd.testing.assert_frame_equal(apart, evaluate(samples, adata, split, draws=3, per_draw=True, workers=2))


def test_five_lines_of_the_readme(capsys):
    text = (paths.ROOT / "README.md").read_text(encoding="utf-8")
    lines = re.search(r"in five lines\n\n```python\n(.*?)```", text, re.DOTALL)[1]
    assert len(lines.strip().splitlines()) == 5
    exec(lines, {"scimf": scimf})
    assert "model" in capsys.readouterr().out


def test_unknown_metric_is_refused(tiny):
    adata, split, _ = tiny
    with pytest.raises(ValueError, match="metrics: unknown"):
        evaluate(adata[split.held_mask(adata)].copy(), adata, split, metrics=("w3",))


def test_trivial_predictions_by_hand():
    cells = {("all", t): np.full((6, 1), v) for t, v in ((0.0, 0.0), (1.0, 2.0), (4.0, 8.0))}
    starts, rng = Snapshots(cells, {}, {"all": 1.0}), np.random.default_rng(0)
    found = {name: f(starts, "all", 2.0, 6, rng) for name, f in BASELINES.items()}
    assert (
        np.all(found["copy_nearest"] == 2) and np.all(found["mean_shift"] == 4) and np.all(found["last_velocity"] == 4)
    )
    assert sorted(found["mixture_all"].ravel()) == [0, 0, 2, 2, 8, 8]
    assert found["other_populations"] is None
    assert baselines.last_velocity(starts, "all", 1.0, 6, rng) is None
    assert baselines.mean_shift(starts, "all", 5.0, 6, rng) is None
