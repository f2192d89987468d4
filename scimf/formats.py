"""Any file of cells to an AnnData: ``.h5ad``, ``.loom``, 10x Genomics (``.h5`` or a folder), ``.csv`` and ``.tsv``.

Nothing is ever unpickled. Whatever cannot be read ends in one ``ValueError`` that names the file.
"""

import csv
import gzip
import warnings
import zlib
from collections.abc import Iterable
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
from scipy import sparse

SEPARATORS = {".csv": ",", ".tsv": "\t", ".txt": "\t"}
KNOWN = (".h5ad", ".loom", ".h5", *SEPARATORS)
LABELS = ("time", "cell_type", "population", "batch")  #: columns of a table that are never genes
UNREADABLE = (OSError, EOFError, KeyError, ValueError, TypeError, AttributeError, IndexError, zlib.error, csv.Error)


def suffix_of(path: str | Path) -> str:
    """Suffix in lower case, without ``.gz``; ``"10x"`` for a folder that holds a ``matrix.mtx``."""
    path = Path(path)
    if path.is_dir():
        return "10x" if any(path.glob("*matrix.mtx*")) else ""
    return Path(path.name.lower().removesuffix(".gz")).suffix


def is_file_of_cells(path: str | Path) -> bool:
    """Whether :func:`read_cells` would try."""
    return suffix_of(path) in (*KNOWN, "10x")


def read_cells(
    path: Path, *, labels: Iterable[str] = (), cells: Path | None = None
) -> tuple[ad.AnnData, list[str]]:  # cells x genes, and what should be known about the reading
    """Read a file of cells.

    Parameters
    ----------
    path
        Its suffix says what it is. A table has one row per cell; columns that are named in ``labels`` or
        :data:`LABELS`, or that hold text, become ``obs``, all others are genes.
    labels
        Names of columns of a table that are not genes.
    cells
        A second table, its first column the names of the cells, to be joined to ``obs``: 10x files hold no times.

    Raises
    ------
    ValueError
        If a file is missing, damaged or something else, or if the names of the cells do not match.
    """
    for file in (path, cells):
        if file is not None and not file.exists():
            raise ValueError(f"{file}: no such file")
    kind, notes = suffix_of(path), []
    readers = {".h5ad": read_h5ad, ".loom": _read_loom, ".h5": _read_10x, "10x": _read_10x}
    if kind not in (*readers, *SEPARATORS):
        raise ValueError(f"{path}: expected a file that ends in {', '.join(KNOWN)}, or a folder with a matrix.mtx")
    try:
        adata = readers[kind](path) if kind in readers else _read_table(path, {*labels, *LABELS}, notes)
    except UNREADABLE as error:
        if str(error).startswith(f"{path}: "):
            raise
        raise ValueError(f"{path}: cannot be read, probably cut short or damaged ({_first_line(error)})") from error
    if kind in (".h5", "10x") and not adata.var_names.is_unique:  # two genes of one name are the rule there
        twice = adata.var_names[adata.var_names.duplicated()].unique()
        adata.var_names_make_unique()
        notes.append(f"{len(twice)} gene names were there twice, such as {twice[0]!r}; the second got a number.")
    if cells is not None:
        _join(adata, path, cells)
    return adata, notes


def read_h5ad(path: Path, *, backed: bool = False) -> ad.AnnData:
    """Read an ``.h5ad`` file; ``ValueError`` that names it if it is missing, damaged or something else.

    With ``backed``, X stays in the file until it is indexed; close it with ``adata.file.close()``.
    """
    _require_hdf5(path, "an .h5ad file written by AnnData")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*names are not unique")  # refused later, with a better message
            warnings.filterwarnings("ignore", message=".*without encoding metadata")  # old files are read all the same
            return ad.read_h5ad(path, backed="r" if backed else None)
    except UNREADABLE as error:
        reason = _first_line(error)
        raise ValueError(f"{path}: cannot be read as .h5ad, probably cut short or damaged ({reason})") from error


