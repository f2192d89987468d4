import numpy as np
import pandas as pd
import pytest
from evidence import mixes

DAYS = np.array([0, 4, 7, 11, 14, 18, 21])


def counts(harm, wrong=0.03, noise=0.02, seed=0):
    """Wells as read: sensitive cells slow resistant ones by ``harm``; some are miscounted."""
    rng = np.random.default_rng(seed)
    rows = []
    for mix in (0.0, 0.25, 0.5, 0.75, 1.0):
        for replicate in (1, 2, 3):
            rates = {"sensitive": 0.1, "resistant": 0.1 - harm * (1 - mix)}
            start = {"sensitive": 2e4 * (1 - mix), "resistant": 1e4 * mix}
            speed = {kind: rate + 0.003 * rng.standard_normal() for kind, rate in rates.items()}
            for day in DAYS:
                true = {kind: start[kind] * np.exp(speed[kind] * day) for kind in start}
                moved = wrong * true["resistant"] - 0.002 * true["sensitive"]
                shake = np.exp(noise * rng.standard_normal(2))
                sensitive = (true["sensitive"] + moved) * shake[0]
                resistant = (true["resistant"] - moved) * shake[1]
                rows.append(("P", "untreated", mix, replicate, day, sensitive, resistant))
    columns = [*mixes.CASE, "mix", "replicate", "day", *mixes.KINDS]
    return pd.DataFrame(rows, columns=columns)


def test_harm_is_told_on_held_out_mixes_and_only_where_it_is():
    found = mixes.whom_it_matters(counts(harm=0.08), draws=50)
    case = found.loc[("P", "untreated", "resistant")]
    assert case["verdict"] == "hurts"
    assert case["r2"].value > 0.5
    assert case["slope"].hi < 0
    assert found.loc[("P", "untreated", "sensitive"), "verdict"].startswith("cannot be told")


def test_miscounted_cells_are_taken_back():
    seen = counts(harm=0.0, noise=0.0)
    wrong = mixes.miscounted(seen).loc[("P", "untreated")]
    np.testing.assert_allclose(wrong, [0.002, 0.03], rtol=1e-6)
    true = mixes.corrected(seen)
    np.testing.assert_allclose(true.loc[true["mix"] == 1, "sensitive"], 0, atol=1e-6)
    rates = mixes.growth_rates(true).groupby("receiver")["rate"].mean()
    np.testing.assert_allclose(rates, 0.1, atol=0.004)


def test_what_is_miscounted_too_often_is_not_asked():
    found = mixes.whom_it_matters(counts(harm=0.08, wrong=0.2), draws=5)
    assert (found["verdict"] == "cannot be told: 20% miscounted").all()
    assert found["r2"].isna().all()


def test_a_partner_that_does_not_matter_is_rarely_said_to():
    told = []
    for seed in range(30):
        found = mixes.whom_it_matters(counts(harm=0.0, seed=seed), draws=40)
        told += [*~found["verdict"].str.startswith("cannot be told")]
    assert np.mean(told) <= 0.1


def test_counts_are_read_by_well_and_day(tmp_path, monkeypatch):
    file = tmp_path / "EGA___CSV__MCF7-DoxoR__condition2.csv"
    text = "Continuous: Chemo,S(0.25%) Rep1,R(0.25%) Rep1\n   0,  17540,  3253\n   4, 34090, 3579\n"
    file.write_text(text)
    monkeypatch.setattr(mixes.registry, "fetch", lambda name: [file])
    found = mixes.read_mixes()
    assert found.iloc[1].to_dict() == pytest.approx(
        {
            "pair": "MCF7-DoxoR",
            "treatment": "chemo",
            "mix": 0.25,
            "replicate": 1,
            "day": 4,
            "sensitive": 34090,
            "resistant": 3579,
        }
    )
