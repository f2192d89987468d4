r"""What the model says about cells: where they go, who moves whom, and what an uninformed model would have said.

The score for "type b influences type a" was fixed before anything was compared with the truth. Let every cell of type b
speak a little louder while the **normaliser is kept** (removing cells would renormalise, and so mix in dilution), and
take the change of the drift of each receiver of type a, per unit of b's share :math:`\pi_b` of the senders:

.. math::

    I_{ab} = \frac{1}{\pi_b}\,\Bigl\langle \partial_{\ell_b} f(x_i, \mu, \ell),\; u_i \Bigr\rangle_{i \in a},
    \qquad \ell = 1 .

For messages that add up (additive, occupancy) the derivative **is** the effect of silencing b altogether; for the
published attention it is its Jacobian. The direction :math:`u_i` is by default the one from the receiver towards the
mean of b. :math:`I_{ab} > 0`: b pulls a; :math:`I_{ab} < 0`: b pushes a away. It may also be the direction towards a
fate, or of a's own velocity. Units: data coordinates per unit of real time.
"""

import copy
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from scimf.evaluate import interval
from scimf.fitted import FittedSDE
from scimf.sde import InteractingSDE
from scimf.snapshots import KEY, contexts, populations

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


def loudness_derivative(
    model: FittedSDE, adata: "AnnData", rows: np.ndarray, density: float, louder: np.ndarray
) -> np.ndarray:  # (cells, dim)
    """Differentiate the heard drift of one snapshot by the loudness of some of its cells.

    ``rows`` and ``density`` are a pair of :func:`scimf.snapshots.contexts`, ``louder`` (cells of the snapshot,) marks
    the senders. Data coordinates per unit of real time.
    """
    x = model.units.enter(np.asarray(adata.obsm[KEY])[rows])[None].to(model.device)
    dense = torch.tensor([density], device=model.device, dtype=x.dtype)
    mark = torch.as_tensor(louder, device=model.device, dtype=x.dtype)[None]
    with sdpa_kernel(SDPBackend.MATH), torch.no_grad():  # the fused kernels have no forward derivative
        _, change = torch.func.jvp(
            lambda speak: model.sde.heard(x, density=dense, speak=speak), (torch.ones_like(mark),), (mark,)
        )
    time = float(adata.obs["time"].iloc[rows[0]])
    return change[0].cpu().numpy() * model.clock.rate(time) * model.units.scale


def influence_by_snapshot(
    model: FittedSDE,
    adata: "AnnData",
    *,
    towards: "str | dict[str, np.ndarray]" = "sender",
    min_cells: int = 5,
    labels: np.ndarray | None = None,
) -> pd.DataFrame:
    """Influence in every snapshot in which both types have at least ``min_cells`` cells; definition above.

    Parameters
    ----------
    towards
        "sender"; "velocity", the receiver's own drift; or fates, type -> coordinates (dim,), of the receivers.
    labels
        (cells,) instead of ``obs["cell_type"]``.

    Returns
    -------
    DataFrame
        ``population, time, receiver, sender, value``. Towards the sender, a type has no influence on itself: the
        direction is not defined.
    """
    labels, names = _types(adata, labels)
    own, _ = model.drift(adata)
    x, population, time = np.asarray(adata.obsm[KEY]), populations(adata), adata.obs["time"].to_numpy(float)
    if isinstance(towards, dict) and (missing := sorted(set(names) - set(towards))):
        raise KeyError(f"towards: no fate for {missing}")
    if not isinstance(towards, dict) and towards not in ("sender", "velocity"):
        raise ValueError(f'towards: expected "sender", "velocity" or a fate for each type, got {towards!r}')
    found = []
    for rows, density in contexts(adata):
        kinds = labels[rows]
        frequent = [name for name in names if (kinds == name).sum() >= min_cells]
        for sender in frequent:
            spoke = kinds == sender
            change = loudness_derivative(model, adata, rows, density, spoke) / spoke.mean()
            for receiver in frequent:
                heard = kinds == receiver
                if towards == "sender":
                    if receiver == sender:
                        continue
                    direction = x[rows][spoke].mean(0) - x[rows][heard]
                elif towards == "velocity":
                    direction = own[rows][heard]
                else:
                    direction = towards[receiver] - x[rows][heard]
                direction = direction / np.linalg.norm(direction, axis=1, keepdims=True).clip(1e-12)
                value = float((change[heard] * direction).sum(1).mean())
                found.append((population[rows[0]], time[rows[0]], receiver, sender, value))
    return pd.DataFrame(found, columns=["population", "time", "receiver", "sender", "value"])


def influence(model: FittedSDE, adata: "AnnData", **options) -> pd.DataFrame:
    """Signed influence of each sender type (column) on each receiver type (row), mean over snapshots.

    Options as for :func:`influence_by_snapshot`. NaN where no snapshot has enough cells of both, and on the diagonal if
    ``towards="sender"``.
    """
    _, names = _types(adata, options.get("labels"))
    return as_matrix(influence_by_snapshot(model, adata, **options), names)


