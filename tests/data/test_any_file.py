"""Any file: the right answer, or one sentence.

Random designs are written in each family of files as other tools write them, and read back. What
comes out is equal in every value, name, time and type, or it is a ``ValueError`` of one sentence
that names the file; whether a family may be refused at all stands in its row.

``SCIMF_EXAMPLES`` is the number of designs of each family, ``SCIMF_SEED`` chooses others.
"""

import os
import sys
import tempfile
import warnings
import zlib
from collections import Counter
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import pytest
import writers as w
import writers_of_tables as t
from agreement import differences
from designs import Design, Limits, designs
from hypothesis import HealthCheck, given, seed, settings

from scimf.data.load import load

EXAMPLES = int(os.environ.get("SCIMF_EXAMPLES", "8"))
SEED = os.environ.get("SCIMF_SEED", "0")
TOLD = Counter()  # what became of the designs, shown at the end


class Family(NamedTuple):
    """Files of one kind: how they are written, what they can hold, when they may be refused."""

    name: str
    write: Callable
    limits: Limits = Limits()
    may_refuse: Callable[[Design], bool] = lambda design: False
    texts: bool = False  # a table of text
    needs: str | None = None  # a package that is not one of ours


# ------------------------------------------------------------------- what a family can express


def one_line(text):
    return not set(text) & set("\t\r\n")


def without(letters):
    return lambda text: one_line(text) and not set(text) & set(letters)


def latin(text):
    return all(ord(letter) < 256 for letter in text)


def bare(separator):
    """Texts that need no quotes around them."""
    return without(separator + "\"'#\\")


def always(design):
    return True


def not_ascii(design):
    texts = [*design.cells, *design.genes, *design.times.labels, *design.types]
    return not all(str(text).isascii() for text in texts)


COUNTS = ("counts",)
EXPRESSION = ("counts", "lognorm")
TABLE = Limits(fits=one_line)
LATIN = Limits(fits=latin)
ESCAPED = Limits(fits=without("\\"))  # R escapes quotes, but no backslash
NO_TABS = Limits(fits=bare("\t"))
NO_SPACES = Limits(fits=bare(" "))
TENX = Limits(COUNTS, without(""), twice=True, dtypes=("int32", "int64"))
TENX_FLOATS = Limits(EXPRESSION, without(""), twice=True, dtypes=("int32", "float32"))
LOOM = Limits(EXPRESSION, missing=False)
SCALED = Limits(EXPRESSION, dtypes=("int32", "float32", "float64"))

