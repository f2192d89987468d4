"""How real do generated cells look, and how well are cells reconstructed: scores with their floors and ceilings.

Distances are taken between log-normalised cells (counts per 10,000, log1p) projected on 30 principal components of the
**real test** cells, as the scLDM paper does. Each stands beside the *floor*, training cells against test cells, and the
*ceiling*, reconstructions of the test cells: no latent model can be expected beyond its own autoencoder.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from scipy import linalg

from scimf.counts import TINY, log_negative_binomial, log_normalised, thin
from scimf.transport import distances, energy_distance, w2, within

if TYPE_CHECKING:
    from scimf.autoencode import FittedCounts

MMD_SCALES = (1.0, 2.0, 4.0, 8.0, 16.0)  #: sigma of the kernels exp(-|x - y|^2 / (2 sigma^2)), summed
NEIGHBOURS = 5  #: of precision and recall


def log_pca(real: np.ndarray, n: int = 30):
    """Fit principal components to log-normalised counts (cells, genes); returns the map from counts to (cells, n)."""
    from sklearn.decomposition import PCA

    logged = _logged(real)
    pca = PCA(min(n, *logged.shape), svd_solver="full").fit(logged)
    return lambda counts: pca.transform(_logged(counts))


def _logged(counts: np.ndarray) -> np.ndarray:
    return log_normalised(torch.as_tensor(np.asarray(counts, np.float32))).numpy().astype(float)


def frechet(x: np.ndarray, y: np.ndarray) -> float:
    r"""Fréchet distance between the Gaussians fitted to two clouds.

    :math:`|\mu_x - \mu_y|^2 + \mathrm{tr}(S_x + S_y - 2 (S_x S_y)^{1/2})`, in squared units of the coordinates.
    """
    a, b = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = linalg.sqrtm(linalg.sqrtm(a) @ b @ linalg.sqrtm(a)).real  # the same trace, and symmetric
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(a) + np.trace(b) - 2 * np.trace(root))


def mmd2(x: np.ndarray, y: np.ndarray, scales: tuple[float, ...] = MMD_SCALES) -> float:
    """Unbiased squared maximum mean discrepancy, sum over RBF kernels of the given scales; may be negative.

    A single narrow kernel is degenerate: where no cell is near another one, it tells nothing of any model.
    """

    def kernel(distance: np.ndarray) -> np.ndarray:
        return sum(np.exp(-(distance**2) / (2 * s**2)) for s in scales)

    n, m, own = len(x), len(y), len(scales)  # every kernel is 1 on the diagonal
    inner = [(kernel(within(z)).sum() - own * k) / (k * (k - 1)) for z, k in ((x, n), (y, m))]
    return float(sum(inner) - 2 * kernel(distances(x, y)).mean())


def nearest_neighbour_accuracy(x: np.ndarray, y: np.ndarray) -> float:
    """Leave-one-out accuracy of telling two clouds of equal size apart by the nearest neighbour; 0.5 if they are alike.

    For unpaired cells only: a reconstruction sits beside its own source and scores below 0.5.
    """
    n = min(len(x), len(y))
    both = within(np.concatenate([x[:n], y[:n]]))
    np.fill_diagonal(both, np.inf)
    side = np.arange(2 * n) >= n
    return float((side[both.argmin(1)] == side).mean())


def precision_recall(generated: np.ndarray, real: np.ndarray, k: int = NEIGHBOURS) -> tuple[float, float]:
    """Share of generated cells within reach of the real cloud, and of real cells within reach of the generated one.

    A cloud's reach is the union of balls around its cells that hold their ``k`` nearest neighbours (Kynkäänniemi et
    al. 2019). High precision with low recall is concentration, not quality.
    """
    between = distances(generated, real)
    reach = [np.sort(within(cloud), axis=1)[:, min(k, len(cloud) - 1)] for cloud in (generated, real)]
    return float((between <= reach[1]).any(1).mean()), float((between <= reach[0][:, None]).any(0).mean())


def gene_errors(generated: np.ndarray, real: np.ndarray) -> dict[str, float]:
    """Errors of what each gene does, root mean squares over genes: share of zeros, log10 mean, log10 variance.

    Counts (cells, genes), compared as they are: library sizes matter.
    """
    found = {"zero_fraction_error": (generated == 0).mean(0) - (real == 0).mean(0)}
    for name, part in (("mean", np.mean), ("variance", np.var)):
        found[f"log10_{name}_error"] = np.log10(part(generated, 0) + 1e-3) - np.log10(part(real, 0) + 1e-3)
    return {name: float(np.sqrt((gap**2).mean())) for name, gap in found.items()}


def generation_scores(generated: np.ndarray, real: np.ndarray, project) -> dict[str, float]:
    """Every score of generated counts against real ones, both (cells, genes); ``project`` as from :func:`log_pca`."""
    x, y = project(generated), project(real)
    precision, recall = precision_recall(x, y)
    found = {"w2": w2(x, y), "energy_distance": energy_distance(x, y), "mmd2": mmd2(x, y), "frechet": frechet(x, y)}
    found |= {"nn_accuracy": nearest_neighbour_accuracy(x, y), "precision": precision, "recall": recall}
    return found | gene_errors(generated, real)


def generation_table(
    samples: Mapping[str, np.ndarray], train: np.ndarray, test: np.ndarray, *, seed: int = 0
) -> pd.DataFrame:
    """Scores of each sample of counts against the test cells, first the floor: as many training cells, drawn at random.

    Parameters
    ----------
    samples
        Counts (cells, genes) by name; ``"reconstruction"`` is the ceiling. Cut to the number of test cells.
    train, test
        Real counts, (cells, genes).
    """
    project, rng, n = log_pca(test), np.random.default_rng(seed), len(test)
    clouds = {"floor": train[rng.permutation(len(train))[:n]]} | {name: x[:n] for name, x in samples.items()}
    return pd.DataFrame({name: generation_scores(cloud, test, project) for name, cloud in clouds.items()}).T


# ------------------------------------------------------------------------------------------------------ reconstruction


def reconstruction_scores(
    counts: np.ndarray, mean: np.ndarray, dispersion: np.ndarray, drawn: np.ndarray
) -> dict[str, float]:
    """Scores of a negative-binomial prediction of counts, all (cells, genes); ``drawn`` are counts drawn from it.

    ``error``: minus log-likelihood, summed over genes, mean over cells (nats). ``correlation_by_gene`` and ``_by_cell``
    of log-normalised values, across cells and across genes, for means and (``_drawn``) for drawn counts: published
    tables print the one by gene on drawn counts. ``zero_accuracy``: share of entries whose being zero is drawn right.
    """
    real, found = _logged(counts), {"error": nats(counts, mean, dispersion)}
    for suffix, guess in (("", _logged(mean)), ("_drawn", _logged(drawn))):
        found[f"correlation_by_gene{suffix}"] = _correlation(real, guess, 0)
        found[f"correlation_by_cell{suffix}"] = _correlation(real, guess, 1)
        found[f"mse{suffix}"] = float(((real - guess) ** 2).mean())
    return found | {"zero_accuracy": float(((drawn == 0) == (counts == 0)).mean())}


def _correlation(x: np.ndarray, y: np.ndarray, axis: int) -> float:
    x, y = x - x.mean(axis, keepdims=True), y - y.mean(axis, keepdims=True)
    size = np.sqrt((x**2).sum(axis) * (y**2).sum(axis))
    return float(((x * y).sum(axis)[size > 0] / size[size > 0]).mean())


def split_error(fitted: "FittedCounts", counts: np.ndarray, *, seed: int = 0) -> float:
    """Count-split reconstruction error: encode one binomial half of every cell, score the other half (nats a cell).

    A cell scored on the counts it was encoded from rewards a latent that stores their noise. Cells with an empty half
    are left out.
    """
    first, second = halves(counts, seed=seed)
    mean, dispersion = fitted.decode(fitted.encode(first), second.sum(1))
    return nats(second, mean, dispersion)


def halves(counts: np.ndarray, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two binomial halves of counts (cells, genes), the same for every model; cells with an empty half are left out."""
    first, second, filled = _halves(counts, seed)
    return first[filled], second[filled]


