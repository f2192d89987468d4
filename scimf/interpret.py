r"""What the model says about cells: where they go, who moves whom, and what an uninformed model would have said.

The score for "type b influences type a" was fixed before anything was compared with the truth: silence all senders of
type b while **keeping the normaliser** (removal would renormalise, and so mix in dilution), take the change of the
drift of each receiver of type a along the direction towards b, and divide by b's share of the senders:

.. math::

    I_{ab} = \frac{1}{\pi_b}\,\Bigl\langle f(x_i, \mu) - f(x_i, \mu \setminus b),\; u_{i \to b} \Bigr\rangle_{i \in a},
    \qquad u_{i \to b} = \frac{\bar x_b - x_i}{\lVert \bar x_b - x_i \rVert} .

:math:`I_{ab} > 0`: b pulls a; :math:`I_{ab} < 0`: b pushes a away. Units: data coordinates per unit of real time.
"""

import copy
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from scimf.fitted import FittedSDE
from scimf.sde import InteractingSDE
from scimf.snapshots import KEY, contexts

if TYPE_CHECKING:
    from anndata import AnnData


def velocity(model: FittedSDE, adata: "AnnData") -> np.ndarray:  # (cells, dim)
    """Write and return the drift of every observed cell in the context of its own snapshot.

    ``obsm["velocity_scimf"]`` is the sum of ``obsm["velocity_own_scimf"]`` and ``obsm["velocity_heard_scimf"]``; data
    coordinates per unit of real time, noise left out.
    """
    own, heard = model.drift(adata)
    adata.obsm["velocity_own_scimf"], adata.obsm["velocity_heard_scimf"] = own, heard
    adata.obsm["velocity_scimf"] = own + heard
    return own + heard


def _types(adata: "AnnData", labels: np.ndarray | None) -> tuple[np.ndarray, list[str]]:
    if labels is None:
        if "cell_type" not in adata.obs:
            raise KeyError(f'adata.obs["cell_type"] is missing; found {list(adata.obs.columns)}')
        labels = adata.obs["cell_type"].astype(str).to_numpy()
    return labels, sorted(set(labels))


def influence(
    model: FittedSDE, adata: "AnnData", *, min_cells: int = 5, labels: np.ndarray | None = None
) -> pd.DataFrame:
    """Signed influence of each sender type (column) on each receiver type (row); definition at the top of this file.

    Mean over all snapshots in which both types have at least ``min_cells`` cells; NaN where there is none, and on the
    diagonal, where the direction towards the own type is not defined. ``labels`` (cells,) replaces
    ``obs["cell_type"]``.
    """
    labels, names = _types(adata, labels)
    own, full = model.drift(adata)
    total, count = np.zeros((len(names), len(names))), np.zeros((len(names), len(names)))
    x, groups = np.asarray(adata.obsm[KEY]), contexts(adata)
    for b, sender in enumerate(names):
        change = full - model.drift(adata, speak=labels != sender)[1]  # (cells, dim)
        for rows, _ in groups:
            senders = labels[rows] == sender
            if senders.sum() < min_cells:
                continue
            towards = x[rows][senders].mean(0) - x[rows]
            towards /= np.linalg.norm(towards, axis=1, keepdims=True).clip(1e-12)
            along = (change[rows] * towards).sum(1) / senders.mean()
            for a, receiver in enumerate(names):
                receivers = labels[rows] == receiver
                if a != b and receivers.sum() >= min_cells:
                    total[a, b] += along[receivers].mean()
                    count[a, b] += 1
    values = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
    return pd.DataFrame(values, index=pd.Index(names, name="receiver"), columns=pd.Index(names, name="sender"))


@torch.no_grad()
def attention_by_type(model: FittedSDE, adata: "AnnData", *, min_cells: int = 5) -> pd.DataFrame:
    r"""Return the authors' score, for comparison: attention of a receiver on a sender times the norm of the value.

    Mean of :math:`a_{ij} \|v_j\|` over i in a and j in b, first block, mean over heads, dropout off, mean over
    snapshots. Receiver types in rows, sender types in columns.
    """
    if model.config.interaction != "attention":
        raise ValueError(f'attention_by_type needs interaction="attention", the model has {model.config.interaction!r}')
    labels, names = _types(adata, None)
    block, x = model.sde.interaction[0], np.asarray(adata.obsm[KEY])
    total, count = np.zeros((len(names), len(names))), np.zeros((len(names), len(names)))
    for rows, _ in contexts(adata):
        if len(rows) < 2:
            continue
        cells = model.units.enter(x[rows])[None].to(model.device)
        norm = block.project(cells)[2].norm(dim=-1)  # (1, heads, cells)
        cell_score = (block.weights(cells) * norm[:, :, None, :]).mean(1)[0].cpu().numpy()  # (receiver, sender)
        member = np.stack([labels[rows] == name for name in names]).astype(float)  # (types, cells)
        size = member.sum(1)
        kept = np.outer(size >= min_cells, size >= min_cells)
        sums = member @ cell_score @ member.T
        total += np.where(kept, sums / np.outer(size, size).clip(1), 0)
        count += kept
    values = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
    return pd.DataFrame(values, index=pd.Index(names, name="receiver"), columns=pd.Index(names, name="sender"))


def untrained(model: FittedSDE, *, seed: int = 0) -> FittedSDE:
    """Return the same model with freshly drawn weights: what the architecture says before it has seen any data."""
    torch.manual_seed(seed)
    fresh = copy.copy(model)
    fresh.sde = InteractingSDE(model.sde.dim, model.config).to(model.device).eval()
    return fresh


def shuffled_labels(adata: "AnnData", *, seed: int = 0) -> np.ndarray:  # (cells,)
    """Cell types permuted within each population and time, so that compositions stay what they are."""
    labels, _ = _types(adata, None)
    labels, rng = labels.copy(), np.random.default_rng(seed)
    for rows, _ in contexts(adata):
        labels[rows] = rng.permutation(labels[rows])
    return labels


def edge_recovery(scores: pd.DataFrame, truth: np.ndarray) -> dict[str, float]:
    """Score recovered edges against a true type matrix (receiver, sender), off-diagonal pairs only.

    Returns
    -------
    dict
        ``auroc`` and ``auprc`` of the absolute score, ``prevalence`` (the AUPRC of chance), ``sign_accuracy`` on true
        edges.
    """
    from sklearn.metrics import average_precision_score, roc_auc_score

    pairs = ~np.eye(len(truth), dtype=bool) & np.isfinite(scores.to_numpy())
    values, edges = scores.to_numpy()[pairs], truth[pairs]
    if not 0 < (edges != 0).sum() < len(edges):
        raise ValueError("edge_recovery needs at least one true edge and one pair without")
    return {
        "auroc": float(roc_auc_score(edges != 0, np.abs(values))),
        "auprc": float(average_precision_score(edges != 0, np.abs(values))),
        "prevalence": float((edges != 0).mean()),
        "sign_accuracy": float((np.sign(values) == np.sign(edges))[edges != 0].mean()),
    }
