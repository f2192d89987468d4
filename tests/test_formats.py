import gzip

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import io, sparse

from scimf import datasets
from scimf.formats import read_cells

COUNTS = np.random.default_rng(0).poisson(1.0, (12, 5)).astype(np.float32)
NAMES = [f"AAA{i}-1" for i in range(12)]
DAYS = np.repeat([0.0, 1.5, 4.0], 4)
TYPES = ["stem", "blood"] * 6


def write_loom(path, counts=COUNTS, genes=5):
    with h5py.File(path, "w") as file:
        file["matrix"] = counts.T
        file["row_attrs/Gene"] = np.array([f"g{i}" for i in range(genes)], dtype=object)
        file["col_attrs/CellID"] = np.array(NAMES, dtype=object)
        file["col_attrs/day"], file["col_attrs/kind"] = DAYS, np.array(TYPES, dtype=object)
    return path


def write_10x(folder):
    folder.mkdir()
    with gzip.open(folder / "matrix.mtx.gz", "wb") as file:
        io.mmwrite(file, sparse.coo_matrix(COUNTS.T.astype(int)))
    rows = [f"ENS{i}\tg{min(i, 3)}\tGene Expression" for i in range(5)]  # g3 twice
    with gzip.open(folder / "features.tsv.gz", "wt") as file:
        file.write("\n".join(rows) + "\n")
    with gzip.open(folder / "barcodes.tsv.gz", "wt") as file:
        file.write("\n".join(NAMES) + "\n")
    return folder


def write_10x_h5(path):
    matrix = sparse.csc_matrix(COUNTS.T.astype(np.int32))
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix")
        for key in ("data", "indices", "indptr"):
            group[key] = getattr(matrix, key)
        group["shape"], group["barcodes"] = matrix.shape, np.array(NAMES, dtype="S10")
        for key, text in (("id", "ENS{}"), ("name", "g{}"), ("feature_type", "Gene Expression"), ("genome", "x")):
            group[f"features/{key}"] = np.array([text.format(i) for i in range(5)], dtype="S20")
    return path


def write_table(path, separator=",", **columns):
    table = pd.DataFrame(COUNTS.astype(int), index=NAMES, columns=[f"g{i}" for i in range(5)]).assign(**columns)
    table.to_csv(path, sep=separator)
    return path


@pytest.fixture
def cells(tmp_path):
    path = tmp_path / "cells.csv"
    pd.DataFrame({"day": DAYS, "kind": TYPES}, index=NAMES).iloc[::-1].to_csv(path)  # another order
    return path


def test_every_format_gives_the_same_cells(tmp_path, cells):
    labelled = {"day": DAYS, "kind": TYPES}
    h5ad = tmp_path / "a.h5ad"
    ad.AnnData(COUNTS, pd.DataFrame(labelled, index=NAMES), pd.DataFrame(index=[f"g{i}" for i in range(5)])).write(h5ad)
    loaded = {
        "h5ad": (h5ad, None),
        "loom": (write_loom(tmp_path / "a.loom"), None),
        "10x": (write_10x(tmp_path / "tenx"), cells),
        "10x h5": (write_10x_h5(tmp_path / "a.h5"), cells),
        "csv": (write_table(tmp_path / "a.csv", **labelled), None),
        "tsv.gz": (write_table(tmp_path / "a.tsv.gz", "\t", **labelled), None),
        "csv and cells": (write_table(tmp_path / "b.csv"), cells),
    }
    for name, (path, table) in loaded.items():
        adata = datasets.load(path, time_key="day", type_key="kind", cells=table)
        x = adata.X.toarray() if sparse.issparse(adata.X) else adata.X
        assert np.array_equal(x, COUNTS) and list(adata.obs_names) == NAMES, name
        assert adata.obs["time"].tolist() == DAYS.tolist() and adata.obs["cell_type"].tolist() == TYPES, name
        assert adata.uns["scimf"]["form"] == "counts" and adata.uns["scimf"]["time_unit"] == "day", name
        assert adata.var_names.is_unique and list(adata.var_names[:3]) == ["g0", "g1", "g2"], name
        assert adata.uns["scimf"]["files"].tolist() == [path.name] + ([table.name] if table else [])
    assert "gene names were there twice, such as 'g3'" in " ".join(
        datasets.load(tmp_path / "tenx", time_key="day", cells=cells).uns["scimf"]["warnings"]
    )


