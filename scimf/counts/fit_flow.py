"""Cells from noise: fit the latent flow to encoded cells, draw library sizes, decode to counts."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
import torch

from scimf.core.checkpoints import write_checkpoint
from scimf.core.identity import identity
from scimf.core.optimise import Checkpoint, Plan, Progress, generator_of, optimise
from scimf.core.parallel import seeded
from scimf.counts.fit_autoencoder import FittedCounts, panel_counts
from scimf.counts.flow import DiffusionTransformer, FlowConfig, integrate
from scimf.counts.library_size import LibrarySizes

if TYPE_CHECKING:
    from anndata import AnnData

BLOCK = 512  #: cells that are integrated together


@dataclass(frozen=True)
class _Conditions:
    """Names of categorical columns of ``obs`` and the values each had in training."""

    values: dict[str, tuple[str, ...]]

    @classmethod
    def of(cls, obs: pd.DataFrame, names: Sequence[str]) -> Self:
        """Collect the values of the columns ``names``."""
        missing = [name for name in names if name not in obs]
        if missing:
            there = list(obs.columns)
            raise KeyError(f"conditions: obs has no columns {missing}, there are {there}")
        values = {}
        for name in names:
            if obs[name].isna().any():
                raise ValueError(f"conditions: obs[{name!r}] has missing values in training cells")
            values[name] = tuple(sorted(obs[name].astype(str).unique()))
        return cls(values)

    @property
    def levels(self) -> tuple[int, ...]:
        """Number of values of each condition."""
        return tuple(len(values) for values in self.values.values())

    def labels(self, obs: pd.DataFrame) -> np.ndarray:
        """Labels of rows, (cells, conditions) int; an absent column or missing value is "unknown".

        A ``ValueError`` if a value was not seen in training; it names those that were.
        """
        labels = np.empty((len(obs), len(self.values)), np.int64)
        for k, (name, values) in enumerate(self.values.items()):
            column = obs[name] if name in obs else pd.Series(np.nan, index=obs.index)
            new = sorted(set(column.dropna().astype(str)) - set(values))
            if new:
                known = f"training had {list(values)}"
                raise ValueError(f"conditions: {name} has unknown values {new[:5]}, {known}")
            found = pd.Index(values).get_indexer(column.astype(str))
            labels[:, k] = np.where(column.notna(), found, len(values))
        return labels


@dataclass
class FittedFlow:
    """A latent flow, the autoencoder it draws for, and the training statistics that go with it."""

    model: DiffusionTransformer
    counts: FittedCounts
    conditions: _Conditions  #: ``values`` by name, and ``labels(obs)``
    library: LibrarySizes  #: given the conditions alone
    depth: LibrarySizes  #: given the standardised latent, too: what :meth:`sample` draws from
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
        solver: str = "heun",
        evaluations: int = 20,
        seed: int = 0,
    ) -> np.ndarray:
        """Latent tokens (cells, tokens, latent) for labels (cells, conditions).

        Arguments as in :meth:`sample`.
        """
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(len(labels), *self.mean.shape, generator=generator)
        parts = []
        blocks = torch.as_tensor(labels).split(BLOCK)
        for block, start in zip(blocks, noise.split(BLOCK), strict=True):
            on_device = block.to(self.model.device)
            velocity = self.model.guided(on_device, weight, self.model.config.guidance)
            start = start.to(self.model.device)
            z = integrate(velocity, start, solver=solver, evaluations=evaluations)
            parts.append(z.cpu())
        return torch.cat(parts).numpy() * self.sd + self.mean

    def sample(
        self,
        obs: pd.DataFrame | int,
        *,
        library: np.ndarray | None = None,
        seed: int = 0,
        **options,
    ) -> "AnnData":
        """Draw cells with counts.

        Parameters
        ----------
        obs
            One row per cell with its conditions; a missing column or value is unknown. Or a number
            of cells, then nothing is known.
        library
            Total counts (cells,); by default drawn for each cell's latent and conditions, by the
            law of training cells.
        seed
            Noise, library sizes and counts.
        **options
            ``weight``, the strength of guidance (of the kind it was trained with); ``solver``
            ("euler", "heun" or "dopri5") and ``evaluations`` of the velocity; see
            :func:`scimf.counts.flow.integrate`.

        Returns
        -------
        AnnData
            ``X`` (cells, genes of the panel), counts; ``obs``, the conditions;
            ``obsm["X_latent"]``, flat tokens.
        """
        obs = pd.DataFrame(index=range(obs)) if isinstance(obs, int) else obs
        if not len(obs):
            raise ValueError("obs: no cell is asked for")
        labels = self.conditions.labels(obs)
        z = self.latents(labels, seed=seed, **options)
        if library is None:
            standardised = ((z - self.mean) / self.sd).reshape(len(z), -1)
            library = self.depth.draw(labels, latent=standardised, seed=seed)
        counts_seed = int(np.random.SeedSequence([seed, 1]).generate_state(1)[0])
        cells = self.counts.draw(z, np.asarray(library), seed=counts_seed)
        for name in self.conditions.values:
            if name in obs:
                known = obs[name].astype(object).where(obs[name].notna(), "unknown")
                cells.obs[name] = pd.Categorical(known.astype(str))
        cells.obsm["X_latent"] = z.reshape(len(z), -1).astype(np.float32)
        return cells

    def save(self, path: Path | str) -> None:
        """Write everything to a file for :func:`scimf.load_model`, the autoencoder included."""
        write_checkpoint(Path(path), {"kind": "flow", **self.to_dict()})

    def to_dict(self) -> dict[str, Any]:
        """Plain values, tensors and arrays."""
        return {
            "config": self.model.config.to_dict(),
            "weights": self.model.state_dict(),
            "counts": self.counts.to_dict(),
            "conditions": self.conditions.values,
            "library": asdict(self.library),
            "depth": asdict(self.depth),
            "mean": self.mean,
            "sd": self.sd,
            "seed": self.seed,
            "history": self.history,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Inverse of :meth:`to_dict`, on the CPU; tensors may stand for arrays."""
        conditions = _Conditions(values["conditions"])
        mean = np.asarray(values["mean"])
        config = FlowConfig.from_dict(values["config"])
        model = DiffusionTransformer(*mean.shape, conditions.levels, config)
        model.load_state_dict(values["weights"])
        return cls(
            model.eval(),
            FittedCounts.from_dict(values["counts"]),
            conditions,
            LibrarySizes(**values["library"]),
            LibrarySizes(**values["depth"]),
            mean,
            np.asarray(values["sd"]),
            values["seed"],
            values["history"],
        )


