import pandas as pd
import pytest
from evidence.boards import BOARDS
from evidence.predictions import LEARNED
from evidence.summaries import difference, published_numbers, skills, summary


def test_summary_has_floor_baselines_and_seeds(scores):
    table = summary(scores).set_index(["method", "metric"])
    assert table.loc[("scimf", "w1"), "n_seeds"] == 2
    assert table.loc[("mixture", "w1"), "n_seeds"] == 0
    expected = {"floor", "copy_previous", "schroedinger_bridge", *LEARNED}
    assert expected <= set(table.index.get_level_values(0))
    assert (table["lo"] <= table["mean"]).all()
    assert (table["mean"] <= table["hi"]).all()


def test_summary_gives_each_setup_and_kind_the_same_weight():
    rows = [
        ("a", "time", "p", 1.0, 1.0),
        ("a", "time", "q", 1.0, 3.0),
        ("a", "population", "r", 1.0, 8.0),
        ("b", "time", "p", 2.0, 11.0),
    ]
    scores = pd.DataFrame(rows, columns=["setup", "kind", "population", "time", "value"])
    scores = scores.assign(board="x", method="m", metric="w1", seed=0, draw=0, n=5)
    assert summary(scores)["mean"].item() == ((2 + 8) / 2 + 11) / 2


def test_difference_is_paired():
    rows = []
    for method, shift in (("a", 0), ("b", 1)):
        for draw in range(4):
            rows.append((method, draw, 10 * draw + shift))
    scores = pd.DataFrame(rows, columns=["method", "draw", "value"])
    scores = scores.assign(metric="energy_distance", seed=pd.NA, setup="s", kind="time")
    found = difference(scores.assign(population="p", time=1.0), "a", "b")
    assert found["mean"] == found["lo"] == found["hi"] == -1


def test_skill_is_0_for_the_best_prediction_without_training_and_1_for_the_floor():
    means = {
        "easy": {"floor": 0.1, "mixture": 0.5, "copy_previous": 0.7, "schroedinger_bridge": 0.9},
        "hard": {"floor": 0.0, "mixture": 4.0, "copy_previous": 3.0, "schroedinger_bridge": 2.0},
    }
    means["easy"] |= {"scimf": 0.3, "neural_ode": 0.5}
    means["hard"] |= {"scimf": 3.0, "neural_ode": 0.0}
    rows = []
    for board, methods in means.items():
        for method, mean in methods.items():
            rows.append((board, method, "energy_distance", mean))
            rows.append((board, method, "w1", 1.0))
    table = pd.DataFrame(rows, columns=["board", "method", "metric", "mean"])
    found = skills(table)
    assert set(found.index) == {"scimf", "neural_ode"} and set(found.columns) == {"easy", "hard"}
    assert found.loc["scimf", "easy"] == pytest.approx(0.5)
    assert found.loc["neural_ode", "easy"] == pytest.approx(0.0)
    assert found.loc["scimf", "hard"] == pytest.approx(-0.5)
    assert found.loc["neural_ode", "hard"] == pytest.approx(1.0)


def test_printed_numbers_say_where_they_are_from_and_what_differs():
    printed = published_numbers()
    assert set(printed["status"]) == {"same test", "context"}
    assert printed["source"].notna().all() and (printed["value"] > 0).all()
    assert printed.loc[printed["status"] == "context", "differs"].notna().all()
    same_test = printed[printed["status"] == "same test"]
    assert set(same_test["board"]) <= set(BOARDS)
