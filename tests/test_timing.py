"""Candidates take turns, peaks and exponents are right, and a busy machine publishes nothing."""

import json
import subprocess
import sys

import numpy as np
import pytest

from scimf import bench, paths, timing


def test_candidates_take_turns():
    order = []
    seconds = timing.in_turns({name: (lambda name=name: order.append(name)) for name in "ab"}, 2)
    assert order == list("ababab") and {len(values) for values in seconds.values()} == {2}


def test_growth_and_peak_memory_are_measured():
    assert timing.exponent([10, 100, 1000], [7, 1, 100]) == pytest.approx(2)
    small, large = (timing.peak("bench.evaluate_drift", cells=n, form="additive") for n in (500, 20_000))
    assert small["seconds"] > 0 and 0 <= small["peak_gib"] < 0.05 < large["peak_gib"] < 1  # 20,000 x 400 numbers, twice
    with pytest.raises(RuntimeError, match="evaluate_drift.*failed"):
        timing.peak("bench.evaluate_drift", cells=10, form="attention", dim=-1)


def test_another_process_is_noticed():
    if np.isnan(timing.others_busy(timing.others_busy()[1])[0]):
        pytest.skip("no /proc/stat here")
    spin = "import time\nend = time.process_time() + 60\nwhile time.process_time() < end: pass"
    other = subprocess.Popen([sys.executable, "-c", spin], start_new_session=True)
    try:
        _, since = timing.others_busy()
        subprocess.run([sys.executable, "-c", "import time; time.sleep(3)"], check=True)
        busy, _ = timing.others_busy(since)
    finally:
        other.kill(), other.wait()
    assert busy > 0.3  # at least; others may be busy, too


def test_a_busy_machine_publishes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(paths, "RESULTS", tmp_path)
    assert timing.record({"a": 1}, 1.5, publish=True) == 1 and "nothing is published" in capsys.readouterr().out
    assert not (tmp_path / "published").exists() and (tmp_path / "bench.json").exists()


def test_a_record_is_printed_a_line_a_number():
    found = {
        "cpu": "x",
        "versions": {"torch": "2"},
        "step": {"engine": {"median": 2.0, "min": 1.0, "max": 3.0}, "n": 4},
    }
    engine, n = timing.lines_of(found | {"curves": {"a": 1}})
    assert engine.split() == ["step.engine", "2", "[1,", "3]"] and n.split() == ["step.n", "4"]


def test_a_record_keeps_what_is_not_measured_again(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "RESULTS", tmp_path)
    timing.record({"step": 1, "time_to_quality": 2}, 0.0, publish=True)
    monkeypatch.setattr(bench, "measure", lambda *args, **options: {"step": 3})
    monkeypatch.setattr(timing, "others_busy", lambda since=None: (0.1, (0.0, 0.0, 0.0)))
    assert bench.main(["--publish"]) == 0
    found = json.loads((tmp_path / "published" / "bench.json").read_text())
    assert (found["step"], found["time_to_quality"], found["others_busy_cores"]) == (3, 2, 0.1)
