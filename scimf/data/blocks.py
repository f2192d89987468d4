"""A file of data: read sparse where it may be large, refused in one way where it is not right."""

import lzma
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

    def table(self, name: str, keys: Sequence[str], *, optional: str = "$^") -> pd.DataFrame:
        """Read a tab-separated table of cells, as text; its index is the column ``name``.

        The columns ``keys`` have to be there, those whose name matches ``optional`` need not.
        """
        with self.reading():
            header = pd.read_csv(self.path, sep="\t", nrows=0)
            wanted = [name, *keys, *header.filter(regex=optional)]
            table = pd.read_csv(self.path, usecols=wanted, **TEXTS)
        table = table.fillna("").set_index(name)
        self.require_unique(table.index, f"cells in column {name!r}")
        return table

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
        rows, columns, parts = [], [], []
        options = {"sep": "\t", "index_col": 0, "chunksize": BLOCK, "low_memory": False}
        with self.reading(), pd.read_csv(self.path, **options) as reader:
            for block in reader:
                columns = block.columns.tolist()
                # There is no name where lines have more fields than the header.
                if block.index.name != corner or not columns:
                    expected = f"expected {corner!r} and as many names as numbers in a line"
                    found = f"the first column is {block.index.name!r}"
                    raise ValueError(f"{self.path}: {found}, {expected}")
                if len(block.select_dtypes("object").columns):
                    block = block.apply(pd.to_numeric, errors="coerce")
                values = block.to_numpy(np.float32)
                bad = ~(np.isfinite(values) & (values >= 0)).all(axis=1)
                if bad.any():
                    row = block.index[bad.argmax()]
                    found = f"row {row!r} lacks fields or has text or a negative value"
                    expected = f"expected {len(columns)} numbers from 0 on"
                    raise ValueError(f"{self.path}: {found}, {expected}")
                rows += block.index.astype(str).tolist()
                parts.append(sparse.csr_matrix(values))
        return sparse.vstack(parts, format="csr"), rows, columns

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
            starts = range(0, matrix.shape[0], BLOCK)
            blocks = [sparse.csr_matrix(matrix[k : k + BLOCK], dtype=np.float32) for k in starts]
            return sparse.vstack(blocks, format="csr")
