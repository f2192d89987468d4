"""Where the closed form of hard types ends: answers on one simulated data set each.

Types that cells change on their way, and types that nobody labelled. Every function takes a seed
and sizes, and returns plain values for :func:`evidence.kept.kept`.
"""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scimf.dynamics.snapshots import KEY
from scimf.interaction.permutation import permutation_test
from scimf.interaction.type_means import TypeSnapshots
from scimf.interaction.who_moves_whom import who_moves_whom

from evidence.changing import changing
from evidence.closed_form import true_strengths
from evidence.edges import edge_recovery
from evidence.recovery import drift_errors
from evidence.smooth_types import SoftTypes, fit_smooth
from evidence.soft_test import context_p_value

if TYPE_CHECKING:
    from anndata import AnnData

CLUSTERINGS = 10  #: starts of k-means


def changing_types(**options) -> dict[str, float]:
    """Read who moves whom in one data set of :func:`evidence.changing.changing`, in four ways.

    ``hard_types``: :func:`scimf.who_moves_whom` with the true type of each cell when it was
    measured; ``memberships``: soft types around the means of the same; ``hard_clusters`` and
    ``soft_clusters``: the same two with k-means in place of types (given how many there are).

    Returns
    -------
    dict
        For each way ``heard_type_mean_error, strength_missing, own_type_mean_error``
        (:func:`evidence.recovery.drift_errors`), ``edge_auroc, sign_accuracy`` and
        ``strength_error`` (root mean square over pairs, truth as in :mod:`evidence.closed_form`),
        as ``hard_types.edge_auroc``.
    """
    adata = _with_coordinates(changing(**options))
    x = np.asarray(adata.obsm[KEY], float)
    clustered = adata.copy()
    clustered.obs["cell_type"] = _clusters(adata, x)
    found = {}
    for name, labelled in (("types", adata), ("clusters", clustered)):
        hard = who_moves_whom(labelled, permutations=1)
        labels = labelled.obs["cell_type"].to_numpy(str)
        soft = fit_smooth(labelled, SoftTypes.of(x, labels), widths=hard.model.widths)
        scores = {f"hard_{name}": _scores(hard, hard.model.strengths(), adata)}
        soft_name = "memberships" if name == "types" else "soft_clusters"
        scores[soft_name] = _scores(soft, soft.strengths(), adata)
        for way, values in scores.items():
            found |= {f"{way}.{key}": value for key, value in values.items()}
    return found


def changing_types_tested(**options) -> dict[str, float]:
    """Test whether cells interact, p-values of contexts permuted: hard types and memberships."""
    adata = _with_coordinates(changing(**options))
    soft = SoftTypes.of(np.asarray(adata.obsm[KEY], float), adata.obs["cell_type"].to_numpy(str))
    return {
        "hard_types.p": permutation_test(TypeSnapshots.of(adata), n=199).p,
        "memberships.p": context_p_value(adata, soft, n=199),
    }


def _with_coordinates(adata: "AnnData") -> "AnnData":
    adata.obsm[KEY] = np.asarray(adata.X, np.float32)
    return adata


def _clusters(adata: "AnnData", x: np.ndarray) -> np.ndarray:  # (cells,)
    """Clusters of all cells together, each called after the type whose cells it holds."""
    from scipy.optimize import linear_sum_assignment
    from sklearn.cluster import KMeans

    types = adata.obs["cell_type"].to_numpy(str)
    names = adata.uns["scimf"]["truth"]["types"]
    cluster = KMeans(len(names), n_init=CLUSTERINGS, random_state=0).fit_predict(x)
    shared = pd.crosstab(cluster, types).reindex(columns=names, fill_value=0).to_numpy()
    order = linear_sum_assignment(-shared)[1]
    return np.asarray(names)[order][cluster]


def _scores(found, strengths: np.ndarray, adata: "AnnData") -> dict[str, float]:
    errors = drift_errors([found], adata)
    snapshots = TypeSnapshots.of(adata)
    names = list(snapshots.types)
    matrix = adata.uns["scimf"]["truth"]["type_matrix"]
    scores = {
        "heard_type_mean_error": float(errors["heard_type_mean"]),
        "strength_missing": float(errors["heard_strength"]),
        "own_type_mean_error": float(errors["own_type_mean"]),
    }
    others = ~np.eye(len(matrix), dtype=bool)
    off = (strengths - true_strengths(adata, snapshots))[others]
    scores["strength_error"] = float(np.sqrt((off**2).mean()))
    if matrix.any():
        recovered = edge_recovery(pd.DataFrame(strengths, names, names), matrix)
        scores["edge_auroc"] = recovered["auroc"]
        scores["sign_accuracy"] = recovered["sign_accuracy"]
    return scores
