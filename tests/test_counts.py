"""The exchangeable count autoencoder: symmetries, likelihoods, sizes, and a fit that survives being killed."""

from dataclasses import replace

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse, stats

from scimf import counts
from scimf.autoencode import choose_panel, fit_counts, fit_counts_many, panel_counts
from scimf.counts import CountConfig, SetAutoencoder, expressed

TINY = CountConfig(width=16, tokens=4, latent=4, layers=1, heads=2, cross_heads=1, batch_cells=32, steps=12)
GENES = 30


def poisson(cells=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    rates = torch.linspace(0.05, 2, GENES) * torch.rand(cells, 1, generator=generator)
    return torch.poisson(rates, generator=generator)


def model(seed=0, **changes):
    torch.manual_seed(seed)
    return SetAutoencoder(GENES, replace(TINY, **changes)).eval()


@pytest.fixture(scope="module")
def adata():
    x = sparse.csr_matrix(poisson(80, seed=1).numpy() + (np.arange(GENES) == 0))
    return ad.AnnData(x, var=pd.DataFrame(index=[f"g{k}" for k in range(GENES)]))


@pytest.mark.parametrize("embedding", counts.EMBEDDINGS)
def test_encoding_does_not_depend_on_the_order_of_pairs(embedding):
    encoder, (genes, values) = model(embedding=embedding), expressed(poisson())
    order = torch.randperm(genes.shape[1])
    shuffled = encoder.place(encoder.pool_pairs(genes[:, order], values[:, order]))[0]
    assert (shuffled - encoder.encode(poisson())[0]).abs().max() < 1e-5


def test_published_norm_of_a_product_forgets_how_much_is_expressed():
    x = poisson() + 1
    cases = ((True, "product", True), (True, "concatenate", False), (False, "product", False))
    for norm_pairs, embedding, forgets in cases:
        encoder = model(norm_pairs=norm_pairs, embedding=embedding)
        gap = (encoder.encode(x)[0] - encoder.encode(torch.ones_like(x))[0]).abs().max()
        assert (gap < 1e-4) == forgets, (norm_pairs, embedding, float(gap))


def test_decoding_follows_the_order_of_queries():
    decoder, z = model(), torch.randn(3, 4, 4)
    order = torch.randperm(GENES)
    assert (decoder.outputs(z, order) - decoder.outputs(z)[:, order]).abs().max() < 1e-6
    asked = order[:7]
    mean, dispersion = decoder.decode(z, torch.full((3,), 50.0), asked)
    whole = decoder.decode(z, torch.full((3,), 50.0))
    assert torch.equal(mean, whole[0][:, asked]) and torch.equal(dispersion, whole[1][:, asked])


@pytest.mark.parametrize("embedding", counts.EMBEDDINGS)
def test_padding_changes_nothing_if_masked_and_something_if_not(embedding):
    x = poisson()
    changed = {}
    for masked in (True, False):
        encoder = model(embedding=embedding, masked=masked)
        short, long = (encoder.place(encoder.pool_pairs(*expressed(x, pad_to)))[0] for pad_to in (GENES, GENES + 200))
        changed[masked] = float((short - long).detach().abs().max())
    assert changed[True] < 1e-5 < 1e-3 < changed[False]


def test_means_sum_to_the_library_and_dispersions_are_positive():
    for dispersion in counts.DISPERSIONS:
        mean, theta = model(dispersion=dispersion).decode(torch.randn(5, 4, 4), torch.tensor([1.0, 10, 100, 1e3, 1e4]))
        torch.testing.assert_close(mean.sum(1), torch.tensor([1.0, 10, 100, 1e3, 1e4]), rtol=1e-5, atol=0)
        assert (theta > 0).all()


def test_negative_binomial_is_that_of_scipy_and_tends_to_poisson():
    x, mean, theta = np.arange(20.0), np.linspace(0.1, 30, 20), np.linspace(0.05, 50, 20)
    found = counts.log_negative_binomial(*(torch.tensor(v) for v in (x, mean, theta)))
    np.testing.assert_allclose(found, stats.nbinom.logpmf(x, theta, theta / (theta + mean)), atol=1e-6)
    large = counts.log_negative_binomial(torch.tensor(x), torch.tensor(mean), torch.full((20,), 1e7).double())
    np.testing.assert_allclose(large, stats.poisson.logpmf(x, mean), atol=1e-4)


def test_drawn_counts_have_the_mean_and_variance_of_the_negative_binomial():
    mean, theta = torch.tensor([0.5, 4.0]), torch.tensor([0.7, 3.0])
    drawn = counts.draw_counts(mean.expand(40_000, 2), theta.expand(40_000, 2), torch.Generator().manual_seed(0))
    torch.testing.assert_close(drawn.mean(0), mean, rtol=0.05, atol=0)
    torch.testing.assert_close(drawn.var(0), mean + mean**2 / theta, rtol=0.1, atol=0)


def test_tokens_lie_on_the_sphere_unless_they_are_gaussian():
    z, kl = model().encode(poisson())
    torch.testing.assert_close(z.mean(-1), torch.zeros(6, 4), atol=1e-5, rtol=0)
    torch.testing.assert_close(z.square().mean(-1), torch.ones(6, 4), atol=1e-4, rtol=0)
    assert (kl == 0).all()
    gaussian = model(kl_weight=0.01)
    mean, kl = gaussian.encode(poisson())
    drawn, _ = gaussian.encode(poisson(), torch.ones(6, 4, 4))
    assert (kl > 0).all() and mean.square().mean(-1).sub(1).abs().max() > 0.01 and (drawn > mean).all()


def test_kl_of_a_standard_normal_posterior_is_zero():
    gaussian = model(kl_weight=1.0)
    torch.nn.init.zeros_(gaussian.down.weight)
    assert gaussian.encode(poisson())[1].abs().max() < 1e-6


@pytest.mark.parametrize(
    ("name", "genes", "norm_pairs", "size"),
    [("dentate_gyrus", 17_002, True, 3_403_372), ("repository_default", 9, True, 0), ("cd4", 9, False, 0)],
)
def test_the_formula_counts_the_parameters(name, genes, norm_pairs, size):
    config = counts.published_size(name, norm_pairs=norm_pairs)
    with torch.device("meta"):
        found = sum(p.numel() for p in SetAutoencoder(genes, config).parameters())
    assert found == counts.n_autoencoder_parameters(genes, config) and (not size or found == size)


def test_halves_of_a_cell_add_up_and_are_uncorrelated():
    x = torch.poisson(torch.full((4000, 2), 5.0), generator=torch.Generator().manual_seed(0))
    first, second = counts.thin(x, torch.Generator().manual_seed(1))
    assert torch.equal(first + second, x)
    assert abs(np.corrcoef(first[:, 0], second[:, 0])[0, 1]) < 0.05 < np.corrcoef(first[:, 0], x[:, 0])[0, 1]


def test_expressed_genes_come_first_and_padding_last():
    genes, values = expressed(torch.tensor([[0.0, 2, 0, 1], [0, 0, 3, 0]]))
    assert genes.tolist() == [[1, 3], [2, 4]] and values.tolist() == [[2, 1], [3, 0]]


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
    fitted = fit_counts(adata, genes=list(adata.var_names), config=replace(TINY, steps=80, **changes), progress=False)
    first, last = (np.mean(fitted.history["reconstruction"][part]) for part in (slice(5), slice(-5, None)))
    assert last < first
    z = fitted.encode(adata)
    mean, _ = fitted.decode(z, np.full(len(z), 7.0), ["g3", "g1"])
    assert z.shape == (80, 4, 4) and mean.shape == (80, 2)


def test_a_killed_fit_goes_on_with_the_same_numbers(adata, tmp_path, monkeypatch):
    monkeypatch.setattr("scimf.optimise.CHECKPOINT_EVERY", 5)
    options = {"genes": list(adata.var_names), "config": TINY, "progress": False}
    whole = fit_counts(adata, **options)

    def kill(step, terms):
        if step == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_counts(adata, cache=tmp_path, on_step=kill, **options)
    again = fit_counts(adata, cache=tmp_path, **options)
    assert again.history == whole.history
    assert all(torch.equal(v, again.model.state_dict()[k]) for k, v in whole.model.state_dict().items())
    (path,) = tmp_path.iterdir()
    path.write_bytes(b"x")
    with pytest.raises(ValueError, match="damaged"):
        fit_counts(adata, cache=tmp_path, **options)


def test_genes_may_be_asked_in_any_order_and_found_in_any_order(adata):
    fitted = fit_counts(adata, genes=list(adata.var_names), config=TINY, progress=False)
    np.testing.assert_allclose(fitted.encode(adata[:, ::-1].copy()), fitted.encode(adata), atol=1e-6)
    drawn = fitted.draw(fitted.encode(adata), np.full(80, 100.0), seed=1)
    assert drawn.shape == adata.shape and 80 < drawn.X.sum(1).mean() < 120
    with pytest.raises(KeyError, match="not in the panel.*nope"):
        fitted.decode(fitted.encode(adata), np.ones(80), ["g1", "nope"])
    with pytest.raises(KeyError, match="g29"):
        fitted.encode(adata[:, :29].copy())


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        (lambda a: a.X.__setitem__((2, 3), -1), ValueError, "negative values such as -1"),
        (lambda a: a.X.__setitem__((2, 3), 0.5), ValueError, "fractional values such as 0.5"),
        (lambda a: a.X.__setitem__((2, 3), np.nan), ValueError, "NaN"),
        (lambda a: a.X.__setitem__(2, 0), ValueError, "1 cells have no count.*2"),
        (lambda a: a.X.__setitem__((slice(None), 3), 0), ValueError, "1 genes of the panel.*g3"),
    ],
)
def test_bad_counts_are_refused_by_name(adata, change, error, match):
    bad = ad.AnnData(adata.X.toarray(), var=adata.var.copy())
    change(bad)
    with pytest.raises(error, match=match):
        fit_counts(bad, genes=list(bad.var_names), config=TINY, progress=False)


