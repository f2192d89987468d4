"""Data by name or from your own file: always an AnnData with real times, types and provenance.

``load("typed")`` simulates, ``load("cite_hspc")`` reads (and if need be downloads) a registered data set,
``load("my.h5ad", time_key="day")`` checks your own file first and says in words what it takes it for.
"""

import hashlib
import re
import sys
import tomllib
import warnings
from collections.abc import Callable
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
from scipy import sparse

from scimf import paths

FORMS = ("counts", "lognorm", "pcs", "state")
#: Data sets that come in variants: the option of :func:`load`, and the part of a file name each value (first = default)
#: stands for.
VARIANTS = {
    "cite_hspc": ("n_pcs", {50: "_pcas_50_", 100: "_pcas_100_"}),
    "cytobridge_sim": ("which", {"attraction": "_attract", "no_interaction": "_no_interact"}),
}
TIMEOUT = 20  # seconds without an answer before a download is given up
MAX_PC_COLUMNS = 200  # more columns than this with negative values look like scaled genes, not like PCs
MAX_CT = 25.0  # qPCR cycles at which a gene counts as not detected: expression is 25 - Ct, in doublings
MAX_LOGNORM = 50  # log1p of any library size stays far below; larger values were never logged


class DataUnavailable(RuntimeError):
    """A data file is neither in the cache nor to be had from the network."""


class DataCorrupt(ValueError):
    """A data file does not have the sha256 that the registry names."""


def load(
    name_or_path: str | Path,
    *,
    time_key: str = "time",
    type_key: str | None = None,
    population_key: str | None = None,
    form: str | None = None,
    **options,
) -> ad.AnnData:
    """Load a registered data set, a simulated system, or your own ``.h5ad`` file.

    Parameters
    ----------
    name_or_path
        A name from ``data/registry.toml``, a name from ``scimf.simulate.SYSTEMS``, or a path to an ``.h5ad`` file.
    time_key, type_key, population_key
        Your own file only: columns of ``obs`` with the time, the cell type and the population. ``None`` takes
        ``cell_type`` and ``population`` where the file has them.
    form
        Your own file only: "counts", "lognorm", "pcs" or "state"; by default it is detected and said in
        ``uns["scimf"]["detected"]``.
    **options
        ``n_pcs=50 | 100`` for ``cite_hspc``, ``which="attraction" | "no_interaction"`` for ``cytobridge_sim``,
        anything the simulator takes (``seed``, ``n_cells``, ...) for a simulated system.

    Returns
    -------
    AnnData
        ``X`` (cells, columns); ``obs["time"]`` float64 in ``uns["scimf"]["time_unit"]``, except in the sets called
        ``counts_...``, which are one snapshot each; ``obs["cell_type"]`` and ``obs["population"]`` where known;
        provenance and warnings in ``uns["scimf"]``.

    Raises
    ------
    DataUnavailable, DataCorrupt
        See :func:`fetch`.
    ValueError
        For an unknown name or option, or a file of your own that cannot be used; names the file and the key.
    """
    name = str(name_or_path)
    own_file = name not in registry() and Path(name).suffix == ".h5ad"
    if own_file:
        if options:
            raise ValueError(f"{name}: unknown options {sorted(options)} for a file of your own")
        return _load_own(
            Path(name).expanduser(), time_key=time_key, type_key=type_key, population_key=population_key, declared=form
        )
    if (time_key, type_key, population_key, form) != ("time", None, None, None):
        raise ValueError(f"{name}: time_key, type_key, population_key and form are for your own .h5ad files only")
    if name in registry():
        if registry()[name]["form"] == "pairs":
            raise ValueError(
                f"{name}: a table of ligand-receptor pairs, not cells; "
                f"read it with scimf.ligands.load_pairs({name!r}, genes)"
            )
        return _load_registered(name, **options)

    from scimf import simulate

    if name in simulate.SYSTEMS:
        return simulate.SYSTEMS[name](**options)
    raise ValueError(
        f"{name!r} is neither a data set ({', '.join(READERS)}), nor a simulation ({', '.join(simulate.SYSTEMS)}), "
        "nor a path that ends in .h5ad"
    )


def registry() -> dict[str, dict]:
    """Every registered data set and table of pairs (form "pairs") by name, as written in ``data/registry.toml``."""
    with open(paths.ROOT / "data" / "registry.toml", "rb") as file:
        return tomllib.load(file)


def available(name: str, **options) -> bool:
    """Whether ``load(name, **options)`` finds all its files in the cache, so that no network is needed."""
    return all((paths.DATA / row["file"]).is_file() for row in _rows(name, **options))


