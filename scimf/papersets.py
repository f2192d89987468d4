"""Data sets of the scIMF and scLDM papers, from the files that their sources made public, and the papers' splits.

Large tables are read in blocks of rows and kept sparse; nothing is unpickled, so no ``.rds`` is read. A file that is
cut short, swapped with another or of another layout is a ``ValueError`` that names it, the key and what was expected.
"""

import gzip
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from scimf.formats import read_h5ad
from scimf.ownfile import MAX_LOGNORM

BLOCK = 256  # rows made dense at once
ENTRIES = 2_000_000  # entries of a matrix-market file parsed at once
SHARES = {"reprogramming": 0.1, "drosophila": 0.05}  # of the cells of each time: both papers work with this share
STAGES = (3.3, 3.8, 4.3, 4.8, 5.3, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0)  # zebrafish, hours post fertilisation
DAYS = tuple(float(day) for day in range(19))  # reprogramming, after floor()
WEEKS = tuple(float(week) for week in range(8))  # pancreas, the column CellWeek
WINDOWS = (1.0, 2.0, 3.0, 5.0, 6.0, 8.0, 10.0, 12.0, 14.0, 16.0, 18.0)  # fly, middles of 0-2, 1-3, ..., 16-20 hours

#: Held-out times of scIMF's named splits, by data set, in the data's own unit; the sources name them by index.
#: :func:`scimf.named_split` applies them. Drosophila stands in the code's history only, not in the paper.
SPLITS: dict[str, dict[str, tuple[float, ...]]] = {
    "zebrafish": {
        "three_interpolation": (5.3, 7.0, 9.0),
        "two_forecasting": (11.0, 12.0),
        "remove_recovery": (4.3, 5.3, 7.0, 9.0, 11.0, 12.0),
        "all_times": (),
    },
    "reprogramming": {
        "three_interpolation": (5.0, 10.0, 15.0),
        "three_forecasting": (16.0, 17.0, 18.0),
        "remove_recovery": (5.0, 7.0, 9.0, 11.0, 15.0, 16.0, 17.0, 18.0),
        "all_times": (),
    },
    "pancreas": {f"leaveout{week}": (float(week),) for week in range(1, 8)} | {"all_times": ()},
    "drosophila": {
        "three_interpolation": (6.0, 10.0, 14.0),
        "three_forecasting": (14.0, 16.0, 18.0),
        "remove_recovery": (3.0, 6.0, 10.0, 14.0, 16.0, 18.0),
        "all_times": (),
    },
}
#: Columns of obs that scLDM conditions on, and the column of the file each is read from; "" is the file's name.
CONDITIONS: dict[str, dict[str, str]] = {
    "dentate_gyrus": {"clusters": "clusters", "cell_type": "clusters"},
    "tabula_muris": {"tissue": "tissue"},
    "hlca": {"cell_type": "cell_type"},
    "parse_1m": {"cell_type": "cell_type", "cytokine": "cytokine"},
    "replogle": {"cell_line": "", "gene": "gene"},
}
COUNTS_IN = ("layers['X_counts']", "layers['counts']", "X")  # where counts may be; the first there is taken


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """While entered, whatever a damaged file makes its parser raise is one ValueError that names the file."""
    try:
        yield
    except (
        EOFError,
        OSError,
        zlib.error,
        UnicodeDecodeError,
        pd.errors.ParserError,
        pd.errors.EmptyDataError,
    ) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path}: cannot be read, probably cut short, damaged or another file ({reason})") from None


def _header(path: Path) -> list[str]:
    with _reading(path):
        return pd.read_csv(path, sep="\t", nrows=0).columns.astype(str).tolist()


def _table(path: Path, name: str, keys: Sequence[str], *, optional: str = "$") -> pd.DataFrame:
    """Columns ``keys`` and those that match ``optional`` of a tab-separated table, as text, by cell ``name``."""
    header = _header(path)  # alone first: a matrix in the table's place would be gigabytes of text
    if missing := [key for key in (name, *keys) if key not in header]:
        raise ValueError(f"{path}: columns {missing} are missing, expected a table of cells; it has {header[:6]}")
    wanted = [name, *keys, *(key for key in header if re.match(optional, key) and key not in (name, *keys))]
    with _reading(path):
        table = pd.read_csv(path, sep="\t", usecols=wanted, dtype=str, keep_default_na=False).fillna("").set_index(name)
    if not len(table):
        raise ValueError(f"{path}: column {name!r} is empty, expected a cell in each line")
    if not table.index.is_unique:
        twice = table.index[table.index.duplicated()][:3].tolist()
        raise ValueError(f"{path}: column {name!r} names {twice} more than once, expected each cell once")
    return table


