r"""The closed form for cells that change type: smooth memberships in place of hard types.

A mean of "all cells of type a" jumps when a cell becomes one of type b, though no cell moved. A
smooth membership :math:`\varphi_a(x)` is a function of the state, and for any function :math:`\psi`
of the state of a cell that moves as :math:`\mathrm dx = b\,\mathrm dt + \sigma\,\mathrm dW`,

.. math::

    \frac{\mathrm d}{\mathrm dt} E[\psi] = E[\nabla\psi \cdot b]
        + \frac{\sigma^2}{2} E[\Delta\psi] .

With :math:`\psi = \varphi_a` (the flow between types), :math:`\psi = \varphi_a x_d` and the drift

.. math::

    b(x_i) = \sum_a \varphi_a(x_i) \Bigl[ c_a - \Theta_a x_i
        + s_p \sum_{bk} \beta_{abk}\, \bigl\langle \varphi_b(x_j)\, \varphi_k(r_{ij})\,
        (x_j - x_i) \bigr\rangle_{j \ne i} \Bigr] ,

this is linear in :math:`(c, \Theta, \beta, \sigma^2)`: one ridge regression for all types together,
since a cell on its way from one to the next counts in both.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scimf.interaction.regression import Columns, Regression
from scimf.interaction.type_means import TypeSnapshots, shares
from scimf.interaction.weak_form import REDRAWN

from evidence.changing import memberships
from evidence.moments import Moments, regression, solved, whitening

if TYPE_CHECKING:
    from anndata import AnnData

SHARPNESS = 0.3  #: width of memberships, relative to the mean distance of two centres


@dataclass(frozen=True)
class SoftTypes:
    """Types as soft regions of the state."""

    centre: np.ndarray  #: (types, dim)
    width: float

    @classmethod
    def of(cls, x: np.ndarray, kind: np.ndarray, sharpness: float = SHARPNESS) -> "SoftTypes":
        """Centres are the means of cells ``x`` (cells, dim) of a ``kind`` (cells,)."""
        from scipy.spatial.distance import pdist

        centre = np.stack([x[kind == name].mean(0) for name in np.unique(kind)])
        return cls(centre, sharpness * float(pdist(centre).mean()))

    def member(self, x: np.ndarray) -> np.ndarray:  # (cells, types)
        """How much cells belong to each type."""
        return memberships(x, self.centre, self.width)

    def tests(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Test functions: memberships, and each times the place relative to its centre.

        Returns
        -------
        Values (cells, tests), gradients (cells, tests, dim) and Laplacians (cells, tests); the
        tests are (types, 1 + dim), flattened.
        """
        dim = x.shape[1]
        member = self.member(x)
        mean = member @ self.centre
        slope = (self.centre - mean[:, None]) / self.width**2  # (cells, types, dim)
        spread = (member @ (self.centre**2).sum(1) - (mean**2).sum(1)) / self.width**4
        gradient = member[..., None] * slope
        laplacian = member * ((slope**2).sum(-1) - spread[:, None])
        place = x[:, None] - self.centre
        values = np.concatenate([member[..., None], member[..., None] * place], axis=2)
        moved = member[..., None, None] * np.eye(dim)
        moved = moved + place[..., None] * gradient[:, :, None]  # (cells, types, test, dim)
        gradients = np.concatenate([gradient[:, :, None], moved], axis=2)
        bent = place * laplacian[..., None] + 2 * gradient
        laplacians = np.concatenate([laplacian[..., None], bent], axis=2)
        n = len(x)
        return values.reshape(n, -1), gradients.reshape(n, -1, dim), laplacians.reshape(n, -1)


