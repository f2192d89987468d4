"""Every format gives the same cells, and every file that is not what it should be is named."""

import gzip

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import io, sparse

from scimf.data import load
from scimf.data.formats import read_cells

COUNTS = np.random.default_rng(0).poisson(1.0, (12, 5)).astype(np.float32)
NAMES = [f"AAA{i}-1" for i in range(12)]
GENES = [f"g{i}" for i in range(5)]
DAYS = np.repeat([0.0, 1.5, 4.0], 4)
TYPES = ["stem", "blood"] * 6


def write_loom(path, n_genes=5):
    with h5py.File(path, "w") as file:
        file["matrix"] = COUNTS.T
        file["row_attrs/Gene"] = np.array(GENES[:n_genes], dtype=object)
        file["col_attrs/CellID"] = np.array(NAMES, dtype=object)
        file["col_attrs/day"] = DAYS
        file["col_attrs/kind"] = np.array(TYPES, dtype=object)
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
    features = {"id": "ENS{}", "name": "g{}", "feature_type": "Gene Expression", "genome": "x"}
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix")
        for key in ("data", "indices", "indptr"):
            group[key] = getattr(matrix, key)
        group["shape"] = matrix.shape
        group["barcodes"] = np.array(NAMES, dtype="S10")
        for key, text in features.items():
            group[f"features/{key}"] = np.array([text.format(i) for i in range(5)], dtype="S20")
    return path


def write_table(path, separator=",", **columns):
    table = pd.DataFrame(COUNTS.astype(int), index=NAMES, columns=GENES)
    table.assign(**columns).to_csv(path, sep=separator)
    return path


@pytest.fixture
def cells(tmp_path):
    """A table of the cells, in another order."""
    path = tmp_path / "cells.csv"
    pd.DataFrame({"day": DAYS, "kind": TYPES}, index=NAMES).iloc[::-1].to_csv(path)
    return path


def assert_same_cells(adata):
    x = adata.X.toarray() if sparse.issparse(adata.X) else adata.X
    assert np.array_equal(x, COUNTS)
    assert list(adata.obs_names) == NAMES
    assert adata.obs["time"].tolist() == DAYS.tolist()
    assert adata.obs["cell_type"].tolist() == TYPES
    assert adata.uns["scimf"]["form"] == "counts"
    assert adata.uns["scimf"]["time_unit"] == "day"
    assert adata.var_names.is_unique
    assert list(adata.var_names[:3]) == ["g0", "g1", "g2"]


def test_files_with_labels_give_the_same_cells(tmp_path):
    labels = {"day": DAYS, "kind": TYPES}
    h5ad = tmp_path / "a.h5ad"
    obs = pd.DataFrame(labels, index=NAMES)
    ad.AnnData(COUNTS, obs, pd.DataFrame(index=GENES)).write(h5ad)
    files = [
        h5ad,
        write_loom(tmp_path / "a.loom"),
        write_table(tmp_path / "a.csv", **labels),
        write_table(tmp_path / "a.tsv.gz", "\t", **labels),
    ]
    for path in files:
        adata = load.load(path, time_key="day", type_key="kind")
        assert_same_cells(adata)
        assert adata.uns["scimf"]["files"].tolist() == [path.name]


def test_files_with_a_table_of_cells_give_the_same_cells(tmp_path, cells):
    files = [
        write_10x(tmp_path / "tenx"),
        write_10x_h5(tmp_path / "a.h5"),
        write_table(tmp_path / "b.csv"),
    ]
    for path in files:
        adata = load.load(path, time_key="day", type_key="kind", cells=cells)
        assert_same_cells(adata)
        assert adata.uns["scimf"]["files"].tolist() == [path.name, "cells.csv"]


def test_a_gene_name_that_is_there_twice_is_noted(tmp_path, cells):
    adata = load.load(write_10x(tmp_path / "tenx"), time_key="day", cells=cells)
    warnings = " ".join(adata.uns["scimf"]["warnings"])
    assert "gene names were there twice, such as 'g3'" in warnings


