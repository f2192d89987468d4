"""From the files of a registered data set to an AnnData: one small reader each, and their table.

The sets of the scIMF and scLDM papers stand at the end: their files are to be had by hand, so a
file that is cut short, swapped with another or of another layout is a ``ValueError`` that names it,
the key and what was expected. Nothing is unpickled, so no ``.rds`` is read.
"""

import re
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
from scipy import sparse

from scimf.core.identity import by_name
from scimf.data.blocks import DataFile
from scimf.data.values import MAX_LOGNORM

#: Each sample pools four days; the middle of its range.
EMBRYOID_DAYS = (1.5, 7.5, 13.5, 19.5, 25.5)
#: qPCR cycles at which a gene counts as not detected: expression is 25 - Ct, in doublings.
MAX_CT = 25.0
#: Zebrafish, hours post fertilisation.
STAGES = (3.3, 3.8, 4.3, 4.8, 5.3, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0)
DAYS = tuple(float(day) for day in range(19))  #: reprogramming, after floor()
WEEKS = tuple(float(week) for week in range(8))  #: pancreas, the column CellWeek
#: Fly, middles of 0-2, 1-3, ..., 16-20 hours.
WINDOWS = (1.0, 2.0, 3.0, 5.0, 6.0, 8.0, 10.0, 12.0, 14.0, 16.0, 18.0)
#: Of the cells of each time: both papers work with this share.
REPROGRAMMING_SHARE = 0.1
DROSOPHILA_SHARE = 0.05


def _stacked(snapshots: dict[float, np.ndarray], column: str) -> ad.AnnData:
    """Stack snapshots (cells, columns) by time; names count rows, and columns from 1."""
    names, times = [], []
    for time, cells in snapshots.items():
        names += [f"t{time:.4g}_{i}" for i in range(len(cells))]
        times += [float(time)] * len(cells)
    x = np.concatenate(list(snapshots.values())).astype(np.float32)
    obs = pd.DataFrame({"time": np.array(times, dtype=np.float64)}, index=names)
    return ad.AnnData(x, obs=obs, var=_numbered(column, x.shape[1]))


def _numbered(prefix: str, n: int, *, first: int = 1) -> pd.DataFrame:
    return pd.DataFrame(index=[f"{prefix}{first + k}" for k in range(n)])


def _read_cite_hspc(files: list[Path]) -> ad.AnnData:
    days = {}
    for file in files:
        day = re.search(r"day_(\d+)", file.name)[1]
        days[float(day)] = np.load(file, allow_pickle=False)
    return _stacked(days, "PC")


def _read_pbmc_activation(files: list[Path]) -> ad.AnnData:
    with np.load(files[0], allow_pickle=False) as arrays:
        # dts is the hour as a share of time_scale = 20.
        hours = np.round(arrays["dts"] * arrays["time_scale"], 6)
        return _stacked(dict(zip(hours.tolist(), arrays["Xs"], strict=True)), "program")


def _read_labelled_csv(files: list[Path], times: dict[float, float]) -> ad.AnnData:
    """Read a table whose column ``samples`` labels the snapshots; ``times`` places them."""
    snapshots = {}
    for label, cells in pd.read_csv(files[0]).groupby("samples"):
        snapshots[times[label]] = cells.drop(columns="samples").to_numpy()
    return _stacked(snapshots, "x")


def _read_reprogramming_cut(files: list[Path]) -> ad.AnnData:
    source = DataFile(files[0]).read_h5ad()
    # Only genes, days and types: the transport maps in uns were fitted on all days.
    obs = source.obs[["cell_type"]].copy()
    obs["time"] = source.obs["day"].astype(np.float64)
    return ad.AnnData(source.X, obs=obs, var=pd.DataFrame(index=source.var_names))


def _read_larry_clones(files: list[Path]) -> ad.AnnData:
    source = DataFile(files[0]).read_h5ad()
    # The file's PCs and layouts are left behind: they were fitted on all days.
    obs = pd.DataFrame(index=source.obs_names)
    obs["time"] = source.obs["time_info"].astype(str).astype(np.float64)
    obs["cell_type"] = source.obs["state_info"].astype("category")
    adata = ad.AnnData(source.X.log1p(), obs=obs, var=pd.DataFrame(index=source.var_names))
    clones = sparse.csr_matrix(source.obsm["X_clone"], dtype=np.float32)
    adata.obsm["X_clone"] = clones  # (cells, clones), 0 or 1
    return adata


