"""Worse data and other interactions: the right form wins, and what is too little is refused."""

import numpy as np
import pytest
from evidence.attraction import attraction_of
from evidence.closed_form_limits import forms_on, limit_of
from evidence.directed import directed

SMALL = {"n_populations": 10, "n_cells": 60, "n_types": 3, "active": 0.5}


@pytest.mark.parametrize(
    ("system", "form"), [("typed", "towards"), ("directed", "free"), ("quorum", "count")]
)
def test_the_right_form_is_chosen_and_is_the_closest(system, form):
    found = forms_on(system=system, seed=100, n_populations=20, n_cells=80, dim=4)
    errors = {name: found[name] for name in ("towards", "free", "count")}
    assert found["chosen"] == form == min(errors, key=errors.get)
    assert errors[form] < 0.4
    if system == "quorum":
        assert found["correlation.count"] > max(0.95, found["correlation.towards"])


def test_directed_pushes_along_one_direction_for_each_pair():
    adata = directed(seed=3, n_populations=3, n_cells=20, n_types=3, times=(0.0, 1.0))
    push = adata.uns["scimf"]["truth"]["push"]
    assert (np.linalg.norm(push, axis=2) > 0).sum() == round(0.4 * 6)
    for name, receivers in adata.obs.groupby("cell_type", observed=True):
        vectors = push["ABC".index(name)]
        drift = adata[receivers.index].obsm["drift_interaction"]
        left = drift - drift @ np.linalg.pinv(vectors) @ vectors
        np.testing.assert_allclose(left, 0, atol=1e-5)


def test_fewer_populations_and_wrong_labels_are_worse():
    whole = limit_of(seed=100, **SMALL)
    assert whole["heard_type_mean_error"] < 0.2 and whole["edge_auroc"] == 1
    for worse in ({"populations_seen": 3}, {"labels": "wrong"}):
        found = limit_of(seed=100, **SMALL, **worse)
        assert found["heard_type_mean_error"] > 1.5 * whole["heard_type_mean_error"]


def test_the_nearest_type_and_clusters_mend_wrong_labels():
    wrong, nearest, clusters = (
        limit_of(seed=100, **SMALL, labels=labels)["heard_type_mean_error"]
        for labels in ("wrong", "nearest", "k-means")
    )
    assert nearest < 0.6 * wrong and clusters < 0.6 * wrong


def test_too_little_is_refused():
    found = limit_of(seed=100, **SMALL, populations_seen=1)
    assert found == dict.fromkeys(found) | {"refused": 1}
    assert limit_of(seed=100, **SMALL, seen=[0, 1, 2])["refused"] == 0
    with pytest.raises(ValueError, match="labels='none'"):
        limit_of(seed=100, **SMALL, labels="none")


@pytest.mark.parametrize("times", [(0.0, 0.5, 1.0, 1.5), (0.0, 1.5, 3.0)], ids=str)
def test_variances_tell_how_cells_of_one_kind_attract_each_other(times):
    size = {"n_populations": 20, "n_cells": 300, "times": times, "step": 0.05}
    found = attraction_of(seed=1, kappa=0.8, **size)
    assert found["theta"] == pytest.approx(0.3, abs=0.03)
    assert found["kappa"] == pytest.approx(0.8, abs=0.08)
