"""Fit an interacting neural SDE to snapshots: resumable, cached by the hash of its inputs."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from operator import itemgetter
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
from scimf.dynamics.integrate import Groups, roll_out
from scimf.dynamics.losses import LOSSES, exact_plan
from scimf.dynamics.model import InteractingSDE
from scimf.dynamics.snapshots import Snapshots, Standardiser, TimeScale, pad

if TYPE_CHECKING:
    from anndata import AnnData

    from scimf.data.space import Space
    from scimf.data.split import Split


@dataclass(frozen=True)
class TrainingData:
    """What a fit sees: clouds in network coordinates, densities, and the scale of time.

    ``mass`` and ``kinds`` (number of the type of each cell) only if cells divide and die.
    """

    clouds: dict[tuple[str, float], Tensor]  #: (population, real time) -> (cells, dim)
    density: dict[str, float]
    time_scale: TimeScale
    standardiser: Standardiser
    mass: dict[tuple[str, float], float] = field(default_factory=dict)
    kinds: dict[tuple[str, float], Tensor] = field(default_factory=dict)
    types: tuple[str, ...] = ()

    @classmethod
    def of(cls, train: Snapshots, split: "Split", config: SDEConfig) -> "TrainingData":
        """Turn training snapshots into what a fit with these settings sees."""
        standardiser = Standardiser.of(train, rescale=config.rescale)
        time_scale = TimeScale.of(split.times, split.train_times, config.time)
        clouds = {key: standardiser.transform(x) for key, x in train.cells.items()}
        scales = (time_scale, standardiser)
        if config.growth == "none":
            return cls(clouds, train.density, *scales)
        types, kinds = (), {}
        if config.growth == "type":
            types, kinds = train.numbered_types()
        return cls(clouds, train.density, *scales, train.mass, kinds, types)

    def density_at(self, population: str, time: float) -> float:
        """Relative density of a population when it starts; it is denser once it has grown."""
        return self.density[population] * self.mass.get((population, time), 1.0)

    def log_mass(self, ways: list["Way"], meetings: list[list[tuple[int, float]]]) -> Tensor:
        """Log change of totals since the start (intervals, groups), NaN where not known."""
        found = torch.full((len(meetings), len(ways)), torch.nan)
        for k, meeting in enumerate(meetings):
            for g, time in meeting:
                population, times = ways[g]
                if (population, time) in self.mass and (population, times[0]) in self.mass:
                    ratio = self.mass[population, time] / self.mass[population, times[0]]
                    found[k, g] = np.log(ratio)
        return found

    @property
    def dim(self) -> int:
        """Number of coordinates."""
        return len(self.standardiser.centre)


@dataclass
class Batch:
    """What one step sees: starts, the intervals to cross, and the observed clouds to meet."""

    start: Tensor  # (groups, cells, dim)
    groups: Groups
    gaps: Tensor  # (intervals, groups), model time
    targets: list[tuple[Tensor, Tensor, Tensor]]  # per interval: rows, (rows, m, dim), (rows, m)
    #: (intervals, groups), change of the logarithm of totals where cells grow; NaN: not known
    log_mass: Tensor | None = None

    @classmethod
    def draw(
        cls, data: TrainingData, config: SDEConfig, generator: torch.Generator, device: torch.device
    ) -> "Batch":
        """Draw intervals from their own snapshots, or whole roll-outs from the first."""
        ways = _ways(data, config)
        if config.batch_groups is not None and len(ways) > config.batch_groups:
            chosen = torch.randperm(len(ways), generator=generator)[: config.batch_groups]
            ways = [ways[i] for i in chosen]

        starts, kinds = [], []
        for population, times in ways:
            cloud = data.clouds[population, times[0]]
            rows = _drawn(len(cloud), config.batch_cells, generator)
            starts.append(cloud[rows])
            if data.kinds:
                kinds.append(data.kinds[population, times[0]][rows])
        start, mask = pad(starts)
        grids, meetings = _grids(ways, data.time_scale, config.start)
        targets = []
        for meeting in meetings:
            clouds = [data.clouds[ways[g][0], time] for g, time in meeting]
            if config.target_cells is not None or config.loss == "debiased_ot":
                # The halves of the debiased loss need a random order.
                n = config.target_cells
                clouds = [cloud[_drawn(len(cloud), n, generator)] for cloud in clouds]
            observed, observed_mask = pad(clouds)
            rows = torch.tensor([g for g, _ in meeting])
            targets.append((rows, observed.to(device), observed_mask.to(device)))

        begin = torch.tensor([grid[0] for grid in grids], device=device)
        groups = Groups(
            mask=mask.to(device),
            density=torch.tensor([data.density_at(p, times[0]) for p, times in ways]).to(device),
            start_time=begin if config.stages else None,
            kind=pad(kinds)[0].to(device) if kinds else None,
        )
        gaps = torch.tensor(grids).diff(dim=1).T.to(device)
        log_mass = data.log_mass(ways, meetings).to(device)
        return cls(start.to(device), groups, gaps, targets, log_mass)

    def loss(
        self, sde: InteractingSDE, config: SDEConfig, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Loss terms of the batch, before they are weighed.

        ``data``: mean distance over groups and times; ``kinetic``: mean kinetic energy per unit of
        model time; ``interaction``: mean squared interaction drift of the start cells, there only
        if weighed. Of growing cells also ``growth``, mean squared rate per unit of model time, and
        ``mass``, mean squared error of the logarithm of totals where they are known.
        """
        mask = self.groups.mask
        paths = roll_out(
            sde, self.start, self.gaps, dt=config.dt, groups=self.groups, generator=generator
        )
        distance = LOSSES[config.loss]
        values = []
        for state, weight, target in zip(paths.states, paths.weight, self.targets, strict=True):
            rows, observed, observed_mask = target
            weighted = {} if sde.growth is None else {"weight": weight[rows]}
            values.append(distance(state[rows], observed, mask[rows], observed_mask, **weighted))
        elapsed = self.gaps.sum(0)  # (groups,)

        def per_time(integral: Tensor) -> Tensor:  # (groups, cells)
            return ((integral * mask).sum(1) / mask.sum(1) / elapsed).mean()

        terms = {"data": torch.cat(values).mean(), "kinetic": per_time(paths.energy[-1])}
        if sde.growth is not None:
            terms["growth"] = per_time(paths.growth[-1])
            log_mass = ((paths.weight * mask).sum(2) / mask.sum(1)).log()
            error = (log_mass - self.log_mass).square()
            known = self.log_mass.isfinite()
            terms["mass"] = error.where(known, 0).sum() / known.sum().clamp_min(1)
        if config.interaction_weight:
            drift = sde.interaction_drift(self.start, mask, self.groups.density)
            terms["interaction"] = (drift.square().sum(-1) * mask).sum() / mask.sum()
        return terms


