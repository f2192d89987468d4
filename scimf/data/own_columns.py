"""The user's own columns whose names mean something here: kept, but under another name."""

from collections.abc import Mapping

import anndata as ad
import numpy as np
import pandas as pd

ASIDE = "_of_file"  #: what the names of such columns end in from then on
#: Read where they are there: one positive number for all cells that agree in these labels.
AMOUNTS = {"density": ("population",), "mass": ("population", "time")}


def record_of(adata: ad.AnnData, notes: list[str]) -> dict:
    """Return what a file that this package wrote says of itself; empty for any other file."""
    record = adata.uns.get("scimf")
    if isinstance(record, Mapping) and {"name", "form"} & set(record):
        return dict(record)
    if record is not None:
        notes.append("uns['scimf'] of the file is no record of this package and was replaced.")
    return {}


def set_aside(
    adata: ad.AnnData,
    keys: dict[str, str | None],
    labels: dict[str, pd.Series | None],
    *,
    recorded: bool,
) -> list[str]:  # what was done, in words
    """Rename columns of ``obs`` that would be overwritten, or read although nobody asked for it.

    Parameters
    ----------
    keys
        Time, cell type, population and batch: the column that the user named for each.
    labels
        What was read for each of them. A population by default that repeats types or times is
        replaced by ``None``.
    recorded
        Whether this package wrote the file, so that its population was chosen before.
    """
    obs = adata.obs
    reasons = {}
    for kind, key in keys.items():
        if kind in obs and key not in (None, kind):
            reasons[kind] = f"the {kind} of each cell is read from obs[{key!r}]"
    if keys["population"] is None and labels["population"] is not None and not recorded:
        for kind in ("time", "cell_type"):
            others = (labels[kind], obs.get(kind))
            if any(_repeats(labels["population"], other) for other in others):
                reasons["population"] = (
                    f"it repeats the {kind} (population_key='population' takes it all the same)"
                )
    if "population" in reasons and keys["population"] is None:
        labels["population"] = None
    for name, kinds in AMOUNTS.items():
        by = [labels[kind].to_numpy() for kind in kinds if labels[kind] is not None]
        if name in obs and not _is_amount(obs[name], by):
            reasons[name] = f"it is not one positive number for each {' and '.join(kinds)}"
    names = {}
    for name, reason in reasons.items():
        names[name] = name + ASIDE
        while names[name] in obs:
            names[name] += ASIDE
        reasons[name] = f"obs[{name!r}] of the file is now obs[{names[name]!r}]: {reason}."
    adata.obs = obs.rename(columns=names)
    return list(reasons.values())


def set_coordinates_aside(adata: ad.AnnData) -> list[str]:
    """Rename what another tool keeps in ``obsm`` under names that are written here."""
    notes = []
    for key in [key for key in adata.obsm if key.endswith("_scimf")]:
        adata.obsm[key + ASIDE] = adata.obsm.pop(key)
        notes.append(f"obsm[{key!r}] is not from this package and is now obsm[{key + ASIDE!r}].")
    return notes


def _repeats(labels: pd.Series, other: pd.Series | None) -> bool:
    """Whether two labels of each cell say the same in other words."""
    if other is None or labels.nunique() < 2:
        return False
    pairs = pd.DataFrame({"a": labels.astype(str), "b": other.astype(str)}).drop_duplicates()
    return len(pairs) == pairs["a"].nunique() == pairs["b"].nunique()


def _is_amount(column: pd.Series, by: list[np.ndarray]) -> bool:
    """Whether a column is one positive, finite number wherever all labels are the same."""
    numbers = pd.to_numeric(column.astype(object), errors="coerce").to_numpy(np.float64)
    if not (np.isfinite(numbers) & (numbers > 0)).all():
        return False
    by = by or [np.zeros(len(numbers))]
    return bool(pd.Series(numbers).groupby(by, observed=True).nunique().eq(1).all())
