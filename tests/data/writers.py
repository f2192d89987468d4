"""Files of cells as AnnData and Seurat write them, today and in older versions.

Layouts of older versions are written with h5py, as their documentation tells them.
"""

import anndata as ad
import h5py
import numpy as np
import pandas as pd
from scipy import sparse
from writers_of_tables import plain

INTEGERS = set(map(str, range(100)))
TEXT = h5py.string_dtype()
STORED = {"dense": np.asarray, "csr": sparse.csr_matrix, "csc": sparse.csc_matrix}


def anndata_of(design, *, categories=True) -> ad.AnnData:
    obs = design.obs()
    if categories:
        obs[design.type_key] = obs[design.type_key].astype("category")
    x = STORED[design.layout](design.matrix)
    return ad.AnnData(x, obs=obs, var=pd.DataFrame(index=list(design.genes)))


# ------------------------------------------------------------------------------------ AnnData


def in_memory(design, folder):
    return anndata_of(design), {}


def a_view(design, folder):
    """Part of a larger AnnData: neither all of its cells nor all of its genes."""
    adata = anndata_of(design)
    others = adata[:2].copy()
    others.obs_names = ["other1", "other2"]
    whole = ad.concat([others, adata])
    return whole[2:], {}


def nullable(design, folder):
    """Columns in the types of pandas that may be missing, as ``convert_dtypes`` makes them."""
    adata = anndata_of(design, categories=False)
    adata.obs = adata.obs.convert_dtypes()
    return adata, {}


def sparse_arrays(design, folder):
    """Sparse arrays of scipy in the place of sparse matrices."""
    adata = anndata_of(design)
    adata.X = sparse.csr_array(adata.X)
    return adata, {}


def h5ad(*, strings=False, **how):
    """A writer: ``write_h5ad`` with its options."""

    def write(design, folder):
        anndata_of(design, categories=not strings).write_h5ad(folder / "my.h5ad", **how)
        return folder / "my.h5ad", {}

    return write


def backed(design, folder):
    path, options = h5ad()(design, folder)
    return ad.read_h5ad(path, backed="r"), options


def zarr(version):
    """A writer: ``write_zarr`` in one of the formats of zarr."""

    def write(design, folder):
        with ad.settings.override(zarr_write_format=version):
            anndata_of(design).write_zarr(folder / "my.zarr")
        return folder / "my.zarr", {}

    return write


def types_as_numbers(design, folder):
    """Clusters as whole numbers, as in a column of k-means."""
    adata = anndata_of(design, categories=False)
    names = adata.obs[design.type_key]
    if all(text in INTEGERS for text in names):
        adata.obs[design.type_key] = names.astype(int)
    adata.write_h5ad(folder / "my.h5ad")
    return folder / "my.h5ad", {}


def counts_in(layer, *, named=True):
    """A writer: X is scaled, as after ``sc.pp.scale``, and the values lie in a layer or in raw."""

    def write(design, folder):
        adata = anndata_of(design)
        if layer == "raw":
            adata.raw = adata.copy()
        else:
            adata.layers[layer] = adata.X.copy()
        dense = design.values
        spread = dense.std(0)
        adata.X = ((dense - dense.mean(0)) / np.where(spread > 0, spread, 1)).astype(np.float32)
        adata.write_h5ad(folder / "my.h5ad")
        return folder / "my.h5ad", {"layer": layer} if named else {}

    return write


def only_pcs(design, folder):
    """No X at all: PCs in ``obsm``."""
    adata = ad.AnnData(obs=design.obs())
    adata.obsm["X_pca"] = design.matrix
    adata.write_h5ad(folder / "my.h5ad")
    return folder / "my.h5ad", {}


def pcs_beside(design, folder):
    """PCs in ``obsm`` beside expression, chosen by the user."""
    adata = anndata_of(design)
    adata.obsm["X_pca"] = design.matrix
    adata.X = np.log1p(np.abs(design.matrix))
    adata.write_h5ad(folder / "my.h5ad")
    return folder / "my.h5ad", {"layer": "X_pca"}


def written_again(design, folder):
    """What ``load`` gave, written and read by its own names: nothing may be lost."""
    from scimf.data.load import load

    path, _ = h5ad()(design, folder)
    load(path, **design.keys()).write_h5ad(folder / "again.h5ad")
    options = {"time_key": "time", "type_key": "cell_type"}
    if design.populations is not None:
        options["population_key"] = "population"
    return folder / "again.h5ad", options


