import pytest
from evidence.boards import Board
from evidence.setups import inner_neighbours, inner_setup, only_neighbours, setups

from scimf.data.split import hold_out


def test_neighbours_only_keeps_two_neighbours(tiny):
    adata = tiny[0]
    kept, split = only_neighbours(adata, hold_out(adata, times=[2.0]))
    assert split.times == (1.0, 2.0, 3.0)
    assert split.train_times == (1.0, 3.0)
    assert set(kept.obs["time"]) == set(split.times)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"times": [2.0, 3.0]}, "neighbours_only: expected one held-out time"),
        ({"times": [2.0], "populations": ["p00"]}, "no held-out population"),
        ({"times": [4.0]}, "neighbours_only: time 4 needs training times on both sides"),
    ],
)
def test_neighbours_only_needs_two_neighbours(tiny, options, says):
    adata = tiny[0]
    with pytest.raises(ValueError, match=says):
        only_neighbours(adata, hold_out(adata, **options))


def test_a_board_says_what_may_be_seen(tiny):
    options = {"name": "x", "dataset": "typed", "setups": ((1.0,), (2.0,))}
    for protocol, train_times in (
        ("neighbours_only", [(0.0, 2.0), (1.0, 3.0)]),
        ("leave_one_out", [(0.0, 2.0, 3.0, 4.0), (0.0, 1.0, 3.0, 4.0)]),
    ):
        found = list(setups(Board(protocol=protocol, **options), tiny[0]))
        assert [setup.split.train_times for setup in found] == train_times
        assert [setup.held_times for setup in found] == ["1", "2"]
        for setup in found:
            assert setup.space.split == setup.split


def test_inner_problems_hold_every_second_inner_training_time(setup):
    inner = inner_setup(setup, 50)
    assert inner.split.times == (0.0, 1.0, 3.0, 4.0)
    assert inner.split.held_times == (1.0,)
    assert set(inner.adata.obs["population"]) == {"p00", "p01", "p02", "p03"}
    (between,) = inner_neighbours(setup, 50)
    assert between.split.times == (0.0, 1.0, 3.0)


def test_a_forecast_is_chosen_on_a_forecast(tiny):
    board = Board(name="tiny", dataset="typed", protocol="leave_one_out", setups=((4.0,),))
    (setup,) = setups(board, tiny[0])
    assert inner_setup(setup, 50).split.held_times == (3.0,)


def test_every_method_predicts_every_held_out_snapshot(samples):
    for cells in samples.values():
        populations = cells.obs["population"].astype(str)
        covered = set(zip(populations, cells.obs["time"], strict=True))
        assert {("p00", 2.0), ("p04", 1.0), ("p04", 4.0)} <= covered
        assert ("p00", 1.0) not in covered
