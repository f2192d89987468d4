"""Files that may be larger than memory: read in blocks of rows, and kept sparse."""

import gzip
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
import pandas as pd
from pandas.errors import EmptyDataError, ParserError
from scipy import sparse

BLOCK = 256  #: rows made dense at once
ENTRIES = 2_000_000  #: entries of a matrix-market file parsed at once
MARKET = "%%MatrixMarket matrix coordinate"  #: how such a file starts
DAMAGE = (EOFError, OSError, zlib.error, UnicodeDecodeError, ParserError, EmptyDataError)


@dataclass(frozen=True)
class LargeFile:
    """A file by its path, which every error begins with.

    Whatever is cut short, swapped with another or of another layout is a ``ValueError`` that says
    what was expected.
    """

    path: Path

    @contextmanager
    def reading(self) -> Iterator[None]:
        """While entered, whatever a damaged file makes its parser raise is one ``ValueError``."""
        try:
            yield
        except DAMAGE as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            problem = "cannot be read, probably cut short, damaged or another file"
            raise ValueError(f"{self.path}: {problem} ({reason})") from None

    def header(self) -> list[str]:
        """Names of the columns of a tab-separated table."""
        with self.reading():
            return pd.read_csv(self.path, sep="\t", nrows=0).columns.astype(str).tolist()

    def table(self, name: str, keys: Sequence[str], *, optional: str = "$") -> pd.DataFrame:
        """Read a tab-separated table of cells, as text.

        Parameters
        ----------
        name
            Column with the names of the cells, each once.
        keys
            Columns that have to be there.
        optional
            Further columns: those whose name matches.
        """
        header = self.header()  # first: a matrix in the table's place would be gigabytes of text
        wanted = [name, *keys]
        missing = [key for key in wanted if key not in header]
        if missing:
            found = f"expected a table of cells; it has {header[:6]}"
            raise ValueError(f"{self.path}: columns {missing} are missing, {found}")
        wanted += [key for key in header if re.match(optional, key) and key not in wanted]
        options = {"sep": "\t", "dtype": str, "keep_default_na": False}
        with self.reading():
            table = pd.read_csv(self.path, usecols=wanted, **options)
        table = table.fillna("").set_index(name)
        if not len(table):
            expected = "expected a cell in each line"
            raise ValueError(f"{self.path}: column {name!r} is empty, {expected}")
        twice = table.index[table.index.duplicated()][:3].tolist()
        if twice:
            found = f"names {twice} more than once, expected each cell once"
            raise ValueError(f"{self.path}: column {name!r} {found}")
        return table

    def first_column(self) -> list[str]:
        """First column of a tab-separated table without header, as text."""
        options = {"sep": "\t", "header": None, "dtype": str, "keep_default_na": False}
        with self.reading():
            return pd.read_csv(self.path, usecols=[0], **options)[0].tolist()

    def matrix(self, corner: str) -> tuple[sparse.csr_matrix, list[str], list[str]]:
        """Read a tab-separated matrix with names: values (rows, columns), and both names.

        ``corner`` is the name of its first column.
        """
        header = self.header()
        if header[0] != corner or len(header) < 2:
            expected = f"expected {corner!r} and a matrix of numbers"
            raise ValueError(f"{self.path}: the first column is {header[0]!r}, {expected}")
        rows, blocks = [], []
        options = {"sep": "\t", "chunksize": BLOCK, "low_memory": False}
        with self.reading(), pd.read_csv(self.path, **options) as reader:
            for block in reader:
                if not isinstance(block.index, pd.RangeIndex):
                    found = "lines have more fields than the header"
                    raise ValueError(f"{self.path}: {found}, expected {len(header)}")
                names = block.iloc[:, 0].astype(str).tolist()
                rows += names
                blocks.append(_numbers(block.iloc[:, 1:], names, self.path))
        if not blocks:
            expected = "expected one for each row of the matrix"
            raise ValueError(f"{self.path}: no line under the header, {expected}")
        return sparse.vstack(blocks, format="csr"), rows, header[1:]

    def market_columns(self, shape: tuple[int, int], chosen: np.ndarray) -> sparse.csr_matrix:
        """Read columns ``chosen`` of a matrix-market file (genes, cells): (chosen cells, genes)."""
        place = np.full(shape[1] + 1, -1)
        place[chosen + 1] = np.arange(len(chosen))  # the file counts from 1
        opened = gzip.open if self.path.suffix == ".gz" else open
        values, cells, genes = [np.zeros(0)], [np.zeros(0, int)], [np.zeros(0, int)]
        n_seen = 0
        with self.reading(), opened(self.path, "rt", encoding="utf-8") as file:
            n_entries = _market_size(file, shape, self.path)
            for entries in _entries(file, n_entries):  # (entries, 3): gene, cell, value
                _require_inside(entries, shape, self.path)
                at = place[entries[:, 1].astype(int)]
                kept = at >= 0
                values.append(entries[kept, 2])
                cells.append(at[kept])
                genes.append(entries[kept, 0].astype(int) - 1)
                n_seen += len(entries)
        if n_seen != n_entries:
            expected = f"expected the {n_entries} of its size line (is it cut short?)"
            raise ValueError(f"{self.path}: {n_seen} entries, {expected}")
        numbers = np.concatenate(values).astype(np.float32)
        places = (np.concatenate(cells), np.concatenate(genes))
        return sparse.coo_matrix((numbers, places), shape=(len(chosen), shape[0])).tocsr()

    def rows(self, matrix, rows: np.ndarray | None = None) -> sparse.csr_matrix:
        """Read rows, all by default, of a matrix that may still lie in this file, as float32."""
        if matrix is None:
            raise ValueError(f"{self.path}: X is missing, expected a matrix (cells, genes)")
        with self.reading():
            if getattr(matrix, "format", "csr") == "csc" and hasattr(matrix, "to_memory"):
                # By columns: every block of rows would read the whole file.
                matrix = matrix.to_memory().tocsr()
            n = matrix.shape[0] if rows is None else len(rows)
            blocks = []
            for start in range(0, n, BLOCK):
                block = slice(start, start + BLOCK)
                part = matrix[block if rows is None else rows[block]]
                blocks.append(sparse.csr_matrix(part, dtype=np.float32))
            return sparse.vstack(blocks, format="csr")


