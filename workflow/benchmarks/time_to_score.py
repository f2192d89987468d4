"""Seconds to the same score, training as published against ours: ``make bench-quality``.

Both are trained on the training times of a set-up of the scoreboard, of which an inner time was
held out once more; no cell of the scoreboard's own held-out times takes part. The published
training is scored after 1, 2, 4, ... steps; the mark is the best of these scores, and ours is
asked how soon it was as good. Where the published curve is flat, noise decides which point is the
best: the curves are recorded, to read the ratio at any other. Ours is fitted from the start at
each of its ``LENGTHS``, because its step size falls to zero at the end, and each fit pays for all
of its time. Scoring is not counted.

An hour of published training fits into minutes: its steps are taken by the engine of
:func:`scimf.fit`, which has the same loss and gradients (``make bench`` measures that), and each
is priced at what the step costs as published.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from evidence.boards import BOARDS
from evidence.choices import recommended
from evidence.setups import Sampler, Setup, inner_setup, predicted, setups
from evidence.two_sided import TwoSided, reversed_time

import scimf
from scimf.core import paths
from scimf.core.files import write_file
from scimf.dynamics.config import SDEConfig
from scimf.dynamics.fit import fit
from scimf.evaluation.baselines import BASELINES
from scimf.evaluation.held_out import Scoring, evaluate
from scimf.evaluation.summary import interval
from scimf.notebook import say
from workflow.benchmarks.published_training import PublishedTraining
from workflow.benchmarks.record import about, record
from workflow.benchmarks.timing import BUSY, busy_while, in_turns, look, others_busy, spread

#: Boards of the scoreboard by their name here.
PROBLEMS = {"cite": "cite50.bridge_plus", "typed": "typed"}
STEPS = 256  #: of the published training
LENGTHS = (10, 20, 50, 100, 200)  #: steps of our fits; the last is what the scoreboard takes
SCORING = Scoring(n=2500, metrics=("energy_distance",))
_WITHOUT_MODEL = ("copy_previous", "mixture")
#: Points of a training curve, in the order of its steps.
Curve = list[dict[str, float]]


def inner_problem(name: str) -> Setup:
    """Return the inner problem of the first set-up of a board."""
    board = BOARDS[PROBLEMS[name]]
    first = next(setups(board, scimf.load(board.dataset, **board.options)))
    return inner_setup(first, board.n_pcs)


def scores(models: dict[str, Sampler], setup: Setup, seed: int) -> dict[str, float]:
    """Mean energy distance at the held-out snapshots, each predicted from the one before.

    Of models, the floor, and predictions without a model.
    """
    cells = {name: predicted(model, setup, seed=seed) for name, model in models.items()}
    baselines = {name: BASELINES[name] for name in _WITHOUT_MODEL}
    table = evaluate(cells, setup.adata, setup.split, scoring=SCORING, baselines=baselines)
    means = table.groupby("method")["value"].mean()
    return {name: float(value) for name, value in means.items()}


# ------------------------------------------------------------------------------------- two curves


def published_curve(
    setup: Setup, seed: int, *, steps: int, config: SDEConfig | None = None
) -> Curve:
    """Scores after 1, 2, 4, ... and ``steps`` published steps, and seconds by our engine."""
    training = PublishedTraining(setup, seed, config or SDEConfig.paper())
    curve = []
    spent = 0.0
    while training.steps < steps:
        begin = time.perf_counter()
        training.step(training.by_engine)
        spent += time.perf_counter() - begin
        is_power_of_two = training.steps & (training.steps - 1) == 0
        if is_power_of_two or training.steps == steps:
            score = scores({"published": training.model}, setup, seed)["published"]
            curve.append({"steps": training.steps, "engine_seconds": spent, "score": score})
    return curve


def our_curve(setup: Setup, seed: int, lengths: Sequence[int]) -> Curve:
    """Seconds and scores of fits of each length: two-sided, as recommended, and forward alone."""
    options = {"seed": seed, "device": "cpu", "progress": False}
    known = (setup.adata, setup.split, setup.space)
    adata, nothing_held = reversed_time(setup.adata, setup.split)
    # The space saw the cells of the same training times.
    reverse = (adata, nothing_held, replace(setup.space, split=nothing_held))
    fit(*known, config=recommended(steps=1), **options)  # what is loaded or planned once
    curve = []
    for steps in lengths:
        config = recommended(steps=steps)
        begin = time.perf_counter()
        forward = fit(*known, config=config, **options)
        middle = time.perf_counter()
        both = TwoSided(forward, fit(*reverse, config=config, **options))
        end = time.perf_counter()
        point = {"steps": steps, "seconds": end - begin, "forward_seconds": middle - begin}
        curve.append(point | scores({"score": both, "forward_score": forward}, setup, seed))
    return curve


# ------------------------------------------------------------------------------- their comparison


def time_to_quality(theirs: Sequence[Curve], ours: Sequence[Curve], price: float) -> dict:
    """Compare curves, one pair a training seed; ``price`` is seconds of a published step.

    ``speedup``: seconds of published training to its best score, over ours to a score at most
    that; median and ends over seeds. A seed with which ours never comes that close counts as 0,
    and then our seconds are not recorded.
    """
    rows = [_seconds_to_best(a, b, price) for a, b in zip(theirs, ours, strict=True)]
    columns = {key: np.array([row[key] for row in rows]) for key in rows[0]}
    found = {"n_seeds": len(rows), "seconds_per_published_step": price}
    for kind in ("", "forward_"):
        ratio = columns["published_seconds"] / columns[f"{kind}seconds"]
        difference = columns[f"{kind}score"] - columns["published_score"]
        found[f"{kind}speedup"] = spread(ratio)
        found[f"{kind}score_difference"] = interval(difference)
    for key in ("published_score", "score", "forward_score"):
        found[key] = interval(columns[key])
    for key in ("published_seconds", "published_engine_seconds", "seconds", "forward_seconds"):
        found[key] = spread(columns[key]) if np.isfinite(columns[key]).all() else None
    return found


def _seconds_to_best(theirs: Curve, ours: Curve, price: float) -> dict[str, float]:
    """Seconds of each to the best published score, infinite where ours never is as good."""
    best = min(theirs, key=lambda point: point["score"])
    row = {
        "published_score": best["score"],
        "published_seconds": best["steps"] * price,
        "published_engine_seconds": best["engine_seconds"],
        "score": ours[-1]["score"],
        "forward_score": ours[-1]["forward_score"],
    }
    for kind in ("", "forward_"):
        row[f"{kind}seconds"] = np.inf
        for point in ours:
            if point[f"{kind}score"] <= best["score"]:
                row[f"{kind}seconds"] = point[f"{kind}seconds"]
                break
    return row


def kept(path: Path, run: Callable[[], list]) -> list:
    """Read the result in ``path``; if there is none, run: an interrupted comparison goes on.

    What was measured while others kept the machine busy is returned and not written, so that no
    later comparison, on a free machine, publishes it.
    """
    if path.is_file():
        return json.loads(path.read_text(encoding="utf-8"))
    start = look()
    found = run()
    if not others_busy(start) > BUSY:  # NaN: nobody knows
        write_file(path, json.dumps(found))
    return found


def compare(
    setup: Setup,
    seeds: Iterable[int],
    place: Path,
    *,
    steps: int = STEPS,
    lengths: Sequence[int] = LENGTHS,
    config: SDEConfig | None = None,
) -> dict:
    """Run the published training and ours on a set-up with each training seed, and compare."""
    price = kept(place / "step.json", partial(_seconds_per_step, setup, config))
    theirs = []
    ours = []
    for seed in seeds:
        say(f"  seed {seed} ...")
        run = partial(published_curve, setup, seed, steps=steps, config=config)
        theirs.append(kept(place / f"published_{seed}.json", run))
        run = partial(our_curve, setup, seed, lengths)
        ours.append(kept(place / f"ours_{seed}.json", run))
    found = time_to_quality(theirs, ours, float(np.median(price)))
    for key in ("floor", *_WITHOUT_MODEL):
        found[key] = ours[0][-1][key]
    found["curves"] = {"published": theirs, "ours": ours}
    return found


def _seconds_per_step(setup: Setup, config: SDEConfig | None) -> list[float]:
    training = PublishedTraining(setup, 0, config or SDEConfig.paper())
    written_out = partial(training.step, training.written_out)
    return in_turns({"published": written_out}, 3)["published"].tolist()


def compare_all(seeds: Iterable[int], place: Path) -> dict:
    """Compare on every problem."""
    found = {}
    for name in PROBLEMS:
        say(f"{name} ...")
        found[name] = compare(inner_problem(name), seeds, place / name)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, and put the result into the record of the benchmarks; refuse on a busy machine."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--publish", action="store_true", help="into results/published, too")
    given = parser.parse_args(arguments)
    named = about("cpu", compare_all)
    place = paths.BUILD / "time_to_score" / named["code"]
    found, busy = busy_while(partial(compare_all, range(given.seeds), place))
    found = {"time_to_quality": named | found | {"others_busy_cores": busy}}
    return record(found, busy, publish=given.publish)


if __name__ == "__main__":
    sys.exit(main())
