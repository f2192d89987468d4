"""Files of cells as loompy, velocyto, Cell Ranger, STARsolo and CellBender write them."""

import gzip

import h5py
import numpy as np
import pandas as pd
from scipy import sparse
from writers import texts
from writers_of_tables import plain

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
        cells[name] = np.asarray(values) if is_number else texts(values)
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
            file["row_attrs/Gene"] = texts(design.genes)
            file["row_attrs/Accession"] = texts(f"ENSMUSG{k:011d}" for k in range(n_genes))
            file["row_attrs/Chromosome"] = texts(["1"] * n_genes)
            file["row_attrs/Strand"] = texts(["+"] * n_genes)
            file["row_attrs/Start"] = np.arange(n_genes)
            file["row_attrs/End"] = np.arange(n_genes) + 100
            file["col_attrs/CellID"] = texts(design.cells)
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
