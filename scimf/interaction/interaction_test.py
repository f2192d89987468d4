r"""Do cells interact here? Yes, no, or: that cannot be told from these data.

A model with an interaction has more parameters to use than one without, so that it fits better
proves nothing. Two fits of equal size are compared, one in which cells interact and one in which
they are independent. With :math:`D_p` the energy distance between predicted and held-out cells of
population :math:`p`, the gain is

.. math:: T = \frac1P \sum_p \log \frac{D_p^\text{independent}}{D_p^\text{interacting}},

once at a held-out **time** and once for held-out **compositions** (whole populations, at training
times). How large a gain arises by itself is read off a parametric bootstrap: data of the same
design are simulated without interaction (:mod:`scimf.interaction.null_data`), and everything is
fitted again. The first refit :math:`\ell` whose gain reaches :math:`T` ends the question with
:math:`p = 1/\ell`; if none of :math:`K` does, :math:`p = 1/(K+1)` (Besag & Clifford 1991, doi
10.1093/biomet/78.2.301). "Yes" needs both. Designs that cannot answer are refused
(:mod:`scimf.interaction.design_check`). Report `ground_truth` calibrates the test where the truth
is known.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from scimf.core.config import Config
from scimf.core.parallel import default_workers, side_by_side
from scimf.data.space import fit_space
from scimf.data.split import Split, hold_out
from scimf.dynamics.config import SDEConfig
from scimf.dynamics.fit import fit
from scimf.dynamics.fitted import FittedSDE
from scimf.dynamics.integrate import Groups, roll_out
from scimf.dynamics.losses import energy_loss, pairwise_distance
from scimf.dynamics.model import matched_config
from scimf.dynamics.snapshots import KEY, Snapshots, pad, populations
from scimf.interaction.design_check import cannot_be_told
from scimf.interaction.null_data import NullData

if TYPE_CHECKING:
    from anndata import AnnData

LEVEL = 0.05  #: of each of the two questions
LEAST_REFITS = 19  #: that a p-value of 0.05 needs
LEAST_HELD = 3  #: populations on either side of the split
QUESTIONS = ("times", "compositions")
DRAWS = 4  #: of the noise that a prediction is scored over
#: Small on purpose: some ten to forty fits answer one question.
SETTINGS = SDEConfig(
    rank=4,
    hidden=(32, 32),
    hidden_interaction=16,
    interaction_weight=0.03,
    batch_cells=64,
    target_cells=64,
    batch_groups=16,
    steps=150,
    lr=1e-2,
    dt=0.5,
)


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
        One row per question: ``interacting`` and ``independent`` (energy distance, mean over
        populations), ``gain``, ``null`` (mean gain of the refits), ``p``, ``n_populations``,
        ``n_refits``. Empty if it cannot be told.
    scores
        Energy distance by ``refit, question, population``: columns ``interacting``,
        ``independent``. Refit 0 is the data.
    """

    answer: str
    reason: str
    table: pd.DataFrame = field(repr=False, default_factory=pd.DataFrame)
    scores: pd.DataFrame = field(repr=False, default_factory=pd.DataFrame)

    def __str__(self) -> str:
        return f"Do cells interact here? {self.answer.capitalize()}. {self.reason}"


@dataclass(frozen=True, kw_only=True)
class TestDesign(Config):
    """What a test of interaction holds out, and how often data are simulated and fitted again.

    Attributes
    ----------
    held_time
        Time to hold out; the last one by default.
    n_held
        Populations to hold out; a quarter by default, the last ones by name.
    n_refits
        Largest number of refits to simulated data, at least 19: then the smallest p-value is 0.05.
    n_pcs
        Principal components, as for :func:`scimf.fit_space`.
    """

    held_time: float | None = None
    n_held: int | None = None
    n_refits: int = LEAST_REFITS
    n_pcs: int = 50

    def __post_init__(self) -> None:
        if self.n_refits < LEAST_REFITS:
            needed = f"at least {LEAST_REFITS} are needed for a p-value of {LEVEL}"
            raise ValueError(f"n_refits: {needed}, got {self.n_refits}")


