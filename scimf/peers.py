r"""Two peers that are not neural SDEs, small and from their published equations: flow matching, Schrödinger bridge.

The other peers are configurations of the same SDE (:func:`neural_ode`, :func:`potential_sde`, :func:`shortened`),
so that they share data, units, clock, optimiser and budget with ours. None of this is anybody's original code, and a
peer's own tuning may do better: notebook 06 prints what each of them published beside what it does here.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import ot
import torch
from scipy.spatial.distance import cdist

from scimf.baselines import Cloud, resample
from scimf.sde import SDEConfig, mlp, published
from scimf.snapshots import Clock, Snapshots, Units, starting_snapshots
from scimf.transport import exact_plan

if TYPE_CHECKING:
    from anndata import AnnData

    from scimf.preprocess import Split

MAX_PAIRS = 1000  #: cells on either side of an entropic plan


# ------------------------------------------------------------------------------ configurations of the same SDE


def neural_ode(base: SDEConfig) -> SDEConfig:
    """Neural ODE with transport loss and kinetic energy (family of scNODE, Zhang 2024, and MIOFlow, Huguet 2022)."""
    changes = {"interaction": "none", "diffusion": "none", "loss": "ot", "kinetic_weight": 0.01}
    return SDEConfig.from_dict(base.to_dict() | changes)


def potential_sde(base: SDEConfig) -> SDEConfig:
    """Potential-gradient SDE with transport loss (family of PRESCIENT, Yeo 2021, and PI-SDE, Jiang 2024)."""
    changes = {"interaction": "none", "drift": "potential", "sigma": 0.1, "loss": "ot", "kinetic_weight": 0.01}
    return SDEConfig.from_dict(base.to_dict() | changes)


def attention(base: SDEConfig) -> SDEConfig:
    """Take the published form of the interaction, a softmax over cells, and leave everything else as it is."""
    return SDEConfig.from_dict(base.to_dict() | {"interaction": "attention", "dropout": 0.1})


def occupancy(base: SDEConfig) -> SDEConfig:
    """Take the mass-aware form of the interaction, and leave everything else as it is."""
    return SDEConfig.from_dict(base.to_dict() | {"interaction": "occupancy"})


def shortened(base: SDEConfig) -> SDEConfig:
    """Take the published configuration (:func:`scimf.published`) with the steps and batches of ``base``."""
    changes = {"steps": base.steps, "batch_cells": base.batch_cells, "target_cells": base.target_cells}
    return published(**changes, batch_groups=base.batch_groups)


# ------------------------------------------------------------------------------------------ flow matching


class FlowMatching:
    r"""OT flow matching: a velocity :math:`v(x, t)` regressed on straight lines between optimally paired cells.

    Loss :math:`E\,\|v((1-u)x + uy,\, t_a + u\Delta t) - (y - x)/\Delta t\|^2`, (x, y) from exact mini-batch transport
    between consecutive training snapshots, u uniform (Tong et al. 2024, arXiv:2302.00482). No noise, no interaction.
    """

    def __init__(self, velocity: torch.nn.Module, units: Units, clock: Clock, starts: Snapshots) -> None:
        self.velocity, self.units, self.clock, self.starts = velocity, units, clock, starts

    @torch.no_grad()
    def push(self, cells: np.ndarray, start: float, end: float, *, step: float = 0.05) -> np.ndarray:
        """Move cells (cells, dim) from one real time to a later one by Euler steps of at most ``step`` model time."""
        x, t, last = self.units.enter(cells), self.clock(start), self.clock(end)
        n_steps = max(1, int(np.ceil((last - t) / step)))
        for k in range(n_steps):
            now = torch.full((len(x), 1), t + (last - t) * k / n_steps)
            x = x + self.velocity(torch.cat([x, now], 1)) * ((last - t) / n_steps)
        return self.units.leave(x)

    def sample(
        self,
        times: Iterable[float],
        *,
        n: int | None = None,
        populations: Iterable[str] | None = None,
        seed: int = 0,
    ) -> "AnnData":
        """Predicted cells at real times, each from the latest observed snapshot before it."""
        rng = np.random.default_rng(seed)
        clouds, rows = [], []
        for p in sorted(self.starts.density) if populations is None else populations:
            for time in map(float, times):
                start = max(t for t in self.starts.times(p) if t < time)
                cloud = self.starts.cells[p, start]
                clouds.append(self.push(resample(cloud, n or len(cloud), rng), start, time))
                rows += [(time, p)] * len(clouds[-1])
        return as_samples(np.concatenate(clouds), rows)


def fit_flow_matching(
    adata: "AnnData",
    split: "Split",
    *,
    hidden: tuple[int, ...] = (128, 128),
    batch_cells: int = 256,
    batch_groups: int = 16,
    steps: int = 400,
    lr: float = 3e-3,
    seed: int = 0,
) -> FlowMatching:
    """Fit :class:`FlowMatching` to the training cells of ``split``; a step sees ``batch_groups`` of its intervals."""
    train = Snapshots.of(adata, split.train_mask(adata))
    units = Units.of(train, rescale=True)
    clock = Clock.of(split.times, split.train_times, "real")
    clouds = {key: units.enter(x) for key, x in train.cells.items()}
    intervals = [
        (clouds[p, a], clouds[p, b], clock(a), clock(b))
        for p in sorted(train.density)
        for a, b in zip(train.times(p)[:-1], train.times(p)[1:], strict=True)
    ]
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        velocity = mlp([len(units.centre) + 1, *hidden, len(units.centre)], "silu")
    optimiser = torch.optim.Adam(velocity.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        inputs, wanted = [], []
        for k in torch.randperm(len(intervals), generator=generator)[:batch_groups]:
            x, y, a, b = intervals[k]
            x = x[torch.randint(len(x), (batch_cells,), generator=generator)]
            y = y[torch.randint(len(y), (batch_cells,), generator=generator)]
            y = y[exact_plan(x, y).argmax(1)]
            u = torch.rand(batch_cells, 1, generator=generator)
            inputs.append(torch.cat([(1 - u) * x + u * y, a + u * (b - a)], 1))
            wanted.append((y - x) / (b - a))
        loss = (velocity(torch.cat(inputs)) - torch.cat(wanted)).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return FlowMatching(velocity.eval(), units, clock, starting_snapshots(adata, split))


# ------------------------------------------------------------------------------------- Schrödinger bridge


def schroedinger_bridge(
    starts: Snapshots, population: str, time: float, n: int, rng: np.random.Generator, *, epsilon: float = 0.01
) -> Cloud:
    r"""Discrete Schrödinger bridge between the two neighbours: entropic plan, then Brownian-bridge noise.

    Plan of cost :math:`\tfrac12\|x-y\|^2` with regularisation :math:`\sigma^2\Delta t`, then
    :math:`(1-w)x + wy + \sigma\sqrt{w(1-w)\Delta t}\,\xi` (Léonard 2014; the "discrete" row of LightSB's table).
    ``epsilon`` is :math:`\sigma^2\Delta t` as a share of the median cost; the plan is between at most 1,000 cells.
    """
    times = starts.times(population)
    before, after = [t for t in times if t < time], [t for t in times if t > time]
    if not before or not after:
        return None
    pairs = min(n, MAX_PAIRS)
    x = resample(starts.cells[population, before[-1]], pairs, rng)
    y = resample(starts.cells[population, after[0]], pairs, rng)
    cost = cdist(x, y, "sqeuclidean") / 2
    scale = epsilon * float(np.median(cost))
    even = np.full(pairs, 1 / pairs)
    plan = ot.sinkhorn(even, even, cost, scale, method="sinkhorn_log", numItermax=100, stopThr=1e-3, warn=False)
    rows = resample(np.arange(pairs), n, rng)
    chosen = (plan.cumsum(1)[rows] > plan.sum(1)[rows, None] * rng.random((n, 1))).argmax(1)
    x, y = x[rows], y[chosen]
    w = (time - before[-1]) / (after[0] - before[-1])
    noise = np.sqrt(scale * w * (1 - w)) * rng.standard_normal(x.shape)
    return (1 - w) * x + w * y + noise


def as_samples(cells: np.ndarray, rows: list[tuple[float, str]]) -> "AnnData":
    """Cells (cells, dim) with their (time, population), in the form that ``evaluate`` reads."""
    import anndata as ad
    import pandas as pd

    obs = pd.DataFrame(rows, columns=["time", "population"], index=[f"simulated{i}" for i in range(len(rows))])
    obs["population"] = obs["population"].astype("category")
    adata = ad.AnnData(np.zeros((len(rows), 0), np.float32), obs=obs)
    adata.obsm["X_scimf"] = cells.astype(np.float32)
    return adata
