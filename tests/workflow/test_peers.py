"""Other authors' packages: what a driver is told and answers, and what is shown of it."""

import ast
import json
import shutil
import sys

import numpy as np
import pandas as pd
import pytest
from evidence import as_shipped
from evidence.as_shipped import Asked, as_shipped_table, read_peers
from evidence.boards import Board
from evidence.scores import UNTRAINED
from evidence.setups import setups

from scimf.core import paths
from workflow.peers import run
from workflow.peers.protocol import Task

ASKED, PEERS = read_peers()
DRIVERS = paths.ROOT / "workflow" / "peers"
#: A peer in four lines: cells of the training time before.
COPIES = """
from protocol import answer
def fit(task):
    return lambda k: task.at(task.before(task.held_places[k])) + task.settings["shift"]
answer("numpy", fit)
"""
BOARD = {"name": "tiny", "dataset": "typed", "protocol": "leave_one_out", "setups": ((2.0,),)}


@pytest.fixture
def setup(tiny):
    adata = tiny[0]
    one = adata[adata.obs["population"] == "p00"].copy()
    (found,) = setups(Board(**BOARD), one)
    return found


@pytest.fixture
def write_driver(tmp_path, monkeypatch):
    """Give the peer ``copies`` a driver of our own, run by this Python."""
    shutil.copy(DRIVERS / "protocol.py", tmp_path)
    monkeypatch.setattr(run, "DRIVERS", tmp_path)
    monkeypatch.setattr(run, "folder", lambda name: tmp_path / name)
    monkeypatch.setattr(run, "python_of", lambda name: sys.executable)
    monkeypatch.setattr(run, "is_installed", lambda name, peer: name != "absent")
    return lambda text, name="copies": (tmp_path / f"fit_{name}.py").write_text(text)


def peer(**changes):
    given = {"version": "1", "requirements": ["numpy"], "licence": "MIT", "page": "p"}
    given |= {"beside": ["copy_previous"], "differs": "nothing", "settings": {"shift": 1.0}}
    return as_shipped.Peer.from_dict(given | changes)


# ------------------------------------------------------------------------------------ the protocol


def test_a_driver_is_told_training_cells_and_nothing_else(setup):
    told = run.task_arrays(setup, 3, {"a": 1})
    train = setup.adata[setup.split.train_mask(setup.adata)]
    np.testing.assert_array_equal(told["cells"], train.obsm["X_scimf"])
    assert set(told["times"]) == set(setup.split.train_times)
    assert told["held_times"].tolist() == [2.0]
    assert told["held_places"].tolist() == [2]
    assert set(told["places"]) == {0, 1, 3, 4}


def test_a_task_knows_what_lies_around_a_held_out_time():
    times = np.array([0.0, 0.0, 1.0, 5.0])
    held = {"held_times": np.array([2.0]), "held_places": np.array([2])}
    places = np.array([0, 0, 1, 3])
    task = Task(np.eye(4), times, places, seed=0, settings={}, **held)
    assert task.way(0) == (1, 3, 0.25)
    assert task.at(0).shape == (2, 4)


def test_answers_come_back_and_are_kept(setup, write_driver, tmp_path):
    write_driver(COPIES)
    cells, about = run.answer_of("copies", peer(), setup, 0, 1.0)
    before = setup.adata[setup.adata.obs["time"] == 1.0].obsm["X_scimf"]
    np.testing.assert_allclose(cells.obsm["X_scimf"], before + 1, rtol=1e-5)
    assert set(cells.obs["time"]) == {2.0}
    assert about["seconds"] >= 0
    assert about["versions"]["numpy"] == np.__version__
    (kept,) = (tmp_path / "copies" / "answers").glob("*.npz")
    made = kept.stat().st_mtime_ns
    write_driver(f'"""A docstring."""\n# A comment.\n{COPIES}')
    run.answer_of("copies", peer(), setup, 0, 1.0)
    assert kept.stat().st_mtime_ns == made


@pytest.mark.parametrize(
    "change",
    [{"seed": 1}, {"settings": {"shift": 2.0}}, {"requirements": ["numpy", "ot"]}],
    ids=["another seed", "other settings", "other versions"],
)
def test_what_decides_an_answer_makes_it_anew(setup, write_driver, tmp_path, change):
    write_driver(COPIES)
    run.answer_of("copies", peer(), setup, 0, 1.0)
    seed = change.pop("seed", 0)
    run.answer_of("copies", peer(**change), setup, seed, 1.0)
    assert len(list((tmp_path / "copies" / "answers").glob("*.npz"))) == 2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("raise OSError('no such weight')", "OSError: no such weight"),
        (COPIES.replace('task.settings["shift"]', "float('nan')"), "not finite"),
        ("pass", "no reason given"),
    ],
    ids=["fails", "answers NaN", "answers nothing"],
)
def test_a_driver_that_fails_says_why(setup, write_driver, text, says):
    write_driver(text)
    with pytest.raises(RuntimeError, match=says):
        run.answer_of("copies", peer(), setup, 0, 1.0)


