"""Before any long work: what was found in the data, what will be done, and what is doubtful."""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from scimf.interaction.design_check import cannot_be_told
from scimf.interaction.plan import Design, plan_experiment

if TYPE_CHECKING:
    from anndata import AnnData

    from scimf.data.split import Split

#: Cells at a time; a convention: a score takes half of them for the truth and half for its floor.
FEW_CELLS = 100
FEW_OF_A_TYPE = 20
GROWTH = 1.5  #: change of the number of cells between two times that is worth a word
UNEVEN = 3.0  #: largest over smallest gap between times
DEPTH = 2.0  #: largest over smallest median depth of a time
MOST_LISTED = 8  #: values of a column of ``obs``
MOST_NAMED = 5  #: in a doubt
ENOUGH = 0.8  #: power
VARIED = 4  #: times as frequent or as rare, in populations that are advised
LEAST_HELD = 4  #: cells of a held-out snapshot, with fewer :func:`scimf.evaluate` has no floor
TIGHT = 2.0  #: times what is needed; with less than this a machine is doubted
BESIDE_CELLS = 200 * 2**20  #: bytes on disk for fits, figures and the report
MEBIBYTE = 2**20

#: What, and what is said of it.
Finding = tuple[str, str]


def examine(
    adata: "AnnData",
    split: "Split",
    *,
    n_pcs: int = 50,
    n_genes: int = 2000,
    output: Path | None = None,
) -> pd.DataFrame:
    """Examine data from :func:`scimf.load`, without fitting anything.

    Parameters
    ----------
    adata, split
        The data, and what will be held out.
    n_pcs, n_genes
        As they will be given to :func:`scimf.fit_space`.
    output
        The ``.h5ad`` that will hold ``adata`` and the results. It is tried: ``adata`` is written
        beside it, read, and removed. A file that is there stays as it is.

    Returns
    -------
    DataFrame
        ``part`` ("found", "will be done", "doubtful"), ``what`` and ``says``, one row per finding.

    Raises
    ------
    ValueError
        Something would stop the work at its end: a held-out snapshot of too few cells to be scored,
        data that cannot be written, too little memory or room on the disk.
    """
    _require_scorable(adata, split)
    plan = _plan(adata, split, n_pcs, n_genes)
    doubts = []
    for check in DOUBTS:
        doubts += check(adata)
    doubts += _memory(adata, split, n_pcs, n_genes)
    if output is not None:
        size, doubts_on_disk = _try_output(adata, output, n_pcs)
        plan.append(("results", f"{output.name}, {size / MEBIBYTE:,.0f} MiB before the results"))
        doubts += doubts_on_disk
    doubts += [("as loaded", str(text)) for text in adata.uns["scimf"].get("warnings", ())]
    parts = {
        "found": _found(adata),
        "will be done": plan,
        "doubtful": doubts or [("nothing", "no doubt was raised")],
    }
    rows = []
    for part, findings in parts.items():
        rows += [(part, *finding) for finding in findings]
    return pd.DataFrame(rows, columns=["part", "what", "says"])


def _found(adata: "AnnData") -> list[Finding]:
    about = adata.uns["scimf"]
    detected = str(about.get("detected", f"Form {about['form']}, as registered."))
    listed = ", ".join(f"{t:g}: {n:,} cells" for t, n in _cells_by_time(adata).items())
    one = "none named: all cells are taken for one"
    return [
        ("values", f"{adata.n_obs:,} cells x {adata.n_vars:,} columns. {detected}"),
        (f"times ({about['time_unit']})", listed),
        ("cell types", _listed(adata, "cell_type", absent="none named")),
        ("populations", _listed(adata, "population", absent=one)),
        ("batches", _listed(adata, "batch", absent=one)),
    ]


def _listed(adata: "AnnData", key: str, *, absent: str) -> str:
    """How many values a column has, and how many cells the most frequent ones have."""
    if key not in adata.obs:
        return absent
    counts = adata.obs[key].value_counts()
    listed = ", ".join(f"{name}: {n:,}" for name, n in counts.head(MOST_LISTED).items())
    more = ", ..." if len(counts) > MOST_LISTED else ""
    return f"{len(counts)}: {listed}{more}"


