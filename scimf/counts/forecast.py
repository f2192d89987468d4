"""Counts at a time nobody measured: scIMF moves cells in the latent space of the count autoencoder.

Everything is fitted on training cells: the autoencoder, the coordinates and the library sizes. The
decoder projects its input on the sphere the latents lie on, so a cell that the noise has carried
off it is brought back. Derived in notebook 09.
"""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from scimf.counts.fit_autoencoder import FittedCounts, panel_counts
from scimf.counts.library_size import LibraryOverTime
from scimf.counts.likelihood import SCALE
from scimf.dynamics.snapshots import KEY

if TYPE_CHECKING:
    from anndata import AnnData

    from scimf.data.split import Split
    from scimf.dynamics.fitted import FittedSDE


@dataclass(frozen=True, eq=False)
class LatentSpace:
    """Principal components of standardised latents: the coordinates in which cells move.

    Stands in for :class:`scimf.data.space.Space`.
    """

    counts: FittedCounts
    mean: np.ndarray  #: (tokens * latent,)
    sd: np.ndarray  #: (tokens * latent,)
    components: np.ndarray  #: (dim, tokens * latent), orthonormal rows
    library: LibraryOverTime
    split: "Split"  #: what was held out when it was fitted; another split is refused

    @property
    def names(self) -> tuple[str, ...]:
        """Genes of the panel."""
        return self.counts.genes

    def encode(self, adata: "AnnData") -> np.ndarray:
        """Coordinates (cells, dim) of cells with counts."""
        z = self.counts.encode(adata).reshape(adata.n_obs, -1)
        return (((z - self.mean) / self.sd) @ self.components.T).astype(np.float32)

    def latents(self, x: np.ndarray) -> np.ndarray:
        """Coordinates (cells, dim) -> latent tokens, flat, (cells, tokens * latent)."""
        return (x @ self.components) * self.sd + self.mean

    def decode(self, x: np.ndarray) -> np.ndarray:
        """Return expected expression (cells, genes) at coordinates (cells, dim).

        log1p of counts per 10,000.
        """
        mean, _ = self.counts.decode(self.latents(x), np.full(len(x), SCALE))
        return np.log1p(mean)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, tensors and arrays, for saved models."""
        return {
            "counts": self.counts.to_dict(),
            "mean": self.mean,
            "sd": self.sd,
            "components": self.components,
            "library": asdict(self.library),
            "split": asdict(self.split),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Inverse of :meth:`to_dict`, on the CPU; tensors may stand for arrays."""
        from scimf.data.split import Split  # a machine that only trains has no anndata

        return cls(
            FittedCounts.from_dict(values["counts"]),
            np.asarray(values["mean"]),
            np.asarray(values["sd"]),
            np.asarray(values["components"]),
            LibraryOverTime(**values["library"]),
            Split(**values["split"]),
        )


def fit_latent_space(
    counts: FittedCounts, adata: "AnnData", split: "Split", *, n_dims: int = 50
) -> LatentSpace:
    """Fit coordinates to the latents of training cells; write all cells' to ``obsm["X_scimf"]``.

    Parameters
    ----------
    counts
        An autoencoder fitted to training cells of the same split:
        ``fit_counts(adata, split.train_mask(adata))``.
    adata
        All cells, with raw counts and ``obs["time"]``.
    split
        What is held out; the space remembers it, and :func:`scimf.fit` refuses another.
    n_dims
        At most so many principal components; directions without spread are dropped (on the sphere
        every token has one).

    Raises
    ------
    KeyError, ValueError
        As :func:`scimf.counts.fit_autoencoder.panel_counts`.
    """
    train = split.train_mask(adata)
    matrix = panel_counts(adata, counts.genes)
    z = counts.encode(matrix).reshape(adata.n_obs, -1)
    mean = z[train].mean(0)
    sd = z[train].std(0).clip(1e-6)
    standardised = (z - mean) / sd
    _, size, components = np.linalg.svd(standardised[train], full_matrices=False)
    kept = min(n_dims, int((size > 1e-4 * size[0]).sum()))
    library = LibraryOverTime.of(matrix[train].sum(1), adata.obs["time"].to_numpy(float)[train])
    space = LatentSpace(counts, mean, sd, components[:kept], library, split)
    adata.obsm[KEY] = (standardised @ space.components.T).astype(np.float32)
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
        As :meth:`scimf.dynamics.fitted.FittedSDE.sample`.

    Returns
    -------
    AnnData
        ``X`` (cells, genes of the panel), counts; ``obs`` and ``obsm["X_scimf"]`` of the simulated
        cells.

    Raises
    ------
    TypeError
        If the model was fitted in another space.
    """
    space = model.space
    if not isinstance(space, LatentSpace):
        needed = "a fit in a LatentSpace, scimf.fit(adata, split, fit_latent_space(...))"
        raise TypeError(f"model: expected {needed}")
    moved = model.sample(times, n=n, seed=seed, **options)
    library = space.library.draw(moved.obs["time"].to_numpy(float), seed=seed)
    cells = space.counts.draw(space.latents(moved.obsm[KEY]), library, seed=seed)
    cells.obs = moved.obs.copy()
    cells.obsm[KEY] = moved.obsm[KEY]
    return cells
