"""What can go wrong does: processes are killed, disks fill up, folders cannot be made.

``make test`` has the short form; ``make test-faults`` repeats every kill and every malformed file
ten times as often. Kills happen in forked children, which have everything imported: so a fault
costs a fraction of a second.
"""

import functools
import gzip
import hashlib
import http.server
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch
from beside.simulated_counts import factorial
from cached import available
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import sparse
from tqdm import tqdm

from scimf.core import files, optimise, paths
from scimf.counts import fit_autoencoder, fit_flow
from scimf.counts.config import CountConfig
from scimf.counts.flow import FlowConfig
from scimf.data import load, registry
from scimf.data.space import fit_space
from scimf.data.split import hold_out
from scimf.dynamics import fit
from scimf.dynamics.config import SDEConfig

pytestmark = pytest.mark.slow
MORE = int(os.environ.get("SCIMF_FAULTS", "1"))  # how many times as many faults
TOLD = Counter()  # what happened, shown at the end


@pytest.fixture(scope="module", autouse=True)
def _tell():
    yield
    sys.__stdout__.write(f"\nfaults: {dict(TOLD)}\n")


def in_child(work, prepare=None):
    """Fork, run ``work`` and leave with status 0, or 1 if it raised; returns the pid."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    tqdm.set_lock(
        threading.RLock()
    )  # the parent's is shared: whoever is killed holding it stops everybody
    try:
        if prepare is not None:
            prepare()
        work()
        status = 0
    except BaseException as error:  # noqa: BLE001  the parent is told
        Path(os.environ["FAULT_SAYS"]).write_text(f"{type(error).__name__}: {error}")
    finally:
        os._exit(status)


def status_of(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def kill_at_random(work, *, times, seed, kind):
    """Measure an undisturbed run, then start it ``times`` times and kill -9 it somewhere in it."""
    rng, killed = np.random.default_rng(seed), 0
    started = time.perf_counter()
    assert status_of(in_child(functools.partial(work, "measured"))) == 0, Path(
        os.environ["FAULT_SAYS"]
    ).read_text()
    span = time.perf_counter() - started
    for _ in range(times):
        pid = in_child(functools.partial(work, "killed"))
        time.sleep(
            rng.uniform(0.02, 0.75) * span
        )  # the measured run was the first and is slower than the others
        os.kill(pid, signal.SIGKILL)
        killed += status_of(pid) == -signal.SIGKILL
    TOLD[f"kills of {kind}"] += killed
    return killed


@pytest.fixture(autouse=True)
def says(tmp_path, monkeypatch):
    """File in which a child says why it failed."""
    monkeypatch.setenv("FAULT_SAYS", str(tmp_path / "says.txt"))
    return tmp_path / "says.txt"


# --- kill -9 in the middle of a fit


@pytest.fixture(scope="module")
def world():
    return factorial(seed=0, n_cells=200, n_genes=20, n_types=2, n_perturbations=1)


def weights(module):
    return torch.cat([p.detach().ravel() for p in module.parameters()])


def sde_fit(tiny, cache):
    config = SDEConfig(
        steps=40, batch_cells=16, target_cells=16, hidden=(8,), hidden_interaction=8, dt=1.0
    )
    return weights(fit.fit(*tiny, config=config, cache=cache, progress=False).sde)


def counts_fit(world, cache):
    config = CountConfig(
        width=8, tokens=2, latent=4, layers=1, heads=2, cross_heads=1, steps=40, batch_cells=16
    )
    return fit_autoencoder.fit_counts(
        world, config=config, cache=cache, device="cpu", progress=False
    )


def flow_fit(world, cache):
    counts = counts_fit(world, cache)
    config = FlowConfig(width=16, blocks=1, steps=60, batch_cells=32)
    job = {"conditions": ["cell_type"], "config": config, "cache": cache, "progress": False}
    return weights(fit_flow.fit_flow(counts, world, **job).model)


@pytest.mark.parametrize("kind", ["sde", "counts", "flow"])
def test_a_killed_fit_goes_on_to_the_same_numbers(kind, tiny, world, tmp_path, monkeypatch):
    monkeypatch.setattr(optimise, "CHECKPOINT_EVERY", 3)
    fits = {
        "sde": lambda cache: sde_fit(tiny, cache),
        "counts": lambda cache: weights(counts_fit(world, cache).model),
        "flow": lambda cache: flow_fit(world, cache),
    }
    work = lambda folder: fits[kind](tmp_path / folder)  # noqa: E731
    killed = 0
    for seed in range(6 * MORE):  # fresh folders, or the first runs would do all the work
        killed += kill_at_random(
            lambda f, s=seed: work(f"{f}{s}"), times=3, seed=seed, kind=f"{kind} fits"
        )
        assert torch.equal(work(f"killed{seed}"), work(f"measured{seed}"))
    assert killed >= 6 * MORE, "too few runs were still running when they were killed"
    read = [p for p in tmp_path.rglob("*.pt") if not p.name.endswith(".partial")]
    assert read and all(torch.load(p, weights_only=True)["step"] for p in read)


def test_killed_preprocessing_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "mine.h5ad"
    factorial(seed=1, n_cells=3000, n_genes=200).write_h5ad(path)
    adata = ad.read_h5ad(path)
    adata.obs["time"] = np.arange(adata.n_obs) % 3 * 1.0
    adata.write_h5ad(path)
    digest = files.sha256_of(path)

    def work(folder):
        mine = load.load(path)
        fit_space(mine, hold_out(mine, times=[1.0]), n_pcs=10)
        return mine.obsm["X_scimf"]

    kill_at_random(work, times=6 * MORE, seed=0, kind="preprocessing")
    assert files.sha256_of(path) == digest and np.array_equal(work(""), work(""))


def test_two_runs_at_once_share_a_cache(tiny, tmp_path, says):
    pids = [in_child(lambda: sde_fit(tiny, tmp_path / "shared")) for _ in range(4)]
    assert [status_of(pid) for pid in pids] == [0] * 4, says.read_text()
    assert torch.equal(sde_fit(tiny, tmp_path / "shared"), sde_fit(tiny, None))
    TOLD["runs at once"] += 4


def damaged_checkpoints(kind, tiny, world, tmp_path, spoil):
    """Spoil the file of a finished fit, fit again: it is named as damaged, or all is the same."""
    run = {
        "sde": lambda: sde_fit(tiny, tmp_path),
        "counts": lambda: weights(counts_fit(world, tmp_path).model),
    }[kind]
    whole, rng = run(), np.random.default_rng(0)
    (path,) = tmp_path.glob("*.pt")
    content = path.read_bytes()
    for _ in range(15 * MORE):
        path.write_bytes(spoil(bytearray(content), rng))
        try:
            assert torch.equal(run(), whole)
        except ValueError as error:
            assert str(path) in str(error) and "damaged" in str(error)
        TOLD[f"damaged checkpoints, {spoil.__name__}"] += 1


def cut(content, rng):
    return content[: rng.integers(len(content))]


def flip(content, rng):
    content[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
    return content


@pytest.mark.parametrize("spoil", [cut, flip])
@pytest.mark.parametrize("kind", ["sde", "counts"])
def test_a_damaged_checkpoint_is_named_or_harmless(kind, spoil, tiny, world, tmp_path):
    damaged_checkpoints(kind, tiny, world, tmp_path, spoil)


# --- downloads


class Slow(http.server.BaseHTTPRequestHandler):
    body = bytes(range(256)) * 400

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        for i in range(0, len(self.body), 4096):
            try:
                self.wfile.write(self.body[i : i + 4096])
            except OSError:
                return  # the client was killed
            time.sleep(0.004)

    def log_message(self, *args):
        pass


@pytest.fixture
def remote(tmp_path, monkeypatch):
    """A registered set of one file on a slow server; returns the place of the file in the cache."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    row = {"file": "far/a.bin", "url": f"http://127.0.0.1:{server.server_port}/a"}
    row["sha256"] = hashlib.sha256(Slow.body).hexdigest()
    monkeypatch.setattr(registry, "entries", lambda: {"far": {"files": [row]}})
    monkeypatch.setattr(paths, "DATA", tmp_path / "cache")
    yield tmp_path / "cache" / "far" / "a.bin"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_killed_download_is_never_taken_for_a_file(remote):
    def work(folder):
        paths.DATA = remote.parents[1] / folder
        registry.fetch("far")

    import pooch  # noqa: F401  in the parent, so that children are quick

    killed = 0
    for seed in range(6 * MORE):
        killed += kill_at_random(
            lambda f, s=seed: work(f"{f}{s}"), times=2, seed=seed, kind="downloads"
        )
        target = remote.parents[1] / f"killed{seed}" / "far" / "a.bin"
        assert not target.exists() or target.read_bytes() == Slow.body
        assert status_of(in_child(lambda s=seed: work(f"killed{s}"))) == 0
        assert target.read_bytes() == Slow.body
    assert killed >= 5 * MORE


