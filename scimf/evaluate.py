"""Held-out evaluation: every score beside its noise floor and its trivial baselines.

Protocol of one row: for a held-out snapshot with M cells, ``n = min(n, M // 2)`` real cells are drawn as the truth. The
*floor* is another, disjoint draw of n real cells; every prediction is scored with n cells against the same truth. This
is repeated ``draws`` times, so that no cell is left out by chance. W1 and W2, which shrink with n, may be compared
within a row, and the floor tells what a perfect prediction scores.

What may be seen is decided by what is handed over: *bridge* keeps only the two neighbours of the held-out time
(:func:`scimf.preprocess.only_neighbours`), *leave-one-out* keeps all other times. The two are never mixed.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from scipy import stats
from scipy.spatial.distance import pdist

from scimf import transport
from scimf.baselines import BASELINES, Cloud, resample
from scimf.snapshots import KEY, Snapshots, populations, starting_snapshots

if TYPE_CHECKING:
    from anndata import AnnData

    from scimf.preprocess import Space, Split

METRICS = ("w1", "w2", "energy_distance", "centred_energy", "cost_of_mean", "mmd2")
GENE_METRICS = ("gene_mean_error", "gene_variance_error", "gene_sinkhorn")
BANDWIDTH_SCALES = (0.5, 1.0, 2.0)


def median_bandwidth(starts: Snapshots, *, n: int = 1000, seed: int = 0) -> float:
    """Median distance between training cells: the RBF bandwidth, never looked up in held-out cells."""
    cells = np.concatenate([starts.cells[key] for key in sorted(starts.cells)])
    return float(np.median(pdist(resample(cells, min(n, len(cells)), np.random.default_rng(seed)))))


def score(
    x: np.ndarray,
    y: np.ndarray,
    *,
    bandwidth: float,
    metrics: tuple[str, ...] = METRICS,
    within_y: np.ndarray | None = None,
) -> dict[str, float]:
    """Return metrics between predicted cells (n, dim) and observed cells (m, dim).

    ``centred_energy`` scores the shape alone (both clouds centred), ``cost_of_mean`` what a prediction with the true
    shape and this mean would score; ``mmd2`` is unbiased, with RBF kernels at 0.5, 1 and 2 times ``bandwidth``.
    ``within_y`` (m, m): distances between observed cells, where they are known.
    """
    if unknown := set(metrics) - set(METRICS):
        raise ValueError(f"metrics: unknown {sorted(unknown)}, known {METRICS}")
    inner = {"within_y": transport.within(y) if within_y is None else within_y}
    both = inner
    if {"energy_distance", "centred_energy"} & set(metrics):
        both = inner | {"within_x": transport.within(x)}  # a common shift leaves distances within a cloud alone
    known: dict[str, Callable[[], float]] = {
        "w1": lambda: transport.w1(x, y),
        "w2": lambda: transport.w2(x, y),
        "energy_distance": lambda: transport.energy_distance(x, y, **both),
        "centred_energy": lambda: transport.energy_distance(x - x.mean(0), y - y.mean(0), **both),
        "cost_of_mean": lambda: transport.cost_of_mean(x, y, **inner),
        "mmd2": lambda: transport.rbf_mmd2(x, y, bandwidth=bandwidth, scales=BANDWIDTH_SCALES),
    }
    return {name: known[name]() for name in metrics}


def score_genes(x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Return metrics between log-normalised expression (n, genes), predicted and observed.

    ``gene_mean_error`` and ``gene_variance_error`` are mean absolute errors over genes.
    """
    return {
        "gene_mean_error": float(np.abs(x.mean(0) - y.mean(0)).mean()),
        "gene_variance_error": float(np.abs(x.var(0) - y.var(0)).mean()),
        "gene_sinkhorn": transport.gene_sinkhorn(x, y),
    }


