"""Candidates take turns, peaks and exponents are right, and a busy machine publishes nothing."""

import json
import subprocess
import sys
from functools import partial, wraps

import numpy as np
import pytest

from scimf.core import paths
from workflow.benchmarks import costs, timing
from workflow.benchmarks.peak import peak
from workflow.benchmarks.record import about, lines_of, record
from workflow.benchmarks.scaling import evaluate_drift


def test_candidates_take_turns():
    order = []
    seconds = timing.in_turns({name: partial(order.append, name) for name in "ab"}, 2)
    assert order == list("ababab")
    assert {len(values) for values in seconds.values()} == {2}


def test_an_exponent_is_a_slope_over_the_top_decade():
    assert timing.exponent([10, 100, 1000], [7, 1, 100]) == pytest.approx(2)


@pytest.mark.slow
def test_peak_memory_is_measured_in_another_process():
    small = peak(evaluate_drift, cells=500, form="additive")
    large = peak(evaluate_drift, cells=20_000, form="additive")
    assert small["seconds"] > 0
    assert 0 <= small["peak_gib"] < 0.05 < large["peak_gib"] < 1  # 20,000 x 400 numbers, twice
    with pytest.raises(RuntimeError, match="evaluate_drift.*failed"):
        peak(evaluate_drift, cells=10, form="attention", dim=-1)


def test_another_process_is_noticed():
    if np.isnan(timing.others_busy(timing.look())):
        pytest.skip("no /proc/stat here")
    spin = "import time\nend = time.process_time() + 60\nwhile time.process_time() < end: pass"
    other = subprocess.Popen([sys.executable, "-c", spin], start_new_session=True)
    try:
        start = timing.look()
        subprocess.run([sys.executable, "-c", "import time; time.sleep(3)"], check=True)
        busy = timing.others_busy(start)
    finally:
        other.kill()
        other.wait()
    assert busy > 0.3  # at least; others may be busy, too


def test_a_busy_machine_publishes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(paths, "RESULTS", tmp_path)
    assert record({"a": 1}, 1.5, publish=True) == 1
    assert "nothing is published" in capsys.readouterr().out
    assert not (tmp_path / "published").exists()
    assert (tmp_path / "bench.json").exists()


def test_a_record_is_printed_a_line_a_number():
    found = {
        "cpu": "x",
        "versions": {"torch": "2"},
        "step": {"engine": {"median": 2.0, "min": 1.0, "max": 3.0}, "n": 4},
        "curves": {"a": 1},
    }
    engine, n = lines_of(found)
    assert engine.split() == ["step.engine", "2", "[1,", "3]"]
    assert n.split() == ["step.n", "4"]


def test_a_record_names_the_code_that_measured():
    assert about("cpu", evaluate_drift)["code"] != about("cpu", timing.exponent)["code"]


def test_a_record_keeps_what_is_not_measured_again(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "RESULTS", tmp_path)
    record({"step": 1, "time_to_quality": 2}, 0.0, publish=True)
    monkeypatch.setattr(costs, "measure", measure_nothing)
    monkeypatch.setattr(timing, "others_busy", lambda since: 0.1)
    assert costs.main(["--publish"]) == 0
    found = json.loads((tmp_path / "published" / "bench.json").read_text())
    assert (found["step"], found["time_to_quality"], found["others_busy_cores"]) == (3, 2, 0.1)


@wraps(costs.measure)
def measure_nothing(device, rounds):
    return {"step": 3}
