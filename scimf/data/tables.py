"""Tables of text with one row per cell: which columns are names, genes and labels."""

import re
import tomllib
from collections import Counter
from collections.abc import Sequence
from fnmatch import translate
from pathlib import Path
from typing import NamedTuple

import anndata as ad
import numpy as np
import pandas as pd

from scimf.data.blocks import BLOCK, DataFile
from scimf.data.text_table import EXPECTED, NUMBER, WITH_COMMA, WITH_POINT, TextTable, open_table

LABELS = ("cell_type", "population", "batch")  #: columns that are texts, whatever they hold
MISSING = ("", "NA", "N/A", "#N/A", "NaN", "nan", "<NA>")  #: how a label that is missing is written
PLAIN = r"-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?"  #: numbers, but no "01" and no "1,5"
GROUPED = re.compile(r"[-+]?\d{1,3}([,'’ ]\d{3})+([.,]\d+)?")  # 1,234: is it 1234 or 1.234?
_KNOWN = tomllib.loads(Path(__file__).with_name("columns.toml").read_text("utf-8"))
#: By "names", "genes" and "labels": which headings are such columns.
LIKE = {kind: re.compile("|".join(map(translate, like)), re.I) for kind, like in _KNOWN.items()}


class TableChoices(NamedTuple):
    """What the user decided about the columns of a table."""

    time: str = "time"  #: column with the times
    keys: tuple[str, ...] = ()  #: columns with the cell type, the population and the batch
    genes: str | Sequence[str] | None = None  #: names, ``prefix*`` or ``first:last``; no others
    labels: str | Sequence[str] | None = None  #: likewise; all other numbers are genes
    sep: str | None = None  #: see :func:`scimf.data.text_table.open_table`

    @property
    def texts(self) -> set[str]:
        """Columns that are kept exactly as written."""
        return {*self.keys, *LABELS}


AS_FOUND = TableChoices()  #: the user decided nothing


class _Roles(NamedTuple):
    """What the columns of a table are."""

    names: list[str]  #: what may be the names of the cells, the likeliest first
    genes: list[str]
    dropped: list[str]
    decided: bool  #: whether the user said which are genes


def read_table(path: Path, choices: TableChoices, notes: list[str]) -> ad.AnnData:
    """Read a table with one row per cell; what was done is added to ``notes``.

    One with a row per gene is turned, if the first heading says so or a row holds the times.
    """
    table = open_table(path, choices.sep, notes)
    DataFile(path).require_unique(table.columns, "columns")
    if not table.row_names:
        raise ValueError(f"{path}: 0 rows, {EXPECTED}")
    _require_header(table)
    by_gene = choices.time not in table.columns and LIKE["genes"].fullmatch(table.columns[0])
    head, blocks = table.head, None
    if choices.time not in table.columns and choices.time in table.row_names:
        DataFile(path).require_unique(table.row_names, "rows")
        head = table.frame().set_index(table.columns[0]).T.reset_index(names="")
        by_gene, blocks = False, [head]
        notes.append(f"Turned {path.name}, where {choices.time!r} and the genes are rows.")
    roles = _roles_of(head, table.decimal, choices, path, notes)
    genes = set(roles.genes)
    texts = [name for name in head if name not in genes]
    parts, labels = [], []
    for block in blocks or table.blocks(texts):
        parts.append(_values(block, roles, table.decimal, path))
        labels.append(block[texts])
    x = np.concatenate(parts)  # (cells, genes)
    labels = pd.concat(labels, ignore_index=True)
    if not roles.decided and not by_gene:
        _require_one_kind(x, roles.genes, path)
    names, used = _names_of(labels, roles, notes)
    unused = [*roles.dropped, *used]
    obs = as_obs(labels.drop(columns=unused), choices).set_axis(names)
    adata = ad.AnnData(x, obs=obs, var=pd.DataFrame(index=roles.genes))
    if by_gene:
        notes.append(f"Turned {path.name}: its first column is {table.columns[0]!r}.")
        return adata.T.copy()
    some = f"{len(roles.genes)} columns as genes, from {roles.genes[0]!r} to {roles.genes[-1]!r}"
    notes.append(f"Took {some}, and {list(obs)} as labels.")
    return adata


# -------------------------------------------------------------------------- roles of the columns


def _require_header(table: TextTable) -> None:
    """Refuse a first line that holds values."""
    first, *others = table.columns
    named = LIKE["names"].fullmatch(first) or LIKE["genes"].fullmatch(first)
    values = not named and all(NUMBER.fullmatch(name) for name in others)
    if values and (NUMBER.fullmatch(first) or any("." in name for name in others)):
        found = f"the first line holds numbers, such as {others[0]!r}"
        raise ValueError(f"{table.path}: {found}, expected the names of the columns")


