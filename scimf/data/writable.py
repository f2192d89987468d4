"""What AnnData cannot write is mended as soon as it is read, not once everything is trained.

Each element is written on trial, to a file that exists in memory only, and read again. Arrays of
numbers can always be written, so they are not copied for the trial.
"""

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pandas as pd
from scipy import sparse

RESERVED = ("", ".", "..", "_index")  #: names that mean something else in a file


def make_writable(adata: ad.AnnData, notes: list[str]) -> None:
    """Mend in place whatever ``write_h5ad`` would refuse; what is changed is added to ``notes``.

    Names lose slashes and become unique texts, columns become text, anything else is left out.
    """
    with h5py.File("trial", "w", driver="core", backing_store=False) as file:
        trial = _Trial(file, notes)
        adata.obs = trial.frame(adata.obs, "obs")
        adata.var = trial.frame(adata.var, "var")
        for kind in ("layers", "obsm", "varm", "obsp", "varp", "uns"):
            setattr(adata, kind, trial.mended(getattr(adata, kind).items(), kind))
        if adata.raw is not None:
            var = trial.frame(adata.raw.var, "raw.var")
            varm = trial.mended(adata.raw.varm.items(), "raw.varm")
            adata.raw = ad.AnnData(adata.raw.X, obs=adata.obs[[]], var=var, varm=varm)


class _Trial:
    """A file in memory, to which elements are written on trial."""

    def __init__(self, file: h5py.File, notes: list[str]):
        self.file = file
        self.notes = notes

    def frame(self, frame: pd.DataFrame, where: str) -> pd.DataFrame:
        """Mend the columns of a table, and the names of its rows."""
        index = pd.Index([_text(name) for name in frame.index])
        return pd.DataFrame(self.mended(frame.items(), where), index=index)

    def mended(self, items: Iterable[tuple[Any, Any]], where: str) -> dict[str, Any]:
        """Mend each column of a table, or each element of ``uns``, ``obsm`` and their like."""
        items = list(items)
        kept = {}
        taken = {old for old, _ in items if old == _name(old)}
        for old, value in items:
            place = f"{where}[{old!r}]"
            new = _name(old)
            while new in kept or (new != old and new in taken):
                new += "_"
            if old != new:
                self.notes.append(f"{place} cannot be written and is called {new!r}.")
            if isinstance(value, pd.Series):
                value = self._column(value, place)
            elif isinstance(value, pd.DataFrame):
                value = self.frame(value, place)
            elif isinstance(value, Mapping):
                value = self.mended(value.items(), place)
            elif not self._passes(value):
                self.notes.append(f"{place} ({type(value).__name__}) was left out.")
                continue
            kept[new] = value
        return kept

    def _column(self, values: pd.Series, place: str):
        """Return its array; of texts, as ``write_h5ad`` writes them: as categories."""
        array = values.to_numpy() if isinstance(values.dtype, np.dtype) else values.array
        if pd.api.types.infer_dtype(values) in ("string", "empty"):
            array = pd.Categorical(values.astype(object))
        if self._passes(array):
            return array
        self.notes.append(f"{place} ({values.dtype}) was turned into text.")
        return pd.Categorical([_text(value) if pd.notna(value) else None for value in values])

    def _passes(self, value) -> bool:
        """Whether it can be written, and read again."""
        is_stored = sparse.issparse(value) and value.format in ("csr", "csc")
        numbers = value.data if is_stored else value
        if isinstance(numbers, np.ndarray) and numbers.dtype.kind in "biuf":
            return True
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                ad.io.write_elem(self.file, "trial", value)
                ad.io.read_elem(self.file["trial"])
        except Exception:  # noqa: BLE001 for whatever reason it cannot be written
            return False
        return True


def _text(value) -> str:
    """Text that HDF5 can hold."""
    return str(value).replace("\0", "").encode(errors="replace").decode()


def _name(name) -> str:
    """Text without a slash, none that is reserved."""
    text = _text(name).replace("/", "_")
    return text.strip("._") or "unnamed" if text in RESERVED else text
