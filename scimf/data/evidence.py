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

MAX_LOGNORM = 25  #: no count has a larger logarithm, to base 2 or e
BESIDE = 1e-3  #: numbers this near to whole ones are whole ones with noise
SAMPLE = 500  #: cells that are looked at closely
EXACT = 2**24  #: float32 holds every whole number up to here
LOGARITHMS = {"log1p": 1.0, "log2(1 + x)": np.log(2), "log10(1 + x)": np.log(10)}
#: Columns of tools that make coordinates: ``PC1``, ``PC_1``, ``UMAP-2``, ``latent0``, ``Z_0``.
COORDINATES = re.compile(
    r"(x?_?pca?s?|ic|lsi|nmf|lv|comp(onent)?|dim(ension)?|dc|diffmap|umap|t-?sne|phate|mde|latent"
    r"|z|harmony|scvi|factor|program|embedding)[ _.-]?\d+",
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
    numbers: np.ndarray  #: without those that a sparse matrix leaves out
    low: float  #: lowest value, at most 0
    high: float  #: highest value, at least 0
    sample: np.ndarray  #: some cells from the first to the last, float64

    @classmethod
    def of(cls, where: str, x, cells: pd.Index, var: pd.DataFrame) -> "Values":
        """Of whatever kind of matrix a tool keeps its values in."""
        if isinstance(x, np.ma.MaskedArray):
            x = x.astype(np.float64).filled(np.nan)
        x = x.tocsr() if sparse.issparse(x) else np.asarray(x)
        if x.dtype.kind not in "biuf":
            raise ValueError(f"{where} holds {x.dtype}, expected numbers")
        numbers = x.data if sparse.issparse(x) else x
        low = float(numbers.min(initial=0))
        high = float(numbers.max(initial=0))
        if x.dtype not in (np.float32, np.float64):
            x = x.astype(np.float64 if max(high, -low) > EXACT else np.float32)
            numbers = x.data if sparse.issparse(x) else x
        some = x[np.linspace(0, len(cells) - 1, min(len(cells), SAMPLE)).astype(int)]
        sample = some.toarray() if sparse.issparse(some) else some
        return cls(where, x, cells, var, numbers, low, high, sample.astype(np.float64))

    @cached_property
    def unusable(self) -> str:
        """Whether nothing is there but zeros, or where NaN or infinite values are."""
        if np.isfinite(self.numbers).all():
            return "" if self.numbers.any() else "no value but zero"
        entries = sparse.coo_matrix(self.x)
        bad = ~np.isfinite(entries.data)
        gene = self.var.index[entries.col[bad][0]]
        cell = self.cells[entries.row[bad][0]]
        return f"NaN or infinite values ({bad.sum()}, the first is {gene!r} of cell {cell!r})"

    @cached_property
    def like_counts(self) -> bool:
        """Whether all are whole numbers from 0 on, up to some noise."""
        return self.low > -BESIDE and bool(_near_whole(self.numbers).all())

    @cached_property
    def mostly_whole(self) -> bool:
        """Whether most values that are not zero are whole, up to some noise."""
        return 2 * _near_whole(self.sample[self.sample != 0]).sum() > (self.sample != 0).sum()

    @cached_property
    def reduced(self) -> bool:
        """Whether what would be a count of 1 lies just below, as without ambient RNA."""
        small = self.sample[(self.sample > 0) & (self.sample < 1.5)]
        return ((small > 0.5) & (small < 1.02)).sum() > 0.9 * len(small)

    @cached_property
    def multiplied(self) -> str:
        """How one sees that these are counts times a factor for each cell; empty otherwise."""
        return _multiplied(self.sample)

    @cached_property
    def logged(self) -> str:
        """How one sees that these are logarithms of such values; empty otherwise."""
        if self.low < 0 or self.high > MAX_LOGNORM or self.mostly_whole or self.multiplied:
            return ""
        for name, factor in LOGARITHMS.items():
            if seen := _multiplied(np.expm1(self.sample * factor)):
                return f"{name} of normalised counts: before it, {seen}"
        return ""

    @cached_property
    def coordinates(self) -> bool:
        """Whether columns lie or are named like coordinates."""
        names = self.var.index.astype(str)
        return self.where.startswith("obsm['X_") or all(map(COORDINATES.fullmatch, names))


def _near_whole(numbers: np.ndarray) -> np.ndarray:
    return np.abs(numbers - np.rint(numbers)) <= BESIDE


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
