"""A file of data: read sparse where it may be large, refused in one way where it is not right."""

import lzma
import re
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
from scipy import sparse
from scipy.io import mmread

BLOCK = 256  #: rows made dense at once
TEXTS = {"sep": "\t", "dtype": str, "keep_default_na": False}  #: how a table of texts is read
#: What parsers raise on a file that is damaged or something else.
DAMAGED = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile)
UNREADABLE = (*DAMAGED, LookupError, ValueError, TypeError, AttributeError, OverflowError)
#: What is wrong with a file, by what stands in the error that its parser raises.
PROBLEMS = {
    "unable to lock file": "it is open in another program (locked); close it there",
    "Permission denied": "reading it is not permitted",
    "Is a directory": "it is a folder, expected a file",
    "truncated": "it is cut short, damaged on its way; copy or download it again",
    "end-of-stream marker": "it is cut short, damaged on its way; copy or download it again",
}
#: What files called ``.h5ad`` often are instead, by their first bytes (in lower case).
NOT_HDF5 = {
    b"\x1f\x8b": "is compressed, unpack it first (gunzip)",
    b"pk\x03\x04": "is compressed, unpack it first (unzip)",
    b"<": "is a web page, the download went wrong; download it again",
    b"version https://": "only points to a file of Git LFS; get it with git lfs pull",
}


@dataclass(frozen=True)
class DataFile:
    """A file by its path, which every error begins with.

    Whatever is cut short, swapped with another or of another layout is a ``ValueError`` that says
    what was expected.
    """

    path: Path

    @contextmanager
    def reading(self) -> Iterator[None]:
        """While entered, whatever a damaged file makes its parser raise is one ``ValueError``."""
        try:
            with warnings.catch_warnings():
                # Numbered or refused later, with a better message.
                warnings.filterwarnings("ignore", message=".*names are not unique")
                # Old files are read all the same.
                warnings.filterwarnings("ignore", message=".*without encoding metadata")
                yield
        except UNREADABLE as error:
            if str(error).startswith(f"{self.path}: "):
                raise
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            problem = _problem_of(error)
            raise ValueError(f"{self.path}: cannot be read, {problem} ({reason})") from error

    def require_hdf5(self, what: str) -> None:
        """Refuse a file that is not HDF5."""
        with self.reading(), open(self.path, "rb") as file:
            start = file.read(16)
        for first, instead in NOT_HDF5.items():
            if start.lower().startswith(first):
                raise ValueError(f"{self.path}: {instead}")
        if not h5py.is_hdf5(self.path):
            expected = f"expected {what} (or it is damaged)"
            raise ValueError(f"{self.path}: not an HDF5 file; {expected}")

    def require_unique(self, names: Sequence[str], what: str) -> None:
        """Refuse names of which one is there twice."""
        names = pd.Index(names)
        twice = names[names.duplicated()].unique()[:3].tolist()
        if twice:
            expected = "expected each name once"
            raise ValueError(f"{self.path}: duplicate {what}, such as {twice}; {expected}")

    def read_h5ad(self, *, backed: bool = False) -> ad.AnnData:
        """Read an ``.h5ad`` file.

        With ``backed``, X stays in the file until it is indexed; close it with
        ``adata.file.close()``.
        """
        self.require_hdf5("an .h5ad file written by AnnData")
        with self.reading():
            return ad.read_h5ad(self.path, backed="r" if backed else None)

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
        with self.reading():
            table = pd.read_csv(self.path, usecols=wanted, **TEXTS)
        table = table.fillna("").set_index(name)
        if not len(table):
            expected = "expected a cell in each line"
            raise ValueError(f"{self.path}: column {name!r} is empty, {expected}")
        self.require_unique(table.index, f"cells in column {name!r}")
        return table

    def first_column(self) -> list[str]:
        """First column of a tab-separated table without header, as text."""
        with self.reading():
            return pd.read_csv(self.path, usecols=[0], header=None, **TEXTS)[0].tolist()

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

    def market(self, n_genes: int, n_cells: int) -> sparse.csr_matrix:
        """Read a matrix-market file (genes, cells); return it as (cells, genes)."""
        with self.reading():
            matrix = sparse.coo_matrix(mmread(self.path))
        if matrix.shape != (n_genes, n_cells):
            expected = f"expected {n_genes} genes and {n_cells} cells"
            raise ValueError(f"{self.path}: its matrix is {matrix.shape}, {expected}")
        return matrix.T.tocsr()

    def rows(self, matrix, rows: np.ndarray | None = None) -> sparse.csr_matrix:
        """Read rows, all by default, of a matrix that may still lie in this file, as float32."""
        if matrix is None:
            raise ValueError(f"{self.path}: X is missing, expected a matrix (cells, genes)")
        with self.reading():
            if rows is not None:
                matrix = matrix[rows]
            if hasattr(matrix, "to_memory"):
                matrix = matrix.to_memory()
            if sparse.issparse(matrix):
                return sparse.csr_matrix(matrix, dtype=np.float32)
            blocks = []
            for start in range(0, matrix.shape[0], BLOCK):
                block = matrix[start : start + BLOCK]
                blocks.append(sparse.csr_matrix(block, dtype=np.float32))
            return sparse.vstack(blocks, format="csr")


def _problem_of(error: Exception) -> str:
    for text, problem in PROBLEMS.items():
        if text.lower() in str(error).lower():
            return problem
    return "probably cut short, damaged or another file"


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
