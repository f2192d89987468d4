import numpy as np
import pytest
from beside.two_readings import compare_readings, influence_over_seeds, two_types

import scimf


def test_the_regression_finds_the_law_of_two_types():
    adata = two_types(strength=0.5, n_populations=12, n_cells=100, seed=100)
    found = scimf.who_moves_whom(adata, form="towards", permutations=99).table.set_index("receiver")
    assert found.at["A", "lo"] < 0.5 < found.at["A", "hi"]
    assert found.at["B", "lo"] < 0 < found.at["B", "hi"]
    assert found.at["A", "p"] == pytest.approx(0.01)


class Teller:
    """Stands for a fit that says the truth times a number."""

    def __init__(self, factor):
        self.factor = factor

    def drift(self, adata):
        return adata.obsm["drift_intrinsic"], self.factor * adata.obsm["drift_interaction"]


def test_readings_are_scored_against_the_truth(monkeypatch):
    adata = scimf.load("typed", n_populations=8, n_cells=50)
    scimf.fit_space(adata, scimf.hold_out(adata))
    truth = adata.uns["scimf"]["truth"]["type_matrix"]
    matrix = scimf.who_moves_whom(adata, permutations=9)

    def influence(model, adata):
        table = matrix.matrix()
        table[:] = model.factor * truth
        return table

    monkeypatch.setattr("beside.two_readings.influence", influence)
    models = [Teller(0.4), Teller(0.6)]
    scores = compare_readings(adata, matrix, models)
    assert scores.loc["network"].to_dict() == pytest.approx(
        {"error": 0.5, "missing": 0.5, "auroc": 1.0, "signs": 1.0}, abs=1e-6
    )
    assert scores.loc["regression", "error"] < 0.4
    table = influence_over_seeds(models, adata).set_index(["receiver", "sender"])
    receiver, sender = np.argwhere(truth)[0]
    names = adata.uns["scimf"]["truth"]["types"]
    value = table.at[(names[receiver], names[sender]), "value"]
    assert value == pytest.approx(0.5 * truth[receiver, sender])
