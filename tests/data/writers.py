"""Files of cells as AnnData, Seurat, loompy, velocyto, Cell Ranger and STARsolo write them.

Layouts of older versions are written with h5py, as their documentation tells them.
"""

import gzip

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


def _texts(values) -> np.ndarray:
    return np.array([str(value) for value in values], dtype=object)


def _attribute(names) -> np.ndarray:
    return np.array(list(names), dtype=h5py.string_dtype())


def _coded(values) -> tuple[np.ndarray, list[str]]:
    """Codes of a categorical column, and its categories; -1 is missing."""
    codes, categories = pd.factorize(pd.Series(values, dtype=object), sort=True)
    return codes.astype(np.int8), [str(category) for category in categories]


def _write_frame(group, index, columns, *, index_name, typed, referred):
    """A data frame of version 0.1.0: text columns as codes, their categories in a group."""
    group.create_dataset(index_name, data=_texts(index), dtype=TEXT)
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
        kept.create_dataset(name, data=_texts(categories), dtype=TEXT)
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
        fields, parts = [("index", TEXT)], [_texts(design.cells)]
        for name, values in obs.items():
            if not pd.api.types.is_numeric_dtype(values):
                values, categories = _coded(values)
                where = f"uns/{name}_categories"
                file.create_dataset(where, data=_texts(categories), dtype=TEXT)
            fields.append((name, np.asarray(values).dtype))
            parts.append(np.asarray(values))
        file.create_dataset("obs", data=_compound(fields, parts))
        file.create_dataset("var", data=_compound([("index", TEXT)], [_texts(design.genes)]))
    return folder / "my.h5ad", {}


def _compound(fields, parts) -> np.ndarray:
    array = np.empty(len(parts[0]), dtype=fields)
    for (name, _), part in zip(fields, parts, strict=True):
        array[name] = part
    return array


# ---------------------------------------------------------------------------------------- loom


def loom(*, version=3):
    """A writer: version 2 of loompy has ASCII with references like those of XML."""

    def text(values):
        if version == 3:
            return np.array(["" if v is None else str(v) for v in values], dtype=object)
        escaped = [str("" if v is None else v).encode("ascii", "xmlcharrefreplace") for v in values]
        return np.array(escaped)

    def write(design, folder):
        with h5py.File(folder / "my.loom", "w") as file:
            how = {"compression": "gzip", "chunks": True}
            file.create_dataset("matrix", data=design.matrix.T, **how)
            for name in ("layers", "row_graphs", "col_graphs"):
                file.create_group(name)
            file["row_attrs/Gene"] = text(design.genes)
            file["col_attrs/CellID"] = text(design.cells)
            for name, values in plain(design.obs()).items():
                is_number = pd.api.types.is_numeric_dtype(values)
                file[f"col_attrs/{name}"] = np.asarray(values) if is_number else text(values)
            if version == 3:
                file["attrs/LOOM_SPEC_VERSION"] = "3.0.0"
            else:
                file.attrs["LOOM_SPEC_VERSION"] = "2.0.1"
        return folder / "my.loom", {}

    return write


def loom_by_loompy(design, folder):
    import loompy

    cells = {"CellID": np.array(design.cells, dtype=object)}
    for name, values in plain(design.obs()).items():
        is_number = pd.api.types.is_numeric_dtype(values)
        cells[name] = np.asarray(values) if is_number else _texts(values)
    genes = {"Gene": np.array(design.genes, dtype=object)}
    loompy.create(str(folder / "my.loom"), design.matrix.T, genes, cells)
    return folder / "my.loom", {}


def velocyto(layer=None):
    """A writer: spliced and unspliced counts whose sum is the matrix."""

    def write(design, folder):
        values = design.matrix.T  # (genes, cells)
        if layer is None:
            spliced, unspliced, options = values // 2, values - values // 2, {}
        else:
            spliced, unspliced, options = values, values % 3, {"layer": layer}
        n_genes = len(design.genes)
        with h5py.File(folder / "my.loom", "w") as file:
            file["matrix"] = spliced + unspliced
            file["layers/spliced"] = spliced
            file["layers/unspliced"] = unspliced
            file["layers/ambiguous"] = np.zeros_like(spliced)
            file["row_attrs/Gene"] = _texts(design.genes)
            file["row_attrs/Accession"] = _texts(f"ENSMUSG{k:011d}" for k in range(n_genes))
            file["row_attrs/Chromosome"] = _texts(["1"] * n_genes)
            file["row_attrs/Strand"] = _texts(["+"] * n_genes)
            file["row_attrs/Start"] = np.arange(n_genes)
            file["row_attrs/End"] = np.arange(n_genes) + 100
            file["col_attrs/CellID"] = _texts(design.cells)
        return folder / "my.loom", {"cells": cells_beside(design, folder), **options}

    return write


