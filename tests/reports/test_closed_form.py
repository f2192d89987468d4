"""Scores of the closed form: what is called true is what the simulator did."""

import json

import numpy as np
import pytest
from evidence import closed_form
from evidence.designs import drawn_design
from evidence.kept import kept

from scimf.interaction.type_means import TypeSnapshots
from scimf.interaction.who_moves_whom import who_moves_whom

SMALL = {"n_populations": 4, "n_cells": 15, "n_types": 3, "dim": 3, "times": (0.0, 1.0)}


def test_true_strengths_are_those_of_loops_over_cells():
    adata = closed_form.simulated(seed=2, **SMALL)
    snapshots = TypeSnapshots.of(adata)
    matrix = adata.uns["scimf"]["truth"]["type_matrix"]
    along, size = np.zeros((3, 3)), np.zeros((3, 3))
    for t, time in enumerate(snapshots.times):
        for p, name in enumerate(snapshots.populations):
            here = (adata.obs["time"] == time) & (adata.obs["population"] == name)
            kind = adata.obs["cell_type"]
            for a, receiver in enumerate(snapshots.types):
                for b, sender in enumerate(snapshots.types):
                    pull, force, n = np.zeros(3), np.zeros(3), 0
                    for x in adata.X[here & (kind == receiver)].astype(float):
                        for y in adata.X[here & (kind == sender)].astype(float):
                            n += 1
                            pull += y - x
                            force += matrix[a, b] * (y - x) / np.sqrt(1 + ((y - x) ** 2).sum())
                    if a != b and n:
                        sent = snapshots.sent[t, p, b] / n
                        along[a, b] += sent**2 * pull @ force
                        size[a, b] += sent**2 * pull @ pull
    others = ~np.eye(3, dtype=bool)
    found = closed_form.true_strengths(adata, snapshots)
    np.testing.assert_allclose(found[others], (along / np.maximum(size, 1e-9))[others], rtol=1e-4)
    assert np.array_equal(found[others] == 0, matrix[others] == 0)


def test_a_good_reading_scores_well_and_a_reversed_one_does_not():
    size = {"n_populations": 10, "n_cells": 50, "n_types": 3, "n_simulated": 1000}
    adata = closed_form.simulated(seed=1, active=0.5, **size)
    found = who_moves_whom(adata, form="towards", permutations=1)
    scores = closed_form.score(found, adata)
    assert scores["heard_type_mean_error"] < 0.25
    assert abs(scores["strength_missing"]) < 0.15
    assert scores["edge_auroc"] == scores["sign_accuracy"] == 1
    assert scores["strength_error"] < 0.05
    found.table[["strength", "lo", "hi"]] *= -1
    assert closed_form.score(found, adata)["sign_accuracy"] == 0


def test_what_was_answered_is_kept(tmp_path):
    requests = [{"seed": 0}, {"seed": 1}]
    first = kept(drawn_design, requests, cache=tmp_path)
    assert first["n_cells"].tolist() == [drawn_design(seed)["n_cells"] for seed in (0, 1)]
    for path in tmp_path.iterdir():
        path.write_text(json.dumps({"n_cells": 7}))
    again = kept(drawn_design, [*requests, {"seed": 2}], cache=tmp_path)
    assert again["seed"].tolist() == [0, 1, 2]
    assert again["n_cells"].tolist() == [7, 7, drawn_design(2)["n_cells"]]


# --------------------------------------------------------------------------- other own drifts


def relaxation(adata):  # (cells, dim): what cells do at one rate
    truth = adata.uns["scimf"]["truth"]
    kind = np.searchsorted(truth["types"], adata.obs["cell_type"].astype(str))
    return kind, truth["theta"] * (truth["fate"][kind] - adata.X)


def test_own_drifts_of_other_forms_start_from_the_same_cells():
    size = {"seed": 2, "n_populations": 4, "n_cells": 30, "n_types": 2, "dim": 3}
    drawn = {own: closed_form.simulated(own=own, **size) for own in ("rate", "matrix", "curved")}
    start = (drawn["rate"].obs["time"] == 0).to_numpy()
    for adata in drawn.values():
        assert np.array_equal(adata.X[start], drawn["rate"].X[start])
    kind, rate = relaxation(drawn["rate"])
    np.testing.assert_allclose(drawn["rate"].obsm["drift_intrinsic"], rate, atol=1e-5)
    _, rate = relaxation(drawn["curved"])
    theta = drawn["curved"].uns["scimf"]["truth"]["theta"]
    away2 = ((rate / theta) ** 2).sum(1, keepdims=True)
    curved = drawn["curved"].obsm["drift_intrinsic"]
    np.testing.assert_allclose(curved, rate * np.sqrt(1 + away2), rtol=1e-3, atol=1e-5)
    kind, rate = relaxation(drawn["matrix"])
    for a in range(2):  # linear, and no multiple of the identity
        own = drawn["matrix"].obsm["drift_intrinsic"][kind == a]
        matrix, off, *_ = np.linalg.lstsq(rate[kind == a], own, rcond=None)
        assert off.max() < 1e-6 and np.abs(matrix - np.eye(3)).max() > 0.1


def test_an_unknown_own_drift_is_refused():
    with pytest.raises(ValueError, match="own='bent', expected"):
        closed_form.simulated(n_populations=2, n_cells=5, own="bent")
