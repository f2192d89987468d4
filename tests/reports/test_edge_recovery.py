import numpy as np
from evidence.edges import influences_of_halves

from scimf.dynamics.config import SDEConfig
from scimf.simulate import systems


def test_halves_share_no_population(tmp_path):
    adata = systems.typed(n_populations=6, n_cells=20, n_types=3, dim=3)
    config = SDEConfig(hidden=(8,), hidden_interaction=8, steps=1)
    one, two = influences_of_halves(adata, config=config, cache=tmp_path)
    assert list(one.index) == list(two.index) == ["A", "B", "C"]
    assert not np.allclose(one, two, equal_nan=True)
    assert len(list(tmp_path.glob("*.pt"))) == 2
