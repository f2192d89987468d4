"""Who makes whom grow against a known truth, one simulated data set at a time."""

import time
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from beside.growing import growing
from scimf.interaction.interaction_test import do_cells_interact
from scimf.interaction.plan import Design
from scimf.interaction.who_grows_whom import Growth, who_multiplies_whom
from scimf.interaction.who_moves_whom import who_moves_whom

from evidence.edges import edge_recovery
from evidence.helping import helping
from evidence.recovery import drift_errors

if TYPE_CHECKING:
    from anndata import AnnData

LEVEL = 0.05  #: at which an effect is called, and growth is said to depend on anybody
PERMUTATIONS = 999


def recovery_of(**options) -> dict[str, float]:
    """Score what is read from one data set of :func:`evidence.helping.helping` without motion.

    Returns
    -------
    dict
        :func:`score`; ``share_error`` and what belongs to it (:func:`forecast_errors`); ``p`` of
        the test whether growth depends on anybody; ``design_rank_correlation``
        (:func:`foreseen`); ``seconds`` on one core of reading who multiplies whom.
    """
    adata = helping(motion=False, **options)
    started = time.process_time()
    found = who_multiplies_whom(adata, permutations=PERMUTATIONS)
    seconds = time.process_time() - started
    scores = score(found, adata) | forecast_errors(forecast(adata))
    scores["design_rank_correlation"] = foreseen(found, adata)
    return scores | {"p": found.p, "seconds": seconds}


def score(found: Growth, adata: "AnnData") -> dict[str, float]:
    """Compare rates and effects with those of the simulator.

    Returns
    -------
    dict
        ``rate_rank_correlation`` (Spearman, over types) and ``rate_error`` (root mean square);
        ``effect_sign_accuracy`` of effects that are not zero, and ``called_sign_accuracy`` of those
        that are called at q of at most 0.05 (NaN without any), of which ``called`` is the number;
        ``effect_auroc`` (not zero from zero, by size) and ``effect_error``; ``coverage.zero``,
        ``coverage.not_zero`` and ``coverage.rate`` of the intervals.
    """
    from scipy.stats import spearmanr

    truth = adata.uns["scimf"]["truth"]
    rates = pd.Series(truth["rates"], index=truth["types"])[found.rates.index]
    true = pd.DataFrame(truth["effects"], truth["types"], truth["types"])
    true = true.stack().loc[pd.MultiIndex.from_frame(found.table[["receiver", "sender"]])]
    table = found.table.assign(true=true.to_numpy())
    there = table["true"] != 0
    right = np.sign(table["effect"]) == np.sign(table["true"])
    called = table["q"] <= LEVEL
    covered = table["true"].between(table["lo"], table["hi"])
    ranks = table["effect"].abs().rank()
    n, n_there = len(table), int(there.sum())
    above = ranks[there].sum() - n_there * (n_there + 1) / 2
    return {
        "rate_rank_correlation": float(spearmanr(found.rates["rate"], rates).statistic),
        "rate_error": float(np.sqrt(((found.rates["rate"] - rates) ** 2).mean())),
        "effect_sign_accuracy": float(right[there].mean()),
        "called_sign_accuracy": float(right[called].mean()),
        "called": int(called.sum()),
        "effect_auroc": float(above / max(n_there * (n - n_there), 1)),
        "effect_error": float(np.sqrt(((table["effect"] - table["true"]) ** 2).mean())),
        "coverage.zero": float(covered[~there].mean()),
        "coverage.not_zero": float(covered[there].mean()),
        "coverage.rate": float(rates.between(found.rates["lo"], found.rates["hi"]).mean()),
    }


def forecast(adata: "AnnData") -> pd.DataFrame:
    """Shares at the last time, which is held out, by population and type.

    Columns ``observed``; ``predicted`` by the fitted equation rolled forward; ``before``, those of
    the time before; ``half`` and ``other_half`` of the cells at the last time.
    """
    *earlier, last = np.unique(adata.obs["time"])
    known = adata[(adata.obs["time"] < last).to_numpy()]
    predicted = who_multiplies_whom(known, permutations=1).predict(last)
    observed = adata.obs[adata.obs["time"] == last]
    half = np.random.default_rng(0).permutation(len(observed)) % 2 == 0
    shares = {
        "observed": shares_of(observed),
        "predicted": predicted.div(predicted.sum(axis=1), axis=0),
        "before": shares_of(adata.obs[adata.obs["time"] == earlier[-1]]),
        "half": shares_of(observed[half]),
        "other_half": shares_of(observed[~half]),
    }
    stacked = {name: table.stack() for name, table in shares.items()}
    return pd.DataFrame(stacked).rename_axis(["population", "cell_type"])


