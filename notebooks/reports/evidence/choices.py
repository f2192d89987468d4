"""What is chosen without held-out cells: the kinetic weight of fits and the mix of predictions.

What can be chosen on the training times of a set-up is (:func:`choose`); what cannot is a default
that was chosen on training times of other data sets and committed before the scores were made.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from scimf.dynamics.config import SDEConfig
from scimf.evaluation.baselines import BASELINES
from scimf.evaluation.held_out import Scoring, evaluate

from evidence.setups import Setup, inner_setup, predicted
from evidence.two_sided import Mix, fit_two_sided

#: What settings are chosen by.
ENERGY = Scoring(metrics=("energy_distance",))


@dataclass(frozen=True)
class Choice:
    """The kinetic weight of the fits, and the mix of predictions with cells that do not move."""

    kinetic_weight: float = 0.0
    mix: Mix = Mix(moved=2 / 3, power=1.0)

    def __str__(self) -> str:
        mix = f"moved {self.mix.moved:.2f}, power {self.mix.power:g}"
        return f"kinetic weight {self.kinetic_weight:g}, {mix}"


#: The second frozen choice, scored as "scimf_paced": cells move at constant speed, and two thirds
#: stay where they are. The first one (the default of :class:`Choice`) came before it and stays the
#: headline; report ``scoreboard`` tells why and how.
PACED = Choice(0.003, Mix(moved=1 / 3, power=1.0))


def _neighbour_choices() -> tuple[Choice, ...]:
    found = []
    for kinetic_weight in (0.0, 0.001, 0.003):
        for moved in (1 / 3, 1 / 2, 2 / 3, 1.0):
            found.append(Choice(kinetic_weight, Mix(moved)))
    return tuple(found)


def _nested_choices() -> tuple[Choice, ...]:
    found = []
    for kinetic_weight in (0.0, 0.003):
        for moved in (1 / 3, 2 / 3, 1.0):
            for power in (0.0, 1.0, np.inf):
                found.append(Choice(kinetic_weight, Mix(moved, power)))
    return tuple(found)


#: PACED is the best of these between neighbours inside the training times of the development
#: boards.
NEIGHBOUR_CHOICES = _neighbour_choices()
#: Where at least two times can be held out inside the training times, the best of these there.
NESTED_CHOICES = _nested_choices()


def recommended(**changes) -> SDEConfig:
    """Return the configuration that is scored on every board.

    Its kinetic weight is part of a :class:`Choice`.
    """
    settings = {
        "hidden": (128, 128),
        "hidden_interaction": 128,
        "batch_cells": 256,
        "target_cells": 512,
        "steps": 200,
    }
    return SDEConfig(**(settings | changes))


def compare_choices(
    setup: Setup,
    choices: tuple[Choice, ...],
    *,
    cache: Path,
    seeds: Iterable[int] = (0,),
    steps: int = 200,
    **options,
) -> pd.Series:
    """Compare choices on an inner problem.

    Parameters
    ----------
    setup, choices
        The problem, from :func:`evidence.setups.inner_setup`, and what may be chosen.
    cache, seeds, steps, options
        Folder of the fits, training seeds, optimiser steps; others as for
        :func:`evidence.two_sided.fit_two_sided`.

    Returns
    -------
    Series
        Mean energy distance by the text of a choice, and of "mixture" and "copy_previous".
    """
    configs = {}
    for weight in sorted({choice.kinetic_weight for choice in choices}):
        configs[f"{weight:g}"] = recommended(kinetic_weight=weight, steps=steps)
    fits = fit_two_sided(*setup.problem, configs=configs, seeds=seeds, cache=cache, **options)
    samples = {}
    choice_of = {}
    for (weight, seed), model in fits.items():
        for choice in choices:
            if f"{choice.kinetic_weight:g}" == weight:
                name = f"{choice} / {seed}"
                samples[name] = predicted(replace(model, mix=choice.mix), setup, seed=seed)
                choice_of[name] = str(choice)
    kept = {name: BASELINES[name] for name in ("copy_previous", "mixture")}
    table = evaluate(samples, setup.adata, setup.split, scoring=ENERGY, baselines=kept)
    by_choice = table.groupby(table["method"].replace(choice_of), sort=False)
    return by_choice["value"].mean()


def choose(setup: Setup, n_pcs: int, *, cache: Path, **options) -> tuple[Choice, pd.Series | None]:
    """Return the choice for a set-up and the inner scores it rests on; no held-out cell is touched.

    Times held out inside its own training times decide if there are at least two of them: one would
    make a choice among eighteen a coin toss. Otherwise the default of :class:`Choice` holds.
    Options are those of :func:`compare_choices`.
    """
    inner = inner_setup(setup, n_pcs)
    if inner is None or len(inner.split.held_times) < 2:
        return Choice(), None
    scores = compare_choices(inner, NESTED_CHOICES, cache=cache, **options)
    return min(NESTED_CHOICES, key=lambda choice: scores[str(choice)]), scores
