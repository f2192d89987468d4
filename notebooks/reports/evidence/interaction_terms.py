"""The interaction terms of networks that are compared: settings, all else equal."""

from dataclasses import replace

from scimf.dynamics.config import SDEConfig

FORMS = ("additive", "attention", "occupancy")


def forms_of(base: SDEConfig, heads: int = 2) -> dict[str, SDEConfig]:
    """Return settings of the interaction terms that are compared, all else equal."""
    additive = replace(base, heads=heads)
    attention = replace(additive, interaction="attention", dropout=0.1)
    occupancy = replace(additive, interaction="occupancy")
    return dict(zip(FORMS, (additive, attention, occupancy), strict=True))


def on_types(steps: int) -> dict[str, SDEConfig]:
    """Forms for cells of several types.

    A split is learned slowly, noise fast: the additive form gets three aids, chosen on matrices
    that no report shows. It learns what is heard *beyond the average population* (``centred``), its
    weights decay (``interaction_decay``), its steps are larger.
    """
    size = {"steps": steps, "batch_cells": 200, "target_cells": 200}
    base = SDEConfig(start="t0", sigma=0.15, dt=1.0, lr=1e-2, drift="relaxing", **size)
    aided = replace(base, lr=2e-2, interaction_decay=0.3, centred=True)
    return forms_of(base) | {"additive": aided}