def _halves(counts: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Both halves of every cell, and whether neither is empty, (cells,)."""
    parts = thin(torch.as_tensor(np.asarray(counts, np.float32)), torch.Generator().manual_seed(seed))
    first, second = (part.numpy() for part in parts)
    return first, second, (first.sum(1) > 0) & (second.sum(1) > 0)


def nats(counts: np.ndarray, mean: np.ndarray, dispersion: np.ndarray) -> float:
    """Minus negative-binomial log-likelihood, summed over genes, mean over cells; (cells, genes), or broadcast."""
    values = (torch.as_tensor(np.array(v, np.float64)) for v in (counts, mean, dispersion))
    return float(-log_negative_binomial(*values).sum(1).mean())


def profile_error(
    train: np.ndarray,
    test: np.ndarray,
    labels: tuple[np.ndarray, np.ndarray] | None = None,
    *,
    halve: bool = True,
    seed: int = 0,
) -> float:
    """Error of the trivial model: one profile times the library size, or one per label, with a dispersion per gene.

    Parameters
    ----------
    train, test
        Counts, (cells, genes); profiles and dispersions (maximum likelihood) come from ``train`` alone.
    labels
        Types of the training and test cells; every type of the test cells must have training cells.
    halve
        Score the second half of each test cell, as :func:`split_error` does, with dispersions of training halves.
    """
    kinds = labels or (np.zeros(len(train), int), np.zeros(len(test), int))
    profiles = {k: train[kinds[0] == k].sum(0) + TINY for k in np.unique(kinds[0])}
    if missing := sorted(set(np.unique(kinds[1])) - set(profiles)):
        raise ValueError(f"labels: types {missing} have no training cells")
    rows = []
    for counts, kind in zip((train, test), kinds, strict=True):
        if halve:
            _, half, filled = _halves(counts, seed)
            counts, kind = half[filled], kind[filled]
        share = np.stack([profiles[k] / profiles[k].sum() for k in kind])
        rows.append((counts, counts.sum(1, keepdims=True) * share))
    dispersion = fit_dispersion(*rows[0])
    return nats(*rows[1], dispersion[None])


def fit_dispersion(counts: np.ndarray, mean: np.ndarray, *, steps: int = 60) -> np.ndarray:  # (genes,)
    """Maximum-likelihood dispersion of each gene given the means, (cells, genes) both; between 1e-3 and 1e4."""
    x, mu = (torch.as_tensor(np.asarray(v, np.float64)) for v in (counts, mean))
    low, high = torch.full((x.shape[1],), np.log(1e-3)).double(), torch.full((x.shape[1],), np.log(1e4)).double()
    golden = (5**0.5 - 1) / 2
    for _ in range(steps):  # golden section in log dispersion, all genes at once
        a, b = high - golden * (high - low), low + golden * (high - low)
        better = log_negative_binomial(x, mu, a.exp()).sum(0) > log_negative_binomial(x, mu, b.exp()).sum(0)
        low, high = torch.where(better, low, a), torch.where(better, b, high)
        if float((high - low).max()) < 1e-3:
            break
    return ((low + high) / 2).exp().numpy()


# ------------------------------------------------------------------------------------------------------------ embedding


def embedding_f1(features: np.ndarray, labels: np.ndarray, held: np.ndarray) -> float:
    """Macro F1 of a logistic regression from frozen features (cells, dim) to labels, on the cells ``held`` (cells,).

    Features are standardised and the regression is fitted on the other cells.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import f1_score
    from sklearn.preprocessing import StandardScaler

    scaled = StandardScaler().fit(features[~held]).transform(features)
    classifier = LogisticRegression(max_iter=500, C=0.1).fit(scaled[~held], labels[~held])
    return float(f1_score(labels[held], classifier.predict(scaled[held]), average="macro"))
