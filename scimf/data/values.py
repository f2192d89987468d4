"""What the values of a file are: counts, log-normalised expression, PCs or a state, and where.

The values themselves decide, whatever a matrix is called. Where X can be none of these, ``raw`` and
the layers are looked through; where two readings are possible, the user is asked.
"""

from dataclasses import replace
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from scimf.data.blocks import DataFile
from scimf.data.evidence import BESIDE, MAX_LOGNORM, Values

FORMS = ("counts", "lognorm", "pcs", "state")
FAR = 50  #: times as far from the middle as half of the cells: not like the others
#: Layers that hold parts of the counts: they count only where there are no others.
PARTS = ("spliced", "unspliced", "ambiguous", "spanning")


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

    Parameters
    ----------
    layer, form
        What the user decided: "X", "raw", a layer or a key of ``obsm``; one of :data:`FORMS`.
    recorded
        Form that the file itself tells; believed unless the values contradict.

    Raises
    ------
    ValueError
        If that cannot be told, or is not what was declared.
    """
    matrices = _matrices(adata)
    if form is not None and form not in FORMS:
        raise ValueError(f"{path}: form={form!r}, expected one of {FORMS}")
    if layer is not None and layer not in matrices:
        raise ValueError(f"{path}: layer={layer!r} is not there, expected one of {[*matrices]}")
    try:
        taken = Values.of(*matrices[layer or "X"])
        if layer is None and form is None and _is_believed(recorded, taken, notes):
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


def _is_believed(recorded: str | None, values: Values, notes: list[str]) -> bool:
    """Whether what the file tells is not contradicted by its values."""
    if recorded not in FORMS:
        return False
    against = _contradiction(recorded, values, decoded=True)
    if against:
        notes.append(f"uns['scimf'] says {recorded}, but X holds {against}: not believed.")
    return not against


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
    if values.mostly_whole or values.reduced:
        return "", f"{found}, the others whole or just below 1 (counts without ambient RNA?)"
    if values.multiplied or values.high > MAX_LOGNORM:
        return "", f"{found} (normalised but not logged? {values.multiplied or 'too large'})"
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
        notes.append(
            f"{counts.where}: fractional counts are kept as they are, as after the removal of "
            "ambient RNA; models of counts need whole numbers."
        )
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
        where = f"{values.where}: {far.sum()} cells"
        notes.append(f"{where} lie far from all others, such as {cell!r}.")


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
    layers = {}
    if taken.var.index.equals(adata.var_names):
        for key, values in adata.layers.items():
            if taken.where != f"layers[{key!r}]":
                layers[key] = values
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
    names = [*matrices][:8]
    choose = f", or choose one of {names} with layer= (LAYER=)" if len(names) > 1 else ""
    if values.unusable:
        raise ValueError(
            f"{values.where} holds {found}, expected finite numbers, not all zero{choose}"
        )
    if form is None and not seen:
        forms = FORMS[2:] if values.low < 0 else FORMS
        ask = f"so one cannot tell what it is: declare form= (FORM=), one of {forms}{choose}"
        raise ValueError(f"{values.where} holds {found}, {ask}")
    if form is None:
        return seen, f"{seen}: {found}"
    if against := _contradiction(form, values):
        problem = f"{values.where} was declared as {form} but holds {against}"
        raise ValueError(f"{problem}: declare another{choose}")
    return form, f"{form}, as declared"
