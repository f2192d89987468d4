"""Held-out evaluation: every score beside its noise floor and its trivial baselines.

Protocol of one row: for a held-out snapshot with M cells, ``n = min(n, M // 2)`` real cells are
drawn as the truth. The *floor* is another, disjoint draw of n real cells; every prediction is
scored with n cells against the same truth. This is repeated ``draws`` times, so that no cell is
left out by chance. W1 and W2, which shrink with n, may be compared within a row, and the floor
is what a perfect prediction scores.

What may be seen is decided by what is handed over: the two neighbours of the held-out time alone,
or all other times. The two are never mixed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from scipy.spatial.distance import pdist

from scimf.core.config import Config
from scimf.core.parallel import side_by_side
from scimf.dynamics.snapshots import Snapshots, cell_types
from scimf.evaluation import distances
from scimf.evaluation.baselines import BASELINES, Cloud, resample
from scimf.evaluation.predictions import (
    Key,
    Name,
    one_hot_types,
    predicted_clouds,
    predicted_totals,
)

if TYPE_CHECKING:
    from anndata import AnnData

    from scimf.data.space import Space
    from scimf.data.split import Split

METRICS = ("w1", "w2", "energy_distance", "centred_energy", "cost_of_mean", "mmd2")
#: Half the summed difference of the shares of types, if asked for; samples need cell_type.
SHARE_ERROR = "share_error"
#: Absolute error of the log of the number of cells, if asked for; data and samples need mass.
TOTAL_ERROR = "total_error"
GENE_METRICS = ("gene_mean_error", "gene_variance_error", "gene_sinkhorn")
BANDWIDTH_CELLS = 1000  #: training cells whose median distance is the bandwidth of ``mmd2``


@dataclass(frozen=True, kw_only=True)
class Scoring(Config):
    """How predictions are scored.

    Attributes
    ----------
    n
        Largest number of cells on either side.
    draws, seed
        Random draws of the cells that are averaged, and their seed.
    metrics
        Some of :data:`METRICS`, :data:`SHARE_ERROR` and :data:`TOTAL_ERROR`; exact transport is
        what takes the time.
    """

    n: int = 1000
    draws: int = 5
    seed: int = 0
    metrics: tuple[str, ...] = METRICS

    def __post_init__(self) -> None:
        """Refuse metrics that do not exist."""
        known = (*METRICS, SHARE_ERROR, TOTAL_ERROR)
        if unknown := set(self.metrics) - set(known):
            raise ValueError(f"Scoring.metrics: unknown {sorted(unknown)}, known {known}")
        object.__setattr__(self, "metrics", tuple(self.metrics))


def evaluate(
    samples: "AnnData | np.ndarray | Mapping[str | tuple[str, int], AnnData | np.ndarray]",
    adata: "AnnData",
    split: "Split",
    space: "Space | None" = None,
    *,
    scoring: Scoring | None = None,
    baselines: Mapping[str, Callable[..., Cloud]] = BASELINES,
    per_draw: bool = False,
    workers: int = 1,
) -> pd.DataFrame:
    """Score predicted cells at every held-out snapshot that they cover.

    Parameters
    ----------
    samples
        Predicted cells with ``obs["time"]`` (and ``obs["population"]`` where there are several)
        and ``obsm["X_scimf"]``; an array (cells, dim) if exactly one snapshot is held out; or
        several of these by name, or by method and training seed: ``{("scimf", 0): cells}``.
    adata, split
        The data with ``obsm["X_scimf"]``, and what was held out: baselines may use all the rest.
    space
        Encodes samples that have genes but no ``obsm["X_scimf"]`` (counts, or log-normalised: their
        values or ``uns["scimf"]["form"]`` tell), and adds metrics in gene space where it knows
        genes.
    scoring
        How many cells are compared how often, and by which metrics.
    baselines
        Predictions without a model, by name.
    per_draw, workers
        Keep draws, whose cells all methods share, apart in a column ``draw``; processes that score
        them side by side.

    Returns
    -------
    DataFrame
        ``population, time, kind ("time" or "population": why it was held out), method, seed (if a
        sample was named by it), metric, value, n``. Methods: "floor", "floor_stratified" (equally
        many cells of every type on both sides), baselines where they are defined, samples.

    Raises
    ------
    ValueError
        Before anything is computed: if samples lack genes or coordinates, have another dimension,
        hold NaN, or name a time or population that was not held out.
    """
    scoring = scoring or Scoring()
    truth = Snapshots.of(adata, split.held_mask(adata))
    starts = Snapshots.to_start_from(adata, split)
    cells, genes, shares = predicted_clouds(samples, adata, truth, space)
    bandwidth = _bandwidth(starts)
    if genes:
        values = space.expression(adata)
        truth_in_genes = truth.replaced(adata, values)
        starts_in_genes = starts.replaced(adata, values)
    types = {}
    if "cell_type" in adata.obs and adata.obs["cell_type"].nunique() > 1:
        types = truth.replaced(adata, cell_types(adata)).cells
    if SHARE_ERROR in scoring.metrics:
        if not shares:
            raise ValueError(f'{SHARE_ERROR}: obs["cell_type"] is missing in data or samples')
        one_hot = one_hot_types(adata, np.unique(cell_types(adata)))
        truth_types = truth.replaced(adata, one_hot)
        starts_types = starts.replaced(adata, one_hot)
    jobs = []
    for population, time in sorted(cells):
        key = (population, time)
        n = len(truth.cells[key])
        if n < 4:
            where = f"population {population!r}, time {time:g}"
            raise ValueError(f"{where}: {n} held-out cells; a floor needs at least 4")
        views = [_View("cells", truth.cells[key], starts, cells[key])]
        if genes:
            views.append(_View("genes", truth_in_genes.cells[key], starts_in_genes, genes[key]))
        if SHARE_ERROR in scoring.metrics and key in shares:
            views.append(_View("types", truth_types.cells[key], starts_types, shares[key]))
        for draw in range(scoring.draws):
            jobs.append((key, draw, views, types.get(key), scoring, baselines, bandwidth))
    rows = side_by_side(_score_draw, jobs, workers=workers)
    if TOTAL_ERROR in scoring.metrics:
        rows.append(_score_totals(predicted_totals(samples, adata, truth), truth, starts))
    return _table(rows, split, per_draw)


def _bandwidth(starts: Snapshots) -> float:
    """Median distance between training cells: never looked up in held-out cells."""
    cells = np.concatenate([starts.cells[key] for key in sorted(starts.cells)])
    n = min(BANDWIDTH_CELLS, len(cells))
    return float(np.median(pdist(resample(cells, n, np.random.default_rng(0)))))


def _table(rows_of_draws: list[list[tuple]], split: "Split", per_draw: bool) -> pd.DataFrame:
    """Write the scores of all draws below each other; average them over draws, or not."""
    columns = ["population", "time", "method", "seed", "metric", "value", "n", "draw"]
    table = pd.DataFrame(chain.from_iterable(rows_of_draws), columns=columns)
    table = table.astype({"seed": "Int64"})
    of_population = table["population"].isin(split.held_populations)
    table.insert(2, "kind", np.where(of_population, "population", "time"))
    if per_draw:
        return table
    groups = table.groupby(list(table.columns[:6]), sort=False, as_index=False, dropna=False)
    return groups.agg({"value": "mean", "n": "first"})


# ------------------------------------------------------------------- one draw of one snapshot


@dataclass(frozen=True)
class _View:
    """One held-out snapshot in one kind of columns: coordinates, genes, or one-hot types."""

    kind: str  #: "cells", "genes" or "types"
    observed: np.ndarray  #: (cells, columns)
    starts: Snapshots  #: what baselines may see
    predicted: dict[Name, np.ndarray]


def _score_draw(
    key: Key,
    draw: int,
    views: list[_View],
    types: np.ndarray | None,
    scoring: Scoring,
    baselines: Mapping[str, Callable[..., Cloud]],
    bandwidth: float,
) -> list[tuple]:
    """Score floors, baselines and predictions of one snapshot against one draw of its cells."""
    population, time = key
    rows = []
    for view in views:
        # One stream per snapshot and draw: the same cells in every kind of coordinates.
        rng = np.random.default_rng([scoring.seed, draw, *(population + repr(time)).encode()])
        cells = view.observed
        n = min(scoring.n, len(cells) // 2)
        order = rng.permutation(len(cells))
        if types is not None:
            left, right = _stratified(types, n, np.random.default_rng([scoring.seed, draw]))
            floor = {("floor_stratified", None): cells[right]}
            rows += _compare(floor, cells[left], scoring.metrics, bandwidth, view.kind)
        clouds: dict[Name, Cloud] = {("floor", None): cells[order[n : 2 * n]]}
        for name, baseline in baselines.items():
            clouds[name, None] = baseline(view.starts, population, time, n, rng)
        for (method, seed), predicted in view.predicted.items():
            text = method if seed is None else f"{method} {seed}"
            # Its own stream: predictions do not share their luck.
            own = np.random.default_rng([scoring.seed, draw, *text.encode()])
            clouds[method, seed] = resample(predicted, n, own)
        rows += _compare(clouds, cells[order[:n]], scoring.metrics, bandwidth, view.kind)
    return [(population, time, *row, draw) for row in rows]


def _score_totals(
    totals: Mapping[Key, Mapping[Name, float]], truth: Snapshots, starts: Snapshots
) -> list[tuple]:
    """Errors of the log of totals, beside a copy and a line of the log between the neighbours."""
    if not (totals and truth.mass):
        raise ValueError(f'{TOTAL_ERROR}: obs["mass"] is missing in data or samples')
    rows = []
    for (population, time), predicted in totals.items():
        known = sorted((t, np.log(m)) for (p, t), m in starts.mass.items() if p == population)
        before = [log for t, log in known if t < time]
        logs = {name: np.log(total) for name, total in predicted.items()}
        if before:
            logs["copy_previous", None] = before[-1]
            if known[-1][0] > time:
                logs["log_linear", None] = np.interp(time, *zip(*known, strict=True))
        true = np.log(truth.mass[population, time])
        n = len(truth.cells[population, time])
        for (method, seed), log in logs.items():
            error = float(abs(log - true))
            rows.append((population, time, method, seed, TOTAL_ERROR, error, n, 0))
    return rows


def _stratified(
    types: np.ndarray, n: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of two disjoint halves with equal numbers of every type, about ``n`` each."""
    left, right = [], []
    for name in np.unique(types):
        rows = rng.permutation(np.flatnonzero(types == name))
        k = min(len(rows) // 2, max(1, round(n * len(rows) / len(types))))
        left.append(rows[:k])
        right.append(rows[k : 2 * k])
    return np.concatenate(left), np.concatenate(right)


def _compare(
    clouds: dict[Name, Cloud],
    observed: np.ndarray,
    metrics: tuple[str, ...],
    bandwidth: float,
    kind: str,
) -> list[tuple]:
    """List method, seed, metric, value and number of cells for every cloud that is defined."""
    if kind == "cells":
        within = distances.distances(observed)  # once for all clouds
    rows = []
    for (method, seed), cloud in clouds.items():
        if cloud is None:
            continue
        if kind == "genes":
            scores = _score_genes(cloud, observed)
        elif kind == "types":
            scores = {SHARE_ERROR: float(np.abs(cloud.mean(0) - observed.mean(0)).sum() / 2)}
        else:
            scores = _score_cells(cloud, observed, within, metrics, bandwidth)
        for metric, value in scores.items():
            rows.append((method, seed, metric, value, len(observed)))
    return rows


# ------------------------------------------------------------------------------------ metrics


def _score_cells(
    x: np.ndarray,
    y: np.ndarray,
    within_y: np.ndarray,
    metrics: tuple[str, ...],
    bandwidth: float,
) -> dict[str, float]:
    """Metrics between predicted cells x (n, dim) and observed cells y (m, dim).

    ``centred_energy`` scores the shape alone (both clouds centred), ``cost_of_mean`` what a
    prediction with the true shape and this mean would score; ``mmd2`` has RBF kernels at 0.5, 1
    and 2 times ``bandwidth``. ``within_y`` (m, m) are the distances between observed cells.
    """
    # A common shift leaves the distances within a cloud alone.
    within = {"within_x": distances.distances(x), "within_y": within_y}
    energy = partial(distances.energy_distance, **within)
    scores = {
        "w1": lambda: distances.wasserstein(x, y),
        "w2": lambda: distances.wasserstein(x, y, order=2),
        "energy_distance": lambda: energy(x, y),
        "centred_energy": lambda: energy(x - x.mean(0), y - y.mean(0)),
        "cost_of_mean": lambda: distances.cost_of_mean(x, y, within_y=within_y),
        "mmd2": lambda: distances.rbf_mmd2(x, y, bandwidth=bandwidth),
    }
    return {metric: scores[metric]() for metric in metrics if metric in scores}


def _score_genes(x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Metrics between log-normalised expression (cells, genes), predicted and observed.

    ``gene_mean_error`` and ``gene_variance_error`` are mean absolute errors over genes.
    """
    return {
        "gene_mean_error": float(np.abs(x.mean(0) - y.mean(0)).mean()),
        "gene_variance_error": float(np.abs(x.var(0) - y.var(0)).mean()),
        "gene_sinkhorn": _gene_sinkhorn(x, y),
    }


def _gene_sinkhorn(x: np.ndarray, y: np.ndarray) -> float:
    """Debiased Sinkhorn divergence as scNODE and scTimeBench set it.

    p = 2, blur 0.05, scaling 0.5. geomloss halves the squared cost, and so does this number;
    scTimeBench divides it by the number of genes.
    """
    from geomloss import SamplesLoss  # only this score needs it

    settings = {"p": 2, "blur": 0.05, "scaling": 0.5, "debias": True}
    divergence = SamplesLoss("sinkhorn", backend="tensorized", **settings)
    predicted = torch.as_tensor(x, dtype=torch.float32)
    observed = torch.as_tensor(y, dtype=torch.float32)
    return float(divergence(predicted, observed))
