"""A circuit of genes in cells that attract each other, and divide."""

import numpy as np
from evidence.circuit import circuit


def circuit_by_hand(x1, x2, x3):
    """Production by Hill functions of the squares, less decay."""
    below = 1 + 0.5 * x1**2 + x2**2 + 10 * x3**2 + 1
    first = (0.5 * x1**2 + 1) / below - 0.4 * x1
    second = (x2**2 + 1) / below - 0.4 * x2
    third = x3**2 / (1 + x3**2) - 0.4 * x3
    return [first, second, third]


def test_circuit_by_hand():
    # Genes at (1, 1, 0): production (0.5 + 1) / (1 + 0.5 + 1 + 1) and (1 + 1) / 3.5, decay 0.4.
    by_hand = [1.5 / 3.5 - 0.4, 2 / 3.5 - 0.4, 0.0]
    np.testing.assert_allclose(circuit_by_hand(1.0, 1.0, 0.0), by_hand)
    adata = circuit(n_populations=2, n_cells=20)
    assert (adata.X[adata.obs["time"] == 0.0] >= 0).all()
    expected = [circuit_by_hand(*np.maximum(x, 0)) for x in adata.X.astype(float)]
    decay = 0.4 * (np.maximum(adata.X, 0) - adata.X)  # what is below zero is made none of
    np.testing.assert_allclose(adata.obsm["drift_intrinsic"], expected + decay, atol=1e-6)


def test_a_daughter_that_lies_on_its_mother_is_not_pushed_to_infinity():
    adata = circuit(n_populations=2, n_cells=10, division=0.2)
    assert np.isfinite(adata.X).all()
    assert np.isfinite(adata.obsm["drift_interaction"]).all()
    assert (adata.obs["mass"][adata.obs["time"] > 0] > 1).all()