#: A population and the real times that it is to be carried through.
Way = tuple[str, tuple[float, ...]]


def _ways(data: TrainingData, config: SDEConfig) -> list[Way]:
    found = []
    for population, seen in groupby(sorted(data.clouds), key=itemgetter(0)):
        times = tuple(time for _, time in seen)
        ways = pairwise(times) if config.start == "segment" else [times]
        found.extend((population, way) for way in ways if len(way) > 1)
    return found


def _grids(
    ways: list[Way], time_scale: TimeScale, start: str
) -> tuple[list[list[float]], list[list[tuple[int, float]]]]:
    """Model times of each group, and for each interval which groups meet which real time."""
    passed = [times for _, times in ways]
    if start == "t0":
        every = sorted(set().union(*passed))
        if any(times[0] != every[0] for times in passed):
            needed = "all populations to begin at the same time"
            raise ValueError(f'start="t0" needs {needed}; use start="segment"')
        passed = [every] * len(ways)
    meetings = []
    for ends in list(zip(*passed, strict=True))[1:]:
        meetings.append([(g, time) for g, time in enumerate(ends) if time in ways[g][1]])
    return [list(map(time_scale, times)) for times in passed], meetings


def _drawn(n_cells: int, n: int | None, generator: torch.Generator) -> Tensor:
    """Draw the rows of ``n`` cells, or of all of them, in random order."""
    return torch.randperm(n_cells, generator=generator)[:n]


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
    arrays += [data.kinds[key].numpy() for key in keys if data.kinds]
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
