"""Tables of text with one row per cell: what their columns are, and how they join other files."""

import re
from collections.abc import Sequence
from fnmatch import translate
from itertools import product
from pathlib import Path
from typing import NamedTuple

import anndata as ad
import numpy as np
import pandas as pd

from scimf.core.files import read_toml
from scimf.data.blocks import DataFile
from scimf.data.text_table import HEAD, NUMBER, WITH_COMMA, WITH_POINT, TextTable

LABELS = ("cell_type", "population", "batch")  #: columns that are texts, whatever they hold
MISSING = ("", "NA", "N/A", "#N/A", "NaN", "nan", "<NA>")  #: how a label that is missing is written
PLAIN = r"-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?"  #: numbers, but no "01" and no "1,5"
#: What may be a number with other signs than the rest has; 1,234 may be 1234 or 1.234.
ODD = rf"{WITH_POINT}|{WITH_COMMA}|[-+]?\d{{1,3}}([,'’ ]\d{{3}})+([.,]\d+)?"
_KNOWN = read_toml(Path(__file__).with_name("columns.toml"))
#: By "names", "genes", "labels" and "coordinates": which headings are such columns.
LIKE = {kind: re.compile("|".join(map(translate, like)), re.I) for kind, like in _KNOWN.items()}
#: What is left out of names here or there: a number that ends them, as Cell Ranger counts samples.
ENDINGS = (("$^", "$^"), (r"-\d+$", "$^"), ("$^", r"-\d+$"))


class TableChoices(NamedTuple):
    """What the user decided about the columns of a table."""

    time: str = "time"  #: column with the times
    keys: tuple[str, ...] = ()  #: columns with the cell type, the population and the batch
    genes: str | Sequence[str] | None = None  #: names, ``prefix*`` or ``first:last``; no others
    labels: str | Sequence[str] | None = None  #: likewise; all other numbers are genes
    sep: str | None = None  #: see :meth:`scimf.data.text_table.TextTable.open`


def read_table(path: Path, choices: TableChoices, notes: list[str]) -> ad.AnnData:
    """Read a table with one row per cell; what was done is added to ``notes``."""
    table = TextTable.open(path, choices.sep, notes)
    first, *others = table.columns
    has_times = choices.time in table.columns
    is_by_gene = LIKE["genes"].fullmatch(first) and not has_times
    is_named = is_by_gene or LIKE["names"].fullmatch(first)
    if not is_named and all(re.fullmatch(NUMBER, name) for name in others):
        raise ValueError(f"{path}: the first line holds numbers, such as {others[0]!r}, not names")
    if choices.time in table.row_names and not has_times:
        raise ValueError(f"{path}: {choices.time!r} is a row, not a column: transpose the table")
    roles = _roles_of(table, choices, notes)
    parts, labels = [], []
    for block in table.blocks(roles.labels):
        parts.append(_values(block, roles, table))
        labels.append(block[roles.labels])
    x = np.concatenate(parts)  # (cells, genes)
    labels = pd.concat(labels, ignore_index=True)
    if choices.genes is choices.labels is None and not is_by_gene:
        _require_one_kind(x, roles.genes, path, by_name=has_times)  # else cells may be columns
    names, column = _names_of(labels, roles.names, notes)
    used = [name for name in labels if name == column or re.fullmatch(r"|Unnamed: \d+", name)]
    obs = _obs_of(labels.drop(columns=used), choices).set_axis(names)
    some = f"{len(roles.genes)} columns as genes, from {roles.genes[0]!r} to {roles.genes[-1]!r}"
    notes.append(f"Took {some}, and {list(obs)} as labels.")
    return ad.AnnData(x, obs=obs, var=pd.DataFrame(index=roles.genes))


# -------------------------------------------------------------------------- roles of the columns


class _Roles(NamedTuple):
    """What the columns of a table are."""

    names: list[str]  #: what may be the names of the cells, the likeliest first
    genes: list[str]
    labels: list[str]  #: all that are read as text, those names too


