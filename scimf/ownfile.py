"""Your own file: everything is checked, and said in words, before anything is computed."""

import re
from collections.abc import Mapping
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from scimf.formats import read_cells
from scimf.registry import sha256_of

FORMS = ("counts", "lognorm", "pcs", "state")
MAX_PC_COLUMNS = 200  # more columns than this with negative values look like scaled genes, not like PCs
MAX_LOGNORM = 50  # log1p of any library size stays far below; larger values were never logged


def texts(items) -> np.ndarray:
    """Return texts as an array of fixed width, which survives ``write_h5ad``, empty or not."""
    return np.array(list(items), dtype=str)


def load_own(
    path: Path,
    *,
    time_key: str,
    type_key: str | None,
    population_key: str | None,
    batch_key: str | None,
    cells: Path | None,
    declared: str | None,
) -> ad.AnnData:
    """Read a file of your own, as :func:`scimf.load` describes, and note in words what it was taken for."""
    keys = [key for key in (time_key, type_key, population_key, batch_key) if key is not None]
    adata, said = read_cells(path, labels=keys, cells=cells)
    before = adata.uns.get("scimf", {})  # a file that scimf wrote says what it is
    before = dict(before) if isinstance(before, Mapping) else {}
    if not adata.n_obs:
        raise ValueError(f"{path}: holds no cell, expected a snapshot of many at each of several times")
    for kind, names in (("cell names (obs_names)", adata.obs_names), ("gene names (var_names)", adata.var_names)):
        if not names.is_unique:
            twice = names[names.duplicated()].unique()[:3].tolist()
            raise ValueError(f"{path}: duplicate {kind}, such as {twice}; expected each name once")
    times, unit, notes = _read_times(adata.obs, time_key, path)
    notes = said + notes
    labels = {
        "cell_type": _read_labels(adata.obs, type_key, "cell_type", path, notes),
        "population": _read_labels(adata.obs, population_key, "population", path, notes),
        "batch": _read_labels(adata.obs, batch_key, "batch", path, notes),
    }
    form, from_pca, detected = _choose_form(adata, declared, before.get("form"), path)

    if from_pca:
        x = np.asarray(adata.obsm["X_pca"], dtype=np.float32)  # (cells, PCs)
        var = pd.DataFrame(index=[f"PC{k + 1}" for k in range(x.shape[1])])
        adata = ad.AnnData(x, obs=adata.obs, var=var, obsm=adata.obsm, uns=adata.uns)
    if form == "pcs" and not before:
        notes.append("Ready-made PCs: if they were fitted on all times, every held-out number from them is optimistic.")
    files = [path] if cells is None else [path, cells]
    if unit is None:
        unit = str(before.get("time_unit", "a.u.")) if time_key == "time" else "a.u."
    adata.obs["time"] = times
    for key, values in labels.items():
        if values is not None:
            adata.obs[key] = values
    adata.uns["scimf"] = {
        "title": f"Your own file {path.name}",
        "licence": "your own",
        "citation": "your own",
        **before,
        "name": path.stem,
        "form": form,
        "time_unit": unit,
        "files": texts(file.name for file in files),
        "urls": texts("" for _ in files),
        "sha256": texts(sha256_of(file) if file.is_file() else "" for file in files),
        "detected": detected,
        "warnings": texts(dict.fromkeys([*map(str, np.atleast_1d(before.get("warnings", []))), *notes])),
    }
    return adata


def _column(obs: pd.DataFrame, key: str, path: Path, what: str) -> pd.Series:
    if key not in obs:
        raise ValueError(f"{path}: obs[{key!r}] is missing, expected {what}; there are {list(obs.columns)}")
    return obs[key]


def _read_labels(
    obs: pd.DataFrame, key: str | None, default: str, path: Path, notes: list[str]
) -> pd.Series | None:  # categorical, (cells,)
    if key is None and default not in obs:
        return None
    labels = _column(obs, key or default, path, f"the {default} of each cell").astype(object)
    if missing := int(labels.isna().sum()):
        if default == "population":  # a guess here would mix populations that never met
            raise ValueError(
                f"{path}: obs[{key or default!r}] is missing for {missing} cells, expected a label for each"
            )
        notes.append(f"{missing} cells without a {default} are called 'unknown'.")
    return labels.where(labels.notna(), "unknown").astype(str).astype("category")


