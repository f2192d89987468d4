"""What AnnData cannot write is mended as soon as it is read, not once everything is trained.

Each element is written on trial, to a file that exists in memory only, and read again. Arrays of
numbers can always be written, so they are not copied for the trial.
"""

import warnings
from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pandas as pd
from scipy import sparse


def make_writable(adata: ad.AnnData, notes: list[str]) -> None:
    """Mend in place whatever ``write_h5ad`` would refuse; what is changed is added to ``notes``.

    Names lose slashes and become unique texts, columns become text, and what is no column and
    cannot be written is left out.
    """
    with h5py.File("trial", "w", driver="core", backing_store=False) as file:
        trial = _Trial(file, notes)
        adata.obs = trial.frame(adata.obs, "obs")
        adata.var = trial.frame(adata.var, "var")
        for kind in ("layers", "obsm", "varm", "obsp", "varp", "uns"):
            trial.mend(getattr(adata, kind), kind)
        if adata.raw is not None:
            var = trial.frame(adata.raw.var, "raw.var")
            varm = dict(adata.raw.varm)
            trial.mend(varm, "raw.varm")
            adata.raw = ad.AnnData(adata.raw.X, obs=adata.obs[[]], var=var, varm=varm)


class _Trial:
    """A file in memory, to which elements are written on trial."""

    def __init__(self, file: h5py.File, notes: list[str]):
        self.file = file
        self.notes = notes

    def passes(self, value) -> bool:
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

    def frame(self, frame: pd.DataFrame, where: str) -> pd.DataFrame:
        """Return the table if it can be written, else a mended one."""
        index = frame.index
        if not self.passes(pd.DataFrame(index=index.rename(None))):
            self.notes.append(f"{where}: names that cannot be written lost what is no text.")
            index = pd.Index([_text(name) for name in index])
        columns: dict[str, Any] = {}
        mended = False
        for position, (old, new) in enumerate(_names(frame.columns)):
            values = frame.iloc[:, position]
            if old == "_index" and np.array_equal(values.astype(str), index):
                self.notes.append(f"{where}['_index'] repeats the names and was left out.")
                mended = True
                continue
            if old != new:
                self.notes.append(f"{where}[{old!r}] cannot be written and is called {new!r}.")
            if not self.passes(_as_written(values)):
                self.notes.append(f"{where}[{old!r}] ({values.dtype}) was turned into text.")
                values = pd.Categorical([_text(v) if pd.notna(v) else None for v in values])
                mended = True
            columns[new] = np.asarray(values) if values.dtype.kind in "biuf" else values
            mended = mended or old != new
        clash = not (index.name is None or isinstance(index.name, str)) or index.name in columns
        if not mended and index is frame.index and not clash:
            return frame
        return pd.DataFrame(columns, index=index.rename(None) if clash else index)

    def mend(self, elements: MutableMapping, where: str) -> None:
        """Mend each element of ``uns``, ``obsm`` and their like in place, or leave it out."""
        for old, new in _names(elements):
            value = elements[old]
            if isinstance(value, Mapping):
                value = dict(value)
                self.mend(value, f"{where}[{old!r}]")
            elif isinstance(value, pd.DataFrame):
                value = self.frame(value, f"{where}[{old!r}]")
            if not self.passes(value):
                self.notes.append(f"{where}[{old!r}] ({type(value).__name__}) was left out.")
                del elements[old]
                continue
            if old != new:
                self.notes.append(f"{where}[{old!r}] cannot be written and is called {new!r}.")
                del elements[old]
            if old != new or value is not elements[old]:
                elements[new] = value


def _text(value) -> str:
    """Text that HDF5 can hold."""
    return str(value).replace("\0", "").encode(errors="replace").decode()


def _names(names: Iterable) -> list[tuple[Any, str]]:
    """Old and new names: texts without a slash, none reserved or empty, each once."""
    names = list(names)
    kept = {name for name in names if isinstance(name, str)}
    found, seen = [], set()
    for old in names:
        parts = old if isinstance(old, tuple) else (old,)
        new = _text("_".join(map(str, parts))).replace("/", "_")
        if new in ("", ".", "..", "_index"):
            new = "index" if new == "_index" else "unnamed"
        wanted, count = new, 1
        while new in seen or (new != old and new in kept):
            new = f"{wanted}_{count}"
            count += 1
        seen.add(new)
        found.append((old, new))
    return found


def _as_written(values: pd.Series):
    """As ``write_h5ad`` writes a column: texts that repeat are written as categories."""
    if pd.api.types.infer_dtype(values) == "string":
        words = pd.Categorical(values)
        if len(words.categories) < len(words):
            return words
    return values.to_numpy() if isinstance(values.dtype, np.dtype) else values.array
