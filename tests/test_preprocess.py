import io
import subprocess
import sys

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from scimf.preprocess import Space, fit_space, hold_out

DAYS = (0.0, 1 / 3, 1.0, 5.0)


def toy(form="counts", *, n=30, genes=60, sparse_x=False, populations=None):
    """``n`` cells at each day; gene activity drifts with time."""
    rng = np.random.default_rng(0)
    time = np.repeat(DAYS, n)
    rate = rng.gamma(1.0, 3.0, genes) * np.exp(0.1 * time[:, None] * rng.normal(size=genes))
    x = rng.poisson(rate).astype(np.float32)
    if form == "lognorm":
        x = np.log1p(1e4 * x / x.sum(1, keepdims=True))
    elif form in ("pcs", "state"):
        x = rng.normal(size=(len(time), genes)).astype(np.float32)
    obs = pd.DataFrame({"time": time}, index=[f"c{i}" for i in range(len(time))])
    if populations:
        obs["population"] = pd.Categorical(np.array(populations)[np.arange(len(time)) % len(populations)])
    adata = ad.AnnData(sparse.csr_matrix(x) if sparse_x else x, obs=obs, var=pd.DataFrame(index=names("g", genes)))
    adata.uns["scimf"] = {"form": form}
    return adata


def names(prefix, n):
    return [f"{prefix}{i}" for i in range(n)]


def test_hold_out_times():
    adata = toy()
    split = hold_out(adata, times=[1])
    assert split.held_times == (1.0,) and split.times == DAYS and split.train_times == (0.0, 1 / 3, 5.0)
    np.testing.assert_array_equal(split.held_mask(adata), adata.obs["time"] == 1)
    np.testing.assert_array_equal(split.train_mask(adata), adata.obs["time"] != 1)
    assert hold_out(adata, times=[0.33333333]).held_times == (1 / 3,)
    assert hold_out(adata, times=1.0) == split
    assert hold_out(adata).train_mask(adata).all() and not hold_out(adata).held_mask(adata).any()


def test_hold_out_populations():
    adata = toy(populations=["a", "b", "c"])
    split = hold_out(adata, times=[1], populations=["b"])
    b, time = (adata.obs["population"] == "b").to_numpy(), adata.obs["time"].to_numpy()
    np.testing.assert_array_equal(split.train_mask(adata), ~b & (time != 1))
    np.testing.assert_array_equal(split.held_mask(adata), (time == 1) | (b & (time > 0)))
    start = b & (time == 0)  # may start a simulation, but is neither fitted nor predicted
    assert not split.train_mask(adata)[start].any() and not split.held_mask(adata)[start].any()
    assert hold_out(adata, populations="b").held_populations == ("b",)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"times": [2]}, r"times: 2 .*0\.0, 0\.33"),
        ({"times": [0]}, "times: 0 is the first time"),
        ({"times": [1 / 3, 1, 5]}, "expected at least two"),
        ({"populations": ["z"]}, r"populations: \['z'\].*'a', 'b'"),
        ({"populations": ["a", "b"]}, "expected at least two"),
    ],
)
def test_hold_out_errors(options, says):
    with pytest.raises(ValueError, match=says):
        hold_out(toy(populations=["a", "b"]), **options)


def test_hold_out_needs_columns():
    with pytest.raises(ValueError, match=r"no obs\['population'\]"):
        hold_out(toy(), populations=["a"])
    adata = toy()
    del adata.obs["time"]
    with pytest.raises(ValueError, match=r"obs\['time'\] is missing"):
        hold_out(adata)


def test_first_time_of_a_late_population():
    adata = toy(populations=["a", "b"])
    adata = adata[~((adata.obs["population"] == "b") & (adata.obs["time"] == 0))].copy()
    with pytest.raises(ValueError, match="first time of population 'b'"):
        hold_out(adata, times=[1 / 3])


@pytest.mark.parametrize("sparse_x", [False, True])
@pytest.mark.parametrize("form", ["counts", "lognorm"])
def test_nothing_leaks_from_held_out_cells(form, sparse_x):
    adata = toy(form, sparse_x=sparse_x, populations=["a", "b", "c"])
    split = hold_out(adata, times=[1], populations=["b"])
    other, train = adata.copy(), split.train_mask(adata)
    x = other.X.toarray() if sparse_x else other.X.copy()
    x[~train] = np.random.default_rng(1).poisson(50, size=x[~train].shape)
    other.X = sparse.csr_matrix(x) if sparse_x else x
    one = fit_space(adata, split, n_pcs=5, n_genes=20).to_dict()
    two = fit_space(other, split, n_pcs=5, n_genes=20).to_dict()
    for key, value in one.items():
        np.testing.assert_array_equal(value, two[key], err_msg=key)
    np.testing.assert_array_equal(adata.obsm["X_scimf"][train], other.obsm["X_scimf"][train])
    assert not np.allclose(adata.obsm["X_scimf"][~train], other.obsm["X_scimf"][~train])


