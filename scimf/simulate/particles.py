r"""Interacting particles, measured destructively: all cells are simulated, disjoint parts observed.

For cell :math:`i` of a population with :math:`N` cells and relative density :math:`s`,

.. math::

    \mathrm{d}x_i = b(x_i, t)\,\mathrm{d}t
        + \frac{s}{N-1} \sum_{j \ne i} K(x_i, x_j)\,\mathrm{d}t + \sigma\,\mathrm{d}W_i .

:math:`b` is the *intrinsic* drift, the sum is the *interaction* drift. The systems are listed in
``scimf.simulate.systems``.
"""

import string
from collections.abc import Callable
from dataclasses import dataclass

import anndata as ad
import numpy as np
import pandas as pd

#: (state (populations, cells, dim), type (populations, cells) or None, time)
#: -> intrinsic and interaction drift, each like the state.
Drift = Callable[[np.ndarray, np.ndarray | None, float], tuple[np.ndarray, np.ndarray]]
#: (state, type, number of cells relative to the start (populations,))
#: -> net rate of division per cell and unit of time, (populations, cells).
Growth = Callable[[np.ndarray, np.ndarray | None, np.ndarray], np.ndarray]

TYPE_NAMES = np.array(list(string.ascii_uppercase + string.ascii_lowercase))  #: A, B, ...
NO_FILES = np.array([], dtype=str)
#: ``uns["scimf"]`` of every simulated set, which adds its name, its title and what is true of it.
SIMULATED = {
    "form": "state",
    "time_unit": "a.u.",
    "files": NO_FILES,
    "urls": NO_FILES,
    "sha256": NO_FILES,
    "licence": "MIT (simulated here)",
    "citation": "this repository, scimf/simulate/",
    "warnings": NO_FILES,
}


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How a simulated system moves and is measured."""

    sigma: float | np.ndarray  #: noise per square root of time, one number or one per dimension
    step: float  #: largest Euler-Maruyama step
    times: tuple[float, ...]  #: of measurement; the first is the start
    n_cells: int  #: measured per population and time

    def measure(
        self,
        x: np.ndarray,
        drift: Drift,
        *,
        rng: np.random.Generator,
        kind: np.ndarray | None = None,
        density: np.ndarray | None = None,
        growth: Growth | None = None,
        crowding: bool = False,
    ) -> ad.AnnData:
        """Simulate all cells together and measure a fresh, disjoint part of them at each time.

        Parameters
        ----------
        x
            State at the first time, (populations, cells, dim); there are at least ``n_cells`` cells
            for each time.
        drift
            The two parts of the drift.
        rng
            Source of all randomness.
        kind, density
            Type of each cell (populations, cells), and relative density of each population
            (populations,).
        growth
            Net division rate. The simulated population is a sample of fixed size of a growing one:
            a dividing cell replaces a random other cell, a dying cell is replaced by one (Moran
            1958). ``obs["mass"]`` is the number of cells relative to the start.
        crowding
            Whether the interaction drift is multiplied by that number.

        Returns
        -------
        AnnData
            ``X`` (cells, dim); ``obs``: time, population, cell_type, density, mass where given;
            ``obsm["drift_intrinsic"]`` and ``obsm["drift_interaction"]``.
        """
        n_populations, n_total, dim = x.shape
        rows = np.arange(n_populations)[:, None]
        order = np.stack([rng.permutation(n_total) for _ in range(n_populations)])
        cells = _Cells(x, kind, np.ones(n_populations), self.times[0], crowding)
        labels = []
        values = []
        for k, time in enumerate(self.times):
            if k:
                _advance(cells, time - self.times[k - 1], drift, growth, self, rng)
            taken = order[:, k * self.n_cells : (k + 1) * self.n_cells]
            columns = _labels(cells, taken, time)
            if density is not None:
                columns["density"] = np.repeat(density, self.n_cells)
            if growth is not None:
                columns["mass"] = np.repeat(cells.mass, self.n_cells)
            labels.append(pd.DataFrame(columns))
            # (3, populations, cells, dim)
            every = np.stack([cells.x, *cells.drifts(drift, time)])
            values.append(every[:, rows, taken].reshape(3, -1, dim))
        return _assembled(labels, np.concatenate(values, axis=1))


@dataclass
class _Cells:
    """All cells of all populations at one time."""

    x: np.ndarray  # (populations, cells, dim)
    kind: np.ndarray | None  # (populations, cells)
    mass: np.ndarray  # (populations,), number of cells relative to the start
    time: float
    crowding: bool

    def drifts(self, drift: Drift, time: float) -> tuple[np.ndarray, np.ndarray]:
        """Intrinsic and interaction drift of every cell, each like ``x``."""
        intrinsic, interaction = drift(self.x, self.kind, time)
        if self.crowding:
            interaction = self.mass[:, None, None] * interaction
        return intrinsic, interaction

    def replace(self, parents: np.ndarray) -> None:
        """Let each place hold the cell that was at ``parents`` (populations, cells)."""
        rows = np.arange(len(self.x))[:, None]
        self.x = self.x[rows, parents]
        if self.kind is not None:
            self.kind = self.kind[rows, parents]


def _advance(
    cells: _Cells,
    gap: float,
    drift: Drift,
    growth: Growth | None,
    sampling: Sampling,
    rng: np.random.Generator,
) -> None:
    """Move all cells on by ``gap``, by Euler-Maruyama steps of equal size."""
    n_steps = max(1, round(gap / sampling.step))
    h = gap / n_steps
    for _ in range(n_steps):
        intrinsic, interaction = cells.drifts(drift, cells.time)
        noise = sampling.sigma * np.sqrt(h) * rng.standard_normal(cells.x.shape)
        cells.x = cells.x + (intrinsic + interaction) * h + noise
        cells.time += h
        if growth is not None:
            rate = growth(cells.x, cells.kind, cells.mass)
            cells.mass = cells.mass * np.exp(rate.mean(1) * h)
            cells.replace(_parents(rate * h, rng))


def _parents(expected: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw which cell each place holds after one step, from net divisions (populations, cells)."""
    n_populations, n_total = expected.shape
    parents = np.tile(np.arange(n_total), (n_populations, 1))
    rows, cells = np.nonzero(rng.random(expected.shape) < np.abs(expected))
    others = (cells + rng.integers(1, n_total, size=len(cells))) % n_total  # never the cell itself
    divides = expected[rows, cells] > 0
    parents[rows[divides], others[divides]] = cells[divides]
    parents[rows[~divides], cells[~divides]] = others[~divides]
    return parents


