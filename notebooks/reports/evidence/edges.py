"""Maps of who moves whom against a known truth: edges, direction, and the authors' own score."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from scimf.core.parallel import side_by_side
from scimf.data.space import fit_space
from scimf.data.split import hold_out
from scimf.dynamics.config import SDEConfig
from scimf.dynamics.fit import fit
from scimf.dynamics.fitted import FittedSDE
from scimf.dynamics.snapshots import KEY, contexts, populations
from scimf.interaction.influence import influence

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


def influences_of_halves(
    adata: "AnnData", *, config: SDEConfig, seed: int = 0, cache: Path | str
) -> list[pd.DataFrame]:
    """Influence matrices of two fits that share no population, for :func:`reciprocity`."""
    names = np.unique(populations(adata))
    jobs = []
    for first in (0, 1):
        half = adata[np.isin(populations(adata), names[first::2])].copy()
        jobs.append((half, config, seed, cache))
    return side_by_side(_influence, jobs)


def _influence(adata: "AnnData", config: SDEConfig, seed: int, cache: Path) -> pd.DataFrame:
    split = hold_out(adata)
    fit_space(adata, split)
    model = fit(adata, split, config=config, seed=seed, cache=cache, device="cpu", progress=False)
    return influence(model, adata)


def reciprocity(
    one: pd.DataFrame, two: pd.DataFrame, *, n_flips: int = 999, seed: int = 0
) -> dict[str, float]:
    r"""Test whether "b moves a" differs from "a moves b".

    Asked of two influence matrices from **disjoint** populations. Any noise is asymmetric, but the
    noise of two fits that share no population is not the same noise. With :math:`D_k = I_k -
    I_k^\top` and :math:`S_k = I_k + I_k^\top`, the products :math:`\langle D_1, D_2 \rangle` and
    :math:`\langle S_1, S_2 \rangle` estimate the squared size of what both share. Null: every pair
    of types changes the sign of its :math:`D_2` at random, as it would if the two directions were
    equal and only noise told them apart.

    Returns
    -------
    dict
        ``asymmetry``: :math:`\sqrt{\langle D_1, D_2 \rangle_+ / \langle S_1, S_2 \rangle_+}`, 0 for
        reciprocal, 1 for one-way influence (infinite where nothing symmetric is shared);
        ``agreement``: cosine of :math:`D_1` and :math:`D_2`; ``p``, one-sided; ``n_pairs``.

    Raises
    ------
    ValueError
        If the matrices name other types, or share fewer than five pairs: no p-value could be below
        0.05.
    """
    if list(one.index) != list(two.index):
        types = f"{list(one.index)} and {list(two.index)}"
        raise ValueError(f"reciprocity: the matrices name other types, {types}")
    forth, back = _both_ways(one)
    forth_again, back_again = _both_ways(two)
    in_both = np.isfinite(forth + back + forth_again + back_again)
    n_pairs = int(in_both.sum())
    if n_pairs < 5:
        found = f"{n_pairs} pairs of types are in both matrices"
        raise ValueError(f"reciprocity: {found}, expected at least 5")
    difference = (forth - back)[in_both]
    difference_again = (forth_again - back_again)[in_both]
    shared = float(difference @ difference_again)
    symmetric = float((forth + back)[in_both] @ (forth_again + back_again)[in_both])
    flips = np.random.default_rng(seed).choice([-1.0, 1.0], size=(n_flips, n_pairs))
    as_large = flips * difference @ difference_again >= shared
    if symmetric > 0:
        ratio = max(shared, 0.0) / symmetric
    else:
        ratio = np.inf if shared > 0 else 0.0
    size = float(np.linalg.norm(difference) * np.linalg.norm(difference_again))
    return {
        "asymmetry": float(np.sqrt(ratio)),
        "agreement": shared / size,
        "p": float((1 + as_large.sum()) / (n_flips + 1)),
        "n_pairs": n_pairs,
    }


def _both_ways(matrix: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:  # (pairs,), (pairs,)
    """Influence of each pair of types, and of the same pair the other way round."""
    values = matrix.to_numpy()
    upper = np.triu_indices(len(values), 1)
    return values[upper], values.T[upper]
