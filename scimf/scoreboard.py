"""The scoreboard: which data, which held-out times, which methods, under which protocol. Run by notebook 06.

Nothing is chosen on a held-out time: what can be chosen on the training times of a set-up is (:func:`choose`), what
cannot is a default that was chosen on training times of other data sets and committed before the scores were made.
"""

import hashlib
import json
import os
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from joblib import Parallel, delayed

from scimf import paths, transport
from scimf.baselines import BASELINES
from scimf.bridge import Mix, fit_bridges
from scimf.evaluate import METRICS, evaluate, interval, skill
from scimf.peers import (
    attention,
    fit_flow_matching,
    neural_ode,
    occupancy,
    potential_sde,
    schroedinger_bridge,
    shortened,
)
from scimf.preprocess import Split, fit_space, hold_out, only_neighbours
from scimf.sde import SDEConfig, widened_twin
from scimf.snapshots import KEY, Snapshots, starting_snapshots
from scimf.train import code_hash, fit_many

if TYPE_CHECKING:
    from anndata import AnnData

    from scimf.preprocess import Space

#: Methods that are trained, with what the notebook calls them. The rest of the rows are baselines without training.
LEARNED = (
    "scimf", "scimf_paced", "scimf_forward", "no_interaction", "attention", "occupancy", "published",
    "neural_ode", "potential_sde", "flow_matching",
)  # fmt: skip
EXTRA = ("scimf_paced", "occupancy", "published")  #: left out where the notebook does not ask for them
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
        Board("toy", "typed", "leave_one_out", ((2.0,),), options={"seed": 1, "n_populations": 6, "n_cells": 60},
              held_populations=2, what="a small simulation: time 2, and 2 populations after time 0"),
        Board("typed", "typed", "leave_one_out", ((2.0,),), options={"seed": 0, "n_cells": 50},
              held_populations=4, what="time 2 of 24 populations, and 4 populations after time 0"),
        Board("pbmc", "pbmc_activation", "leave_one_out", (tuple(float(h) for h in range(1, 20, 2)),),
              what="every second hour, in one fit"),
        Board("pbmc_forecast", "pbmc_activation", "leave_one_out", ((20.0,),), what="hour 20 from 0-19"),
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

#: Boards whose *training* times, some of them held out once more, decide the settings that cannot be chosen where they
#: are used: a bridge sees two times and has nothing left to choose on.
DEVELOPMENT = ("pbmc", "cardiomyocyte", "mes")


@dataclass(frozen=True)
class Choice:
    """What is chosen without held-out cells: the kinetic weight of the fits, and how their predictions are mixed."""

    kinetic_weight: float = 0.0
    mix: Mix = Mix(moved=2 / 3, power=1.0)

    def __str__(self) -> str:
        return f"kinetic weight {self.kinetic_weight:g}, moved {self.mix.moved:.2f}, power {self.mix.power:g}"


#: The second frozen choice, scored as "scimf_paced": cells move at constant speed, and two thirds stay where they are.
#: The first one (the default of :class:`Choice`) came before it and stays the headline; notebook 06 tells why and how.
PACED = Choice(0.003, Mix(moved=1 / 3, power=1.0))
#: PACED is the best of these on the bridges inside the training times of the development boards.
BRIDGE_CHOICES = tuple(Choice(k, Mix(m)) for k in (0.0, 0.001, 0.003) for m in (1 / 3, 1 / 2, 2 / 3, 1.0))
#: Where at least two times can be held out inside the training times, the best of these there.
NESTED_CHOICES = tuple(
    Choice(k, Mix(m, p)) for k in (0.0, 0.003) for m in (1 / 3, 2 / 3, 1.0) for p in (0.0, 1.0, np.inf)
)


def recommended(**changes) -> SDEConfig:
    """Return the configuration that is scored on every board; its kinetic weight is part of a :class:`Choice`."""
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


def inner_setup(setup: Setup, n_pcs: int) -> Setup | None:
    """Return a problem inside the training cells of a set-up, or ``None`` where two times are all there is.

    Held-out cells are gone before anything starts. Of the training times every second inner one is held out; in a
    forecast, the last one.
    """
    train = setup.adata[setup.split.train_mask(setup.adata)].copy()
    times = setup.split.train_times
    if len(times) < 3:
        return None
    forecast = min(setup.split.held_times, default=-np.inf) > times[-1]
    split = hold_out(train, times=times[-1:] if forecast else times[1:-1:2])
    return Setup(f"{setup.board}.inner", train, split, fit_space(train, split, n_pcs=n_pcs))


