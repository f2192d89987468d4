"""What the values of a file are: counts, log-normalised expression, PCs or a state, and where."""

from dataclasses import dataclass
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

FORMS = ("counts", "lognorm", "pcs", "state")
MAX_PC_COLUMNS = 200  #: more columns than this with negative values look like scaled genes
MAX_LOGNORM = 50  #: log1p of any library size stays far below; larger values were never logged


@dataclass(frozen=True)
class _Values:
    """What decides how X is taken."""

    low: float
    high: float
    empty: bool
    whole: bool
    n_columns: int

    @classmethod
    def of(cls, adata: ad.AnnData, path: Path) -> "_Values":
        values = np.zeros(0)
        if adata.X is not None:
            values = adata.X.data if sparse.issparse(adata.X) else np.asarray(adata.X)
        if not np.isfinite(values).all():
            raise ValueError(f"{path}: X holds NaN or infinite values, expected finite numbers")
        if not values.any():
            return cls(0, 0, True, False, adata.n_vars)
        whole = bool((values == np.rint(values)).all())
        return cls(values.min(), values.max(), False, whole, adata.n_vars)

    @property
    def scaled(self) -> bool:
        """Whether X looks like genes that were scaled."""
        return self.low < 0 and self.n_columns > MAX_PC_COLUMNS


def choose_values(
    adata: ad.AnnData, path: Path, declared: str | None, recorded: str | None
) -> tuple[ad.AnnData, str, str]:  # with these values in X, their form, and why in words
    """Decide what X is, and whether something else has to take its place.

    Raises
    ------
    ValueError
        If that cannot be told, or is not what was declared.
    """
    form, takes_pca, why = _choose_form(adata, declared, recorded, path)
    return (_of_pcs(adata) if takes_pca else adata), form, why


def _of_pcs(adata: ad.AnnData) -> ad.AnnData:
    """Put ``obsm["X_pca"]`` in the place of X."""
    x = np.asarray(adata.obsm["X_pca"], dtype=np.float32)  # (cells, PCs)
    var = pd.DataFrame(index=[f"PC{k + 1}" for k in range(x.shape[1])])
    return ad.AnnData(x, obs=adata.obs, var=var, obsm=adata.obsm, uns=adata.uns)


def _choose_form(
    adata: ad.AnnData, declared: str | None, recorded: str | None, path: Path
) -> tuple[str, bool, str]:  # form, whether obsm["X_pca"] replaces X, and why in words
    if declared is not None and declared not in FORMS:
        raise ValueError(f"{path}: form={declared!r}, expected one of {FORMS}")
    form = declared or (recorded if recorded in FORMS else None)
    values = _Values.of(adata, path)
    if "X_pca" in adata.obsm:
        if not np.isfinite(np.asarray(adata.obsm["X_pca"])).all():
            where = f"{path}: obsm['X_pca']"
            raise ValueError(f"{where} holds NaN or infinite values, expected finite numbers")
        if (values.empty or values.scaled) and form in (None, "pcs"):
            why = "X is empty"
            if not values.empty:
                why = f"X has negative values in {values.n_columns} columns, so it looks scaled"
            return "pcs", True, f"Took obsm['X_pca'] as ready-made PCs, because {why}."
    if values.empty:
        raise ValueError(
            f"{path}: X is empty or all zero and there is no obsm['X_pca'], "
            "expected expression or PCs"
        )
    if form is not None:
        _require_form(form, values, path)
        source = "declared" if declared else "recorded in the file"
        return form, False, f"Took X as {form}, as {source}."
    form, why = _recognised(values, adata, path)
    return form, False, why


def _require_form(form: str, values: _Values, path: Path) -> None:
    if form == "counts" and (values.low < 0 or not values.whole):
        found = "negative" if values.low < 0 else "fractional"
        raise ValueError(f"{path}: X was declared as counts but holds {found} values")
    if form == "lognorm" and values.low < 0:
        raise ValueError(
            f"{path}: X was declared as lognorm but holds negative values, "
            "expected log1p of normalised counts"
        )


def _recognised(values: _Values, adata: ad.AnnData, path: Path) -> tuple[str, str]:
    """Form that X looks like, and why; an error if that cannot be told."""
    negative = f"negative values in {values.n_columns} columns"
    if values.whole and values.low < 0:
        raise ValueError(
            f"{path}: X holds whole numbers like counts but some are negative, "
            "expected form=... or counts >= 0"
        )
    if values.whole:
        return "counts", f"Took X as counts: whole numbers from 0 to {values.high:g}."
    if values.low < 0 and not values.scaled:
        return "pcs", f"Took X as ready-made PCs: {negative}."
    if values.low >= 0 and values.high < MAX_LOGNORM:
        found = f"fractions from 0 to {values.high:.3g}"
        return "lognorm", f"Took X as log-normalised expression: {found}."
    hint = f"fractions up to {values.high:.4g} (not logged?)"
    if values.low < 0:
        hint = f"{negative} (scaled?)"
    raise ValueError(
        f"{path}: cannot tell what X is: {hint}. Put counts or log1p-normalised values in X "
        f"(layers: {list(adata.layers)}, raw: {adata.raw is not None}), or declare form='counts', "
        "'lognorm', 'pcs' or 'state'"
    )