def _plan(adata: "AnnData", split: "Split", n_pcs: int, n_genes: int) -> list[Finding]:
    train = int(split.train_mask(adata).sum())
    held = [f"time {t:g}" for t in split.held_times]
    held += [f"population {p}" for p in split.held_populations]
    named = ", ".join(held) or "nothing"
    coordinates, needed = _coordinates(adata, train, n_pcs, n_genes)
    values = _bytes(adata.X) / MEBIBYTE
    more = f"about {needed / MEBIBYTE:,.0f} MiB more are needed for coordinates"
    return [
        ("held out", f"{named}; {train:,} cells are left for training"),
        ("coordinates", coordinates),
        ("memory", f"{values:,.0f} MiB hold the values, {more}"),
    ]


def _coordinates(adata: "AnnData", train: int, n_pcs: int, n_genes: int) -> tuple[str, float]:
    """How coordinates will be made, and how many bytes that needs."""
    form = adata.uns["scimf"]["form"]
    if form in ("pcs", "state"):
        n = min(n_pcs, adata.n_vars)
        return f"the first {n} columns as they are; no way back to genes", 0.0
    steps = "10,000 counts a cell, log1p, " if form == "counts" else ""
    n = min(n_genes, adata.n_vars)
    how = f"{steps}{n:,} variable genes, scaled, {min(n_pcs, n)} PCs; all of training cells"
    # The dense training matrix in single precision, twice during the PCA.
    return how, 8.0 * train * n


def _bytes(x: np.ndarray | sparse.spmatrix) -> int:
    if sparse.issparse(x):
        return x.data.nbytes + x.indices.nbytes
    return np.asarray(x).nbytes


def _cells_by_time(adata: "AnnData") -> pd.Series:
    return adata.obs["time"].value_counts().sort_index()


def _few_cells(adata: "AnnData") -> list[Finding]:
    cells = _cells_by_time(adata)
    few = cells[cells < FEW_CELLS]
    if few.empty:
        return []
    which = ", ".join(f"{t:g} ({n})" for t, n in few.items())
    noise = f"Fewer than {FEW_CELLS} cells at {which}: scores there are mostly noise."
    return [("few cells", noise)]


def _few_times(adata: "AnnData") -> list[Finding]:
    if len(_cells_by_time(adata)) >= 3:
        return []
    between = "With two times nothing between them can be held out: no prediction can be checked."
    return [("few times", between)]


def _uneven_times(adata: "AnnData") -> list[Finding]:
    gaps = np.diff(np.unique(adata.obs["time"]))
    if len(gaps) < 2 or gaps.max() <= UNEVEN * gaps.min():
        return []
    unit = adata.uns["scimf"]["time_unit"]
    guessed = f"Gaps from {gaps.min():g} to {gaps.max():g} ({unit}): the long are guessed."
    return [("uneven times", guessed)]


def _batches(adata: "AnnData") -> list[Finding]:
    """Batches that no time joins."""
    if "batch" not in adata.obs:
        return []
    there = _there(adata, "batch")
    met = there.to_numpy().astype(int)
    n, group = connected_components(sparse.csr_matrix(met @ met.T))
    if n == 1:
        return []
    named = []
    for k in range(min(n, MOST_NAMED)):
        part = there.loc[group == k]
        when = ", ".join(f"{t:g}" for t in part.columns[part.any()])
        named.append(f"{', '.join(part.index[:MOST_NAMED])} (at {when})")
    apart = f"No time joins {' with '.join(named)}: a batch effect looks like a change."
    return [("batch and time", apart)]


def _there(adata: "AnnData", key: str) -> pd.DataFrame:
    """Which values of a column (rows) there are at which times (columns)."""
    return pd.crosstab(adata.obs[key].astype(str), adata.obs["time"].to_numpy(float)) > 0


