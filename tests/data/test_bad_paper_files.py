"""Files of the papers that are not what they should be end in a ValueError that names them."""

import gzip

import anndata as ad
import pandas as pd
import pytest
from evidence.look_alikes import (
    GENES,
    WRITERS,
    counts,
    places,
    write_conditions,
    write_pancreas,
    write_reprogramming,
)
from scipy import sparse

from scimf.data.load import load
from scimf.data.readers import READERS

pytestmark = pytest.mark.usefixtures("empty_cache")

# ------------------------------------------------------------- what happens to files on their way


def unpacked(file):
    content = file.read_bytes()
    return gzip.decompress(content) if file.suffix == ".gz" else content


def pack(file, content):
    file.write_bytes(gzip.compress(content) if file.suffix == ".gz" else content)


def cut(index):
    def damage(files):
        content = files[index].read_bytes()
        files[index].write_bytes(content[: int(0.6 * len(content))])

    return damage


def cut_inside_gzip(index, at=None):
    """A table that was cut first and packed afterwards: the packing is whole, the table is not."""

    def damage(files):
        content = gzip.decompress(files[index].read_bytes())
        files[index].write_bytes(gzip.compress(content[: at or int(0.6 * len(content))]))

    return damage


def swap(one, other):
    def damage(files):
        first = unpacked(files[one])
        second = unpacked(files[other])
        pack(files[one], second)
        pack(files[other], first)

    return damage


def edit(index, old, new, count=-1):
    def damage(files):
        content = unpacked(files[index])
        changed = content.replace(old.encode(), new.encode(), count)
        assert changed != content
        pack(files[index], changed)

    return damage


def no_gzip(index):
    def damage(files):
        files[index].write_bytes(gzip.decompress(files[index].read_bytes()))

    return damage


def only_header(index):
    def damage(files):
        pack(files[index], unpacked(files[index]).partition(b"\n")[0] + b"\n")

    return damage


# Of each: the set, what happens, the file that is to be named, and how the message goes on.
ZEBRAFISH = [
    (cut(0), 0, "cut short"),
    (cut_inside_gzip(0), 0, "expected 48 numbers"),
    (no_gzip(0), 0, "damaged"),
    (cut(1), 1, "is one of them cut short"),
    (swap(0, 1), 1, r"it is another table.* not found: .*'NAME'"),
    (only_header(1), 1, "48 cells are only here or only in URD"),
    (edit(1, "Stage", "Age"), 1, r"not found: \['Stage'\]"),
    (edit(1, "12.0-6-Somite", "11.0-3-Somite"), 1, r"'Stage' .* lacks \[12\.0\], expected all of"),
    (
        edit(1, "12.0-6-Somite", "late"),
        1,
        r"'Stage' .* has \['late'\] .* all of \[3\.3",
    ),
    (edit(0, "ZF_DS5_0000", "another"), 1, "2 cells are only here or only in URD"),
    (edit(0, "GENE", "CELL"), 0, "first column is 'CELL', expected 'GENE'"),
    (edit(0, "\t0.0", "\tzero", 1), 0, "row 'gene0' lacks fields or has text"),
    (edit(0, "\t0.0", "\t-2.0", 1), 0, "negative"),
    (edit(1, "ZF_DS5_0001", "ZF_DS5_0000"), 1, r"duplicate cells in .*NAME.*\['ZF_DS5_0000'\]"),
]
REPROGRAMMING = [
    (cut(0), 0, "cut short, damaged"),
    (cut(1), 1, r"'day' .* lacks .*expected all of"),
    (swap(0, 1), 1, "cannot be read, probably cut short, damaged or another file"),
    (edit(1, "id\tday", "cell\tday"), 1, r"not found: \['id'\]"),
    (edit(1, "_C1_", "_X_"), 1, "lacks .*expected all of"),
]
PANCREAS = [
    (cut(0), 0, "cut short"),
    (cut(1), 1, "cut short"),
    (cut_inside_gzip(0), 0, "expected 12 numbers"),
    (cut_inside_gzip(1, at=200), 1, "is one of them cut short"),
    (swap(0, 1), 1, r"not found: .*'library\.barcode'"),
    (edit(1, "CellWeek", "Week"), 1, r"not found: \['CellWeek'\]"),
    (edit(0, "\tgene11", ""), 0, "as many names as numbers"),
]
DROSOPHILA = [
    (cut(0), 0, "cut short"),
    (cut_inside_gzip(0, at=3000), 0, "cut short.*Truncated file"),
    (cut(2), 2, "cut short"),
    (swap(1, 2), 2, r"not found: .*'cell'"),
    (swap(0, 1), 0, "Not a Matrix Market file"),
    (edit(1, "gene11\n", ""), 0, "expected 11 genes and 880 cells"),
    (only_header(2), 2, r"'time' .* lacks \[1\.0, .*expected all of"),
    (edit(2, "hrs_16_20", "hrs_14_18"), 2, r"'time' .* lacks \[18\.0\]"),
    (edit(0, "\n1 1 ", "\n13 1 ", 1), 0, "Row index out of bounds"),
    (edit(0, "\n1 1 ", "\n1 1 x", 1), 0, "Invalid integer value"),
]
BAD = [("zebrafish", *case) for case in ZEBRAFISH]
BAD += [("reprogramming", *case) for case in REPROGRAMMING]
BAD += [("pancreas", *case) for case in PANCREAS]
BAD += [("drosophila", *case) for case in DROSOPHILA]


