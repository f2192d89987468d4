"""From the public files of both papers to a model, and the named splits of scIMF."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from cached import available
from evidence.look_alikes import (
    CONDITIONS,
    GENES,
    TIME_COURSES,
    WRITERS,
    counts,
    places,
    write_conditions,
    write_drosophila,
    write_pancreas,
    write_reprogramming,
    write_zebrafish,
)
from scipy import sparse

from scimf.core import paths
from scimf.core.files import sha256_of
from scimf.counts.config import CountConfig
from scimf.counts.fit_autoencoder import fit_counts
from scimf.data import registry
from scimf.data.load import load
from scimf.data.space import fit_space
from scimf.data.split import SPLITS, hold_out
from scimf.dynamics.config import SDEConfig
from scimf.dynamics.fit import fit
from workflow import notebooks

pytestmark = pytest.mark.usefixtures("empty_cache")

QUICK = SDEConfig(hidden=(8,), hidden_interaction=8, steps=2, batch_cells=8, dt=0.5)
#: Cells of each day of the reprogramming set, and how many of them the paper works with.
ALL = "8005 5604 13715 14132 16089 13777 11533 11568 24200 8865"
ALL += " 7327 7122 7478 7080 14443 20615 21068 16228 7436"
USED = "800 560 1371 1413 1608 1377 1153 1156 2420 886 732 712 747 708 1444 2061 2106 1622 743"


# ------------------------------------------------------------------------- time courses of scIMF


@pytest.mark.parametrize("name", TIME_COURSES)
def test_public_files_are_read(name):
    _, times, cells = TIME_COURSES[name]
    WRITERS[name]()
    adata = load(name)
    entry = registry.entries()[name]
    assert adata.obs["time"].dtype == np.float64
    found = adata.obs["time"].value_counts().sort_index().to_dict()
    assert found == dict(zip(times, cells, strict=True))
    assert sparse.issparse(adata.X)
    assert adata.X.dtype == np.float32
    assert adata.obs_names.is_unique
    about = adata.uns["scimf"]
    assert about["name"] == name
    assert about["form"] == entry["form"]
    assert about["time_unit"] == entry["time_unit"]
    digests = [sha256_of(file) for file in places(name)]
    assert about["sha256"].tolist() == digests
    adata.write_h5ad(paths.DATA / "copy.h5ad")
    copy = ad.read_h5ad(paths.DATA / "copy.h5ad")
    assert copy.uns["scimf"]["sha256"].tolist() == digests


@pytest.mark.parametrize("name", TIME_COURSES)
def test_from_public_files_to_a_model(name):
    split_name, _, _ = TIME_COURSES[name]
    WRITERS[name]()
    adata = load(name)
    split = hold_out(adata, times=split_name)
    assert split == hold_out(adata, times=SPLITS[name][split_name])
    train = adata[split.train_mask(adata)].copy()
    space = fit_space(adata, split, n_pcs=3, n_genes=6)
    alone = fit_space(train, hold_out(train), n_pcs=3, n_genes=6)
    assert space.names == alone.names  # held-out cells have no say in the genes
    assert len(space.names) < len(GENES)
    model = fit(adata, split, space, config=QUICK, progress=False)
    sample = model.sample(times=list(split.held_times[:1]), n=5)
    assert sample.n_obs == 5
    assert np.isfinite(sample.X).all()


@pytest.mark.parametrize("name", TIME_COURSES)
def test_every_named_split(name):
    times = np.array(TIME_COURSES[name][1])
    adata = ad.AnnData(obs=pd.DataFrame({"time": times}, index=times.astype(str)))
    adata.uns["scimf"] = {"name": name}
    for split, held_times in SPLITS[name].items():
        assert hold_out(adata, times=split).held_times == tuple(held_times)
    says = f"{name}: no split 'easy', expected one of .*all_times"
    with pytest.raises(ValueError, match=says):
        hold_out(adata, times="easy")


def test_named_splits_are_those_of_the_paper():
    assert set(SPLITS) == set(TIME_COURSES)
    with pytest.raises(ValueError, match="emt: no split 'all_times', .* for zebrafish"):
        hold_out(ad.AnnData(uns={"scimf": {"name": "emt"}}), times="all_times")


# The published indices, and which time each stands for in the data's own unit.
@pytest.mark.parametrize(
    ("name", "split", "index"),
    [
        ("zebrafish", "three_interpolation", (4, 6, 8)),
        ("zebrafish", "two_forecasting", (10, 11)),
        ("zebrafish", "remove_recovery", (2, 4, 6, 8, 10, 11)),
        ("reprogramming", "remove_recovery", (5, 7, 9, 11, 15, 16, 17, 18)),
        ("pancreas", "leaveout7", (7,)),
        ("drosophila", "three_interpolation", (4, 6, 8)),
        ("drosophila", "three_forecasting", (8, 9, 10)),
        ("drosophila", "remove_recovery", (2, 4, 6, 8, 9, 10)),
    ],
)
def test_published_indices_became_times(name, split, index):
    times = TIME_COURSES[name][1]
    assert SPLITS[name][split] == [times[i] for i in index]


def test_zebrafish_values_and_lineages():
    write_zebrafish()
    adata = load("zebrafish")
    np.testing.assert_allclose(adata.X.toarray(), np.log1p(counts(48)), rtol=1e-6)
    kinds = adata.obs["cell_type"].tolist()
    assert kinds[:4] == ["Spinal_Cord", "Notochord", "unassigned", "several lineages"]


def test_pancreas_values_types_and_batches():
    write_pancreas()
    adata = load("pancreas")
    np.testing.assert_array_equal(adata.X.toarray(), counts(48))
    assert adata.obs["batch"].tolist()[:7] == ["1"] * 6 + ["2"]
    assert set(adata.obs["cell_type"]) == {"sc_beta"}


def test_drosophila_values_are_those_of_the_drawn_cells():
    write_drosophila()
    adata = load("drosophila")
    rows = [int(cell.removeprefix("CELL")) for cell in adata.obs_names]
    np.testing.assert_array_equal(adata.X.toarray(), counts(80 * 11)[rows])
    assert set(adata.obs["batch"]) == {"exp1"}


def test_cells_a_day_are_the_published_ones():
    cells = [int(n) for n in ALL.split()]
    used = [int(n) for n in USED.split()]
    write_reprogramming(cells, n_genes=2)
    adata = load("reprogramming")
    assert sum(cells) == 236_285
    assert adata.n_obs == 23_619
    assert adata.obs["time"].value_counts().sort_index().tolist() == used


def test_reprogramming_draws_the_same_cells_again_from_any_kind_of_matrix():
    write_reprogramming()
    matrix = places("reprogramming")[0]
    first = load("reprogramming")
    source = ad.read_h5ad(matrix)
    for kind in (np.asarray(source.X.todense()), source.X.tocsc()):
        source.X = kind
        source.write_h5ad(matrix)
        again = load("reprogramming")
        assert again.obs_names.equals(first.obs_names)
        assert (again.X != first.X).nnz == 0


# ---------------------------------------------------------------------------- conditions of scLDM


@pytest.mark.parametrize("name", CONDITIONS)
def test_conditions_from_public_files_to_a_model(name):
    write_conditions(name)
    adata = load(name)
    files = places(name)
    assert adata.uns["scimf"]["time_unit"] == "none"
    assert "time" not in adata.obs
    assert adata.obs_names.is_unique
    expected = np.concatenate([counts(40, i) for i in range(len(files))])
    np.testing.assert_array_equal(adata.X.toarray(), expected)
    for key, column in CONDITIONS[name].items():
        labels = [f"{column} b", f"{column} a"] if column else ["k562", "k562"]
        assert adata.obs[key].tolist()[:2] == labels
    tiny = {"width": 16, "tokens": 4, "latent": 4, "layers": 1, "heads": 2, "cross_heads": 1}
    config = CountConfig(**tiny, batch_cells=8, steps=2)
    assert len(fit_counts(adata, config=config, progress=False).history["reconstruction"]) == 2


def test_training_and_test_cells_are_told_apart_by_the_file():
    write_conditions("dentate_gyrus")
    assert load("dentate_gyrus").obs["split"].tolist() == ["train"] * 40 + ["test"] * 40


def test_cell_lines_are_told_apart_by_the_file():
    write_conditions("replogle")
    lines = load("replogle").obs["cell_line"].unique().tolist()
    assert lines == ["k562", "rpe1", "hepg2", "jurkat"]


# ------------------------------------------------------------------------ sets to be had by hand


def test_a_missing_file_is_asked_for_by_hand_and_nothing_is_downloaded(monkeypatch):
    monkeypatch.setattr(registry, "_download", lambda *_: pytest.fail("asked the network"))
    write_zebrafish()
    meta = places("zebrafish")[1]
    meta.unlink()
    with pytest.raises(registry.DataUnavailable) as caught:
        load("zebrafish")
    assert not available("zebrafish")
    for part in ("URD_Dropseq_Meta.txt", "sign in", "https://singlecell", f"Save it as {meta}"):
        assert part in str(caught.value)
    assert str(paths.DATA) not in str(caught.value).splitlines()[0]  # what a notebook records


def test_a_sha256_that_is_known_is_checked_all_the_same(monkeypatch):
    write_pancreas()
    entries = registry.entries()
    entries["pancreas"]["files"][0]["sha256"] = "0" * 64
    monkeypatch.setattr(registry, "entries", lambda: entries)
    with pytest.raises(ValueError, match="processed_counts"):
        load("pancreas")


def test_make_data_names_what_is_missing_by_hand_and_does_not_fail(monkeypatch, capsys):
    every = registry.entries()
    entries = {name: every[name] for name in ("emt", "zebrafish", "pancreas")}
    monkeypatch.setattr(registry, "entries", lambda: entries)
    monkeypatch.setattr(registry, "_download", lambda name, row, target: target)
    write_pancreas()
    notebooks.data()
    out = capsys.readouterr().out
    assert "pancreas: 2 files" in out
    assert "zebrafish: not in the cache, by hand" in out
    assert "emt: 1 files" in out