def _roles_of(
    head: pd.DataFrame, decimal: str, choices: TableChoices, path: Path, notes: list[str]
) -> _Roles:
    """Decide from the first rows, and from what the user said, what each column is."""
    columns = list(head)
    numbers = _numbers_in(pd.Series(head.to_numpy(dtype=object).ravel()), decimal)
    numbers = pd.DataFrame(numbers.to_numpy().reshape(head.shape), columns=columns)
    filled = (~head.isin(MISSING)).sum()
    texts = {name for name in columns if 2 * numbers[name].count() <= filled[name]}
    keys = {choices.time, *choices.texts} & set(columns)
    known = {name for name in columns if LIKE["labels"].fullmatch(name)}

    plain = [name for name in columns if name not in keys and not LIKE["names"].fullmatch(name)]
    numeric = [name for name in plain if name not in texts]
    chosen = _chosen(choices.genes, "genes", columns, numeric, path)
    others = _chosen(choices.labels, "labels", columns, plain, path)
    taken = keys | set(chosen or []) | set(others or [])

    names = [name for name in columns if LIKE["names"].fullmatch(name) and name not in taken]
    first = columns[0]
    if first not in taken | known | set(names) and (first in texts or _counts_up(numbers[first])):
        names.insert(0, first)
    names.sort(key=lambda name: _counts_up(numbers[name]))  # row numbers last

    dropped = []
    if chosen is not None:
        genes = [name for name in chosen if name not in {*keys, *(others or [])}]
        if others is not None:
            kept = {*genes, *others, *keys, *names}
            dropped = [name for name in columns if name not in kept]
    else:
        never = taken | known | texts | set(names)
        genes = [name for name in columns if name not in never]
        undecided = texts - known - taken - set(names)
        unknown = [name for name in plain if name in undecided]
        _require_plain_numbers(head[unknown], decimal, path)
    if not genes:
        found = f"no column of numbers besides {columns[:5]}"
        raise ValueError(f"{path}: {found}, expected one per gene or PC (genes=..., GENES=)")
    if dropped:
        notes.append(f"Dropped {len(dropped)} columns that are neither genes nor labels.")
    known = known - texts - taken - set(genes)
    numeric_labels = [name for name in columns if name in known]
    if numeric_labels:
        notes.append(f"Took {numeric_labels} as labels by their names (GENES= decides otherwise).")
    return _Roles(names, genes, dropped, (choices.genes, choices.labels) != (None, None))


def _numbers_in(texts: pd.Series, decimal: str) -> pd.Series:
    """Numbers with this decimal sign, NaN for other texts."""
    texts = texts.astype(str)
    if decimal == ",":
        texts = texts.str.translate(str.maketrans(",.", ".?"))
    return pd.to_numeric(texts, errors="coerce")


def _counts_up(numbers: pd.Series) -> bool:
    """Whether they are row numbers: 0, 1, 2, ... from any start."""
    return len(numbers) > 2 and bool((numbers.diff().iloc[1:] == 1).all())


def _chosen(
    asked: str | Sequence[str] | None, option: str, columns: list[str], plain: list[str], path: Path
) -> list[str] | None:
    """Columns that a user named; patterns and ranges choose among ``plain`` ones."""
    if asked is None:
        return None
    if isinstance(asked, str):
        asked = [asked] if asked in columns else [part.strip() for part in asked.split(",")]
    found, unknown = set(), []
    for part in filter(None, asked):
        names = _matching(part, columns, plain)
        found.update(names)
        if not names:
            unknown.append(part)
    if unknown:
        there = f"expected columns, such as {columns[:6]}"
        raise ValueError(f"{path}: {option}= names {unknown[:3]}, which are not there; {there}")
    return [name for name in columns if name in found]


def _matching(part: str, columns: list[str], plain: list[str]) -> list[str]:
    """Columns that ``name``, ``first:last`` or ``prefix*`` stands for."""
    if part in columns:
        return [part]
    for colon in re.finditer(":", part):
        first, last = part[: colon.start()], part[colon.end() :]
        if first in columns and last in columns:
            between = columns[columns.index(first) : columns.index(last) + 1]
            return [name for name in between if name in {first, last, *plain}]
    pattern = ".*".join(map(re.escape, part.split("*")))
    return [name for name in plain if re.fullmatch(pattern, name)]


def _require_plain_numbers(texts: pd.DataFrame, decimal: str, path: Path) -> None:
    """Refuse what may be numbers with other signs than the rest has."""
    other = WITH_COMMA if decimal == "." else WITH_POINT
    for name, column in texts.items():
        for value in column:
            if GROUPED.fullmatch(value) or other.fullmatch(value):
                found = f"column {name!r} holds {value!r}, expected numbers like 1234.5 or, in "
                found += f"all columns, like 1234,5 (a label? labels=..., LABELS={name})"
                raise ValueError(f"{path}: {found}")


