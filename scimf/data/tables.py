"""Tables of text: one row per cell, with its genes and its labels."""

from pathlib import Path
from typing import NamedTuple

import anndata as ad
import numpy as np
import pandas as pd

from scimf.data.blocks import DataFile

SEPARATORS = {".csv": ",", ".tsv": "\t", ".txt": "\t"}
LABELS = ("time", "cell_type", "population", "batch")  #: columns of a table that are never genes


class TableChoices(NamedTuple):
    """What the user decided about the columns of a table."""

    labels: tuple[str, ...] = ()  #: columns that are no genes


AS_FOUND = TableChoices()  #: the user decided nothing


def separator_of(path: Path) -> str | None:
    """Return what the suffix says, with or without ``.gz``."""
    return SEPARATORS.get(Path(path.name.lower().removesuffix(".gz")).suffix)


def read_table(path: Path, choices: TableChoices, notes: list[str]) -> ad.AnnData:
    """Read a table with one row per cell; what was done is added to ``notes``."""
    labels = {*choices.labels, *LABELS}
    separator = separator_of(path)
    texts = {"dtype": str, "keep_default_na": False}
    header = pd.read_csv(path, sep=separator, header=None, nrows=1, **texts).iloc[0]
    if len(header) < 2:
        expected = "expected a table with one row per cell and its genes"
        raise ValueError(f"{path}: {len(header)} columns, {expected}")
    DataFile(path).require_unique(header, "columns")  # pandas would rename them silently
    table = pd.read_csv(path, sep=separator, index_col=False, low_memory=False)
    if not len(table):
        raise ValueError(f"{path}: 0 rows, expected a table with one row per cell")
    table = _with_names(table, labels)
    genes = [name for name in table.select_dtypes("number") if name not in labels]
    if not genes:
        found = list(table)[:5]
        raise ValueError(
            f"{path}: no column of numbers besides {found}, expected one per gene or PC"
        )
    others = [name for name in table if name not in set(genes)]
    columns = f"{len(genes)} columns as genes, from {genes[0]!r} to {genes[-1]!r}"
    notes.append(f"Took {columns}, and {others} as labels.")
    x = table[genes].to_numpy(np.float32)
    return ad.AnnData(x, obs=table[others], var=pd.DataFrame(index=genes))


def _with_names(table: pd.DataFrame, labels: set[str]) -> pd.DataFrame:
    """Take the first column as names of the cells, unless it is a label or holds numbers."""
    first = table.columns[0]
    is_text = first.startswith("Unnamed") or not pd.api.types.is_numeric_dtype(table[first])
    if is_text and first not in labels:
        table = table.set_index(first)
        table.index = table.index.astype(str)
    else:
        table.index = [f"cell{i}" for i in range(len(table))]
    table.index.name = None
    return table


def join_cells(adata: ad.AnnData, path: Path, cells: Path) -> None:
    """Add the columns of a table of cells to ``obs``."""
    separator = separator_of(cells)
    if separator is None:
        raise ValueError(f"{cells}: expected a table of cells that ends in {', '.join(SEPARATORS)}")
    with DataFile(cells).reading():
        table = pd.read_csv(cells, sep=separator, index_col=0, low_memory=False)
    table.index = table.index.astype(str)
    DataFile(cells).require_unique(table.index, "cell names")
    missing = adata.obs_names.difference(table.index)
    if len(missing):
        hint = ""
        if adata.var_names.isin(table.index).mean() > 0.5:
            hint = f"; its columns are the cells there: transpose {path.name}, "
            hint += "one row per cell is expected"
        raise ValueError(
            f"{path}: {len(missing)} of {adata.n_obs} cells are not in {cells.name}, such as "
            f"{missing[0]!r} (there: {table.index[:1].tolist()}){hint}"
        )
    for name in table:
        adata.obs[name] = table.loc[adata.obs_names, name].to_numpy()
