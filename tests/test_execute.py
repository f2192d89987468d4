"""Running, publishing and pairing notebooks, on a miniature repository."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from types import SimpleNamespace

import pytest

from scimf import paths
from scimf.execute import main

REPOSITORY = paths.ROOT
# The runner is tested here: notebooks of two cells need no real torch, whose import takes seconds in each kernel.
TORCH = """\
class cuda:
    is_available = staticmethod(lambda: False)


def manual_seed(seed):
    pass
"""

HEADER = """\
# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 1 · Tiny

# %% tags=["parameters"]
profile: str = "smoke"  # which table
seed: int = 0  # of everything
device: str = "cpu"  # where
n: int = 1  # how many

# %%
import sys
from matplotlib.figure import Figure
from scimf.notebook import start_notebook

run = start_notebook("{name}", globals())
run
"""
BODY = """
# %%
fig = Figure(figsize=(1, 1))
run.save_figure(fig, "fig{name}")
run.record(n=n)
run.expect("n is positive", n > 0)
"""
CLOSING = """
# %% tags=["exercise"]
# your turn

# %% tags=["solution"]
secret = 42

# %%
run.finish()
"""


def add(root, name, body=BODY):
    text = (HEADER + body + CLOSING).replace("{name}", name)
    (root / "notebooks" / f"{name}.py").write_text(text)
    tables = root / "notebooks" / "profiles.toml"
    for profile, enforce in (("smoke", "false"), ("teach", "true"), ("paper", "true")):
        written = tables.read_text() if tables.exists() else ""
        if f"[{profile}]" not in written:
            written += f"[{profile}]\nenforce = {enforce}\nwall_seconds = 60\n"
        if f"[{profile}.{name}]" not in written:
            written += f"[{profile}.{name}]\nn = 2\n"
        tables.write_text(written)


def command(root, *arguments):
    """Arguments and environment of a subprocess that sees the miniature repository only."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("SCIMF_", "MAKE", "MFLAGS", "PYTEST"))}
    return {"args": arguments, "cwd": root, "env": clean | {"PYTHONPATH": str(root), "PYTHON": sys.executable}}


def execute(root, *arguments):
    """Run a command in this process (imports are slow) as if the miniature repository were the current one."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        for name in [name for name in os.environ if name.startswith("SCIMF_")]:
            patch.delenv(name)
        for name, folder in (("ROOT", "."), ("BUILD", "build"), ("FIGURES", "figures"), ("RESULTS", "results")):
            patch.setattr(paths, name, root / folder)
        code = main(arguments)
    return SimpleNamespace(returncode=code, stdout=out.getvalue(), stderr=err.getvalue())


def results(root, name="01_tiny", profile="teach"):
    return root / "results" / profile / f"{name}.json"


def new_repository(root):
    (root / "notebooks").mkdir(parents=True)
    shutil.copytree(REPOSITORY / "scimf", root / "scimf", ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("Makefile", "constraints.txt"):
        shutil.copy(REPOSITORY / file, root)
    (root / "torch.py").write_text(TORCH)
    return root


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Repository with one complete teach run."""
    root = new_repository(tmp_path_factory.mktemp("mini") / "repo")
    add(root, "01_tiny")
    got = execute(root, "run", "01_tiny", "--profile", "teach")
    assert got.returncode == 0, got.stderr
    return root


@pytest.fixture
def ran(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "repo")


@pytest.fixture
def repo(tmp_path):
    return new_repository(tmp_path / "repo")


def test_a_run_injects_the_profile_and_leaves_a_complete_record(ran):
    record = json.loads(results(ran).read_text())
    assert record["status"] == "complete" and record["metrics"] == {"n": 2}
    assert (ran / "build/teach/01_tiny.ipynb").is_file() and not (ran / "build/teach/01_tiny.failed.ipynb").exists()


def test_the_kernel_is_this_interpreter_not_one_of_the_user(repo, tmp_path, monkeypatch):
    kernel = tmp_path / "user" / "kernels" / "python3"
    kernel.mkdir(parents=True)
    (kernel / "kernel.json").write_text('{"argv": ["/no/such/python"], "display_name": "x", "language": "python"}')
    add(repo, "01_tiny", f"\n# %%\nassert sys.executable == {sys.executable!r}\n")
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "user"))
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "user"))
    got = execute(repo, "run", "01_tiny", "--profile", "smoke")
    assert got.returncode == 0, got.stderr


