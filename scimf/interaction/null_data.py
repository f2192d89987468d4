"""Data of the same design without interaction: what a reading finds where there is nothing.

They are simulated by a fit without interaction. Its intrinsic drift may change at every training
time, so that a medium or an age is not taken for interaction.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import torch

from scimf.core.parallel import default_workers, side_by_side
from scimf.dynamics.config import SDEConfig
from scimf.dynamics.fit import fit
from scimf.dynamics.fitted import FittedSDE
from scimf.dynamics.integrate import Groups, roll_out
from scimf.dynamics.snapshots import KEY, TimeScale, pad, populations

if TYPE_CHECKING:
    from anndata import AnnData

    from scimf.data.split import Split

#: The fit that simulates may do more than those that are compared.
GENERATOR = {"hidden": (64, 64), "diffusion": "per_dimension"}


@dataclass(frozen=True)
class NullData:
    """Simulates data without interaction.

    Attributes
    ----------
    model
        A fit without interaction to the observed data.
    adata
        The observed data: what is simulated begins with their first cells and has their ``obs``.
    split, config
        What is held out, and the settings of fits to simulated data.
    """

    model: FittedSDE
    adata: "AnnData"
    split: "Split"
    config: SDEConfig

    @classmethod
    def like(cls, adata: "AnnData", split: "Split", config: SDEConfig, **options) -> Self:
        """Fit the model, quietly, to data with ``obsm["X_scimf"]``; options of :func:`scimf.fit`.

        Of ``config`` all is taken but the interaction, the intrinsic drift and the noise.
        """
        slim = adata[:, :0].copy()  # coordinates are simulated, not genes
        time_scale = TimeScale.of(split.times, split.train_times, config.time)
        stages = tuple(time_scale(t) for t in split.train_times[1:-1])
        independent = replace(config, interaction="none", stages=stages, **GENERATOR)
        model = fit(slim, split, config=independent, progress=False, **options)
        return cls(model, slim, split, config)

    @torch.no_grad()
    def draw(self, seed: int) -> "AnnData":
        """Simulate one data set: as many cells in each snapshot, the same ``obs``.

        Every snapshot starts from its own draw, with replacement, of the cells its population began
        with, so that snapshots differ in composition by sampling, as observed ones do.
        """
        population = populations(self.adata)
        time = self.adata.obs["time"].to_numpy(float)
        times = np.unique(time)
        observed = np.asarray(self.adata.obsm[KEY], dtype=np.float32)
        cells = observed.copy()
        rng = np.random.default_rng(seed)
        noise = torch.Generator(self.model.device).manual_seed(seed)
        for t in times:
            rows = []
            drawn = []
            for p in np.unique(population):
                begun = observed[(population == p) & (time == times[0])]
                mine = np.flatnonzero((population == p) & (time == t))
                rows.append(mine)
                drawn.append(begun[rng.integers(len(begun), size=len(mine))])
            for mine, x in zip(rows, self._simulate(drawn, times[times <= t], noise), strict=True):
                cells[mine] = x
        simulated = self.adata.copy()
        simulated.obsm[KEY] = cells
        return simulated

    def _simulate(
        self, starts: list[np.ndarray], times: np.ndarray, noise: torch.Generator
    ) -> list[np.ndarray]:
        """Carry populations (cells, dim) through real times, from the first to the last one."""
        model = self.model
        clouds = [model.standardiser.transform(x).to(model.device) for x in starts]
        x, mask = pad(clouds)
        if len(times) > 1:
            grid = torch.tensor([model.time_scale(t) for t in times], dtype=torch.double)
            gaps = grid.diff()[:, None].expand(-1, len(x)).to(x)
            start_time = torch.full((len(x),), float(grid[0]), device=model.device)
            groups = Groups(mask=mask, start_time=start_time)
            states, _ = roll_out(
                model.sde, x, gaps, dt=model.config.dt, groups=groups, generator=noise
            )
            x = states[-1]
        return [model.standardiser.inverse(x[g, : len(cloud)]) for g, cloud in enumerate(clouds)]

    def fits(
        self,
        n: int,
        *,
        cache: Path | str,
        device: str = "auto",
        workers: int | None = None,
    ) -> list[FittedSDE]:
        """Fit to ``n`` simulated data sets: the null of :func:`scimf.interaction.influence.edges`.

        Data set ``k`` of ``n`` is simulated and fitted with the seed of the model plus ``k``; other
        arguments as for :func:`scimf.fit_many`.
        """
        jobs = [(self, self.model.seed + k, cache, device) for k in range(1, n + 1)]
        return side_by_side(_fit_to_draw, jobs, workers=workers or default_workers(device))


def _fit_to_draw(null: NullData, seed: int, cache: Path | str, device: str) -> FittedSDE:
    options = {"seed": seed, "cache": cache, "device": device, "progress": False}
    return fit(null.draw(seed), null.split, config=null.config, **options)
