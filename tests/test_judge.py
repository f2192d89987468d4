import json
import sys

import anndata as ad
import numpy as np
import pytest

from scimf import judge
from scimf.preprocess import hold_out
from scimf.sde import SDEConfig
from scimf.snapshots import KEY

QUICK = SDEConfig(hidden=(8,), hidden_interaction=8, steps=2, batch_cells=16, dt=0.5).to_dict()
HELD = (1.0, 2.0)


@pytest.fixture(scope="module")
def course():
    """One population of 12 cells at each of 4 times; gene g3 never varies, so that our space leaves it out."""
    rng = np.random.default_rng(0)
    time = np.repeat(np.arange(4.0), 12)
    x = rng.gamma(2, size=(48, 6)).astype(np.float32) + time[:, None].astype(np.float32)
    x[:, 3] = 1.5
    adata = ad.AnnData(x, uns={"scimf": {"form": "lognorm"}})
    adata.obs_names, adata.var_names = [f"c{i}" for i in range(48)], [f"g{i}" for i in range(6)]
    adata.obs["time"] = time
    return adata


def handed_over(adata):
    """What the harness gives a method: training cells, and test cells with the first time among them."""
    train = hold_out(adata, times=HELD).train_mask(adata)
    return adata[train].copy(), adata[~train | (adata.obs["time"] == 0)].copy()


def ask(adata, row, tmp_path, seed=0):
    train, test = handed_over(adata)
    settings = {"row": row, "seed": seed, "config": QUICK, "n_pcs": 3, "cache": str(tmp_path)}
    trained = judge.train(train, [3.0, 0.0, 2.0, 1.0], settings)
    return judge.predict(trained, test, row, seed), test, trained


def test_layout_is_what_the_harness_reads(course, tmp_path):
    judge.write_dataset(course, tmp_path / "data.h5ad")
    written = ad.read_h5ad(tmp_path / "data.h5ad")
    np.testing.assert_array_equal(written.X, course.X)
    assert list(written.obs.columns) == ["timepoint"] and list(written.var_names) == list(course.var_names)
    np.testing.assert_array_equal(written.obs["timepoint"], course.obs["time"])
    assert written.uns["scimf"]["form"] == "lognorm"


@pytest.mark.parametrize("change", ["counts", "populations"])
def test_data_that_do_not_fit_are_refused(course, tmp_path, change):
    adata = course.copy()
    if change == "counts":
        adata.uns["scimf"] = {"form": "counts"}
    else:
        adata.obs["population"] = ["p", "q"] * 24
    with pytest.raises(ValueError, match="uns|population"):
        judge.write_dataset(adata, tmp_path / "data.h5ad")


def test_request_names_split_metrics_and_settings(tmp_path):
    asked = judge.request(tmp_path, HELD, {"row": "from_t0", "seed": 2, "config": {"lr": 1e-5}})
    (data,) = asked["datasets"]
    assert data["name"] == "MEFDataset" and data["data_path"].endswith("data.h5ad")
    assert data["data_preprocessing_steps"] == [{"name": "TestTimepointSelection", "test_tps": [1.0, 2.0]}]
    assert [m["name"] for m in asked["metrics"]] == list(judge.METRICS)
    assert json.loads(asked["method"]["metadata"]["scimf"])["config"] == {"lr": 1e-5}


def test_without_the_environment_the_error_says_how_to_build_it(course, monkeypatch):
    monkeypatch.delenv("SCIMF_JUDGE", raising=False)
    with pytest.raises(RuntimeError, match="SCIMF_JUDGE is not set") as error:
        judge.judge(course, HELD)
    assert len(judge.RECIPE.strip().splitlines()) == 3 and judge.RECIPE in str(error.value)
    assert f"scTimeBench=={judge.VERSION}" in judge.RECIPE
    monkeypatch.setenv("SCIMF_JUDGE", "/nowhere/python")
    with pytest.raises(RuntimeError, match="No such file"):
        judge.interpreter()


def test_an_environment_without_the_package_is_refused(monkeypatch, tmp_path):
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "$@"\n', encoding="utf-8")  # -S: no site packages
    python.chmod(0o755)
    monkeypatch.setenv("SCIMF_JUDGE", str(python))
    with pytest.raises(RuntimeError, match="found no such package"):
        judge.interpreter()


def test_unknown_rows_and_times_are_refused(course):
    with pytest.raises(ValueError, match="unknown.*typo"):
        judge.judge(course, HELD, rows=["typo"])
    with pytest.raises(ValueError, match="first time"):
        judge.judge(course, [0.0])


@pytest.mark.parametrize("row", judge.TRAINED + judge.UNTRAINED)
def test_every_row_fills_what_is_asked(course, tmp_path, row):
    predicted, test, trained = ask(course, row, tmp_path)
    last = (test.obs["time"] == 2).to_numpy()
    assert predicted.shape == test.shape and np.isnan(predicted[last]).all() and np.isfinite(predicted[~last]).all()
    assert "g3" not in trained.space.names
    np.testing.assert_allclose(predicted[~last, 3], 1.5, rtol=1e-6)


@pytest.mark.parametrize("row", judge.TRAINED + judge.UNTRAINED)
def test_held_out_cells_are_not_handed_to_fitting(course, tmp_path, row):
    """Other held-out cells give the same model, and the same answer of every row that should not look at them."""
    other = course.copy()
    held = np.isin(course.obs["time"], HELD)
    other.X[held] = course.X[held][::-1] * 3
    (one, _, mine), (two, _, theirs) = (ask(data, row, tmp_path / name) for data, name in ((course, "a"), (other, "b")))
    np.testing.assert_array_equal(mine.space.components, theirs.space.components)
    seen = set(mine.cells.obs["time"]) | {t for _, t in mine.genes.cells}
    if mine.model is not None:
        forward, again = (getattr(trained.model, "forward", trained.model) for trained in (mine, theirs))
        seen |= {t for _, t in forward.starts.cells}
        assert all((a == b).all() for a, b in zip(forward.sde.parameters(), again.sde.parameters(), strict=True))
    assert not seen & set(HELD)
    assert np.array_equal(one, two, equal_nan=True) == (row not in ("own_state", "copy_own", "oracle_pcs"))


def test_own_state_moves_each_cell_from_where_it_is(course, tmp_path):
    predicted, test, trained = ask(course, "own_state", tmp_path)
    for now in (0.0, 1.0):
        rows = (test.obs["time"] == now).to_numpy()
        here, there = (test[rows], ad.AnnData(predicted[rows], var=test.var.copy()))
        start, end = (trained.space.encode(cells) for cells in (here, there))
        distance = np.linalg.norm(end[:, None] - start[None], axis=-1)  # after two steps of training cells hardly move
        assert (distance.argmin(1) == np.arange(len(start))).mean() > 0.6


def test_from_t0_starts_from_the_first_snapshot_at_every_time(course, tmp_path):
    """At the first interval both variants answer the same question, and give the same cloud."""
    from_t0, test, trained = ask(course, "from_t0", tmp_path)
    own, _, _ = ask(course, "own_state", tmp_path)
    first, second = ((test.obs["time"] == t).to_numpy() for t in (0.0, 1.0))
    np.testing.assert_allclose(np.sort(from_t0[first], 0), np.sort(own[first], 0), rtol=1e-4)
    assert not np.allclose(np.sort(from_t0[second], 0), np.sort(own[second], 0), rtol=1e-2)
    assert min(t for _, t in trained.model.starts.cells) == 0 and KEY in trained.cells.obsm
