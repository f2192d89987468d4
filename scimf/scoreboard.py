"""The scoreboard: which data, which held-out times, which methods, under which protocol. Run by notebook 06.

Everything that could be tuned is fixed here and was committed before the held-out cells were scored; how the settings
of :func:`recommended` were chosen, without any held-out cell, is shown in the notebook.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from scimf.baselines import BASELINES
from scimf.bridge import fit_bridges
from scimf.evaluate import METRICS, evaluate, interval
from scimf.peers import attention, fit_flow_matching, neural_ode, potential_sde, schroedinger_bridge, shortened
from scimf.preprocess import Split, fit_space, hold_out, only_neighbours
from scimf.sde import SDEConfig, widened_twin
from scimf.train import fit_many

if TYPE_CHECKING:
    from anndata import AnnData

    from scimf.preprocess import Space

#: Methods that are trained, with what the notebook calls them. The rest of the rows are baselines without training.
LEARNED = (
    "scimf", "scimf_forward", "no_interaction", "attention", "published", "neural_ode", "potential_sde", "flow_matching"
)  # fmt: skip
TRANSPORT_METRICS = ("w1", "w2")
CHEAP_METRICS = tuple(m for m in METRICS if m not in TRANSPORT_METRICS)


@dataclass(frozen=True)
class Board:
    """One line of the scoreboard: a data set under one protocol, averaged over its set-ups.

    Attributes
    ----------
    name, dataset, options
        Key of the results; what :func:`scimf.load` is asked for.
    protocol
        "bridge" (only the two neighbours may be seen) or "leave_one_out" (all other times).
    setups
        Held-out times of each set-up; every set-up is fitted apart.
    n, n_pcs
        Cells on either side of a score, and principal components.
    held_populations
        How many of the last populations are held out as well.
    what
        For the reader: what is asked.
    headline
        Scored with the full number of training seeds.
    """

    name: str
    dataset: str
    protocol: str
    setups: tuple[tuple[float, ...], ...]
    n: int = 1000
    n_pcs: int = 50
    options: dict = field(default_factory=dict)
    held_populations: int = 0
    what: str = ""
    headline: bool = False


BOARDS = {
    board.name: board
    for board in (
        Board("cite50.bridge", "cite_hspc", "bridge", ((3.0,), (4.0,)), n=2500, options={"n_pcs": 50}, headline=True,
              what="days 2, 4 -> 3 and 3, 7 -> 4"),
        Board("cite50.bridge_plus", "cite_hspc", "leave_one_out", ((3.0,), (4.0,)), n=2500, options={"n_pcs": 50},
              headline=True, what="all other days -> 3 and -> 4"),
        Board("cite100.bridge", "cite_hspc", "bridge", ((3.0,), (4.0,)), n=2500, n_pcs=100, options={"n_pcs": 100},
              headline=True, what="days 2, 4 -> 3 and 3, 7 -> 4, 100 PCs"),
        Board("cite100.bridge_plus", "cite_hspc", "leave_one_out", ((3.0,), (4.0,)), n=2500, n_pcs=100,
              options={"n_pcs": 100}, headline=True, what="all other days -> 3 and -> 4, 100 PCs"),
        Board("typed", "typed", "leave_one_out", ((2.0,),), options={"seed": 0}, held_populations=4,
              what="time 2 of 24 populations, and 4 populations after time 0"),
        Board("pbmc", "pbmc_activation", "leave_one_out", (tuple(float(h) for h in range(1, 20, 2)),),
              what="every second hour, in one fit"),
        Board("pbmc_forecast", "pbmc_activation", "leave_one_out", ((20.0,), (18.0, 19.0, 20.0)),
              what="hour 20 from 0-19; hours 18-20 from 0-17"),
        Board("cytobridge_attraction", "cytobridge_sim", "leave_one_out", ((1.0,), (2.0,), (3.0,)),
              options={"which": "attraction"}, what="each inner time, gene circuit with attraction and growth"),
        Board("cytobridge_none", "cytobridge_sim", "leave_one_out", ((1.0,), (2.0,), (3.0,)),
              options={"which": "no_interaction"}, what="each inner time, the same without attraction"),
        Board("emt", "emt", "leave_one_out", ((1 / 3,), (1.0,)), what="each inner time (control)"),
        Board("reprogramming", "reprogramming_cut", "leave_one_out", ((10.5,),), what="day 10.5 from 10 and 11"),
        Board("cardiomyocyte", "cardiomyocyte_qpcr", "leave_one_out", ((24.0, 48.0, 72.0),), n_pcs=30,
              what="every second inner time, in one fit"),
        Board("mes", "mes_retinoic_acid", "leave_one_out", ((6.0, 24.0, 48.0, 72.0),), n_pcs=20,
              what="every second inner time, in one fit"),
    )
}  # fmt: skip

#: Inner problems on which settings were chosen: training times of three boards, some of them held out once more.
INNER = {
    "pbmc": (2.0, 6.0, 10.0, 14.0, 18.0),
    "cardiomyocyte": (36.0, 96.0),
    "mes": (12.0, 60.0),
}


def recommended(**changes) -> SDEConfig:
    """Return the one configuration that is scored on every board."""
    settings = {"hidden": (128, 128), "hidden_interaction": 128, "batch_cells": 256, "target_cells": 512, "steps": 200}
    return SDEConfig(**(settings | changes))


@dataclass(frozen=True)
class Setup:
    """One fit-and-predict problem: what may be seen, in coordinates fitted on training cells."""

    board: str
    adata: "AnnData"
    split: Split
    space: "Space"


def setups(board: Board, adata: "AnnData") -> Iterator[Setup]:
    """Yield the set-ups of a board, with coordinates from training cells only."""
    for times in board.setups:
        held = []
        if board.held_populations:
            held = sorted(adata.obs["population"].cat.categories)[-board.held_populations :]
        split = hold_out(adata, times=times, populations=held)
        part, split = only_neighbours(adata, split) if board.protocol == "bridge" else (adata.copy(), split)
        yield Setup(board.name, part, split, fit_space(part, split, n_pcs=board.n_pcs))


def inner_setup(board: Board, adata: "AnnData", times: Iterable[float]) -> Setup:
    """Return a problem inside the training cells of a board: its held-out cells are gone before anything starts."""
    outer = hold_out(adata, times=board.setups[0])
    train = adata[outer.train_mask(adata)].copy()
    split = hold_out(train, times=times)
    return Setup(f"{board.name}.inner", train, split, fit_space(train, split, n_pcs=board.n_pcs))


def predict(
    setup: Setup,
    *,
    seeds: Iterable[int],
    peer_seeds: Iterable[int],
    cache: Path,
    config: SDEConfig | None = None,
    methods: tuple[str, ...] = LEARNED,
    n: int = 2500,
    device: str = "auto",
    workers: int | None = None,
) -> dict[str, "AnnData"]:
    """Fit every method with every seed and return predicted cells by ``"method seed"``; fits are cached.

    ``n`` is the number of predicted cells per held-out snapshot.
    """
    base = config or recommended()
    seeds, peer_seeds = list(seeds), list(peer_seeds)
    dim, options = setup.space.dim, {"cache": cache, "device": device, "workers": workers}
    problem = (setup.adata, setup.split, setup.space)
    ours = {"scimf": base, "no_interaction": widened_twin(dim, base)}
    forms = {"attention": attention, "published": shortened, "neural_ode": neural_ode, "potential_sde": potential_sde}
    samples = {}
    bridges = fit_bridges(*problem, configs={m: c for m, c in ours.items() if m in methods}, seeds=seeds, **options)
    for (name, s), bridge in bridges.items():
        samples[f"{name} {s}"] = predicted(bridge, setup, n)
        if name == "scimf" and "scimf_forward" in methods:
            samples[f"scimf_forward {s}"] = predicted(bridge.forward, setup, n)
    peers = {name: form(base) for name, form in forms.items() if name in methods}
    for (name, s), model in fit_many(*problem, configs=peers, seeds=peer_seeds, **options).items():
        samples[f"{name} {s}"] = predicted(model, setup, n)
    if "flow_matching" in methods:
        for s in seeds:
            flow = fit_flow_matching(setup.adata, setup.split, hidden=base.hidden, steps=base.steps, seed=s)
            samples[f"flow_matching {s}"] = predicted(flow, setup, n)
    return samples


def predicted(model, setup: Setup, n: int) -> "AnnData":
    """Predicted cells at every held-out snapshot of the set-up."""
    import anndata as ad

    split, known = setup.split, model.forward.starts if hasattr(model, "forward") else model.starts
    companies = [p for p in sorted(known.density) if p not in split.held_populations]
    parts = [model.sample(split.held_times, n=n, populations=companies)] if split.held_times else []
    for p in split.held_populations:
        parts.append(model.sample([t for t in split.times if t > known.times(p)[0]], n=n, populations=[p]))
    return ad.concat(parts, index_unique="-", keys=[str(k) for k in range(len(parts))], merge="same")


def score_setup(
    setup: Setup,
    samples: dict[str, "AnnData"],
    *,
    n: int,
    draws: int,
    transport_n: int,
    transport_draws: int,
    workers: int,
) -> pd.DataFrame:
    """Score all predictions and baselines of one set-up; exact transport with fewer cells and draws than the rest."""
    trivial = BASELINES | {"schroedinger_bridge": schroedinger_bridge}
    problem = (samples, setup.adata, setup.split)
    settings = {"baselines": trivial, "per_draw": True, "workers": workers}
    cheap = evaluate(*problem, setup.space, n=n, draws=draws, metrics=CHEAP_METRICS, **settings)
    exact = evaluate(*problem, n=transport_n, draws=transport_draws, metrics=TRANSPORT_METRICS, **settings)
    table = pd.concat([cheap, exact], ignore_index=True)
    parts = table["method"].str.extract(r"^(\w+) ?(\d*)$")  # baselines and floors have no training seed
    table["method"], table["seed"] = parts[0], pd.to_numeric(parts[1]).astype("Int64")
    return table.assign(board=setup.board, setup=",".join(f"{t:g}" for t in setup.split.held_times))


def summary(scores: pd.DataFrame) -> pd.DataFrame:
    """Mean and 95 % interval per board, method and metric, over set-ups and held-out snapshots.

    The replicate is the training seed (draws averaged first) for what is trained, and the shared draw of cells for
    baselines and floors; ``n_seeds`` is 0 for the latter. Columns: ``board, method, metric, mean, lo, hi, n_seeds, n``.
    """
    rows = []
    scores = scores.assign(seed=scores["seed"].fillna(-1).astype(int))
    for (board, method, metric), part in scores.groupby(["board", "method", "metric"], sort=False):
        trained = (part["seed"] >= 0).all()
        found = interval(_replicates(part, "seed" if trained else "draw"))
        row = {"lo": found["mean"], "hi": found["mean"]} | found | {"n_seeds": found["n_seeds"] if trained else 0}
        rows.append({"board": board, "method": method, "metric": metric, **row, "n": int(part["n"].max())})
    return pd.DataFrame(rows)


def _replicates(part: pd.DataFrame, unit: str) -> np.ndarray:
    """One number per seed or draw: mean over draws or seeds, then snapshots, then set-ups."""
    by_snapshot = part.groupby([unit, "setup", "kind", "population", "time"])["value"].mean()
    by_kind = by_snapshot.groupby([unit, "setup", "kind"]).mean()
    return by_kind.groupby([unit, "setup"]).mean().groupby(unit).mean().to_numpy()


def difference(scores: pd.DataFrame, ours: str, other: str, *, metric: str = "energy_distance", unit: str = "draw"):
    """Paired difference ours - other on one board, with its 95 % interval over shared draws, or over shared seeds."""
    values = []
    for method in (ours, other):
        part = scores[(scores["method"] == method) & (scores["metric"] == metric)]
        values.append(_replicates(part.assign(seed=part["seed"].astype("Int64").fillna(-1)), unit))
    n = min(map(len, values))
    return interval(values[0][:n] - values[1][:n])
