"""What a forecast of counts has to beat: counts at the same unseen time, made without the join.

The join is :func:`scimf.counts.forecast.forecast_counts`: cells move in the latent space of a count
autoencoder. No baseline sees held-out cells, and those that decode a model take the library sizes
that the join takes, linear between training times. Compared in notebook 9.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scimf.counts.fit_autoencoder import panel_counts
from scimf.counts.forecast import forecast_counts
from scimf.counts.library_size import LibraryOverTime
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
        principal components (:func:`scimf.data.space.fit_space`).
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
    held = split.held_mask(adata) & np.isclose(adata.obs["time"].to_numpy(float), time)
    real = np.random.default_rng(seed).permutation(panel_counts(adata[held]))
    truth, floor = np.array_split(real, 2)
    coder = joined.space.counts
    ceiling = coder.draw(coder.encode(floor), floor.sum(1), seed=seed)
    populations = sorted(joined.starts.density)
    n = -(-len(truth) // len(populations))
    target = _Target(adata, split, populations, time, n, seed)
    return {
        "truth": truth,
        "floor": floor,
        "ceiling": ceiling.X.toarray(),
        "joined": forecast_counts(joined, [time], n=n, seed=seed).X.toarray(),
        "pca_rounded": _moved_in_pcs(target, pca, noise=False),
        "pca_poisson": _moved_in_pcs(target, pca, noise=True),
        "flow": _mixture_of_generated(target, flow, column),
        "copy_previous": target.baseline("copy_previous", panel_counts(adata)),
        "mixture": target.baseline("mixture", panel_counts(adata)),
        "ot_interpolation": _interpolated_in_pcs(target, pca.space),
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


@dataclass(frozen=True)
class _Target:
    """What every baseline predicts: ``n`` cells of each population at a held-out time."""

    adata: "AnnData"
    split: "Split"
    populations: list[str]  #: sorted
    time: float
    n: int
    seed: int

    def baseline(self, name: str, values: np.ndarray) -> np.ndarray:  # (populations * n, columns)
        """Predict every population by a baseline, with values (cells, columns) as coordinates."""
        import anndata as ad

        slim = ad.AnnData(obs=self.adata.obs, obsm={KEY: values})
        starts = Snapshots.to_start_from(slim, self.split)
        rng = np.random.default_rng(self.seed)
        clouds = []
        for population in self.populations:
            cloud = BASELINES[name](starts, population, self.time, self.n, rng)
            if cloud is None:
                lacking = f"population {population!r} lacks a training time before or after"
                raise ValueError(f"time {self.time:g}: {lacking}")
            clouds.append(cloud)
        return np.concatenate(clouds)

    def library(self, genes: Sequence[str], n_cells: int) -> np.ndarray:  # (n_cells,)
        """Draw total counts over a panel at that time."""
        train = self.split.train_mask(self.adata)
        totals = panel_counts(self.adata, genes).sum(1)[train]
        times = self.adata.obs["time"].to_numpy(float)[train]
        held = np.full(n_cells, float(self.time))
        return LibraryOverTime.of(totals, times).draw(held, seed=self.seed)

    def redrawn(self, space: "Space", x: np.ndarray, *, noise: bool) -> np.ndarray:
        """Return counts for principal components (cells, dim), at the library of that time."""
        library = self.library(space.names, len(x))
        return redraw(space, x, library, noise=noise, seed=self.seed)


def _moved_in_pcs(target: _Target, model: "FittedSDE", *, noise: bool) -> np.ndarray:
    """Move cells by the SDE in principal components, then :func:`redraw` them."""
    cells = model.sample([target.time], n=target.n, seed=target.seed)
    return target.redrawn(model.space, np.asarray(cells.obsm[KEY]), noise=noise)


def _interpolated_in_pcs(target: _Target, space: "Space") -> np.ndarray:
    """Walk exact-transport pairs in principal components on straight lines, then redraw them."""
    moved = target.baseline("ot_interpolation", space.encode(target.adata))
    return target.redrawn(space, moved, noise=True)


def _mixture_of_generated(target: _Target, flow: "FittedFlow", column: str) -> np.ndarray:
    """Generate cells for the training times before and after, in proportion to closeness.

    A flow that was given the time as a label knows no time between labels.
    """
    import pandas as pd

    known = sorted(flow.conditions.values[column], key=float)
    before = [label for label in known if float(label) < target.time]
    after = [label for label in known if float(label) >= target.time]
    if not before or not after:
        needed = f"expected training times on both sides, the flow knows {known}"
        raise ValueError(f"time {target.time:g}: {needed}")
    start = float(before[-1])
    n_after = round(target.n * (target.time - start) / (float(after[0]) - start))
    labels = [before[-1]] * (target.n - n_after) + [after[0]] * n_after
    obs = pd.DataFrame({"population": np.repeat(target.populations, target.n)})
    obs[column] = np.tile(labels, len(target.populations))
    library = target.library(flow.counts.genes, len(obs))
    return flow.sample(obs, library=library, seed=target.seed).X.toarray()
