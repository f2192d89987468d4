"""Whatever is loaded can be written and read again; what had to be changed for it is said."""

import datetime
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from tool_files import CELLS, COUNTS, TYPES, toy

from scimf.data.writable import make_writable

DATES = pd.to_datetime(["2020-01-01", "2020-01-02"] * 6)
TWELVE = np.arange(12)


def with_obs(name, values):
    adata = toy()
    adata.obs[name] = values
    return adata


def changed(change):
    adata = toy()
    result = change(adata)
    return adata if result is None else result


def with_raw(**columns):
    adata = toy()
    adata.raw = adata.copy()
    for name, values in columns.items():
        adata.raw.var[name] = values
    return adata


def objects(*values):
    return np.array(values, dtype=object)


def a_slash(adata):
    adata.obs["time"] = adata.obs["time/h"] = TWELVE


def twice(adata):
    adata.obs = pd.concat([adata.obs, adata.obs[["day"]]], axis=1)


def two_levels(adata):
    adata.obs[("a", "b")] = TWELVE
    adata.obs[3] = TWELVE


def name_of_index(adata):
    adata.obs.index.name = "kind"


def table_in_obsm(adata):
    adata.obsm["scores"] = pd.DataFrame({"a/b": TWELVE, "t": DATES}, index=CELLS)


def unknown_in_obsm(adata):
    adata.obsm["words"] = np.array([["a", 1]] * 12, dtype=object)


def odd_uns(adata):
    adata.uns.update(
        {
            "tuple": (1, 2),
            "nested": {"f": len, 3: "three", "x/y": 1, "fine": [1, 2]},
            "": 1,
            "table": pd.DataFrame({"_index": [1.0], 2: ["a"]}),
            "ragged": [[1], [1, 2]],
            "path": Path("a"),
            "coordinates": sparse.identity(12, format="coo"),
        }
    )


def slashes(adata):
    adata.obsm["X/pca"] = np.ones((12, 2))
    adata.layers["a/b"] = COUNTS
    adata.obs["a/b"], adata.obs["a_b"] = TWELVE, TWELVE + 1


#: What is nasty about it, and what is said.
NASTY = {
    "a column with a slash": (changed(a_slash), "obs['time/h'] .* 'time_h'"),
    "numbers and texts": (with_obs("mixed", objects(1, "a").repeat(6)), "obs['mixed']"),
    "dates": (with_obs("date", DATES), "obs['date'] (datetime64[ns])"),
    "dates with a zone": (with_obs("date", DATES.tz_localize("UTC")), "obs['date']"),
    "periods": (with_obs("date", pd.period_range("2020", periods=12)), "obs['date']"),
    "spans": (with_obs("age", pd.to_timedelta(TWELVE, unit="h")), "obs['age']"),
    "dates as objects": (with_obs("d", objects(*[datetime.date(2020, 1, 1)] * 12)), "obs['d']"),
    "intervals": (with_obs("bin", pd.cut(TWELVE, 3)), "obs['bin'] (category)"),
    "categories of mixed types": (with_obs("c", pd.Categorical([1, "a"] * 6)), "obs['c']"),
    "texts that know missing ones": (with_obs("s", pd.array(CELLS, dtype="string")), "obs['s']"),
    "nothing at all": (with_obs("none", objects(*[None] * 12)), "obs['none']"),
    "truth with gaps": (with_obs("flag", objects(True, None).repeat(6)), "obs['flag']"),
    "a sparse column": (with_obs("n", pd.arrays.SparseArray(TWELVE)), "obs['n']"),
    "a zero byte": (with_obs("s", objects("a\0b", "c").repeat(6)), "obs['s']"),
    "half a letter": (with_obs("s", objects("\udc80", "c").repeat(6)), "obs['s']"),
    "_index that repeats the names": (with_obs("_index", CELLS), "obs['_index'] repeats"),
    "_index of its own": (with_obs("_index", TWELVE), "'index'"),
    "_index in raw": (with_raw(_index=list("abcde")), "raw.var['_index']"),
    "dates in raw": (with_raw(date=DATES[:5]), "raw.var['date']"),
    "a column that is there twice": (changed(twice), "'day_1'"),
    "names that are no texts": (changed(two_levels), "'a_b'"),
    "an index called like a column": (changed(name_of_index), None),
    "a table in obsm": (changed(table_in_obsm), "obsm['scores']['t']"),
    "objects in obsm": (changed(unknown_in_obsm), "obsm['words'] (ndarray) was left out"),
    "objects in uns": (changed(odd_uns), "uns['nested']['f']"),
    "slashes everywhere": (changed(slashes), "'X_pca'"),
}


def writes(adata, path):
    adata.write_h5ad(path)
    return ad.read_h5ad(path)


@pytest.mark.parametrize("case", NASTY)
def test_after_it_a_file_is_written_and_read(case, tmp_path):
    adata, said = NASTY[case]
    notes = []
    adata = adata.copy()
    make_writable(adata, notes)
    again = writes(adata, tmp_path / "done.h5ad")
    assert list(again.obs_names) == CELLS
    assert again.obs["kind"].tolist() == TYPES
    assert again.obs["day"].tolist() == adata.obs["day"].tolist()
    assert list(again.obs) == list(adata.obs)
    assert list(again.uns) == list(adata.uns)
    assert np.array_equal(again.X.toarray(), COUNTS)
    if said is None:
        return
    text = " ".join(notes)
    for part in said.split(" .* "):
        assert part in text


@pytest.mark.parametrize("case", [case for case, (_, said) in NASTY.items() if said])
def test_as_it_is_it_cannot_be_written(case, tmp_path):
    adata, _ = NASTY[case]
    try:
        again = writes(adata.copy(), tmp_path / "done.h5ad")
    except Exception:  # noqa: BLE001 whatever AnnData, h5py or pandas says
        return
    assert list(again.obs) != list(adata.obs)  # it was written, but as something else
