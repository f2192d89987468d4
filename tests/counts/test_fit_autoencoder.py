"""Fits of the autoencoder: they learn, survive being killed, and refuse what is no counts."""

from dataclasses import replace

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch
from beside.many_fits import fit_counts_many
from scipy import sparse

from scimf.counts.config import CountConfig
from scimf.counts.fit_autoencoder import choose_panel, fit_counts, panel_counts

TINY = CountConfig(
    width=16, tokens=4, latent=4, layers=1, heads=2, cross_heads=1, batch_cells=32, steps=12
)
GENES = 30


@pytest.fixture(scope="module")
def adata():
    generator = torch.Generator().manual_seed(1)
    rates = torch.linspace(0.05, 2, GENES) * torch.rand(80, 1, generator=generator)
    x = torch.poisson(rates, generator=generator).numpy()
    x[:, 0] += 1  # no cell without a count
    names = [f"g{k}" for k in range(GENES)]
    return ad.AnnData(sparse.csr_matrix(x), var=pd.DataFrame(index=names))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"likelihood": "gaussian"},
        {"kl_weight": 0.1},
        {"split": True},
        {"embedding": "concatenate", "dispersion": "cell"},
    ],
)
def test_every_form_learns(adata, changes):
    config = replace(TINY, steps=80, **changes)
    fitted = fit_counts(adata, genes=list(adata.var_names), config=config, progress=False)
    errors = fitted.history["reconstruction"]
    assert np.mean(errors[-5:]) < np.mean(errors[:5])
    z = fitted.encode(adata)
    mean, _ = fitted.decode(z, np.full(len(z), 7.0))
    assert z.shape == (80, 4, 4)
    assert mean.shape == (80, GENES)


def test_a_killed_fit_goes_on_with_the_same_numbers(adata, tmp_path, monkeypatch):
    monkeypatch.setattr("scimf.core.optimise.CHECKPOINT_EVERY", 5)
    options = {"genes": list(adata.var_names), "config": TINY}
    whole = fit_counts(adata, progress=False, **options)

    def kill(step, terms):
        if step == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_counts(adata, cache=tmp_path, progress=kill, **options)
    again = fit_counts(adata, cache=tmp_path, progress=False, **options)
    assert again.history == whole.history
    weights = again.model.state_dict()
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, weights[name])
    (path,) = tmp_path.iterdir()
    path.write_bytes(b"x")
    with pytest.raises(ValueError, match="damaged"):
        fit_counts(adata, cache=tmp_path, progress=False, **options)


def test_genes_are_found_in_any_order(adata):
    fitted = fit_counts(adata, genes=list(adata.var_names), config=TINY, progress=False)
    backwards = fitted.encode(adata[:, ::-1].copy())
    np.testing.assert_allclose(backwards, fitted.encode(adata), atol=1e-6)
    drawn = fitted.draw(fitted.encode(adata), np.full(80, 100.0), seed=1)
    assert drawn.shape == adata.shape
    assert 80 < drawn.X.sum(1).mean() < 120
    with pytest.raises(KeyError, match="g29"):
        fitted.encode(adata[:, :29].copy())


@pytest.mark.parametrize(
    ("rows", "columns", "value", "error"),
    [
        (2, 3, -1, "values such as -1 .cell 2"),
        (2, 3, 0.5, "values such as 0.5 .cell 2"),
        (2, 3, np.nan, "values such as nan"),
        (2, 3, np.inf, "values such as inf"),
        (2, slice(None), 0, "1 cells have no count.*2"),
        (slice(None), 3, 0, "1 genes of the panel.*g3"),
    ],
)
def test_bad_counts_are_refused_by_name(adata, rows, columns, value, error):
    bad = ad.AnnData(adata.X.toarray(), var=adata.var.copy())
    bad.X[rows, columns] = value
    with pytest.raises(ValueError, match=error):
        fit_counts(bad, genes=list(bad.var_names), config=TINY, progress=False)


def test_genes_of_one_name_are_refused(adata):
    twice = adata.copy()
    twice.var_names = ["g1", "g1", *adata.var_names[2:]]
    with pytest.raises(KeyError, match="var_names are not unique"):
        panel_counts(twice, ["g1", "g3"])


def test_the_panel_is_chosen_on_training_cells_and_has_no_silent_gene(adata):
    changed = ad.AnnData(adata.X.toarray(), var=adata.var.copy())
    changed.X[:, 5] = 0
    train = np.arange(80) < 40
    panel = choose_panel(changed, train, n_genes=10)
    changed.X[40:, 6] = 500
    assert len(panel) == 10
    assert "g5" not in panel
    assert choose_panel(changed, train, n_genes=10) == panel
    assert panel_counts(changed, ["g3", "g0"]).shape == (80, 2)


def test_many_fits_are_those_made_one_by_one(adata, tmp_path, monkeypatch):
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "2")  # processes
    options = {"genes": list(adata.var_names), "cache": tmp_path}
    configs = {"set": TINY, "plain": replace(TINY, architecture="mlp")}
    many = fit_counts_many(adata, configs=configs, seeds=range(2), **options)
    assert set(many) == {("set", 0), ("set", 1), ("plain", 0), ("plain", 1)}
    assert len(list(tmp_path.iterdir())) == 4
    alone = fit_counts(adata, genes=list(adata.var_names), config=TINY, seed=1, progress=False)
    assert many["set", 1].history == alone.history