def moments(
    snapshots: TypeSnapshots, soft: SoftTypes, widths: tuple[float, ...], cells: np.ndarray
) -> Moments:
    """Means of all tests and of what moves them; ``snapshots`` are of cells of one type."""
    n_times, n_populations, _ = snapshots.count.shape
    sent = sent_by(snapshots, soft, cells)
    values, columns, spread = [], [], []
    for k, (first, last) in enumerate(zip(snapshots.start[:-1], snapshots.start[1:], strict=True)):
        x = cells[first:last]
        test, gradient, laplacian = soft.tests(x)
        pull = pulls(x, soft.member(x), widths) * sent[divmod(k, n_populations)][:, None, None]
        values.append(test.mean(0))
        columns.append(_columns(x, soft, gradient, laplacian, pull))
        spread.append(np.cov(test.T))
    return Moments.of(values, columns, spread, (n_times, n_populations))


def pulls(
    x: np.ndarray, member: np.ndarray, widths: tuple[float, ...]
) -> np.ndarray:  # (cells, senders, kernels, dim)
    """Return what each cell gets from a mean cell of each type."""
    squares = (x**2).sum(1)
    distance2 = np.maximum(squares[:, None] + squares - 2 * x @ x.T, 0)
    kernels = [np.ones_like(distance2)]
    kernels += [np.exp(-distance2 / (2 * width**2)) for width in widths]
    there = member[..., None] * x[:, None]  # (senders' cells, senders, dim)
    found = []
    for kernel in kernels:
        arriving = (kernel @ there.reshape(len(x), -1)).reshape(there.shape)
        found.append(arriving - (kernel @ member)[..., None] * x[:, None])
    total = np.maximum(member.sum(0) * (1 - 1 / len(x)), 1e-9)
    return np.stack(found, axis=2) / total[:, None, None]


def sent_by(snapshots: TypeSnapshots, soft: SoftTypes, cells: np.ndarray) -> np.ndarray:
    """Density times share of each type, (times, populations, types).

    The shares of a type are pooled over times, or a line in time, as those of hard types.
    """
    total = snapshots.count[..., 0]
    member = soft.member(cells)
    summed = np.add.reduceat(member, snapshots.start[:-1]).reshape(*total.shape, -1)
    found = []
    for b in range(summed.shape[-1]):
        counts = np.stack([summed[..., b], total - summed[..., b]], axis=-1)
        found.append(shares(counts, snapshots.times)[..., 0])
    return snapshots.density[:, None] * np.stack(found, axis=-1)


def _columns(
    x: np.ndarray,
    soft: SoftTypes,
    gradient: np.ndarray,
    laplacian: np.ndarray,
    pull: np.ndarray,
) -> np.ndarray:  # (tests, columns)
    """Means over cells of gradients times each term of the drift: free, matrix, interaction."""
    n, dim = x.shape
    n_tests = gradient.shape[1]
    member = soft.member(x)
    n_types = member.shape[1]
    placed = member[..., None] * (x[:, None] - soft.centre)  # (cells, types, dim)
    flat = gradient.reshape(n, -1).T  # (tests * dim, cells)
    constant = (flat @ member / n).reshape(n_tests, dim, n_types).transpose(0, 2, 1)
    matrix = -(flat @ placed.reshape(n, -1) / n).reshape(n_tests, dim, n_types, dim)
    matrix = matrix.transpose(0, 2, 1, 3)
    rate = np.einsum("radd->ra", matrix)
    received = gradient @ pull.reshape(n, -1, dim).transpose(0, 2, 1)  # (cells, tests, pulls)
    interaction = (member.T @ received.reshape(n, -1) / n).reshape(n_types, n_tests, -1)
    interaction = interaction.transpose(1, 0, 2)
    return np.concatenate(
        [
            constant.reshape(n_tests, n_types * dim),
            rate,
            laplacian.mean(0)[:, None] / 2,
            matrix.reshape(n_tests, -1),
            interaction.reshape(n_tests, -1),
        ],
        axis=1,
    )


# ---------------------------------------------------------------------------------------- fit


