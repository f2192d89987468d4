"""Where the closed form holds and where it breaks: worse data, and other kinds of interaction."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from scimf.core.identity import by_name
from scimf.dynamics.snapshots import KEY, populations
from scimf.interaction.weak_form import FORMS
from scimf.interaction.who_moves_whom import Interactions, who_moves_whom
from scimf.simulate.systems import SYSTEMS

from evidence.closed_form import simulated, true_matrix
from evidence.directed import directed
from evidence.edges import edge_recovery
from evidence.quorum import quorum
from evidence.recovery import drift_errors

if TYPE_CHECKING:
    from anndata import AnnData

WRONG = 0.1  #: share of the cells whose labels are shuffled

LABELS = ("true", "wrong", "nearest", "k-means")

#: Systems of which each form of the interaction is right for one.
SYSTEMS_BY_FORM = by_name({"typed": SYSTEMS["typed"], "directed": directed, "quorum": quorum})


def limit_of(
    *,
    seed: int,
    seen: Sequence[float] | None = None,
    populations_seen: int | None = None,
    labels: str = "true",
    **options,
) -> dict:
    """Read who moves whom from a part of the cells of ``typed``, or with other labels.

    Parameters
    ----------
    seen
        Times of which cells are read; by default all.
    populations_seen
        How many populations are read, the first of those that are simulated.
    labels
        "true"; "wrong", where one cell in ten has that of a random one; "nearest", where cells with
        such labels are then counted with the type whose mean at that time is nearest, twice; or
        "k-means", clusters of all cells, as many as there are types.
    seed, options
        Of the simulator.

    Returns
    -------
    dict
        ``heard_type_mean_error`` and ``strength_missing`` of the cells that were read, of their
        true types; ``edge_auroc``, without k-means; ``refused``, 1 if there was no answer.
    """
    adata = simulated(seed=seed, **options)
    kept = np.ones(adata.n_obs, dtype=bool)
    if seen is not None:
        kept &= adata.obs["time"].isin(seen).to_numpy()
    if populations_seen is not None:
        first = np.unique(populations(adata))[:populations_seen]
        kept &= np.isin(populations(adata), first)
    adata = adata[kept].copy()
    labelled = _with_labels(adata, labels, seed)
    try:
        found = who_moves_whom(labelled, permutations=1)
    except ValueError:
        nothing = dict.fromkeys(("heard_type_mean_error", "strength_missing", "edge_auroc"))
        return nothing | {"refused": 1}
    errors = drift_errors([found], adata)
    answer = {
        "heard_type_mean_error": float(errors["heard_type_mean"]),
        "strength_missing": float(errors["heard_strength"]),
        "edge_auroc": None,
        "refused": 0,
    }
    if labels != "k-means":
        truth = true_matrix(adata, found.model.snapshots.types)
        if truth.any():
            answer["edge_auroc"] = edge_recovery(found.matrix(), truth)["auroc"]
    return answer


def _with_labels(adata: "AnnData", labels: str, seed: int) -> "AnnData":
    labelled = adata.copy()
    types = adata.obs["cell_type"].to_numpy(dtype=str, copy=True)
    if labels in ("wrong", "nearest"):
        rng = np.random.default_rng([seed, 1])
        rows = np.flatnonzero(rng.random(len(types)) < WRONG)
        types[rows] = rng.permutation(types[rows])
        if labels == "nearest":
            types = _of_the_nearest(adata, _of_the_nearest(adata, types))
    elif labels == "k-means":
        from sklearn.cluster import KMeans

        n_types = len(np.unique(types))
        types = KMeans(n_types, n_init=10, random_state=seed).fit_predict(adata.X).astype(str)
    elif labels != "true":
        raise ValueError(f"labels={labels!r}, expected one of {LABELS}")
    labelled.obs["cell_type"] = types
    return labelled


def _of_the_nearest(adata: "AnnData", types: np.ndarray) -> np.ndarray:
    """Type whose mean at the time of a cell is nearest to it."""
    from sklearn.neighbors import NearestCentroid

    time = adata.obs["time"].to_numpy(float)
    nearest = types.copy()
    for t in np.unique(time):
        rows = np.flatnonzero(time == t)
        means = NearestCentroid().fit(adata.X[rows], types[rows])
        nearest[rows] = means.predict(adata.X[rows])
    return nearest


def forms_on(*, system: str, seed: int, **options) -> dict:
    """Read a system of :data:`SYSTEMS_BY_FORM` by every form of the interaction.

    Returns
    -------
    dict
        By form its error of what types receive; ``chosen``, the form that predicts left-out
        populations best; and by form ``correlation.<form>`` for quorum: that of what the responders
        of a snapshot get along the true direction, learned and true.
    """
    adata = SYSTEMS_BY_FORM[system](seed=seed, **options)
    adata.obsm[KEY] = np.asarray(adata.X, np.float32)
    answer = {}
    left_out = {}
    for form in FORMS:
        found = who_moves_whom(adata, form=form, permutations=1)
        answer[form] = float(drift_errors([found], adata)["heard_type_mean"])
        left_out[form] = found.errors[form]
        if system == "quorum":
            answer[f"correlation.{form}"] = _agreement_of_responders(found, adata)
    return answer | {"chosen": min(left_out, key=left_out.get)}


def _agreement_of_responders(found: Interactions, adata: "AnnData") -> float:
    """Correlation over snapshots of what B cells get along the direction of the simulator."""
    direction = adata.uns["scimf"]["truth"]["direction"]
    responders = adata.obs[(adata.obs["cell_type"] == "B").to_numpy()].index
    table = adata.obs[["population", "time"]].astype(str)
    table["true"] = np.asarray(adata.obsm["drift_interaction"]) @ direction
    table["learned"] = found.drift(adata)[1] @ direction
    means = table.loc[responders].groupby(["population", "time"])[["true", "learned"]].mean()
    return float(means.corr().iloc[0, 1])