def fetch(name: str, **options) -> list[Path]:
    """Make sure that the files of ``load(name, **options)`` are in the cache, and return their paths.

    Files that are there are checked and left alone, so the cache may be read-only. A missing file is downloaded aside
    and renamed only once its sha256 is right. Stops at the first failure.

    Raises
    ------
    DataUnavailable
        A file is missing and cannot be downloaded; says where to get it and where to put it.
    DataCorrupt
        A file, found or downloaded, has another sha256 than the registry names.
    """
    found = []
    for row in _rows(name, **options):
        target = paths.DATA / row["file"]
        if not target.is_file():
            _download(name, row, target)
        elif (digest := _sha256(target)) != row["sha256"]:
            raise DataCorrupt(
                f"{name}: {target} is damaged or another version: sha256 {digest}, expected {row['sha256']}. "
                "Delete it and load again to download a fresh copy."
            )
        found.append(target)
    return found


def _rows(name: str, **options) -> list[dict]:
    """Registry rows of the files that one variant of a data set consists of."""
    if name not in registry():
        raise ValueError(f"{name!r} is not in data/registry.toml, which has {', '.join(registry())}")
    option, parts = VARIANTS.get(name, (None, {}))
    if unknown := set(options) - {option}:
        raise ValueError(f"{name}: unknown options {sorted(unknown)}; expected {[option] if option else 'none'}")
    rows = registry()[name]["files"]
    if option is None:
        return rows
    value = options.get(option, next(iter(parts)))
    if value not in parts:
        raise ValueError(f"{name}: {option}={value!r}, expected one of {list(parts)}")
    return [row for row in rows if parts[value] in row["file"]]


def _sha256(path: str | Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _download(name: str, row: dict, target: Path) -> None:
    import pooch  # only a download needs it

    pooch.get_logger().setLevel("WARNING")  # its messages would put machine paths into notebooks
    stream = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), timeout=TIMEOUT)

    def download(url: str, temporary: str, _: object) -> None:
        stream(url, temporary, None)
        if (digest := _sha256(temporary)) != row["sha256"]:
            raise DataCorrupt(
                f"{name}: {url} sent a file with sha256 {digest}, expected {row['sha256']} for {row['file']}. "
                f"Nothing was kept. Try again; if it persists, put the right file at {target}."
            )

    try:
        pooch.retrieve(row["url"], row["sha256"], fname=target.name, path=target.parent, downloader=download)
    except OSError as error:  # every requests exception is one, and so is a folder that cannot be written
        raise DataUnavailable(
            f"{name}: {row['file']} is not in {paths.DATA} and cannot be had ({type(error).__name__}: {error}).\n"
            f"Get it from {row['url']}\nand save it as {target},\n"
            f"or let the environment variable SCIMF_DATA name a folder that holds {row['file']}."
        ) from error


# --- registered data sets: one small reader each, from checked files to X, times and names


def _load_registered(name: str, **options) -> ad.AnnData:
    files, rows, entry = fetch(name, **options), _rows(name, **options), registry()[name]
    adata = READERS[name](files)
    adata.uns["scimf"] = {
        "name": name,
        **{key: entry[key] for key in ("title", "form", "time_unit", "licence", "citation")},
        "files": _texts(row["file"] for row in rows),
        "urls": _texts(row["url"] for row in rows),
        "sha256": _texts(row["sha256"] for row in rows),
        "warnings": _texts(entry["warnings"]),
    }
    return adata


def _texts(items) -> np.ndarray:
    return np.array(list(items), dtype=str)  # fixed-width text survives write_h5ad, empty or not


def _assemble(snapshots: dict[float, np.ndarray], column: str) -> ad.AnnData:
    """Stack snapshots (cells, columns) by time; cells are named by time and row, columns by ``column`` and a number."""
    x = np.concatenate(list(snapshots.values())).astype(np.float32)
    names = [f"t{time:.4g}_{i}" for time, cells in snapshots.items() for i in range(len(cells))]
    times = np.repeat(np.array(list(snapshots), dtype=np.float64), [len(cells) for cells in snapshots.values()])
    var = pd.DataFrame(index=[f"{column}{k + 1}" for k in range(x.shape[1])])
    return ad.AnnData(x, obs=pd.DataFrame({"time": times}, index=names), var=var)


def _read_cite_hspc(files: list[Path]) -> ad.AnnData:
    days = {float(re.search(r"day_(\d+)", file.name)[1]): np.load(file, allow_pickle=False) for file in files}
    return _assemble(days, "PC")