def do_cells_interact(
    adata: "AnnData",
    *,
    design: TestDesign | None = None,
    config: SDEConfig = SETTINGS,
    seed: int = 0,
    cache: Path | str | None = None,
    device: str = "auto",
    workers: int | None = None,
) -> Verdict:
    """Test whether cells interact; the method stands at the top of this file.

    Parameters
    ----------
    adata
        ``obs``: time, population, and where known density and mass (cell number over that of the
        start).
    design
        What is held out, and how often data are simulated and fitted again.
    config
        Settings of the interacting fits; the independent ones get the same number of parameters.
    seed, cache, device, workers
        As for :func:`scimf.fit_many`; refit ``k`` is simulated and trained with seed ``seed + k``.

    Raises
    ------
    ValueError
        If more held-out populations than leave three on either side are asked for.
    """
    if why := cannot_be_told(adata):
        return Verdict("cannot be told", why)
    design = design or TestDesign()
    split = _split(adata, design)
    adata = adata.copy()
    fit_space(adata, split, n_pcs=design.n_pcs)
    if why := cannot_be_told(adata, compare_starts=True, seed=seed):
        return Verdict("cannot be told", why)
    slim = adata[:, :0].copy()  # fits need coordinates, not genes
    options = {"seed": seed, "cache": cache, "device": device}
    data = _scored(slim, split, config, **options)
    null = NullData.like(slim, split, config, **options)
    gain = _gain(data)
    reached: dict[str, int | None] = dict.fromkeys(QUESTIONS)
    tables = [data.assign(refit=0)]
    jobs = [(null, seed + k, device) for k in range(1, design.n_refits + 1)]
    for k, refit in enumerate(_refits(jobs, workers or default_workers(device)), start=1):
        tables.append(refit.assign(refit=k))
        for question in QUESTIONS:
            if reached[question] is None and _gain(refit)[question] >= gain[question]:
                reached[question] = k
        if None not in reached.values():
            break
    return _verdict(pd.concat(tables, ignore_index=True), reached)


