"""The wiring of the Makefile, with a Python that only says what it was asked for."""

import os
import subprocess
import time

import pytest
from miniature import add, clean_environment

#: Prints its arguments with a bar behind each; notebook 05 fails.
PYTHON = """\
#!/bin/sh
printf '%s|' "$@"
echo
case "$*" in *run*05*) exit 1;; esac
"""


@pytest.fixture
def make(repo, tmp_path):
    python = tmp_path / "python"
    python.write_text(PYTHON)
    python.chmod(0o755)

    def started(*arguments):
        command = ["make", f"PYTHON={python}", "PROFILE=smoke", *arguments]
        return subprocess.run(
            command,
            cwd=repo,
            env=clean_environment(repo),
            capture_output=True,
            text=True,
            timeout=60,
        )

    return started


def notebooks_run(got):
    found = []
    for line in got.stdout.splitlines():
        arguments = line.split("|")
        if "run" in arguments:
            found.append(arguments[arguments.index("run") + 1])
    return got.returncode, found


def test_make_runs_what_is_needed_once_and_stamps_only_success(repo, make):
    for name in ("03_train", "04_evaluate", "05_who_moves_whom", "losses"):
        add(repo, name)
    only = ("figures", "NOTEBOOKS=04_evaluate")
    assert notebooks_run(make(*only)) == (0, ["03_train", "04_evaluate"])
    assert notebooks_run(make(*only)) == (0, []), "a second make runs something"
    assert notebooks_run(make("figures", "NOTEBOOKS=losses")) == (0, ["losses"])
    for _ in range(2):
        failed = notebooks_run(make("figures"))
        assert failed == (2, ["05_who_moves_whom"]), "a failure was stamped"
    assert make("figures", "NOTEBOOKS=04_evalaute").returncode == 2


@pytest.mark.parametrize(
    ("folder", "due"),
    [("notebooks/beside", ["01_data", "losses"]), ("notebooks/reports/evidence", ["losses"])],
)
def test_what_lies_beside_chapters_makes_all_due_again_and_evidence_reports(
    repo, make, folder, due
):
    for name in ("01_data", "losses"):
        add(repo, name)
    assert notebooks_run(make("figures")) == (0, ["01_data", "losses"])
    (repo / folder).mkdir()
    shared = repo / folder / "tables.py"
    shared.touch()
    soon = time.time() + 60  # a file of the same tick of the clock as the stamp is not newer
    os.utime(shared, (soon, soon))
    assert notebooks_run(make("figures")) == (0, due)


def test_what_is_said_of_a_file_of_your_own_arrives_as_it_was_typed(make):
    typed = ["DATA=~/my c'ells $x.v2.h5ad", "TIME_KEY=my day", "HELD_OUT=day 2,3", "SEP=;"]
    typed += ["GENES=Gene*", "LABELS=a:b, c", "BINS=4 equal"]
    got = make("figures", *typed)
    assert got.returncode == 0, got.stderr
    arguments = got.stdout.strip().rstrip("|").split("|")
    assert arguments[:5] == ["-m", "workflow.notebooks", "yours", "--profile", "smoke"]
    assert arguments[5] == typed[0].removeprefix("DATA=")
    assert sorted(arguments[6:]) == sorted(typed[1:])


def test_a_file_of_your_own_goes_to_another_notebook_that_takes_one(repo, make):
    add(repo, "01_data")
    got = make("figures", "DATA=my.h5ad", "NOTEBOOKS=01_data", "CONDITION_KEY=a b")
    arguments = got.stdout.strip().rstrip("|").split("|")
    assert arguments[3:] == [
        "--profile",
        "smoke",
        "--notebook",
        "01_data",
        "my.h5ad",
        "CONDITION_KEY=a b",
    ]


def test_a_mistyped_option_is_refused(make):
    got = make("figures", "DATA=my.h5ad", "TIMEKEY=day", "SCIMF_DATA=elsewhere")
    assert got.returncode == 2
    assert "no such option: TIMEKEY; beside DATA there are: PROFILE CELLS TIME_KEY" in got.stderr
    assert "workflow" not in got.stdout


def test_help_lists_the_everyday_targets(make):
    got = make("help")
    assert got.returncode == 0
    for target in ("figures", "test", "test-fast", "publish", "notebooks", "clean"):
        assert f"make {target} " in got.stdout
