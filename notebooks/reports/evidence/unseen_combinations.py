"""Predictions of a combination of conditions that nobody trained on, and what they have to beat."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from beside.generation_metrics import generation_table
from scimf.counts.fit_autoencoder import panel_counts

if TYPE_CHECKING:
    from anndata import AnnData

HALF = 0.5  #: added to every total of a gene before a logarithm


def log_share(counts: np.ndarray) -> np.ndarray:  # (genes,)
    """Log share of each gene in the molecules of all cells together, (cells, genes) -> (genes,)."""
    return np.log(counts.sum(0) + HALF) - np.log(counts.sum() + HALF * counts.shape[1])


def fold_change(
    counts: np.ndarray, types: np.ndarray, treated: np.ndarray
) -> np.ndarray:  # (genes,)
    """Fold change of each gene's share from untreated to treated cells, geometric mean over types.

    Parameters
    ----------
    counts, types, treated
        Counts (cells, genes), the type of each cell, and whether it is treated, (cells,) booleans.
        Every type with treated cells must have untreated ones.

    Raises
    ------
    ValueError
        If a type has none.
    """
    names = np.unique(types[treated])
    if missing := sorted(set(names) - set(types[~treated])):
        raise ValueError(f"types: {missing} have treated cells but no untreated ones")
    logs = []
    for name in names:
        with_treatment = counts[(types == name) & treated]
        without = counts[(types == name) & ~treated]
        logs.append(log_share(with_treatment) - log_share(without))
    return np.exp(np.mean(logs, 0))


def combination_cells(
    adata: "AnnData", genes: Sequence[str], target: Mapping[str, str], *, control: str = "control"
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return counts of a held-out combination and its control, and the fold change in other types.

    Parameters
    ----------
    adata
        Raw counts with the columns of ``target`` in ``obs``.
    genes
        Panel of the model that is to be scored.
    target
        Type, then treatment: ``{"cell_type": "A", "perturbation": "p1"}``, names of columns of
        ``obs`` and values.
    control
        Value of the second column that means no treatment.

    Returns
    -------
    tuple of ndarray
        Counts of the combination and of untreated cells of its type, (cells, genes), for scoring
        only; and the fold change (genes,) of the treatment in all *other* types, which is all that
        the mean shift may know.
    """
    type_key, treatment_key = target
    types = adata.obs[type_key].astype(str).to_numpy()
    treatments = adata.obs[treatment_key].astype(str).to_numpy()
    counts = panel_counts(adata, genes)
    of_type = types == target[type_key]
    treated = treatments == target[treatment_key]
    untreated = treatments == control
    others = ~of_type & (treated | untreated)
    fold = fold_change(counts[others], types[others], treated[others])
    return counts[of_type & treated], counts[of_type & untreated], fold


def shift_cells(
    control: np.ndarray, fold: np.ndarray, library: np.ndarray, *, seed: int = 0
) -> np.ndarray:
    r"""Mean shift on counts: each cell keeps its profile times the fold change.

    A new library size comes along. With :math:`a_{cg} = f_g L_c / \sum_h f_h x_{ch}`, a count
    :math:`x` becomes Binomial(x, a) where :math:`a \le 1` (thinning, which keeps a negative
    binomial one with the same dispersion), and x + Poisson((a - 1) x) above.

    Parameters
    ----------
    control, fold
        Counts (cells, genes) and fold changes (genes,).
    library
        As many total counts as there are cells, in any order: the k-th deepest cell gets the k-th
        largest.
    seed
        Of the draws.
    """
    rng = np.random.default_rng(seed)
    rank = np.argsort(np.argsort(control.sum(1), kind="stable"), kind="stable")
    moved = (control * fold).sum(1)
    factor = fold * (np.sort(library)[rank] / moved)[:, None]  # (cells, genes)
    kept = rng.binomial(control.astype(int), np.minimum(factor, 1))
    added = rng.poisson(control * np.maximum(factor - 1, 0))
    return (kept + added).astype(np.float32)


def score_combination(
    predictions: Mapping[str, np.ndarray],
    held: np.ndarray,
    control: np.ndarray,
    fold: np.ndarray,
    library: np.ndarray,
    *,
    seed: int = 0,
) -> pd.DataFrame:
    """Score predictions of a combination nobody trained on, beside what they have to beat.

    The held-out cells are halved at random: one half is the truth, the other one the floor. The
    control cells are halved, too: one half is the prediction "no effect", is shifted, and is what
    predicted changes are measured from; the true change is measured from the other half, so that
    both sides of a correlation share no noise.

    Parameters
    ----------
    predictions
        Counts (cells, genes) by name; at least half as many cells as are held out.
    held, control
        Real counts of the combination, and of untreated cells of its type, (cells, genes).
    fold, library
        As from :func:`fold_change` of other types, and total counts predicted for the combination.
    seed
        Of the halves and of the shift.

    Returns
    -------
    DataFrame
        One row per method, all with equally many cells: ``energy_distance`` and ``frechet`` in log
        principal components of the truth, where floor and predictions are equally strange, and
        ``fold_correlation`` of log-fold changes (0 where no change is predicted).
    """
    rng = np.random.default_rng([seed, 2])
    n = min(len(held), len(control)) // 2
    held = rng.permutation(held)
    control = rng.permutation(control)
    truth = held[:n]
    start = control[:n]
    clouds = {"floor": held[n : 2 * n], "control": start}
    clouds["mean shift"] = shift_cells(start, fold, library[:n], seed=seed)
    for name, cells in predictions.items():
        clouds[name] = cells[:n]
    table = generation_table(clouds, truth)[["energy_distance", "frechet"]].copy()
    true_change = log_share(truth) - log_share(control[n : 2 * n])
    for name, cloud in clouds.items():
        change = log_share(cloud) - log_share(start)
        correlation = 0.0
        if change.any():
            correlation = float(np.corrcoef(change, true_change)[0, 1])
        table.loc[name, "fold_correlation"] = correlation
    return table
