r"""A cell is a set of (gene, count) pairs: the exchangeable count autoencoder of scLDM (arXiv 2511.02986).

An encoder pools the pairs of a cell into a few latent tokens :math:`Z` and does not care about their order. A decoder
is asked about genes, one query each, and answers with a distribution of counts. Gene identity enters through one table
of embeddings, used on both sides. Derived in notebook 08.
"""

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, fields

import torch
from torch import nn
from torch.nn import functional as F

EMBEDDINGS = ("product", "concatenate")
LIKELIHOODS = ("negative_binomial", "gaussian")
DISPERSIONS = ("gene", "cell")
ARCHITECTURES = ("set", "mlp")
SCALE = 1e4  #: counts per cell of the Gaussian target, log(1 + SCALE x / sum x)
TINY = 1e-8


@dataclass(frozen=True, kw_only=True)
class CountConfig:
    """Every setting of an autoencoder and its fit. The defaults train on two CPU cores in minutes."""

    architecture: str = (
        "set"  #: "set", scLDM; or "mlp", the plain autoencoder of the CFGen family, at equal latent size
    )
    width: int = 32  #: d, of gene and latent tokens inside the network; hidden layers of "mlp" have 8 times as many
    tokens: int = 16  #: m, latent tokens of a cell
    latent: int = 8  #: D, numbers per latent token
    layers: int = 2  #: L, self-attention blocks in the encoder, and as many in the decoder
    heads: int = 4  #: of the self-attention blocks
    cross_heads: int = 2  #: of the pooling and the unpooling block
    embedding: str = "product"  #: of a pair: "product", e_g log(1 + x), or "concatenate", a linear map of both
    norm_pairs: bool = False  #: LayerNorm of the pairs before pooling, as published: of a product it leaves e_g alone
    gene_scale: float = 0.2  #: standard deviation of the gene embeddings at the start; 1 in the published code
    masked: bool = True  #: padding is not attended to; False: as in the published code
    likelihood: str = "negative_binomial"  #: or "gaussian", of log-normalised values: the ablation
    dispersion: str = "gene"  #: one per "gene", or per gene and "cell", a second output of the decoder
    kl_weight: float = 0.0  #: beta. 0: tokens on a sphere and no noise; above: Gaussian tokens, without the sphere
    split: bool = False  #: encode a random half of every cell's counts and score the other half, in training too
    batch_cells: int = 64  #: cells per step
    steps: int = 2500  #: optimiser steps
    lr: float = 3e-3  #: largest step size; warm-up over a tenth of the steps, square-root decay over the last tenth
    weight_decay: float = 0.0
    clip: float = 10.0  #: largest global gradient norm

    def __post_init__(self) -> None:
        """Refuse what would fail later, naming the setting and its choices."""
        choices = {
            "architecture": ARCHITECTURES,
            "embedding": EMBEDDINGS,
            "likelihood": LIKELIHOODS,
            "dispersion": DISPERSIONS,
        }
        for key, allowed in choices.items():
            if getattr(self, key) not in allowed:
                raise ValueError(f"CountConfig.{key}: expected one of {allowed}, got {getattr(self, key)!r}")
        for key in ("width", "tokens", "latent", "heads", "cross_heads", "gene_scale", "batch_cells", "steps", "lr"):
            if not getattr(self, key) > 0:
                raise ValueError(f"CountConfig.{key}: expected a positive number, got {getattr(self, key)!r}")
        for key in ("heads", "cross_heads"):
            if self.width % getattr(self, key):
                raise ValueError(
                    f"CountConfig.{key}: expected a divisor of width={self.width}, got {getattr(self, key)}"
                )
        if self.kl_weight < 0:
            raise ValueError(f"CountConfig.kl_weight: expected 0 or more, got {self.kl_weight!r}")
        if not self.kl_weight and self.latent < 2:
            raise ValueError("CountConfig.latent: a token on a sphere of zero mean needs at least 2 numbers, got 1")

    def to_dict(self) -> dict:
        """Plain values, for checkpoints and records."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict) -> "CountConfig":
        """Inverse of :meth:`to_dict`; unknown keys are an error."""
        unknown = set(values) - {f.name for f in fields(cls)}
        if unknown:
            raise ValueError(f"CountConfig: unknown settings {sorted(unknown)}")
        return cls(**values)


#: Sizes of published models by name, where all of them are known ("cd4" embeds pairs in a way that is not here).
PUBLISHED = {
    "repository_default": {"width": 32, "tokens": 16, "latent": 16, "layers": 8, "heads": 8, "cross_heads": 4},
    "dentate_gyrus": {"width": 128, "tokens": 128, "latent": 16, "layers": 2, "heads": 4, "cross_heads": 1},
    "cd4": {"width": 256, "tokens": 256, "latent": 16, "layers": 8, "heads": 4, "cross_heads": 4},
}


def published_size(name: str, **changes) -> CountConfig:
    """Return settings at the size of a published model, with its norm of the pairs, padding, embedding scale and step.

    Raises
    ------
    ValueError
        If there is no such model; names those there are.
    """
    if name not in PUBLISHED:
        raise ValueError(f"name: expected one of {sorted(PUBLISHED)}, got {name!r}")
    training = {"norm_pairs": True, "gene_scale": 1.0, "masked": False, "lr": 1e-3, "batch_cells": 128}
    return CountConfig(**(PUBLISHED[name] | training | changes))


def hidden_width(width: int) -> int:
    """Hidden layer of the SwiGLU block: 8/3 of the width, rounded up to a multiple of 4."""
    return -(-int(8 * width / 3) // 4) * 4


def n_autoencoder_parameters(n_genes: int, config: CountConfig) -> int:
    """Return the closed form for the negative-binomial model with product embedding and one dispersion per gene."""
    g, d, m, h = n_genes, config.width, config.tokens, hidden_width(config.width)
    norms = 12 * d if config.norm_pairs else 10 * d  # of the pooling and the unpooling block
    blocks = 2 * (4 * d * d + 3 * d * h) + norms + 2 * config.layers * (4 * d * d + 3 * d * h + 4 * d)
    return (g + 1) * (d + 1) + m * d + blocks + 2 * d * config.latent + d + 1


# ---------------------------------------------------------------------------------------------------- building blocks


class SwiGLU(nn.Module):
    r""":math:`W_o(\mathrm{SiLU}(W_1 x) \odot W_2 x)`, without biases. (…, width) -> (…, width)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = hidden_width(width)
        self.gate = nn.Linear(width, hidden, bias=False)
        self.value = nn.Linear(width, hidden, bias=False)
        self.out = nn.Linear(hidden, width, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the block."""
        return self.out(F.silu(self.gate(x)) * self.value(x))


class Attention(nn.Module):
    """Multi-head attention of queries (b, q, width) to a context (b, k, width); fused on CPU and GPU.

    A batch of 1 is broadcast against the other. ``mask`` (b, k) is ``False`` on what nobody may attend to.
    """

    def __init__(self, width: int, heads: int, bias: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width, bias=bias) for _ in range(4))

    def forward(self, x: torch.Tensor, context: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Return what each query gathers, (b, q, width)."""
        b = max(len(x), len(context))
        parts = (self.query(x), self.key(context), self.value(context))
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2).expand(b, -1, -1, -1) for part in parts)
        allowed = None if mask is None else mask[:, None, None, :]
        return self.out(F.scaled_dot_product_attention(q, k, v, attn_mask=allowed).transpose(1, 2).flatten(-2))


