"""Before any long work: what was found in the data, what will be done with them, and what is doubtful."""

import resource
import sys
import time
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from scimf.sde import SDEConfig
from scimf.train import fit
from scimf.verdict import cannot_be_told

if TYPE_CHECKING:
    from anndata import AnnData

    from scimf.preprocess import Split

FEW_CELLS = 100  #: at a time; a convention: a score takes half of them for the truth and half for its floor
FEW_OF_A_TYPE = 20
GROWTH = 1.5  #: change of the number of cells between two times that is worth a word
UNEVEN = 3.0  #: largest over smallest gap between times
DEPTH = 2.0  #: largest over smallest median depth of a time
MEBIBYTE = 2**20
COLUMNS = ["part", "what", "says"]


def examine(adata: "AnnData", split: "Split", *, n_pcs: int = 50, n_genes: int = 2000) -> pd.DataFrame:
    """Examine data from :func:`scimf.load`, without fitting anything.

    Returns
    -------
    DataFrame
        ``part`` ("found", "will be done", "doubtful"), ``what`` and ``says``, one row per finding.
    """
    rows = [("found", *row) for row in _found(adata)]
    rows += [("will be done", *row) for row in _plan(adata, split, n_pcs, n_genes)]
    doubts = [("doubtful", *row) for row in _doubts(adata)]
    return pd.DataFrame(rows + (doubts or [("doubtful", "nothing", "no doubt was raised")]), columns=COLUMNS)


def cost(adata: "AnnData", split: "Split", *, configs: dict[str, SDEConfig], n_seeds: int, probe: int = 4) -> dict:
    """Measure a few training steps of each configuration on this machine; for data that have coordinates.

    Returns
    -------
    dict
        ``seconds`` that all fits will take one after another, and ``peak_mebibytes`` of this process so far.
    """
    seconds = 0.0
    for config in configs.values():
        stamps: list[float] = []
        short = SDEConfig.from_dict(config.to_dict() | {"steps": probe, "warm_steps": 0})
        fit(adata, split, config=short, progress=False, on_step=lambda *_, s=stamps: s.append(time.perf_counter()))
        seconds += float(np.median(np.diff(stamps))) * config.steps * n_seeds
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {"seconds": seconds, "peak_mebibytes": peak / MEBIBYTE}


def _found(adata: "AnnData") -> list[tuple[str, str]]:
    about, unit = adata.uns["scimf"], adata.uns["scimf"]["time_unit"]
    detected = str(about.get("detected", f"Form {about['form']}, as registered."))
    cells = adata.obs["time"].value_counts().sort_index()
    rows = [("values", f"{adata.n_obs:,} cells x {adata.n_vars:,} columns. {detected}")]
    rows.append((f"times ({unit})", ", ".join(f"{t:g}: {n:,} cells" for t, n in cells.items())))
    for key, many in (("cell_type", "cell types"), ("population", "populations"), ("batch", "batches")):
        if key not in adata.obs:
            rows.append((many, "none named" if key == "cell_type" else "none named: all cells are taken for one"))
            continue
        counts = adata.obs[key].value_counts()
        listed = ", ".join(f"{name}: {n:,}" for name, n in counts.head(8).items())
        rows.append((many, f"{len(counts)}: {listed}" + (", ..." if len(counts) > 8 else "")))
    return rows


def _plan(adata: "AnnData", split: "Split", n_pcs: int, n_genes: int) -> list[tuple[str, str]]:
    form, train = adata.uns["scimf"]["form"], int(split.train_mask(adata).sum())
    held = [f"time {t:g}" for t in split.held_times] + [f"population {p}" for p in split.held_populations]
    rows = [("held out", (", ".join(held) or "nothing") + f"; {train:,} cells are left for training")]
    if form in ("pcs", "state"):
        rows.append(("coordinates", f"the first {min(n_pcs, adata.n_vars)} columns as they are; no way back to genes"))
        dense = 0.0
    else:
        steps = "10,000 counts a cell, log1p, " if form == "counts" else ""
        n = min(n_genes, adata.n_vars)
        rows.append(("coordinates", f"{steps}{n:,} variable genes, scaled, {min(n_pcs, n)} PCs; all of training cells"))
        dense = 8.0 * train * n / MEBIBYTE  # the dense training matrix in single precision, twice during the PCA
    x = adata.X
    size = (x.data.nbytes + x.indices.nbytes if sparse.issparse(x) else np.asarray(x).nbytes) / MEBIBYTE
    rows.append(("memory", f"{size:,.0f} MiB hold the values, about {dense:,.0f} MiB more are needed for coordinates"))
    return rows


