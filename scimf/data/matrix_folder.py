"""A matrix (``.mtx``) and the files of names beside it: Cell Ranger, STARsolo, GEO, kb-python."""

import re
from pathlib import Path

import anndata as ad
import pandas as pd
from scipy import sparse
from scipy.io import mmread

from scimf.data.blocks import DataFile

#: What files of names are called, the best one first; a prefix may stand before it.
GENE_FILES = ("features", "genes.names", "genes", "gene_names")
CELL_FILES = ("barcodes", "cells", "cell_names")
#: What is looked for in folders below, such as ``outs/`` or ``Solo.out/``.
BELOW = r"((.*[._-])?matrix|cells_x_genes)\.mtx(\.gz)?|.*(feature_bc_matrix|bc_matrices_h5)\.h5"
GENE_KIND = "Gene Expression"  #: what 10x calls the rows that are genes
DEPTH = 5  #: how many folders below one another


def _is_matrix(path: Path) -> bool:
    return path.name.lower().endswith((".mtx", ".mtx.gz"))


def find_matrix(folder: Path, notes: list[str]) -> Path:
    """Return the one matrix in a folder, or in folders below; a note says which.

    Raises
    ------
    ValueError
        If there is none, or more than one that might be meant.
    """
    here = sorted(path for path in folder.iterdir() if _is_matrix(path))
    plain = [path for path in here if path.name.lower() in ("matrix.mtx", "matrix.mtx.gz")]
    if len(here) > 1 and len(plain) == 1:  # STARsolo puts other ways of counting beside it
        notes.append(f"Took {plain[0].name} of {[path.name for path in here]}.")
        return plain[0]
    found = here or _below(folder)
    if not found:
        there = sorted(path.name for path in folder.iterdir())[:5]
        expected = "expected a folder with a matrix.mtx, or the path of a file"
        raise ValueError(f"{folder}: {expected}; it holds {there or 'nothing'}")
    names = [path.relative_to(folder).as_posix() for path in found]
    if len(found) > 1:
        shown = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
        choose = f"name one, such as {folder / names[0]}, or move each to a folder of its own"
        raise ValueError(f"{folder}: holds {len(found)} matrices ({shown}); {choose}")
    if not here:
        notes.append(f"Took {names[0]} in the folder {folder.name}.")
    return found[0]


def _below(folder: Path) -> list[Path]:
    """Matrices in folders below: filtered ones if there are any, and each only once."""
    found = set()
    for depth in range(DEPTH):
        files = folder.glob("*/" * depth + "*")
        found |= {path for path in files if re.fullmatch(BELOW, path.name)}
    filtered = {path for path in found if "filtered" in path.relative_to(folder).as_posix()}
    found = filtered or found
    for file in [path for path in found if path.suffix == ".h5"]:
        # The same cells lie in a folder beside it.
        twin = file.with_name(file.stem.removesuffix("_h5"))
        found = {path for path in found if twin not in path.parents}
    return sorted(found)


def read_matrix(path: Path, notes: list[str]) -> ad.AnnData:
    """Read a matrix-market file, and the names of cells and genes from the files beside it."""
    genes_file = _beside(path, GENE_FILES, "genes")
    cells_file = _beside(path, CELL_FILES, "cells")
    with DataFile(path).reading():
        matrix = sparse.coo_matrix(mmread(path))
    genes, cells = _lines_of(genes_file, notes), _lines_of(cells_file, notes)
    if _cells_are_rows(path, matrix.shape, len(genes), len(cells)):
        notes.append(f"{path.name} was read as (cells, genes), as many as there are names.")
    else:
        matrix = matrix.T
    cells = _without_header(cells, matrix.shape[0], cells_file, notes)
    genes = _without_header(genes, matrix.shape[1], genes_file, notes)
    ids = genes[0].to_numpy()
    symbols = genes[1] if 1 in genes else genes[0]
    var = pd.DataFrame({"gene_ids": ids}, index=symbols.where(symbols != "", genes[0]).to_numpy())
    if 2 in genes and genes[2].eq(GENE_KIND).any():
        var["feature_types"] = genes[2].to_numpy()
    obs = pd.DataFrame(index=cells[0].to_numpy())
    with DataFile(path).reading():
        adata = ad.AnnData(sparse.csr_matrix(matrix), obs=obs, var=var)
        return tidy_genes(adata, path, notes)