def _numbers(block: pd.DataFrame, names: list[str], path: Path) -> sparse.csr_matrix:
    """Turn rows of a text matrix into numbers; sparse, (rows of the block, columns)."""
    if len(block.select_dtypes("object").columns):
        block = block.apply(pd.to_numeric, errors="coerce")
    values = block.to_numpy(np.float32)
    bad = ~np.isfinite(values).all(axis=1)
    if bad.any():
        found = f"row {names[bad.argmax()]!r} lacks fields or has text"
        raise ValueError(f"{path}: {found}, expected {values.shape[1]} numbers")
    if values.min() < 0:
        expected = "expected expression from 0 on"
        raise ValueError(f"{path}: holds negative values, {expected}")
    return sparse.csr_matrix(values)


def _market_size(file: TextIO, shape: tuple[int, int], path: Path) -> int:
    """Read up to the size line; return the number of entries."""
    line = file.readline()
    if not line.startswith(MARKET):
        expected = f"expected a line {MARKET} ..."
        raise ValueError(f"{path}: starts with {line[:40]!r}, {expected}")
    while line.startswith("%"):
        line = file.readline()
    size = [int(number) for number in line.split() if number.isdigit()]
    if size[:2] != list(shape) or len(size) != 3:
        expected = f"expected {shape[0]} genes and {shape[1]} cells"
        raise ValueError(f"{path}: its size line is {line.strip()!r}, {expected}")
    return size[2]


def _entries(file: TextIO, n_entries: int) -> Iterator[np.ndarray]:
    """Blocks of lines of a matrix-market file as numbers, (entries, 3); else NaN."""
    if not n_entries:  # pandas refuses a file without a line
        return
    names = ["gene", "cell", "value"]
    options = {"sep": r"\s+", "header": None, "names": names, "chunksize": ENTRIES}
    for block in pd.read_csv(file, **options):
        yield block.apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)


def _require_inside(entries: np.ndarray, shape: tuple[int, int], path: Path) -> None:
    gene, cell, value = entries.T
    inside = (gene >= 1) & (gene <= shape[0]) & (cell >= 1) & (cell <= shape[1])
    if not (inside & ~np.isnan(value)).all():
        problem = f"an entry lies outside {shape} or is incomplete"
        raise ValueError(f"{path}: {problem}, expected gene, cell, value")