def _split(adata: "AnnData", design: TestDesign) -> Split:
    times = np.unique(adata.obs["time"].to_numpy(float))
    names = np.unique(populations(adata))
    held_time = times[-1] if design.held_time is None else design.held_time
    n_held = max(LEAST_HELD, len(names) // 4) if design.n_held is None else design.n_held
    most = len(names) - LEAST_HELD
    if not LEAST_HELD <= n_held <= most:
        expected = f"expected {LEAST_HELD} to {most} of {len(names)} populations"
        raise ValueError(f"n_held: {expected}, got {n_held}")
    return hold_out(adata, times=[held_time], populations=names[-n_held:])


def _refits(jobs: list[tuple], workers: int) -> Iterator[pd.DataFrame]:
    """Yield refits in order, computed ``workers`` at a time and only while they are wanted."""
    for first in range(0, len(jobs), workers):
        yield from side_by_side(_refit, jobs[first : first + workers], workers=workers)


def _refit(null: NullData, seed: int, device: str) -> pd.DataFrame:
    return _scored(null.draw(seed), null.split, null.config, seed=seed, device=device)


def _scored(
    adata: "AnnData", split: Split, config: SDEConfig, *, seed: int, **options
) -> pd.DataFrame:
    """Fit with and without interaction, quietly: held-out distances by question and population.

    Options of :func:`scimf.fit`.
    """
    matched = matched_config(adata.obsm[KEY].shape[1], config)
    truth = Snapshots.of(adata, split.held_mask(adata))
    columns = {}
    for name, settings in {"interacting": config, "independent": matched}.items():
        model = fit(adata, split, config=settings, seed=seed, progress=False, **options)
        columns[name] = _held_out_scores(model, split, truth, seed=seed)
    return pd.DataFrame(columns).reset_index()


@torch.no_grad()
def _held_out_scores(model: FittedSDE, split: Split, truth: Snapshots, *, seed: int) -> pd.Series:
    """Energy distance to held-out cells by ``question, population``, mean over times and draws.

    All from the first snapshot: training populations at the held-out time, held-out populations at
    every training time. ``truth`` holds the held-out cells.
    """
    held = sorted(split.held_populations)
    trained = sorted(set(model.starts.density) - set(held))
    later = [t for t in split.train_times if t > split.times[0]]
    predicted = {"times": (trained, split.held_times), "compositions": (held, later)}
    tables = []
    for question, (names, times) in predicted.items():
        for draw in range(DRAWS):
            noise = torch.Generator(model.device).manual_seed(seed * 1000 + draw)
            values = _distances(model, truth, names, (split.times[0], *times), noise)
            table = pd.DataFrame({"population": names * len(times), "value": values.ravel()})
            tables.append(table.assign(question=question))
    return pd.concat(tables).groupby(["question", "population"])["value"].mean()


def _distances(
    model: FittedSDE,
    truth: Snapshots,
    names: list[str],
    times: tuple[float, ...],
    noise: torch.Generator,
) -> np.ndarray:  # (times after the first, populations)
    """Simulate populations from the first of some times; distance to the truth at each later one.

    The energy distance counts a cell with itself, so it is positive and has a logarithm; its floor
    is that of two samples.
    """
    x, mask = _padded(model, model.starts, names, times[0])
    density = [model.starts.density[p] for p in names]
    grid = torch.tensor([model.time_scale(t) for t in times], device=model.device)
    groups = Groups(
        mask=mask,
        density=torch.tensor(density, device=model.device, dtype=x.dtype),
        start_time=grid[:1].expand(len(names)),
    )
    gaps = grid.diff()[:, None].expand(-1, len(names))
    states, _ = roll_out(model.sde, x, gaps, dt=model.config.dt, groups=groups, generator=noise)
    found = []
    for state, time in zip(states, times[1:], strict=True):
        y, mask_y = _padded(model, truth, names, time)
        apart = energy_loss(state, y, mask, mask_y)
        values = apart + _self_pairs(state, mask) + _self_pairs(y, mask_y)
        found.append(values.cpu().numpy() * model.standardiser.scale)
    return np.stack(found)


def _padded(
    model: FittedSDE, snapshots: Snapshots, names: list[str], time: float
) -> tuple[torch.Tensor, torch.Tensor]:  # (populations, cells, dim), (populations, cells)
    clouds = [model.standardiser.transform(snapshots.cells[p, time]) for p in names]
    return pad([cloud.to(model.device) for cloud in clouds])


def _self_pairs(x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:  # (g,): 1/2 E|X - X'| / n
    pairs = mask[:, :, None] & mask[:, None, :]
    within = (pairwise_distance(x, x) * pairs).sum((1, 2))
    n = mask.sum(1)
    return within / (2 * n * (n - 1).clamp_min(1)) / n


def _gain(scores: pd.DataFrame) -> pd.Series:
    """Mean over populations of the log ratio of the distances, independent over interacting."""
    ratio = np.log(scores["independent"] / scores["interacting"])
    return ratio.groupby(scores["question"]).mean()


def _summary(scores: pd.DataFrame, reached: dict[str, int | None]) -> pd.DataFrame:
    """One row per question; ``reached`` is the first refit with at least the gain of the data."""
    n_refits = int(scores["refit"].max())
    columns = ["question", "interacting", "independent"]
    gains = scores.groupby("refit")[columns].apply(_gain)  # (refits, questions)
    data = scores[scores["refit"] == 0].groupby("question")
    means = data[["interacting", "independent"]].mean()
    rows = {}
    for question in QUESTIONS:
        rows[question] = {
            "interacting": float(means.loc[question, "interacting"]),
            "independent": float(means.loc[question, "independent"]),
            "gain": float(gains.loc[0, question]),
            "null": float(gains.drop(0)[question].mean()),
            "p": 1 / (reached[question] or n_refits + 1),
            "n_populations": int(data.size()[question]),
            "n_refits": n_refits,
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("question")


def _verdict(scores: pd.DataFrame, reached: dict[str, int | None]) -> Verdict:
    table = _summary(scores, reached)
    yes = bool((table["p"] <= LEVEL).all())
    are = "are" if yes else "are not"
    values = ", ".join(f"{question}: p = {p:.2f}" for question, p in table["p"].items())
    reason = f"Held-out cells {are} predicted better with an interaction ({values})."
    return Verdict("yes" if yes else "no", reason, table, scores)
