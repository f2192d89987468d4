"""One function per panel: arrays in, ``Axes`` out; no computing, no saving."""

from scimf.plots.cells import arrows, cells, predicted_and_observed
from scimf.plots.counts import gene_curve, mean_variance, paths_in_time
from scimf.plots.maps import influence_map, pair_matrix
from scimf.plots.methods import agreement, loss_curves, scores
from scimf.plots.style import METHOD_COLOURS, METHOD_LABELS, PALETTE, type_colours, use_style

__all__ = [
    "METHOD_COLOURS",
    "METHOD_LABELS",
    "PALETTE",
    "agreement",
    "arrows",
    "cells",
    "gene_curve",
    "influence_map",
    "loss_curves",
    "mean_variance",
    "pair_matrix",
    "paths_in_time",
    "predicted_and_observed",
    "scores",
    "type_colours",
    "use_style",
]
