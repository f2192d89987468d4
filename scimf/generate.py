"""Cells from noise: fit the latent flow to encoded cells, draw library sizes, and decode to counts."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from scimf.autoencode import FittedCounts, panel_counts
from scimf.counts import thin
from scimf.flow import DiffusionTransformer, FlowConfig, flow_loss, guided, integrate
from scimf.librarysizes import LibraryGivenLatent, LibrarySizes
from scimf.optimise import Plan, identity_of, optimise

if TYPE_CHECKING:
    from anndata import AnnData

BLOCK = 512  #: cells that are integrated together


@dataclass(frozen=True)
class Conditions:
    """Names of categorical columns of ``obs`` and the values each had in training."""

    values: dict[str, tuple[str, ...]]

    @classmethod
    def of(cls, obs: pd.DataFrame, names: Sequence[str]) -> "Conditions":
        """Collect the values of the columns ``names``."""
        if missing := [name for name in names if name not in obs]:
            raise KeyError(f"conditions: obs has no columns {missing}, there are {list(obs.columns)}")
        if unknown := [name for name in names if obs[name].isna().any()]:
            raise ValueError(f"conditions: obs[{unknown[0]!r}] has missing values in training cells")
        return cls({name: tuple(sorted(obs[name].astype(str).unique())) for name in names})

    @property
    def levels(self) -> tuple[int, ...]:
        """Number of values of each condition."""
        return tuple(len(values) for values in self.values.values())

    def labels(self, obs: pd.DataFrame) -> np.ndarray:  # (cells, conditions) of int
        """Labels of rows; a column that is absent, or a missing value, is "not told".

        Raises
        ------
        ValueError
            If a value was not seen in training; names it and those that were.
        """
        columns = []
        for name, values in self.values.items():
            column = obs[name] if name in obs else pd.Series(np.nan, index=obs.index)
            if unknown := sorted(set(column.dropna().astype(str)) - set(values)):
                raise ValueError(f"conditions: {name} has unknown values {unknown[:5]}, training had {list(values)}")
            place = {value: k for k, value in enumerate(values)}
            told = column.notna()
            columns.append(np.where(told, column.astype(str).map(place).fillna(len(values)), len(values)))
        return np.stack(columns, 1).astype(np.int64) if columns else np.zeros((len(obs), 0), np.int64)


def encode_as_trained(counts: FittedCounts, matrix: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """Latents (cells, tokens, latent) of counts (cells, genes), seen as in training: whole, or a random half of each.

    An autoencoder that was trained on halves has never met a cell at its full depth. Latents of a half also hold the
    noise of a half only, and what is decoded from them is meant for another half: noise is not counted twice.
    """
    if counts.config.split:
        half = thin(torch.as_tensor(matrix), torch.Generator().manual_seed(seed))[0].numpy()
        matrix = np.where(half.sum(1, keepdims=True) > 0, half, matrix)  # a cell of one count may have an empty half
    return counts.encode(matrix)


@dataclass
class FittedFlow:
    """A latent flow, the autoencoder it draws for, and the training statistics that go with it."""

    model: DiffusionTransformer
    counts: FittedCounts
    conditions: Conditions
    library: LibrarySizes  #: given the conditions alone
    depth: LibraryGivenLatent  #: given the standardised latent, too, which is what :meth:`sample` draws from
    mean: np.ndarray  #: (tokens, latent), of the training latents
    sd: np.ndarray  #: (tokens, latent)
    seed: int
    history: dict[str, list[float]]

    @torch.no_grad()
    def latents(
        self,
        labels: np.ndarray,
        *,
        weight: float = 1.0,
        guidance: str | None = None,
        solver: str = "heun",
        evaluations: int = 20,
        seed: int = 0,
    ) -> np.ndarray:  # (cells, tokens, latent)
        """Latent tokens for labels (cells, conditions); arguments as in :meth:`sample`."""
        device, kind = self.model.enter.weight.device, guidance or self.model.config.guidance
        noise = torch.randn(len(labels), *self.mean.shape, generator=torch.Generator().manual_seed(seed))
        parts = []
        for i in range(0, len(labels), BLOCK):
            told = torch.as_tensor(labels[i : i + BLOCK], device=device)
            velocity = guided(self.model, told, weight, kind)
            z = integrate(velocity, noise[i : i + BLOCK].to(device), solver=solver, evaluations=evaluations)
            parts.append(z.cpu().numpy())
        return np.concatenate(parts) * self.sd + self.mean

    def totals(self, z: np.ndarray, labels: np.ndarray, *, seed: int = 0) -> np.ndarray:  # (cells,)
        """Draw total counts for latents (cells, tokens, latent) and labels (cells, conditions)."""
        return self.depth.draw(((z - self.mean) / self.sd).reshape(len(z), -1), labels, seed=seed)

    def sample(
        self, obs: pd.DataFrame | int, *, library: np.ndarray | None = None, seed: int = 0, **options
    ) -> "AnnData":
        """Draw cells with counts.

        Parameters
        ----------
        obs
            One row per cell with its conditions; a missing column or value is not told. Or a number of cells, then
            nothing is told.
        library
            Total counts (cells,); by default drawn for each cell's latent and conditions, by the law of training cells.
        seed
            Noise, library sizes and counts.
        **options
            ``weight``, the strength of guidance, and its kind ``guidance`` ("joint" or "additive", that of training by
            default); ``solver`` ("euler", "heun" or "dopri5") and ``evaluations`` of the velocity.

        Returns
        -------
        AnnData
            ``X`` (cells, genes of the panel), counts; ``obs``, the conditions; ``obsm["X_latent"]``, flat tokens.
        """
        obs = pd.DataFrame(index=range(obs)) if isinstance(obs, int) else obs
        if not len(obs):
            raise ValueError("obs: no cell is asked for")
        labels = self.conditions.labels(obs)
        z = self.latents(labels, seed=seed, **options)
        library = self.totals(z, labels, seed=seed) if library is None else np.asarray(library)
        cells = self.counts.draw(z, library, seed=int(np.random.SeedSequence([seed, 1]).generate_state(1)[0]))
        for name in (name for name in self.conditions.values if name in obs):
            cells.obs[name] = pd.Categorical(obs[name].astype(str))
        cells.obsm["X_latent"] = z.reshape(len(z), -1).astype(np.float32)
        return cells


def fit_flow(
    counts: FittedCounts,
    adata: "AnnData",
    cells: np.ndarray | None = None,
    *,
    conditions: Sequence[str] = (),
    config: FlowConfig | None = None,
    seed: int = 0,
    cache: Path | str | None = None,
    progress: bool = True,
    on_step: Callable[[int, dict[str, float]], None] | None = None,
) -> FittedFlow:
    """Encode the training cells once (:func:`encode_as_trained`), and fit the flow to their standardised latents.

    Parameters
    ----------
    counts
        The fitted autoencoder, which stays as it is; the flow is fitted on its device.
    adata, cells
        Raw counts, and which cells to train on, (cells,) booleans; all by default. Others are never touched.
    conditions
        Categorical columns of ``obs``.
    config, seed, cache, progress, on_step
        As in :func:`scimf.autoencode.fit_counts`.
    """
    config = config or FlowConfig()
    seen = adata if cells is None else adata[np.asarray(cells)]
    known = Conditions.of(seen.obs, conditions)
    labels = known.labels(seen.obs)
    matrix = panel_counts(seen, counts.genes)
    latent = encode_as_trained(counts, matrix, seed=seed)
    mean, sd = latent.mean(0), latent.std(0).clip(1e-6)
    known_by = (matrix.sum(1), labels, known.levels)
    library = LibrarySizes.of(*known_by)
    depth = LibraryGivenLatent.of(((latent - mean) / sd).reshape(len(latent), -1), *known_by)
    torch.manual_seed(seed)
    model = DiffusionTransformer(*mean.shape, known.levels, config).to(counts.device)
    data, told = torch.as_tensor((latent - mean) / sd), torch.as_tensor(labels)

    def losses(generator: torch.Generator) -> dict[str, torch.Tensor]:
        rows = torch.randint(len(data), (min(config.batch_cells, len(data)),), generator=generator)
        return {"velocity": flow_loss(model, data[rows].to(counts.device), told[rows].to(counts.device), generator)}

    settings = [known.values, config.to_dict(), seed]
    identity = identity_of([data.numpy(), labels], settings, ["counts", "flow", "generate"])
    path = None if cache is None else Path(cache) / f"flow_{identity}.pt"
    plan = Plan(
        steps=config.steps,
        lr=config.lr,
        schedule="cosine",
        betas=(0.9, 0.999),
        clip=config.clip,
        average=config.average,
    )
    options = {"identity": identity, "path": path, "progress": progress, "label": "flow", "on_step": on_step}
    history = optimise(model, losses, plan, seed=seed, **options)
    return FittedFlow(model, counts, known, library, depth, mean, sd, seed, history)


def fit_flow_many(jobs: Sequence[dict], *, cache: Path | str, workers: int | None = None) -> list[FittedFlow]:
    """Fit several flows side by side in single-threaded processes; finished fits are read.

    ``jobs`` are keywords of :func:`fit_flow`, the result is in their order; ``workers`` defaults to the number of
    cores, at most 8, and 1 where the autoencoders are on a GPU.
    """
    from joblib import Parallel, delayed

    on_gpu = any(job["counts"].device.type == "cuda" for job in jobs)
    workers = workers or (1 if on_gpu else min(8, os.cpu_count() or 1))
    Parallel(n_jobs=min(workers, len(jobs)))(delayed(_fit_quietly)(job, cache) for job in jobs)
    return [fit_flow(**job, cache=cache, progress=False) for job in jobs]


def _fit_quietly(job: dict, cache: Path | str) -> None:
    torch.set_num_threads(1)  # two processes of one thread beat one process of two
    fit_flow(**job, cache=cache, progress=False)
