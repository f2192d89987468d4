"""From the files of a registered data set to an AnnData: one small reader each, and their table.

The files of the scIMF and scLDM papers' sets are to be had by hand, so one that is cut short,
swapped with another or of another layout is a ``ValueError``. Nothing is unpickled.
"""

import re
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
from scipy import sparse

from scimf.core.identity import by_name
from scimf.data.blocks import DataFile
from scimf.data.values import MAX_LOGNORM


def _assembled(x, cells, genes, times=None, **labels: Sequence) -> ad.AnnData:
    """Put values (cells, genes), times and labels of cells together; genes get unique names."""
    obs = pd.DataFrame(index=list(map(str, cells)))
    if times is not None:
        obs["time"] = np.asarray(times, dtype=np.float64)
    for key, values in labels.items():
        obs[key] = pd.Categorical([str(value) or "unknown" for value in values])
    x = x.astype(np.float32)
    if sparse.issparse(x):
        x = sparse.csr_matrix(x)
    adata = ad.AnnData(x, obs=obs, var=pd.DataFrame(index=list(map(str, genes))))
    adata.var_names_make_unique()
    return adata


def _numbered(prefix: str, n: int, *, first: int = 1) -> list[str]:
    return [f"{prefix}{first + k}" for k in range(n)]


# ------------------------------------------------------------- snapshots in ready-made columns


def _stacked(snapshots: Sequence[np.ndarray], times: list[float], column: str) -> ad.AnnData:
    """Stack snapshots (cells, columns); names count rows, and columns from 1."""
    names, time_of_cell = [], []
    for time, cells in zip(times, snapshots, strict=True):
        names += _numbered(f"t{time:.4g}_", len(cells), first=0)
        time_of_cell += [time] * len(cells)
    x = np.concatenate(snapshots)
    return _assembled(x, names, _numbered(column, x.shape[1]), time_of_cell)


def _read_snapshots(files: list[Path], times: list[float], column: str) -> ad.AnnData:
    """Read arrays of one time each, or one array (times, cells, columns)."""
    if len(files) > 1:
        return _stacked([np.load(file, allow_pickle=False) for file in files], times, column)
    content = np.load(files[0], allow_pickle=False)
    return _stacked(content["Xs"] if files[0].suffix == ".npz" else content, times, column)


def _read_labelled(files: list[Path], times: list[float], column: str) -> ad.AnnData:
    """Read a table with the column ``samples``, or arrays of which the last by name is such."""
    if files[0].suffix == ".csv":
        cells = pd.read_csv(files[0])
        labels = cells.pop("samples")
    else:
        *parts, labels = (np.load(file, allow_pickle=False) for file in sorted(files))
        cells = np.column_stack(parts)
    return _stacked([cells[labels == label] for label in np.unique(labels)], times, column)


# ------------------------------------------------------------------------------- measured genes


def _read_cut(files: list[Path], time: str, cell_type: str, *, logged: bool) -> ad.AnnData:
    """Read genes, times, types and clones; what else the file has was fitted on all days."""
    source = DataFile(files[0]).read_h5ad()
    x = source.X if logged else source.X.log1p()
    labels = {"cell_type": source.obs[cell_type]}
    times = source.obs[time].astype(str)
    adata = _assembled(x, source.obs_names, source.var_names, times, **labels)
    if "X_clone" in source.obsm:  # (cells, clones), 0 or 1
        adata.obsm["X_clone"] = sparse.csr_matrix(source.obsm["X_clone"], dtype=np.float32)
    return adata


def _read_cardiomyocyte_qpcr(files: list[Path], max_ct: float) -> ad.AnnData:
    table = pd.read_csv(files[0]).dropna(how="all")  # the file ends in thousands of empty lines
    hours = table.pop("h")
    cells = _numbered("cell", len(table), first=0)
    return _assembled(max_ct - table.to_numpy(), cells, table.columns, hours)


def _read_mes_retinoic_acid(files: list[Path]) -> ad.AnnData:
    values = pd.read_csv(files[0], sep="\t", header=None, index_col=0).to_numpy(np.float32)
    hours, _, *counts = values  # the second says whether the stimulus is on: from the first hour on
    cells = _numbered("cell", len(hours), first=0)
    return _assembled(np.stack(counts, axis=1), cells, _numbered("gene", len(counts)), hours)


