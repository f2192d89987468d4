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
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import writers as w
import writers_of_tables as t
import writers_of_tools as o
from agreement import differences
from design_times import Times
from designs import AMBIENT, Limits, a_design, designs
from hypothesis import HealthCheck, Phase, given, seed, settings

from scimf.data.load import load

EXAMPLES = int(os.environ.get("SCIMF_EXAMPLES", "4"))
SEED = os.environ.get("SCIMF_SEED", "0")
TABLES = (".csv", ".tsv", ".txt")
TOLD = Counter()  # what became of the designs, shown at the end


class Family(NamedTuple):
    """Files of one kind: how they are written, what they can hold, when they may be refused."""

    name: str
    write: Callable
    limits: Limits = Limits()
    refused: str = "never"  # one of REFUSED
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


def is_ascii(design):
    texts = [*design.cells, *design.genes, *design.times.labels, *design.types]
    return all(str(text).isascii() for text in texts)


def is_twice(design):
    return len(set(design.genes)) < len(design.genes)


#: Whether a design may be refused, and whether it must be; two readings of its times always may.
REFUSED = {
    "never": lambda design: (False, False),
    "maybe": lambda design: (True, False),
    "always": lambda design: (True, True),
    "maybe beyond ASCII": lambda design: (not is_ascii(design), False),
    "if genes are there twice": lambda design: (is_twice(design), is_twice(design)),
}
COUNTS = ("counts",)
EXPRESSION = ("counts", "lognorm")
TABLE = Limits(fits=one_line)
#: A cell called NA is asked about where cells are columns.
ALIKE = Limits(fits=lambda text: one_line(text) and text != "NA")
LATIN = Limits(fits=latin)
ESCAPED = Limits(fits=without("\\"))  # R escapes quotes, but no backslash
NO_COMMAS = Limits(fits=without(",:*"))
FILLED = Limits(fits=one_line, missing=False)
TWICE = Limits(fits=one_line, twice=True)
NO_TABS = Limits(fits=bare("\t"))
NO_SPACES = Limits(fits=bare(" "))
TENX = Limits(COUNTS, one_line, twice=True, dtypes=("int32", "int64"))
TENX_FLOATS = Limits(EXPRESSION, one_line, twice=True, dtypes=("int32", "float32"))
LOOM = Limits(EXPRESSION, missing=False)
ONLY_PCS = Limits(("pcs",), without("_"), dtypes=("float32",))
SOUP = Limits((AMBIENT,), dtypes=("float32", "float64"))
RDATA = Limits(COUNTS, without("\\"), missing=False, dtypes=("int32", "float64"))
SCALED = Limits(EXPRESSION, dtypes=("int32", "float32", "float64"))

