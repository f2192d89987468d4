"""Maps of who moves whom against a known truth: edges, direction, and the authors' own score."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from scimf.dynamics.fitted import FittedSDE
from scimf.dynamics.snapshots import KEY, contexts

if TYPE_CHECKING:
    from anndata import AnnData


def edge_recovery(scores: pd.DataFrame, truth: np.ndarray) -> dict[str, float]:
    """Score recovered edges against a true type matrix (receiver, sender), off-diagonal pairs only.

    Returns
    -------
    dict
        ``auroc`` and ``auprc`` of the absolute score, ``prevalence`` (the AUPRC of chance),
        ``sign_accuracy`` on true edges.

    Raises
    ------
    ValueError
        If all pairs are edges, or none.
    """
    from sklearn.metrics import average_precision_score, roc_auc_score

    pairs = ~np.eye(len(truth), dtype=bool) & np.isfinite(scores.to_numpy())
    values = scores.to_numpy()[pairs]
    edges = truth[pairs]
    is_edge = edges != 0
    if is_edge.all() or not is_edge.any():
        raise ValueError("edge_recovery needs at least one true edge and one pair without")
    has_sign = np.sign(values) == np.sign(edges)
    return {
        "auroc": float(roc_auc_score(is_edge, np.abs(values))),
        "auprc": float(average_precision_score(is_edge, np.abs(values))),
        "prevalence": float(is_edge.mean()),
        "sign_accuracy": float(has_sign[is_edge].mean()),
    }


@torch.no_grad()
def attention_by_type(model: FittedSDE, adata: "AnnData", *, min_cells: int = 5) -> pd.DataFrame:
    r"""Return the authors' score, for comparison: attention on a sender times its value's norm.

    Mean of :math:`a_{ij} \|v_j\|` over i in a and j in b, first block, mean over heads, dropout
    off, mean over snapshots. Receiver types in rows, sender types in columns; pairs with fewer than
    ``min_cells`` cells of either type in a snapshot do not count there.

    Raises
    ------
    ValueError
        If the model has another form of interaction.
    """
    if model.config.interaction != "attention":
        found = f"the model has {model.config.interaction!r}"
        raise ValueError(f'attention_by_type needs interaction="attention", {found}')
    labels = adata.obs["cell_type"].astype(str).to_numpy()
    names = sorted(set(labels))
    coordinates = np.asarray(adata.obsm[KEY])
    total = np.zeros((len(names), len(names)))
    count = np.zeros((len(names), len(names)))
    for rows, _ in contexts(adata):
        if len(rows) < 2:
            continue
        cells = model.standardiser.transform(coordinates[rows])[None].to(model.device)
        score = _attention_times_value(model, cells)
        member = (np.array(names)[:, None] == labels[rows]).astype(float)  # (types, cells)
        size = member.sum(1)
        enough = np.outer(size >= min_cells, size >= min_cells)
        sums = member @ score @ member.T
        total += np.where(enough, sums / np.outer(size, size).clip(1), 0)
        count += enough
    values = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
    receivers = pd.Index(names, name="receiver")
    return pd.DataFrame(values, index=receivers, columns=pd.Index(names, name="sender"))


def _attention_times_value(
    model: FittedSDE, cells: torch.Tensor
) -> np.ndarray:  # (receiver, sender)
    block = model.sde.interaction[0]
    norm = block.project(cells)[2].norm(dim=-1)  # (1, heads, cells)
    score = block.weights(cells) * norm[:, :, None, :]
    return score.mean(1)[0].cpu().numpy()


# ---------------------------------------------------------------------------- is influence one-way?
