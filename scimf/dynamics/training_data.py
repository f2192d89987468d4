"""What a fit sees: training snapshots in network coordinates, and the batch of one step."""

from dataclasses import dataclass, field
from itertools import groupby, pairwise
from operator import itemgetter
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from scimf.dynamics.config import SDEConfig
from scimf.dynamics.integrate import Groups, roll_out
from scimf.dynamics.losses import LOSSES
from scimf.dynamics.model import InteractingSDE
from scimf.dynamics.snapshots import Snapshots, Standardiser, TimeScale, pad

if TYPE_CHECKING:
    from scimf.data.split import Split


@dataclass(frozen=True)
class TrainingData:
    """What a fit sees: clouds in network coordinates, densities, and the scale of time.

    ``mass``, ``kinds`` (number of the type of each cell) and ``known_growth`` (of each cell, per
    unit of model time; 0 where it is not known) only if cells divide and die.
    """

    clouds: dict[tuple[str, float], Tensor]  #: (population, real time) -> (cells, dim)
    density: dict[str, float]
    time_scale: TimeScale
    standardiser: Standardiser
    mass: dict[tuple[str, float], float] = field(default_factory=dict)
    kinds: dict[tuple[str, float], Tensor] = field(default_factory=dict)
    known_growth: dict[tuple[str, float], Tensor] = field(default_factory=dict)
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
        known = {}
        for (population, time), rate in train.known_growth.items():
            per_model_time = torch.as_tensor(rate / time_scale.rate(time), dtype=torch.float32)
            known[population, time] = per_model_time.nan_to_num()
        return cls(clouds, train.density, *scales, train.mass, kinds, known, types)

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

        starts, kinds, known = [], [], []
        for population, times in ways:
            cloud = data.clouds[population, times[0]]
            rows = _drawn(len(cloud), config.batch_cells, generator)
            starts.append(cloud[rows])
            if data.kinds:
                kinds.append(data.kinds[population, times[0]][rows])
            if data.known_growth:
                known.append(data.known_growth[population, times[0]][rows])
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
            known_growth=pad(known)[0].to(device) if known else None,
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
        if weighed. Of growing cells also ``growth``, mean squared rate (less what is known
        of it) per unit of model time, and
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
            known = self.log_mass.isfinite()
            error = (log_mass - self.log_mass.nan_to_num()).square()  # else its gradient is NaN
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
