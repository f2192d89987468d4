"""From scores to what a reader is shown: means, paired differences, skill, printed numbers."""

import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
from scimf.evaluation.summary import interval

from evidence.predictions import LEARNED
from evidence.scores import UNTRAINED


def summary(scores: pd.DataFrame) -> pd.DataFrame:
    """Mean and 95 % interval per board, method and metric, over set-ups and held-out snapshots.

    The replicate is the training seed (draws averaged first) for what is trained, and the shared
    draw of cells for baselines and floors; ``n_seeds`` is 0 for the latter.

    Returns
    -------
    DataFrame
        ``board, method, metric, mean, lo, hi, n_seeds, n``.
    """
    rows = []
    by_row = _with_plain_seed(scores).groupby(["board", "method", "metric"], sort=False)
    for (board, method, metric), part in by_row:
        is_trained = (part["seed"] >= 0).all()
        found = interval(_replicates(part, "seed" if is_trained else "draw"))
        rows.append(
            {
                "board": board,
                "method": method,
                "metric": metric,
                "lo": found.get("lo", found["mean"]),
                "hi": found.get("hi", found["mean"]),
                "mean": found["mean"],
                "n_seeds": found["n_seeds"] if is_trained else 0,
                "n": int(part["n"].max()),
            }
        )
    return pd.DataFrame(rows)


def difference(
    scores: pd.DataFrame,
    ours: str,
    other: str,
    *,
    metric: str = "energy_distance",
    unit: str = "draw",
) -> dict[str, float]:
    """Paired difference ours - other on one board, ``{mean, lo, hi, n_seeds}``.

    Its 95 % interval is over shared draws, or over shared training seeds (``unit="seed"``).
    """
    values = []
    for method in (ours, other):
        part = scores[(scores["method"] == method) & (scores["metric"] == metric)]
        values.append(_replicates(_with_plain_seed(part), unit))
    n = min(len(replicates) for replicates in values)
    return interval(values[0][:n] - values[1][:n])


def _with_plain_seed(scores: pd.DataFrame) -> pd.DataFrame:
    """Give -1 to what has no training seed: rows without a key would be lost in groups."""
    return scores.assign(seed=scores["seed"].astype("Int64").fillna(-1).astype(int))


def _replicates(part: pd.DataFrame, unit: str) -> np.ndarray:
    """One number per seed or draw: mean over draws or seeds, then snapshots, then set-ups."""
    by_snapshot = part.groupby([unit, "setup", "kind", "population", "time"])["value"].mean()
    by_kind = by_snapshot.groupby([unit, "setup", "kind"]).mean()
    by_setup = by_kind.groupby([unit, "setup"]).mean()
    return by_setup.groupby(unit).mean().to_numpy()


def skills(table: pd.DataFrame, *, metric: str = "energy_distance") -> pd.DataFrame:
    """Skill of trained methods (rows) on every board (columns) of a :func:`summary`.

    0 is the best prediction without training on that board, 1 the floor.
    """
    of_metric = table[table["metric"] == metric]
    means = of_metric.set_index(["board", "method"])["mean"].unstack("board")
    best_untrained = means.loc[means.index.intersection(list(UNTRAINED))].min()
    learned = means.loc[means.index.intersection(LEARNED)]
    return (best_untrained - learned) / (best_untrained - means.loc["floor"])


def published_numbers() -> pd.DataFrame:
    """Numbers that others printed, of ``published_scores.toml``.

    Columns: ``board, metric, method, value, spread, at, status, differs, source``; ``at`` are the
    values at successive times, of which ``value`` is the mean.
    """
    columns = ["board", "metric", "method", "value", "spread", "at", "status", "differs", "source"]
    with open(Path(__file__).with_name("published_scores.toml"), "rb") as file:
        rows = tomllib.load(file)["score"]
    return pd.DataFrame(rows, columns=columns)