def test_counts_by_hand():
    adata = toy()
    split = hold_out(adata, times=[1])
    space = fit_space(adata, split, n_pcs=5, n_genes=20)
    log = np.log1p(1e4 * adata.X / adata.X.sum(1, keepdims=True)).astype(np.float64)[
        :, adata.var_names.get_indexer(space.names)
    ]
    train = log[split.train_mask(adata)]
    np.testing.assert_allclose(space.mean, train.mean(0), rtol=1e-5)
    np.testing.assert_allclose(space.scale, train.std(0), rtol=1e-5)
    z = (log - train.mean(0)) / train.std(0)
    axes = np.linalg.svd(z[split.train_mask(adata)], full_matrices=False)[2][:5]
    np.testing.assert_allclose(np.abs(z @ axes.T), np.abs(adata.obsm["X_scimf"]), atol=1e-3)
    assert space.dim == 5 and len(space.names) == 20 and adata.obsm["X_scimf"].dtype == np.float32
    assert (space.components[np.arange(5), np.abs(space.components).argmax(1)] > 0).all()
    # genes keep the order of the data
    assert list(space.names) == [g for g in adata.var_names if g in space.names]


@pytest.mark.parametrize("form", ["counts", "lognorm"])
def test_sparse_equals_dense(form):
    dense, thin = toy(form), toy(form, sparse_x=True)
    for adata in (dense, thin):
        fit_space(adata, hold_out(adata, times=[1]), n_pcs=4, n_genes=30)
    np.testing.assert_allclose(dense.obsm["X_scimf"], thin.obsm["X_scimf"], atol=1e-3)


def test_full_rank_round_trip():
    adata = toy()
    space = fit_space(adata, hold_out(adata, times=[1]), n_pcs=60)
    log = np.log1p(1e4 * adata.X / adata.X.sum(1, keepdims=True))[:, adata.var_names.get_indexer(space.names)]
    np.testing.assert_allclose(space.decode(space.encode(adata)), log, atol=1e-3)


def test_gene_order_does_not_matter_and_missing_genes_are_named():
    adata = toy()
    space = fit_space(adata, hold_out(adata, times=[1]), n_pcs=5, n_genes=20)
    shuffled = adata[:, np.random.default_rng(0).permutation(adata.n_vars)]
    np.testing.assert_allclose(space.encode(shuffled), adata.obsm["X_scimf"], atol=1e-5)
    with pytest.raises(ValueError, match="var_names: 1 of 60 are missing.*g7"):
        space.encode(adata[:, adata.var_names != "g7"])


@pytest.mark.parametrize("form", ["pcs", "state"])
def test_coordinates_pass_through(form):
    adata = toy(form)
    space = fit_space(adata, hold_out(adata, times=[1]), n_pcs=7)
    np.testing.assert_array_equal(adata.obsm["X_scimf"], adata.X[:, :7])
    np.testing.assert_array_equal(space.decode(adata.obsm["X_scimf"]), adata.X[:, :7])
    assert space.names == tuple(adata.var_names[:7]) and space.dim == 7 and space.form == form
    assert fit_space(adata, hold_out(adata), n_pcs=500).dim == 60


@pytest.mark.parametrize("form", ["counts", "state"])
def test_checkpoint_without_pickle(form):
    adata = toy(form)
    space = fit_space(adata, hold_out(adata, times=[1]), n_pcs=5, n_genes=20)
    buffer = io.BytesIO()
    np.savez(buffer, **space.to_dict())
    buffer.seek(0)
    back = Space.from_dict(dict(np.load(buffer, allow_pickle=False)))
    assert back.names == space.names and back.form == form and back.warnings == space.warnings
    np.testing.assert_array_equal(back.encode(adata), adata.obsm["X_scimf"])


def test_constant_genes_and_too_many_pcs_are_said():
    adata = toy("lognorm")
    adata.X[:, 3] = 2.5
    adata.X[adata.obs["time"] == 1, 3] = 1.0  # varies in held-out cells only
    space = fit_space(adata, hold_out(adata, times=[1]), n_pcs=80)
    assert "g3" not in space.names and space.dim == 59
    assert "1 genes that are constant" in space.warnings[0] and "59 PCs instead of 80" in space.warnings[1]


def test_fit_space_errors():
    adata = toy(n=5)
    split = hold_out(adata, times=[1])
    with pytest.raises(ValueError, match="n_pcs=15: only 15 training cells"):
        fit_space(adata, split, n_pcs=15)
    with pytest.raises(ValueError, match="n_pcs=0"):
        fit_space(adata, split, n_pcs=0)
    for bad in (np.nan, np.inf):
        broken = toy("lognorm")
        broken.X[-1, 0] = bad
        with pytest.raises(ValueError, match="X holds NaN or infinite"):
            fit_space(broken, split)
    flat = toy("lognorm")
    flat.X[:] = 1
    with pytest.raises(ValueError, match="no gene varies"):
        fit_space(flat, split)
    del adata.uns["scimf"]
    with pytest.raises(ValueError, match=r"uns\['scimf'\]\['form'\]"):
        fit_space(adata, split)


def test_import_needs_neither_scanpy_nor_pooch():
    code = "import sys; sys.modules['scanpy'] = sys.modules['pooch'] = None; import scimf.preprocess, scimf.datasets"
    subprocess.run([sys.executable, "-c", code], check=True)