def _text_matrix(path: Path, corner: str) -> tuple[sparse.csr_matrix, list[str], list[str]]:
    """Read a tab-separated matrix in blocks: values (rows, columns), names of rows, names of columns."""
    header = _header(path)
    if header[0] != corner or len(header) < 2:
        raise ValueError(f"{path}: the first column is {header[0]!r}, expected {corner!r} and a matrix of numbers")
    rows, blocks = [], []
    with _reading(path), pd.read_csv(path, sep="\t", chunksize=BLOCK, low_memory=False) as reader:
        for block in reader:
            if not isinstance(block.index, pd.RangeIndex):
                raise ValueError(f"{path}: lines have more fields than the header, expected {len(header)}")
            names = block.iloc[:, 0].astype(str).tolist()
            values = block.iloc[:, 1:]
            if len(values.select_dtypes("object").columns):
                values = values.apply(pd.to_numeric, errors="coerce")
            values = values.to_numpy(np.float32)  # (rows of the block, columns)
            bad = ~np.isfinite(values).all(axis=1)
            if bad.any():
                raise ValueError(
                    f"{path}: row {names[bad.argmax()]!r} lacks fields or has text, expected {len(header) - 1} numbers"
                )
            if values.min() < 0:
                raise ValueError(f"{path}: holds negative values, expected expression from 0 on")
            rows += names
            blocks.append(sparse.csr_matrix(values))
    if not blocks:
        raise ValueError(f"{path}: no line under the header, expected one for each row of the matrix")
    return sparse.vstack(blocks, format="csr"), rows, header[1:]


def _matched(table: pd.DataFrame, cells: Sequence[str], path: Path, matrix: Path) -> pd.DataFrame:
    """Bring the table's lines into the order of the matrix; both have to name the same cells."""
    if different := set(table.index) ^ set(cells):
        raise ValueError(
            f"{path}: {len(different)} cells are only here or only in {matrix.name}, such as {sorted(different)[:2]}; "
            f"expected the same {len(cells)} cells in both (is one of them cut short?)"
        )
    return table.loc[list(cells)]


def _times(labels: pd.Series, pattern: str, expected: Sequence[float], path: Path) -> np.ndarray:  # (cells,)
    """Read a number or the middle of a window from each label; exactly the published times are accepted."""
    times = labels.str.extract(pattern).astype(np.float64).mean(axis=1, skipna=False).to_numpy()
    if np.isnan(times).any():
        raise ValueError(
            f"{path}: {labels.name!r} is {labels[np.isnan(times)].iloc[0]!r}, expected one of {list(expected)}"
        )
    return _expected(times, expected, f"{path}: {labels.name!r}")


def _expected(times: np.ndarray, expected: Sequence[float], where: str) -> np.ndarray:
    if (found := np.unique(times).tolist()) != list(expected):
        raise ValueError(f"{where} has the times {found}, expected all of {list(expected)} (is the file cut short?)")
    return times


def _sampled(times: np.ndarray, share: float) -> np.ndarray:
    """Rows of ``int(share * n)`` of the n cells of each time, drawn without replacement, seed 0; in file order."""
    rng = np.random.default_rng(0)
    drawn = [np.flatnonzero(times == t) for t in np.unique(times)]
    return np.sort(np.concatenate([rng.choice(rows, int(share * len(rows)), replace=False) for rows in drawn]))


def _assemble(x, cells, genes, times: np.ndarray, **labels: Sequence[str]) -> ad.AnnData:
    obs = pd.DataFrame({"time": times.astype(np.float64)}, index=list(map(str, cells)))
    for key, values in labels.items():
        obs[key] = pd.Categorical([str(value) or "unknown" for value in values])
    adata = ad.AnnData(sparse.csr_matrix(x, dtype=np.float32), obs=obs, var=pd.DataFrame(index=list(map(str, genes))))
    adata.var_names_make_unique()
    return adata


def _whole(x: sparse.csr_matrix, where: str) -> sparse.csr_matrix:
    if x.nnz and (x.data.min() < 0 or (x.data != np.rint(x.data)).any()):
        raise ValueError(f"{where} holds negative or fractional values, expected counts")
    return x


