"""Do cells interact here? Yes, no, or: that cannot be told from these data.

The test is :mod:`scimf.interaction.permutation`: the contexts of populations are exchanged. A few
wrong labels already give a false "yes", as they mix into the mean of a type more of those types
that are frequent in its population; so cells far from their own type and nearer to another one are
given to that. A "no" is said only where an interaction would have been found
(:mod:`scimf.interaction.plan`). Report `interaction_test` asks all this where the truth is known.
"""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from scimf.data.space import fit_space
from scimf.data.split import hold_out
from scimf.dynamics.snapshots import KEY, cell_types
from scimf.interaction.design_check import LEVEL, cannot_be_told, smallest_p, strata
from scimf.interaction.permutation import permutation_test
from scimf.interaction.plan import MOST_TIMES_MORE, STRENGTH, Design
from scimf.interaction.regression import LEAST
from scimf.interaction.type_means import TypeSnapshots

if TYPE_CHECKING:
    from anndata import AnnData

PASSES = 2  #: of correcting labels
FAR = 3.0  #: squared distance to one's type, relative to its median, from which a label is doubted
POWER = 0.8  #: with which it should be found before "no" is said
LEAST_CHANGES = 2  #: seen of a type's mean for each number of its own drift before "no" is said
MOST_COORDINATES = 20  #: principal components of the coordinates; more cost power
CLUSTERS = range(2, 9)  #: numbers of clusters that are tried where there are no types
SHOWN = 1000  #: cells that choose among them


@dataclass(frozen=True)
class Verdict:
    """The answer, why, and what it rests on.

    Attributes
    ----------
    answer
        "yes", "no" or "cannot be told".
    reason
        One sentence, with numbers.
    p
        Of the test, all receivers together; NaN if none was made.
    receivers
        ``receiver, p``: one row for each type; empty if no test was made.
    smallest_p
        That this design can reach.
    """

    answer: str
    reason: str
    p: float = np.nan
    receivers: pd.DataFrame = field(repr=False, default_factory=pd.DataFrame)
    smallest_p: float = np.nan

    def __str__(self) -> str:
        return f"Do cells interact here? {self.answer.capitalize()}. {self.reason}"


def do_cells_interact(
    adata: "AnnData", *, permutations: int = 999, seed: int = 0, key: str = KEY
) -> Verdict:
    """Test whether cells interact, in seconds, and say where that cannot be told.

    Not for cells that change type: a flow between types looks like an interaction (report
    `closed_form`).

    Parameters
    ----------
    adata
        ``obs``: time, population, and where known cell_type, density (relative, one for each
        population) and batch (contexts are exchanged within batches only). Coordinates in
        ``obsm[key]``; where there are none, :func:`scimf.fit_space` makes them of all cells.
    permutations, seed
        Number and seed of the exchanges of contexts; the seed also of clusters, where cells have no
        types.
    """
    if why := cannot_be_told(adata):
        return Verdict("cannot be told", why)
    if key not in adata.obsm:
        key = KEY
        adata = adata.copy()
        fit_space(adata, hold_out(adata))
    said = ""
    if "cell_type" in adata.obs:
        types = cell_types(adata)
    else:
        types = _clusters(np.asarray(adata.obsm[key], float), seed)
        said = f" Types are {len(set(types))} clusters (k-means), as the data name none."
    corrected = _corrected_types(adata, types, key=key)
    if moved := int((corrected != types).sum()):
        said += f" {moved} of {len(types)} cells lie with another type and were counted there."
    if why := cannot_be_told(adata, types=corrected):
        return Verdict("cannot be told", why + said)
    snapshots = TypeSnapshots.of(adata, types=corrected, key=key)
    snapshots = replace(snapshots, cells=_few_coordinates(snapshots.cells))
    groups = strata(adata)
    found = permutation_test(snapshots, strata=groups, n=permutations, seed=seed)
    receivers = pd.DataFrame({"receiver": snapshots.types, "p": found.p_receivers})
    design = Design.of(snapshots, strata=groups)
    answer, reason = _answer(found.p, receivers, design, _changes_per_parameter(snapshots))
    return Verdict(answer, reason + said, found.p, receivers, smallest_p(groups, permutations))


