r"""Means of types in snapshots, and what the others do to them: all that the closed form reads.

A receiver of type :math:`a` in population :math:`p`; share :math:`\pi_{pb}` of type :math:`b`,
density :math:`s_p` (times the number of cells relative to the start, where that is known), kernels
:math:`\varphi_0 = 1`, :math:`\varphi_k(r) = \exp(-r^2 / 2 \ell_k^2)`:

.. math::

    F_{abk}(p, t) = s_p\,\pi_{pb}\,\bigl\langle \varphi_k(r_{ij})\,(x_j - x_i)
        \bigr\rangle_{i \in a,\; j \in b,\; j \ne i} .
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import pandas as pd

from scimf.dynamics.snapshots import KEY, cell_types, populations

if TYPE_CHECKING:
    from anndata import AnnData

LEVEL = 0.01  #: of the test whether the shares of types change over time
MIXED = 0x9E3779B9  #: odd constants of the hash below
STIRRED = (0x7FEB352D, 0x846CA68B)


@dataclass(frozen=True)
class TypeSnapshots:
    """Cells of every type, population and time, sorted by time, then population, then type."""

    cells: np.ndarray  #: (cells, dim), float64
    rows: np.ndarray  #: (cells,), where each stood in the data
    start: np.ndarray  #: (times * populations * types + 1,), where each group of cells begins
    count: np.ndarray  #: (times, populations, types)
    share: np.ndarray  #: like ``count``; see :func:`shares`
    times: np.ndarray  #: (times,), in the data's unit
    density: np.ndarray  #: (populations,), relative; 1 where unknown
    mass: np.ndarray  #: (times, populations), cells relative to the start; 1 where unknown
    types: tuple[str, ...]
    populations: tuple[str, ...]

    @classmethod
    def of(cls, adata: "AnnData", *, types: np.ndarray | None = None, key: str = KEY) -> Self:
        """Sort the cells of data with coordinates in ``obsm[key]``; ``types`` as in ``obs``."""
        kinds, kind = np.unique(cell_types(adata) if types is None else types, return_inverse=True)
        names, population = np.unique(populations(adata), return_inverse=True)
        times, when = np.unique(adata.obs["time"].to_numpy(float), return_inverse=True)
        shape = (len(times), len(names), len(kinds))
        group = np.ravel_multi_index((when, population, kind), shape)
        rows = np.argsort(group, kind="stable")
        count = np.bincount(group, minlength=np.prod(shape)).reshape(shape).astype(float)
        density = np.ones(len(names))
        if "density" in adata.obs:
            density[population] = adata.obs["density"].to_numpy(float)
        mass = np.ones((len(times), len(names)))
        if "mass" in adata.obs:
            given = adata.obs["mass"].to_numpy(float)
            mass[when, population] = given
            if not (mass > 0).all() or not np.array_equal(mass[when, population], given):
                expected = "expected a positive number for each population and time"
                raise ValueError(f"obs['mass']: {expected}, the same for all its cells")
        return cls(
            cells=np.asarray(adata.obsm[key], dtype=float)[rows],
            rows=rows,
            start=np.concatenate([[0], np.cumsum(count.ravel())]).astype(int),
            count=count,
            share=shares(count, times),
            times=times,
            density=density,
            mass=mass,
            types=tuple(kinds.tolist()),
            populations=tuple(names.tolist()),
        )

    @property
    def sent(self) -> np.ndarray:  # (times, populations, types)
        """Density times share of each type."""
        return (self.density * self.mass)[..., None] * self.share

    @property
    def share_noise(self) -> np.ndarray:  # (populations, types, types)
        """Part of the product of two shares that is noise, as so few cells were caught.

        Multinomial, of cells that are a small part of their population; shares are pooled.
        """
        caught = self.count.sum(0)
        n = np.maximum(caught.sum(1), 1)[:, None]
        inverse = np.divide(n, caught, out=np.zeros_like(caught), where=caught > 0)
        relative = (inverse[:, None] * np.eye(len(self.types)) - 1) / n[:, None]
        return relative / (1 + relative)

    def mean(self, cells: np.ndarray | None = None) -> np.ndarray:
        """Means (times, populations, types, dim) of the cells of a group; 0 where there are none.

        ``cells`` stand in the place of those observed.
        """
        cells = self.cells if cells is None else cells
        padded = np.concatenate([cells, np.zeros((1, cells.shape[1]))])
        total = np.add.reduceat(padded, self.start[:-1]).reshape(*self.count.shape, -1)
        some = self.count[..., None] > 0
        return np.where(some, total, 0) / np.maximum(self.count[..., None], 1)

    def redrawn(self, draw: int) -> np.ndarray:
        """Cells drawn again, with replacement, within their group; the same for the same number."""
        sizes = np.diff(self.start).repeat(np.diff(self.start))
        first = self.start[:-1].repeat(np.diff(self.start))
        place = (sizes * uniform(draw, len(self.cells))).astype(int)
        return self.cells[first + place]

    def pulls(self, widths: tuple[float, ...], cells: np.ndarray | None = None) -> np.ndarray:
        """:math:`F`, (times, populations, receiver, sender, kernels, dim), kernel 0 first."""
        cells = self.cells if cells is None else cells
        n_times, n_populations, n_types = self.count.shape
        shape = (n_times, n_populations, n_types, n_types, 1 + len(widths), cells.shape[1])
        found = np.zeros(shape)
        bounds = self.start[::n_types]  # of whole snapshots
        for k, (first, last) in enumerate(zip(bounds[:-1], bounds[1:], strict=True)):
            t, p = divmod(k, n_populations)
            n = self.count[t, p]
            kind = np.arange(n_types).repeat(n.astype(int))
            pairs = np.maximum(np.outer(n, n) - np.diag(n), 1)  # without oneself
            weight = self.sent[t, p] / pairs  # (receiver, sender)
            summed = _summed_pulls(cells[first:last], np.eye(n_types)[kind], widths)
            found[t, p] = weight[..., None, None] * summed
        return found


def shares(count: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Shares of the types, like ``count`` (times, populations, types).

    Pooled over times, as one snapshot is noisy; if a likelihood ratio test rejects that they are
    constant, a line in time for each population and type.
    """
    from scipy.stats import chi2

    total = count.sum(2, keepdims=True)
    raw = count / np.maximum(total, 1)
    pooled = np.broadcast_to(count.sum(0) / np.maximum(total.sum(0), 1), count.shape)
    logs = np.log(np.maximum(raw, 1e-12) / np.maximum(pooled, 1e-12))
    deviance = 2 * float((count * logs).sum())
    free = int(((count.sum(0) > 0).sum(1) - 1).sum()) * (len(times) - 1)
    if free == 0 or chi2.sf(deviance, free) > LEVEL:
        return pooled
    line = np.stack([np.ones(len(times)), times - times.mean()], axis=1)
    fitted = line @ np.linalg.lstsq(line, raw.reshape(len(times), -1), rcond=None)[0]
    positive = np.maximum(fitted.reshape(count.shape), 0)
    return positive / np.maximum(positive.sum(2, keepdims=True), 1e-12)


