"""Data by name or from your own file: always an AnnData with real times, types and provenance.

``load("typed")`` simulates, ``load("cite_hspc")`` reads (and if need be downloads) a registered
data set, ``load("my.h5ad", time_key="day")`` checks a file of your own first and says in words what
it takes it for.
"""

from pathlib import Path

import anndata as ad
import numpy as np

from scimf.core import paths
from scimf.core.files import sha256_of
from scimf.data.formats import KNOWN
from scimf.data.own_file import OwnFile
from scimf.data.readers import READERS
from scimf.data.registry import entries, fetch
from scimf.simulate.systems import SYSTEMS


def load(
    name_or_path: str | Path,
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
        A name from ``scimf/data/registry.toml`` or ``scimf.simulate.systems.SYSTEMS``, or the path
        of an ``.h5ad``, ``.loom``, 10x (``.h5`` or a folder), ``.csv`` or ``.tsv`` file.
    time_key, type_key, population_key, batch_key
        Your own file only, as are the next two: columns of ``obs`` with the time, the cell type,
        the population and the batch. ``None`` takes those of these names where there are any.
    cells
        A table whose first column names the cells and whose others are joined to ``obs``.
    form
        "counts", "lognorm", "pcs" or "state"; by default it is detected and put into words in
        ``uns["scimf"]["detected"]``.
    **options
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
    name = str(name_or_path)
    columns = (time_key, type_key, population_key, batch_key)
    if name not in entries() and name not in SYSTEMS:
        _require_path(name)
        if options:
            raise ValueError(f"{name}: unknown options {sorted(options)} for a file of your own")
        table = None if cells is None else Path(cells).expanduser()
        return OwnFile(Path(name).expanduser(), *columns, cells=table, form=form).load()
    if (*columns, cells, form) != ("time", None, None, None, None, None):
        keys = "time_key, type_key, population_key, batch_key, cells and form"
        raise ValueError(f"{name}: {keys} are for files of your own only")
    if name in SYSTEMS:
        return SYSTEMS[name](**options)
    return _load_registered(name, **options)


def _require_path(name: str) -> None:
    """Refuse what is neither a name nor the path of a file that may hold cells."""
    path = Path(name.lower().removesuffix(".gz"))
    if path.suffix in KNOWN or Path(name).expanduser().is_dir():
        return
    raise ValueError(
        f"{name!r} is neither a data set ({', '.join(READERS)}), nor a simulation "
        f"({', '.join(SYSTEMS)}), nor a path that ends in {', '.join(KNOWN)}, nor a 10x folder"
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