def _corrected_types(
    adata: "AnnData", types: np.ndarray, *, key: str = KEY
) -> np.ndarray:  # (cells,) of str
    """Give cells far from their own type to the nearest one.

    Centres are medians over all populations of one time. Where types overlap most labels stay as
    they are, since moving cells there would mix types by their frequency once more. Cells of type
    "unknown" go to the nearest.
    """
    x = np.asarray(adata.obsm[key], dtype=float)
    time = adata.obs["time"].to_numpy(float)
    kinds = sorted(set(types) - {"unknown"}) or ["unknown"]
    types = np.array(types, dtype=object)
    for _ in range(PASSES):
        for t in np.unique(time):
            rows = np.flatnonzero(time == t)
            own = np.full(len(rows), np.inf)  # squared distance to one's type, over its median
            distance = np.full((len(rows), len(kinds)), np.inf)
            for k, kind in enumerate(kinds):
                mine = types[rows] == kind
                if mine.any():
                    centre = np.median(x[rows[mine]], axis=0)
                    distance[:, k] = ((x[rows] - centre) ** 2).sum(1)
                    own[mine] = distance[mine, k] / max(np.median(distance[mine, k]), 1e-12)
            nearest = np.array(kinds, dtype=object)[distance.argmin(1)]
            types[rows] = np.where(own > FAR, nearest, types[rows])
    return types.astype(str)


def _clusters(x: np.ndarray, seed: int) -> np.ndarray:  # (cells,) of str
    """Clusters of all cells; their number has the largest silhouette."""
    from sklearn.cluster import KMeans
    from sklearn.metrics import silhouette_score

    rows = np.random.default_rng(seed).permutation(len(x))[:SHOWN]
    clusterings = [KMeans(k, n_init=4, random_state=seed).fit_predict(x) for k in CLUSTERS]
    best = max(clusterings, key=lambda labels: silhouette_score(x[rows], labels[rows]))
    return np.char.add("cluster ", best.astype(str))


def _few_coordinates(cells: np.ndarray) -> np.ndarray:
    """Principal components of the cells, if there are more coordinates than are tested."""
    if cells.shape[1] <= MOST_COORDINATES:
        return cells
    centred = cells - cells.mean(0)
    _, vectors = np.linalg.eigh(centred.T @ centred)
    return centred @ vectors[:, -MOST_COORDINATES:]


def _changes_per_parameter(snapshots: TypeSnapshots) -> float:
    """How often a typical type was seen to change, for each number of its own drift.

    Per coordinate these are an intercept for each interval and a row of the matrix.
    """
    changes = np.maximum((snapshots.count >= LEAST).sum(0) - 1, 0).sum(0)  # (types,)
    return float(np.median(changes)) / (len(snapshots.times) - 1 + snapshots.cells.shape[1])


def _answer(p: float, receivers: pd.DataFrame, design: Design, seen: float) -> tuple[str, str]:
    """Answer and sentence of a p-value; "no" needs power, and changes of means to be seen."""
    of = f"{len(design.density)} populations, p = {p:.2g}"
    if p <= LEVEL:
        first = receivers.loc[receivers["p"].idxmin()]
        return "yes", (
            "What moves cells goes with the composition and density around them "
            f"({of}; most clearly for {first['receiver']}, p = {first['p']:.2g})."
        )
    strength = STRENGTH / float(np.median(np.diff(design.times)))
    power = design.power(strength)
    if power >= POWER and seen < LEAST_CHANGES:
        return "cannot be told", (
            f"No interaction was found ({of}), but the mean of a type was seen to change only "
            f"{seen:.1f} times for each number that describes its own drift, at least "
            f"{LEAST_CHANGES} are needed; more populations, or more cells of each type, would do."
        )
    wanted = f"an interaction of strength {strength:.2g}"
    if power >= POWER:
        return "no", (
            f"What moves cells does not go with the composition and density around them ({of}), "
            f"and {wanted} would have been found with probability {power:.2f}."
        )
    return "cannot be told", (
        f"No interaction was found ({of}), but {wanted} would have been found with probability "
        f"{power:.2f} only; {_advice(design, strength)}."
    )


def _advice(design: Design, strength: float) -> str:
    """Say what would raise the power to :data:`POWER`."""
    n_cells = design.count.sum((0, 2)).mean() / len(design.times)
    sizes = {"populations": len(design.density), "cells of a population at a time": n_cells}
    ways = []
    for unit, n in sizes.items():
        what = unit.split()[0]
        larger = range(2, MOST_TIMES_MORE + 1)
        enough = (k for k in larger if design.more(**{what: k}).power(strength) >= POWER)
        if times := next(enough, None):
            ways.append(f"{int(np.ceil(times * n))} {unit}")
    few = "more different compositions or densities are needed"
    return f"{' or '.join(ways)} would make it {POWER}" if ways else few