def _read_labelled_counts(files: list[Path]) -> ad.AnnData:
    with h5py.File(files[0]) as file:
        counts = sparse.csr_matrix(file["X"][:])
        kinds = [f"type {kind:.0f}" for kind in file["Y"][:]]
    cells = _numbered("cell", len(kinds), first=0)
    return _assembled(counts, cells, _numbered("gene", counts.shape[1]), cell_type=kinds)


# ------------------------------------------------------------- time courses of the scIMF paper


def _read_zebrafish(files: list[Path], times: list[float]) -> ad.AnnData:
    matrix, meta = files
    table = DataFile(meta).table("NAME", ["Stage"], optional="Lineage_")
    table = table.drop(index="TYPE", errors="ignore")  # a second header
    x, genes, cells = DataFile(matrix).matrix("GENE")  # (genes, cells)
    table = _matched(table, cells, meta, matrix)
    hours = _times(table["Stage"], r"^(\d+(?:\.\d+)?)-", times, meta)
    lineage = pd.Series("unassigned", index=table.index)
    for name in table.columns.drop("Stage"):  # they say of each cell whether it is one of it
        member = table[name].str.upper() == "TRUE"
        several = member & (lineage != "unassigned")
        lineage[member] = name.removeprefix("Lineage_")
        lineage[several] = "several lineages"
    x = x.T * np.float32(np.log(2))  # from log2(1 + v) to log(1 + v)
    return _assembled(x, cells, genes, hours, cell_type=lineage)


def _read_reprogramming(files: list[Path], times: list[float], share: float) -> ad.AnnData:
    matrix, days = files
    day = DataFile(days).table("id", ["day"])["day"]
    day = day[day.str.match(r"\d")]
    source = DataFile(matrix).read_h5ad(backed=True)
    with closing(source.file):
        dated = np.flatnonzero(source.obs_names.isin(day.index))  # some cells have no day
        cells = source.obs_names[dated]
        time = _times(day[cells], r"^(\d+)", times, days)  # whole days
        chosen = _sampled(time, share)
        x = _checked(DataFile(matrix).rows(source.X, dated[chosen]), "log1p values", matrix)
        return _assembled(x, cells[chosen], source.var_names, time[chosen])


def _read_pancreas(files: list[Path], times: list[float]) -> ad.AnnData:
    matrix, meta = files
    keys = ["CellWeek", "Assigned_cluster", "Differentiation"]
    table = DataFile(meta).table("library.barcode", keys)
    x, cells, genes = DataFile(matrix).matrix("# library.barcode")  # (cells, genes)
    table = _matched(table, cells, meta, matrix)
    time = _times(table["CellWeek"], r"^(\d+(?:\.\d+)?)$", times, meta)
    labels = {"cell_type": table["Assigned_cluster"], "batch": table["Differentiation"]}
    return _assembled(_checked(x, "counts", matrix), cells, genes, time, **labels)


def _read_drosophila(files: list[Path], times: list[float], share: float) -> ad.AnnData:
    matrix, rows, columns = files
    table = DataFile(columns).table("cell", ["time"], optional="exp$")
    time = _times(table["time"], r"^(?:hrs_)?(\d\d)[_-](\d\d)$", times, columns)
    genes = DataFile(rows).names()[0]
    chosen = _sampled(time, share)
    x = DataFile(matrix).market(len(genes), len(table))[chosen]  # (cells, genes)
    x = _checked(x, "counts", matrix)
    labels = {"batch": table["exp"].iloc[chosen]} if "exp" in table else {}
    return _assembled(x, table.index[chosen], genes, time[chosen], **labels)


def _matched(table: pd.DataFrame, cells: Sequence[str], path: Path, matrix: Path) -> pd.DataFrame:
    """Bring the table's lines into the order of the matrix; both have to name the same cells."""
    different = sorted(set(table.index) ^ set(cells))
    if different:
        found = f"{len(different)} cells are only here or only in {matrix.name}"
        raise ValueError(f"{path}: {found}, such as {different[:2]}; is one of them cut short?")
    return table.loc[list(cells)]


