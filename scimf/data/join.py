"""A table of cells: find those of a file in it, and add its columns to them."""

import re
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import NamedTuple

import anndata as ad
import numpy as np
import pandas as pd

from scimf.data.blocks import DataFile
from scimf.data.tables import LIKE, TableChoices, as_obs
from scimf.data.text_table import TextTable, open_table


def join_cells(
    adata: ad.AnnData, path: Path, cells: Path, choices: TableChoices, notes: list[str]
) -> ad.AnnData:  # turned, if its columns are the cells
    """Add the columns of a table of cells to ``obs``; what was done is added to ``notes``."""
    if not cells.is_file():
        raise ValueError(f"{cells}: is no file, expected a table of cells")
    with DataFile(cells).reading():
        table = _table_of_cells(cells, choices, notes)
        DataFile(cells).require_unique(table.columns, "columns")
        frame = table.frame()
    found = _found_in(frame, adata)
    if found is None:
        raise _without_cells(frame[table.columns[0]], adata, path, cells)
    if found.turned:
        adata = adata.T.copy()
        notes.append(f"Turned {path.name}: its columns are the cells of {cells.name}.")
    if found.way:
        notes.append(f"Names of cells are those of {cells.name}, {found.way}.")
    extra = len(frame) - adata.n_obs
    if extra:
        notes.append(f"{extra} rows of {cells.name} are of no cell in {path.name}.")
    unused = [name for name in frame if name in (found.column, "")]
    labels = as_obs(frame.iloc[found.rows].drop(columns=unused), choices)
    labels.index = adata.obs_names
    for name, values in labels.items():
        if name in adata.obs and not _same(adata.obs[name], values):
            notes.append(f"Column {name!r} of {cells.name} took the place of the one in the file.")
        adata.obs[name] = values
    return adata


def _table_of_cells(cells: Path, choices: TableChoices, notes: list[str]) -> TextTable:
    """Open it; a separator that the user named may be that of the other table."""
    with suppress(ValueError):
        if choices.sep is not None:
            return open_table(cells, choices.sep, notes)
    return open_table(cells, None, notes)


class _Found(NamedTuple):
    """Where the cells of a file are in a table of cells."""

    column: str  #: with their names
    rows: np.ndarray  #: (cells,)
    way: str  #: in what the names differ, if they do
    turned: bool  #: whether the columns of the file are the cells


def _r_name(name: str) -> str:
    """Change a name as ``make.names`` of R does."""
    name = re.sub(r"[^\w.]", ".", name)
    return f"X{name}" if name[:1].isdigit() else name


#: Ways in which the names of the same cells differ: said how, changed here, changed in the table.
WAYS = (
    ("", str, str),
    ("without the number at the end", lambda name: re.sub(r"-\d+$", "", name), str),
    ("with a number at the end there", str, lambda name: re.sub(r"-\d+$", "", name)),
    ("as R writes them at the head of columns", str, _r_name),
)


def _found_in(frame: pd.DataFrame, adata: ad.AnnData) -> _Found | None:
    """Find all cells in the first column, or in another with names."""
    first, *others = frame.columns
    columns = [first, *(name for name in others if LIKE["names"].fullmatch(name))]
    for turned, names in ((False, adata.obs_names), (True, adata.var_names)):
        for column, (way, here, there) in product(columns, WAYS):
            ours = pd.Index([here(name) for name in names])
            theirs = pd.Index([there(name) for name in frame[column]])
            if theirs.is_unique and (ours.is_unique or not way):
                rows = theirs.get_indexer(ours)
                if (rows >= 0).all():
                    return _Found(column, rows, way, turned)
    return None


def _without_cells(there: pd.Series, adata: ad.AnnData, path: Path, cells: Path) -> ValueError:
    """Say which cells are missing."""
    DataFile(cells).require_unique(there, "cell names")
    names = adata.obs_names
    hint = ""
    if adata.var_names.isin(there).mean() > 0.5:
        names = adata.var_names
        hint = f" (the cells are the columns of {path.name})"
    missing = names[~names.isin(there)]
    return ValueError(
        f"{path}: {len(missing)} of {len(names)} cells are not in {cells.name}, such as "
        f"{missing[0]!r} (there: {there[:1].tolist()}){hint}; expected each cell there"
    )


def _same(old: pd.Series, new: pd.Series) -> bool:
    if pd.api.types.is_numeric_dtype(old) and pd.api.types.is_numeric_dtype(new):
        return bool(np.array_equal(old, new, equal_nan=True))
    return bool((old.astype(str).to_numpy() == new.astype(str).to_numpy()).all())
