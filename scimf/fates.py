r"""Where velocities point and what cells become: against the next snapshot, and against what sister cells became.

Cells of one clone share an inherited barcode, so the sisters of an early cell that were measured later say what its
kind became: evidence that no snapshot model has seen. The predicted fate of an early cell is the mean vote of the ``k``
nearest observed late cells around each of its end states; **sisters never vote**. The score of a clone is the agreement

.. math:: \sum_f p_f\, o_f,

the probability that the predicted fates :math:`p` give to the types :math:`o` of the sisters. The unit is the clone.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from scimf.evaluate import interval
from scimf.fitted import FittedSDE
from scimf.snapshots import KEY, contexts, populations
from scimf.transport import distances, exact_plan

if TYPE_CHECKING:
    from anndata import AnnData

CLONES = "X_clone"  #: obsm key, (cells, clones), non-zero where the cell carries the barcode


def velocity_grid(
    xy: np.ndarray, uv: np.ndarray, *, n: int = 20, smooth: float = 0.5, min_cells: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:  # (points, 2), (points, 2)
    """Average velocities (cells, 2) of an embedding (cells, 2) on a regular grid, for :func:`scimf.plots.arrows`.

    For linear coordinates, such as the first two columns of ``obsm["X_scimf"]`` and of the velocity. Gaussian weights
    with an s.d. of ``smooth`` grid steps; ``n`` steps along the longer side. Points around which the weights sum to
    less than ``min_cells`` are left out.
    """
    low, high = xy.min(0), xy.max(0)
    step = float((high - low).max()) / n
    axes = [np.arange(a, b + step / 2, step) for a, b in zip(low, high, strict=True)]
    points = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2)
    weight = np.exp(-((distances(points, xy) / (smooth * step)) ** 2) / 2)  # (points, cells)
    total = weight.sum(1)
    kept = total >= min_cells
    return points[kept], (weight[kept] @ uv) / total[kept, None]


def agreement_with_next(
    velocity: "FittedSDE | np.ndarray", adata: "AnnData", *, n: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Cosine between each cell's velocity and the way to its partners in the next snapshot of its population.

    Partners are those of exact optimal transport, the displacement goes to their mean. **The pairing is itself a
    model**, of least squared displacement: a velocity that disagrees with it is not thereby wrong, and a model trained
    on the next snapshot has seen where the cells went, though not which.

    Parameters
    ----------
    velocity
        A fitted model, or (cells, dim) in the coordinates ``obsm["X_scimf"]``.
    n, seed
        Largest number of cells on either side, and their choice.

    Returns
    -------
    DataFrame
        One row per population and time: ``population, time, next_time, cosine, permuted`` (the null: its expectation
        over all ways to permute velocities among the cells), ``mean_direction`` (the baseline: every cell goes the way
        from mean to mean), ``n``.
    """
    v = sum(velocity.drift(adata)) if isinstance(velocity, FittedSDE) else np.asarray(velocity)
    x, who, when = np.asarray(adata.obsm[KEY]), populations(adata), adata.obs["time"].to_numpy(float)
    if v.shape != x.shape:
        raise ValueError(f'velocity: expected the shape of obsm["{KEY}"], {x.shape}, got {v.shape}')
    rng = np.random.default_rng(seed)
    snapshots = {(who[rows[0]], when[rows[0]]): rows for rows, _ in contexts(adata)}
    found = []
    for population, time in sorted(snapshots):
        later = [t for p, t in snapshots if p == population and t > time]
        if not later:
            continue
        now, then = (rng.permutation(snapshots[population, t])[:n] for t in (time, min(later)))
        plan = exact_plan(torch.as_tensor(x[now]), torch.as_tensor(x[then])).numpy()
        way = _unit(plan @ x[then] / plan.sum(1, keepdims=True) - x[now])
        mine, straight = _unit(v[now]), _unit(x[then].mean(0) - x[now].mean(0))
        cosine, permuted = (mine * way).sum(1).mean(), mine.mean(0) @ way.mean(0)
        found.append((population, time, min(later), cosine, permuted, straight @ way.mean(0), len(now)))
    columns = ["population", "time", "next_time", "cosine", "permuted", "mean_direction", "n"]
    return pd.DataFrame(found, columns=columns)


