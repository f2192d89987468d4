"""The moving picture of the README: the same cells, with other neighbours, go another way.

``make animation`` writes ``docs/cells.gif``. Two cultures of simulated cells of three types; A is
pulled by B and by C (the force of :mod:`scimf.simulate.typed`), and by nothing else. The first
culture has many B, the second many C.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.animation import FuncAnimation, PillowWriter

from scimf.core import paths
from scimf.plots.style import STYLE_FILE, type_colours
from scimf.simulate.typed import saturating_pull

TYPES = ("A", "B", "C")
HOME = np.array([[-2.2, 0.0], [1.6, 1.7], [1.6, -1.7]])  #: where each type is by itself
CULTURES = {"many B": (70, 110, 12), "many C": (70, 12, 110)}  #: cells of each type
PULL = 1.1  #: of A by B and by C, if all cells were of that type
HOLD = 0.25  #: rate at which B and C return to where they are by themselves
SIGMA, STEP = 0.22, 0.1
FRAMES, STILL_FRAMES, FRAMES_PER_SECOND = 44, 14, 12
TAIL = 6  #: steps that a cell leaves behind it


def simulate(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return the paths (steps, cultures, cells, 2) of all cells, and their types."""
    rng = np.random.default_rng(seed)
    kind = np.stack([np.repeat(np.arange(3), counts) for counts in CULTURES.values()])
    n_cells = kind.shape[1]
    x = HOME[kind] + 0.35 * rng.standard_normal((*kind.shape, 2))
    x[1, kind[1] == 0] = x[0, kind[0] == 0]  # the very same cells
    receives = (kind == 0)[:, :, None]
    sends = (kind != 0)[:, None, :]
    weight = (PULL / n_cells * receives * sends).astype(np.float32)
    hold = np.where(kind == 0, 0, HOLD)[..., None]
    found = [x]
    for _ in range(FRAMES):
        drift = hold * (HOME[kind] - x) + saturating_pull(x, weight)
        x = x + STEP * drift + SIGMA * np.sqrt(STEP) * rng.standard_normal(x.shape)
        found.append(x)
    return np.stack(found), kind


def draw(seed: int = 0) -> FuncAnimation:
    """Draw both cultures side by side, one frame a step; the last one stays for a while."""
    way, kind = simulate(seed)
    colours = np.array(list(type_colours(TYPES).values()))
    plt.style.use(STYLE_FILE)
    fig, panels = plt.subplots(1, 2, figsize=(7, 3.1), layout="constrained")
    fig.suptitle("The same cells A, other neighbours: another way", weight="bold", fontsize=12)
    dots, tails, names = [], [], []
    for p, (ax, title) in enumerate(zip(panels, CULTURES, strict=True)):
        ax.set(xlim=(-3.6, 3.2), ylim=(-3.2, 3.2), xticks=[], yticks=[])
        ax.set_title(f"a culture with {title}", loc="center", fontsize=11)
        faint = np.where(kind[p] == 0, 1.0, 0.45)
        dots.append(ax.scatter(*way[0, p].T, c=colours[kind[p]], s=14, alpha=faint, lw=0))
        mine = np.flatnonzero(kind[p] == 0)
        tails.append([ax.plot([], [], color=colours[0], lw=0.7, alpha=0.35)[0] for _ in mine])
        for k, name in enumerate(TYPES):
            place = HOME[k] + np.array([0, 1.0 if k != 2 else -1.15])
            text = {"color": colours[k], "weight": "bold", "fontsize": 14, "ha": "center"}
            label = ax.text(*place, name, **text)
            names += [label] if k == 0 else []

    def show(frame: int) -> list:
        step = min(frame, FRAMES)
        for p in range(len(CULTURES)):
            dots[p].set_offsets(way[step, p])
            recent = way[max(0, step - TAIL) : step + 1, p]
            names[p].set_position(recent[-1][kind[p] == 0].mean(0) + np.array([0, 1.0]))
            for line, cell in zip(tails[p], np.flatnonzero(kind[p] == 0), strict=True):
                line.set_data(*recent[:, cell].T)
        return dots

    return FuncAnimation(fig, show, frames=FRAMES + STILL_FRAMES)


def main() -> int:
    """Write the file."""
    target = paths.ROOT / "docs" / "cells.gif"
    draw().save(target, writer=PillowWriter(fps=FRAMES_PER_SECOND), dpi=100)
    sys.stdout.write(f"{target.relative_to(paths.ROOT)}: {target.stat().st_size / 1000:.0f} kB\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
