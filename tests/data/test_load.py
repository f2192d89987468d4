"""Data sets by name: the registry is complete, real files are what they say, objects travel."""

import shutil
import subprocess
import sys

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from cached import available

import scimf
from scimf.core import paths
from scimf.core.files import sha256_of
from scimf.data import load, readers, registry, values

#: Cells at each time; of sets that are one snapshot, the cells.
CELLS = {
    "cite_hspc": {2: 6071, 3: 7643, 4: 8485, 7: 7195},
    "pbmc_activation": dict.fromkeys(range(21), 500),
    "reprogramming_cut": {10: 318, 10.5: 316, 11: 366},
    "larry_clones": {2: 34, 4: 316, 6: 431},
    "emt": {0: 577, 1 / 3: 885, 1: 788, 5: 883},
    "cytobridge_sim": {0: 400, 1: 432, 2: 500, 3: 606, 4: 772},
    "cardiomyocyte_qpcr": {0: 231, 24: 166, 36: 93, 48: 211, 60: 122, 72: 258, 96: 456, 120: 359},
    "mes_retinoic_acid": {
        0: 282,
        6: 335,
        12: 285,
        24: 291,
        36: 334,
        48: 277,
        60: 273,
        72: 235,
        96: 137,
    },
    "hematopoiesis_2d": {2: 1429, 4: 3781, 6: 5788},
    "embryoid_phate": {1.5: 2656, 7.5: 4374, 13.5: 3650, 19.5: 3873, 25.5: 3650},
    "embryoid_5d": dict.fromkeys((1.5, 7.5, 13.5, 19.5, 25.5), 300),
    "larry_spring": {2: 28249, 4: 48498, 6: 54140},
    "counts_pbmc": 4271,
    "counts_kidney": 5685,
    "counts_worm_neuron": 4186,
}
TIME_COURSES = [name for name, cells in CELLS.items() if isinstance(cells, dict)]
VARIANTS = [(name, {}) for name in CELLS]
VARIANTS += [("cite_hspc", {"n_pcs": 100}), ("cytobridge_sim", {"which": "no_interaction"})]
NO_INTERACTION = {0: 400, 1: 442, 2: 530, 3: 690, 4: 969}
#: Columns of X; two of the others.
COLUMNS = {
    "cite_hspc": 50,
    "pbmc_activation": 30,
    "reprogramming_cut": 1479,
    "larry_clones": 2481,
    "emt": 10,
    "embryoid_5d": 5,
    "cardiomyocyte_qpcr": 96,
    "mes_retinoic_acid": 41,
    "counts_pbmc": 2000,
    "counts_kidney": 2000,
    "counts_worm_neuron": 13488,
}
TABLES = {"cellphonedb", "cellchatdb_mouse", "cellchatdb_human", "cellchatdb_zebrafish"}
READ_BY_A_REPORT = {"picseq_coculture", "pc3_positions", "shalek_dc"}
READ_BY_A_REPORT |= {"yurtsev_coculture", "ega_coculture", "zscape_embryo_counts"}
READ_BY_A_REPORT |= {"published_scores"}


def test_registry_is_complete():
    entries = registry.entries()
    assert {name for name, entry in entries.items() if entry["form"] == "pairs"} == TABLES
    manual = {name for name, entry in entries.items() if entry.get("manual")}
    elsewhere = {name for name, entry in entries.items() if "reader" in entry}
    assert elsewhere == TABLES | READ_BY_A_REPORT
    courses = set(entries) - TABLES - READ_BY_A_REPORT
    assert set(readers.READERS) == courses == set(CELLS) | manual
    for name, entry in entries.items():
        if name in courses:
            assert entry["form"] in values.FORMS
            assert entry["time_unit"]
        assert {"title", "licence", "citation", "warnings"} <= set(entry)
        folder = "ligand_receptor" if name in TABLES else name
        for row in entry["files"]:
            assert row["file"].startswith(folder + "/")
            assert row["url"].startswith("https://")
            if "sha256" in row:
                assert len(row["sha256"]) == 64
            else:
                assert name in manual


def test_an_installed_package_loads_without_the_repository(tmp_path):
    shutil.copytree(paths.ROOT / "scimf", tmp_path / "scimf")
    code = "import scimf; from scimf.data.registry import entries; print(scimf.__file__); "
    code += "assert 'emt' in entries(); assert scimf.load('linear', n_cells=3).n_obs"
    command = [sys.executable, "-c", code]
    environment = {"PYTHONPATH": str(tmp_path), "PATH": ""}
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(tmp_path / "scimf" / "__init__.py")


@pytest.mark.parametrize("name", sorted(READ_BY_A_REPORT))
def test_what_is_no_course_of_populations_names_its_reader(name):
    with pytest.raises(ValueError, match=f"{name}: .*; read it with read_") as caught:
        load.load(name)
    function, place = str(caught.value).split("read it with ")[1].split(" of ")
    assert f"def {function}(" in (paths.ROOT / place).read_text(encoding="utf-8")