def _read_pbmc_activation(files: list[Path]) -> ad.AnnData:
    with np.load(files[0], allow_pickle=False) as arrays:
        hours = np.round(arrays["dts"] * arrays["time_scale"], 6)  # dts is the hour as a share of time_scale = 20
        return _assemble(dict(zip(hours.tolist(), arrays["Xs"], strict=True)), "program")


def _read_labelled_csv(files: list[Path], times: dict[float, float]) -> ad.AnnData:
    table = pd.read_csv(files[0])
    groups = table.groupby("samples")
    return _assemble({times[label]: cells.drop(columns="samples").to_numpy() for label, cells in groups}, "x")


def _read_reprogramming_cut(files: list[Path]) -> ad.AnnData:
    source = _read_h5ad(files[0])
    # Only genes, days and types: the transport maps in uns were fitted on all days.
    adata = ad.AnnData(source.X, obs=source.obs[["cell_type"]].copy(), var=pd.DataFrame(index=source.var_names))
    adata.obs["time"] = source.obs["day"].astype(np.float64)
    return adata


def _read_larry_clones(files: list[Path]) -> ad.AnnData:
    source = _read_h5ad(files[0])
    # The file's PCs and layouts are left behind: they were fitted on all days.
    adata = ad.AnnData(
        source.X.log1p(), obs=pd.DataFrame(index=source.obs_names), var=pd.DataFrame(index=source.var_names)
    )
    adata.obs["time"] = source.obs["time_info"].astype(str).astype(np.float64)
    adata.obs["cell_type"] = source.obs["state_info"].astype("category")
    adata.obsm["X_clone"] = sparse.csr_matrix(source.obsm["X_clone"], dtype=np.float32)  # (cells, clones), 0 or 1
    return adata


def _read_cardiomyocyte_qpcr(files: list[Path]) -> ad.AnnData:
    table = pd.read_csv(files[0]).dropna(how="all")  # the file ends in thousands of empty lines
    hours = table.pop("h").to_numpy(np.float64)
    adata = ad.AnnData((MAX_CT - table.to_numpy()).astype(np.float32), var=pd.DataFrame(index=list(table.columns)))
    adata.obs_names = [f"cell{i}" for i in range(len(hours))]
    adata.obs["time"] = hours
    return adata


def _read_mes_retinoic_acid(files: list[Path]) -> ad.AnnData:
    values = pd.read_csv(files[0], sep="\t", header=None, index_col=0).to_numpy(np.float32)
    hours, counts = values[0], values[2:]  # row 1 says whether the stimulus is on: from the first hour after 0
    genes = pd.DataFrame(index=[f"gene{k + 1}" for k in range(len(counts))])
    adata = ad.AnnData(counts.T.copy(), var=genes)
    adata.obs_names = [f"cell{i}" for i in range(adata.n_obs)]
    adata.obs["time"] = hours.astype(np.float64)
    return adata


def _read_labelled_counts(files: list[Path]) -> ad.AnnData:
    with h5py.File(files[0]) as file:
        counts, kinds = file["X"][:].astype(np.float32), file["Y"][:].astype(int)
    genes = pd.DataFrame(index=[f"gene{k + 1}" for k in range(counts.shape[1])])
    adata = ad.AnnData(sparse.csr_matrix(counts), var=genes)
    adata.obs_names = [f"cell{i}" for i in range(adata.n_obs)]
    adata.obs["cell_type"] = pd.Categorical([f"type {kind}" for kind in kinds])
    return adata


READERS: dict[str, Callable[[list[Path]], ad.AnnData]] = {
    "cite_hspc": _read_cite_hspc,
    "pbmc_activation": _read_pbmc_activation,
    "reprogramming_cut": _read_reprogramming_cut,
    "larry_clones": _read_larry_clones,
    "cardiomyocyte_qpcr": _read_cardiomyocyte_qpcr,
    "mes_retinoic_acid": _read_mes_retinoic_acid,
    **dict.fromkeys(("counts_pbmc", "counts_kidney", "counts_worm_neuron"), _read_labelled_counts),
    "emt": lambda files: _read_labelled_csv(files, {0: 0.0, 1: 1 / 3, 2: 1.0, 3: 5.0}),  # days; 3 and 7 are pooled
    "cytobridge_sim": lambda files: _read_labelled_csv(files, {float(t): float(t) for t in range(5)}),
}


# --- your own file: everything is checked before anything is computed


