r"""The closed form of who moves whom against a known truth, one simulated data set at a time.

The true strength of a pair is that of equation 5 with the true force on the same cells: with
:math:`K` the force of :func:`scimf.simulate.typed.typed` without its strength :math:`A_{ab}`,

.. math::

    S_{ab} = A_{ab}\,\frac{\langle s_p \pi_{pb} \langle K(x_i, x_j) \rangle, F_{ab0} \rangle}
        {|F_{ab0}|^2} ,

so that it is 0 where there is no edge.
"""

import time
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scimf.dynamics.fitted import FittedSDE
from scimf.dynamics.snapshots import KEY
from scimf.interaction.influence import influence
from scimf.interaction.type_means import TypeSnapshots
from scimf.interaction.who_moves_whom import Interactions, who_moves_whom
from scimf.simulate.systems import typed
from scimf.simulate.typed import THETA, Design, OwnDrift

from evidence.edges import edge_recovery
from evidence.recovery import drift_errors

if TYPE_CHECKING:
    from anndata import AnnData


def simulated(*, seed: int = 0, own: str = "rate", **options) -> "AnnData":
    """Simulate types that interact; the model's coordinates are the simulator's.

    ``own`` says how a cell relaxes to its fate: at one "rate"; by a "matrix" of its type; or
    "curved", at a rate that grows with the distance.
    """
    if own == "matrix":
        options["own"] = partial(_turned, seed=seed)
    elif own == "curved":
        options["own"] = _curved
    elif own != "rate":
        raise ValueError(f"own={own!r}, expected 'rate', 'matrix' or 'curved'")
    adata = typed(seed=seed, **options)
    adata.obsm[KEY] = np.asarray(adata.X, np.float32)
    return adata


def _turned(design: Design, seed: int) -> OwnDrift:
    r"""With the relaxation :math:`r`, :math:`(I + G_a / 2)\,r`.

    Entries of the matrix :math:`G_a` of each type are normal with variance 1 / dim.
    """
    n_types, dim = design.start.shape
    drawn = np.random.default_rng([seed, 0, 1]).standard_normal((n_types, dim, dim))
    matrix = np.eye(dim) + 0.5 * drawn / np.sqrt(dim)

    def drift(x: np.ndarray, kind: np.ndarray) -> np.ndarray:
        return np.einsum("pnde,pne->pnd", matrix[kind], design.relaxation(x, kind))

    return drift


def _curved(design: Design) -> OwnDrift:
    r"""With the relaxation :math:`r`, :math:`\sqrt{1 + |r / \theta|^2}\,r`."""

    def drift(x: np.ndarray, kind: np.ndarray) -> np.ndarray:
        rate = design.relaxation(x, kind)
        return rate * np.sqrt(1 + ((rate / THETA) ** 2).sum(-1, keepdims=True))

    return drift


def true_matrix(adata: "AnnData", types: tuple[str, ...]) -> np.ndarray:  # (receiver, sender)
    """Strengths of the simulator, of the types that were seen."""
    truth = adata.uns["scimf"]["truth"]
    seen = np.isin(truth["types"], types)
    return truth["type_matrix"][np.ix_(seen, seen)]


def true_strengths(adata: "AnnData", snapshots: TypeSnapshots) -> np.ndarray:  # (receiver, sender)
    """Strengths of equation 5 with the true force; 0 where there is no edge."""
    n_types = len(snapshots.types)
    pulls = snapshots.pulls(())[..., 0, :]  # (times, populations, receiver, sender, dim)
    along = np.zeros((n_types, n_types))
    bounds = snapshots.start[::n_types]  # of whole snapshots
    for k, (first, last) in enumerate(zip(bounds[:-1], bounds[1:], strict=True)):
        t, p = divmod(k, len(snapshots.populations))
        x = snapshots.cells[first:last]
        n = snapshots.count[t, p]
        member = np.eye(n_types)[np.arange(n_types).repeat(n.astype(int))]  # (cells, types)
        away = x[None] - x[:, None]  # (receiver, sender, dim)
        force = away / np.sqrt(1 + (away**2).sum(-1, keepdims=True))
        summed = np.einsum("ia,ijd,jb->abd", member, force, member, optimize=True)
        pairs = np.maximum(np.outer(n, n) - np.diag(n), 1)
        along += (summed * pulls[t, p]).sum(-1) * snapshots.sent[t, p] / pairs
    size = np.maximum((pulls**2).sum((0, 1, 4)), 1e-9)
    return true_matrix(adata, snapshots.types) * along / size


def score(found: Interactions, adata: "AnnData") -> dict[str, float]:
    """Score what was read from a simulated data set.

    Returns
    -------
    dict
        ``heard_type_mean_error`` and ``strength_missing`` (:func:`evidence.recovery.drift_errors`,
        ``heard_type_mean`` and ``heard_strength``); ``edge_auroc, edge_auprc, sign_accuracy`` of
        the strengths; ``strength_error``, root mean square over pairs; and ``coverage.zero`` and
        ``coverage.not_zero``, the share of pairs without and with an edge whose interval holds the
        true strength.
    """
    errors = drift_errors([found], adata)
    snapshots = found.model.snapshots
    recovered = edge_recovery(found.matrix(), true_matrix(adata, snapshots.types))
    names = list(snapshots.types)
    true = pd.DataFrame(true_strengths(adata, snapshots), index=names, columns=names).stack()
    table = found.table.set_index(["receiver", "sender"])
    true = true.loc[table.index]
    covered = (table["lo"] <= true) & (true <= table["hi"])
    return {
        "heard_type_mean_error": float(errors["heard_type_mean"]),
        "strength_missing": float(errors["heard_strength"]),
        "own_type_mean_error": float(errors["own_type_mean"]),
        "edge_auroc": recovered["auroc"],
        "edge_auprc": recovered["auprc"],
        "sign_accuracy": recovered["sign_accuracy"],
        "strength_error": float(np.sqrt(((table["strength"] - true) ** 2).mean())),
        "coverage.zero": float(covered[true == 0].mean()),
        "coverage.not_zero": float(covered[true != 0].mean()),
    }


def requests(seeds: Iterable[int], replicates: int = 1, **options) -> list[dict]:
    """Options of :func:`recovery_of` for every seed and replicate."""
    found = []
    for seed in seeds:
        for replicate in range(replicates):
            found.append({"seed": seed, "replicate": replicate} | options)
    return found


def score_of_fit(model: FittedSDE, adata: "AnnData") -> dict[str, float]:
    """Scores of a trained model that :func:`score` gives, too."""
    errors = drift_errors([model], adata)
    truth = adata.uns["scimf"]["truth"]["type_matrix"]
    return {
        "heard_type_mean_error": float(errors["heard_type_mean"]),
        "strength_missing": float(errors["heard_strength"]),
        "edge_auroc": edge_recovery(influence(model, adata), truth)["auroc"],
    }


def recovery_of(**options) -> dict:
    """Score the closed form on one data set, :func:`score`; options of the simulator.

    Beside the scores: the ``form`` of the interaction that was chosen, and ``seconds``, on one
    core, of reading who moves whom.
    """
    adata = simulated(**options)
    start = time.process_time()
    found = who_moves_whom(adata)
    seconds = time.process_time() - start
    return score(found, adata) | {"form": found.model.form, "seconds": seconds}