def as_matrix(table: pd.DataFrame, names: "list[str] | None" = None) -> pd.DataFrame:
    """Mean of a table of influences as a matrix: receivers in rows, senders in columns."""
    names = sorted(set(table["receiver"]) | set(table["sender"])) if names is None else names
    matrix = table.groupby(["receiver", "sender"])["value"].mean().unstack()
    return matrix.reindex(index=pd.Index(names, name="receiver"), columns=pd.Index(names, name="sender"))


def edges(models: "list[FittedSDE]", nulls: "list[FittedSDE]", adata: "AnnData", **options) -> pd.DataFrame:
    """Influence of each ordered pair of types, with an interval over fits and a p-value against fits to silence.

    Parameters
    ----------
    models
        Fits of the same data with different training seeds; the interval is a t interval over them.
    nulls
        Fits to data in which nobody hears anybody (:func:`scimf.verdict.null_fits`): what the same procedure finds
        where there is nothing to find. Influences are divided by the root mean square of the null of their pair, and
        the p-value is the rank among the pooled null of all pairs.
    options
        As for :func:`influence_by_snapshot`.

    Returns
    -------
    DataFrame
        ``receiver, sender, value, lo, hi, p, q``; ``q`` after Benjamini and Hochberg (1995). Sorted by ``p``.
    """
    from scipy.stats import false_discovery_control

    found = np.stack([influence(model, adata, **options).to_numpy() for model in models])  # (models, receiver, sender)
    null = np.stack([influence(model, adata, **options).to_numpy() for model in nulls])
    _, names = _types(adata, options.get("labels"))
    scale = np.sqrt(np.square(null).mean(0))
    pooled = np.abs(null / scale)
    pooled = np.sort(pooled[np.isfinite(pooled)])
    rows = []
    for a, b in zip(*np.nonzero(np.isfinite(found.mean(0)) & (scale > 0)), strict=True):
        size = abs(found[:, a, b].mean()) / scale[a, b]
        p = (1 + len(pooled) - np.searchsorted(pooled, size)) / (1 + len(pooled))
        spread = interval(found[:, a, b])
        rows.append({"receiver": names[a], "sender": names[b], "value": spread["mean"], "p": p} | spread)
    table = pd.DataFrame(rows, columns=["receiver", "sender", "value", "lo", "hi", "p"]).sort_values("p")
    table["q"] = false_discovery_control(table["p"]) if len(table) else []
    return table.reset_index(drop=True)


def reciprocity(one: pd.DataFrame, two: pd.DataFrame, *, n_flips: int = 999, seed: int = 0) -> dict[str, float]:
    r"""Is "b moves a" different from "a moves b"? Asked of two influence matrices from **disjoint** populations.

    Any noise is asymmetric, but the noise of two fits that share no population is not the same noise. With
    :math:`D_k = I_k - I_k^\top` and :math:`S_k = I_k + I_k^\top`, the products :math:`\langle D_1, D_2 \rangle` and
    :math:`\langle S_1, S_2 \rangle` estimate the squared size of what both share. Null: every pair of types changes the
    sign of its :math:`D_2` at random, as it would if the two directions were equal and only noise told them apart.

    Returns
    -------
    dict
        ``asymmetry``: :math:`\sqrt{\langle D_1, D_2 \rangle_+ / \langle S_1, S_2 \rangle_+}`, 0 for reciprocal, 1 for
        one-way influence (infinite where nothing symmetric is shared); ``agreement``: cosine of :math:`D_1` and
        :math:`D_2`; ``p``, one-sided; ``n_pairs``.

    Raises
    ------
    ValueError
        If the matrices name other types, or share fewer than five pairs: no p-value could be below 0.05.
    """
    if list(one.index) != list(two.index):
        raise ValueError(f"reciprocity: the matrices name other types, {list(one.index)} and {list(two.index)}")
    upper = np.triu_indices(len(one), 1)
    parts = [(m.to_numpy()[upper], m.to_numpy().T[upper]) for m in (one, two)]
    shared = np.isfinite(np.sum(parts, axis=(0, 1)))
    (a1, b1), (a2, b2) = [(there[shared], back[shared]) for there, back in parts]
    if shared.sum() < 5:
        raise ValueError(f"reciprocity: {shared.sum()} pairs of types are in both matrices, expected at least 5")
    d1, d2 = a1 - b1, a2 - b2
    flips = np.random.default_rng(seed).choice([-1.0, 1.0], size=(n_flips, len(d1)))
    found, symmetric = float(d1 @ d2), float((a1 + b1) @ (a2 + b2))
    ratio = max(found, 0.0) / symmetric if symmetric > 0 else (np.inf if found > 0 else 0.0)
    return {
        "asymmetry": float(np.sqrt(ratio)),
        "agreement": found / float(np.linalg.norm(d1) * np.linalg.norm(d2)),
        "p": float((1 + (flips * d1 @ d2 >= found).sum()) / (n_flips + 1)),
        "n_pairs": int(shared.sum()),
    }


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