def _doubts(adata: "AnnData") -> list[tuple[str, str]]:
    when, unit = adata.obs["time"].to_numpy(float), adata.uns["scimf"]["time_unit"]
    times, cells = np.unique(when, return_counts=True)
    rows = []
    if (few := cells < FEW_CELLS).any():
        which = ", ".join(f"{t:g} ({n})" for t, n in zip(times[few], cells[few], strict=True))
        rows.append(("few cells", f"Fewer than {FEW_CELLS} cells at {which}: scores there are mostly noise."))
    if len(times) < 3:
        rows.append(("few times", "With two times nothing between them can be held out: no prediction can be checked."))
    gaps = np.diff(times)
    if len(gaps) > 1 and gaps.max() > UNEVEN * gaps.min():
        rows.append(("uneven times", f"Gaps from {gaps.min():g} to {gaps.max():g} ({unit}): the long are guessed."))
    rows += _batches(adata, when)
    ratio = cells[1:] / cells[:-1]
    if len(ratio) and max(ratio.max(), (1 / ratio).max()) > GROWTH:
        worst = int(np.argmax(np.abs(np.log(ratio))))
        change = f"{cells[worst]:,} to {cells[worst + 1]:,} from {times[worst]:g} to {times[worst + 1]:g}"
        says = f"Cells change from {change}. If the culture did that, not the sampling, cells divide or die, which the "
        rows.append(("growth or death", says + "model does not describe: it moves a population of constant size."))
    if adata.uns["scimf"]["form"] == "counts":
        total = np.asarray(adata.X.sum(axis=1)).ravel()
        if empty := int((total == 0).sum()):
            rows.append(("empty cells", f"{empty} cells have no count at all; they all sit in one place. Drop them."))
        depth = np.array([np.median(total[when == t]) for t in times])
        if depth.min() > 0 and depth.max() > DEPTH * depth.min():
            low, high = times[depth.argmin()], times[depth.argmax()]
            says = f"Median counts of a cell go from {depth.min():,.0f} (time {low:g}) to {depth.max():,.0f} ({high:g})"
            rows.append(("depth", f"{says}: genes near the limit of detection come and go with it."))
    rows += _types(adata, when, times)
    if why := cannot_be_told(adata):
        rows.append(("interaction", f"Not identifiable here. {why}"))
    rows += [("as loaded", str(warning)) for warning in adata.uns["scimf"].get("warnings", ())]
    return rows


def _batches(adata: "AnnData", when: np.ndarray) -> list[tuple[str, str]]:
    if "batch" not in adata.obs:
        return []
    table = pd.crosstab(adata.obs["batch"].astype(str), when) > 0
    met = table.to_numpy().astype(int)
    n, part = connected_components(sparse.csr_matrix(met @ met.T))  # batches that share a time are joined
    if n == 1:
        return []
    groups = [table.loc[part == k] for k in range(min(n, 5))]
    said = [f"{', '.join(g.index[:5])} (at {', '.join(f'{t:g}' for t in g.columns[g.any()])})" for g in groups]
    return [("batch and time", f"No time joins {' with '.join(said)}: a batch effect looks like a change.")]


def _types(adata: "AnnData", when: np.ndarray, times: np.ndarray) -> list[tuple[str, str]]:
    if "cell_type" not in adata.obs:
        return [("types", "No cell types: who influences whom can be asked of cells, not of types.")]
    rows, counts = [], adata.obs["cell_type"].value_counts()
    if len(rare := counts[counts < FEW_OF_A_TYPE]):
        rows.append(("rare types", f"{', '.join(map(str, rare.index[:5]))}: fewer than {FEW_OF_A_TYPE} cells."))
    table = pd.crosstab(adata.obs["cell_type"].astype(str), when) > 0
    if len(times) > 1 and (table.sum(axis=1) == 1).all():
        rows.append(("types", "Every type is there at one time only: the labels may be times in disguise."))
    return rows
