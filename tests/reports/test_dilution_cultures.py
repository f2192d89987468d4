import numpy as np
import pandas as pd
import pytest
from evidence import dilution_cultures
from evidence.over_units import Number, mean_of, number


def written(folder, helps, seed=0):
    """A file of the same layout: one yield for both kinds, a drug that resistant cells remove."""
    rng = np.random.default_rng(seed)
    rows = []
    for culture, fraction in enumerate(np.linspace(0.0, 0.97, 12)):
        for replicate in range(2):
            start = fraction + 0.01 * rng.random()
            for dilution in (100.0, 200.0, 400.0, 800.0):
                for dose in (0.0, 3.0, 10.0, 30.0, 100.0):
                    density = 1.5 / dilution * np.exp(0.1 * rng.standard_normal())
                    drug = dose / (20 + 1e5 * helps * density * start)
                    odds = start / (1 - start) * np.exp(-0.8 + 4 * np.tanh(drug))
                    end = odds / (1 + odds) + 0.002 * rng.standard_normal()
                    final = 1.4 * np.exp(0.05 * rng.standard_normal())
                    rows.append((dose, culture, final, density, end, start, replicate, dilution))
    columns = "ampicillin,culture_id,ODf,ODi,ff,fi,replicate,dilution"
    table = pd.DataFrame(rows, columns=columns.split(","))
    table.loc[5, "ff"] = np.nan  # died
    table.to_csv(folder / "cultures.csv", index=False)
    return folder / "cultures.csv"


def read(tmp_path, monkeypatch, helps):
    file = written(tmp_path, helps)
    monkeypatch.setattr(dilution_cultures.registry, "fetch", lambda name: [file])
    return dilution_cultures.read_cultures()


def test_help_through_a_drug_is_found_on_held_out_dilutions(tmp_path, monkeypatch):
    cultures = read(tmp_path, monkeypatch, helps=1.0)
    assert (cultures["fraction"] >= dilution_cultures.LEAST_FRACTION).all()
    table = dilution_cultures.beside_no_drug(cultures)
    found = dilution_cultures.held_out_table(table)
    assert found["resistant"].lo > 0.6
    assert found["resistant"].lo > max(found["sensitive"].hi, found["dose"].hi)
    assert dilution_cultures.effects(table)["resistant"].lo > 0


def test_without_help_nothing_is_gained_from_resistant_cells(tmp_path, monkeypatch):
    table = dilution_cultures.beside_no_drug(read(tmp_path, monkeypatch, helps=0.0))
    found = dilution_cultures.held_out_table(table)
    assert found["dose"].value > 0.7
    assert found["resistant"].value < found["dose"].value - 0.2


def test_one_yield_looks_like_an_interaction_only_in_the_plain_form(tmp_path, monkeypatch):
    cultures = read(tmp_path, monkeypatch, helps=1.0)
    without = cultures[cultures["dose"] == 0]
    assert dilution_cultures.plain_linear(without)["resistant"].hi < 0  # the pitfall
    assert dilution_cultures.fraction_adds(cultures, 0.0).value < 0.03
    assert dilution_cultures.fraction_adds(cultures, 30.0).value > 0.3
    left = dilution_cultures.shared_yield(cultures)
    assert abs(dilution_cultures.fraction_adds(left, 0.0, "left").value) < 0.03


def test_broken_lines_bend_at_their_knots():
    columns = dilution_cultures.broken_line([0.0, 1.0, 3.0], [2.0])
    np.testing.assert_allclose(columns, [[0, 0], [1, 0], [3, 1]])


def test_limits_come_from_whole_units():
    rng = np.random.default_rng(0)
    units = np.repeat(np.arange(20), 10)
    values = np.repeat(rng.standard_normal(20), 10)
    found = number(lambda rows: values[rows].mean(), units)
    naive = mean_of(values)
    assert found.value == naive.value == pytest.approx(values.mean())
    assert found.hi - found.lo > 2 * (naive.hi - naive.lo)
    assert str(Number(0.5, 0.25, 0.75)) == "0.5 [0.25, 0.75]"
    assert Number(1, 0, 2).under("a.b") == {"a.b": 1, "a.b.lo": 0, "a.b.hi": 2}
