r"""What if the population were another one: a type removed, doubled, or two populations mixed.

Each cell of a snapshot stands for an amount of cells, its share of the relative density :math:`s`
of its population. The question changes amounts: a type times a factor, or volumes mixed,
:math:`(1 - v)\,s` of one population and :math:`v\,s'` of another. The changed population is drawn
in proportion to the new amounts, and its density is their sum: removed cells are missing, nobody
takes their place.

Both populations are simulated, and the cells of the population **as it was** receive from either
one, with the same noise. So the difference is what they would have received otherwise; without
interaction it is exactly zero.

Where a model grows, a simulated cell stands for the cells that it has become, hearing whom it
hears; the number of a type is its amount at the start times what its cells have become.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from scimf.core.config import Config
from scimf.dynamics.fitted import FittedSDE
from scimf.dynamics.integrate import Groups, roll_out
from scimf.dynamics.snapshots import KEY, Snapshots, cell_types, populations
from scimf.evaluation.summary import interval

if TYPE_CHECKING:
    from anndata import AnnData


@dataclass(frozen=True, kw_only=True)
class Change(Config):
    """How a population is changed.

    Attributes
    ----------
    factors
        Type -> amount relative to now: 0 removes, 0.5 halves, 2 doubles it.
    mix_with, share
        Another population that was measured at the same time, and its share, from 0 to 1, of the
        mixed **volume**; ``factors`` apply to the mixture.
    density
        Relative density of the changed population; the sum of the new amounts by default. For an
        experiment that replaces the removed cells by others: the density as it was.
    """

    factors: dict[str, float] | None = None
    mix_with: str | None = None
    share: float = 0.5
    density: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError(f"share: expected a number from 0 to 1, got {self.share}")


@dataclass(frozen=True, kw_only=True)
class Simulation(Config):
    """Simulated cells, repetitions that are averaged, and the seed of their noise."""

    n: int = 500
    draws: int = 4
    seed: int = 0


def what_if(
    models: FittedSDE | Sequence[FittedSDE],
    adata: "AnnData",
    *,
    population: str,
    times: Sequence[float],
    change: Change | None = None,
    start: float | None = None,
    direction: np.ndarray | None = None,
    simulation: Simulation | None = None,
) -> pd.DataFrame:
    """Predict what changes for each type of cell of one population if the population is changed.

    Parameters
    ----------
    models, adata
        One fitted model, or fits of different training seeds for intervals; data with
        ``obsm["X_scimf"]`` and ``obs["cell_type"]``.
    population, start
        The snapshot to start from; the first one of the population by default.
    times
        Real times after ``start``, increasing.
    change, simulation
        What is changed; how many cells are simulated how often.
    direction
        (dim,) in data coordinates, of any length: also report the signed displacement along it.

    Returns
    -------
    DataFrame
        One row per time and type: ``time, cell_type, moved`` (how far the type goes unchanged),
        ``shift, shift_lo, shift_hi`` (distance between its two means, data coordinates; mean and
        95 % t interval over models), ``cosine`` (mean over pairs of models between their shifts; 0
        where they point anywhere), ``along, along_lo, along_hi``, ``n_seeds``. A length is never
        negative: whether a shift is there is told by ``cosine`` and ``along``. What needs several
        models is left out for one. A type that is removed is answered for a last cell of it.
        Of models that grow also ``number`` of cells of the type, relative to all of the population
        at ``start``, and ``number_changed`` (``_lo``, ``_hi``), relative to the same.
        ``attrs["warning"]``: which proportion or density leaves the range of the training
        populations, one by one; empty if none does.

    Raises
    ------
    ValueError
        If a population, time or type is not there, or nobody would be left.
    """
    models = [models] if isinstance(models, FittedSDE) else list(models)
    change = change or Change()
    asked = {"population": population, "change": change, "times": times, "start": start}
    kinds, means, numbers = _simulated(models, adata, simulation=simulation, **asked)
    rows = _rows(means, kinds, times, direction)
    if all(map(_grows, models)):
        by_row = numbers[:, :, 1:].reshape(len(models), 2, -1)
        for row, before, after in zip(rows, by_row[:, 0].T, by_row[:, 1].T, strict=True):
            row |= {"number": float(before.mean())} | _with_interval("number_changed", after)
    table = pd.DataFrame(rows)
    table.attrs["warning"] = _outside(models[0], adata, population, start, change)
    return table


def simulated_means(
    models: FittedSDE | Sequence[FittedSDE],
    adata: "AnnData",
    *,
    population: str,
    change: Change,
    times: Sequence[float],
    start: float | None = None,
    simulation: Simulation | None = None,
) -> tuple[list[str], np.ndarray]:
    """Simulate a population as it was and changed; arguments and errors of :func:`what_if`.

    Returns
    -------
    types, means
        The types of the population, and the mean of each: (models, 2, 1 + times, types, dim), as it
        was and changed, from the start on. Data coordinates.
    """
    models = [models] if isinstance(models, FittedSDE) else list(models)
    asked = {"population": population, "change": change, "times": times, "start": start}
    kinds, means, _ = _simulated(models, adata, simulation=simulation, **asked)
    return kinds, means


def _simulated(
    models: list[FittedSDE],
    adata: "AnnData",
    *,
    population: str,
    change: Change,
    times: Sequence[float],
    start: float | None,
    simulation: Simulation | None,
) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Types, their means and numbers (models, 2, 1 + times, types), relative to the start."""
    simulation = simulation or Simulation()
    as_it_was = _measured(models[0], adata, {population: 1.0}, start)
    changed = _changed(models[0], adata, population, start, change)
    asked = (as_it_was, changed, times, simulation)
    means, became = zip(*(_type_means(model, *asked) for model in models), strict=True)
    amounts = [[x.amount[x.types == kind].sum() for kind in as_it_was.kinds] for x in asked[:2]]
    share = np.array(amounts)[:, None] / as_it_was.density  # (2, 1, types)
    return as_it_was.kinds, np.stack(means), np.stack(became) * share


