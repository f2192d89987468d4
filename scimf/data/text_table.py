"""A table of text as any program writes it: its encoding, separator and header."""

import csv
import gzip
import io
import re
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from scimf.data.blocks import BLOCK, DataFile

SUFFIXES = (".csv", ".tsv", ".txt")  #: of tables; none of them tells the separator
SEPARATORS = {"comma": ",", "tab": "\t", "semicolon": ";", "pipe": "|", "space": " "}
HEAD = 100  #: lines from which the separator and the columns are told
FIELDS = 2**23  #: fields that are read at once where that is more than a block of rows
EXPECTED = "expected a table with one row per cell"
ABOVE = re.compile(r"(#.*\n|sep=.\n|[ \t]*\n)*")  #: comments, what Excel says, blank lines
NUMBER = r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?"
WITH_POINT = r"[-+]?\d*\.\d+([eE][-+]?\d+)?"
WITH_COMMA = r"[-+]?(0,\d+|\d+,(?!\d{3}$)\d+|\d{4,},\d+)([eE][-+]?\d+)?"  # not 1,234


@dataclass(frozen=True)
class TextTable:
    """A table that was found to have the same fields in each of its lines; see :meth:`open`."""

    path: Path
    separator: str
    columns: list[str]  #: headings; the first is ``""`` where it has none
    is_of_r: bool  #: whether the header lacks the first of these
    row_names: list[str]  #: what stands in the first column
    rows: str  #: the text below the header
    decimal: str = "."

    @classmethod
    def open(cls, path: Path, separator: str | None, notes: list[str]) -> "TextTable":
        """Find out how a table is written; what should be known about it is added to ``notes``.

        ``separator`` is one character or a key of :data:`SEPARATORS`; ``None`` tells it from the
        text. A ``ValueError`` if that fails, lines differ in their fields, or there is no row.
        """
        text = _text_of(path, notes)
        above = ABOVE.match(text)[0].split("\n")[:-1]
        text = text.split("\n", len(above))[-1]
        separator = _separator_of(text, path) if separator is None else _spelled(separator, path)
        last, first = above[-1] if above else "", text.partition("\n")[0]
        if last.startswith("#") and last.count(separator) == first.count(separator) > 1:
            text = above.pop().lstrip("# ") + "\n" + text
            notes.append(f"{path.name}: the header is a comment, read without its '#'.")
        if comments := sum(line.startswith("#") for line in above):
            notes.append(f"{path.name}: {comments} lines of comment at the top were skipped.")
        try:
            table = _cut(path, "\n" * len(above) + text, separator)
        except ValueError as error:
            hint = "is a field cut off, or the separator another one (sep=..., SEP=)?"
            raise ValueError(f"{path}: {error}; {hint}") from error
        if not table.row_names:
            raise ValueError(f"{path}: 0 rows, {EXPECTED}")
        DataFile(path).require_unique(table.columns, "columns")
        if table.is_of_r:
            notes.append(f"{path.name}: the header is one field shorter, as R writes row names.")
        head = pd.Series(table.texts(HEAD).iloc[:, 1:].to_numpy().ravel())  # wells may be 1.1
        points, commas = (head.str.fullmatch(sign).sum() for sign in (WITH_POINT, WITH_COMMA))
        if commas > points:  # columns that differ are asked for later
            notes.append(f"{path.name}: numbers were read with a decimal comma.")
            table = replace(table, decimal=",")
        return table

    def blocks(self, texts: Collection[str], rows: int | None = None) -> Iterator[pd.DataFrame]:
        """Read some rows at a time; the columns ``texts`` are kept exactly as written."""
        yield from pd.read_csv(
            io.StringIO(self.rows),
            header=None,
            names=self.columns,
            index_col=False,
            dtype=dict.fromkeys(texts, str),
            delimiter=self.separator,
            skipinitialspace=True,
            decimal=self.decimal,
            na_filter=False,  # "NA" may be a name
            low_memory=False,
            nrows=len(self.row_names),
            chunksize=rows or max(BLOCK, FIELDS // len(self.columns)),
        )

    def texts(self, rows: int | None = None) -> pd.DataFrame:
        """Read the first rows, all by default, as text."""
        return next(self.blocks(self.columns, rows or len(self.row_names)))


def _text_of(path: Path, notes: list[str]) -> str:
    """Read all of it; a letter that is not ASCII may stand in any line."""
    data = path.read_bytes()
    if data.startswith(b"\x1f\x8b"):
        data = gzip.decompress(data)
    is_utf16 = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    if data.startswith(b"PK\x03\x04") or (b"\0" in data and not is_utf16):
        raise ValueError(f"{path}: is no text but a workbook or an archive; save it as .csv")
    try:
        text = data.decode("utf-16" if is_utf16 else "utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252")
        notes.append(f"{path.name} is not UTF-8, so its text was read as latin-1 (Windows-1252).")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text.replace('\\"', '""')  # R writes a quote within quotes so, others write it twice


def _spelled(separator: str, path: Path) -> str:
    separator = {**SEPARATORS, "\\t": "\t"}.get(separator.lower(), separator)
    if len(separator) != 1 or separator.isalnum() or separator in '"\r\n':
        raise ValueError(f"{path}: sep={separator!r}, expected a character or {[*SEPARATORS]}")
    return separator


def _separator_of(text: str, path: Path) -> str:
    """Find the separator that cuts the header and all rows into as many fields; most of them."""
    head = text.split("\n", HEAD)[:HEAD]
    for lines in (head, head[:2]):  # the second: one that is cut off below is named later
        fits = {}
        for separator in SEPARATORS.values():
            with suppress(ValueError):
                table = _cut(path, "\n".join(lines), separator)
                # With one field in the header, or with blanks, text may look cut by accident.
                is_solid = separator != " " and separator in lines[0]
                fits[separator] = (is_solid, len(table.columns))
        best = [separator for separator in fits if fits[separator] == max(fits.values())]
        if len(best) == 1:
            return best[0]
        if best:
            found = f"the lines can be cut at {best[0]!r} and at {best[1]!r}"
            raise ValueError(f"{path}: {found}, expected one separator: name it with sep=..., SEP=")
    found = f"none of {', '.join(SEPARATORS)} cuts the header and the rows into as many fields"
    raise ValueError(f"{path}: {found}, {EXPECTED}: name the separator with sep=..., SEP=")


def _cut(path: Path, text: str, separator: str) -> TextTable:
    """Read all lines; an error where they differ in their fields."""
    lines = text.removesuffix("\n").split("\n")
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=True, strict=True)
    rows = (row for row in reader if len(row) > 1 or "".join(row).strip())  # no blank lines
    names, width, filled, trails = [], 0, 0, True
    try:
        header = next(rows, [])
        start = reader.line_num
        for row in rows:
            names.append(row[0])
            if not any(row):
                continue  # such lines stand at the end of what Excel writes
            width = width or len(row)
            if len(row) != width:
                found = f"{len(row)} fields where those above have {width}"
                raise ValueError(f"line {reader.line_num} has {found}")
            filled = len(names)
            trails = trails and not row[-1]
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num}: {error}") from error
    width = width or len(header)
    is_of_r = len(header) == width - 1
    if len(header) != width and (trails or not is_of_r):  # a separator may end the rows
        raise ValueError(f"the header has {len(header)} fields and the rows have {width}")
    if width < 2:
        raise ValueError("the lines have 1 field")
    header = [""] * is_of_r + header
    columns = [name or (f"Unnamed: {i}" if i else "") for i, name in enumerate(header)]
    below = "\n".join(lines[start:])
    return TextTable(path, separator, columns, is_of_r, names[:filled], below)