def clonal_fates(
    models: "Mapping[str, FittedSDE | Sequence[FittedSDE]]",
    adata: "AnnData",
    *,
    early: float,
    late: float,
    k: int = 10,
    draws: int = 20,
    leave_out: Iterable[str] = (),
    clones: str = CLONES,
    seed: int = 0,
) -> dict[str, pd.DataFrame]:
    """Observed and predicted fates of every clone that was measured at both times.

    Parameters
    ----------
    models
        Fitted models by name; predictions of several training seeds under one name are averaged.
    early, late
        Real times. Simulations start from ``early``, which has to be the first time or the last one before ``late``.
    k, draws
        Late neighbours that vote, and simulated end states per early cell.
    leave_out
        Types that are no fate, such as "undiff": they neither vote nor count among sisters.
    clones
        ``obsm`` key of the barcodes, (cells, clones), sparse or dense.

    Returns
    -------
    dict
        Tables (clones, types) with rows that sum to 1 and index ``clone, early_type`` (the most frequent type of its
        early cells): "observed", the sisters; the models by name; and predictions without a model, "own_state" (the
        late neighbours of the early state itself: nothing moves), "transport" (the targets of the early cell under
        exact optimal transport) and "frequency" (all late cells). Late sisters are left out of all predictions, but
        models and transport have seen the whole late snapshot: clone identity is what they have not seen.

    Raises
    ------
    KeyError, ValueError
        If there are no barcodes or types, or no clone was measured at both times.
    """
    barcode, labels = _barcodes(adata, clones), adata.obs["cell_type"].astype(str).to_numpy()
    time, x = adata.obs["time"].to_numpy(float), np.asarray(adata.obsm[KEY], dtype=np.float64)
    first = np.flatnonzero(time == early)
    last = np.flatnonzero((time == late) & ~np.isin(labels, list(leave_out)))
    both = np.flatnonzero((barcode[first].sum(0) > 0) & (barcode[last].sum(0) > 0))
    if not len(both):
        raise ValueError(f'obsm["{clones}"]: no clone was measured at time {early:g} and, with a fate, at {late:g}')
    types = sorted(set(labels[last]))
    late_type = np.stack([labels[last] == name for name in types], axis=1).astype(float)  # (late, types)
    ends = {name: _end_states(m, adata, early, late, first, draws, seed) for name, m in models.items()}
    plan = _plan(x, populations(adata), first, np.flatnonzero(time == late))  # (early, late)
    arrived = x[time == late]
    found = {name: [] for name in ("observed", *models, "own_state", "transport", "frequency")}
    index = []
    for clone in both:
        mine, sister = np.flatnonzero(barcode[first, clone]), barcode[last, clone]
        others, other_type = x[last][~sister], late_type[~sister]
        frequency = other_type.mean(0)
        index.append((clone, pd.Series(labels[first[mine]]).mode()[0]))
        found["observed"].append(late_type[sister].mean(0))
        for name, states in ends.items():
            found[name].append(_vote(states[mine].reshape(-1, x.shape[1]), others, other_type, k).mean(0))
        found["own_state"].append(_vote(x[first[mine]], others, other_type, k).mean(0))
        mass = plan[mine].sum(0) * (barcode[time == late, clone] == 0)
        reached = mass > 0
        carried = mass[reached] @ _vote(arrived[reached], others, other_type, k) if reached.any() else frequency
        found["transport"].append(carried / carried.sum())
        found["frequency"].append(frequency)
    rows = pd.MultiIndex.from_tuples(index, names=["clone", "early_type"])
    return {name: pd.DataFrame(np.stack(values), index=rows, columns=types) for name, values in found.items()}