def _require_hdf5(path: Path, what: str) -> None:
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    if not h5py.is_hdf5(path):
        raise ValueError(f"{path}: not an HDF5 file; expected {what} (or it is damaged)")


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _read_loom(path: Path) -> ad.AnnData:
    """Read HDF5 with a matrix (genes, cells), ``row_attrs`` of genes and ``col_attrs`` of cells."""
    _require_hdf5(path, "a .loom file")
    with h5py.File(path) as file:
        if missing := {"matrix", "row_attrs", "col_attrs"} - set(file):
            raise ValueError(f"{path}: no loom file, {sorted(missing)} is missing; there are {sorted(file)}")
        genes, cells = (
            pd.DataFrame({k: _texts_of(v) for k, v in file[part].items() if v.ndim == 1})
            for part in ("row_attrs", "col_attrs")
        )
        shape = file["matrix"].shape
        if shape != (len(genes), len(cells)):
            raise ValueError(f"{path}: matrix is {shape}, expected (genes, cells) = {len(genes), len(cells)}")
        blocks = [sparse.csr_matrix(file["matrix"][:, i : i + 1000].T) for i in range(0, shape[1], 1000)]
    names = {"genes": (genes, ("Gene", "var_names", "Accession")), "cells": (cells, ("CellID", "obs_names"))}
    for what, (table, keys) in names.items():
        found = [key for key in keys if key in table]
        if not found:
            raise ValueError(f"{path}: no names of {what}, expected one of {keys}; there are {list(table)}")
        table.index = table[found[0]].astype(str).to_numpy()
    return ad.AnnData(sparse.vstack(blocks).tocsr().astype(np.float32), obs=cells, var=genes)


def _texts_of(values: h5py.Dataset) -> np.ndarray:
    return values.asstr()[:] if h5py.check_string_dtype(values.dtype) else values[:]


def _read_10x(path: Path) -> ad.AnnData:
    import scanpy as sc  # only these files need it

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*names are not unique")
        if path.is_dir():
            return sc.read_10x_mtx(path, make_unique=False)
        _require_hdf5(path, "a 10x .h5 file")
        return sc.read_10x_h5(path)


def _read_table(path: Path, labels: set[str], notes: list[str]) -> ad.AnnData:
    separator = SEPARATORS[suffix_of(path)]
    opened = gzip.open if path.name.lower().endswith(".gz") else open
    with opened(path, "rt", encoding="utf-8", newline="") as file:
        header = next(csv.reader(file, delimiter=separator), [])
    if len(header) < 2:
        raise ValueError(f"{path}: {len(header)} columns, expected a table with one row per cell and its genes")
    if twice := sorted({name for name in header if header.count(name) > 1}):  # pandas would rename them silently
        raise ValueError(f"{path}: duplicate columns, such as {twice[:3]}; expected each name once")
    table = pd.read_csv(path, sep=separator, index_col=False, low_memory=False)
    if not len(table):
        raise ValueError(f"{path}: 0 rows, expected a table with one row per cell")
    first = table.columns[0]
    named = first not in labels and (first.startswith("Unnamed") or not pd.api.types.is_numeric_dtype(table[first]))
    if named:
        table = table.set_index(first)
    table.index = table.index.astype(str) if named else [f"cell{i}" for i in range(len(table))]
    table.index.name = None
    numeric = {k: pd.api.types.is_numeric_dtype(v) and not pd.api.types.is_bool_dtype(v) for k, v in table.items()}
    genes = [name for name, number in numeric.items() if number and name not in labels]
    if not genes:
        raise ValueError(f"{path}: no column of numbers besides {[*table][:5]}, expected one per gene or PC")
    others = [name for name in table if name not in set(genes)]
    notes.append(f"Took {len(genes)} columns as genes, from {genes[0]!r} to {genes[-1]!r}, and {others} as labels.")
    return ad.AnnData(table[genes].to_numpy(np.float32), obs=table[others], var=pd.DataFrame(index=genes))


def _join(adata: ad.AnnData, path: Path, cells: Path) -> None:
    """Add the columns of a table of cells to ``obs``."""
    if suffix_of(cells) not in SEPARATORS:
        raise ValueError(f"{cells}: expected a table of cells that ends in {', '.join(SEPARATORS)}")
    try:
        table = pd.read_csv(cells, sep=SEPARATORS[suffix_of(cells)], index_col=0, low_memory=False)
    except UNREADABLE as error:
        raise ValueError(f"{cells}: cannot be read as a table ({_first_line(error)})") from error
    table.index = table.index.astype(str)
    if not table.index.is_unique:
        twice = table.index[table.index.duplicated()].unique()[:3].tolist()
        raise ValueError(f"{cells}: duplicate cell names, such as {twice}; expected each name once")
    missing = adata.obs_names.difference(table.index)
    if len(missing):
        hint = ""
        if adata.var_names.isin(table.index).mean() > 0.5:
            hint = f"; its columns are the cells there: transpose {path.name}, one row per cell is expected"
        raise ValueError(
            f"{path}: {len(missing)} of {adata.n_obs} cells are not in {cells.name}, such as {missing[0]!r} "
            f"(there: {table.index[:1].tolist()}){hint}"
        )
    for name in table:
        adata.obs[name] = table.loc[adata.obs_names, name].to_numpy()
