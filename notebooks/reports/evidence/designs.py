"""What a design promises before any fit, and what is then seen in simulation.

Designs are drawn at random: how many populations, cells, types and times, how wide the densities.
The prediction (:mod:`scimf.interaction.plan`) knows counts, densities and times; the spread and the
distance of types are those of cells that do not interact, measured in the same design.
"""

import numpy as np
from scimf.dynamics.snapshots import KEY
from scimf.interaction.permutation import edge_p_values, permutation_test
from scimf.interaction.plan import LEVEL, Design, plan_experiment
from scimf.interaction.type_means import TypeSnapshots
from scimf.interaction.who_moves_whom import who_moves_whom
from scimf.simulate.systems import typed

from evidence.closed_form import simulated, true_strengths

TIMES = ((0, 1, 2, 3, 4), (0, 1, 2), (0, 2, 4), (0, 0.5, 1, 1.5, 2), (0, 0.5, 1, 2, 4))
DENSITIES = (1.25, 1.5, 2.0, 3.0)  #: densities are from one over this to this
POPULATIONS = (6, 40)  #: fewest and most
CELLS = (30, 150)
TYPES = (3, 6)
ACTIVE = 0.4  #: share of pairs that interact
PERMUTATIONS = 199
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
        ``predicted`` and ``seen``, root mean squares over the pairs that can be told, ``seen`` over
        ``replicates`` experiments, too: strengths less those of the true force on the same cells;
        ``told``, the share of pairs that can be told; and the design.
    """
    options = drawn_design(seed)
    design = Design.of(simulated(**options, strength=NONE))
    predicted = design.standard_errors()
    others = ~np.eye(len(design.types), dtype=bool)
    told = others & (predicted < 1)
    squares = []
    for replicate in range(1, replicates + 1):
        adata = simulated(**options, replicate=replicate)
        found = who_moves_whom(adata, form="towards", permutations=1)
        snapshots = found.model.snapshots
        off = found.model.strengths() - true_strengths(adata, snapshots)
        squares.append((off[told] ** 2).mean())
    return {
        "predicted": float(np.sqrt((predicted[told] ** 2).mean())),
        "seen": float(np.sqrt(np.mean(squares))),
        "told": float(told[others].mean()),
        "n_populations": options["n_populations"],
        "n_cells": options["n_cells"],
    }


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


def unsaturated(distance: float) -> float:
    """Strength of the force of ``typed`` that pulls as much as a plain pull of strength 1 does."""
    return float(np.sqrt(1 + distance**2))
