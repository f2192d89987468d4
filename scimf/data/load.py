"""Data by name or from your own file: always an AnnData with real times, types and provenance.

``load("typed")`` simulates, ``load("cite_hspc")`` reads (and if need be downloads) a registered
data set, ``load("my.h5ad", time_key="day")`` checks a file of your own first and says in words what
it takes it for.
"""

from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path

import anndata as ad
import numpy as np

from scimf.core import paths
from scimf.core.files import sha256_of
from scimf.data.own_file import OwnFile
from scimf.data.readers import READERS
from scimf.data.registry import entries, fetch
from scimf.simulate.systems import SYSTEMS

IN_MEMORY = "AnnData in memory"  #: what errors and provenance call cells that have no file
KEYWORDS = ("time_key", "type_key", "population_key", "batch_key", "cells", "form")
#: Fields of :class:`OwnFile` that are not passed on as they are.
FIXED = ("path", "time", "cell_type", "population", "batch", "cells", "form", "given")


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
        an ``.h5ad``, ``.zarr``, ``.h5mu``, ``.loom``, 10x (``.h5`` or a folder), ``.mtx``, ``.csv``
        or ``.tsv`` file; or an AnnData in memory, which is copied.
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
        ``n_pcs=50 | 100`` for ``cite_hspc``, ``which="attraction" | "no_interaction"`` for
        ``cytobridge_sim``, anything the simulator takes (``seed``, ``n_cells``, ...) for a
        simulated system.

    Returns
    -------
    AnnData
        ``X`` (cells, columns); ``obs["time"]`` float64 in ``uns["scimf"]["time_unit"]``, except in
        the sets where that unit is "none", which are one snapshot each; ``obs["cell_type"]``,
        ``obs["population"]`` and ``obs["batch"]`` where known; provenance and warnings in
        ``uns["scimf"]``.

    Raises
    ------
    DataUnavailable
        See :func:`scimf.data.registry.fetch`.
    ValueError
        For an unknown name or option, a damaged file, or a file of your own that cannot be used;
        names it.
    """
    columns = (time_key, type_key, population_key, batch_key)
    about_file = {"cells": None if cells is None else Path(cells).expanduser(), "form": form}
    if not isinstance(name_or_path, str | Path):
        _require_anndata(name_or_path)
        options = _checked(options, IN_MEMORY)
        memory = OwnFile(Path(IN_MEMORY), *columns, **about_file, **options, given=name_or_path)
        return memory.load()
    name = str(name_or_path)
    if name not in entries() and name not in SYSTEMS:
        _require_path(name)
        options = _checked(options, name)
        return OwnFile(Path(name).expanduser(), *columns, **about_file, **options).load()
    if (*columns, cells, form) != ("time", None, None, None, None, None):
        raise ValueError(f"{name}: {', '.join(KEYWORDS)} are for files of your own only")
    if name in SYSTEMS:
        return SYSTEMS[name](**options)
    return _load_registered(name, **options)


def _require_anndata(given) -> None:
    if isinstance(given, ad.AnnData):
        return
    kind = type(given).__name__
    hint = "such as mdata['rna']" if hasattr(given, "mod") else "AnnData(x, obs=..., var=...)"
    raise ValueError(f"expected a name, a path or an AnnData ({hint}), got {kind}")


def _checked(options: dict, name: str) -> dict:
    """Refuse options that :class:`OwnFile` does not have; suggest the one that was meant."""
    known = [field.name for field in fields(OwnFile) if field.name not in FIXED]
    for option in options:
        if option not in known:
            close = get_close_matches(option, [*known, *KEYWORDS], n=1)
            meant = f"did you mean {close[0]}=?" if close else f"there are {[*KEYWORDS, *known]}"
            raise ValueError(f"{name}: unknown option {option!r} for a file of your own; {meant}")
    return options


def _require_path(name: str) -> None:
    """Refuse what is neither a name nor looks like a path: the reader has sentences for those."""
    path = Path(name).expanduser()
    if path.suffix or len(path.parts) > 1 or path.exists():
        return
    known = [*READERS, *SYSTEMS]
    close = get_close_matches(name, known, n=1)
    meant = f"; did you mean {close[0]!r}?" if close else ""
    raise ValueError(
        f"{name!r} is neither a data set ({', '.join(READERS)}), nor a simulation "
        f"({', '.join(SYSTEMS)}), nor the path of a file or folder{meant}"
    )


def _load_registered(name: str, **options) -> ad.AnnData:
    entry = entries()[name]
    if entry["form"] == "pairs":
        raise ValueError(
            f"{name}: a table of ligand-receptor pairs, not cells; read it with load_pairs of "
            "notebooks/reports/evidence/ligand_receptor.py"
        )
    files = fetch(name, **options)
    row_of = {paths.DATA / row["file"]: row for row in entry["files"]}
    rows = [row_of[file] for file in files]
    digests = [row_of[file].get("sha256") or sha256_of(file) for file in files]
    adata = READERS[name](files)
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
