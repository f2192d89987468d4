"""Any file of cells to an AnnData: ``.h5ad``, ``.loom``, 10x Genomics, ``.csv`` and ``.tsv``.

Nothing is ever unpickled. Whatever cannot be read ends in one ``ValueError`` that names the file.
"""

import warnings
from collections.abc import Iterable
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd

from scimf.data.blocks import DataFile

SEPARATORS = {".csv": ",", ".tsv": "\t", ".txt": "\t"}
KNOWN = (".h5ad", ".loom", ".h5", *SEPARATORS)
LABELS = ("time", "cell_type", "population", "batch")  #: columns of a table that are never genes
MAX_LOGNORM = 50  #: log1p of any library size stays far below; larger values were never logged


def read_cells(
    path: Path, *, labels: Iterable[str] = (), cells: Path | None = None
) -> tuple[ad.AnnData, list[str]]:  # cells x genes, and what should be known about the reading
    """Read a file of cells.

    Parameters
    ----------
    path
        Its suffix says what it is. A table has one row per cell; columns that are named in
        ``labels`` or :data:`LABELS`, or that hold text, become ``obs``, all others are genes.
    labels
        Names of columns of a table that are not genes.
    cells
        A second table, its first column the names of the cells, to be joined to ``obs``: 10x files
        hold no times.

    Raises
    ------
    ValueError
        If a file is missing, damaged or something else, or if the names of the cells do not match.
    """
    for file in (path, cells):
        if file is not None and not file.exists():
            raise ValueError(f"{file}: no such file")
    kind = _kind_of(path)
    if kind not in (*KNOWN, "10x"):
        expected = f"a file that ends in {', '.join(KNOWN)}, or a folder with a matrix.mtx"
        raise ValueError(f"{path}: expected {expected}")
    notes: list[str] = []
    with DataFile(path).reading():
        adata = _read(path, kind, {*labels, *LABELS}, notes)
    if kind in (".h5", "10x") and not adata.var_names.is_unique:  # the rule there
        twice = adata.var_names[adata.var_names.duplicated()].unique()
        adata.var_names_make_unique()
        example = f"such as {twice[0]!r}; the second got a number."
        notes.append(f"{len(twice)} gene names were there twice, {example}")
    if cells is not None:
        _join(adata, path, cells)
    return adata, notes


def _kind_of(path: Path) -> str:
    """Suffix in lower case, without ``.gz``; ``"10x"`` for a folder that holds a ``matrix.mtx``."""
    if path.is_dir():
        return "10x" if any(path.glob("*matrix.mtx*")) else ""
    return Path(path.name.lower().removesuffix(".gz")).suffix


def _read(path: Path, kind: str, labels: set[str], notes: list[str]) -> ad.AnnData:
    if kind == ".h5ad":
        return DataFile(path).read_h5ad()
    if kind == ".loom":
        return _read_loom(path)
    if kind in (".h5", "10x"):
        return _read_10x(path)
    return _read_table(path, labels, notes)


# ----------------------------------------------------------------------- HDF5 and 10x Genomics


def _read_loom(path: Path) -> ad.AnnData:
    """Read HDF5 with a matrix (genes, cells), ``row_attrs`` of genes and ``col_attrs`` of cells."""
    DataFile(path).require_hdf5("a .loom file")
    with h5py.File(path) as file:
        missing = {"matrix", "row_attrs", "col_attrs"} - set(file)
        if missing:
            found = f"{sorted(missing)} is missing; there are {sorted(file)}"
            raise ValueError(f"{path}: no loom file, {found}")
        genes = _columns_of(file["row_attrs"])
        cells = _columns_of(file["col_attrs"])
        matrix = file["matrix"]
        expected = (len(genes), len(cells))
        if matrix.shape != expected:
            where = f"{path}: matrix is {matrix.shape}"
            raise ValueError(f"{where}, expected (genes, cells) = {expected}")
        x = DataFile(path).rows(matrix).T.tocsr()
    genes.index = _names_in(genes, ("Gene", "var_names", "Accession"), f"{path}: no names of genes")
    cells.index = _names_in(cells, ("CellID", "obs_names"), f"{path}: no names of cells")
    return ad.AnnData(x, obs=cells, var=genes)


