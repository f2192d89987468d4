"""Your own file: everything is checked, and put into words, before anything is computed."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from scimf.core.files import sha256_of
from scimf.data.blocks import DataFile
from scimf.data.formats import MAX_LOGNORM, read_cells

FORMS = ("counts", "lognorm", "pcs", "state")
MAX_PC_COLUMNS = 200  #: more columns than this with negative values look like scaled genes
DAYS = {"d", "day"}
HOURS = {"h", "hr", "hour", "hpf"}
OPTIMISTIC = (
    "Ready-made PCs: if they were fitted on all times, "
    "every held-out number from them is optimistic."
)


@dataclass(frozen=True)
class OwnFile:
    """A file of your own: where it lies, and which columns of ``obs`` hold what."""

    path: Path  #: see :func:`scimf.data.formats.read_cells`
    time: str = "time"
    cell_type: str | None = None  #: by default the column of this name, if there is one
    population: str | None = None  #: likewise
    batch: str | None = None  #: likewise
    cells: Path | None = None  #: a table of cells to be joined to ``obs``
    form: str | None = None  #: one of :data:`FORMS`; by default it is recognised

    def load(self) -> ad.AnnData:
        """Read and check it, and note in words what it was taken for.

        Raises
        ------
        ValueError
            If it cannot be used; names the file and the key.
        """
        columns = {
            "cell_type": self.cell_type,
            "population": self.population,
            "batch": self.batch,
        }
        named = [key for key in (self.time, *columns.values()) if key is not None]
        adata, notes = read_cells(self.path, labels=named, cells=self.cells)
        before = adata.uns.get("scimf", {})  # what a file that scimf wrote says of itself
        before = dict(before) if isinstance(before, Mapping) else {}
        _require_cells(adata, self.path)
        times, unit = _read_times(adata.obs, self.time, self.path, notes)
        labels = {}
        for kind, key in columns.items():
            labels[kind] = _read_labels(adata.obs, key, kind, self.path, notes)
        form, takes_pca, detected = _choose_form(adata, self.form, before.get("form"), self.path)
        if takes_pca:
            adata = _of_pcs(adata)
        if form == "pcs" and not before:
            notes.append(OPTIMISTIC)
        if unit is None:
            unit = str(before.get("time_unit", "a.u.")) if self.time == "time" else "a.u."
        adata.obs["time"] = times
        for kind, values in labels.items():
            if values is not None:
                adata.obs[kind] = values
        about = {"form": form, "time_unit": unit, "detected": detected}
        adata.uns["scimf"] = {**self._provenance(before, notes), **about}
        return adata

    def _provenance(self, before: dict, notes: list[str]) -> dict:
        files = [self.path] if self.cells is None else [self.path, self.cells]
        digests = [sha256_of(file) if file.is_file() else "" for file in files]
        warnings = [*map(str, np.atleast_1d(before.get("warnings", []))), *notes]
        return {
            "title": f"Your own file {self.path.name}",
            "licence": "your own",
            "citation": "your own",
            **before,
            "name": self.path.stem,
            "files": np.array([file.name for file in files], dtype=str),
            "urls": np.array([""] * len(files), dtype=str),
            "sha256": np.array(digests, dtype=str),
            "warnings": np.array(list(dict.fromkeys(warnings)), dtype=str),
        }


def _require_cells(adata: ad.AnnData, path: Path) -> None:
    if not adata.n_obs:
        expected = "expected a snapshot of many at each of several times"
        raise ValueError(f"{path}: holds no cell, {expected}")
    DataFile(path).require_unique(adata.obs_names, "cell names (obs_names)")
    DataFile(path).require_unique(adata.var_names, "gene names (var_names)")


def _of_pcs(adata: ad.AnnData) -> ad.AnnData:
    """Put ``obsm["X_pca"]`` in the place of X."""
    x = np.asarray(adata.obsm["X_pca"], dtype=np.float32)  # (cells, PCs)
    var = pd.DataFrame(index=[f"PC{k + 1}" for k in range(x.shape[1])])
    return ad.AnnData(x, obs=adata.obs, var=var, obsm=adata.obsm, uns=adata.uns)


# --------------------------------------------------------------------------- times and labels


def _column(obs: pd.DataFrame, key: str, path: Path, what: str) -> pd.Series:
    if key not in obs:
        found = list(obs.columns)
        raise ValueError(f"{path}: obs[{key!r}] is missing, expected {what}; there are {found}")
    return obs[key]


def _read_labels(
    obs: pd.DataFrame, key: str | None, default: str, path: Path, notes: list[str]
) -> pd.Series | None:  # categorical, (cells,)
    if key is None and default not in obs:
        return None
    key = key or default
    labels = _column(obs, key, path, f"the {default} of each cell").astype(object)
    missing = int(labels.isna().sum())
    if missing and default == "population":  # a guess would mix populations that never met
        where = f"{path}: obs[{key!r}]"
        raise ValueError(f"{where} is missing for {missing} cells, expected a label for each")
    if missing:
        notes.append(f"{missing} cells without a {default} are called 'unknown'.")
    return labels.where(labels.notna(), "unknown").astype(str).astype("category")


def _read_times(
    obs: pd.DataFrame, key: str, path: Path, notes: list[str]
) -> tuple[np.ndarray, str | None]:
    """Return times (cells,) float64, and the unit if labels or the name of the column tell it."""
    what = "the time of each cell (choose another column with time_key=...)"
    column = _column(obs, key, path, what)
    where = f"{path}: obs[{key!r}]"
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(object).infer_objects()
    missing = int(column.isna().sum())
    if missing:
        raise ValueError(f"{where} is NaN or missing for {missing} cells, expected a time for each")
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        times = column.to_numpy(dtype=np.float64)
        word = ""
    else:
        times, word = _times_of_texts(column, where, notes)
    _require_snapshots(times, where)
    words = {word}
    for part in re.split(r"[^a-z]+", key.lower()):
        words.add(part.rstrip("s"))
    if words & DAYS:
        return times, "day"
    return times, "hour" if words & HOURS else None


def _times_of_texts(
    column: pd.Series, where: str, notes: list[str]
) -> tuple[np.ndarray, str]:  # (cells,), and the word that stands beside every number
    numbers, words, bad = {}, set(), []
    for label in column.unique():
        parsed = _parse_time(str(label))
        if parsed is None:
            bad.append(label)
        else:
            numbers[label] = parsed[0]
            words.add(parsed[1])
    if bad:
        expected = "expected numbers or text like 'day 3'"
        raise ValueError(f"{where} is not numeric and {bad[:3]} cannot be read, {expected}")
    if len(words) > 1:
        expected = "expected the same around every number"
        raise ValueError(f"{where} mixes units or words {sorted(words)}, {expected}")
    example, number = next(iter(numbers.items()))
    notes.append(f"Times were read from text labels: {str(example)!r} became {number:g}.")
    return column.map(numbers).to_numpy(dtype=np.float64), words.pop()


def _parse_time(label: str) -> tuple[float, str] | None:
    """``"Day 3.5"`` -> ``(3.5, "day")``; ``None`` unless there is exactly one number."""
    numbers = re.findall(r"\d+(?:\.\d+)?", label)
    if len(numbers) != 1:
        return None
    # Only at the front: elsewhere a dash is a separator, as in "day-3".
    sign = -1 if re.match(r"\s*-\s*\d", label) else 1
    return sign * float(numbers[0]), re.sub(r"[^a-z]", "", label.lower()).removesuffix("s")


def _require_snapshots(times: np.ndarray, where: str) -> None:
    bad = int((~np.isfinite(times)).sum())
    if bad:
        raise ValueError(f"{where} is NaN or infinite for {bad} cells, expected finite times")
    values, cells = np.unique(times, return_counts=True)
    if len(values) < 2:
        raise ValueError(f"{where} has {len(values)} time point(s), expected at least two")
    lonely = values[cells < 2]
    if len(lonely):
        raise ValueError(
            f"{where} has {len(lonely)} time points with one cell, such as {lonely[:3].tolist()}; "
            "expected a snapshot of many cells at each time (not a pseudotime)"
        )


# ------------------------------------------------------------------------------- what X holds


@dataclass(frozen=True)
class _Values:
    """What decides how X is taken."""

    low: float
    high: float
    empty: bool
    whole: bool
    n_columns: int

    @classmethod
    def of(cls, adata: ad.AnnData, path: Path) -> "_Values":
        values = np.zeros(0)
        if adata.X is not None:
            values = adata.X.data if sparse.issparse(adata.X) else np.asarray(adata.X)
        if not np.isfinite(values).all():
            raise ValueError(f"{path}: X holds NaN or infinite values, expected finite numbers")
        if not values.any():
            return cls(0, 0, True, False, adata.n_vars)
        whole = bool((values == np.rint(values)).all())
        return cls(values.min(), values.max(), False, whole, adata.n_vars)

    @property
    def scaled(self) -> bool:
        """Whether X looks like genes that were scaled."""
        return self.low < 0 and self.n_columns > MAX_PC_COLUMNS


def _choose_form(
    adata: ad.AnnData, declared: str | None, recorded: str | None, path: Path
) -> tuple[str, bool, str]:  # form, whether obsm["X_pca"] replaces X, and why in words
    if declared is not None and declared not in FORMS:
        raise ValueError(f"{path}: form={declared!r}, expected one of {FORMS}")
    form = declared or (recorded if recorded in FORMS else None)
    values = _Values.of(adata, path)
    if "X_pca" in adata.obsm:
        if not np.isfinite(np.asarray(adata.obsm["X_pca"])).all():
            where = f"{path}: obsm['X_pca']"
            raise ValueError(f"{where} holds NaN or infinite values, expected finite numbers")
        if (values.empty or values.scaled) and form in (None, "pcs"):
            why = "X is empty"
            if not values.empty:
                why = f"X has negative values in {values.n_columns} columns, so it looks scaled"
            return "pcs", True, f"Took obsm['X_pca'] as ready-made PCs, because {why}."
    if values.empty:
        raise ValueError(
            f"{path}: X is empty or all zero and there is no obsm['X_pca'], "
            "expected expression or PCs"
        )
    if form is not None:
        _require_form(form, values, path)
        source = "declared" if declared else "recorded in the file"
        return form, False, f"Took X as {form}, as {source}."
    form, why = _recognised(values, adata, path)
    return form, False, why


def _require_form(form: str, values: _Values, path: Path) -> None:
    if form == "counts" and (values.low < 0 or not values.whole):
        found = "negative" if values.low < 0 else "fractional"
        raise ValueError(f"{path}: X was declared as counts but holds {found} values")
    if form == "lognorm" and values.low < 0:
        raise ValueError(
            f"{path}: X was declared as lognorm but holds negative values, "
            "expected log1p of normalised counts"
        )


def _recognised(values: _Values, adata: ad.AnnData, path: Path) -> tuple[str, str]:
    """Form that X looks like, and why; an error if that cannot be told."""
    negative = f"negative values in {values.n_columns} columns"
    if values.whole and values.low < 0:
        raise ValueError(
            f"{path}: X holds whole numbers like counts but some are negative, "
            "expected form=... or counts >= 0"
        )
    if values.whole:
        return "counts", f"Took X as counts: whole numbers from 0 to {values.high:g}."
    if values.low < 0 and not values.scaled:
        return "pcs", f"Took X as ready-made PCs: {negative}."
    if values.low >= 0 and values.high < MAX_LOGNORM:
        found = f"fractions from 0 to {values.high:.3g}"
        return "lognorm", f"Took X as log-normalised expression: {found}."
    hint = f"fractions up to {values.high:.4g} (not logged?)"
    if values.low < 0:
        hint = f"{negative} (scaled?)"
    raise ValueError(
        f"{path}: cannot tell what X is: {hint}. Put counts or log1p-normalised values in X "
        f"(layers: {list(adata.layers)}, raw: {adata.raw is not None}), or declare form='counts', "
        "'lognorm', 'pcs' or 'state'"
    )
