"""Tables as R, pandas, Excel and people write them: the same cells, or one sentence."""

import gzip

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from scimf.data import text_table
from scimf.data.formats import read_cells
from scimf.data.load import load
from scimf.data.tables import TableChoices

COUNTS = np.random.default_rng(0).poisson(1.0, (12, 5))
CELLS = [
    "AAA-1",
    "NA",
    "1.10",
    "1.1",
    "01",
    "1",
    'say "hi"',
    "back\\slash",
    "a b",
    "µ",
    "x,y",
    "z;t",
]
PLAIN_CELLS = [f"AAA{i}-1" for i in range(12)]
GENES = ["Actb", "NA", "7SK", 'g"3', "H2-K1"]
PLAIN_GENES = ["Actb", "NA", "7SK", "g3", "H2-K1"]
DAYS = np.repeat([0.5, 1.5, 4.0], 4)
TYPES = ["01", "1", "stem cell", "TRUE"] * 3


def frame(cells=PLAIN_CELLS, genes=PLAIN_GENES, x=COUNTS, **labels):
    table = pd.DataFrame(x, index=cells, columns=genes)
    return table.assign(**(labels or {"day": DAYS, "kind": TYPES}))


def r_text(table, sep=" ", quote=True, dec=".", names="short", qmethod="escape"):
    """What ``write.table`` of R writes; ``names``: "short", "corner" (col.names=NA) or None."""

    def of_text(text):
        if not quote:
            return text
        inner = text.replace('"', '\\"' if qmethod == "escape" else '""')
        return f'"{inner}"'

    def of_value(value):
        if isinstance(value, str):
            return of_text(value)
        return f"{value:g}".replace(".", dec)

    header = [of_text(name) for name in table.columns]
    if names == "corner":
        header.insert(0, of_text(""))
    lines = [sep.join(header)]
    for name, row in zip(table.index, table.itertuples(index=False), strict=True):
        fields = [of_value(value) for value in row]
        lines.append(sep.join(fields if names is None else [of_text(name), *fields]))
    return "\n".join(lines) + "\n"


