"""A table of text as any program writes it: its packing, encoding, separator and header."""

import bz2
import codecs
import csv
import gzip
import io
import lzma
import re
import warnings
import zipfile
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO, NamedTuple, TextIO

import pandas as pd

from scimf.data.blocks import BLOCK

SUFFIXES = (".csv", ".tsv", ".txt")  #: of tables; none of them tells the separator
SEPARATORS = {"comma": ",", "tab": "\t", "semicolon": ";", "pipe": "|", "space": " "}
OPENERS = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
LATIN = "cp1252"  #: latin-1, and what Windows writes in its place
MOST_LINES, MOST_CHARACTERS = 200, 2**21  #: of the head, from which the columns are told
FIELDS = 2**23  #: fields that are read at once where that is more than a block of rows
EXPECTED = "expected a table with one row per cell"
NUMBER = re.compile(r"\s*[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?\s*")
WITH_POINT = re.compile(r"[-+]?\d*\.\d+([eE][-+]?\d+)?")
WITH_COMMA = re.compile(r"[-+]?(0,\d+|\d+,(?!\d{3}$)\d+|\d{4,},\d+)([eE][-+]?\d+)?")


@dataclass(frozen=True)
class TextTable:
    """How a table is to be read, and its first rows; see :func:`open_table`."""

    path: Path
    encoding: str
    dialect: dict  #: of the module ``csv``
    escaped: bool  #: a quote within quotes is written as ``\\"``, as R does, not twice
    decimal: str  #: point or comma
    start: int  #: lines before the first row
    columns: list[str]  #: the first is ``""`` where it has no heading
    head: pd.DataFrame  #: the first rows, as text
    row_names: list[str]  #: what stands in the first column

    def blocks(self, texts: Collection[str], rows: int | None = None) -> Iterator[pd.DataFrame]:
        """Read some rows at a time; the columns ``texts`` are kept exactly as written."""
        with _opened(self.path, self.encoding) as stream, warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=pd.errors.ParserWarning)
            if self.escaped:
                stream = io.StringIO("".join(_doubled(stream)))
            for _ in range(self.start):
                stream.readline()
            yield from pd.read_csv(
                stream,
                header=None,
                names=self.columns,
                index_col=False,  # a separator at the end of each line makes no column
                dtype=dict.fromkeys(texts, str),
                na_filter=False,  # "NA" may be a name
                nrows=len(self.row_names),
                chunksize=rows or max(BLOCK, FIELDS // len(self.columns)),
                low_memory=False,
                decimal=self.decimal,
                **self.dialect,
            )

    def frame(self) -> pd.DataFrame:
        """Read all of it as text."""
        return next(self.blocks(self.columns, rows=len(self.row_names)))


def open_table(path: Path, separator: str | None, notes: list[str]) -> TextTable:
    """Find out how a table is written, and that each of its lines has the same fields.

    Parameters
    ----------
    path
        A file; how it is packed (gz, bz2, xz, zip) is told by its content.
    separator
        One character or a key of :data:`SEPARATORS`; ``None`` tells it from the text.
    notes
        What should be known about the reading is added to these.

    Raises
    ------
    ValueError
        If the separator cannot be told, or if lines differ in their number of fields.
    """
    encoding = _encoding_of(path)
    if encoding == LATIN:
        notes.append(f"{path.name} is not UTF-8, so its text was read as latin-1 (Windows-1252).")
    with _opened(path, encoding) as stream:
        above, head = _top(stream)
    if not head:
        raise ValueError(f"{path}: holds no line of text, {EXPECTED}")
    if separator is None and above and re.fullmatch(r"sep=.\s*", above[0]):
        separator = above[0][4]  # Excel says it itself
    separator = _separator_of(head, path) if separator is None else _spelled(separator, path)
    padded = separator == " " or head[0].count(separator) == head[0].count(f"{separator} ")
    dialect = {"delimiter": separator, "skipinitialspace": padded}
    is_commented = _ends_with_header(above, head[0], dialect)
    if is_commented:
        head.insert(0, above.pop())
    comments = sum(line.startswith("#") for line in above)
    if comments:
        notes.append(f"{path.name}: {comments} lines of comment at the top were skipped.")
    shape, escaped = _shape_of(path, encoding, len(above), dialect)
    columns = _columns_of(shape, path, notes)
    if len(columns) < 2:
        raise ValueError(f"{path}: 1 columns, {EXPECTED} (or another separator: sep=..., SEP=)")
    if is_commented:
        columns[0] = columns[0].lstrip("# ")
        notes.append(f"{path.name}: the header is a comment, read without its '#'.")
    rows = list(csv.reader(_doubled(head) if escaped else head, **dialect))
    rows = [row[: len(columns)] for row in rows[1:] if len(row) == shape.width and any(row)]
    decimal = _decimal_of(rows)
    if decimal == ",":
        notes.append(f"{path.name}: numbers were read with a decimal comma.")
    return TextTable(
        path,
        encoding,
        dialect,
        escaped,
        decimal,
        shape.start,
        columns,
        pd.DataFrame(rows, columns=columns, dtype=str),
        shape.row_names,
    )


# ------------------------------------------------------------------------------ bytes and lines


@contextmanager
def _unpacked(path: Path) -> Iterator[BinaryIO]:
    with open(path, "rb") as file:
        start = file.read(8)
    if start.startswith(b"PK"):
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if not name.startswith("__MACOSX")]
            if "xl/workbook.xml" in names:
                raise ValueError(f"{path}: is an Excel workbook, expected text: save it as .csv")
            if len(names) != 1:
                raise ValueError(f"{path}: holds {len(names)} files, expected one table")
            with archive.open(names[0]) as file:
                yield file
        return
    openers = [opener for mark, opener in OPENERS.items() if start.startswith(mark)]
    with (openers or [open])[0](path, "rb") as file:
        yield file


