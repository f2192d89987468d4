"""Networks whose cells divide and die: CytoBridge's simulation, and shares at unseen times."""

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import ot
import scimf
from scimf.dynamics.config import SDEConfig
from scimf.dynamics.fit import fit
from scimf.dynamics.snapshots import KEY, Snapshots
from scimf.evaluation.baselines import BASELINES
from scimf.evaluation.held_out import Scoring, evaluate
from scipy.spatial.distance import cdist

from evidence.helping import helping

if TYPE_CHECKING:
    from anndata import AnnData

WITHOUT_MODEL = ("copy_previous", "mixture", "mean_shift", "ot_interpolation")
#: Of a table of :func:`cytobridge_of`.
COLUMNS = [
    *("which", "held", "seed", "growth", "interaction"),
    *(f"{score}.{t}" for score in ("w1", "total") for t in (1, 2, 3, 4)),
]
MOST_ITERATIONS = 1_000_000  #: of exact transport


def weighted_w1(x: np.ndarray, weight: np.ndarray, y: np.ndarray) -> float:
    """Exact W1 of weighted cells (n, dim) to observed ones (m, dim), all of them."""
    equal = np.full(len(y), 1 / len(y))
    cost = cdist(x, y)
    return float(ot.emd2(weight / weight.sum(), equal, cost, numItermax=MOST_ITERATIONS))


def cytobridge(which: str) -> "AnnData":
    """CytoBridge's simulated circuit, whose snapshots grow as the population does."""
    adata = scimf.load("cytobridge_sim", which=which)
    n = adata.obs.groupby("time").size()
    adata.obs["mass"] = adata.obs["time"].map(n / n.iloc[0]).astype(float)
    return adata


def cytobridge_of(
    *, which: str, held: float | None, seed: int, growth: str, interaction: str, steps: int
) -> dict:
    """Fit CytoBridge's circuit and predict each time from the one before.

    Parameters
    ----------
    which
        "attraction" or "no_interaction".
    held
        The time that is held out; None: trained on all times.
    growth, interaction, steps
        Settings of :class:`SDEConfig`.

    Returns
    -------
    dict
        ``w1.t`` and ``total.t`` (predicted over observed) of the times t that are predicted; where
        a time is held out also ``w1`` of :data:`WITHOUT_MODEL`, and ``w1.floor``, of two halves of
        the observed cells.
    """
    adata = cytobridge(which)
    split = scimf.hold_out(adata, times=[] if held is None else [held])
    space = scimf.fit_space(adata, split)
    config = SDEConfig(growth=growth, interaction=interaction, steps=steps)
    model = fit(adata, split, space, config=config, seed=seed, progress=False)
    time = adata.obs["time"].to_numpy(float)
    mass = adata.obs.groupby("time")["mass"].first()
    found = {}
    for t in mass.index[1:] if held is None else [held]:
        cells = model.sample([t], seed=seed, n=2000)
        weight = np.ones(cells.n_obs)
        if "weight" in cells.obs:
            weight = cells.obs["weight"].to_numpy(float)
        observed = adata.obsm[KEY][time == t]
        found[f"w1.{t:g}"] = weighted_w1(cells.obsm[KEY], weight, observed)
        start = mass[cells.obs["start_time"].iloc[0]]
        found[f"total.{t:g}"] = float(start * weight.mean() / mass[t])
    if held is not None:
        found |= _without_model(adata, split, observed, held, seed)
    return found


def _without_model(adata: "AnnData", split, observed: np.ndarray, held: float, seed: int) -> dict:
    starts = Snapshots.to_start_from(adata, split)
    (population,) = starts.density
    rng = np.random.default_rng(seed)
    score = partial(weighted_w1, weight=np.ones(len(observed)), y=observed)
    found = {}
    for name in WITHOUT_MODEL:
        found[f"w1.{name}"] = score(BASELINES[name](starts, population, held, len(observed), rng))
    left, right = np.array_split(rng.permutation(observed), 2)
    found["w1.floor"] = weighted_w1(left, np.ones(len(left)), right)
    return found


def forms_of_growth(*, seed: int, growth: str, steps: int, held: float, **options) -> dict:
    """Fit a network to the system ``helping`` and predict a time that was held out.

    Returns
    -------
    dict
        ``share_error`` and ``energy_distance`` of the network, of copies and of the noise floor;
        ``total_error``, mean absolute error of the logarithm of totals; and ``rank_correlation`` of
        the rate of cells, true and learned.
    """
    adata = helping(seed=seed, **options)
    split = scimf.hold_out(adata, times=[held])
    space = scimf.fit_space(adata, split)
    config = SDEConfig(growth=growth, steps=steps)
    model = fit(adata, split, space, config=config, seed=seed, progress=False)
    cells = model.sample([held], seed=seed)
    metrics = ("energy_distance", "share_error")
    totals = ("total_error",) if growth != "none" else ()  # without growth no total is predicted
    scoring = Scoring(draws=3, metrics=metrics + totals)
    table = evaluate({"network": cells}, adata, split, scoring=scoring)
    value = table.groupby(["method", "metric"])["value"].mean()
    found = {}
    for method in ("network", "copy_previous", "mixture", "mean_shift", "floor"):
        for metric in metrics:
            found[f"{metric}.{method}"] = float(value[method, metric])
    for method in ("network", "copy_previous", "log_linear"):
        found[f"total_error.{method}"] = float(value.get((method, "total_error"), np.nan))
    return found