def _rows(
    means: np.ndarray, kinds: list[str], times: Sequence[float], direction: np.ndarray | None
) -> list[dict]:
    """Describe simulated means (models, 2, 1 + times, types, dim)."""
    before = means[:, 0]
    after = means[:, 1]
    rows = []
    for k, time in enumerate(times, start=1):
        for j, kind in enumerate(kinds):
            shift = after[:, k, j] - before[:, k, j]  # (models, dim)
            moved = np.linalg.norm(before[:, k, j] - before[:, 0, j], axis=1).mean()
            row = {"time": float(time), "cell_type": kind, "moved": float(moved)}
            row |= _with_interval("shift", np.linalg.norm(shift, axis=1))
            if len(shift) > 1:
                row["cosine"] = _mutual_cosine(shift)
            if direction is not None:
                unit = np.asarray(direction) / np.linalg.norm(direction)
                row |= _with_interval("along", shift @ unit)
            rows.append(row | {"n_seeds": len(shift)})
    return rows


def _with_interval(name: str, values: np.ndarray) -> dict[str, float]:
    found = interval(values)
    row = {name: found["mean"]}
    for end in ("lo", "hi"):
        if end in found:
            row[f"{name}_{end}"] = found[end]
    return row


def _mutual_cosine(vectors: np.ndarray) -> float:  # (models, dim)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True).clip(1e-12)
    return float((unit @ unit.T)[np.triu_indices(len(unit), k=1)].mean())