def inner_bridges(setup: Setup, n_pcs: int) -> Iterator[Setup]:
    """Yield the bridges inside a set-up's training times: each held-out inner time between its two neighbours."""
    inner = inner_setup(setup, n_pcs)
    for time in inner.split.held_times:
        part, split = only_neighbours(inner.adata, hold_out(inner.adata, times=[time]))
        yield Setup(f"{inner.board}.{time:g}", part, split, fit_space(part, split, n_pcs=n_pcs))


def compare_choices(
    setup: Setup, choices: tuple[Choice, ...], *, cache: Path, seeds: Iterable[int] = (0,), steps: int = 200, **options
) -> pd.Series:
    """Energy distance of each choice on an inner problem, and of the neighbour mixture (``"mixture"``)."""
    configs = {
        f"{k:g}": recommended(kinetic_weight=k, steps=steps) for k in sorted({c.kinetic_weight for c in choices})
    }
    problem = (setup.adata, setup.split, setup.space)
    fits = fit_bridges(*problem, configs=configs, seeds=seeds, cache=cache, **options)
    samples = {
        f"{c} / {seed}": predicted(replace(bridge, mix=c.mix), setup, seed=seed)
        for (name, seed), bridge in fits.items()
        for c in choices
        if f"{c.kinetic_weight:g}" == name
    }
    kept = {name: BASELINES[name] for name in ("copy_previous", "mixture")}
    table = evaluate(samples, *problem[:2], metrics=("energy_distance",), baselines=kept)
    return table.groupby(table["method"].str.split(" / ").str[0], sort=False)["value"].mean()


def choose(setup: Setup, n_pcs: int, *, cache: Path, **options) -> tuple[Choice, pd.Series | None]:
    """Return the choice for a set-up and the inner scores it rests on; held-out cells are not touched.

    Times held out inside its own training times decide if there are at least two of them: one would make a choice among
    eighteen a coin toss. Otherwise the default of :class:`Choice` holds.
    """
    inner = inner_setup(setup, n_pcs)
    if inner is None or len(inner.split.held_times) < 2:
        return Choice(), None
    scores = compare_choices(inner, NESTED_CHOICES, cache=cache, **options)
    return min(NESTED_CHOICES, key=lambda c: scores[str(c)]), scores


def predict(
    setup: Setup,
    choice: Choice,
    *,
    seeds: Iterable[int],
    peer_seeds: Iterable[int],
    cache: Path,
    steps: int = 200,
    methods: tuple[str, ...] = LEARNED,
    device: str = "auto",
    workers: int | None = None,
) -> dict[str, "AnnData"]:
    """Fit every method with every seed and return predicted cells by ``"method seed"``; fits are cached.

    The twin without interaction uses the same choice as ours, peers their own form and the same budget of steps.
    Every cloud has as many cells as the snapshot before.
    """
    plain, base = recommended(steps=steps), recommended(steps=steps, kinetic_weight=choice.kinetic_weight)
    seeds, peer_seeds = list(seeds), list(peer_seeds)
    options = {"cache": cache, "device": device, "workers": workers}
    problem = (setup.adata, setup.split, setup.space)
    ours = {"scimf": base, "no_interaction": widened_twin(setup.space.dim, base)}
    ours = {name: config for name, config in ours.items() if name in methods}
    peers = {"attention": attention(base), "occupancy": occupancy(base), "published": shortened(plain)}
    peers |= {"neural_ode": neural_ode(plain), "potential_sde": potential_sde(plain)}
    peers = {name: config for name, config in peers.items() if name in methods}
    samples = {}
    for (name, s), bridge in fit_bridges(*problem, configs=ours, seeds=seeds, mix=choice.mix, **options).items():
        samples[f"{name} {s}"] = predicted(bridge, setup, seed=s)
        if name == "scimf" and "scimf_forward" in methods:
            samples[f"scimf_forward {s}"] = predicted(bridge.forward, setup, seed=s)
    if "scimf_paced" in methods:
        slow = {"scimf_paced": recommended(steps=steps, kinetic_weight=PACED.kinetic_weight)}
        for (name, s), bridge in fit_bridges(*problem, configs=slow, seeds=seeds, mix=PACED.mix, **options).items():
            samples[f"{name} {s}"] = predicted(bridge, setup, seed=s)
    for (name, s), model in fit_many(*problem, configs=peers, seeds=peer_seeds, **options).items():
        samples[f"{name} {s}"] = predicted(model, setup, seed=s)
    if "flow_matching" in methods:
        for s in seeds:
            flow = fit_flow_matching(setup.adata, setup.split, hidden=plain.hidden, steps=steps, seed=s)
            samples[f"flow_matching {s}"] = predicted(flow, setup, seed=s)
    return samples


