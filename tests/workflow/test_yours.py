"""A file of your own: its folder, what make passes on, and refusals that cost nothing."""

import shutil
import subprocess

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from miniature import (
    BODY,
    REPOSITORY,
    add,
    clean_environment,
    execute,
    kept,
    new_repository,
    record_of,
)

from scimf.core import paths
from workflow import yours
from workflow.runs import Refused

pytestmark = pytest.mark.slow
NAME = yours.NOTEBOOK

# ------------------------------------------------------------------------- what make was told


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ("TIME_KEY=my day", "time_key=my day"),
        ("form=counts", "reading={'form': 'counts'}"),
        ("HELD_OUT=3, 4.5", "held_out=[3, 4.5]"),
        ("HELD_OUT=E9.0", "held_out=['E9.0']"),
        ("HELD_OUT=day 2,day 3,", "held_out=['day 2', 'day 3']"),
        ("HELD_OUT=-1", "held_out=[-1]"),
        ("SEP=;", "reading={'sep': ';'}"),
        ("GENES=a,Gene*", "reading={'genes': 'a,Gene*'}"),
        ("BINS=60", "reading={'bins': 60}"),
        ("BINS=4 equal", "reading={'bins': '4 equal'}"),
    ],
)
def test_an_option_of_make_becomes_a_value_of_the_notebook(typed, value):
    assert yours.values_of([typed]) == ([value], [])


def test_options_of_reading_are_one_value_and_a_table_of_cells_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cells.csv").touch()
    values, files = yours.values_of(["LAYER=counts", "DROP=mixed", "CELLS=cells.csv"])
    assert values == ["reading={'layer': 'counts', 'drop': 'mixed'}"]
    assert files == [f"cells={tmp_path / 'cells.csv'}"]
    with pytest.raises(Refused, match="there is no such file"):
        yours.values_of(["CELLS=cels.csv"])


# ----------------------------------------------------------------------------- which folder


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "BUILD", tmp_path / "build")
    return tmp_path / "build" / "yours"


def test_files_of_one_name_get_folders_of_their_own_and_keep_them(tmp_path, shelf):
    first, second, third = (tmp_path / name for name in ("a/x.h5ad", "b/x.h5ad", "a/x.csv"))
    folders = [yours.folder_of(path) for path in (first, second, third)]
    assert folders[0] == shelf / "x"
    assert len(set(folders)) == 3
    for folder, path in zip(folders, (first, second, third), strict=True):
        assert folder.name in ("x", f"x-{folder.name[2:8]}")
        assert (folder / "data.txt").read_text() == f"{path}\n"
        assert yours.folder_of(path) == folder


def test_a_folder_that_does_not_say_whose_it_is_is_left_alone(tmp_path, shelf):
    (shelf / "my cells.v2").mkdir(parents=True)
    folder = yours.folder_of(tmp_path / "my cells.v2.h5ad")
    assert folder.name.startswith("my cells.v2-")


def test_the_home_folder_may_be_a_tilde(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "x.h5ad").touch()
    assert yours.existing("~/x.h5ad") == tmp_path / "x.h5ad"
    with pytest.raises(Refused, match=r"y\.h5ad: there is no such file"):
        yours.existing("~/y.h5ad")


# --------------------------------------------------------------------------- a tiny notebook 10

OWN = '\n# %%\nif n < 0:\n    raise ValueError(f"{data}: n is {n}, expected 1")\n'


@pytest.fixture
def tiny(repo):
    add(repo, NAME, OWN + BODY)
    path = repo / "notebooks" / f"{NAME}.py"
    more = 'data: str = ""  # a file\nheld_out: list = []  # times\nreading: dict = {}  # options\n'
    path.write_text(path.read_text().replace('source: str = ""  # a file\n', more))
    return repo