@dataclass(frozen=True)
class _Cells:
    """Cells that stand for amounts of cells, and when they were measured."""

    x: np.ndarray  # (cells, dim)
    types: np.ndarray  # (cells,)
    amount: np.ndarray  # (cells,)
    time: float

    @property
    def kinds(self) -> list[str]:
        """The types that there are."""
        return sorted(set(self.types))

    @property
    def density(self) -> float:
        """Relative density of the population."""
        return float(self.amount.sum())

    def draw(self, n: int, offset: float) -> np.ndarray:  # (n,) rows
        """Choose ``n`` cells in proportion to their amounts, each type to within one cell.

        Systematic sampling from ``offset`` in [0, 1), so that of two populations of the same
        amounts the same cells are drawn.
        """
        order = np.argsort(self.types, kind="stable")
        amount = self.amount[order]
        edge = np.cumsum(amount) / self.amount.sum()
        # side="right": a cell of amount zero has an edge at which nobody stops.
        rows = np.searchsorted(edge, (np.arange(n) + offset) / n, side="right")
        return order[rows.clip(max=np.flatnonzero(amount)[-1])]


def _measured(
    model: FittedSDE, adata: "AnnData", volumes: dict[str, float], start: float | None = None
) -> _Cells:
    """Return volumes of populations as they were: each cell stands for its share of the density.

    At time ``start``; by default the first one of the first population.
    """
    density = model.starts.density
    population = populations(adata)
    time = adata.obs["time"].to_numpy(float)
    rows = []
    amount = []
    for name, volume in volumes.items():
        if name not in density:
            raise ValueError(f"population {name!r} is unknown, known {sorted(density)}")
        mine = population == name
        start = float(time[mine].min() if start is None else start)
        here = np.flatnonzero(mine & (time == start))
        if not len(here):
            raise ValueError(f"population {name!r} was not measured at time {start:g}")
        rows.append(here)
        now = density[name] * _grown(model, name, start)
        amount.append(np.full(len(here), volume * now / len(here)))
    cells = np.concatenate(rows)
    x = np.asarray(adata.obsm[KEY], dtype=np.float32)[cells]
    return _Cells(x, cell_types(adata)[cells], np.concatenate(amount), start)


def _grows(model: FittedSDE) -> bool:
    return getattr(model.sde, "growth", None) is not None  # one from a notebook need not know


def _grown(model: FittedSDE, population: str, time: float) -> float:
    """Cells of a population relative to its start, where that is known and the model grows."""
    return model.starts.mass.get((population, time), 1.0) if _grows(model) else 1.0


def _changed(
    model: FittedSDE, adata: "AnnData", population: str, start: float | None, change: Change
) -> _Cells:
    volumes = {population: 1.0}
    if change.mix_with == population:
        raise ValueError(f"mix_with: expected another population than {population!r}")
    if change.mix_with is not None:
        volumes = {population: 1 - change.share, change.mix_with: change.share}
    cells = _measured(model, adata, volumes, start)
    factors = change.factors or {}
    if unknown := sorted(set(factors) - set(cells.types)):
        known = f"the types of this snapshot, {cells.kinds}"
        raise ValueError(f"factors: {unknown} not among {known}")
    amount = cells.amount * np.array([factors.get(kind, 1.0) for kind in cells.types])
    if (amount < 0).any() or not amount.sum() > 0:
        expected = "expected numbers from 0 upwards that leave some cells"
        raise ValueError(f"factors: {expected}, got {factors}")
    if change.density is not None:
        amount = amount * (change.density / amount.sum())
    return replace(cells, amount=amount)


def _outside(
    model: FittedSDE, adata: "AnnData", population: str, start: float | None, change: Change
) -> str:
    """Name each proportion, and the density, that no training population had, one by one."""
    changed = _changed(model, adata, population, start, change)
    starts = model.starts
    # A held-out population may only start a simulation: it has one snapshot.
    trained = [p for p in starts.density if len(starts.times(p)) > 1]
    densities = [
        starts.density[p] * _grown(model, p, time) for p in trained for time in starts.times(p)
    ]
    shares = _shares(adata, starts, trained)
    reasons = []
    for kind in changed.kinds:
        share = changed.amount[changed.types == kind].sum() / changed.amount.sum()
        seen = shares[kind] if kind in shares else np.zeros(1)
        if not seen.min() - 1e-9 <= share <= seen.max() + 1e-9:
            reasons.append(f"{kind} at {share:.0%} (seen: {seen.min():.0%} to {seen.max():.0%})")
    lowest = min(densities)
    highest = max(densities)
    if not lowest * (1 - 1e-6) <= changed.density <= highest * (1 + 1e-6):
        seen = f"seen: {lowest:.2f} to {highest:.2f}"
        reasons.append(f"density {changed.density:.2f} ({seen})")
    return f"outside of what the model was trained on: {', '.join(reasons)}" if reasons else ""