def predicted(model, setup: Setup, *, seed: int = 0) -> "AnnData":
    """Predicted cells at every held-out snapshot of the set-up, as many as the snapshot before has."""
    import anndata as ad

    split, known = setup.split, model.forward.starts if hasattr(model, "forward") else model.starts
    companies = [p for p in sorted(known.density) if p not in split.held_populations]
    parts = [model.sample(split.held_times, populations=companies, seed=seed)] if split.held_times else []
    for p in split.held_populations:
        later = [t for t in split.times if t > known.times(p)[0]]
        parts.append(model.sample(later, populations=[p], seed=seed))
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
    return _with_seed(table).assign(board=setup.board, setup=",".join(f"{t:g}" for t in setup.split.held_times))


def score_board(
    board: Board,
    adata: "AnnData",
    *,
    seeds: int,
    peer_seeds: int,
    extra: bool,
    draws: int,
    paired_draws: int,
    transport_n: int,
    whole: bool,
    cache: Path,
    steps: int = 200,
    workers: int = 2,
    **options,
) -> dict[str, pd.DataFrame]:
    """Choose, fit, predict and score every set-up of a board; a set-up that was scored before is read.

    Returns
    -------
    dict
        ``scores``; ``paired``, the energy distance of ours, the twin and the mixture over many more draws (headline
        boards); ``whole``, W1 at full size. The last two may be empty.
    """
    kept = tuple(m for m in LEARNED if extra or m not in EXTRA)
    sizes = {"n": board.n, "draws": draws, "transport_n": transport_n, "transport_draws": min(draws, 2)}
    found: dict[str, list[pd.DataFrame]] = {"scores": [], "paired": [], "whole": []}
    for setup in setups(board, adata):
        asked = (repr(board), setup.split, seeds, peer_seeds, kept, sizes, paired_draws, whole, steps)
        path = Path(cache) / f"scores_{_score_key(setup, asked)}.json"
        if not path.is_file():
            choice, _ = choose(setup, board.n_pcs, cache=cache, steps=steps, **options)
            trained = {"seeds": range(seeds), "peer_seeds": range(peer_seeds), "methods": kept, "steps": steps}
            samples = predict(setup, choice, cache=cache, **trained, **options)
            tables = {"scores": score_setup(setup, samples, **sizes, workers=workers).assign(choice=str(choice))}
            if board.headline:
                tables["paired"] = score_paired(setup, samples, n=board.n, draws=paired_draws, workers=workers)
            if whole:
                tables["whole"] = whole_w1(setup, samples, workers=workers)
            aside = path.with_suffix(f".{os.getpid()}")  # a file that exists is complete
            aside.write_text(json.dumps({name: part.to_json(double_precision=15) for name, part in tables.items()}))
            os.replace(aside, path)
        for name, text in json.loads(path.read_text(encoding="utf-8")).items():
            found[name].append(pd.read_json(StringIO(text), convert_dates=False, dtype={"setup": str}))
    return {name: pd.concat(parts, ignore_index=True) if parts else pd.DataFrame() for name, parts in found.items()}


def _score_key(setup: Setup, asked: tuple) -> str:
    """Hash of everything that decides a set-up's scores: data, what was asked, and the code that answers."""
    every = Snapshots.of(setup.adata, np.ones(setup.adata.n_obs, dtype=bool)).hash()
    rooms = ("baselines", "bridge", "evaluate", "fitted", "peers", "preprocess", "scoreboard")
    code = [(Path(__file__).parent / f"{room}.py").read_text(encoding="utf-8") for room in rooms]
    return hashlib.sha256("\n".join([every, repr(asked), code_hash(), *code]).encode()).hexdigest()[:24]


def score_paired(setup: Setup, samples: dict[str, "AnnData"], *, n: int, draws: int, workers: int) -> pd.DataFrame:
    """Energy distance of ours, the twin and the mixture over many draws: single draws of 2,500 cells differ by 0.1."""
    ours = {name: cells for name, cells in samples.items() if name.split()[0] in ("scimf", "no_interaction")}
    settings = {"metrics": ("energy_distance",), "baselines": {"mixture": BASELINES["mixture"]}, "per_draw": True}
    table = evaluate(ours, setup.adata, setup.split, n=n, draws=draws, workers=workers, **settings)
    return _with_seed(table).assign(board=setup.board, setup=",".join(f"{t:g}" for t in setup.split.held_times))


def _with_seed(table: pd.DataFrame) -> pd.DataFrame:
    """Split "method seed" into two columns; baselines and floors have no training seed."""
    parts = table["method"].str.extract(r"^(\w+) ?(\d*)$")
    return table.assign(method=parts[0], seed=pd.to_numeric(parts[1]).astype("Int64"))


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


