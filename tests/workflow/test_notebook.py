"""What a notebook relies on: parameters, numbers, claims, figures and their record."""

import json
import math
import random
import types

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure

from scimf.core import paths
from scimf.data.registry import DataUnavailable
from scimf.notebook import start_notebook
from workflow.source import Source

matplotlib.use("Agg")
NAME = "01_tiny"
SOURCE = """\
# %% tags=["parameters"]
profile: str = "smoke"  # which table
seed: int = 0  # of everything
device: str = "auto"  # where
lr: float = 1e-3  # step

# %%
run = None
"""
PROFILES = """\
[smoke]
enforce = false
wall_seconds = 60
[smoke.01_tiny]
lr = 1
[smoke.losses]
lr = 2
[teach]
enforce = true
wall_seconds = 60
[teach.01_tiny]
"""
MODULES = {
    "__init__": "",
    "tables": '''\
from evidence.numbers import next_number


def table(x):
    """Double."""
    return next_number(2 * x)


def other(x):
    return x - 1
''',
    "numbers": "def next_number(x):\n    return x + 1\n",
    "unused": "x = 1\n",
}
VALUES = {"profile": "smoke", "seed": 3, "device": "cpu", "lr": 0.5, "unrelated": object()}


@pytest.fixture
def root(tmp_path, monkeypatch):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / f"{NAME}.py").write_text(SOURCE)
    (tmp_path / "notebooks" / "profiles.toml").write_text(PROFILES)
    for name in ("SCIMF_UNATTENDED", "SCIMF_RUN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    for folder in ("BUILD", "FIGURES", "RESULTS"):
        monkeypatch.setattr(paths, folder, tmp_path / folder.lower())
    return tmp_path


@pytest.fixture
def ordered(root, monkeypatch):
    """Start a run as the runner does."""

    def start(**values):
        values = VALUES | values
        monkeypatch.setenv("SCIMF_RUN", Source(NAME).order(values["profile"]))
        return start_notebook(NAME, values)

    return start


def start(**values):
    """Start a run by hand."""
    return start_notebook(NAME, VALUES | values)


def written(root, profile="smoke"):
    return json.loads((root / "results" / profile / f"{NAME}.json").read_text())


def test_start_seeds_everything_and_reads_the_declared_parameters(root, ordered):
    run = ordered()
    first = random.random(), np.random.rand(), torch.rand(()).item()
    ordered()
    assert first == (random.random(), np.random.rand(), torch.rand(()).item())
    assert run.parameters == {"profile": "smoke", "seed": 3, "device": "cpu", "lr": 0.5}
    assert run.build == root / "build" / "smoke" / NAME
    assert run.build.is_dir()
    assert "profile smoke · seed 3 · cpu" in repr(run)
    assert "lr = 0.5" in repr(run)
    again = torch.rand(2, generator=run.generator())
    torch.testing.assert_close(torch.rand(2, generator=run.generator()), again)


def test_a_run_by_hand_records_no_source_and_enforces_nothing(root):
    run = start(profile="teach")
    run.expect("pigs fly", False)
    run.finish()
    record = written(root, "teach")
    assert record["source"] == ""
    assert record["parameters"] == {"profile": "teach", "seed": 3, "device": "cpu"}


def test_a_parameter_without_a_value_is_refused(root, ordered, monkeypatch):
    ordered()
    monkeypatch.delitem(VALUES, "lr")
    with pytest.raises(ValueError, match="01_tiny: no value for lr"):
        ordered()


def test_a_run_draws_in_the_style_of_the_project(root):
    matplotlib.rcdefaults()
    start()
    assert list(matplotlib.rcParams["figure.figsize"]) == [3.4, 2.6]


def test_auto_device_is_resolved(root):
    assert start(device="auto").device == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize(
    ("table", "match"),
    [
        ("lrr = 1.0", "lrr.*no parameter of 01_tiny"),
        ('lr = "1e-3"', "expected float"),
        ('profile = "x"', "no parameter"),
    ],
)
def test_profile_errors_name_key_and_notebook(root, table, match):
    (root / "notebooks" / "profiles.toml").write_text(PROFILES.replace("lr = 1", table))
    with pytest.raises(ValueError, match=match):
        Source(NAME).order("smoke")


def test_unknown_profile_setting_is_refused(root):
    (root / "notebooks" / "profiles.toml").write_text(
        PROFILES.replace("enforce = false", "enforced = false")
    )
    with pytest.raises(ValueError, match="smoke.*expected"):
        Source(NAME).order("smoke")


def test_a_run_is_complete_only_after_finish(root, ordered):
    run = ordered()
    assert written(root)["status"] == "running"
    run.record(
        {"a.b": 1, "c": np.float32(0.5)},
        d={"mean": 2.0, "lo": 1.0, "hi": 3.0, "n_seeds": np.int64(3)},
    )
    run.finish()
    record = written(root)
    assert record["status"] == "complete"
    assert record["source"] == Source(NAME).identity("smoke")
    assert record["metrics"]["a.b"] == 1
    assert record["metrics"]["d"]["n_seeds"] == 3
    assert record["parameters"]["lr"] == 0.5
    assert list(record) == sorted(record)


@pytest.fixture
def report(root):
    """A report that reaches a function of the package beside it, and through it another."""
    shelf = root / "notebooks" / "reports"
    (shelf / "evidence").mkdir(parents=True)
    for name, text in MODULES.items():
        (shelf / "evidence" / f"{name}.py").write_text(text)
    source = SOURCE.replace("run = None", "from evidence.tables import table\n\ntable(lr)")
    (shelf / "losses.py").write_text(source)
    return shelf


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("losses.py", "table(lr)", "table(2 * lr)"),
        ("evidence/tables.py", "2 * x", "3 * x"),
        ("evidence/numbers.py", "x + 1", "x + 2"),
        ("../profiles.toml", "lr = 2", "lr = 3"),
        ("../../constraints.txt", "torch==2", "torch==3"),
    ],
)
def test_results_depend_on_what_a_notebook_reaches(root, report, file, old, new):
    (root / "constraints.txt").write_text("torch==2\nother==1\n")
    before = Source("losses").identity("smoke")
    path = report / file
    path.write_text(path.read_text().replace(old, new))
    assert Source("losses").identity("smoke") != before


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("losses.py", "# which table", "# of the tables"),
        ("losses.py", "# %%\n", "# %% [markdown]\n# In other words.\n\n# %%\n"),
        ("evidence/tables.py", "Double.", "Twice."),
        ("evidence/tables.py", "x - 1", "x - 2"),
        ("evidence/unused.py", "1", "2"),
        ("../profiles.toml", "lr = 1", "lr = 9"),
        ("../../constraints.txt", "other==1", "other==2"),
    ],
)
def test_results_do_not_depend_on_words_nor_on_what_is_not_reached(root, report, file, old, new):
    (root / "constraints.txt").write_text("torch==2\nother==1\n")
    before = Source("losses").identity("smoke")
    path = report / file
    path.write_text(path.read_text().replace(old, new))
    assert Source("losses").identity("smoke") == before


