"""Every format gives the same cells, and every file that is not what it should be is named."""

import gzip
import subprocess
import sys

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import io, sparse

from scimf.data import load
from scimf.data.blocks import DataFile
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
    shape = r"a\.loom: cannot be read.*`X` has columns \(5\), but has 4 rows"
    with pytest.raises(ValueError, match=shape):
        read_cells(write_loom(tmp_path / "a.loom", n_genes=4))
    with h5py.File(tmp_path / "b.loom", "w") as file:
        file["matrix"] = COUNTS
    parts = r"b\.loom: cannot be read, .*'row_attrs' doesn't exist"
    with pytest.raises(ValueError, match=parts):
        read_cells(tmp_path / "b.loom")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", r"is empty \(0 bytes\)"),
        ("name\na\nb\n", "cuts .*, expected a table with one row per cell"),
        ("g1,g2\n", "0 rows"),
        ("g1,g1,time\n1,2,3\n", r"duplicate columns, such as \['g1'\]"),
        ("name,time\na,1\nb,2\n", "no column of genes"),
        ("g1,g2\n1,2\n1,2,3,4,5\n", "line 3 has 5 fields where those above have 2"),
        ("g1,g2\n\xff\xfe\n", "none of comma, .* cuts the header and the rows.*SEP="),
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
    with pytest.raises(ValueError, match="it is a folder, expected a file"):
        read_cells(path, cells=tmp_path)


WRONG = {
    "x.rds": "zellkonverter",
    "x.RData": "objects of R",
    "x.xlsx": "spreadsheet.*csv",
    "x.parquet": "read_parquet",
    "x.feather": "read_feather",
    "x.npz": "without names",
    "x.npy": "without names",
    "x.pkl": "may run any program",
    "x.tar.gz": "unpack it",
    "x.zarr.zip": "unpack it",
    "x_R1.fastq.gz": "reads, not counts",
    "x.bam": "reads, not counts",
    "x.cloupe": "Loupe browser",
    "x.pdf": "expected a file that ends in",
    "x": "expected a file that ends in",
    "x.mtx": "no file of genes beside it",
}


@pytest.mark.parametrize("name", WRONG)
def test_a_file_that_is_not_read_says_what_to_do(name, tmp_path):
    path = tmp_path / name
    path.write_bytes(b"something")
    with pytest.raises(ValueError, match=WRONG[name]) as caught:
        load.load(path, time_key="day")
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["x.h5ad", "x.rds", "x.csv", "some/folder"])
def test_a_path_that_does_not_exist(name):
    with pytest.raises(ValueError, match=f"{name}: no such file$"):
        load.load(name, time_key="day")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"\x1f\x8b packed", "gunzip"),
        (b"PK\x03\x04 packed", "unzip"),
        (b"<!DOCTYPE html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
        (b"", r"is empty \(0 bytes\)"),
        (b"anything else", "not an HDF5 file"),
    ],
)
@pytest.mark.parametrize("name", ["x.h5ad", "x.h5", "x.loom"])
def test_what_only_looks_like_hdf5(name, content, says, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=says):
        read_cells(tmp_path / name)


def test_a_file_that_another_program_writes(tmp_path):
    path = write_10x_h5(tmp_path / "a.h5")
    hold = f"import h5py; f = h5py.File({str(path)!r}, 'a'); print('open', flush=True); input()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", hold], **pipes) as other:
        try:
            other.stdout.readline()
            with pytest.raises(ValueError, match="open in another program") as caught:
                read_cells(path)
        finally:
            other.communicate(b"\n")
    assert "damaged" not in str(caught.value)
    assert read_cells(path)[0].n_obs == 12


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (PermissionError(13, "Permission denied"), "not permitted"),
        (IsADirectoryError(21, "Is a directory"), "it is a folder"),
        (EOFError("Compressed file ended before the end-of-stream marker"), "cut short"),
        (KeyError("x"), "probably cut short, damaged or another file"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(error, says, tmp_path):
    with pytest.raises(ValueError, match=says), DataFile(tmp_path / "a.csv").reading():
        raise error


# ---------------------------------------------------------------------------- cells in memory


def in_memory():
    obs = pd.DataFrame({"day": DAYS, "kind": TYPES}, index=NAMES)
    adata = ad.AnnData(sparse.csr_matrix(COUNTS), obs, pd.DataFrame(index=GENES))
    adata.uns["tuple"] = (1, 2)
    return adata


def test_cells_in_memory_are_copied(cells):
    given = in_memory()
    given.raw = given.copy()
    given.raw.var["_index"] = GENES
    before = given.copy()
    adata = load.load(given, time_key="day", type_key="kind")
    assert_same_cells(adata)
    assert adata.uns["scimf"]["files"].tolist() == ["AnnData in memory"]
    adata.X.data[:] = 0
    assert (given.X != before.X).nnz == 0
    pd.testing.assert_frame_equal(given.obs, before.obs)
    pd.testing.assert_frame_equal(given.raw.var, before.raw.var)
    assert list(adata.raw.var) == ["index"]
    assert dict(given.uns) == {"tuple": (1, 2)}
    given.obs = given.obs[[]]
    assert_same_cells(load.load(given, time_key="day", type_key="kind", cells=cells))


def test_a_view_and_a_backed_file(tmp_path):
    given = in_memory()
    assert load.load(given[given.obs["day"] > 0], time_key="day").n_obs == 8
    del given.uns["tuple"]
    given.write_h5ad(tmp_path / "a.h5ad")
    backed = ad.read_h5ad(tmp_path / "a.h5ad", backed="r")
    assert_same_cells(load.load(backed, time_key="day", type_key="kind"))
    assert backed.isbacked
    assert np.array_equal(backed.X[:].toarray(), COUNTS)  # and still open
    backed.file.close()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (pd.DataFrame(), "got DataFrame"),
        (None, "got NoneType"),
    ],
)
def test_what_is_no_anndata(given, says):
    with pytest.raises(ValueError, match=says):
        load.load(given)


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("time_keys", "unknown option 'time_keys'.*expected .'time_key'"),
        ("celltype", "unknown option 'celltype'"),
        ("n_pcs", "unknown option 'n_pcs'"),
        ("given", "unknown option 'given'"),
    ],
)
def test_an_option_that_is_none(option, says):
    for source in ("x.h5ad", in_memory()):
        with pytest.raises(ValueError, match=says):
            load.load(source, **{option: 1})


def test_a_wrong_key_of_cells_in_memory():
    with pytest.raises(ValueError, match=r"^AnnData in memory: obs\['time'\] is missing"):
        load.load(in_memory())
