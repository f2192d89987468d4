"""Random designs of small files: what a reader has to give back, whoever wrote the file.

Texts come from pools, one for each kind that a reader of tables may take for something else; a
family of files names what its writer can express (:class:`Limits`), and only that is drawn.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from design_times import KINDS, Times, times
from hypothesis import strategies as st

FORMS = ("counts", "lognorm", "pcs")
AMBIENT = "ambient"  #: counts from which ambient RNA was removed: still counts, but with fractions
DTYPES = ("uint8", "uint16", "int32", "int64", "float32", "float64")
LAYOUTS = ("dense", "csr", "csc")

TYPES = {
    "words": ["stem", "blood", "neuron", "gut"],
    "digits": ["0", "1", "2", "10"],
    "padded digits": ["01", "1", "001"],
    "decimals": ["1.0", "1.10", "1.1"],
    "exponents": ["1e3", "1000", "2E5"],
    "logical": ["TRUE", "FALSE"],
    "spaces": ["T cell", "B cell, naive", "NK  cell"],
    "separators": ["a,b", "a;b", "a|b", "CD4+, naive"],
    "quotes": ['the "other"', "5' end", '"quoted"', "it's"],
    "non-ASCII": ["Müller", "naïve", "café"],
    "Greek": ["β cell", "α cell", "神経"],
    "as if missing": ["NA", "nan", "None", "stem"],
    "marks": ["#1", "+", "-", "a/b", "=1+1", "a:b"],
}
#: Texts that a table may also use for "nothing here".
AS_IF_MISSING = {"", "NA", "N/A", "n/a", "nan", "NaN", "None", "NULL", "null", "<NA>", "-", "#N/A"}

CELLS = {
    "barcodes": lambda i: f"{'ACGT'[i % 4]}{'ACGT'[i // 4 % 4]}{'ACGT'[i // 16]}TTG-1",
    "samples": lambda i: f"s{i % 2}:AAAC{i}x",
    "wells": lambda i: f"{1 + i // 10}.{1 + i % 10}",  # 1.1 and 1.10 are two
    "plates": lambda i: f"{1 + i // 8}E{1 + i % 8}",
    "integers": lambda i: str(1000 + 7 * i),
    "numbered": lambda i: str(i),
    "padded integers": lambda i: f"{i:04d}",
    "long integers": lambda i: str(10**17 + i),
    "missing": lambda i: "NA" if i == 3 else f"c{i}",
    "non-ASCII": lambda i: f"Zelle_é{i}",
    "spaces": lambda i: f"cell {i}",
    "words": lambda i: f"cell_{i}",
}

GENES = {
    "symbols": ["Actb", "Pou5f1", "T", "mt-Co1", "HLA-A", "Nkx2-1"],
    "Ensembl": [f"ENSMUSG{51951 + 7 * i:011d}" for i in range(6)],
    "versions": [f"ENSG{i + 5:011d}.{i + 10}" for i in range(6)],
    "begin with a digit": ["7SK", "5S_rRNA", "1700001C02Rik", "2610", "3.1", "7sk"],
    "numbers": ["10", "101", "12", "7", "1001", "99"],
    "as if something else": ["NA", "MARCH1", "SEPT2", "TRUE", "1-Mar", "nan"],
    "marks": ["a/b", "g_1", "g.1", "g|2", "(ct)n", "3'-utr"],
    "spaces": ["gene 1", "gene 2", "heat shock", "a, b", "c;d", "e f"],
    "non-ASCII": ["αSMA", "β-actin", "Müll1", "γH2AX", "é1", "è2"],
}
TWICE = ["7SK", "Actb", "7SK", "Pou5f1", "Actb", "T"]  # where a format allows it
POPULATIONS = {"words": ["p1", "p2"], "digits": ["1", "2"], "padded": ["01", "1"]}


@dataclass(frozen=True)
class Design:
    """What a file holds, told without the file."""

    form: str
    values: np.ndarray  # (cells, genes) float64; every one exact in float32
    dtype: str
    layout: str
    cells: tuple[str, ...]
    genes: tuple[str, ...]
    times: Times
    snapshot: tuple[int, ...]  # (cells,) which of the times
    type_key: str
    types: tuple[str | None, ...]  # (cells,)
    populations: tuple[str, ...] | None = None  # (cells,), in the column "culture"

    @property
    def matrix(self) -> np.ndarray:  # (cells, genes) in the type in which it is stored
        return self.values.astype(self.dtype)

    def obs(self) -> pd.DataFrame:
        """Labels as objects, and times as they stand in the file."""
        columns = {self.times.key: self.times.column(self.snapshot)}
        columns[self.type_key] = np.array(self.types, dtype=object)
        if self.populations is not None:
            columns["culture"] = np.array(self.populations, dtype=object)
        return pd.DataFrame(columns, index=list(self.cells))

    def keys(self) -> dict[str, str]:
        """Options of ``load`` that name the columns."""
        keys = {"time_key": self.times.key, "type_key": self.type_key}
        if self.populations is not None:
            keys["population_key"] = "culture"
        return keys


def a_design(*, types=("stem", "blood"), populations=None, name="words", **changes) -> Design:
    """The simplest of all, but for some changes: 12 cells, three genes, days 0 and 3."""
    plain = Design(
        form="counts",
        values=1.0 + np.arange(36).reshape(12, 3) % 5,
        dtype="int64",
        layout="dense",
        cells=tuple(CELLS[name](i) for i in range(12)),
        genes=("Actb", "Pou5f1", "T"),
        times=Times("day", (0, 3), (0.0, 3.0), "day", dtype="int64"),
        snapshot=(0,) * 6 + (1,) * 6,
        type_key="kind",
        types=tuple(types) * (12 // len(types)),
        populations=None if populations is None else tuple(populations) * 6,
    )
    return replace(plain, **changes)


def anything(_: str) -> bool:
    return True


@dataclass(frozen=True)
class Limits:
    """What the writer of a family can express."""

    forms: tuple[str, ...] = FORMS
    fits: Callable[[str], bool] = anything  #: texts that can be written
    twice: bool = False  #: names of genes may be there twice
    missing: bool = True  #: a cell may have no type
    kinds: tuple[str, ...] = KINDS  #: of times
    dtypes: tuple[str, ...] = DTYPES


@st.composite
def designs(draw, limits: Limits) -> Design:
    chosen_times = draw(times(limits.fits, limits.kinds))
    n_times = len(chosen_times.labels)
    per_time = draw(st.integers(4, 7))
    n_cells = n_times * per_time
    form = draw(st.sampled_from(limits.forms))
    genes = _genes(draw, form, limits)
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    snapshot = np.repeat(np.arange(n_times), per_time)
    if draw(st.booleans()):
        snapshot = rng.permutation(snapshot)
    dtype = draw(st.sampled_from(limits.dtypes))
    if form != "counts" and not dtype.startswith("float"):
        dtype = "float32"
    return Design(
        form="counts" if form == AMBIENT else form,
        values=_values(rng, form, (n_cells, len(genes)), dtype, draw(st.booleans())),
        dtype=dtype,
        layout=draw(st.sampled_from(LAYOUTS)),
        cells=_cells(draw, n_cells, limits.fits),
        genes=genes,
        times=chosen_times,
        snapshot=tuple(snapshot.tolist()),
        type_key=draw(st.sampled_from(["kind", "cell_type", "leiden", "seurat_clusters"])),
        types=_types(draw, rng, n_cells, limits),
        populations=_populations(draw, rng, n_cells),
    )


def _pools(pools: dict[str, list[str]], fits) -> list[list[str]]:
    kept = [[text for text in pool if fits(text)] for pool in pools.values()]
    return [pool for pool in kept if len(pool) > 1]


def _genes(draw, form: str, limits: Limits) -> tuple[str, ...]:
    n_genes = draw(st.integers(3, 6))
    if form == "pcs":
        prefixes = [prefix for prefix in ("PC", "PC_") if limits.fits(prefix)]  # PC_: Seurat's
        prefix = draw(st.sampled_from(prefixes))
        return tuple(f"{prefix}{k + 1}" for k in range(n_genes))
    pools = [pool for pool in _pools(GENES, limits.fits) if len(pool) > 2]
    if limits.twice:
        pools += [TWICE] * 4
    return tuple(draw(st.sampled_from(pools))[:n_genes])


def _cells(draw, n_cells: int, fits) -> tuple[str, ...]:
    kinds = []
    for name in CELLS.values():
        if all(fits(name(i)) for i in range(n_cells)):
            kinds.append(name)
    name = draw(st.sampled_from(kinds))
    return tuple(name(i) for i in range(n_cells))


def _types(draw, rng, n_cells: int, limits: Limits) -> tuple[str | None, ...]:
    letters = st.characters(categories=["L", "N", "P", "S"])
    word = st.text(letters, min_size=1, max_size=6).filter(limits.fits)
    pools = st.sampled_from(_pools(TYPES, limits.fits))
    pool = draw(st.one_of(pools, pools, pools, st.lists(word, min_size=2, max_size=4, unique=True)))
    types = rng.choice(np.array(pool, dtype=object), n_cells)
    if limits.missing and draw(st.integers(0, 4)) == 4:
        types[1] = None
    return tuple(types.tolist())


def _populations(draw, rng, n_cells: int) -> tuple[str, ...] | None:
    pool = draw(st.sampled_from([None, *POPULATIONS.values()]))
    if pool is None:
        return None
    return tuple(rng.choice(np.array(pool, dtype=object), n_cells).tolist())


def _values(rng, form: str, shape: tuple[int, int], dtype: str, large: bool) -> np.ndarray:
    if form == "pcs":
        return rng.normal(size=shape).astype(np.float32).astype(np.float64)
    counts = rng.poisson(2.0, shape)
    counts[:, 0] += 1  # a cell of a real file has counts
    if large:
        most = min(np.iinfo(dtype).max if dtype.startswith(("int", "uint")) else 10**7, 10**7)
        counts[rng.integers(len(counts)), 1] = rng.choice([most, most // 2, 200])
        counts[rng.integers(len(counts)), 2] = min(most, 100000)  # 1e+05 where R writes it
    if form == "counts":
        return counts.astype(np.float64)
    if form == AMBIENT:
        return (counts * rng.uniform(0.8, 1.0, shape)).astype(np.float32).astype(np.float64)
    shares = counts / counts.sum(1, keepdims=True)
    return np.log1p(1e4 * shares).astype(np.float32).astype(np.float64)