def _roles_of(table: TextTable, choices: TableChoices, notes: list[str]) -> _Roles:
    """Decide from the first rows, and from what the user said, what each column is."""
    path, columns, head = table.path, table.columns, table.texts(HEAD)
    numbers = _numbers_in(head, table.decimal)
    filled = (~head.isin(MISSING)).sum()
    texts = set(filled.index[2 * numbers.count() <= filled])
    keys = {choices.time, *choices.keys, *LABELS}
    counting = set(filled.index[(numbers.diff().iloc[1:] == 1).all()]) if len(head) > 2 else set()
    named = {name for name in columns if LIKE["names"].fullmatch(name)}
    known = {name for name in columns if LIKE["labels"].fullmatch(name)}

    plain = [name for name in columns if name not in keys | named]
    numeric = [name for name in plain if name not in texts]
    genes = _chosen(choices.genes, "genes", columns, numeric, path)
    labels = _chosen(choices.labels, "labels", columns, plain, path)
    taken = {*keys, *genes, *labels}

    names = [name for name in columns if name in named - taken]
    if columns[0] not in taken | known | named and columns[0] in texts | counting:
        names.insert(0, columns[0])
    names.sort(key=lambda name: name in counting)  # row numbers last

    if choices.genes is not None:
        genes = [name for name in genes if name not in {*keys, *labels}]
    else:
        genes = [name for name in numeric if name not in {*taken, *known, *names}]
        either = [name for name in genes if LIKE["either"].fullmatch(name)]
        if either:
            say = f"say which: genes=... or labels=... (GENES=, LABELS={','.join(either)})"
            raise ValueError(f"{path}: {either} may be genes or labels, {say}")
        for name in texts - known - taken - set(names):
            odd = head[name][numbers[name].isna() & head[name].str.fullmatch(ODD)]
            if len(odd):
                expected = f"expected 1234.5, or 1234,5 in all columns (a label? LABELS={name})"
                raise ValueError(f"{path}: column {name!r} holds {odd.iloc[0]!r}, {expected}")
    if not genes:
        raise ValueError(f"{path}: no column of genes in {columns[:5]} (genes=..., GENES=)")
    kept = (keys | known | texts).union(labels, names).difference(genes)
    labels = [name for name in columns if name in kept]
    if dropped := len(columns) - len(genes) - len(labels):
        notes.append(f"Dropped {dropped} columns of numbers that are neither genes nor labels.")
    return _Roles(names, genes, labels)


def _numbers_in(texts: pd.DataFrame, decimal: str) -> pd.DataFrame:
    """Numbers with this decimal sign, NaN for other texts."""
    column = pd.Series(texts.to_numpy(dtype=object).ravel()).astype(str)
    if decimal == ",":
        column = column.str.translate(str.maketrans(",.", ".?"))
    numbers = pd.to_numeric(column, errors="coerce").to_numpy().reshape(texts.shape)
    return pd.DataFrame(numbers, texts.index, texts.columns)


def _chosen(
    asked: str | Sequence[str] | None, option: str, columns: list[str], plain: list[str], path: Path
) -> list[str]:
    """Columns that a user named; patterns and ranges choose among ``plain`` ones."""
    if isinstance(asked, str):
        asked = [asked] if asked in columns else [part.strip() for part in asked.split(",")]
    found = set()
    for part in filter(None, asked or ()):
        names = _matching(part, columns, plain)
        if not names:
            raise ValueError(f"{path}: {option}={part!r} is none of the columns {columns[:6]}")
        found.update(names)
    return [name for name in columns if name in found]


def _matching(part: str, columns: list[str], plain: list[str]) -> list[str]:
    """Columns that ``name``, ``first:last`` or ``prefix*`` stands for."""
    if part in columns:
        return [part]
    first, _, last = part.partition(":")
    if first in columns and last in columns:
        between = columns[columns.index(first) : columns.index(last) + 1]
        return [name for name in between if name in {first, last, *plain}]
    pattern = ".*".join(map(re.escape, part.split("*")))
    return [name for name in plain if re.fullmatch(pattern, name)]


def _require_one_kind(x: np.ndarray, genes: list[str], path: Path, *, by_name: bool) -> None:
    """Ask about columns that are unlike the others: they may be no genes."""
    has_fractions = (x != np.rint(x)).any(axis=0)
    has_negatives = (x < 0).any(axis=0)
    used = (x != 0).sum(axis=0)
    stems = pd.Series([re.split(r"\d", name)[0] for name in genes])
    alike = stems.map(stems.value_counts()).to_numpy()  # PC1, PC2, ..., or names of Ensembl
    is_single = (alike == 1) & (alike.max() >= max(10, 0.9 * len(genes))) & by_name
    # A few values may be whole by chance. Expression has zeros, PCs and states do not.
    kinds = {
        "hold fractions or whole numbers": (has_fractions, (used > 3) & ~has_fractions),
        "hold negative values or none": (has_negatives, (used < len(x)) & ~has_negatives),
        "are named": (is_single, alike == alike.max()),
    }
    for found, (some, others) in kinds.items():
        if some.any() and others.any():
            odd = some if some.sum() <= others.sum() else others
            columns = np.array(genes, dtype=object)[odd].tolist()
            unlike = f"{columns[:3]}, {found} unlike the other {len(genes) - len(columns)}"
            choose = f"say which are genes= or labels= (such as LABELS={columns[0]})"
            raise ValueError(f"{path}: {len(columns)} columns, such as {unlike}; {choose}")


