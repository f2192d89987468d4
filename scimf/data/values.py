"""What the values of a file are: counts, log-normalised expression, PCs or a state, and where.

The values decide. Where X is none of these, ``raw`` and the layers are looked through.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from scimf.data.blocks import DataFile
from scimf.data.tables import LIKE

FORMS = ("counts", "lognorm", "pcs", "state")
FAR = 50  #: times as far from the middle as half of the cells: not like the others
#: Layers that hold parts of the counts: they count only where there are no others.
PARTS = ("spliced", "unspliced", "ambiguous", "spanning")
MAX_LOGNORM = 25  #: no count has a larger logarithm, to base 2 or e
BESIDE = 1e-3  #: numbers this near to whole ones are whole ones with noise
SAMPLE = 500  #: cells that are looked at closely
EXACT = 2**24  #: float32 holds every whole number up to here
LOGARITHMS = {"log1p": 1.0, "log2(1 + x)": np.log(2), "log10(1 + x)": np.log(10)}


def recorded_form(adata: ad.AnnData) -> str | None:
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
    def logged(self) -> str:
        """How one sees that these are logarithms of normalised counts; empty otherwise."""
        if self.low < 0 or self.high > MAX_LOGNORM or self.mostly_whole or _multiplied(self.sample):
            return ""
        for name, factor in LOGARITHMS.items():
            if seen := _multiplied(np.expm1(self.sample * factor)):
                return f"{name} of normalised counts: before it, {seen}"
        return ""

    @cached_property
    def coordinates(self) -> bool:
        """Whether columns lie or are named like coordinates."""
        names = self.var.index.astype(str)
        return self.where.startswith("obsm['X_") or all(map(LIKE["coordinates"].fullmatch, names))


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


def choose_values(
    adata: ad.AnnData,
    path: Path,
    notes: list[str],
    *,
    layer: str | None = None,
    form: str | None = None,
    recorded: str | None = None,
) -> tuple[ad.AnnData, str, str]:  # with these values in X, their form, and why in words
    """Decide which values are used, and what they are; doubts are added to ``notes``.

    The user may decide on a ``layer`` ("X", "raw", a layer or a key of ``obsm``) and on the
    ``form`` (of :data:`FORMS`); the form that is ``recorded`` in the file is believed unless the
    values contradict. A ``ValueError`` if it cannot be told, or is not what was declared.
    """
    matrices = _matrices(adata)
    if form is not None and form not in FORMS:
        raise ValueError(f"{path}: form={form!r}, expected one of {FORMS}")
    if layer is not None and layer not in matrices:
        raise ValueError(f"{path}: layer={layer!r} is not there, expected one of {[*matrices]}")
    try:
        taken = Values.of(*matrices[layer or "X"])
        is_told = layer is form is None and recorded in FORMS
        against = _contradiction(recorded, taken, decoded=True) if is_told else ""
        if against:
            notes.append(f"uns['scimf'] says {recorded}, but X holds {against}: not believed.")
        if is_told and not against:
            form, why = recorded, f"{recorded}, as recorded in the file"
        elif layer is None:
            taken, form, why = _found(matrices, taken, form)
        else:
            form, why = _settled(matrices, taken, form)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    DataFile(path).require_unique(taken.var.index, "gene names (var_names)")
    if form == "counts":
        taken = _rounded(taken, notes)
    if form in ("pcs", "state"):
        _note_far_cells(taken, notes)
    return _with_values(adata, taken), form, f"Took {taken.where} as {why}."


# ------------------------------------------------------------------------------ what they look like


def _recognised(values: Values) -> tuple[str, str]:
    """Form that values look like, empty if that cannot be told; and what was found."""
    columns = f"{len(values.var)} columns"
    if values.unusable:
        return "", values.unusable
    if values.like_counts:
        return "counts", f"whole numbers from 0 to {values.high:g}"
    if values.coordinates:
        return "pcs", f"{columns}, {values.var.index[0]!r} to {values.var.index[-1]!r}"
    if values.logged:
        return "lognorm", values.logged
    if values.low < 0:
        return "", f"negative values in {columns} (scaled genes, or PCs?)"
    found = f"fractions up to {values.high:.4g}"
    is_like_counts = values.mostly_whole or values.reduced or _multiplied(values.sample)
    if is_like_counts or values.high > MAX_LOGNORM:
        return "", f"{found}, unlike logarithms (counts without ambient RNA, or never logged?)"
    return "lognorm", f"{found}, and nothing else shows it"


def _contradiction(form: str, values: Values, *, decoded: bool = False) -> str:
    """Say what speaks against a form, if anything; decoded expression may dip below 0."""
    dips = decoded and values.sample.mean() > 0.1 * values.sample.std()  # scaled genes have mean 0
    if values.unusable:
        return values.unusable
    if values.low < -BESIDE and (form == "counts" or (form == "lognorm" and not dips)):
        return "negative values"
    if form in ("lognorm", "pcs") and values.like_counts and values.high > 1:
        return "whole numbers like counts"
    if form == "lognorm" and values.high > MAX_LOGNORM:
        return f"values up to {values.high:.4g}, which were never logged"
    return values.logged if form in ("counts", "pcs") and not values.like_counts else ""


def _rounded(counts: Values, notes: list[str]) -> Values:
    """Take noise from whole numbers; fractions stay as they are."""
    if not counts.like_counts:
        notes.append(f"{counts.where}: fractional counts are kept; count models need whole ones.")
    elif (counts.numbers != np.rint(counts.numbers)).any():
        notes.append(f"{counts.where}: numbers within {BESIDE:g} of whole ones were rounded.")
        is_sparse = sparse.issparse(counts.x)
        return replace(counts, x=counts.x.rint() if is_sparse else np.rint(counts.x))
    return counts


def _note_far_cells(values: Values, notes: list[str]) -> None:
    x = values.x.toarray() if sparse.issparse(values.x) else values.x
    away = np.abs(x - np.median(x, axis=0)).max(axis=1)
    far = away > FAR * np.median(away)
    if 0 < far.mean() < 0.01:
        cell = values.cells[far.argmax()]
        notes.append(f"{values.where}: {far.sum()} cells lie far from others, such as {cell!r}.")


# ----------------------------------------------------------------------------------- where they are


def _matrices(adata: ad.AnnData) -> dict[str, tuple]:
    """By the names that ``layer`` can be: where a matrix is, it, its cells and its columns."""
    cells = adata.obs_names
    x = sparse.csr_matrix(adata.shape) if adata.X is None else adata.X
    found = {"X": ("X", x, cells, adata.var)}
    if adata.raw is not None:
        found["raw"] = ("raw", adata.raw.X, cells, adata.raw.var)
    for key, x in adata.layers.items():
        found.setdefault(key, (f"layers[{key!r}]", x, cells, adata.var))
    for key, x in adata.obsm.items():
        prefix = "PC" if key == "X_pca" else key.removeprefix("X_")
        var = pd.DataFrame(index=[f"{prefix}{k + 1}" for k in range(x.shape[1])])
        found.setdefault(key, (f"obsm[{key!r}]", x, cells, var))
    return found


def _with_values(adata: ad.AnnData, taken: Values) -> ad.AnnData:
    """Put values in the place of X; what belongs to other columns is left out."""
    if taken.x is adata.X:
        return adata
    layers = dict(adata.layers) if taken.var.index.equals(adata.var_names) else None
    others = {"obs": adata.obs, "obsm": adata.obsm, "uns": dict(adata.uns)}
    return ad.AnnData(taken.x, var=taken.var, layers=layers, **others)


def _found(matrices: dict, x: Values, form: str | None) -> tuple[Values, str, str]:
    """Values to be used where the user names none, X or others; their form, and why."""
    seen, found = _recognised(x)
    others = ["counts", "lognorm"] if form is None else [form]
    if form is None and not seen and (x.low < 0 or not x.numbers.any()):
        others.append("pcs")
    is_sure = seen == form if form else seen in ("counts", "pcs") or x.logged
    for wanted in [] if is_sure else others:
        taken = _elsewhere(matrices, wanted)
        if len(taken) > 1:
            problem = f"X holds {found}, and different {wanted} are in {[*taken]}"
            raise ValueError(f"{problem}: choose one with layer= (LAYER=)")
        if taken:
            (values,) = taken.values()
            _settled(matrices, values, wanted)
            return values, wanted, f"{wanted}: {_recognised(values)[1]}, because X holds {found}"
    return x, *_settled(matrices, x, form)


def _elsewhere(matrices: dict, wanted: str) -> dict[str, Values]:
    """Return what holds values of a form beside X; of equal ones the first, raw before layers."""
    found: dict[str, Values] = {}
    for name, (where, *matrix) in matrices.items():
        if name == "X" or (where.startswith("obsm") and (name, wanted) != ("X_pca", "pcs")):
            continue
        values = Values.of(where, *matrix)
        is_sure = values.logged if wanted == "lognorm" else _recognised(values)[0] == wanted
        if is_sure and not any(_holds(other, values) for other in found.values()):
            found[name] = values
    return {name: found[name] for name in found if name not in PARTS} or found


def _holds(more: Values, less: Values) -> bool:
    """Whether the values of one matrix are among those of another one."""
    if not more.var.index.is_unique:
        return False
    at = more.var.index.get_indexer(less.var.index)
    return bool((at >= 0).all()) and np.allclose(more.sample[:, at], less.sample, equal_nan=True)


def _settled(matrices: dict, values: Values, form: str | None) -> tuple[str, str]:
    """Form of values that are used, and why; refused if it cannot be told or is wrong."""
    seen, found = _recognised(values)
    against = _contradiction(form, values) if form else ("" if seen else found)
    if not against:
        return (form, f"{form}, as declared") if form else (seen, f"{seen}: {found}")
    problem = f"{values.where} {f'was declared as {form} but ' if form else ''}holds {against}"
    expected = "expected finite numbers, not all zero"
    if not values.unusable:
        forms = FORMS[2:] if values.low < 0 else FORMS
        expected = f"declare form= (FORM=), one of {forms}"
    if len(matrices) > 1:
        expected += f", or choose one of {[*matrices][:8]} with layer= (LAYER=)"
    raise ValueError(f"{problem}; {expected}")
