"""How well are cells reconstructed: errors of molecules that were not encoded."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.optimize import minimize_scalar

from scimf.counts.likelihood import TINY, log_negative_binomial, split_counts

if TYPE_CHECKING:
    from scimf.counts.fit_autoencoder import FittedCounts

DISPERSIONS = (1e-3, 1e4)  #: between which the most likely dispersion of a gene is searched


def negative_log_likelihood(counts: np.ndarray, mean: np.ndarray, dispersion: np.ndarray) -> float:
    """Minus negative-binomial log-likelihood in nats, summed over genes, mean over cells.

    All are (cells, genes), or can be broadcast to it.
    """
    log_likelihood = log_negative_binomial(_tensor(counts), _tensor(mean), _tensor(dispersion))
    return float(-log_likelihood.sum(1).mean())


def _tensor(values: np.ndarray) -> torch.Tensor:
    return torch.as_tensor(np.array(values, np.float64))


def count_halves(counts: np.ndarray, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two binomial halves of counts (cells, genes), the same for every model.

    Cells with an empty half are left out; the third array, (cells,), says which are kept.
    """
    whole = torch.as_tensor(np.asarray(counts, np.float32))
    first, second = split_counts(whole, torch.Generator().manual_seed(seed))
    kept = (first.sum(1) > 0) & (second.sum(1) > 0)
    return first[kept].numpy(), second[kept].numpy(), kept.numpy()


def split_error(fitted: "FittedCounts", counts: np.ndarray, *, seed: int = 0) -> float:
    """Count-split reconstruction error: encode one half of every cell, score the other half.

    A cell scored on the counts it was encoded from rewards a latent that stores their noise.
    ``fitted`` is an autoencoder, or anything with its ``encode`` and ``decode``; the error is the
    :func:`negative_log_likelihood` of the second :func:`count_halves`.
    """
    first, second, _ = count_halves(counts, seed=seed)
    mean, dispersion = fitted.decode(fitted.encode(first), second.sum(1))
    return negative_log_likelihood(second, mean, dispersion)


def profile_error(
    train: np.ndarray,
    test: np.ndarray,
    labels: tuple[np.ndarray, np.ndarray] | None = None,
    *,
    seed: int = 0,
) -> float:
    """Error of the trivial model: one profile times the library size, or one profile per label.

    The second half of each test cell is scored, as by :func:`split_error`, with dispersions of
    training halves.

    Parameters
    ----------
    train, test
        Counts, (cells, genes); profiles, and the most likely dispersion of each gene, come from
        ``train`` alone.
    labels
        Types of the training and test cells; every type of the test cells must have training cells.
    seed
        Of the halves.

    Raises
    ------
    ValueError
        If a type has no training cells; names it.
    """
    if labels is None:
        labels = (np.zeros(len(train), int), np.zeros(len(test), int))
    train_labels, test_labels = labels
    profiles = {}
    for label in np.unique(train_labels):
        total = train[train_labels == label].sum(0) + TINY
        profiles[label] = total / total.sum()
    if missing := sorted(set(np.unique(test_labels)) - set(profiles)):
        raise ValueError(f"labels: types {missing} have no training cells")
    _, train, kept = count_halves(train, seed=seed)
    dispersion = _fitted_dispersion(train, _expected(train, train_labels[kept], profiles))
    _, test, kept = count_halves(test, seed=seed)
    expected = _expected(test, test_labels[kept], profiles)
    return negative_log_likelihood(test, expected, dispersion[None])


def _expected(counts: np.ndarray, labels: np.ndarray, profiles: dict) -> np.ndarray:
    """Library size of each cell times the profile of its label, (cells, genes)."""
    return counts.sum(1, keepdims=True) * np.stack([profiles[label] for label in labels])


def _fitted_dispersion(counts: np.ndarray, mean: np.ndarray) -> np.ndarray:  # (genes,)
    """Most likely dispersion of each gene given the means, (cells, genes) both."""

    def error(log_dispersion: float, x: np.ndarray, mu: np.ndarray) -> float:
        return negative_log_likelihood(x[:, None], mu[:, None], np.exp(log_dispersion))

    found = []
    for gene in zip(counts.T, mean.T, strict=True):
        found.append(minimize_scalar(error, bounds=np.log(DISPERSIONS), args=gene).x)
    return np.exp(found)