def _read_zebrafish(files: list[Path]) -> ad.AnnData:
    matrix, meta = files
    table = _table(meta, "NAME", ["Stage"], optional="Lineage_").drop(index="TYPE", errors="ignore")  # a second header
    x, genes, cells = _text_matrix(matrix, "GENE")  # (genes, cells)
    table = _matched(table, cells, meta, matrix)
    hours = _times(table["Stage"], r"^(\d+(?:\.\d+)?)-", STAGES, meta)
    lineages = table.drop(columns="Stage")
    member = lineages.apply(lambda column: column.str.upper() == "TRUE").to_numpy(dtype=bool)  # (cells, lineages)
    labels = {}
    if len(lineages.columns):
        names = np.array([name.removeprefix("Lineage_") for name in lineages.columns])
        one = np.where(member.sum(1) == 1, names[member.argmax(1)], "several lineages")
        labels["cell_type"] = np.where(member.any(1), one, "unassigned")
    return _assemble(x.T * np.float32(np.log(2)), cells, genes, hours, **labels)  # from log2(1 + v) to log(1 + v)


def _read_reprogramming(files: list[Path]) -> ad.AnnData:
    matrix, days = files
    day = pd.to_numeric(_table(days, "id", ["day"])["day"], errors="coerce")
    source = read_h5ad(matrix, backed=True)
    try:
        time = np.floor(day.reindex(source.obs_names).to_numpy(np.float64))
        dated = np.flatnonzero(~np.isnan(time))  # the matrix has cells without a day
        if not len(dated):
            raise ValueError(
                f"{days}: 'id' has {day.index[:2].tolist()}, expected cells of {matrix.name}, which has "
                f"{source.obs_names[:2].tolist()}"
            )
        _expected(time[dated], DAYS, f"{days}: floor of 'day'")
        chosen = dated[_sampled(time[dated], SHARES["reprogramming"])]
        x = _rows(source.X, chosen, matrix)
        if x.nnz and (x.data.min() < 0 or x.data.max() > MAX_LOGNORM):
            raise ValueError(f"{matrix}: X goes from {x.data.min():g} to {x.data.max():g}, expected log1p values")
        return _assemble(x, source.obs_names[chosen], source.var_names, time[chosen])
    finally:
        source.file.close()


def _read_pancreas(files: list[Path]) -> ad.AnnData:
    matrix, meta = files
    table = _table(meta, "library.barcode", ["CellWeek", "Assigned_cluster", "Differentiation"])
    x, cells, genes = _text_matrix(matrix, "# library.barcode")  # (cells, genes)
    table = _matched(table, cells, meta, matrix)
    times = _times(table["CellWeek"], r"^(\d+(?:\.\d+)?)$", WEEKS, meta)
    labels = {"cell_type": table["Assigned_cluster"], "batch": table["Differentiation"]}
    return _assemble(_whole(x, f"{matrix}: the matrix"), cells, genes, times, **labels)


def _read_drosophila(files: list[Path]) -> ad.AnnData:
    matrix, rows, columns = files
    table = _table(columns, "cell", ["time"], optional="exp$")
    times = _times(table["time"], r"^(?:hrs_)?(\d\d)[_-](\d\d)$", WINDOWS, columns)
    with _reading(rows):
        genes = pd.read_csv(rows, sep="\t", header=None, usecols=[0], dtype=str, keep_default_na=False)[0].tolist()
    chosen = _sampled(times, SHARES["drosophila"])
    x = _market_columns(matrix, (len(genes), len(table)), chosen)  # (cells, genes)
    labels = {"batch": table["exp"].iloc[chosen]} if "exp" in table else {}
    return _assemble(_whole(x, f"{matrix}: the matrix"), table.index[chosen], genes, times[chosen], **labels)