def _columns_of(group: h5py.Group) -> pd.DataFrame:
    columns = {}
    for name, values in group.items():
        if values.ndim == 1:
            is_text = h5py.check_string_dtype(values.dtype)
            columns[name] = values.asstr()[:] if is_text else values[:]
    return pd.DataFrame(columns)


def _names_in(table: pd.DataFrame, keys: tuple[str, ...], problem: str) -> np.ndarray:
    for key in keys:
        if key in table:
            return table[key].astype(str).to_numpy()
    raise ValueError(f"{problem}, expected one of {keys}; there are {list(table)}")


def _read_10x(path: Path) -> ad.AnnData:
    import scanpy as sc  # only these files need it

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*names are not unique")
        if path.is_dir():
            return sc.read_10x_mtx(path, make_unique=False)
        DataFile(path).require_hdf5("a 10x .h5 file")
        return sc.read_10x_h5(path)


# ------------------------------------------------------------------------------------- tables


def _read_table(path: Path, labels: set[str], notes: list[str]) -> ad.AnnData:
    separator = SEPARATORS[_kind_of(path)]
    texts = {"dtype": str, "keep_default_na": False}
    header = pd.read_csv(path, sep=separator, header=None, nrows=1, **texts).iloc[0]
    if len(header) < 2:
        expected = "expected a table with one row per cell and its genes"
        raise ValueError(f"{path}: {len(header)} columns, {expected}")
    DataFile(path).require_unique(header, "columns")  # pandas would rename them silently
    table = pd.read_csv(path, sep=separator, index_col=False, low_memory=False)
    if not len(table):
        raise ValueError(f"{path}: 0 rows, expected a table with one row per cell")
    table = _with_names(table, labels)
    genes = [name for name in table.select_dtypes("number") if name not in labels]
    if not genes:
        found = list(table)[:5]
        raise ValueError(
            f"{path}: no column of numbers besides {found}, expected one per gene or PC"
        )
    others = [name for name in table if name not in set(genes)]
    columns = f"{len(genes)} columns as genes, from {genes[0]!r} to {genes[-1]!r}"
    notes.append(f"Took {columns}, and {others} as labels.")
    x = table[genes].to_numpy(np.float32)
    return ad.AnnData(x, obs=table[others], var=pd.DataFrame(index=genes))


def _with_names(table: pd.DataFrame, labels: set[str]) -> pd.DataFrame:
    """Take the first column as names of the cells, unless it is a label or holds numbers."""
    first = table.columns[0]
    is_text = first.startswith("Unnamed") or not pd.api.types.is_numeric_dtype(table[first])
    if is_text and first not in labels:
        table = table.set_index(first)
        table.index = table.index.astype(str)
    else:
        table.index = [f"cell{i}" for i in range(len(table))]
    table.index.name = None
    return table


def _join(adata: ad.AnnData, path: Path, cells: Path) -> None:
    """Add the columns of a table of cells to ``obs``."""
    separator = SEPARATORS.get(_kind_of(cells))
    if separator is None:
        raise ValueError(f"{cells}: expected a table of cells that ends in {', '.join(SEPARATORS)}")
    with DataFile(cells).reading():
        table = pd.read_csv(cells, sep=separator, index_col=0, low_memory=False)
    table.index = table.index.astype(str)
    DataFile(cells).require_unique(table.index, "cell names")
    missing = adata.obs_names.difference(table.index)
    if len(missing):
        hint = ""
        if adata.var_names.isin(table.index).mean() > 0.5:
            hint = f"; its columns are the cells there: transpose {path.name}, "
            hint += "one row per cell is expected"
        raise ValueError(
            f"{path}: {len(missing)} of {adata.n_obs} cells are not in {cells.name}, such as "
            f"{missing[0]!r} (there: {table.index[:1].tolist()}){hint}"
        )
    for name in table:
        adata.obs[name] = table.loc[adata.obs_names, name].to_numpy()
