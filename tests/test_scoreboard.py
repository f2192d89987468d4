from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from scimf import scoreboard, simulate
from scimf.preprocess import hold_out, only_neighbours

BOARD = scoreboard.Board("tiny", "typed", "leave_one_out", ((2.0,),), held_populations=1)


@pytest.fixture(scope="module")
def scored(tiny, tmp_path_factory):
    (setup,) = scoreboard.setups(BOARD, tiny[0])
    options = {"seeds": [0, 1], "peer_seeds": [0], "cache": tmp_path_factory.mktemp("fits"), "steps": 2, "workers": 1}
    samples = scoreboard.predict(setup, scoreboard.Choice(), **options)
    sizes = {"n": 10, "draws": 2, "transport_n": 5, "transport_draws": 1}
    return setup, samples, scoreboard.score_setup(setup, samples, workers=1, **sizes)


def test_every_method_predicts_every_held_out_snapshot(scored):
    setup, samples, _ = scored
    assert {name.split()[0] for name in samples} == set(scoreboard.LEARNED)
    for cells in samples.values():
        seen = set(zip(cells.obs["population"].astype(str), cells.obs["time"], strict=True))
        assert {("p00", 2.0), ("p04", 1.0), ("p04", 4.0)} <= seen and ("p00", 1.0) not in seen


def test_summary_has_floor_baselines_and_seeds(scored):
    table = scoreboard.summary(scored[2]).set_index(["method", "metric"])
    assert table.loc[("scimf", "w1"), "n_seeds"] == 2 and table.loc[("mixture", "w1"), "n_seeds"] == 0
    assert {"floor", "copy_previous", "schroedinger_bridge", *scoreboard.LEARNED} <= set(
        table.index.get_level_values(0)
    )
    assert (table["lo"] <= table["mean"]).all() and (table["mean"] <= table["hi"]).all()


def test_summary_gives_each_setup_and_kind_the_same_weight():
    rows = [("a", "time", "p", 1.0, 1.0), ("a", "time", "q", 1.0, 3.0), ("a", "population", "r", 1.0, 8.0)]
    rows += [("b", "time", "p", 2.0, 11.0)]
    scores = pd.DataFrame(rows, columns=["setup", "kind", "population", "time", "value"])
    scores = scores.assign(board="x", method="m", metric="w1", seed=0, draw=0, n=5)
    assert scoreboard.summary(scores)["mean"].item() == ((2 + 8) / 2 + 11) / 2


def test_difference_is_paired():
    rows = [(m, d, 10 * d + (m == "b")) for m in "ab" for d in range(4)]
    scores = pd.DataFrame(rows, columns=["method", "draw", "value"])
    scores = scores.assign(metric="energy_distance", seed=pd.NA, setup="s", kind="time", population="p", time=1.0)
    found = scoreboard.difference(scores, "a", "b")
    assert found["mean"] == found["lo"] == found["hi"] == -1


def test_bridge_protocol_keeps_two_neighbours(tiny):
    adata = tiny[0]
    part, split = only_neighbours(adata, hold_out(adata, times=[2.0]))
    assert split.times == (1.0, 2.0, 3.0) and split.train_times == (1.0, 3.0)
    with pytest.raises(ValueError, match="both sides"):
        only_neighbours(adata, hold_out(adata, times=[4.0]))
    with pytest.raises(ValueError, match="one held-out time"):
        only_neighbours(adata, hold_out(adata, times=[2.0, 3.0]))


def test_inner_problems_hold_every_second_inner_training_time(tiny):
    (setup,) = scoreboard.setups(BOARD, tiny[0])
    inner = scoreboard.inner_setup(setup, 50)
    assert inner.split.times == (0.0, 1.0, 3.0, 4.0) and inner.split.held_times == (1.0,)
    assert set(inner.adata.obs["population"]) == {"p00", "p01", "p02", "p03"}
    (bridge,) = scoreboard.inner_bridges(setup, 50)
    assert bridge.split.times == (0.0, 1.0, 3.0)


@pytest.mark.parametrize("protocol", ["bridge", "leave_one_out"])
def test_fewer_than_two_inner_times_leave_nothing_to_choose_on(tiny, tmp_path, protocol):
    (setup,) = scoreboard.setups(scoreboard.Board("tiny", "typed", protocol, ((2.0,),)), tiny[0])
    assert scoreboard.choose(setup, 50, cache=tmp_path) == (scoreboard.Choice(), None)


def test_a_forecast_is_chosen_on_a_forecast(tiny):
    board = scoreboard.Board("tiny", "typed", "leave_one_out", ((4.0,),))
    (setup,) = scoreboard.setups(board, tiny[0])
    assert scoreboard.inner_setup(setup, 50).split.held_times == (3.0,)


def test_choices_cannot_see_held_out_cells(tmp_path):
    """Replaced held-out cells leave the inner scores, the choice and the predictions as they are."""
    times = tuple(map(float, range(6)))  # 1 and 4 can be held out inside the training times 0, 1, 3, 4, 5
    adata, found = simulate.typed(seed=1, n_populations=3, n_cells=16, n_types=3, dim=4, times=times), []
    replaced = adata.copy()
    rows = np.flatnonzero((adata.obs["time"] == 2.0) | ((adata.obs["population"] == "p02") & (adata.obs["time"] > 0)))
    replaced.X[rows] = adata.X[np.random.default_rng(0).permutation(rows)] * 100
    for k, data in enumerate((adata, replaced)):
        (setup,) = scoreboard.setups(BOARD, data)
        options = {"cache": tmp_path / str(k), "steps": 2, "workers": 1}
        choice, scores = scoreboard.choose(setup, 50, **options)
        samples = scoreboard.predict(
            setup, choice, seeds=[0], peer_seeds=[0], methods=("scimf", "flow_matching"), **options
        )
        found.append((choice, scores, samples))
    assert found[0][0] == found[1][0] and found[0][1] is not None
    pd.testing.assert_series_equal(found[0][1], found[1][1])
    for name, cells in found[0][2].items():
        np.testing.assert_array_equal(cells.obsm["X_scimf"], found[1][2][name].obsm["X_scimf"])


def test_scores_are_read_when_nothing_changed_and_made_anew_when_a_cell_did(tiny, tmp_path, monkeypatch):
    sizes = {"seeds": 1, "peer_seeds": 1, "extra": False, "draws": 2, "paired_draws": 3, "transport_n": 5}
    options = {"whole": True, "cache": tmp_path, "steps": 1, "workers": 1}
    board = replace(BOARD, headline=True)
    first = scoreboard.score_board(board, tiny[0], **sizes, **options)
    assert set(first["paired"]["draw"]) == {0, 1, 2} and set(first["whole"]["method"]) >= {"scimf", "mixture"}
    monkeypatch.setattr(scoreboard, "predict", lambda *args, **kwargs: pytest.fail("was scored before"))
    again = scoreboard.score_board(board, tiny[0], **sizes, **options)
    for name, table in first.items():
        pd.testing.assert_frame_equal(table, again[name])
    changed = tiny[0].copy()
    changed.X[np.flatnonzero(changed.obs["time"] == 2.0)[0]] += 1  # a held-out cell changes the scores, not the fits
    with pytest.raises(pytest.fail.Exception):
        scoreboard.score_board(board, changed, **sizes, **options)


def test_keys_of_boards_can_be_recorded():
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_.") for name in scoreboard.BOARDS)
