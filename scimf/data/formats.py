"""Any file of cells to an AnnData: of AnnData, loom, 10x Genomics, matrix-market or a table.

Nothing is ever unpickled. Whatever cannot be read ends in one ``ValueError`` that names the file.
"""

import re
from itertools import product
from pathlib import Path

import anndata as ad
import pandas as pd

from scimf.data.blocks import WORDS, DataFile
from scimf.data.other_tools import read_store
from scimf.data.tables import TableChoices, join_cells, read_table
from scimf.data.text_table import SUFFIXES

HDF5 = (".h5ad", ".loom", ".h5", ".h5mu", ".hdf5", ".h5seurat")
KNOWN = (".h5ad", ".zarr", ".loom", ".h5", ".mtx", *SUFFIXES)
GENE_KIND = "Gene Expression"  #: what 10x calls the rows that are genes
DEPTH = 5  #: how many folders below one another are looked through, such as ``outs/``


def read_cells(
    path: Path,
    *,
    choices: TableChoices | None = None,
    cells: Path | None = None,
    given: ad.AnnData | None = None,
) -> tuple[ad.AnnData, list[str]]:  # cells x genes, and what should be known about the reading
    """Read a file; what it holds says what it is, or, for text, its suffix.

    ``choices`` are what the user decided about tables, ``cells`` is a second one that is joined to
    ``obs``: 10x files hold no times. Cells in memory, or backed by a file, may be ``given`` to be
    copied; ``path`` is then what errors call them. A ``ValueError`` if a file is missing, damaged
    or something else, or if the names of the cells do not match.
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
        return _read_matrix(path, notes)
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


# ---------------------------------------------------------- a matrix, and files of names beside it


def _read_matrix(path: Path, notes: list[str]) -> ad.AnnData:
    """Read a matrix-market file, or the one in a folder, of Cell Ranger, STARsolo or GEO."""
    if path.is_dir():
        path = _matrix_in(path, notes)
    genes = DataFile(_beside(path, "genes")).names()
    cells = DataFile(_beside(path, "cells")).names()
    x = DataFile(path).market(len(genes), len(cells))
    names = genes[1] if 1 in genes else genes[0]
    genes = genes.rename(columns={0: "gene_ids", 2: "feature_types"})
    var = genes.filter(["gene_ids", "feature_types"]).set_index(names.to_numpy())
    with DataFile(path).reading():
        return ad.AnnData(x, obs=pd.DataFrame(index=cells[0].to_numpy()), var=var)


def _matrix_in(folder: Path, notes: list[str]) -> Path:
    """Return the one matrix in a folder, or in those below; a note says which of several."""
    found: list[Path] = []
    for depth in range(DEPTH):
        found = found or sorted(filter(_is_matrix, folder.glob("*/" * depth + "*")))
    there = [path.relative_to(folder).as_posix() for path in found]
    # STARsolo puts other ways of counting beside matrix.mtx.
    for wanted in (r".*filtered.*", r"(.*/)?matrix\.mtx(\.gz)?"):
        there = [name for name in there if re.fullmatch(wanted, name)] or there
    if not there:
        shown = sorted(path.name for path in folder.iterdir())[:5] or "nothing"
        expected = "expected a folder with a matrix.mtx, or the path of a file"
        raise ValueError(f"{folder}: {expected}; it holds {shown}")
    if len(there) > 1:
        shown = ", ".join(there[:4]) + (", ..." if len(there) > 4 else "")
        choose = f"name one, such as {folder / there[0]}, or move each to a folder of its own"
        raise ValueError(f"{folder}: holds {len(there)} matrices ({shown}); {choose}")
    if len(found) > 1 or "/" in there[0]:
        notes.append(f"Took {there[0]} in the folder {folder.name}.")
    return folder / there[0]


def _is_matrix(path: Path) -> bool:
    return path.name.lower().endswith((".mtx", ".mtx.gz"))


def _beside(matrix: Path, kind: str) -> Path:
    """Return the file of names with the longest prefix that the matrix shares, up to a separator.

    ``GSM1_s1_matrix.mtx`` goes with ``GSM1_s1_genes.tsv``, else with ``GSM1_genes.tsv``, else with
    ``genes.tsv``, never with ``GSM10_genes.tsv``.
    """
    names = WORDS["beside"][kind]
    cuts = [0, *(found.end() for found in re.finditer(r"[._-]", matrix.name))]
    for cut, name, packed in product(reversed(cuts), names, ("", ".gz")):
        file = matrix.with_name(matrix.name[:cut] + name + packed)
        if file.is_file():
            return file
    there = sorted(path.name for path in matrix.parent.iterdir() if path != matrix)[:5]
    expected = f"expected {names[0]} with their names, after a prefix if the matrix has one"
    raise ValueError(f"{matrix}: no file of {kind} beside it, {expected}; there are {there}")
