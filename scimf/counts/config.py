"""Every setting of a count autoencoder and its fit, and the settings of published models."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from scimf.core.config import Config
from scimf.core.files import read_toml

ARCHITECTURES = ("set", "mlp")
EMBEDDINGS = ("product", "concatenate")
LIKELIHOODS = ("negative_binomial", "gaussian")
DISPERSIONS = ("gene", "cell")


@dataclass(frozen=True, kw_only=True)
class CountConfig(Config):
    """Settings of an autoencoder and its fit. The defaults train on two CPU cores in minutes."""

    #: "set", scLDM; or "mlp", the plain autoencoder of the CFGen family, at equal latent size
    architecture: str = "set"
    #: d, of gene and latent tokens in the network; hidden layers of "mlp" have 8 times as many
    width: int = 32
    tokens: int = 16  #: m, latent tokens of a cell
    latent: int = 8  #: D, numbers per latent token
    layers: int = 2  #: L, self-attention blocks in the encoder, and as many in the decoder
    heads: int = 4  #: of the self-attention blocks
    cross_heads: int = 2  #: of the pooling and the unpooling block
    #: of a pair: "product", e_g log(1 + x), or "concatenate", a linear map of both
    embedding: str = "product"
    #: LayerNorm of the pairs before pooling (published): of a product it leaves e_g alone
    norm_pairs: bool = False
    gene_scale: float = 0.2  #: s.d. of the gene embeddings at the start; 1 in the published code
    masked: bool = True  #: padding is not attended to; False: as in the published code
    #: or "gaussian", of log-normalised values: the ablation
    likelihood: str = "negative_binomial"
    #: one per "gene", or per gene and "cell", a second output of the decoder
    dispersion: str = "gene"
    #: beta. 0: tokens on a sphere and no noise; above: Gaussian tokens, without the sphere
    kl_weight: float = 0.0
    #: count splitting: encode a random half of each cell's counts and score the other half
    split: bool = False
    batch_cells: int = 64  #: cells per step
    steps: int = 2500  #: optimiser steps
    #: largest step size; warm-up over a tenth of the steps, square-root decay over the last tenth
    lr: float = 3e-3
    weight_decay: float = 0.0
    clip: float = 10.0  #: largest global gradient norm

    def __post_init__(self) -> None:
        """Refuse what would fail later, naming the setting and its choices."""
        self.require_one_of("architecture", ARCHITECTURES)
        self.require_one_of("embedding", EMBEDDINGS)
        self.require_one_of("likelihood", LIKELIHOODS)
        self.require_one_of("dispersion", DISPERSIONS)
        self.require_positive("width", "tokens", "latent", "heads", "cross_heads")
        self.require_positive("gene_scale", "batch_cells", "steps", "lr")
        for name in ("heads", "cross_heads"):
            if self.width % getattr(self, name):
                self._refuse(name, f"expected a divisor of width={self.width}")
        if self.kl_weight < 0:
            self._refuse("kl_weight", "expected 0 or more")
        if not self.kl_weight and self.latent < 2:
            self._refuse("latent", "a token on a sphere of zero mean needs at least 2 numbers")

    @classmethod
    def paper(cls, name: str, **changes) -> Self:
        """Return settings of a published model, one of ``published.toml``, with changes."""
        published = read_toml(Path(__file__).with_name("published.toml"))
        if name not in published:
            raise ValueError(f"name: expected one of {sorted(published)}, got {name!r}")
        return cls(**(published[name] | changes))

    def _refuse(self, name: str, reason: str) -> None:
        raise ValueError(f"CountConfig.{name}: {reason}, got {getattr(self, name)!r}")
