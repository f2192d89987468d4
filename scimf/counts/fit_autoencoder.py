"""Counts to latent tokens and back, for AnnData: fit an autoencoder, encode, decode, draw."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from scipy import sparse

from scimf.core.checkpoints import write_checkpoint
from scimf.core.identity import identity
from scimf.core.optimise import Checkpoint, Plan, Progress, generator_of, optimise
from scimf.core.parallel import resolve_device, seeded
from scimf.counts.autoencoder import AUTOENCODERS, CountAutoencoder
from scimf.counts.config import CountConfig
from scimf.counts.likelihood import split_counts

if TYPE_CHECKING:
    from anndata import AnnData

BLOCK = 256  #: cells that are encoded or decoded together


def panel_counts(adata: "AnnData", genes: Sequence[str] | None = None) -> np.ndarray:
    """Return the counts of a gene panel, dense, (cells, genes) float32.

    From ``layers["counts"]`` if there, else ``X``. A ``KeyError`` names genes of the panel that are
    not there, a ``ValueError`` an example of values that are no counts, or of cells without any.
    """
    where = "X"
    x = adata.X
    if "counts" in adata.layers:
        where = 'layers["counts"]'
        x = adata.layers["counts"]
    if genes is not None:
        x = x[:, _columns(adata, genes)]
    counts = np.asarray(x.toarray() if sparse.issparse(x) else x, dtype=np.float32)
    _require_counts(counts, where, adata.obs_names)
    return counts


def _columns(adata: "AnnData", genes: Sequence[str]) -> np.ndarray:
    if not adata.var_names.is_unique:
        raise KeyError("genes of the panel cannot be found: var_names are not unique")
    index = adata.var_names.get_indexer(list(genes))
    missing = [gene for gene, i in zip(genes, index, strict=True) if i < 0]
    if missing:
        lost = f"{len(missing)} of the {len(genes)} genes of the panel cannot be found"
        raise KeyError(f"{lost} (not in var_names: {missing[:5]})")
    return index


def _require_counts(counts: np.ndarray, where: str, cells: Sequence[str]) -> None:
    wrong = ~np.isfinite(counts) | (counts < 0) | (counts != np.round(counts))
    if wrong.any():
        i, g = np.argwhere(wrong)[0]
        example = f"values such as {counts[i, g]:g} (cell {cells[i]})"
        raise ValueError(f"{where}: {example}; expected raw counts, whole numbers from 0 on")
    empty = np.flatnonzero(counts.sum(1) == 0)
    if len(empty):
        lost = f"{len(empty)} cells have no count on the panel"
        raise ValueError(f"{where}: {lost} (such as {cells[empty[0]]}); drop them")


def choose_panel(
    adata: "AnnData", cells: np.ndarray | None = None, *, n_genes: int = 1000
) -> list[str]:
    """Return the ``n_genes`` most variable genes of the cells ``cells`` (cells,), in their order.

    Genes without any count in these cells are never chosen: nothing can be learned about them.
    """
    import anndata as ad
    import scanpy as sc

    seen = adata if cells is None else adata[cells]
    counts = panel_counts(seen)
    kept = np.flatnonzero(counts.sum(0) > 0)
    if len(kept) > n_genes:
        logged = ad.AnnData(sparse.csr_matrix(counts[:, kept]))
        sc.pp.normalize_total(logged, target_sum=1e4)
        sc.pp.log1p(logged)
        sc.pp.highly_variable_genes(logged)
        spread = logged.var["dispersions_norm"].fillna(-np.inf).to_numpy()
        kept = kept[np.sort(np.argsort(-spread, kind="stable")[:n_genes])]
    return list(adata.var_names[kept])


@dataclass
class FittedCounts:
    """A fitted autoencoder and the genes it knows. ``n`` is the number of cells below."""

    model: CountAutoencoder
    genes: tuple[str, ...]
    seed: int
    history: dict[str, list[float]]

    @property
    def config(self) -> CountConfig:
        """Settings of the fit."""
        return self.model.config

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device

    @torch.no_grad()
    def encode(self, cells: "AnnData | np.ndarray") -> np.ndarray:
        """Latent tokens, (n, tokens, latent).

        ``cells`` is an AnnData with all genes of the panel, in any order, or counts (n, genes).
        """
        counts = cells if isinstance(cells, np.ndarray) else panel_counts(cells, self.genes)
        parts = []
        for block in torch.as_tensor(counts).split(BLOCK):
            z, _ = self.model.encode(block.to(self.device))
            parts.append(z.cpu())
        return torch.cat(parts).numpy()

    def encode_as_trained(self, matrix: np.ndarray, *, seed: int = 0) -> np.ndarray:
        """Latent tokens (n, tokens, latent) of counts (n, genes), seen as in training.

        Whole, or a random half of each cell: an autoencoder that was trained on halves has never
        met a cell at its full depth. Latents of a half also hold the noise of a half only, and what
        is decoded from them is meant for another half: noise is not counted twice.
        """
        if self.config.split:
            generator = torch.Generator().manual_seed(seed)
            half = split_counts(torch.as_tensor(matrix), generator)[0].numpy()
            # A cell of one count may have an empty half.
            matrix = np.where(half.sum(1, keepdims=True) > 0, half, matrix)
        return self.encode(matrix)

    @torch.no_grad()
    def decode(self, z: np.ndarray, library: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and dispersion of the counts of all genes of the panel, (n, genes) both.

        ``z`` holds latent tokens (n, tokens, latent), or flat (n, tokens * latent); ``library``
        total counts over the panel, (n,).
        """
        z = np.asarray(z, np.float32).reshape(len(z), self.config.tokens, self.config.latent)
        blocks = torch.as_tensor(z).split(BLOCK)
        totals = torch.as_tensor(np.asarray(library, np.float32)).split(BLOCK)
        means, dispersions = [], []
        for block, total in zip(blocks, totals, strict=True):
            mean, dispersion = self.model.decode(block.to(self.device), total.to(self.device))
            means.append(mean.cpu())
            dispersions.append(dispersion.cpu())
        return torch.cat(means).numpy(), torch.cat(dispersions).numpy()

    def draw(self, z: np.ndarray, library: np.ndarray, *, seed: int = 0) -> "AnnData":
        """Cells with counts drawn from what ``z`` decodes to; arguments as in :meth:`decode`."""
        import anndata as ad
        import pandas as pd

        mean, dispersion = map(torch.as_tensor, self.decode(z, library))
        generator = torch.Generator().manual_seed(seed)
        counts = self.model.draw(mean, dispersion, generator).numpy()
        cells = ad.AnnData(sparse.csr_matrix(counts), var=pd.DataFrame(index=list(self.genes)))
        cells.obs_names = [f"generated{i}" for i in range(len(counts))]
        return cells

    def save(self, path: Path | str) -> None:
        """Write everything to a file for :func:`scimf.load_model`; an old one is replaced."""
        write_checkpoint(Path(path), {"kind": "counts", **self.to_dict()})

    def to_dict(self) -> dict[str, Any]:
        """Plain values and tensors."""
        return {
            "config": self.config.to_dict(),
            "weights": self.model.state_dict(),
            "genes": self.genes,
            "seed": self.seed,
            "history": self.history,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Inverse of :meth:`to_dict`, on the CPU."""
        config = CountConfig.from_dict(values["config"])
        genes = tuple(values["genes"])
        model = AUTOENCODERS[config.architecture](len(genes), config)
        model.load_state_dict(values["weights"])
        return cls(model.eval(), genes, values["seed"], values["history"])


def fit_counts(
    adata: "AnnData",
    cells: np.ndarray | None = None,
    *,
    genes: Sequence[str] | None = None,
    config: CountConfig | None = None,
    seed: int = 0,
    device: str = "auto",
    cache: Path | str | None = None,
    progress: Progress = True,
) -> FittedCounts:
    """Fit the autoencoder to raw counts.

    Parameters
    ----------
    adata, cells
        Raw counts, and which cells to train on, (cells,) booleans; all by default. Others are never
        touched.
    genes
        Panel; by default :func:`choose_panel` of the training cells.
    config, seed, device, progress
        As in :func:`scimf.fit`.
    cache
        Folder for checkpoints, named by the hash of counts, panel, settings, seed and code.

    Raises
    ------
    KeyError, ValueError
        As :func:`panel_counts`, before any work; and if a gene of the panel has no count in the
        training cells.
    """
    config = config or CountConfig()
    seen = adata if cells is None else adata[np.asarray(cells)]
    if not seen.n_obs:
        raise ValueError("cells: no training cell is selected")
    genes = choose_panel(seen) if genes is None else list(genes)
    counts = panel_counts(seen, genes)
    silent = [gene for gene, total in zip(genes, counts.sum(0), strict=True) if not total]
    if silent:
        lost = f"{len(silent)} genes of the panel have no count in the training cells"
        raise ValueError(f"{lost}: {silent[:5]}")
    checkpoint = None
    if cache is not None:
        settings = {"genes": genes, "config": config.to_dict(), "seed": seed}
        name = identity(_train, settings=settings, arrays=[counts])
        checkpoint = Checkpoint(Path(cache) / f"counts_{name}.pt", name)
    model, history = _train(counts, config, seed, resolve_device(device), checkpoint, progress)
    return FittedCounts(model, tuple(genes), seed, history)


def _train(
    counts: np.ndarray,
    config: CountConfig,
    seed: int,
    device: torch.device,
    checkpoint: Checkpoint | None,
    progress: Progress,
) -> tuple[CountAutoencoder, dict[str, list[float]]]:
    with seeded(seed):
        model = AUTOENCODERS[config.architecture](counts.shape[1], config).to(device)
    data = torch.as_tensor(counts)

    def losses(step: int) -> dict[str, torch.Tensor]:
        generator = generator_of(seed, step)
        batch, target = _draw_batch(data, config, generator)
        shape = (len(batch), config.tokens, config.latent)
        noise = torch.randn(shape, generator=generator).to(device)
        terms = model.loss(batch.to(device), target.to(device), noise)
        if not config.kl_weight:
            del terms["kl"]
        return terms

    plan = Plan(
        steps=config.steps, lr=config.lr, weight_decay=config.weight_decay, clip=config.clip
    )
    history = optimise(
        model, losses, plan, checkpoint=checkpoint, progress=progress, label="counts"
    )
    return model, history


def _draw_batch(
    data: torch.Tensor, config: CountConfig, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw what one step encodes, and what it scores: two halves of the same counts if split."""
    size = min(config.batch_cells, len(data))
    batch = data[torch.randint(len(data), (size,), generator=generator)]
    if not config.split:
        return batch, batch
    seen, scored = split_counts(batch, generator)
    filled = (seen.sum(1) > 0) & (scored.sum(1) > 0)
    return seen[filled], scored[filled]
