"""What the values of a file are: counts, log-normalised expression, PCs or a state, and where.

The values themselves decide, whatever a matrix is called. Where X can be none of these, ``raw`` and
the layers are looked through; where two readings are possible, the user is asked.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from scimf.data.blocks import DataFile
from scimf.data.evidence import BESIDE, MAX_LOGNORM, MAX_PC_COLUMNS, Values

FORMS = ("counts", "lognorm", "pcs", "state")
MOST_LOGGED = 20  #: log2 of a million; who holds more is asked
NOTHING = "no value but zero"
FAR = 50  #: robust standard deviations from which on a cell is not like the others
#: Layers that hold parts of the counts: they count only where there are no others.
PARTS = ("spliced", "unspliced", "ambiguous", "spanning")


# ------------------------------------------------------------------------------ what they look like


def _recognised(values: Values) -> tuple[str, str]:
    """Form that values look like, empty if that cannot be told; and what was found."""
    columns = f"{len(values.var)} columns"
    if values.not_finite:
        return "", values.not_finite
    if not values.numbers.any():
        return "", NOTHING
    if values.whole and values.low >= 0:
        return "counts", f"whole numbers from 0 to {values.high:g}"
    if values.beside_whole:
        return "counts", f"numbers within {BESIDE:g} of whole ones from 0 to {values.high:g}"
    if values.logged:
        return "lognorm", values.logged
    if values.named_coordinates:
        return "pcs", f"{columns}, {values.var.index[0]!r} to {values.var.index[-1]!r}"
    if values.low < 0:
        if values.whole:
            return "", "whole numbers like counts, but some are negative"
        if values.ordered:
            return "pcs", f"negative values in {columns} that vary less and less, as PCs do"
        scaled = values.standardised or len(values.var) > MAX_PC_COLUMNS
        return "", f"negative values in {columns}" + (" (scaled genes?)" if scaled else "")
    found = f"fractions up to {values.high:.4g}"
    if values.mostly_whole:
        return "", f"{found} among whole numbers"
    if values.multiplied:
        return "", f"{found} (normalised but not logged? {values.multiplied})"
    small = values.dense[(values.dense > 0) & (values.dense < 1.5)]
    if len(small) and ((small > 0.5) & (small < 1.02)).mean() > 0.9:
        return "", f"{found}, the small ones just below 1 (counts without ambient RNA?)"
    if values.high > MOST_LOGGED:
        return "", f"{found} (not logged?)"
    return "lognorm", f"fractions from 0 to {values.high:.3g}"


def _contradiction(form: str, values: Values, *, decoded: bool = False) -> str:
    """Say what speaks against a form, if anything; decoded expression may dip below 0."""
    if values.not_finite:
        return values.not_finite
    if not values.numbers.any():
        return NOTHING
    if form == "counts":
        if values.low < -BESIDE:
            return "negative values"
        return "" if values.beside_whole else values.logged
    if form == "lognorm":
        dips = decoded and -values.low < values.high and not values.standardised
        if values.low < 0 and not dips:
            return "negative values"
        if values.high > MAX_LOGNORM:
            return f"values up to {values.high:.4g}, which were never logged"
        return "whole numbers like counts" if values.whole and values.high > 1 else ""
    if form == "pcs":
        if values.whole and values.low >= 0:
            return "whole numbers like counts"
        return values.logged
    return ""


def _doubts(values: Values, form: str, *, detected: bool) -> Iterator[str]:
    """Yield what a reader should know of values that were taken."""
    where = values.where
    if form == "counts" and not values.whole:
        if values.beside_whole:
            yield f"{where}: numbers within {BESIDE:g} of whole ones were rounded."
        else:
            yield (
                f"{where}: fractional counts are kept as they are, as after the removal of ambient "
                "RNA; models of counts need whole numbers."
            )
    if form == "lognorm" and detected and not values.logged:
        yield (
            f"{where} was taken as log-normalised because its values are fractions up to "
            f"{values.high:.3g}; nothing else shows it. If they are counts, write form='counts'."
        )
    if form in ("pcs", "state"):
        if form == "pcs" and values.standardised and len(values.var) > 3:
            yield f"{where}: columns have mean 0 and s.d. 1, like scaled genes and unlike PCs."
        x = values.x.toarray() if sparse.issparse(values.x) else values.x
        away = np.abs(x - np.median(x, axis=0))
        spread = 1.4826 * np.median(away, axis=0)
        far = (away > FAR * np.where(spread > 0, spread, np.inf)).any(axis=1)
        if 0 < far.mean() < 0.01:
            cell = values.cells[far.argmax()]
            yield f"{where}: {far.sum()} cells lie far from all others, such as {cell!r}."


# ----------------------------------------------------------------------------------- where they are


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
    if form is not None and form not in FORMS:
        raise ValueError(f"{path}: form={form!r}, expected one of {FORMS}")
    try:
        taken = _named(adata, "X" if layer is None else layer)
        detected = form is None
        if layer is not None:
            form, why = _as_declared(taken, form)
        elif detected and _is_believed(recorded, taken, notes):
            detected, form, why = False, recorded, f"{recorded}, as recorded in the file"
        else:
            taken, form, why = _found(adata, taken, form)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    DataFile(path).require_unique(taken.var.index, "gene names (var_names)")
    notes += _doubts(taken, form, detected=detected)
    if form == "counts" and not taken.whole and taken.beside_whole:
        whole = taken.x.rint() if sparse.issparse(taken.x) else np.rint(taken.x)
        taken = replace(taken, x=whole)
    return _with_values(adata, taken), form, f"Took {taken.where} as {why}."


def _is_believed(recorded: str | None, values: Values, notes: list[str]) -> bool:
    """Whether what the file tells is not contradicted by its values."""
    if recorded not in FORMS:
        return False
    against = _contradiction(recorded, values, decoded=True)
    if against:
        notes.append(f"uns['scimf'] says {recorded}, but X holds {against}: not believed.")
    return not against


def _with_values(adata: ad.AnnData, taken: Values) -> ad.AnnData:
    """Put values in the place of X; what belongs to other columns is left out."""
    if taken.x is adata.X:
        return adata
    parts = {"obs": adata.obs, "obsm": adata.obsm, "uns": dict(adata.uns)}
    if taken.where == "X" or taken.where.startswith("layers"):
        for key, values in adata.layers.items():
            if taken.where != f"layers[{key!r}]":
                parts.setdefault("layers", {})[key] = values
    return ad.AnnData(taken.x, var=taken.var, **parts)


def _named(adata: ad.AnnData, name: str) -> Values:
    """Return the matrix of a name."""
    cells = adata.obs_names
    if name == "X":
        x = np.zeros(adata.shape, np.float32) if adata.X is None else adata.X
        return Values.of("X", x, cells, adata.var)
    if name == "raw" and adata.raw is not None:
        return Values.of("raw", adata.raw.X, cells, adata.raw.var)
    if name in adata.layers:
        return Values.of(f"layers[{name!r}]", adata.layers[name], cells, adata.var)
    if name in adata.obsm:
        x = adata.obsm[name]
        prefix = "PC" if name == "X_pca" else name.removeprefix("X_")
        names = [f"{prefix}{k + 1}" for k in range(x.shape[1])]
        if isinstance(x, pd.DataFrame):
            names = x.columns.astype(str)
        return Values.of(f"obsm[{name!r}]", x, cells, pd.DataFrame(index=names))
    raise ValueError(f"layer={name!r} is not there, expected one of {_names(adata)}")


def _names(adata: ad.AnnData) -> list[str]:
    """Everything that ``layer`` can name."""
    first = [name for name in ("X", "raw") if getattr(adata, name) is not None]
    return [*first, *adata.layers, *adata.obsm]


def _as_declared(values: Values, form: str | None) -> tuple[str, str]:
    """Form of values that were chosen, and why; refused if that cannot be told or is wrong."""
    if form is None:
        form, found = _recognised(values)
        if values.where.startswith("obsm['X_") and not values.not_finite and not values.whole:
            return "pcs", "ready-made PCs, as coordinates lie there"
        if not form:
            raise ValueError(
                f"cannot tell what {values.where} is: {found}, "
                "declare form='counts', 'lognorm', 'pcs' or 'state'"
            )
        return form, _in_words(form, found)
    if against := _contradiction(form, values):
        raise ValueError(f"{values.where} was declared as {form} but holds {against}")
    return form, f"{form}, as declared"


def _in_words(form: str, found: str) -> str:
    names = {"lognorm": "log-normalised expression", "pcs": "ready-made PCs"}
    return f"{names.get(form, form)}: {found}"


def _found(adata: ad.AnnData, values: Values, form: str | None) -> tuple[Values, str, str]:
    """Values to be used where the user names none, X or others; their form, and why."""
    seen, found = _recognised(values)
    if form is None and _is_sure(seen, values, adata):
        why = _in_words(seen, found)
        if seen == "lognorm" and (others := _elsewhere(adata, "counts")):
            why += f"; counts are there, too: layer= (LAYER=) takes one of {others}"
        return values, seen, why
    if form is not None and form == seen:
        return values, form, f"{form}, as declared"
    for wanted in ("counts", "lognorm") if form is None else (form,):
        others = _elsewhere(adata, wanted)
        if len(others) > 1:
            problem = f"X holds {found}, and different {wanted} are in {others}"
            raise ValueError(f"{problem}: choose one with layer= (LAYER=)")
        if others:
            return _instead(_named(adata, others[0]), wanted, found)
    unlike_genes = values.low < 0 or not values.numbers.any()
    if "X_pca" in adata.obsm and (form == "pcs" or (form is None and unlike_genes and not seen)):
        return _instead(_named(adata, "X_pca"), "pcs", found)
    return values, *_last_resort(values, form, adata)


def _instead(taken: Values, form: str, found: str) -> tuple[Values, str, str]:
    """Values that take the place of X, in which something else was found."""
    if against := _contradiction(form, taken):
        raise ValueError(f"X holds {found}, and {taken.where} holds {against}, expected {form}")
    return taken, form, f"{_in_words(form, _recognised(taken)[1])}, because X holds {found}"


def _is_sure(seen: str, values: Values, adata: ad.AnnData) -> bool:
    """Whether no look at other matrices is needed."""
    if seen == "lognorm":
        return bool(values.logged)
    if seen == "pcs":  # genes may be sorted by variance, too, and only genes have layers
        return values.named_coordinates or not (adata.layers or adata.raw is not None)
    return bool(seen)


def _last_resort(values: Values, form: str | None, adata: ad.AnnData) -> tuple[str, str]:
    """Form of X, and why, where nothing else can be used."""
    seen, found = _recognised(values)
    if form is None and seen == "lognorm":
        return seen, _in_words(seen, found)
    if form is not None and not (against := _contradiction(form, values)):
        return form, f"{form}, as declared"
    if values.not_finite:
        raise ValueError(f"X holds {found}, expected finite numbers")
    others = ""
    if len(names := _names(adata)) > 1:
        others = f"choose one of {names[:8]} with layer= (LAYER=), or "
    if form is not None:
        raise ValueError(f"X was declared as {form} but holds {against}; {others}declare another")
    forms = FORMS[2:] if values.low < 0 else FORMS
    what = f"X holds {found}, so one cannot tell what it is"
    raise ValueError(f"{what}: {others}declare form= (FORM=), one of {forms}")


def _elsewhere(adata: ad.AnnData, wanted: str) -> list[str]:
    """Names of what holds values of a form beside X; of equal ones the first, raw before layers."""
    if wanted not in ("counts", "lognorm"):
        return []
    found: dict[str, Values] = {}
    first = [] if adata.raw is None else ["raw"]
    for name in dict.fromkeys([*first, *adata.layers]):
        values = _named(adata, name).sampled()
        same = any(_holds(other, values) for other in found.values())
        if not same and _recognised(values)[0] == wanted:
            found[name] = values
    whole = [name for name in found if name not in PARTS]
    sure = [name for name in found if found[name].logged]
    return whole if wanted == "counts" and whole else sure or list(found)


def _holds(more: Values, less: Values) -> bool:
    """Whether the values of one matrix are among those of another one."""
    if not more.var.index.is_unique:
        return False
    at = more.var.index.get_indexer(less.var.index)
    return bool((at >= 0).all()) and np.allclose(more.dense[:, at], less.dense, equal_nan=True)
