"""Counts to latent tokens and back, for AnnData: fit the autoencoder of ``scimf.counts``, encode, decode, draw."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import sparse

from scimf.counts import CountAutoencoder, CountConfig, build, draw_counts, thin
from scimf.optimise import Plan, identity_of, optimise

if TYPE_CHECKING:
    from anndata import AnnData

BLOCK = 256  #: cells that are encoded or decoded together


def panel_counts(adata: "AnnData", genes: Sequence[str] | None = None) -> np.ndarray:  # (cells, genes) float32
    """Return the counts of a gene panel, dense, from ``layers["counts"]`` if there, else ``X``.

    Raises
    ------
    KeyError
        If genes of the panel are missing from ``var_names``; names some of them.
    ValueError
        If values are not finite, negative or not whole, or if a cell has no count on the panel; names an example.
    """
    x = adata.layers["counts"] if "counts" in adata.layers else adata.X
    where = 'layers["counts"]' if "counts" in adata.layers else "X"
    if genes is not None:
        index = adata.var_names.get_indexer(list(genes))
        if (missing := [g for g, i in zip(genes, index, strict=True) if i < 0]) or not adata.var_names.is_unique:
            known = "var_names are not unique" if not missing else f"not in var_names: {missing[:5]}"
            raise KeyError(f"{len(missing)} of the {len(genes)} genes of the panel cannot be found ({known})")
        x = x[:, index]
    counts = np.asarray(x.toarray() if sparse.issparse(x) else x, dtype=np.float32)
    if not np.isfinite(counts).all():
        raise ValueError(f"{where}: NaN or infinite values, expected counts")
    for wrong, what in ((counts < 0, "negative"), (counts != np.round(counts), "fractional")):
        if wrong.any():
            i, g = np.argwhere(wrong)[0]
            raise ValueError(
                f"{where}: {what} values such as {counts[i, g]:g} (cell {adata.obs_names[i]}); expected raw counts"
            )
    if (empty := counts.sum(1) == 0).any():
        example = adata.obs_names[np.flatnonzero(empty)[0]]
        raise ValueError(f"{where}: {empty.sum()} cells have no count on the panel (such as {example}); drop them")
    return counts


def choose_panel(adata: "AnnData", cells: np.ndarray | None = None, *, n_genes: int = 1000) -> list[str]:
    """Return the ``n_genes`` most variable genes of the cells selected by ``cells`` (cells,), in their order.

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
    def encode(self, cells: "AnnData | np.ndarray") -> np.ndarray:  # (n, tokens, latent)
        """Latent tokens of an AnnData with all genes of the panel (in any order), or of counts (n, genes)."""
        counts = cells if isinstance(cells, np.ndarray) else panel_counts(cells, self.genes)
        parts = (torch.as_tensor(counts[i : i + BLOCK], device=self.device) for i in range(0, len(counts), BLOCK))
        return np.concatenate([self.model.encode(part)[0].cpu().numpy() for part in parts])

    @torch.no_grad()
    def decode(
        self, z: np.ndarray, library: np.ndarray, genes: Sequence[str] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:  # (n, genes), (n, genes)
        """Mean and dispersion of the counts of ``genes`` (any order; the panel by default).

        ``z`` (n, tokens, latent) or flat (n, tokens * latent); ``library`` (n,), total counts over the panel.
        """
        asked = None if genes is None else self._index(genes)
        z = np.asarray(z, np.float32).reshape(len(z), self.config.tokens, self.config.latent)
        parts = []
        for i in range(0, len(z), BLOCK):
            block = torch.as_tensor(z[i : i + BLOCK], device=self.device)
            total = torch.as_tensor(np.asarray(library[i : i + BLOCK], np.float32), device=self.device)
            parts.append([part.cpu().numpy() for part in self.model.decode(block, total, asked)])
        mean, dispersion = zip(*parts, strict=True)
        return np.concatenate(mean), np.concatenate(dispersion)

    def draw(self, z: np.ndarray, library: np.ndarray, *, seed: int = 0) -> "AnnData":
        """Cells whose counts are drawn from what ``z`` decodes to; arguments as in :meth:`decode`."""
        import anndata as ad
        import pandas as pd

        if self.config.likelihood == "gaussian":
            raise ValueError("a Gaussian likelihood has no counts to draw; decode() gives log-normalised means")
        mean, dispersion = (torch.as_tensor(part) for part in self.decode(z, library))
        counts = draw_counts(mean, dispersion, torch.Generator().manual_seed(seed)).numpy()
        cells = ad.AnnData(sparse.csr_matrix(counts), var=pd.DataFrame(index=list(self.genes)))
        cells.obs_names = [f"generated{i}" for i in range(len(counts))]
        return cells

    def _index(self, genes: Sequence[str]) -> torch.Tensor:
        place = {gene: i for i, gene in enumerate(self.genes)}
        if missing := [g for g in genes if g not in place]:
            raise KeyError(f"{len(missing)} of {len(genes)} genes are not in the panel of {len(place)}: {missing[:5]}")
        return torch.tensor([place[g] for g in genes], device=self.device)


def fit_counts(
    adata: "AnnData",
    cells: np.ndarray | None = None,
    *,
    genes: Sequence[str] | None = None,
    config: CountConfig | None = None,
    seed: int = 0,
    device: str = "auto",
    cache: Path | str | None = None,
    progress: bool = True,
    on_step: Callable[[int, dict[str, float]], None] | None = None,
) -> FittedCounts:
    """Fit the autoencoder to raw counts.

    Parameters
    ----------
    adata, cells
        Raw counts, and which cells to train on, (cells,) booleans; all by default. Others are never touched.
    genes
        Panel; by default :func:`choose_panel` of the training cells.
    config, seed, device, progress, on_step
        As in :func:`scimf.fit`.
    cache
        Folder for checkpoints, named by the hash of counts, panel, settings, seed and code.

    Raises
    ------
    KeyError, ValueError
        As :func:`panel_counts`, before any work; and if a gene of the panel has no count in the training cells.
    """
    config = config or CountConfig()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else torch.device(device)
    seen = adata if cells is None else adata[np.asarray(cells)]
    if not seen.n_obs:
        raise ValueError("cells: no training cell is selected")
    genes = choose_panel(seen) if genes is None else list(genes)
    counts = panel_counts(seen, genes)
    if silent := [g for g, total in zip(genes, counts.sum(0), strict=True) if not total]:
        raise ValueError(f"{len(silent)} genes of the panel have no count in the training cells: {silent[:5]}")
    torch.manual_seed(seed)
    model = build(len(genes), config).to(device)
    data = torch.as_tensor(counts)

    def losses(generator: torch.Generator) -> dict[str, torch.Tensor]:
        batch = data[torch.randint(len(data), (min(config.batch_cells, len(data)),), generator=generator)]
        if config.split:
            seen_half, scored_half = thin(batch, generator)
            filled = (seen_half.sum(1) > 0) & (scored_half.sum(1) > 0)
            batch, target = seen_half[filled].to(device), scored_half[filled].to(device)
        else:
            batch = target = batch.to(device)
        noise = torch.randn(len(batch), config.tokens, config.latent, generator=generator).to(device)
        terms = model.loss(batch, target, noise)
        return terms if config.kl_weight else {"reconstruction": terms["reconstruction"]}

    identity = identity_of([counts], [genes, config.to_dict(), seed], ["counts", "autoencode"])
    path = None if cache is None else Path(cache) / f"counts_{identity}.pt"
    plan = Plan(steps=config.steps, lr=config.lr, weight_decay=config.weight_decay, clip=config.clip)
    options = {"identity": identity, "path": path, "progress": progress, "label": "counts", "on_step": on_step}
    history = optimise(model, losses, plan, seed=seed, **options)
    return FittedCounts(model, tuple(genes), seed, history)


def fit_counts_many(
    adata: "AnnData",
    cells: np.ndarray | None = None,
    *,
    genes: Sequence[str],
    configs: dict[str, CountConfig],
    seeds: Iterable[int],
    cache: Path | str,
    device: str = "auto",
    workers: int | None = None,
) -> dict[tuple[str, int], FittedCounts]:
    """Fit every configuration with every seed, side by side in single-threaded processes; finished fits are read.

    Returns ``(name, seed) -> FittedCounts``; ``workers`` defaults to the number of cores, at most 8, and 1 on a GPU.
    """
    from joblib import Parallel, delayed

    jobs = [(name, seed) for seed in seeds for name in configs]
    on_gpu = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    workers = workers or (1 if on_gpu else min(8, os.cpu_count() or 1))
    options = {"genes": list(genes), "device": device, "cache": cache, "progress": False}
    run = Parallel(n_jobs=min(workers, len(jobs)))
    run(delayed(_fit_quietly)(adata, cells, config=configs[name], seed=seed, **options) for name, seed in jobs)
    return {(name, seed): fit_counts(adata, cells, config=configs[name], seed=seed, **options) for name, seed in jobs}


def _fit_quietly(adata: "AnnData", cells: np.ndarray | None, **options) -> None:
    torch.set_num_threads(1)  # two processes of one thread beat one process of two
    fit_counts(adata, cells, **options)