def test_a_table_of_pairs_is_not_loaded_as_cells():
    advice = r"pairs without a course of populations.*load_pairs"
    with pytest.raises(ValueError, match=f"cellphonedb: {advice}"):
        load.load("cellphonedb")


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("nothing", {}, "cite_hspc"),
        ("nothing", {"time_key": "day"}, "neither a data set"),
        ("nothing.h5ad", {}, "no such file"),
        ("nothing.h5ad", {"seed": 1}, "unknown option 'seed'"),
        ("cite_hspc", {"n_pcs": 30}, "n_pcs=30"),
        ("cite_hspc", {"pcs": 50}, "pcs"),
        ("emt", {"n_pcs": 50}, "n_pcs"),
        ("emt", {"time_key": "day"}, "time_key"),
    ],
)
def test_bad_names_and_options(name, options, says):
    with pytest.raises(ValueError, match=says) as caught:
        load.load(name, **options)
    assert name in str(caught.value)


def test_a_folder_without_a_matrix_is_named(tmp_path):
    with pytest.raises(ValueError, match="expected a folder with a matrix.mtx") as caught:
        load.load(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_simulations_by_name():
    adata = load.load("linear", seed=1, n_populations=2, n_cells=5)
    assert adata.uns["scimf"]["form"] == "state"
    assert adata.obs["time"].dtype == np.float64


# --------------------------------------------------- every loaded object travels through a file


def assert_round_trip(adata, folder):
    path = folder / "copy.h5ad"
    adata.write_h5ad(path)
    copy = ad.read_h5ad(path)
    pd.testing.assert_frame_equal(copy.obs, adata.obs)
    about = adata.uns["scimf"]
    for key, value in about.items():
        if key != "truth":
            np.testing.assert_equal(copy.uns["scimf"][key], value)
    if "time" not in adata.obs:
        return
    assert copy.obs["time"].dtype == np.float64
    again = load.load(path).uns["scimf"]
    for key in ("form", "time_unit", "title", "licence"):
        assert again[key] == about[key]
    assert set(about["warnings"]) <= set(again["warnings"])
    assert len({len(again[key]) for key in ("files", "urls", "sha256")}) == 1


def test_round_trip_of_a_simulation(tmp_path):
    assert_round_trip(load.load("typed", n_populations=2, n_cells=6), tmp_path)


@pytest.mark.parametrize("name", TIME_COURSES)
def test_every_time_course_reaches_a_smoke_model(name):
    if not available(name):
        pytest.skip(f"{name} is not in the cache")
    adata = load.load(name)
    held = sorted(CELLS[name])[1]
    split = scimf.hold_out(adata, times=[held])
    space = scimf.fit_space(adata, split, n_pcs=10)
    config = scimf.SDEConfig(steps=2, batch_cells=16, target_cells=16)
    cells = scimf.fit(adata, split, space, config=config, progress=False).sample([held], n=20)
    assert cells.n_obs == 20
    assert np.isfinite(cells.obsm["X_scimf"]).all()


def assert_provenance(adata, name):
    about = adata.uns["scimf"]
    entry = registry.entries()[name]
    assert (about["form"], about["time_unit"]) == (entry["form"], entry["time_unit"])
    registered = {row["file"]: row for row in entry["files"]}
    assert len(about["files"])
    columns = (about["files"], about["urls"], about["sha256"])
    for file, url, digest in zip(*columns, strict=True):
        assert registered[file]["url"] == url
        assert registered[file]["sha256"] == digest == sha256_of(paths.DATA / file)


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_real_data(name, options, tmp_path):
    if not available(name, **options):
        pytest.skip(f"{name} is not in the cache")
    adata = load.load(name, **options)
    cells = NO_INTERACTION if "which" in options else CELLS[name]
    if isinstance(cells, dict):
        assert adata.obs["time"].value_counts().to_dict() == cells
    else:
        assert adata.n_obs == cells
        assert adata.obs["cell_type"].nunique() in (8, 10, 11)
    assert adata.obs_names.is_unique
    assert adata.var_names.is_unique
    assert adata.n_vars == options.get("n_pcs", COLUMNS.get(name, 2))
    assert_provenance(adata, name)
    assert_round_trip(adata, tmp_path)


@pytest.mark.parametrize("name", ["reprogramming_cut", "larry_clones"])
def test_real_expression_is_log_normalised(name):
    if not available(name):
        pytest.skip(f"{name} is not in the cache")
    adata = load.load(name)
    x = adata.X.toarray()
    assert not np.isnan(x).any()
    assert x.min() == 0
    assert x.max() < 12
    np.testing.assert_allclose(np.expm1(x.astype(np.float64)).sum(1), 1e4, rtol=1e-4)
    assert adata.obs["cell_type"].nunique() in (6, 12)


def test_real_clones():
    if not available("larry_clones"):
        pytest.skip("larry_clones is not in the cache")
    clones = load.load("larry_clones").obsm["X_clone"]
    assert clones.shape == (781, 339)
    assert (clones.sum(1) == 1).all()