def _read_cardiomyocyte_qpcr(files: list[Path]) -> ad.AnnData:
    table = pd.read_csv(files[0]).dropna(how="all")  # the file ends in thousands of empty lines
    obs = _numbered("cell", len(table), first=0)
    obs["time"] = table.pop("h").to_numpy(np.float64)
    x = (MAX_CT - table.to_numpy()).astype(np.float32)
    return ad.AnnData(x, obs=obs, var=pd.DataFrame(index=list(table.columns)))


def _read_mes_retinoic_acid(files: list[Path]) -> ad.AnnData:
    values = pd.read_csv(files[0], sep="\t", header=None, index_col=0).to_numpy(np.float32)
    counts = values[2:]  # row 1 says whether the stimulus is on: from the first hour after 0
    obs = _numbered("cell", counts.shape[1], first=0)
    obs["time"] = values[0].astype(np.float64)
    return ad.AnnData(counts.T.copy(), obs=obs, var=_numbered("gene", len(counts)))


def _read_labelled_counts(files: list[Path]) -> ad.AnnData:
    with h5py.File(files[0]) as file:
        counts = file["X"][:].astype(np.float32)
        kinds = file["Y"][:].astype(int)
    obs = _numbered("cell", len(counts), first=0)
    obs["cell_type"] = pd.Categorical([f"type {kind}" for kind in kinds])
    var = _numbered("gene", counts.shape[1])
    return ad.AnnData(sparse.csr_matrix(counts), obs=obs, var=var)


def _read_larry_spring(files: list[Path]) -> ad.AnnData:
    # In the order of their names: coordinates_x, coordinates_y, timepoints.
    x, y, days = (np.load(file, allow_pickle=False) for file in sorted(files))
    cells = np.stack([x, y], 1)
    snapshots = {day: cells[days == day] for day in np.unique(days).tolist()}
    return _stacked(snapshots, "SPRING")


def _read_embryoid_phate(files: list[Path]) -> ad.AnnData:
    # In the order of their names: coord, label.
    coordinates, sample = (np.load(file, allow_pickle=False) for file in sorted(files))
    snapshots = {day: coordinates[sample == k] for k, day in enumerate(EMBRYOID_DAYS)}
    return _stacked(snapshots, "PHATE")


def _read_embryoid_5d(files: list[Path]) -> ad.AnnData:
    snapshots = np.load(files[0], allow_pickle=False)
    return _stacked(dict(zip(EMBRYOID_DAYS, snapshots, strict=True)), "PC")


# ------------------------------------------------------------- time courses of the scIMF paper


def _read_zebrafish(files: list[Path]) -> ad.AnnData:
    matrix, meta = files
    table = DataFile(meta).table("NAME", ["Stage"], optional="Lineage_")
    table = table.drop(index="TYPE", errors="ignore")  # a second header
    x, genes, cells = DataFile(matrix).matrix("GENE")  # (genes, cells)
    table = _matched(table, cells, meta, matrix)
    hours = _times(table["Stage"], r"^(\d+(?:\.\d+)?)-", STAGES, meta)
    lineages = table.drop(columns="Stage")
    labels = {"cell_type": _lineage(lineages)} if len(lineages.columns) else {}
    x = x.T * np.float32(np.log(2))  # from log2(1 + v) to log(1 + v)
    return _assembled(x, cells, genes, hours, **labels)


def _lineage(lineages: pd.DataFrame) -> np.ndarray:  # (cells,) of text
    """Name the lineage of each cell, from columns that say of each whether it is one of it."""
    member = np.stack([lineages[name].str.upper() == "TRUE" for name in lineages], axis=1)
    names = np.array([name.removeprefix("Lineage_") for name in lineages])
    one = np.where(member.sum(1) == 1, names[member.argmax(1)], "several lineages")
    return np.where(member.any(1), one, "unassigned")


def _read_reprogramming(files: list[Path]) -> ad.AnnData:
    matrix, days = files
    day = pd.to_numeric(DataFile(days).table("id", ["day"])["day"], errors="coerce")
    source = DataFile(matrix).read_h5ad(backed=True)
    with closing(source.file):
        time = np.floor(day.reindex(source.obs_names).to_numpy(np.float64))
        dated = np.flatnonzero(~np.isnan(time))  # the matrix has cells without a day
        if not len(dated):
            raise ValueError(
                f"{days}: 'id' has {day.index[:2].tolist()}, expected cells of {matrix.name}, "
                f"which has {source.obs_names[:2].tolist()}"
            )
        _require_times(time[dated], DAYS, f"{days}: floor of 'day'")
        chosen = dated[_sampled(time[dated], REPROGRAMMING_SHARE)]
        x = DataFile(matrix).rows(source.X, chosen)
        if x.nnz and (x.data.min() < 0 or x.data.max() > MAX_LOGNORM):
            found = f"X goes from {x.data.min():g} to {x.data.max():g}"
            raise ValueError(f"{matrix}: {found}, expected log1p values")
        return _assembled(x, source.obs_names[chosen], source.var_names, time[chosen])


