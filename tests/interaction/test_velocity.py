import numpy as np

from scimf.dynamics.config import SDEConfig
from scimf.dynamics.fit import fit
from scimf.interaction.velocity import velocity


def test_velocity_is_stored_with_its_two_parts(tiny):
    adata = tiny[0].copy()
    settings = {"hidden": (16,), "hidden_interaction": 16, "steps": 4, "dt": 0.5}
    model = fit(*tiny, config=SDEConfig(interaction="additive", **settings), progress=False)
    total = velocity(model, adata)
    intrinsic = adata.obsm["velocity_intrinsic_scimf"]
    interaction = adata.obsm["velocity_interaction_scimf"]
    assert np.allclose(total, intrinsic + interaction)
    assert np.array_equal(total, adata.obsm["velocity_scimf"])