def _growth(adata: "AnnData") -> list[Finding]:
    cells = _cells_by_time(adata)
    ratio = cells.to_numpy()[1:] / cells.to_numpy()[:-1]
    change = np.maximum(ratio, 1 / ratio)
    if not len(change) or change.max() <= GROWTH:
        return []
    k = int(change.argmax())
    (before, first), (after, then) = list(cells.items())[k : k + 2]
    numbers = f"Cells change from {first:,} to {then:,} from {before:g} to {after:g}."
    if "mass" in adata.obs:
        done = "obs['mass'] says how the population grew, so that the model lets cells multiply."
        return [("growth or death", f"{numbers} {done}")]
    cause = "If the culture did that, not the sampling, cells divide or die: it looks like motion."
    advice = "Write the cells of each population, relative to its start, into obs['mass']:"
    effect = "then growth is learned, too (chapter 6)."
    return [("growth or death", f"{numbers} {cause} {advice} {effect}")]


def _depth(adata: "AnnData") -> list[Finding]:
    """Cells without counts, and times of other depth."""
    if adata.uns["scimf"]["form"] != "counts":
        return []
    rows = []
    total = pd.Series(np.asarray(adata.X.sum(axis=1)).ravel())
    if empty := int((total == 0).sum()):
        place = f"{empty} cells have no count at all; they all sit in one place. Drop them."
        rows.append(("empty cells", place))
    depth = total.groupby(adata.obs["time"].to_numpy(float)).median()
    if depth.min() > 0 and depth.max() > DEPTH * depth.min():
        low = f"{depth.min():,.0f} (time {depth.idxmin():g})"
        high = f"{depth.max():,.0f} ({depth.idxmax():g})"
        limit = "genes near the limit of detection come and go with it."
        rows.append(("depth", f"Median counts of a cell go from {low} to {high}: {limit}"))
    return rows


def _types(adata: "AnnData") -> list[Finding]:
    if "cell_type" not in adata.obs:
        absent = "No cell types: who influences whom can be asked of cells, not of types."
        return [("types", absent)]
    rows = []
    counts = adata.obs["cell_type"].value_counts()
    rare = counts[counts < FEW_OF_A_TYPE]
    if len(rare):
        named = ", ".join(map(str, rare.index[:MOST_NAMED]))
        rows.append(("rare types", f"{named}: fewer than {FEW_OF_A_TYPE} cells."))
    there = _there(adata, "cell_type")
    if there.shape[1] > 1 and (there.sum(axis=1) == 1).all():
        disguise = "Every type is there at one time only: the labels may be times in disguise."
        rows.append(("types", disguise))
    return rows


def _interaction(adata: "AnnData") -> list[Finding]:
    """Say why nothing can be told of who moves whom, or which pairs, and what to add."""
    rows = []
    if why := cannot_be_told(adata):
        rows.append(("interaction", f"Not identifiable here. {why}"))
    if "cell_type" not in adata.obs:
        return rows
    counts = adata.obs["cell_type"].value_counts()
    frequent = adata.obs["cell_type"].isin(counts.index[counts >= FEW_OF_A_TYPE])
    obs = adata.obs[frequent.to_numpy()]
    if obs["cell_type"].nunique() < 2 or obs["time"].nunique() < 2:
        return rows
    measured = Design.of(ad.AnnData(obs=obs))
    plan = plan_experiment(measured)
    n_told = _n_told(plan)
    if n_told == len(plan):
        return rows
    given = "By numbers of cells, if types lie three standard deviations apart,"
    says = f"{given} {n_told} of {len(plan)} pairs of types can be told."
    return [*rows, ("who moves whom", f"{says} {_what_to_add(measured, plan)}".strip())]


def _n_told(plan: pd.DataFrame) -> int:
    return int((plan["verdict"] == "told").sum())


def _what_to_add(measured: Design, plan: pd.DataFrame) -> str:
    """One sentence: more populations like these, other ones, or more cells of some types."""
    weak = plan[plan["power"] < ENOUGH]
    if weak.empty:
        return "The others are found, but not how strong they are."
    if weak["populations"].notna().all():
        n = f"{weak['populations'].max():.0f} populations like these {len(measured.density)}"
        return f"With {n}, each of the others would be found four times out of five."
    varied = measured.varied(VARIED)
    if (n_told := _n_told(plan_experiment(varied))) > _n_told(plan):
        return (
            f"With {len(varied.density)} populations of as many cells, in which each type in turn "
            f"is {VARIED} times as frequent or as rare, {n_told} could."
        )
    rare = weak.loc[weak["populations"].isna(), "receiver"].unique()
    return f"For the others, more cells are needed of {', '.join(map(str, rare[:MOST_NAMED]))}."


