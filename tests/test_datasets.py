import hashlib
import http.server
import threading
import time

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from scimf import datasets, paths

CELLS = {
    "cite_hspc": {2: 6071, 3: 7643, 4: 8485, 7: 7195},
    "pbmc_activation": dict.fromkeys(range(21), 500),
    "reprogramming_cut": {10: 318, 10.5: 316, 11: 366},
    "larry_clones": {2: 34, 4: 316, 6: 431},
    "emt": {0: 577, 1 / 3: 885, 1: 788, 5: 883},
    "cytobridge_sim": {0: 400, 1: 432, 2: 500, 3: 606, 4: 772},
    "cardiomyocyte_qpcr": {0: 231, 24: 166, 36: 93, 48: 211, 60: 122, 72: 258, 96: 456, 120: 359},
    "mes_retinoic_acid": {0: 282, 6: 335, 12: 285, 24: 291, 36: 334, 48: 277, 60: 273, 72: 235, 96: 137},
    "counts_pbmc": 4271,  # one snapshot
    "counts_kidney": 5685,
    "counts_worm_neuron": 4186,
}
CONTENT = b"cells " * 1000


# --- downloads, from a real server on this machine


class Handler(http.server.BaseHTTPRequestHandler):
    body = CONTENT
    length = len(CONTENT)

    def do_GET(self):
        self.server.requests += 1
        self.send_response(200)
        self.send_header("Content-Length", str(self.length))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("H", (Handler,), {}))
    server.requests = 0
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def toy(server, tmp_path, monkeypatch):
    """A registered set of two files on the server; returns the cache folder."""
    url = f"http://127.0.0.1:{server.server_port}"
    digest = hashlib.sha256(CONTENT).hexdigest()
    rows = [{"file": f"toy/{name}", "url": f"{url}/{name}", "sha256": digest} for name in ("a.npy", "b.npy")]
    monkeypatch.setattr(datasets, "registry", lambda: {"toy": {"files": rows}})
    monkeypatch.setattr(paths, "DATA", tmp_path / "cache")
    return tmp_path / "cache"


def left_over(folder):
    return [p for p in folder.rglob("*") if p.is_file()]


def test_download_then_cache(toy, server):
    assert not datasets.available("toy")
    files = datasets.fetch("toy")
    assert [f.read_bytes() for f in files] == [CONTENT, CONTENT]
    assert datasets.available("toy") and server.requests == 2
    assert datasets.fetch("toy") == files and server.requests == 2
    assert sorted(left_over(toy)) == sorted(files)


def test_wrong_download_is_refused_and_not_kept(toy, server):
    server.RequestHandlerClass.body = b"other " * 1000
    with pytest.raises(datasets.DataCorrupt) as caught:
        datasets.fetch("toy")
    message = str(caught.value)
    assert "toy/a.npy" in message and "Nothing was kept" in message
    assert all(hashlib.sha256(b).hexdigest() in message for b in (CONTENT, b"other " * 1000))
    assert server.requests == 1 and not left_over(toy)


def test_interrupted_download_leaves_nothing(toy, server):
    server.RequestHandlerClass.body = CONTENT[:100]
    with pytest.raises((datasets.DataUnavailable, datasets.DataCorrupt), match=r"toy/a\.npy"):
        datasets.fetch("toy")
    assert not left_over(toy)
    server.RequestHandlerClass.body = CONTENT
    assert len(datasets.fetch("toy")) == 2


def test_server_down_says_what_to_do_quickly(toy, server):
    server.shutdown()
    server.server_close()
    start = time.perf_counter()
    with pytest.raises(datasets.DataUnavailable) as caught:
        datasets.fetch("toy")
    assert time.perf_counter() - start < 5
    for part in ("toy", "toy/a.npy", "http://127.0.0.1", str(toy), "SCIMF_DATA"):
        assert part in str(caught.value)


