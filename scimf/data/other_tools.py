"""HDF5 and zarr as many tools write them; what a file holds says what it is, not its name.

AnnData 0.8 and later say beside each element what it is (its encoding). Earlier versions, and
programs in R, do so in part or not at all: names, factors and sparse matrices are then recognised
by what lies in them.
"""

from collections.abc import Mapping
from html import unescape
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
from scipy import sparse

from scimf.data.blocks import WORDS, DataFile

IN_10X = {"data", "indices", "indptr", "shape", "barcodes"}  #: what a 10x matrix holds


def read_store(path: Path, notes: list[str]) -> ad.AnnData:
    """Read HDF5 (``.h5ad``, ``.loom``, 10x ``.h5``) or a zarr folder of AnnData."""
    if path.is_dir():
        return ad.io.read_zarr(path)
    DataFile(path).require_hdf5()
    with h5py.File(path) as file:
        DataFile(path).refuse("keys", file.__contains__)
        if {"obs", "var"} <= set(file):
            kind, read = ".h5ad", _read_h5ad
        elif path.suffix.lower() == ".loom" or "row_attrs" in file:
            kind, read = ".loom", _read_loom
        elif _matrices_10x(file):
            kind, read = ".h5", _read_10x
        else:
            expected = "obs and var (.h5ad), row_attrs and col_attrs (.loom) or a 10x matrix"
            raise ValueError(f"{path}: expected {expected}; there are {list(file)[:6]}")
        if not path.name.lower().endswith(kind):
            notes.append(f"{path.name} was read as the {kind} file that it is.")
        return read(file, path, notes)


def _texts(values: np.ndarray) -> np.ndarray:
    """Decode bytes; numbers stay as they are."""
    if values.dtype.kind not in "SO":
        return values
    texts = pd.Series(np.char.decode(values.astype("S"), "utf-8"), dtype=object)
    # Letters beyond ASCII are references in files of loompy 2.
    return texts.str.replace(r"&#\d+;", lambda found: unescape(found[0]), regex=True).to_numpy()


def _table(columns: dict, names: list[str], where: str) -> pd.DataFrame:
    """Make a table; its index is the first of some columns that is there."""
    key = next((name for name in names if name in columns), None)
    if key is None:
        found = f"says nowhere what its rows are called, expected one of {names}"
        raise ValueError(f"{where} {found}; there are {list(columns)}")
    index = pd.Index(np.asarray(columns.pop(key))).astype(str)
    return pd.DataFrame(columns, index=index)


def _read_h5ad(file: h5py.File, path: Path, notes: list[str]) -> ad.AnnData:
    """Read obs, var, X and raw, and of the rest what can be read."""
    obs = _frame(file, "obs", "cells", path)
    var = _frame(file, "var", "genes", path)
    x = _matrix(file["X"], (len(obs), len(var)), f"{path}: X") if "X" in file else None
    adata = ad.AnnData(x, obs=obs, var=var)
    for kind in ("layers", "obsm", "varm", "obsp", "varp", "uns"):
        for name, element in _parts_of(file.get(kind, {})).items():
            where = f"{kind}[{name!r}]"
            try:
                if kind == "layers":
                    element = _matrix(element, adata.shape, f"{path}: {where}")
                elif not isinstance(element, np.ndarray):
                    element = ad.io.read_elem(element)
                getattr(adata, kind)[name] = element
            except OSError:  # the file is damaged
                raise
            except Exception as error:  # noqa: BLE001 AnnData's own errors have no public name
                reason = next(iter(str(error).splitlines()), type(error).__name__)
                notes.append(f"{where} cannot be read and was left out ({reason}).")
    for old in ("raw/", "raw."):  # the second before AnnData 0.7
        if old + "var" in file:
            genes = _frame(file, old + "var", "genes", path)
            x = _matrix(file[old + "X"], (len(obs), len(genes)), f"{path}: raw.X")
            adata.raw = ad.AnnData(x, obs=obs[[]], var=genes)
    return adata


def _parts_of(group) -> Mapping:
    if hasattr(group, "keys"):
        return group
    table = group[()]  # before AnnData 0.7: one dataset with a field for each
    return {name: table[name] for name in table.dtype.names or ()}


