"""From expression to model coordinates and back, fitted on training cells only.

:func:`hold_out` says which cells nothing may see, :func:`fit_space` fits genes, scaler and principal components on the
others and writes ``obsm["X_scimf"]`` for all. Ready-made PCs and simulated coordinates pass through unchanged.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from scimf.papersets import SPLITS

TARGET = 1e4  # counts per cell after normalisation; a constant, so that no cell's value depends on another cell
BLOCK = 10_000  # cells made dense at once when coordinates are computed


@dataclass(frozen=True)
class Split:
    """Which times and populations are held out.

    Attributes
    ----------
    held_times, times, train_times
        Held-out times, all times, and the times of training cells; sorted, in the data's own unit.
    held_populations
        Populations of which nothing is fitted; their first snapshot may only start a simulation.
    """

    held_times: tuple[float, ...]
    held_populations: tuple[str, ...]
    times: tuple[float, ...]
    train_times: tuple[float, ...]

    def train_mask(self, adata: ad.AnnData) -> np.ndarray:  # (cells,) bool
        """Cells that may be fitted: neither their time nor their population is held out."""
        time, population = _time(adata), _population(adata)
        return ~np.isin(time, self.held_times) & ~np.isin(population, self.held_populations)

    def held_mask(self, adata: ad.AnnData) -> np.ndarray:  # (cells,) bool
        """Cells to be predicted: a held time, or a held population after its first time."""
        time, population = _time(adata), _population(adata)
        held = np.isin(time, self.held_times)
        for name in self.held_populations:
            mine = population == name
            if mine.any():
                held |= mine & (time > time[mine].min())
        return held


def hold_out(adata: ad.AnnData, *, times: Iterable[float] = (), populations: Iterable[str] = ()) -> Split:
    """Hold out whole times, whole populations, or both.

    Raises
    ------
    ValueError
        If a time or population is not there, if a held time is the first of a population (a simulation starts
        there), or if fewer than two training times are left.
    """
    time, population = _time(adata), _population(adata)
    known_times, known = np.unique(time), np.unique(population).tolist()
    held_times = set()
    for t in np.atleast_1d(np.asarray(times if np.isscalar(times) else list(times), dtype=np.float64)):
        match = known_times[np.isclose(known_times, t, rtol=1e-6, atol=1e-9)]
        if not len(match):
            raise ValueError(f"times: {t:g} is not in obs['time'], which has {known_times.tolist()}")
        held_times.add(float(match[0]))
    held_populations = sorted({populations} if isinstance(populations, str) else {str(p) for p in populations})
    if held_populations and "population" not in adata.obs:
        raise ValueError(f"populations: {held_populations} cannot be held out, there is no obs['population']")
    if unknown := [p for p in held_populations if p not in known]:
        raise ValueError(f"populations: {unknown} are not in obs['population'], which has {known}")
    for name in known:
        if (first := float(time[population == name].min())) in held_times:
            whose = f" of population {name!r}" if "population" in adata.obs else ""
            raise ValueError(f"times: {first:g} is the first time{whose} and cannot be held out, a start is needed")
    training = ~np.isin(time, list(held_times)) & ~np.isin(population, held_populations)
    train_times = np.unique(time[training]).tolist()
    if len(train_times) < 2:
        raise ValueError(f"times, populations: {train_times} are left for training, expected at least two times")
    return Split(tuple(sorted(held_times)), tuple(held_populations), tuple(known_times.tolist()), tuple(train_times))


def named_split(adata: ad.AnnData, name: str) -> Split:
    """Hold out the times of one of the scIMF paper's splits, such as "three_interpolation"; see ``papersets.SPLITS``.

    As in the paper, :func:`fit_space` then chooses its (by default 2000) genes, scaler and PCs on training times only.
    Unlike there, genes are chosen by scanpy's default flavour in every data set, and counts are normalised to the sum
    of all genes, not of the chosen ones.

    Raises
    ------
    ValueError
        If the data set has no named splits, or none of this name; and as :func:`hold_out`.
    """
    data = str(adata.uns.get("scimf", {}).get("name"))
    if data not in SPLITS:
        raise ValueError(f"uns['scimf']['name'] is {data!r}, expected a set with named splits: {', '.join(SPLITS)}")
    if name not in SPLITS[data]:
        raise ValueError(f"{data}: no split {name!r}, expected one of {list(SPLITS[data])}")
    return hold_out(adata, times=SPLITS[data][name])


def only_neighbours(adata: ad.AnnData, split: Split) -> tuple[ad.AnnData, Split]:
    """Keep one held-out time and the training times on either side of it: the *bridge* protocol, where no more is seen.

    Raises
    ------
    ValueError
        If there is not exactly one held-out time, or it has no training time on one side.
    """
    if len(split.held_times) != 1 or split.held_populations:
        raise ValueError(f"bridge: expected one held-out time and no held-out population, got {split.held_times}")
    held = split.held_times[0]
    before, after = [t for t in split.train_times if t < held], [t for t in split.train_times if t > held]
    if not before or not after:
        raise ValueError(f"bridge: time {held:g} needs training times on both sides, there are {split.train_times}")
    kept = adata[np.isin(_time(adata), (before[-1], held, after[0]))].copy()
    return kept, hold_out(kept, times=[held])


def _time(adata: ad.AnnData) -> np.ndarray:  # (cells,)
    if "time" not in adata.obs:
        raise ValueError(f"obs['time'] is missing, expected data from scimf.load; there are {list(adata.obs.columns)}")
    return adata.obs["time"].to_numpy(dtype=np.float64)


def _population(adata: ad.AnnData) -> np.ndarray:  # (cells,) of str
    if "population" not in adata.obs:
        return np.full(adata.n_obs, "")
    return adata.obs["population"].astype(str).to_numpy(dtype=str)


@dataclass(frozen=True, eq=False)
class Space:
    r"""Model coordinates: :math:`z = W\,(\log(1 + 10^4 x / n) - m) / s`, all of it fitted on training cells.

    For "pcs" and "state" it only picks columns (``components`` is empty).

    Attributes
    ----------
    form
        Form of the data it was fitted on.
    inputs
        Columns that :meth:`encode` needs, found by name: for counts all genes, because they make up the library size.
    names
        Columns of :meth:`decode`: the chosen genes, or the picked columns.
    mean, scale
        (genes,) float64, of log-normalised training cells.
    components
        (d, genes) float64, orthonormal rows; the largest loading of each row is positive.
    warnings
        What a reader should know.
    """

    form: str
    inputs: tuple[str, ...]
    names: tuple[str, ...]
    mean: np.ndarray
    scale: np.ndarray
    components: np.ndarray
    warnings: tuple[str, ...] = ()

    @property
    def dim(self) -> int:
        """Number of coordinates."""
        return len(self.components) or len(self.names)

    def encode(self, adata: ad.AnnData) -> np.ndarray:
        """Return the coordinates (cells, d) float32 of any cells measured in the same genes, in any order of genes.

        Raises
        ------
        ValueError
            If genes are missing or X is not finite.
        """
        if missing := set(self.inputs) - set(adata.var_names):
            raise ValueError(
                f"var_names: {len(missing)} of {len(self.inputs)} are missing, such as {sorted(missing)[:3]}"
            )
        x = adata.X if adata.var_names.equals(pd.Index(self.inputs)) else adata[:, list(self.inputs)].X
        _check_finite(x)
        if not len(self.components):
            return _dense(x[:, pd.Index(self.inputs).get_indexer(self.names)], np.float32)
        x = _log_normalise(x) if self.form == "counts" else x
        chosen = x[:, pd.Index(self.inputs).get_indexer(self.names)]  # (cells, genes)
        blocks = [
            ((_dense(chosen[i : i + BLOCK]) - self.mean) / self.scale) @ self.components.T
            for i in range(0, chosen.shape[0], BLOCK)
        ]
        return np.concatenate([np.zeros((0, self.dim)), *blocks]).astype(np.float32)

    def decode(self, z: np.ndarray) -> np.ndarray:
        """Return log-normalised expression (cells, genes) of coordinates (cells, d); linear: may dip below zero."""
        z = np.asarray(z, dtype=np.float64)
        if not len(self.components):
            return z.astype(np.float32)
        return (z @ self.components * self.scale + self.mean).astype(np.float32)

    def expression(self, adata: ad.AnnData) -> np.ndarray:
        """Return measured log-normalised expression (cells, genes) of the chosen genes; :meth:`decode` aims at it."""
        x = adata[:, list(self.inputs)].X
        x = _log_normalise(x) if self.form == "counts" else x
        return _dense(x[:, pd.Index(self.inputs).get_indexer(self.names)], np.float32)

    def to_dict(self) -> dict[str, np.ndarray]:
        """Return plain arrays for a checkpoint; nothing needs pickle."""
        return {field.name: np.asarray(getattr(self, field.name)) for field in fields(self)}

    @classmethod
    def from_dict(cls, arrays: dict[str, np.ndarray]) -> "Space":
        """Rebuild what :meth:`to_dict` took apart."""
        texts = {key: tuple(np.asarray(arrays[key]).astype(str).tolist()) for key in ("inputs", "names", "warnings")}
        numbers = {key: np.asarray(arrays[key], dtype=np.float64) for key in ("mean", "scale", "components")}
        return cls(form=str(arrays["form"]), **texts, **numbers)


def fit_space(adata: ad.AnnData, split: Split, *, n_pcs: int = 50, n_genes: int = 2000) -> Space:
    """Fit genes, scaler and PCs on the training cells and write ``adata.obsm["X_scimf"]`` (cells, d) for all cells.

    Counts are normalised to 10,000 per cell and log1p-transformed, log-normalised data are taken as they are; then
    highly variable genes (scanpy's default flavour), z-score and PCA, all of training cells. Ready-made PCs and states
    are cut to their first ``n_pcs`` columns.

    Raises
    ------
    ValueError
        If X holds NaN or infinite values, if there are no more training cells than PCs, or if no gene varies.
    """
    form = adata.uns.get("scimf", {}).get("form")
    if form is None:
        raise ValueError("uns['scimf']['form'] is missing, expected data from scimf.load")
    if n_pcs < 1 or n_genes < 1:
        raise ValueError(f"n_pcs={n_pcs}, n_genes={n_genes}: expected at least 1 of each")
    _check_finite(adata.X)
    fit = _fit_columns if form in ("pcs", "state") else _fit_genes
    space = fit(adata, split, form, n_pcs, n_genes)
    adata.obsm["X_scimf"] = space.encode(adata)
    return space


def _fit_columns(adata: ad.AnnData, split: Split, form: str, n_pcs: int, n_genes: int) -> Space:
    names = tuple(adata.var_names[:n_pcs])
    notes = ["Ready-made PCs: nothing was fitted here."] if form == "pcs" else []
    return Space(form, names, names, np.zeros(0), np.zeros(0), np.zeros((0, len(names))), tuple(notes))


def _fit_genes(adata: ad.AnnData, split: Split, form: str, n_pcs: int, n_genes: int) -> Space:
    from sklearn.decomposition import PCA

    x = adata.X[np.flatnonzero(split.train_mask(adata))]  # (training cells, all genes)
    notes = []
    if x.shape[0] <= n_pcs:
        raise ValueError(f"n_pcs={n_pcs}: only {x.shape[0]} training cells, expected more cells than PCs")
    x = _log_normalise(x) if form == "counts" else x
    varies = np.flatnonzero(_extreme(x, "max") > _extreme(x, "min"))
    if not len(varies):
        raise ValueError("X: no gene varies between training cells, expected at least one")
    if len(varies) < adata.n_vars:
        notes.append(f"{adata.n_vars - len(varies)} genes that are constant in the training cells were dropped.")
    chosen = varies
    if len(varies) > n_genes:
        chosen = varies[_highly_variable(x[:, varies], n_genes)]
    if n_pcs > len(chosen):
        notes.append(f"Only {len(chosen)} genes: {len(chosen)} PCs instead of {n_pcs}.")
        n_pcs = len(chosen)

    z = _dense(x[:, chosen], np.float32)  # (training cells, genes), the only dense copy
    mean, scale = z.mean(0, dtype=np.float64), z.std(0, dtype=np.float64)
    z -= mean.astype(np.float32)
    z /= scale.astype(np.float32)
    # Arpack is quicker for a few of many components but cannot find nearly all of them; both are deterministic.
    solver = "arpack" if 3 * n_pcs < min(z.shape) else "full"
    components = (
        PCA(n_pcs, svd_solver=solver, random_state=0, copy=False).fit(z).components_.astype(np.float64)
    )  # (d, genes)
    largest = np.abs(components).argmax(1)
    components *= np.sign(components[np.arange(n_pcs), largest])[:, None]
    inputs = adata.var_names if form == "counts" else adata.var_names[chosen]
    return Space(form, tuple(inputs), tuple(adata.var_names[chosen]), mean, scale, components, tuple(notes))


def _highly_variable(x, n_genes: int) -> np.ndarray:  # indices of columns, in their order
    import scanpy as sc

    training = ad.AnnData(x)
    training.uns["log1p"] = {"base": None}  # says to scanpy that x is logged
    sc.pp.highly_variable_genes(training, n_top_genes=n_genes)
    return np.flatnonzero(training.var["highly_variable"])


def _log_normalise(x):
    """log1p of counts scaled to TARGET per cell; sparse stays sparse, a cell without counts stays zero."""
    total = np.asarray(x.sum(axis=1), dtype=np.float64).reshape(-1, 1)
    factor = TARGET / np.where(total > 0, total, 1)  # (cells, 1)
    if sparse.issparse(x):
        return sparse.csr_matrix(x.multiply(factor)).log1p()
    return np.log1p(np.asarray(x) * factor)


def _dense(x, dtype=np.float64) -> np.ndarray:
    return np.asarray(x.toarray() if sparse.issparse(x) else x, dtype=dtype)


def _extreme(x, which: str) -> np.ndarray:  # (genes,)
    found = getattr(x, which)(axis=0)
    return _dense(found).ravel()


def _check_finite(x) -> None:
    if not np.isfinite(x.data if sparse.issparse(x) else np.asarray(x)).all():
        raise ValueError("X holds NaN or infinite values, expected finite numbers")
