r"""Scores against a known truth: drift split, kernel, and how often the verdict is right.

The split of the drift has a gauge: what every population does to a cell in the same way can stand in the own as well
as in the heard part, and no snapshot tells the two apart. A *gauge-free* error therefore compares only what differs
between populations: from the heard drift of each receiver type and time the mean over populations is subtracted, in
the truth as in the model.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from scimf import simulate, verdict
from scimf.fitted import FittedSDE
from scimf.interpret import influence
from scimf.preprocess import fit_space, hold_out
from scimf.sde import roll_out
from scimf.snapshots import KEY, contexts, pad, populations
from scimf.train import code_hash, fit
from scimf.transport import energy_distance

if TYPE_CHECKING:
    from anndata import AnnData

    from scimf.preprocess import Split
    from scimf.sde import SDEConfig


def simulated(system: str, seeds: Iterable[int], **options) -> list["AnnData"]:
    """Simulate a system once a seed, side by side; seeds and options as for ``scimf.simulate``."""
    from joblib import Parallel, delayed

    seeds = list(seeds)
    run = Parallel(n_jobs=min(len(seeds), 8, os.cpu_count() or 1))
    return run(delayed(simulate.SYSTEMS[system])(seed=s, **options) for s in seeds)


def drift_errors(
    model: "FittedSDE | Sequence[FittedSDE] | AnnData", adata: "AnnData", *, min_cells: int = 5
) -> pd.Series:
    r"""Return relative errors of the learned drift, :math:`\lVert \hat f - f \rVert / \lVert f \rVert`.

    Parameters
    ----------
    model
        A fit; several, whose mean drift is scored (an ensemble of training seeds); or a second experiment of the same
        system: how far the true means of other cells are off (the oracle).
    adata
        Simulated data whose model coordinates are the simulator's, with ``obsm["drift_own"]`` and
        ``obsm["drift_heard"]``.
    min_cells
        Types with fewer cells in a snapshot do not enter the type means.

    Returns
    -------
    Series
        ``own``, ``heard``, ``total`` cell by cell; ``own_type_mean``, ``heard_type_mean`` of the means over the cells
        of a type in a snapshot; ``heard_gauge_free`` of those means less their mean over populations;
        ``heard_strength``, the share of the true type means that is missing, 1 less the slope of learned on true
        (below 0: too strong). NaN where the truth is zero. A second experiment has other cells, so it gets the type
        means only.
    """
    true, found = _parts(adata), {}
    if not hasattr(model, "obsm"):
        fits = model if isinstance(model, Sequence) else [model]
        here, learned = adata, dict(zip(true, np.mean([fit.drift(adata) for fit in fits], axis=0), strict=True))
        found = {part: _relative(learned[part], true[part]) for part in true}
        found["total"] = _relative(learned["own"] + learned["heard"], true["own"] + true["heard"])
    else:
        here, learned = model, _parts(model)
    means = {}
    for part in true:
        pair = _type_means(here, learned[part], min_cells), _type_means(adata, true[part], min_cells)
        both = pair[0].index.intersection(pair[1].index)
        means[part] = [table.loc[both] for table in pair]
        found[f"{part}_type_mean"] = _relative(*means[part])
    free = [table - table.groupby(["time", "cell_type"]).transform("mean") for table in means["heard"]]
    found["heard_gauge_free"] = _relative(*free)
    learned, true = (table.to_numpy() for table in means["heard"])
    size = float((true**2).sum())
    found["heard_strength"] = 1 - float((learned * true).sum()) / size if size > 0 else float("nan")
    return pd.Series(found)


def _parts(adata: "AnnData") -> dict[str, np.ndarray]:
    return {part: np.asarray(adata.obsm[f"drift_{part}"]) for part in ("own", "heard")}


def _relative(learned: np.ndarray, true: np.ndarray) -> float:
    size = np.linalg.norm(true)
    return float(np.linalg.norm(np.asarray(learned) - np.asarray(true)) / size) if size > 0 else float("nan")


def _type_means(adata: "AnnData", drift: np.ndarray, min_cells: int) -> pd.DataFrame:
    kinds = adata.obs["cell_type"].astype(str).to_numpy() if "cell_type" in adata.obs else np.full(adata.n_obs, "all")
    groups = pd.DataFrame(drift).groupby([populations(adata), adata.obs["time"].to_numpy(float), kinds])
    return groups.mean()[groups.size() >= min_cells].rename_axis(["population", "time", "cell_type"])


@torch.no_grad()
def heard_here(model: FittedSDE, adata: "AnnData") -> np.ndarray:  # (cells, dim)
    """Heard drift of every cell, less the mean of what it would hear in each population at the same time: no gauge.

    Data coordinates per unit of real time. A function of the cell alone cancels, as does all that is everywhere alike.
    """
    found, time = np.zeros(np.shape(adata.obsm[KEY])), adata.obs["time"].to_numpy(float)
    groups = contexts(adata)
    for t in np.unique(time):
        now = [(rows, density) for rows, density in groups if time[rows[0]] == t]
        x, mask = pad([model.units.enter(np.asarray(adata.obsm[KEY])[rows]).to(model.device) for rows, _ in now])
        density = torch.tensor([density for _, density in now], device=model.device, dtype=x.dtype)
        here, order = model.sde.heard(x, mask, density), torch.arange(len(now), device=model.device)
        others = [model.sde.heard(x, mask, density, hears=order.roll(k)) for k in range(1, len(now))]
        less = (here - torch.stack([here, *others]).mean(0)).cpu().numpy() * model.units.scale * model.clock.rate(t)
        for g, (rows, _) in enumerate(now):
            found[rows] = less[g, : len(rows)]
    return found


def less_elsewhere(adata: "AnnData", message: np.ndarray) -> np.ndarray:  # (cells, dim)
    """Return a true message, mean over a population, less its mean over all populations of the time.

    The truth for :func:`heard_here` where the message is one function of the cell plus one of the population.
    """
    time = adata.obs["time"].to_numpy(float)
    by = pd.DataFrame(message).groupby([time, populations(adata)])
    return by.transform("mean").to_numpy() - by.mean().groupby(level=0).mean().loc[time].to_numpy()


def composition_distance(
    prediction: "FittedSDE | AnnData", adata: "AnnData", split: "Split", *, seed: int = 0, shuffled: bool = False
) -> float:
    """Mean unbiased energy distance to the held-out populations at all later times, each from its first snapshot.

    ``prediction`` may be cells instead of a model: a second experiment with the same populations is the oracle. If
    ``shuffled``, every population of the model hears another held-out one instead of itself: the null of context.
    """
    values = []
    for t in split.times[1:]:
        if isinstance(prediction, FittedSDE):
            start = {"start": "t0", "populations": split.held_populations, "seed": seed}
            cells = _out_of_context(prediction, split, t, seed) if shuffled else prediction.sample([t], **start)
        else:
            cells = prediction[(prediction.obs["time"] == t).to_numpy()]
        seen = adata[(adata.obs["time"] == t).to_numpy()]
        for p in split.held_populations:
            x, y = (np.asarray(part.obsm[KEY])[populations(part) == p] for part in (cells, seen))
            values.append(energy_distance(x, y))
    return float(np.mean(values))


@torch.no_grad()
def _out_of_context(model: FittedSDE, split: "Split", time: float, seed: int) -> "AnnData":
    """Simulate held-out populations from their first snapshots while each hears the next one."""
    names, first = sorted(split.held_populations), split.times[0]
    x, mask = pad([model.units.enter(model.starts.cells[p, first]).to(model.device) for p in names])
    density = torch.tensor([model.starts.density[p] for p in names], device=model.device, dtype=x.dtype)
    begin = torch.full((len(names),), model.clock(first), device=model.device)
    crowd = {"mask": mask, "density": density, "begin": begin, "hears": torch.arange(len(names)).roll(-1).to(x.device)}
    noise = torch.Generator(model.device).manual_seed(seed)
    gaps = torch.full((1, len(names)), model.clock(time) - model.clock(first), device=model.device)
    states, _ = roll_out(model.sde, x, gaps, dt=model.config.dt, **crowd, generator=noise)
    cells = [model.units.leave(states[-1, g, mask[g]]) for g in range(len(names))]
    return model.package(
        np.concatenate(cells), [(time, p, first, "") for p, c in zip(names, cells, strict=True) for _ in c]
    )


@torch.no_grad()
def pair_forces(
    model: FittedSDE, adata: "AnnData", *, n_pairs: int = 20_000, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:  # (pairs,), (pairs,)
    """Distance of random pairs of cells, and the learned force along the line between them; above 0 it pushes apart.

    For forms with exact contributions (additive, occupancy): what the receiver gets from the sender, times the number
    of senders over the density, so that it compares with the kernel of :func:`scimf.simulate.morse`. Data coordinates
    per unit of real time.
    """
    rng, distance, force = np.random.default_rng(seed), [], []
    groups, time = contexts(adata), adata.obs["time"].to_numpy(float)
    for rows, density in groups:
        x = model.units.enter(np.asarray(adata.obsm[KEY])[rows])[None].to(model.device)
        dense = torch.tensor([density], device=model.device, dtype=x.dtype)
        pairs = model.sde.interaction[0].contributions(x, dense)[0].cpu().numpy()
        pairs = pairs * model.units.scale * model.clock.rate(time[rows[0]]) * (len(rows) - 1) / density
        i, j = rng.integers(len(rows), size=(2, max(1, n_pairs // len(groups))))
        i, j = i[i != j], j[i != j]
        apart = np.asarray(adata.obsm[KEY])[rows][i] - np.asarray(adata.obsm[KEY])[rows][j]
        r = np.linalg.norm(apart, axis=1)
        distance.append(r)
        force.append((pairs[i, j] * apart).sum(1) / r.clip(1e-12))
    return np.concatenate(distance), np.concatenate(force)


def halves(adata: "AnnData", *, config: "SDEConfig", seed: int = 0, cache: Path | str) -> list[pd.DataFrame]:
    """Influence matrices of two fits that share no population, for :func:`scimf.interpret.reciprocity`."""
    from joblib import Parallel, delayed

    names = np.unique(populations(adata))
    parts = [adata[np.isin(populations(adata), names[k::2])].copy() for k in (0, 1)]
    return Parallel(n_jobs=min(2, os.cpu_count() or 1))(delayed(_influences)(p, config, seed, cache) for p in parts)


def _influences(adata: "AnnData", config: "SDEConfig", seed: int, cache: Path) -> pd.DataFrame:
    torch.set_num_threads(1)
    split = hold_out(adata)
    fit_space(adata, split)
    model = fit(adata, split, config=config, seed=seed, cache=cache, device="cpu", progress=False)
    return influence(model, adata)


# -------------------------------------------------------------------------------------------- the verdict


def verdict_on(
    system: str, *, cache: Path | str, seed: int = 0, steps: int = verdict.SETTINGS.steps, **options
) -> dict:
    """Ask :func:`scimf.verdict.do_cells_interact` of a simulated data set; answers are kept in ``cache``.

    Parameters
    ----------
    system, seed, options
        As for ``scimf.simulate``: ``SYSTEMS[system](seed=seed, **options)``.
    steps
        Optimiser steps of every fit.

    Returns
    -------
    dict
        ``system, seed, answer, reason``; ``p_times, p_compositions, gain_times, gain_compositions, n_refits`` where
        they exist; and the options.
    """
    request = {"system": system, "seed": seed, "steps": steps} | options
    path = Path(cache) / f"{_key(request)}.json"
    if path.exists():
        return json.loads(path.read_text(encoding="utf-8"))
    adata = simulate.SYSTEMS[system](seed=seed, **options)
    config = replace(verdict.SETTINGS, steps=steps)
    found = verdict.do_cells_interact(adata, config=config, seed=seed, workers=1)
    result = request | {"answer": found.answer, "reason": found.reason}
    for question, row in found.table.iterrows():
        result |= {f"p_{question}": float(row.p), f"gain_{question}": float(row.gain), "n_refits": int(row.n_refits)}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    partial.write_text(json.dumps(result), encoding="utf-8")
    os.replace(partial, path)
    return result


def _key(request: dict) -> str:
    """Hash of what was asked and of the code that answers."""
    code = code_hash("fitted", "preprocess", "particles", "simulate", "verdict")
    return hashlib.sha256(f"{json.dumps(request, sort_keys=True)}\n{code}".encode()).hexdigest()[:24]


def verdicts(
    requests: Sequence[dict], *, cache: Path | str, workers: int | None = None, progress: bool = True
) -> pd.DataFrame:
    """Answer many requests (keywords of :func:`verdict_on`) side by side; a DataFrame in their order."""
    from joblib import Parallel, delayed
    from tqdm.auto import tqdm

    workers = workers or min(8, os.cpu_count() or 1)
    run = Parallel(n_jobs=min(workers, len(requests)), return_as="generator")
    answers = run(delayed(_verdict_quietly)(request, cache) for request in requests)
    hidden = not progress or bool(os.environ.get("SCIMF_UNATTENDED"))
    return pd.DataFrame(list(tqdm(answers, total=len(requests), disable=hidden, desc="verdicts")))


def _verdict_quietly(request: dict, cache: Path) -> dict:
    torch.set_num_threads(1)
    return verdict_on(**request, cache=cache)


def proportion(hits: int, n: int, *, level: float = 0.95) -> dict[str, float]:
    """Share with its exact two-sided interval (Clopper & Pearson 1934): ``mean, lo, hi, n``."""
    from scipy.stats import beta

    tail = (1 - level) / 2
    lo = beta.ppf(tail, hits, n - hits + 1) if hits else 0.0
    hi = beta.ppf(1 - tail, hits + 1, n - hits) if hits < n else 1.0
    return {"mean": hits / n, "lo": float(lo), "hi": float(hi), "n": n}
