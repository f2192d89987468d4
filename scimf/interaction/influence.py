r"""Who moves whom: the influence of types of cells on each other.

The score for "type b influences type a" was fixed before anything was compared with the truth. Let
every cell of type b count a little more as a sender while the **normaliser is kept** (removing
cells would renormalise, and so mix in dilution), and take the change of the drift of each receiver
of type a, per unit of b's share :math:`\pi_b` of the senders, whose weight is :math:`w_b`:

.. math::

    I_{ab} = \frac{1}{\pi_b}\,\Bigl\langle \partial_{w_b} f(x_i, \mu, w),\; u_i \Bigr\rangle_{i \in
    a}, \qquad w = 1 .

For messages that add up (additive, occupancy) the derivative **is** the effect of silencing b
altogether; for the published attention it is its Jacobian. The direction :math:`u_i` is by default
the one from the receiver towards the mean of b. :math:`I_{ab} > 0`: b pulls a; :math:`I_{ab} < 0`:
b pushes a away. It may also be the direction towards a fate, or of a's own intrinsic drift. Data
coordinates per unit of real time.
"""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from scimf.dynamics.fitted import FittedSDE
from scimf.dynamics.snapshots import KEY, cell_types, contexts

if TYPE_CHECKING:
    from anndata import AnnData

#: "sender", "velocity", or the coordinates (dim,) of the fate of each type of receivers.
Towards = str | dict[str, np.ndarray]


def influence(
    model: FittedSDE, adata: "AnnData", *, towards: Towards = "sender", min_cells: int = 5
) -> pd.DataFrame:
    """Signed influence of each sender type (column) on each receiver type (row).

    Parameters
    ----------
    model, adata
        A fitted model, and data with ``obsm["X_scimf"]`` and ``obs["cell_type"]``.
    towards
        Along which direction: "sender"; "velocity", the receiver's intrinsic drift; or fates,
        type -> coordinates (dim,), of the receivers.
    min_cells
        A snapshot counts where it has at least so many cells of both types.

    Returns
    -------
    DataFrame
        Mean over snapshots. NaN where none has enough cells of both types, and on the diagonal if
        ``towards="sender"``: from a type to itself the direction is not defined.

    Raises
    ------
    KeyError, ValueError
        If there are no types, or no fate for one of them; if the direction is none of these.
    """
    types = cell_types(adata)
    _require_direction(towards, types)
    x = np.asarray(adata.obsm[KEY])
    intrinsic, _ = model.drift(adata)
    found = []
    for rows, density in contexts(adata):
        kinds, counts = np.unique(types[rows], return_counts=True)
        frequent = kinds[counts >= min_cells]
        for sender in frequent:
            sends = types[rows] == sender
            change = _sender_derivative(model, adata, rows, density, sends) / sends.mean()
            for receiver in frequent:
                if receiver == sender and towards == "sender":
                    continue
                receives = types[rows] == receiver
                if isinstance(towards, dict):
                    direction = towards[receiver] - x[rows][receives]
                elif towards == "velocity":
                    direction = intrinsic[rows][receives]
                else:
                    direction = x[rows][sends].mean(0) - x[rows][receives]
                found.append((receiver, sender, _mean_along(change[receives], direction)))
    table = pd.DataFrame(found, columns=["receiver", "sender", "value"])
    names = sorted(set(types))
    matrix = table.pivot_table("value", "receiver", "sender")  # the mean over snapshots
    return matrix.reindex(index=names, columns=names)


def _require_direction(towards: Towards, types: np.ndarray) -> None:
    if isinstance(towards, dict):
        if missing := sorted(set(types) - set(towards)):
            raise KeyError(f"towards: no fate for {missing}")
    elif towards not in ("sender", "velocity"):
        expected = '"sender", "velocity" or a fate for each type'
        raise ValueError(f"towards: expected {expected}, got {towards!r}")


def _mean_along(change: np.ndarray, direction: np.ndarray) -> float:
    """Mean component of changes (cells, dim) along directions (cells, dim) of any length."""
    unit = direction / np.linalg.norm(direction, axis=1, keepdims=True).clip(1e-12)
    return float((change * unit).sum(1).mean())


def _sender_derivative(
    model: FittedSDE, adata: "AnnData", rows: np.ndarray, density: float, senders: np.ndarray
) -> np.ndarray:  # (cells of the snapshot, dim)
    """Differentiate the interaction drift of one snapshot by the weight of some of its senders.

    ``rows`` and ``density`` are a pair of :func:`scimf.dynamics.snapshots.contexts`, ``senders``
    (cells of the snapshot,) are booleans. Data coordinates per unit of real time.
    """
    x = model.standardiser.transform(np.asarray(adata.obsm[KEY])[rows])[None].to(model.device)
    raised = x.new_tensor(senders)[None]  # (1, cells)

    def message(weight: torch.Tensor) -> torch.Tensor:  # (1, cells) -> (1, cells, dim)
        dense = x.new_tensor([density])
        return model.sde.interaction_drift(x, density=dense, sender_weight=weight)

    # The fused kernels of attention have no forward derivative.
    with sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        _, change = torch.func.jvp(message, (torch.ones_like(raised),), (raised,))
    time = float(adata.obs["time"].iloc[rows[0]])
    return change[0].cpu().numpy() * model.time_scale.rate(time) * model.standardiser.scale
