"""scVI at its ordinary size (scvi-tools; Lopez 2018).

It answers the two calls by which an autoencoder is scored here. An extra, for it brings a training
framework that nothing else here needs: :data:`RECIPE`. It changes no pinned package.
"""

import logging
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scimf.core.checkpoints import read_checkpoint, write_checkpoint
from scimf.core.identity import identity
from scimf.counts.fit_autoencoder import panel_counts
from scimf.counts.likelihood import split_counts

if TYPE_CHECKING:
    from anndata import AnnData

RECIPE = 'pip install -c constraints.txt -e ".[scvi]"'
#: The package's defaults, with a negative binomial.
ORDINARY = {"n_latent": 10, "n_hidden": 128, "n_layers": 1, "gene_likelihood": "nb"}


@dataclass
class FittedScvi:
    """A fitted scVI; ``n`` is the number of cells below."""

    module: torch.nn.Module

    @torch.no_grad()
    def encode(self, counts: np.ndarray) -> np.ndarray:  # (n, n_latent)
        """Mean of the approximate posterior, given counts (n, genes)."""
        x = torch.as_tensor(np.asarray(counts, np.float32))
        return self.module.inference(x, torch.zeros(len(x), 1))["qz"].loc.numpy()

    @torch.no_grad()
    def decode(
        self, z: np.ndarray, library: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:  # (n, genes), (n, genes)
        """Mean and dispersion of the counts; ``z`` (n, n_latent), ``library`` (n,)."""
        total = torch.as_tensor(np.asarray(library, np.float32))[:, None]
        z = torch.as_tensor(np.asarray(z, np.float32))
        batch = torch.zeros(len(z), 1)
        px = self.module.generative(z=z, library=total.log(), batch_index=batch)["px"]
        return px.mu.numpy(), px.theta.expand_as(px.mu).numpy()


def fit_scvi(
    adata: "AnnData",
    cells: np.ndarray,
    *,
    seed: int = 0,
    max_epochs: int = 400,
    cache: Path | str | None = None,
) -> FittedScvi:
    """Fit scVI to the raw counts of the cells selected by ``cells`` (cells,), all genes.

    It is given both binomial halves of every training cell as cells, so that it has seen the depth
    at which a count-split score will ask it, and stops early on a tenth of them. ``cache`` is a
    folder for finished fits, named by the hash of counts, settings and seed.

    Raises
    ------
    ModuleNotFoundError
        If scvi-tools is not installed, with :data:`RECIPE`.
    ValueError
        As :func:`scimf.counts.fit_autoencoder.panel_counts`.
    """
    require_scvi()
    counts = torch.as_tensor(panel_counts(adata[cells]))
    halves = split_counts(counts, torch.Generator().manual_seed(seed))
    x = torch.cat([half[half.sum(1) > 0] for half in halves]).numpy()
    model = _untrained(x, seed)
    settings = {
        "network": ORDINARY,
        "seed": seed,
        "max_epochs": max_epochs,
        "version": version("scvi-tools"),
    }
    name = identity(fit_scvi, settings=settings, arrays=[x])
    path = None if cache is None else Path(cache) / f"scvi_{name}.pt"
    if path is not None and path.exists():
        model.module.load_state_dict(read_checkpoint(path, name)["weights"])
        return FittedScvi(model.module.cpu().eval())
    quiet = {"enable_progress_bar": False, "logger": False, "enable_checkpointing": False}
    model.train(max_epochs=max_epochs, early_stopping=True, accelerator="cpu", **quiet)
    if path is not None:
        content = {"identity": name, "step": max_epochs, "weights": model.module.state_dict()}
        write_checkpoint(path, content)
    return FittedScvi(model.module.cpu().eval())


def _untrained(x: np.ndarray, seed: int) -> Any:
    """Return a model of counts (cells, genes) with fresh weights."""
    import anndata as ad
    from scvi import settings
    from scvi.model import SCVI

    # Advertisements, and devices it did not find.
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    settings.seed = seed
    given = ad.AnnData(x)
    SCVI.setup_anndata(given)
    return SCVI(given, **ORDINARY)


def require_scvi() -> None:
    """Refuse to go on without scvi-tools.

    Raises
    ------
    ModuleNotFoundError
        With :data:`RECIPE`.
    """
    if find_spec("scvi") is None:
        asked = "the rows of scVI were asked for"
        raise ModuleNotFoundError(f"scvi-tools is not installed, and {asked}: {RECIPE}")
