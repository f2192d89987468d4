"""What is held out, and coordinates that are fitted on nothing else than the training cells."""

import io
import subprocess
import sys

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import scimf
from scimf.data.space import Space, fit_space
from scimf.data.split import hold_out

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
        turns = np.arange(len(time)) % len(populations)
        obs["population"] = pd.Categorical(np.array(populations)[turns])
    var = pd.DataFrame(index=[f"g{i}" for i in range(genes)])
    adata = ad.AnnData(sparse.csr_matrix(x) if sparse_x else x, obs=obs, var=var)
    adata.uns["scimf"] = {"form": form}
    return adata


def log_normalised(counts):
    return np.log1p(1e4 * counts / counts.sum(1, keepdims=True))


# --------------------------------------------------------------------------------- what is held out


def test_hold_out_times():
    adata = toy()
    split = hold_out(adata, times=[1])
    assert split.held_times == (1.0,)
    assert split.times == DAYS
    assert split.train_times == (0.0, 1 / 3, 5.0)
    np.testing.assert_array_equal(split.held_mask(adata), adata.obs["time"] == 1)
    np.testing.assert_array_equal(split.train_mask(adata), adata.obs["time"] != 1)
    assert hold_out(adata, times=[0.33333333]).held_times == (1 / 3,)
    assert hold_out(adata, times=1.0) == split
    nothing = hold_out(adata)
    assert nothing.train_mask(adata).all()
    assert not nothing.held_mask(adata).any()


def test_hold_out_populations():
    adata = toy(populations=["a", "b", "c"])
    split = hold_out(adata, times=[1], populations=["b"])
    b = (adata.obs["population"] == "b").to_numpy()
    time = adata.obs["time"].to_numpy()
    np.testing.assert_array_equal(split.train_mask(adata), ~b & (time != 1))
    np.testing.assert_array_equal(split.held_mask(adata), (time == 1) | (b & (time > 0)))
    start = b & (time == 0)  # may start a simulation, but is neither fitted nor predicted
    assert not split.train_mask(adata)[start].any()
    assert not split.held_mask(adata)[start].any()
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
    with pytest.raises(ValueError, match=r"obs\['population'\], which is missing"):
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


# ------------------------------------------------------------------------------------- coordinates


@pytest.mark.parametrize("sparse_x", [False, True])
@pytest.mark.parametrize("form", ["counts", "lognorm"])
def test_nothing_leaks_from_held_out_cells(form, sparse_x):
    adata = toy(form, sparse_x=sparse_x, populations=["a", "b", "c"])
    split = hold_out(adata, times=[1], populations=["b"])
    train = split.train_mask(adata)
    other = adata.copy()
    x = other.X.toarray() if sparse_x else other.X.copy()
    x[~train] = np.random.default_rng(1).poisson(50, size=x[~train].shape)
    other.X = sparse.csr_matrix(x) if sparse_x else x
    one = fit_space(adata, split, n_pcs=5, n_genes=20).to_dict()
    two = fit_space(other, split, n_pcs=5, n_genes=20).to_dict()
    for key, value in one.items():
        np.testing.assert_array_equal(value, two[key], err_msg=key)
    z = adata.obsm["X_scimf"]
    z_of_other = other.obsm["X_scimf"]
    np.testing.assert_array_equal(z[train], z_of_other[train])
    assert not np.allclose(z[~train], z_of_other[~train])


def test_counts_by_hand():
    adata = toy()
    split = hold_out(adata, times=[1])
    space = fit_space(adata, split, n_pcs=5, n_genes=20)
    chosen = adata.var_names.get_indexer(space.names)
    log = log_normalised(adata.X).astype(np.float64)[:, chosen]
    train = log[split.train_mask(adata)]
    np.testing.assert_allclose(space.mean, train.mean(0), rtol=1e-5)
    np.testing.assert_allclose(space.scale, train.std(0), rtol=1e-5)
    z = (log - train.mean(0)) / train.std(0)
    axes = np.linalg.svd(z[split.train_mask(adata)], full_matrices=False)[2][:5]
    np.testing.assert_allclose(np.abs(z @ axes.T), np.abs(adata.obsm["X_scimf"]), atol=1e-3)
    assert space.dim == 5
    assert len(space.names) == 20
    assert adata.obsm["X_scimf"].dtype == np.float32
    assert (space.components[np.arange(5), np.abs(space.components).argmax(1)] > 0).all()
    # Genes keep the order of the data.
    assert list(space.names) == [gene for gene in adata.var_names if gene in space.names]


