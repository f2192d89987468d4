"""From expression to model coordinates and back, fitted on training cells only.

:func:`scimf.hold_out` decides which cells nothing may see, :func:`fit_space` fits genes, scaler and
principal components on the others and writes ``obsm["X_scimf"]`` for all. Ready-made PCs and
simulated coordinates pass through unchanged.
"""

from dataclasses import asdict, dataclass

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from scimf.data.split import Split
from scimf.data.values import recorded_form

#: Counts per cell after normalisation; a constant, so that no cell's value depends on another cell.
TARGET = 1e4
BLOCK = 10_000  #: cells made dense at once when coordinates are computed
OF_SPLIT = "split_"  #: what the keys of a split begin with in :meth:`Space.to_dict`
TEXTS = ("inputs", "names", "warnings")  #: fields that are texts
NUMBERS = ("mean", "scale", "components")  #: fields that are arrays


@dataclass(frozen=True, eq=False)
class Space:
    r"""Model coordinates :math:`z = W\,(\log(1 + 10^4 x / n) - m) / s`, fitted on training cells.

    For "pcs" and "state" it only picks columns (``components`` is empty).
    """

    form: str  #: of the data it was fitted on
    #: Columns that :meth:`encode` needs: for counts all genes, as they make up the library size.
    inputs: tuple[str, ...]
    names: tuple[str, ...]  #: columns of :meth:`decode`: the chosen genes, or the picked columns
    mean: np.ndarray  #: (genes,) float64, of log-normalised training cells; so is the scale
    scale: np.ndarray
    components: np.ndarray  #: (d, genes), orthonormal rows; their largest loading is positive
    warnings: tuple[str, ...] = ()  #: what a reader should know
    split: Split | None = None  #: what was held out; a fit with another split refuses the space

    @property
    def dim(self) -> int:
        """Number of coordinates."""
        return len(self.components) or len(self.names)

    def encode(self, adata: ad.AnnData) -> np.ndarray:
        """Return coordinates (cells, d), float32, of any cells measured in the same genes.

        The genes may come in any order; of counts, log-normalised cells are taken too. A
        ``ValueError`` if genes are missing, if X is not finite, or of another form.
        """
        x = self._chosen(adata)
        if not len(self.components):
            return _dense(x, np.float32)
        blocks = [np.zeros((0, self.dim))]
        for start in range(0, x.shape[0], BLOCK):
            block = _dense(x[start : start + BLOCK])
            blocks.append((block - self.mean) / self.scale @ self.components.T)
        return np.concatenate(blocks).astype(np.float32)

    def decode(self, z: np.ndarray) -> np.ndarray:
        """Return log-normalised expression (cells, genes) of (cells, d); may dip below zero."""
        z = np.asarray(z, dtype=np.float64)
        if not len(self.components):
            return z.astype(np.float32)
        return (z @ self.components * self.scale + self.mean).astype(np.float32)

    def expression(self, adata: ad.AnnData) -> np.ndarray:
        """Return measured log-normalised expression (cells, genes); :meth:`decode` aims at it."""
        return _dense(self._chosen(adata), np.float32)

    def _chosen(self, adata: ad.AnnData):
        """Return the columns ``names`` (cells, genes), log-normalised; sparse stays sparse."""
        form = recorded_form(adata) or self.form
        if form == "counts" and self.form == "lognorm":
            raise ValueError("X: counts, expected log-normalised values like those of the data")
        inputs = pd.Index(self.names if form == "lognorm" else self.inputs)
        if missing := sorted(set(inputs) - set(adata.var_names)):
            found = f"{len(missing)} of {len(inputs)} are missing, such as {missing[:3]}"
            raise ValueError(f"var_names: {found}")
        x = adata.X if adata.var_names.equals(inputs) else adata[:, inputs].X
        _require_finite(x)
        if self.form == "counts" and form != "lognorm":
            x = _log_normalised(x)
        return x[:, inputs.get_indexer(self.names)]

    def to_dict(self) -> dict[str, np.ndarray]:
        """Plain arrays of numbers and texts for a checkpoint; nothing needs pickle."""
        arrays = {name: np.array(getattr(self, name), dtype=str) for name in TEXTS}
        arrays |= {name: getattr(self, name) for name in NUMBERS}
        arrays["form"] = np.array(self.form)
        if self.split is not None:
            for name, part in asdict(self.split).items():
                arrays[OF_SPLIT + name] = np.array(part)
        return arrays

    @classmethod
    def from_dict(cls, arrays: dict[str, np.ndarray]) -> "Space":
        """Inverse of :meth:`to_dict`."""
        parts = {name: np.asarray(arrays[name], dtype=np.float64) for name in NUMBERS}
        for name in TEXTS:
            parts[name] = tuple(np.asarray(arrays[name]).astype(str).tolist())
        split = {}
        for key, part in arrays.items():
            if key.startswith(OF_SPLIT):
                split[key.removeprefix(OF_SPLIT)] = tuple(np.asarray(part).tolist())
        split = Split(**split) if split else None
        return cls(form=str(arrays["form"]), **parts, split=split)


