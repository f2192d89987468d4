"""A matrix (``.mtx``) and the files of names beside it: of Cell Ranger, STARsolo or GEO."""

import re
from collections.abc import Sequence
from pathlib import Path

import anndata as ad
import pandas as pd

from scimf.data.blocks import DataFile

#: What files of names are called; a prefix that the matrix has, too, may stand before it.
GENES = ("features.tsv", "genes.tsv", "features.txt", "genes.txt")
CELLS = ("barcodes.tsv", "cells.tsv", "barcodes.txt", "cells.txt")
DEPTH = 5  #: how many folders below one another are looked through, such as ``outs/``


def read_matrix(path: Path, notes: list[str]) -> ad.AnnData:
    """Read a matrix-market file, or the one in a folder, with the names of cells and genes.

    Raises
    ------
    ValueError
        If there is none, or more than one that might be meant, or if the names do not fit.
    """
    if path.is_dir():
        path = _matrix_in(path, notes)
    genes = DataFile(_beside(path, GENES)).names()
    cells = DataFile(_beside(path, CELLS)).names()
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
        if not found:
            found = sorted(path for path in folder.glob("*/" * depth + "*") if _is_matrix(path))
    there = {path.relative_to(folder).as_posix(): path for path in found}
    # STARsolo puts other ways of counting beside matrix.mtx.
    for wanted in (r".*filtered.*", r"(.*/)?matrix\.mtx(\.gz)?"):
        chosen = {name: path for name, path in there.items() if re.fullmatch(wanted, name)}
        there = chosen or there
    names = list(there)
    if not names:
        shown = sorted(path.name for path in folder.iterdir())[:5] or "nothing"
        expected = "expected a folder with a matrix.mtx, or the path of a file"
        raise ValueError(f"{folder}: {expected}; it holds {shown}")
    if len(names) > 1:
        shown = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
        choose = f"name one, such as {folder / names[0]}, or move each to a folder of its own"
        raise ValueError(f"{folder}: holds {len(names)} matrices ({shown}); {choose}")
    if len(found) > 1 or "/" in names[0]:
        notes.append(f"Took {names[0]} in the folder {folder.name}.")
    return there[names[0]]


def _is_matrix(path: Path) -> bool:
    return path.name.lower().endswith((".mtx", ".mtx.gz"))


def _beside(matrix: Path, names: Sequence[str]) -> Path:
    """Return the file of names with the longest prefix that the matrix shares, up to a separator.

    ``GSM1_s1_matrix.mtx`` goes with ``GSM1_s1_genes.tsv``, else with ``GSM1_genes.tsv``, else with
    ``genes.tsv``, never with ``GSM10_genes.tsv``.
    """
    cuts = [0, *(found.end() for found in re.finditer(r"[._-]", matrix.name))]
    for cut in reversed(cuts):
        for name in names:
            for packed in (name, f"{name}.gz"):
                file = matrix.with_name(matrix.name[:cut] + packed)
                if file.is_file():
                    return file
    there = sorted(path.name for path in matrix.parent.iterdir() if path != matrix)[:5]
    kind = "genes" if names is GENES else "cells"
    expected = f"expected {names[0]} with their names, after the prefix of the matrix if it has one"
    raise ValueError(f"{matrix}: no file of {kind} beside it, {expected}; there are {there}")
