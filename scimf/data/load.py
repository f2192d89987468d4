"""Data by name or from your own file: always an AnnData with real times, types and provenance.

``load("typed")`` simulates, ``load("cite_hspc")`` reads a registered data set,
``load("my.h5ad", time_key="day")`` checks a file of your own and says what it takes it for.
"""

from collections.abc import Iterable, Mapping, MutableMapping
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd

from scimf.core import paths
from scimf.core.files import sha256_of
from scimf.data.blocks import DataFile
from scimf.data.formats import read_cells
from scimf.data.readers import READERS
from scimf.data.registry import entries, fetch
from scimf.data.tables import LABELS, TableChoices
from scimf.data.times import cells_with_a_time, read_times
from scimf.data.values import choose_values
from scimf.data.writable import make_writable
from scimf.simulate.systems import SYSTEMS

#: What is for your own file only: arguments of :func:`load`, and more options.
KEYWORDS = ("time_key", "type_key", "population_key", "batch_key", "cells", "form")
OF_TABLES = ("genes", "labels", "sep")
OPTIONS = ("layer", "bins", "drop", *OF_TABLES)
ASIDE = "_of_file"  #: what the names of the user's own columns end in where one of ours is written
#: Read where they are there: one positive number for all cells that agree in these labels.
AMOUNTS = {"density": ["population"], "mass": ["population", "time"]}


def load(
    name_or_path: str | Path | ad.AnnData,
    *,
    time_key: str = "time",
    type_key: str | None = None,
    population_key: str | None = None,
    batch_key: str | None = None,
    cells: str | Path | None = None,
    form: str | None = None,
    **options,
) -> ad.AnnData:
    """Load a registered data set, a simulated system, or a file of your own.

    Parameters
    ----------
    name_or_path
        A name from ``scimf/data/registry.toml`` or ``scimf.simulate.systems.SYSTEMS``; the path of
        an ``.h5ad``, ``.zarr``, ``.loom``, 10x, ``.mtx`` or table; or an AnnData, which is copied.
    time_key, type_key, population_key, batch_key
        Your own file only, as are the next two: columns of ``obs`` with the time, the cell type,
        the population and the batch. ``None`` takes those of these names where there are any.
    cells
        A table whose first column names the cells and whose others are joined to ``obs``.
    form
        "counts", "lognorm", "pcs" or "state"; by default it is detected and put into words in
        ``uns["scimf"]["detected"]``.
    **options
        For a file of your own, what it leaves open: ``layer`` ("raw", "X_pca" or a layer, in the
        place of X); ``drop`` (labels of the time column that are no time) and ``bins`` (of a
        continuous time: a width in its own unit, or "4 equal" for equal numbers of cells); of a
        table, ``genes`` and ``labels`` (columns: names, ``prefix*`` or ``first:last``) and ``sep``.
        For a registered set its variants, for a system what the simulator takes (``seed``, ...).

    Returns
    -------
    AnnData
        ``X`` (cells, columns); ``obs["time"]`` float64 in ``uns["scimf"]["time_unit"]`` (not in
        sets of one snapshot, where that is "none"); ``obs["cell_type"]``, ``obs["population"]`` and
        ``obs["batch"]`` where known; provenance and warnings in ``uns["scimf"]``.

    Raises
    ------
    DataUnavailable
        See :func:`scimf.data.registry.fetch`.
    ValueError
        For an unknown name or option, a damaged file, or a file of your own that cannot be used;
        names it.
    """
    if not isinstance(name_or_path, str | Path | ad.AnnData):
        raise ValueError(f"expected a name, path or AnnData, got {type(name_or_path).__name__}")
    given = name_or_path if isinstance(name_or_path, ad.AnnData) else None
    name = str(name_or_path) if given is None else "AnnData in memory"
    keys = (time_key, type_key, population_key, batch_key)
    if name in entries() or name in SYSTEMS:
        if (*keys, cells, form) != ("time", None, None, None, None, None):
            raise ValueError(f"{name}: {', '.join(KEYWORDS)} are for files of your own only")
        if name in SYSTEMS:
            return SYSTEMS[name](**options)
        return _load_registered(name, **options)
    path = Path(name).expanduser()
    if given is None and not (path.suffix or len(path.parts) > 1 or path.exists()):
        known = f"a data set ({', '.join(READERS)}), nor a simulation ({', '.join(SYSTEMS)})"
        raise ValueError(f"{name!r} is neither {known}, nor the path of a file or folder")
    if unknown := sorted(set(options) - set(OPTIONS)):
        raise ValueError(f"{path}: unknown option {unknown[0]!r}, expected {[*KEYWORDS, *OPTIONS]}")
    columns = dict(zip(("time", *LABELS), keys, strict=True))
    cells = None if cells is None else Path(cells).expanduser()
    options = {**dict.fromkeys(OPTIONS), **options, "form": form}
    return _load_own(path, given, columns, cells, options)


