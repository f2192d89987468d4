"""CellRank and scVelo read what we write.

Both pin old relatives of our packages: ``make test-interop`` has an environment of its own.
"""

import anndata as ad
import numpy as np
import pytest

from scimf import fit, velocity
from scimf.dynamics.config import SDEConfig


@pytest.fixture
def done(tiny, tmp_path):
    """A file as notebook 10 leaves it, read again."""
    adata, split, space = tiny
    adata = adata.copy()
    velocity(fit(adata, split, space, config=SDEConfig(steps=5), progress=False), adata)
    adata.uns["scimf"] = {"form": "state"}
    adata.write_h5ad(tmp_path / "done.h5ad")
    return ad.read_h5ad(tmp_path / "done.h5ad")


def test_cellrank_takes_the_velocity_as_it_is(done):
    cellrank = pytest.importorskip("cellrank", reason="an extra with an environment of its own")
    import scanpy as sc

    sc.pp.neighbors(done, use_rep="X_scimf")
    kernel = cellrank.kernels.VelocityKernel(
        done, attr="obsm", xkey="X_scimf", vkey="velocity_scimf"
    )
    moves = kernel.compute_transition_matrix(show_progress_bar=False).transition_matrix
    assert moves.shape == (done.n_obs, done.n_obs)
    np.testing.assert_allclose(np.asarray(moves.sum(1)).ravel(), 1, rtol=1e-4)
    x, v = done.obsm["X_scimf"], done.obsm["velocity_scimf"]
    step = moves @ x - x  # where the chain takes each cell, against where we said it goes
    agreement = (step * v).sum(1) / np.maximum(
        np.linalg.norm(step, axis=1) * np.linalg.norm(v, axis=1), 1e-9
    )
    assert agreement.mean() > 0.2


def test_scvelo_takes_coordinates_for_genes(done):
    scvelo = pytest.importorskip("scvelo", reason="an extra with an environment of its own")
    import scanpy as sc

    flat = ad.AnnData(done.obsm["X_scimf"], obs=done.obs)
    flat.layers["Ms"], flat.layers["velocity"] = flat.X, done.obsm["velocity_scimf"]
    flat.obsm["X_pca"] = flat.X
    sc.pp.neighbors(flat, use_rep="X_pca")
    scvelo.tl.velocity_graph(flat, show_progress_bar=False)
    assert flat.uns["velocity_graph"].nnz > 0
    scvelo.tl.velocity_embedding(flat, basis="pca")
    assert np.isfinite(flat.obsm["velocity_pca"]).any()