def _frame(file: h5py.File, key: str, kind: str, path: Path) -> pd.DataFrame:
    """Read a table of "cells" or "genes"."""
    element = file[key]
    if {"encoding-type", "column-order"} <= set(element.attrs) and "__categories" not in element:
        return ad.io.read_elem(element)
    parts = dict(_parts_of(element))
    words = parts.pop("__categories", {})  # of AnnData 0.7 and SeuratDisk
    columns = {}
    for name, part in parts.items():
        categories = words.get(name, file.get(f"uns/{name}_categories"))  # the second in 0.6
        if hasattr(part, "keys"):
            part, categories = part["codes"], part["categories"]
        columns[name] = _texts(part[()])
        if categories is not None and columns[name].dtype.kind in "iu":
            categories = _texts(np.atleast_1d(categories[()]))
            columns[name] = pd.Categorical.from_codes(columns[name], categories)
    declared = _texts(np.ravel(element.attrs.get("_index", ())))
    return _table(columns, [*declared, *WORDS["names"][kind]], f"{path}: {key}")


def _matrix(element, shape: tuple[int, int], where: str):
    """Read a matrix (cells, genes), dense or sparse."""
    x = ad.io.read_elem(element)
    if isinstance(x, Mapping):  # sparse, though nothing says so
        n = len(x["indptr"]) - 1
        if n not in shape or shape[0] == shape[1]:
            found = f"does not say whether its rows or its columns are compressed, {shape}"
            raise ValueError(f"{where} {found}; write it with a newer anndata")
        make = sparse.csr_matrix if n == shape[0] else sparse.csc_matrix
        x = make((x["data"], x["indices"], x["indptr"]), shape=shape).tocsr()
    return x


def _read_loom(file: h5py.File, path: Path, notes: list[str]) -> ad.AnnData:
    """Read a matrix (genes, cells), ``row_attrs`` of genes and ``col_attrs`` of cells."""
    missing = {"matrix", "row_attrs", "col_attrs"} - set(file)
    if missing:
        found = f"{sorted(missing)} is missing; there are {sorted(file)}"
        raise ValueError(f"{path}: no loom file, {found}")
    genes, of_genes = _attributes_of(file["row_attrs"], "genes", f"{path}: row_attrs")
    cells, of_cells = _attributes_of(file["col_attrs"], "cells", f"{path}: col_attrs")
    read = DataFile(path).rows
    x = read(file["matrix"]).T.tocsr()
    layers = {name: read(layer).T.tocsr() for name, layer in file.get("layers", {}).items()}
    if layers:
        notes.append(f"X is the loom's main matrix; its layers {list(layers)} were kept.")
    return ad.AnnData(x, obs=cells, var=genes, obsm=of_cells, varm=of_genes, layers=layers)


def _attributes_of(group: h5py.Group, kind: str, where: str) -> tuple[pd.DataFrame, dict]:
    """Read a table, and matrices such as an embedding."""
    columns, matrices = {}, {}
    for name, values in group.items():
        if values.ndim == 2:
            matrices[name] = values[:]
        else:
            columns[name] = _texts(values[:])
    return _table(columns, WORDS["names"][kind], where), matrices


def _matrices_10x(file: h5py.File) -> list[str]:
    return [name for name, group in file.items() if hasattr(group, "keys") and IN_10X <= set(group)]


def _read_10x(file: h5py.File, path: Path, notes: list[str]) -> ad.AnnData:
    """Read what Cell Ranger 2 (a group for each genome), 3 and later, or CellBender wrote."""
    groups = _matrices_10x(file)
    if len(groups) > 1:
        hint = "write one of them with scanpy.read_10x_h5(file, genome=...).write_h5ad('one.h5ad')"
        raise ValueError(f"{path}: holds the genomes {groups}, expected one; {hint}")
    group = file[groups[0]]
    features = group.get("features", group)
    columns = {}
    for key, name in WORDS["features"].items():
        if key in features:
            columns[name] = _texts(features[key][:])
    var = _table(columns, WORDS["names"]["genes"], f"{path}: {groups[0]}")
    obs = pd.DataFrame(index=_texts(group["barcodes"][:]))
    parts = tuple(group[key][:] for key in ("data", "indices", "indptr"))
    x = sparse.csr_matrix(parts, shape=tuple(group["shape"][:][::-1]))
    return ad.AnnData(x, obs=obs, var=var)