@dataclass(frozen=True)
class SmoothForm:
    """A fitted closed form of soft types."""

    soft: SoftTypes
    widths: tuple[float, ...]
    snapshots: TypeSnapshots  #: of cells of one type
    coefficients: np.ndarray  #: (columns,)
    columns: Columns
    error: float  #: of populations left out, mean over rows

    @property
    def beta(self) -> np.ndarray:  # (receiver, sender, kernels)
        """Coefficients of the interaction."""
        free, matrix, _ = self.columns
        n_types = len(self.soft.centre)
        return self.coefficients[free + matrix :].reshape(n_types, n_types, -1)

    def _received(self) -> tuple[np.ndarray, np.ndarray]:
        """Return what cells receive, (cells, dim), and strengths (receiver, sender)."""
        sent = sent_by(self.snapshots, self.soft, self.snapshots.cells)
        n_populations = len(self.snapshots.populations)
        start = self.snapshots.start
        found = []
        along, size = 0.0, 0.0
        for k, (first, last) in enumerate(zip(start[:-1], start[1:], strict=True)):
            x = self.snapshots.cells[first:last]
            member = self.soft.member(x)
            pull = pulls(x, member, self.widths) * sent[divmod(k, n_populations)][:, None, None]
            found.append(np.einsum("na,abk,nbkd->nd", member, self.beta, pull, optimize=True))
            share = member / np.maximum(member.sum(0), 1e-9)
            mean = np.einsum("na,nbkd->abkd", share, pull)
            weighted = np.einsum("abk,abkd->abd", self.beta, mean)
            weight = member.sum(0)[:, None]
            along = along + weight * (weighted * mean[:, :, 0]).sum(-1)
            size = size + weight * (mean[:, :, 0] ** 2).sum(-1)
        return np.concatenate(found), along / np.maximum(size, 1e-9)

    def strengths(self) -> np.ndarray:  # (receiver, sender)
        """How much of the plain pull arrives, as :meth:`WeakForm.strengths` of hard types."""
        return self._received()[1]

    def drift(self, adata: "AnnData") -> tuple[np.ndarray, np.ndarray]:
        """Own and interaction drift of each cell of the data that were fitted."""
        x = self.snapshots.cells
        member = self.soft.member(x)
        n_types, dim = self.soft.centre.shape
        free, matrix, _ = self.columns
        constant = self.coefficients[: n_types * dim].reshape(n_types, dim)
        rate = self.coefficients[n_types * dim : free - 1]
        theta = self.coefficients[free : free + matrix].reshape(n_types, dim, dim)
        theta = theta + rate[:, None, None] * np.eye(dim)
        place = x[:, None] - self.soft.centre
        relaxing = np.einsum("na,ade,nae->nd", member, theta, place, optimize=True)
        own, received = np.empty_like(x), np.empty_like(x)
        own[self.snapshots.rows] = member @ constant - relaxing
        received[self.snapshots.rows] = self._received()[0]
        return own, received


def fit_smooth(adata: "AnnData", soft: SoftTypes, *, widths: tuple[float, ...]) -> SmoothForm:
    """Fit the closed form of soft types to coordinates in ``obsm["X_scimf"]``."""
    snapshots = TypeSnapshots.of(adata, types=np.full(adata.n_obs, "all"))
    n_types, dim = soft.centre.shape
    n_interaction = n_types**2 * (1 + len(widths))
    n_columns = Columns(n_types * (dim + 1) + 1, n_types * dim**2, n_interaction)
    found = moments(snapshots, soft, widths, snapshots.cells)
    whiten = whitening(snapshots, found)

    def rows(found: Moments) -> Regression:
        return regression(found.values, found.integrals(snapshots.times), whiten, n_columns)

    redrawn = []
    for draw in range(1, REDRAWN + 1):
        redrawn.append(rows(moments(snapshots, soft, widths, snapshots.redrawn(draw))))
    coefficients, error = solved(rows(found), redrawn)
    return SmoothForm(soft, widths, snapshots, coefficients, n_columns, error)
