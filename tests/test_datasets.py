import hashlib

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import scimf
from scimf import datasets, ownfile, papersets, paths, readers, registry

CELLS = {
    "cite_hspc": {2: 6071, 3: 7643, 4: 8485, 7: 7195},
    "pbmc_activation": dict.fromkeys(range(21), 500),
    "reprogramming_cut": {10: 318, 10.5: 316, 11: 366},
    "larry_clones": {2: 34, 4: 316, 6: 431},
    "emt": {0: 577, 1 / 3: 885, 1: 788, 5: 883},
    "cytobridge_sim": {0: 400, 1: 432, 2: 500, 3: 606, 4: 772},
    "cardiomyocyte_qpcr": {0: 231, 24: 166, 36: 93, 48: 211, 60: 122, 72: 258, 96: 456, 120: 359},
    "mes_retinoic_acid": {0: 282, 6: 335, 12: 285, 24: 291, 36: 334, 48: 277, 60: 273, 72: 235, 96: 137},
    "hematopoiesis_2d": {2: 1429, 4: 3781, 6: 5788},
    "embryoid_phate": {1.5: 2656, 7.5: 4374, 13.5: 3650, 19.5: 3873, 25.5: 3650},
    "embryoid_5d": dict.fromkeys((1.5, 7.5, 13.5, 19.5, 25.5), 300),
    "larry_spring": {2: 28249, 4: 48498, 6: 54140},
    "counts_pbmc": 4271,  # one snapshot
    "counts_kidney": 5685,
    "counts_worm_neuron": 4186,
}


def test_registry_is_complete():
    entries = registry.entries()
    tables = {name for name, entry in entries.items() if entry["form"] == "pairs"}
    manual = {name for name, entry in entries.items() if entry.get("manual")}
    for name, entry in entries.items():
        if name not in tables:
            assert name in datasets.READERS and entry["form"] in ownfile.FORMS and entry["time_unit"]
        assert {"title", "licence", "citation", "warnings"} <= set(entry)
        folder = "ligand_receptor" if name in tables else name
        for row in entry["files"]:
            assert row["file"].startswith(folder + "/") and row["url"].startswith("https://")
            assert len(row["sha256"]) == 64 if "sha256" in row else name in manual
    assert tables == {"cellphonedb", "cellchatdb_mouse", "cellchatdb_human", "cellchatdb_zebrafish"}
    assert manual == set(papersets.READERS) and set(readers.READERS) == set(CELLS)
    assert set(datasets.READERS) == set(entries) - tables == set(CELLS) | manual


def test_a_table_of_pairs_is_not_loaded_as_cells():
    with pytest.raises(ValueError, match=r"cellphonedb: a table of ligand-receptor pairs.*scimf\.ligands\.load_pairs"):
        datasets.load("cellphonedb")


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("nothing", {}, "cite_hspc"),
        ("nothing.h5ad", {}, "no such file"),
        ("cite_hspc", {"n_pcs": 30}, "n_pcs=30"),
        ("cite_hspc", {"pcs": 50}, "pcs"),
        ("emt", {"n_pcs": 50}, "n_pcs"),
        ("emt", {"time_key": "day"}, "time_key"),
    ],
)
def test_bad_names_and_options(name, options, says):
    with pytest.raises(ValueError, match=says) as caught:
        datasets.load(name, **options)
    assert name in str(caught.value)


def test_simulations_by_name():
    adata = datasets.load("linear", seed=1, n_populations=2, n_cells=5)
    assert adata.uns["scimf"]["form"] == "state" and adata.obs["time"].dtype == np.float64


# --- every loaded object travels through a file


