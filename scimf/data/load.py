"""Data by name or from your own file: always an AnnData with real times, types and provenance.

``load("typed")`` simulates, ``load("cite_hspc")`` reads a registered data set,
``load("my.h5ad", time_key="day")`` checks a file of your own and says what it takes it for.
"""

from pathlib import Path

import anndata as ad
import numpy as np

from scimf.core import paths
from scimf.core.files import sha256_of
from scimf.data.own_file import OwnFile
from scimf.data.readers import READERS
from scimf.data.registry import entries, fetch
from scimf.simulate.systems import SYSTEMS

#: What is for your own file only: arguments of :func:`load`, and more options.
KEYWORDS = ("time_key", "type_key", "population_key", "batch_key", "cells", "form")
OPTIONS = ("layer", "genes", "labels", "sep", "bins", "drop")


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
    columns = (time_key, type_key, population_key, batch_key)
    if name in entries() or name in SYSTEMS:
        if (*columns, cells, form) != ("time", None, None, None, None, None):
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
    about = {"cells": None if cells is None else Path(cells).expanduser(), "form": form}
    return OwnFile(path, *columns, **about, **options, given=given).load()


def _load_registered(name: str, **options) -> ad.AnnData:
    entry = entries()[name]
    if "reader" in entry:
        found = f"{entry['form']} without a course of populations"
        raise ValueError(f"{name}: {found}; read it with {entry['reader']}")
    files = fetch(name, **options)
    row_of = {paths.DATA / row["file"]: row for row in entry["files"]}
    rows = [row_of[file] for file in files]
    digests = [row_of[file].get("sha256") or sha256_of(file) for file in files]
    adata = READERS[name](files, **entry.get("read", {}))
    about = {key: entry[key] for key in ("title", "form", "time_unit", "licence", "citation")}
    adata.uns["scimf"] = {
        "name": name,
        **about,
        "files": np.array([row["file"] for row in rows], dtype=str),
        "urls": np.array([row["url"] for row in rows], dtype=str),
        "sha256": np.array(digests, dtype=str),
        "warnings": np.array(entry["warnings"], dtype=str),
    }
    return adata
