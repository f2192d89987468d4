"""Fit an interacting neural SDE to snapshots: resumable, cached by the hash of its inputs."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from scimf.core.identity import identity
from scimf.core.optimise import Checkpoint, Progress, optimise
from scimf.core.parallel import resolve_device, seeded, side_by_side
from scimf.dynamics.config import SDEConfig
from scimf.dynamics.fitted import FittedSDE
from scimf.dynamics.losses import exact_plan
from scimf.dynamics.model import InteractingSDE
from scimf.dynamics.snapshots import Snapshots
from scimf.dynamics.training_data import Batch, TrainingData

if TYPE_CHECKING:
    from anndata import AnnData

    from scimf.data.space import Space
    from scimf.data.split import Split


def _flow_matching_loss(
    sde: InteractingSDE, batch: Batch, generator: torch.Generator
) -> dict[str, Tensor]:
    r"""Warm start: regress the drift on straight lines between cells that exact transport pairs.

    :math:`E\,\|f(x_u) - (y - x) / \Delta t\|^2` at :math:`x_u = x + u (y - x)`, u uniform (Tong et
    al. 2024, arXiv:2302.00482, OT-CFM), here with the autonomous drift of the whole population at
    :math:`x_u`.
    """
    ((_, observed, observed_mask),) = batch.targets
    mask = batch.groups.mask
    partner = batch.start.clone()
    for g in range(len(partner)):
        x = batch.start[g][mask[g]]
        y = observed[g][observed_mask[g]]
        partner[g, mask[g]] = y[exact_plan(x, y).argmax(1)]
    u = torch.rand(len(partner), 1, 1, generator=generator, device=partner.device)
    path = partner - batch.start
    time = batch.groups.start_time
    if time is not None:
        time = time + u[:, 0, 0] * batch.gaps[0]
    drift = sde.drift(batch.start + u * path, mask, batch.groups.density, time=time)
    error = drift - path / batch.gaps[0][:, None, None]
    squared = (error.square().mean(-1) * mask).sum() / mask.sum()
    return {"data": squared, "kinetic": torch.zeros_like(squared)}


# ------------------------------------------------------------------------------------------ the fit


def fit(
    adata: "AnnData",
    split: "Split",
    space: "Space | None" = None,
    *,
    config: SDEConfig | None = None,
    seed: int = 0,
    device: str = "auto",
    cache: Path | str | None = None,
    progress: Progress = True,
) -> FittedSDE:
    """Fit the model to the training cells of ``split``; held-out cells are never touched.

    Parameters
    ----------
    adata, split, space
        Data with ``obsm["X_scimf"]``, the split, and the space that made the coordinates (kept for
        going back to genes).
    config
        Settings; the recommended ones if omitted.
    seed
        Seeds weights, batches, noise and dropout; the caller's own random state stays as it is.
    device
        "auto" (a GPU when there is one), "cpu" or "cuda".
    cache
        Folder for checkpoints. The file name is the hash of data, settings, seed and the code that
        trains, so the same fit is read instead of repeated, and an interrupted one continues where
        its last checkpoint is.
    progress
        Show step, loss terms and time left; or what to call as ``progress(step, terms)`` instead.

    Raises
    ------
    FloatingPointError
        As soon as a loss term or gradient is not finite; names the step and the term.
    ValueError
        If the space was fitted with another split, if no population offers an interval between two
        training times, or if a cache file is damaged or of another fit.
    """
    config = config or SDEConfig()
    _refuse_other_split(space, split)
    train = Snapshots.of(adata, split.train_mask(adata))
    if not any(len(train.times(p)) > 1 for p in train.density):
        raise ValueError("no population has two training times; nothing to learn from")
    data = TrainingData.of(train, split, config)
    checkpoint = None if cache is None else _checkpoint(Path(cache), data, config, seed)
    sde, history = _train(data, config, seed, resolve_device(device), checkpoint, progress)
    starts = Snapshots.to_start_from(adata, split)
    unit = str(adata.uns.get("scimf", {}).get("time_unit", "a.u."))
    scales = data.standardiser, data.time_scale
    return FittedSDE(sde, config, *scales, starts, space, seed, history, unit, data.types)


def _refuse_other_split(space: "Space | None", split: "Split") -> None:
    fitted_on = getattr(space, "split", None)
    if fitted_on is not None and fitted_on != split:
        raise ValueError(
            f"space: was fitted with another split ({fitted_on}), expected {split}; "
            "its components may have seen cells that are held out here"
        )


def _checkpoint(cache: Path, data: TrainingData, config: SDEConfig, seed: int) -> Checkpoint:
    """Where a fit is kept: named by everything that decides what it gives."""
    keys = sorted(data.clouds)
    settings = {
        "config": config.to_dict(),
        "seed": seed,
        "snapshots": keys,
        "density": data.density,
        "time_scale": data.time_scale,
        "mass": data.mass,
        "types": data.types,
    }
    arrays = [data.clouds[key].numpy() for key in keys]
    for values in (data.kinds, data.known_growth):
        arrays += [values[key].numpy() for key in keys if values]
    name = identity(_train, settings=settings, arrays=arrays)
    return Checkpoint(cache / f"{name}.pt", name, {"config": config.to_dict(), "seed": seed})


def _train(
    data: TrainingData,
    config: SDEConfig,
    seed: int,
    device: torch.device,
    checkpoint: Checkpoint | None,
    progress: Progress,
) -> tuple[InteractingSDE, dict[str, list[float]]]:
    with seeded(seed):
        sde = InteractingSDE(data.dim, config, len(data.types)).to(device)
    others = [*sde.intrinsic.parameters(), *sde.diffusion.parameters()]
    if sde.growth is not None:
        others += sde.growth.parameters()
    interacting = list(sde.interaction.parameters())
    groups = [
        {"params": others, "weight_decay": 0.0},
        {"params": interacting, "weight_decay": config.interaction_decay},
    ]

    def losses(step: int) -> dict[str, Tensor]:
        state = np.random.SeedSequence([seed, step]).generate_state(2, np.uint64)
        draws = torch.Generator().manual_seed(int(state[0] >> 1))
        noise = torch.Generator(device).manual_seed(int(state[1] >> 1))
        with seeded(seed * 1_000_003 + step, device):  # for dropout
            batch = Batch.draw(data, config, draws, device)
            if step < config.warm_steps:
                return _flow_matching_loss(sde, batch, noise)
            return batch.loss(sde, config, noise)

    label = f"{config.interaction}, seed {seed}"
    kept = {"checkpoint": checkpoint, "progress": progress}
    history = optimise(sde, losses, config.plan(), groups=groups, label=label, **kept)
    return sde, history


def fit_many(
    adata: "AnnData",
    split: "Split",
    space: "Space | None" = None,
    *,
    configs: dict[str, SDEConfig],
    seeds: Iterable[int],
    cache: Path | str,
    device: str = "auto",
    workers: int | None = None,
) -> dict[tuple[str, int], FittedSDE]:
    """Fit every configuration with every seed, side by side; finished fits are read.

    Parameters
    ----------
    adata, split, space, cache, device
        As in :func:`fit`.
    configs, seeds
        Settings by name, and training seeds.
    workers
        Processes of one thread each; the number of cores, at most 8, if omitted, and 1 on a GPU.

    Returns
    -------
    dict
        ``(name, seed) -> FittedSDE``.
    """
    _refuse_other_split(space, split)
    cache = Path(cache)
    train = Snapshots.of(adata, split.train_mask(adata))
    slim = adata[:, :0].copy() if adata.n_vars else adata  # workers need coordinates, not genes
    wanted = {}
    missing = []
    for seed in seeds:
        for name, config in configs.items():
            options = {"config": config, "seed": seed, "device": device, "cache": cache}
            wanted[name, seed] = options
            data = TrainingData.of(train, split, config)
            if not _checkpoint(cache, data, config, seed).is_finished():
                missing.append((slim, split, None, options))
    if missing:
        options = {"workers": workers, "device": device}
        side_by_side(_fit_quietly, missing, **options, label="fits", progress=True)
    return {key: _fit_quietly(adata, split, space, options) for key, options in wanted.items()}


def _fit_quietly(
    adata: "AnnData", split: "Split", space: "Space | None", options: dict[str, Any]
) -> FittedSDE:
    return fit(adata, split, space, progress=False, **options)
