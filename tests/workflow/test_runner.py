"""Running notebooks, on a miniature repository."""

import json
import signal
import subprocess
import sys
import time

import pytest
from miniature import (
    BODY,
    add,
    add_report,
    clean_environment,
    execute,
    kept,
    record_of,
    results,
)

from workflow.settings import given_values, notebook_names

pytestmark = pytest.mark.slow
SLEEP = "\n# %%\nimport time\n\ntime.sleep(600)\n"


def test_a_run_injects_the_profile_and_leaves_a_complete_record(ran):
    record = record_of(ran)
    assert record["status"] == "complete"
    assert record["metrics"] == {"n": 2}
    assert (ran / "build/teach/01_tiny.ipynb").is_file()
    assert not (ran / "build/teach/01_tiny.failed.ipynb").exists()


def test_a_report_runs_in_its_own_folder_beside_what_it_imports(repo):
    add_report(repo, "losses")
    got = execute(repo, "run", "losses", "--profile", "teach")
    assert got.returncode == 0, got.stderr
    assert record_of(repo, "losses")["metrics"] == {"n": 42}


def test_chapters_come_in_order_and_before_reports(repo, monkeypatch):
    monkeypatch.setattr("scimf.core.paths.ROOT", repo)
    add_report(repo, "losses")
    for name in ("02_more", "01_tiny", "00_picture"):
        add(repo, name)
    assert notebook_names() == ["00_picture", "01_tiny", "02_more", "losses"]


def test_the_kernel_is_this_interpreter_not_one_of_the_user(repo, tmp_path, monkeypatch):
    kernel = tmp_path / "user" / "kernels" / "python3"
    kernel.mkdir(parents=True)
    spec = {"argv": ["/no/such/python"], "display_name": "x", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(spec))
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
    before = kept(ran)
    got = execute(ran, "run", "01_tiny")
    assert got.returncode == 1
    assert message in got.stderr
    assert kept(ran) == before


def test_given_values_are_read_by_the_type_of_the_parameter(ran, monkeypatch):
    monkeypatch.setattr("scimf.core.paths.ROOT", ran)
    assert given_values("01_tiny", []) == {}
    assert given_values("01_tiny", ["seed=3"]) == {"seed": 3}
    assert given_values("01_tiny", ["device=a=b"]) == {"device": "a=b"}
    wrongs = {
        "seed=x": "seed='x': expected int",
        "seed=1.5": "expected int",
        "sed=1": "it has: profile",
    }
    for wrong, message in wrongs.items():
        with pytest.raises(ValueError, match=message):
            given_values("01_tiny", [wrong])


def test_given_files_are_absolute(ran, monkeypatch):
    monkeypatch.setattr("scimf.core.paths.ROOT", ran)
    monkeypatch.chdir(ran)
    found = given_values("01_tiny", [], ["source=data/my cells.h5ad"])
    assert found == {"source": str(ran / "data" / "my cells.h5ad")}


def test_a_failing_notebook_keeps_the_results_of_the_run_before(ran):
    before = kept(ran)
    add(ran, "01_tiny", BODY + "\n# %%\nbroken = 1 / 0\n")
    got = execute(ran, "run", "01_tiny")
    assert got.returncode == 1
    assert "broken = 1 / 0" in got.stderr
    assert "ZeroDivisionError" in got.stderr
    assert "the whole story: build/teach/01_tiny.failed.ipynb" in got.stderr
    assert "broken" in (ran / "build/teach/01_tiny.failed.ipynb").read_text()
    assert kept(ran) == before
    summary = execute(ran, "summary").stdout
    assert "the last run failed: build/teach/01_tiny.failed.ipynb" in summary


def test_a_complete_run_replaces_all_results_of_the_run_before(ran):
    left = ran / "build/teach/01_tiny/left.txt"
    left.write_text("an intermediate file of the run before")
    (ran / "build/teach/01_tiny.failed.ipynb").touch()
    body = BODY.replace("fig{name}", "fig2_other") + '\n# %%\n(run.build / "new.txt").touch()\n'
    add(ran, "01_tiny", body)
    assert execute(ran, "run", "01_tiny").returncode == 0
    assert set(kept(ran)) == {
        "build/teach/01_tiny.ipynb",
        "build/teach/01_tiny.log",
        "build/teach/01_tiny/new.txt",
        "figures/teach/fig2_other.pdf",
        "figures/teach/fig2_other.png",
        "results/teach/01_tiny.json",
    }
    assert not (ran / "build/teach/01_tiny.failed.ipynb").exists()


def test_results_of_other_notebooks_stay(ran):
    before = kept(ran)
    add(ran, "02_more")
    assert execute(ran, "run", "02_more").returncode == 0
    assert kept(ran).items() > before.items()


def test_a_claim_that_does_not_hold_stops_teach(repo):
    add(repo, "01_tiny", '\n# %%\nrun.expect("n is negative", n < 0)\n')
    assert execute(repo, "run", "01_tiny", "--profile", "smoke").returncode == 0
    got = execute(repo, "run", "01_tiny", "--profile", "teach")
    assert got.returncode == 1
    assert "does not hold: n is negative" in got.stderr


def test_a_notebook_without_finish_fails(repo):
    add(repo, "01_tiny")
    path = repo / "notebooks/01_tiny.py"
    path.write_text(path.read_text().replace("run.finish()", "run.seconds"))
    got = execute(repo, "run", "01_tiny")
    assert got.returncode == 1
    assert "without run.finish()" in got.stderr
    assert not results(repo).exists()


def test_the_wall_clock_stops_a_slow_notebook(repo):
    add(repo, "01_tiny", SLEEP)
    tables = repo / "notebooks/profiles.toml"
    tables.write_text(tables.read_text().replace("wall_seconds = 60", "wall_seconds = 5"))
    started = time.monotonic()
    got = execute(repo, "run", "01_tiny")
    assert got.returncode == 1
    assert "wall_seconds = 5" in got.stderr
    assert time.monotonic() - started < 40
    assert not (repo / "build/teach/01_tiny.ipynb").exists()


def is_running(root):
    unfinished = root / "build/teach/01_tiny.unfinished/results/01_tiny.json"
    return unfinished.exists() and json.loads(unfinished.read_text())["status"] == "running"


def test_a_killed_run_keeps_the_results_of_the_run_before(ran):
    before = kept(ran)
    add(ran, "01_tiny", BODY + SLEEP)
    command = [sys.executable, "-m", "workflow.notebooks", "run", "01_tiny"]
    process = subprocess.Popen(command, cwd=ran, env=clean_environment(ran))
    deadline = time.monotonic() + 60
    while not is_running(ran) and time.monotonic() < deadline:
        time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert kept(ran).items() >= before.items()
    add(ran, "01_tiny", BODY)
    assert execute(ran, "run", "01_tiny").returncode == 0
    assert set(kept(ran)) == set(before), "something of the killed run is left"


def test_a_summary_says_what_was_kept_and_times_are_a_table(ran):
    summary = execute(ran, "summary").stdout
    assert "claims: 1 kept" in summary
    assert "1 figures in figures/teach, numbers in results/teach" in summary
    rows = execute(ran, "times").stdout.splitlines()
    assert rows[0] == "| notebook | smoke | teach | paper |"
    assert rows[-1].startswith("| 01_tiny |  | ")
