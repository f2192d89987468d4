"""Your own file: what it is taken for, and what is refused, with the file and the key named."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from scimf.core.files import sha256_of
from scimf.data import load


def own(x=None, days=(0.0, 1.0, 3.0), n=8, **obs):
    """Small AnnData with ``n`` cells at each day."""
    n_cells = n * len(days)
    if x is None:
        x = np.random.default_rng(0).poisson(2.0, size=(n_cells, 12)).astype(np.float32)
    columns = {"day": np.repeat(np.array(days), n), **obs}
    frame = pd.DataFrame(columns, index=[f"c{i}" for i in range(n_cells)])
    return ad.AnnData(x, obs=frame, var=pd.DataFrame(index=[f"g{i}" for i in range(x.shape[1])]))


def save(adata, folder):
    path = folder / "my.h5ad"
    adata.write_h5ad(path)
    return path


def normal(columns, cells=24):
    return np.random.default_rng(1).normal(size=(cells, columns)).astype(np.float32)


def poisson():
    return np.random.default_rng(0).poisson(3.0, (24, 5)).astype(np.float32)


def log_gamma():
    return np.log1p(np.random.default_rng(0).gamma(2.0, size=(24, 5)))


def test_own_file(tmp_path):
    kinds = pd.Categorical(["a", "b"] * 12, categories=["a", "b", "unused"])
    path = save(own(kind=kinds, batch=["p", "q"] * 12), tmp_path)
    adata = load.load(path, time_key="day", type_key="kind", population_key="batch")
    assert adata.obs["time"].tolist() == [0.0] * 8 + [1.0] * 8 + [3.0] * 8
    assert list(adata.obs["cell_type"].cat.categories) == ["a", "b"]
    assert list(adata.obs["population"].cat.categories) == ["p", "q"]
    about = adata.uns["scimf"]
    assert about["form"] == "counts"
    assert about["time_unit"] == "day"
    assert "whole numbers" in about["detected"]
    assert about["files"].tolist() == ["my.h5ad"]
    assert about["sha256"].tolist() == [sha256_of(path)]
    assert load.load(str(path), time_key="day").uns["scimf"]["name"] == "my"


# -------------------------------------------------------------------------------- what is refused


def with_value(value, sparse_x=False):
    adata = own()
    adata.X[3, 4] = value
    if sparse_x:
        adata.X = sparse.csr_matrix(adata.X)
    return adata


def with_days(values):
    adata = own()
    adata.obs["day"] = values
    return adata


def with_names(kind):
    adata = own()
    others = [f"n{i}" for i in range(len(getattr(adata, kind)) - 2)]
    setattr(adata, kind, ["same", "same", *others])
    return adata


@pytest.mark.parametrize(
    ("adata", "options", "says"),
    [
        (own(), {"time_key": "time"}, r"obs\['time'\] is missing.*'day'"),
        (own()[:0].copy(), {}, "holds no cell"),
        (own(), {"type_key": "kind"}, r"obs\['kind'\] is missing"),
        (own(), {"population_key": "donor"}, r"obs\['donor'\] is missing"),
        (with_days(["early", "late"] * 12), {}, r"obs\['day'\].*'early'"),
        (with_days(["day 1 rep 2", "day 2 rep 2"] * 12), {}, r"obs\['day'\].*cannot be read"),
        (with_days(["8h", "1"] * 12), {}, r"obs\['day'\] mixes units"),
        (with_days([True, False] * 12), {}, r"obs\['day'\] is not numeric"),
        (with_days([np.nan, *[1.0, 2.0] * 11, 1.0]), {}, r"obs\['day'\] is NaN"),
        (with_days([np.inf, np.inf, *[1.0, 2.0] * 11]), {}, r"obs\['day'\].*infinite"),
        (with_days([2.0] * 24), {}, r"obs\['day'\] has 1 time point"),
        (with_days([5.0, *[1.0] * 23]), {}, r"obs\['day'\] has 1 time points with one cell.*5\.0"),
        (with_value(np.nan), {}, "X holds NaN"),
        (with_value(np.inf, sparse_x=True), {}, "X holds NaN or infinite"),
        (with_value(-1), {}, "X holds whole numbers.*negative"),
        (with_value(-1), {"form": "counts"}, "X was declared as counts.*negative"),
        (with_value(0.5), {}, "X holds fractions up to .* among whole numbers.*form="),
        (with_value(-1), {"form": "lognorm"}, "X was declared as lognorm.*negative"),
        (own(), {"form": "raw"}, "form='raw'"),
        (own(x=np.zeros((24, 3), np.float32)), {}, "X holds no value but zero"),
        (own(x=normal(201)), {}, "X holds negative values in 201 columns.*form="),
        (own(x=np.abs(normal(3)) * 100), {}, "X holds fractions up to.*form="),
        (with_names("obs_names"), {}, "duplicate cell names.*same"),
        (with_names("var_names"), {}, "duplicate gene names.*same"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*names are not unique")
def test_bad_own_files(adata, options, says, tmp_path):
    path = save(adata, tmp_path)
    with pytest.raises(ValueError, match=says) as caught:
        load.load(path, **{"time_key": "day", **options})
    assert str(path) in str(caught.value)


def test_unreadable_own_files(tmp_path):
    path = save(own(), tmp_path)
    whole = path.read_bytes()
    for content in (b"", b"not hdf5 at all", whole[: len(whole) // 2], whole[:100]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"my\.h5ad"):
            load.load(path)


def test_missing_labels(tmp_path):
    labels = pd.Categorical([None, *["a"] * 23])
    path = save(own(kind=labels), tmp_path)
    adata = load.load(path, time_key="day", type_key="kind")
    assert adata.obs["cell_type"].iloc[0] == "unknown"
    assert any("unknown" in text for text in adata.uns["scimf"]["warnings"])
    with pytest.raises(ValueError, match=r"my\.h5ad: obs\['kind'\] is missing for 1 cells"):
        load.load(path, time_key="day", population_key="kind")


# ----------------------------------------------------------------------------------------- times


@pytest.mark.parametrize(
    ("labels", "times", "unit"),
    [
        (["day 3", "Day 10.5"], [3.0, 10.5], "day"),
        (["d3.5", "d4"], [3.5, 4.0], "day"),
        (["0h", "6h"], [0.0, 6.0], "hour"),
        (["day-1", "day-2"], [1.0, 2.0], "day"),
        (["-1", "2"], [-1.0, 2.0], "a.u."),
    ],
)
def test_times_from_text(labels, times, unit, tmp_path):
    adata = own()
    adata.obs["when"] = labels * 12
    loaded = load.load(save(adata, tmp_path), time_key="when")
    assert loaded.obs["time"].tolist() == times * 12
    assert loaded.uns["scimf"]["time_unit"] == unit
    assert any("text labels" in text for text in loaded.uns["scimf"]["warnings"])


def test_categorical_times_with_an_empty_category(tmp_path):
    adata = own()
    adata.obs["day"] = pd.Categorical(adata.obs["day"].astype(int), categories=[0, 1, 2, 3])
    loaded = load.load(save(adata, tmp_path), time_key="day")
    assert set(loaded.obs["time"]) == {0.0, 1.0, 3.0}


# ---------------------------------------------------------------------------------- what X holds


@pytest.mark.parametrize(
    ("x", "form"),
    [
        (poisson().astype(int), "counts"),
        (sparse.csr_matrix(poisson()), "counts"),
        (log_gamma(), "lognorm"),
        (sparse.csr_matrix(log_gamma()), "lognorm"),
        (normal(5) / np.arange(1, 6), "pcs"),
        (normal(200) / np.arange(1, 201), "pcs"),
    ],
)
def test_form_detection(x, form, tmp_path):
    about = load.load(save(own(x=x), tmp_path), time_key="day").uns["scimf"]
    assert about["form"] == form
    assert about["detected"].startswith("Took X as")


def test_pcs_from_obsm_when_x_is_scaled(tmp_path):
    adata = own(x=normal(300))
    adata.obsm["X_pca"] = normal(7)
    loaded = load.load(save(adata, tmp_path), time_key="day")
    assert loaded.shape == (24, 7)
    assert list(loaded.var_names[:2]) == ["PC1", "PC2"]
    assert "X_pca" in loaded.uns["scimf"]["detected"]
    assert "optimistic" in loaded.uns["scimf"]["warnings"][0]


def test_declared_form_wins(tmp_path):
    path = save(own(x=normal(5)), tmp_path)
    assert load.load(path, time_key="day", form="state").uns["scimf"]["form"] == "state"