def fit_flow(
    counts: FittedCounts,
    adata: "AnnData",
    cells: np.ndarray | None = None,
    *,
    conditions: Sequence[str] = (),
    config: FlowConfig | None = None,
    seed: int = 0,
    cache: Path | str | None = None,
    progress: Progress = True,
) -> FittedFlow:
    """Encode the training cells once, and fit the flow to their standardised latents.

    Parameters
    ----------
    counts
        The fitted autoencoder, which stays as it is; the flow is fitted on its device. Cells are
        encoded by :meth:`FittedCounts.encode_as_trained`.
    conditions
        Categorical columns of ``obs``.
    adata, cells, config, seed, cache, progress
        As in :func:`scimf.counts.fit_autoencoder.fit_counts`.

    Raises
    ------
    KeyError, ValueError
        If a condition is no column of ``obs`` or has missing values; and as
        :func:`scimf.counts.fit_autoencoder.panel_counts`.
    """
    config = config or FlowConfig()
    seen = adata if cells is None else adata[np.asarray(cells)]
    known = _Conditions.of(seen.obs, conditions)
    labels = known.labels(seen.obs)
    matrix = panel_counts(seen, counts.genes)
    latent = counts.encode_as_trained(matrix, seed=seed)
    mean = latent.mean(0)
    sd = latent.std(0).clip(1e-6)
    standardised = (latent - mean) / sd
    totals = matrix.sum(1)
    library = LibrarySizes.of(totals, labels, known.levels)
    depth = LibrarySizes.of(totals, labels, known.levels, standardised.reshape(len(latent), -1))
    data = _Latents(standardised.astype(np.float32), labels, known.levels)
    checkpoint = None
    if cache is not None:
        settings = {"conditions": known.values, "config": config.to_dict(), "seed": seed}
        name = identity(_train, settings=settings, arrays=[data.z, data.labels])
        checkpoint = Checkpoint(Path(cache) / f"flow_{name}.pt", name)
    model, history = _train(data, config, seed, counts.device, checkpoint, progress)
    return FittedFlow(model, counts, known, library, depth, mean, sd, seed, history)


@dataclass(frozen=True)
class _Latents:
    """What a flow is fitted to."""

    z: np.ndarray  #: (cells, tokens, latent), standardised
    labels: np.ndarray  #: (cells, conditions)
    levels: tuple[int, ...]


def _train(
    data: _Latents,
    config: FlowConfig,
    seed: int,
    device: torch.device,
    checkpoint: Checkpoint | None,
    progress: Progress,
) -> tuple[DiffusionTransformer, dict[str, list[float]]]:
    with seeded(seed):
        model = DiffusionTransformer(*data.z.shape[1:], data.levels, config).to(device)
    z = torch.as_tensor(data.z)
    labels = torch.as_tensor(data.labels)

    def losses(step: int) -> dict[str, torch.Tensor]:
        generator = generator_of(seed, step)
        size = min(config.batch_cells, len(z))
        rows = torch.randint(len(z), (size,), generator=generator)
        return {"velocity": model.loss(z[rows].to(device), labels[rows].to(device), generator)}

    plan = Plan(
        steps=config.steps,
        lr=config.lr,
        schedule="cosine",
        betas=(0.9, 0.999),
        clip=config.clip,
        average=config.average,
    )
    history = optimise(model, losses, plan, checkpoint=checkpoint, progress=progress, label="flow")
    return model, history