def tidy_genes(adata: ad.AnnData, path: Path, notes: list[str]) -> ad.AnnData:
    """Leave out rows that are no genes, and number names that are there twice; both are noted."""
    if "feature_types" in adata.var:
        kinds = adata.var["feature_types"].astype(str)
        others = kinds[kinds != GENE_KIND].value_counts()
        if others.sum() == adata.n_vars:
            raise ValueError(f"{path}: holds no {GENE_KIND!r}, only {others.to_dict()}")
        if len(others):
            left = ", ".join(f"{n} rows of {kind!r}" for kind, n in others.items())
            notes.append(f"Left out {left}; {adata.n_vars - others.sum()} genes were kept.")
            adata = adata[:, (kinds == GENE_KIND).to_numpy()].copy()
    if not adata.var_names.is_unique:
        twice = adata.var_names[adata.var_names.duplicated()].unique()
        adata.var_names_make_unique()
        example = f"such as {twice[0]!r}; the second got a number."
        notes.append(f"{len(twice)} gene names were there twice, {example}")
    return adata


def _beside(matrix: Path, words: tuple[str, ...], what: str) -> Path:
    """Return the file of names with the longest prefix that the matrix shares, up to a separator.

    ``GSM1_s1_matrix.mtx`` goes with ``GSM1_s1_genes.tsv``, else with ``GSM1_genes.tsv``, else with
    ``genes.tsv``, never with ``GSM10_genes.tsv``.
    """
    pattern = rf"(.*[._-])?({'|'.join(map(re.escape, words))})\.(tsv|txt|csv)(\.gz)?"
    found = {}
    for file in matrix.parent.iterdir():
        match = re.fullmatch(pattern, file.name, re.IGNORECASE)
        if match:
            packed_alike = (match[4] is None) == (matrix.suffix.lower() != ".gz")
            rank = (words.index(match[2].lower()), not packed_alike)
            found.setdefault(match[1] or "", []).append((rank, file))
    stem = re.sub(r"\.mtx(\.gz)?$", "", matrix.name, flags=re.IGNORECASE)
    prefixes = [stem + end for end in "._-"]
    prefixes += [stem[: match.end()] for match in re.finditer(r"[._-]", stem)][::-1]
    for prefix in (*prefixes, ""):
        if prefix in found:
            return min(found[prefix])[1]
    alone = sum(_is_matrix(path) for path in matrix.parent.iterdir()) == 1
    if alone and len(found) == 1:
        return min(*found.values())[1]
    there = sorted(path.name for path in matrix.parent.iterdir() if path != matrix)[:5]
    expected = f"expected {prefixes[-1] if '_' in stem else ''}{words[0]}.tsv with their names"
    raise ValueError(f"{matrix}: no file of {what} beside it, {expected}; there are {there}")


def _lines_of(path: Path, notes: list[str]) -> pd.DataFrame:
    """Columns 0, 1, ... of a file of names, as text; its lines may have any length."""
    options = {
        "sep": "," if ".csv" in path.name.lower() else "\t",
        "names": range(8),
        "index_col": False,
        "dtype": str,
        "keep_default_na": False,
        "quoting": 3,  # a quote may be part of a name
    }
    with DataFile(path).reading():
        try:
            table = pd.read_csv(path, encoding="utf-8-sig", **options)
        except UnicodeDecodeError:
            table = pd.read_csv(path, encoding="latin-1", **options)
            notes.append(f"{path.name} is not UTF-8 and was read as Latin-1.")
    table = table.fillna("").apply(lambda column: column.str.strip('"'))
    table = table.loc[:, (table != "").any()]
    for first in (0, 1):  # R numbers the lines, those below a header
        counted = [str(k + 1) for k in range(len(table) - first)]
        if 1 in table and table[0].iloc[first:].tolist() == counted:
            return table.drop(columns=0).rename(columns=lambda k: k - 1)
    return table


def _cells_are_rows(path: Path, shape: tuple[int, int], n_genes: int, n_cells: int) -> bool:
    """Decide by the lengths, where a header may add one; for a square matrix, by its name."""
    fits = []
    for genes, cells in (shape, shape[::-1]):
        fits.append(n_genes - genes in (0, 1) and n_cells - cells in (0, 1))
    if not any(fits):
        found = f"its matrix is {shape}, but there are {n_genes} names of genes and {n_cells} of"
        raise ValueError(f"{path}: {found} cells; the files beside it belong to another matrix")
    if all(fits):
        name = path.name.lower()
        if "cells_x_genes" in name:
            return True
        if "matrix.mtx" in name:
            return False
        expected = "call it matrix.mtx (genes, cells) or cells_x_genes.mtx"
        raise ValueError(
            f"{path}: is square, so its genes cannot be told from its cells; {expected}"
        )
    return fits[1]


def _without_header(table: pd.DataFrame, n: int, path: Path, notes: list[str]) -> pd.DataFrame:
    if len(table) == n:
        return table
    notes.append(f"The first line of {path.name} was taken as its header.")
    return table.iloc[1:]