def cells_beside(design, folder):
    plain(design.obs()).to_csv(folder / "cells.csv")
    return folder / "cells.csv"


# -------------------------------------------------------------------------------- Cell Ranger


def folder_10x(
    *, version=3, gz=True, prefix="", features=None, columns=3, newline="\n", antibodies=False
):
    """A writer: a folder with ``matrix.mtx`` and names, of which the variants are many."""
    names_of_genes = features or ("genes.tsv" if version == 2 else "features.tsv")

    def write(design, folder):
        home = folder / "filtered_feature_bc_matrix"
        home.mkdir(exist_ok=True)

        def save(name, lines):
            data = (newline.join(lines) + newline).encode()
            name = prefix + name + (".gz" if gz else "")
            (home / name).write_bytes(gzip.compress(data) if gz else data)

        matrix, rows = _rows_10x(design, antibodies)
        save(names_of_genes, ["\t".join(row[:columns]) for row in rows])
        save("barcodes.tsv", design.cells)
        x = sparse.coo_matrix(matrix)
        number = "integer" if np.issubdtype(x.dtype, np.integer) else "real"
        lines = [f"%%MatrixMarket matrix coordinate {number} general", "%metadata_json: {}"]
        lines.append(f"{x.shape[0]} {x.shape[1]} {x.nnz}")
        for i, j, value in zip(x.row, x.col, x.data, strict=True):
            lines.append(f"{i + 1} {j + 1} {value}")
        save("matrix.mtx", lines)
        return home, {"cells": cells_beside(design, folder)}

    return write


def two_samples(design, folder):
    """Two samples of a repository in one folder, where only one can be meant."""
    _, options = folder_10x(prefix="GSM1_a_")(design, folder)
    home, _ = folder_10x(prefix="GSM2_b_")(design, folder)
    return home, options


def outs(design, folder):
    """The folder above, as Cell Ranger leaves it."""
    (folder / "outs").mkdir()
    _, options = folder_10x()(design, folder / "outs")
    return folder / "outs", options


def _rows_10x(design, antibodies):  # values (rows, cells), and id, name and kind of each row
    rows = []
    for k, gene in enumerate(design.genes):
        rows.append((f"ENSMUSG{k:011d}", gene, "Gene Expression"))
    matrix = design.matrix.T
    if antibodies:
        rows += [("CD3", "CD3_TotalSeqB", "Antibody Capture")]
        matrix = np.vstack([matrix, np.full((1, matrix.shape[1]), 7, dtype=matrix.dtype)])
    return matrix, rows


def h5_10x(*, version=3, antibodies=False, cellbender=False):
    def write(design, folder):
        matrix, rows = _rows_10x(design, antibodies)
        x = sparse.csc_matrix(matrix)
        ids, names, kinds = (np.array([row[k].encode() for row in rows]) for k in range(3))
        with h5py.File(folder / "my.h5", "w") as file:
            group = file.create_group("mm10" if version == 2 else "matrix")
            for part in ("data", "indices", "indptr"):
                group.create_dataset(part, data=getattr(x, part))
            group["shape"] = np.array(x.shape, dtype=np.int32)
            group["barcodes"] = np.array([cell.encode() for cell in design.cells])
            if version == 2:
                group["genes"] = ids
                group["gene_names"] = names
            else:
                group["features/id"] = ids
                group["features/name"] = names
                group["features/feature_type"] = kinds
                group["features/genome"] = np.array([b"mm10"] * len(rows))
                group["features/_all_tag_keys"] = np.array([b"genome"])
            if cellbender:
                file["droplet_latents/cell_probability"] = np.ones(len(design.cells))
                file["global_latents/swapping_fraction_dist_params"] = np.ones(2)
                file["metadata/learning_curve_train_epoch"] = np.arange(3)
        return folder / "my.h5", {"cells": cells_beside(design, folder)}

    return write
