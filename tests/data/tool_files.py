"""Small files as other tools write them, by hand: what differs between the tools is the point."""

import gzip
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
from scipy import io, sparse

COUNTS = np.random.default_rng(0).poisson(1.0, (12, 5)).astype(np.float32)  # (cells, genes)
CELLS = [f"AAA{i}-1" for i in range(12)]
GENES = ["Actb", "Sox2", "TNFα", "10", "NA"]  # a letter of Greek, a number, a missing value?
IDS = [f"ENSG{i}" for i in range(5)]
DAYS = np.repeat([0.0, 1.5, 4.0], 4)
TYPES = ["stem", "blood"] * 6
GENE = "Gene Expression"


def toy(**obs) -> ad.AnnData:
    """Counts of 12 cells at 3 days, of 2 kinds."""
    columns = {"day": DAYS, "kind": pd.Categorical(TYPES, categories=["stem", "blood"]), **obs}
    obs = pd.DataFrame(columns, index=CELLS)
    var = pd.DataFrame({"mean": COUNTS.mean(0)}, index=GENES)
    return ad.AnnData(sparse.csr_matrix(COUNTS), obs=obs, var=var)


def write_cells(path, cells=CELLS) -> Path:
    """Write a table of the cells, in another order."""
    pd.DataFrame({"day": DAYS, "kind": TYPES}, index=cells).iloc[::-1].to_csv(path)
    return path


# ----------------------------------------------------------------------------- AnnData's dialects


def objects(texts):
    return np.array(texts, dtype=object)


def matrix_group(file, name, matrix, **attributes):
    for key in ("data", "indices", "indptr"):
        file[f"{name}/{key}"] = getattr(matrix, key)
    file[name].attrs.update(attributes)


def seurat_disk(path, *, encoded=False, factor="__categories"):
    """X (cells, genes) as rows, names in a column ``_index``, factors by code, raw; no encoding."""
    attributes = {"shape": np.array(COUNTS.shape)}
    if encoded:
        attributes |= {"encoding-type": "csr_matrix", "encoding-version": "0.1.0"}
    with h5py.File(path, "w") as file:
        for place in ("X", "raw/X"):
            matrix_group(file, place, sparse.csr_matrix(COUNTS), **attributes)
        for place, names in (("obs", CELLS), ("var", GENES), ("raw/var", GENES)):
            file[f"{place}/_index"] = objects(names)
            file[place].attrs["_index"] = np.array(["_index"], dtype=object)
        file["var/features"] = objects(GENES)
        file["obs/day"] = DAYS
        codes = np.array([0, 1] * 6, dtype=np.int32)
        if factor == "__categories":
            file["obs/kind"] = codes
            file["obs/__categories/kind"] = objects(["stem", "blood"])
        elif factor == "levels":
            file["obs/kind/values"] = codes + 1
            file["obs/kind/levels"] = objects(["stem", "blood"])
        else:
            file["obs/kind/codes"] = codes
            file["obs/kind/categories"] = objects(["stem", "blood"])
    return path


def seurat_lost(path):
    """Names of genes in a column, the index counts."""
    adata = toy()
    adata.var["features"] = adata.var_names.to_numpy()
    adata.var_names = [str(i) for i in range(5)]
    adata.write_h5ad(path)
    return path


def anndata_06(path):
    """Tables as one dataset each, codes of categories in obs and their words in uns."""
    obs = np.zeros(12, [("index", "S8"), ("day", "f8"), ("kind", "i1")])
    obs["index"], obs["day"], obs["kind"] = CELLS, DAYS, [0, 1] * 6
    var = np.zeros(5, [("index", "S8"), ("mean", "f4")])
    var["index"] = [name.encode() for name in GENES]
    obsm = np.zeros(12, [("X_umap", "f4", 2)])
    with h5py.File(path, "w") as file:
        file["obs"], file["var"], file["obsm"], file["raw.var"] = obs, var, obsm, var
        shape = np.array(COUNTS.shape)
        for place in ("X", "raw.X"):
            matrix = sparse.csr_matrix(COUNTS)
            matrix_group(file, place, matrix, h5sparse_format="csr", h5sparse_shape=shape)
        file["uns/kind_categories"] = np.array(["stem", "blood"], "S5")
    return path


def anndata_07(path):
    """Tables as groups with ``__categories``, columns without encoding."""
    with h5py.File(path, "w") as file:
        for place, names in (("obs", CELLS), ("var", GENES)):
            file[f"{place}/index"] = objects(names)
            file[place].attrs.update({"_index": "index", "encoding-type": "dataframe"})
            file[place].attrs.update({"encoding-version": "0.1.0"})
        file["obs/day"], file["obs/kind"] = DAYS, np.array([0, 1] * 6, dtype=np.int8)
        file["obs/__categories/kind"] = objects(["stem", "blood"])
        file["obs/kind"].attrs["categories"] = file["obs/__categories/kind"].ref
        file["obs"].attrs["column-order"] = objects(["day", "kind"])
        matrix = sparse.csr_matrix(COUNTS)
        encoding = {"encoding-type": "csr_matrix", "encoding-version": "0.1.0"}
        matrix_group(file, "X", matrix, shape=np.array(COUNTS.shape), **encoding)
    return path


