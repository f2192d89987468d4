"""Snapshots as tensors: which cells were seen in which population and when, in which units."""

from bisect import bisect_right
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from anndata import AnnData

    from scimf.data.split import Split

KEY = "X_scimf"  #: obsm key of the model coordinates
ONE_POPULATION = "all"  #: what the only population is called where the data name none


@dataclass(frozen=True)
class TimeScale:
    """Real time to model time, piecewise linear through the knots and linear beyond them."""

    real: tuple[float, ...]
    model: tuple[float, ...]

    @classmethod
    def of(cls, times: tuple[float, ...], train_times: tuple[float, ...], kind: str) -> "TimeScale":
        """Make the scale of a kind.

        ``"index"``: the rank of the time among all times. ``"real"``: 1 is the median gap of the
        training times.
        """
        if kind == "index":
            return cls(tuple(times), tuple(float(k) for k in range(len(times))))
        first = train_times[0]
        unit = float(np.median(np.diff(train_times)))
        return cls((first, first + unit), (0.0, 1.0))

    def __call__(self, time: float) -> float:
        """Model time of a real time."""
        k = self._knot(time)
        return self.model[k] + (time - self.real[k]) * self.rate(time)

    def rate(self, time: float) -> float:
        """Model time per unit of real time, at ``time``."""
        k = self._knot(time)
        return (self.model[k + 1] - self.model[k]) / (self.real[k + 1] - self.real[k])

    def _knot(
        self, time: float
    ) -> int:  # bisect: every step asks, and NumPy is slow for one number
        return min(max(bisect_right(self.real, time) - 1, 0), len(self.real) - 2)


@dataclass(frozen=True)
class Snapshots:
    """Observed clouds in model coordinates, by population and real time."""

    cells: dict[tuple[str, float], np.ndarray]  #: (population, time) -> (cells, dim), float32
    names: dict[tuple[str, float], np.ndarray]  #: obs_names of the same cells
    density: dict[str, float]  #: relative density of each population, 1 where unknown
    #: of growing populations: cells relative to the start, and the type of each cell, where known
    mass: dict[tuple[str, float], float] = field(default_factory=dict)
    types: dict[tuple[str, float], np.ndarray] = field(default_factory=dict)
    #: net rate of division of each cell per unit of real time, where known; NaN: not of this cell
    known_growth: dict[tuple[str, float], np.ndarray] = field(default_factory=dict)

    @classmethod
    def of(cls, adata: "AnnData", mask: np.ndarray) -> "Snapshots":
        """Collect the cells selected by ``mask`` (cells,).

        Raises
        ------
        KeyError, ValueError
            If there are no coordinates, if they are not finite, or if a density is not one positive
            number for each population.
        """
        if KEY not in adata.obsm:
            needed = "run scimf.fit_space(adata, split) first"
            raise KeyError(f'adata.obsm["{KEY}"] is missing: {needed}')
        coordinates = np.asarray(adata.obsm[KEY], dtype=np.float32)
        if not np.isfinite(coordinates[mask]).all():
            where = f'adata.obsm["{KEY}"]'
            raise ValueError(f"{where} holds NaN or infinite values in cells that would be used")
        population = populations(adata)
        time = adata.obs["time"].to_numpy(float)
        types = cell_types(adata) if "cell_type" in adata.obs else None
        cells, names, density, mass, kinds, known = {}, {}, {}, {}, {}, {}
        for p in np.unique(population[mask]):
            for t in np.unique(time[mask & (population == p)]):
                rows = mask & (population == p) & (time == t)
                cells[p, float(t)] = coordinates[rows]
                names[p, float(t)] = adata.obs_names[rows].to_numpy(str)
                if "mass" in adata.obs:
                    mass[p, float(t)] = _amount(adata, "mass", rows, f"{p!r} at time {t:g}")
                if types is not None:
                    kinds[p, float(t)] = types[rows].astype(str)
                if "known_growth" in adata.obs:
                    known[p, float(t)] = adata.obs["known_growth"].to_numpy(float)[rows]
                    if np.isinf(known[p, float(t)]).any():
                        raise ValueError(
                            'obs["known_growth"]: expected rates, or NaN where unknown'
                        )
            density[p] = _amount(adata, "density", population == p, repr(p))
        return cls(cells, names, density, mass, kinds, known)

    @classmethod
    def to_start_from(cls, adata: "AnnData", split: "Split") -> "Snapshots":
        """Collect what sampling may start from.

        Training snapshots, and the first snapshot of each held-out population.
        """
        return cls.of(adata, ~split.held_mask(adata))

    def replaced(self, adata: "AnnData", values: np.ndarray) -> "Snapshots":
        """Return the same snapshots with other values (cells of ``adata``, columns), by name."""
        cells = {}
        for key, names in self.names.items():
            cells[key] = values[adata.obs_names.get_indexer(names)]
        return replace(self, cells=cells)

    def only(self, population: str) -> "Snapshots":
        """Return the snapshots of one population."""
        mine = []
        for values in (self.cells, self.names, self.mass, self.types, self.known_growth):
            mine.append({key: value for key, value in values.items() if key[0] == population})
        cells, names, *grown = mine
        return Snapshots(cells, names, {population: self.density[population]}, *grown)

    def numbered_types(self) -> tuple[tuple[str, ...], dict[tuple[str, float], Tensor]]:
        """Names of the types, and of each cell the number of its type."""
        if not self.types:
            raise KeyError('adata.obs["cell_type"] is missing: growth by type needs it')
        names = np.unique(np.concatenate(list(self.types.values())))
        kinds = {}
        for key, types in self.types.items():
            kinds[key] = torch.as_tensor(np.searchsorted(names, types))
        return tuple(names.tolist()), kinds

    def times(self, population: str) -> list[float]:
        """Sorted observed times of a population."""
        return sorted(t for p, t in self.cells if p == population)