@contextmanager
def _opened(path: Path, encoding: str) -> Iterator[TextIO]:
    with _unpacked(path) as file, io.TextIOWrapper(file, encoding) as stream:
        yield stream


def _encoding_of(path: Path) -> str:
    """Read all of it: a letter that is not ASCII may stand in any line."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    encoding = "utf-8"
    with _unpacked(path) as file:
        piece = file.read(2**20)
        for mark, name in MARKS.items():
            if piece.startswith(mark):
                return name
        while piece:
            if b"\0" in piece:
                raise ValueError(f"{path}: holds zero bytes, so it is no text; {EXPECTED}")
            try:
                decoder.decode(piece)
            except UnicodeDecodeError:
                encoding = LATIN
            piece = file.read(2**20)
    return encoding


def _top(stream: TextIO) -> tuple[list[str], list[str]]:
    """Lines above the table (comments, blank ones), and the first of the table."""
    above, head, size = [], [], 0
    for line in stream:
        if not head and re.match(r"#|sep=.\s*$|\s*$", line):
            above.append(line)
            continue
        head.append(line)
        size += len(line)
        if len(head) > 2 and (len(head) > MOST_LINES or size > MOST_CHARACTERS):
            break
    return above, head


def _doubled(lines: Iterable[str]) -> Iterator[str]:
    return (line.replace('\\"', '""') for line in lines)


def _ends_with_header(above: list[str], first: str, dialect: dict) -> bool:
    """Whether the last line of comment is the header of the rows below, as in ``#cell,g1,g2``."""
    if not above or not re.match(r"#.", above[-1]):
        return False
    header, row = csv.reader([above[-1], first], **dialect)
    if len(header) < 2 or len(row) - len(header) not in (0, 1):
        return False
    return above[-1][1] != " " or any(NUMBER.fullmatch(field) for field in row[1:])


# ---------------------------------------------------------------------------- lines and fields


class _Shape(NamedTuple):
    header: list[str]
    width: int  #: fields in each row
    start: int  #: lines before the first row
    row_names: list[str]
    trails: bool  #: whether the last field of each row is empty


def _measured(lines: Iterator[str], above: int, dialect: dict) -> _Shape:
    """Read all lines after those ``above``; an error where rows differ in their fields."""
    reader = csv.reader(islice(lines, above, None), strict=True, **dialect)
    header, names, width, start, filled, trails = [], [], 0, 0, 0, True
    try:
        for row in reader:
            if len(row) < 2 and not "".join(row).strip():
                continue  # a blank line
            if not header:
                header, start = row, reader.line_num + above
                continue
            names.append(row[0])
            if not any(row):
                continue  # such lines stand at the end of what Excel writes
            width = width or len(row)
            if len(row) != width:
                found = f"has {len(row)} fields where those above have {width}"
                raise ValueError(f"line {reader.line_num + above} {found}")
            filled = len(names)
            trails = trails and not row[-1]
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num + above}: {error}") from error
    return _Shape(header, width or len(header), start, names[:filled], trails and filled > 0)


