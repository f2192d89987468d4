import json
import sys

import anndata as ad
import numpy as np
import pytest
from evidence import sctimebench
from evidence.sctimebench import RowSettings, fit_row, predict_next_times
from evidence.two_sided import TwoSided

from scimf.data.split import hold_out
from scimf.dynamics.config import SDEConfig
from scimf.dynamics.snapshots import KEY

QUICK = SDEConfig(hidden=(8,), hidden_interaction=8, steps=2, batch_cells=16, dt=0.5).to_dict()
HELD = (1.0, 2.0)
ROWS = sctimebench.TRAINED + sctimebench.UNTRAINED


@pytest.fixture(scope="module")
def course():
    """One population of 12 cells at each of 4 times; g3 never varies: our space leaves it out."""
    rng = np.random.default_rng(0)
    time = np.repeat(np.arange(4.0), 12)
    x = rng.gamma(2, size=(48, 6)).astype(np.float32) + time[:, None].astype(np.float32)
    x[:, 3] = 1.5
    adata = ad.AnnData(x, uns={"scimf": {"form": "lognorm"}})
    adata.obs_names = [f"c{i}" for i in range(48)]
    adata.var_names = [f"g{i}" for i in range(6)]
    adata.obs["time"] = time
    return adata


def handed_over(adata):
    """What the harness gives a method: training cells, and test cells with the first time."""
    train = hold_out(adata, times=HELD).train_mask(adata)
    return adata[train].copy(), adata[~train | (adata.obs["time"] == 0)].copy()


def ask(adata, row, folder, seed=0):
    train, test = handed_over(adata)
    settings = RowSettings(row=row, seed=seed, config=QUICK, n_pcs=3, cache=str(folder))
    fitted = fit_row(train, [3.0, 0.0, 2.0, 1.0], settings)
    return predict_next_times(fitted, test, row, seed), test, fitted


def test_layout_is_what_the_harness_reads(course, tmp_path):
    sctimebench.write_dataset(course, tmp_path / "data.h5ad")
    written = ad.read_h5ad(tmp_path / "data.h5ad")
    np.testing.assert_array_equal(written.X, course.X)
    assert list(written.obs.columns) == ["timepoint"]
    assert list(written.var_names) == list(course.var_names)
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
        sctimebench.write_dataset(adata, tmp_path / "data.h5ad")


def test_request_names_split_metrics_and_settings(tmp_path):
    settings = RowSettings(row="from_t0", seed=2, config={"lr": 1e-5}, n_pcs=3, cache="fits")
    asked = sctimebench.harness_config(tmp_path, HELD, settings)
    (data,) = asked["datasets"]
    assert data["name"] == "MEFDataset" and data["data_path"].endswith("data.h5ad")
    split = {"name": "TestTimepointSelection", "test_tps": [1.0, 2.0]}
    assert data["data_preprocessing_steps"] == [split]
    assert [metric["name"] for metric in asked["metrics"]] == list(sctimebench.METRICS)
    text = asked["method"]["metadata"]["scimf"]
    assert RowSettings(**json.loads(text)) == settings


def test_without_the_environment_the_error_says_how_to_build_it(course, monkeypatch):
    monkeypatch.delenv("SCIMF_SCTIMEBENCH", raising=False)
    with pytest.raises(RuntimeError, match="SCIMF_SCTIMEBENCH is not set") as error:
        sctimebench.score_with_sctimebench(course, HELD)
    recipe = sctimebench.RECIPE
    assert len(recipe.strip().splitlines()) == 3
    assert recipe in str(error.value)
    assert f"scTimeBench=={sctimebench.VERSION}" in recipe
    monkeypatch.setenv("SCIMF_SCTIMEBENCH", "/nowhere/python")
    with pytest.raises(RuntimeError, match="No such file"):
        sctimebench.python_with_sctimebench()


def test_an_environment_without_the_package_is_refused(monkeypatch, tmp_path):
    python = tmp_path / "python"
    # -S: no site packages
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    monkeypatch.setenv("SCIMF_SCTIMEBENCH", str(python))
    with pytest.raises(RuntimeError, match="found no such package"):
        sctimebench.python_with_sctimebench()


def test_unknown_rows_and_times_are_refused(course):
    with pytest.raises(ValueError, match="unknown.*typo"):
        sctimebench.score_with_sctimebench(course, HELD, rows=["typo"])
    with pytest.raises(ValueError, match="first time"):
        sctimebench.score_with_sctimebench(course, [0.0])


@pytest.mark.parametrize("row", ROWS)
def test_every_row_fills_what_is_asked(course, tmp_path, row):
    predicted, test, fitted = ask(course, row, tmp_path)
    last = (test.obs["time"] == 2).to_numpy()
    assert predicted.shape == test.shape
    assert np.isnan(predicted[last]).all()
    assert np.isfinite(predicted[~last]).all()
    assert "g3" not in fitted.space.names
    np.testing.assert_allclose(predicted[~last, 3], 1.5, rtol=1e-6)


def forward_model(fitted):
    return fitted.model.forward if isinstance(fitted.model, TwoSided) else fitted.model


@pytest.mark.parametrize("row", ROWS)
def test_held_out_cells_are_not_handed_to_fitting(course, tmp_path, row):
    """Other held-out cells give the same model, and the same answer of rows that must not look."""
    other = course.copy()
    held = np.isin(course.obs["time"], HELD)
    other.X[held] = course.X[held][::-1] * 3
    one, _, fitted = ask(course, row, tmp_path / "a")
    two, _, again = ask(other, row, tmp_path / "b")
    np.testing.assert_array_equal(fitted.space.components, again.space.components)
    seen = set(fitted.cells.obs["time"]) | {t for _, t in fitted.genes.cells}
    if fitted.model is not None:
        model = forward_model(fitted)
        seen |= {t for _, t in model.starts.cells}
        weights = forward_model(again).sde.parameters()
        for a, b in zip(model.sde.parameters(), weights, strict=True):
            assert (a == b).all()
    assert not seen & set(HELD)
    looks = row in ("own_state", "copy_own", "oracle_pcs")
    assert np.array_equal(one, two, equal_nan=True) == (not looks)


def test_own_state_moves_each_cell_from_where_it_is(course, tmp_path):
    predicted, test, fitted = ask(course, "own_state", tmp_path)
    for now in (0.0, 1.0):
        rows = (test.obs["time"] == now).to_numpy()
        start = fitted.space.encode(test[rows])
        end = fitted.space.encode(ad.AnnData(predicted[rows], var=test.var.copy()))
        # After two steps of training cells hardly move.
        distance = np.linalg.norm(end[:, None] - start[None], axis=-1)
        assert (distance.argmin(1) == np.arange(len(start))).mean() > 0.6


def test_from_t0_starts_from_the_first_snapshot_at_every_time(course, tmp_path):
    """At the first interval both variants answer the same question, and give the same cloud."""
    from_t0, test, fitted = ask(course, "from_t0", tmp_path)
    own, _, _ = ask(course, "own_state", tmp_path)
    first = (test.obs["time"] == 0.0).to_numpy()
    second = (test.obs["time"] == 1.0).to_numpy()
    np.testing.assert_allclose(np.sort(from_t0[first], 0), np.sort(own[first], 0), rtol=1e-4)
    assert not np.allclose(np.sort(from_t0[second], 0), np.sort(own[second], 0), rtol=1e-2)
    assert min(t for _, t in fitted.model.starts.cells) == 0
    assert KEY in fitted.cells.obsm
