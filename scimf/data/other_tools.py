"""HDF5 and zarr as many tools write them; what a file holds says what it is, not its name.

AnnData 0.8 and later say beside each element what it is (its encoding). Earlier versions, and
programs in R, do so in part or not at all: names, factors and sparse matrices are then recognised
by what lies in them.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
from scipy import sparse

from scimf.data.blocks import DataFile
from scimf.data.matrix_folder import tidy_genes

SPARSE = {"data", "indices", "indptr"}  #: what a group that is a sparse matrix holds
IN_10X = SPARSE | {"shape", "barcodes"}  #: and one that is a 10x matrix
#: Columns with names, where a file does not say which those are; the best one first.
CELL_NAMES = ("_index", "index", "rownames", "barcode", "barcodes", "cell_id", "CellID")
GENE_NAMES = ("_index", "index", "rownames", "features", "gene_symbols", "gene_symbol")
GENE_NAMES += ("gene_name", "gene_names", "symbol", "feature_name", "gene_ids")
CELLS_OF_LOOM = ("CellID", "obs_names", "cell_names", "barcodes")
GENES_OF_LOOM = ("Gene", "var_names", "gene_names", "Accession")
#: What stands at the top of HDF5 files that hold something else, and what to take instead.
NO_CELLS = {
    "barcode_idx": "holds single molecules (10x molecule_info), not a matrix of cells and genes; "
    "take filtered_feature_bc_matrix.h5 from the same folder",
    "meta.data": "is an .h5seurat file; in R, SeuratDisk::Convert(file, dest = 'h5ad') writes "
    "an .h5ad file",
}


def read_store(path: Path, notes: list[str]) -> ad.AnnData:
    """Read HDF5 (``.h5ad``, ``.h5mu``, ``.loom``, 10x ``.h5``) or a zarr folder of AnnData."""
    if path.is_dir():
        return ad.io.read_zarr(path)
    DataFile(path).require_hdf5("an .h5ad, .loom or 10x .h5 file")
    with h5py.File(path) as file:
        kind, read = _reader_of(file, path)
        if not path.name.lower().endswith(kind):
            notes.append(f"{path.name} was read as the {kind} file that it is.")
        return read(file, path, notes)


def _reader_of(file: h5py.File, path: Path) -> tuple[str, Callable]:
    for key, instead in NO_CELLS.items():
        if key in file:
            raise ValueError(f"{path}: {instead}")
    if "mod" in file:
        return ".h5mu", _read_modality
    if {"obs", "var"} <= set(file):
        return ".h5ad", _read_h5ad
    if path.suffix.lower() == ".loom" or "row_attrs" in file:
        return ".loom", _read_loom
    if _matrices_10x(file):
        return ".h5", _read_10x
    expected = "expected obs and var (.h5ad), row_attrs and col_attrs (.loom) or a 10x matrix"
    raise ValueError(f"{path}: no file of cells and genes, {expected}; there are {list(file)[:6]}")


def _word(value) -> str | None:
    """Return an attribute as text; some programs write it as bytes, or as an array of one."""
    value = np.ravel(value)[0] if np.size(value) else None
    return value.decode() if isinstance(value, bytes) else value


def _texts(values: np.ndarray) -> np.ndarray:
    """Decode bytes, UTF-8 or else Latin-1; numbers stay as they are."""
    if values.dtype.kind not in "SO":
        return values
    decoded = []
    for value in values.tolist():
        if isinstance(value, bytes):
            try:
                value = value.decode()
            except UnicodeDecodeError:
                value = value.decode("latin-1")
        decoded.append(value)
    return np.array(decoded, dtype=object)


# ----------------------------------------------------------------------- AnnData in its dialects


def _read_h5ad(file: h5py.File, path: Path, notes: list[str]) -> ad.AnnData:
    return _Annotated(path, notes).read(file)


def _read_modality(file: h5py.File, path: Path, notes: list[str]) -> ad.AnnData:
    """Read the modality ``rna``, or the only one there is, with the labels that all share."""
    names = list(file["mod"])
    chosen = names[0] if len(names) == 1 else "rna"
    if chosen not in names:
        hint = "write one with mudata.read(file).mod[name].write_h5ad('one.h5ad')"
        raise ValueError(f"{path}: holds the modalities {names}, expected one called 'rna'; {hint}")
    notes.append(f"Took the modality {chosen!r} of {names}.")
    reader = _Annotated(path, notes)
    adata = reader.read(file["mod"][chosen])
    shared = reader.frame(file["obs"], "obs", CELL_NAMES).reindex(adata.obs_names)
    for name in shared.columns.difference(adata.obs.columns):
        if name.partition(":")[0] not in names:  # else it is a copy of a modality's own
            adata.obs[name] = shared[name]
    return adata


class _Annotated:
    """Reads the elements of one file of AnnData; what it leaves out is added to ``notes``."""

    def __init__(self, path: Path, notes: list[str]):
        self.path = path
        self.notes = notes

    @contextmanager
    def _leaving_out(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError:  # the file is damaged
            raise
        except Exception as error:  # noqa: BLE001 AnnData's own errors have no public name
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            self.notes.append(f"{what} cannot be read and was left out ({reason}).")

    def read(self, root) -> ad.AnnData:
        """Read obs, var and X, and of the rest what can be read."""
        missing = sorted({"obs", "var"} - set(root))
        if missing:
            raise ValueError(f"{self.path}: {missing} are missing, there are {sorted(root)}")
        obs = self.frame(root["obs"], "obs", CELL_NAMES)
        var = self.frame(root["var"], "var", GENE_NAMES)
        shape = (len(obs), len(var))
        uns = self._elements(root, "uns", shape)
        for table in (obs, var):
            _restore_words(table, uns)
        x = self._matrix(root["X"], shape, "X") if "X" in root else None
        adata = ad.AnnData(x, obs=obs, var=var, uns=uns)
        for kind in ("layers", "obsm", "varm", "obsp", "varp"):
            for name, value in self._elements(root, kind, shape).items():
                with self._leaving_out(f"{kind}[{name!r}]"):
                    getattr(adata, kind)[name] = value
        raw = root.get("raw")
        raw = raw if hasattr(raw, "keys") else {}  # it may hold the word "null"
        raw_x = raw["X"] if "X" in raw else root.get("raw.X")  # the second before AnnData 0.7
        if raw_x is not None:
            with self._leaving_out("raw"):
                genes = raw["var"] if "var" in raw else root["raw.var"]
                genes = self.frame(genes, "raw.var", GENE_NAMES)
                x = self._matrix(raw_x, (len(obs), len(genes)), "raw.X")
                adata.raw = ad.AnnData(x, obs=obs[[]], var=genes)
        return adata

    def frame(self, element, where: str, candidates: tuple[str, ...]) -> pd.DataFrame:
        """Read a table of cells or genes, its index the names."""
        columns: dict[str, object] = {}
        if hasattr(element, "keys"):
            declared = _word(element.attrs.get("_index", ()))
            order = [str(name) for name in element.attrs.get("column-order", ())]
            for name in dict.fromkeys([*order, *element]):
                if name in element and name != "__categories":
                    with self._leaving_out(f"{where}[{name!r}]"):
                        columns[name] = _column(element, name)
        else:  # before AnnData 0.7: one dataset, the names first
            declared = element.dtype.names[0]
            table = element[()]
            columns = {name: _texts(table[name]) for name in table.dtype.names}
        if declared not in columns:
            declared = next((name for name in candidates if name in columns), None)
        if declared is None:
            raise ValueError(
                f"{self.path}: {where} says nowhere what its rows are called, expected a column "
                f"{candidates[0]!r} or {candidates[1]!r}; there are {list(columns)}"
            )
        names = pd.Index(np.asarray(columns.pop(declared))).astype(str)
        return pd.DataFrame(columns, index=names)

    def _elements(self, root, kind: str, shape: tuple[int, int]) -> dict:
        if kind not in root:
            return {}
        group, found = root[kind], {}
        if not hasattr(group, "keys"):  # before AnnData 0.7: one dataset with a field for each
            table = group[()]
            return {name: table[name] for name in table.dtype.names or ()}
        for name in group:
            where = f"{kind}[{name!r}]"
            with self._leaving_out(where):
                if kind == "layers":
                    found[name] = self._matrix(group[name], shape, where)
                else:
                    found[name] = ad.io.read_elem(group[name])
        return found

    def _matrix(self, element, shape: tuple[int, int], where: str):
        """Read a matrix (cells, genes), dense or sparse."""
        if hasattr(element, "keys") and "encoding-type" not in element.attrs:
            return self._sparse(element, shape, where)
        x = ad.io.read_elem(element)
        if x is not None and x.shape == shape[::-1] != shape:
            self.notes.append(f"{where} is (genes, cells) in the file and was transposed.")
            x = x.T
        return x

    def _sparse(self, group, shape: tuple[int, int], where: str) -> sparse.csr_matrix:
        data, indices, indptr = (group[key][()] for key in ("data", "indices", "indptr"))
        layout = _word(group.attrs.get("h5sparse_format", ()))
        if layout is None and shape[0] == shape[1]:
            found = "is square and does not say whether its rows or its columns are compressed"
            raise ValueError(f"{self.path}: {where} {found}; write it with a newer anndata")
        is_csc = layout == "csc" if layout else len(indptr) == shape[1] + 1
        make = sparse.csc_matrix if is_csc else sparse.csr_matrix
        return sparse.csr_matrix(make((data, indices, indptr), shape=shape))


def _column(table, name: str):
    """Read a column; a factor that says nothing of its encoding becomes its words."""
    element = table[name]
    if "__categories" in table and name in table["__categories"]:
        words = table["__categories"][name]
        return _factor(element[()], words[()], ordered=bool(words.attrs.get("ordered", False)))
    if "encoding-type" in element.attrs:
        return ad.io.read_elem(element)
    if not hasattr(element, "keys"):
        return _texts(element[()])
    if {"codes", "categories"} <= set(element):
        return _factor(element["codes"][()], element["categories"][()])
    codes = element["values"][()]
    return _factor(codes - 1, element["levels"][()])  # a factor of R counts from 1


def _factor(codes: np.ndarray, words: np.ndarray, *, ordered: bool = False) -> pd.Categorical:
    words = _texts(np.asarray(words))
    if codes.max(initial=-1) >= len(words):
        raise ValueError(f"code {codes.max()} of {len(words)} words")
    values = words.astype(object)[codes]
    values[codes < 0] = None
    return pd.Categorical(values, categories=pd.unique(words), ordered=ordered)


def _restore_words(table: pd.DataFrame, uns: dict) -> None:
    """Turn codes into the words that AnnData before 0.7 kept in ``uns``."""
    for name in table:
        words = uns.get(f"{name}_categories")
        if words is not None and pd.api.types.is_integer_dtype(table[name]):
            table[name] = _factor(table[name].to_numpy(), np.atleast_1d(words))
            del uns[f"{name}_categories"]


# ------------------------------------------------------------------------------------------ loom


def _read_loom(file: h5py.File, path: Path, notes: list[str]) -> ad.AnnData:
    """Read a matrix (genes, cells), ``row_attrs`` of genes and ``col_attrs`` of cells."""
    missing = {"matrix", "row_attrs", "col_attrs"} - set(file)
    if missing:
        found = f"{sorted(missing)} is missing; there are {sorted(file)}"
        raise ValueError(f"{path}: no loom file, {found}")
    genes, of_genes = _attributes_of(file["row_attrs"])
    cells, of_cells = _attributes_of(file["col_attrs"])
    expected = (len(genes), len(cells))
    if file["matrix"].shape != expected:
        where = f"{path}: matrix is {file['matrix'].shape}"
        raise ValueError(f"{where}, expected (genes, cells) = {expected}")
    genes.index = _names_in(genes, GENES_OF_LOOM, f"{path}: no names of genes")
    cells.index = _names_in(cells, CELLS_OF_LOOM, f"{path}: no names of cells")
    twice = genes.index.duplicated(keep=False)
    if twice.any() and "Accession" in genes:
        names = genes.index.to_series()
        names[twice] += "_" + genes["Accession"].astype(str)[twice]
        example = f"such as {names[twice].iloc[0]!r}"
        notes.append(f"{twice.sum()} genes share a name and got their accession, {example}.")
        genes.index = names
    layers = {}
    for name, layer in file.get("layers", {}).items():
        if layer.shape == expected:
            layers[name] = DataFile(path).rows(layer).T.tocsr()
    if layers:
        notes.append(f"X is the loom's main matrix; its layers {list(layers)} were kept.")
    x = DataFile(path).rows(file["matrix"]).T.tocsr()
    adata = ad.AnnData(x, obs=cells, var=genes, obsm=of_cells, varm=of_genes, layers=layers)
    return tidy_genes(adata, path, notes)


def _attributes_of(group: h5py.Group) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """Columns, and matrices such as an embedding."""
    columns, matrices = {}, {}
    for name, values in group.items():
        if values.ndim == 1:
            columns[name] = _texts(values[:])
        elif values.ndim == 2 and values.dtype.kind in "iuf":
            matrices[name] = values[:]
    return pd.DataFrame(columns), matrices


def _names_in(table: pd.DataFrame, keys: tuple[str, ...], problem: str) -> pd.Index:
    for key in keys:
        if key in table:
            return pd.Index(table[key].astype(str).to_numpy())
    raise ValueError(f"{problem}, expected one of {keys}; there are {list(table)}")


# ------------------------------------------------------------------------------------------- 10x


def _matrices_10x(file: h5py.File) -> list[str]:
    return [name for name, group in file.items() if hasattr(group, "keys") and IN_10X <= set(group)]


def _read_10x(file: h5py.File, path: Path, notes: list[str]) -> ad.AnnData:
    """Read what Cell Ranger 2 (a group for each genome), 3 and later, or CellBender wrote."""
    groups = _matrices_10x(file)
    if len(groups) > 1:
        hint = "write one of them with scanpy.read_10x_h5(file, genome=...).write_h5ad('one.h5ad')"
        raise ValueError(f"{path}: holds the genomes {groups}, expected one; {hint}")
    group = file[groups[0]]
    about = group["features"] if "features" in group else group
    columns = {}
    for kind, keys in {
        "names": ("name", "gene_names", "id", "genes"),
        "gene_ids": ("id", "genes"),
        "feature_types": ("feature_type",),
        "genome": ("genome",),
    }.items():
        key = next((key for key in keys if key in about), None)
        if key is not None:
            columns[kind] = _texts(about[key][:])
    var = pd.DataFrame(columns).set_index("names").rename_axis(None)
    obs = pd.DataFrame(index=_texts(group["barcodes"][:]))
    parts = tuple(group[key][:] for key in ("data", "indices", "indptr"))
    n_genes, n_cells = group["shape"][:]
    x = sparse.csr_matrix(parts, shape=(n_cells, n_genes))
    return tidy_genes(ad.AnnData(x, obs=obs, var=var), path, notes)
