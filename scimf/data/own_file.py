"""Your own file: everything is checked, and put into words, before anything is computed."""

from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd

from scimf.core.files import sha256_of
from scimf.data.blocks import DataFile
from scimf.data.formats import read_cells
from scimf.data.tables import LABELS, TableChoices
from scimf.data.times import cells_with_a_time, read_times
from scimf.data.values import choose_values
from scimf.data.writable import make_writable

ASIDE = "_of_file"  #: what the names of the user's own columns end in where one of ours is written
#: Read where they are there: one positive number for all cells that agree in these labels.
AMOUNTS = {"density": ["population"], "mass": ["population", "time"]}


@dataclass(frozen=True)
class OwnFile:
    """A file of your own: where it lies, and which columns of ``obs`` hold what."""

    path: Path  #: see :func:`scimf.data.formats.read_cells`
    time: str = "time"
    cell_type: str | None = None  #: by default the column of this name, if there is one
    population: str | None = None  #: likewise
    batch: str | None = None  #: likewise
    cells: Path | None = None  #: a table of cells to be joined to ``obs``
    layer: str | None = None  #: "X", "raw", or a key of ``layers`` or ``obsm``
    genes: str | Sequence[str] | None = None  #: see ``TableChoices``
    labels: str | Sequence[str] | None = None  #: likewise
    sep: str | None = None  #: likewise
    bins: str | float | None = None  #: of a continuous time: a width in its unit, or "4 equal"
    drop: str | Iterable | None = None  #: labels that are no time: a list, or with commas between
    form: str | None = None  #: one of :data:`scimf.data.values.FORMS`; by default it is recognised
    given: ad.AnnData | None = None  #: cells in memory; ``path`` is then only what they are called

    def load(self) -> ad.AnnData:
        """Read and check it, and note in words what it was taken for; see :func:`scimf.load`."""
        columns = {kind: getattr(self, kind) for kind in LABELS}
        keys = tuple(key for key in columns.values() if key is not None)
        choices = TableChoices(self.time, keys, self.genes, self.labels, self.sep)
        adata, notes = read_cells(self.path, choices=choices, cells=self.cells, given=self.given)
        before = _record_of(adata, notes)
        DataFile(self.path).require_unique(adata.obs_names, "cell names (obs_names)")
        if self.drop is not None:
            kept = cells_with_a_time(adata.obs, self.time, self.path, self.drop, notes)
            adata = adata[kept].copy()
        if not adata.n_obs:
            raise ValueError(f"{self.path}: holds no cell, expected many at each of several times")
        times, unit = read_times(adata.obs, self.time, self.path, notes, self.bins)
        labels = {"time": pd.Series(times, index=adata.obs_names)}
        for kind, key in columns.items():
            labels[kind] = _read_labels(adata.obs, key, kind, self.path, notes)
        decided = {"layer": self.layer, "form": self.form, "recorded": before.get("form")}
        adata, form, detected = choose_values(adata, self.path, notes, **decided)
        if unit is None:
            unit = str(before.get("time_unit", "a.u.")) if self.time == "time" else "a.u."
        if not before:
            for key in [key for key in adata.obsm if key.endswith("_scimf")]:
                _set_aside(adata.obsm, "obsm", key, "it is not from this package", notes)
            if form == "pcs":
                notes.append("PCs: were they fitted on all times, held-out numbers are optimistic.")
        population = labels["population"]
        if not before and population is not None and self.population is None:
            if kind := _repeated(population, adata, labels):
                reason = f"it repeats the {kind} (population_key='population' takes it anyway)"
                _set_aside(adata.obs, "obs", "population", reason, notes)
                labels["population"] = None
        for kind, key in {"time": self.time, **columns}.items():
            if key not in (None, kind) and kind in adata.obs:
                reason = f"the {kind} of each cell is read from obs[{key!r}]"
                _set_aside(adata.obs, "obs", kind, reason, notes)
            if labels[kind] is not None:
                adata.obs[kind] = labels[kind]
        for name, kinds in AMOUNTS.items():
            if name in adata.obs and not _is_amount(adata.obs, name, kinds):
                reason = f"it is not one positive number for each {' and '.join(kinds)}"
                _set_aside(adata.obs, "obs", name, reason, notes)
        adata.uns["scimf"] = before
        make_writable(adata, notes)
        about = {"form": form, "time_unit": unit, "detected": detected}
        adata.uns["scimf"] = {**self._provenance(adata.uns["scimf"], notes), **about}
        return adata

    def _provenance(self, before: dict, notes: list[str]) -> dict:
        files = [self.path] if self.cells is None else [self.path, self.cells]
        digests = [sha256_of(file) if file.is_file() else "" for file in files]
        warnings = [*map(str, np.atleast_1d(before.get("warnings", []))), *notes]
        return {
            "title": f"Your own {'file ' if self.given is None else ''}{self.path.name}",
            "licence": "your own",
            "citation": "your own",
            **before,
            "name": self.path.stem,
            "files": np.array([file.name for file in files], dtype=str),
            "urls": np.array([""] * len(files), dtype=str),
            "sha256": np.array(digests, dtype=str),
            "warnings": np.array(list(dict.fromkeys(warnings)), dtype=str),
        }


def _record_of(adata: ad.AnnData, notes: list[str]) -> dict:
    """Return what a file that this package wrote says of itself; empty for any other file."""
    record = adata.uns.get("scimf")
    if isinstance(record, Mapping) and {"name", "form"} & set(record):
        return dict(record)
    if record is not None:
        notes.append("uns['scimf'] of the file is no record of this package and was replaced.")
    return {}


def _read_labels(
    obs: pd.DataFrame, key: str | None, default: str, path: Path, notes: list[str]
) -> pd.Series | None:  # categorical, (cells,)
    if key is None and default not in obs:
        return None
    key = key or default
    labels = DataFile(path).column(obs, key, f"the {default} of each cell").astype(object)
    missing = int(labels.isna().sum())
    if missing and default == "population":  # a guess would mix populations that never met
        raise ValueError(f"{path}: obs[{key!r}] is missing for {missing} cells, expected all")
    if missing:
        notes.append(f"{missing} cells without a {default} are called 'unknown'.")
    return labels.where(labels.notna(), "unknown").astype(str).astype("category")


def _set_aside(
    elements: MutableMapping, where: str, name: str, reason: str, notes: list[str]
) -> None:
    """Rename what would be overwritten, or read although nobody asked for it."""
    new = name
    while new in elements:
        new += ASIDE
    elements[new] = elements.pop(name)
    notes.append(f"{where}[{name!r}] of the file is now {where}[{new!r}]: {reason}.")


def _repeated(labels: pd.Series, adata: ad.AnnData, read: dict[str, pd.Series]) -> str:
    """Which of time and type some labels say in other words; empty if neither."""
    for kind in ("time", "cell_type"):
        for other in (read[kind], adata.obs.get(kind)):
            pairs = set() if other is None else set(zip(labels, other.astype(str), strict=True))
            if len(pairs) > 1 and len(pairs) == labels.nunique() == other.nunique():
                return kind
    return ""


def _is_amount(obs: pd.DataFrame, name: str, kinds: list[str]) -> bool:
    """Whether a column is one positive, finite number wherever all labels are the same."""
    numbers = pd.to_numeric(obs[name].astype(object), errors="coerce").astype(np.float64)
    by = [obs[kind] for kind in kinds if kind in obs] or np.zeros(len(obs))
    first = numbers.groupby(by, observed=True).transform("first")
    return bool(((numbers == first) & (numbers > 0) & np.isfinite(numbers)).all())
