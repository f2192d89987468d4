"""What an experiment can tell is known from its counts, before anything is fitted."""

import numpy as np
import pytest

import scimf
from scimf.interaction.plan import Design


def design(shares, *, n=100, times=3):
    """Populations (rows) of two types, ``n`` cells at each of some times."""
    count = n * np.asarray(shares, float)
    every = np.repeat(count[None], times, axis=0)
    return Design(every, np.ones(len(count)), np.arange(times, dtype=float), ("A", "B"))


MIXED = [(0.2, 0.8), (0.4, 0.6), (0.5, 0.5), (0.6, 0.4), (0.7, 0.3), (0.8, 0.2)]


def test_one_composition_tells_nothing_however_often_it_is_repeated():
    plan = scimf.plan_experiment(design([(0.5, 0.5)] * 8))
    assert set(plan["verdict"]) == {"cannot be told"}
    assert plan["populations"].isna().all() and np.isinf(plan["se"]).all()


def test_different_compositions_tell():
    assert set(scimf.plan_experiment(design(MIXED))["verdict"]) == {"told"}
    assert set(scimf.plan_experiment(design(MIXED[::2]))["verdict"]) == {"ranked"}, "too few"
    varied = design([(0.5, 0.5)]).varied(fold=4)
    assert len(varied.density) == 5
    np.testing.assert_allclose(varied.count.sum(2), 100)
    np.testing.assert_allclose(varied.count[0, :2, 0], [50, 80])
    assert (scimf.plan_experiment(varied)["power"] > 0.9).all()


@pytest.mark.parametrize("what", ["populations", "cells"])
def test_the_advice_reaches_the_power(what):
    small = design(MIXED, n=10)
    weak = 0.3
    plan = scimf.plan_experiment(small, strength=weak)
    before = plan["power"].min()
    factor = plan[what].max() / {"populations": 6, "cells": 10}[what]
    assert before < 0.8 < factor
    enough = small.more(**{what: int(np.ceil(factor))})
    assert scimf.plan_experiment(enough, strength=weak)["power"].min() >= 0.8


def test_data_stand_for_their_design_with_and_without_coordinates():
    adata = scimf.load("typed", n_populations=6, n_cells=50)
    before = Design.of(adata)
    assert (before.spread, before.distance) == (0.3, 1.0)
    scimf.fit_space(adata, scimf.hold_out(adata))
    after = Design.of(adata)
    np.testing.assert_array_equal(before.count, after.count)
    assert after.spread < 0.4 < 2 < after.distance
