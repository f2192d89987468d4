"""Fit many models of counts side by side: autoencoders for a comparison, flows for each of them."""

from collections.abc import Iterable, Sequence
from functools import partial
from operator import call
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from scimf.core.parallel import side_by_side
from scimf.counts.config import CountConfig
from scimf.counts.fit_autoencoder import FittedCounts, fit_counts
from scimf.counts.fit_flow import FittedFlow, fit_flow

if TYPE_CHECKING:
    from anndata import AnnData


def fit_counts_many(
    adata: "AnnData",
    cells: np.ndarray | None = None,
    *,
    genes: Sequence[str],
    configs: dict[str, CountConfig],
    seeds: Iterable[int],
    cache: Path | str,
    device: str = "auto",
) -> dict[tuple[str, int], FittedCounts]:
    """Fit every configuration with every seed, side by side; finished fits are read.

    ``adata, cells, genes, cache, device`` as in :func:`scimf.fit_counts`; ``configs, seeds`` and
    the dictionary ``(name, seed) -> FittedCounts`` as in :func:`scimf.fit_many`.
    """
    shared = {"genes": genes, "device": device, "cache": cache, "progress": False}
    fits = {}
    for seed in seeds:
        for name, config in configs.items():
            options = {**shared, "config": config, "seed": seed}
            fits[name, seed] = partial(fit_counts, adata, cells, **options)
    jobs = [(fit,) for fit in fits.values()]
    made = side_by_side(call, jobs, device=device)
    return dict(zip(fits, made, strict=True))


def fit_flow_many(jobs: Sequence[dict], *, cache: Path | str) -> list[FittedFlow]:
    """Fit flows side by side, as many as there are cores or one on a GPU; finished fits are read.

    Each job holds keywords of :func:`scimf.fit_flow`; the result is in the order of the jobs.
    """
    on_gpu = any(job["counts"].device.type == "cuda" for job in jobs)
    fits = [(partial(fit_flow, **job, cache=cache, progress=False),) for job in jobs]
    return side_by_side(call, fits, workers=1 if on_gpu else None)
