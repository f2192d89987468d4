"""Small files of the layout in which the papers' data are public; none of those is at hand.

Their values are drawn at random: they show that a board runs, never how good anything is.
"""

import gzip
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from scimf.core import paths
from scimf.data import registry
from scipy import sparse

STAGES = [
    "03.3-HIGH",
    "03.8-OBLONG",
    "04.3-DOME",
    "04.8-30%",
    "05.3-50%",
    "06.0-SHIELD",
    "07.0-60%",
    "08.0-75%",
    "09.0-90%",
    "10.0-BUD",
    "11.0-3-Somite",
    "12.0-6-Somite",
]
HOURS = "00_02 01_03 02_04 03_07 04_08 06_10 08_12 10_14 12_16 14_18 16_20".split()
GENES = [f"gene{k}" for k in range(12)]
#: Columns of obs that scLDM conditions on, and the column of the file; "" is the file's name.
CONDITIONS = {
    "dentate_gyrus": {"clusters": "clusters", "cell_type": "clusters"},
    "tabula_muris": {"tissue": "tissue"},
    "hlca": {"cell_type": "cell_type"},
    "parse_1m": {"cell_type": "cell_type", "cytokine": "cytokine"},
    "replogle": {"cell_line": "", "gene": "gene"},
}


def counts(n: int, seed: int = 0) -> np.ndarray:  # (n, genes), whole
    """Random counts."""
    return np.random.default_rng(seed).poisson(1.5, (n, len(GENES))).astype(np.float32)


def places(name: str) -> list[Path]:
    """Where the files of a set belong; their folder is made."""
    found = [paths.DATA / row["file"] for row in registry.entries()[name]["files"]]
    found[0].parent.mkdir(exist_ok=True)
    return found


def _write_table(path, frame, **options):
    frame.to_csv(path, sep="\t", **options)


def write_zebrafish(per_stage: int = 4) -> None:
    """Write a dense table of log2 values, genes by cells, and the portal's table of cells."""
    matrix, meta = places("zebrafish")
    stages = np.repeat(STAGES, per_stage)
    cells = [f"ZF_DS5_{i:04d}" for i in range(len(stages))]
    values = np.log2(1 + counts(len(cells)).T)
    _write_table(matrix, pd.DataFrame(values, index=pd.Index(GENES, name="GENE"), columns=cells))
    obs = pd.DataFrame({"NAME": cells, "Stage": stages, "Segment": "1"})
    obs["Lineage_Notochord"] = np.where(np.arange(len(cells)) % 2, "TRUE", "FALSE")
    obs["Lineage_Spinal_Cord"] = np.where(np.arange(len(cells)) % 3, "FALSE", "TRUE")
    second_header = pd.DataFrame([["TYPE", *["group"] * 4]], columns=obs.columns)
    in_another_order = obs[::-1]
    _write_table(meta, pd.concat([second_header, in_another_order]), index=False)


def write_reprogramming(cells_a_day: Sequence[int] = (30,) * 19, n_genes: int = 12) -> None:
    """Write an h5ad of log values and a table of days; a tenth of the cells is read."""
    matrix, days = places("reprogramming")
    half = np.where(np.arange(sum(cells_a_day)) % 2, 0.5, 0)
    day = np.repeat(np.arange(19), cells_a_day) + half
    cells = np.array([f"D{d}_C1_{i}" for i, d in enumerate(day)])
    rng = np.random.default_rng(0)
    shape = (len(cells) + 2, n_genes)  # two cells have no day
    x = sparse.random(*shape, 0.5, format="csr", dtype=np.float32, rng=rng)
    obs = pd.DataFrame(index=[*cells, "undated1", "undated2"])
    var = pd.DataFrame(index=[f"g{k}" for k in range(n_genes)])
    ad.AnnData(x, obs=obs, var=var).write_h5ad(matrix)
    _write_table(days, pd.DataFrame({"id": cells, "day": day}), index=False)


def write_pancreas(per_week: int = 6, scale: float = 1.0) -> None:
    """Write a table of counts, cells by genes, and a table of cells."""
    matrix, meta = places("pancreas")
    week = np.repeat(np.arange(8), per_week)
    cells = [f"S5d{w}.{i:05d}" for i, w in enumerate(week)]
    names = pd.Index(cells, name="# library.barcode")
    _write_table(matrix, pd.DataFrame(scale * counts(len(cells)), index=names, columns=GENES))
    obs = {
        "library.barcode": cells,
        "Differentiation": 1 + week % 2,
        "CellWeek": week,
        "Assigned_cluster": "sc_beta",
    }
    _write_table(meta, pd.DataFrame(obs)[::-1], index=False)