def _require_one_kind(x: np.ndarray, genes: list[str], path: Path) -> None:
    """Ask about columns that are unlike the others: they may be no genes."""
    fractions, used, negative = (np.zeros(len(genes), int) for _ in range(3))
    for start in range(0, len(x), BLOCK):
        block = x[start : start + BLOCK]
        fractions += (block != np.rint(block)).sum(axis=0)
        used += (block != 0).sum(axis=0)
        negative += (block < 0).sum(axis=0)
    # A few values may be whole by chance, among fractions of few digits.
    whole = (used > 3) & (fractions == 0)
    odd, found = _fewer(fractions > 0, whole), "hold fractions or whole numbers"
    if not odd.any():
        # Expression has zeros; PCs and states do not, and may have any sign.
        sparse = (negative == 0) & (used < len(x))
        odd, found = _fewer(negative > 0, sparse), "hold negative values or none"
    if not odd.any():
        odd, found = _unlike(genes), "are named"
    if odd.any():
        columns = [name for name, is_odd in zip(genes, odd, strict=True) if is_odd]
        raise ValueError(
            f"{path}: {len(columns)} columns, such as {columns[:3]}, {found} unlike the other "
            f"{len(genes) - len(columns)}, so they may be no genes; expected genes=... or "
            f"labels=... to say which are (such as LABELS={columns[0]})"
        )


def _fewer(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Whichever are fewer, if there are columns of both kinds; (columns,) of bool."""
    if not some.any() or not others.any():
        return np.zeros(len(some), bool)
    return some if some.sum() <= others.sum() else others


def _unlike(genes: list[str]) -> np.ndarray:
    """Single names beside a numbered series (``PC1``, ``PC2``, ...) or Ensembl's; (columns,)."""
    stems = [re.split(r"\d", name)[0] for name in genes]
    counts = Counter(stems)
    stem, size = counts.most_common(1)[0]
    series = [name.removeprefix(stem) for name in genes if name.startswith(stem)]
    numbers = sorted(int(number) for number in series if number.isdecimal())
    is_series = numbers == list(range(numbers[0], numbers[0] + size)) if numbers else False
    if size < 10 or size < 0.9 * len(genes) or not (is_series or stem.startswith("ENS")):
        return np.zeros(len(genes), bool)
    return np.array([other != stem and counts[other] == 1 for other in stems])


# ------------------------------------------------------------------------------ values and labels


def _values(block: pd.DataFrame, roles: _Roles, decimal: str, path: Path) -> np.ndarray:
    """Turn some rows into numbers (rows, genes) float32; name the first that is none."""
    numbers = block[roles.genes]
    texts = [name for name, dtype in numbers.dtypes.items() if dtype.kind not in "iuf"]
    numbers = numbers.assign(**{name: _numbers_in(block[name], decimal) for name in texts})
    with np.errstate(over="ignore"):
        values = numbers.to_numpy(np.float32)
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        row, column = bad[0]
        gene = roles.genes[column]
        name = block.iloc[row][roles.names[0]] if roles.names else f"{block.index[row] + 1}"
        value = str(block[gene].iloc[row])
        found = "is missing" if value in MISSING else f"holds {value!r}"
        where = f"{path}: column {gene!r}, row {name!r}"
        raise ValueError(f"{where} {found}, expected a number (a label? labels=..., LABELS={gene})")
    return values


def _names_of(
    labels: pd.DataFrame, roles: _Roles, notes: list[str]
) -> tuple[list[str], list[str]]:  # (cells,), and the columns that are used up
    """Names of the cells, as written; ``cell0``, ... where no column has a name for each."""
    unique = [name for name in roles.names if labels[name].is_unique]
    used = [name for name in roles.names if re.fullmatch(r"|Unnamed: \d+", name)]
    if not unique and roles.names and LIKE["names"].fullmatch(roles.names[0]):
        if not labels[roles.names[0]].str.fullmatch(r"\d*").all():
            unique = roles.names  # refused with all names that are there twice
    if not unique:
        if roles.names:
            notes.append(f"Column {roles.names[0]!r} has no name for each cell: they are numbered.")
        return [f"cell{i}" for i in range(len(labels))], used
    column = unique[0]
    if column != labels.columns[0] or labels[column].str.fullmatch(r"[\d.]+").all():
        notes.append(f"Took column {column!r} as names of the cells, as written.")
    return labels[column].tolist(), list({column, *used})


def as_obs(labels: pd.DataFrame, choices: TableChoices) -> pd.DataFrame:
    """Turn texts into numbers where nothing is lost by it, and missing ones into NaN."""
    columns = {}
    for name, texts in labels.items():
        present = texts.mask(texts.isin(MISSING))
        known = present.dropna()
        if name == choices.time:
            commas = known.str.fullmatch(WITH_COMMA)
            if commas.any() and known[~commas].str.fullmatch(r"[-+]?\d+").all():
                present = present.str.replace(",", ".")
            is_numeric = all(NUMBER.fullmatch(text) for text in present.dropna().unique())
        else:
            is_numeric = name not in choices.texts and known.str.fullmatch(PLAIN).all()
        columns[name] = present.astype(float) if is_numeric else present
    return pd.DataFrame(columns, index=labels.index)
