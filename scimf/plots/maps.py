"""Who moves whom: receivers in rows, senders in columns."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from scimf.plots.style import PALETTE

EDGE_OF_SQUARE = 0.96  #: of the way from the middle to the edge, where longer bars are cut


def pair_matrix(
    ax: Axes,
    values: pd.DataFrame,
    *,
    label: str,
    truth: np.ndarray | None = None,
    signed: bool = True,
) -> Axes:
    """Receiver x sender heat map.

    Parameters
    ----------
    values
        Index receiver, columns sender.
    label
        Of the colour bar.
    truth
        True matrix (receiver, sender): true edges are framed, solid for a pull, dotted for a push.
    signed
        Symmetric around zero: a pull is blue, a push red, as in :func:`influence_map`. Else from 0.
    """
    array = values.to_numpy()
    limit = float(np.nanmax(np.abs(array))) or 1.0
    if signed:
        colours = {"cmap": "RdBu", "vmin": -limit, "vmax": limit}
    else:
        colours = {"cmap": "viridis", "vmin": 0, "vmax": limit}
    image = ax.imshow(array, **colours)
    _name_squares(ax, list(values.index), list(values.columns))
    ax.set(xlabel="sender", ylabel="receiver")
    if truth is not None:
        for a, b in np.argwhere(truth):
            style = "-" if truth[a, b] > 0 else ":"
            corner = (b - 0.45, a - 0.45)
            ax.add_patch(Rectangle(corner, 0.9, 0.9, fill=False, lw=1.4, ls=style))
    ax.figure.colorbar(image, ax=ax, label=label, shrink=0.8)
    return ax


def influence_map(
    ax: Axes,
    table: pd.DataFrame,
    *,
    unit: str = "",
    limit: float | None = None,
    level: float = 0.05,
    conclusive: bool = True,
    truth: np.ndarray | None = None,
) -> Axes:
    """Who moves whom, one square per receiver (row) and sender (column), readable without numbers.

    In a square, the line in the middle is no influence; a triangle on the right of it pulls the
    receiver towards the sender, one on the left pushes it away. A bar is the interval. Filled:
    ``q`` of at most ``level``; hollow: not told from nothing.

    Parameters
    ----------
    table
        ``receiver, sender, value, lo, hi, q``.
    unit
        Of the values.
    limit
        Influence at the edge of a square, where longer bars are cut; by default a little more than
        the largest value.
    conclusive
        False: drawn in grey, with "cannot be told" written across.
    truth
        True type matrix (receiver, sender) in the order of the sorted names; squares of true edges
        are shaded.
    """
    names = sorted(set(table["receiver"]) | set(table["sender"]))
    if limit is None:
        limit = float(table["value"].abs().max()) * 1.2
    colours = {">": PALETTE[0], "<": PALETTE[1]}
    if not conclusive:
        colours = dict.fromkeys(colours, "0.55")
    _draw_squares(ax, len(names), truth)
    for row in table.itertuples():
        middle = (names.index(row.sender), names.index(row.receiver))
        _draw_influence(ax, row, middle, limit, colours, is_sure=row.q <= level)
    _explain_markers(ax, colours, level)
    if not conclusive:
        _write_across(ax, "cannot be told")
    edges = (-0.5, len(names) - 0.5)
    ax.set(xlim=edges, ylim=edges[::-1], aspect="equal")
    _name_squares(ax, names, names)
    ax.set(xlabel=f"sender (one square: ±{limit:.2g} {unit})", ylabel="receiver")
    return ax


def _draw_squares(ax: Axes, n: int, truth: np.ndarray | None) -> None:
    """White squares, shaded where the truth has an edge; a line in the middle of all but self."""
    for a, b in np.ndindex(n, n):
        face = "0.88" if truth is not None and truth[a, b] else "white"
        corner = (b - 0.5, a - 0.5)
        ax.add_patch(Rectangle(corner, 1, 1, fc=face, ec="0.8", lw=0.5, zorder=0))
        if a != b:
            ax.plot([b, b], [a - 0.5, a + 0.5], color="0.75", lw=0.5, zorder=1)


def _draw_influence(
    ax: Axes,
    row: tuple,
    middle: tuple[int, int],
    limit: float,
    colours: Mapping[str, str],
    *,
    is_sure: bool,
) -> None:
    """Draw the interval and the triangle of one influence in its square."""
    shape = ">" if row.value > 0 else "<"
    colour = colours[shape]
    values = np.array([row.lo, row.value, row.hi]) / limit
    lo, value, hi = middle[0] + 0.5 * np.clip(values, -EDGE_OF_SQUARE, EDGE_OF_SQUARE)
    bar = {"lw": 1.4, "alpha": 1} if is_sure else {"lw": 0.7, "alpha": 0.6}
    ax.plot([lo, hi], [middle[1]] * 2, color=colour, **bar)
    face = colour if is_sure else "white"
    triangle = {"ms": 5, "mfc": face, "mec": colour, "mew": 0.8, "alpha": bar["alpha"]}
    ax.plot(value, middle[1], shape, **triangle)


def _explain_markers(ax: Axes, colours: Mapping[str, str], level: float) -> None:
    """Add entries for a legend; nothing is drawn."""
    ax.plot([], [], ">", ms=5, color=colours[">"], label="pulls the receiver closer")
    ax.plot([], [], "<", ms=5, color=colours["<"], label="pushes it away")
    ax.plot([], [], "o", ms=5, color="0.3", label=f"filled: q ≤ {level:g}")
    ax.plot([], [], "o", ms=5, mfc="white", mec="0.3", label="hollow: not told from nothing")


def _write_across(ax: Axes, text: str) -> None:
    place = {"transform": ax.transAxes, "ha": "center", "va": "center", "rotation": 30}
    style = {"fontsize": 13, "fontweight": "bold", "color": "0.2", "alpha": 0.5, "zorder": 5}
    ax.text(0.5, 0.5, text, **place, **style)


def _name_squares(ax: Axes, receivers: list[str], senders: list[str]) -> None:
    ax.set(xticks=range(len(senders)), yticks=range(len(receivers)))
    longest = max(len(str(name)) for name in senders)
    ax.set_xticklabels(senders, rotation=90 if longest > 3 else 0)
    ax.set_yticklabels(receivers)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
