"""Files of other tools give the same cells, genes and types, or one sentence that names them."""

import re

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import tool_files as tools
from scipy import sparse
from tool_files import CELLS, COUNTS, GENE, GENES, IDS, TYPES

from scimf.data import load
from scimf.data.formats import read_cells

ENCODED = {"encoded": True}


def dense(x):
    return x.toarray() if sparse.issparse(x) else np.asarray(x)


def assert_same(adata, genes=GENES):
    assert list(adata.var_names) == genes
    assert list(adata.obs_names) == CELLS
    assert np.array_equal(dense(adata.X), COUNTS)


def notes_of(adata):
    return " ".join(adata.uns["scimf"]["warnings"])


# ------------------------------------------------------------------------- labels lie in the file

WITH_LABELS = {
    "anndata 0.12, h5ad": (tools.written_by_anndata, "a.h5ad", {}),
    "anndata 0.12, zarr": (tools.written_by_anndata, "a.zarr", {}),
    "anndata 0.12, zarr v3": (tools.zarr_v3, "a.zarr", {}),
    "anndata 0.7": (tools.anndata_07, "a.h5ad", {}),
    "anndata 0.6": (tools.anndata_06, "a.h5ad", {}),
    "SeuratDisk, nothing encoded": (tools.seurat_disk, "a.h5ad", {}),
    "SeuratDisk, X encoded": (tools.seurat_disk, "a.h5ad", ENCODED),
    "factors as codes and categories": (tools.seurat_disk, "a.h5ad", {"factor": "categories"}),
    "factors as R counts them": (tools.seurat_disk, "a.h5ad", {"factor": "levels"}),
    "names of genes in a column": (tools.seurat_lost, "a.h5ad", {}),
    "zellkonverter": (tools.zellkonverter, "a.h5ad", {}),
    "X as R fills it": (tools.transposed, "a.h5ad", {}),
    "mudata": (tools.h5mu, "a.h5mu", {}),
    "mudata, one modality": (tools.h5mu, "a.h5mu", {"modalities": ["gex"]}),
    "velocyto": (tools.loom, "a.loom", {}),
    "loompy, fixed bytes": (tools.loom, "a.loom", {"text": bytes}),
    "scanpy's loom": (tools.loom, "a.loom", {"of_genes": "var_names", "of_cells": "obs_names"}),
    "an h5ad file called .h5": (tools.written_by_anndata, "a.h5", {}),
    "a loom file called .h5": (tools.loom, "a.h5", {}),
    "an h5ad file called .hdf5": (tools.seurat_disk, "a.hdf5", {}),
}


@pytest.mark.parametrize("case", WITH_LABELS)
def test_names_types_and_counts_are_kept(case, tmp_path):
    write, name, options = WITH_LABELS[case]
    adata = load.load(write(tmp_path / name, **options), time_key="day", type_key="kind")
    assert_same(adata)
    assert adata.obs["cell_type"].tolist() == TYPES
    assert adata.obs["time"].tolist() == tools.DAYS.tolist()
    assert adata.uns["scimf"]["form"] == "counts"
    adata.write_h5ad(tmp_path / "done.h5ad")
    again = load.load(tmp_path / "done.h5ad")
    assert_same(again)
    assert again.obs["cell_type"].tolist() == TYPES


@pytest.mark.parametrize("case", ["SeuratDisk, nothing encoded", "anndata 0.6"])
def test_raw_keeps_its_names(case, tmp_path):
    write, name, options = WITH_LABELS[case]
    raw = read_cells(write(tmp_path / name, **options))[0].raw
    assert list(raw.var_names) == GENES
    assert np.array_equal(dense(raw.X), COUNTS)