def _read_pancreas(files: list[Path]) -> ad.AnnData:
    matrix, meta = files
    keys = ["CellWeek", "Assigned_cluster", "Differentiation"]
    table = DataFile(meta).table("library.barcode", keys)
    x, cells, genes = DataFile(matrix).matrix("# library.barcode")  # (cells, genes)
    table = _matched(table, cells, meta, matrix)
    times = _times(table["CellWeek"], r"^(\d+(?:\.\d+)?)$", WEEKS, meta)
    labels = {"cell_type": table["Assigned_cluster"], "batch": table["Differentiation"]}
    return _assembled(_whole(x, f"{matrix}: the matrix"), cells, genes, times, **labels)


def _read_drosophila(files: list[Path]) -> ad.AnnData:
    matrix, rows, columns = files
    table = DataFile(columns).table("cell", ["time"], optional="exp$")
    times = _times(table["time"], r"^(?:hrs_)?(\d\d)[_-](\d\d)$", WINDOWS, columns)
    genes = DataFile(rows).first_column()
    chosen = _sampled(times, DROSOPHILA_SHARE)
    x = DataFile(matrix).market(len(genes), len(table))[chosen]  # (cells, genes)
    x = _whole(x, f"{matrix}: the matrix")
    labels = {"batch": table["exp"].iloc[chosen]} if "exp" in table else {}
    return _assembled(x, table.index[chosen], genes, times[chosen], **labels)


def _matched(table: pd.DataFrame, cells: Sequence[str], path: Path, matrix: Path) -> pd.DataFrame:
    """Bring the table's lines into the order of the matrix; both have to name the same cells."""
    different = sorted(set(table.index) ^ set(cells))
    if different:
        found = f"{len(different)} cells are only here or only in {matrix.name}"
        expected = f"expected the same {len(cells)} cells in both (is one of them cut short?)"
        raise ValueError(f"{path}: {found}, such as {different[:2]}; {expected}")
    return table.loc[list(cells)]


def _times(
    labels: pd.Series, pattern: str, expected: Sequence[float], path: Path
) -> np.ndarray:  # (cells,)
    """Read a number or the middle of a window from each label; only published times will do."""
    times = labels.str.extract(pattern).astype(np.float64).mean(axis=1, skipna=False).to_numpy()
    unread = labels[np.isnan(times)]
    if len(unread):
        found = f"{labels.name!r} is {unread.iloc[0]!r}"
        raise ValueError(f"{path}: {found}, expected one of {list(expected)}")
    _require_times(times, expected, f"{path}: {labels.name!r}")
    return times


def _require_times(times: np.ndarray, expected: Sequence[float], where: str) -> None:
    found = np.unique(times).tolist()
    if found != list(expected):
        wanted = f"expected all of {list(expected)} (is the file cut short?)"
        raise ValueError(f"{where} has the times {found}, {wanted}")


def _sampled(times: np.ndarray, share: float) -> np.ndarray:
    """Draw a share of the cells of each time without replacement, seed 0; rows in file order."""
    rng = np.random.default_rng(0)
    drawn = []
    for time in np.unique(times):
        rows = np.flatnonzero(times == time)
        drawn.append(rng.choice(rows, int(share * len(rows)), replace=False))
    return np.sort(np.concatenate(drawn))


def _assembled(x, cells, genes, times: np.ndarray, **labels: Sequence[str]) -> ad.AnnData:
    obs = pd.DataFrame({"time": times.astype(np.float64)}, index=list(map(str, cells)))
    for key, values in labels.items():
        obs[key] = pd.Categorical([str(value) or "unknown" for value in values])
    var = pd.DataFrame(index=list(map(str, genes)))
    adata = ad.AnnData(sparse.csr_matrix(x, dtype=np.float32), obs=obs, var=var)
    adata.var_names_make_unique()
    return adata


def _whole(x: sparse.csr_matrix, where: str) -> sparse.csr_matrix:
    if x.nnz and (x.data.min() < 0 or (x.data != np.rint(x.data)).any()):
        raise ValueError(f"{where} holds negative or fractional values, expected counts")
    return x


# ------------------------------------------------------------------- sets of the scLDM paper