def _read_times(obs: pd.DataFrame, key: str, path: Path) -> tuple[np.ndarray, str | None, list[str]]:
    """Return times (cells,) float64, the unit if labels or the name of the column tell it, and what to warn about."""
    column, notes = _column(obs, key, path, "the time of each cell (choose another column with time_key=...)"), []
    where = f"{path}: obs[{key!r}]"
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(object).infer_objects()
    if missing := int(column.isna().sum()):
        raise ValueError(f"{where} is NaN or missing for {missing} cells, expected a time for each")
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        times, words = column.to_numpy(dtype=np.float64), ""
    else:
        parsed = {label: _parse_time(str(label)) for label in column.unique()}
        if bad := [label for label, found in parsed.items() if found is None]:
            raise ValueError(
                f"{where} is not numeric and {bad[:3]} cannot be read, expected numbers or text like 'day 3'"
            )
        if len(kinds := {words for _, words in parsed.values()}) > 1:
            raise ValueError(f"{where} mixes units or words {sorted(kinds)}, expected the same around every number")
        words = kinds.pop()
        times = column.map({label: number for label, (number, _) in parsed.items()}).to_numpy(dtype=np.float64)
        example = next(iter(parsed))
        notes.append(f"Times were read from text labels: {str(example)!r} became {parsed[example][0]:g}.")
    if not np.isfinite(times).all():
        raise ValueError(
            f"{where} is NaN or infinite for {int((~np.isfinite(times)).sum())} cells, expected finite times"
        )
    values, cells = np.unique(times, return_counts=True)
    if len(values) < 2:
        raise ValueError(f"{where} has {len(values)} time point(s), expected at least two")
    if (cells < 2).any():
        lonely = values[cells < 2]
        raise ValueError(
            f"{where} has {len(lonely)} time points with one cell, such as {lonely[:3].tolist()}; expected a "
            "snapshot of many cells at each time (not a pseudotime)"
        )
    tokens = {words, *(word.rstrip("s") for word in re.split(r"[^a-z]+", key.lower()))}
    unit = "day" if tokens & {"d", "day"} else "hour" if tokens & {"h", "hr", "hour", "hpf"} else None
    return times, unit, notes


def _parse_time(label: str) -> tuple[float, str] | None:
    """``"Day 3.5"`` -> ``(3.5, "day")``; ``None`` unless there is exactly one number."""
    numbers = re.findall(r"\d+(?:\.\d+)?", label)
    if len(numbers) != 1:
        return None
    sign = -1 if re.match(r"\s*-\s*\d", label) else 1  # elsewhere a dash is a separator, as in "day-3"
    return sign * float(numbers[0]), re.sub(r"[^a-z]", "", label.lower()).removesuffix("s")


def _choose_form(
    adata: ad.AnnData, declared: str | None, recorded: str | None, path: Path
) -> tuple[str, bool, str]:  # form, whether obsm["X_pca"] replaces X, and why in words
    if declared is not None and declared not in FORMS:
        raise ValueError(f"{path}: form={declared!r}, expected one of {FORMS}")
    form = declared or (recorded if recorded in FORMS else None)
    n_columns, has_pca = adata.n_vars, "X_pca" in adata.obsm
    values = np.zeros(0) if adata.X is None else adata.X.data if sparse.issparse(adata.X) else np.asarray(adata.X)
    if not np.isfinite(values).all():
        raise ValueError(f"{path}: X holds NaN or infinite values, expected finite numbers")
    if has_pca and not np.isfinite(np.asarray(adata.obsm["X_pca"])).all():
        raise ValueError(f"{path}: obsm['X_pca'] holds NaN or infinite values, expected finite numbers")
    empty = not values.any()
    low, high = (0, 0) if empty else (values.min(), values.max())
    whole = not empty and bool((values == np.rint(values)).all())
    scaled = low < 0 and n_columns > MAX_PC_COLUMNS

    if has_pca and (empty or scaled) and form in (None, "pcs"):
        why = "X is empty" if empty else f"X has negative values in {n_columns} columns, so it looks scaled"
        return "pcs", True, f"Took obsm['X_pca'] as ready-made PCs, because {why}."
    if empty:
        raise ValueError(f"{path}: X is empty or all zero and there is no obsm['X_pca'], expected expression or PCs")
    if form == "counts" and (low < 0 or not whole):
        raise ValueError(f"{path}: X was declared as counts but holds {'negative' if low < 0 else 'fractional'} values")
    if form == "lognorm" and low < 0:
        raise ValueError(
            f"{path}: X was declared as lognorm but holds negative values, expected log1p of normalised counts"
        )
    if form is not None:
        return form, False, f"Took X as {form}, as {'declared' if declared else 'recorded in the file'}."
    if whole and low < 0:
        raise ValueError(
            f"{path}: X holds whole numbers like counts but some are negative, expected form=... or counts >= 0"
        )
    if whole:
        return "counts", False, f"Took X as counts: whole numbers from 0 to {high:g}."
    if low < 0 and not scaled:
        return "pcs", False, f"Took X as ready-made PCs: negative values in {n_columns} columns."
    if low >= 0 and high < MAX_LOGNORM:
        return "lognorm", False, f"Took X as log-normalised expression: fractions from 0 to {high:.3g}."
    hint = (
        f"negative values in {n_columns} columns (scaled?)" if low < 0 else f"fractions up to {high:.4g} (not logged?)"
    )
    raise ValueError(
        f"{path}: cannot tell what X is: {hint}. Put counts or log1p-normalised values in X (layers: "
        f"{list(adata.layers)}, raw: {adata.raw is not None}), or declare form='counts', 'lognorm', 'pcs' or 'state'"
    )