def test_damaged_cache_is_named_and_kept(toy, server):
    target = toy / "toy" / "a.npy"
    target.parent.mkdir(parents=True)
    target.write_bytes(b"mine")
    with pytest.raises(datasets.DataCorrupt, match="Delete it") as caught:
        datasets.fetch("toy")
    assert str(target) in str(caught.value) and hashlib.sha256(b"mine").hexdigest() in str(caught.value)
    assert target.read_bytes() == b"mine" and server.requests == 0


def test_full_cache_needs_no_network_and_no_write(toy, server):
    (toy / "toy").mkdir(parents=True)
    for name in ("a.npy", "b.npy"):
        (toy / "toy" / name).write_bytes(CONTENT)
    before = (toy / "toy").stat().st_mtime_ns
    (toy / "toy").chmod(0o555)
    try:
        datasets.fetch("toy")
    finally:
        (toy / "toy").chmod(0o755)
    assert server.requests == 0 and (toy / "toy").stat().st_mtime_ns == before


def test_missing_file_in_a_folder_that_cannot_be_made(toy):
    toy.write_text("a file where the folder should be")
    with pytest.raises(datasets.DataUnavailable, match="SCIMF_DATA"):
        datasets.fetch("toy")


def test_timeout(toy, server, monkeypatch):
    monkeypatch.setattr(datasets, "TIMEOUT", 0.2)
    monkeypatch.setattr(server.RequestHandlerClass, "do_GET", lambda self: time.sleep(1))
    with pytest.raises(datasets.DataUnavailable, match="Timeout"):
        datasets.fetch("toy")


# --- readers of the two small panels, on files of their layout


def test_qpcr_is_turned_into_expression_and_empty_lines_are_dropped(tmp_path):
    file = tmp_path / "ct.csv"
    file.write_text("GATA4,NANOG,h\n25,18.5,0\n20,25,24\n,,\n,,\n")
    adata = datasets.READERS["cardiomyocyte_qpcr"]([file])
    assert adata.X.tolist() == [[0, 6.5], [5, 0]] and list(adata.var_names) == ["GATA4", "NANOG"]
    assert adata.obs["time"].tolist() == [0, 24]


def test_panel_of_counts_is_transposed_and_its_stimulus_left_out(tmp_path):
    file = tmp_path / "panel.txt"
    file.write_text("0\t0\t0\t6\n0\t0\t0\t1\n1\t3\t0\t2\n2\t1\t0\t7\n")
    adata = datasets.READERS["mes_retinoic_acid"]([file])
    assert adata.X.tolist() == [[3, 1], [0, 0], [2, 7]] and adata.obs["time"].tolist() == [0, 0, 6]


def test_labelled_counts_have_types_and_no_time(tmp_path):
    with h5py.File(tmp_path / "counts.h5", "w") as file:
        file["X"], file["Y"] = np.array([[0, 2.0], [1, 0]]), np.array([3.0, 1.0])
    adata = datasets.READERS["counts_pbmc"]([tmp_path / "counts.h5"])
    assert adata.X.toarray().tolist() == [[0, 2], [1, 0]] and "time" not in adata.obs
    assert adata.obs["cell_type"].tolist() == ["type 3", "type 1"]


# --- names and options


def test_registry_is_complete():
    tables = {name for name, entry in datasets.registry().items() if entry["form"] == "pairs"}
    for name, entry in datasets.registry().items():
        if name not in tables:
            assert name in datasets.READERS and entry["form"] in datasets.FORMS and entry["time_unit"]
        assert {"title", "licence", "citation", "warnings"} <= set(entry)
        folder = "ligand_receptor" if name in tables else name
        for row in entry["files"]:
            assert row["file"].startswith(folder + "/") and len(row["sha256"]) == 64
            assert row["url"].startswith("https://")
    assert tables == {"cellphonedb", "cellchatdb_mouse", "cellchatdb_human", "cellchatdb_zebrafish"}
    assert set(datasets.READERS) == set(datasets.registry()) - tables == set(CELLS)


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


# --- a file of your own


