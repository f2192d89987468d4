"""Data by name or from your own file: always an AnnData with real times, types and provenance.

``load("typed")`` simulates, ``load("cite_hspc")`` reads (and if need be downloads) a registered data set,
``load("my.h5ad", time_key="day")`` checks a file of your own first and says in words what it takes it for.
"""

from pathlib import Path

import anndata as ad

from scimf import papersets, readers
from scimf.formats import KNOWN, is_file_of_cells
from scimf.ownfile import load_own, texts
from scimf.registry import entries, fetch, rows_of, sha256_of
from scimf.simulate import SYSTEMS

READERS = readers.READERS | papersets.READERS


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
        A name from ``data/registry.toml``, a name from ``scimf.simulate.SYSTEMS``, or a path to a file of a kind that
        :func:`scimf.formats.read_cells` knows: ``.h5ad``, ``.loom``, 10x (``.h5`` or a folder), ``.csv`` or ``.tsv``.
    time_key, type_key, population_key, batch_key
        Your own file only: columns of ``obs`` with the time, the cell type, the population and the batch. ``None``
        takes ``cell_type``, ``population`` and ``batch`` where the file has them.
    cells
        Your own file only: a table whose first column names the cells and whose others are joined to ``obs``.
    form
        Your own file only: "counts", "lognorm", "pcs" or "state"; by default it is detected and said in
        ``uns["scimf"]["detected"]``.
    **options
        ``n_pcs=50 | 100`` for ``cite_hspc``, ``which="attraction" | "no_interaction"`` for ``cytobridge_sim``,
        anything the simulator takes (``seed``, ``n_cells``, ...) for a simulated system.

    Returns
    -------
    AnnData
        ``X`` (cells, columns); ``obs["time"]`` float64 in ``uns["scimf"]["time_unit"]``, except in the sets where that
        unit is "none", which are one snapshot each; ``obs["cell_type"]``, ``obs["population"]`` and ``obs["batch"]``
        where known; provenance and warnings in ``uns["scimf"]``.

    Raises
    ------
    DataUnavailable, DataCorrupt
        See :func:`scimf.registry.fetch`.
    ValueError
        For an unknown name or option, or a file of your own that cannot be used; names the file and the key.
    """
    name = str(name_or_path)
    keys = {"time_key": time_key, "type_key": type_key, "population_key": population_key, "batch_key": batch_key}
    if name not in (*entries(), *SYSTEMS) and is_file_of_cells(Path(name).expanduser()):
        if options:
            raise ValueError(f"{name}: unknown options {sorted(options)} for a file of your own")
        table = None if cells is None else Path(cells).expanduser()
        return load_own(Path(name).expanduser(), **keys, cells=table, declared=form)
    if (*keys.values(), cells, form) != ("time", None, None, None, None, None):
        raise ValueError(f"{name}: {', '.join(keys)}, cells and form are for files of your own only")
    if name in entries():
        if entries()[name]["form"] == "pairs":
            raise ValueError(
                f"{name}: a table of ligand-receptor pairs, not cells; "
                f"read it with scimf.ligands.load_pairs({name!r}, genes)"
            )
        return _load_registered(name, **options)
    if name in SYSTEMS:
        return SYSTEMS[name](**options)
    raise ValueError(
        f"{name!r} is neither a data set ({', '.join(READERS)}), nor a simulation ({', '.join(SYSTEMS)}), "
        f"nor a path that ends in {', '.join(KNOWN)}, nor a 10x folder"
    )


def _load_registered(name: str, **options) -> ad.AnnData:
    files, rows, entry = fetch(name, **options), rows_of(name, **options), entries()[name]
    adata = READERS[name](files)
    adata.uns["scimf"] = {
        "name": name,
        **{key: entry[key] for key in ("title", "form", "time_unit", "licence", "citation")},
        "files": texts(row["file"] for row in rows),
        "urls": texts(row["url"] for row in rows),
        "sha256": texts(row.get("sha256") or sha256_of(file) for row, file in zip(rows, files, strict=True)),
        "warnings": texts(entry["warnings"]),
    }
    return adata
