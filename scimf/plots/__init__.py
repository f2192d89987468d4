"""One function per panel: arrays in, ``Axes`` out; no computing, no saving."""

from scimf.plots.cells import arrows, cells
from scimf.plots.methods import agreement, scores
from scimf.plots.style import METHOD_COLOURS, METHOD_LABELS, PALETTE, type_colours

__all__ = [
    "METHOD_COLOURS",
    "METHOD_LABELS",
    "PALETTE",
    "agreement",
    "arrows",
    "cells",
    "scores",
    "type_colours",
]