def _read_conditions(files: list[Path], columns: dict[str, str]) -> ad.AnnData:
    """One snapshot with the conditions of scLDM, of one file or of several (or one per screen).

    ``columns``: the columns of ``obs`` that scLDM conditions on, and the column of the file that
    each is read from; "" is the file's name.
    """
    parts = [_read_part(file, columns) for file in files]
    names = np.concatenate([part.obs_names for part in parts])
    suffix = None if pd.Index(names).is_unique else "-"  # screens share barcodes
    adata = ad.concat(parts, join="inner", index_unique=suffix)
    if not adata.n_vars:
        found = f"var_names have no gene in common with {files[0].name}"
        raise ValueError(f"{files[-1]}: {found}, expected the same genes")
    adata.obs_names_make_unique()
    adata.var_names_make_unique()
    for key in adata.obs:
        adata.obs[key] = adata.obs[key].astype("category")
    return adata


def _read_part(file: Path, columns: dict[str, str]) -> ad.AnnData:
    source = DataFile(file).read_h5ad(backed=True)
    with closing(source.file):
        missing = set(columns.values()) - {""} - set(source.obs)
        if missing:
            expected = f"expected the conditions {sorted(columns)}"
            raise ValueError(f"{file}: obs has no {sorted(missing)}, {expected}")
        obs = pd.DataFrame(index=source.obs_names)
        for key, column in columns.items():
            obs[key] = source.obs[column].astype(str).to_numpy() if column else _cell_line(file)
        part = re.search(r"_(train|test)\b", file.stem)
        if part:
            obs["split"] = part[1]
        return ad.AnnData(_counts(source, file), obs=obs, var=pd.DataFrame(index=source.var_names))


def _counts(source: ad.AnnData, file: Path) -> sparse.csr_matrix:
    """Read the counts of a file from the first of three places that there is."""
    where = "X"
    matrix = source.X
    for layer in ("counts", "X_counts"):
        if layer in source.layers:
            where = f"layers['{layer}']"
            matrix = source.layers[layer]
    rule = "of layers['X_counts'], layers['counts'], X the first there is,"
    return _whole(DataFile(file).rows(matrix), f"{file}: {where}, {rule}")


def _cell_line(file: Path) -> str:
    found = re.search("hepg2|jurkat|k562|rpe1", file.name.lower())
    if found is None:
        expected = "expected hepg2, jurkat, k562 or rpe1"
        raise ValueError(f"{file}: its name says no cell line, {expected}")
    return found[0]


#: Readers by name of the set, each ``f(files) -> AnnData``.
READERS: dict[str, Callable[[list[Path]], ad.AnnData]] = by_name(
    {
        "cite_hspc": _read_cite_hspc,
        "pbmc_activation": _read_pbmc_activation,
        "reprogramming_cut": _read_reprogramming_cut,
        "larry_clones": _read_larry_clones,
        "cardiomyocyte_qpcr": _read_cardiomyocyte_qpcr,
        "mes_retinoic_acid": _read_mes_retinoic_acid,
        "counts_pbmc": _read_labelled_counts,
        "counts_kidney": _read_labelled_counts,
        "counts_worm_neuron": _read_labelled_counts,
        # Days; 3 and 7 are pooled.
        "emt": partial(_read_labelled_csv, times={0: 0.0, 1: 1 / 3, 2: 1.0, 3: 5.0}),
        "hematopoiesis_2d": partial(_read_labelled_csv, times={0: 2.0, 1: 4.0, 2: 6.0}),
        "embryoid_phate": _read_embryoid_phate,
        "embryoid_5d": _read_embryoid_5d,
        "larry_spring": _read_larry_spring,
        "cytobridge_sim": partial(
            _read_labelled_csv, times={0: 0.0, 1: 1.0, 2: 2.0, 3: 3.0, 4: 4.0}
        ),
        "zebrafish": _read_zebrafish,
        "reprogramming": _read_reprogramming,
        "pancreas": _read_pancreas,
        "drosophila": _read_drosophila,
        "dentate_gyrus": partial(
            _read_conditions, columns={"clusters": "clusters", "cell_type": "clusters"}
        ),
        "tabula_muris": partial(_read_conditions, columns={"tissue": "tissue"}),
        "hlca": partial(_read_conditions, columns={"cell_type": "cell_type"}),
        "parse_1m": partial(
            _read_conditions, columns={"cell_type": "cell_type", "cytokine": "cytokine"}
        ),
        "replogle": partial(_read_conditions, columns={"cell_line": "", "gene": "gene"}),
    }
)
