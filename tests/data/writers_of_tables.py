"""Tables of cells as pandas, R and spreadsheets write them: one row per cell, genes and labels.

What R does is written down again here, from its documentation: nothing of R is needed.
"""

import gzip
import math

import numpy as np
import pandas as pd


def frame_of(design) -> pd.DataFrame:
    """Genes, then labels, as a data frame (cells, genes and labels)."""
    genes = pd.DataFrame(design.matrix, index=list(design.cells), columns=list(design.genes))
    return pd.concat([genes, plain(design.obs())], axis=1)


def plain(obs: pd.DataFrame) -> pd.DataFrame:
    """The same without categories, which no table of text has."""
    return obs.apply(lambda column: column.astype(object).infer_objects(), axis=0)


# ------------------------------------------------------------------------------------- pandas


def pandas_table(name="my.csv", *, index_label=None, first="genes", **how):
    """A writer: ``DataFrame.to_csv`` with its options."""

    def write(design, folder):
        frame = frame_of(design)
        if first == "labels":
            labels = list(frame)[len(design.genes) :]
            frame = frame[[*labels, *design.genes]]
        frame.to_csv(folder / name, index_label=index_label, **how)
        return folder / name, {}

    return write


QUALITY = ["percent_mito", "n_counts"]


def with_lines(*, before="", each="", after=""):
    """A writer: texts before the table, after each of its lines, and after all of them."""

    def write(design, folder):
        path = folder / "my.csv"
        lines = frame_of(design).to_csv().splitlines()
        text = before + "".join(f"{line}{each}\n" for line in lines) + after
        path.write_text(text, encoding="utf-8")
        return path, {}

    return write


def thousands(design, folder):
    """Counts with commas in them, as in 1,234, so that they stand in quotes."""
    frame = frame_of(design)
    for k in range(len(design.genes)):
        frame.isetitem(k, [f"{value:,}" for value in frame.iloc[:, k]])
    frame.to_csv(folder / "my.csv")
    return folder / "my.csv", {}


def with_quality(option, choice=None):
    """A writer: two columns of quality control beside the genes, told apart by an option."""

    def write(design, folder):
        frame = frame_of(design)
        frame["percent_mito"] = np.linspace(0.01, 0.07, len(frame))
        frame["n_counts"] = design.values.sum(1)
        frame.to_csv(folder / "my.csv")
        if option is None:
            return folder / "my.csv", {}
        chosen = f"{design.genes[0]}:{design.genes[-1]}" if choice == "range" else choice
        return folder / "my.csv", {option: chosen or list(design.genes)}

    return write


def genes_in_rows(design, folder):
    """Genes in rows, as on GEO, and a table of the cells beside it."""
    frame_of(design)[list(design.genes)].T.to_csv(folder / "my.csv")
    plain(design.obs()).to_csv(folder / "cells.csv")
    return folder / "my.csv", {"cells": folder / "cells.csv"}


def table_and_cells(write_cells):
    """A writer: a table of genes alone and a table of cells, in another order."""

    def write(design, folder):
        frame_of(design)[list(design.genes)].to_csv(folder / "my.csv")
        cells = plain(design.obs()).iloc[::-1]
        return folder / "my.csv", {"cells": write_cells(cells, folder)}

    return write


def cells_by_pandas(cells, folder):
    cells.to_csv(folder / "cells.csv", index_label="barcode")
    return folder / "cells.csv"


def cells_by_r(cells, folder):
    r_write_table(cells, folder / "cells.tsv", **BARE)
    return folder / "cells.tsv"


# ------------------------------------------------------------------------------------------ R


#: ``write.csv``, ``write.csv2``, ``col.names=NA`` with tabs, and nothing in quotes.
CSV = {"sep": ",", "header": "blank", "qmethod": "double"}
CSV2 = {"sep": ";", "dec": ",", "header": "blank", "qmethod": "double"}
BLANK = {"sep": "\t", "header": "blank"}
BARE = {"sep": "\t", "quote": False}


def r_number(value: float, dec: str = ".") -> str:
    """15 significant digits, in the notation that is shorter: ``1e+05``, but ``123456``."""
    if float(value).is_integer() and isinstance(value, int | np.integer):
        return str(value)
    digits = f"{value:.14e}"
    mantissa, exponent = digits.split("e")
    mantissa = mantissa.rstrip("0").rstrip(".")
    power = int(exponent)
    scientific = f"{mantissa}e{'-' if power < 0 else '+'}{abs(power):02d}"
    significant = len(mantissa.lstrip("-").replace(".", ""))
    fixed = f"{value:.{max(0, significant - power - 1)}f}"
    shorter = fixed if len(fixed) <= len(scientific) else scientific
    return shorter.replace(".", dec)


def r_write_table(
    frame,
    path,
    *,
    sep=" ",
    quote=True,
    header="short",
    qmethod="escape",
    dec=".",
    encoding="utf-8",
):
    """R's ``write.table``; ``header="blank"`` is ``col.names=NA``."""

    def quoted(text):
        if not quote:
            return text
        inner = '\\"' if qmethod == "escape" else '""'
        return '"' + text.replace('"', inner) + '"'

    def field(value):
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return "NA"
        if isinstance(value, bool | np.bool_):
            return "TRUE" if value else "FALSE"
        return quoted(value) if isinstance(value, str) else r_number(value, dec)

    names = [quoted(str(name)) for name in frame.columns]
    if header == "blank":
        names = [quoted(""), *names]
    lines = [sep.join(names)]
    for name, row in zip(frame.index, frame.itertuples(index=False, name=None), strict=True):
        lines.append(sep.join([quoted(str(name)), *map(field, row)]))
    data = ("\n".join(lines) + "\n").encode(encoding)
    path.write_bytes(gzip.compress(data) if path.name.endswith(".gz") else data)


def r_table(name, **how):
    """A writer: ``write.table`` with its options."""

    def write(design, folder):
        r_write_table(frame_of(design), folder / name, **how)
        return folder / name, {}

    return write


def readr_table(design, folder):
    """``readr::write_tsv`` has no names of rows, and quotes what needs it."""
    frame = frame_of(design)
    frame.insert(0, "barcode", frame.index)
    frame.to_csv(folder / "my.tsv", sep="\t", index=False, na_rep="NA")
    return folder / "my.tsv", {}


def by_rdata(design, folder):
    """A data frame that the package ``rdata`` took through R's own format."""
    import rdata

    frame = frame_of(design)
    rdata.write_rds(folder / "my.rds", frame)
    read = rdata.read_rds(folder / "my.rds")
    r_write_table(read, folder / "my.tsv", sep="\t")
    return folder / "my.tsv", {}


# ------------------------------------------------------------------------------- spreadsheets


#: Where a comma is the decimal mark; "Unicode text".
EUROPE = {"sep": ";", "dec": ","}
UNICODE = {"sep": "\t", "encoding": "utf-16"}


def spreadsheet(name, *, sep=",", dec=".", encoding="utf-8-sig"):
    """A writer: what a spreadsheet saves, with a byte order mark and lines that end in CR LF."""

    def write(design, folder):
        text = frame_of(design).to_csv(
            sep=sep, decimal=dec, index_label="cell", lineterminator="\r\n"
        )
        (folder / name).write_bytes(text.encode(encoding))
        return folder / name, {}

    return write
