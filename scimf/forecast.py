"""Counts at a time nobody measured: scIMF moves cells in the latent space of the count autoencoder, which decodes them.

Everything is fitted on training cells: the autoencoder, the coordinates and the library sizes. The decoder projects its
input on the sphere the latents lie on, so a cell that the noise has carried off it is brought back.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scimf.autoencode import FittedCounts, panel_counts
from scimf.counts import SCALE
from scimf.snapshots import KEY

if TYPE_CHECKING:
    from anndata import AnnData

    from scimf.fitted import FittedSDE
    from scimf.preprocess import Split


@dataclass(frozen=True)
class LibraryOverTime:
    """Mean and spread of log total counts, linear between training times and constant beyond them."""

    times: tuple[float, ...]
    mean: tuple[float, ...]
    sd: tuple[float, ...]

    @classmethod
    def of(cls, totals: np.ndarray, times: np.ndarray) -> "LibraryOverTime":
        """Fit to total counts and times, (cells,) both."""
        known, log = np.unique(times), np.log(totals)
        stats = [(log[times == t].mean(), log[times == t].std()) for t in known]
        mean, sd = (tuple(float(v) for v in column) for column in zip(*stats, strict=True))
        return cls(tuple(float(t) for t in known), mean, sd)

    def draw(self, times: np.ndarray, *, seed: int = 0) -> np.ndarray:  # (cells,), whole numbers from 1
        """Total counts of cells at these times."""
        mean, sd = (np.interp(times, self.times, values) for values in (self.mean, self.sd))
        return np.maximum(1, np.round(np.exp(mean + sd * np.random.default_rng(seed).standard_normal(len(mean)))))


@dataclass(frozen=True)
class LatentSpace:
    """Principal components of standardised latents: the coordinates in which cells move. Stands in for ``Space``."""

    counts: FittedCounts
    mean: np.ndarray  #: (tokens * latent,)
    sd: np.ndarray  #: (tokens * latent,)
    components: np.ndarray  #: (dim, tokens * latent), orthonormal rows
    library: LibraryOverTime

    @property
    def names(self) -> tuple[str, ...]:
        """Genes of the panel."""
        return self.counts.genes

    def encode(self, adata: "AnnData") -> np.ndarray:  # (cells, dim)
        """Coordinates of cells with counts."""
        z = self.counts.encode(adata).reshape(adata.n_obs, -1)
        return (((z - self.mean) / self.sd) @ self.components.T).astype(np.float32)

    def latents(self, x: np.ndarray) -> np.ndarray:  # (cells, tokens * latent)
        """Return coordinates (cells, dim) to latent tokens, flat."""
        return (x @ self.components) * self.sd + self.mean

    def decode(self, x: np.ndarray) -> np.ndarray:  # (cells, genes)
        """Return the expected expression at coordinates (cells, dim): log1p of counts per 10,000."""
        return np.log1p(self.counts.decode(self.latents(x), np.full(len(x), SCALE))[0])

    def draw(self, x: np.ndarray, times: np.ndarray, *, seed: int = 0) -> "AnnData":
        """Cells with counts for coordinates (cells, dim) at times (cells,)."""
        return self.counts.draw(self.latents(x), self.library.draw(times, seed=seed), seed=seed)


def fit_latent_space(counts: FittedCounts, adata: "AnnData", split: "Split", *, n_dims: int = 50) -> LatentSpace:
    """Fit coordinates to the latents of the training cells and write those of all cells to ``obsm["X_scimf"]``.

    Parameters
    ----------
    counts
        An autoencoder fitted to training cells of the same split: ``fit_counts(adata, split.train_mask(adata))``.
    n_dims
        At most so many principal components; directions without spread are dropped (on the sphere every token has one).

    Raises
    ------
    KeyError, ValueError
        As :func:`scimf.autoencode.panel_counts`.
    """
    train, matrix = split.train_mask(adata), panel_counts(adata, counts.genes)
    z = counts.encode(matrix).reshape(adata.n_obs, -1)
    mean, sd = z[train].mean(0), z[train].std(0).clip(1e-6)
    _, size, components = np.linalg.svd((z[train] - mean) / sd, full_matrices=False)
    kept = min(n_dims, int((size > 1e-4 * size[0]).sum()))
    library = LibraryOverTime.of(matrix[train].sum(1), adata.obs["time"].to_numpy(float)[train])
    space = LatentSpace(counts, mean, sd, components[:kept], library)
    adata.obsm[KEY] = (((z - mean) / sd) @ space.components.T).astype(np.float32)
    return space


def forecast_counts(
    model: "FittedSDE", times: list[float], *, n: int | None = None, seed: int = 0, **options
) -> "AnnData":
    """Draw counts at unobserved times.

    Parameters
    ----------
    model
        ``scimf.fit(adata, split, space)`` with a :class:`LatentSpace`.
    times, n, seed, options
        As :meth:`scimf.fitted.FittedSDE.sample`.

    Returns
    -------
    AnnData
        ``X`` (cells, genes of the panel), counts; ``obs`` and ``obsm["X_scimf"]`` of the simulated cells.
    """
    if not isinstance(model.space, LatentSpace):
        raise TypeError("model: expected a fit in a LatentSpace, scimf.fit(adata, split, fit_latent_space(...))")
    moved = model.sample(times, n=n, seed=seed, **options)
    cells = model.space.draw(np.asarray(moved.obsm[KEY]), moved.obs["time"].to_numpy(float), seed=seed)
    cells.obs, cells.obsm[KEY] = moved.obs.copy(), moved.obsm[KEY]
    return cells
