r"""What if the population were another one: a type removed, halved, doubled, or two populations mixed.

Each cell of a snapshot stands for an amount of cells, its share of the relative density :math:`s` of its population.
The question changes amounts: a type times a factor, or volumes mixed, :math:`(1 - v)\,s` of one population and
:math:`v\,s'` of another. The changed crowd is drawn in proportion to the new amounts, and its density is their sum:
removed cells are missing, nobody takes their place.

Both crowds are simulated, and the cells of the population **as it was** hear either one, with the same noise. So the
difference is what they would have heard otherwise; without interaction it is exactly zero.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from scimf.evaluate import interval
from scimf.fitted import FittedSDE
from scimf.sde import roll_out
from scimf.snapshots import KEY, Snapshots, populations

if TYPE_CHECKING:
    from anndata import AnnData


def pick(labels: np.ndarray, amount: np.ndarray, n: int, offset: float) -> np.ndarray:  # (n,) rows
    """Choose ``n`` cells in proportion to ``amount`` (cells,), each type to within one cell of its proportion.

    Systematic sampling from ``offset`` in [0, 1), so that two crowds of the same amounts are the same crowd.
    """
    order = np.argsort(labels, kind="stable")
    edge = np.cumsum(amount[order]) / amount.sum()
    # side="right": a cell of amount zero has an edge at which nobody stops.
    rows = np.searchsorted(edge, (np.arange(n) + offset) / n, side="right")
    return order[rows.clip(max=np.flatnonzero(amount[order])[-1])]


def what_if(
    models: FittedSDE | Sequence[FittedSDE],
    adata: "AnnData",
    *,
    population: str,
    times: Sequence[float],
    factors: dict[str, float] | None = None,
    mix_with: str | None = None,
    share: float = 0.5,
    density: float | None = None,
    start: float | None = None,
    direction: np.ndarray | None = None,
    n: int = 500,
    draws: int = 4,
    seed: int = 0,
) -> pd.DataFrame:
    """Say what changes for each type of cell of one population if the population is changed.

    Parameters
    ----------
    models
        One fitted model, or fits of different training seeds for intervals.
    adata
        Data with ``obsm["X_scimf"]`` and ``obs["cell_type"]``.
    population, start
        The snapshot to start from; the first one of the population by default.
    times
        Real times after ``start``, increasing.
    factors
        Type -> amount relative to now: 0 removes, 0.5 halves, 2 doubles it.
    mix_with, share
        Another population that was measured at ``start``, and its share of the mixed **volume**; ``factors`` apply to
        the mixture.
    density
        Relative density of the changed crowd; the sum of the new amounts by default. For an experiment that replaces
        the removed cells by others: the density as it was.
    direction
        (dim,) in data coordinates, of any length: also report the signed displacement along it.
    n, draws, seed
        Simulated cells, repetitions that are averaged, and their noise.

    Returns
    -------
    DataFrame
        One row per time and type: ``time, cell_type, moved`` (how far the type goes unchanged), ``shift, shift_lo,
        shift_hi`` (distance between its two means, data coordinates; mean and 95 % t interval over models), ``cosine``
        (mean over pairs of models between their shifts; 0 where they point anywhere), ``along, along_lo, along_hi``,
        ``n_seeds``. A length is never negative: whether a shift is there is told by ``cosine`` and ``along``. What
        needs several models is left out for one. A type that is removed is answered for a last cell of it.
        ``attrs["warning"]``: which proportion or density leaves the range of the training populations, one by one;
        empty if none does.

    Raises
    ------
    ValueError
        If a population, time or type is not there, or nobody would be left.
    """
    models = [models] if isinstance(models, FittedSDE) else list(models)
    as_it_was = _crowd(models[0], adata, population=population, start=start)
    question = {"factors": factors, "mix_with": mix_with, "share": share, "density": density}
    changed = _crowd(models[0], adata, population=population, start=start, **question)
    both = np.stack([_type_means(m, as_it_was, changed, times, n, draws, seed) for m in models])
    shifts = both[:, 1] - both[:, 0]  # (models, 1 + times, types, dim)
    rows = []
    for k, time in enumerate(times, start=1):
        for j, kind in enumerate(as_it_was.types):
            vectors = shifts[:, k, j]
            row = {"time": float(time), "cell_type": kind}
            row["moved"] = float(np.linalg.norm(both[:, 0, k, j] - both[:, 0, 0, j], axis=1).mean())
            row |= _named("shift", np.linalg.norm(vectors, axis=1))
            if len(models) > 1:
                row["cosine"] = _mutual_cosine(vectors)
            if direction is not None:
                row |= _named("along", vectors @ (np.asarray(direction) / np.linalg.norm(direction)))
            rows.append(row | {"n_seeds": len(models)})
    table = pd.DataFrame(rows)
    table.attrs["warning"] = _outside(models[0], adata, changed)
    return table


def counterfactual_error(
    models: FittedSDE | Sequence[FittedSDE],
    adata: "AnnData",
    truth: "AnnData",
    *,
    factors: dict[str, float],
    times: Sequence[float],
    min_cells: int = 5,
    n: int = 500,
    draws: int = 1,
    seed: int = 0,
) -> pd.DataFrame:
    """Score predicted against true means of every type in every population that was really changed.

    Parameters
    ----------
    models
        One fitted model, or several whose predicted means are averaged.
    truth
        The changed experiment: the same populations by name, with ``obsm["X_scimf"]``; where it has
        ``obs["density"]``, that is the density of the changed crowd. Its cells are only scored against.
    factors, times
        What was changed, the same in all populations; times after the first snapshot.
    min_cells
        A type is scored where the truth and the data have at least so many cells of it.

    Returns
    -------
    DataFrame
        ``population, time, cell_type, method, error`` (distance between means, data coordinates). Methods: "changed",
        the simulated population; "observed_and_shift", what was observed at that time moved by the predicted shift;
        and two that say that nothing changes, "as_it_was" (simulated) and "observed" (nothing is predicted at all).
    """
    models = [models] if isinstance(models, FittedSDE) else list(models)
    labels, seen = _types(adata), Snapshots.of(adata, np.ones(adata.n_obs, bool))
    kinds = dict(zip(adata.obs_names, labels, strict=True))
    real = Snapshots.of(truth, np.ones(truth.n_obs, bool))
    real_kinds = dict(zip(truth.obs_names, _types(truth), strict=True))
    rows = []
    for population in real.density:
        as_it_was = _crowd(models[0], adata, population=population)
        known = {kind: f for kind, f in factors.items() if kind in as_it_was.types}
        density = real.density[population] if "density" in truth.obs else None
        changed = _crowd(models[0], adata, population=population, factors=known, density=density)
        means = np.mean([_type_means(m, as_it_was, changed, times, n, draws, seed) for m in models], axis=0)
        shift = means[1] - means[0]  # (1 + times, types, dim)
        for k, time in enumerate(map(float, times), start=1):
            x, y = seen.cells[population, time], real.cells[population, time]
            x_kind = np.array([kinds[name] for name in seen.names[population, time]])
            y_kind = np.array([real_kinds[name] for name in real.names[population, time]])
            for j, kind in enumerate(as_it_was.types):
                if min((x_kind == kind).sum(), (y_kind == kind).sum()) < min_cells:
                    continue
                before, target = _mean(x[x_kind == kind]), _mean(y[y_kind == kind])
                guesses = {"changed": means[1, k, j], "as_it_was": means[0, k, j]}
                guesses |= {"observed": before, "observed_and_shift": before + shift[k, j]}
                rows += [
                    (population, time, kind, method, float(np.linalg.norm(guess - target)))
                    for method, guess in guesses.items()
                ]
    return pd.DataFrame(rows, columns=["population", "time", "cell_type", "method", "error"])


class _Crowd:
    """Cells (cells, dim), their types, the amount each one stands for, and the time at which they were measured."""

    def __init__(self, x: np.ndarray, labels: np.ndarray, amount: np.ndarray, time: float) -> None:
        self.x, self.labels, self.amount, self.time = x, labels, amount, time
        self.types = sorted(set(labels))


def _types(adata: "AnnData") -> np.ndarray:  # (cells,) of str
    if "cell_type" not in adata.obs:
        raise KeyError(f'adata.obs["cell_type"] is missing; found {list(adata.obs.columns)}')
    return adata.obs["cell_type"].astype(str).to_numpy()


def _crowd(
    model: FittedSDE,
    adata: "AnnData",
    *,
    population: str,
    start: float | None = None,
    factors: dict[str, float] | None = None,
    mix_with: str | None = None,
    share: float = 0.5,
    density: float | None = None,
) -> _Crowd:
    labels, who, when = _types(adata), populations(adata), adata.obs["time"].to_numpy(float)
    if mix_with == population:
        raise ValueError(f"mix_with: expected another population than {population!r}")
    if not 0 <= share <= 1:
        raise ValueError(f"share: expected a number from 0 to 1, got {share}")
    if population not in model.starts.density:
        raise ValueError(f"population {population!r} is unknown, known {sorted(model.starts.density)}")
    begin = float(when[who == population].min()) if start is None else float(start)
    parts = {population: 1.0} if mix_with is None else {population: 1 - share, mix_with: share}
    rows, amount = [], []
    for name, volume in parts.items():
        mine = np.flatnonzero((who == name) & (when == begin))
        if not len(mine):
            raise ValueError(f"population {name!r} was not measured at time {begin:g}")
        rows.append(mine)
        amount.append(np.full(len(mine), volume * model.starts.density[name] / len(mine)))
    rows, amount = np.concatenate(rows), np.concatenate(amount)
    factors = factors or {}
    if unknown := sorted(set(factors) - set(labels[rows])):
        raise ValueError(f"factors: {unknown} not among the types of this snapshot, {sorted(set(labels[rows]))}")
    amount = amount * np.array([factors.get(kind, 1.0) for kind in labels[rows]])
    if (amount < 0).any() or not amount.sum() > 0:
        raise ValueError(f"factors: expected numbers from 0 upwards that leave some cells, got {factors}")
    if density is not None:
        amount = amount * (density / amount.sum())
    return _Crowd(np.asarray(adata.obsm[KEY], dtype=np.float32)[rows], labels[rows], amount, begin)


@torch.no_grad()
def _type_means(
    model: FittedSDE, as_it_was: _Crowd, changed: _Crowd, times: Sequence[float], n: int, draws: int, seed: int
) -> np.ndarray:  # (2, 1 + times, types, dim): as it was and changed, from the start on
    """Mean of each type of the population as it was, while it hears itself or the changed crowd."""
    stops = [as_it_was.time, *map(float, times)]
    if not all(a < b for a, b in zip(stops[:-1], stops[1:], strict=True)):
        raise ValueError(f"times: expected increasing times after {as_it_was.time:g}, got {list(times)}")
    clock = torch.tensor([model.clock(t) for t in stops], device=model.device)
    hears = torch.tensor([1, 1], device=model.device)  # group 0, the cells that are followed, and 1, the crowd
    found = np.zeros((2, len(stops), len(as_it_was.types), as_it_was.x.shape[1]))
    for draw in range(draws):
        offset = np.random.default_rng([seed, draw]).random()
        followed = pick(as_it_was.labels, as_it_was.amount, n, offset)
        kinds = as_it_was.labels[followed]
        for k, crowd in enumerate((as_it_was, changed)):
            senders = crowd.x[pick(crowd.labels, crowd.amount, n, offset)]
            x = torch.stack([model.units.enter(as_it_was.x[followed]), model.units.enter(senders)]).to(model.device)
            density = torch.full((2,), float(crowd.amount.sum()), device=model.device)
            noise = torch.Generator(model.device).manual_seed(seed * 1000 + draw)
            gaps = clock.diff()[:, None].expand(-1, 2).to(x)
            states, _ = roll_out(model.sde, x, gaps, dt=model.config.dt, density=density, hears=hears, generator=noise)
            cells = model.units.leave(torch.cat([x[None], states])[:, 0])  # (1 + times, n, dim)
            found[k] += np.stack([cells[:, kinds == kind].mean(1) for kind in as_it_was.types], axis=1)
    return found / draws


def _mean(x: np.ndarray) -> np.ndarray:  # (cells, dim) -> (dim,)
    return x.mean(0, dtype=np.float64)


def _named(name: str, values: np.ndarray) -> dict[str, float]:
    found = interval(values)
    return {name: found["mean"]} | {f"{name}_{end}": found[end] for end in ("lo", "hi") if end in found}


def _mutual_cosine(vectors: np.ndarray) -> float:  # (models, dim)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True).clip(1e-12)
    return float((unit @ unit.T)[np.triu_indices(len(unit), k=1)].mean())


def _outside(model: FittedSDE, adata: "AnnData", changed: _Crowd) -> str:
    """Name each proportion, and the density, that no training population had; combinations are not looked at."""
    starts = model.starts
    trained = [p for p in starts.density if len(starts.times(p)) > 1]  # a held-out one may only start a simulation
    kinds = dict(zip(adata.obs_names, _types(adata), strict=True))
    snapshots = [[kinds[name] for name in names] for (p, _), names in starts.names.items() if p in trained]
    seen = pd.DataFrame([pd.Series(labels).value_counts(normalize=True) for labels in snapshots]).fillna(0)
    total, reasons = changed.amount.sum(), []
    for kind in changed.types:
        share = changed.amount[changed.labels == kind].sum() / total
        lo, hi = (seen[kind].min(), seen[kind].max()) if kind in seen else (0.0, 0.0)
        if not lo - 1e-9 <= share <= hi + 1e-9:
            reasons.append(f"{kind} at {share:.0%} (seen: {lo:.0%} to {hi:.0%})")
    lo, hi = min(starts.density[p] for p in trained), max(starts.density[p] for p in trained)
    if not lo * (1 - 1e-6) <= total <= hi * (1 + 1e-6):
        reasons.append(f"density {total:.2f} (seen: {lo:.2f} to {hi:.2f})")
    return "outside of what the model was trained on: " + ", ".join(reasons) if reasons else ""
