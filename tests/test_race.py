"""The race to the same score runs at a small size, prices what it does not run, and compares as it says."""

import json

import pytest
import torch

from scimf import race
from scimf.scoreboard import BOARDS
from scimf.sde import published


@pytest.fixture(scope="module")
def setup():
    board = BOARDS["toy"]
    return race.inner_setup(next(race.setups(board, race.scimf.load(board.dataset, **board.options))), board.n_pcs)


def test_nothing_of_a_held_out_time_takes_part():
    for name in race.RACES:
        assert BOARDS[race.RACES[name]].protocol == "leave_one_out"
    inner = race.inner_problem("typed")
    (outer,) = BOARDS["typed"].setups
    assert not set(inner.adata.obs["time"]) & set(outer) and set(inner.split.held_times) < set(inner.adata.obs["time"])


def test_the_engine_takes_the_gradients_that_are_written_out(setup):
    config, found = published(dropout=0.0, sigma=1e-6, kinetic_weight=1.0), []
    for how in ("by_engine", "written_out"):
        training = race.PublishedTraining(setup, 0, config)
        getattr(training, how)()
        found.append(torch.cat([p.grad.flatten() for p in training.sde.parameters()]))
    assert len(training.train.density) > 1
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-4 * float(found[0].abs().max()))


def test_a_race_says_who_was_first_and_goes_on_where_it_was(setup, tmp_path, monkeypatch):
    monkeypatch.setattr(race, "others_busy", lambda since=None: (0.0, None))
    small = {"steps": 3, "lengths": (2, 4), "config": published(batch_cells=8)}
    found = race.race(setup, range(2), tmp_path, **small)
    (theirs, _), (ours, _) = found["curves"]["published"], found["curves"]["ours"]
    assert [p["steps"] for p in theirs] == [1, 2, 3] and [p["steps"] for p in ours] == [2, 4]
    assert found["n_seeds"] == 2 and {"floor", "copy_previous", "mixture"} < set(found)
    json.dumps(found, allow_nan=False)
    (tmp_path / "ours_1.json").unlink()
    assert race.race(setup, range(2), tmp_path, **small)["curves"]["published"] == found["curves"]["published"]


@pytest.mark.parametrize(("busy", "is_kept"), [(0.3, True), (1.2, False), (float("nan"), True)])
def test_what_was_measured_on_a_busy_machine_is_not_kept(tmp_path, monkeypatch, busy, is_kept):
    monkeypatch.setattr(race, "others_busy", lambda since=None: (busy, None))
    path = tmp_path / "deep" / "curve.json"
    assert race.kept(path, lambda: [1.5]) == [1.5] and path.is_file() == is_kept
    assert race.kept(path, lambda: [2.5]) == ([1.5] if is_kept else [2.5])


def curve(*points):
    keys = ("steps", "seconds", "forward_seconds", "engine_seconds", "score", "forward_score")
    return [dict(zip(keys, (k, s, s / 2, s, score, score + 1), strict=True)) for k, s, score in points]


def test_the_published_training_keeps_its_best_score():
    theirs = curve((1, 1, 5.0), (2, 2, 3.0), (4, 4, 4.0))
    found = race.time_to_quality([theirs] * 2, [curve((10, 1, 3.5), (20, 2, 3.0)), curve((10, 1, 2.0))], 10.0)
    assert found["speedup"] == {"median": 15.0, "min": 10.0, "max": 20.0}
    assert found["published_seconds"]["median"] == 20 and found["seconds"] == {"median": 1.5, "min": 1, "max": 2}
    assert found["score_difference"]["mean"] == pytest.approx(-0.5)
    assert found["forward_speedup"]["min"] == 0 and found["forward_seconds"] is None
