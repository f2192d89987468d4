"""Your own file: everything is checked, and put into words, before anything is computed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd

from scimf.core.files import sha256_of
from scimf.data.blocks import DataFile
from scimf.data.formats import read_cells
from scimf.data.own_columns import record_of, set_aside, set_coordinates_aside
from scimf.data.tables import TableChoices
from scimf.data.times import cells_with_a_time, column_of, read_times
from scimf.data.values import choose_values
from scimf.data.writable import make_writable

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
    layer: str | None = None  #: "X", "raw", or a key of ``layers`` or ``obsm``
    genes: str | Sequence[str] | None = None  #: see ``TableChoices``
    labels: str | Sequence[str] | None = None  #: likewise
    sep: str | None = None  #: likewise
    bins: str | float | None = None  #: of a continuous time: a width in its unit, or "4 equal"
    drop: str | Iterable | None = None  #: labels that are no time: a list, or with commas between
    form: str | None = None  #: one of :data:`scimf.data.values.FORMS`; by default it is recognised
    given: ad.AnnData | None = None  #: cells in memory; ``path`` is then only what they are called

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
        keys = tuple(key for key in columns.values() if key is not None)
        choices = TableChoices(self.time, keys, self.genes, self.labels, self.sep)
        adata, notes = read_cells(self.path, choices=choices, cells=self.cells, given=self.given)
        before = record_of(adata, notes)
        _require_cells(adata, self.path)
        if self.drop is not None:
            kept = cells_with_a_time(adata.obs, self.time, self.path, self.drop, notes)
            adata = adata[kept].copy()
        times, unit = read_times(adata.obs, self.time, self.path, notes, self.bins)
        labels = {}
        for kind, key in columns.items():
            labels[kind] = _read_labels(adata.obs, key, kind, self.path, notes)
        decided = {"layer": self.layer, "form": self.form, "recorded": before.get("form")}
        adata, form, detected = choose_values(adata, self.path, notes, **decided)
        if not before:
            notes += set_coordinates_aside(adata)
            if form == "pcs":
                notes.append(OPTIMISTIC)
        if unit is None:
            unit = str(before.get("time_unit", "a.u.")) if self.time == "time" else "a.u."
        labels["time"] = pd.Series(times, index=adata.obs_names)
        notes += set_aside(adata, {"time": self.time, **columns}, labels, recorded=bool(before))
        for kind, values in labels.items():
            if values is not None:
                adata.obs[kind] = values
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


def _require_cells(adata: ad.AnnData, path: Path) -> None:
    if not adata.n_obs:
        expected = "expected a snapshot of many at each of several times"
        raise ValueError(f"{path}: holds no cell, {expected}")
    DataFile(path).require_unique(adata.obs_names, "cell names (obs_names)")
    DataFile(path).require_unique(adata.var_names, "gene names (var_names)")


# --------------------------------------------------------------------------- times and labels


def _read_labels(
    obs: pd.DataFrame, key: str | None, default: str, path: Path, notes: list[str]
) -> pd.Series | None:  # categorical, (cells,)
    if key is None and default not in obs:
        return None
    key = key or default
    labels = column_of(obs, key, path, f"the {default} of each cell").astype(object)
    missing = int(labels.isna().sum())
    if missing and default == "population":  # a guess would mix populations that never met
        where = f"{path}: obs[{key!r}]"
        raise ValueError(f"{where} is missing for {missing} cells, expected a label for each")
    if missing:
        notes.append(f"{missing} cells without a {default} are called 'unknown'.")
    return labels.where(labels.notna(), "unknown").astype(str).astype("category")
