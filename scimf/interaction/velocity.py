"""Where cells go: the drift of every observed cell."""

from typing import TYPE_CHECKING

import numpy as np

from scimf.dynamics.fitted import FittedSDE

if TYPE_CHECKING:
    from anndata import AnnData


def velocity(model: FittedSDE, adata: "AnnData") -> np.ndarray:  # (cells, dim)
    """Write and return the drift of every observed cell in the context of its own snapshot.

    ``obsm["velocity_scimf"]`` is the sum of ``obsm["velocity_intrinsic_scimf"]`` and
    ``obsm["velocity_interaction_scimf"]``; data coordinates per unit of real time, without noise.
    """
    intrinsic, interaction = model.drift(adata)
    adata.obsm["velocity_intrinsic_scimf"] = intrinsic
    adata.obsm["velocity_interaction_scimf"] = interaction
    adata.obsm["velocity_scimf"] = intrinsic + interaction
    return intrinsic + interaction