def test_an_ordinary_file_is_read_as_anndata_reads_it(tmp_path):
    adata = tools.toy(flag=[True, False] * 6, text=list("abcdefghijkl"))
    adata.raw = adata.copy()
    adata.obsm["X_pca"] = np.ones((12, 2))
    adata.varm["PCs"] = np.ones((5, 2))
    adata.obsp["distances"] = sparse.identity(12, format="csr")
    adata.layers["spliced"] = sparse.csc_matrix(COUNTS)
    adata.uns = {"colors": np.array(["red"]), "nested": {"n": 1, "none": None}}
    adata.write_h5ad(tmp_path / "a.h5ad")
    read, notes = read_cells(tmp_path / "a.h5ad")
    assert not notes
    expected = ad.read_h5ad(tmp_path / "a.h5ad")
    pd.testing.assert_frame_equal(read.obs, expected.obs)
    pd.testing.assert_frame_equal(read.raw.var, expected.raw.var)
    np.testing.assert_equal(dict(read.uns), dict(expected.uns))
    for kind in ("obsm", "varm", "obsp", "layers"):
        assert list(getattr(read, kind)) == list(getattr(expected, kind))
        for name, values in getattr(expected, kind).items():
            found = getattr(read, kind)[name]
            assert type(found) is type(values)
            assert np.array_equal(dense(found), dense(values))


@pytest.mark.parametrize(
    ("case", "note"),
    [
        ("names of genes in a column", r"Names of genes are var\['features'\]"),
        ("X as R fills it", "was transposed"),
        ("mudata", "Took the modality 'rna'"),
        ("velocyto", "layers .*'spliced'"),
        ("an h5ad file called .h5", r"a\.h5 was read as the \.h5ad file that it is"),
        ("a loom file called .h5", r"a\.h5 was read as the \.loom file that it is"),
    ],
)
def test_what_was_done_is_said(case, note, tmp_path):
    write, name, options = WITH_LABELS[case]
    _, notes = read_cells(write(tmp_path / name, **options))
    assert re.search(note, " ".join(notes))


def test_what_cannot_be_read_beside_the_cells_is_left_out(tmp_path):
    path = tools.written_by_anndata(tmp_path / "a.h5ad")
    with h5py.File(path, "a") as file:
        file["uns/new"] = 1
        file["uns/new"].attrs.update({"encoding-type": "of-the-future", "encoding-version": "9"})
        file["layers/short"] = COUNTS[:3]
    adata, notes = read_cells(path)
    assert_same(adata)
    assert "uns['new'] cannot be read and was left out" in " ".join(notes)
    assert "layers['short'] cannot be read and was left out" in " ".join(notes)


