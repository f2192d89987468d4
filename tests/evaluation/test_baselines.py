"""Trivial predictions by hand, and what becomes of replicates."""

import numpy as np
import pytest

from scimf.dynamics.snapshots import Snapshots
from scimf.evaluation.baselines import BASELINES, resample
from scimf.evaluation.summary import interval


def line(values_at):
    """One population whose cells all lie at one place on a line at each time."""
    cells = {}
    for time, value in values_at.items():
        cells["all", time] = np.full((8, 1), value)
    return Snapshots(cells, {}, {"all": 1.0})


def test_mixture_and_interpolation_by_hand():
    starts = line({0.0: 0.0, 4.0: 4.0})
    rng = np.random.default_rng(0)
    mixed = BASELINES["mixture"](starts, "all", 1.0, 8, rng)
    assert sorted(mixed.ravel()) == [0] * 6 + [4] * 2
    assert np.allclose(BASELINES["ot_interpolation"](starts, "all", 1.0, 8, rng), 1.0)
    assert BASELINES["mixture"](starts, "all", 5.0, 8, rng) is None


def test_trivial_predictions_by_hand():
    starts, rng = line({0.0: 0.0, 1.0: 2.0, 4.0: 8.0}), np.random.default_rng(0)
    found = {}
    for name, baseline in BASELINES.items():
        found[name] = baseline(starts, "all", 2.0, 6, rng)
    assert np.all(found["copy_previous"] == 2)
    assert np.all(found["copy_nearest"] == 2)
    assert np.all(found["mean_shift"] == 4)
    assert np.all(found["last_velocity"] == 4)
    assert sorted(found["mixture_all"].ravel()) == [0, 0, 2, 2, 8, 8]
    assert found["other_populations"] is None
    assert BASELINES["last_velocity"](starts, "all", 1.0, 6, rng) is None
    assert BASELINES["mean_shift"](starts, "all", 5.0, 6, rng) is None
    assert BASELINES["copy_previous"](starts, "all", 0.0, 6, rng) is None


def test_other_populations_are_pooled_at_the_same_time():
    cells = {("a", 0.0): np.zeros((3, 1)), ("b", 1.0): np.ones((3, 1)), ("c", 1.0): np.ones((2, 1))}
    starts = Snapshots(cells, {}, {"a": 1.0, "b": 1.0, "c": 1.0})
    pooled = BASELINES["other_populations"](starts, "a", 1.0, 10, np.random.default_rng(0))
    assert pooled.shape == (10, 1) and np.all(pooled == 1)


def test_resampling_repeats_no_cell_before_all_were_drawn():
    cloud, rng = np.arange(5)[:, None], np.random.default_rng(0)
    assert len(np.unique(resample(cloud, 4, rng))) == 4
    counts = np.unique(resample(cloud, 12, rng), return_counts=True)[1]
    assert sorted(counts) == [2, 2, 2, 3, 3]
    assert resample(cloud, 0, rng).shape == (0, 1)


def test_interval_is_the_t_interval():
    result = interval([1.0, 2.0, 3.0])
    assert result["mean"] == 2 and result["n_seeds"] == 3
    assert result["hi"] - result["mean"] == pytest.approx(4.3027 / 3**0.5, rel=1e-3)
    assert result["mean"] - result["lo"] == pytest.approx(result["hi"] - result["mean"])
    assert interval([4.0]) == {"mean": 4.0, "n_seeds": 1}