def _amount(adata: "AnnData", column: str, mine: np.ndarray, whose: str) -> float:
    if column not in adata.obs:
        return 1.0
    values = adata.obs[column].to_numpy(float)[mine]
    if not np.all(values == values[0]) or not values[0] > 0:
        where = f'obs["{column}"] of population {whose}'
        raise ValueError(f"{where}: expected one positive number for all its cells")
    return float(values[0])


def populations(adata: "AnnData") -> np.ndarray:
    """Return the population of each cell as str; all the same where the data name none.

    A ValueError where some cells have one and others do not: populations must not be mixed.
    """
    if "population" not in adata.obs:
        return np.full(adata.n_obs, ONE_POPULATION)
    if missing := int(adata.obs["population"].isna().sum()):
        expected = "expected a label for each"
        raise ValueError(f'adata.obs["population"] is missing for {missing} cells, {expected}')
    return adata.obs["population"].astype(str).to_numpy()


def cell_types(adata: "AnnData") -> np.ndarray:  # (cells,) of str
    """Return the type of each cell, "unknown" where it is missing.

    A KeyError where the data name none.
    """
    if "cell_type" not in adata.obs:
        raise KeyError(f'adata.obs["cell_type"] is missing; found {list(adata.obs.columns)}')
    types = adata.obs["cell_type"].astype(object)
    return types.where(types.notna(), "unknown").astype(str).to_numpy()


@dataclass(frozen=True)
class Standardiser:
    """Affine map between data coordinates and the coordinates the network sees."""

    centre: np.ndarray  # (dim,)
    scale: float

    @classmethod
    def of(cls, snapshots: Snapshots, *, rescale: bool) -> "Standardiser":
        """Mean, and mean s.d. over dimensions, of the cells; the identity if ``rescale`` is off."""
        cells = np.concatenate(list(snapshots.cells.values()))
        if not rescale:
            return cls(np.zeros(cells.shape[1], np.float32), 1.0)
        return cls(cells.mean(0), float(np.sqrt(cells.var(0).mean())))

    def transform(self, x: np.ndarray) -> Tensor:
        """Turn data into network coordinates."""
        return torch.as_tensor((x - self.centre) / self.scale, dtype=torch.float32)

    def inverse(self, x: Tensor) -> np.ndarray:
        """Turn network into data coordinates."""
        return x.cpu().numpy() * self.scale + self.centre


def pad(clouds: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Stack clouds of different size: (groups, cells, dim), and a mask (groups, cells) of cells."""
    stacked = torch.nn.utils.rnn.pad_sequence(clouds, batch_first=True)
    sizes = torch.tensor([len(cloud) for cloud in clouds], device=stacked.device)
    places = torch.arange(stacked.shape[1], device=stacked.device)
    return stacked, places[None] < sizes[:, None]


def contexts(adata: "AnnData", *, grown: bool = False) -> list[tuple[np.ndarray, float]]:
    """Rows of each population x time snapshot, with the density of the population.

    ``grown``: times ``obs["mass"]``, by how much it has grown.
    """
    population = populations(adata)
    time = adata.obs["time"].to_numpy(float)
    density = np.ones(adata.n_obs)
    if "density" in adata.obs:
        density = adata.obs["density"].to_numpy(float)
    if grown and "mass" in adata.obs:
        density = density * adata.obs["mass"].to_numpy(float)
    found = []
    for p in np.unique(population):
        for t in np.unique(time):
            rows = np.flatnonzero((population == p) & (time == t))
            if len(rows):
                found.append((rows, float(density[rows[0]])))
    return found
