"""What a forecast of counts has to beat: counts at the same unseen time, answered without the join.

Every rival is a function ``(adata, split, time, *, n, seed, ...) -> AnnData`` with counts in ``X`` and ``time`` and
``population`` in ``obs``, of ``n`` cells per population. None sees held-out cells. Those that decode a model take the
library sizes that the join takes, linear between training times. Compared in notebook 10.
"""

from typing import TYPE_CHECKING

import numpy as np

from scimf import baselines
from scimf.autoencode import panel_counts
from scimf.forecast import LibraryOverTime, forecast_counts
from scimf.snapshots import KEY, Snapshots, starting_snapshots

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData

    from scimf.fitted import FittedSDE
    from scimf.generate import FittedFlow
    from scimf.preprocess import Space, Split


def copy_previous(adata: "AnnData", split: "Split", time: float, *, n: int, seed: int = 0) -> "AnnData":
    """Take real cells of the latest training time before, unchanged."""
    return _copied(adata, split, time, n, seed, baselines.copy_previous)


def mixture(adata: "AnnData", split: "Split", time: float, *, n: int, seed: int = 0) -> "AnnData":
    """Take real cells of the training times before and after, in proportion to closeness."""
    return _copied(adata, split, time, n, seed, baselines.mixture)


def ot_interpolation(
    adata: "AnnData", split: "Split", time: float, *, n: int, seed: int = 0, space: "Space", noise: bool = True
) -> "AnnData":
    """Walk exact-transport pairs in principal components along straight lines, then :func:`redraw` them."""
    clouds = _clouds(adata, split, time, n, seed, space.encode(adata), baselines.ot_interpolation)
    return _redrawn(adata, split, time, clouds, space, noise, seed)


def inverse_pca(
    adata: "AnnData", split: "Split", time: float, *, n: int, seed: int = 0, model: "FittedSDE", noise: bool = True
) -> "AnnData":
    """Move cells by scIMF in principal components (a fit in a ``Space``), then :func:`redraw` them."""
    cells = model.sample([time], n=n, seed=seed)
    names = cells.obs["population"].astype(str).to_numpy()
    clouds = {p: np.asarray(cells.obsm[KEY])[names == p] for p in np.unique(names)}
    return _redrawn(adata, split, time, clouds, model.space, noise, seed)


def flow_mixture(
    adata: "AnnData", split: "Split", time: float, *, n: int, seed: int = 0, flow: "FittedFlow", column: str
) -> "AnnData":
    """Generate cells for the training times before and after, in proportion to closeness.

    A flow told the time as a label knows no time between labels. ``column``: its condition that holds times as text;
    if it has another one called "population", it is told that too.
    """
    import pandas as pd

    known = sorted(flow.conditions.values[column], key=float)
    before, after = ([v for v in known if (float(v) < time) == early] for early in (True, False))
    if not before or not after:
        raise ValueError(f"time {time:g}: expected training times on both sides, the flow knows {known}")
    ends = float(before[-1]), float(after[0])
    n_after = round(n * (time - ends[0]) / (ends[1] - ends[0]))
    names = _populations(adata, split)
    obs = pd.DataFrame({"population": np.repeat(names, n)})
    obs[column] = np.tile([before[-1]] * (n - n_after) + [after[0]] * n_after, len(names))
    library = _library(adata, split, flow.counts.genes).draw(np.full(len(obs), float(time)), seed=seed)
    cells = flow.sample(obs, library=library, seed=seed)
    return _packed(cells.X.toarray(), obs["population"].to_numpy(), time, flow.counts.genes)