#: Each takes the data and returns its doubts, in the order in which they are reported.
DOUBTS = (_few_cells, _few_times, _uneven_times, _batches, _growth, _depth, _types, _interaction)


# ------------------------------------------------------------- what would stop work at its end


def _name_of(adata: "AnnData") -> str:
    """File that the data are from, for the beginning of an error."""
    files = np.atleast_1d(adata.uns["scimf"].get("files", "data"))
    return str(files[0])


def _require_scorable(adata: "AnnData", split: "Split") -> None:
    """Refuse a held-out snapshot whose score cannot be computed."""
    keys = [key for key in ("population", "time") if key in adata.obs]
    cells = adata.obs[split.held_mask(adata)].groupby(keys, observed=True).size()
    few = cells[cells < LEAST_HELD]
    if few.empty:
        return
    first = few.rename("cells").reset_index().iloc[0]
    which = f"{first['cells']:g} cells at held-out time {first['time']:g}"
    if "population" in first:
        which += f" of population {first['population']!r}"
    fewest = adata.obs.groupby(keys, observed=True).size().groupby("time").min().iloc[1:]
    enough = [f"{t:g}" for t in fewest.index[fewest >= LEAST_HELD]]
    advice = f"hold out another time, of {', '.join(enough)}" if enough else "take more cells"
    needs = f"a score needs at least {LEAST_HELD}"
    raise ValueError(f"{_name_of(adata)}: obs['time'] has {which}, {needs}; {advice}")


def _memory(adata: "AnnData", split: "Split", n_pcs: int, n_genes: int) -> list[Finding]:
    """Refuse what this machine cannot hold, doubt what it hardly can."""
    train = int(split.train_mask(adata).sum())
    needed = _coordinates(adata, train, n_pcs, n_genes)[1]
    free = _free_memory()
    if free is None or needed * TIGHT <= free:
        return []
    numbers = f"{needed / MEBIBYTE:,.0f} MiB of memory, {free / MEBIBYTE:,.0f} MiB are free"
    if needed > free:
        raise ValueError(
            f"{_name_of(adata)}: coordinates of {train:,} training cells need about {numbers}; "
            "take a part of the cells or a larger machine"
        )
    return [("memory", f"Coordinates need about {numbers}: close other programs.")]


def _free_memory() -> float | None:
    """Bytes that programs can still have, swap included; None if the system does not tell."""
    info = Path("/proc/meminfo")
    if not info.is_file():
        return None
    kibibytes = dict(line.split()[:2] for line in info.read_text().splitlines())
    return 1024.0 * sum(int(kibibytes.get(key, 0)) for key in ("MemAvailable:", "SwapFree:"))


def _try_output(adata: "AnnData", output: Path, n_pcs: int) -> tuple[int, list[Finding]]:
    """Write the data once, empty of results; return the size of the file, and doubts."""
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=output.parent) as beside:
            trial = Path(beside) / output.name
            adata.write_h5ad(trial)
            ad.read_h5ad(trial, backed="r").file.close()
            size = trial.stat().st_size
    except Exception as error:
        reason = " ".join("; ".join([str(error), *getattr(error, "__notes__", ())]).split())
        problem = f"what was read cannot be written to {output.name} ({reason})"
        advice = "mend or remove it in the file"
        if isinstance(error, OSError):
            advice = "make room on the disk, or choose another one with SCIMF_BUILD"
        raise ValueError(f"{_name_of(adata)}: {problem}; {advice}") from error
    doubts = []
    if output.exists():
        doubts.append(("earlier results", f"{output.name} is there and will be replaced."))
    # Coordinates and three velocities in double precision come on top.
    needed = size + 4 * 8 * adata.n_obs * n_pcs + BESIDE_CELLS
    free = shutil.disk_usage(output.parent).free
    numbers = f"{needed / MEBIBYTE:,.0f} MiB on the disk, {free / MEBIBYTE:,.0f} MiB are free"
    if needed > free:
        raise ValueError(f"{_name_of(adata)}: results need about {numbers}; make room first")
    if needed * TIGHT > free:
        doubts.append(("disk", f"Results need about {numbers}: make room."))
    return size, doubts