# fmt: off
FAMILIES = [
    # AnnData ---------------------------------------------------------------------------------
    Family("AnnData in memory", w.in_memory),
    Family("AnnData in memory, a view", w.a_view),
    Family("AnnData in memory, nullable", w.nullable),
    Family("AnnData in memory, sparse arrays", w.sparse_arrays),
    Family("h5ad", w.h5ad()),
    Family("h5ad, compressed", w.h5ad(compression="gzip")),
    Family("h5ad, types as texts", w.h5ad(strings=True), Limits(missing=False)),
    Family("h5ad, types as whole numbers", w.types_as_numbers, Limits(missing=False)),
    Family("h5ad, backed", w.backed),
    Family("h5ad, written again", w.written_again),
    Family("h5ad, columns of other names", w.with_decoys),
    Family("h5ad, labels that are no time", w.with_dropped, Limits(kinds=("labels", "windows"))),
    Family("h5ad, genes twice", w.h5ad(), Limits(twice=True), "if genes are there twice"),
    Family("h5ad, X scaled, a layer", w.counts_in("counts"), SCALED),
    Family("h5ad, X scaled, raw", w.counts_in("raw"), SCALED),
    Family("h5ad, X scaled, no layer named", w.counts_in("counts", named=False), SCALED, "maybe"),
    Family("h5ad, X scaled, raw not named", w.counts_in("raw", named=False), SCALED, "maybe"),
    Family("h5ad, ambient RNA removed", w.h5ad(), SOUP, "maybe"),
    Family("h5ad, nothing but PCs", w.only_pcs, ONLY_PCS),
    Family("h5ad, layer=X_pca", w.pcs_beside, ONLY_PCS),
    Family("h5ad of anndata 0.7", w.anndata_0_7),
    Family("h5ad of anndata 0.6", w.anndata_0_6),
    Family("h5ad of SeuratDisk", w.seurat(typed=True)),
    Family("h5ad of Seurat, no encoding", w.seurat(typed=False)),
    Family("zarr", w.zarr(2)),
    Family("zarr of format 3", w.zarr(3)),
    # Tables of pandas ------------------------------------------------------------------------
    Family("csv", t.pandas_table(), TABLE),
    Family("csv, labels first", t.pandas_table(first="labels"), TABLE),
    Family("csv, named index", t.pandas_table(index_label="cell_id"), TABLE),
    Family("csv.gz", t.pandas_table("my.csv.gz"), TABLE),
    Family("tsv", t.pandas_table("my.tsv", sep="\t"), TABLE),
    Family("txt.gz with tabs", t.pandas_table("my.txt.gz", sep="\t"), TABLE),
    Family("csv with ;", t.pandas_table(sep=";"), TABLE),
    Family("csv, all quoted", t.pandas_table(quoting=1), TABLE),
    Family("csv in latin-1", t.pandas_table(encoding="latin-1"), LATIN, "maybe beyond ASCII"),
    Family("csv in utf-16", t.pandas_table(encoding="utf-16"), TABLE),
    Family("csv with |", t.pandas_table(sep="|"), TABLE),
    Family("csv with spaces", t.pandas_table(sep=" "), FILLED),
    Family("csv, genes twice", t.pandas_table(), TWICE, "if genes are there twice"),
    Family("csv with comments", t.with_lines(before="# of a tool, 1.2\n# on a Monday\n"), TABLE),
    Family("csv with empty lines after it", t.with_lines(after="\n\n"), TABLE),
    Family("csv with commas at the end", t.with_lines(each=","), TABLE, "maybe"),
    Family("csv with counts as 1,234", t.thousands, Limits(COUNTS, one_line), "maybe"),
    Family("csv, quality, labels=[...]", t.with_quality("labels", t.QUALITY), TABLE),
    Family("csv, quality, labels='...'", t.with_quality("labels", ",".join(t.QUALITY)), TABLE),
    Family("csv, quality, genes=[...]", t.with_quality("genes"), TABLE),
    Family("csv, quality, genes='a:b'", t.with_quality("genes", "range"), NO_COMMAS),
    Family("csv, quality, unsaid", t.with_quality(None), TABLE, "maybe"),
    Family("csv, genes in rows", t.genes_in_rows, ALIKE),
    Family("csv and cells.csv", t.table_and_cells(t.cells_by_pandas), TABLE),
    # Tables of R -----------------------------------------------------------------------------
    Family("write.table", t.r_table("my.txt"), ESCAPED),
    Family("write.table, tabs", t.r_table("my.tsv", sep="\t"), ESCAPED),
    Family("write.table, commas", t.r_table("my.csv", sep=","), ESCAPED),
    Family("write.table, tabs, bare", t.r_table("my.tsv", **t.BARE), NO_TABS),
    Family("write.table, spaces, bare", t.r_table("my.txt", quote=False), NO_SPACES),
    Family("write.table, col.names=NA", t.r_table("my.tsv", **t.BLANK), ESCAPED),
    Family("write.csv", t.r_table("my.csv", **t.CSV), TABLE),
    Family("write.csv to .gz", t.r_table("my.csv.gz", **t.CSV), TABLE),
    Family("write.csv2", t.r_table("my.csv", **t.CSV2), TABLE),
    Family("readr", t.readr_table, TABLE),
    Family("csv and R's cells", t.table_and_cells(t.cells_by_r), NO_TABS),
    Family("data frame of rdata", t.by_rdata, RDATA, needs="rdata"),
    # Tables of spreadsheets ------------------------------------------------------------------
    Family("spreadsheet", t.spreadsheet("my.csv"), TABLE),
    Family("spreadsheet with ; and 1,5", t.spreadsheet("my.csv", **t.EUROPE), TABLE),
    Family("spreadsheet, utf-16", t.spreadsheet("my.txt", **t.UNICODE), TABLE),
    # Loom ------------------------------------------------------------------------------------
    Family("loom", o.loom(), LOOM),
    Family("loom of loompy 2", o.loom(version=2), LOOM),
    Family("loom by loompy", o.loom_by_loompy, LOOM, needs="loompy"),
    Family("loom of velocyto", o.velocyto(), TENX),
    Family("loom of velocyto, layer=spliced", o.velocyto("spliced"), TENX),
    # 10x Genomics ----------------------------------------------------------------------------
    Family("10x folder", o.folder_10x(), TENX),
    Family("10x folder, version 2", o.folder_10x(version=2, gz=False), TENX),
    Family("10x folder, version 2, gz", o.folder_10x(version=2, columns=2), TENX),
    Family("10x folder, two columns", o.folder_10x(columns=2), TENX),
    Family("10x folder of STARsolo", o.folder_10x(gz=False), TENX),
    Family("10x folder, fractions", o.folder_10x(), TENX_FLOATS),
    Family("10x folder of GEO", o.folder_10x(prefix="GSM123_sample1_"), TENX),
    Family("10x folder of GEO, version 2", o.folder_10x(version=2, prefix="GSM1_s1."), TENX),
    Family("10x folder, CR LF", o.folder_10x(gz=False, newline="\r\n"), TENX),
    Family("10x folder, antibodies", o.folder_10x(antibodies=True), TENX),
    Family("10x folder, two samples", o.two_samples, TENX, "always"),
    Family("10x folder outs/", o.outs, TENX),
    Family("10x .h5", o.h5_10x(), TENX, "maybe beyond ASCII"),
    Family("10x .h5, version 2", o.h5_10x(version=2), TENX, "maybe beyond ASCII"),
    Family("10x .h5, antibodies", o.h5_10x(antibodies=True), TENX),
    Family("10x .h5 of CellBender", o.h5_10x(cellbender=True), TENX, "maybe beyond ASCII"),
]