def evaluate(
    samples: "AnnData | np.ndarray | dict[str, AnnData | np.ndarray]",
    adata: "AnnData",
    split: "Split",
    space: "Space | None" = None,
    *,
    n: int = 1000,
    draws: int = 5,
    seed: int = 0,
    metrics: tuple[str, ...] = METRICS,
    baselines: dict[str, Callable[..., Cloud]] = BASELINES,
    per_draw: bool = False,
    workers: int = 1,
) -> pd.DataFrame:
    """Score predicted cells at every held-out snapshot that they cover.

    Parameters
    ----------
    samples
        Predicted cells with ``obs["time"]`` (and ``obs["population"]`` where there are several) and
        ``obsm["X_scimf"]``, from :meth:`FittedSDE.sample` or any other tool; an array (cells, dim) if exactly one
        snapshot is held out; or several of these by name.
    adata, split
        The data with ``obsm["X_scimf"]`` and what was held out. Baselines may use everything else in ``adata``.
    space
        Encodes samples that have genes but no ``obsm["X_scimf"]`` (as for training cells: counts or log-normalised,
        like the data), and adds metrics in gene space where it knows genes.
    n
        Largest number of cells on either side.
    draws
        Random draws of the cells that are averaged.
    seed
        Draws the cells.
    metrics
        Some of :data:`METRICS`; exact transport is what takes the time.
    baselines
        Predictions without a model, by name.
    per_draw
        Keep the draws apart, in a column ``draw``; all methods share the cells of a draw.
    workers
        Processes that score draws side by side.

    Returns
    -------
    DataFrame
        One row per population, time, method and metric: ``population, time, kind ("time" or "population": why it was
        held out), method, metric, value, n``. Methods: "floor", "floor_stratified" (the same composition of types on
        both sides, where types are known), the baselines that are defined, the samples by name.

    Raises
    ------
    ValueError
        If samples lack genes or coordinates, have another dimension, hold NaN, or name a time or population that was
        not held out; before anything is computed.
    """
    named = samples if isinstance(samples, dict) else {"model": samples}
    truth = Snapshots.of(adata, split.held_mask(adata))
    named = {name: _checked(name, cells, adata, truth, space) for name, cells in named.items()}
    starts = starting_snapshots(adata, split)
    keys = sorted({key for clouds in named.values() for key in clouds})
    for p, time in keys:
        if len(truth.cells[p, time]) < 4:
            raise ValueError(
                f"population {p!r}, time {time:g}: {len(truth.cells[p, time])} held-out cells; a floor needs at least 4"
            )
    tables = [_Table(truth, starts, {name: {k: c[0] for k, c in x.items()} for name, x in named.items()})]
    scorers = [_Scorer(median_bandwidth(starts), metrics)]
    if space is not None and len(space.components):
        genes = {name: {k: c[1] for k, c in x.items()} for name, x in named.items()}
        observed = space.expression(adata)
        tables.append(_Table(truth.replaced(adata, observed), starts.replaced(adata, observed), genes))
        scorers.append(score_genes)
    types = dict(zip(adata.obs_names, adata.obs["cell_type"].astype(str), strict=True)) if _typed(adata) else None
    jobs = [(key, draw) for key in keys for draw in range(draws)]
    rows = Parallel(n_jobs=workers)(
        delayed(_score_draw)(key, draw, [t.at(key[0]) for t in tables], scorers, n, seed, baselines, types)
        for key, draw in jobs
    )
    kinds = {p: "population" if p in split.held_populations else "time" for p, _ in keys}
    parts = [
        (p, time, kinds[p], method, metric, value, size, draw)
        for ((p, time), draw), found in zip(jobs, rows, strict=True)
        for method, metric, value, size in found
    ]
    columns = ["population", "time", "kind", "method", "metric"]
    table = pd.DataFrame(parts, columns=[*columns, "value", "n", "draw"])
    if per_draw:
        return table
    return table.groupby(columns, sort=False, as_index=False).agg({"value": "mean", "n": "first"})


class _Scorer:
    """Metrics in model coordinates, with the bandwidth of the training cells; can be sent to a worker."""

    def __init__(self, bandwidth: float, metrics: tuple[str, ...]) -> None:
        self.bandwidth, self.metrics, self.seen, self.within_y = bandwidth, metrics, None, None

    def __call__(self, x: np.ndarray, y: np.ndarray) -> dict[str, float]:
        if self.seen is not y:  # all methods meet the same truth
            self.seen, self.within_y = y, transport.within(y)
        return score(x, y, bandwidth=self.bandwidth, metrics=self.metrics, within_y=self.within_y)


class _Table:
    """Truth, what baselines may see, and predictions, in one kind of coordinates."""

    def __init__(self, truth: Snapshots, starts: Snapshots, clouds: dict[str, dict]) -> None:
        self.truth, self.starts, self.clouds = truth, starts, clouds

    def at(self, population: str) -> "_Table":
        """Leave out what one population does not need; other populations keep their snapshots."""
        mine = {name: {k: c for k, c in x.items() if k[0] == population} for name, x in self.clouds.items()}
        return _Table(self.truth.only(population), self.starts, mine)


