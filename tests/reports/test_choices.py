import numpy as np
import pandas as pd
import pytest
from evidence.boards import Board
from evidence.choices import NEIGHBOUR_CHOICES, NESTED_CHOICES, PACED, Choice, choose
from evidence.predictions import Training, predict
from evidence.setups import setups

from scimf.simulate import systems


def test_what_was_frozen_is_among_what_can_be_chosen():
    assert Choice() in NESTED_CHOICES and PACED in NEIGHBOUR_CHOICES
    assert len(set(NESTED_CHOICES)) == 18 and len(set(NEIGHBOUR_CHOICES)) == 12
    assert str(PACED) == "kinetic weight 0.003, moved 0.33, power 1"


@pytest.mark.parametrize("protocol", ["neighbours_only", "leave_one_out"])
def test_fewer_than_two_inner_times_leave_nothing_to_choose_on(tiny, tmp_path, protocol):
    board = Board(name="tiny", dataset="typed", protocol=protocol, setups=((2.0,),))
    (setup,) = setups(board, tiny[0])
    assert choose(setup, 50, cache=tmp_path) == (Choice(), None)


def test_choices_cannot_see_held_out_cells(board, tmp_path):
    """Replaced held-out cells leave inner scores, the choice and predictions as they are."""
    # 1 and 4 can be held out inside the training times 0, 1, 3, 4, 5.
    times = (0.0, 1.0, 2.0, 3.0, 4.0, 5.0)
    adata = systems.typed(seed=1, n_populations=3, n_cells=16, n_types=3, dim=4, times=times)
    later = (adata.obs["population"] == "p02") & (adata.obs["time"] > 0)
    rows = np.flatnonzero((adata.obs["time"] == 2.0) | later)
    replaced = adata.copy()
    replaced.X[rows] = adata.X[np.random.default_rng(0).permutation(rows)] * 100

    found = []
    for name, data in (("as they are", adata), ("replaced", replaced)):
        (setup,) = setups(board, data)
        options = {"cache": tmp_path / name, "workers": 1}
        choice, scores = choose(setup, 50, steps=2, **options)
        training = Training(methods=("scimf", "flow_matching"), steps=2)
        found.append((choice, scores, predict(setup, choice, training, **options)))
    (choice, scores, samples), (choice_again, scores_again, samples_again) = found
    assert choice == choice_again and scores is not None
    pd.testing.assert_series_equal(scores, scores_again)
    for trained, cells in samples.items():
        again = samples_again[trained].obsm["X_scimf"]
        np.testing.assert_array_equal(cells.obsm["X_scimf"], again)