def test_the_panel_is_chosen_on_training_cells_and_has_no_silent_gene(adata):
    changed = ad.AnnData(adata.X.toarray(), var=adata.var.copy())
    changed.X[:, 5] = 0
    train = np.arange(80) < 40
    panel = choose_panel(changed, train, n_genes=10)
    changed.X[40:, 6] = 500
    assert len(panel) == 10 and "g5" not in panel and choose_panel(changed, train, n_genes=10) == panel
    assert panel_counts(changed, ["g3", "g0"]).shape == (80, 2)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"embedding": "sum"}, "embedding.*product"),
        ({"width": 30}, "heads.*divisor of width=30"),
        ({"steps": 0}, "steps.*positive"),
        ({"latent": 1}, "latent.*sphere"),
        ({"kl_weight": -1.0}, "kl_weight"),
    ],
)
def test_impossible_settings_are_refused(settings, match):
    with pytest.raises(ValueError, match=match):
        CountConfig(**settings)
    assert CountConfig.from_dict(TINY.to_dict()) == TINY


def test_many_fits_are_those_made_one_by_one(adata, tmp_path):
    options = {"genes": list(adata.var_names), "cache": tmp_path}
    configs = {"set": TINY, "plain": replace(TINY, architecture="mlp")}
    many = fit_counts_many(adata, configs=configs, seeds=range(2), workers=2, **options)
    assert set(many) == {(name, seed) for name in configs for seed in range(2)} and len(list(tmp_path.iterdir())) == 4
    alone = fit_counts(adata, genes=list(adata.var_names), config=TINY, seed=1, progress=False)
    assert many["set", 1].history == alone.history