def written(folder, text, name="my.csv", encoding="utf-8"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return path


def own(path, **options):
    return load(path, **{"time_key": "day", "type_key": "kind", **options})


def notes_of(adata):
    return " ".join(adata.uns["scimf"]["warnings"])


def assert_same(adata, cells=PLAIN_CELLS, genes=PLAIN_GENES, x=COUNTS):
    assert list(adata.obs_names) == list(cells)
    assert list(adata.var_names) == list(genes)
    assert np.array_equal(adata.X, np.asarray(x, np.float32))
    assert adata.obs["time"].tolist() == DAYS.tolist()
    assert adata.obs["cell_type"].tolist() == TYPES


# -------------------------------------------------------------------------- who wrote it, and how

R_WRITES = {
    "write.table": {},
    "write.table, tab": {"sep": "\t"},
    "write.table, tab, no quotes": {"sep": "\t", "quote": False},
    "write.table, comma, no quotes": {"sep": ",", "quote": False},
    "write.table, decimal comma": {"sep": ";", "dec": ","},
    "write.table, blank, decimal comma": {"sep": "\t", "dec": ","},
    "write.table, col.names=NA": {"sep": "\t", "names": "corner"},
    "write.csv": {"sep": ",", "names": "corner", "qmethod": "double"},
    "write.csv2": {"sep": ";", "dec": ",", "names": "corner", "qmethod": "double"},
}


@pytest.mark.parametrize("how", R_WRITES.values(), ids=R_WRITES)
def test_tables_of_r(how, tmp_path):
    is_quoted = how.get("quote", True)
    cells = CELLS if is_quoted else PLAIN_CELLS
    genes = GENES if is_quoted else PLAIN_GENES
    types = TYPES if is_quoted else [text.replace(" ", "_") for text in TYPES]
    table = frame(cells, genes, day=DAYS, kind=types)
    adata = own(written(tmp_path, r_text(table, **how), "my.txt"))
    adata.obs["cell_type"] = adata.obs["cell_type"].astype(str).str.replace("_", " ")
    assert_same(adata, cells, genes)
    assert adata.uns["scimf"]["form"] == "counts"
    assert ("decimal comma" in notes_of(adata)) == (how.get("dec") == ",")


@pytest.mark.parametrize("how", R_WRITES.values(), ids=R_WRITES)
def test_tables_of_cells_of_r(how, tmp_path):
    quiet = {"day": DAYS, "kind": [text.replace(" ", "_") for text in TYPES]}
    cells = pd.DataFrame(quiet, index=PLAIN_CELLS).iloc[::-1]
    path = written(tmp_path, frame().drop(columns=["day", "kind"]).to_csv())
    adata = own(path, cells=written(tmp_path, r_text(cells, **how), "cells.txt"))
    adata.obs["cell_type"] = adata.obs["cell_type"].astype(str).str.replace("_", " ")
    assert_same(adata)


def test_a_single_column_of_r(tmp_path):
    """Header ``day``, rows ``"c1" 0.5``."""
    path = written(tmp_path, frame(kind=TYPES).to_csv())
    for sep in (" ", "\t", ","):
        text = r_text(pd.DataFrame({"day": DAYS}, index=PLAIN_CELLS), sep=sep)
        assert_same(own(path, cells=written(tmp_path, text, "cells.csv")))


@pytest.mark.parametrize("separator", [",", "\t", ";", " ", "|"])
@pytest.mark.parametrize("suffix", ["csv", "tsv", "txt"])
def test_separators_whatever_the_suffix(separator, suffix, tmp_path):
    path = written(tmp_path, frame(CELLS, GENES).to_csv(sep=separator), f"my.{suffix}")
    assert_same(own(path), CELLS, GENES)


def test_separators_that_are_named(tmp_path):
    text = frame().to_csv(sep=";")
    for name in (";", "semicolon"):
        assert_same(own(written(tmp_path, text), sep=name))
    for name in ("\\t", "tab", "\t", "TAB"):
        assert_same(own(written(tmp_path, text.replace(";", "\t")), sep=name))
    assert_same(own(written(tmp_path, text.replace(";", "~")), sep="~"))
    assert_same(own(written(tmp_path, "sep=;\n" + text)))


TEXT = frame([*CELLS[:9], "µm", *CELLS[10:]]).to_csv()
BYTES = {
    "utf-8": TEXT.encode(),
    "utf-8 with a mark": TEXT.encode("utf-8-sig"),
    "utf-16": TEXT.encode("utf-16"),
    "utf-16, big end first": b"\xfe\xff" + TEXT.encode("utf-16-be"),
    "latin-1": TEXT.encode("latin-1"),
    "lines of Windows": TEXT.replace("\n", "\r\n").encode(),
    "lines of old Macs": TEXT.replace("\n", "\r").encode(),
    "gz": gzip.compress(TEXT.encode()),
    "gz of utf-16": gzip.compress(TEXT.encode("utf-16")),
    "blank lines": b"\n\n" + TEXT.encode() + b"\n  \n\n",
    "empty rows of Excel": TEXT.encode() + b",,,,,,,\n,,,,,,,\n",
    "a separator ends each line": TEXT.replace("\n", ",\n").encode(),
    "comments": b"# made by me, 2021\n#\n" + TEXT.encode(),
    "a commented header": ("# made by me, 2021\n#cell" + TEXT).encode(),
    "blanks after commas": TEXT.replace("x,y", "x").replace(",", ", ").encode(),
    "all quoted": frame([*CELLS[:9], "µm", *CELLS[10:]]).to_csv(quoting=1).encode(),
}


@pytest.mark.parametrize("content", BYTES.values(), ids=BYTES)
def test_bytes(content, tmp_path):
    adata = own(written(tmp_path, content))
    cells = [*CELLS[:9], "µm", *CELLS[10:]]
    if content == BYTES["blanks after commas"]:
        cells[10] = "x"
    assert_same(adata, cells)
    notes = notes_of(adata)
    assert ("latin-1" in notes) == (content == BYTES["latin-1"])
    assert ("2 lines of comment" in notes) == (content == BYTES["comments"])


# ----------------------------------------------------------------------------- which column is what


def with_first(heading, values):
    """A table whose first column has this heading."""
    table = frame()
    table.insert(0, heading, values)
    return table.to_csv(index=False)


NUMBERS = list(range(1000, 1012))
CODES = [3, 1, 4, 15, 9, 2, 6, 5, 35, 8, 97, 93]
WELLS = ["1.1", "1.10", "1.2", "2.1", "2.10", "2.2", "01", "1", "03", "3", "4.0", "4"]
NUMBERED = [f"cell{i}" for i in range(12)]
FIRST = {
    "row numbers, no heading": ("", range(12), range(12)),
    "row numbers, a heading nobody knows": ("foo", NUMBERS, NUMBERS),
    "Unnamed: 0": ("Unnamed: 0", CODES, CODES),
    "cell_index": ("cell_index", CODES, CODES),
    "barcode": ("Barcode", CODES, CODES),
    "wells": ("well", WELLS, WELLS),
    "wells, no heading": ("", WELLS, WELLS),
    "text, a heading nobody knows": ("foo", CELLS, CELLS),
    "row numbers of tables put together": ("", [*range(6), *range(6)], NUMBERED),
    "text that is there twice": ("treatment", ["a", "b"] * 6, NUMBERED),
    "a known label": ("batch", [1, 2] * 6, NUMBERED),
}


@pytest.mark.parametrize(("heading", "values", "names"), FIRST.values(), ids=FIRST)
def test_names_of_cells(heading, values, names, tmp_path):
    adata = own(written(tmp_path, with_first(heading, list(values))))
    assert_same(adata, [str(name) for name in names])


def test_names_of_cells_that_are_not_the_first_column(tmp_path):
    table = frame(range(12)).assign(barcode=CELLS)
    adata = own(written(tmp_path, table.to_csv()))
    assert_same(adata, CELLS)
    assert "Took column 'barcode' as names" in notes_of(adata)
    assert set(adata.obs) == {"day", "kind", "time", "cell_type"}


QUALITY = ["percent_mito", "pct_counts_mt", "n_genes", "nCount_RNA", "nFeature_RNA", "S.Score"]
QUALITY += ["total_counts", "doublet_score", "log1p_n_genes_by_counts", "RNA_snn_res.0.5", "UMAP_1"]
QUALITY += ["leiden", "louvain", "seurat_clusters", "batch", "sample", "__no_feature"]


def test_columns_of_quality_are_labels(tmp_path):
    quality = dict.fromkeys(QUALITY, 0.05)
    adata = own(written(tmp_path, frame(day=DAYS, kind=TYPES, **quality).to_csv()))
    assert_same(adata)
    assert adata.obs["percent_mito"].tolist() == [0.05] * 12
    assert "'percent_mito'" in notes_of(adata)


def test_labels_that_are_texts_stay_as_written(tmp_path):
    labels = {"day": ["0", "1.50", "4"] * 4, "kind": ["1", "01", "1.0"] * 4, "plate": ["01"] * 12}
    labels |= {"good": ["TRUE", "FALSE", "NA"] * 4, "group": ["1", "2", ""] * 4}
    adata = own(written(tmp_path, frame(**labels).to_csv()))
    assert adata.obs["time"].tolist() == [0.0, 1.5, 4.0] * 4
    assert adata.obs["cell_type"].tolist() == ["1", "01", "1.0"] * 4
    assert adata.obs["plate"].tolist() == ["01"] * 12
    assert adata.obs["good"].tolist()[:2] == ["TRUE", "FALSE"]
    assert adata.obs["good"].isna().tolist() == [False, False, True] * 4
    assert adata.obs["group"].tolist()[:2] == [1.0, 2.0]
    adata.write_h5ad(tmp_path / "done.h5ad")


def test_a_type_that_is_missing_is_no_type_of_that_name(tmp_path):
    adata = own(written(tmp_path, frame(day=DAYS, kind=["NA", "", *["a"] * 10]).to_csv()))
    assert adata.obs["cell_type"].tolist()[:3] == ["unknown", "unknown", "a"]


PANEL = [*[f"g{i}" for i in range(12)], "foo", "bar:1"]
CHOICES = {
    "genes": ({"genes": "g3, g1"}, ["g1", "g3"]),
    "genes as a list": ({"genes": ["g3", "bar:1"]}, ["g3", "bar:1"]),
    "genes, a pattern": ({"genes": "g*"}, PANEL[:12]),
    "genes, a pattern and a name": ({"genes": "g1*,foo"}, ["g1", "g10", "g11", "foo"]),
    "genes, a range": ({"genes": "g9:foo"}, ["g9", "g10", "g11", "foo"]),
    "all numbers": ({"genes": "*"}, PANEL),
    "labels": ({"labels": "foo,bar:1"}, PANEL[:12]),
    "labels, a pattern": ({"labels": "g1*"}, ["g0", *PANEL[2:10], "foo", "bar:1"]),
    "both": ({"genes": "g0:g5", "labels": "foo"}, PANEL[:6]),
}


@pytest.mark.parametrize(("options", "genes"), CHOICES.values(), ids=CHOICES)
def test_the_user_decides(options, genes, tmp_path):
    x = np.random.default_rng(0).poisson(2.0, (12, 14))
    table = frame(genes=PANEL, x=x, day=DAYS, kind=TYPES, more="text")
    adata = own(written(tmp_path, table.to_csv()), **options)
    assert_same(adata, genes=genes, x=table[genes])
    rest = set()
    if "labels" in options:
        rest = {"foo"} if "genes" in options else set(PANEL) - set(genes)
    dropped = len(PANEL) - len(genes) - len(rest)
    assert (f"Dropped {dropped} columns" in notes_of(adata)) == (dropped > 0)
    assert set(adata.obs) - {"day", "kind", "more", "time", "cell_type"} == rest


SERIES = [f"PC{i + 1}" for i in range(12)]
NORMAL = np.random.default_rng(1).normal(size=(12, 12)).round(3)
ENSEMBL = [f"ENSMUSG000000000{i}" for i in range(10, 22)]
POISSON = np.random.default_rng(1).poisson(2.0, (12, 12))
GAMMA = np.log1p(np.random.default_rng(1).poisson(1.0, (12, 12)) * 0.7).round(3)
LETTERS = list("ABCDEFGHIJKL")
ASKED = {
    "a fraction among counts": (LETTERS, POISSON, 0.25),
    "whole numbers among fractions": (LETTERS, GAMMA, 3),
    "whole numbers among PCs": (LETTERS, NORMAL, 3),
    "a negative score among expression": (LETTERS, GAMMA, -0.25),
    "another name among PC1, PC2, ...": (SERIES, NORMAL, 0.25),
    "another name among Ensembl's": (ENSEMBL, POISSON, 7),
}


@pytest.mark.parametrize(("genes", "x", "value"), ASKED.values(), ids=ASKED)
def test_a_column_that_may_be_no_gene_is_asked_for(genes, x, value, tmp_path):
    table = frame(genes=genes, x=x, day=DAYS, kind=TYPES, foo=value)
    path = written(tmp_path, table.to_csv())
    says = r"my\.csv: 1 columns, such as \['foo'\], .* unlike the other 12.*genes=.*LABELS=foo"
    with pytest.raises(ValueError, match=says):
        own(path)
    form = "state" if x.min() < 0 else None
    assert_same(own(path, labels="foo", form=form), genes=genes, x=x)
    assert own(path, genes="*", form="state").var_names[-1] == "foo"


NOT_ASKED = {
    "genes that are never seen": (LETTERS, GAMMA * ([0] + [1] * 11)),
    "PCs": (SERIES, NORMAL),
    "three PCs": (["PC1", "PC2", "PC3"], np.abs(NORMAL[:, :3]) * [1, 1, -1]),
    "spikes beside genes": ([*ENSEMBL[:10], "ERCC-1", "ERCC-2"], POISSON),
}


@pytest.mark.parametrize(("genes", "x"), NOT_ASKED.values(), ids=NOT_ASKED)
def test_columns_that_are_alike(genes, x, tmp_path):
    assert_same(own(written(tmp_path, frame(genes=genes, x=x).to_csv())), genes=genes, x=x)


def test_many_cells_are_read_in_blocks(tmp_path, monkeypatch):
    """The last rows are names, labels and numbers as the first ones are."""
    monkeypatch.setattr(text_table, "FIELDS", 1)
    x = np.random.default_rng(0).poisson(1.0, (600, 20))
    names = [f"{i:05}" for i in range(600)]
    table = pd.DataFrame(x, index=names).add_prefix("g").assign(day=[0, 1] * 300, kind="a")
    table.loc[names[-1], "kind"] = "01"
    path = written(tmp_path, table.to_csv())
    adata = own(path)
    assert np.array_equal(adata.X, x)
    assert list(adata.obs_names) == names
    assert adata.obs["cell_type"].iloc[-1] == "01"
    table = table.astype(object)
    table.loc[names[-1], "g7"] = "x"
    with pytest.raises(ValueError, match="column 'g7', row '00599' holds 'x'"):
        own(written(tmp_path, table.to_csv()))


# ----------------------------------------------------------------------------- rows that are genes


def test_tables_with_a_row_per_gene(tmp_path):
    numbers = frame().drop(columns=["day", "kind"]).T
    labels = pd.DataFrame({"day": DAYS, "kind": TYPES}, index=PLAIN_CELLS)
    cells = written(tmp_path, labels.to_csv(), "cells.csv")
    files = {
        "named by the table of cells": numbers.to_csv(),
        "as R writes it": r_text(numbers, "\t"),
        "headed so": numbers.to_csv(index_label="gene_id"),
        "headed so, with more about genes": numbers.assign(chr="X").to_csv(index_label="Symbol"),
    }
    for text in files.values():
        adata = own(written(tmp_path, text), cells=cells)
        assert_same(adata)
        assert "Turned my.csv" in notes_of(adata)
    names = [*PLAIN_CELLS[:11], "NA"]  # one that is unlike the others
    labels.set_axis(names).to_csv(cells)
    assert_same(
        own(written(tmp_path, numbers.set_axis(names, axis=1).to_csv()), cells=cells), names
    )


# -------------------------------------------------------------------------------- what is refused


def changed(row, column, value, **how):
    table = frame().astype(object)
    table.iloc[row, column] = value
    return table.to_csv(**how)


REFUSED = {
    "text in a gene": (changed(2, 0, "x"), "column 'Actb', row 'AAA2-1' holds 'x'"),
    "an empty gene": (changed(2, 0, ""), "column 'Actb', row 'AAA2-1' is missing"),
    "NA in a gene": (changed(2, 1, "NA"), "column 'NA', row 'AAA2-1' is missing"),
    "infinity in a gene": (changed(2, 1, "inf"), "column 'NA', row 'AAA2-1' holds 'inf'"),
    "too large": (changed(2, 1, "1e300"), "column 'NA', row 'AAA2-1' holds '1e\\+300'"),
    "TRUE in a gene": (changed(2, 1, "TRUE"), "column 'NA', row 'AAA2-1' holds 'TRUE'"),
    "Unicode minus": (changed(2, 1, "−1"), "column 'NA', row 'AAA2-1' holds '−1'"),
    "thousands": (changed(2, 1, "1,234"), "column 'NA', row 'AAA2-1' holds '1,234'"),
    "thousands only": (
        frame(x=COUNTS).assign(Actb="1,234").to_csv(sep=";"),
        "column 'Actb' holds '1,234', expected 1234.5, or.*LABELS=Actb",
    ),
    "a point beside decimal commas": (
        frame(x=COUNTS + 0.25).to_csv(sep=";", decimal=",").replace("3,25", "3.25", 1),
        "column 'g3', row 'AAA0-1' holds '3.25'",
    ),
    "a column of decimal commas": (
        frame(x=COUNTS + 0.25).assign(Actb="0,5").to_csv(sep=";"),
        "column 'Actb' holds '0,5', expected 1234.5, or",
    ),
    "a column of decimal points": (
        frame(x=COUNTS + 0.25).assign(Actb="0.5").to_csv(sep=";", decimal=","),
        "column 'Actb' holds '0.5', expected 1234.5, or",
    ),
    "point and comma": (changed(2, 1, "0,5", sep=";"), "row 'AAA2-1' holds '0,5'"),
    "the same gene twice": ("c,g,g,day\na,1,2,3\n", r"duplicate columns, such as \['g'\]"),
    "the same cell twice": (frame(["a", "a", *CELLS[2:]]).to_csv(), "duplicate cell names.*'a'"),
    "a short line": (frame().to_csv()[:-6], "line 13 has 7 fields where those above have 8"),
    "a long line": (frame().to_csv() + "a,1,2,3,4,5,6,7,8\n", "line 14 has 9 fields"),
    "comment within": (frame().to_csv() + "# the end\n", "line 14 has 1 fields"),
    "an open quote": (frame().to_csv() + '"a,1\n', "line 14: unexpected end of data"),
    "only a header": ("a,b,day\n", "0 rows"),
    "one column": ("a\n1\n", "none of comma, .* cuts .*SEP="),
    "nothing": ("", r"is empty \(0 bytes\)"),
    "nothing but blank lines": ("\n\n", "none of comma, .* cuts"),
    "no header": ("0.5,1,2\n0.5,3,4\n", "the first line holds numbers"),
    "no header, names": ("c1,0.5,0.25\nc2,3,4\n", "the first line holds numbers, such as '0.5'"),
    "two separators": ("day\nc1;0,5\nc2;0,7\n", "cut at ',' and at ';', .*SEP="),
    "no separator in common": ("a,b,c\nd;e;f\ng;h;i\n", "none of comma, .* cuts.*SEP="),
    "no header, counts": ("c1,1,2\nc2,3,4\n", "the first line holds numbers, such as '1'"),
    "a separator ends each row": (
        frame().to_csv().replace("\n", ",\n").replace(",\n", "\n", 1),
        "none of comma, .* cuts",
    ),
    "a separator ends the header": (
        frame().to_csv().replace("\n", ",\n", 1),
        "none of comma, .* cuts",
    ),
    "genes in rows, and the times": (
        frame().T.to_csv(),
        "'day' is a row, not a column: transpose",
    ),
    "no text": (b"a,b\n\0\0", "is no text but a workbook or an archive"),
    "a workbook": (b"PK\x03\x04...", "is no text but a workbook or an archive"),
    "no genes": ("kind,day\na,1\nb,2\n", "no column of genes in.*GENES="),
}


@pytest.mark.filterwarnings("ignore:.*names are not unique")
@pytest.mark.parametrize(("content", "says"), REFUSED.values(), ids=REFUSED)
def test_refused(content, says, tmp_path):
    path = written(tmp_path, content)
    with pytest.raises(ValueError, match=says) as caught:
        own(path, type_key=None)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


BAD_CHOICES = {
    "a gene that is not there": ({"genes": "Actb,foo"}, "genes='foo' is none of the columns"),
    "a pattern without a column": ({"labels": "z*"}, r"labels='z\*'"),
    "a range the wrong way": ({"genes": "7SK:Actb"}, "genes='7SK:Actb'"),
    "a label as a gene": ({"genes": "other"}, "column 'other', row 'AAA0-1' holds 'text'"),
    "a long separator": ({"sep": "::"}, "sep='::', expected a character"),
    "a separator that does not fit": ({"sep": ";"}, "the lines have 1 field; .*SEP="),
}


@pytest.mark.parametrize(("options", "says"), BAD_CHOICES.values(), ids=BAD_CHOICES)
def test_bad_choices(options, says, tmp_path):
    path = written(tmp_path, frame(day=DAYS, kind=TYPES, other="text").to_csv())
    with pytest.raises(ValueError, match=rf"my\.csv: {says}"):
        own(path, **options)


# ---------------------------------------------------------------------------------- table of cells


def joined(folder, names, table, **how):
    """Cells of these names in an ``.h5ad``, joined with a table."""
    adata = ad.AnnData(COUNTS.astype(np.float32), obs=pd.DataFrame(index=names))
    adata.write_h5ad(folder / "my.h5ad")
    cells = written(folder, table.to_csv(**how), "cells.csv")
    adata, notes = read_cells(folder / "my.h5ad", choices=TableChoices("day"), cells=cells)
    return adata, " ".join(notes)


def days(names):
    return pd.DataFrame({"day": DAYS}, index=names)


BARE = [name.removesuffix("-1") for name in PLAIN_CELLS]
ALIKE = {
    "as written": (CELLS, CELLS, ""),
    "wells": (WELLS, WELLS, ""),
    "numbers": ([str(code) for code in CODES], CODES, ""),
    "the number at the end is lost": (PLAIN_CELLS, BARE, "but for the number that ends"),
    "a number at the end is new": (BARE, PLAIN_CELLS, "but for the number that ends"),
}


@pytest.mark.parametrize(("names", "there", "says"), ALIKE.values(), ids=ALIKE)
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_cells_are_found(names, there, says, separator, tmp_path):
    adata, notes = joined(tmp_path, names, days(there).iloc[::-1], sep=separator)
    assert adata.obs["day"].tolist() == DAYS.tolist()
    assert list(adata.obs_names) == names
    assert says in notes


def test_cells_are_found_in_another_column(tmp_path):
    adata, notes = joined(tmp_path, CELLS, days(range(12)).assign(barcode=CELLS))
    assert adata.obs["day"].tolist() == DAYS.tolist()
    assert list(adata.obs) == ["day"]


def test_cells_of_two_samples_are_not_mixed_up(tmp_path):
    twice = [f"A{i // 2}-{i % 2 + 1}" for i in range(12)]
    with pytest.raises(ValueError, match="12 of 12 cells are not in cells.csv, such as 'A0-1'"):
        joined(tmp_path, twice, days([f"A{i // 2}-{i % 2 + 3}" for i in range(12)]))
    with pytest.raises(ValueError, match="duplicate cell names"):
        joined(tmp_path, twice, days([name[:-2] for name in twice]))


def test_rows_and_columns_that_are_there_already(tmp_path):
    path = written(tmp_path, frame().to_csv())
    table = pd.DataFrame({"day": DAYS + 1, "kind": TYPES}, index=PLAIN_CELLS)
    table.loc["more"] = [1.0, "a"]
    adata = own(path, cells=written(tmp_path, table.to_csv(), "cells.csv"))
    assert adata.obs["time"].tolist() == (DAYS + 1).tolist()
    notes = notes_of(adata)
    assert "1 rows of cells.csv are of no cell in my.csv" in notes
    assert "Column 'day' of cells.csv took the place" in notes


def test_each_table_may_have_a_separator_of_its_own(tmp_path):
    path = written(tmp_path, frame().drop(columns=["day"]).to_csv(sep="~"))
    cells = written(tmp_path, days(PLAIN_CELLS).to_csv(sep=";"), "cells.csv")
    assert_same(own(path, cells=cells, sep="~"))