@pytest.mark.parametrize(
    ("old", "new", "file", "message"),
    [
        ("n = 2", "m = 2", "profiles.toml", "'m' is no parameter of 01_tiny"),
        ('tags=["parameters"]', "", "01_tiny.py", "0 cells are tagged 'parameters'"),
        ("n: int = 1", "n: int = seed + 1", "01_tiny.py", "n is not set to a literal"),
    ],
)
def test_bad_parameters_are_refused_before_anything_runs(ran, old, new, file, message):
    path = ran / "notebooks" / file
    path.write_text(path.read_text().replace(old, new))
    got = execute(ran, "run", "01_tiny")
    assert got.returncode == 1 and message in got.stderr
    assert not results(ran).exists(), "the earlier run looks like this one"


def test_a_failing_notebook_leaves_nothing_that_looks_finished(ran):
    add(ran, "01_tiny", "\n# %%\nbroken = 1 / 0\n")
    got = execute(ran, "run", "01_tiny")
    assert got.returncode == 1 and "broken = 1 / 0" in got.stderr and "ZeroDivisionError" in got.stderr
    assert not (ran / "build/teach/01_tiny.ipynb").exists()
    assert not list((ran / "figures/teach").iterdir())
    assert json.loads(results(ran).read_text())["status"] == "running"


def test_a_claim_that_does_not_hold_stops_teach(repo):
    add(repo, "01_tiny", '\n# %%\nrun.expect("n is negative", n < 0)\n')
    assert execute(repo, "run", "01_tiny", "--profile", "smoke").returncode == 0
    got = execute(repo, "run", "01_tiny", "--profile", "teach")
    assert got.returncode == 1 and "does not hold: n is negative" in got.stderr


def test_a_notebook_without_finish_fails(repo):
    add(repo, "01_tiny")
    path = repo / "notebooks/01_tiny.py"
    path.write_text(path.read_text().replace("run.finish()", "run.seconds"))
    got = execute(repo, "run", "01_tiny")
    assert got.returncode == 1 and "without run.finish()" in got.stderr


def test_the_wall_clock_stops_a_slow_notebook(repo):
    add(repo, "01_tiny", "\n# %%\nimport time\n\ntime.sleep(600)\n")
    tables = repo / "notebooks/profiles.toml"
    tables.write_text(tables.read_text().replace("wall_seconds = 60", "wall_seconds = 5"))
    started = time.monotonic()
    got = execute(repo, "run", "01_tiny")
    assert got.returncode == 1 and "wall_seconds = 5" in got.stderr
    assert time.monotonic() - started < 40
    assert not (repo / "build/teach/01_tiny.ipynb").exists()


def test_a_killed_run_does_not_look_finished(ran):
    add(ran, "01_tiny", "\n# %%\nimport time\n\ntime.sleep(600)\n")
    process = subprocess.Popen(**command(ran, sys.executable, "-m", "scimf.execute", "run", "01_tiny"))
    deadline = time.monotonic() + 60
    while not (results(ran).exists() and '"running"' in results(ran).read_text()) and time.monotonic() < deadline:
        time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert json.loads(results(ran).read_text())["status"] == "running"
    assert not (ran / "build/teach/01_tiny.ipynb").exists()
    assert "no complete run" in execute(ran, "summary").stdout


def test_publish_copies_a_complete_run_and_removes_what_is_stale(ran):
    stale = ran / "figures/published/teach/fig_old.png"
    stale.parent.mkdir(parents=True)
    stale.touch()
    got = execute(ran, "publish")
    assert got.returncode == 0, got.stderr
    assert not stale.exists() and (ran / "figures/published/teach/fig01_tiny.png").is_file()
    assert (ran / "results/published/teach/01_tiny.json").is_file()
    pair = json.loads((ran / "notebooks/01_tiny.ipynb").read_text())
    assert set(pair["metadata"]["scimf"]) == {"profile", "source_sha256", "py_sha256"}
    assert "papermill" not in json.dumps(pair) and "injected-parameters" not in json.dumps(pair)
    assert "profile teach" in json.dumps(pair["cells"])
    assert execute(ran, "check-pairs").returncode == 0
    assert "current" in execute(ran, "check-figures").stdout


def edit_record(root, **changes):
    record = json.loads(results(root).read_text()) | changes
    results(root).write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda r: edit_record(r, status="running"), "no complete run"),
        (lambda r: edit_record(r, skipped={"cite": "not downloaded"}), "skipped cite: not downloaded"),
        (lambda r: edit_record(r, claims={"c": {"status": "skipped", "reason": ""}}), "claim skipped: c"),
        (lambda r: edit_record(r, metrics={"n": 3}), "its numbers are not of the executed notebook"),
        (lambda r: (r / "scimf/datasets.py").open("a").write("x = 1\n"), "was run with other sources"),
        (lambda r: (r / "figures/teach/fig01_tiny.png").write_bytes(b""), "not as this run drew it"),
        (lambda r: add(r, "02_more"), "02_more: no complete run"),
    ],
)
def test_publish_refuses_what_is_not_a_complete_run(ran, spoil, message):
    spoil(ran)
    got = execute(ran, "publish")
    assert got.returncode == 1 and message in got.stderr
    assert not (ran / "results/published").exists() and not (ran / "notebooks/01_tiny.ipynb").exists()


