"""Panels that one chapter draws: losses, what each gene does, the way from noise to a cell."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from scimf.plots.style import METHOD_COLOURS, METHOD_LABELS, PALETTE


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