def pair_table(types: tuple[str, ...], *, itself: bool = False, **columns) -> pd.DataFrame:
    """One row for each ordered pair of types: ``receiver, sender`` and columns (receiver, sender).

    ``itself``: pairs of a type with itself, too.
    """
    receiver, sender = np.nonzero(itself | ~np.eye(len(types), dtype=bool))
    names = np.array(types, dtype=object)
    values = {name: matrix[receiver, sender] for name, matrix in columns.items()}
    return pd.DataFrame({"receiver": names[receiver], "sender": names[sender]} | values)


def uniform(draw: int, n: int) -> np.ndarray:
    """``n`` numbers from 0 to 1 that any language can make: a 32-bit hash of a counter.

    The counter is the place in the array plus ``draw`` times an odd constant; shifts, exclusive or
    and products of 32-bit integers follow.
    """
    x = (np.arange(n, dtype=np.uint64) + draw * MIXED) & 0xFFFFFFFF
    x ^= x >> 16
    x = (x * STIRRED[0]) & 0xFFFFFFFF
    x ^= x >> 15
    x = (x * STIRRED[1]) & 0xFFFFFFFF
    x ^= x >> 16
    return x / 2.0**32


def _summed_pulls(x: np.ndarray, member: np.ndarray, widths: tuple[float, ...]) -> np.ndarray:
    """Sum over pairs of cells of each kernel times the displacement to the sender.

    ``x`` (cells, dim), ``member`` (cells, types); returns (receiver, sender, kernels, dim).
    """
    squares = (x**2).sum(1)
    distance2 = np.maximum(squares[:, None] + squares[None] - 2 * x @ x.T, 0)
    kernels = [np.ones_like(distance2)]
    kernels += [np.exp(-distance2 / (2 * width**2)) for width in widths]
    found = []
    for kernel in kernels:
        np.fill_diagonal(kernel, 0)
        to_senders = (kernel.T @ member)[:, :, None] * x[:, None]  # (sender cells, receiver, dim)
        from_receivers = (kernel @ member)[:, :, None] * x[:, None]  # (receiver cells, sender, dim)
        arriving = np.einsum("jb,jad->abd", member, to_senders)
        leaving = np.einsum("ia,ibd->abd", member, from_receivers)
        found.append(arriving - leaving)
    return np.stack(found, axis=2)