def _labels(cells: _Cells, taken: np.ndarray, time: float) -> dict[str, np.ndarray]:
    """Columns of ``obs`` of the cells ``taken`` (populations, measured cells)."""
    populations = [f"p{p:02d}" for p in range(len(taken))]
    columns = {
        "time": np.full(taken.size, float(time)),
        "population": np.repeat(populations, taken.shape[1]),
    }
    if cells.kind is not None:
        kind = np.take_along_axis(cells.kind, taken, axis=1)
        columns["cell_type"] = TYPE_NAMES[kind.ravel()]
    return columns


def _assembled(labels: list[pd.DataFrame], values: np.ndarray) -> ad.AnnData:
    """Put together labels and, (3, measured cells, dim), state, intrinsic and interaction drift."""
    obs = pd.concat(labels, ignore_index=True)
    obs.index = [f"cell{i}" for i in range(len(obs))]
    for key in ("population", "cell_type"):
        if key in obs:
            obs[key] = obs[key].astype("category")
    state, intrinsic, interaction = values.astype(np.float32)
    var = pd.DataFrame(index=[f"x{k + 1}" for k in range(state.shape[1])])
    adata = ad.AnnData(state, obs=obs, var=var)
    adata.obsm["drift_intrinsic"] = intrinsic
    adata.obsm["drift_interaction"] = interaction
    return adata
