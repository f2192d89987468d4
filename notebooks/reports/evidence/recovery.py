r"""Scores against a known truth: the split of the drift, unseen compositions, forces between cells.

The split of the drift has a gauge: what every population does to a cell in the same way can stand
in the intrinsic as well as in the interaction drift, and no snapshot tells the two apart. A
*gauge-free* error therefore compares only what differs between populations: from the interaction
drift of each receiver type and time the mean over populations is subtracted, in the truth as in the
model.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from scimf.core.parallel import side_by_side
from scimf.dynamics.fitted import FittedSDE
from scimf.dynamics.integrate import Groups, roll_out
from scimf.dynamics.snapshots import KEY, contexts, pad, populations
from scimf.evaluation.distances import energy_distance
from scimf.simulate.systems import SYSTEMS

if TYPE_CHECKING:
    from anndata import AnnData
    from scimf.data.split import Split

#: Parts of the drift: where the truth stands, and what they are called in records.
RECORDED_AS = {"drift_intrinsic": "own", "drift_interaction": "heard"}


def simulated(system: str, seeds: Iterable[int], **options) -> list["AnnData"]:
    """Simulate a system once a seed, side by side; options as for :mod:`scimf.simulate.systems`."""
    return side_by_side(_simulate, [(system, seed, options) for seed in seeds])


def _simulate(system: str, seed: int, options: dict) -> "AnnData":
    return SYSTEMS[system](seed=seed, **options)


# --------------------------------------------------------------------------- the split of the drift


def drift_errors(fits: Sequence[FittedSDE], adata: "AnnData", *, min_cells: int = 5) -> pd.Series:
    r"""Relative errors of a learned drift, :math:`\lVert \hat f - f \rVert / \lVert f \rVert`.

    Parameters
    ----------
    fits
        One fit, or several, whose mean drift is scored (an ensemble of training seeds).
    adata
        Simulated data whose model coordinates are the simulator's, with ``obsm["drift_intrinsic"]``
        and ``obsm["drift_interaction"]``.
    min_cells
        Types with fewer cells in a snapshot do not enter the type means.

    Returns
    -------
    Series
        ``own`` (intrinsic), ``heard`` (interaction), ``total`` cell by cell; ``own_type_mean``,
        ``heard_type_mean`` of the means over the cells of a type in a snapshot;
        ``heard_gauge_free`` of those means less their mean over populations; ``heard_strength``,
        the share of the true type means that is missing, 1 less the slope of learned on true (below
        0: too strong). NaN where the truth is zero.
    """
    intrinsic, interaction = np.mean([fit.drift(adata) for fit in fits], axis=0)
    learned = {"own": intrinsic, "heard": interaction}
    true = _true_drift(adata)
    errors = {part: _relative(learned[part], true[part]) for part in true}
    errors["total"] = _relative(intrinsic + interaction, true["own"] + true["heard"])
    means = _type_means(adata, learned, min_cells)
    return pd.Series(errors | _errors_of_means(means, _type_means(adata, true, min_cells)))


def drift_errors_of_replicate(
    replicate: "AnnData", adata: "AnnData", *, min_cells: int = 5
) -> pd.Series:
    """How far the true type means of a second experiment of the same system are off: the oracle.

    It has other cells, so there are errors of type means only; they are those of
    :func:`drift_errors`.
    """
    means = _type_means(replicate, _true_drift(replicate), min_cells)
    return pd.Series(_errors_of_means(means, _type_means(adata, _true_drift(adata), min_cells)))


def _true_drift(adata: "AnnData") -> dict[str, np.ndarray]:
    return {part: np.asarray(adata.obsm[key]) for key, part in RECORDED_AS.items()}


def _type_means(
    adata: "AnnData", drift: dict[str, np.ndarray], min_cells: int
) -> dict[str, pd.DataFrame]:
    """Mean of each part over the cells of a type in a snapshot."""
    types = np.full(adata.n_obs, "all")
    if "cell_type" in adata.obs:
        types = adata.obs["cell_type"].astype(str).to_numpy()
    keys = [populations(adata), adata.obs["time"].to_numpy(float), types]
    found = {}
    for part, values in drift.items():
        groups = pd.DataFrame(values).groupby(keys)
        means = groups.mean()[groups.size() >= min_cells]
        found[part] = means.rename_axis(["population", "time", "cell_type"])
    return found


def _errors_of_means(
    learned: dict[str, pd.DataFrame], true: dict[str, pd.DataFrame]
) -> dict[str, float]:
    errors = {}
    in_both = {}
    for part in true:
        both = learned[part].index.intersection(true[part].index)
        in_both[part] = (learned[part].loc[both], true[part].loc[both])
        errors[f"{part}_type_mean"] = _relative(*in_both[part])
    message, true_message = in_both["heard"]
    errors["heard_gauge_free"] = _relative(
        _less_mean_population(message), _less_mean_population(true_message)
    )
    size = float((true_message.to_numpy() ** 2).sum())
    errors["heard_strength"] = float("nan")
    if size > 0:
        slope = float((message.to_numpy() * true_message.to_numpy()).sum()) / size
        errors["heard_strength"] = 1 - slope
    return errors


def _less_mean_population(means: pd.DataFrame) -> pd.DataFrame:
    return means - means.groupby(["time", "cell_type"]).transform("mean")


def _relative(learned: np.ndarray, true: np.ndarray) -> float:
    size = np.linalg.norm(true)
    if not size > 0:
        return float("nan")
    return float(np.linalg.norm(np.asarray(learned) - np.asarray(true)) / size)


@torch.no_grad()
def gauge_free_interaction(model: FittedSDE, adata: "AnnData") -> np.ndarray:  # (cells, dim)
    """Interaction drift of every cell, less its mean over the populations of the time: no gauge.

    What a cell receives in its own population, less the mean of what it would receive in each
    population at the same time. A function of the cell alone cancels, as does all that is
    everywhere alike. Data coordinates per unit of real time.
    """
    coordinates = np.asarray(adata.obsm[KEY])
    time = adata.obs["time"].to_numpy(float)
    found = np.zeros(coordinates.shape)
    for t in np.unique(time):
        groups = [(rows, density) for rows, density in contexts(adata) if time[rows[0]] == t]
        clouds = []
        for rows, _ in groups:
            clouds.append(model.standardiser.transform(coordinates[rows]).to(model.device))
        x, mask = pad(clouds)
        densities = [density for _, density in groups]
        density = torch.tensor(densities, device=model.device, dtype=x.dtype)
        order = torch.arange(len(groups), device=model.device)
        received = [model.sde.interaction_drift(x, mask, density)]  # each in its own population
        for k in range(1, len(groups)):
            context = order.roll(k)
            received.append(model.sde.interaction_drift(x, mask, density, context=context))
        less = (received[0] - torch.stack(received).mean(0)).cpu().numpy()
        less = less * model.standardiser.scale * model.time_scale.rate(t)
        for g, (rows, _) in enumerate(groups):
            found[rows] = less[g, : len(rows)]
    return found


def gauge_free_truth(adata: "AnnData", message: np.ndarray) -> np.ndarray:  # (cells, dim)
    """Return a true message, mean over a population, less its mean over all of the time.

    The truth for :func:`gauge_free_interaction` where the message (cells, dim) is one function of
    the cell plus one of the population.
    """
    time = adata.obs["time"].to_numpy(float)
    by_population = pd.DataFrame(message).groupby([time, populations(adata)])
    mean = by_population.mean().groupby(level=0).mean()
    return by_population.transform("mean").to_numpy() - mean.loc[time].to_numpy()


# ------------------------------------------------------------------------------ unseen compositions


def composition_distance(
    model: FittedSDE,
    adata: "AnnData",
    split: "Split",
    *,
    seed: int = 0,
    shuffled: bool = False,
) -> float:
    """Mean unbiased energy distance to the held-out populations at all later times.

    Each is simulated from its first snapshot. If ``shuffled``, every population receives from
    another held-out one instead of itself: the null of context.
    """
    values = []
    for time in split.times[1:]:
        if shuffled:
            cells = _out_of_context(model, split, time, seed)
        else:
            cells = model.sample([time], start="t0", populations=split.held_populations, seed=seed)
        values += _distances(cells, adata, split, time)
    return float(np.mean(values))


def composition_distance_of_replicate(
    replicate: "AnnData", adata: "AnnData", split: "Split"
) -> float:
    """Distance of a second experiment with the same populations: the oracle.

    It is measured as in :func:`composition_distance`.
    """
    values = []
    for time in split.times[1:]:
        cells = replicate[(replicate.obs["time"] == time).to_numpy()]
        values += _distances(cells, adata, split, time)
    return float(np.mean(values))


def _distances(cells: "AnnData", adata: "AnnData", split: "Split", time: float) -> list[float]:
    """Energy distance between predicted and observed cells of every held-out population."""
    observed = adata[(adata.obs["time"] == time).to_numpy()]
    values = []
    for p in split.held_populations:
        x = np.asarray(cells.obsm[KEY])[populations(cells) == p]
        y = np.asarray(observed.obsm[KEY])[populations(observed) == p]
        values.append(energy_distance(x, y))
    return values


@torch.no_grad()
def _out_of_context(model: FittedSDE, split: "Split", time: float, seed: int) -> "AnnData":
    """Simulate held-out populations from their first snapshots, each in the context of the next."""
    names = sorted(split.held_populations)
    first = split.times[0]
    clouds = []
    for p in names:
        cloud = model.standardiser.transform(model.starts.cells[p, first])
        clouds.append(cloud.to(model.device))
    x, mask = pad(clouds)
    options = {"device": model.device}
    densities = [model.starts.density[p] for p in names]
    begin = model.time_scale(first)
    groups = Groups(
        mask=mask,
        density=torch.tensor(densities, dtype=x.dtype, **options),
        context=torch.arange(len(names)).roll(-1).to(model.device),
        start_time=torch.full((len(names),), begin, **options),
    )
    gaps = torch.full((1, len(names)), model.time_scale(time) - begin, **options)
    noise = torch.Generator(model.device).manual_seed(seed)
    states, *_ = roll_out(model.sde, x, gaps, dt=model.config.dt, groups=groups, generator=noise)
    cells = []
    labels = []
    for g, p in enumerate(names):
        cells.append(model.standardiser.inverse(states[-1, g, mask[g]]))
        labels += [(time, p, first, "")] * len(cells[-1])
    return model.package(np.concatenate(cells), labels)


# ----------------------------------------------------------------------------- forces between cells


@torch.no_grad()
def pair_forces(
    model: FittedSDE, adata: "AnnData", *, n_pairs: int = 20_000, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:  # (pairs,), (pairs,)
    """Distance of random pairs of cells, and the learned force along the line between them.

    Above 0 it pushes apart. For forms with exact contributions (additive, occupancy): what the
    receiver gets from the sender, times the number of senders over the density, so that it compares
    with the kernel of :func:`evidence.morse.morse`. Data coordinates per unit of real time.
    """
    rng = np.random.default_rng(seed)
    coordinates = np.asarray(adata.obsm[KEY])
    time = adata.obs["time"].to_numpy(float)
    groups = contexts(adata)
    distances = []
    forces = []
    for rows, density in groups:
        cells = coordinates[rows]
        x = model.standardiser.transform(cells)[None].to(model.device)
        dense = torch.tensor([density], device=model.device, dtype=x.dtype)
        pairs = model.sde.interaction[0].contributions(x, dense)[0].cpu().numpy()
        rate = model.standardiser.scale * model.time_scale.rate(time[rows[0]])
        receiver, sender = rng.integers(len(rows), size=(2, max(1, n_pairs // len(groups))))
        differ = receiver != sender
        receiver = receiver[differ]
        sender = sender[differ]
        apart = cells[receiver] - cells[sender]
        distance = np.linalg.norm(apart, axis=1)
        message = pairs[receiver, sender] * rate * (len(rows) - 1) / density
        distances.append(distance)
        forces.append((message * apart).sum(1) / distance.clip(1e-12))
    return np.concatenate(distances), np.concatenate(forces)
