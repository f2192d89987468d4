"""Any file of cells to an AnnData: ``.h5ad``, ``.loom``, 10x Genomics, ``.csv`` and ``.tsv``.

Nothing is ever unpickled. Whatever cannot be read ends in one ``ValueError`` that names the file.
"""

from pathlib import Path

import anndata as ad

from scimf.data.blocks import DataFile
from scimf.data.other_tools import read_10x, read_loom
from scimf.data.tables import AS_FOUND, SEPARATORS, TableChoices, join_cells, read_table

KNOWN = (".h5ad", ".loom", ".h5", *SEPARATORS)


def read_cells(
    path: Path, *, choices: TableChoices = AS_FOUND, cells: Path | None = None
) -> tuple[ad.AnnData, list[str]]:  # cells x genes, and what should be known about the reading
    """Read a file of cells.

    Parameters
    ----------
    path
        Its suffix says what it is. A table has one row per cell; columns that hold text, or that
        ``choices`` or :data:`scimf.data.tables.LABELS` name, become ``obs``, others are genes.
    choices
        What the user decided about a table.
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
        adata = _read(path, kind, choices, notes)
    if kind in (".h5", "10x") and not adata.var_names.is_unique:  # the rule there
        twice = adata.var_names[adata.var_names.duplicated()].unique()
        adata.var_names_make_unique()
        example = f"such as {twice[0]!r}; the second got a number."
        notes.append(f"{len(twice)} gene names were there twice, {example}")
    if cells is not None:
        join_cells(adata, path, cells)
    return adata, notes


def _kind_of(path: Path) -> str:
    """Suffix in lower case, without ``.gz``; ``"10x"`` for a folder that holds a ``matrix.mtx``."""
    if path.is_dir():
        return "10x" if any(path.glob("*matrix.mtx*")) else ""
    return Path(path.name.lower().removesuffix(".gz")).suffix


def _read(path: Path, kind: str, choices: TableChoices, notes: list[str]) -> ad.AnnData:
    if kind == ".h5ad":
        return DataFile(path).read_h5ad()
    if kind == ".loom":
        return read_loom(path)
    if kind in (".h5", "10x"):
        return read_10x(path)
    return read_table(path, choices, notes)