def days(*labels, means, key="when", unit="day", doubtful=False):
    return Times(key, labels, means, unit, doubtful)


#: Labels that contradict the name of their column may also be refused.
WEEKS = {"means": (2.0, 4.0), "key": "days", "unit": "week", "doubtful": True}
HPF = {"means": (10.0, 24.0), "key": "day", "unit": "hour", "doubtful": True}
LARGE = Times("when", (9999, 10000), (9999.0, 10000.0), "a.u.", dtype="int64")
HOURS = {"means": (1.0, 3.0), "unit": "hour"}
#: What such designs found: each was a wrong answer in silence, or a refusal without need.
FOUND = {
    "cultures 01 and 1 are two": ("csv", {"populations": ("01", "1")}),
    "cultures 01 and 1, table of cells": ("10x folder", {"populations": ("01", "1")}),
    "types TRUE and FALSE": ("csv", {"types": ("TRUE", "FALSE")}),
    "types 1e3 and 1000": ("tsv", {"types": ("1e3", "1000")}),
    "types 1.1 and 1.10": ("csv and cells.csv", {"types": ("1.1", "1.10")}),
    "clusters, one of them missing": ("csv", {"types": ("1", "2", None)}),
    "types in R's escaped quotes": ("write.table, tabs", {"types": ('the "other"', "5' end")}),
    "no type in R is NA": ("write.csv", {"types": ("stem", None)}),
    "100000 in R is 1e+05": ("write.table", {"values": np.full((12, 3), 1e5), "dtype": "float64"}),
    "wells 1.1 and 1.10": ("csv", {"name": "wells"}),
    "wells 1.1 and 1.10, table of cells": ("10x .h5", {"name": "wells"}),
    "wells under a name": ("csv, named index", {"name": "wells"}),
    "numbers of cells with zeros in front": ("csv", {"name": "padded integers"}),
    "plates 1E2": ("csv and R's cells", {"name": "plates"}),
    "a cell called NA": ("csv", {"name": "missing"}),
    "a cell called NA, table of cells": ("10x folder", {"name": "missing"}),
    "genes that are numbers": ("10x folder", {"genes": ("10", "101", "12")}),
    "the same, two columns": ("10x folder, two columns", {"genes": ("10", "7", "12")}),
    "a gene twice in 10x": ("10x folder of GEO", {"genes": ("7SK", "7SK", "T")}),
    "a gene twice in velocyto": ("loom of velocyto", {"genes": ("7SK", "7SK", "T")}),
    "letters of loompy 2": ("loom of loompy 2", {"types": ("Müller", "stem")}),
    "categories of Seurat": ("h5ad of SeuratDisk", {"populations": ("a", "b")}),
    "names of Seurat": ("h5ad of Seurat, no encoding", {"genes": ("Sox2", "T", "Actb")}),
    "labels of Seurat": ("h5ad of SeuratDisk", {"times": days("D4", "D8", means=(4.0, 8.0))}),
    "genes called like labels": ("csv", {"genes": ("eve", "run", "w")}),
    "weeks in a column of days": ("h5ad", {"times": days("2wk", "4wk", **WEEKS)}),
    "hpf in a column of days": ("csv", {"times": days("10 hpf", "24 hpf", **HPF)}),
    "a dot after a word": ("h5ad", {"times": days("day .5", "day 1", means=(0.5, 1.0))}),
    "a dot after a sign": ("h5ad", {"times": days("+.5d", "+1d", means=(0.5, 1.0))}),
    "a minus after a word": ("h5ad", {"times": days("Day -12", "Day 4.5", means=(-12.0, 4.5))}),
    "a typesetter's minus": ("csv", {"times": days("\u22121d", "2d", means=(-1.0, 2.0))}),
    "whole numbers that float16 merges": ("h5ad", {"times": LARGE}),
    "windows with zeros": ("tsv", {"times": days("hrs_00_02", "hrs_02_04", **HOURS)}),
    "windows after a word": ("h5ad", {"times": days("day 0-2", "day 4-6", means=(1.0, 5.0))}),
}
#: Families and findings that are not mended yet, and why.
NOT_YET: dict[str, str] = {}
# fmt: on


