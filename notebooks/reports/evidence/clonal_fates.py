r"""What cells become: predicted fates against what sister cells became.

Cells of one clone share an inherited barcode, so the sisters of an early cell that were measured
later say what its kind became: evidence that no snapshot model has seen. The predicted fate of an
early cell is the mean vote of the ``k`` nearest observed late cells around each of its end states;
**sisters never vote**. The score of a clone is the agreement

.. math:: \sum_f p_f\, o_f,

the probability that the predicted fates :math:`p` give to the types :math:`o` of the sisters. The
unit is the clone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from scimf.dynamics.fitted import FittedSDE
from scimf.dynamics.losses import exact_plan
from scimf.dynamics.snapshots import KEY, populations
from scimf.evaluation.distances import distances
from scimf.evaluation.summary import interval

if TYPE_CHECKING:
    from anndata import AnnData

CLONES = "X_clone"  #: obsm key, (cells, clones), non-zero where the cell carries the barcode


@dataclass(frozen=True, kw_only=True)
class Vote:
    """How late cells tell the fate of an early one.

    Attributes
    ----------
    k
        Late neighbours that vote on each end state.
    draws
        Simulated end states per early cell and model.
    leave_out
        Types that are no fate, such as "undiff": they neither vote nor count among sisters.
    """

    k: int = 10
    draws: int = 20
    leave_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Course:
    """Cells of the two times, and the clones that were measured at both."""

    early: np.ndarray  # (early,) rows of the data
    late: np.ndarray  # (late,)
    voters: np.ndarray  # (voters,) rows of late cells whose type is a fate
    types: list[str]
    voter_type: np.ndarray  # (voters, types), one 1 in each row
    barcode: np.ndarray  # (cells, clones) bool
    clones: np.ndarray  # columns of the barcode
    index: list[tuple[int, str]]  #: each clone, and the most frequent type of its early cells


def clonal_fates(
    models: "Mapping[str, FittedSDE | Sequence[FittedSDE]]",
    adata: "AnnData",
    *,
    early: float,
    late: float,
    vote: Vote = Vote(),
    clones: str = CLONES,
    seed: int = 0,
) -> dict[str, pd.DataFrame]:
    """Observed and predicted fates of every clone that was measured at both times.

    Parameters
    ----------
    models
        Fitted models by name; predictions of several training seeds under one name are averaged,
        and end states are weighted by the descendants that they stand for, if a model grows.
    adata
        Data with ``obsm["X_scimf"]``, barcodes and ``obs["cell_type"]``.
    early, late
        Real times. Simulations start from ``early``, which has to be the first time or the last one
        before ``late``.
    vote
        Which late cells vote, and on how many end states.
    clones
        ``obsm`` key of the barcodes, (cells, clones), sparse or dense.
    seed
        Of the simulations.

    Returns
    -------
    dict
        Tables (clones, types) with rows that sum to 1 and index ``clone, early_type`` (the most
        frequent type of its early cells): "observed", the sisters; the models by name; and
        predictions without a model, "own_state" (the late neighbours of the early state itself:
        nothing moves), "transport" (the targets of the early cell under exact optimal transport)
        and "frequency" (all late cells). Late sisters are left out of all predictions, but models
        and transport have seen the whole late snapshot: clone identity is what they have not seen.

    Raises
    ------
    KeyError, ValueError
        If there are no barcodes or types, or no clone was measured at both times.
    """
    course = _course(adata, early, late, vote.leave_out, clones)
    ends = {}
    for name, fits in models.items():
        fits = [fits] if isinstance(fits, FittedSDE) else fits
        simulated = [
            _end_states(fit, adata, course, (early, late), vote.draws, seed) for fit in fits
        ]
        ends[name] = tuple(np.concatenate(parts, axis=1) for parts in zip(*simulated, strict=True))
    x = np.asarray(adata.obsm[KEY], dtype=np.float64)
    plan = _plan(x, populations(adata), course.early, course.late)
    rows: dict[str, list[np.ndarray]] = {}
    for clone in course.clones:
        for name, fates in _fates_of(clone, x, course, ends, plan, vote.k).items():
            rows.setdefault(name, []).append(fates)
    found = {}
    for name, fates in rows.items():
        index = pd.MultiIndex.from_tuples(course.index, names=["clone", "early_type"])
        found[name] = pd.DataFrame(np.stack(fates), index=index, columns=course.types)
    return found


def _course(
    adata: "AnnData", early: float, late: float, leave_out: Sequence[str], key: str
) -> _Course:
    barcode = _barcodes(adata, key)
    labels = adata.obs["cell_type"].astype(str).to_numpy()
    time = adata.obs["time"].to_numpy(float)
    early_rows = np.flatnonzero(time == early)
    voters = np.flatnonzero((time == late) & ~np.isin(labels, list(leave_out)))
    at_both = (barcode[early_rows].sum(0) > 0) & (barcode[voters].sum(0) > 0)
    if not at_both.any():
        times = f"at time {early:g} and, with a fate, at {late:g}"
        raise ValueError(f'obsm["{key}"]: no clone was measured {times}')
    types = sorted(set(labels[voters]))
    clones = np.flatnonzero(at_both)
    index = []
    for clone in clones:
        members = early_rows[barcode[early_rows, clone]]
        index.append((clone, pd.Series(labels[members]).mode()[0]))
    return _Course(
        early=early_rows,
        late=np.flatnonzero(time == late),
        voters=voters,
        types=types,
        voter_type=(labels[voters][:, None] == np.array(types)).astype(float),
        barcode=barcode,
        clones=clones,
        index=index,
    )


def _barcodes(adata: "AnnData", key: str) -> np.ndarray:  # (cells, clones) bool
    if key not in adata.obsm:
        where = f'adata.obsm["{key}"] is missing'
        raise KeyError(f"{where}, expected barcodes (cells, clones); found {list(adata.obsm)}")
    if "cell_type" not in adata.obs:
        raise KeyError(f'adata.obs["cell_type"] is missing; found {list(adata.obs.columns)}')
    found = adata.obsm[key]
    if hasattr(found, "toarray"):  # sparse
        found = found.toarray()
    return np.asarray(found) > 0


def _plan(
    x: np.ndarray, population: np.ndarray, early: np.ndarray, late: np.ndarray
) -> np.ndarray:  # (early, late)
    """Exact transport between two snapshots, each population for itself."""
    plan = np.zeros((len(early), len(late)))
    for name in set(population[early]) & set(population[late]):
        a = np.flatnonzero(population[early] == name)
        b = np.flatnonzero(population[late] == name)
        part = exact_plan(torch.as_tensor(x[early[a]]), torch.as_tensor(x[late[b]]))
        plan[np.ix_(a, b)] = part.numpy()
    return plan


def _end_states(
    model: FittedSDE,
    adata: "AnnData",
    course: _Course,
    times: tuple[float, float],
    draws: int,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:  # (early, draws, dim), (early, draws)
    """Simulate every cell of the early snapshot, each in the context of its population.

    Where the model grows a cell comes to stand for its descendants: a weight each, else 1.
    """
    early, late = times
    names = adata.obs_names[course.early]
    states: list[list[np.ndarray]] = [[] for _ in names]
    weights: list[list[float]] = [[] for _ in names]
    for population in sorted(set(populations(adata)[course.early])):
        before = [t for t in model.starts.times(population) if t < late]
        if early not in (before[0], before[-1]):
            starts = f"{before[0]:g} or {before[-1]:g}"
            raise ValueError(f"early: simulations to {late:g} start from {starts}")
        size = len(model.starts.cells[population, early])
        cells = model.sample(
            [late],
            n=draws * size,
            start="previous" if early == before[-1] else "t0",
            populations=[population],
            seed=seed,
            max_context=size,
        )
        origin = names.get_indexer(cells.obs["start_cell"])
        weight = np.asarray(cells.obs.get("weight", np.ones(cells.n_obs)), dtype=float)
        for i, state, descendants in zip(origin, cells.obsm[KEY], weight, strict=True):
            states[i].append(state)
            weights[i].append(descendants)
    return np.array(states), np.array(weights)


def _fates_of(
    clone: int,
    x: np.ndarray,
    course: _Course,
    ends: dict[str, tuple[np.ndarray, np.ndarray]],
    plan: np.ndarray,
    k: int,
) -> dict[str, np.ndarray]:  # (types,) each
    """Fates of one clone, observed and by every prediction."""
    members = np.flatnonzero(course.barcode[course.early, clone])
    is_sister = course.barcode[course.voters, clone]
    voters = x[course.voters][~is_sister]
    votes = course.voter_type[~is_sister]
    frequency = votes.mean(0)
    found = {"observed": course.voter_type[is_sister].mean(0)}
    for name, (states, weight) in ends.items():
        reached = states[members].reshape(-1, x.shape[1])
        each = _mean_vote(reached, voters, votes, k)
        found[name] = np.average(each, axis=0, weights=weight[members].ravel())
    found["own_state"] = _mean_vote(x[course.early[members]], voters, votes, k).mean(0)
    # Where transport carries the mass of the early cells, sisters left out.
    mass = plan[members].sum(0) * (course.barcode[course.late, clone] == 0)  # (late,)
    found["transport"] = frequency / frequency.sum()
    if (mass > 0).any():
        targets = x[course.late[mass > 0]]
        carried = mass[mass > 0] @ _mean_vote(targets, voters, votes, k)
        found["transport"] = carried / carried.sum()
    found["frequency"] = frequency
    return found


def _mean_vote(
    x: np.ndarray, voters: np.ndarray, votes: np.ndarray, k: int
) -> np.ndarray:  # (states, types)
    """Mean vote (voters, types) of the ``k`` voters nearest to each state."""
    nearest = np.argsort(distances(x, voters), axis=1)[:, :k]
    return votes[nearest].mean(1)


# --------------------------------------------------------------------------------------- the scores


def fate_scores(
    fates: dict[str, pd.DataFrame],
    *,
    early_type: str | None = None,
    permutations: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Score every prediction of :func:`clonal_fates` against the sisters, beside chance.

    Parameters
    ----------
    fates
        From :func:`clonal_fates`.
    early_type
        Only clones of this type, if given.
    permutations, seed
        Of the sisters of all clones, exchanged.

    Returns
    -------
    DataFrame
        One row per method: ``agreement, lo, hi`` (mean over clones and 95 % t interval),
        ``permuted, p`` (the sisters of all clones exchanged), one-sided and a little strict, for a
        clone's own sisters do not vote but those of others do; ``cross_entropy`` (nats; as if one
        late cell in ten more had voted by frequency, so that it is finite), ``n_clones``.
    """
    fates = {name: _of_type(table, early_type) for name, table in fates.items()}
    observed = fates["observed"].to_numpy()
    n = len(observed)
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(n) for _ in range(permutations)]
    rows = {}
    for name, table in fates.items():
        if name == "observed":
            continue
        p = table.to_numpy()
        agreement = (p * observed).sum(1)
        row = _agreement(agreement)
        null = np.array([(p * observed[order]).sum(1).mean() for order in orders])
        row["permuted"] = null.mean()
        row["p"] = (1 + (null >= agreement.mean() - 1e-12).sum()) / (1 + permutations)
        smoothed = (10 * p + fates["frequency"].to_numpy()) / 11
        row["cross_entropy"] = -(observed * np.log(smoothed.clip(1e-12))).sum(1).mean()
        row["n_clones"] = n
        rows[name] = row
    return pd.DataFrame(rows).T.rename_axis("method").astype({"n_clones": int})


def fate_difference(
    fates: dict[str, pd.DataFrame], first: str, second: str, *, early_type: str | None = None
) -> dict[str, float]:
    """Agreement of one prediction minus that of another, clone by clone.

    Returns ``{agreement, lo, hi, n_clones}``.
    """
    observed = _of_type(fates["observed"], early_type).to_numpy()
    p = _of_type(fates[first], early_type).to_numpy()
    q = _of_type(fates[second], early_type).to_numpy()
    return {**_agreement(((p - q) * observed).sum(1)), "n_clones": len(observed)}


def _agreement(values: np.ndarray) -> dict[str, float]:
    found = interval(values)
    lo = found.get("lo", np.nan)
    hi = found.get("hi", np.nan)
    return {"agreement": found["mean"], "lo": lo, "hi": hi}


def _of_type(table: pd.DataFrame, early_type: str | None) -> pd.DataFrame:
    if early_type is None:
        return table
    known = table.index.get_level_values("early_type")
    if early_type not in known:
        raise ValueError(f"early_type: no clone of {early_type!r}, there are {sorted(set(known))}")
    return table[known == early_type]
