"""What a notebook relies on: parameters, numbers, claims, figures and their record."""

import json
import math
import random
import sys
import types

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch

from scimf import notebook, paths
from scimf.notebook import start_notebook

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
[teach]
enforce = true
wall_seconds = 60
[teach.01_tiny]
"""
VALUES = {"profile": "smoke", "seed": 3, "device": "cpu", "lr": 0.5, "unrelated": object()}


@pytest.fixture
def root(tmp_path, monkeypatch):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / f"{NAME}.py").write_text(SOURCE)
    (tmp_path / "notebooks" / "profiles.toml").write_text(PROFILES)
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    for folder in ("BUILD", "FIGURES", "RESULTS"):
        monkeypatch.setattr(paths, folder, tmp_path / folder.lower())
    return tmp_path


def start(**values):
    return start_notebook(NAME, VALUES | values)


def written(root, profile="smoke"):
    return json.loads((root / "results" / profile / f"{NAME}.json").read_text())


def test_start_seeds_everything_and_reads_the_declared_parameters(root):
    run = start()
    first = random.random(), np.random.rand(), torch.rand(()).item()
    start()
    assert first == (random.random(), np.random.rand(), torch.rand(()).item())
    assert run.parameters == {"profile": "smoke", "seed": 3, "device": "cpu", "lr": 0.5}
    assert run.build == root / "build" / "smoke" / NAME and run.build.is_dir()
    assert "profile smoke · seed 3 · cpu" in repr(run) and "lr = 0.5" in repr(run)
    torch.testing.assert_close(torch.rand(2, generator=run.generator()), torch.rand(2, generator=run.generator()))


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
        start()


def test_unknown_profile_setting_is_refused(root):
    (root / "notebooks" / "profiles.toml").write_text(PROFILES.replace("enforce = false", "enforced = false"))
    with pytest.raises(ValueError, match="smoke.*expected"):
        start()


def test_a_run_is_complete_only_after_finish(root):
    run = start()
    assert written(root)["status"] == "running"
    run.record({"a.b": 1, "c": np.float32(0.5)}, d={"mean": 2.0, "lo": 1.0, "hi": 3.0, "n_seeds": np.int64(3)})
    run.finish()
    record = written(root)
    assert record["status"] == "complete" and record["source"] == notebook.source_hash(NAME)
    assert record["metrics"]["a.b"] == 1 and record["metrics"]["d"]["n_seeds"] == 3
    assert record["parameters"]["lr"] == 0.5 and list(record) == sorted(record)


@pytest.fixture
def rooms(root):
    """A package whose rooms the notebook reaches by an import, by a name of the package, through another, or never."""
    (root / "scimf").mkdir()
    rooms = {"sde": "", "datasets": '"""Loads."""\nfrom scimf.particles import measure\n', "particles": "", "flow": ""}
    for room, text in rooms.items():
        (root / "scimf" / f"{room}.py").write_text(text)
    with (root / "notebooks" / f"{NAME}.py").open("a") as source:
        source.write("import scimf\nfrom scimf.sde import roll_out\n\nadata = scimf.load('typed')\n")
    return root


@pytest.mark.parametrize("room", ["sde", "datasets", "particles"])
def test_results_depend_on_every_room_a_notebook_reaches(rooms, room):
    before = notebook.source_hash(NAME)
    with (rooms / "scimf" / f"{room}.py").open("a") as source:
        source.write("x = 1\n")
    assert notebook.source_hash(NAME) != before


def test_results_depend_on_code_and_settings_of_the_notebook(rooms):
    found = [notebook.source_hash(NAME)]
    for path, old, new in [(f"{NAME}.py", "run = None", "run = 1"), ("profiles.toml", "lr = 1", "lr = 2")]:
        source = rooms / "notebooks" / path
        source.write_text(source.read_text().replace(old, new))
        found.append(notebook.source_hash(NAME))
    assert len(set(found)) == 3


def test_results_do_not_depend_on_words_nor_on_other_rooms(rooms):
    before = notebook.source_hash(NAME)
    (rooms / "scimf" / "flow.py").write_text("x = 1\n")
    (rooms / "notebooks" / "02_more.py").write_text("x = 1\n")
    (rooms / "scimf" / "sde.py").write_text("# says why\n")
    datasets = rooms / "scimf" / "datasets.py"
    datasets.write_text(datasets.read_text().replace("Loads", "Reads"))
    with (rooms / "notebooks" / f"{NAME}.py").open("a") as source:
        source.write("\n# %% [markdown]\n# In other words.\n")
    assert notebook.source_hash(NAME) == before


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


def test_given_values_are_read_by_the_type_of_the_parameter(root):
    assert notebook.given_values(NAME, []) == {} and notebook.given_values(NAME, ["seed=3"]) == {"seed": 3}
    assert notebook.given_values(NAME, ["device=a=b"]) == {"device": "a=b"}
    wrongs = {"seed=x": "seed='x': expected int", "seed=1.5": "expected int", "sed=1": "it has: profile"}
    for wrong, says in wrongs.items():
        with pytest.raises(ValueError, match=says):
            notebook.given_values(NAME, [wrong])


def test_claims_are_enforced_by_the_profile(root, capsys):
    run = start()
    run.expect("water is wet", True)
    run.expect("pigs fly", lambda: torch.tensor(False))
    assert {c: v["status"] for c, v in run._claims.items()} == {"water is wet": "kept", "pigs fly": "failed"}
    assert "does not hold: pigs fly" in capsys.readouterr().out
    with pytest.raises(AssertionError, match="pigs fly"):
        start(profile="teach").expect("pigs fly", np.bool_(False))
    assert written(root, "teach")["claims"]["pigs fly"]["status"] == "failed"
    assert written(root, "teach")["status"] == "failed"
    with pytest.raises(TypeError, match="True or False"):
        run.expect("vague", 0.3)


def test_a_claim_on_skipped_data_is_not_evaluated(root, monkeypatch, capsys):
    from scimf import registry

    def load(name, **options):
        if name == "far":
            raise registry.DataUnavailable("far: not in the cache\nGet it elsewhere")
        about = {"files": np.array(["n.h5ad"]), "sha256": np.array(["ab"]), "warnings": np.array(["mind the gap"])}
        return types.SimpleNamespace(uns={"scimf": about}, options=options)

    fake = types.SimpleNamespace(load=load)
    monkeypatch.setitem(sys.modules, "scimf.datasets", fake)
    monkeypatch.setattr("scimf.datasets", fake, raising=False)
    run = start(profile="teach")
    loaded = run.load(["near", "far"], each={"near": {"seed": 1}})
    assert list(loaded) == ["near"] and loaded["near"].options == {"seed": 1}
    run.expect("far is like near", lambda: 1 / 0, needs=["near", "far"])
    run.finish()
    record = written(root, "teach")
    assert record["claims"]["far is like near"] == {"status": "skipped", "reason": "far: not in the cache"}
    assert record["skipped"] == {"far": "not in the cache"} and record["inputs"] == {"n.h5ad": "sha256:ab"}
    assert "near: mind the gap" in capsys.readouterr().out


def test_a_table_of_pairs_is_recorded_or_skipped(root, monkeypatch):
    from scimf import ligands, registry

    def load_pairs(name, genes):
        if name == "far":
            raise registry.DataUnavailable("far: not in the cache\nGet it elsewhere")
        return pd.DataFrame({"ligand": genes[:1], "receptor": genes[1:]})

    monkeypatch.setattr(ligands, "load_pairs", load_pairs)
    monkeypatch.setattr(registry, "entries", lambda: {"near": {"files": [{"file": "n.csv", "sha256": "ab"}]}})
    run = start(profile="teach")
    assert len(run.load_pairs("near", ["g1", "g2"])) == 1 and run.load_pairs("far", ["g1", "g2"]) is None
    run.expect("far pairs are found", lambda: 1 / 0, needs="far")
    run.finish()
    record = written(root, "teach")
    assert record["inputs"] == {"n.csv": "sha256:ab"} and record["skipped"] == {"far": "not in the cache"}
    assert record["claims"]["far pairs are found"]["status"] == "skipped"


def test_figures_repeat_byte_for_byte_with_their_numbers(root, monkeypatch):
    from matplotlib.figure import Figure

    def draw():
        run, fig = start(), Figure(dpi=300)
        fig.subplots().plot([0, 1], [0, 1])
        table = pd.DataFrame({"x": [0, 1]})
        run.save_figure(fig, "fig1a_line", {"a": table, "b": table})
        run.save_figure(fig, "fig1b_line", table)
        assert fig.get_dpi() == 100
        return run, {p.name: p.read_bytes() for p in run.figures.iterdir()}

    (run, first), (_, second) = draw(), draw()
    assert first == second
    assert set(first) == {"fig1a_line.pdf", "fig1a_line.png", "fig1a_line_a.csv", "fig1a_line_b.csv"} | {
        f"fig1b_line.{suffix}" for suffix in ("pdf", "png", "csv")
    }
    assert first["fig1b_line.csv"] == b"x\n0\n1\n"
    with pytest.raises(ValueError, match="figure name"):
        run.save_figure(None, "loss")
    monkeypatch.setenv("SCIMF_UNATTENDED", "1")
    with pytest.raises(ValueError, match="second time"):
        run.save_figure(None, "fig1a_line")


def test_inputs_are_recorded_by_hash(root):
    run = start()
    (run.build / "sde.pt").write_bytes(b"weights")
    assert run.input("01_tiny/sde.pt").read_bytes() == b"weights"
    assert run._inputs["01_tiny/sde.pt"].startswith("sha256:")
    with pytest.raises(FileNotFoundError, match="run the notebook that writes it"):
        run.input("01_tiny/other.pt")
