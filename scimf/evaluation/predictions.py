"""What is handed over to be scored: which held-out snapshots it covers, and whether it can be."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from scimf.data.values import MAX_LOGNORM, Values, recorded_form
from scimf.dynamics.snapshots import KEY, Snapshots, cell_types, populations

if TYPE_CHECKING:
    from anndata import AnnData

    from scimf.data.space import Space

#: A held-out snapshot: population and time.
Key = tuple[str, float]
#: A prediction: its method, and the training seed where it has one.
Name = tuple[str, int | None]
#: Predicted cells by snapshot and prediction, (cells, columns) each.
Clouds = dict[Key, dict[Name, np.ndarray]]


def predicted_clouds(
    samples: "AnnData | np.ndarray | Mapping[str | tuple[str, int], AnnData | np.ndarray]",
    adata: "AnnData",
    truth: Snapshots,
    space: "Space | None",
) -> tuple[Clouds, Clouds, Clouds]:
    """Sort samples by held-out snapshots, after checking that they can be scored.

    Arguments and errors are those of :func:`scimf.evaluation.held_out.evaluate`; ``truth`` are
    the held-out snapshots. Returns coordinates (cells, dim); expression (cells, genes) where the
    space knows genes; and types, one-hot (cells, types), of samples that have them. Samples with
    ``obs["weight"]`` are drawn by it.
    """
    named = samples if isinstance(samples, Mapping) else {"model": samples}
    knows_genes = space is not None and len(space.components) > 0
    cells: Clouds = {}
    genes: Clouds = {}
    types: Clouds = {}
    for label, given in named.items():
        where = f"samples {label!r}"
        name = label if isinstance(label, tuple) else (label, None)
        rows = _rows_by_snapshot(where, given, adata, truth)
        if knows_genes and not isinstance(given, np.ndarray):
            given = _with_form(where, given, space)
        x = _coordinates(where, given, space, adata.obsm[KEY].shape[1])
        for key, mine in rows.items():
            cells.setdefault(key, {})[name] = x[mine]
        if knows_genes:
            expression = _expression(given, x, space)
            for key, mine in rows.items():
                genes.setdefault(key, {})[name] = expression[mine]
        if not isinstance(given, np.ndarray) and {"cell_type"} <= set(given.obs) & set(adata.obs):
            kind = one_hot_types(given, np.unique(cell_types(adata)))
            for key, mine in rows.items():
                types.setdefault(key, {})[name] = kind[mine]
    return cells, genes, types


def predicted_totals(
    samples: "AnnData | Mapping[str | tuple[str, int], AnnData]", adata: "AnnData", truth: Snapshots
) -> dict[Key, dict[Name, float]]:
    """Return ``obs["mass"]`` of samples that have it: cells relative to the start."""
    named = samples if isinstance(samples, Mapping) else {"model": samples}
    totals = {}
    for label, given in named.items():
        if isinstance(given, np.ndarray) or "mass" not in given.obs:
            continue
        name = label if isinstance(label, tuple) else (label, None)
        rows = _rows_by_snapshot(f"samples {label!r}", given, adata, truth)
        for key, mine in rows.items():
            totals.setdefault(key, {})[name] = float(given.obs["mass"].to_numpy(float)[mine[0]])
    return totals


def one_hot_types(adata: "AnnData", names: np.ndarray) -> np.ndarray:  # (cells, types)
    """Which of the types each cell has."""
    return (cell_types(adata)[:, None] == names).astype(float)


def _rows_by_snapshot(
    where: str, cells: "AnnData | np.ndarray", adata: "AnnData", truth: Snapshots
) -> dict[Key, np.ndarray]:
    """Rows of the samples that predict each held-out snapshot; by ``obs["weight"]``, if given."""
    known = sorted(truth.cells)
    if isinstance(cells, np.ndarray):
        if len(known) != 1:
            needed = "an array can only be scored against one held-out snapshot"
            raise ValueError(f"{where}: {needed}, there are {known}")
        return {known[0]: np.arange(len(cells))}
    if "time" not in cells.obs:
        raise ValueError(f'{where}: obs["time"] is missing; found {list(cells.obs.columns)}')
    if "population" not in cells.obs and len({population for population, _ in known}) > 1:
        reason = "the data have several populations"
        raise ValueError(f'{where}: obs["population"] is missing, {reason}')
    time = cells.obs["time"].to_numpy(float)
    population = populations(cells)
    if "population" not in adata.obs:
        population = np.full(len(time), known[0][0])
    rows = {}
    astray = np.ones(len(time), dtype=bool)
    for key in known:
        at_time = np.isclose(time, key[1], rtol=1e-6, atol=1e-9)  # it may be off by rounding
        mine = (population == key[0]) & at_time
        if mine.any():
            rows[key] = np.flatnonzero(mine)
            if "weight" in cells.obs:
                weight = cells.obs["weight"].to_numpy(float)[mine]
                if not (np.isfinite(weight) & (weight >= 0)).all() or not weight.any():
                    raise ValueError(f'{where}: obs["weight"]: expected numbers of 0 or more')
                rows[key] = rows[key][_by_weight(weight)]
            astray &= ~mine
    if astray.any():
        found, at = min(zip(population[astray].tolist(), time[astray].tolist(), strict=True))
        shown = ", ".join(f"{held} at {when:g}" for held, when in known[:6])
        more = " …" if len(known) > 6 else ""
        raise ValueError(f"{where}: {found} at {at:g} was not held out; held out: {shown}{more}")
    return rows


def _by_weight(weight: np.ndarray) -> np.ndarray:
    """As many rows as there are, each as often as its weight says (systematic resampling)."""
    n = len(weight)
    return np.searchsorted(np.cumsum(weight) / weight.sum(), (np.arange(n) + 0.5) / n)


def _coordinates(
    where: str, cells: "AnnData | np.ndarray", space: "Space | None", dim: int
) -> np.ndarray:
    """Coordinates that samples bring along, or those of their genes, (cells, dim)."""
    if isinstance(cells, np.ndarray):
        x = cells
    elif KEY in cells.obsm:
        x = np.asarray(cells.obsm[KEY])
    elif space is None:
        advice = "hand over space=, or set it to space.encode(samples)"
        raise ValueError(f'{where}: obsm["{KEY}"] is missing; {advice}')
    else:
        try:
            x = space.encode(cells)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error
    if x.ndim != 2 or x.shape[1] != dim:
        n_columns = x.shape[-1] if x.ndim else 0
        raise ValueError(f"{where}: {n_columns} dimensions, the data have {dim}")
    if not np.isfinite(x).all():
        raise ValueError(f'{where}: obsm["{KEY}"] holds NaN or infinite values')
    return x


def _expression(cells: "AnnData | np.ndarray", x: np.ndarray, space: "Space") -> np.ndarray:
    """Expression that samples bring along, decoded from coordinates where they bring none."""
    if isinstance(cells, np.ndarray):
        return space.decode(x)
    needed = space.names if recorded_form(cells) == "lognorm" else space.inputs
    if KEY in cells.obsm and not set(needed) <= set(cells.var_names):
        return space.decode(x)
    return space.expression(cells)


def _with_form(where: str, cells: "AnnData", space: "Space") -> "AnnData":
    """Return samples that say what their values are; who does not is looked at.

    Beside coordinates, fractions are expression as :meth:`Space.decode` gives it. Logarithms of
    cells that all have one sum are taken back, so that this sum does not matter.
    """
    no_genes = not set(space.names) & set(cells.var_names)
    if recorded_form(cells) in ("counts", "lognorm") or no_genes:
        return cells
    values = Values.of(where, cells.X, cells.obs_names, cells.var)
    if values.unusable:
        return cells  # looked at later
    told = cells.copy()
    told.uns["scimf"] = {"form": "lognorm"}
    if values.like_counts or values.high > MAX_LOGNORM:
        told.uns["scimf"] = {"form": "counts"}
    elif KEY not in cells.obsm and space.form == "counts" and values.low >= 0:
        if not values.logged.startswith("log1p"):
            raise ValueError(
                f"{where}: X holds fractions up to {values.high:.3g}, counts or log-normalised? "
                "Say it with samples.uns['scimf'] = {'form': 'counts'} or {'form': 'lognorm'}"
            )
        if set(space.inputs) <= set(cells.var_names):
            told = told[:, list(space.inputs)].copy()
            counts = told.X.expm1() if sparse.issparse(told.X) else np.expm1(told.X)
            total = np.asarray(counts.sum(axis=1))
            if total.std() < 1e-3 * total.mean():
                told.X = counts
                told.uns["scimf"] = {"form": "counts"}
    return told