def test_a_table_without_names_whose_labels_are_numbers(tmp_path):
    path = tmp_path / "pcs.csv"
    x = np.random.default_rng(0).normal(size=(12, 3))
    pd.DataFrame(x, columns=["PC1", "PC2", "PC3"]).assign(time=DAYS, batch=1).to_csv(path, index=False)
    adata = datasets.load(path)
    assert adata.uns["scimf"]["form"] == "pcs" and list(adata.var_names) == ["PC1", "PC2", "PC3"]
    assert adata.obs["batch"].tolist() == ["1"] * 12 and adata.obs_names[0] == "cell0"
    assert any("Took 3 columns as genes" in w for w in adata.uns["scimf"]["warnings"])


def test_loom_is_read_in_blocks_and_wrong_ones_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"a\.loom: matrix is \(5, 12\), expected \(genes, cells\) = \(4, 12\)"):
        read_cells(write_loom(tmp_path / "a.loom", genes=4))
    with h5py.File(tmp_path / "b.loom", "w") as file:
        file["matrix"] = COUNTS
    with pytest.raises(ValueError, match=r"b\.loom: no loom file, \['col_attrs', 'row_attrs'\] is missing"):
        read_cells(tmp_path / "b.loom")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "0 columns, expected a table with one row per cell"),
        ("g1,g2\n", "0 rows"),
        ("g1,g1,time\n1,2,3\n", r"duplicate columns, such as \['g1'\]"),
        ("name,time\na,1\nb,2\n", "no column of numbers"),
        ("g1,g2\n1,2\n1,2,3,4,5\n", "cannot be read"),
        ("g1,g2\n\xff\xfe\n", "cannot be read"),
    ],
)
def test_bad_tables(content, says, tmp_path):
    path = tmp_path / "bad.csv"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(ValueError, match=says) as caught:
        read_cells(path)
    assert str(path) in str(caught.value)


def test_cut_short(tmp_path):
    files = [write_table(tmp_path / "a.csv.gz"), write_loom(tmp_path / "a.loom"), write_10x_h5(tmp_path / "a.h5")]
    for path in [*files, write_10x(tmp_path / "tenx") / "matrix.mtx.gz"]:
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        named = path.parent if path.parent != tmp_path else path
        with pytest.raises(ValueError, match=str(named)):
            read_cells(named)


def test_cells_that_do_not_match(tmp_path, cells):
    path = write_table(tmp_path / "a.csv")
    pd.read_csv(cells, index_col=0).iloc[2:].to_csv(tmp_path / "few.csv")
    with pytest.raises(ValueError, match=r"a\.csv: 2 of 12 cells are not in few\.csv, such as 'AAA1"):
        read_cells(path, cells=tmp_path / "few.csv")
    pd.read_csv(path, index_col=0).T.to_csv(tmp_path / "t.csv")
    with pytest.raises(ValueError, match=r"transpose t\.csv"):
        read_cells(tmp_path / "t.csv", cells=cells)
    table = pd.read_csv(cells, index_col=0)
    pd.concat([table, table]).to_csv(tmp_path / "twice.csv")
    with pytest.raises(ValueError, match=r"twice\.csv: duplicate cell names"):
        read_cells(path, cells=tmp_path / "twice.csv")
    for wrong, says in ((tmp_path / "no.csv", "no such file"), (tmp_path, "expected a table of cells")):
        with pytest.raises(ValueError, match=says):
            read_cells(path, cells=wrong)


def test_what_is_no_file_of_cells(tmp_path):
    (tmp_path / "x.rds").touch()
    for path, says in ((tmp_path / "x.rds", "expected a file that ends in"), (tmp_path / "x.csv", "no such file")):
        with pytest.raises(ValueError, match=says):
            read_cells(path)
