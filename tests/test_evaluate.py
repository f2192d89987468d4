import numpy as np
import pytest

from scimf.baselines import BASELINES, mixture, ot_interpolation
from scimf.evaluate import METRICS, evaluate, interval, skill
from scimf.preprocess import hold_out
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
