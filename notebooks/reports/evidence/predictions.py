"""Predictions of every trained method for one set-up."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scimf.dynamics.fit import fit_many
from scimf.dynamics.model import matched_config

from evidence.choices import PACED, Choice, recommended
from evidence.other_methods import (
    attention,
    fit_flow_matching,
    neural_ode,
    occupancy,
    potential_sde,
    shortened,
)
from evidence.setups import Sampler, Setup, predicted
from evidence.two_sided import fit_two_sided

if TYPE_CHECKING:
    from anndata import AnnData

#: Methods that are trained, by their names in tables. All other rows are baselines without
#: training.
LEARNED = (
    "scimf",
    "scimf_paced",
    "scimf_forward",
    "no_interaction",
    "attention",
    "occupancy",
    "published",
    "neural_ode",
    "potential_sde",
    "flow_matching",
)
#: Left out where a report does not ask for them.
EXTRA = ("scimf_paced", "occupancy", "published")

#: What a prediction is made by: (method, training seed).
Trained = tuple[str, int]


@dataclass(frozen=True, kw_only=True)
class Training:
    """Which methods are trained, how often, and how long.

    Attributes
    ----------
    methods
        Some of :data:`LEARNED`. "scimf_forward" is half of the fits of "scimf" and comes with it
        only.
    seeds
        Training seeds of ours, of the model without interaction, and of flow matching.
    peer_seeds
        Training seeds of the other configurations.
    steps
        Optimiser steps of every fit.
    """

    methods: tuple[str, ...] = LEARNED
    seeds: tuple[int, ...] = (0,)
    peer_seeds: tuple[int, ...] = (0,)
    steps: int = 200


def predict(
    setup: Setup,
    choice: Choice,
    training: Training,
    *,
    cache: Path,
    device: str = "auto",
    workers: int | None = None,
) -> dict[Trained, "AnnData"]:
    """Fit every method with every seed and return predicted cells; fits are cached.

    The model of equal size without interaction uses the same choice as ours, other methods their
    own form and the same budget of steps. Every cloud has as many cells as the snapshot before.

    Returns
    -------
    dict
        ``(method, seed) -> AnnData``.
    """
    options = {"cache": cache, "device": device, "workers": workers}
    models: dict[Trained, Sampler] = {}
    models |= _fit_ours(setup, choice, training, options)
    models |= _fit_paced(setup, training, options)
    models |= _fit_other_forms(setup, choice, training, options)
    models |= _fit_flows(setup, training)
    samples = {}
    for (method, seed), model in models.items():
        samples[method, seed] = predicted(model, setup, seed=seed)
    return samples


def _fit_ours(
    setup: Setup, choice: Choice, training: Training, options: dict
) -> dict[Trained, Sampler]:
    """Fit ours, of which forward time is a part, and the model without interaction."""
    ours = recommended(steps=training.steps, kinetic_weight=choice.kinetic_weight)
    configs = {"scimf": ours, "no_interaction": matched_config(setup.space.dim, ours)}
    fits = fit_two_sided(
        *setup.problem,
        configs=_asked(configs, training),
        seeds=training.seeds,
        mix=choice.mix,
        **options,
    )
    models: dict[Trained, Sampler] = dict(fits)
    if "scimf_forward" in training.methods:
        for (method, seed), model in fits.items():
            if method == "scimf":
                models["scimf_forward", seed] = model.forward
    return models


def _fit_paced(setup: Setup, training: Training, options: dict) -> dict[Trained, Sampler]:
    """Fit ours with the second frozen choice."""
    paced = recommended(steps=training.steps, kinetic_weight=PACED.kinetic_weight)
    configs = _asked({"scimf_paced": paced}, training)
    return fit_two_sided(
        *setup.problem, configs=configs, seeds=training.seeds, mix=PACED.mix, **options
    )


def _fit_other_forms(
    setup: Setup, choice: Choice, training: Training, options: dict
) -> dict[Trained, Sampler]:
    """Fit other configurations of the same SDE, in forward time."""
    plain = recommended(steps=training.steps)
    ours = recommended(steps=training.steps, kinetic_weight=choice.kinetic_weight)
    configs = {
        "attention": attention(ours),
        "occupancy": occupancy(ours),
        "published": shortened(plain),
        "neural_ode": neural_ode(plain),
        "potential_sde": potential_sde(plain),
    }
    return fit_many(
        *setup.problem, configs=_asked(configs, training), seeds=training.peer_seeds, **options
    )


def _fit_flows(setup: Setup, training: Training) -> dict[Trained, Sampler]:
    models = {}
    if "flow_matching" in training.methods:
        hidden = recommended().hidden
        for seed in training.seeds:
            models["flow_matching", seed] = fit_flow_matching(
                setup.adata, setup.split, hidden=hidden, steps=training.steps, seed=seed
            )
    return models


def _asked(configs: dict, training: Training) -> dict:
    return {name: config for name, config in configs.items() if name in training.methods}
