"""The exchangeable count autoencoder: symmetries, latent tokens, decoded counts, sizes."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from scimf.counts.autoencoder import _ExchangeableAutoencoder, _expressed_genes
from scimf.counts.config import DISPERSIONS, EMBEDDINGS, CountConfig

TINY = CountConfig(
    width=16, tokens=4, latent=4, layers=1, heads=2, cross_heads=1, batch_cells=32, steps=12
)
GENES = 30


def poisson(cells=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    rates = torch.linspace(0.05, 2, GENES) * torch.rand(cells, 1, generator=generator)
    return torch.poisson(rates, generator=generator)


def model(seed=0, **changes):
    torch.manual_seed(seed)
    return _ExchangeableAutoencoder(GENES, replace(TINY, **changes)).eval()


def pooled(encoder, genes, values):
    z, _ = encoder.place(encoder.pool_pairs(genes, values))
    return z


@pytest.mark.parametrize("embedding", EMBEDDINGS)
def test_encoding_does_not_depend_on_the_order_of_pairs(embedding):
    encoder = model(embedding=embedding)
    genes, values = _expressed_genes(poisson())
    order = torch.randperm(genes.shape[1])
    shuffled = pooled(encoder, genes[:, order], values[:, order])
    assert (shuffled - encoder.encode(poisson())[0]).abs().max() < 1e-5


@pytest.mark.parametrize(
    ("norm_pairs", "embedding", "forgets"),
    [(True, "product", True), (True, "concatenate", False), (False, "product", False)],
)
def test_published_norm_of_a_product_forgets_how_much_is_expressed(norm_pairs, embedding, forgets):
    x = poisson() + 1
    encoder = model(norm_pairs=norm_pairs, embedding=embedding)
    gap = (encoder.encode(x)[0] - encoder.encode(torch.ones_like(x))[0]).abs().max()
    assert (gap < 1e-4) == forgets


def test_decoding_follows_the_order_of_queries():
    decoder = model()
    z = torch.randn(3, 4, 4)
    order = torch.randperm(GENES)
    assert (decoder.outputs(z, order) - decoder.outputs(z)[:, order]).abs().max() < 1e-6
    asked = order[:7]
    mean, dispersion = decoder.decode(z, torch.full((3,), 50.0), asked)
    every_mean, every_dispersion = decoder.decode(z, torch.full((3,), 50.0))
    assert torch.equal(mean, every_mean[:, asked])
    assert torch.equal(dispersion, every_dispersion[:, asked])


@pytest.mark.parametrize("embedding", EMBEDDINGS)
def test_padding_changes_nothing_if_masked_and_something_if_not(embedding):
    x = poisson()
    changed = {}
    for masked in (True, False):
        encoder = model(embedding=embedding, masked=masked)
        genes, values = _expressed_genes(x)
        short = pooled(encoder, genes, values)
        padding = (0, 200)
        long = pooled(encoder, F.pad(genes, padding, value=GENES), F.pad(values, padding))
        changed[masked] = float((short - long).detach().abs().max())
    assert changed[True] < 1e-5 < 1e-3 < changed[False]


def test_expressed_genes_come_first_and_padding_last():
    genes, values = _expressed_genes(torch.tensor([[0.0, 2, 0, 1], [0, 0, 3, 0]]))
    assert genes.tolist() == [[1, 3], [2, 4]]
    assert values.tolist() == [[2, 1], [3, 0]]


@pytest.mark.parametrize("dispersion", DISPERSIONS)
def test_means_sum_to_the_library_and_dispersions_are_positive(dispersion):
    library = torch.tensor([1.0, 10, 100, 1e3, 1e4])
    mean, theta = model(dispersion=dispersion).decode(torch.randn(5, 4, 4), library)
    torch.testing.assert_close(mean.sum(1), library, rtol=1e-5, atol=0)
    assert (theta > 0).all()


def test_drawn_counts_have_the_mean_and_variance_of_the_negative_binomial():
    mean = torch.tensor([0.5, 4.0])
    theta = torch.tensor([0.7, 3.0])
    generator = torch.Generator().manual_seed(0)
    drawn = model().draw(mean.expand(40_000, 2), theta.expand(40_000, 2), generator)
    torch.testing.assert_close(drawn.mean(0), mean, rtol=0.05, atol=0)
    torch.testing.assert_close(drawn.var(0), mean + mean**2 / theta, rtol=0.1, atol=0)


def test_a_gaussian_likelihood_has_no_counts_to_draw():
    with pytest.raises(ValueError, match="Gaussian.*no counts"):
        model(likelihood="gaussian").draw(torch.ones(1, 2), torch.ones(1, 2))


def test_tokens_lie_on_the_sphere_unless_they_are_gaussian():
    z, kl = model().encode(poisson())
    torch.testing.assert_close(z.mean(-1), torch.zeros(6, 4), atol=1e-5, rtol=0)
    torch.testing.assert_close(z.square().mean(-1), torch.ones(6, 4), atol=1e-4, rtol=0)
    assert (kl == 0).all()
    gaussian = model(kl_weight=0.01)
    mean, kl = gaussian.encode(poisson())
    drawn, _ = gaussian.encode(poisson(), torch.ones(6, 4, 4))
    assert (kl > 0).all()
    assert mean.square().mean(-1).sub(1).abs().max() > 0.01
    assert (drawn > mean).all()


def test_kl_of_a_standard_normal_posterior_is_zero():
    gaussian = model(kl_weight=1.0)
    torch.nn.init.zeros_(gaussian.down.weight)
    assert gaussian.encode(poisson())[1].abs().max() < 1e-6


def closed_form(n_genes, config):
    """Parameters of the negative-binomial model with product embedding and dispersions by gene."""
    width = config.width
    hidden = -(-int(8 * width / 3) // 4) * 4
    attention_and_mlp = 4 * width * width + 3 * width * hidden
    norms = (12 if config.norm_pairs else 10) * width  # of the pooling and the unpooling block
    cross = 2 * attention_and_mlp + norms
    self_attention = 2 * config.layers * (attention_and_mlp + 4 * width)
    tables = (n_genes + 1) * (width + 1) + config.tokens * width  # genes, dispersions, queries
    ends = 2 * width * config.latent + width + 1
    return tables + cross + self_attention + ends


@pytest.mark.parametrize(
    ("name", "genes", "norm_pairs", "size"),
    [
        ("dentate_gyrus", 17_002, True, 3_403_372),
        ("repository_default", 9, True, None),
        ("cd4", 9, False, None),
    ],
)
def test_the_formula_counts_the_parameters(name, genes, norm_pairs, size):
    config = CountConfig.paper(name, norm_pairs=norm_pairs)
    with torch.device("meta"):
        found = sum(p.numel() for p in _ExchangeableAutoencoder(genes, config).parameters())
    assert found == closed_form(genes, config)
    assert size is None or found == size


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
def test_impossible_count_settings_are_refused(settings, match):
    with pytest.raises(ValueError, match=match):
        CountConfig(**settings)


def test_count_settings_can_be_written_down_and_read():
    assert CountConfig.from_dict(TINY.to_dict()) == TINY
    with pytest.raises(ValueError, match="cd4.*nope"):
        CountConfig.paper("nope")
