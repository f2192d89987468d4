"""One function per panel: arrays in, ``Axes`` out; no computing, no saving."""

from scimf.plots.cells import arrows, cells, predicted_and_observed
from scimf.plots.maps import influence_map, pair_matrix, plan_map
from scimf.plots.methods import agreement, scores
from scimf.plots.style import METHOD_COLOURS, METHOD_LABELS, PALETTE, type_colours, use_style

__all__ = [
    "METHOD_COLOURS",
    "METHOD_LABELS",
    "PALETTE",
    "agreement",
    "arrows",
    "cells",
    "influence_map",
    "pair_matrix",
    "plan_map",
    "predicted_and_observed",
    "scores",
    "type_colours",
    "use_style",
]
