"""Cells in two coordinates: by time, by type, with arrows."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from scimf.plots.style import type_colours


def cells(
    ax: Axes, xy: np.ndarray, values: np.ndarray, *, labels: tuple[str, str], bar: str = ""
) -> Axes:
    """Scatter of (cells, 2) in random order, so that no time and no type hides another.

    ``values`` (cells,) are numbers, such as times, shown in a colour bar called ``bar``, or texts,
    such as cell types, shown in a legend. ``labels`` name the two coordinates.
    """
    order = np.random.default_rng(0).permutation(len(xy))
    style = {"s": 2, "linewidths": 0, "rasterized": True}
    if np.issubdtype(values.dtype, np.number):
        points = ax.scatter(*xy[order].T, c=values[order], cmap="viridis", **style)
        ax.figure.colorbar(points, ax=ax, label=bar, shrink=0.8)
        return _without_ticks(ax, labels)
    colours = type_colours(set(values))
    ax.scatter(*xy[order].T, c=[colours[name] for name in values[order]], **style)
    for name, colour in colours.items():
        ax.plot([], [], "o", ms=3, color=colour, label=name)
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), handletextpad=0.1)
    return _without_ticks(ax, labels)


def arrows(
    ax: Axes,
    xy: np.ndarray,
    uv: np.ndarray,
    *,
    background: np.ndarray,
    colours: Any,
    labels: tuple[str, str],
    scale: float | None = None,
) -> Axes:
    """Velocity arrows (arrows, 2) at (arrows, 2) over all cells (cells, 2) in grey.

    ``colours``: one, or one per arrow. ``scale``: velocity that is drawn as one data unit.
    """
    ax.scatter(*background.T, s=2, color="0.85", linewidths=0, rasterized=True)
    style = {"angles": "xy", "scale_units": "xy", "scale": scale, "width": 0.005}
    ax.quiver(*xy.T, *uv.T, color=colours, **style)
    ax.margins(0.12)  # arrows do not count when the limits are chosen
    return _without_ticks(ax, labels)


def _without_ticks(ax: Axes, labels: tuple[str, str]) -> Axes:
    """Name coordinates whose values mean nothing."""
    ax.set(xlabel=labels[0], ylabel=labels[1], xticks=[], yticks=[])
    return ax