@pytest.mark.parametrize("form", ["counts", "lognorm"])
def test_sparse_equals_dense(form):
    dense = toy(form)
    thin = toy(form, sparse_x=True)
    for adata in (dense, thin):
        fit_space(adata, hold_out(adata, times=[1]), n_pcs=4, n_genes=30)
    np.testing.assert_allclose(dense.obsm["X_scimf"], thin.obsm["X_scimf"], atol=1e-3)


def test_full_rank_round_trip():
    adata = toy()
    space = fit_space(adata, hold_out(adata, times=[1]), n_pcs=60)
    log = log_normalised(adata.X)[:, adata.var_names.get_indexer(space.names)]
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
    z = adata.obsm["X_scimf"]
    np.testing.assert_array_equal(z, adata.X[:, :7])
    np.testing.assert_array_equal(space.decode(z), adata.X[:, :7])
    assert space.names == tuple(adata.var_names[:7])
    assert space.dim == 7
    assert space.form == form
    assert fit_space(adata, hold_out(adata), n_pcs=500).dim == 60


def test_constant_genes_and_too_many_pcs_are_noted():
    adata = toy("lognorm")
    adata.X[:, 3] = 2.5
    adata.X[adata.obs["time"] == 1, 3] = 1.0  # varies in held-out cells only
    space = fit_space(adata, hold_out(adata, times=[1]), n_pcs=80)
    assert "g3" not in space.names
    assert space.dim == 59
    assert "1 genes that are constant" in space.warnings[0]
    assert "59 PCs instead of 80" in space.warnings[1]


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


# ------------------------------------------------------------------- a space remembers its split


def through_a_file(space):
    """What comes back from an archive of plain arrays, read without pickle."""
    buffer = io.BytesIO()
    np.savez(buffer, **space.to_dict())
    buffer.seek(0)
    return Space.from_dict(dict(np.load(buffer, allow_pickle=False)))


@pytest.mark.parametrize("form", ["counts", "lognorm", "state"])
def test_checkpoint_without_pickle(form):
    adata = toy(form)
    space = fit_space(adata, hold_out(adata, times=[1]), n_pcs=5, n_genes=20)
    back = through_a_file(space)
    assert back.names == space.names
    assert back.inputs == space.inputs
    assert back.form == form
    assert back.warnings == space.warnings
    np.testing.assert_array_equal(back.encode(adata), adata.obsm["X_scimf"])


@pytest.mark.parametrize("held", [{}, {"times": [1]}, {"times": [1 / 3], "populations": ["b"]}])
def test_a_checkpoint_keeps_the_split(held):
    adata = toy("state", populations=["a", "b", "c"])
    split = hold_out(adata, **held)
    space = fit_space(adata, split)
    assert space.split == split
    assert through_a_file(space).split == split
    for part in space.to_dict().values():
        assert part.dtype.kind in "fU"  # numbers and texts, no objects


def test_a_space_without_a_split_stays_without():
    adata = toy("state")
    space = fit_space(adata, hold_out(adata))
    arrays = space.to_dict()
    bare = {key: part for key, part in arrays.items() if not key.startswith("split_")}
    assert len(bare) < len(arrays)
    assert Space.from_dict(bare).split is None


def test_a_fit_refuses_a_space_of_another_split_and_accepts_its_own():
    adata = toy()
    split = hold_out(adata, times=[1])
    config = scimf.SDEConfig(hidden=(4,), hidden_interaction=4, steps=1, batch_cells=4, dt=1.0)
    options = {"config": config, "device": "cpu", "progress": False}
    space = through_a_file(fit_space(adata, split, n_pcs=3, n_genes=20))
    other = hold_out(adata, times=[1 / 3])
    with pytest.raises(ValueError, match=r"space: was fitted with another split .*held_times"):
        scimf.fit(adata, other, space, **options)
    model = scimf.fit(adata, split, space, **options)
    assert model.space.split == split


def test_import_needs_neither_scanpy_nor_pooch():
    code = "import sys; sys.modules['scanpy'] = sys.modules['pooch'] = None; "
    code += "import scimf.data.space, scimf.data.load"
    subprocess.run([sys.executable, "-c", code], check=True)