def _market_columns(path: Path, shape: tuple[int, int], chosen: np.ndarray) -> sparse.csr_matrix:
    """Columns ``chosen`` of a matrix-market file (genes, cells), as (chosen cells, genes), read in blocks."""
    place = np.full(shape[1] + 1, -1)
    place[chosen + 1] = np.arange(len(chosen))  # the file counts from 1
    opened = gzip.open if path.suffix == ".gz" else open
    parts, seen = [], 0
    with _reading(path), opened(path, "rt", encoding="utf-8") as file:
        line = file.readline()
        if not line.startswith("%%MatrixMarket matrix coordinate"):
            raise ValueError(f"{path}: starts with {line[:40]!r}, expected a line %%MatrixMarket matrix coordinate ...")
        while line.startswith("%"):
            line = file.readline()
        size = [int(number) for number in line.split() if number.isdigit()]
        if size[:2] != list(shape) or len(size) != 3:
            raise ValueError(
                f"{path}: its size line is {line.strip()!r}, expected {shape[0]} genes and {shape[1]} cells"
            )
        names = ["gene", "cell", "value"]
        options = {"sep": r"\s+", "header": None, "names": names, "chunksize": ENTRIES}
        for block in pd.read_csv(file, **options) if size[2] else ():
            entries = block.apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
            gene, cell = entries[:, 0], entries[:, 1]
            if not (
                (gene >= 1) & (gene <= shape[0]) & (cell >= 1) & (cell <= shape[1]) & ~np.isnan(entries[:, 2])
            ).all():
                raise ValueError(f"{path}: an entry lies outside {shape} or is incomplete, expected gene, cell, value")
            at = place[cell.astype(int)]
            kept = at >= 0
            parts.append((entries[kept, 2].astype(np.float32), at[kept], gene[kept].astype(int) - 1))
            seen += len(entries)
    if seen != size[2]:
        raise ValueError(f"{path}: {seen} entries, expected the {size[2]} of its size line (is it cut short?)")
    values, at, gene = (np.concatenate(part) for part in zip(*parts, strict=True)) if parts else ([], [], [])
    return sparse.coo_matrix((values, (at, gene)), shape=(len(chosen), shape[0]), dtype=np.float32).tocsr()


def _read_conditions(files: list[Path], columns: dict[str, str]) -> ad.AnnData:
    """One snapshot with the conditions of scLDM, of one file or of several (training and test, or one per screen)."""
    parts = [_conditioned(file, columns) for file in files]
    together = len(set().union(*(part.obs_names for part in parts))) == sum(part.n_obs for part in parts)
    adata = ad.concat(parts, join="inner", index_unique=None if together else "-")  # screens share barcodes
    if not adata.n_vars:
        raise ValueError(f"{files[-1]}: var_names have no gene in common with {files[0].name}, expected the same genes")
    adata.obs_names_make_unique()
    adata.var_names_make_unique()
    for key in adata.obs:
        adata.obs[key] = adata.obs[key].astype("category")
    return adata


def _conditioned(file: Path, columns: dict[str, str]) -> ad.AnnData:
    source = read_h5ad(file, backed=True)
    try:
        if missing := {column for column in columns.values() if column} - set(source.obs):
            raise ValueError(f"{file}: obs has no {sorted(missing)}, expected the conditions {sorted(columns)}")
        obs = pd.DataFrame(index=source.obs_names)
        for key, column in columns.items():
            obs[key] = source.obs[column].astype(str).to_numpy() if column else _line_of(file)
        if part := re.search(r"_(train|test)\b", file.stem):
            obs["split"] = part[1]
        where, kept = COUNTS_IN[-1], source.X
        for place in COUNTS_IN[:-1]:
            if (layer := place.split("'")[1]) in source.layers:
                where, kept = place, source.layers[layer]
                break
        x = _whole(_rows(kept, None, file), f"{file}: {where}, of {list(COUNTS_IN)} the first there is,")
        return ad.AnnData(x, obs=obs, var=pd.DataFrame(index=source.var_names))
    finally:
        source.file.close()


def _line_of(file: Path) -> str:
    if found := re.search("hepg2|jurkat|k562|rpe1", file.name.lower()):
        return found[0]
    raise ValueError(f"{file}: its name says no cell line, expected hepg2, jurkat, k562 or rpe1")


def _rows(matrix, rows: np.ndarray | None, path: Path) -> sparse.csr_matrix:
    """Rows of a matrix that may still lie in its file, all by default, as float32 and made sparse in blocks."""
    if matrix is None:
        raise ValueError(f"{path}: X is missing, expected a matrix (cells, genes)")
    with _reading(path):
        if getattr(matrix, "format", "csr") == "csc" and hasattr(matrix, "to_memory"):
            matrix = matrix.to_memory().tocsr()  # by columns: every block of rows would read the whole file
        n = matrix.shape[0] if rows is None else len(rows)
        parts = [slice(i, i + BLOCK) if rows is None else rows[i : i + BLOCK] for i in range(0, n, BLOCK)]
        return sparse.vstack([sparse.csr_matrix(matrix[part], dtype=np.float32) for part in parts], format="csr")


READERS: dict[str, Callable[[list[Path]], ad.AnnData]] = {
    "zebrafish": _read_zebrafish,
    "reprogramming": _read_reprogramming,
    "pancreas": _read_pancreas,
    "drosophila": _read_drosophila,
    **{name: partial(_read_conditions, columns=columns) for name, columns in CONDITIONS.items()},
}
