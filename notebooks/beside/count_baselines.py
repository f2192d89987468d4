"""What a forecast of counts has to beat: counts at the same unseen time, made without the join.

The join is :func:`scimf.counts.forecast.forecast_counts`: cells move in the latent space of a count
autoencoder. No baseline sees held-out cells, and those that decode a model take the library sizes
that the join takes, linear between training times. Compared in notebook 9.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from scimf.counts.fit_autoencoder import panel_counts
from scimf.counts.forecast import forecast_counts
from scimf.dynamics.snapshots import KEY, Snapshots
from scimf.evaluation.baselines import BASELINES

if TYPE_CHECKING:
    from anndata import AnnData

    from scimf.counts.fit_flow import FittedFlow
    from scimf.data.space import Space
    from scimf.data.split import Split
    from scimf.dynamics.fitted import FittedSDE


def forecasts(
    adata: "AnnData",
    split: "Split",
    time: float,
    *,
    joined: "FittedSDE",
    pca: "FittedSDE",
    flow: "FittedFlow",
    column: str,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Predict the counts of a held-out time in every way.

    Parameters
    ----------
    adata, split, time
        Raw counts, what was held out, and the time that is predicted.
    joined, pca
        Fits in a latent space of counts (:func:`scimf.counts.forecast.fit_latent_space`) and in
        principal components (:func:`scimf.data.space.fit_space`), of all genes of ``adata``.
    flow, column
        A latent flow, and its condition that holds times as text; if it has another one called
        "population", it is given that too.
    seed
        Halves, noise and counts.

    Returns
    -------
    dict
        Counts (cells, genes) by name. ``truth`` and ``floor`` are random halves of the measured
        cells of this time, ``ceiling`` is the floor through the autoencoder and back. ``joined``
        and the baselines have equally many cells of each population, in all as many as the truth,
        up to one per population: ``pca_rounded`` and ``pca_poisson`` (moved in principal
        components, then :func:`redraw`), ``flow``, ``copy_previous``, ``mixture`` and
        ``ot_interpolation``.

    Raises
    ------
    ValueError
        If a baseline needs training times on both sides and there are none.
    """
    counts = panel_counts(adata)
    held = split.held_mask(adata) & np.isclose(adata.obs["time"].to_numpy(float), time)
    truth, floor = np.array_split(np.random.default_rng(seed).permutation(counts[held]), 2)
    coder = joined.space.counts
    ceiling = coder.draw(coder.encode(floor), floor.sum(1), seed=seed)
    populations = sorted(joined.starts.density)
    n = -(-len(truth) // len(populations))
    library = joined.space.library.draw(np.full(n * len(populations), time), seed=seed)
    moved = np.asarray(pca.sample([time], n=n, seed=seed).obsm[KEY])
    labels = _labels_around(flow.conditions.values[column], time, n)
    asked = pd.DataFrame({"population": np.repeat(populations, n)})
    asked[column] = np.tile(labels, len(populations))
    measured = _snapshots(adata, split, counts)
    in_pcs = _snapshots(adata, split, pca.space.encode(adata))
    walked = _without_model("ot_interpolation", in_pcs, time, n, seed)
    return {
        "truth": truth,
        "floor": floor,
        "ceiling": ceiling.X.toarray(),
        "joined": forecast_counts(joined, [time], n=n, seed=seed).X.toarray(),
        "pca_rounded": redraw(pca.space, moved, library, noise=False, seed=seed),
        "pca_poisson": redraw(pca.space, moved, library, seed=seed),
        "flow": flow.sample(asked, library=library, seed=seed).X.toarray(),
        "copy_previous": _without_model("copy_previous", measured, time, n, seed),
        "mixture": _without_model("mixture", measured, time, n, seed),
        "ot_interpolation": redraw(pca.space, walked, library, seed=seed),
    }


def redraw(
    space: "Space", x: np.ndarray, library: np.ndarray, *, noise: bool = True, seed: int = 0
) -> np.ndarray:  # (cells, genes of the space)
    r"""Return counts for principal components.

    Inverse PCA of coordinates x (cells, dim) gives log expression; :math:`e^x - 1`, cut at zero and
    divided by its sum, is a share of the library (cells,). ``noise``: Poisson counts of that mean;
    else the mean, rounded. Notebook 9 shows what rounding does to zeros.
    """
    rate = np.expm1(np.clip(space.decode(x).astype(float), 0, None))
    total = np.maximum(rate.sum(1, keepdims=True), 1e-12)
    mean = np.asarray(library, float)[:, None] * rate / total
    counts = np.random.default_rng(seed).poisson(mean) if noise else np.round(mean)
    return counts.astype(np.float32)


def _snapshots(adata: "AnnData", split: "Split", values: np.ndarray) -> Snapshots:
    """Snapshots that may be seen, with values (cells, columns) as coordinates."""
    import anndata as ad

    return Snapshots.to_start_from(ad.AnnData(obs=adata.obs, obsm={KEY: values}), split)


def _without_model(
    name: str, starts: Snapshots, time: float, n: int, seed: int
) -> np.ndarray:  # (populations * n, columns)
    """Predict ``n`` cells of every population by a baseline."""
    rng = np.random.default_rng(seed)
    clouds = []
    for population in sorted(starts.density):
        cloud = BASELINES[name](starts, population, time, n, rng)
        if cloud is None:
            lacking = f"population {population!r} lacks a training time before or after"
            raise ValueError(f"time {time:g}: {lacking}")
        clouds.append(cloud)
    return np.concatenate(clouds)


def _labels_around(known: Sequence[str], time: float, n: int) -> list[str]:
    """Training times of ``n`` cells: those before and after, in proportion to closeness.

    A flow that was given the time as a label knows no time between labels.
    """
    known = sorted(known, key=float)
    before = [label for label in known if float(label) < time]
    after = [label for label in known if float(label) >= time]
    if not before or not after:
        needed = f"expected training times on both sides, the flow knows {known}"
        raise ValueError(f"time {time:g}: {needed}")
    last = float(before[-1])
    n_after = round(n * (time - last) / (float(after[0]) - last))
    return [before[-1]] * (n - n_after) + [after[0]] * n_after
