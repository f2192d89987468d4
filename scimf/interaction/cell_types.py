"""The types of cells, in one place."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from anndata import AnnData


def cell_types(adata: "AnnData") -> np.ndarray:  # (cells,) of str
    """Return the type of each cell; a KeyError where the data name none."""
    if "cell_type" not in adata.obs:
        raise KeyError(f'adata.obs["cell_type"] is missing; found {list(adata.obs.columns)}')
    return adata.obs["cell_type"].astype(str).to_numpy()
