"""A file of data: read sparse where it may be large, refused in one way where it is not right."""

import lzma
import re
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
from scipy import sparse
from scipy.io import mmread

from scimf.core.files import read_toml

BLOCK = 256  #: rows made dense at once
TEXTS = {"sep": "\t", "dtype": str, "keep_default_na": False}  #: how a table of texts is read
WORDS = read_toml(Path(__file__).with_suffix(".toml"))  #: sentences and names, by kind
#: What parsers raise on a file that is damaged or something else.
DAMAGED = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile)
UNREADABLE = (*DAMAGED, LookupError, ValueError, TypeError, AttributeError, OverflowError)


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
            problems = WORDS["errors"].items()
            problem = next(says for text, says in problems if text in str(error).lower())
            raise ValueError(f"{self.path}: cannot be read, {problem} ({reason})") from error

    def refuse(self, kind: str, applies: Callable[[str], bool]) -> None:
        """Refuse it with the first sentence of a kind, see ``blocks.toml``, whose key applies."""
        for key, says in WORDS[kind].items():
            if applies(key):
                raise ValueError(f"{self.path}: {says}")

    def require_hdf5(self) -> None:
        """Refuse a file that is not HDF5."""
        with self.reading(), open(self.path, "rb") as file:
            start = file.read(16).decode("latin-1")
        self.refuse("starts", start.lower().startswith)
        if not h5py.is_hdf5(self.path):
            expected = "expected an .h5ad, .loom or 10x .h5 file"
            raise ValueError(f"{self.path}: not an HDF5 file (or damaged), {expected}")

    def require_unique(self, names: Sequence[str], what: str) -> None:
        """Refuse names of which one is there twice."""
        names = pd.Index(names)
        twice = names[names.duplicated()].unique()[:3].tolist()
        if twice:
            expected = "expected each name once"
            raise ValueError(f"{self.path}: duplicate {what}, such as {twice}; {expected}")

    def column(self, obs: pd.DataFrame, key: str, what: str) -> pd.Series:
        """Return a column of ``obs``, or say that it is missing and what was expected."""
        if key not in obs:
            found = f"obs[{key!r}] is missing, expected {what}; there are {list(obs)}"
            raise ValueError(f"{self.path}: {found}")
        return obs[key]

    def read_h5ad(self, *, backed: bool = False) -> ad.AnnData:
        """Read an ``.h5ad`` file; with ``backed``, X stays in it until ``file.close()``."""
        self.require_hdf5()
        with self.reading():
            return ad.read_h5ad(self.path, backed="r" if backed else None)

    def table(self, name: str, keys: Sequence[str], *, optional: str = "$") -> pd.DataFrame:
        """Read a tab-separated table of cells, as text; its index is the column ``name``.

        The columns ``keys`` have to be there, those whose name matches ``optional`` need not.
        """
        header = self._header()  # first: a matrix in the table's place would be gigabytes of text
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

    def _header(self) -> list[str]:
        """Names of the columns of a tab-separated table."""
        with self.reading():
            return pd.read_csv(self.path, sep="\t", nrows=0).columns.astype(str).tolist()

    def names(self) -> pd.DataFrame:
        """Columns 0, 1, ... of a tab-separated table without header, as text."""
        with self.reading():  # a quote may be part of a name, or stand around all of them
            table = pd.read_csv(self.path, header=None, encoding="utf-8-sig", quoting=3, **TEXTS)
        for key, names in table.fillna("").items():
            table[key] = names.str[1:-1] if names.str.fullmatch('".*"').all() else names
        return table

    def matrix(self, corner: str) -> tuple[sparse.csr_matrix, list[str], list[str]]:
        """Read a tab-separated matrix with names: values (rows, columns), and both names.

        ``corner`` is the name of its first column.
        """
        header = self._header()
        if header[0] != corner or len(header) < 2:
            expected = f"expected {corner!r} and a matrix of numbers"
            raise ValueError(f"{self.path}: the first column is {header[0]!r}, {expected}")
        rows, blocks = [], [sparse.csr_matrix((0, len(header) - 1), dtype=np.float32)]
        options = {"sep": "\t", "chunksize": BLOCK, "low_memory": False}
        with self.reading(), pd.read_csv(self.path, **options) as reader:
            for block in reader:
                if not isinstance(block.index, pd.RangeIndex):
                    found = "lines have more fields than the header"
                    raise ValueError(f"{self.path}: {found}, expected {len(header)}")
                names = block.iloc[:, 0].astype(str).tolist()
                rows += names
                blocks.append(self._numbers(block.iloc[:, 1:], names))
        return sparse.vstack(blocks, format="csr"), rows, header[1:]

    def _numbers(self, block: pd.DataFrame, names: list[str]) -> sparse.csr_matrix:
        """Turn rows of a text matrix into numbers; sparse, (rows of the block, columns)."""
        if len(block.select_dtypes("object").columns):
            block = block.apply(pd.to_numeric, errors="coerce")
        values = block.to_numpy(np.float32)
        bad = ~(np.isfinite(values) & (values >= 0)).all(axis=1)
        if bad.any():
            found = f"row {names[bad.argmax()]!r} lacks fields or has text or a negative value"
            raise ValueError(f"{self.path}: {found}, expected {values.shape[1]} numbers from 0 on")
        return sparse.csr_matrix(values)

    def market(self, n_genes: int, n_cells: int) -> sparse.csr_matrix:
        """Read a matrix-market file (genes, cells); return it as (cells, genes)."""
        with self.reading():
            matrix = sparse.coo_matrix(mmread(self.path))
        if matrix.shape != (n_genes, n_cells):
            expected = f"expected {n_genes} genes and {n_cells} cells, as many as have names"
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
