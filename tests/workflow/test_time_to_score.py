"""The comparison runs at a small size, prices what it does not run, and says who was first."""

import json
import math

import pytest
import torch
from evidence.boards import BOARDS
from evidence.setups import inner_setup, setups

import scimf
from scimf.dynamics.config import SDEConfig
from workflow.benchmarks import time_to_score
from workflow.benchmarks.published_training import PublishedTraining

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def setup():
    board = BOARDS["toy"]
    first = next(setups(board, scimf.load(board.dataset, **board.options)))
    return inner_setup(first, board.n_pcs)


def test_nothing_of_a_held_out_time_takes_part():
    for board in time_to_score.PROBLEMS.values():
        assert BOARDS[board].protocol == "leave_one_out"
    inner = time_to_score.inner_problem("typed")
    (outer,) = BOARDS["typed"].setups
    times = set(inner.adata.obs["time"])
    assert not times & set(outer)
    assert set(inner.split.held_times) < times


def test_the_engine_takes_the_gradients_that_are_written_out(setup):
    config = SDEConfig.paper(dropout=0.0, sigma=1e-6, kinetic_weight=1.0)
    found = []
    for how in ("by_engine", "written_out"):
        training = PublishedTraining(setup, 0, config)
        getattr(training, how)()
        found.append(torch.cat([weight.grad.flatten() for weight in training.sde.parameters()]))
    assert len(training.train.density) > 1
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-4 * float(found[0].abs().max()))


def test_training_repeats_and_leaves_the_random_state_of_the_caller(setup):
    found = []
    for k in range(2):
        torch.manual_seed(k)
        before = torch.get_rng_state()
        training = PublishedTraining(setup, 0, SDEConfig.paper(batch_cells=8, dropout=0.5))
        for _ in range(2):
            training.step(training.by_engine)
        assert torch.equal(torch.get_rng_state(), before)
        found.append(torch.cat([weight.flatten() for weight in training.sde.parameters()]))
    assert torch.equal(*found)


def test_a_comparison_says_who_was_first_and_goes_on_where_it_was(setup, tmp_path, monkeypatch):
    monkeypatch.setattr(time_to_score, "others_busy", lambda since: 0.0)
    small = {"steps": 3, "lengths": (2, 4), "config": SDEConfig.paper(batch_cells=8)}
    found = time_to_score.compare(setup, range(2), tmp_path, **small)
    theirs, _ = found["curves"]["published"]
    ours, _ = found["curves"]["ours"]
    assert [point["steps"] for point in theirs] == [1, 2, 3]
    assert [point["steps"] for point in ours] == [2, 4]
    assert found["n_seeds"] == 2
    assert {"floor", "copy_previous", "mixture"} < set(found)
    json.dumps(found, allow_nan=False)
    (tmp_path / "ours_1.json").unlink()
    again = time_to_score.compare(setup, range(2), tmp_path, **small)
    assert again["curves"]["published"] == found["curves"]["published"]


@pytest.mark.parametrize(("busy", "is_kept"), [(0.3, True), (1.2, False), (math.nan, True)])
def test_what_was_measured_on_a_busy_machine_is_not_kept(tmp_path, monkeypatch, busy, is_kept):
    monkeypatch.setattr(time_to_score, "others_busy", lambda since: busy)
    path = tmp_path / "deep" / "curve.json"
    assert time_to_score.kept(path, lambda: [1.5]) == [1.5]
    assert path.is_file() == is_kept
    assert time_to_score.kept(path, lambda: [2.5]) == ([1.5] if is_kept else [2.5])


def curve(*points):
    found = []
    for steps, seconds, score in points:
        found.append(
            {
                "steps": steps,
                "seconds": seconds,
                "forward_seconds": seconds / 2,
                "engine_seconds": seconds,
                "score": score,
                "forward_score": score + 1,
            }
        )
    return found


def test_the_published_training_keeps_its_best_score():
    theirs = curve((1, 1, 5.0), (2, 2, 3.0), (4, 4, 4.0))
    ours = [curve((10, 1, 3.5), (20, 2, 3.0)), curve((10, 1, 2.0))]
    found = time_to_score.time_to_quality([theirs] * 2, ours, 10.0)
    assert found["speedup"] == {"median": 15.0, "min": 10.0, "max": 20.0}
    assert found["published_seconds"]["median"] == 20
    assert found["seconds"] == {"median": 1.5, "min": 1, "max": 2}
    assert found["score_difference"]["mean"] == pytest.approx(-0.5)
    assert found["forward_speedup"]["min"] == 0
    assert found["forward_seconds"] is None