def test_two_files_of_one_name_are_kept_apart_and_a_refusal_is_one_sentence(tiny, tmp_path):
    for folder in ("first one", "second"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.h5ad").touch()
    one, two = (str(tmp_path / folder / "x.h5ad") for folder in ("first one", "second"))
    got = execute(tiny, "yours", "--profile", "smoke", one, "HELD_OUT=day 2", "SEP=;")
    assert got.returncode == 0, got.stderr
    assert "report: build/yours/x/smoke/10_your_data/report.html" in got.stdout
    record = record_of(tiny / "build/yours/x", NAME, "smoke")
    given = {"data": one, "held_out": ["day 2"], "reading": {"sep": ";"}}
    assert record["parameters"].items() >= given.items()

    before = kept(tiny)
    refused = execute(tiny, "yours", "--profile", "smoke", one, "N=-1")
    failed = "build/yours/x/smoke/10_your_data.failed.ipynb"
    assert refused.returncode == 1
    assert refused.stderr == f"{one}: n is -1, expected 1\nthe whole story: {failed}\n"
    assert kept(tiny) == before

    assert execute(tiny, "yours", "--profile", "smoke", two).returncode == 0
    after = kept(tiny)
    assert after.items() > before.items()
    (second,) = {path.split("/")[2] for path in set(after) - set(before)}
    assert second.startswith("x-")


def test_what_is_no_parameter_is_refused_by_name(tiny, tmp_path):
    (tmp_path / "x.h5ad").touch()
    got = execute(tiny, "yours", str(tmp_path / "x.h5ad"), "TIMEKEY=day")
    assert got.returncode == 1
    assert "'timekey' is no parameter of 10_your_data; it has: profile" in got.stderr


# ----------------------------------------------------- notebook 10 itself, as far as its doctor


@pytest.fixture(scope="module")
def doctor(tmp_path_factory):
    """Repository whose notebook 10 ends before anything is fitted, with one complete run."""
    root = new_repository(tmp_path_factory.mktemp("doctor") / "repo")
    (root / "torch.py").unlink()
    beside = REPOSITORY / "notebooks" / "beside"
    if beside.is_dir():
        shutil.copytree(beside, root / "notebooks" / "beside")
    shutil.copy(REPOSITORY / "notebooks" / "profiles.toml", root / "notebooks")
    text = (REPOSITORY / "notebooks" / f"{NAME}.py").read_text()
    reading, *_ = text.partition("# %% [markdown]\n# ## Coordinates")
    assert "findings" in reading
    (root / "notebooks" / f"{NAME}.py").write_text(f"{reading}# %%\nrun.finish()\n")
    cells_of(root / "good" / "mine.h5ad")
    got = examined(root, "good", "TIME_KEY=day")
    assert got.returncode == 0, got.stderr
    return root


def cells_of(path, cells=(40, 40, 40, 40)):
    """Write a file of cells with counts of 30 genes, at days 0, 1, 2, ..."""
    day = np.repeat(np.arange(len(cells)), cells)
    x = np.random.default_rng(0).poisson(2.0, (len(day), 30)).astype(np.float32)
    obs = pd.DataFrame({"day": day}, index=[f"c{i}" for i in range(len(day))])
    path.parent.mkdir(exist_ok=True)
    ad.AnnData(x, obs=obs).write_h5ad(path)


def examined(root, folder, *options):
    """Run it on a file in a folder: all are called ``mine.h5ad``."""
    return execute(root, "yours", "--profile", "smoke", f"{root}/{folder}/mine.h5ad", *options)


#: What is wrong, with which file and options, and a part of the one sentence.
FAULTS = [
    ("no such time", "good", ["TIME_KEY=day", "HELD_OUT=9"], "is not in obs['time'], which has"),
    (
        "three cells to score",
        "few",
        ["TIME_KEY=day", "HELD_OUT=2"],
        "mine.h5ad: obs['time'] has 3 cells at held-out time 2, a score needs at least 4; "
        "hold out another time, of 1, 3",
    ),
    ("no such form", "good", ["TIME_KEY=day", "FORM=cuonts"], "form='cuonts', expected one of"),
    ("no such file", "gone", ["TIME_KEY=day"], "there is no such file"),
]


@pytest.mark.parametrize(
    ("folder", "options", "sentence"),
    [fault[1:] for fault in FAULTS],
    ids=[fault[0] for fault in FAULTS],
)
def test_a_fault_is_one_sentence_before_any_work_and_costs_no_result(
    doctor, folder, options, sentence
):
    cells_of(doctor / "few" / "mine.h5ad", cells=(40, 40, 3, 40))
    before = kept(doctor)
    got = examined(doctor, folder, *options)
    assert got.returncode == 1
    said, *story = got.stderr.splitlines()
    assert sentence in said
    assert all(line.startswith("the whole story: build/yours/mine") for line in story)
    after = kept(doctor)
    assert after.items() >= before.items()
    new = {path.rpartition("/")[2] for path in set(after) - set(before)}
    assert new <= {"data.txt"}, "a refused file leaves results"


def test_the_folder_holds_results_of_the_user_only(doctor):
    found = {
        path.rpartition("/")[2] for path in kept(doctor) if path.startswith("build/yours/mine/")
    }
    assert found == {"data.txt", f"{NAME}.ipynb", f"{NAME}.log", f"{NAME}.json", "report.html"}


def test_make_prints_the_sentence_first_and_fails(doctor):
    options = ["-s", "PROFILE=smoke", f"DATA={doctor}/good/mine.h5ad", "TIME_KEY=dya"]
    environment = clean_environment(doctor)
    command = ["make", *options, f"PYTHON={environment['PYTHON']}", "figures"]
    before = kept(doctor)
    got = subprocess.run(command, cwd=doctor, env=environment, capture_output=True, text=True)
    assert got.returncode == 2
    assert got.stderr.startswith(f"{doctor}/good/mine.h5ad: obs['dya'] is missing")
    assert len(got.stderr.splitlines()) == 3  # the sentence, where its story is, and make's own
    assert kept(doctor) == before