def _read_h5ad(path: Path) -> ad.AnnData:
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    if not h5py.is_hdf5(path):
        raise ValueError(f"{path}: not an HDF5 file; expected an .h5ad file written by AnnData (or it is damaged)")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*names are not unique")  # refused below, with a better message
            warnings.filterwarnings("ignore", message=".*without encoding metadata")  # old files are read all the same
            return ad.read_h5ad(path)
    except (OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path}: cannot be read as .h5ad, probably cut short or damaged ({reason})") from error


def _load_own(
    path: Path, *, time_key: str, type_key: str | None, population_key: str | None, declared: str | None
) -> ad.AnnData:
    adata = _read_h5ad(path)
    before = dict(adata.uns.get("scimf", {}))  # a file that scimf wrote says what it is
    for kind, names in (("cell names (obs_names)", adata.obs_names), ("gene names (var_names)", adata.var_names)):
        if not names.is_unique:
            twice = names[names.duplicated()].unique()[:3].tolist()
            raise ValueError(f"{path}: duplicate {kind}, such as {twice}; expected each name once")
    times, unit, notes = _read_times(adata.obs, time_key, path)
    labels = {
        "cell_type": _read_labels(adata.obs, type_key, "cell_type", path, notes),
        "population": _read_labels(adata.obs, population_key, "population", path, notes),
    }
    form, from_pca, detected = _choose_form(adata, declared, before.get("form"), path)

    if from_pca:
        x = np.asarray(adata.obsm["X_pca"], dtype=np.float32)  # (cells, PCs)
        var = pd.DataFrame(index=[f"PC{k + 1}" for k in range(x.shape[1])])
        adata = ad.AnnData(x, obs=adata.obs, var=var, obsm=adata.obsm, uns=adata.uns)
    if form == "pcs" and not before:
        notes.append("Ready-made PCs: if they were fitted on all times, every held-out number from them is optimistic.")
    if unit is None:
        unit = str(before.get("time_unit", "a.u.")) if time_key == "time" else "a.u."
    adata.obs["time"] = times
    for key, values in labels.items():
        if values is not None:
            adata.obs[key] = values
    adata.uns["scimf"] = {
        "title": f"Your own file {path.name}",
        "licence": "your own",
        "citation": "your own",
        **before,
        "name": path.stem,
        "form": form,
        "time_unit": unit,
        "files": _texts([path.name]),
        "urls": _texts([""]),
        "sha256": _texts([_sha256(path)]),
        "detected": detected,
        "warnings": _texts(dict.fromkeys([*map(str, before.get("warnings", [])), *notes])),
    }
    return adata


def _column(obs: pd.DataFrame, key: str, path: Path, what: str) -> pd.Series:
    if key not in obs:
        raise ValueError(f"{path}: obs[{key!r}] is missing, expected {what}; there are {list(obs.columns)}")
    return obs[key]


def _read_labels(
    obs: pd.DataFrame, key: str | None, default: str, path: Path, notes: list[str]
) -> pd.Series | None:  # categorical, (cells,)
    if key is None and default not in obs:
        return None
    labels = _column(obs, key or default, path, f"the {default} of each cell").astype(object)
    if missing := int(labels.isna().sum()):
        if default == "population":  # a guess here would mix populations that never met
            raise ValueError(
                f"{path}: obs[{key or default!r}] is missing for {missing} cells, expected a label for each"
            )
        notes.append(f"{missing} cells without a {default} are called 'unknown'.")
    return labels.where(labels.notna(), "unknown").astype(str).astype("category")


def _read_times(obs: pd.DataFrame, key: str, path: Path) -> tuple[np.ndarray, str | None, list[str]]:
    """Return times (cells,) float64, the unit if labels or the name of the column tell it, and what to warn about."""
    column, notes = _column(obs, key, path, "the time of each cell (choose another column with time_key=...)"), []
    where = f"{path}: obs[{key!r}]"
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(object).infer_objects()
    if missing := int(column.isna().sum()):
        raise ValueError(f"{where} is NaN or missing for {missing} cells, expected a time for each")
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        times, words = column.to_numpy(dtype=np.float64), ""
    else:
        parsed = {label: _parse_time(str(label)) for label in column.unique()}
        if bad := [label for label, found in parsed.items() if found is None]:
            raise ValueError(
                f"{where} is not numeric and {bad[:3]} cannot be read, expected numbers or text like 'day 3'"
            )
        if len(kinds := {words for _, words in parsed.values()}) > 1:
            raise ValueError(f"{where} mixes units or words {sorted(kinds)}, expected the same around every number")
        words = kinds.pop()
        times = column.map({label: number for label, (number, _) in parsed.items()}).to_numpy(dtype=np.float64)
        example = next(iter(parsed))
        notes.append(f"Times were read from text labels: {str(example)!r} became {parsed[example][0]:g}.")
    if not np.isfinite(times).all():
        raise ValueError(
            f"{where} is NaN or infinite for {int((~np.isfinite(times)).sum())} cells, expected finite times"
        )
    values, cells = np.unique(times, return_counts=True)
    if len(values) < 2:
        raise ValueError(f"{where} has {len(values)} time point(s), expected at least two")
    if (cells < 2).any():
        lonely = values[cells < 2]
        raise ValueError(
            f"{where} has {len(lonely)} time points with one cell, such as {lonely[:3].tolist()}; expected a "
            "snapshot of many cells at each time (not a pseudotime)"
        )
    tokens = {words, *(word.rstrip("s") for word in re.split(r"[^a-z]+", key.lower()))}
    unit = "day" if tokens & {"d", "day"} else "hour" if tokens & {"h", "hr", "hour", "hpf"} else None
    return times, unit, notes


