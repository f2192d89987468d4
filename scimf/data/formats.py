"""Any file of cells to an AnnData: of AnnData, loom, 10x Genomics, matrix-market or a table.

Nothing is ever unpickled. Whatever cannot be read ends in one ``ValueError`` that names the file.
"""

import re
import tomllib
from pathlib import Path

import anndata as ad
import pandas as pd

from scimf.data.blocks import DataFile
from scimf.data.join import join_cells
from scimf.data.matrix_folder import find_matrix, read_matrix
from scimf.data.other_tools import GENE_NAMES, read_store
from scimf.data.tables import AS_FOUND, TableChoices, read_table
from scimf.data.text_table import SUFFIXES

HDF5 = (".h5ad", ".loom", ".h5", ".h5mu", ".hdf5", ".h5seurat")
KNOWN = (".h5ad", ".zarr", ".loom", ".h5", ".h5mu", ".mtx", *SUFFIXES)


def read_cells(
    path: Path,
    *,
    choices: TableChoices = AS_FOUND,
    cells: Path | None = None,
    given: ad.AnnData | None = None,
) -> tuple[ad.AnnData, list[str]]:  # cells x genes, and what should be known about the reading
    """Read a file of cells.

    Parameters
    ----------
    path
        What it holds says what it is; for text, its suffix. A table has one row per cell; columns
        that hold text, or that ``choices`` or :data:`scimf.data.tables.LABELS` name, become
        ``obs``, others are genes.
    choices
        What the user decided about a table.
    cells
        A second table, its first column the names of the cells, to be joined to ``obs``: 10x files
        hold no times.
    given
        Cells that are in memory already (or backed by a file); they are copied, and ``path`` is
        only what errors call them.

    Raises
    ------
    ValueError
        If a file is missing, damaged or something else, or if the names of the cells do not match.
    """
    notes: list[str] = []
    for file in (path if given is None else None, cells):
        if file is not None and not file.exists():
            raise ValueError(f"{file}: no such file")
    adata = _read(path, choices, notes) if given is None else _copied(given)
    adata.var = _with_names(adata.var, "var", notes)
    if adata.raw is not None:
        adata.raw.var.index = _with_names(adata.raw.var, "raw.var", notes).index
    if cells is not None:
        adata = join_cells(adata, path, cells, choices, notes)
    return adata, notes


def _instead() -> list[dict]:
    """Files that are not read, and what to do with them."""
    with open(Path(__file__).with_name("instead.toml"), "rb") as file:
        return tomllib.load(file)["instead"]


def _copied(given: ad.AnnData) -> ad.AnnData:
    adata = given.to_memory(copy=True)
    if given.isbacked:
        given.file.open()  # reading closed it
    return adata


def _read(path: Path, choices: TableChoices, notes: list[str]) -> ad.AnnData:
    if path.is_dir() and not any((path / name).exists() for name in (".zgroup", "zarr.json")):
        path = find_matrix(path, notes)
    elif path.is_file() and not path.stat().st_size:
        raise ValueError(f"{path}: is empty (0 bytes)")
    name = path.name.lower().removesuffix(".gz")
    if name.endswith(".mtx"):
        return read_matrix(path, notes)
    is_table = re.sub(r"\.(bz2|xz|zip)$", "", name).endswith(tuple(SUFFIXES))
    for entry in _instead():
        if name.endswith(tuple(entry["endings"])) and not is_table:
            raise ValueError(f"{path}: {entry['says']}")
    with DataFile(path).reading():
        if path.is_dir() or name.endswith(HDF5):
            return read_store(path, notes)
        if is_table:
            return read_table(path, choices, notes)
    expected = f"a file that ends in {', '.join(KNOWN)}, or a folder with a matrix.mtx"
    raise ValueError(f"{path}: expected {expected}")


def _with_names(var: pd.DataFrame, where: str, notes: list[str]) -> pd.DataFrame:
    """Take the names of genes from a column if the index only counts them."""
    if not len(var) or not var.index.equals(pd.RangeIndex(len(var)).astype(str)):
        return var
    for key in GENE_NAMES:
        if key not in var:
            continue
        names = pd.Index(var[key].astype(str)).rename(None)
        if names.is_unique and names.str.fullmatch(r"[\d.]+").mean() < 0.5:
            notes.append(f"Names of genes are {where}[{key!r}]; the index only counts.")
            return var.set_index(names)
    return var
