"""A fitted model and what it is asked: simulate populations to other times, split the drift of observed cells."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from scimf.sde import InteractingSDE, SDEConfig, roll_out
from scimf.snapshots import KEY, Clock, Snapshots, Units, contexts

if TYPE_CHECKING:
    from anndata import AnnData

    from scimf.preprocess import Space


@dataclass
class FittedSDE:
    """A fitted model with what is needed to use it: units, clock, starting snapshots and the way back to genes."""

    sde: InteractingSDE
    config: SDEConfig
    units: Units
    clock: Clock
    starts: Snapshots
    space: "Space | None"
    seed: int
    history: dict[str, list[float]] = field(repr=False)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.sde.parameters()).device

    @torch.no_grad()
    def sample(
        self,
        times: Iterable[float],
        *,
        n: int | None = None,
        start: str = "previous",
        populations: Iterable[str] | None = None,
        seed: int = 0,
        max_context: int = 2000,
    ) -> "AnnData":
        """Simulate populations to the given real times.

        Parameters
        ----------
        times
            Real times, each later than the first snapshot.
        n
            Cells per population and time; as many as the start has if omitted. More than the start has are made of
            repeated simulations with fresh noise.
        start
            "previous": each time from the latest observed snapshot before it; "t0": from the first snapshot.
        populations
            All by default.
        seed
            Noise and choice of start cells.
        max_context
            At most so many cells are simulated together.

        Returns
        -------
        AnnData
            ``X`` in gene space (or the coordinates themselves if there are no genes), ``obsm["X_scimf"]``, ``obs``:
            time, population, start_time, start_cell (the observed cell each simulated one began as).
        """
        if start not in ("previous", "t0"):
            raise ValueError(f'start: expected "previous" or "t0", got {start!r}')
        known = sorted(self.starts.density)
        names = known if populations is None else [str(p) for p in populations]
        if set(names) - set(known):
            raise ValueError(f"populations: unknown {sorted(set(names) - set(known))}, known {known}")
        generator = torch.Generator(self.device).manual_seed(seed)
        rng = np.random.default_rng(seed)
        blocks, rows = [], []
        for p in names:
            for time in times:
                before = [t for t in self.starts.times(p) if t < time]
                if not before:
                    raise ValueError(
                        f"time {time}: population {p!r} has no earlier snapshot (first: {self.starts.times(p)[0]})"
                    )
                origin = before[-1] if start == "previous" else before[0]
                cells, index = self._simulate(p, origin, time, n, max_context, rng, generator)
                blocks.append(cells)
                rows += [(float(time), p, origin, self.starts.names[p, origin][i]) for i in index]
        return self.package(np.concatenate(blocks), rows)

    def _simulate(self, population, origin, time, n, max_context, rng, generator) -> tuple[np.ndarray, np.ndarray]:
        cloud = self.starts.cells[population, origin]
        size = min(len(cloud), max_context)
        wanted = size if n is None else n
        density = torch.tensor([self.starts.density[population]], device=self.device)
        gaps = torch.tensor([[self.clock(time) - self.clock(origin)]], device=self.device)
        begin = torch.tensor([self.clock(origin)], device=self.device) if self.config.stages else None
        parts, index = [], []
        while sum(map(len, index)) < wanted:
            chosen = rng.permutation(len(cloud))[:size]
            x = self.units.enter(cloud[chosen])[None].to(self.device)
            crowd = {"density": density, "begin": begin, "generator": generator}
            states, _ = roll_out(self.sde, x, gaps, dt=self.config.dt, **crowd)
            parts.append(self.units.leave(states[-1, 0]))
            index.append(chosen)
        return np.concatenate(parts)[:wanted], np.concatenate(index)[:wanted]

    def package(self, cells: np.ndarray, rows: list[tuple]) -> "AnnData":
        """Cells (cells, dim) and their (time, population, start_time, start_cell) as :meth:`sample` returns them."""
        import anndata as ad
        import pandas as pd

        obs = pd.DataFrame(rows, columns=["time", "population", "start_time", "start_cell"])
        obs.index = [f"simulated{i}" for i in range(len(obs))]
        obs["population"] = obs["population"].astype("category")
        decoded = cells if self.space is None else self.space.decode(cells)
        names = [f"x{k + 1}" for k in range(cells.shape[1])] if self.space is None else list(self.space.names)
        adata = ad.AnnData(np.asarray(decoded, np.float32), obs=obs, var=pd.DataFrame(index=names))
        adata.obsm[KEY] = cells.astype(np.float32)
        adata.uns["scimf"] = {"name": "simulated", "config": json.dumps(self.config.to_dict()), "seed": self.seed}
        return adata

    @torch.no_grad()
    def drift(
        self, adata: "AnnData", *, speak: np.ndarray | None = None, max_context: int | None = None, seed: int = 0
    ) -> tuple[np.ndarray, np.ndarray]:
        """Own and heard drift of observed cells, each in the context of its whole snapshot and population.

        Parameters
        ----------
        adata
            Data with ``obsm["X_scimf"]``.
        speak
            Optional (cells,) booleans; cells that are ``False`` say nothing, the normaliser is kept.
        max_context, seed
            Larger snapshots are cut at random into companies of at most so many cells that hear each other alone: an
            approximation for which attention costs a number of pairs that is linear in the cells. Exact if omitted.

        Returns
        -------
        own, heard
            (cells, dim), data coordinates per unit of **real** time.
        """
        coordinates, time = np.asarray(adata.obsm[KEY]), adata.obs["time"].to_numpy(float)
        own, heard = np.zeros_like(coordinates), np.zeros_like(coordinates)
        for rows, density in _companies(contexts(adata), max_context, np.random.default_rng(seed)):
            x = self.units.enter(coordinates[rows])[None].to(self.device)
            said = None if speak is None else torch.as_tensor(speak[rows], device=self.device, dtype=x.dtype)[None]
            rate = self.clock.rate(time[rows[0]]) * self.units.scale
            now = torch.tensor([self.clock(time[rows[0]])], device=self.device, dtype=x.dtype)
            own[rows] = self.sde.own(x, now)[0].cpu().numpy() * rate
            dense = torch.tensor([density], device=self.device, dtype=x.dtype)
            heard[rows] = self.sde.heard(x, density=dense, speak=said)[0].cpu().numpy() * rate
        return own, heard


def _companies(
    crowds: list[tuple[np.ndarray, float]], size: int | None, rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, float]]:
    for rows, density in crowds:
        parts = 1 if size is None else -(-len(rows) // size)
        for part in [rows] if parts == 1 else np.array_split(rng.permutation(rows), parts):
            yield part, density
