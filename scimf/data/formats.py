"""Any file of cells to an AnnData: of AnnData, loom, 10x Genomics, matrix-market or a table.

Nothing is ever unpickled. Whatever cannot be read ends in one ``ValueError`` that names the file.
"""

from pathlib import Path

import anndata as ad
import pandas as pd

from scimf.data.blocks import WORDS, DataFile
from scimf.data.matrix_folder import read_matrix
from scimf.data.other_tools import read_store
from scimf.data.tables import TableChoices, join_cells, read_table
from scimf.data.text_table import SUFFIXES

HDF5 = (".h5ad", ".loom", ".h5", ".h5mu", ".hdf5", ".h5seurat")
KNOWN = (".h5ad", ".zarr", ".loom", ".h5", ".mtx", *SUFFIXES)
GENE_KIND = "Gene Expression"  #: what 10x calls the rows that are genes


def read_cells(
    path: Path,
    *,
    choices: TableChoices | None = None,
    cells: Path | None = None,
    given: ad.AnnData | None = None,
) -> tuple[ad.AnnData, list[str]]:  # cells x genes, and what should be known about the reading
    """Read a file of cells.

    Parameters
    ----------
    path
        What it holds says what it is; for text, its suffix.
    choices
        What the user decided about a table.
    cells
        A second table, to be joined to ``obs``: 10x files hold no times.
    given
        Cells in memory, or backed by a file, to be copied; ``path`` is what errors call them.

    Raises
    ------
    ValueError
        If a file is missing, damaged or something else, or if the names of the cells do not match.
    """
    notes: list[str] = []
    choices = choices or TableChoices()
    for file in (path if given is None else None, cells):
        if file is not None and not file.exists():
            raise ValueError(f"{file}: no such file")
    adata = _read(path, choices, notes) if given is None else given.to_memory(copy=True)
    if given is not None and given.isbacked:
        given.file.open()  # reading closed it
    adata.var = _with_names(adata.var, "var", notes)
    if adata.raw is not None:
        adata.raw.var.index = _with_names(adata.raw.var, "raw.var", notes).index
    adata = _only_genes(adata, notes)
    if cells is not None:
        adata = join_cells(adata, path, cells, choices, notes)
    return adata, notes


def _read(path: Path, choices: TableChoices, notes: list[str]) -> ad.AnnData:
    name = path.name.lower().removesuffix(".gz")
    is_zarr = any((path / inside).exists() for inside in (".zgroup", "zarr.json"))
    if path.is_file() and not path.stat().st_size:
        raise ValueError(f"{path}: is empty (0 bytes)")
    DataFile(path).refuse("endings", lambda endings: name.endswith(tuple(endings.split())))
    if name.endswith(".mtx") or (path.is_dir() and not is_zarr):
        return read_matrix(path, notes)
    with DataFile(path).reading():
        if is_zarr or name.endswith(HDF5):
            return read_store(path, notes)
        if name.endswith(SUFFIXES):
            return read_table(path, choices, notes)
    expected = f"a file that ends in {', '.join(KNOWN)}, or a folder with a matrix.mtx"
    raise ValueError(f"{path}: expected {expected}")


def _with_names(var: pd.DataFrame, where: str, notes: list[str]) -> pd.DataFrame:
    """Take the names of genes from a column if the index only counts them."""
    if not len(var) or not var.index.equals(pd.RangeIndex(len(var)).astype(str)):
        return var
    for key in WORDS["names"]["genes"]:
        if key not in var:
            continue
        names = pd.Index(var[key].astype(str)).rename(None)
        if names.is_unique and names.str.fullmatch(r"[\d.]+").mean() < 0.5:
            notes.append(f"Names of genes are {where}[{key!r}]; the index only counts.")
            return var.set_index(names)
    return var


def _only_genes(adata: ad.AnnData, notes: list[str]) -> ad.AnnData:
    """Leave out rows that are no genes; number names that are there twice, if ids differ."""
    if "feature_types" in adata.var:
        kinds = adata.var["feature_types"].astype(str)
        are_genes = (kinds == GENE_KIND).to_numpy()
        others = kinds[~are_genes].value_counts()
        left = ", ".join(f"{n} rows of {kind!r}" for kind, n in others.items())
        if not are_genes.any():
            notes.append(f"Holds no {GENE_KIND!r}: took {left} as genes.")
        elif len(others):
            notes.append(f"Left out {left}; {are_genes.sum()} genes were kept.")
            adata = adata[:, are_genes].copy()
    if not adata.var_names.is_unique and {"gene_ids", "Accession"} & set(adata.var):
        twice = adata.var_names[adata.var_names.duplicated()].unique()
        adata.var_names_make_unique()
        example = f"such as {twice[0]!r}; the second got a number."
        notes.append(f"{len(twice)} gene names were there twice, {example}")
    return adata