def _score_draw(
    key: tuple[str, float], draw: int, tables: list[_Table], scorers: list, n: int, seed: int, baselines: dict, types
) -> list[tuple[str, str, float, int]]:
    p, time = key
    rows = []
    for table, scorer in zip(tables, scorers, strict=True):
        rng = np.random.default_rng([seed, draw, *(p + repr(time)).encode()])  # the same cells in every table
        cells = table.truth.cells[key]
        size = min(n, len(cells) // 2)
        order = rng.permutation(len(cells))
        real = cells[order[:size]]
        compared = {"floor": cells[order[size : 2 * size]]}
        if types is not None:
            labels = np.array([types[name] for name in table.truth.names[key]])
            left, right = _stratified(labels, size, np.random.default_rng([seed, draw]))
            found = scorer(cells[right], cells[left])
            rows += [("floor_stratified", metric, value, len(left)) for metric, value in found.items()]
        for name, baseline in baselines.items():
            compared[name] = baseline(table.starts, p, time, size, rng)
        for name, clouds in table.clouds.items():
            cloud = clouds.get(key)
            own = np.random.default_rng([seed, draw, *name.encode()])  # predictions do not share their luck
            compared[name] = None if cloud is None else resample(cloud, size, own)
        for method, cloud in compared.items():
            if cloud is not None:
                rows += [(method, metric, value, size) for metric, value in scorer(cloud, real).items()]
    return rows


def _stratified(types: np.ndarray, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Rows of two disjoint halves with equal numbers of every type, about ``n`` each."""
    left, right = [], []
    for name in np.unique(types):
        rows = rng.permutation(np.flatnonzero(types == name))
        k = min(len(rows) // 2, max(1, round(n * len(rows) / len(types))))
        left.append(rows[:k])
        right.append(rows[k : 2 * k])
    return np.concatenate(left), np.concatenate(right)


def _typed(adata: "AnnData") -> bool:
    return "cell_type" in adata.obs and adata.obs["cell_type"].nunique() > 1


def _checked(
    name: str, cells: "AnnData | np.ndarray", adata: "AnnData", truth: Snapshots, space: "Space | None"
) -> dict[tuple[str, float], tuple[np.ndarray, np.ndarray | None]]:
    """Predicted clouds by (population, time): coordinates, and expression where the space knows genes."""
    where, dim, known = f"samples {name!r}", adata.obsm[KEY].shape[1], sorted(truth.cells)
    has_genes = space is not None and len(space.components) > 0
    if isinstance(cells, np.ndarray):
        if len(known) != 1:
            raise ValueError(f"{where}: an array can only be scored against one held-out snapshot, there are {known}")
        found, x = {known[0]: np.ones(len(cells), dtype=bool)}, cells
        genes = space.decode(x) if has_genes and x.ndim == 2 and x.shape[1] == dim else None
    else:
        if "time" not in cells.obs:
            raise ValueError(f'{where}: obs["time"] is missing; found {list(cells.obs.columns)}')
        if KEY not in cells.obsm and space is None:
            raise ValueError(f'{where}: obsm["{KEY}"] is missing; hand over space=, or set it to space.encode(samples)')
        try:
            x = np.asarray(cells.obsm[KEY]) if KEY in cells.obsm else space.encode(cells)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error
        who, when = populations(cells), cells.obs["time"].to_numpy(float)
        if "population" not in cells.obs and len({p for p, _ in known}) > 1:
            raise ValueError(f'{where}: obs["population"] is missing, the data have several populations')
        if "population" not in adata.obs:
            who = np.full(len(when), known[0][0])
        match = {
            (p, t): next((k for k in known if k[0] == p and np.isclose(k[1], t, rtol=1e-6, atol=1e-9)), None)
            for p, t in set(zip(who.tolist(), when.tolist(), strict=True))
        }
        if strange := sorted(key for key, hit in match.items() if hit is None):
            shown = ", ".join(f"{p} at {t:g}" for p, t in known[:6])
            (p, t) = strange[0]
            raise ValueError(f"{where}: {p} at {t:g} was not held out; held out: {shown}{' …' * (len(known) > 6)}")
        found = {hit: (who == p) & (when == t) for (p, t), hit in match.items()}
        genes = _expression(cells, x, space) if has_genes else None
    if x.ndim != 2 or x.shape[1] != dim:
        raise ValueError(f"{where}: {x.shape[-1] if x.ndim else 0} dimensions, the data have {dim}")
    if not np.isfinite(x).all():
        raise ValueError(f'{where}: obsm["{KEY}"] holds NaN or infinite values')
    return {key: (x[rows], None if genes is None else genes[rows]) for key, rows in found.items()}


def _expression(cells: "AnnData", x: np.ndarray, space: "Space") -> np.ndarray:
    """Expression that the samples bring along, decoded from coordinates where they bring none."""
    if KEY not in cells.obsm:
        return space.expression(cells)
    if set(space.names) <= set(cells.var_names):
        return np.asarray(cells[:, list(space.names)].X, dtype=np.float32)
    return space.decode(x)


def interval(values: "np.ndarray | list[float]") -> dict[str, float]:
    """Mean and 95 % t interval over training seeds (or another replicate): ``{mean, lo, hi, n_seeds}``."""
    values = np.asarray(values, dtype=float)
    mean, n = float(values.mean()), len(values)
    if n < 2:
        return {"mean": mean, "n_seeds": n}
    half = float(stats.t.ppf(0.975, n - 1) * values.std(ddof=1) / np.sqrt(n))
    return {"mean": mean, "lo": mean - half, "hi": mean + half, "n_seeds": n}


def skill(model: float, best_baseline: float, floor: float) -> float:
    """(best baseline - model) / (best baseline - floor): 1 is perfect, 0 no better than trivial, negative worse."""
    return (best_baseline - model) / (best_baseline - floor)
