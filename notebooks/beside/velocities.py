"""Velocities of chapter 5: averaged on a grid of the plane, and beside the next snapshot."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from scimf.dynamics.fitted import FittedSDE
from scimf.dynamics.losses import exact_plan
from scimf.dynamics.snapshots import KEY, contexts, populations
from scimf.evaluation.distances import distances
from scimf.evaluation.summary import interval

if TYPE_CHECKING:
    from anndata import AnnData


def velocity_grid(
    xy: np.ndarray, uv: np.ndarray, *, n: int = 20, smooth: float = 0.5, min_cells: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Average velocities on a regular grid of the plane, for :func:`scimf.plots.arrows`.

    For linear coordinates, such as the first two columns of ``obsm["X_scimf"]`` and of the
    velocity. Gaussian weights with an s.d. of ``smooth`` grid steps; ``n`` steps along the longer
    side. Points around which the weights sum to less than ``min_cells`` are left out.

    Parameters
    ----------
    xy, uv
        Coordinates and velocities, each (cells, 2).

    Returns
    -------
    points, arrows
        Each (points, 2).
    """
    low = xy.min(0)
    high = xy.max(0)
    step = float((high - low).max()) / n
    x_axis = np.arange(low[0], high[0] + step / 2, step)
    y_axis = np.arange(low[1], high[1] + step / 2, step)
    points = np.stack(np.meshgrid(x_axis, y_axis), axis=-1).reshape(-1, 2)
    weight = np.exp(-((distances(points, xy) / (smooth * step)) ** 2) / 2)  # (points, cells)
    total = weight.sum(1)
    kept = total >= min_cells
    return points[kept], (weight[kept] @ uv) / total[kept, None]


def agreement_with_next(
    velocity: "FittedSDE | np.ndarray", adata: "AnnData", *, n: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Cosine between each cell's velocity and the way to its partners in the next snapshot.

    Partners are those of exact optimal transport within the population, the displacement goes to
    their mean. **The pairing is itself a model**, of least squared displacement: a velocity that
    disagrees with it is not thereby wrong, and a model trained on the next snapshot has seen where
    the cells went, though not which.

    Parameters
    ----------
    velocity
        A fitted model, or (cells, dim) in the coordinates ``obsm["X_scimf"]``.
    adata
        Data with ``obsm["X_scimf"]``.
    n, seed
        Largest number of cells on either side, and their choice.

    Returns
    -------
    DataFrame
        One row per population and time: ``population, time, next_time, cosine, permuted`` (the
        null: its expectation over all ways to permute velocities among the cells),
        ``mean_direction`` (the baseline: every cell goes the way from mean to mean), ``n``.

    Raises
    ------
    ValueError
        If the velocity has another shape than the coordinates.
    """
    v = sum(velocity.drift(adata)) if isinstance(velocity, FittedSDE) else np.asarray(velocity)
    x = np.asarray(adata.obsm[KEY])
    if v.shape != x.shape:
        raise ValueError(f'velocity: expected the shape of obsm["{KEY}"], {x.shape}, got {v.shape}')
    population = populations(adata)
    time = adata.obs["time"].to_numpy(float)
    rng = np.random.default_rng(seed)
    found = []
    for (now, _), (then, _) in pairwise(contexts(adata)):  # sorted by population and time
        if population[now[0]] != population[then[0]]:
            continue
        row = {"population": population[now[0]], "time": time[now[0]], "next_time": time[then[0]]}
        now = rng.permutation(now)[:n]
        then = rng.permutation(then)[:n]
        found.append(row | _agreement(v[now], x[now], x[then]))
    columns = ["population", "time", "next_time", "cosine", "permuted", "mean_direction", "n"]
    return pd.DataFrame(found, columns=columns)


def agreement_table(
    fits: Mapping[str, Sequence[FittedSDE]], data: Mapping[str, "AnnData"]
) -> pd.DataFrame:
    """Agreement of velocities with the next day, both by name of the data: one row for each day.

    Columns ``data, day, mean, lo, hi, n_seeds`` (cosine, interval over training seeds),
    ``permuted, mean_direction`` as in :func:`agreement_with_next`.
    """
    rows = []
    for name, models in fits.items():
        each = pd.concat([agreement_with_next(model, data[name]) for model in models])
        for day, part in each.groupby("time"):
            nulls = part[["permuted", "mean_direction"]].mean().to_dict()
            rows.append({"data": name, "day": day, **interval(part["cosine"]), **nulls})
    columns = ["data", "day", "mean", "lo", "hi", "n_seeds", "permuted", "mean_direction"]
    return pd.DataFrame(rows, columns=columns)


def _agreement(v: np.ndarray, x: np.ndarray, later: np.ndarray) -> dict[str, float]:
    """Cosines of velocities (cells, dim) with the way from ``x`` to ``later`` (others, dim)."""
    plan = exact_plan(torch.as_tensor(x), torch.as_tensor(later)).numpy()  # (cells, others)
    way = _unit(plan @ later / plan.sum(1, keepdims=True) - x)
    direction = _unit(v)
    straight = _unit(later.mean(0) - x.mean(0))
    return {
        "cosine": (direction * way).sum(1).mean(),
        "permuted": direction.mean(0) @ way.mean(0),
        "mean_direction": straight @ way.mean(0),
        "n": len(x),
    }


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=-1, keepdims=True).clip(1e-12)