def _times(labels: pd.Series, pattern: str, expected: list[float], path: Path) -> np.ndarray:
    """Read a number or the middle of a window for each cell; all published times are needed."""
    times = labels.str.extract(pattern).astype(np.float64).mean(axis=1, skipna=False).to_numpy()
    unknown = labels[~np.isin(times, expected)].unique()[:3].tolist()
    missing = sorted(set(expected) - set(times))
    if unknown or missing:
        found = f"{labels.name!r} of the cells in the matrix has {unknown} and lacks {missing}"
        raise ValueError(f"{path}: {found}, expected all of {expected}")
    return times


def _sampled(times: np.ndarray, share: float) -> np.ndarray:
    """Draw a share of the cells of each time without replacement, seed 0; rows in file order."""
    rng = np.random.default_rng(0)
    drawn = []
    for time in np.unique(times):
        rows = np.flatnonzero(times == time)
        drawn.append(rng.choice(rows, int(share * len(rows)), replace=False))
    return np.sort(np.concatenate(drawn))


def _checked(x: sparse.csr_matrix, expected: str, path: Path) -> sparse.csr_matrix:
    """Refuse what is no count, or no logarithm."""
    is_good = x.data == np.rint(x.data) if expected.startswith("counts") else x.data <= MAX_LOGNORM
    bad = x.data[~is_good | (x.data < 0)]
    if len(bad):
        raise ValueError(f"{path}: the matrix holds {bad[0]:g}, expected {expected}")
    return x


# ------------------------------------------------------------------- sets of the scLDM paper


def _read_conditions(files: list[Path], **conditions: str) -> ad.AnnData:
    """One snapshot of one or several files; a condition of scLDM is a column of ``obs``.

    Or it is the one of some words, such as "train|test", that stands in the name of the file.
    """
    parts = [_read_part(file, conditions) for file in files]
    adata = ad.concat(parts, index_unique="-" if len(parts) > 1 else None)  # they share barcodes
    if not adata.n_vars:
        raise ValueError(f"{files[-1]}: var_names have no gene in common with {files[0].name}")
    adata.obs = adata.obs.astype("category")
    return adata


def _read_part(file: Path, conditions: dict[str, str]) -> ad.AnnData:
    source = DataFile(file).read_h5ad(backed=True)
    with closing(source.file):
        labels = {}
        for key, column in conditions.items():
            in_name = re.search(column, file.stem.lower()) if "|" in column else None
            if not in_name and column not in source.obs:
                raise ValueError(f"{file}: neither obs nor its name has {column!r}, the {key}")
            labels[key] = [in_name[0]] * source.n_obs if in_name else source.obs[column]
        # The counts are in the first of these that there is.
        places = {"X": source.X, **source.layers}
        place = next(name for name in ("X_counts", "counts", "X") if name in places)
        x = _checked(DataFile(file).rows(places[place]), f"counts in {place}", file)
        return _assembled(x, source.obs_names, source.var_names, **labels)


#: Readers by name of the set, each ``f(files, **read) -> AnnData``; ``read`` is in the registry.
READERS: dict[str, Callable[..., ad.AnnData]] = by_name(
    {
        "cite_hspc": _read_snapshots,
        "pbmc_activation": _read_snapshots,
        "embryoid_5d": _read_snapshots,
        "embryoid_phate": _read_labelled,
        "larry_spring": _read_labelled,
        "emt": _read_labelled,
        "hematopoiesis_2d": _read_labelled,
        "cytobridge_sim": _read_labelled,
        "reprogramming_cut": _read_cut,
        "larry_clones": _read_cut,
        "cardiomyocyte_qpcr": _read_cardiomyocyte_qpcr,
        "mes_retinoic_acid": _read_mes_retinoic_acid,
        "counts_pbmc": _read_labelled_counts,
        "counts_kidney": _read_labelled_counts,
        "counts_worm_neuron": _read_labelled_counts,
        "zebrafish": _read_zebrafish,
        "reprogramming": _read_reprogramming,
        "pancreas": _read_pancreas,
        "drosophila": _read_drosophila,
        "dentate_gyrus": _read_conditions,
        "tabula_muris": _read_conditions,
        "hlca": _read_conditions,
        "parse_1m": _read_conditions,
        "replogle": _read_conditions,
    }
)
