"""A matrix of a file, and what can be seen in its values, whatever it is called."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse

if TYPE_CHECKING:
    from anndata import AnnData

MAX_PC_COLUMNS = 200  #: more columns than this with negative values look like scaled genes
MAX_LOGNORM = 50  #: log1p of any library size stays far below; larger values were never logged
BESIDE = 1e-3  #: numbers this near to whole ones are whole ones with noise
SAMPLE = 500  #: cells that are looked at closely
EXACT = 2**24  #: float32 holds every whole number up to here
LOGARITHMS = {"log1p": 1.0, "log2(1 + x)": np.log(2), "log10(1 + x)": np.log(10)}
#: Columns of tools that make coordinates: ``PC1``, ``PC_1``, ``UMAP-2``, ``latent0``, ``Z_0``.
COORDINATES = re.compile(
    r"(x?_?pca?s?|ic|lsi|nmf|lv|comp(onent)?|dim(ension)?|dc|diffmap|umap|t-?sne|phate|mde|latent"
    r"|z|harmony|scvi|factor|program|embedding|x)[ _.-]?\d+",
    re.IGNORECASE,
)


def recorded_form(adata: "AnnData") -> str | None:
    """Return what ``uns["scimf"]`` says of the values; ``None`` if it says nothing."""
    about = adata.uns.get("scimf")
    return about.get("form") if isinstance(about, Mapping) else None


@dataclass(frozen=True)
class Values:
    """One matrix of a file, and what can be seen in it."""

    where: str  #: "X", "raw", "layers['counts']" or "obsm['X_pca']"
    x: np.ndarray | sparse.csr_matrix  # (cells, columns), floats
    cells: pd.Index
    var: pd.DataFrame

    @classmethod
    def of(cls, where: str, x, cells: pd.Index, var: pd.DataFrame) -> "Values":
        """Of whatever kind of matrix a tool keeps its values in."""
        return cls(where, _floats(x, where), cells, var)

    def sampled(self) -> "Values":
        """Of some cells, from the first to the last: enough to tell what the values are."""
        n = self.x.shape[0]
        rows = np.linspace(0, n - 1, min(n, SAMPLE)).astype(int)
        return Values(self.where, self.x[rows], self.cells[rows], self.var)

    @cached_property
    def numbers(self) -> np.ndarray:
        """Values, without those that a sparse matrix leaves out."""
        return self.x.data if sparse.issparse(self.x) else self.x

    @cached_property
    def not_finite(self) -> str:
        """Where NaN or infinite values are; empty if there are none."""
        bad = ~np.isfinite(self.numbers)
        if not bad.any():
            return ""
        if sparse.issparse(self.x):
            entries = self.x.tocoo()
            rows, columns = entries.row[bad], entries.col[bad]
        else:
            rows, columns = np.nonzero(bad)
        place = f"{self.var.index[columns[0]]!r} of cell {self.cells[rows[0]]!r}"
        return f"NaN or infinite values ({len(rows)}, the first is {place})"

    @cached_property
    def low(self) -> float:
        """Lowest value, at most 0."""
        return float(self.numbers.min(initial=0))

    @cached_property
    def high(self) -> float:
        """Highest value, at least 0."""
        return float(self.numbers.max(initial=0))

    @cached_property
    def whole(self) -> bool:
        """Whether all are whole numbers."""
        return bool((self.numbers == np.rint(self.numbers)).all())

    @cached_property
    def beside_whole(self) -> bool:
        """Whether all are whole numbers from 0 on, up to some noise."""
        if self.low < -BESIDE:
            return False
        return bool((np.abs(self.numbers - np.rint(self.numbers)) <= BESIDE).all())

    @cached_property
    def dense(self) -> np.ndarray:
        """Of some of the cells, float64."""
        x = self.sampled().x
        return np.asarray(x.toarray() if sparse.issparse(x) else x, dtype=np.float64)

    @cached_property
    def mostly_whole(self) -> bool:
        """Whether most values that are not zero are whole, up to some noise."""
        values = self.dense[self.dense != 0]
        return bool(np.mean(np.abs(values - np.rint(values)) <= BESIDE) > 0.5)

    @cached_property
    def multiplied(self) -> str:
        """How one sees that these are counts times a factor for each cell; empty otherwise."""
        return _multiplied(self.dense)

    @cached_property
    def logged(self) -> str:
        """How one sees that these are logarithms of such values; empty otherwise."""
        if self.low < 0 or self.high > MAX_LOGNORM or self.mostly_whole or self.multiplied:
            return ""
        for name, factor in LOGARITHMS.items():
            if seen := _multiplied(np.expm1(self.dense * factor)):
                return f"{name} of normalised counts: before it, {seen}"
        return ""

    @cached_property
    def standardised(self) -> bool:
        """Whether columns have mean 0 and s.d. 1."""
        sd = self.dense.std(0)
        mean = self.dense.mean(0)[sd > 0]
        off = np.abs(sd[sd > 0] - 1)
        return bool(len(off)) and np.median(off) < 0.1 and np.median(np.abs(mean)) < 0.1

    @cached_property
    def ordered(self) -> bool:
        """Whether columns are centred and uncorrelated and vary less and less, as PCs do."""
        sd = self.dense.std(0)
        if not 2 <= len(sd) <= MAX_PC_COLUMNS or not sd.all() or self.standardised:
            return False
        rank = np.arange(len(sd))
        falls = np.corrcoef(rank, np.argsort(np.argsort(-sd)))[0, 1] > 0.9 and sd[0] > 1.2 * sd[-1]
        others = np.corrcoef(self.dense.T)[np.triu_indices(len(sd), k=1)]
        alike = np.median(np.abs(others)) < 0.1 + 1 / np.sqrt(len(self.dense))
        return falls and alike and np.median(np.abs(self.dense.mean(0)) / sd) < 0.5

    @cached_property
    def named_coordinates(self) -> bool:
        """Whether columns are named like coordinates; ``x1`` may also be a gene without a name."""
        found = [COORDINATES.fullmatch(str(name)) for name in self.var.index]
        return all(name and (len(name[1]) > 1 or self.low < 0) for name in found)


def _floats(x, where: str) -> np.ndarray | sparse.csr_matrix:
    """Turn what is on disk, lazy, masked or of whole numbers into an array or a CSR matrix."""
    for to_memory in ("to_memory", "compute"):
        if hasattr(x, to_memory):
            x = getattr(x, to_memory)()
    if isinstance(x, np.ma.MaskedArray):
        x = x.astype(np.float64).filled(np.nan)
    x = x.tocsr() if sparse.issparse(x) else np.asarray(x)
    if x.dtype.kind not in "biuf":
        raise ValueError(f"{where} holds {x.dtype}, expected numbers")
    if x.dtype in (np.float32, np.float64):
        return x
    numbers = x.data if sparse.issparse(x) else x
    largest = max(float(numbers.max(initial=0)), -float(numbers.min(initial=0)))
    return x.astype(np.float64 if largest > EXACT else np.float32)


def _multiplied(x: np.ndarray) -> str:
    """How one sees that each cell (cells, columns) is counts times its own factor."""
    whole = []
    for cell in x:
        positive = cell[cell > 0]
        times = positive / positive.min(initial=np.inf)
        times = times[(times > 1.5) & (times < 10)]
        if len(times) >= 3:
            whole.append((np.abs(times - np.rint(times)) < 0.05).mean() >= 0.95)
    if len(whole) >= 5 and np.mean(whole) > 0.8:
        return "the values of a cell are whole multiples of its smallest"
    total = x.sum(1)
    total = total[total > 0]
    if len(total) >= 5 and x.shape[1] >= 10 and total.std() < 1e-3 * total.mean():
        return f"every cell sums to {total.mean():.4g}"
    return ""