@pytest.mark.parametrize(("name", "damage", "index", "says"), BAD)
def test_bad_files_are_named(name, damage, index, says):
    WRITERS[name]()
    damage(places(name))
    with pytest.raises(ValueError, match=says) as caught:
        load(name)
    assert str(caught.value).startswith(str(places(name)[index]))
    assert caught.type is ValueError


def test_fractions_are_no_counts():
    write_pancreas(scale=0.5)
    with pytest.raises(ValueError, match=r"matrix holds \d*\.5, expected counts"):
        load("pancreas")


def test_raw_counts_are_no_logarithms():
    write_reprogramming()
    matrix = places("reprogramming")[0]
    source = ad.read_h5ad(matrix)
    source.X = source.X * 1000
    source.write_h5ad(matrix)
    with pytest.raises(ValueError, match="expected log1p values") as caught:
        load("reprogramming")
    assert str(matrix) in str(caught.value)


# ---------------------------------------------------------------------------- conditions of scLDM


@pytest.mark.parametrize(
    ("name", "changes", "says"),
    [
        ("hlca", {"obs": pd.DataFrame(index=[f"c{k}" for k in range(40)])}, "'cell_type'"),
        (
            "hlca",
            {"layers": {"X_counts": sparse.csr_matrix(counts(40) / 3)}},
            "holds .*, expected counts in X_counts",
        ),
        ("parse_1m", {"X": sparse.csr_matrix(-counts(40))}, r"holds -\d, expected counts in X"),
    ],
)
def test_bad_conditions_are_named(name, changes, says):
    write_conditions(name, **changes)
    with pytest.raises(ValueError, match=says) as caught:
        load(name)
    assert str(places(name)[0]) in str(caught.value)


def test_conditions_in_something_else_than_hdf5():
    places("hlca")[0].write_text("not hdf5")
    with pytest.raises(ValueError, match="not an HDF5 file") as caught:
        load("hlca")
    assert str(places("hlca")[0]) in str(caught.value)


def test_screens_without_a_common_gene():
    write_conditions("replogle")
    last = places("replogle")[-1]
    adata = ad.read_h5ad(last)
    adata.var_names = [f"other{k}" for k in range(len(GENES))]
    adata.write_h5ad(last)
    with pytest.raises(ValueError, match="no gene in common") as caught:
        load("replogle")
    assert last.name in str(caught.value)


def test_a_screen_of_an_unknown_cell_line():
    write_conditions("replogle")
    first = places("replogle")[0]
    unknown = first.with_name("another.h5ad")
    first.rename(unknown)
    with pytest.raises(ValueError, match=r"neither obs nor its name has 'hepg2\|k562'"):
        READERS["replogle"]([unknown], cell_line="hepg2|k562")
