"""A helper that is removed helps nobody, and the network is asked the same question."""

import numpy as np
from evidence.helping import helping
from evidence.numbers_without import numbers_without, true_change

SMALL = {"n_populations": 6, "n_cells": 60, "n_types": 3, "dim": 2}


def test_without_its_helper_one_type_alone_has_fewer_cells():
    adata = helping(seed=1, motion=False, **SMALL)
    truth = adata.uns["scimf"]["truth"]
    receiver, helper = np.argwhere(truth["effects"] > 0)[0]
    change = true_change(adata, truth["types"][helper], 2.0)
    assert (change.iloc[:, receiver] <= 0).all()
    assert (change.iloc[:, receiver] < 0).any()
    np.testing.assert_allclose(change.drop(columns=truth["types"][receiver]), 0, atol=1e-12)


def test_a_network_is_asked_what_is_known():
    asked = {"growth": "heard", "steps": 2, "n_asked": 2}
    table = numbers_without(seed=1, **asked, **SMALL)
    assert len(table) == 4
    assert np.isfinite(table.to_numpy()).all()
