"""A panel of report ``counts``: methods against the strength of what was done to the cells."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from scimf.plots.methods import FLOOR_STYLE
from scimf.plots.style import METHOD_LABELS


def against_strength(
    ax: Axes,
    table: pd.DataFrame,
    points: pd.Series,
    *,
    ylabel: str,
    colours: Mapping[str, str],
    floor: Mapping[float, float],
) -> Axes:
    """One line per method over an effect's strength, with intervals.

    Parameters
    ----------
    table
        Index (strength, method), columns mean, and lo, hi where known.
    points
        Single replicates, index (strength, seed, method), drawn faintly.
    colours
        By method, in the order in which the methods are set apart a little.
    floor
        By strength, dashed.
    """
    strengths = sorted(table.index.get_level_values(0).unique())
    step = (strengths[-1] - strengths[0] or 1) * 0.025
    for k, (method, colour) in enumerate(colours.items()):
        marker = "osD^v"[k % 5]
        shift = (k - (len(colours) - 1) / 2) * step
        single = points.xs(method, level=2)
        at = single.index.get_level_values(0) + shift
        ax.plot(at, single, marker, ms=3, color=colour, alpha=0.35, mec="none")
        part = table.xs(method, level=1).loc[strengths]
        at = np.array(strengths) + shift
        ax.plot(at, part["mean"], marker, ls="-", ms=4, lw=1, color=colour, label=method)
        if "lo" in part:
            ax.vlines(at, part["lo"], part["hi"], color=colour, lw=1)
    floors = [floor[strength] for strength in strengths]
    ax.plot(strengths, floors, label=METHOD_LABELS["floor"], **FLOOR_STYLE)
    ax.set(xlabel="strength of the perturbations", ylabel=ylabel, xticks=strengths)
    return ax