def write_drosophila(per_window: int = 80) -> None:
    """Write a matrix of counts and two tables; a twentieth of the cells is read."""
    matrix, rows, columns = places("drosophila")
    window = np.repeat([f"hrs_{hours}" for hours in HOURS], per_window)
    entries = sparse.coo_matrix(counts(len(window)).T)  # (genes, cells)
    lines = ["%%MatrixMarket matrix coordinate integer general", "%"]
    lines.append(f"{len(GENES)} {len(window)} {entries.nnz}")
    parts = (entries.row + 1, entries.col + 1, entries.data.astype(int))
    for gene, cell, value in zip(*parts, strict=True):
        lines.append(f"{gene} {cell} {value}")
    with gzip.open(matrix, "wt") as file:
        file.write("\n".join(lines) + "\n")
    _write_table(rows, pd.DataFrame(GENES), index=False, header=False)
    obs = {"cell": [f"CELL{i}" for i in range(len(window))], "exp": "exp1", "time": window}
    _write_table(columns, pd.DataFrame(obs), index=False)


def write_conditions(
    name: str, *, cells: int = 40, labels: Mapping[str, Sequence[str]] | None = None, **changes
) -> None:
    """Write a set of scLDM.

    Parameters
    ----------
    name
        The set.
    cells
        Cells in each of its files.
    labels
        Values of columns of ``obs``, all combinations equally often; by default two values of every
        column, which go together.
    changes
        Attributes of each file's AnnData.
    """
    number = np.arange(cells)
    for i, file in enumerate(places(name)):
        obs = pd.DataFrame(index=[f"c{k}" for k in number])
        for column in set(CONDITIONS[name].values()) - {""}:
            obs[column] = pd.Categorical(np.where(number % 2, f"{column} a", f"{column} b"))
        repeats = 1
        for column, values in (labels or {}).items():
            obs[column] = pd.Categorical(np.array(values)[number // repeats % len(values)])
            repeats *= len(values)
        var = pd.DataFrame(index=GENES)
        adata = ad.AnnData(sparse.csr_matrix(counts(cells, i)), obs=obs, var=var)
        if name in ("tabula_muris", "hlca"):
            adata.layers["X_counts"] = adata.X
            adata.X = adata.X.log1p()
        if name == "replogle":
            adata.X = adata.X.toarray()
        for key, value in changes.items():
            setattr(adata, key, value)
        adata.write_h5ad(file)


WRITERS = {
    "zebrafish": write_zebrafish,
    "reprogramming": write_reprogramming,
    "pancreas": write_pancreas,
    "drosophila": write_drosophila,
}
#: Of each time course: one of its named splits, its times, and the cells at each.
TIMES = {
    "zebrafish": [3.3, 3.8, 4.3, 4.8, 5.3, 6, 7, 8, 9, 10, 11, 12],
    "drosophila": [1, 2, 3, 5, 6, 8, 10, 12, 14, 16, 18],
}
TIME_COURSES = {
    "zebrafish": ("remove_recovery", TIMES["zebrafish"], [4] * 12),
    "reprogramming": ("three_interpolation", range(19), [3] * 19),
    "pancreas": ("leaveout4", range(8), [6] * 8),
    "drosophila": ("three_forecasting", TIMES["drosophila"], [4] * 11),
}
#: What the boards of report `papers` need beside the layout: cells enough to be halved, and
#: combinations of conditions that can be held out.
ENOUGH = {
    "zebrafish": lambda: write_zebrafish(per_stage=16),
    "reprogramming": lambda: write_reprogramming((160,) * 19),
    "pancreas": lambda: write_pancreas(per_week=16),
    "drosophila": lambda: write_drosophila(per_window=320),
    "dentate_gyrus": lambda: write_conditions("dentate_gyrus"),
    "tabula_muris": lambda: write_conditions("tabula_muris", cells=80),
    "hlca": lambda: write_conditions("hlca", cells=80),
    "parse_1m": lambda: write_conditions(
        "parse_1m",
        cells=180,
        labels={"cell_type": ("CD4 Naive", "NK"), "cytokine": ("PBS", "IL-2", "IL-4")},
    ),
    "replogle": lambda: write_conditions(
        "replogle", cells=90, labels={"gene": ("non-targeting", "TP53", "MYC")}
    ),
}


@contextmanager
def look_alike_cache(folder: Path | None) -> Iterator[None]:
    """While entered, look-alikes of all sets lie in ``folder``, which stands for the data cache.

    With None nothing is written and the cache is the real one.
    """
    real = paths.DATA
    if folder is None:
        yield
        return
    try:
        paths.DATA = folder
        folder.mkdir(parents=True, exist_ok=True)
        for write in ENOUGH.values():
            write()
        yield
    finally:
        paths.DATA = real
