"""What a training step costs: as published, by our engine, and as we recommend it."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
import torchsde
from evidence.choices import recommended
from torch import Tensor, nn

from scimf.core.parallel import seeded
from scimf.dynamics.config import SDEConfig
from scimf.dynamics.integrate import Groups
from scimf.dynamics.model import InteractingSDE
from scimf.dynamics.snapshots import Standardiser, TimeScale
from scimf.dynamics.training_data import Batch, TrainingData
from workflow.benchmarks.timing import in_turns, spread

EULER_STEPS = 10  #: per unit of model time, as published
_N_TYPES = 8  #: of the simulated clouds


# ---------------------------------------------------------------------- as published, by torchsde


class Increments(torchsde.BaseBrownian):
    """Increments that :func:`scimf.dynamics.integrate.roll_out` would draw, for torchsde.

    None for the last column, which is the energy.
    """

    def __init__(
        self, shape: tuple[int, int], *, generator: torch.Generator | None, like: Tensor
    ) -> None:
        self._shape = torch.Size(shape)
        self._generator = generator
        self._dtype = like.dtype
        self._device = like.device

    def __call__(self, ta, tb=None, return_U=False, return_A=False) -> Tensor:
        """Draw the increment from ``ta`` to ``tb``, (cells, dim + 1)."""
        n, width = self._shape
        noise = torch.randn(
            (n, width - 1), generator=self._generator, dtype=self._dtype, device=self._device
        )
        return nn.functional.pad(noise, (0, 1)) * (tb - ta) ** 0.5

    def __repr__(self) -> str:
        return f"Increments({tuple(self._shape)})"

    @property
    def dtype(self) -> torch.dtype:
        """Of the increments."""
        return self._dtype

    @property
    def device(self) -> torch.device:
        """Where they are."""
        return self._device

    @property
    def shape(self) -> torch.Size:
        """Of one increment, (cells, dim + 1)."""
        return self._shape

    @property
    def levy_area_approximation(self) -> str:
        """Of no use in an Euler step."""
        return "none"


class _AsPublished(nn.Module):
    """The published drift as its equations read.

    Scores of all pairs, a softmax without the diagonal, then the rest; the last column of the
    state is the kinetic energy so far.
    """

    noise_type = "diagonal"
    sde_type = "ito"

    def __init__(self, sde: InteractingSDE, h: float) -> None:
        super().__init__()
        self.sde = sde
        self.h = h

    def f(self, t: Tensor, y: Tensor) -> Tensor:  # (cells, dim + 1)
        x = y[None, :, :-1]
        (block,) = self.sde.interaction
        query, key, value = block.project(x)
        score = (query @ key.transpose(-1, -2)) / query.shape[-1] ** 0.5
        oneself = torch.eye(x.shape[1], dtype=torch.bool, device=x.device)
        weights = score.masked_fill(oneself, -torch.inf).softmax(-1)
        mixed = nn.functional.dropout(weights, block.dropout, self.sde.training) @ value
        message = block.feed_forward(block.norm_out(mixed.transpose(1, 2).flatten(-2)))
        drift = (self.sde.intrinsic_drift(x) + message)[0]
        return torch.cat([drift, drift.square().sum(-1, keepdim=True)], -1) * self.h

    def g(self, t: Tensor, y: Tensor) -> Tensor:
        noise = self.sde.diffusion(y[:, :-1]) * self.h**0.5
        return torch.cat([noise, torch.zeros_like(noise[:, :1])], -1)


def published_step(
    sde: InteractingSDE,
    start: Tensor,
    clouds: Sequence[Tensor],
    seed: int,
    gaps: Sequence[int] = (),
) -> float:
    """Take one step as published: by torchsde and geomloss, against all cells.

    There is one backward pass per training time.

    Parameters
    ----------
    sde
        The network; gradients are added to those of its parameters.
    start
        Cells at model time 0, (cells, dim).
    clouds
        The observed cells of each later time.
    seed
        Of the noise.
    gaps
        Model time between one cloud and the one before; 1 by default.

    Returns
    -------
    float
        The loss: mean divergence over times plus kinetic energy per unit of time.
    """
    from geomloss import SamplesLoss

    divergence = SamplesLoss(
        "sinkhorn", p=2, blur=0.1, scaling=0.7, debias=True, backend="tensorized"
    )
    gaps = list(gaps) or [1] * len(clouds)
    y = nn.functional.pad(start, (0, 1))
    noise = Increments(y.shape, generator=torch.Generator(y.device).manual_seed(seed), like=y)
    elapsed = [0, *itertools.accumulate(gaps)]
    ticks = EULER_STEPS * torch.tensor(elapsed, dtype=y.dtype, device=y.device)
    drift = _AsPublished(sde, 1 / EULER_STEPS)
    path = torchsde.sdeint(drift, y, ticks, bm=noise, dt=1.0, method="euler")
    kinetic = path[-1, :, -1].mean() / sum(gaps)
    kinetic.backward(retain_graph=True)
    total = float(kinetic.detach())
    for k, cloud in enumerate(clouds):
        loss = divergence(path[k + 1, :, :-1], cloud) / len(clouds)
        loss.backward(retain_graph=k + 1 < len(clouds))
        total += float(loss.detach())
    return total


# ---------------------------------------------------------------------------------- by our engine


def engine_step(
    sde: InteractingSDE, start: Tensor, clouds: Sequence[Tensor], seed: int, config: SDEConfig
) -> float:
    """Take the same step by the code that :func:`scimf.fit` runs; gradients are added, too."""
    device = start.device
    row = torch.zeros(1, dtype=torch.long)
    targets = []
    for cloud in clouds:
        everybody = torch.ones(1, len(cloud), dtype=torch.bool, device=device)
        targets.append((row, cloud[None], everybody))
    mask = torch.ones(1, len(start), dtype=torch.bool, device=device)
    groups = Groups(mask=mask, density=torch.ones(1, device=device))
    gaps = torch.ones(len(clouds), 1, device=device)
    batch = Batch(start[None], groups, gaps, targets)
    terms = batch.loss(sde, config, torch.Generator(device).manual_seed(seed))
    loss = sum(terms.values())
    loss.backward()
    return float(loss.detach())


def recommended_step(
    sde: InteractingSDE, data: TrainingData, config: SDEConfig, seed: int, device: str
) -> float:
    """Take one step as :func:`scimf.fit` takes it, from each snapshot to the next."""
    draws = torch.Generator().manual_seed(seed)
    noise = torch.Generator(device).manual_seed(seed)
    batch = Batch.draw(data, config, draws, torch.device(device))
    terms = batch.loss(sde, config, noise)
    loss = terms["data"]
    if config.growth != "none":
        loss = loss + config.growth_weight * terms["growth"] + config.mass_weight * terms["mass"]
    loss.backward()
    return float(loss.detach())


# ----------------------------------------------------------------------------------- side by side


@dataclass
class Step:
    """A network, and what adds gradients to its parameters and returns the loss, given a seed."""

    network: InteractingSDE
    run: Callable[[int], float]


def snapshots_of(sizes: Sequence[int], dim: int = 50, seed: int = 0) -> list[Tensor]:
    """Clouds of eight types that drift and change their shares, one a time, (cells, dim) each."""
    rng = np.random.default_rng(seed)
    centres = 3 * rng.standard_normal((_N_TYPES, dim))
    drift = rng.standard_normal((_N_TYPES, dim))
    shares = np.linspace(1, _N_TYPES, _N_TYPES)
    shares = shares / shares.sum()
    clouds = []
    for t, n in enumerate(sizes):
        types = rng.choice(_N_TYPES, n, p=np.roll(shares, t))
        x = centres[types] + 0.5 * t * drift[types] + rng.standard_normal((n, dim))
        clouds.append(torch.as_tensor(x).float())
    return clouds


def training_data(clouds: Sequence[Tensor], config: SDEConfig) -> TrainingData:
    """Turn clouds of one population at times 0, 1, 2, ... into what a fit sees."""
    times = tuple(float(t) for t in range(len(clouds)))
    scale = float(torch.cat(list(clouds)).std(0).mean())
    known = {}
    mass = {}
    for time, cloud in zip(times, clouds, strict=True):
        known["all", time] = cloud.cpu() / scale
        mass["all", time] = len(cloud) / len(clouds[0])
    centre = np.zeros(clouds[0].shape[1], np.float32)
    time_scale = TimeScale.of(times, times, config.time)
    if config.growth == "none":
        mass = {}
    return TrainingData(known, {"all": 1.0}, time_scale, Standardiser(centre, scale), mass)


def four_steps(
    sizes: Sequence[int], *, device: str, dim: int = 50, cells: int = 512
) -> dict[str, Step]:
    """Return four ways to step, on clouds of these sizes and from so many start cells.

    ``published``; ``engine``, ours on the same targets; ``recommended``, the step that we
    recommend; ``growing``, the same where cells divide and die as they hear, and totals are known.
    """
    clouds = [cloud.to(device) for cloud in snapshots_of(sizes, dim)]
    later = clouds[1:]
    as_paper = SDEConfig.paper(dropout=0.0)  # dropout would draw different masks in the two codes
    with seeded(0):
        large = InteractingSDE(dim, as_paper).to(device)
        start = clouds[0][torch.randperm(len(clouds[0]))[:cells]]
    ours = recommended()
    with seeded(0):
        small = InteractingSDE(dim, ours).to(device)
    growing = replace(ours, growth="heard")
    with seeded(0):
        weighted = InteractingSDE(dim, growing).to(device)
    data = training_data(clouds, ours)
    grown = training_data(clouds, growing)
    return {
        "published": Step(large, partial(published_step, large, start, later)),
        "engine": Step(large, partial(engine_step, large, start, later, config=as_paper)),
        "recommended": Step(small, partial(recommended_step, small, data, ours, device=device)),
        "growing": Step(
            weighted, partial(recommended_step, weighted, grown, growing, device=device)
        ),
    }


def step_costs(
    sizes: Sequence[int], *, rounds: int, device: str, dim: int = 50, cells: int = 512
) -> dict:
    """Time the four steps in turns, and compare loss and gradient of the first two."""
    steps = four_steps(sizes, device=device, dim=dim, cells=cells)
    losses = []
    gradients = []
    for step in (steps["published"], steps["engine"]):
        step.network.zero_grad()
        losses.append(step.run(0))
        weights = [weight.grad.flatten() for weight in step.network.parameters()]
        gradients.append(torch.cat(weights).clone())
    candidates = {name: _with_optimiser(step, device) for name, step in steps.items()}
    seconds = in_turns(candidates, rounds)
    found = {
        "cells_observed": int(sum(sizes)),
        "times": len(sizes),
        "cells_simulated": cells,
        "dimensions": dim,
        "euler_steps": EULER_STEPS * (len(sizes) - 1),
        "rounds": rounds,
    }
    for name, values in seconds.items():
        found[f"{name}_seconds"] = spread(values)
    found["engine_speedup"] = spread(seconds["published"] / seconds["engine"])
    found["total_speedup"] = spread(seconds["published"] / seconds["recommended"])
    found["growth_cost"] = spread(seconds["growing"] / seconds["recommended"])
    found["loss_relative_difference"] = abs(losses[1] / losses[0] - 1)
    found["gradient_cosine"] = float(torch.cosine_similarity(*gradients, dim=0))
    return found


def _with_optimiser(step: Step, device: str) -> Callable[[], None]:
    optimiser = torch.optim.Adam(step.network.parameters(), lr=1e-6)
    seeds = itertools.count()

    def run() -> None:
        optimiser.zero_grad()
        step.run(next(seeds))
        optimiser.step()
        wait_for(device)

    return run


def wait_for(device: str) -> None:
    """Return when everything that was asked of a device is done."""
    if device == "cuda":
        torch.cuda.synchronize()
