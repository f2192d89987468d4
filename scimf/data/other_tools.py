"""Files as other tools write them: ``.loom`` (velocyto) and 10x Genomics."""

import warnings
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd

from scimf.data.blocks import DataFile


def read_loom(path: Path) -> ad.AnnData:
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


def read_10x(path: Path) -> ad.AnnData:
    """Read a 10x ``.h5`` file, or a folder with ``matrix.mtx`` and the names beside it."""
    import scanpy as sc  # only these files need it

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*names are not unique")
        if path.is_dir():
            return sc.read_10x_mtx(path, make_unique=False)
        DataFile(path).require_hdf5("a 10x .h5 file")
        return sc.read_10x_h5(path)
