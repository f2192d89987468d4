r"""What a latent flow has to beat: priors that need no training, and predictions of combinations without any model.

All priors share the decoder of a fitted flow. Library sizes are drawn for the conditions alone: latents that are not
those of cells tell a size that is not that of a cell, and a baseline must not be weaker than it need be. Shown in
notebook 09.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from scimf.autoencode import FittedCounts, panel_counts
from scimf.generate import FittedFlow, encode_as_trained
from scimf.realism import frechet, log_pca
from scimf.transport import energy_distance

if TYPE_CHECKING:
    from anndata import AnnData

HALF = 0.5  #: added to every total of a gene before a logarithm


def gaussian_prior(flow: FittedFlow, n: int, *, seed: int = 0) -> np.ndarray:  # (n, tokens, latent)
    """Latents from the diagonal Gaussian fitted to the training latents: what the flow starts from, left where it is.

    The flow works in standardised coordinates, so its noise has the mean and the standard deviation of each latent
    number already; what it has to learn is the rest: types, correlations, everything that is not Gaussian.
    """
    return standard_prior(flow, n, seed=seed) * flow.sd + flow.mean


def standard_prior(flow: FittedFlow, n: int, *, seed: int = 0) -> np.ndarray:  # (n, tokens, latent)
    """Latents from N(0, I), with no look at any cell; the decoder projects them on its sphere."""
    rng = np.random.default_rng([seed, 1])  # not the stream that library sizes are drawn from
    return rng.standard_normal((n, *flow.mean.shape)).astype(np.float32)


def sample_prior(
    flow: FittedFlow,
    obs: pd.DataFrame,
    *,
    prior: Callable[..., np.ndarray] = gaussian_prior,
    library: np.ndarray | None = None,
    seed: int = 0,
) -> "AnnData":
    """Draw a cell per row of ``obs`` from a prior in place of the flow.

    The prior does not know the conditions of ``obs``; the library sizes (cells,), unless these are given, do.
    """
    z = prior(flow, len(obs), seed=seed)
    by_type = flow.library.draw(flow.conditions.labels(obs), seed=seed) if library is None else np.asarray(library)
    return flow.counts.draw(z, by_type, seed=seed)


def reconstruct(fitted: FittedCounts, counts: np.ndarray, *, seed: int = 0) -> np.ndarray:  # (cells, genes)
    """Encode ``counts`` (cells, genes), decode at their own totals and draw counts: the ceiling of the autoencoder."""
    return fitted.draw(encode_as_trained(fitted, counts, seed=seed), counts.sum(1), seed=seed).X.toarray()


def generation_samples(
    flow: FittedFlow,
    test: "AnnData",
    *,
    train: "AnnData | None" = None,
    others: Mapping[str, FittedFlow] | None = None,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Rows of a generation table, as counts (test cells, genes) by name.

    ``reconstruction`` of the test cells; ``perfect_flow``, reconstructions of as many of the ``train`` cells if these
    are given: their latents are what a flow learns, so it cannot be asked for more; ``flow``, told the conditions of
    the test cells, and ``flow_sized_by_type``, its latents with library sizes drawn for the conditions alone;
    ``flow_unconditional``, told nothing (both absent if there are no conditions); ``fitted_gaussian`` and
    ``standard_normal`` in place of the flow, with library sizes drawn for the conditions alone, too. For each of
    ``others``, flows of other autoencoders of the same panel, ``<name>_reconstruction`` and ``<name>_flow``. Flows draw
    library sizes for their own latents.
    """
    real = panel_counts(test, flow.counts.genes)
    cells = {"flow": flow.sample(test.obs, seed=seed)}
    if flow.conditions.values:
        by_type = flow.library.draw(flow.conditions.labels(test.obs), seed=seed)
        cells["flow_sized_by_type"] = flow.sample(test.obs, library=by_type, seed=seed)
        cells["flow_unconditional"] = flow.sample(test.n_obs, seed=seed)
    for name, prior in (("fitted_gaussian", gaussian_prior), ("standard_normal", standard_prior)):
        cells[name] = sample_prior(flow, test.obs, prior=prior, seed=seed)
    found = {"reconstruction": reconstruct(flow.counts, real, seed=seed)}
    if train is not None:
        some = np.random.default_rng([seed, 2]).permutation(train.n_obs)[: test.n_obs]
        found["perfect_flow"] = reconstruct(flow.counts, panel_counts(train[some], flow.counts.genes), seed=seed)
    for name, other in (others or {}).items():
        found[f"{name}_reconstruction"] = reconstruct(other.counts, real, seed=seed)
        cells[f"{name}_flow"] = other.sample(test.obs, seed=seed)
    return found | {name: part.X.toarray() for name, part in cells.items()}


# ------------------------------------------------------------------------------------------- combinations nobody saw


def log_share(counts: np.ndarray) -> np.ndarray:  # (genes,)
    """Log share of each gene in the molecules of all cells together, (cells, genes) -> (genes,)."""
    return np.log(counts.sum(0) + HALF) - np.log(counts.sum() + HALF * counts.shape[1])