def test_results_of_a_chapter_depend_on_what_lies_beside_it(root):
    shelf = root / "notebooks" / "beside"
    shelf.mkdir()
    (shelf / "numbers.py").write_text(MODULES["numbers"])
    code = "from beside.numbers import next_number\n\nnext_number(lr)"
    source = SOURCE.replace("run = None", code)
    (root / "notebooks" / f"{NAME}.py").write_text(source)
    before = Source(NAME).identity("smoke")
    (shelf / "numbers.py").write_text(MODULES["numbers"].replace("x + 1", "x + 2"))
    assert Source(NAME).identity("smoke") != before


@pytest.mark.parametrize("value", [math.nan, math.inf, "1", True, [1.0], {"mean": 1.0}])
def test_record_refuses_what_is_not_a_finite_number(root, value):
    with pytest.raises(ValueError, match="metric 'x'"):
        start().record(x=value)


def test_record_refuses_a_key_twice_unattended(root, monkeypatch):
    run = start()
    run.record(x=1.0)
    run.record(x=2.0)  # by hand, a cell may be run again
    monkeypatch.setenv("SCIMF_UNATTENDED", "1")
    with pytest.raises(ValueError, match="second time"):
        run.record(x=3.0)


def test_claims_are_enforced_by_the_profile(root, ordered, capsys):
    run = ordered()
    run.expect("water is wet", True)
    run.expect("pigs fly", lambda: torch.tensor(False))
    assert "does not hold: pigs fly" in capsys.readouterr().out
    run.finish()
    claims = written(root)["claims"]
    assert claims == {"water is wet": {"status": "kept"}, "pigs fly": {"status": "failed"}}
    with pytest.raises(AssertionError, match="pigs fly"):
        ordered(profile="teach").expect("pigs fly", np.bool_(False))
    assert written(root, "teach")["claims"]["pigs fly"]["status"] == "failed"
    assert written(root, "teach")["status"] == "failed"
    with pytest.raises(TypeError, match="True or False"):
        run.expect("vague", 0.3)