def assert_round_trip(adata, folder):
    path = folder / "copy.h5ad"
    adata.write_h5ad(path)
    copy = ad.read_h5ad(path)
    pd.testing.assert_frame_equal(copy.obs, adata.obs)
    for key, value in adata.uns["scimf"].items():
        np.testing.assert_equal(copy.uns["scimf"][key], value) if key != "truth" else None
    if "time" not in adata.obs:
        return
    assert copy.obs["time"].dtype == np.float64
    again = datasets.load(path)
    assert {k: again.uns["scimf"][k] for k in ("form", "time_unit", "title", "licence")} == {
        k: adata.uns["scimf"][k] for k in ("form", "time_unit", "title", "licence")
    }
    assert set(adata.uns["scimf"]["warnings"]) <= set(again.uns["scimf"]["warnings"])
    assert len({len(again.uns["scimf"][key]) for key in ("files", "urls", "sha256")}) == 1


def test_round_trip_of_a_simulation(tmp_path):
    assert_round_trip(datasets.load("typed", n_populations=2, n_cells=6), tmp_path)


VARIANTS = [(name, {}) for name in CELLS] + [
    ("cite_hspc", {"n_pcs": 100}),
    ("cytobridge_sim", {"which": "no_interaction"}),
]


@pytest.mark.parametrize("name", [name for name, cells in CELLS.items() if isinstance(cells, dict)])
def test_every_time_course_reaches_a_smoke_model(name):
    if not registry.available(name):
        pytest.skip(f"{name} is not in the cache")
    adata = datasets.load(name)
    held = sorted(CELLS[name])[1]
    split = scimf.hold_out(adata, times=[held])
    space = scimf.fit_space(adata, split, n_pcs=10)
    config = scimf.SDEConfig(steps=2, batch_cells=16, target_cells=16)
    cells = scimf.fit(adata, split, space, config=config, progress=False).sample([held], n=20)
    assert cells.n_obs == 20 and np.isfinite(cells.obsm["X_scimf"]).all()


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_real_data(name, options, tmp_path):
    if not registry.available(name, **options):
        pytest.skip(f"{name} is not in the cache")
    adata = datasets.load(name, **options)
    entry, meta = registry.entries()[name], adata.uns["scimf"]
    cells = {0: 400, 1: 442, 2: 530, 3: 690, 4: 969} if options.get("which") else CELLS[name]
    if isinstance(cells, dict):
        assert adata.obs["time"].value_counts().to_dict() == cells
    else:
        assert adata.n_obs == cells and adata.obs["cell_type"].nunique() in (8, 10, 11)
    assert adata.obs_names.is_unique and adata.var_names.is_unique
    assert (meta["form"], meta["time_unit"]) == (entry["form"], entry["time_unit"])
    registered = {row["file"]: (row["url"], row["sha256"]) for row in entry["files"]}
    assert len(meta["files"]) and len(meta["files"]) == len(meta["urls"]) == len(meta["sha256"])
    for file, url, digest in zip(meta["files"], meta["urls"], meta["sha256"], strict=True):
        assert registered[file] == (url, digest) == (url, hashlib.sha256((paths.DATA / file).read_bytes()).hexdigest())
    columns = {
        "cite_hspc": 50,
        "pbmc_activation": 30,
        "reprogramming_cut": 1479,
        "larry_clones": 2481,
        "emt": 10,
        "embryoid_5d": 5,
    }
    columns |= {"cardiomyocyte_qpcr": 96, "mes_retinoic_acid": 41}
    columns |= {"counts_pbmc": 2000, "counts_kidney": 2000, "counts_worm_neuron": 13488}
    assert adata.n_vars == options.get("n_pcs", columns.get(name, 2))
    if name in ("reprogramming_cut", "larry_clones"):
        x = adata.X.toarray()
        assert x.min() == 0 and x.max() < 12 and not np.isnan(x).any()
        np.testing.assert_allclose(np.expm1(x.astype(np.float64)).sum(1), 1e4, rtol=1e-4)
        assert adata.obs["cell_type"].nunique() in (6, 12)
    if name == "larry_clones":
        assert adata.obsm["X_clone"].shape == (781, 339) and (adata.obsm["X_clone"].sum(1) == 1).all()
    assert_round_trip(adata, tmp_path)
