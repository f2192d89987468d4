"""What a latent flow has to beat: latents that need no training.

All samples share the decoder of a fitted flow. Library sizes are drawn for the conditions alone
where latents are not those of cells: the size that such latents imply is not that of a cell, and
a baseline must not be weaker than it need be. Drawn by hand in notebook 8.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from scimf.counts.fit_autoencoder import FittedCounts, panel_counts
from scimf.counts.fit_flow import FittedFlow

if TYPE_CHECKING:
    from anndata import AnnData


def generation_samples(
    flow: FittedFlow,
    test: "AnnData",
    *,
    train: "AnnData | None" = None,
    others: Mapping[str, FittedFlow] | None = None,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Draw the rows of a generation table: counts (test cells, genes) by name.

    Parameters
    ----------
    flow
        A fitted flow. ``flow`` is given the conditions of the test cells and draws library sizes
        for its own latents; ``flow_sized_by_type`` draws them for the conditions alone, and
        ``flow_unconditional`` is given nothing (both only if there are conditions). In place of
        the flow, ``fitted_gaussian`` and ``standard_normal`` latents.
    test
        Held-out cells with counts; ``reconstruction``: encoded, decoded and drawn.
    train
        Training cells. ``perfect_flow``: as many of them, reconstructed; their latents are what a
        flow learns, so more cannot be expected of it.
    others
        Flows of other autoencoders of the same panel by name; ``<name>_reconstruction`` and
        ``<name>_flow``.
    seed
        Of everything that is drawn.
    """
    others = others or {}
    real = panel_counts(test, flow.counts.genes)
    samples = {"reconstruction": _reconstructed(flow.counts, real, seed)}
    if train is not None:
        chosen = np.random.default_rng([seed, 2]).permutation(train.n_obs)[: test.n_obs]
        seen = panel_counts(train[chosen], flow.counts.genes)
        samples["perfect_flow"] = _reconstructed(flow.counts, seen, seed)
    for name, other in others.items():
        samples[f"{name}_reconstruction"] = _reconstructed(other.counts, real, seed)

    by_conditions = flow.library.draw(flow.conditions.labels(test.obs), seed=seed)  # (cells,)
    samples["flow"] = flow.sample(test.obs, seed=seed).X.toarray()
    if flow.conditions.values:
        sized = flow.sample(test.obs, library=by_conditions, seed=seed)
        samples["flow_sized_by_type"] = sized.X.toarray()
        samples["flow_unconditional"] = flow.sample(test.n_obs, seed=seed).X.toarray()

    noise = _standard_normal(flow, test.n_obs, seed)
    # What the flow starts from, left where it is. The flow works in standardised coordinates, so
    # its noise has the mean and the standard deviation of each latent number already; what it has
    # to learn is the rest: types, correlations, everything that is not Gaussian.
    gaussian = noise * flow.sd + flow.mean
    for name, latents in {"fitted_gaussian": gaussian, "standard_normal": noise}.items():
        samples[name] = flow.counts.draw(latents, by_conditions, seed=seed).X.toarray()
    for name, other in others.items():
        samples[f"{name}_flow"] = other.sample(test.obs, seed=seed).X.toarray()
    return samples


def _reconstructed(fitted: FittedCounts, counts: np.ndarray, seed: int) -> np.ndarray:
    """Encode counts (cells, genes), decode at their own totals, draw: the autoencoder's ceiling."""
    latents = fitted.encode_as_trained(counts, seed=seed)
    return fitted.draw(latents, counts.sum(1), seed=seed).X.toarray()


def _standard_normal(flow: FittedFlow, n: int, seed: int) -> np.ndarray:  # (n, tokens, latent)
    """Latents from N(0, I), with no look at any cell; the decoder projects them on its sphere."""
    rng = np.random.default_rng([seed, 1])  # not the stream that library sizes are drawn from
    return rng.standard_normal((n, *flow.mean.shape)).astype(np.float32)