def _shape_of(path: Path, encoding: str, above: int, dialect: dict) -> tuple[_Shape, bool]:
    """Measure all of it; the second value is :attr:`TextTable.escaped`."""
    problem = None
    for escaped in (False, True):
        with _opened(path, encoding) as stream:
            try:
                return _measured(_doubled(stream) if escaped else stream, above, dialect), escaped
            except ValueError as error:
                problem = problem or error
    hint = "is a field cut off, or the separator another one (sep=..., SEP=)?"
    raise ValueError(f"{path}: {problem}; {hint}") from problem


def _columns_of(shape: _Shape, path: Path, notes: list[str]) -> list[str]:
    """Headings of the columns; the first is empty if a program left it out."""
    header, width = shape.header, shape.width
    if shape.trails and (len(header) < width or not header[-1]):
        width -= 1
    if len(header) == width + 1 and not header[-1]:
        header = header[:-1]
    if len(header) == width - 1:
        header = ["", *header]
        notes.append(f"{path.name}: the header is one field shorter, as R writes names of rows.")
    if len(header) != width:
        found = f"the header has {len(header)} fields and the rows have {width}"
        raise ValueError(f"{path}: {found}, expected as many (or another separator: sep=..., SEP=)")
    return [name or (f"Unnamed: {i}" if i else "") for i, name in enumerate(header)]


def _spelled(separator: str, path: Path) -> str:
    separator = {**SEPARATORS, "\\t": "\t"}.get(separator.lower(), separator)
    if len(separator) != 1 or separator.isalnum() or separator in '"\r\n':
        known = ", ".join(SEPARATORS)
        raise ValueError(f"{path}: sep={separator!r}, expected one character or one of {known}")
    return separator


def _separator_of(head: list[str], path: Path) -> str:
    """Find the separator that cuts the header and all rows into as many fields; most of them."""
    for lines in (head, head[:2]):  # the second: one that is cut off below is named later
        fits = _fitting(lines)
        # With one field in the header, or with blanks, text may look cut by accident.
        solid = {key: width for key, (columns, width) in fits.items() if columns > 1 and key != " "}
        widths = solid or {key: width for key, (_, width) in fits.items()}
        best = [key for key in widths if widths[key] == max(widths.values())]
        if len(best) == 1:
            return best[0]
        if best:
            found = f"the lines can be cut at {best[0]!r} and at {best[1]!r}"
            raise ValueError(f"{path}: {found}, expected one separator: name it with sep=..., SEP=")
    if not any(separator in head[0] for separator in SEPARATORS.values()):
        return ","  # refused with all tables of one column
    tried = ", ".join(SEPARATORS)
    found = f"no separator cuts the header and the rows into as many fields (tried: {tried})"
    raise ValueError(f"{path}: {found}, {EXPECTED}: name it with sep=..., SEP=")


def _fitting(lines: list[str]) -> dict[str, tuple[int, int]]:
    """Separators that fit, with the fields in the header and in each row."""
    fits = {}
    for separator in SEPARATORS.values():
        dialect = {"delimiter": separator, "skipinitialspace": separator == " "}
        for escaped in (False, True):
            with suppress(ValueError):
                text = iter(_doubled(lines) if escaped else lines)
                shape = _measured(text, 0, dialect)
                columns = _columns_of(shape, Path(), [])
                if shape.width > 1:
                    fits[separator] = (len(shape.header), len(columns))
                    break
    return fits


def _decimal_of(rows: list[list[str]]) -> str:
    """Take the sign in which more columns are written; those that differ are asked for later."""
    columns = [set(column) for column in zip(*rows, strict=True)][1:]  # the first may be wells: 1.1
    points = sum(any(map(WITH_POINT.fullmatch, column)) for column in columns)
    commas = sum(any(map(WITH_COMMA.fullmatch, column)) for column in columns)
    return "," if commas > points else "."
