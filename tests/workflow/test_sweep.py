"""Jobs of a sweep give the serial table; what is half-written or unknown is told apart.

No engine is needed here.
"""

import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from evidence.boards import BOARDS, Board

import scimf
from scimf.core import paths
from workflow import sweep
from workflow.sweep import Job, Settings, do, gather, jobs, read_settings, serial

SMALL = Settings(
    boards=("genes",),
    methods=("scimf", "attention"),
    seeds=(0, 3),
    steps=2,
    draws=1,
    transport_n=5,
    n=10,
)
WORKFLOW = paths.ROOT / "workflow"


def few_counts():
    """Counts of 30 genes at four times: the toy board has no genes, real ones do."""
    rng = np.random.default_rng(0)
    time = np.repeat([0.0, 1.0, 2.0, 3.0], 24)
    rate = rng.gamma(2, 2, size=30) * np.exp(0.3 * time[:, None] * rng.normal(size=30))
    obs = pd.DataFrame({"time": time}).rename(str)
    adata = ad.AnnData(rng.poisson(rate).astype(np.float32), obs=obs)
    adata.uns["scimf"] = {"form": "counts"}
    return adata


@pytest.fixture(autouse=True)
def _board_with_genes(monkeypatch):
    adata = few_counts()
    load = scimf.load
    board = Board(name="genes", dataset="few", protocol="leave_one_out", setups=((2.0,),), n_pcs=4)

    def load_or_few(name, **options):
        return adata if name == "few" else load(name, **options)

    monkeypatch.setitem(BOARDS, "genes", board)
    monkeypatch.setattr(scimf, "load", load_or_few)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("sweep")


def settings_file(path, **changes):
    values = {"boards": ["toy"]} | changes
    path.write_text("\n".join(f"{key} = {value!r}" for key, value in values.items()))
    return path


def test_every_board_setup_method_and_seed_is_a_job():
    found = jobs(replace(SMALL, boards=("toy", "cite50.bridge")))
    n_setups = 1 + 2
    n_methods = 2
    n_seeds = 2
    assert len(found) == n_setups * (2 + n_methods * n_seeds)
    assert len(set(found)) == len({job.file for job in found}) == len(found)
    assert Job("cite50.bridge", 1, "attention", 3) in found
    assert Job("cite50.bridge", 1, "attention", 3).file == "cite50.bridge/1/attention.3.json"
    first = {(job.board, job.setup): job.method for job in reversed(found)}
    assert set(first.values()) == {"choice"}, "the others of a set-up need it"


@pytest.mark.slow
def test_jobs_in_any_order_give_the_serial_table(folder):
    asked = jobs(SMALL)
    choices = [job for job in asked if job.method == "choice"]
    others = [job for job in reversed(asked) if job.method != "choice"]
    for job in choices + others:
        do(SMALL, job, folder, folder / "fits")
    joined = gather(SMALL, folder)
    whole = serial(SMALL, folder / "other fits")
    pd.testing.assert_frame_equal(joined, whole, check_exact=True)
    assert joined.to_csv() == whole.to_csv()
    assert {"floor", "mixture", "scimf_forward", *SMALL.methods} <= set(joined["method"])
    assert joined["metric"].str.startswith("gene_").any()


@pytest.mark.slow
def test_half_a_result_is_no_result(folder):
    job = Job("genes", 0, "scimf", 3)
    path = do(SMALL, job, folder, folder / "fits")
    whole = path.read_bytes()
    other = path.with_name("scimf.0.json").read_bytes()
    stamp = path.stat().st_mtime_ns
    assert do(SMALL, job, folder, folder / "fits") == path
    assert path.stat().st_mtime_ns == stamp
    for damaged in (whole[: len(whole) // 2], b"", b"[]", other):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"scimf\.3\.json: not the result of"):
            gather(SMALL, folder)
        do(SMALL, job, folder, folder / "fits")
        assert path.read_bytes() == whole
    path.unlink()
    missing = "1 of 5 results are missing, such as genes/0/scimf.3.json"
    with pytest.raises(FileNotFoundError, match=missing):
        gather(SMALL, folder)


def test_other_settings_or_code_have_other_results(monkeypatch):
    assert replace(SMALL, seeds=(7,), methods=("scimf",), boards=("toy",)).key() == SMALL.key()
    keys = {SMALL.key(), replace(SMALL, steps=3).key(), replace(SMALL, draws=9).key()}
    assert len(keys) == 3
    monkeypatch.setattr(sweep, "identity", lambda *_, **__: "hash of other code")
    assert SMALL.key() not in keys


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("boards", ["tooy"], "boards: unknown 'tooy', expected one of .*toy"),
        ("methods", ["scimf_forward"], "methods: unknown 'scimf_forward', expected one of scimf, "),
        ("device", "tpu", "device: unknown 'tpu', expected one of cpu"),
        ("seeds", [0.5], r"seeds = \[0.5\], expected such as \[0, 1\]"),
        ("seeds", [], r"seeds = \[\], expected such as"),
        ("boards", "toy", r"boards = 'toy', expected such as \[\"toy\"\]"),
        ("steps", -1, "steps = -1, expected such as 200"),
        ("step", 3, "unknown key 'step', expected some of boards, "),
    ],
)
def test_a_mistake_is_named(tmp_path, key, value, told):
    with pytest.raises(ValueError, match=rf"my\.toml: {told}"):
        read_settings(settings_file(tmp_path / "my.toml", **{key: value}))


@pytest.mark.parametrize("name", ["sweep", "boards"])
def test_our_own_settings_can_be_read(name):
    assert jobs(read_settings(WORKFLOW / f"{name}.toml"))


def test_a_plan_is_refused_once_the_code_has_changed(tmp_path, capsys):
    settings = str(settings_file(tmp_path / "my.toml"))
    plan = str(tmp_path / "plan.json")
    assert sweep.main(["plan", settings, plan]) == 0
    assert "8 jobs" in capsys.readouterr().out
    file = f"{'0' * 12}/toy/0/choice.json"
    assert sweep.main(["job", plan, file]) == 1
    assert "no job of" in capsys.readouterr().err
    assert sweep.main(["table", plan, str(tmp_path)]) == 1
    assert "7 of 7 results are missing" in capsys.readouterr().err


@pytest.mark.skipif(
    find_spec("snakemake") is None, reason="an extra: make sweep says what to install"
)
@pytest.mark.slow
def test_snakemake_gives_the_serial_table(tmp_path, monkeypatch):
    short = {"methods": ["scimf"], "seeds": [0], "steps": 2, "draws": 1, "transport_n": 5}
    settings = read_settings(settings_file(tmp_path / "my.toml", **short))
    monkeypatch.setattr(paths, "BUILD", tmp_path / "build")
    sweep.plan(settings, tmp_path / "plan.json")
    options = {
        "--snakefile": WORKFLOW / "Snakefile",
        "--directory": tmp_path,
        "--workflow-profile": WORKFLOW / "profiles" / "local",
        "--configfile": tmp_path / "plan.json",
    }
    command = [sys.executable, "-m", "snakemake"]
    for option, value in options.items():
        command += [option, str(value)]
    got = subprocess.run(command, capture_output=True, text=True)
    assert got.returncode == 0, got.stderr
    assert "5 of 5 steps" in got.stdout + got.stderr, got.stderr
    table = serial(settings, tmp_path / "fits")
    assert (tmp_path / "scores.csv").read_text() == table.to_csv(index=False)
    again = subprocess.run(command, capture_output=True, text=True)
    assert "Nothing to be done" in again.stdout + again.stderr
