"""Any file of cells to an AnnData: of AnnData, loom, 10x Genomics, matrix-market or a table.

Nothing is ever unpickled. Whatever cannot be read ends in one ``ValueError`` that names the file.
What HDF5 holds says what it is, not its name. AnnData 0.8 and later say beside each element what it
is (its encoding); earlier versions, and programs in R, do so in part or not at all: names, factors
and sparse matrices are then recognised by what lies in them.
"""

import re
from collections.abc import Mapping
from html import unescape
from itertools import product
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
from scipy import sparse

from scimf.data.blocks import WORDS, DataFile
from scimf.data.tables import TableChoices, join_cells, read_table
from scimf.data.text_table import SUFFIXES

HDF5 = (".h5ad", ".loom", ".h5", ".h5mu", ".hdf5", ".h5seurat")
KNOWN = (".h5ad", ".zarr", ".loom", ".h5", ".mtx", *SUFFIXES)
IN_10X = {"data", "indices", "indptr", "shape", "barcodes"}  #: what a 10x matrix holds
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
            return _read_store(path, notes)
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


# --------------------------------------------------------------------- HDF5, as many tools write it


def _read_store(path: Path, notes: list[str]) -> ad.AnnData:
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
