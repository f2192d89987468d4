"""scVI as a row: it reads counts, answers with the library it is told, is named when missing."""

from importlib.util import find_spec

import numpy as np
import pytest
from beside.reconstruction_metrics import profile_error, split_error
from beside.simulated_counts import factorial
from evidence import scvi_peer

from scimf.counts.fit_autoencoder import panel_counts

needs_scvi = pytest.mark.skipif(find_spec("scvi") is None, reason=f"an extra: {scvi_peer.RECIPE}")


def test_a_missing_package_is_named_with_its_recipe(monkeypatch):
    monkeypatch.setattr(scvi_peer, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"scvi-tools is not installed.*\[scvi\]"):
        scvi_peer.fit_scvi(None, None)


@needs_scvi
def test_scvi_learns_and_is_read_back(tmp_path):
    adata = factorial(seed=0, n_cells=500, n_genes=60)
    cells = np.arange(adata.n_obs) % 5 > 0
    fitted = scvi_peer.fit_scvi(adata, cells, max_epochs=60, cache=tmp_path)
    counts = panel_counts(adata)
    total = counts[~cells].sum(1)
    mean, dispersion = fitted.decode(fitted.encode(counts[~cells]), 3 * total)
    np.testing.assert_allclose(mean.sum(1), 3 * total, rtol=1e-4)
    assert dispersion.shape == mean.shape and (dispersion > 0).all()
    assert split_error(fitted, counts[~cells]) < profile_error(counts[cells], counts[~cells])
    again = scvi_peer.fit_scvi(adata, cells, max_epochs=60, cache=tmp_path)
    np.testing.assert_array_equal(again.encode(counts), fitted.encode(counts))
    assert len(list(tmp_path.iterdir())) == 1
