import pytest
import torch

from scimf.data.space import fit_space
from scimf.data.split import hold_out
from scimf.simulate import systems


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny():
    """Five small typed populations; time 2 and population p04 are held out."""
    adata = systems.typed(seed=1, n_populations=5, n_cells=24, n_types=3, dim=4)
    split = hold_out(adata, times=[2.0], populations=["p04"])
    return adata, split, fit_space(adata, split)
