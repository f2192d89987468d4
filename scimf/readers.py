"""From the files of a registered data set to an AnnData: one small reader each."""

import re
from collections.abc import Callable
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
from scipy import sparse

from scimf.formats import read_h5ad

EMBRYOID_DAYS = (1.5, 7.5, 13.5, 19.5, 25.5)  # each sample pools four days; the middle of its range
MAX_CT = 25.0  # qPCR cycles at which a gene counts as not detected: expression is 25 - Ct, in doublings


def _assemble(snapshots: dict[float, np.ndarray], column: str) -> ad.AnnData:
    """Stack snapshots (cells, columns) by time; cells are named by time and row, columns by ``column`` and a number."""
    x = np.concatenate(list(snapshots.values())).astype(np.float32)
    names = [f"t{time:.4g}_{i}" for time, cells in snapshots.items() for i in range(len(cells))]
    times = np.repeat(np.array(list(snapshots), dtype=np.float64), [len(cells) for cells in snapshots.values()])
    var = pd.DataFrame(index=[f"{column}{k + 1}" for k in range(x.shape[1])])
    return ad.AnnData(x, obs=pd.DataFrame({"time": times}, index=names), var=var)


def _read_cite_hspc(files: list[Path]) -> ad.AnnData:
    days = {float(re.search(r"day_(\d+)", file.name)[1]): np.load(file, allow_pickle=False) for file in files}
    return _assemble(days, "PC")


def _read_pbmc_activation(files: list[Path]) -> ad.AnnData:
    with np.load(files[0], allow_pickle=False) as arrays:
        hours = np.round(arrays["dts"] * arrays["time_scale"], 6)  # dts is the hour as a share of time_scale = 20
        return _assemble(dict(zip(hours.tolist(), arrays["Xs"], strict=True)), "program")


def _read_labelled_csv(files: list[Path], times: dict[float, float]) -> ad.AnnData:
    table = pd.read_csv(files[0])
    groups = table.groupby("samples")
    return _assemble({times[label]: cells.drop(columns="samples").to_numpy() for label, cells in groups}, "x")


def _read_reprogramming_cut(files: list[Path]) -> ad.AnnData:
    source = read_h5ad(files[0])
    # Only genes, days and types: the transport maps in uns were fitted on all days.
    adata = ad.AnnData(source.X, obs=source.obs[["cell_type"]].copy(), var=pd.DataFrame(index=source.var_names))
    adata.obs["time"] = source.obs["day"].astype(np.float64)
    return adata


def _read_larry_clones(files: list[Path]) -> ad.AnnData:
    source = read_h5ad(files[0])
    # The file's PCs and layouts are left behind: they were fitted on all days.
    adata = ad.AnnData(
        source.X.log1p(), obs=pd.DataFrame(index=source.obs_names), var=pd.DataFrame(index=source.var_names)
    )
    adata.obs["time"] = source.obs["time_info"].astype(str).astype(np.float64)
    adata.obs["cell_type"] = source.obs["state_info"].astype("category")
    adata.obsm["X_clone"] = sparse.csr_matrix(source.obsm["X_clone"], dtype=np.float32)  # (cells, clones), 0 or 1
    return adata


def _read_cardiomyocyte_qpcr(files: list[Path]) -> ad.AnnData:
    table = pd.read_csv(files[0]).dropna(how="all")  # the file ends in thousands of empty lines
    hours = table.pop("h").to_numpy(np.float64)
    adata = ad.AnnData((MAX_CT - table.to_numpy()).astype(np.float32), var=pd.DataFrame(index=list(table.columns)))
    adata.obs_names = [f"cell{i}" for i in range(len(hours))]
    adata.obs["time"] = hours
    return adata


def _read_mes_retinoic_acid(files: list[Path]) -> ad.AnnData:
    values = pd.read_csv(files[0], sep="\t", header=None, index_col=0).to_numpy(np.float32)
    hours, counts = values[0], values[2:]  # row 1 says whether the stimulus is on: from the first hour after 0
    genes = pd.DataFrame(index=[f"gene{k + 1}" for k in range(len(counts))])
    adata = ad.AnnData(counts.T.copy(), var=genes)
    adata.obs_names = [f"cell{i}" for i in range(adata.n_obs)]
    adata.obs["time"] = hours.astype(np.float64)
    return adata


def _read_labelled_counts(files: list[Path]) -> ad.AnnData:
    with h5py.File(files[0]) as file:
        counts, kinds = file["X"][:].astype(np.float32), file["Y"][:].astype(int)
    genes = pd.DataFrame(index=[f"gene{k + 1}" for k in range(counts.shape[1])])
    adata = ad.AnnData(sparse.csr_matrix(counts), var=genes)
    adata.obs_names = [f"cell{i}" for i in range(adata.n_obs)]
    adata.obs["cell_type"] = pd.Categorical([f"type {kind}" for kind in kinds])
    return adata


def _read_larry_spring(files: list[Path]) -> ad.AnnData:
    x, y, days = (
        np.load(file, allow_pickle=False) for file in sorted(files)
    )  # coordinates_x, coordinates_y, timepoints
    return _assemble({day: np.stack([x[days == day], y[days == day]], 1) for day in np.unique(days).tolist()}, "SPRING")


def _read_embryoid_phate(files: list[Path]) -> ad.AnnData:
    xy, sample = (np.load(file, allow_pickle=False) for file in sorted(files))  # coord, label
    return _assemble({day: xy[sample == k] for k, day in enumerate(EMBRYOID_DAYS)}, "PHATE")


def _read_embryoid_5d(files: list[Path]) -> ad.AnnData:
    return _assemble(dict(zip(EMBRYOID_DAYS, np.load(files[0], allow_pickle=False), strict=True)), "PC")


READERS: dict[str, Callable[[list[Path]], ad.AnnData]] = {
    "cite_hspc": _read_cite_hspc,
    "pbmc_activation": _read_pbmc_activation,
    "reprogramming_cut": _read_reprogramming_cut,
    "larry_clones": _read_larry_clones,
    "cardiomyocyte_qpcr": _read_cardiomyocyte_qpcr,
    "mes_retinoic_acid": _read_mes_retinoic_acid,
    **dict.fromkeys(("counts_pbmc", "counts_kidney", "counts_worm_neuron"), _read_labelled_counts),
    "emt": lambda files: _read_labelled_csv(files, {0: 0.0, 1: 1 / 3, 2: 1.0, 3: 5.0}),  # days; 3 and 7 are pooled
    "hematopoiesis_2d": lambda files: _read_labelled_csv(files, {0: 2.0, 1: 4.0, 2: 6.0}),
    "embryoid_phate": _read_embryoid_phate,
    "embryoid_5d": _read_embryoid_5d,
    "larry_spring": _read_larry_spring,
    "cytobridge_sim": lambda files: _read_labelled_csv(files, {float(t): float(t) for t in range(5)}),
}