def test_several_populations_are_refused(tiny):
    (several,) = setups(Board(**BOARD), tiny[0])
    with pytest.raises(ValueError, match="board tiny: .* populations, expected one"):
        run.task_arrays(several, 0, {})


def test_a_board_is_scored_with_one_peer_failing_and_one_absent(
    setup, write_driver, tmp_path, monkeypatch
):
    write_driver(COPIES)
    write_driver("raise OSError('broken')", "fails")
    monkeypatch.setattr(as_shipped, "MEASURED", tmp_path / "as_shipped.json")
    monkeypatch.setitem(run.BOARDS, "tiny", Board(**BOARD))
    monkeypatch.setattr(run.scimf, "load", lambda name: setup.adata)
    peers = {name: peer() for name in ("copies", "fails", "absent")}
    asked = {"steps": 1, "draws": 2, "transport_n": 10, "minutes": 1.0}
    record = run.measure_all(["tiny"], peers, Asked(boards=("tiny",), seeds=(0, 1, 2), **asked))
    assert json.loads((tmp_path / "as_shipped.json").read_text()) == record
    table = as_shipped_table(record, peers).set_index("peer")
    assert table.loc["fails", "standing"] == "failed: OSError: broken"
    assert table.loc["absent", "standing"] == as_shipped.NOT_INSTALLED
    assert table.loc["copies", "standing"] == "ours is closer"  # theirs are shifted
    assert table.loc["copies", "score"] > table.loc["copies", "ours_score"]
    assert table.loc["copies", "seconds"] >= 0


# ------------------------------------------------------------------------------------ what is shown


def record_of(theirs, ours, n_seeds=3):
    """Record of one board, of two rows with their intervals."""
    rows = []
    for method, (lo, hi) in (("wot", theirs), ("ot_interpolation", ours), ("floor", (0, 0))):
        row = {"method": method, "metric": "energy_distance", "mean": (lo + hi) / 2}
        rows.append(row | {"lo": lo, "hi": hi, "n_seeds": n_seeds * (method == "wot")})
    found = {"rows": pd.DataFrame(rows).to_dict("list"), "failed": {}, "versions": {"wot": {}}}
    return {"boards": {"emt": found | {"seconds": {"wot": {"mean": 0.4}}}}}


@pytest.mark.parametrize(
    ("theirs", "ours", "standing"),
    [
        ((1, 2), (1.5, 3), "tie"),
        ((1, 2), (2.5, 3), "as shipped is closer"),
        ((4, 5), (2.5, 3), "ours is closer"),
    ],
    ids=["overlap", "theirs below", "theirs above"],
)
def test_standing_is_by_intervals(theirs, ours, standing):
    (row,) = as_shipped_table(record_of(theirs, ours), {"wot": PEERS["wot"]}).to_dict("records")
    assert row["standing"] == standing
    assert row["seconds"] == 0.4
    assert row["best_untrained"] == sum(ours) / 2


def test_few_seeds_decide_nothing():
    record = record_of((4, 5), (1, 2), n_seeds=2)
    (row,) = as_shipped_table(record, {"wot": PEERS["wot"]}).to_dict("records")
    assert row["standing"] == "too few seeds"


def test_without_any_record_every_peer_is_not_installed():
    table = as_shipped_table({"boards": {}}, PEERS)
    assert set(table["peer"]) == set(PEERS)
    assert set(table["standing"]) == {as_shipped.NOT_INSTALLED}


# ------------------------------------------------------------------------------------ the real ones


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_is_pinned_documented_and_stands_beside_something(name):
    peer = PEERS[name]
    assert all("==" in requirement for requirement in peer.requirements)
    assert peer.requirements[0].endswith(f"=={peer.version}")
    assert f"Route: {peer.page}\n" in (DRIVERS / f"fit_{name}.py").read_text()
    assert set(peer.beside) <= {*UNTRAINED, *as_shipped.OURS}


@pytest.mark.parametrize("name", PEERS)
def test_a_driver_imports_nothing_of_ours(name):
    imported = set()
    for node in ast.walk(ast.parse((DRIVERS / f"fit_{name}.py").read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            imported.add(node.module.split(".")[0])
    assert "protocol" in imported
    assert not imported & {"scimf", "evidence", "workflow", "beside"}


def test_boards_to_measure_are_boards():
    assert set(ASKED.boards) <= set(run.BOARDS)