# ----------------------------------------------------------------------------------- the property


@pytest.fixture(scope="module", autouse=True)
def _tell():
    yield
    sys.__stdout__.write(f"\ndesigns: {dict(TOLD)}\n")


def _row(value, name):
    marks = [pytest.mark.xfail(strict=True, reason=NOT_YET[name])] if name in NOT_YET else []
    return pytest.param(value, id=name, marks=marks)


@pytest.mark.slow
@pytest.mark.parametrize("family", [_row(family, family.name) for family in FAMILIES])
def test_every_design_is_read_or_refused(family):
    if family.needs and not find_spec(family.needs):
        pytest.skip(f"{family.needs} is not installed")

    @seed(zlib.crc32(f"{family.name} {SEED}".encode()))
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],  # designs are small already
        report_multiple_bugs=False,
    )
    @given(design=designs(family.limits))
    def check(design):
        TOLD[assert_read_or_refused(family, design)] += 1

    check()


@pytest.mark.parametrize("name", [_row(name, name) for name in FOUND])
def test_what_was_found_is_mended(name):
    of_family, changes = FOUND[name]
    (family,) = (family for family in FAMILIES if family.name == of_family)
    assert_read_or_refused(family, a_design(**changes))


def test_there_are_enough_designs():
    always_there = [family for family in FAMILIES if family.needs is None]
    assert len(always_there) * 4 >= 150
    assert len(always_there) * 75 >= 1000


def assert_read_or_refused(family, design) -> str:
    """``"read"`` or ``"refused"``."""
    may, must = REFUSED[family.refused](design)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        source = Path(folder)
        try:
            source, options = family.write(design, source)
            with untouched(source):
                read = load(source, **{**design.keys(), **options})
        except ValueError as error:
            is_asked = "run" in design.genes  # a gene of the fly, or a label
            assert may or design.times.doubtful or is_asked, f"refused: {error}"
            assert_one_sentence(str(error), source)
            return "refused"
        assert not must, "not refused"
        in_table = isinstance(source, Path) and source.name.removesuffix(".gz").endswith(TABLES)
        found = differences(read, design, texts=in_table or "cells" in options)
        assert not found, found
        read.write_h5ad(Path(folder) / "done.h5ad")  # whatever is read can be written
    return "read"


@contextmanager
def untouched(source):
    """What the user holds in memory is the same afterwards."""
    if not isinstance(source, ad.AnnData):
        yield
        return
    obs, uns, layers = source.obs.copy(), list(source.uns), list(source.layers)
    x = None if source.isbacked else source.X.copy()
    yield
    assert x is None or not (source.X != x).sum()
    pd.testing.assert_frame_equal(source.obs, obs)
    assert (list(source.uns), list(source.layers)) == (uns, layers)


def assert_one_sentence(text, source):
    name = source.name if isinstance(source, Path) else "AnnData in memory"
    assert name in text or "cells." in text, text
    assert "\n" not in text, text
    assert len(text) < 500, text
