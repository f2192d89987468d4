"""What a design promises before any fit, and what is then seen in simulation.

Designs are drawn at random: how many populations, cells, types and times, how wide the densities.
The prediction (:mod:`scimf.interaction.plan`) knows counts, densities and times; the spread and the
distance of types are those of cells that do not interact, measured in the same design.
"""

from dataclasses import replace

import anndata as ad
import numpy as np
import pandas as pd
from scimf.interaction.permutation import edge_p_values, permutation_test
from scimf.interaction.plan import LEVEL, Design, plan_experiment
from scimf.interaction.type_means import TypeSnapshots
from scimf.interaction.who_moves_whom import who_moves_whom

from evidence.closed_form import simulated, true_matrix, true_strengths

TIMES = ((0, 1, 2, 3, 4), (0, 1, 2), (0, 2, 4), (0, 0.5, 1, 1.5, 2), (0, 0.5, 1, 2, 4))
DENSITIES = (1.25, 1.5, 2.0, 3.0)  #: densities are from one over this to this
POPULATIONS = (8, 40)  #: fewest and most
CELLS = (40, 150)
TYPES = (3, 6)
ACTIVE = 0.4  #: share of pairs that interact
PERMUTATIONS = 199
WEAK = 0.3  #: power of the test of a pair before advice is taken
PROMISED = 0.8
CANNOT = 1.0  #: predicted standard error of a pair that cannot be told
NONE = (1e-9, 1e-9)  #: range of strengths that move nobody, with the same random numbers


def drawn_design(seed: int) -> dict:
    """Options of the simulator for a design that is drawn at random."""
    rng = np.random.default_rng([seed, len(TIMES)])
    widest = DENSITIES[rng.integers(len(DENSITIES))]
    return {
        "seed": seed,
        "n_populations": round(np.exp(rng.uniform(*np.log(POPULATIONS)))),
        "n_cells": round(np.exp(rng.uniform(*np.log(CELLS)))),
        "n_types": int(rng.integers(TYPES[0], TYPES[1] + 1)),
        "times": tuple(map(float, TIMES[rng.integers(len(TIMES))])),
        "density_range": (1 / widest, widest),
        "active": ACTIVE,
    }


def precision_of(*, seed: int, replicates: int) -> dict:
    """Predicted and seen standard error of the strengths of a drawn design.

    Returns
    -------
    dict
        ``predicted`` and ``seen``, root mean squares over the pairs that can be told: ``seen`` is
        the spread over ``replicates`` experiments with the same cultures, of strengths less those
        of the true force on the same cells. ``error`` is the root mean square of that difference,
        with what is the same in all experiments, and ``too_strong`` the share of the true strengths
        that this adds. ``told``, the share of pairs that can be told; ``remembering``, what is
        predicted if cells do not forget what moved them; ``longest``, the longest interval; and the
        size. If a type is too rare for a fit nothing is told and seen.
    """
    options = drawn_design(seed)
    design = Design.of(simulated(**options, strength=NONE))
    predicted = design.standard_errors()
    others = ~np.eye(len(design.types), dtype=bool)
    told = others & (predicted < CANNOT)
    found, true = [], []
    for replicate in range(1, replicates + 1):
        adata = simulated(**options, replicate=replicate)
        try:
            model = who_moves_whom(adata, form="towards", permutations=1).model
        except ValueError:
            told = told & False
            break
        found.append(model.strengths())
        true.append(true_strengths(adata, model.snapshots))
    answer = {"told": float(told[others].mean()), "longest": float(np.diff(design.times).max())}
    answer |= dict.fromkeys(("seen", "error", "too_strong"))
    if told.any():
        strengths = np.stack(true)[:, told]  # (replicates, pairs)
        off = np.stack(found)[:, told] - strengths
        answer["seen"] = float(np.sqrt(off.var(0, ddof=1).mean()))
        answer["error"] = float(np.sqrt((off**2).mean()))
        answer["too_strong"] = float((off * strengths).sum() / (strengths**2).sum())
    for name, each in (("predicted", design), ("remembering", replace(design, rate=0.0))):
        size = each.standard_errors()[told] ** 2
        answer[name] = float(np.sqrt(size.mean())) if told.any() else None
    return answer | {name: options[name] for name in ("n_populations", "n_cells")}


