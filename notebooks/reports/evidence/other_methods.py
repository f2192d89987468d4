r"""Other methods, small and from their published equations.

Configurations of the same SDE (:func:`neural_ode`, :func:`potential_sde`, :func:`shortened`) share
data, standardiser, time scale, optimiser and budget with ours; flow matching and the Schrödinger
bridge are no neural SDEs. None of this is anybody's original code, and a method's own tuning may do
better: report ``scoreboard`` prints what each of them published beside what it does here.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import ot
import pandas as pd
import torch
from scimf.core.optimise import Plan, optimise
from scimf.core.parallel import seeded
from scimf.dynamics.config import SDEConfig
from scimf.dynamics.interactions import mlp
from scimf.dynamics.losses import exact_plan
from scimf.dynamics.snapshots import KEY, Snapshots, Standardiser, TimeScale
from scimf.evaluation.baselines import Cloud, resample
from scipy.spatial.distance import cdist
from torch import Tensor

if TYPE_CHECKING:
    from anndata import AnnData
    from scimf.data.split import Split

MAX_PAIRS = 1000  #: cells on either side of an entropic plan


# ------------------------------------------------------------------- configurations of the same SDE


def neural_ode(base: SDEConfig) -> SDEConfig:
    """Neural ODE with transport loss and kinetic energy.

    The family of scNODE (Zhang 2024) and MIOFlow (Huguet 2022).
    """
    return replace(base, interaction="none", diffusion="none", loss="ot", kinetic_weight=0.01)


def potential_sde(base: SDEConfig) -> SDEConfig:
    """Potential-gradient SDE with transport loss.

    The family of PRESCIENT (Yeo 2021) and PI-SDE (Jiang 2024).
    """
    return replace(
        base, interaction="none", drift="potential", sigma=0.1, loss="ot", kinetic_weight=0.01
    )


def attention(base: SDEConfig) -> SDEConfig:
    """Take the published form of the interaction, a softmax over cells; all else stays as it is."""
    return replace(base, interaction="attention", dropout=0.1)


def occupancy(base: SDEConfig) -> SDEConfig:
    """Take the mass-aware form of the interaction; all else stays as it is."""
    return replace(base, interaction="occupancy")


def shortened(base: SDEConfig) -> SDEConfig:
    """Take the published configuration with the steps and batches of ``base``."""
    return SDEConfig.paper(
        steps=base.steps,
        batch_cells=base.batch_cells,
        target_cells=base.target_cells,
        batch_groups=base.batch_groups,
    )


# ------------------------------------------------------------------------------------ flow matching


@dataclass
class FlowMatching:
    r"""OT flow matching: a velocity regressed on lines between optimally paired cells.

    Loss :math:`E\,\|v((1-u)x + uy,\, t_a + u\Delta t) - (y - x)/\Delta t\|^2`, (x, y) from exact
    mini-batch transport between consecutive training snapshots, u uniform (Tong et al. 2024,
    arXiv:2302.00482). No noise, no interaction. Samples as every
    :class:`evidence.setups.Sampler`.
    """

    velocity: torch.nn.Module
    standardiser: Standardiser
    time_scale: TimeScale
    starts: Snapshots

    @torch.no_grad()
    def push(
        self, cells: np.ndarray, start: float, end: float, *, step: float = 0.05
    ) -> np.ndarray:
        """Move cells (cells, dim) from one real time to a later one by Euler steps.

        A step is at most ``step`` of model time.
        """
        x = self.standardiser.transform(cells)
        first = self.time_scale(start)
        last = self.time_scale(end)
        n_steps = max(1, int(np.ceil((last - first) / step)))
        for k in range(n_steps):
            now = torch.full((len(x), 1), first + (last - first) * k / n_steps)
            x = x + self.velocity(torch.cat([x, now], 1)) * ((last - first) / n_steps)
        return self.standardiser.inverse(x)

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
        names = sorted(self.starts.density) if populations is None else populations
        times = [float(time) for time in times]
        clouds = []
        labels = []
        for population in names:
            for time in times:
                start = max(t for t in self.starts.times(population) if t < time)
                cloud = self.starts.cells[population, start]
                moved = self.push(resample(cloud, n or len(cloud), rng), start, time)
                clouds.append(moved)
                labels += [(time, population)] * len(moved)
        return as_samples(np.concatenate(clouds), labels)


def as_samples(cells: np.ndarray, labels: list[tuple[float, str]]) -> "AnnData":
    """Cells (cells, dim) with their (time, population), in the form that ``evaluate`` reads."""
    import anndata as ad

    obs = pd.DataFrame(labels, columns=["time", "population"])
    obs.index = [f"simulated{i}" for i in range(len(obs))]
    obs["population"] = obs["population"].astype("category")
    adata = ad.AnnData(np.zeros((len(obs), 0), np.float32), obs=obs)
    adata.obsm[KEY] = cells.astype(np.float32)
    return adata


#: Two consecutive training snapshots of a population, and their model times.
Interval = tuple[Tensor, Tensor, float, float]


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
    """Fit :class:`FlowMatching` to the training cells of ``split``.

    Parameters
    ----------
    adata, split
        Data with ``obsm["X_scimf"]``, and what is held out.
    hidden
        Hidden layers of the velocity.
    batch_cells, batch_groups
        Pairs of cells per interval and step, and intervals per step.
    steps, lr
        Of Adam; the step size falls to zero along half a cosine.
    seed
        Of weights and batches.
    """
    train = Snapshots.of(adata, split.train_mask(adata))
    standardiser = Standardiser.of(train, rescale=True)
    time_scale = TimeScale.of(split.times, split.train_times, "real")
    intervals = _intervals(train, standardiser, time_scale)
    dim = len(standardiser.centre)
    with seeded(seed):
        velocity = mlp([dim + 1, *hidden, dim], "silu")
    generator = torch.Generator().manual_seed(seed)

    def losses(step: int) -> dict[str, Tensor]:
        inputs = []
        targets = []
        for k in torch.randperm(len(intervals), generator=generator)[:batch_groups]:
            points, slopes = _lines(intervals[k], batch_cells, generator)
            inputs.append(points)
            targets.append(slopes)
        error = velocity(torch.cat(inputs)) - torch.cat(targets)
        return {"data": error.square().mean()}

    plan = Plan(
        steps=steps, lr=lr, schedule="cosine_to_zero", betas=(0.9, 0.999), clip=float("inf")
    )
    optimise(velocity, losses, plan, progress=False, label=f"flow matching, seed {seed}")
    starts = Snapshots.to_start_from(adata, split)
    return FlowMatching(velocity, standardiser, time_scale, starts)


def _intervals(
    train: Snapshots, standardiser: Standardiser, time_scale: TimeScale
) -> list[Interval]:
    clouds = {key: standardiser.transform(x) for key, x in train.cells.items()}
    found = []
    for p in sorted(train.density):
        times = train.times(p)
        for a, b in zip(times[:-1], times[1:], strict=True):
            found.append((clouds[p, a], clouds[p, b], time_scale(a), time_scale(b)))
    return found


def _lines(
    interval: Interval, n: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:  # (n, dim + 1), (n, dim)
    """Random points, with their times, on lines between optimally paired cells; and the slopes."""
    x, y, start, end = interval
    x = x[torch.randint(len(x), (n,), generator=generator)]
    y = y[torch.randint(len(y), (n,), generator=generator)]
    y = y[exact_plan(x, y).argmax(1)]
    u = torch.rand(n, 1, generator=generator)
    points = torch.cat([(1 - u) * x + u * y, start + u * (end - start)], 1)
    return points, (y - x) / (end - start)


# ------------------------------------------------------------------------------- Schrödinger bridge


def schroedinger_bridge(
    starts: Snapshots,
    population: str,
    time: float,
    n: int,
    rng: np.random.Generator,
    *,
    epsilon: float = 0.01,
) -> Cloud:
    r"""Discrete Schrödinger bridge between the two neighbours in time.

    Entropic plan, then Brownian-bridge noise. Plan of cost :math:`\tfrac12\|x-y\|^2` with
    regularisation :math:`\sigma^2\Delta t`, then :math:`(1-w)x + wy + \sigma\sqrt{w(1-w)\Delta
    t}\,\xi` (Léonard 2014; the "discrete" row of LightSB's table). ``epsilon`` is
    :math:`\sigma^2\Delta t` as a share of the median cost; the plan is between at most 1,000 cells.
    """
    times = starts.times(population)
    before = [t for t in times if t < time]
    after = [t for t in times if t > time]
    if not before or not after:
        return None
    n_pairs = min(n, MAX_PAIRS)
    x = resample(starts.cells[population, before[-1]], n_pairs, rng)
    y = resample(starts.cells[population, after[0]], n_pairs, rng)
    cost = cdist(x, y, "sqeuclidean") / 2
    variance = epsilon * float(np.median(cost))
    even = np.full(n_pairs, 1 / n_pairs)
    settings = {"method": "sinkhorn_log", "numItermax": 100, "stopThr": 1e-3, "warn": False}
    plan = ot.sinkhorn(even, even, cost, variance, **settings)
    rows = resample(np.arange(n_pairs), n, rng)
    # A partner of each chosen row, drawn from its share of the plan.
    level = plan.sum(1)[rows, None] * rng.random((n, 1))
    partner = (plan.cumsum(1)[rows] > level).argmax(1)
    w = (time - before[-1]) / (after[0] - before[-1])
    noise = np.sqrt(variance * w * (1 - w)) * rng.standard_normal(x[rows].shape)
    return (1 - w) * x[rows] + w * y[partner] + noise
