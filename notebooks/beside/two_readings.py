"""Chapter 5: two types whose law is known, and two readings of who moves whom side by side."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from scimf.dynamics.fitted import FittedSDE
from scimf.dynamics.snapshots import KEY
from scimf.evaluation.summary import interval
from scimf.interaction.influence import influence
from scimf.interaction.who_moves_whom import Interactions
from scimf.simulate.particles import Sampling

if TYPE_CHECKING:
    from anndata import AnnData

LEAST = 5  #: cells of a type in a snapshot whose mean counts
TIMES = (0.0, 1.0, 2.0, 3.0, 4.0)
OWN_RATE = 0.3
GOALS = np.array([[2.0, 0.0], [0.0, 2.0]])  #: of A and of B, where their own drift ends
STARTS = np.array([[0.0, 0.0], [1.0, -1.0]])


def two_types(
    *, strength: float, n_populations: int = 24, n_cells: int = 100, seed: int = 0
) -> "AnnData":
    r"""Simulate A cells that are pulled by B cells, and B cells that nobody moves, in the plane.

    :math:`\mathrm{d}x = 0.3\,(g - x)\,\mathrm{d}t + S\,s\,\pi_B\,(m_B - x)\,\mathrm{d}t + 0.15\,
    \mathrm{d}W` for A cells, with strength :math:`S`, density :math:`s` (log-uniform from 1/2 to
    2), and share :math:`\pi_B` (0.2 to 0.8) and mean :math:`m_B` of B; B cells lack the second
    term. Coordinates stand in ``obsm["X_scimf"]``, too.
    """
    rng = np.random.default_rng(seed)
    density = np.exp(rng.uniform(np.log(0.5), np.log(2.0), size=n_populations))
    share = rng.uniform(0.2, 0.8, size=(n_populations, 1))
    kind = (rng.random((n_populations, len(TIMES) * n_cells)) < share).astype(int)  # 0: A, 1: B
    start = STARTS[kind] + 0.3 * rng.standard_normal((*kind.shape, 2))

    def drift(x: np.ndarray, kind: np.ndarray, t: float) -> tuple[np.ndarray, np.ndarray]:
        is_b = (kind == 1)[..., None]
        mean_b = (x * is_b).sum(1, keepdims=True) / is_b.sum(1, keepdims=True)
        sent = density[:, None, None] * is_b.mean(1, keepdims=True)
        pulled = strength * sent * (mean_b - x)
        return OWN_RATE * (GOALS[kind] - x), np.where(is_b, 0.0, pulled)

    sampling = Sampling(sigma=0.15, step=0.1, times=TIMES, n_cells=n_cells)
    adata = sampling.measure(start, drift, rng=rng, kind=kind, density=density)
    adata.obsm[KEY] = adata.X
    return adata


def influence_over_seeds(models: Sequence[FittedSDE], adata: "AnnData") -> pd.DataFrame:
    """Influence of each pair, with an interval over training seeds: ``value, lo, hi``.

    For :func:`beside.maps.influence_map`. The interval says how much training wavers, not whether
    the data could answer.
    """
    each = pd.concat([influence(model, adata).stack() for model in models], axis=1)
    rows = [interval(values) for values in each.to_numpy()]
    table = pd.DataFrame(rows, index=each.index).rename(columns={"mean": "value"})
    return table.reset_index()


def compare_readings(
    adata: "AnnData", closed: Interactions, models: Sequence[FittedSDE]
) -> pd.DataFrame:
    """Score the closed form and trained networks against the truth of simulated types.

    Returns
    -------
    DataFrame
        Rows "regression" and "network" (mean of all fits). ``error``: of what the mean of a type
        receives in a snapshot with at least five of its cells, relative; ``missing``: the share of
        it that is not there; ``auroc`` of true pairs by strength or influence; ``signs``: share of
        true pairs whose sign is right.
    """
    drifts = {"regression": closed.drift(adata)[1]}
    drifts["network"] = np.mean([model.drift(adata)[1] for model in models], axis=0)
    strengths = {"regression": closed.matrix().to_numpy()}
    strengths["network"] = np.mean([influence(model, adata) for model in models], axis=0)
    truth = adata.uns["scimf"]["truth"]["type_matrix"]  # (receiver, sender), sorted types
    others = ~np.eye(len(truth), dtype=bool)
    received = _type_means(adata, adata.obsm["drift_interaction"])
    rows = {}
    for reading, drift in drifts.items():
        learned = _type_means(adata, drift)
        missing = 1 - (learned * received).sum() / (received**2).sum()
        found = strengths[reading]
        rows[reading] = {
            "error": np.linalg.norm(learned - received) / np.linalg.norm(received),
            "missing": missing,
            "auroc": roc_auc_score(truth[others] != 0, np.abs(found[others])),
            "signs": float((np.sign(found) == np.sign(truth))[truth != 0].mean()),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def _type_means(adata: "AnnData", values: np.ndarray) -> np.ndarray:  # (snapshots' types, dim)
    keys = [adata.obs[key].astype(str) for key in ("population", "time", "cell_type")]
    groups = pd.DataFrame(np.asarray(values), index=adata.obs_names).groupby(keys)
    return groups.mean()[groups.size() >= LEAST].to_numpy()