def test_two_downloads_at_once(remote, says):
    pids = [in_child(lambda: registry.fetch("far")) for _ in range(3)]
    assert [status_of(pid) for pid in pids] == [0] * 3, says.read_text()
    assert remote.read_bytes() == Slow.body


# --- disks and folders


def small_files(limit=2000):
    """Let this process write no file beyond ``limit`` bytes, as on a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


def write_results(folder):
    from scimf.core.files import write_file

    write_file(folder / "results.json", "x" * 10_000)


@pytest.mark.parametrize("work", ["fit", "counts", "download", "result"])
def test_a_full_disk_is_told_and_leaves_nothing_that_looks_finished(
    work, tiny, world, remote, tmp_path, says
):
    place = tmp_path / "full"
    works = {
        "fit": lambda: sde_fit(tiny, place),
        "counts": lambda: counts_fit(world, place),
        "download": lambda: registry.fetch("far"),
        "result": lambda: write_results(place),
    }
    assert status_of(in_child(works[work], small_files)) == 1
    told = {
        "fit": f"{place}/",
        "counts": f"{place}/",
        "download": "far/a.bin",
        "result": "File too large",
    }
    assert told[work] in says.read_text(), says.read_text()
    assert "cannot be" in says.read_text() or work == "result"
    assert (
        not remote.exists()
        and not list(place.glob("*.pt"))
        and not (place / "results.json").exists()
    )
    works[work]()  # with room again, it works
    TOLD["full disks"] += 1


@pytest.mark.parametrize("work", ["fit", "counts", "download"])
def test_a_folder_that_cannot_be_made_is_named(work, tiny, world, remote, tmp_path):
    """Root may write everywhere, so a file stands where the folder should be."""
    (tmp_path / "no").touch()
    (tmp_path / "cache").touch()
    works = {
        "fit": lambda: sde_fit(tiny, tmp_path / "no"),
        "counts": lambda: counts_fit(world, tmp_path / "no"),
        "download": lambda: registry.fetch("far"),
    }
    told = {"download": "far/a.bin"}.get(work, str(tmp_path / "no"))
    with pytest.raises((OSError, registry.DataUnavailable), match="cannot be") as caught:
        works[work]()
    assert told in str(caught.value)
    TOLD["folders that cannot be made"] += 1


# --- files of one's own, malformed in every way we could think of


def valid(rng, cells=12, genes=5):
    obs = pd.DataFrame(
        {"time": np.repeat([0.0, 1.0, 2.0], cells // 3)}, index=[f"c{i}" for i in range(cells)]
    )
    x = rng.poisson(2.0, (cells, genes)).astype(np.float32)
    return ad.AnnData(x, obs=obs, var=pd.DataFrame(index=[f"g{i}" for i in range(genes)]))


ODD = [np.nan, np.inf, -np.inf, -1.0, 0.5, 1e30, 0.0, 3.0]
LABELS = ["", "day 1", "1", "-2", "x", "1e3", "nan", "d1d2", "²", "day  3", None]


@st.composite
def malformed(draw):
    """An AnnData with one to three things wrong, or odd."""
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    adata = valid(rng)
    for fault in draw(st.lists(st.sampled_from(FAULTS), min_size=1, max_size=3, unique=True)):
        adata = fault(adata, draw, rng)
    return adata


def odd_values(adata, draw, rng):
    if not adata.n_obs * adata.n_vars or adata.X.dtype.kind != "f":
        return adata
    for value in draw(st.lists(st.sampled_from(ODD), min_size=1, max_size=4)):
        adata.X[rng.integers(adata.n_obs), rng.integers(adata.n_vars)] = value
    return adata


def odd_times(adata, draw, rng):
    values = draw(
        st.lists(st.one_of(st.sampled_from(LABELS), st.floats(width=16)), min_size=1, max_size=5)
    )
    adata.obs["time"] = pd.Series(
        [str(values[i % len(values)]) for i in range(adata.n_obs)], index=adata.obs_names
    )
    return adata


def numeric_times(adata, draw, rng):
    values = draw(st.lists(st.floats(width=32), min_size=1, max_size=5))
    adata.obs["time"] = np.resize(values, adata.n_obs)
    return adata


def no_time(adata, draw, rng):
    adata.obs = adata.obs.rename(
        columns={"time": draw(st.sampled_from(["Time", "day", "t", "time "]))}
    )
    return adata


def same_names(adata, draw, rng):
    which = draw(st.sampled_from(["obs_names", "var_names"]))
    setattr(
        adata, which, (["same", "same", *getattr(adata, which)[2:]])[: len(getattr(adata, which))]
    )
    return adata


def few_cells(adata, draw, rng):
    return adata[: draw(st.integers(0, 6))].copy()


def no_genes(adata, draw, rng):
    return adata[:, : draw(st.integers(0, 1))].copy()


def as_sparse(adata, draw, rng):
    adata.X = draw(st.sampled_from([sparse.csr_matrix, sparse.csc_matrix]))(adata.X)
    return adata


def odd_kind(adata, draw, rng):
    x = adata.X.toarray() if sparse.issparse(adata.X) else adata.X
    adata.X = (
        np.nan_to_num(x)
        .clip(-100, 100)
        .astype(draw(st.sampled_from(["int8", "bool", "float64", "uint16"])))
    )
    return adata


def odd_types(adata, draw, rng):
    values = draw(st.lists(st.sampled_from(LABELS), min_size=1, max_size=4))
    column = [values[i % len(values)] for i in range(adata.n_obs)]
    adata.obs[draw(st.sampled_from(["cell_type", "population", "batch"]))] = pd.Categorical(column)
    return adata


def odd_record(adata, draw, rng):
    adata.uns["scimf"] = draw(
        st.sampled_from(["text", {"form": "nonsense"}, {"warnings": 3}, {"time_unit": 7}])
    )
    return adata


def odd_pcs(adata, draw, rng):
    adata.obsm["X_pca"] = np.full((adata.n_obs, 2), draw(st.sampled_from(ODD)))
    adata.X = np.zeros(adata.shape, np.float32)
    return adata


FAULTS = [odd_values, odd_times, numeric_times, no_time, same_names, few_cells, no_genes]
FAULTS += [as_sparse, odd_kind, odd_types, odd_record, odd_pcs]
QUIET = {
    "deadline": None,
    "derandomize": True,
    "database": None,
    "suppress_health_check": list(HealthCheck),
}


def one_clear_error_or_success(path, **options):
    """Load a file; what is loaded can be held out from and encoded."""
    try:
        adata = load.load(path, **options)
    except ValueError as error:
        assert (
            str(error).startswith(str(path))
            and len(str(error).splitlines()) == 1
            and len(str(error)) < 1000
        ), error
        TOLD["malformed files, refused"] += 1
        return
    try:
        fit_space(adata, hold_out(adata), n_pcs=2, n_genes=4)
    except ValueError as error:
        assert len(str(error).splitlines()) == 1, error
        TOLD["malformed files, refused later"] += 1
        return
    assert np.isfinite(adata.obsm["X_scimf"]).all() and adata.obs["time"].dtype == np.float64
    TOLD["malformed files, loaded"] += 1


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=300 * MORE, **QUIET)
@given(adata=malformed())
def test_malformed_h5ad(adata, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "malformed.h5ad"
    adata.write_h5ad(path)
    one_clear_error_or_success(path)


PIECES = [b",", b"\n", b'"', b"\x00", b"-", b"nan", b"1e9"]
TABLE = b"name,g0,g1,time,cell_type\n" + b"".join(
    b"c%d,%d,%d,%d,a\n" % (i, i % 5, i % 3, i // 4) for i in range(12)
)


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=250 * MORE, **QUIET)
@given(data=st.data())
def test_malformed_tables(data, tmp_path_factory):
    content = bytearray(TABLE)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content)))
        piece = data.draw(st.one_of(st.binary(max_size=3), st.sampled_from(PIECES)))
        content[at : at + data.draw(st.sampled_from([0, 0, 1, 5, 200]))] = piece
    packed = data.draw(st.booleans())
    path = tmp_path_factory.getbasetemp() / ("malformed.csv.gz" if packed else "malformed.csv")
    content = gzip.compress(bytes(content)) if packed else bytes(content)
    path.write_bytes(
        content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content
    )
    one_clear_error_or_success(path)


def test_cut_h5ad_files(tmp_path):
    path, rng = tmp_path / "cut.h5ad", np.random.default_rng(0)
    valid(rng).write_h5ad(path)
    whole = path.read_bytes()
    for at in rng.integers(0, len(whole), 20 * MORE):
        path.write_bytes(whole[:at])
        one_clear_error_or_success(path)


# --- notebooks and memory


def test_killed_notebooks_are_run_again_to_the_same_numbers(tmp_path):
    def start(where):
        places = {
            f"SCIMF_{p.upper()}": str(tmp_path / where / p) for p in ("build", "figures", "results")
        }
        run = ["run", "02_model", "--profile", "smoke"]
        command = [sys.executable, "-m", "workflow.notebooks", *run]
        quiet = {
            "stdout": subprocess.DEVNULL,
            "stderr": subprocess.DEVNULL,
            "start_new_session": True,
        }
        return subprocess.Popen(command, cwd=paths.ROOT, env=os.environ | places, **quiet)

    def metrics(where):
        return json.loads((tmp_path / where / "results/smoke/02_model.json").read_text())

    started = time.perf_counter()
    assert start("whole").wait() == 0
    span, rng = time.perf_counter() - started, np.random.default_rng(0)
    for _ in range(3 * MORE):
        process = start("killed")
        time.sleep(rng.uniform(0.3, 0.9) * span)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        TOLD["kills of notebooks"] += 1
        done = tmp_path / "killed/build/smoke/02_model.ipynb"
        assert not done.exists() or metrics("killed")["status"] == "complete"
    assert start("killed").wait() == 0
    assert metrics("killed")["metrics"] == metrics("whole")["metrics"]


def test_memory_stays_bounded_on_all_of_larry(tmp_path):
    if not available("larry_spring"):
        pytest.skip("larry_spring is not in the cache")
    code = (
        "import resource, scimf, scimf.dynamics.fit, scimf.data.load, scanpy\n"
        "from scimf.evaluation.held_out import Scoring\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024\n"
        "before = peak()\n"
        "adata = scimf.load('larry_spring'); split = scimf.hold_out(adata, times=[4.0])\n"
        "space = scimf.fit_space(adata, split)\n"
        "model = scimf.fit(adata, split, space, config=scimf.SDEConfig(steps=3), progress=False)\n"
        "scoring = Scoring(n=500, draws=1)\n"
        "scimf.evaluate(model.sample([4.0], n=500), adata, split, scoring=scoring)\n"
        "print(peak() - before)"
    )
    got = subprocess.run(
        [sys.executable, "-c", code], cwd=paths.ROOT, capture_output=True, text=True
    )
    assert got.returncode == 0, got.stderr
    assert float(got.stdout.split()[-1]) < 1500, (
        "MiB above the imports, for 131k cells in two dimensions"
    )
