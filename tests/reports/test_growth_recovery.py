"""Scores of who makes whom grow: what is called true is what the simulator did."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from evidence import growth_recovery
from evidence.helping import helping

import scimf

SMALL = {"n_populations": 8, "n_cells": 60, "n_types": 3, "dim": 2}


@pytest.fixture(scope="module")
def adata():
    return helping(seed=3, motion=False, **SMALL)


@pytest.fixture(scope="module")
def growth(adata):
    return scimf.who_multiplies_whom(adata, permutations=9)


def test_one_type_helps_and_a_third_kills():
    truth = helping(seed=1, **SMALL).uns["scimf"]["truth"]
    (helped, helper), (killed, killer) = np.argwhere(truth["effects"])
    assert helped == killed
    assert len({helped, helper, killer}) == 3
    assert sorted(np.sign(truth["effects"][truth["effects"] != 0])) == [-1, 1]
    assert (truth["type_matrix"] != 0).sum() == 2


def test_without_rates_and_effects_no_cell_divides():
    adata = helping(seed=1, motion=False, speed=0, **SMALL)
    assert (adata.obs["mass"] == 1).all()
    assert not adata.obsm["drift_interaction"].any()


def test_numbers_follow_the_equation():
    """The log number of each type changes as the stated rates and effects say."""
    adata = helping(seed=2, motion=False, **SMALL | {"n_cells": 3000})
    truth = adata.uns["scimf"]["truth"]
    count = adata.obs.groupby(["time", "population", "cell_type"], observed=True).size()
    share = count.unstack().div(count.groupby(level=[0, 1], observed=True).sum(), axis=0)
    mass = adata.obs.groupby(["time", "population"], observed=True)["mass"].first()
    log = np.log(share.mul(mass, axis=0))
    first = np.exp(log.loc[0.0].to_numpy())
    mean = (first + np.exp(log.loc[1.0].to_numpy())) / 2
    rate = truth["rates"] + truth["density"][:, None] * mean @ truth["effects"].T
    seen = first > 0.2
    error = (log.loc[1.0] - log.loc[0.0]).to_numpy() - rate
    assert np.abs(error[seen]).mean() < 0.1
    slope = np.polyfit(rate[seen], (error + rate)[seen], 1)[0]
    assert slope == pytest.approx(1, abs=0.3)


def test_pulls_grow_with_the_number_of_cells():
    grown = helping(seed=4, **SMALL)
    still = helping(seed=4, speed=0, **SMALL)
    first = (grown.obs["time"] == 0).to_numpy()
    for part in ("drift_intrinsic", "drift_interaction"):
        np.testing.assert_allclose(grown.obsm[part][first], still.obsm[part][first], rtol=1e-5)
    mass = grown.obs["mass"].to_numpy()
    assert np.ptp(mass[~first]) > 0.1


def test_a_good_reading_scores_well_and_a_reversed_one_does_not(adata, growth):
    truth = adata.uns["scimf"]["truth"]
    true = truth["effects"].ravel()
    right = growth.table.assign(effect=true, lo=true - 0.1, hi=true + 0.1, q=0.0)
    rates = pd.DataFrame({"rate": truth["rates"]}, truth["types"])
    rates = rates.assign(lo=rates["rate"] - 0.1, hi=rates["rate"] + 0.1)

    def scores(sign):
        table = right.assign(effect=sign * right["effect"])
        found = replace(growth, table=table, rates=sign * rates)
        return growth_recovery.score(found, adata)

    good = scores(1)
    assert good["rate_rank_correlation"] == good["effect_sign_accuracy"] == 1
    assert good["effect_auroc"] == good["coverage.zero"] == good["coverage.rate"] == 1
    assert good["effect_error"] == good["rate_error"] == 0
    assert scores(-1)["rate_rank_correlation"] == -1
    assert scores(-1)["effect_sign_accuracy"] == 0


def test_a_perfect_forecast_has_no_error_above_the_floor():
    index = pd.MultiIndex.from_product([["p", "q"], ["A", "B"]], names=["population", "cell_type"])
    shares = pd.DataFrame({"observed": [0.5, 0.5, 0.2, 0.8]}, index)
    shares["before"] = shares["observed"] + [0.2, -0.2, 0.2, -0.2]
    shares["half"] = shares["observed"] + [0.1, -0.1, 0.1, -0.1]
    shares["other_half"] = 2 * shares["observed"] - shares["half"]
    for off, ratio in ((0.1, 0.0), (0.2, 1.0)):
        shares["predicted"] = shares["observed"] + off * np.array([1, -1, 1, -1])
        found = growth_recovery.forecast_errors(shares)
        assert found["share_error_ratio"] == pytest.approx(ratio)


def test_forecasts_are_shares(adata):
    shares = growth_recovery.forecast(adata)
    np.testing.assert_allclose(shares.groupby("population", observed=True).sum(), 1)


def test_errors_are_foreseen_for_every_pair(adata, growth):
    assert growth_recovery.foreseen_errors(adata).shape == growth.matrix("se").shape
    assert -1 <= growth_recovery.foreseen(growth, adata) <= 1


def test_a_null_is_tested_from_shares_alone(monkeypatch):
    asked = []
    original = growth_recovery.who_multiplies_whom

    def watched(adata, **options):
        asked.append("mass" in adata.obs)
        return original(adata, permutations=19)

    monkeypatch.setattr(growth_recovery, "who_multiplies_whom", watched)
    for relative in (False, True):
        found = growth_recovery.null_of(seed=1, relative=relative, **SMALL)
        assert 0 < found["p"] <= 1
    assert asked == [True, False]