def forecast_errors(shares: pd.DataFrame) -> dict[str, float]:
    """Root mean squares over populations of the errors of a :func:`forecast`.

    Returns
    -------
    dict
        ``share_error`` of the predicted shares, ``share_copy`` of those of the time before,
        ``share_floor``: of the true ones, as so few cells are counted (half of the difference of
        two halves of the cells); ``share_error_ratio`` is (error - floor) / (copy - floor), and
        ``share_square_ratio`` the same of their squares, which noise is added to.
    """
    error = _root_mean_square(shares["predicted"] - shares["observed"])
    copy = _root_mean_square(shares["before"] - shares["observed"])
    floor = _root_mean_square(shares["half"] - shares["other_half"]) / 2
    return {
        "share_error": error,
        "share_copy": copy,
        "share_floor": floor,
        "share_error_ratio": (error - floor) / (copy - floor),
        "share_square_ratio": (error**2 - floor**2) / (copy**2 - floor**2),
    }


def shares_of(obs: pd.DataFrame) -> pd.DataFrame:
    """Shares of the types (columns) in every population."""
    return pd.crosstab(obs["population"], obs["cell_type"], normalize="index", dropna=False)


def _root_mean_square(difference: pd.Series) -> float:
    return float(np.sqrt((difference**2).groupby("population", observed=True).sum().mean()))


def foreseen(found: Growth, adata: "AnnData") -> float:
    """Rank correlation of the standard errors of effects with those that the design foresees.

    The log of a number is a mean with variance 1/n, and its effect no displacement: spread and
    distance are 1, and nothing relaxes.
    """
    from scipy.stats import spearmanr

    se = foreseen_errors(adata)
    return float(spearmanr(se.ravel(), found.matrix("se").to_numpy().ravel()).statistic)


def foreseen_errors(adata: "AnnData") -> np.ndarray:  # (receiver, sender)
    """Foresee the standard errors of effects on growth from counts and densities alone."""
    snapshots = who_multiplies_whom(adata, permutations=1).snapshots
    design = Design(snapshots.count, snapshots.density, snapshots.times, snapshots.types, 1.0)
    return design.standard_errors()


# -------------------------------------------------------------------------------------- motion


def motion_of(**options) -> dict[str, float]:
    """Error of the interaction in motion where cells divide and die, at some ``speed``.

    Beside :func:`evidence.recovery.drift_errors` of the type means and how well pairs are told:
    ``without_mass`` is the error if the numbers of cells are not known.
    """
    adata = helping(**{"n_cells": 100} | options)
    mass = adata.obs["mass"]
    found = who_moves_whom(adata, permutations=1)
    truth = adata.uns["scimf"]["truth"]["type_matrix"]
    scores = {"heard_type_mean_error": float(drift_errors([found], adata)["heard_type_mean"])}
    scores["edge_auroc"] = edge_recovery(found.matrix(), truth)["auroc"]
    scores["fold_change"] = float(np.exp(np.abs(np.log(mass)).max()))
    del adata.obs["mass"]
    found = who_moves_whom(adata, permutations=1)
    scores["without_mass"] = float(drift_errors([found], adata)["heard_type_mean"])
    return scores


# ------------------------------------------------------------------------------ false positives


def null_of(*, relative: bool = False, **options) -> dict[str, float]:
    """p-value where types divide and die at rates of their own; share of effects called.

    ``relative``: numbers of cells are not known, shares alone are.
    """
    adata = helping(motion=False, heard=False, **options)
    if relative:
        del adata.obs["mass"]
    found = who_multiplies_whom(adata, permutations=PERMUTATIONS)
    table = found.table
    return {
        "p": found.p,
        "called": int((table["q"] <= LEVEL).sum()),
        "share_below": float((table["p"] <= LEVEL).mean()),
    }


def growing_of(**options) -> dict:
    """Ask of :func:`scimf.simulate.typed.growing` whether cells interact, in motion and growth."""
    adata = growing(**options)
    adata.obsm["X_scimf"] = np.asarray(adata.X, dtype=float)
    verdict = do_cells_interact(adata)
    found = who_multiplies_whom(adata, permutations=PERMUTATIONS)
    return {"answer": verdict.answer, "p": verdict.p, "p_growth": found.p}