#: One ingredient changed at a time, for the ablation on inner problems; "no interaction" is added with its own width.
INGREDIENTS = {
    "as recommended": {},
    "attention": {"interaction": "attention", "dropout": 0.1},
    "kinetic energy": {"kinetic_weight": PACED.kinetic_weight},
    "exact OT loss": {"loss": "ot"},
    "debiased OT loss": {"loss": "debiased_ot"},
    "snapshot index as time": {"time": "index"},
    "noise three times larger": {"sigma": 0.3},
    "learned diffusion": {"diffusion": "state"},
    "warm start": {"warm_steps": 50},
    "averaged weights": {"average": 0.98},
}


def ablate(setup: Setup, *, seeds: Iterable[int], cache: Path, steps: int = 200, **options) -> pd.DataFrame:
    """Energy distance on an inner problem with one ingredient changed at a time, by seed.

    Returns
    -------
    DataFrame
        Index seed, one column an ingredient, and "neighbour mixture"; NaN where a fit diverged.
    """
    base = recommended(kinetic_weight=Choice().kinetic_weight, steps=steps)
    configs = {name: SDEConfig.from_dict(base.to_dict() | changes) for name, changes in INGREDIENTS.items()}
    configs["no interaction"] = widened_twin(setup.space.dim, base)
    seeds, problem, samples = list(seeds), (setup.adata, setup.split, setup.space), {}
    for name, config in configs.items():
        try:
            fits = fit_bridges(*problem, configs={name: config}, seeds=seeds, cache=cache, **options)
        except FloatingPointError:
            continue  # it diverged: the row stays empty
        samples |= {f"{name} / {s}": predicted(bridge, setup, seed=s) for (_, s), bridge in fits.items()}
    table = evaluate(samples, *problem[:2], metrics=("energy_distance",), baselines={"mixture": BASELINES["mixture"]})
    values = table.groupby("method")["value"].mean()
    found = pd.DataFrame({name: [values.get(f"{name} / {s}", np.nan) for s in seeds] for name in configs}, index=seeds)
    return found.assign(**{"neighbour mixture": values["mixture"]}).rename_axis("seed")


def whole_w1(setup: Setup, samples: dict[str, "AnnData"], *, workers: int = 1) -> pd.DataFrame:
    """Exact W1 at full size: as many predicted cells as the snapshot before has, against all held-out cells.

    The size at which leave-one-out tables are printed; ours, two-sided and forward only, and baselines (once).
    Columns: ``method, seed, time, w1``.
    """
    truth, starts = Snapshots.of(setup.adata, setup.split.held_mask(setup.adata)), starting(setup)
    jobs = []
    for (p, time), cells in truth.cells.items():
        size = len(starts.cells[p, max(t for t in starts.times(p) if t < time)])
        shown = {name: x for name, x in samples.items() if name.split()[0] in ("scimf", "scimf_forward")}
        clouds = {name: x.obsm[KEY][(x.obs["time"] == time).to_numpy()] for name, x in shown.items()}
        for name in ("copy_previous", "mixture", "ot_interpolation", "mean_shift"):
            clouds[name] = BASELINES[name](starts, p, time, size, np.random.default_rng(0))
        jobs += [(name, time, cloud, cells) for name, cloud in clouds.items() if cloud is not None]
    values = Parallel(n_jobs=workers)(delayed(transport.w1)(cloud, cells) for *_, cloud, cells in jobs)
    table = pd.DataFrame(
        [(n, t, v) for (n, t, *_), v in zip(jobs, values, strict=True)], columns=["name", "time", "w1"]
    )
    parts = table.pop("name").str.extract(r"^(\w+) ?(\d*)$")
    return table.assign(method=parts[0], seed=pd.to_numeric(parts[1]).astype("Int64"))


def starting(setup: Setup) -> Snapshots:
    """Return what predictions of a set-up may start from."""
    return starting_snapshots(setup.adata, setup.split)


def skills(table: pd.DataFrame, *, metric: str = "energy_distance") -> pd.DataFrame:
    """Skill of trained methods on every board of a :func:`summary`: the best trivial baseline is 0, the floor 1."""
    wide = table[table["metric"] == metric].set_index(["board", "method"])["mean"].unstack("board")
    trivial = wide.loc[wide.index.intersection([*BASELINES, "schroedinger_bridge"])].min()
    learned = wide.loc[wide.index.intersection(LEARNED)]
    return learned.apply(lambda row: skill(row, trivial, wide.loc["floor"]), axis=1)


def published_numbers() -> pd.DataFrame:
    """Numbers that others printed: ``board, metric, method, value, spread, status, differs, source``."""
    with open(paths.ROOT / "data" / "published_scores.toml", "rb") as file:
        rows = tomllib.load(file)["score"]
    return pd.DataFrame(rows, columns=["board", "metric", "method", "value", "spread", "status", "differs", "source"])