def _norm(width: int) -> nn.LayerNorm:
    return nn.LayerNorm(width, eps=TINY)


class CrossAttentionBlock(nn.Module):
    r"""MCAB: :math:`F + \mathrm{MLP}(\mathrm{LN}(F))`, :math:`F = S + \mathrm{MHA}(\mathrm{LN}(S), \mathrm{LN}(X))`.

    With learned queries :math:`S` it pools a set, whatever its order; with one query per gene it answers in the order
    it is asked. Without ``norm_context`` the context enters as it is, :math:`X` for :math:`\mathrm{LN}(X)`.
    """

    def __init__(self, width: int, heads: int, norm_context: bool = True) -> None:
        super().__init__()
        self.norm_query, self.norm_mlp = _norm(width), _norm(width)
        self.norm_context = _norm(width) if norm_context else nn.Identity()
        self.attention, self.mlp = Attention(width, heads), SwiGLU(width)

    def forward(self, query: torch.Tensor, context: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Return (b, q, width) for queries (1 or b, q, width) and a context (b, k, width)."""
        x = query + self.attention(self.norm_query(query), self.norm_context(context), mask)
        return x + self.mlp(self.norm_mlp(x))


class SelfAttentionBlock(nn.Module):
    """Pre-norm self-attention and SwiGLU, both with residuals. (b, m, width) -> (b, m, width)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm_attention, self.norm_mlp = _norm(width), _norm(width)
        self.attention, self.mlp = Attention(width, heads), SwiGLU(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the block."""
        y = self.norm_attention(x)
        x = x + self.attention(y, y)
        return x + self.mlp(self.norm_mlp(x))


# ----------------------------------------------------------------------------------------------------------- the model


def expressed(counts: torch.Tensor, pad_to: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Gene indices and counts of the expressed genes of each cell, padded with gene ``n_genes`` and count 0.

    (cells, genes) -> two (cells, length); ``length`` is that of the longest cell, or ``pad_to``.
    """
    n_genes = counts.shape[1]
    length = int((counts > 0).sum(1).max()) if pad_to is None else pad_to
    order = torch.sort((counts > 0).int(), dim=1, descending=True, stable=True).indices[:, :length]
    values = counts.gather(1, order)
    genes = torch.where(values > 0, order, n_genes)
    short = length - genes.shape[1]
    return F.pad(genes, (0, short), value=n_genes), F.pad(values, (0, short))


class CountAutoencoder(nn.Module, ABC):
    """What both architectures share: latent tokens, likelihood heads and the objective.

    A subclass makes ``config.latent`` numbers per token out of counts (twice as many if Gaussian) and raw outputs per
    gene out of tokens. The dispersions have one entry more than there are genes, as the published model has.
    """

    def __init__(self, n_genes: int, config: CountConfig) -> None:
        super().__init__()
        self.n_genes, self.config = n_genes, config
        self.gaussian = config.likelihood == "gaussian"
        self.n_outputs = 2 if config.dispersion == "cell" and not self.gaussian else 1
        shared = config.dispersion == "gene" and not self.gaussian
        self.log_dispersion = nn.Parameter(torch.ones(n_genes + 1)) if shared else None

    @abstractmethod
    def summarise(self, counts: torch.Tensor) -> torch.Tensor:
        """Map counts (cells, genes) to (cells, tokens, latent or twice that)."""

    @abstractmethod
    def outputs(self, z: torch.Tensor) -> torch.Tensor:
        """Latent tokens -> raw outputs (cells, genes, 1 or 2)."""

    def encode(self, counts: torch.Tensor, noise: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Return latent tokens (cells, tokens, latent) of counts (cells, genes), and their KL from N(0, I), (cells,).

        With ``kl_weight`` above 0 they are the posterior means, moved by ``noise`` (standard normal, like the tokens)
        times the posterior's standard deviations. Else they are of zero mean and mean square 1, and the KL is zero.
        """
        return self.place(self.summarise(counts), noise)

    def place(self, z: torch.Tensor, noise: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Put summaries on the sphere, or take them as Gaussian posteriors; as :meth:`encode`."""
        if not self.config.kl_weight:
            return on_sphere(z), z.new_zeros(len(z))
        mean, log_scale = z.chunk(2, -1)
        log_scale = log_scale.clamp(-7, 5)
        kl = 0.5 * (mean.square() + (2 * log_scale).exp() - 2 * log_scale - 1).sum((1, 2))
        return (mean if noise is None else mean + log_scale.exp() * noise), kl

    def decode(
        self, z: torch.Tensor, library: torch.Tensor, genes: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        r"""Mean and dispersion of the counts of ``genes`` (panel indices, any order), each (cells, genes).

        :math:`\mu_g = L \,\mathrm{softmax}(h)_g`. The softmax runs over the whole panel whatever is asked, so the mean
        of a gene does not depend on the company it is asked in. ``library`` (cells,) is the total over the panel. For
        the Gaussian likelihood: mean of the log-normalised value, and 1.
        """
        out = self.outputs(z if self.config.kl_weight else on_sphere(z))
        if self.gaussian:
            mean, dispersion = out[..., 0], torch.ones_like(out[..., 0])
        else:
            mean = library[:, None] * out[..., 0].softmax(-1)
            log = out[..., 1] if self.log_dispersion is None else self.log_dispersion[: self.n_genes].expand_as(mean)
            dispersion = log.exp()
        return (mean, dispersion) if genes is None else (mean[:, genes], dispersion[:, genes])

    def loss(self, counts: torch.Tensor, target: torch.Tensor, noise: torch.Tensor | None) -> dict[str, torch.Tensor]:
        """Terms of the objective, means over cells: ``reconstruction`` of ``target`` (nats), and weighted ``kl``.

        ``counts`` and ``target`` (cells, genes) are the same unless a cell is split; the library is the target's.
        """
        z, kl = self.encode(counts, noise)
        surprise = self.surprise(target, *self.decode(z, target.sum(1)))
        return {"reconstruction": surprise.mean(), "kl": self.config.kl_weight * kl.mean()}

    def surprise(self, counts: torch.Tensor, mean: torch.Tensor, dispersion: torch.Tensor) -> torch.Tensor:
        """Minus log-likelihood of counts (cells, genes), summed over genes, (cells,); a squared error if Gaussian."""
        if self.gaussian:
            return (log_normalised(counts) - mean).square().sum(1)
        return -log_negative_binomial(counts, mean, dispersion).sum(1)


class SetAutoencoder(CountAutoencoder):
    """The exchangeable autoencoder of one gene panel; row ``n_genes`` of the gene table is the padding."""

    def __init__(self, n_genes: int, config: CountConfig) -> None:
        super().__init__(n_genes, config)
        d = config.width
        self.genes = nn.Embedding(n_genes + 1, d)
        nn.init.normal_(self.genes.weight, std=config.gene_scale)
        self.mix = nn.Linear(2 * d, d, bias=False) if config.embedding == "concatenate" else None
        self.queries = nn.Parameter(torch.randn(config.tokens, d))
        # The norm of e_g log(1 + x_g) is that of e_g: it would show which genes are expressed, not how much.
        self.pool = CrossAttentionBlock(d, config.cross_heads, norm_context=config.norm_pairs)
        self.unpool = CrossAttentionBlock(d, config.cross_heads)
        self.encoder = nn.Sequential(*[SelfAttentionBlock(d, config.heads) for _ in range(config.layers)])
        self.decoder = nn.Sequential(*[SelfAttentionBlock(d, config.heads) for _ in range(config.layers)])
        self.down = nn.Linear(d, config.latent * (2 if config.kl_weight else 1), bias=False)
        self.up = nn.Linear(config.latent, d, bias=False)
        self.norm_out = _norm(d) if self.gaussian else nn.Identity()
        self.head = nn.Linear(d, self.n_outputs)

    def pairs(self, genes: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """Embed pairs: genes and counts (cells, length) -> (cells, length, width)."""
        table, level = self.genes(genes), torch.log1p(values)[..., None]
        return table * level if self.mix is None else self.mix(torch.cat([table, level.expand_as(table)], -1))

    def pool_pairs(self, genes: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """Pairs (cells, length) in any order, padded with gene ``n_genes`` -> (cells, tokens, latent or twice that)."""
        mask = genes < self.n_genes if self.config.masked else None
        return self.down(self.encoder(self.pool(self.queries[None], self.pairs(genes, values), mask)))

    def summarise(self, counts: torch.Tensor) -> torch.Tensor:
        """Map counts (cells, genes) to (cells, tokens, latent or twice that), through the expressed genes alone."""
        return self.pool_pairs(*expressed(counts))

    def outputs(self, z: torch.Tensor, genes: torch.Tensor | None = None) -> torch.Tensor:
        """Raw outputs (cells, queried genes, 1 or 2); all genes in order of the panel by default."""
        query = self.genes.weight[: self.n_genes] if genes is None else self.genes(genes)
        return self.head(self.norm_out(self.unpool(query[None], self.decoder(self.up(z)))))


class MLPAutoencoder(CountAutoencoder):
    """Two hidden layers each way with batch normalisation: no symmetry, genes have a fixed place (CFGen, scVI)."""

    def __init__(self, n_genes: int, config: CountConfig) -> None:
        super().__init__(n_genes, config)
        hidden, flat = 8 * config.width, config.tokens * config.latent

        def layers(*sizes: int) -> list[nn.Module]:
            pairs = zip(sizes[:-1], sizes[1:], strict=True)
            return [part for a, b in pairs for part in (nn.Linear(a, b), nn.BatchNorm1d(b), nn.ELU())]

        self.encoder = nn.Sequential(
            *layers(n_genes, hidden, hidden), nn.Linear(hidden, flat * (2 if config.kl_weight else 1))
        )
        self.decoder = nn.Sequential(*layers(flat, hidden, hidden), nn.Linear(hidden, n_genes * self.n_outputs))

    def summarise(self, counts: torch.Tensor) -> torch.Tensor:
        """Map counts (cells, genes) to (cells, tokens, latent or twice that)."""
        return self.encoder(torch.log1p(counts)).unflatten(-1, (self.config.tokens, -1))

    def outputs(self, z: torch.Tensor) -> torch.Tensor:
        """Latent tokens -> raw outputs (cells, genes, 1 or 2)."""
        return self.decoder(z.flatten(1)).unflatten(-1, (self.n_genes, -1))


def build(n_genes: int, config: CountConfig) -> CountAutoencoder:
    """Return a freshly initialised autoencoder of the configured architecture."""
    return {"set": SetAutoencoder, "mlp": MLPAutoencoder}[config.architecture](n_genes, config)


def on_sphere(z: torch.Tensor) -> torch.Tensor:
    """Each token (…, latent) at zero mean and mean square 1: LayerNorm without parameters."""
    return F.layer_norm(z, z.shape[-1:], eps=TINY)


def log_normalised(counts: torch.Tensor) -> torch.Tensor:
    """``log(1 + 1e4 x / sum x)`` of counts (cells, genes)."""
    return torch.log1p(SCALE * counts / counts.sum(1, keepdim=True).clamp_min(1))


def log_negative_binomial(x: torch.Tensor, mean: torch.Tensor, dispersion: torch.Tensor) -> torch.Tensor:
    r"""Log-probability of counts; mean :math:`\mu`, variance :math:`\mu + \mu^2/\theta`. Shapes broadcast."""
    log_total = torch.log(dispersion + mean + TINY)
    return (
        dispersion * (torch.log(dispersion + TINY) - log_total)
        + x * (torch.log(mean + TINY) - log_total)
        + torch.lgamma(x + dispersion)
        - torch.lgamma(dispersion)
        - torch.lgamma(x + 1)
    )


def draw_counts(mean: torch.Tensor, dispersion: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
    """Draw negative-binomial counts as Poisson counts with a Gamma rate; float tensor of whole numbers."""
    rate = torch._standard_gamma(dispersion, generator=generator) * mean / dispersion
    return torch.poisson(rate, generator=generator)


def thin(counts: torch.Tensor, generator: torch.Generator, share: float = 0.5) -> tuple[torch.Tensor, torch.Tensor]:
    """Split counts at random in two: each molecule goes to the first part with probability ``share``.

    The parts of a Poisson count are independent: a model that sees the first half is told nothing of the noise in the
    second (Neufeld et al. 2023, count splitting).
    """
    first = torch.binomial(counts, torch.full_like(counts, share), generator=generator)
    return first, counts - first