def with_decoys(design, folder):
    """Columns of the user's own whose names are ours, too."""
    adata = anndata_of(design)
    n = adata.n_obs
    for key in ("time", "density"):
        if key not in adata.obs:
            adata.obs[key] = ["morning", "evening"] * (n // 2) + ["morning"] * (n % 2)
    adata.write_h5ad(folder / "my.h5ad")
    return folder / "my.h5ad", {}


def with_dropped(design, folder):
    """Some cells have a label that is no time, and the user drops them."""
    adata = anndata_of(design)
    others = adata[:3].copy()
    others.obs_names = ["other1", "other2", "other3"]
    others.obs[design.times.key] = ["mixed", "untreated", "mixed"]
    whole = ad.concat([others[:2], adata, others[2:]])
    whole.write_h5ad(folder / "my.h5ad")
    return folder / "my.h5ad", {"drop": ["mixed", "untreated"]}


# -------------------------------------------------------------------- older and other .h5ad files


def texts(values) -> np.ndarray:
    return np.array([str(value) for value in values], dtype=object)


def _attribute(names) -> np.ndarray:
    return np.array(list(names), dtype=h5py.string_dtype())


def _coded(values) -> tuple[np.ndarray, list[str]]:
    """Codes of a categorical column, and its categories; -1 is missing."""
    codes, categories = pd.factorize(pd.Series(values, dtype=object), sort=True)
    return codes.astype(np.int8), [str(category) for category in categories]


def _write_frame(group, index, columns, *, index_name, typed, referred):
    """A data frame of version 0.1.0: text columns as codes, their categories in a group."""
    group.create_dataset(index_name, data=texts(index), dtype=TEXT)
    group.attrs["_index"] = index_name
    group.attrs["column-order"] = _attribute(columns)
    if typed:
        group.attrs["encoding-type"] = "dataframe"
        group.attrs["encoding-version"] = "0.1.0"
    for name, values in columns.items():
        if pd.api.types.is_numeric_dtype(values):
            group.create_dataset(name, data=np.asarray(values))
            continue
        codes, categories = _coded(values)
        group.create_dataset(name, data=codes)
        kept = group.require_group("__categories")
        kept.create_dataset(name, data=texts(categories), dtype=TEXT)
        kept[name].attrs["ordered"] = False
        if referred:
            group[name].attrs["categories"] = kept[name].ref


def _write_x(file, design, *, old):
    x = STORED[design.layout](design.matrix)
    if not sparse.issparse(x):
        file.create_dataset("X", data=x)
        return
    group = file.create_group("X")
    for part in ("data", "indices", "indptr"):
        group.create_dataset(part, data=getattr(x, part))
    if old:
        group.attrs["h5sparse_format"] = design.layout
        group.attrs["h5sparse_shape"] = x.shape
    else:
        group.attrs["encoding-type"] = f"{design.layout}_matrix"
        group.attrs["encoding-version"] = "0.1.0"
        group.attrs["shape"] = x.shape


def anndata_0_7(design, folder):
    """Codes beside ``__categories``, which each column refers to."""
    obs = plain(design.obs())
    with h5py.File(folder / "my.h5ad", "w") as file:
        _write_x(file, design, old=False)
        how = {"index_name": "index", "typed": True, "referred": True}
        _write_frame(file.create_group("obs"), design.cells, dict(obs.items()), **how)
        _write_frame(file.create_group("var"), design.genes, {}, **how)
    return folder / "my.h5ad", {}


def seurat(*, typed):
    """A writer as SeuratDisk converts: names in ``_index``, categories without a reference."""

    def write(design, folder):
        obs = plain(design.obs())
        with h5py.File(folder / "my.h5ad", "w") as file:
            _write_x(file, design, old=False)
            how = {"index_name": "_index", "typed": typed, "referred": False}
            _write_frame(file.create_group("obs"), design.cells, dict(obs.items()), **how)
            _write_frame(file.create_group("var"), design.genes, {}, **how)
        return folder / "my.h5ad", {}

    return write


def anndata_0_6(design, folder):
    """Tables as compound arrays; categories of obs in uns."""
    obs = plain(design.obs())
    with h5py.File(folder / "my.h5ad", "w") as file:
        _write_x(file, design, old=True)
        fields, parts = [("index", TEXT)], [texts(design.cells)]
        for name, values in obs.items():
            if not pd.api.types.is_numeric_dtype(values):
                values, categories = _coded(values)
                where = f"uns/{name}_categories"
                file.create_dataset(where, data=texts(categories), dtype=TEXT)
            fields.append((name, np.asarray(values).dtype))
            parts.append(np.asarray(values))
        file.create_dataset("obs", data=_compound(fields, parts))
        file.create_dataset("var", data=_compound([("index", TEXT)], [texts(design.genes)]))
    return folder / "my.h5ad", {}


def _compound(fields, parts) -> np.ndarray:
    array = np.empty(len(parts[0]), dtype=fields)
    for (name, _), part in zip(fields, parts, strict=True):
        array[name] = part
    return array
