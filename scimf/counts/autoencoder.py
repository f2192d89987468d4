r"""A cell is a set of (gene, count) pairs: the exchangeable autoencoder of scLDM.

arXiv 2511.02986. An encoder pools the pairs of a cell into a few latent tokens :math:`Z` and does
not care about their order. A decoder is asked about genes, one query each, and answers with a
distribution of counts. Gene identity enters through one table of embeddings, used on both sides.
Derived in notebook 07.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scimf.counts.blocks import EPS, AttentionBlock
from scimf.counts.config import CountConfig
from scimf.counts.likelihood import log_negative_binomial, log_normalised


def _expressed_genes(counts: Tensor) -> tuple[Tensor, Tensor]:
    """Return indices and counts of the expressed genes, padded with gene ``n_genes`` and count 0.

    (cells, genes) -> two (cells, length); ``length`` is that of the longest cell.
    """
    expressed = counts > 0
    longest = int(expressed.sum(1).max())
    order = torch.sort(expressed.int(), dim=1, descending=True, stable=True).indices[:, :longest]
    values = counts.gather(1, order)
    return torch.where(values > 0, order, counts.shape[1]), values


def _on_sphere(z: Tensor) -> Tensor:
    """Each token (…, latent) at zero mean and mean square 1: LayerNorm without parameters."""
    return F.layer_norm(z, z.shape[-1:], eps=EPS)


class CountAutoencoder(nn.Module, ABC):
    """What both architectures share: latent tokens, likelihood and objective.

    A subclass makes ``config.latent`` numbers per token out of counts (twice as many if Gaussian)
    and raw outputs per gene out of tokens. The dispersions have one entry more than there are
    genes, as the published model has.
    """

    def __init__(self, n_genes: int, config: CountConfig) -> None:
        super().__init__()
        self.n_genes = n_genes
        self.config = config
        self.gaussian = config.likelihood == "gaussian"
        self.n_outputs = 1
        self.log_dispersion = None
        if not self.gaussian and config.dispersion == "cell":
            self.n_outputs = 2
        elif not self.gaussian:
            self.log_dispersion = nn.Parameter(torch.ones(n_genes + 1))

    @abstractmethod
    def summarise(self, counts: Tensor) -> Tensor:
        """Map counts (cells, genes) to (cells, tokens, latent or twice that)."""

    @abstractmethod
    def outputs(self, z: Tensor) -> Tensor:
        """Latent tokens -> raw outputs (cells, genes, 1 or 2)."""

    def encode(self, counts: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Latent tokens (cells, tokens, latent) of counts, and their KL from N(0, I), (cells,).

        With ``kl_weight`` above 0 the tokens are the posterior means, moved by ``noise`` (standard
        normal, like the tokens) times the posterior's standard deviations. Else they are of zero
        mean and mean square 1, and the KL is zero.
        """
        return self.place(self.summarise(counts), noise)

    def place(self, z: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Put summaries on the sphere, or take them as Gaussian posteriors; as :meth:`encode`."""
        if not self.config.kl_weight:
            return _on_sphere(z), z.new_zeros(len(z))
        mean, log_scale = z.chunk(2, -1)
        log_scale = log_scale.clamp(-7, 5)
        kl = 0.5 * (mean.square() + (2 * log_scale).exp() - 2 * log_scale - 1).sum((1, 2))
        if noise is None:
            return mean, kl
        return mean + log_scale.exp() * noise, kl

    def decode(
        self, z: Tensor, library: Tensor, genes: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        r"""Mean and dispersion of the counts of ``genes``, each (cells, genes).

        :math:`\mu_g = L \,\mathrm{softmax}(h)_g`. The softmax runs over the whole panel, so the
        mean of a gene does not depend on which others are asked for. For the Gaussian likelihood:
        mean of the log-normalised value, and 1.

        ``z`` holds latent tokens (cells, tokens, latent), ``library`` total counts over the panel
        (cells,), ``genes`` panel indices in any order (all by default).
        """
        if not self.config.kl_weight:
            z = _on_sphere(z)
        out = self.outputs(z)
        if self.gaussian:
            mean = out[..., 0]
            dispersion = torch.ones_like(mean)
        else:
            mean = library[:, None] * out[..., 0].softmax(-1)
            dispersion = self._log_dispersion_of(out).exp()
        if genes is None:
            return mean, dispersion
        return mean[:, genes], dispersion[:, genes]

    def _log_dispersion_of(self, out: Tensor) -> Tensor:
        if self.log_dispersion is None:
            return out[..., 1]
        return self.log_dispersion[: self.n_genes].expand(out.shape[:-1])

    def loss(self, counts: Tensor, target: Tensor, noise: Tensor | None) -> dict[str, Tensor]:
        """Terms of the objective, means over cells.

        ``reconstruction`` of ``target`` (nats), and weighted ``kl``. ``counts`` and ``target``
        (cells, genes) are the same unless counts are split; the library is the target's.
        """
        z, kl = self.encode(counts, noise)
        mean, dispersion = self.decode(z, target.sum(1))
        error = self.reconstruction_error(target, mean, dispersion)
        return {"reconstruction": error.mean(), "kl": self.config.kl_weight * kl.mean()}

    def reconstruction_error(self, counts: Tensor, mean: Tensor, dispersion: Tensor) -> Tensor:
        """Minus log-likelihood of counts (cells, genes), summed over genes, (cells,).

        A squared error if Gaussian.
        """
        if self.gaussian:
            return (log_normalised(counts) - mean).square().sum(1)
        return -log_negative_binomial(counts, mean, dispersion).sum(1)

    def draw(
        self, mean: Tensor, dispersion: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw negative-binomial counts, as Poisson counts with a Gamma rate: whole floats."""
        if self.gaussian:
            reason = "has no counts to draw; decode() gives log-normalised means"
            raise ValueError(f"a Gaussian likelihood {reason}")
        rate = torch._standard_gamma(dispersion, generator=generator) * mean / dispersion
        return torch.poisson(rate, generator=generator)


class _ExchangeableAutoencoder(CountAutoencoder):
    """The exchangeable autoencoder of one gene panel.

    Row ``n_genes`` of the table of gene embeddings is the padding.
    """

    def __init__(self, n_genes: int, config: CountConfig) -> None:
        super().__init__(n_genes, config)
        width = config.width
        self.genes = nn.Embedding(n_genes + 1, width)
        nn.init.normal_(self.genes.weight, std=config.gene_scale)
        concatenate = config.embedding == "concatenate"
        self.mix = nn.Linear(2 * width, width, bias=False) if concatenate else None
        self.queries = nn.Parameter(torch.randn(config.tokens, width))
        # The norm of e_g log(1 + x_g) is that of e_g: which genes are expressed, not how much.
        self.pool = AttentionBlock(width, config.cross_heads, norm_context=config.norm_pairs)
        self.unpool = AttentionBlock(width, config.cross_heads, norm_context=True)
        self.encoder = _self_attention(config)
        self.decoder = _self_attention(config)
        self.down = nn.Linear(width, _summary_size(config), bias=False)
        self.up = nn.Linear(config.latent, width, bias=False)
        self.norm_out = nn.LayerNorm(width, eps=EPS) if self.gaussian else nn.Identity()
        self.head = nn.Linear(width, self.n_outputs)

    def pairs(self, genes: Tensor, values: Tensor) -> Tensor:
        """Embed pairs: genes and counts (cells, length) -> (cells, length, width)."""
        embedded = self.genes(genes)
        level = torch.log1p(values)[..., None]
        if self.mix is None:
            return embedded * level
        return self.mix(torch.cat([embedded, level.expand_as(embedded)], -1))

    def pool_pairs(self, genes: Tensor, values: Tensor) -> Tensor:
        """Pairs (cells, length) in any order -> (cells, tokens, latent or twice that).

        Padding is gene ``n_genes``.
        """
        mask = None
        if self.config.masked:
            mask = genes < self.n_genes
        pooled = self.pool(self.queries[None], self.pairs(genes, values), mask)
        return self.down(self.encoder(pooled))

    def summarise(self, counts: Tensor) -> Tensor:
        """Map counts to tokens as :meth:`pool_pairs` does, of the expressed genes alone."""
        return self.pool_pairs(*_expressed_genes(counts))

    def outputs(self, z: Tensor, genes: Tensor | None = None) -> Tensor:
        """Raw outputs (cells, queried genes, 1 or 2); the panel in its order by default."""
        query = self.genes.weight[: self.n_genes] if genes is None else self.genes(genes)
        answers = self.unpool(query[None], self.decoder(self.up(z)))
        return self.head(self.norm_out(answers))


def _self_attention(config: CountConfig) -> nn.Sequential:
    blocks = [AttentionBlock(config.width, config.heads) for _ in range(config.layers)]
    return nn.Sequential(*blocks)


def _summary_size(config: CountConfig) -> int:
    """Numbers per token that an encoder gives: mean and log s.d. if the tokens are Gaussian."""
    return config.latent * (2 if config.kl_weight else 1)


class _MLPAutoencoder(CountAutoencoder):
    """Two hidden layers each way with batch normalisation; no symmetry of genes (CFGen, scVI)."""

    def __init__(self, n_genes: int, config: CountConfig) -> None:
        super().__init__(n_genes, config)
        hidden = 8 * config.width
        self.encoder = nn.Sequential(
            *_hidden_layers(n_genes, hidden),
            nn.Linear(hidden, config.tokens * _summary_size(config)),
        )
        self.decoder = nn.Sequential(
            *_hidden_layers(config.tokens * config.latent, hidden),
            nn.Linear(hidden, n_genes * self.n_outputs),
        )

    def summarise(self, counts: Tensor) -> Tensor:
        """Map counts (cells, genes) to (cells, tokens, latent or twice that)."""
        return self.encoder(torch.log1p(counts)).unflatten(-1, (self.config.tokens, -1))

    def outputs(self, z: Tensor) -> Tensor:
        """Latent tokens -> raw outputs (cells, genes, 1 or 2)."""
        return self.decoder(z.flatten(1)).unflatten(-1, (self.n_genes, -1))


def _hidden_layers(n_in: int, hidden: int) -> list[nn.Module]:
    layers = []
    for size in (n_in, hidden):
        layers += [nn.Linear(size, hidden), nn.BatchNorm1d(hidden), nn.ELU()]
    return layers


#: Architecture -> class, made with the number of genes and the settings.
AUTOENCODERS = {"set": _ExchangeableAutoencoder, "mlp": _MLPAutoencoder}
