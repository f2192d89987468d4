"""Methods beside each other: scores with their intervals, agreement of two."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from scimf.plots.style import METHOD_COLOURS, METHOD_LABELS

FLOOR_STYLE = {"color": METHOD_COLOURS["floor"], "lw": 0.8, "ls": "--"}


def scores(
    ax: Axes,
    table: pd.DataFrame,
    *,
    xlabel: str,
    floor: float | None = None,
    ceiling: float | None = None,
    colours: Mapping[str, str] = METHOD_COLOURS,
) -> Axes:
    """Dots with 95 % intervals, one row per method.

    ``table`` has the methods as index and columns mean, and lo and hi where there is an interval.
    ``floor`` is a dashed line, real cells against real cells, ``ceiling`` a dotted one, what the
    autoencoder alone can do; ``colours`` are by method, black if there is none.
    """
    for k, (method, row) in enumerate(table[::-1].iterrows()):
        colour = colours.get(method, "black")
        if np.isfinite(row.get("lo", np.nan)):
            ax.plot([row["lo"], row["hi"]], [k, k], color=colour, lw=1.5)
        ax.plot(row["mean"], k, "o", ms=4, color=colour, mec="black", mew=0.3)
    if floor is not None:
        ax.axvline(floor, zorder=0, label=METHOD_LABELS["floor"], **FLOOR_STYLE)
    if ceiling is not None:
        style = {"color": "0.2", "lw": 0.9, "ls": ":"}
        ax.axvline(ceiling, zorder=0, label="ceiling (reconstruction)", **style)
    names = [METHOD_LABELS.get(method, method) for method in table.index[::-1]]
    ax.set(yticks=range(len(table)), yticklabels=names, ylim=(-0.6, len(table) - 0.4))
    ax.set_xlabel(xlabel)
    return ax


def agreement(
    ax: Axes, x: np.ndarray, y: np.ndarray, *, xlabel: str, ylabel: str, size: float = 3
) -> Axes:
    """Scatter of two equal-sized sets of numbers with the diagonal; smaller dots are fainter."""
    ends = [float(min(x.min(), y.min())), float(max(x.max(), y.max()))]
    ax.plot(ends, ends, color="0.6", lw=0.8, zorder=0)
    ax.scatter(x, y, s=size, linewidths=0, alpha=min(1, size / 8), rasterized=True)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    return ax