def test_a_notebook_of_another_profile_is_published_alone(ran):
    assert execute(ran, "publish", "--profile", "paper").returncode == 1
    assert execute(ran, "run", "01_tiny", "--profile", "paper").returncode == 0
    add(ran, "02_more")
    kept = ran / "results/published/paper/02_more.json"
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps({"notebook": "02_more", "figures": {}}))
    assert execute(ran, "publish", "--profile", "paper").returncode == 0  # another notebook changes nothing for it
    assert kept.is_file() and (ran / "results/published/paper/01_tiny.json").is_file()


def test_a_notebook_of_teach_that_is_current_need_not_be_run_again(ran):
    assert execute(ran, "publish").returncode == 0
    results(ran).unlink()
    add(ran, "02_more")
    assert execute(ran, "run", "02_more").returncode == 0
    before = (ran / "notebooks/01_tiny.ipynb").read_bytes()
    got = execute(ran, "publish")
    assert got.returncode == 0 and "published teach: 02_more" in got.stdout, got.stderr
    assert (ran / "results/published/teach/01_tiny.json").is_file() and (ran / "notebooks/02_more.ipynb").is_file()
    assert (ran / "figures/published/teach/fig01_tiny.png").is_file()
    assert (ran / "notebooks/01_tiny.ipynb").read_bytes() == before
    (ran / "scimf/datasets.py").open("a").write("x = 1\n")
    assert "01_tiny: no complete run" in execute(ran, "publish").stderr


def test_publish_refuses_smoke(ran):
    got = execute(ran, "publish", "--profile", "smoke")
    assert got.returncode == 1 and "nothing of it is published" in got.stderr


def test_publish_refuses_paths_of_the_machine(repo):
    add(repo, "01_tiny", "\n# %%\nsys.executable\n")
    assert execute(repo, "run", "01_tiny").returncode == 0
    got = execute(repo, "publish")
    assert got.returncode == 1 and "machine's path" in got.stderr


def test_pairs_keep_the_outputs_of_unchanged_cells(ran):
    assert execute(ran, "publish").returncode == 0
    pair = ran / "notebooks/01_tiny.ipynb"
    before = {c["id"]: c for c in json.loads(pair.read_text())["cells"]}
    source = ran / "notebooks/01_tiny.py"
    source.write_text(source.read_text().replace("run.record(n=n)\n", "run.record(n=n + 0)\n"))
    assert "make notebooks" in execute(ran, "check-pairs").stderr
    assert execute(ran, "pairs").returncode == 0 and execute(ran, "check-pairs").returncode == 0
    after = {c["id"]: c for c in json.loads(pair.read_text())["cells"]}
    assert len(set(before) & set(after)) == len(before) - 1, "an unchanged cell lost its id"
    assert all(after[i].get("outputs") == before[i].get("outputs") for i in set(before) & set(after))


def test_student_copies_have_no_solutions_and_pages_render(ran):
    assert execute(ran, "student").returncode == 0 and execute(ran, "html").returncode == 0
    text = (ran / "build/student/01_tiny.ipynb").read_text()
    assert "secret" not in text and "your turn" in text and '"parameters"' in text
    assert "n is positive" in (ran / "build/html/01_tiny.html").read_text()


def test_make_runs_what_is_needed_once_and_stamps_only_success(repo, tmp_path):
    """The wiring of the Makefile, with a Python that only says what it was asked for."""
    for name in ("03_train", "04_evaluate", "05_interactions"):
        add(repo, name)
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$@"\ncase "$*" in *run*05*) exit 1;; esac\n')
    python.chmod(0o755)

    def make(*arguments):
        started = command(repo, "make", f"PYTHON={python}", "PROFILE=smoke", "figures", *arguments)
        got = subprocess.run(**started, capture_output=True, text=True, timeout=60)
        return got.returncode, [line.split()[3] for line in got.stdout.splitlines() if " run " in line]

    assert make("NOTEBOOKS=04_evaluate") == (0, ["03_train", "04_evaluate"])
    assert make("NOTEBOOKS=04_evaluate") == (0, []), "a second make runs something"
    assert make() == (2, ["05_interactions"]) and make() == (2, ["05_interactions"]), "a failure was stamped"
    assert make("NOTEBOOKS=04_evalaute")[0] == 2