def own(x=None, days=(0.0, 1.0, 3.0), n=8, **obs):
    """Small AnnData with ``n`` cells at each day."""
    cells = n * len(days)
    if x is None:
        x = np.random.default_rng(0).poisson(2.0, size=(cells, 12)).astype(np.float32)
    frame = pd.DataFrame({"day": np.repeat(np.array(days), n), **obs}, index=[f"c{i}" for i in range(cells)])
    return ad.AnnData(x, obs=frame, var=pd.DataFrame(index=[f"g{i}" for i in range(x.shape[1])]))


def save(adata, folder):
    path = folder / "my.h5ad"
    adata.write_h5ad(path)
    return path


def normal(columns, cells=24):
    return np.random.default_rng(1).normal(size=(cells, columns)).astype(np.float32)


def test_own_file(tmp_path):
    path = save(
        own(kind=pd.Categorical(["a", "b"] * 12, categories=["a", "b", "unused"]), batch=["p", "q"] * 12), tmp_path
    )
    adata = datasets.load(path, time_key="day", type_key="kind", population_key="batch")
    assert adata.obs["time"].tolist() == [0.0] * 8 + [1.0] * 8 + [3.0] * 8
    assert list(adata.obs["cell_type"].cat.categories) == ["a", "b"]
    assert list(adata.obs["population"].cat.categories) == ["p", "q"]
    meta = adata.uns["scimf"]
    assert meta["form"] == "counts" and meta["time_unit"] == "day" and "whole numbers" in meta["detected"]
    assert meta["files"].tolist() == ["my.h5ad"] and meta["sha256"][0] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert datasets.load(str(path), time_key="day").uns["scimf"]["name"] == "my"


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
    names = ["same", "same", *[f"n{i}" for i in range(len(getattr(adata, kind)) - 2)]]
    setattr(adata, kind, names)
    return adata