# fmt: off
FAMILIES = [
    # AnnData ---------------------------------------------------------------------------------
    Family("AnnData in memory", w.in_memory),
    Family("h5ad", w.h5ad()),
    Family("h5ad, types as texts", w.h5ad(strings=True), Limits(missing=False)),
    Family("h5ad, types as whole numbers", w.types_as_numbers, Limits(missing=False)),
    Family("h5ad, backed", w.backed),
    Family("h5ad, written again", w.written_again),
    Family("h5ad, X scaled, a layer", w.counts_in("counts"), SCALED),
    Family("h5ad, X scaled, raw", w.counts_in("raw"), SCALED),
    Family("h5ad, nothing but PCs", w.only_pcs, Limits(("pcs",), dtypes=("float32",))),
    Family("h5ad of anndata 0.7", w.anndata_0_7),
    Family("h5ad of anndata 0.6", w.anndata_0_6, may_refuse=always),
    Family("h5ad of SeuratDisk", w.seurat(typed=True)),
    Family("h5ad of Seurat, no encoding", w.seurat(typed=False)),
    Family("zarr", w.zarr),
    # Tables of pandas ------------------------------------------------------------------------
    Family("csv", t.pandas_table(), TABLE, texts=True),
    Family("csv, labels first", t.pandas_table(first="labels"), TABLE, texts=True),
    Family("csv, named index", t.pandas_table(index_label="cell_id"), TABLE, texts=True),
    Family("csv.gz", t.pandas_table("my.csv.gz"), TABLE, texts=True),
    Family("tsv", t.pandas_table("my.tsv", sep="\t"), TABLE, texts=True),
    Family("txt.gz with tabs", t.pandas_table("my.txt.gz", sep="\t"), TABLE, texts=True),
    Family("csv with ;", t.pandas_table(sep=";"), TABLE, texts=True),
    Family("csv, all quoted", t.pandas_table(quoting=1), TABLE, texts=True),
    Family("csv in latin-1", t.pandas_table(encoding="latin-1"), LATIN, not_ascii, True),
    Family("csv in utf-16", t.pandas_table(encoding="utf-16"), TABLE, always, True),
    Family("csv with comments", t.commented, TABLE, always, True),
    Family("csv, quality columns, labels=", t.with_quality("labels"), TABLE, texts=True),
    Family("csv, quality columns, genes=", t.with_quality("genes"), TABLE, texts=True),
    Family("csv, quality columns", t.with_quality(None), TABLE, always, True),
    Family("csv, genes in rows", t.genes_in_rows, TABLE, always, True),
    Family("csv and cells.csv", t.table_and_cells(t.cells_by_pandas), TABLE, texts=True),
    # Tables of R -----------------------------------------------------------------------------
    Family("write.table", t.r_table("my.txt"), ESCAPED, texts=True),
    Family("write.table, tabs", t.r_table("my.tsv", sep="\t"), ESCAPED, texts=True),
    Family("write.table, commas", t.r_table("my.csv", sep=","), ESCAPED, texts=True),
    Family("write.table, tabs, bare", t.r_table("my.tsv", **t.BARE), NO_TABS, texts=True),
    Family("write.table, spaces, bare", t.r_table("my.txt", quote=False), NO_SPACES, texts=True),
    Family("write.table, col.names=NA", t.r_table("my.tsv", **t.BLANK), ESCAPED, texts=True),
    Family("write.csv", t.r_table("my.csv", **t.CSV), TABLE, texts=True),
    Family("write.csv to .gz", t.r_table("my.csv.gz", **t.CSV), TABLE, texts=True),
    Family("write.csv2", t.r_table("my.csv", **t.CSV2), TABLE, texts=True),
    Family("readr", t.readr_table, TABLE, texts=True),
    Family("csv and R's cells", t.table_and_cells(t.cells_by_r), NO_TABS, texts=True),
    Family("data frame of rdata", t.by_rdata, ESCAPED, texts=True, needs="rdata"),
    # Tables of spreadsheets ------------------------------------------------------------------
    Family("spreadsheet", t.spreadsheet("my.csv"), TABLE, texts=True),
    Family("spreadsheet with ; and 1,5", t.spreadsheet("my.csv", **t.EUROPE), TABLE, texts=True),
    Family("spreadsheet, utf-16", t.spreadsheet("my.txt", **t.UNICODE), TABLE, always, True),
    # Loom ------------------------------------------------------------------------------------
    Family("loom", w.loom(), LOOM),
    Family("loom of loompy 2", w.loom(version=2), LOOM),
    Family("loom by loompy", w.loom_by_loompy, LOOM, needs="loompy"),
    Family("loom of velocyto", w.velocyto, TENX, texts=True),
    # 10x Genomics ----------------------------------------------------------------------------
    Family("10x folder", w.folder_10x(), TENX, texts=True),
    Family("10x folder, version 2", w.folder_10x(version=2, gz=False), TENX, texts=True),
    Family("10x folder, version 2, gz", w.folder_10x(version=2, columns=2), TENX, texts=True),
    Family("10x folder, two columns", w.folder_10x(columns=2), TENX, texts=True),
    Family("10x folder of STARsolo", w.folder_10x(gz=False), TENX, texts=True),
    Family("10x folder, fractions", w.folder_10x(), TENX_FLOATS, texts=True),
    Family("10x folder of GEO", w.folder_10x(prefix="GSM123_sample1_"), TENX, texts=True),
    Family("10x folder, CR LF", w.folder_10x(gz=False, newline="\r\n"), TENX, texts=True),
    Family("10x folder, antibodies", w.folder_10x(antibodies=True), TENX, always, True),
    Family("10x .h5", w.h5_10x(), TENX, texts=True),
    Family("10x .h5, version 2", w.h5_10x(version=2), TENX, texts=True),
    Family("10x .h5, antibodies", w.h5_10x(antibodies=True), TENX, always, True),
    Family("10x .h5 of CellBender", w.h5_10x(cellbender=True), TENX, texts=True),
]
# fmt: on


# ----------------------------------------------------------------------------------- the property


@pytest.fixture(scope="module", autouse=True)
def _tell():
    yield
    sys.__stdout__.write(f"\ndesigns: {dict(TOLD)}\n")


@pytest.mark.parametrize("family", [pytest.param(family, id=family.name) for family in FAMILIES])
def test_every_design_is_read_or_refused(family):
    if family.needs and not find_spec(family.needs):
        pytest.skip(f"{family.needs} is not installed")

    @seed(zlib.crc32(f"{family.name} {SEED}".encode()))
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(design=designs(family.limits))
    def check(design):
        TOLD[assert_read_or_refused(family, design)] += 1

    check()


def assert_read_or_refused(family, design) -> str:
    """``"read"`` or ``"refused"``."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        source = Path(folder)
        try:
            source, options = family.write(design, source)
            read = load(source, **{**design.keys(), **options})
        except ValueError as error:
            assert family.may_refuse(design) or design.times.doubtful, f"refused: {error}"
            assert_one_sentence(str(error), source)
            return "refused"
    twice = family.limits.twice
    found = differences(read, design, texts=family.texts, twice=twice)
    assert not found, found
    return "read"


def assert_one_sentence(text, source):
    name = source.name if isinstance(source, Path) else "AnnData in memory"
    assert name in text or "cells." in text, text
    assert "\n" not in text, text
    assert len(text) < 500, text