def power_of(*, seed: int, bounds: tuple[float, float]) -> dict:
    """Predicted power of the test in a drawn design, and whether it finds the interaction.

    The strength is chosen so that the predicted power is uniform between ``bounds``.

    Returns
    -------
    dict
        ``predicted``; ``found``, 1 if p is at most 0.05; and ``strength``.
    """
    options = drawn_design(seed)
    design = Design.of(simulated(**options, strength=NONE))
    wanted = np.random.default_rng([seed, 1]).uniform(*bounds)
    strengths = np.geomspace(1e-3, 3, 400)
    powers = np.array([design.power(strength, active=ACTIVE) for strength in strengths])
    k = int(np.abs(powers - wanted).argmin())
    of_force = strengths[k] * unsaturated(design.distance)
    adata = simulated(**options, strength=(of_force, of_force))
    p = permutation_test(TypeSnapshots.of(adata), n=PERMUTATIONS, seed=seed).p
    found = int(p <= LEVEL)
    return {"predicted": powers[k], "found": found, "strength": strengths[k]}


def advice_followed(*, seed: int, draws: int) -> dict:
    """Do what :func:`plan_experiment` says for one pair, ``draws`` times, and ask for that pair.

    The pair interacts, but so weakly that it is found with probability 0.3 as things are. Even
    seeds measure more cells, odd ones have every culture several times.

    Returns
    -------
    dict
        ``promised``, the predicted power of the larger experiment; ``seen``, how often p was at
        most 0.05; ``populations`` and ``cells`` of that experiment.
    """
    options = drawn_design(seed)
    adata = simulated(**options, strength=NONE)
    design = Design.of(adata)
    pairs = np.argwhere(true_matrix(adata, design.types) != 0)
    a, b = pairs[np.random.default_rng([seed, 2]).integers(len(pairs))]
    strengths = design.standard_errors()[a, b] * np.geomspace(0.1, 10, 400)
    powers = [design.power_of_pairs(strength)[a, b] for strength in strengths]
    strength = float(strengths[np.abs(np.array(powers) - WEAK).argmin()])
    asked = {"strength": strength, "power": PROMISED}
    advice = _plan_of(design, a, b, asked)
    again = 1
    if seed % 2:
        again = int(np.ceil(advice["populations"] / options["n_populations"]))
        larger = design.more(populations=again)
    else:
        larger = design.more(cells=advice["cells"] / options["n_cells"])
        options["n_cells"] = int(advice["cells"])
    force = strength * unsaturated(design.distance)
    options["strength"] = (force, force)
    found = 0
    for draw in range(draws):
        snapshots = TypeSnapshots.of(_cultures(again, 1 + draw * again, options))
        found += edge_p_values(snapshots, n=PERMUTATIONS, seed=draw)[a, b] <= LEVEL
    return {
        "promised": float(_plan_of(larger, a, b, asked)["power"]),
        "seen": float(found / draws),
        "populations": again * options["n_populations"],
        "cells": options["n_cells"],
    }


def _plan_of(design: Design, receiver: int, sender: int, asked: dict) -> pd.Series:
    plan = plan_experiment(design, **asked).set_index(["receiver", "sender"])
    return plan.loc[(design.types[receiver], design.types[sender])]


def _cultures(again: int, first: int, options: dict) -> ad.AnnData:
    """Every culture ``again`` times, with other cells each time."""
    parts = []
    for replicate in range(first, first + again):
        part = simulated(**options, replicate=replicate)
        names = part.obs["population"].astype(str)
        part.obs["population"] = names + f".{replicate}"
        parts.append(part)
    return ad.concat(parts, index_unique="-")


def unsaturated(distance: float) -> float:
    """Strength of the force of ``typed`` that pulls as much as a plain pull of strength 1 does."""
    return float(np.sqrt(1 + distance**2))