@pytest.mark.parametrize(
    ("adata", "options", "says"),
    [
        (own(), {}, r"obs\['time'\] is missing.*'day'"),
        (own(), {"type_key": "kind"}, r"obs\['kind'\] is missing"),
        (own(), {"population_key": "donor"}, r"obs\['donor'\] is missing"),
        (with_days(["early", "late"] * 12), {}, r"obs\['day'\].*'early'"),
        (with_days(["day 1 rep 2", "day 2 rep 2"] * 12), {}, r"obs\['day'\].*cannot be read"),
        (with_days(["8h", "1d"] * 12), {}, r"obs\['day'\] mixes units"),
        (with_days([True, False] * 12), {}, r"obs\['day'\] is not numeric"),
        (with_days([np.nan, *[1.0, 2.0] * 11, 1.0]), {}, r"obs\['day'\] is NaN"),
        (with_days([np.inf, np.inf, *[1.0, 2.0] * 11]), {}, r"obs\['day'\].*infinite"),
        (with_days([2.0] * 24), {}, r"obs\['day'\] has 1 time point"),
        (with_days([5.0, *[1.0] * 23]), {}, r"obs\['day'\] has 1 time points with one cell.*5\.0"),
        (with_value(np.nan), {}, "X holds NaN"),
        (with_value(np.inf, sparse_x=True), {}, "X holds NaN or infinite"),
        (with_value(-1), {}, "X holds whole numbers.*negative"),
        (with_value(-1), {"form": "counts"}, "X was declared as counts.*negative"),
        (with_value(0.5), {"form": "counts"}, "X was declared as counts.*fractional"),
        (with_value(-1), {"form": "lognorm"}, "X was declared as lognorm.*negative"),
        (own(), {"form": "raw"}, "form='raw'"),
        (own(x=np.zeros((24, 3), np.float32)), {}, "X is empty or all zero"),
        (own(x=normal(201)), {}, "X is: negative values in 201 columns.*form="),
        (own(x=np.abs(normal(3)) * 100), {}, "X is: fractions up to.*form="),
        (with_names("obs_names"), {}, "duplicate cell names.*same"),
        (with_names("var_names"), {}, "duplicate gene names.*same"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*names are not unique")
def test_bad_own_files(adata, options, says, tmp_path):
    path = save(adata, tmp_path)
    with pytest.raises(ValueError, match=says) as caught:
        datasets.load(path, time_key="time" if "time" in says[:11] else "day", **options)
    assert str(path) in str(caught.value)


def test_unreadable_own_files(tmp_path):
    path = save(own(), tmp_path)
    whole = path.read_bytes()
    for content in (b"", b"not hdf5 at all", whole[: len(whole) // 2], whole[:100]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"my\.h5ad"):
            datasets.load(path)


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
    loaded = datasets.load(save(adata, tmp_path), time_key="when")
    assert loaded.obs["time"].tolist() == times * 12
    assert loaded.uns["scimf"]["time_unit"] == unit
    assert any("text labels" in w for w in loaded.uns["scimf"]["warnings"])


def test_categorical_times_with_an_empty_category(tmp_path):
    adata = own()
    adata.obs["day"] = pd.Categorical(adata.obs["day"].astype(int), categories=[0, 1, 2, 3])
    assert set(datasets.load(save(adata, tmp_path), time_key="day").obs["time"]) == {0.0, 1.0, 3.0}


def test_missing_labels(tmp_path):
    labels = pd.Categorical([None, *["a"] * 23])
    path = save(own(kind=labels), tmp_path)
    adata = datasets.load(path, time_key="day", type_key="kind")
    assert adata.obs["cell_type"].iloc[0] == "unknown" and any("unknown" in w for w in adata.uns["scimf"]["warnings"])
    with pytest.raises(ValueError, match=r"my\.h5ad: obs\['kind'\] is missing for 1 cells"):
        datasets.load(path, time_key="day", population_key="kind")


@pytest.mark.parametrize(
    ("x", "form"),
    [
        (np.random.default_rng(0).poisson(3.0, (24, 5)), "counts"),
        (sparse.csr_matrix(np.random.default_rng(0).poisson(3.0, (24, 5)).astype(np.float32)), "counts"),
        (np.log1p(np.random.default_rng(0).gamma(2.0, size=(24, 5))), "lognorm"),
        (sparse.csr_matrix(np.log1p(np.random.default_rng(0).gamma(2.0, size=(24, 5)))), "lognorm"),
        (normal(5), "pcs"),
        (normal(200), "pcs"),
    ],
)
def test_form_detection(x, form, tmp_path):
    meta = datasets.load(save(own(x=x), tmp_path), time_key="day").uns["scimf"]
    assert meta["form"] == form and meta["detected"].startswith("Took X as")


def test_pcs_from_obsm_when_x_is_scaled(tmp_path):
    adata = own(x=normal(300))
    adata.obsm["X_pca"] = normal(7)
    loaded = datasets.load(save(adata, tmp_path), time_key="day")
    assert loaded.shape == (24, 7) and list(loaded.var_names[:2]) == ["PC1", "PC2"]
    assert "X_pca" in loaded.uns["scimf"]["detected"] and "optimistic" in loaded.uns["scimf"]["warnings"][0]


def test_declared_form_wins(tmp_path):
    assert datasets.load(save(own(x=normal(5)), tmp_path), time_key="day", form="state").uns["scimf"]["form"] == "state"


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


def test_round_trip_of_simulation_and_own_file(tmp_path):
    assert_round_trip(datasets.load("typed", n_populations=2, n_cells=6), tmp_path)
    assert_round_trip(datasets.load(save(own(), tmp_path), time_key="day"), tmp_path)


VARIANTS = [(name, {}) for name in CELLS] + [
    ("cite_hspc", {"n_pcs": 100}),
    ("cytobridge_sim", {"which": "no_interaction"}),
]


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_real_data(name, options, tmp_path):
    if not datasets.available(name, **options):
        pytest.skip(f"{name} is not in the cache")
    adata = datasets.load(name, **options)
    entry, meta = datasets.registry()[name], adata.uns["scimf"]
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
    columns = {"cite_hspc": 50, "pbmc_activation": 30, "reprogramming_cut": 1479, "larry_clones": 2481, "emt": 10}
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
