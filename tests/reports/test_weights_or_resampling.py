import numpy as np
import pytest
from evidence.weights_or_resampling import WAYS, compare, run_cells

SIZE = {"seed": 0, "n_repeats": 60, "n_cells": 200}


def test_all_ways_meet_the_exact_mean_and_weights_scatter_least_over_a_day():
    table = compare((1.0,), **SIZE)
    np.testing.assert_allclose(table["mean"], table["exact"], atol=0.1)
    spread = table["spread"].loc[1.0]
    assert spread["weights"] < spread["each step"]


@pytest.mark.parametrize("every", [1, 10])
def test_resampled_cells_have_equal_weights(every):
    _, weight = run_cells(0.5, every=every, **SIZE)
    assert (weight == 1).all()


def test_weights_wear_out():
    effective = compare((1.0, 4.0), **SIZE)["effective cells"].unstack("way")["weights"]
    assert effective[4.0] < effective[1.0] / 2 < SIZE["n_cells"] / 2
    assert set(WAYS) >= {"weights", "each step"}
