r"""Do cells interact here? Yes, no, or: that cannot be told from these data.

A model with an interaction term has more to say than one without, so that it fits better proves nothing. Two fits of
equal size are compared, one that hears its population and one that does not. With :math:`D_p` the energy distance
between predicted and held-out cells of population :math:`p`, the gain is

.. math:: T = \frac1P \sum_p \log \frac{D_p^\text{unheard}}{D_p^\text{heard}},

once at a held-out **time** and once for held-out **compositions** (whole populations, at training times). How large a
gain arises by itself is asked of a parametric bootstrap: data of the same design are simulated from a fit that does not
hear, whose own drift may change at every training time (so that a medium or an age is not taken for hearing), and
everything is fitted again. The first refit :math:`\ell` whose gain reaches :math:`T` ends the question
with :math:`p = 1/\ell`; if none of :math:`K` does, :math:`p = 1/(K+1)` (Besag & Clifford 1991,
doi 10.1093/biomet/78.2.301). "Yes" needs both. Designs that cannot answer are refused before any fit: few populations,
replicates of one composition, cells that divide or die. Notebook 07 calibrates the test where the truth is known.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from scipy import sparse
from scipy.spatial.distance import cdist

from scimf.fitted import FittedSDE
from scimf.preprocess import Split, fit_space, hold_out
from scimf.sde import SDEConfig, roll_out, widened_twin
from scimf.snapshots import KEY, Clock, Snapshots, pad, populations
from scimf.train import fit
from scimf.transport import energy_loss, pairwise_distance

if TYPE_CHECKING:
    from anndata import AnnData

LEVEL = 0.05  #: each of the two questions is asked at this level
LEAST_POPULATIONS = 8  #: fewer compositions than this cannot tell own from heard drift
SAME = 1.1  #: densities or cell numbers whose ratio is at most this are taken for equal
QUESTIONS = ("times", "compositions")
#: Small on purpose: some ten to forty fits answer one question.
SETTINGS = SDEConfig(
    rank=4, hidden=(32, 32), hidden_interaction=16, heard_weight=0.03, batch_cells=64, target_cells=64, batch_groups=16,
    steps=150, lr=1e-2, dt=0.5,
)  # fmt: skip
GENERATOR = {
    "hidden": (64, 64),
    "diffusion": "per_dimension",
}  #: the fit that simulates may do more than those compared


@dataclass(frozen=True)
class Verdict:
    """The answer, why, and what it rests on.

    Attributes
    ----------
    answer
        "yes", "no" or "cannot be told".
    reason
        One sentence.
    table
        One row per question: ``heard`` and ``unheard`` (energy distance, mean over populations), ``gain``, ``null``
        (mean gain of the refits), ``p``, ``n_populations``, ``n_refits``. Empty if it cannot be told.
    scores
        Energy distance by ``refit, question, population``: columns ``heard``, ``unheard``. Refit 0 is the data.
    """

    answer: str
    reason: str
    table: pd.DataFrame = field(repr=False)
    scores: pd.DataFrame = field(repr=False)

    def __str__(self) -> str:
        return f"Do cells interact here? {self.answer.capitalize()}. {self.reason}"


def do_cells_interact(
    adata: "AnnData",
    *,
    held_time: float | None = None,
    n_held: int | None = None,
    n_refits: int = 19,
    config: SDEConfig = SETTINGS,
    n_pcs: int | None = None,
    seed: int = 0,
    cache: Path | str | None = None,
    device: str = "auto",
    workers: int | None = None,
) -> Verdict:
    """Test whether cells hear the population they live in; method at the top of this file.

    Parameters
    ----------
    adata
        ``obs``: time, population, and where known density and mass (cell number relative to the start).
    held_time
        Time to hold out; the last one by default.
    n_held
        Populations to hold out; a quarter by default, the last ones by name.
    n_refits
        Largest number of refits to simulated data; 19 give a smallest p-value of 0.05.
    config
        Settings of the fits that hear; the others get the same number of parameters.
    n_pcs
        Principal components, as for :func:`scimf.fit_space`.
    seed, cache, device, workers
        As for :func:`scimf.fit`; refit ``k`` is simulated and trained with seed ``seed + k``.

    Raises
    ------
    ValueError
        If fewer than 19 refits, or more held-out populations than leave three on either side, are asked for.
    """
    if why := cannot_be_told(adata):
        return Verdict("cannot be told", why, pd.DataFrame(), pd.DataFrame())
    if n_refits < 19:
        raise ValueError(f"n_refits: at least 19 are needed for a p-value of {LEVEL}, got {n_refits}")
    split = _split(adata, held_time, n_held)
    adata = adata.copy()
    fit_space(adata, split, n_pcs=n_pcs) if n_pcs else fit_space(adata, split)
    if why := begin_alike(adata, seed=seed):
        return Verdict("cannot be told", why, pd.DataFrame(), pd.DataFrame())
    slim = adata[:, :0].copy()  # fits need coordinates, not genes
    options = {"cache": cache, "device": device, "progress": False}
    found = _scored(slim, split, config, seed, options)
    deaf = fit(slim, split, config=deaf_config(split, config), seed=seed, **options)
    scores, reached = [found.assign(refit=0)], dict.fromkeys(QUESTIONS)
    for k, part in _refits(deaf, slim, split, config, seed, options, n_refits, workers):
        scores.append(part.assign(refit=k))
        for question in QUESTIONS:
            if reached[question] is None and gain(part)[question] >= gain(found)[question]:
                reached[question] = k
        if None not in reached.values():
            break
    scores = pd.concat(scores, ignore_index=True)
    table = summarise(scores, reached)
    yes = bool((table["p"] <= LEVEL).all())
    said = ", ".join(f"{q}: p = {row.p:.2f}" for q, row in table.iterrows())
    reason = f"Held-out cells are {'' if yes else 'not '}predicted better by what their population says ({said})."
    return Verdict("yes" if yes else "no", reason, table, scores)


def cannot_be_told(adata: "AnnData") -> str:
    """Why the design of these data cannot tell own from heard drift; empty if it can. Coordinates are not looked at."""
    names, time = populations(adata), adata.obs["time"].to_numpy(float)
    times = {p: tuple(np.unique(time[names == p])) for p in np.unique(names)}
    if len(times) < LEAST_POPULATIONS:
        return (
            f"There {'is one population' if len(times) == 1 else f'are {len(times)} populations'}: what a cell hears "
            "always comes together with the time and its own drift, and the two cannot be told apart. At least "
            f"{LEAST_POPULATIONS} populations of different composition are needed."
        )
    if len(set(times.values())) > 1:
        return "Populations were measured at different times, so their gains cannot be compared."
    if len(next(iter(times.values()))) < 3:
        return "There are fewer than three times, so that none can be held out."
    if "mass" in adata.obs:
        mass = adata.obs["mass"].to_numpy(float)
        change = max(mass[names == p].max() / mass[names == p].min() for p in times)
        if change > SAME:
            return (
                f"Cells divide or die (obs['mass'] changes up to {change:.1f}-fold within a population): proportions "
                "then change by what all cells of a population do, which this model cannot tell from hearing."
            )
    return ""


def begin_alike(adata: "AnnData", *, n_shuffles: int = 199, n_cells: int = 2000, seed: int = 0) -> str:
    """Why these populations are replicates of one composition, which says nothing about hearing; empty if they are not.

    Every prediction starts at the first snapshots. If these are draws of the same cells, at the same density, all
    populations hear the same at all times. The energy distance within populations is compared with that after cells
    were shuffled between them, over at most ``n_cells`` cells of ``obsm["X_scimf"]``.
    """
    names, time = populations(adata), adata.obs["time"].to_numpy(float)
    first = np.flatnonzero(time == time.min())
    if "density" in adata.obs:
        density = adata.obs["density"].to_numpy(float)[first]
        if density.max() > SAME * density.min():
            return ""
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.permutation(first)[:n_cells])
    who, sizes = np.unique(names[rows], return_inverse=True, return_counts=True)[1:]
    x = np.asarray(adata.obsm[KEY], dtype=float)[rows]
    distance = cdist(x, x)

    def within(who: np.ndarray) -> float:
        member = sparse.csr_matrix((np.ones(len(who)), (who, np.arange(len(who)))))
        return float((member.multiply((member @ distance)).sum(1).A1 / sizes).sum())

    observed, shuffled = within(who), [within(rng.permutation(who)) for _ in range(n_shuffles)]
    p = (1 + sum(value <= observed for value in shuffled)) / (1 + n_shuffles)
    if p <= LEVEL:
        return ""
    return (
        f"All populations begin alike (p = {p:.2f} for a difference), at one density: they hear the same, which cannot "
        "be told apart from the time and a cell's own drift. Populations of different composition are needed."
    )


def _split(adata: "AnnData", held_time: float | None, n_held: int | None) -> Split:
    times, names = np.unique(adata.obs["time"].to_numpy(float)), np.unique(populations(adata))
    held_time = times[-1] if held_time is None else held_time
    n_held = max(3, len(names) // 4) if n_held is None else n_held
    if not 3 <= n_held <= len(names) - 3:
        raise ValueError(f"n_held: expected 3 to {len(names) - 3} of {len(names)} populations, got {n_held}")
    return hold_out(adata, times=[held_time], populations=names[-n_held:])


def _scored(adata: "AnnData", split: Split, config: SDEConfig, seed: int, options: dict) -> pd.DataFrame:
    """Fit with and without hearing: held-out distances by question and population."""
    heard = fit(adata, split, config=config, seed=seed, **options)
    unheard = fit(adata, split, config=widened_twin(heard.sde.dim, config), seed=seed, **options)
    truth = Snapshots.of(adata, split.held_mask(adata))
    parts = {
        name: held_out_scores(model, split, truth, seed=seed).set_index(["question", "population"])["value"]
        for name, model in (("heard", heard), ("unheard", unheard))
    }
    return pd.DataFrame(parts).reset_index()


def _refits(
    deaf: FittedSDE, adata: "AnnData", split: Split, config: SDEConfig, seed: int, options: dict, n: int, workers
) -> Iterator[tuple[int, pd.DataFrame]]:
    """Yield refits in order, computed ``workers`` at a time and only while somebody asks."""
    from joblib import Parallel, delayed

    workers = workers or min(8, os.cpu_count() or 1)
    options = options | {"cache": None}  # simulated data are fitted once
    for first in range(1, n + 1, workers):
        block = range(first, min(first + workers, n + 1))
        if workers == 1:
            found = [_refit(deaf, adata, split, config, seed + k, options) for k in block]
        else:
            run = Parallel(n_jobs=workers)
            found = run(delayed(_refit)(deaf, adata, split, config, seed + k, options) for k in block)
        yield from zip(block, found, strict=True)


def _refit(deaf, adata, split, config, seed, options) -> pd.DataFrame:
    torch.set_num_threads(1)
    return _scored(simulate_unheard(deaf, adata, seed=seed), split, config, seed, options)


def deaf_config(split: Split, config: SDEConfig) -> SDEConfig:
    """Return the settings of the fit that data without interaction are simulated from."""
    clock = Clock.of(split.times, split.train_times, config.time)
    stages = tuple(clock(t) for t in split.train_times[1:-1])
    return replace(config, interaction="none", stages=stages, **GENERATOR)


def null_fits(
    adata: "AnnData",
    split: Split,
    *,
    config: SDEConfig,
    n: int,
    seed: int = 0,
    cache: Path | str,
    device: str = "auto",
    workers: int | None = None,
) -> list[FittedSDE]:
    """Fit ``config`` to ``n`` data sets in which nobody hears anybody: the null of :func:`scimf.interpret.edges`.

    ``adata`` has ``obsm["X_scimf"]``. Every data set is simulated by a fit to ``adata`` without interaction, whose own
    drift may change at every training time.
    """
    from joblib import Parallel, delayed

    slim = adata[:, :0].copy()
    options = {"cache": cache, "device": device, "progress": False}
    deaf = fit(slim, split, config=deaf_config(split, config), seed=seed, **options)
    run = Parallel(n_jobs=min(n, workers or min(8, os.cpu_count() or 1)))
    return run(delayed(_null_fit)(deaf, slim, split, config, seed + k, options) for k in range(1, n + 1))


def _null_fit(deaf, adata, split, config, seed, options) -> FittedSDE:
    torch.set_num_threads(1)
    return fit(simulate_unheard(deaf, adata, seed=seed), split, config=config, seed=seed, **options)


@torch.no_grad()
def simulate_unheard(model: FittedSDE, adata: "AnnData", *, seed: int) -> "AnnData":
    """Simulate data of the same design in which nobody hears anybody, from the first snapshots by ``model``.

    Every snapshot starts from its own draw, with replacement, of the cells its population began with, so that
    snapshots differ in composition by sampling, as observed ones do. Same cells per snapshot, same ``obs``.
    """
    names, time = populations(adata), adata.obs["time"].to_numpy(float)
    times = np.unique(time)
    rng, noise = np.random.default_rng(seed), torch.Generator(model.device).manual_seed(seed)
    simulated = adata.copy()
    cells = np.array(adata.obsm[KEY], dtype=np.float32)
    known = np.unique(names)
    begun = {p: cells[(names == p) & (time == times[0])] for p in known}
    for t in times:
        rows = [np.flatnonzero((names == p) & (time == t)) for p in known]
        x, mask = pad(
            [
                model.units.enter(begun[p][rng.integers(len(begun[p]), size=len(r))]).to(model.device)
                for p, r in zip(known, rows, strict=True)
            ]
        )
        if t > times[0]:
            grid = [model.clock(s) for s in times[times <= t]]
            gaps = torch.tensor(np.diff(grid)[:, None].repeat(len(known), 1), dtype=x.dtype, device=model.device)
            begin = torch.full((len(known),), grid[0], device=model.device)
            x = roll_out(model.sde, x, gaps, dt=model.config.dt, mask=mask, begin=begin, generator=noise)[0][-1]
        for g, r in enumerate(rows):
            cells[r] = model.units.leave(x[g, : len(r)])
    simulated.obsm[KEY] = cells
    return simulated


@torch.no_grad()
def held_out_scores(model: FittedSDE, split: Split, truth: Snapshots, *, draws: int = 4, seed: int = 0) -> pd.DataFrame:
    """Energy distance to held-out cells by ``question`` and ``population``, mean over later times and noise draws.

    All from the first snapshot: training populations at the held-out time, held-out populations at every training
    time. The distance counts a cell with itself, so it is positive and has a logarithm; its floor is that of two
    samples. ``truth`` holds the held-out cells.
    """
    held = sorted(split.held_populations)
    trained = sorted(set(model.starts.density) - set(held))
    first, later = split.times[0], [t for t in split.train_times if t > split.times[0]]
    rows = []
    for question, names, times in (("times", trained, split.held_times), ("compositions", held, later)):
        x, mask = pad([model.units.enter(model.starts.cells[p, first]).to(model.device) for p in names])
        density = torch.tensor([model.starts.density[p] for p in names], device=model.device, dtype=x.dtype)
        grid = torch.tensor([model.clock(t) for t in (first, *times)], device=model.device)
        gaps = grid.diff()[:, None].expand(-1, len(names))
        crowd = {"mask": mask, "density": density, "begin": grid[:1].expand(len(names))}
        for draw in range(draws):
            noise = torch.Generator(model.device).manual_seed(seed * 1000 + draw)
            states, _ = roll_out(model.sde, x, gaps, dt=model.config.dt, **crowd, generator=noise)
            for k, t in enumerate(times):
                y, mask_y = pad([model.units.enter(truth.cells[p, t]).to(model.device) for p in names])
                values = energy_loss(states[k], y, mask, mask_y) + _self_pairs(states[k], mask) + _self_pairs(y, mask_y)
                values = values.cpu().numpy() * model.units.scale
                rows += [
                    {"question": question, "population": p, "value": v} for p, v in zip(names, values, strict=True)
                ]
    return pd.DataFrame(rows).groupby(["question", "population"], as_index=False)["value"].mean()


def _self_pairs(x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:  # (g,): 1/2 E|X - X'| / n
    within = (pairwise_distance(x, x) * (mask[:, :, None] & mask[:, None, :])).sum((1, 2))
    n = mask.sum(1)
    return within / (2 * n * (n - 1).clamp_min(1)) / n


def gain(scores: pd.DataFrame) -> pd.Series:
    """Mean over populations of the log ratio of the distances without and with hearing, by question."""
    return np.log(scores["unheard"] / scores["heard"]).groupby(scores["question"]).mean()


def summarise(scores: pd.DataFrame, reached: dict[str, int | None]) -> pd.DataFrame:
    """One row per question from the scores of all refits and the first refit that reached the gain of the data."""
    n_refits = int(scores["refit"].max())
    gains = scores.groupby("refit")[["question", "heard", "unheard"]].apply(gain)  # (refits, questions)
    data = scores[scores["refit"] == 0].groupby("question")
    rows = {
        question: {
            "heard": data["heard"].mean()[question],
            "unheard": data["unheard"].mean()[question],
            "gain": gains.loc[0, question],
            "null": gains.drop(0)[question].mean(),
            "p": 1 / (reached[question] or n_refits + 1),
            "n_populations": data.size()[question],
            "n_refits": n_refits,
        }
        for question in QUESTIONS
    }
    return pd.DataFrame(rows).T.astype({"n_populations": int, "n_refits": int}).rename_axis("question")