def _load_registered(name: str, **options) -> ad.AnnData:
    entry = entries()[name]
    if "reader" in entry:
        found = f"{entry['form']} without a course of populations"
        raise ValueError(f"{name}: {found}; read it with {entry['reader']}")
    files = fetch(name, **options)
    row_of = {paths.DATA / row["file"]: row for row in entry["files"]}
    rows = [row_of[file] for file in files]
    adata = READERS[name](files, **entry.get("read", {}))
    about = {key: entry[key] for key in ("title", "form", "time_unit", "licence", "citation")}
    texts = {
        "files": [row["file"] for row in rows],
        "urls": [row["url"] for row in rows],
        "sha256": [row_of[file].get("sha256") or sha256_of(file) for file in files],
        "warnings": entry["warnings"],
    }
    adata.uns["scimf"] = {"name": name, **about, **_arrays(texts)}
    return adata


def _arrays(texts: dict[str, Iterable[str]]) -> dict[str, np.ndarray]:
    return {key: np.array(list(values), dtype=str) for key, values in texts.items()}


# ---------------------------------------------------------------------------- a file of your own


def _load_own(
    path: Path, given: ad.AnnData | None, columns: dict, cells: Path | None, options: dict
) -> ad.AnnData:
    """Check everything, and put it into words, before anything is computed.

    ``columns`` says by "time", "cell_type", ... where each is; all ``options`` are there.
    """
    key = columns["time"]
    keys = tuple(columns[kind] for kind in LABELS if columns[kind] is not None)
    choices = TableChoices(key, keys, **{name: options[name] for name in OF_TABLES})
    adata, notes = read_cells(path, choices=choices, cells=cells, given=given)
    before = _record_of(adata, notes)
    DataFile(path).require_unique(adata.obs_names, "cell names (obs_names)")
    if options["drop"] is not None:
        adata = adata[cells_with_a_time(adata.obs, key, path, options["drop"], notes)].copy()
    if not adata.n_obs:
        raise ValueError(f"{path}: holds no cell, expected many at each of several times")
    times, unit = read_times(adata.obs, key, path, notes, options["bins"])
    labels = {"time": pd.Series(times, index=adata.obs_names)}
    for kind in LABELS:
        labels[kind] = _read_labels(adata.obs, columns[kind], kind, path, notes)
    decided = {"layer": options["layer"], "form": options["form"], "recorded": before.get("form")}
    adata, form, detected = choose_values(adata, path, notes, **decided)
    if unit is None:
        unit = str(before.get("time_unit", "a.u.")) if key == "time" else "a.u."
    if not before:
        for name in [name for name in adata.obsm if name.endswith("_scimf")]:
            _set_aside(adata.obsm, "obsm", name, "it is not from this package", notes)
        if form == "pcs":
            notes.append("PCs: were they fitted on all times, held-out numbers are optimistic.")
        if columns["population"] is None and (kind := _repeated(labels, adata)):
            reason = f"it repeats the {kind} (population_key='population' takes it anyway)"
            _set_aside(adata.obs, "obs", "population", reason, notes)
            labels["population"] = None
    _put_labels(adata.obs, labels, columns, notes)
    adata.uns["scimf"] = before
    make_writable(adata, notes)
    before = adata.uns["scimf"]
    files = [file for file in (path, cells) if file is not None]
    texts = {
        "files": [file.name for file in files],
        "urls": [""] * len(files),
        "sha256": [sha256_of(file) if file.is_file() else "" for file in files],
        "warnings": dict.fromkeys([*map(str, np.atleast_1d(before.get("warnings", []))), *notes]),
    }
    title = f"Your own {'file ' if given is None else ''}{path.name}"
    about = {"title": title, "licence": "your own", "citation": "your own", **before}
    about |= {"name": path.stem, "form": form, "time_unit": unit, "detected": detected}
    adata.uns["scimf"] = {**about, **_arrays(texts)}
    return adata


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


def _repeated(labels: dict[str, pd.Series | None], adata: ad.AnnData) -> str:
    """Which of time and type the populations say in other words; empty if neither."""
    names = labels["population"]
    for kind in ("time", "cell_type"):
        for other in (labels[kind], adata.obs.get(kind)):
            if names is None or other is None:
                continue
            pairs = set(zip(names, other.astype(str), strict=True))
            if len(pairs) > 1 and len(pairs) == names.nunique() == other.nunique():
                return kind
    return ""


def _put_labels(obs: pd.DataFrame, labels: dict, columns: dict, notes: list[str]) -> None:
    """Write times and labels where they belong; what has such a name already is set aside."""
    for kind, key in columns.items():
        if key not in (None, kind) and kind in obs:
            reason = f"the {kind} of each cell is read from obs[{key!r}]"
            _set_aside(obs, "obs", kind, reason, notes)
        if labels[kind] is not None:
            obs[kind] = labels[kind]
    for name, kinds in AMOUNTS.items():
        if name in obs and not _is_amount(obs, name, kinds):
            reason = f"it is not one positive number for each {' and '.join(kinds)}"
            _set_aside(obs, "obs", name, reason, notes)


def _is_amount(obs: pd.DataFrame, name: str, kinds: list[str]) -> bool:
    """Whether a column is one positive, finite number wherever all labels are the same."""
    numbers = pd.to_numeric(obs[name].astype(object), errors="coerce").astype(np.float64)
    by = [obs[kind] for kind in kinds if kind in obs] or np.zeros(len(obs))
    first = numbers.groupby(by, observed=True).transform("first")
    return bool(((numbers == first) & (numbers > 0) & np.isfinite(numbers)).all())