def assemble(
    adata: "AnnData",
    split: "Split",
    time: float,
    *,
    n: int,
    seed: int = 0,
    space: "Space",
    model: "FittedSDE",
    flow: "FittedFlow",
    column: str,
) -> dict[str, "AnnData"]:
    """Ask every rival, by name. ``model`` is a fit in ``space``; the rest as in the single functions."""
    common = {"n": n, "seed": seed}
    return {
        "pca_rounded": inverse_pca(adata, split, time, model=model, noise=False, **common),
        "pca_poisson": inverse_pca(adata, split, time, model=model, **common),
        "flow": flow_mixture(adata, split, time, flow=flow, column=column, **common),
        "copy_previous": copy_previous(adata, split, time, **common),
        "mixture": mixture(adata, split, time, **common),
        "ot_interpolation": ot_interpolation(adata, split, time, space=space, **common),
    }


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
    """Return counts (cells, genes) by name: ``truth``, ``floor``, ``ceiling``, ``joined`` and every rival.

    Truth and floor are random halves of the measured cells of this time, the ceiling is the floor through the
    autoencoder and back. Predictions have as many cells as the truth, up to one per population.
    """
    real = panel_counts(adata[split.held_mask(adata) & np.isclose(adata.obs["time"].to_numpy(float), time)])
    truth, floor = np.array_split(np.random.default_rng(seed).permutation(real), 2)
    coder, common = joined.space.counts, {"n": -(-len(truth) // len(joined.starts.density)), "seed": seed}
    cells = {"ceiling": coder.draw(coder.encode(floor), floor.sum(1), seed=seed)}
    cells["joined"] = forecast_counts(joined, [time], **common)
    cells |= assemble(adata, split, time, space=pca.space, model=pca, flow=flow, column=column, **common)
    return {"truth": truth, "floor": floor} | {name: part.X.toarray() for name, part in cells.items()}


def redraw(
    space: "Space", x: np.ndarray, library: np.ndarray, *, noise: bool = True, seed: int = 0
) -> np.ndarray:  # (cells, genes of the space)
    r"""Return counts for principal components (cells, dim) and library sizes (cells,).

    Inverse PCA gives log expression; :math:`e^x - 1`, cut at zero and divided by its sum, is a share of the library.
    ``noise``: Poisson counts of that mean; else the mean, rounded. Notebook 10 shows what rounding does to zeros.
    """
    rate = np.expm1(np.clip(space.decode(x).astype(float), 0, None))
    mean = np.asarray(library, float)[:, None] * rate / np.maximum(rate.sum(1, keepdims=True), 1e-12)
    counts = np.random.default_rng(seed).poisson(mean) if noise else np.round(mean)
    return counts.astype(np.float32)


def _populations(adata: "AnnData", split: "Split") -> list[str]:
    return sorted(_starts(adata, split, np.zeros((adata.n_obs, 1))).density)


def _starts(adata: "AnnData", split: "Split", values: np.ndarray) -> Snapshots:
    """Collect what a rival may start from, with these values (cells, columns) for coordinates."""
    import anndata as ad

    return starting_snapshots(ad.AnnData(obs=adata.obs, obsm={KEY: values}), split)


def _clouds(adata, split, time, n, seed, values, baseline) -> dict[str, np.ndarray]:
    """Predict every population by one of :mod:`scimf.baselines`, population -> (n, columns)."""
    starts, rng = _starts(adata, split, values), np.random.default_rng(seed)
    clouds = {p: baseline(starts, p, time, n, rng) for p in sorted(starts.density)}
    if lacking := [p for p, cloud in clouds.items() if cloud is None]:
        raise ValueError(f"time {time:g}: population {lacking[0]!r} lacks a training time before or after")
    return clouds


def _copied(adata, split, time, n, seed, baseline) -> "AnnData":
    clouds = _clouds(adata, split, time, n, seed, panel_counts(adata), baseline)
    return _packed(np.concatenate(list(clouds.values())), np.repeat(list(clouds), n), time, adata.var_names)


def _redrawn(adata, split, time, clouds, space, noise, seed) -> "AnnData":
    x = np.concatenate(list(clouds.values()))
    library = _library(adata, split, space.names).draw(np.full(len(x), float(time)), seed=seed)
    names = np.repeat(list(clouds), [len(cloud) for cloud in clouds.values()])
    return _packed(redraw(space, x, library, noise=noise, seed=seed), names, time, space.names)


def _library(adata: "AnnData", split: "Split", genes: "Sequence[str]") -> LibraryOverTime:
    train = split.train_mask(adata)
    totals = panel_counts(adata, genes).sum(1)[train]
    return LibraryOverTime.of(totals, adata.obs["time"].to_numpy(float)[train])


def _packed(counts: np.ndarray, names: np.ndarray, time: float, genes: "Sequence[str]") -> "AnnData":
    import anndata as ad
    import pandas as pd
    from scipy import sparse

    obs = pd.DataFrame({"time": float(time), "population": pd.Categorical(names)})
    obs.index = [f"predicted{i}" for i in range(len(obs))]
    return ad.AnnData(sparse.csr_matrix(counts), obs=obs, var=pd.DataFrame(index=list(genes)))