def zellkonverter(path):
    """Names called ``rownames``, an assay as a layer, its name in uns."""
    adata = toy()
    adata.obs.index.name = adata.var.index.name = "rownames"
    adata.layers["logcounts"] = adata.X.log1p()
    adata.uns["X_name"] = "counts"
    adata.write_h5ad(path)
    return path


def transposed(path):
    """X (genes, cells), as R fills it."""
    toy().write_h5ad(path)
    with h5py.File(path, "a") as file:
        del file["X"]
        file["X"] = COUNTS.T
    return path


def written_by_anndata(path):
    adata = toy()
    adata.write_zarr(path) if path.suffix == ".zarr" else adata.write_h5ad(path)
    return path


def zarr_v3(path):
    with ad.settings.override(zarr_write_format=3):
        return written_by_anndata(path)


def h5mu(path, modalities=("rna", "prot"), labels_of_all=True):
    """A file of mudata: a modality each, and labels of all cells."""
    with h5py.File(path, "w") as file:
        file.attrs["encoding-type"] = "MuData"
        for name in modalities:
            adata = toy()
            if labels_of_all:
                adata.obs = adata.obs[[]]
            ad.io.write_elem(file, f"mod/{name}", adata)
        obs = toy().obs.iloc[::-1]
        obs["rna:n"] = 1
        ad.io.write_elem(file, "obs", obs)
        ad.io.write_elem(file, "var", pd.DataFrame(index=GENES))
    return path


# --------------------------------------------------------------------------------------- loom, 10x


def loom(path, genes=GENES, accession=IDS, *, of_genes="Gene", of_cells="CellID", text=object):
    """As velocyto writes it: the sum in matrix, its parts as layers."""
    encode = np.array if text is object else lambda values, dtype: np.char.encode(values, "utf-8")
    with h5py.File(path, "w") as file:
        file["matrix"] = COUNTS.T
        for layer in ("spliced", "unspliced", "ambiguous"):
            file[f"layers/{layer}"] = COUNTS.T // 3
        file[f"row_attrs/{of_genes}"] = encode(genes, dtype=text)
        if accession is not None:
            file["row_attrs/Accession"] = encode(accession, dtype=text)
        file[f"col_attrs/{of_cells}"] = encode(CELLS, dtype=text)
        file["col_attrs/day"] = DAYS
        file["col_attrs/kind"] = encode(TYPES, dtype=text)
        file["col_attrs/X_umap"] = np.ones((12, 2))
    return path


def tenx_h5(path, *, version=3, types=None, genomes=("GRCh38",), more=()):
    """Cell Ranger 2 or 3; with ``more`` groups as CellBender writes it."""
    matrix = sparse.csc_matrix(COUNTS.T.astype(np.int32))
    with h5py.File(path, "w") as file:
        for place in ("matrix",) if version == 3 else genomes:
            matrix_group(file, place, matrix)
            file[f"{place}/shape"] = matrix.shape
            file[f"{place}/barcodes"] = np.array(CELLS, dtype="S10")
            if version == 2:
                names = {"genes": IDS, "gene_names": GENES}
            else:
                names = {"id": IDS, "name": GENES, "feature_type": types or [GENE] * 5}
                names["genome"] = genomes * 5
            prefix = "features/" if version == 3 else ""
            for key, values in names.items():
                file[f"{place}/{prefix}{key}"] = np.char.encode(values, "utf-8")
        for place in more:
            file[f"{place}/values"] = np.arange(3)
    return path


def write_text(path, lines, encoding="utf-8"):
    text = "".join(f"{line}\n" for line in lines)
    content = text.encode(encoding)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def matrix_folder(folder, prefix="", *, gz=True, **what):
    """A matrix and its names; ``what``: matrix, genes, cells (names of files), lines, counts."""
    folder.mkdir(parents=True, exist_ok=True)
    end = ".gz" if gz else ""
    name = prefix + what.get("matrix", "matrix.mtx") + end
    content = sparse.coo_matrix(what.get("counts", COUNTS.T).astype(int))
    with (gzip.open if gz else open)(folder / name, "wb") as file:
        io.mmwrite(file, content)
    lines = [f"{id}\t{gene}\t{GENE}" for id, gene in zip(IDS, GENES, strict=True)]
    genes = folder / (prefix + what.get("genes", "features.tsv") + end)
    write_text(genes, what.get("lines", lines), what.get("encoding", "utf-8"))
    cells = what.get("names", CELLS)
    write_text(folder / (prefix + what.get("cells", "barcodes.tsv") + end), cells)
    return folder
