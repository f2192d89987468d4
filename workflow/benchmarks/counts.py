"""What counts cost: training an autoencoder and drawing from a flow, in cells per second."""

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
from beside.simulated_counts import factorial

from scimf.counts.config import CountConfig
from scimf.counts.fit_autoencoder import fit_counts
from scimf.counts.fit_flow import fit_flow
from scimf.counts.flow import FlowConfig
from workflow.benchmarks.timing import in_turns, spread

if TYPE_CHECKING:
    from anndata import AnnData

_SCVI_EPOCHS = 5
_SCVI_TRAINED_ON = 0.9  #: share of the cells; the rest validates


def count_costs(*, rounds: int, steps: int = 20, n_genes: int = 500, device: str) -> dict:
    """Time training (set, plain, and scVI if installed) and sampling (fixed and adaptive steps)."""
    adata = factorial(seed=0, n_cells=1000, n_genes=n_genes)
    return _training(adata, steps, device, rounds) | _sampling(adata, steps, device, rounds)


def _configs(steps: int) -> dict[str, CountConfig]:
    plain = CountConfig(
        tokens=8, split=True, steps=8 * steps, architecture="mlp", lr=1e-3, batch_cells=128
    )
    return {"set": CountConfig(tokens=8, split=True, steps=steps), "plain": plain}


def _training(adata: "AnnData", steps: int, device: str, rounds: int) -> dict:
    genes = list(adata.var_names)
    runs: dict[str, Callable] = {}
    cells = {}
    for name, config in _configs(steps).items():
        runs[name] = partial(
            fit_counts, adata, genes=genes, config=config, device=device, progress=False
        )
        cells[name] = config.steps * config.batch_cells
    if find_spec("scvi") is not None:
        from evidence.scvi_peer import fit_scvi

        every = np.ones(adata.n_obs, bool)
        runs["scvi"] = partial(fit_scvi, adata, every, max_epochs=_SCVI_EPOCHS)
        cells["scvi"] = _SCVI_EPOCHS * 2 * adata.n_obs * _SCVI_TRAINED_ON
    found = {}
    for name, seconds in in_turns(runs, rounds).items():
        found[f"training_cells_per_second.{name}"] = spread(cells[name] / seconds)
    return found


def _sampling(adata: "AnnData", steps: int, device: str, rounds: int) -> dict:
    autoencoder = fit_counts(
        adata,
        genes=list(adata.var_names),
        config=_configs(steps)["plain"],
        device=device,
        progress=False,
    )
    flow = fit_flow(
        autoencoder,
        adata,
        conditions=("cell_type",),
        config=FlowConfig(width=64, blocks=2, steps=200),
        progress=False,
    )
    labels = flow.conditions.labels(adata.obs[:500])
    runs = {
        "heun_20": partial(flow.latents, labels, seed=0),
        "heun_40": partial(flow.latents, labels, seed=0, evaluations=40),
        "dopri5": partial(flow.latents, labels, seed=0, solver="dopri5"),
    }
    latents = {name: draw() for name, draw in runs.items()}
    found = {}
    for name, seconds in in_turns(runs, rounds).items():
        found[f"sampling_cells_per_second.{name}"] = spread(len(labels) / seconds)
    for name in ("heun_20", "heun_40"):  # the adaptive sampler has a tolerance of 1e-5 a step
        error = (latents[name] - latents["dopri5"]) / flow.sd
        found[f"sampling_error.{name}"] = float(np.sqrt(np.mean(error**2)))
    return found
