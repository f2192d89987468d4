"""A fitted model and what it is asked: populations at other times, the drift of observed cells."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch

from scimf.core.checkpoints import write_checkpoint
from scimf.core.parallel import seeded
from scimf.dynamics.config import SDEConfig
from scimf.dynamics.integrate import Groups, roll_out
from scimf.dynamics.model import InteractingSDE
from scimf.dynamics.snapshots import KEY, Snapshots, Standardiser, TimeScale, cell_types, contexts

if TYPE_CHECKING:
    from anndata import AnnData

    from scimf.data.space import Space

#: What a simulated cell is labelled with: time, population, start_time, start_cell.
Label = tuple[float, str, float, str]


@dataclass
class FittedSDE:
    """A fitted model with what is needed to use it.

    Attributes
    ----------
    sde, config
        The network and its settings.
    standardiser, time_scale
        Ways between the data's coordinates and times and those of the network.
    starts
        Snapshots that simulations may start from.
    space
        The way back to genes, where there is one.
    seed, history
        Of the training; the terms of the loss at every step.
    time_unit
        Of the data.
    types
        Names of the types, if growth goes by type.
    """

    sde: InteractingSDE
    config: SDEConfig
    standardiser: Standardiser
    time_scale: TimeScale
    starts: Snapshots
    space: "Space | None"
    seed: int
    history: dict[str, list[float]] = field(repr=False)
    time_unit: str = "a.u."
    types: tuple[str, ...] = ()

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
            Cells per population and time; as many as the start has if omitted. More than the start
            has are made of repeated simulations with fresh noise.
        start
            "previous": each time from the latest observed snapshot before it; "t0": from the first.
        populations
            All by default.
        seed
            Noise and choice of start cells.
        max_context
            At most so many cells are simulated together.

        Returns
        -------
        AnnData
            ``X`` in gene space (or the coordinates themselves if there are no genes),
            ``obsm["X_scimf"]``, ``obs``: time, population, start_time, start_cell (the observed
            cell each simulated one began as), cell_type (that it began as, where known); of a model
            with growth also weight, the cells that each one stands for, 1 at the start; and mass,
            the number of cells of the population relative to its start, where that was known of the
            snapshot they began as.
        """
        if start not in ("previous", "t0"):
            raise ValueError(f'start: expected "previous" or "t0", got {start!r}')
        known = sorted(self.starts.density)
        names = known if populations is None else [str(p) for p in populations]
        if unknown := sorted(set(names) - set(known)):
            raise ValueError(f"populations: unknown {unknown}, known {known}")
        times = self._real_times(times)
        generator = torch.Generator(self.device).manual_seed(seed)
        rng = np.random.default_rng(seed)
        blocks, weights, types, mass = [], [], [], []
        labels: list[Label] = []
        for p in names:
            for time in times:
                before = [t for t in self.starts.times(p) if t < time]
                if not before:
                    first = self.starts.times(p)[0]
                    reason = f"population {p!r} has no earlier snapshot (first: {first})"
                    raise ValueError(f"time {time:g}: {reason}")
                origin = before[-1] if start == "previous" else before[0]
                n_seen = len(self.starts.cells[p, origin])
                size = min(n_seen, max_context)
                wanted = size if n is None else n
                chosen = _rounds(n_seen, size, wanted, rng)
                found = [self._simulate(p, origin, time, rows, generator) for rows in chosen]
                cells, weight = map(np.concatenate, zip(*found, strict=True))
                blocks.append(cells[:wanted])
                weights.append(weight[:wanted])
                if self.starts.mass:
                    mass += wanted * [self.starts.mass[p, origin] * float(weight.mean())]
                for i in np.concatenate(chosen)[:wanted]:
                    labels.append((float(time), p, origin, self.starts.names[p, origin][i]))
                    if self.starts.types:
                        types.append(self.starts.types[p, origin][i])
        more = {"cell_type": types} if types else {}
        if self.sde.growth is not None:
            more["weight"] = np.concatenate(weights)
            more |= {"mass": mass} if mass else {}
        return self.package(np.concatenate(blocks), labels, more)

    def _real_times(self, times: Iterable[float] | float) -> list[float]:
        given = [times] if np.isscalar(times) else list(times)
        try:
            numbers = [float(time) for time in given]
        except (TypeError, ValueError):
            numbers = [np.nan]
        if not np.isfinite(numbers).all():
            seen = sorted({time for _, time in self.starts.cells})
            raise ValueError(f"times: expected numbers, got {given}; those seen are {seen}")
        return numbers

    def _simulate(
        self,
        population: str,
        origin: float,
        time: float,
        rows: np.ndarray,
        generator: torch.Generator,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Simulate some cells of one snapshot together: places (cells, dim), weights (cells,)."""
        begin = self.time_scale(origin)
        cloud = self.starts.cells[population, origin]
        x = self.standardiser.transform(cloud[rows])[None].to(self.device)
        density = self.starts.density[population]
        if self.sde.growth is not None:
            density = density * self.starts.mass.get((population, origin), 1.0)
        groups = Groups(
            density=x.new_tensor([density]),
            start_time=x.new_tensor([begin]) if self.config.stages else None,
            kind=self._kind(self.starts.types[population, origin][rows]) if self.types else None,
        )
        gaps = x.new_tensor([[self.time_scale(time) - begin]])
        paths = roll_out(self.sde, x, gaps, dt=self.config.dt, groups=groups, generator=generator)
        return self.standardiser.inverse(paths.states[-1, 0]), paths.weight[-1, 0].cpu().numpy()

    def _kind(self, types: np.ndarray) -> torch.Tensor:  # (1, cells)
        """Return the number of the type of each cell."""
        if unknown := sorted(set(types) - set(self.types)):
            raise ValueError(f'obs["cell_type"]: {unknown} not among those trained, {self.types}')
        return torch.as_tensor(np.searchsorted(self.types, types), device=self.device)[None]

    def package(
        self, cells: np.ndarray, labels: list[Label], more: dict[str, Any] | None = None
    ) -> "AnnData":
        """Cells (cells, dim), their labels and ``more`` columns as :meth:`sample` returns them."""
        import anndata as ad
        import pandas as pd

        obs = pd.DataFrame(labels, columns=["time", "population", "start_time", "start_cell"])
        obs.index = [f"simulated{i}" for i in range(len(obs))]
        obs["population"] = obs["population"].astype("category")
        obs = obs.assign(**(more or {}))
        if self.space is None:
            form = "state"
            x = cells
            names = [f"x{k + 1}" for k in range(cells.shape[1])]
        else:
            form = "lognorm" if len(self.space.components) else self.space.form
            x = self.space.decode(cells)
            names = list(self.space.names)
        adata = ad.AnnData(np.asarray(x, np.float32), obs=obs, var=pd.DataFrame(index=names))
        adata.obsm[KEY] = cells.astype(np.float32)
        config = json.dumps(self.config.to_dict())
        record = {"name": "simulated", "config": config, "seed": self.seed}
        adata.uns["scimf"] = {**record, "form": form, "time_unit": self.time_unit}
        return adata

    @torch.no_grad()
    def drift(self, adata: "AnnData") -> tuple[np.ndarray, np.ndarray]:
        """Drift of observed cells, each in the context of its whole snapshot and population.

        Parameters
        ----------
        adata
            Data with ``obsm["X_scimf"]``.

        Returns
        -------
        intrinsic, interaction
            (cells, dim), data coordinates per unit of **real** time.
        """
        coordinates = np.asarray(adata.obsm[KEY])
        time = adata.obs["time"].to_numpy(float)
        intrinsic = np.zeros_like(coordinates)
        interaction = np.zeros_like(coordinates)
        for rows, density in contexts(adata, grown=self.sde.growth is not None):
            x = self.standardiser.transform(coordinates[rows])[None].to(self.device)
            now = float(time[rows[0]])
            rate = self.time_scale.rate(now) * self.standardiser.scale
            alone = self.sde.intrinsic_drift(x, x.new_tensor([self.time_scale(now)]))
            intrinsic[rows] = alone[0].cpu().numpy() * rate
            message = self.sde.interaction_drift(x, density=x.new_tensor([density]))
            interaction[rows] = message[0].cpu().numpy() * rate
        return intrinsic, interaction

    @torch.no_grad()
    def growth_rate(self, adata: "AnnData") -> np.ndarray:  # (cells,)
        """Net rate of division of observed cells, per unit of **real** time; 0 without growth."""
        rate = np.zeros(adata.n_obs)
        if self.sde.growth is None:
            return rate
        coordinates = np.asarray(adata.obsm[KEY])
        types = cell_types(adata) if self.types else None
        time = adata.obs["time"].to_numpy(float)
        for rows, density in contexts(adata, grown=True):
            x = self.standardiser.transform(coordinates[rows])[None].to(self.device)
            kind = self._kind(types[rows]) if self.types else None
            found = self.sde.growth(x, density=x.new_tensor([density]), kind=kind)
            rate[rows] = found[0].cpu().numpy() * self.time_scale.rate(float(time[rows[0]]))
        return rate

    def untrained(self, *, seed: int = 0) -> Self:
        """Return the same model with freshly drawn weights: what it says before any data."""
        with seeded(seed):
            sde = InteractingSDE(self.sde.dim, self.config, len(self.types))
        return replace(self, sde=sde.to(self.device).eval())

    def save(self, path: Path | str) -> None:
        """Write everything to a file for :func:`scimf.load_model`; an old one is replaced."""
        write_checkpoint(Path(path), {"kind": "sde", **self.to_dict()})

    def to_dict(self) -> dict[str, Any]:
        """Plain values, tensors and arrays."""
        return {
            "config": self.config.to_dict(),
            "weights": self.sde.state_dict(),
            "standardiser": asdict(self.standardiser),
            "time_scale": asdict(self.time_scale),
            "starts": asdict(self.starts),
            "space": None if self.space is None else self.space.to_dict(),
            "seed": self.seed,
            "history": self.history,
            "time_unit": self.time_unit,
            "types": list(self.types),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any], space: "Space | None" = None) -> Self:
        """Inverse of :meth:`to_dict`, on the CPU; tensors may stand for arrays."""
        config = SDEConfig.from_dict(values["config"])
        centre = np.asarray(values["standardiser"]["centre"])
        standardiser = Standardiser(centre, values["standardiser"]["scale"])
        starts = dict(values["starts"])
        arrays = {"cells", "names", "types", "known_growth"}
        for name in arrays & set(starts):  # older files do not have the last two
            starts[name] = {key: np.asarray(x) for key, x in starts[name].items()}
        types = tuple(values.get("types", ()))
        with seeded(0):  # the weights are replaced, the caller's random state is not
            sde = InteractingSDE(len(centre), config, len(types))
        sde.load_state_dict(values["weights"])
        return cls(
            sde.eval(),
            config,
            standardiser,
            TimeScale(**values["time_scale"]),
            Snapshots(**starts),
            space,
            values["seed"],
            values["history"],
            values.get("time_unit", "a.u."),  # older files do not have it
            types,
        )


def velocity(model: FittedSDE, adata: "AnnData") -> np.ndarray:  # (cells, dim)
    """Write and return the drift of every observed cell in the context of its own snapshot.

    ``obsm["velocity_scimf"]`` is the sum of ``obsm["velocity_intrinsic_scimf"]`` and
    ``obsm["velocity_interaction_scimf"]``; data coordinates per unit of real time, without noise.
    Of a model with growth ``obs["growth_rate"]`` is the net rate of division of each cell.
    """
    intrinsic, interaction = model.drift(adata)
    adata.obsm["velocity_intrinsic_scimf"] = intrinsic
    adata.obsm["velocity_interaction_scimf"] = interaction
    adata.obsm["velocity_scimf"] = intrinsic + interaction
    if model.sde.growth is not None:
        adata.obs["growth_rate"] = model.growth_rate(adata)
    return intrinsic + interaction


def _rounds(n_cells: int, size: int, wanted: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Draw ``size`` of ``n_cells`` cells again and again until there are as many as wanted."""
    rounds = max(1, -(-wanted // size)) if wanted else 0
    return [rng.permutation(n_cells)[:size] for _ in range(rounds)]
