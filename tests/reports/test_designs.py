"""What designs promise: drawn designs, larger experiments, and the forgetting of a mean."""

from dataclasses import replace

import numpy as np
import pytest
from evidence import closed_form, designs

from scimf.interaction.plan import Design

SMALL = {"n_populations": 6, "n_cells": 40, "n_types": 2, "times": (0.0, 1.0, 2.0), "active": 0.5}


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(designs, "drawn_design", lambda seed: SMALL | {"seed": seed})


def test_drawn_designs_differ_and_are_the_same_for_a_seed():
    drawn = [designs.drawn_design(seed) for seed in range(40)]
    assert drawn[3] == designs.drawn_design(3)
    for key, bounds in (("n_populations", designs.POPULATIONS), ("n_cells", designs.CELLS)):
        values = {design[key] for design in drawn}
        assert len(values) > 10 and min(values) >= bounds[0] and max(values) <= bounds[1]


def test_precision_power_and_advice_give_what_is_asked(small):
    precision = designs.precision_of(seed=1, replicates=2)
    assert 0.1 < precision["seen"] / precision["predicted"] < 10
    assert precision["remembering"] < precision["predicted"]
    power = designs.power_of(seed=1, bounds=(0.4, 0.6))
    assert 0.35 < power["predicted"] < 0.65 and power["found"] in (0, 1)
    advice = designs.advice_followed(seed=1, draws=1)
    assert advice["promised"] >= designs.PROMISED
    assert advice["populations"] > 6 and advice["cells"] == 40


def test_cultures_again_are_other_cells_of_the_same_compositions():
    twice = designs._cultures(2, 1, SMALL | {"seed": 1})
    assert twice.obs["population"].nunique() == 12 and twice.obs_names.is_unique
    density = twice.obs.groupby("population", observed=True)["density"].first()
    assert density.nunique() == 6


def test_a_mean_that_relaxes_forgets_what_moved_it():
    count = np.full((3, 2, 2), 10.0)
    count[:, 1, 1] = 30.0  # shares of B: 1/2 and 3/4
    design = Design(count, np.ones(2), np.array([5.0, 6.0, 7.0]), ("A", "B"), rate=0.5)
    g = (1 - np.exp(-0.5 * np.arange(3))) / 0.5
    weight = 10 * ((g - g.mean()) ** 2).sum()  # of receivers A, in both populations
    sampling = 0.5 * 0.5 / 60 + 0.75 * 0.25 / 120
    expected = weight * (2 * 0.125**2 - sampling)
    assert design.information()[0, 1] == pytest.approx(expected)
    remembering = replace(design, rate=0.0).information()[0, 1]
    assert remembering == pytest.approx(expected / weight * 20, rel=1e-4)


def test_the_rate_is_read_from_how_means_slow_down():
    adata = closed_form.simulated(seed=3, n_populations=8, strength=designs.NONE)
    assert Design.of(adata).rate == pytest.approx(0.4, abs=0.1)  # that of the simulator
