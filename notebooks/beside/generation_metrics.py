"""How real do generated cells look: scores with their floors and ceilings.

Distances are taken between log-normalised cells (counts per 10,000, log1p) projected on 30
principal components of the **real test** cells, as the scLDM paper does. Each stands beside the
*floor*, training cells against test cells, and the *ceiling*, reconstructions of the test cells: no
latent model can be expected beyond its own autoencoder.
"""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
import torch

from scimf.counts.likelihood import log_normalised
from scimf.evaluation.distances import distances, energy_distance, rbf_mmd2, wasserstein

#: Sigma of the kernels exp(-|x - y|^2 / (2 sigma^2)), whose discrepancies are summed.
MMD_SCALES = (1.0, 2.0, 4.0, 8.0, 16.0)
NEIGHBOURS = 5  #: of precision and recall
SMALL = 1e-3  #: added to means and variances of genes before a logarithm

#: From counts (cells, genes) to coordinates (cells, n).
Projection = Callable[[np.ndarray], np.ndarray]


def log_pca(real: np.ndarray, n: int = 30) -> Projection:
    """Fit principal components to log-normalised counts (cells, genes).

    Returns the map from counts (cells, genes) to coordinates (cells, n).
    """
    from sklearn.decomposition import PCA

    logged = _log_normalised(real)
    pca = PCA(min(n, *logged.shape), svd_solver="full").fit(logged)

    def project(counts: np.ndarray) -> np.ndarray:
        return pca.transform(_log_normalised(counts))

    return project


def _log_normalised(counts: np.ndarray) -> np.ndarray:
    return log_normalised(torch.as_tensor(np.asarray(counts, np.float32))).numpy().astype(float)


def generation_table(
    samples: Mapping[str, np.ndarray],
    test: np.ndarray,
    *,
    train: np.ndarray | None = None,
    project: Projection | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Score samples of counts against the test cells.

    Of cells in coordinates: ``w2``; ``energy_distance``; ``mmd2``, squared maximum mean
    discrepancy, unbiased, summed over kernels of five scales; ``frechet``, between the Gaussians
    fitted to both; ``nn_accuracy`` of telling both apart by the nearest neighbour, 0.5 if they are
    alike; ``precision`` and ``recall`` (Kynkäänniemi et al. 2019): high precision with low recall
    is concentration, not quality. Of counts as they are, so that library sizes matter, root mean
    squares over genes: ``zero_fraction_error``, ``log10_mean_error``, ``log10_variance_error``.

    Parameters
    ----------
    samples
        Counts (cells, genes) by name, about as many cells as there are test cells.
    test, train
        Real counts, (cells, genes). With ``train`` the first row is the ``floor``: as many of the
        training cells, drawn at random with ``seed``.
    project
        Coordinates of counts; by default :func:`log_pca` of the test cells.

    Returns
    -------
    DataFrame
        One row per sample, one column per score.
    """
    project = project or log_pca(test)
    rows = {}
    if train is not None:
        drawn = np.random.default_rng(seed).permutation(len(train))[: len(test)]
        rows["floor"] = _scores(train[drawn], test, project)
    for name, counts in samples.items():
        rows[name] = _scores(counts, test, project)
    return pd.DataFrame(rows).T


def _scores(generated: np.ndarray, real: np.ndarray, project: Projection) -> dict[str, float]:
    x = project(generated)
    y = project(real)
    precision, recall = _precision_recall(x, y)
    scores = {
        "w2": wasserstein(x, y, order=2),
        "energy_distance": energy_distance(x, y),
        "mmd2": len(MMD_SCALES) * rbf_mmd2(x, y, bandwidth=1.0, scales=MMD_SCALES),
        "frechet": _frechet_distance(x, y),
        "nn_accuracy": _nearest_neighbour_accuracy(x, y),
        "precision": precision,
        "recall": recall,
    }
    gaps = {
        "zero_fraction_error": (generated == 0).mean(0) - (real == 0).mean(0),
        "log10_mean_error": _log10(generated.mean(0)) - _log10(real.mean(0)),
        "log10_variance_error": _log10(generated.var(0)) - _log10(real.var(0)),
    }
    for name, gap in gaps.items():
        scores[name] = float(np.sqrt((gap**2).mean()))
    return scores


def _frechet_distance(x: np.ndarray, y: np.ndarray) -> float:
    r"""Fréchet distance between the Gaussians fitted to two clouds.

    :math:`|\mu_x - \mu_y|^2 + \mathrm{tr}(S_x + S_y - 2 (S_x S_y)^{1/2})`, in squared units of the
    coordinates.
    """
    cov_x = np.cov(x, rowvar=False)
    cov_y = np.cov(y, rowvar=False)
    shared = np.linalg.eigvals(cov_x @ cov_y).real.clip(0)
    shift = ((x.mean(0) - y.mean(0)) ** 2).sum()
    return float(shift + np.trace(cov_x + cov_y) - 2 * np.sqrt(shared).sum())


def _nearest_neighbour_accuracy(x: np.ndarray, y: np.ndarray) -> float:
    """Leave-one-out accuracy of telling two clouds apart by the nearest neighbour.

    For unpaired cells only: a reconstruction sits beside its own source and scores below 0.5.
    """
    n = min(len(x), len(y))
    both = distances(np.concatenate([x[:n], y[:n]]))
    np.fill_diagonal(both, np.inf)
    is_second = np.arange(2 * n) >= n
    return float((is_second[both.argmin(1)] == is_second).mean())


def _precision_recall(generated: np.ndarray, real: np.ndarray) -> tuple[float, float]:
    """Share of generated cells within reach of the real cloud, and the other way round.

    A cloud's reach is the union of balls around its cells that hold their nearest neighbours.
    """
    between = distances(generated, real)
    precision = (between <= _reach(real)).any(1).mean()
    recall = (between <= _reach(generated)[:, None]).any(0).mean()
    return float(precision), float(recall)


def _reach(cloud: np.ndarray) -> np.ndarray:  # (cells,)
    """Radius of the ball around each cell that holds its nearest neighbours."""
    k = min(NEIGHBOURS, len(cloud) - 1)
    return np.sort(distances(cloud), axis=1)[:, k]


def _log10(values: np.ndarray) -> np.ndarray:
    return np.log10(values + SMALL)