def unavailable(name):
    return DataUnavailable(f"{name}: not in the cache\nGet it elsewhere")


def test_a_claim_on_skipped_data_is_not_evaluated(root, monkeypatch, capsys):
    def load(name, **options):
        if name == "far":
            raise unavailable(name)
        about = {
            "files": np.array(["n.h5ad"]),
            "sha256": np.array(["ab"]),
            "warnings": np.array(["mind the gap"]),
        }
        return types.SimpleNamespace(uns={"scimf": about}, options=options)

    monkeypatch.setattr("scimf.notebook.load", load)
    run = start(profile="teach")
    for _ in range(2):
        loaded = run.load(["near", "far"], seed=1)
    assert list(loaded) == ["near"]
    assert loaded["near"].options == {"seed": 1}
    run.expect("far is like near", lambda: 1 / 0, needs=["near", "far"])
    run.finish()
    record = written(root, "teach")
    skipped = {"status": "skipped", "reason": "far: not in the cache"}
    assert record["claims"]["far is like near"] == skipped
    assert record["skipped"] == {"far": "not in the cache"}
    assert record["inputs"] == {"n.h5ad": "sha256:ab"}
    said = capsys.readouterr().out
    assert "near: mind the gap" in said
    assert said.count("not in the cache") == 1  # not again for each load and each claim
    assert "skipped: far is like near (needs far)" in said


def test_what_cannot_be_had_is_none_and_skipped(root):
    def pairs(name, genes, *, n):
        if name == "far":
            raise unavailable(name)
        return genes[:n]

    run = start(profile="teach")
    assert run.attempt("near pairs", pairs, "near", ["g1", "g2"], n=1) == ["g1"]
    assert run.attempt("far pairs", pairs, "far", ["g1", "g2"], n=1) is None
    run.reads(["n.csv"], ["ab"])
    run.expect("far pairs are found", lambda: 1 / 0, needs="far pairs")
    run.finish()
    record = written(root, "teach")
    assert record["inputs"] == {"n.csv": "sha256:ab"}
    assert record["skipped"] == {"far pairs": "far: not in the cache"}
    assert record["claims"]["far pairs are found"]["status"] == "skipped"


def draw_a_line():
    run = start()
    fig = Figure(dpi=300)
    fig.subplots().plot([0, 1], [0, 1])
    table = pd.DataFrame({"x": [0, 1]})
    run.save_figure(fig, "fig1a_line", {"a": table, "b": table})
    run.save_figure(fig, "fig1b_line", table)
    assert fig.get_dpi() == 100
    return run, {path.name: path.read_bytes() for path in run.figures.iterdir()}


def test_figures_repeat_byte_for_byte_with_their_numbers(root, monkeypatch):
    run, first = draw_a_line()
    _, second = draw_a_line()
    assert first == second
    assert set(first) == {
        "fig1a_line.pdf",
        "fig1a_line.png",
        "fig1a_line_a.csv",
        "fig1a_line_b.csv",
        "fig1b_line.pdf",
        "fig1b_line.png",
        "fig1b_line.csv",
    }
    assert first["fig1b_line.csv"] == b"x\n0\n1\n"
    with pytest.raises(ValueError, match="figure name"):
        run.save_figure(None, "loss")
    monkeypatch.setenv("SCIMF_UNATTENDED", "1")
    with pytest.raises(ValueError, match="second time"):
        run.save_figure(None, "fig1a_line")