def fate_scores(
    fates: dict[str, pd.DataFrame], *, early_type: str | None = None, permutations: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """Score every prediction of :func:`clonal_fates` against the sisters, beside two nulls.

    Returns
    -------
    DataFrame
        One row per method: ``agreement, lo, hi`` (mean over clones and 95 % t interval), ``permuted, p`` (the sisters
        of all clones exchanged) and ``permuted_within, p_within`` (exchanged between clones of the same early type:
        what is known beyond the type of the early cell), one-sided and a little strict, for a clone's own sisters do
        not vote but those of others do; ``cross_entropy`` (nats; as if one late cell in
        ten more had voted by frequency, so that it is finite), ``n_clones``. Only clones of ``early_type`` if given.
    """
    fates = {name: _only(table, early_type) for name, table in fates.items()}
    observed = fates["observed"].to_numpy()
    group = fates["observed"].index.get_level_values("early_type").to_numpy()
    rng = np.random.default_rng(seed)
    shuffles = {"": [rng.permutation(len(group)) for _ in range(permutations)]}
    shuffles["_within"] = [_permuted_within(group, rng) for _ in range(permutations)]
    rows = {}
    for name, table in fates.items():
        if name == "observed":
            continue
        p = table.to_numpy()
        each = (p * observed).sum(1)
        row = _named(each)
        for suffix, orders in shuffles.items():
            null = np.array([(p * observed[order]).sum(1).mean() for order in orders])
            row["permuted" + suffix] = null.mean()
            row["p" + suffix] = (1 + (null >= each.mean() - 1e-12).sum()) / (1 + len(null))
        smoothed = (10 * p + fates["frequency"].to_numpy()) / 11
        row["cross_entropy"] = -(observed * np.log(smoothed.clip(1e-12))).sum(1).mean()
        rows[name] = row | {"n_clones": len(group)}
    return pd.DataFrame(rows).T.rename_axis("method").astype({"n_clones": int})


def fate_difference(
    fates: dict[str, pd.DataFrame], first: str, second: str, *, early_type: str | None = None
) -> dict[str, float]:
    """Agreement of one prediction minus that of another, clone by clone: ``{agreement, lo, hi, n_clones}``."""
    observed, p, q = (_only(fates[name], early_type).to_numpy() for name in ("observed", first, second))
    return _named(((p - q) * observed).sum(1)) | {"n_clones": len(observed)}


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=-1, keepdims=True).clip(1e-12)


def _named(values: np.ndarray) -> dict[str, float]:
    found = interval(values)
    return {"agreement": found["mean"], "lo": found.get("lo", np.nan), "hi": found.get("hi", np.nan)}


def _only(table: pd.DataFrame, early_type: str | None) -> pd.DataFrame:
    kinds = table.index.get_level_values("early_type")
    if early_type is None:
        return table
    if early_type not in kinds:
        raise ValueError(f"early_type: no clone of {early_type!r}, there are {sorted(set(kinds))}")
    return table[kinds == early_type]


def _barcodes(adata: "AnnData", key: str) -> np.ndarray:  # (cells, clones) bool
    if key not in adata.obsm:
        raise KeyError(f'adata.obsm["{key}"] is missing, expected barcodes (cells, clones); found {list(adata.obsm)}')
    if "cell_type" not in adata.obs:
        raise KeyError(f'adata.obs["cell_type"] is missing; found {list(adata.obs.columns)}')
    found = adata.obsm[key]
    return np.asarray(found.toarray() if hasattr(found, "toarray") else found) > 0


def _plan(x: np.ndarray, population: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:  # (early, late)
    """Exact transport between two snapshots, each population for itself."""
    plan = np.zeros((len(first), len(last)))
    for name in set(population[first]) & set(population[last]):
        a, b = np.flatnonzero(population[first] == name), np.flatnonzero(population[last] == name)
        plan[np.ix_(a, b)] = exact_plan(torch.as_tensor(x[first[a]]), torch.as_tensor(x[last[b]])).numpy()
    return plan


def _end_states(
    models: "FittedSDE | Sequence[FittedSDE]",
    adata: "AnnData",
    early: float,
    late: float,
    rows: np.ndarray,
    draws: int,
    seed: int,
) -> np.ndarray:  # (early cells, draws x models, dim)
    """Simulate every cell of the early snapshot, each in the context of its population."""
    names, found = adata.obs_names[rows], []
    for model in [models] if isinstance(models, FittedSDE) else models:
        states = [[] for _ in rows]
        for population in sorted(set(populations(adata)[rows])):
            before = [t for t in model.starts.times(population) if t < late]
            if early not in (before[0], before[-1]):
                raise ValueError(f"early: simulations to {late:g} start from {before[0]:g} or {before[-1]:g}")
            start, size = "previous" if early == before[-1] else "t0", len(model.starts.cells[population, early])
            cells = model.sample(
                [late], n=draws * size, start=start, populations=[population], seed=seed, max_context=size
            )
            for i, state in zip(names.get_indexer(cells.obs["start_cell"]), cells.obsm[KEY], strict=True):
                states[i].append(state)
        found.append(np.array(states))
    return np.concatenate(found, axis=1)


def _vote(x: np.ndarray, cells: np.ndarray, votes: np.ndarray, k: int) -> np.ndarray:  # (states, types)
    """Mean vote (cells, types) of the ``k`` nearest cells."""
    nearest = np.argsort(distances(x, cells), axis=1)[:, :k]
    return votes[nearest].mean(1)


def _permuted_within(group: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    order = np.arange(len(group))
    for name in np.unique(group):
        rows = np.flatnonzero(group == name)
        order[rows] = rng.permutation(rows)
    return order