def fit_space(adata: ad.AnnData, split: Split, *, n_pcs: int = 50, n_genes: int = 2000) -> Space:
    """Fit genes, scaler and PCs on training cells, write ``obsm["X_scimf"]`` (cells, d) for all.

    Counts are normalised to 10,000 per cell and log1p-transformed, log-normalised data are taken as
    they are; then highly variable genes (scanpy's default flavour), z-score and PCA, all of
    training cells. Ready-made PCs and states are cut to their first ``n_pcs`` columns.

    Raises
    ------
    ValueError
        If X holds NaN or infinite values, if there are no more training cells than PCs, or if no
        gene varies.
    """
    form = recorded_form(adata)
    if form is None:
        raise ValueError("uns['scimf']['form'] is missing, expected data from scimf.load")
    if n_pcs < 1 or n_genes < 1:
        raise ValueError(f"n_pcs={n_pcs}, n_genes={n_genes}: expected at least 1 of each")
    _require_finite(adata.X)
    if form in ("pcs", "state"):
        names = tuple(adata.var_names[:n_pcs])
        warnings = ("Ready-made PCs: nothing was fitted here.",) if form == "pcs" else ()
        none = np.zeros(0)
        space = Space(form, names, names, none, none, np.zeros((0, len(names))), warnings, split)
    else:
        space = _fit_genes(adata, split, form, n_pcs, n_genes)
    adata.obsm["X_scimf"] = space.encode(adata)
    return space


def _fit_genes(adata: ad.AnnData, split: Split, form: str, n_pcs: int, n_genes: int) -> Space:
    x = adata.X[np.flatnonzero(split.train_mask(adata))]  # (training cells, all genes)
    if x.shape[0] <= n_pcs:
        raise ValueError(f"n_pcs={n_pcs}: only {x.shape[0]} training cells, expected more than PCs")
    if form == "counts":
        x = _log_normalised(x)
    warnings = []
    varies = np.flatnonzero(_dense(x.max(axis=0)).ravel() > _dense(x.min(axis=0)).ravel())
    if not len(varies):
        raise ValueError("X: no gene varies between training cells, expected at least one")
    if constant := adata.n_vars - len(varies):
        warnings.append(f"{constant} genes that are constant in the training cells were dropped.")
    chosen = varies
    if len(varies) > n_genes:
        import scanpy as sc

        training = ad.AnnData(x[:, varies], uns={"log1p": {"base": None}})  # which scanpy looks at
        sc.pp.highly_variable_genes(training, n_top_genes=n_genes)
        chosen = varies[training.var["highly_variable"]]
    if n_pcs > len(chosen):
        warnings.append(f"Only {len(chosen)} genes: {len(chosen)} PCs instead of {n_pcs}.")
        n_pcs = len(chosen)

    z = _dense(x[:, chosen], np.float32)  # (training cells, genes), the only dense copy
    mean = z.mean(0, dtype=np.float64)
    scale = z.std(0, dtype=np.float64)
    z -= mean.astype(np.float32)
    z /= scale.astype(np.float32)
    components = _principal_components(z, n_pcs)
    names = tuple(adata.var_names[chosen])
    inputs = tuple(adata.var_names) if form == "counts" else names
    return Space(form, inputs, names, mean, scale, components, tuple(warnings), split)


def _principal_components(z: np.ndarray, n: int) -> np.ndarray:  # (n, genes)
    """Fit principal components to scaled cells (cells, genes), which are overwritten."""
    from sklearn.decomposition import PCA

    # Arpack is quicker for a few of many components but cannot find nearly all of them.
    solver = "arpack" if 3 * n < min(z.shape) else "full"
    pca = PCA(n, svd_solver=solver, random_state=0, copy=False).fit(z)
    components = pca.components_.astype(np.float64)
    largest = np.abs(components).argmax(1)
    return components * np.sign(components[np.arange(n), largest])[:, None]


def _log_normalised(x):
    """log1p of counts scaled to TARGET per cell; sparse stays sparse, an empty cell stays zero."""
    total = np.asarray(x.sum(axis=1), dtype=np.float64).reshape(-1, 1)
    factor = TARGET / np.where(total > 0, total, 1)  # (cells, 1)
    if sparse.issparse(x):
        return sparse.csr_matrix(x.multiply(factor)).log1p()
    return np.log1p(np.asarray(x) * factor)


def _dense(x, dtype=np.float64) -> np.ndarray:
    return np.asarray(x.toarray() if sparse.issparse(x) else x, dtype=dtype)


def _require_finite(x) -> None:
    values = x.data if sparse.issparse(x) else np.asarray(x)
    if not np.isfinite(values).all():
        raise ValueError("X holds NaN or infinite values, expected finite numbers")
