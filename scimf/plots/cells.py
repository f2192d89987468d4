"""Cells in two coordinates: by time, by type, predicted beside observed, with arrows."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from scimf.plots.style import type_colours


def cells_by_time(
    ax: Axes, xy: np.ndarray, time: np.ndarray, *, unit: str, labels: tuple[str, str]
) -> Axes:
    """Scatter of (cells, 2), coloured by real time.

    The order is random, so that no time hides another. ``labels`` name the two coordinates.
    """
    order = np.random.default_rng(0).permutation(len(xy))
    style = {"s": 2, "cmap": "viridis", "linewidths": 0, "rasterized": True}
    points = ax.scatter(*xy[order].T, c=time[order], **style)
    ax.figure.colorbar(points, ax=ax, label=f"time ({unit})", shrink=0.8)
    return _without_ticks(ax, labels)


def cells_by_type(
    ax: Axes,
    xy: np.ndarray,
    types: np.ndarray,
    *,
    labels: tuple[str, str],
    legend: bool = True,
    colours: Mapping[str, str] | None = None,
) -> Axes:
    """Scatter of (cells, 2), coloured by cell type; :func:`type_colours` unless given."""
    names = sorted(set(types))
    if colours is None:
        colours = type_colours(names)
    order = np.random.default_rng(0).permutation(len(xy))
    shades = [colours[name] for name in types[order]]
    ax.scatter(*xy[order].T, c=shades, s=2, linewidths=0, rasterized=True)
    if legend:
        for name in names:
            ax.plot([], [], "o", ms=3, color=colours[name], label=name)
        ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), handletextpad=0.1)
    return _without_ticks(ax, labels)


def predicted_and_observed(
    ax: Axes,
    observed: np.ndarray,
    predicted: np.ndarray | None,
    *,
    labels: tuple[str, str],
    title: str,
    colour: str,
) -> Axes:
    """Observed cells in grey, predicted ones in colour on top; (cells, 2) each."""
    ax.scatter(*observed.T, s=3, color="0.75", linewidths=0, rasterized=True)
    if predicted is not None:
        ax.scatter(*predicted.T, s=3, color=colour, alpha=0.5, linewidths=0, rasterized=True)
    ax.set_title(title, loc="left")
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
