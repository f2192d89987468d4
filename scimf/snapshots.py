"""Snapshots as tensors: which cells were seen in which population and when, in what units, on which clock."""

import hashlib
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from anndata import AnnData

    from scimf.preprocess import Split

KEY = "X_scimf"  #: obsm key of the model coordinates


@dataclass(frozen=True)
class Clock:
    """Real time to model time, piecewise linear through the knots and linear beyond them."""

    real: tuple[float, ...]
    model: tuple[float, ...]

    @classmethod
    def of(cls, times: tuple[float, ...], train_times: tuple[float, ...], kind: str) -> "Clock":
        """``"index"``: the rank of the time among all times. ``"real"``: 1 is the median gap of the training times."""
        if kind == "index":
            return cls(tuple(times), tuple(float(k) for k in range(len(times))))
        first, unit = train_times[0], float(np.median(np.diff(train_times)))
        return cls((first, first + unit), (0.0, 1.0))

    def __call__(self, time: float) -> float:
        """Model time of a real time."""
        k = self._knot(time)
        return self.model[k] + (time - self.real[k]) * self.rate(time)

    def rate(self, time: float) -> float:
        """Model time per unit of real time, at ``time``."""
        k = self._knot(time)
        return (self.model[k + 1] - self.model[k]) / (self.real[k + 1] - self.real[k])

    def _knot(self, time: float) -> int:  # bisect: every step asks, and NumPy is slow for one number
        return min(max(bisect_right(self.real, time) - 1, 0), len(self.real) - 2)


@dataclass(frozen=True)
class Snapshots:
    """Observed clouds in model coordinates, by population and real time."""

    cells: dict[tuple[str, float], np.ndarray]  #: (population, time) -> (cells, dim), float32
    names: dict[tuple[str, float], np.ndarray]  #: obs_names of the same cells
    density: dict[str, float]  #: relative density of each population, 1 where unknown

    @classmethod
    def of(cls, adata: "AnnData", mask: np.ndarray) -> "Snapshots":
        """Collect the cells selected by ``mask`` (cells,)."""
        if KEY not in adata.obsm:
            raise KeyError(f'adata.obsm["{KEY}"] is missing: run scimf.fit_space(adata, split) first')
        coordinates = np.asarray(adata.obsm[KEY], dtype=np.float32)
        if not np.isfinite(coordinates[mask]).all():
            raise ValueError(f'adata.obsm["{KEY}"] holds NaN or infinite values in cells that would be used')
        population, time = populations(adata), adata.obs["time"].to_numpy(float)
        cells, names, density = {}, {}, {}
        for p in np.unique(population[mask]):
            for t in np.unique(time[mask & (population == p)]):
                rows = mask & (population == p) & (time == t)
                cells[p, float(t)], names[p, float(t)] = coordinates[rows], adata.obs_names[rows].to_numpy(str)
            if "density" in adata.obs:
                values = adata.obs["density"].to_numpy(float)[population == p]
                if not np.all(values == values[0]) or not values[0] > 0:
                    raise ValueError(
                        f'obs["density"] of population {p!r}: expected one positive number for all its cells'
                    )
                density[p] = float(values[0])
            else:
                density[p] = 1.0
        return cls(cells, names, density)

    def replaced(self, adata: "AnnData", values: np.ndarray) -> "Snapshots":
        """Return the same snapshots with other values (cells of ``adata``, columns), found by cell names."""
        rows = {key: adata.obs_names.get_indexer(names) for key, names in self.names.items()}
        return Snapshots({key: values[index] for key, index in rows.items()}, self.names, self.density)

    def only(self, population: str) -> "Snapshots":
        """Return the snapshots of one population."""
        keep = [key for key in self.cells if key[0] == population]
        cells, names = ({key: part[key] for key in keep} for part in (self.cells, self.names))
        return Snapshots(cells, names, {population: self.density[population]})

    def times(self, population: str) -> list[float]:
        """Sorted observed times of a population."""
        return sorted(t for p, t in self.cells if p == population)

    def hash(self) -> str:
        """Sha256 of cells, times and densities."""
        digest = hashlib.sha256()
        for key in sorted(self.cells):
            digest.update(repr((key, self.cells[key].shape, self.density[key[0]])).encode())
            digest.update(np.ascontiguousarray(self.cells[key]).tobytes())
        return digest.hexdigest()


def populations(adata: "AnnData") -> np.ndarray:
    """Return the population of each cell as str; one population called "all" where the data name none."""
    if "population" in adata.obs:
        return adata.obs["population"].astype(str).to_numpy()
    return np.full(adata.n_obs, "all")


@dataclass(frozen=True)
class Units:
    """Affine map between data coordinates and the coordinates the network sees."""

    centre: np.ndarray  # (dim,)
    scale: float

    @classmethod
    def of(cls, snapshots: Snapshots, *, rescale: bool) -> "Units":
        """Mean and mean s.d. over dimensions of the training cells; identity if ``rescale`` is off."""
        cells = np.concatenate(list(snapshots.cells.values()))
        if not rescale:
            return cls(np.zeros(cells.shape[1], np.float32), 1.0)
        return cls(cells.mean(0), float(np.sqrt(cells.var(0).mean())))

    def enter(self, x: np.ndarray) -> torch.Tensor:
        """Turn data into network coordinates."""
        return torch.as_tensor((x - self.centre) / self.scale, dtype=torch.float32)

    def leave(self, x: torch.Tensor) -> np.ndarray:
        """Turn network into data coordinates."""
        return x.cpu().numpy() * self.scale + self.centre


def pad(clouds: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Stack clouds of different size: (groups, cells, dim) and the mask (groups, cells) of real cells."""
    stacked = torch.nn.utils.rnn.pad_sequence(clouds, batch_first=True)
    sizes = torch.tensor([len(c) for c in clouds], device=stacked.device)
    return stacked, torch.arange(stacked.shape[1], device=stacked.device)[None] < sizes[:, None]


def starting_snapshots(adata: "AnnData", split: "Split") -> Snapshots:
    """Return what sampling may start from: training snapshots, and the first snapshot of each held-out population."""
    return Snapshots.of(adata, ~split.held_mask(adata))


def contexts(adata: "AnnData") -> list[tuple[np.ndarray, float]]:
    """Rows of each population x time snapshot, with the density of the population."""
    population, time = populations(adata), adata.obs["time"].to_numpy(float)
    density = adata.obs["density"].to_numpy(float) if "density" in adata.obs else np.ones(adata.n_obs)
    groups = [np.flatnonzero((population == p) & (time == t)) for p in np.unique(population) for t in np.unique(time)]
    return [(rows, float(density[rows[0]])) for rows in groups if len(rows)]
