"""One function per panel: arrays in, ``Axes`` out; no computing, no saving."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

plt.style.use(Path(__file__).with_name("scimf.mplstyle"))

#: Okabe & Ito, in the order of the style file; then darker steps for sets with more than eight types.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442", "#7F7F7F", "#8C564B")
#: The same colour for the same method in every figure.
METHOD_COLOURS = {
    "floor": "#7F7F7F",
    "copy_previous": "#E69F00",
    "mixture": "#CC79A7",
    "ot_interpolation": "#56B4E9",
    "other_populations": "#F0E442",
    "copy_nearest": "#E69F00",
    "mixture_all": "#CC79A7",
    "mean_shift": "#E69F00",
    "last_velocity": "#E69F00",
    "schroedinger_bridge": "#56B4E9",
    "flow_matching": "#000000",
    "neural_ode": "#000000",
    "potential_sde": "#000000",
    "published": "#009E73",
    "scimf_forward": "#0072B2",
    "scimf_paced": "#0072B2",
    "no_interaction": "#D55E00",
    "scimf": "#0072B2",
    "attention": "#009E73",
    "occupancy": "#009E73",
}
#: How methods and losses are called in figures and tables.
METHOD_LABELS = {
    "floor": "floor (real vs real)",
    "copy_previous": "copy previous",
    "mixture": "neighbour mixture",
    "ot_interpolation": "OT interpolation",
    "floor_stratified": "floor, same types",
    "other_populations": "other populations",
    "copy_nearest": "copy nearest",
    "mixture_all": "mixture of all times",
    "mean_shift": "mean shift",
    "last_velocity": "last velocity",
    "schroedinger_bridge": "Schrödinger bridge",
    "flow_matching": "OT flow matching",
    "neural_ode": "neural ODE",
    "potential_sde": "potential SDE",
    "published": "scIMF published, short",
    "scimf_forward": "scIMF, forward only",
    "scimf_paced": "scIMF, paced",
    "no_interaction": "no interaction",
    "scimf": "scIMF (additive)",
    "attention": "scIMF (attention)",
    "occupancy": "scIMF (mass-aware)",
    "energy": "energy distance",
    "sinkhorn": "Sinkhorn (published)",
    "ot": "exact OT",
    "debiased_ot": "debiased OT",
}


def type_colours(names: Sequence[str]) -> dict[str, str]:
    """One colour per cell type, decided by its sorted position."""
    return {name: PALETTE[k % len(PALETTE)] for k, name in enumerate(sorted(names))}


def cells_by_time(ax: Axes, xy: np.ndarray, time: np.ndarray, *, unit: str, labels: tuple[str, str]) -> Axes:
    """Scatter of (cells, 2), coloured by real time, in random order so that no time hides another."""
    order = np.random.default_rng(0).permutation(len(xy))
    points = ax.scatter(*xy[order].T, c=time[order], s=2, cmap="viridis", linewidths=0, rasterized=True)
    ax.figure.colorbar(points, ax=ax, label=f"time ({unit})", shrink=0.8)
    return _coordinates(ax, labels)


def cells_by_type(
    ax: Axes,
    xy: np.ndarray,
    types: np.ndarray,
    *,
    labels: tuple[str, str],
    legend: bool = True,
    colours: dict | None = None,
) -> Axes:
    """Scatter of (cells, 2), coloured by cell type."""
    colours = colours or type_colours(list(set(types)))
    order = np.random.default_rng(0).permutation(len(xy))
    ax.scatter(*xy[order].T, c=[colours[t] for t in types[order]], s=2, linewidths=0, rasterized=True)
    if legend:
        for name in sorted(set(types)):
            ax.plot([], [], "o", ms=3, color=colours[name], label=name)
        ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), handletextpad=0.1)
    return _coordinates(ax, labels)


def predicted_and_observed(
    ax: Axes, observed: np.ndarray, predicted: np.ndarray | None, *, labels: tuple[str, str], title: str, colour: str
) -> Axes:
    """Observed cells in grey, predicted ones in colour on top; (cells, 2) each."""
    ax.scatter(*observed.T, s=3, color="0.75", linewidths=0, rasterized=True)
    if predicted is not None:
        ax.scatter(*predicted.T, s=3, color=colour, alpha=0.5, linewidths=0, rasterized=True)
    ax.set_title(title, loc="left")
    return _coordinates(ax, labels)


def _coordinates(ax: Axes, labels: tuple[str, str]) -> Axes:
    ax.set(xlabel=labels[0], ylabel=labels[1], xticks=[], yticks=[])
    return ax


def arrows(
    ax: Axes,
    xy: np.ndarray,
    uv: np.ndarray,
    *,
    background: np.ndarray,
    colours,
    labels: tuple[str, str],
    scale: float | None = None,
) -> Axes:
    """Velocity arrows (cells, 2) at (cells, 2) over all cells in grey."""
    ax.scatter(*background.T, s=2, color="0.85", linewidths=0, rasterized=True)
    ax.quiver(*xy.T, *uv.T, color=colours, angles="xy", scale_units="xy", scale=scale, width=0.005)
    ax.margins(0.12)  # arrows do not count when the limits are chosen
    return _coordinates(ax, labels)


def loss_curves(ax: Axes, curves: Mapping[str, Sequence[Sequence[float]]], *, ylabel: str, window: int = 20) -> Axes:
    """One line per seed, one colour per method, smoothed by a running mean."""
    for name, runs in curves.items():
        for k, run in enumerate(runs):
            width = max(1, min(window, len(run) // 4))
            smooth = np.convolve(run, np.ones(width) / width, mode="valid")
            label = METHOD_LABELS.get(name, name) if k == 0 else None
            ax.plot(np.arange(len(smooth)) + width, smooth, color=METHOD_COLOURS.get(name), lw=0.9, label=label)
    ax.set(xlabel="optimiser step", ylabel=ylabel)
    ax.legend()
    return ax


def scores(ax: Axes, table: pd.DataFrame, *, xlabel: str, floor: float | None = None) -> Axes:
    """Dots with 95 % intervals, one row per method; ``table``: index method, columns mean and (optional) lo, hi."""
    for k, (method, row) in enumerate(table[::-1].iterrows()):
        colour = METHOD_COLOURS.get(method, "black")
        if "lo" in row and np.isfinite(row["lo"]):
            ax.plot([row["lo"], row["hi"]], [k, k], color=colour, lw=1.5)
        ax.plot(row["mean"], k, "o", ms=4, color=colour, mec="black", mew=0.3)
    ax.set(yticks=range(len(table)), yticklabels=[METHOD_LABELS.get(m, m) for m in table.index[::-1]], xlabel=xlabel)
    if floor is not None:
        ax.axvline(floor, color=METHOD_COLOURS["floor"], lw=0.8, ls="--", zorder=0)
    ax.set_ylim(-0.6, len(table) - 0.4)
    return ax


def pair_matrix(
    ax: Axes, values: pd.DataFrame, *, label: str, truth: np.ndarray | None = None, signed: bool = True
) -> Axes:
    """Receiver x sender heat map; true edges, where known, are framed (solid: pull, dashed: push)."""
    array = values.to_numpy()
    limit = float(np.nanmax(np.abs(array))) or 1.0
    image = ax.imshow(array, cmap="RdBu_r" if signed else "viridis", vmin=-limit if signed else 0, vmax=limit)
    ax.set(xticks=range(len(values)), yticks=range(len(values)), xlabel="sender", ylabel="receiver")
    rotate = max(len(str(c)) for c in values.columns) > 3
    ax.set_xticklabels(values.columns, rotation=90 if rotate else 0)
    ax.set_yticklabels(values.index)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    for a in range(len(values)):
        for b in range(len(values)):
            if truth is not None and truth[a, b]:
                style = "-" if truth[a, b] > 0 else ":"
                ax.add_patch(plt.Rectangle((b - 0.45, a - 0.45), 0.9, 0.9, fill=False, lw=1.4, ls=style))
    ax.figure.colorbar(image, ax=ax, label=label, shrink=0.8)
    return ax


def agreement(ax: Axes, x: np.ndarray, y: np.ndarray, *, xlabel: str, ylabel: str, size: float = 3) -> Axes:
    """Scatter of two equal-sized sets of numbers with the diagonal."""
    lo, hi = float(min(x.min(), y.min())), float(max(x.max(), y.max()))
    ax.plot([lo, hi], [lo, hi], color="0.6", lw=0.8, zorder=0)
    ax.scatter(x, y, s=size, linewidths=0, alpha=min(1, size / 8), rasterized=True)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    return ax


def influence_map(
    ax: Axes,
    table: pd.DataFrame,
    *,
    unit: str = "",
    limit: float | None = None,
    level: float = 0.05,
    told: bool = True,
    truth: np.ndarray | None = None,
) -> Axes:
    """Who moves whom, one square per receiver (row) and sender (column), readable without its numbers.

    In a square, the line in the middle is no influence; a triangle on the right of it pulls the receiver towards the
    sender, one on the left pushes it away. A bar is the interval. Filled: ``q`` of at most ``level``; hollow: not told
    from nothing.

    Parameters
    ----------
    table
        ``receiver, sender, value, lo, hi, q``, as from :func:`scimf.interpret.edges`.
    limit
        Influence at the edge of a square, where longer bars are cut; by default a little more than the largest value.
    told
        False: drawn in grey, with "cannot be told" written across.
    truth
        True type matrix (receiver, sender) in the order of the sorted names; squares of true edges are shaded.
    """
    names = sorted(set(table["receiver"]) | set(table["sender"]))
    limit = limit or float(table["value"].abs().max()) * 1.2
    colours = {">": PALETTE[0], "<": PALETTE[1]} if told else dict.fromkeys("><", "0.55")
    for a, b in np.ndindex(len(names), len(names)):
        face = "0.88" if truth is not None and truth[a, b] else "white"
        ax.add_patch(plt.Rectangle((b - 0.5, a - 0.5), 1, 1, fc=face, ec="0.8", lw=0.5, zorder=0))
        if a != b:
            ax.plot([b, b], [a - 0.5, a + 0.5], color="0.75", lw=0.5, zorder=1)
    for row in table.itertuples():
        at, shape = (names.index(row.sender), names.index(row.receiver)), ">" if row.value > 0 else "<"
        lo, value, hi = (at[0] + 0.5 * np.clip(v / limit, -0.96, 0.96) for v in (row.lo, row.value, row.hi))
        sure = row.q <= level
        ax.plot([lo, hi], [at[1]] * 2, color=colours[shape], lw=1.4 if sure else 0.7, alpha=1 if sure else 0.6)
        face = colours[shape] if sure else "white"
        ax.plot(value, at[1], shape, ms=5, mfc=face, mec=colours[shape], mew=0.8, alpha=1 if sure else 0.6)
    for shape, word in ((">", "pulls the receiver closer"), ("<", "pushes it away")):
        ax.plot([], [], shape, ms=5, color=colours[shape], label=word)
    ax.plot([], [], "o", ms=5, color="0.3", label=f"filled: q ≤ {level:g}")
    ax.plot([], [], "o", ms=5, mfc="white", mec="0.3", label="hollow: not told from nothing")
    if not told:
        style = {"ha": "center", "va": "center", "rotation": 30, "fontsize": 13, "fontweight": "bold"}
        ax.text(0.5, 0.5, "cannot be told", transform=ax.transAxes, color="0.2", alpha=0.5, zorder=5, **style)
    ax.set(xlim=(-0.5, len(names) - 0.5), ylim=(len(names) - 0.5, -0.5), ylabel="receiver", aspect="equal")
    ax.set(xticks=range(len(names)), yticks=range(len(names)), xlabel=f"sender (one square: ±{limit:.2g} {unit})")
    ax.set_xticklabels(names, rotation=90 if max(map(len, names)) > 3 else 0)
    ax.set_yticklabels(names)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    return ax


def paths_in_time(ax: Axes, time: np.ndarray, paths: np.ndarray, *, ylabel: str) -> Axes:
    """Thin lines of (points,) over time (steps,), ``paths`` (steps, points); start and end are marked."""
    ax.plot(time, paths, color=PALETTE[0], lw=0.4, alpha=0.5)
    for k, colour in ((0, "0.5"), (-1, PALETTE[1])):
        ax.plot(np.full(paths.shape[1], time[k]), paths[k], "o", ms=2, color=colour, mec="none", zorder=3)
    ax.set(xlabel="flow time t (0 noise, 1 data)", ylabel=ylabel)
    return ax


def dots_between(
    ax: Axes, table: pd.DataFrame, *, xlabel: str, floor: float, ceiling: float, colours: Mapping[str, str]
) -> Axes:
    """Dots with intervals, one row per line of ``table`` (mean, and lo, hi where known), between two vertical lines.

    Dashed: ``floor``, real against real. Dotted: ``ceiling``, what the autoencoder alone can do.
    """
    for k, (name, row) in enumerate(table[::-1].iterrows()):
        if np.isfinite(row.get("lo", np.nan)):
            ax.plot([row["lo"], row["hi"]], [k, k], color=colours[name], lw=1.5)
        ax.plot(row["mean"], k, "o", ms=4.5, color=colours[name], mec="black", mew=0.3)
    ax.axvline(floor, color="0.5", lw=0.9, ls="--", zorder=0, label="floor (real vs real)")
    ax.axvline(ceiling, color="0.2", lw=0.9, ls=":", zorder=0, label="ceiling (reconstruction)")
    ax.set(yticks=range(len(table)), yticklabels=table.index[::-1], xlabel=xlabel, ylim=(-0.6, len(table) - 0.4))
    return ax


def gene_curve(ax: Axes, mean: np.ndarray, values: Mapping[str, np.ndarray], *, ylabel: str, poisson: bool) -> Axes:
    """One dot per gene against its mean count in real cells, (genes,); first entry grey, the next ones in colour.

    ``poisson`` adds the variance of a Poisson count, which is its mean.
    """
    for (name, value), colour, marker in zip(values.items(), ("0.6", *PALETTE), ("o", "o", "^", "s"), strict=False):
        ax.plot(mean, value, marker, ms=2.5, color=colour, mec="none", alpha=0.8, label=name)
    if poisson:
        ends = np.array([mean.min(), mean.max()])
        ax.plot(ends, ends, color="0.3", lw=0.8, ls=":", label="Poisson")
        ax.set_yscale("log")
    ax.set(xscale="log", xlabel="mean count of the gene in real cells", ylabel=ylabel)
    return ax


def against_strength(
    ax: Axes,
    table: pd.DataFrame,
    points: pd.Series,
    *,
    ylabel: str,
    colours: Mapping[str, str],
    floor: Mapping[float, float],
) -> Axes:
    """One line per method over an effect's strength, with intervals; ``floor`` by strength, dashed.

    ``table``: index (strength, method), columns mean, and lo, hi where known; ``points``: single replicates, index
    (strength, seed, method), drawn faintly. Methods are set apart a little.
    """
    strengths = sorted(table.index.get_level_values(0).unique())
    step = (strengths[-1] - strengths[0] or 1) * 0.025
    for k, (method, colour) in enumerate(colours.items()):
        part, marker = table.xs(method, level=1).loc[strengths], "osD^v"[k % 5]
        shift = (k - (len(colours) - 1) / 2) * step
        single = points.xs(method, level=2)
        at = single.index.get_level_values(0) + shift
        ax.plot(at, single, marker, ms=3, color=colour, alpha=0.35, mec="none")
        at = np.array(strengths) + shift
        ax.plot(at, part["mean"], marker, ls="-", ms=4, lw=1, color=colour, label=method)
        if "lo" in part:
            ax.vlines(at, part["lo"], part["hi"], color=colour, lw=1)
    ax.plot(strengths, [floor[s] for s in strengths], color="0.5", lw=0.9, ls="--", label="floor (real vs real)")
    ax.set(xlabel="strength of the perturbations", ylabel=ylabel, xticks=strengths)
    return ax


def mean_variance(ax: Axes, real: np.ndarray, predicted: np.ndarray, *, title: str, colour: str) -> Axes:
    """Variance against mean of every gene, (genes, 2) each: real in grey, predicted on top; dashed, Poisson.

    Logarithmic axes: a gene without any count, or without any variance, has no place on them and is left out.
    """
    ax.scatter(*real.T, s=7, color="0.7", linewidths=0, label="real", rasterized=True)
    ax.scatter(*predicted.T, s=5, color=colour, linewidths=0, alpha=0.8, label="predicted", rasterized=True)
    shown = real[:, 0][real[:, 0] > 0]
    ends = [float(shown.min()), float(shown.max())]
    ax.plot(ends, ends, color="0.3", lw=0.8, ls="--", zorder=0, label="Poisson")
    ax.set(xscale="log", yscale="log", xlabel="mean (counts)", ylabel="variance (counts²)")
    ax.set_title(title, loc="left")
    return ax