def _shares(adata: "AnnData", starts: Snapshots, trained: list[str]) -> pd.DataFrame:
    """Proportion of each type (column) in each snapshot (row) of some populations."""
    types = pd.Series(cell_types(adata), index=adata.obs_names)
    rows = []
    for (population, _), names in starts.names.items():
        if population in trained:
            rows.append(types.loc[names].value_counts(normalize=True))
    return pd.DataFrame(rows).fillna(0)


def _type_means(
    model: FittedSDE,
    as_it_was: _Cells,
    changed: _Cells,
    times: Sequence[float],
    simulation: Simulation,
) -> tuple[np.ndarray, np.ndarray]:  # (2, 1 + times, types, dim), and without dim
    """Mean of each type of the population as it was, in its own and in the changed population.

    From the start on; and how many cells each cell of a type has become.
    """
    stops = [as_it_was.time, *map(float, times)]
    if not (np.diff(stops) > 0).all():
        expected = f"expected increasing times after {as_it_was.time:g}"
        raise ValueError(f"times: {expected}, got {list(times)}")
    n = simulation.n
    means = np.zeros((2, len(stops), len(as_it_was.kinds), as_it_was.x.shape[1]))
    became = np.zeros(means.shape[:-1])
    for draw in range(simulation.draws):
        offset = np.random.default_rng([simulation.seed, draw]).random()
        rows = as_it_was.draw(n, offset)
        for k, population in enumerate((as_it_was, changed)):
            noise = torch.Generator(model.device).manual_seed(simulation.seed * 1000 + draw)
            senders = population.draw(n, offset)
            x = np.stack([as_it_was.x[rows], population.x[senders]])
            types = np.stack([as_it_was.types[rows], population.types[senders]])
            cells, weight = _simulate(model, x, types, population.density, stops, noise)
            for j, kind in enumerate(as_it_was.kinds):
                mine = as_it_was.types[rows] == kind
                w = weight[:, mine]
                means[k, :, j] += (w[..., None] * cells[:, mine]).mean(1) / w.mean(1)[:, None]
                became[k, :, j] += w.mean(1)
    return means / simulation.draws, became / simulation.draws


@torch.no_grad()
def _simulate(
    model: FittedSDE,
    cells: np.ndarray,
    types: np.ndarray,
    density: float,
    times: Sequence[float],
    noise: torch.Generator,
) -> tuple[np.ndarray, np.ndarray]:  # (times, cells, dim), (times, cells)
    """Carry receivers through real times while all receive from the senders.

    ``cells`` (2, cells, dim) and their ``types``: receivers, senders. Also how many cells each
    receiver has become.
    """
    x = torch.stack([model.standardiser.transform(cloud) for cloud in cells]).to(model.device)
    kind = np.searchsorted(model.types, types) if model.types else None
    groups = Groups(
        density=torch.full((2,), density, device=model.device),
        context=torch.tensor([1, 1], device=model.device),
        kind=None if kind is None else torch.as_tensor(kind, device=model.device),
    )
    grid = torch.tensor([model.time_scale(t) for t in times], device=model.device)
    gaps = grid.diff()[:, None].expand(-1, 2).to(x)
    paths = roll_out(model.sde, x, gaps, dt=model.config.dt, groups=groups, generator=noise)
    states = torch.cat([x[None], paths.states])[:, 0]
    weight = torch.cat([torch.ones_like(paths.weight[:1]), paths.weight])[:, 0]
    return model.standardiser.inverse(states), weight.cpu().numpy()