@pytest.mark.parametrize(
    ("accession", "names", "note"),
    [
        (["E1", "E2", "E3", "E4", "E5"], ["7SK_E1", "7SK_E2", "Y", "Z", "7SK_E5"], "accession"),
        (None, ["7SK", "7SK-1", "Y", "Z", "7SK-2"], "got a number"),
    ],
)
def test_symbols_that_velocyto_repeats(accession, names, note, tmp_path):
    path = tools.loom(tmp_path / "a.loom", ["7SK", "7SK", "Y", "Z", "7SK"], accession)
    adata = load.load(path, time_key="day")
    assert_same(adata, names)
    assert note in notes_of(adata)
    assert np.array_equal(dense(adata.layers["unspliced"]), COUNTS // 3)
    assert adata.obsm["X_umap"].shape == (12, 2)


# -------------------------------------------------------------------- labels lie in a second table

PAIRED = [f"{id}\t{gene}" for id, gene in zip(IDS, GENES, strict=True)]
NUMBERED = [f'"{i + 1}"\t"{gene}"' for i, gene in enumerate(GENES)]
GEO = "GSM1_s1_"
KB = {"matrix": "cells_x_genes.mtx", "cells": "cells_x_genes.barcodes.txt", "counts": COUNTS}
KB |= {"genes": "cells_x_genes.genes.txt", "lines": GENES, "gz": False}

FOLDERS = {
    "Cell Ranger 3": {},
    "STARsolo": {"gz": False},
    "GEO, with a prefix": {"prefix": GEO},
    "GEO, with a dot": {"prefix": "GSM1.s1."},
    "Cell Ranger 2": {"genes": "genes.tsv", "lines": PAIRED, "gz": False},
    "genes.tsv.gz": {"genes": "genes.tsv", "lines": PAIRED},
    "features with two columns": {"lines": PAIRED},
    "features with one column": {"lines": GENES},
    "features in Latin-1": {"lines": [*GENES[:2], "TNF\xb5", *GENES[3:]], "encoding": "latin-1"},
    "a header above the names": {"lines": ["id\tsymbol", *PAIRED], "names": ["cell", *CELLS]},
    "names that R wrote": {"lines": ['"x"', *NUMBERED]},
    "names in csv": {"genes": "genes.csv", "cells": "cells.csv", "lines": GENES},
    "counts.mtx of a sample": {"prefix": GEO, "matrix": "counts.mtx"},
    "kb-python": KB,
}


@pytest.mark.parametrize("case", FOLDERS)
def test_a_matrix_and_its_names(case, tmp_path):
    folder = tools.matrix_folder(tmp_path / "sample", **FOLDERS[case])
    table = tools.write_cells(tmp_path / "cells.csv")
    genes = [*GENES[:2], "TNF\xb5", *GENES[3:]] if "Latin" in case else GENES
    path = next(folder.glob("*.mtx*"))
    for named in (folder, path):
        assert_same(load.load(named, time_key="day", cells=table), genes)


@pytest.mark.parametrize(
    ("inside", "named", "found"),
    [
        (["filtered_feature_bc_matrix", "raw_feature_bc_matrix"], "", "filtered_feature"),
        (["outs/filtered_feature_bc_matrix", "outs/raw_feature_bc_matrix"], "", "outs/filtered"),
        (["filtered_gene_bc_matrices/GRCh38"], "", "GRCh38/matrix.mtx.gz"),
        (["Gene/filtered", "Gene/raw"], "", "Gene/filtered/matrix.mtx.gz"),
        (["outs/filtered_feature_bc_matrix"], "outs", "filtered_feature"),
    ],
)
def test_a_folder_of_a_run(inside, named, found, tmp_path):
    for folder in inside:
        tools.matrix_folder(tmp_path / folder)
    adata, notes = read_cells(tmp_path / named)
    assert_same(adata)
    assert re.search(f"Took .*{found}", " ".join(notes))


def test_a_folder_of_a_run_with_the_same_cells_as_h5(tmp_path):
    tools.matrix_folder(tmp_path / "filtered_feature_bc_matrix")
    tools.tenx_h5(tmp_path / "filtered_feature_bc_matrix.h5")
    tools.tenx_h5(tmp_path / "raw_feature_bc_matrix.h5")
    adata, notes = read_cells(tmp_path)
    assert_same(adata)
    assert "Took filtered_feature_bc_matrix.h5 in the folder" in notes[0]


def test_starsolo_counts_in_more_than_one_way(tmp_path):
    tools.matrix_folder(tmp_path, matrix="UniqueAndMult-EM.mtx", counts=COUNTS.T + 1, gz=False)
    adata, notes = read_cells(tools.matrix_folder(tmp_path, gz=False))
    assert_same(adata)
    assert "Took matrix.mtx of" in notes[0]


def test_each_of_two_samples_can_be_named(tmp_path):
    tools.matrix_folder(tmp_path, GEO)
    other = [f"B{i}" for i in range(12)]
    tools.matrix_folder(tmp_path, "GSM10_s1_", names=other)
    assert_same(read_cells(tmp_path / f"{GEO}matrix.mtx.gz")[0])
    assert list(read_cells(tmp_path / "GSM10_s1_matrix.mtx.gz")[0].obs_names) == other
    with pytest.raises(ValueError, match=r"holds 2 matrices \(GSM10_s1_matrix.*GSM1_s1_matrix"):
        read_cells(tmp_path)


H5 = {
    "Cell Ranger 3": {},
    "Cell Ranger 2": {"version": 2},
    "CellBender": {"more": ["droplet_latents", "global_latents", "metadata"]},
    "CellBender of Cell Ranger 2": {"version": 2, "genomes": ["background_removed"]},
}


@pytest.mark.parametrize("case", H5)
def test_a_10x_h5_file(case, tmp_path):
    table = tools.write_cells(tmp_path / "cells.csv")
    adata = load.load(tools.tenx_h5(tmp_path / "a.h5", **H5[case]), time_key="day", cells=table)
    assert_same(adata)
    assert list(adata.var["gene_ids"]) == IDS


def test_rows_that_are_no_genes_are_counted(tmp_path):
    types = [GENE, "Antibody Capture", GENE, "Antibody Capture", "CRISPR Guide Capture"]
    lines = [f"{id}\t{gene}\t{kind}" for id, gene, kind in zip(IDS, GENES, types, strict=True)]
    h5 = tools.tenx_h5(tmp_path / "a.h5", types=types)
    for path in (h5, tools.matrix_folder(tmp_path / "a", lines=lines)):
        adata, notes = read_cells(path)
        assert list(adata.var_names) == ["Actb", "TNF\u03b1"]
        assert notes == [
            "Left out 2 rows of 'Antibody Capture', 1 rows of 'CRISPR Guide Capture'; "
            "2 genes were kept."
        ]


# --------------------------------------------------------------------------------- what is refused


def without(key, write=tools.seurat_disk, name="a.h5ad"):
    def written(folder):
        path = write(folder / name)
        with h5py.File(path, "a") as file:
            del file[key]
        return path

    return written


def molecules(folder):
    with h5py.File(folder / "m.h5", "w") as file:
        file["barcode_idx"] = file["umi"] = np.arange(3)
    return folder / "m.h5"


def other_hdf5(folder):
    with h5py.File(folder / "m.h5", "w") as file:
        file["weights"] = np.arange(3)
    return folder / "m.h5"


def in_a_folder(*args, **options):
    return lambda folder: tools.matrix_folder(folder / "sample", *args, **options)


def h5seurat(folder):
    with h5py.File(folder / "m.h5seurat", "w") as file:
        for group in ("assays", "cell.names", "meta.data"):
            file.create_group(group)
    return folder / "m.h5seurat"


def two_genomes(folder):
    return tools.tenx_h5(folder / "a.h5", version=2, genomes=["hg19", "mm10"])


SQUARE = {"counts": np.eye(5, dtype=int), "names": CELLS[:5]}


@pytest.mark.parametrize(
    ("write", "says"),
    [
        (molecules, "single molecules.*take filtered_feature_bc_matrix.h5"),
        (h5seurat, "SeuratDisk::Convert"),
        (other_hdf5, r"expected obs and var.*there are \['weights'\]"),
        (two_genomes, r"holds the genomes \['hg19', 'mm10'\], expected one"),
        (without("var/_index", tools.seurat_disk), None),
        (without("obs/_index"), "obs says nowhere what its rows are called.*'_index'"),
        (lambda f: tools.h5mu(f / "a.h5mu", ["gex", "prot"]), r"modalities \['gex', 'prot'\]"),
        (in_a_folder(lines=PAIRED[:4]), r"matrix is \(5, 12\), but there are 4 names of genes"),
        (in_a_folder(names=CELLS[:3]), "12.*3 of cells"),
        (in_a_folder(genes="others.tsv"), "no file of genes beside it"),
        (in_a_folder(cells="others.tsv"), "no file of cells beside it"),
        (in_a_folder(matrix="m.mtx", **SQUARE), "is square"),
        (lambda f: tools.tenx_h5(f / "a.h5", types=["Peaks"] * 5), "only {'Peaks': 5}"),
    ],
)
def test_what_cannot_be_told_is_refused(write, says, tmp_path):
    path = write(tmp_path)
    if says is None:  # another column holds the names
        assert_same(read_cells(path)[0])
        return
    with pytest.raises(ValueError, match=says) as caught:
        read_cells(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