def _parse_time(label: str) -> tuple[float, str] | None:
    """``"Day 3.5"`` -> ``(3.5, "day")``; ``None`` unless there is exactly one number."""
    numbers = re.findall(r"\d+(?:\.\d+)?", label)
    if len(numbers) != 1:
        return None
    sign = -1 if re.match(r"\s*-\s*\d", label) else 1  # elsewhere a dash is a separator, as in "day-3"
    return sign * float(numbers[0]), re.sub(r"[^a-z]", "", label.lower()).removesuffix("s")


def _choose_form(
    adata: ad.AnnData, declared: str | None, recorded: str | None, path: Path
) -> tuple[str, bool, str]:  # form, whether obsm["X_pca"] replaces X, and why in words
    if declared is not None and declared not in FORMS:
        raise ValueError(f"{path}: form={declared!r}, expected one of {FORMS}")
    form = declared or (recorded if recorded in FORMS else None)
    n_columns, has_pca = adata.n_vars, "X_pca" in adata.obsm
    values = np.zeros(0) if adata.X is None else adata.X.data if sparse.issparse(adata.X) else np.asarray(adata.X)
    if not np.isfinite(values).all():
        raise ValueError(f"{path}: X holds NaN or infinite values, expected finite numbers")
    if has_pca and not np.isfinite(np.asarray(adata.obsm["X_pca"])).all():
        raise ValueError(f"{path}: obsm['X_pca'] holds NaN or infinite values, expected finite numbers")
    empty = not values.any()
    low, high = (0, 0) if empty else (values.min(), values.max())
    whole = not empty and bool((values == np.rint(values)).all())
    scaled = low < 0 and n_columns > MAX_PC_COLUMNS

    if has_pca and (empty or scaled) and form in (None, "pcs"):
        why = "X is empty" if empty else f"X has negative values in {n_columns} columns, so it looks scaled"
        return "pcs", True, f"Took obsm['X_pca'] as ready-made PCs, because {why}."
    if empty:
        raise ValueError(f"{path}: X is empty or all zero and there is no obsm['X_pca'], expected expression or PCs")
    if form == "counts" and (low < 0 or not whole):
        raise ValueError(f"{path}: X was declared as counts but holds {'negative' if low < 0 else 'fractional'} values")
    if form == "lognorm" and low < 0:
        raise ValueError(
            f"{path}: X was declared as lognorm but holds negative values, expected log1p of normalised counts"
        )
    if form is not None:
        return form, False, f"Took X as {form}, as {'declared' if declared else 'recorded in the file'}."
    if whole and low < 0:
        raise ValueError(
            f"{path}: X holds whole numbers like counts but some are negative, expected form=... or counts >= 0"
        )
    if whole:
        return "counts", False, f"Took X as counts: whole numbers from 0 to {high:g}."
    if low < 0 and not scaled:
        return "pcs", False, f"Took X as ready-made PCs: negative values in {n_columns} columns."
    if low >= 0 and high < MAX_LOGNORM:
        return "lognorm", False, f"Took X as log-normalised expression: fractions from 0 to {high:.3g}."
    hint = (
        f"negative values in {n_columns} columns (scaled?)" if low < 0 else f"fractions up to {high:.4g} (not logged?)"
    )
    raise ValueError(
        f"{path}: cannot tell what X is: {hint}. Put counts or log1p-normalised values in X (layers: "
        f"{list(adata.layers)}, raw: {adata.raw is not None}), or declare form='counts', 'lognorm', 'pcs' or 'state'"
    )
