import numpy as np
import pytest

from scimf.interaction.interaction_test import (
    _advice,
    _corrected_types,
    _few_coordinates,
    do_cells_interact,
)
from scimf.interaction.plan import Design
from scimf.simulate import systems


def typed(**options):
    return systems.typed(**{"seed": 0, "n_populations": 8, "n_cells": 40, "dim": 5} | options)


def without_interaction(**options):
    return typed(active=0.0, **options)


def in_batches(adata, n):
    """Each ``n`` populations are one batch."""
    numbers = adata.obs["population"].str[1:].astype(int)
    adata.obs["batch"] = (numbers // n).astype(str)
    return adata


def test_cells_that_interact_are_told_and_the_data_stay_as_they_are():
    adata = typed(n_populations=12)
    keys = set(adata.obsm), list(adata.obs)
    verdict = do_cells_interact(adata)
    assert verdict.answer == "yes"
    assert verdict.p == verdict.smallest_p == 0.001
    assert verdict.receivers["receiver"].tolist() == list("ABCDE")
    assert "12 populations, p = 0.001" in verdict.reason
    assert str(verdict).startswith("Do cells interact here? Yes. ")
    assert (set(adata.obsm), list(adata.obs)) == keys
    again = do_cells_interact(adata)
    assert again.receivers.equals(verdict.receivers)


def test_no_is_said_with_the_power_it_rests_on():
    verdict = do_cells_interact(without_interaction(n_cells=60))
    assert verdict.answer == "no"
    assert verdict.p > 0.05
    assert "would have been found with probability 1.00" in verdict.reason


def test_too_few_cells_cannot_say_no_and_hear_how_many_would():
    adata = without_interaction(n_populations=6, n_cells=9, dim=8)
    adata.X = adata.X + np.random.default_rng(0).standard_normal(adata.shape).astype("float32")
    verdict = do_cells_interact(adata)
    assert verdict.answer == "cannot be told"
    assert verdict.smallest_p == pytest.approx(1 / 720)
    assert "would make it 0.8" in verdict.reason


def test_no_is_not_said_where_types_are_hardly_seen_to_change():
    adata = systems.typed(seed=101, n_populations=8, n_cells=25, strength=(0.5, 0.5))
    adata.obsm["X_scimf"] = np.asarray(adata.X, float)
    verdict = do_cells_interact(adata)
    assert verdict.p > 0.05  # it cannot be seen, whatever the numbers of cells promise
    assert verdict.answer == "cannot be told"
    assert "seen to change only 1." in verdict.reason


def test_advice_is_the_smallest_multiple_with_enough_power():
    design = Design(
        count=np.full((3, 6, 2), 10.0),
        density=np.array([0.5, 0.6, 0.7, 0.9, 1.1, 1.2]),
        times=np.arange(3.0),
        types=("A", "B"),
        spread=0.8,
    )
    times = next(k for k in range(2, 65) if design.more(populations=k).power(0.5) >= 0.8)
    assert f"{6 * times} populations or " in _advice(design, 0.5)
    alike = Design(design.count, np.ones(6), design.times, design.types)
    assert _advice(alike, 0.5) == "more different compositions or densities are needed"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"n_populations": 1}, "one population"),
        ({"n_populations": 5}, "5 populations"),
        ({"times": (0.0,)}, "one time"),
        (
            {"compositions": np.full((8, 5), 0.2), "density_range": (1.0, 1.0)},
            "one composition",
        ),
    ],
    ids=["one population", "five populations", "one time", "replicates"],
)
def test_what_cannot_be_told_is_said(options, says):
    verdict = do_cells_interact(typed(**options))
    assert verdict.answer == "cannot be told"
    assert says in verdict.reason
    assert np.isnan(verdict.p)


def test_batches_of_one_population_each_are_confounded():
    verdict = do_cells_interact(in_batches(typed(), 1))
    assert verdict.answer == "cannot be told"
    assert "confounded with the batch" in verdict.reason


def test_batches_of_several_populations_are_compared_within():
    verdict = do_cells_interact(in_batches(typed(), 4))
    assert verdict.answer == "yes"
    assert verdict.smallest_p == 1 / 24**2


def test_a_shift_of_batches_is_not_taken_for_interaction():
    """Where type E is frequent, all cells go its way: nobody could know but for the batch."""
    rng = np.random.default_rng(1)
    mostly = np.repeat([[0.6, 0.1, 0.1, 0.1, 0.1], [0.1, 0.1, 0.1, 0.1, 0.6]], 6, axis=0)
    mixed = 0.8 * mostly + 0.2 * rng.dirichlet(np.ones(5), size=12)
    adata = without_interaction(n_populations=12, compositions=mixed, n_cells=60)
    types = adata.obs["cell_type"].to_numpy(str)
    towards = adata.X[types == "E"].mean(0) - adata.X[types == "A"].mean(0)
    later = (adata.obs["population"].astype(str) >= "p06").to_numpy()
    moved = np.where(later, 0.1 * adata.obs["time"], 0.0)[:, None] * towards
    adata.X = adata.X + moved.astype("float32")
    assert do_cells_interact(adata).answer == "yes"
    assert do_cells_interact(in_batches(adata, 6)).answer != "yes"


def test_without_types_clusters_are_taken_and_named():
    adata = typed()
    del adata.obs["cell_type"]
    verdict = do_cells_interact(adata)
    assert verdict.answer == "yes"
    assert "clusters (k-means)" in verdict.reason


def test_wrong_labels_are_corrected():
    adata = without_interaction()
    adata.obsm["X_scimf"] = adata.X
    true = adata.obs["cell_type"].to_numpy(str)
    rng = np.random.default_rng(0)
    wrong = true.astype(object)
    rows = rng.permutation(len(wrong))[:200]
    wrong[rows] = rng.permutation(wrong[rows])
    wrong[:20] = "unknown"
    found = _corrected_types(adata, wrong)
    assert (wrong != true).mean() > 0.08
    assert (found != true).mean() < 0.01
    adata.obs["cell_type"] = wrong
    assert "cells lie with another type" in do_cells_interact(adata).reason


def test_labels_stay_where_types_overlap():
    adata = typed(dim=8)
    noise = np.random.default_rng(0).standard_normal(adata.shape)
    adata.obsm["X_scimf"] = adata.X + noise
    types = adata.obs["cell_type"].to_numpy(str)
    assert (_corrected_types(adata, types) != types).mean() < 0.01


def test_many_coordinates_become_the_largest_principal_components():
    rng = np.random.default_rng(0)
    cells = rng.standard_normal((200, 30)) * np.r_[np.full(20, 5.0), np.full(10, 0.01)]
    few = _few_coordinates(cells)
    assert few.shape == (200, 20)
    assert few.var(0).sum() == pytest.approx(cells.var(0)[:20].sum(), rel=1e-3)
    assert _few_coordinates(few) is few
