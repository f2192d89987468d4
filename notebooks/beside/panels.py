"""Panels that chapters draw: predictions, losses, genes, ways from noise, shifts of types."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from beside.velocities import velocity_grid
from scimf.plots.cells import arrows, cells
from scimf.plots.style import METHOD_COLOURS, METHOD_LABELS, PALETTE


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
    ax.set(xlabel=labels[0], ylabel=labels[1], xticks=[], yticks=[])
    return ax


def loss_curves(
    ax: Axes, curves: Mapping[str, Sequence[Sequence[float]]], *, ylabel: str, window: int = 20
) -> Axes:
    """One line per training run, one colour per method, smoothed by a running mean.

    ``curves``: for each method a loss per step of each run. The mean is over ``window`` steps, or
    a quarter of the run if that is less, and drawn at the last of them.
    """
    for method, runs in curves.items():
        label = METHOD_LABELS.get(method, method)
        for run in runs:
            width = max(1, min(window, len(run) // 4))
            smooth = np.convolve(run, np.ones(width) / width, mode="valid")
            steps = np.arange(len(smooth)) + width
            ax.plot(steps, smooth, color=METHOD_COLOURS.get(method), lw=0.9, label=label)
            label = None  # once per method
    ax.set(xlabel="optimiser step", ylabel=ylabel)
    ax.legend()
    return ax


def gene_curve(
    ax: Axes, mean: np.ndarray, values: Mapping[str, np.ndarray], *, ylabel: str, poisson: bool
) -> Axes:
    """One dot per gene against its mean count in real cells, (genes,).

    Of ``values`` (at most four) the first is grey, the next ones in colour. ``poisson`` adds the
    variance of a Poisson count, which is its mean, and makes that axis logarithmic.
    """
    looks = zip(("0.6", *PALETTE[:3]), "oo^s", strict=True)
    for (name, value), (colour, marker) in zip(values.items(), looks, strict=False):
        ax.plot(mean, value, marker, ms=2.5, color=colour, mec="none", alpha=0.8, label=name)
    if poisson:
        ends = np.array([mean.min(), mean.max()])
        ax.plot(ends, ends, color="0.3", lw=0.8, ls=":", label="Poisson")
        ax.set_yscale("log")
    ax.set(xscale="log", xlabel="mean count of the gene in real cells", ylabel=ylabel)
    return ax


def mean_variance(
    ax: Axes, real: np.ndarray, predicted: np.ndarray, *, title: str, colour: str
) -> Axes:
    """Variance against mean of every gene, (genes, 2) each: real in grey, predicted on top.

    Dashed, Poisson counts. Logarithmic axes: a gene without any count, or without any variance,
    has no place on them and is left out.
    """
    style = {"linewidths": 0, "rasterized": True}
    ax.scatter(*real.T, s=7, color="0.7", label="real", **style)
    ax.scatter(*predicted.T, s=5, color=colour, alpha=0.8, label="predicted", **style)
    shown = real[:, 0][real[:, 0] > 0]
    ends = [float(shown.min()), float(shown.max())]
    ax.plot(ends, ends, color="0.3", lw=0.8, ls="--", zorder=0, label="Poisson")
    ax.set(xscale="log", yscale="log", xlabel="mean (counts)", ylabel="variance (counts²)")
    ax.set_title(title, loc="left")
    return ax


def paths_in_time(ax: Axes, time: np.ndarray, paths: np.ndarray, *, ylabel: str) -> Axes:
    """Thin lines over time (steps,), ``paths`` (steps, points); start and end are marked."""
    ax.plot(time, paths, color=PALETTE[0], lw=0.4, alpha=0.5)
    for k, colour in ((0, "0.5"), (-1, PALETTE[1])):
        at = np.full(paths.shape[1], time[k])
        ax.plot(at, paths[k], "o", ms=2, color=colour, mec="none", zorder=3)
    ax.set(xlabel="flow time t (0 noise, 1 data)", ylabel=ylabel)
    return ax


def shifts(ax: Axes, answers: Mapping[str, pd.DataFrame], *, ylabel: str) -> Axes:
    """How far each type is shifted, one colour per question, over how far it goes anyway.

    ``answers``: by question (at most five), tables of :func:`beside.counterfactual.what_if` for one
    time.
    """
    for k, (question, answer) in enumerate(answers.items()):
        at = np.arange(len(answer)) + 0.15 * (k - (len(answers) - 1) / 2)
        below = answer["shift"] - answer["shift_lo"]
        above = answer["shift_hi"] - answer["shift"]
        style = {"fmt": "osv^D"[k], "ms": 4, "lw": 1.2, "color": PALETTE[k], "label": question}
        ax.errorbar(at, answer["shift"], [below, above], **style)
    way = {"ms": 22, "color": "0.6", "label": "way of the type, unchanged"}
    ax.plot(answer.index, answer["moved"], "_", **way)
    ax.set(xticks=answer.index, xticklabels=answer["cell_type"], ylim=(0, None))
    ax.set(xlabel="cell type that is followed", ylabel=ylabel)
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return ax


def velocities(
    left: Axes, right: Axes, xy: np.ndarray, uv: np.ndarray, *, types: np.ndarray, name: str
) -> None:
    """Cells (cells, 2) by type, and beside them their velocities (cells, 2) averaged on a grid.

    Arrows are scaled so that all but the fastest twentieth are shorter than a tenth of the panel.
    """
    points, arrow = velocity_grid(xy, uv, n=16, min_cells=2)
    longest = np.ptp(xy, axis=0).max() / 10
    scale = np.quantile(np.linalg.norm(arrow, axis=1), 0.95) / longest
    cells(left, xy, types, labels=(f"PC 1, {name}", "PC 2"))
    style = {"background": xy, "colours": "black", "labels": ("PC 1", "PC 2")}
    arrows(right, points, arrow, scale=scale, **style)