def fold_change(counts: np.ndarray, types: np.ndarray, treated: np.ndarray) -> np.ndarray:  # (genes,)
    """Fold change of each gene's share from untreated to treated cells, geometric mean over types.

    Parameters
    ----------
    counts, types, treated
        Counts (cells, genes), the type of each cell, and whether it is treated, (cells,) booleans. Every type with
        treated cells must have untreated ones.
    """
    kinds = np.unique(types[treated])
    if missing := sorted(set(kinds) - set(types[~treated])):
        raise ValueError(f"types: {missing} have treated cells but no untreated ones")
    logs = [log_share(counts[(types == k) & treated]) - log_share(counts[(types == k) & ~treated]) for k in kinds]
    return np.exp(np.mean(logs, 0))


def combination_cells(
    adata: "AnnData", genes: Sequence[str], target: Mapping[str, str], *, control: str = "control"
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return counts of a held-out combination and of its control cells, and the fold change that other types tell.

    Parameters
    ----------
    genes
        Panel of the model that is to be judged.
    target
        Type, then treatment: ``{"cell_type": "A", "perturbation": "p1"}``, names of columns of ``obs`` and values.

    Returns
    -------
    tuple of ndarray
        Counts of the combination and of untreated cells of its type, (cells, genes), for scoring only; and the fold
        change (genes,) of the treatment in all *other* types, which is all that the mean shift may know.
    """
    (kinds, kind), (whats, what) = ((adata.obs[name].astype(str).to_numpy(), value) for name, value in target.items())
    counts, mine, treated, free = panel_counts(adata, genes), kinds == kind, whats == what, whats == control
    others = ~mine & (treated | free)
    return counts[mine & treated], counts[mine & free], fold_change(counts[others], kinds[others], treated[others])


def shift_cells(control: np.ndarray, fold: np.ndarray, library: np.ndarray, *, seed: int = 0) -> np.ndarray:
    r"""Mean shift on counts: every cell keeps its profile times the fold change, at a new library size.

    With :math:`a_{cg} = f_g L_c / \sum_h f_h x_{ch}`, a count :math:`x` becomes Binomial(x, a) where :math:`a \le 1`
    (thinning, which keeps a negative binomial one with the same dispersion), and x + Poisson((a - 1) x) above.

    Parameters
    ----------
    control, fold
        Counts (cells, genes) and fold changes (genes,).
    library
        As many total counts as there are cells, in any order: the k-th deepest cell gets the k-th largest.
    """
    rng, moved = np.random.default_rng(seed), (control * fold).sum(1)
    rank = np.argsort(np.argsort(control.sum(1), kind="stable"), kind="stable")
    factor = fold * (np.sort(library)[rank] / moved)[:, None]
    kept = rng.binomial(control.astype(int), np.minimum(factor, 1))
    return (kept + rng.poisson(control * np.maximum(factor - 1, 0))).astype(np.float32)


def score_combination(
    predictions: Mapping[str, np.ndarray],
    held: np.ndarray,
    control: np.ndarray,
    fold: np.ndarray,
    library: np.ndarray,
    *,
    seed: int = 0,
) -> pd.DataFrame:
    """Score predictions of a combination nobody trained on, beside the floor, control cells and the mean shift.

    The held-out cells are halved at random: one half is the truth, the other one the floor. The control cells are
    halved, too: one half is the prediction "no effect", is shifted, and is what predicted changes are measured from;
    the true change is measured from the other half, so that both sides of a correlation share no noise.

    Parameters
    ----------
    predictions
        Counts (cells, genes) by name; at least half as many cells as are held out.
    held, control
        Real counts of the combination, and of untreated cells of its type, (cells, genes).
    fold, library
        As from :func:`fold_change` of other types, and total counts predicted for the combination.

    Returns
    -------
    DataFrame
        One row per method, all with equally many cells: ``energy_distance`` and ``frechet`` in log principal components
        of the truth, where floor and predictions are equally strange, and ``fold_correlation`` of log-fold changes (0
        where no change is predicted).
    """
    rng, n = np.random.default_rng([seed, 2]), min(len(held), len(control)) // 2
    cells, control = rng.permutation(held), rng.permutation(control)
    truth, start, apart = cells[:n], control[:n], control[n : 2 * n]
    clouds = {"floor": cells[n : 2 * n], "control": start}
    clouds["mean shift"] = shift_cells(start, fold, library[:n], seed=seed)
    clouds |= {name: x[:n] for name, x in predictions.items()}
    project, true, rows = log_pca(truth), log_share(truth) - log_share(apart), {}
    for name, cloud in clouds.items():
        x, change = project(cloud), log_share(cloud) - log_share(start)
        rows[name] = {"energy_distance": energy_distance(x, project(truth)), "frechet": frechet(x, project(truth))}
        rows[name]["fold_correlation"] = float(np.corrcoef(change, true)[0, 1]) if change.any() else 0.0
    return pd.DataFrame(rows).T