def test_a_table_without_names_whose_labels_are_numbers(tmp_path):
    path = tmp_path / "pcs.csv"
    x = np.random.default_rng(0).normal(size=(12, 3))
    table = pd.DataFrame(x, columns=["PC1", "PC2", "PC3"]).assign(time=DAYS, batch=1)
    table.to_csv(path, index=False)
    adata = load.load(path)
    assert adata.uns["scimf"]["form"] == "pcs"
    assert list(adata.var_names) == ["PC1", "PC2", "PC3"]
    assert adata.obs["batch"].tolist() == ["1"] * 12
    assert adata.obs_names[0] == "cell0"
    assert any("Took 3 columns as genes" in text for text in adata.uns["scimf"]["warnings"])


def test_wrong_loom_files_are_refused(tmp_path):
    shape = r"a\.loom: matrix is \(5, 12\), expected \(genes, cells\) = \(4, 12\)"
    with pytest.raises(ValueError, match=shape):
        read_cells(write_loom(tmp_path / "a.loom", n_genes=4))
    with h5py.File(tmp_path / "b.loom", "w") as file:
        file["matrix"] = COUNTS
    parts = r"b\.loom: no loom file, \['col_attrs', 'row_attrs'\] is missing"
    with pytest.raises(ValueError, match=parts):
        read_cells(tmp_path / "b.loom")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "holds no line of text"),
        ("name\na\nb\n", "1 columns, expected a table with one row per cell"),
        ("g1,g2\n", "0 rows"),
        ("g1,g1,time\n1,2,3\n", r"duplicate columns, such as \['g1'\]"),
        ("name,time\na,1\nb,2\n", "no column of numbers"),
        ("g1,g2\n1,2\n1,2,3,4,5\n", "line 3 has 5 fields where those above have 2"),
        ("g1,g2\n\xff\xfe\n", "no separator cuts the header and the rows.*SEP="),
    ],
)
def test_bad_tables(content, says, tmp_path):
    path = tmp_path / "bad.csv"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(ValueError, match=says) as caught:
        read_cells(path)
    assert str(path) in str(caught.value)


def cut_short(path):
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def test_files_that_are_cut_short(tmp_path):
    files = [
        write_table(tmp_path / "a.csv.gz"),
        write_loom(tmp_path / "a.loom"),
        write_10x_h5(tmp_path / "a.h5"),
    ]
    for path in files:
        cut_short(path)
        with pytest.raises(ValueError, match=str(path)):
            read_cells(path)


def test_a_matrix_that_is_cut_short(tmp_path):
    folder = write_10x(tmp_path / "tenx")
    cut_short(folder / "matrix.mtx.gz")
    with pytest.raises(ValueError, match=str(folder)):
        read_cells(folder)


def test_cells_that_are_missing_in_their_table(tmp_path, cells):
    path = write_table(tmp_path / "a.csv")
    pd.read_csv(cells, index_col=0).iloc[2:].to_csv(tmp_path / "few.csv")
    says = r"a\.csv: 2 of 12 cells are not in few\.csv, such as 'AAA1"
    with pytest.raises(ValueError, match=says):
        read_cells(path, cells=tmp_path / "few.csv")
    pd.read_csv(path, index_col=0).T.to_csv(tmp_path / "t.csv")
    turned, notes = read_cells(tmp_path / "t.csv", cells=cells)
    assert list(turned.obs_names) == NAMES
    assert np.array_equal(turned.X, COUNTS)
    assert "Turned t.csv: its columns are the cells of cells.csv." in notes


def test_a_table_of_cells_that_is_none(tmp_path, cells):
    path = write_table(tmp_path / "a.csv")
    table = pd.read_csv(cells, index_col=0)
    pd.concat([table, table]).to_csv(tmp_path / "twice.csv")
    with pytest.raises(ValueError, match=r"twice\.csv: duplicate cell names"):
        read_cells(path, cells=tmp_path / "twice.csv")
    with pytest.raises(ValueError, match="no such file"):
        read_cells(path, cells=tmp_path / "no.csv")
    with pytest.raises(ValueError, match="expected a table of cells"):
        read_cells(path, cells=tmp_path)


def test_what_is_no_file_of_cells(tmp_path):
    (tmp_path / "x.rds").touch()
    with pytest.raises(ValueError, match="expected a file that ends in"):
        read_cells(tmp_path / "x.rds")
    with pytest.raises(ValueError, match="no such file"):
        read_cells(tmp_path / "x.csv")