# ------------------------------------------------------------------------------ values and labels


def _values(block: pd.DataFrame, roles: _Roles, table: TextTable) -> np.ndarray:
    """Turn some rows into numbers (rows, genes) float32; name the first that is none."""
    numbers = block[roles.genes]
    texts = numbers.select_dtypes(exclude="number")
    numbers = numbers.assign(**_numbers_in(texts, table.decimal))
    with np.errstate(over="ignore"):
        values = numbers.to_numpy(np.float32)
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        row, column = bad[0]
        gene = roles.genes[column]
        name = block.iloc[row][roles.names[0]] if roles.names else f"{block.index[row] + 1}"
        value = str(block[gene].iloc[row])
        found = "is missing" if value in MISSING else f"holds {value!r}"
        where = f"{table.path}: column {gene!r}, row {name!r}"
        raise ValueError(f"{where} {found}, expected a number (a label? LABELS={gene})")
    return values


def _names_of(
    labels: pd.DataFrame, candidates: list[str], notes: list[str]
) -> tuple[list[str], str | None]:  # (cells,), and the column that held them
    """Names of the cells, as written; ``cell0``, ... where no column has a name for each."""
    found = [name for name in candidates if labels[name].is_unique]
    for name in candidates:  # else those that are there twice, which is refused later
        if LIKE["names"].fullmatch(name) and labels[name].str.contains(r"\D").any():
            found.append(name)
    if found:
        column, texts = found[0], labels[found[0]]
        if column != labels.columns[0] or texts.str.fullmatch(r"[\d.]+").all():
            notes.append(f"Took column {column!r} as names of the cells, as written.")
        return texts.tolist(), column
    if candidates:
        notes.append(f"Column {candidates[0]!r} has no name for each cell: they are numbered.")
    return [f"cell{i}" for i in range(len(labels))], None


def _obs_of(labels: pd.DataFrame, choices: TableChoices) -> pd.DataFrame:
    """Turn texts into numbers where nothing is lost by it, and missing ones into NaN."""
    labels = labels.mask(labels.isin(MISSING))
    for name in labels.columns.difference((*choices.keys, *LABELS)):
        if labels[name].dropna().str.fullmatch(PLAIN).all():
            labels[name] = labels[name].astype(float)
    return labels


# --------------------------------------------------------------------------------- table of cells


def join_cells(
    adata: ad.AnnData, path: Path, cells: Path, choices: TableChoices, notes: list[str]
) -> ad.AnnData:  # turned, if its columns are the cells
    """Add the columns of a table of cells to ``obs``; what was done is added to ``notes``."""
    with DataFile(cells).reading():
        try:
            table = TextTable.open(cells, choices.sep, notes)
        except ValueError:  # the separator that the user named may be that of the other table
            table = TextTable.open(cells, None, notes)
        frame = table.texts()
    place = _place_of(frame, adata)
    if place is None:
        there = frame.iloc[:, 0]
        DataFile(cells).require_unique(there, "cell names")
        missing = adata.obs_names[~adata.obs_names.isin(there)]
        found = f"{len(missing)} of {adata.n_obs} cells are not in {cells.name}"
        raise ValueError(f"{path}: {found}, such as {missing[0]!r} (there: {there[:1].tolist()})")
    turned, is_exact, column, rows = place
    if turned:
        adata = adata.T.copy()
        notes.append(f"Turned {path.name}: its columns are the cells of {cells.name}.")
    if not is_exact:
        notes.append(f"Cells were found in {cells.name} but for the number that ends their names.")
    if extra := len(frame) - len(rows):
        notes.append(f"{extra} rows of {cells.name} are of no cell in {path.name}.")
    labels = _obs_of(frame.iloc[rows].drop(columns=[*{column, ""} & {*frame}]), choices)
    for name in labels:
        if name in adata.obs:
            notes.append(f"Column {name!r} of {cells.name} took the place of the one in the file.")
        adata.obs[name] = labels[name].to_numpy()
    return adata


def _place_of(
    frame: pd.DataFrame, adata: ad.AnnData
) -> tuple[bool, bool, str, np.ndarray] | None:  # turned, exactly, column of names, rows (cells,)
    """Find all cells in the first column, or in another with names."""
    first, *others = frame.columns
    columns = [first, *(name for name in others if LIKE["names"].fullmatch(name))]
    for turned, names in ((False, adata.obs_names), (True, adata.var_names)):
        for column, (here, there) in product(columns, ENDINGS):
            ours = names.str.replace(here, "", regex=True)
            theirs = pd.Index(frame[column].str.replace(there, "", regex=True))
            if theirs.is_unique and (ours.is_unique or here == there):
                rows = theirs.get_indexer(ours)
                if (rows >= 0).all():
                    return turned, here == there, column, rows
    return None
