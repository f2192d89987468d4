r"""Seconds to the same score: training as published against ours, ``make bench-quality`` -> ``bench.json``.

Both are trained on the training times of a set-up of the scoreboard, of which an inner time was held out once more; no
cell of the scoreboard's own held-out times takes part. The published training is scored after 1, 2, 4, ... steps; the
mark is the best of these scores, and ours is asked how soon it was as good. Where the published curve is flat, noise
decides which point is the best: the curves are recorded, to read the ratio at any other. Ours is fitted from the start
at each of its ``LENGTHS``, because its step size falls to zero at the end, and each fit pays for all of its time.
Scoring is not counted.

An hour of published training fits into minutes: its steps are taken by the engine of :func:`scimf.fit`, which has the
same loss and gradients (``make bench`` measures that), and each is priced at what the step costs as published.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

import scimf
from scimf import paths
from scimf.baselines import BASELINES
from scimf.bench import published_step
from scimf.bridge import Bridge, reversed_time
from scimf.evaluate import evaluate, interval
from scimf.fitted import FittedSDE
from scimf.notebook import say
from scimf.scoreboard import BOARDS, Setup, inner_setup, predicted, recommended, setups
from scimf.sde import InteractingSDE, SDEConfig, published
from scimf.snapshots import Clock, Snapshots, Units, starting_snapshots
from scimf.timing import BUSY, about, busy_while, in_turns, others_busy, record, spread
from scimf.train import _lr_factor, batch_loss, fit, make_batch

RACES = {"cite": "cite50.bridge_plus", "typed": "typed"}  #: boards of the scoreboard by their name here
STEPS = 256  #: of the published training
LENGTHS = (10, 20, 50, 100, 200)  #: steps of our fits; the last is what the scoreboard takes


def inner_problem(name: str) -> Setup:
    """Return the inner problem of the first set-up of a board."""
    board = BOARDS[RACES[name]]
    return inner_setup(next(setups(board, scimf.load(board.dataset, **board.options))), board.n_pcs)


def scores(models: dict[str, FittedSDE | Bridge], setup: Setup, seed: int) -> dict[str, float]:
    """Mean energy distance at the held-out snapshots, each predicted from the one before; floor and baselines, too."""
    cells = {name: predicted(model, setup, seed=seed) for name, model in models.items()}
    kept = {name: BASELINES[name] for name in ("copy_previous", "mixture")}
    table = evaluate(cells, setup.adata, setup.split, n=2500, metrics=("energy_distance",), baselines=kept)
    return {name: float(value) for name, value in table.groupby("method")["value"].mean().items()}


class PublishedTraining:
    """The published training on a set-up: one step at a time, by our engine, or written out from the equations."""

    def __init__(self, setup: Setup, seed: int, config: SDEConfig) -> None:
        split, self.config = setup.split, config
        self.train = Snapshots.of(setup.adata, split.train_mask(setup.adata))
        units = Units.of(self.train, rescale=config.rescale)
        self.clock = Clock.of(split.times, split.train_times, config.time)
        self.clouds = {key: units.enter(x) for key, x in self.train.cells.items()}
        torch.manual_seed(seed)
        self.sde, self.draws = InteractingSDE(len(units.centre), config), torch.Generator().manual_seed(seed)
        self.optimiser, self.steps = torch.optim.Adam(self.sde.parameters(), lr=config.lr), 0
        starts = starting_snapshots(setup.adata, split)
        self.model = FittedSDE(self.sde, config, units, self.clock, starts, setup.space, seed, {})

    def by_engine(self) -> None:
        """Gradients of one batch, as :func:`scimf.fit` takes them."""
        batch = make_batch(self.clouds, self.train.density, self.clock, self.config, self.draws, torch.device("cpu"))
        terms = batch_loss(self.sde, batch, self.config, self.draws)
        sum(getattr(self.config, f"{name}_weight") * term for name, term in terms.items()).backward()

    def written_out(self) -> None:
        """Gradients of one batch by :func:`scimf.bench.published_step`, one population after the other."""
        companies = [p for p in sorted(self.train.density) if len(self.train.times(p)) > 1]
        for p in companies:
            first, *later = self.train.times(p)
            start = self.clouds[p, first][torch.randperm(len(self.clouds[p, first]))[: self.config.batch_cells]]
            gaps = [round(self.clock(b) - self.clock(a)) for a, b in zip([first, *later], later, strict=False)]
            published_step(self.sde, start, [self.clouds[p, t] for t in later], self.steps, gaps)
        for weight in self.sde.parameters():
            weight.grad /= len(companies)

    def step(self, gradients: Callable[[], None]) -> None:
        """Take one step with gradients from one of the two."""
        self.sde.train().zero_grad()
        gradients()
        torch.nn.utils.clip_grad_norm_(self.sde.parameters(), self.config.clip)
        for group in self.optimiser.param_groups:
            group["lr"] = self.config.lr * _lr_factor(self.steps, self.config)
        self.optimiser.step()
        self.sde.eval()
        self.steps += 1


def run_published(setup: Setup, seed: int, *, steps: int, config: SDEConfig | None = None) -> list[dict]:
    """Scores after 1, 2, 4, ... and ``steps`` steps of the published training, and seconds by our engine."""
    training, curve, spent = PublishedTraining(setup, seed, config or published()), [], 0.0
    while training.steps < steps:
        begin = time.perf_counter()
        training.step(training.by_engine)
        spent += time.perf_counter() - begin
        if training.steps & (training.steps - 1) == 0 or training.steps == steps:
            score = scores({"published": training.model}, setup, seed)["published"]
            curve.append({"steps": training.steps, "engine_seconds": spent, "score": score})
    return curve


def run_ours(setup: Setup, seed: int, lengths: Sequence[int]) -> list[dict]:
    """Seconds and scores of fits of each length: two-sided, as recommended, and of forward time alone."""
    curve, known = [], (setup.adata, setup.split, setup.space)
    back = (*reversed_time(setup.adata, setup.split), setup.space)
    options = {"seed": seed, "device": "cpu", "progress": False}
    fit(*known, config=recommended(steps=1), **options)  # what is loaded or planned once
    for steps in lengths:
        options |= {"config": recommended(steps=steps)}
        begin = time.perf_counter()
        forward = fit(*known, **options)
        middle = time.perf_counter()
        bridge = Bridge(forward, fit(*back, **options))
        seconds = {"seconds": time.perf_counter() - begin, "forward_seconds": middle - begin}
        found = scores({"score": bridge, "forward_score": forward}, setup, seed)
        curve.append({"steps": steps} | seconds | found)
    return curve


def time_to_quality(theirs: Sequence[list[dict]], ours: Sequence[list[dict]], price: float) -> dict:
    """Compare curves, one pair a training seed; ``price`` is seconds of a published step.

    ``speedup``: seconds of published training to its best score, over ours to a score at most that; median and ends
    over seeds. A seed with which ours never comes that close counts as 0, and then our seconds are not recorded.
    """
    rows = []
    for a, b in zip(theirs, ours, strict=True):
        best = min(a, key=lambda point: point["score"])
        row = {"published_score": best["score"], "published_seconds": best["steps"] * price,
               "published_engine_seconds": best["engine_seconds"], "score": b[-1]["score"],
               "forward_score": b[-1]["forward_score"]}  # fmt: skip
        for kind in ("", "forward_"):
            near = (point[f"{kind}seconds"] for point in b if point[f"{kind}score"] <= best["score"])
            row[f"{kind}seconds"] = next(near, np.inf)
        rows.append(row)
    columns = {key: np.array([row[key] for row in rows]) for key in rows[0]}
    ratios = {kind: columns["published_seconds"] / columns[f"{kind}seconds"] for kind in ("", "forward_")}
    found = {f"{kind}speedup": spread(ratio) for kind, ratio in ratios.items()}
    for key in ("published_score", "score", "forward_score"):
        found[key] = interval(columns[key])
    for kind in ("", "forward_"):
        found[f"{kind}score_difference"] = interval(columns[f"{kind}score"] - columns["published_score"])
    for key in ("published_seconds", "published_engine_seconds", "seconds", "forward_seconds"):
        found[key] = spread(columns[key]) if np.isfinite(columns[key]).all() else None
    return found | {"n_seeds": len(rows), "seconds_per_published_step": price}


def kept(path: Path, run: Callable[[], list]) -> list:
    """Read the result in ``path``; if there is none, run: an interrupted race goes on.

    What was measured while others kept the machine busy is returned and not written, so that no later race, on a free
    machine, publishes it.
    """
    if path.is_file():
        return json.loads(path.read_text(encoding="utf-8"))
    _, since = others_busy()
    text = json.dumps(run())
    if not others_busy(since)[0] > BUSY:  # NaN: nobody knows
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".partial").write_text(text, encoding="utf-8")
        path.with_suffix(".partial").replace(path)
    return json.loads(text)


def race(setup: Setup, seeds: Iterable[int], place: Path, *, steps: int = STEPS, lengths: Sequence[int] = LENGTHS,
         config: SDEConfig | None = None) -> dict:  # fmt: skip
    """Run the published training and ours on a set-up with each training seed, and compare."""
    training, theirs, ours = PublishedTraining(setup, 0, config or published()), [], []
    costs = kept(place / "step.json", lambda: list(in_turns({"": lambda: training.step(training.written_out)}, 3)[""]))
    for seed in seeds:
        say(f"  seed {seed} ...")
        runs = partial(run_published, setup, seed, steps=steps, config=config), partial(run_ours, setup, seed, lengths)
        theirs.append(kept(place / f"published_{seed}.json", runs[0]))
        ours.append(kept(place / f"ours_{seed}.json", runs[1]))
    beside = {key: ours[0][-1][key] for key in ("floor", "copy_previous", "mixture")}
    curves = {"curves": {"published": theirs, "ours": ours}}
    return time_to_quality(theirs, ours, float(np.median(costs))) | beside | curves


def main(argv: Sequence[str] | None = None) -> int:
    """Race, and put the result into the record of the benchmark; refuse where the machine is busy."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--publish", action="store_true", help="write results/published/bench.json, too")
    given = parser.parse_args(argv)
    named = about("cpu")
    place = paths.BUILD / "race" / named["code"][-16:]

    def all_races() -> dict:
        found = {}
        for name in RACES:
            say(f"{name} ...")
            found[name] = race(inner_problem(name), range(given.seeds), place / name)
        return found

    found, busy = busy_while(all_races)
    return record({"time_to_quality": named | found | {"others_busy_cores": busy}}, busy, publish=given.publish)


if __name__ == "__main__":
    sys.exit(main())
