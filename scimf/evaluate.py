"""Held-out evaluation: every score beside its noise floor and its trivial baselines.

Protocol of one row: for a held-out snapshot with M cells, ``n = min(n, M // 2)`` real cells are drawn as the truth. The
*floor* is another, disjoint draw of n real cells; every prediction is scored with n cells against the same truth. This
is repeated ``draws`` times and averaged, so that no cell is left out by chance. W1 and W2, which shrink with n, may be
compared within a row, and the floor tells what a perfect prediction scores.
"""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import stats
from scipy.spatial.distance import pdist

from scimf import transport
from scimf.baselines import BASELINES, resample
from scimf.train import KEY, Snapshots, populations, starting_snapshots

if TYPE_CHECKING:
    from anndata import AnnData

    from scimf.preprocess import Split

METRICS = ("w1", "w2", "energy_distance", "mmd2")
BANDWIDTH_SCALES = (0.5, 1.0, 2.0)


def median_bandwidth(starts: Snapshots, *, n: int = 1000, seed: int = 0) -> float:
    """Median distance between training cells: the RBF bandwidth, never looked up in held-out cells."""
    cells = np.concatenate([starts.cells[key] for key in sorted(starts.cells)])
    return float(np.median(pdist(resample(cells, min(n, len(cells)), np.random.default_rng(seed)))))


def score(x: np.ndarray, y: np.ndarray, *, bandwidth: float) -> dict[str, float]:
    """Return all metrics between two clouds (n, dim) and (m, dim)."""
    return {
        "w1": transport.w1(x, y),
        "w2": transport.w2(x, y),
        "energy_distance": transport.energy_distance(x, y),
        "mmd2": transport.rbf_mmd2(x, y, bandwidth=bandwidth, scales=BANDWIDTH_SCALES),
    }


def evaluate(
    samples: "AnnData | dict[str, AnnData]",
    adata: "AnnData",
    split: "Split",
    *,
    n: int = 1000,
    draws: int = 5,
    seed: int = 0,
) -> pd.DataFrame:
    """Score predicted cells at every held-out snapshot that they cover.

    Parameters
    ----------
    samples
        Predicted cells with ``obs["time"]`` (and ``obs["population"]`` where there are several) and
        ``obsm["X_scimf"]``, from :meth:`FittedSDE.sample` or any other tool; or several such by name.
    adata, split
        The data with ``obsm["X_scimf"]`` and what was held out.
    n
        Largest number of cells on either side.
    draws
        Random draws of the cells that are averaged.
    seed
        Draws the cells.

    Returns
    -------
    DataFrame
        One row per population, time, method and metric: ``population, time, kind ("time" or "population": why it was
        held out), method, metric, value, n``. Methods: "floor", the baselines that are defined, the samples by name.

    Raises
    ------
    ValueError
        If the samples have another dimension, hold NaN, or cover no held-out snapshot.
    """
    named = samples if isinstance(samples, dict) else {"model": samples}
    dim = adata.obsm[KEY].shape[1]
    for name, cells in named.items():
        _check(name, cells, dim)
    truth = Snapshots.of(adata, split.held_mask(adata))
    starts = starting_snapshots(adata, split)
    bandwidth = median_bandwidth(starts)
    predicted = {
        name: (populations(c), c.obs["time"].to_numpy(float), np.asarray(c.obsm[KEY])) for name, c in named.items()
    }

    rows = []
    for (p, time), cells in sorted(truth.cells.items()):
        clouds = {name: x[(who == p) & (when == time)] for name, (who, when, x) in predicted.items()}
        if not any(map(len, clouds.values())):
            continue
        if len(cells) < 4:
            raise ValueError(f"population {p!r}, time {time}: {len(cells)} held-out cells; a floor needs at least 4")
        size = min(n, len(cells) // 2)
        rng = np.random.default_rng([seed, *(p + repr(time)).encode()])
        kind = "population" if p in split.held_populations else "time"
        for _ in range(draws):
            order = rng.permutation(len(cells))
            real, other = cells[order[:size]], cells[order[size : 2 * size]]
            compared = {"floor": other} | {b: f(starts, p, time, size, rng) for b, f in BASELINES.items()}
            compared |= {name: resample(x, size, rng) if len(x) else None for name, x in clouds.items()}
            for method, cloud in compared.items():
                if cloud is not None:
                    values = score(cloud, real, bandwidth=bandwidth)
                    rows += [(p, time, kind, method, metric, value, size) for metric, value in values.items()]
    if not rows:
        raise ValueError(f"the samples cover none of the held-out snapshots {sorted(truth.cells)}")
    keys = ["population", "time", "kind", "method", "metric"]
    table = pd.DataFrame(rows, columns=[*keys, "value", "n"])
    return table.groupby(keys, sort=False, as_index=False).agg({"value": "mean", "n": "first"})


def _check(name: str, cells: "AnnData", dim: int) -> None:
    if "time" not in cells.obs:
        raise ValueError(f'samples {name!r}: obs["time"] is missing; found {list(cells.obs.columns)}')
    if KEY not in cells.obsm:
        raise ValueError(f'samples {name!r}: obsm["{KEY}"] is missing (space.encode(samples) makes it)')
    found = cells.obsm[KEY].shape[1]
    if found != dim:
        raise ValueError(f'samples {name!r}: obsm["{KEY}"] has {found} dimensions, the data have {dim}')
    if not np.isfinite(cells.obsm[KEY]).all():
        raise ValueError(f'samples {name!r}: obsm["{KEY}"] holds NaN or infinite values')


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
