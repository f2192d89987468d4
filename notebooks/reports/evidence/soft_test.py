r"""The test of interaction for cells that change type: contexts permuted, memberships soft.

As :mod:`scimf.interaction.permutation`, with the rows of :mod:`evidence.smooth_types`, so that
flows between types are own drift. What cells of population :math:`p` would receive in population
:math:`q` needs only the mean place of each type there.
"""

from typing import TYPE_CHECKING

import numpy as np
from scimf.interaction.permutation import MATRIX_PENALTY, RIDGE, p_value
from scimf.interaction.type_means import TypeSnapshots
from scimf.interaction.weak_form import UNPENALISED

from evidence.moments import Moments, whitening
from evidence.smooth_types import SoftTypes, moments, sent_by

if TYPE_CHECKING:
    from anndata import AnnData


def context_p_value(adata: "AnnData", soft: SoftTypes, *, n: int = 199, seed: int = 0) -> float:
    """P of: what its own context explains of a population is no more than another's would."""
    snapshots = TypeSnapshots.of(adata, types=np.full(adata.n_obs, "all"))
    found = moments(snapshots, soft, (), snapshots.cells)
    whiten = whitening(snapshots, found, floor=0.0)
    n_populations = len(snapshots.populations)
    own, n_free = _own_columns(soft, found, snapshots.times)
    received = _received(snapshots, soft, found)
    change = np.diff(found.values, axis=0)
    own = np.stack([whiten[p] @ _rows(own, p) for p in range(n_populations)])
    received = np.stack([whiten[p] @ _rows(received, p) for p in range(n_populations)])
    y = np.stack([whiten[p] @ change[:, p].ravel() for p in range(n_populations)])
    scale = np.sqrt((own**2).mean((0, 1))) + 1e-12
    scale[n_free:] = np.sqrt((scale[n_free:] ** 2).mean())
    penalty = np.repeat([UNPENALISED, MATRIX_PENALTY], [n_free, len(scale) - n_free]) * y.size
    orders = np.tile(np.arange(n_populations), (1 + n, 1))
    orders[1:] = np.random.default_rng(seed).permuted(orders[1:], axis=1)
    shape = (n_populations, y.shape[1], n_populations, -1)  # ..., context, columns
    return p_value(_statistic(own / scale, penalty, y, received.reshape(shape), orders))


def _rows(columns: np.ndarray, p: int) -> np.ndarray:
    """Return those of one population; ``columns`` (intervals, populations, tests, columns)."""
    return columns[:, p].reshape(-1, columns.shape[-1])


def _own_columns(soft: SoftTypes, found: Moments, times: np.ndarray) -> tuple[np.ndarray, int]:
    """Columns of the own drift, and how many are not penalised.

    The constants of every interval are others: a medium that is changed is own drift.
    """
    n_types, dim = soft.centre.shape
    integrals = found.integrals(times)
    n_intervals = len(integrals)
    constant = integrals[..., : n_types * dim]
    each = np.einsum("gprc,gh->gprhc", constant, np.eye(n_intervals))
    each = each.reshape(*constant.shape[:3], -1)
    rest = integrals[..., n_types * dim : n_types * (dim + 1) + 1 + n_types * dim**2]
    return np.concatenate([each, rest], axis=3), each.shape[3] + n_types + 1


def _received(snapshots: TypeSnapshots, soft: SoftTypes, found: Moments) -> np.ndarray:
    """Return columns of what a population would receive in each context.

    (intervals, populations, tests, contexts * columns)
    """
    n_types, dim = soft.centre.shape
    shape = found.columns.shape[:3]
    moved = found.columns[..., : n_types * dim].reshape(*shape, n_types, dim)
    back = found.columns[..., n_types * dim : n_types * (dim + 1)]  # less the receiver's own place
    member = soft.member(snapshots.cells)
    weighted = member[..., None] * snapshots.cells[:, None]
    start = snapshots.start[:-1]
    total = np.add.reduceat(member, start).reshape(*shape[:2], n_types)
    mean = np.add.reduceat(weighted, start).reshape(*shape[:2], n_types, dim)
    mean = mean / np.maximum(total, 1e-9)[..., None]
    sent = sent_by(snapshots, soft, snapshots.cells)
    to_sender = mean[:, :, :, None] - soft.centre  # (times, contexts, senders, receivers, dim)
    columns = np.einsum("tprad,tqbad->tprqab", moved, to_sender, optimize=True)
    columns = (columns + back[:, :, :, None, :, None]) * sent[:, None, None, :, None]
    others = ~np.eye(n_types, dtype=bool)
    columns = columns[..., others].reshape(*shape, -1)
    gap = np.diff(snapshots.times)[:, None, None, None]
    return 0.5 * gap * (columns[1:] + columns[:-1])


def _statistic(
    own: np.ndarray,
    penalty: np.ndarray,
    y: np.ndarray,
    received: np.ndarray,
    orders: np.ndarray,
) -> np.ndarray:  # (orders,)
    """Score statistic of the columns received, for every order of contexts.

    ``own`` (populations, rows, own columns), ``y`` (populations, rows), ``received`` (populations,
    rows, contexts, columns).
    """
    n = received.shape[-1]
    inverse = np.linalg.inv(np.einsum("prc,prd->cd", own, own) + np.diag(penalty))
    residual = y - own @ (inverse @ np.einsum("prc,pr->c", own, y))
    by_context = received.transpose(0, 2, 1, 3)  # (populations, contexts, rows, columns)
    squares = by_context.transpose(0, 1, 3, 2) @ by_context
    with_own = by_context.transpose(0, 1, 3, 2) @ own[:, None]
    with_residual = np.einsum("pqrc,pr->pqc", by_context, residual)
    each = np.arange(len(own))
    found = []
    for order in orders:
        xn = with_own[each, order].sum(0)
        u = with_residual[each, order].sum(0)
        m = squares[each, order].sum(0) - xn @ inverse @ xn.T
        m += (RIDGE * np.trace(m) / n + 1e-12) * np.eye(n)
        found.append(u @ np.linalg.solve(m, u))
    return np.array(found) / float((residual**2).mean())
