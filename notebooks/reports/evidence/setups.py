"""Fit-and-predict problems: what of a data set may be seen, and which cells are to be predicted.

Nothing is chosen on a held-out time. What can be chosen is chosen on problems *inside* the training
times of a set-up: held-out cells are gone before such an inner problem starts.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from scimf.data.space import Space, fit_space
from scimf.data.split import Split, hold_out
from scimf.dynamics.snapshots import Snapshots

from evidence.boards import Board

if TYPE_CHECKING:
    from anndata import AnnData


class Sampler(Protocol):
    """Everything that predicts populations: fitted, two-sided, and other methods."""

    @property
    def starts(self) -> Snapshots:
        """Snapshots that predictions may start from."""

    def sample(
        self,
        times: Iterable[float],
        *,
        n: int | None = None,
        populations: Iterable[str] | None = None,
        seed: int = 0,
    ) -> "AnnData":
        """Predicted cells at real times."""


@dataclass(frozen=True)
class Setup:
    """One fit-and-predict problem: what may be seen, in coordinates fitted on training cells."""

    board: str
    adata: "AnnData"
    split: Split
    space: Space

    @property
    def problem(self) -> tuple["AnnData", Split, Space]:
        """What every fit takes first."""
        return self.adata, self.split, self.space

    @property
    def held_times(self) -> str:
        """Held-out times as they stand in tables."""
        return ",".join(f"{time:g}" for time in self.split.held_times)


def only_neighbours(adata: "AnnData", split: Split) -> tuple["AnnData", Split]:
    """Keep the one held-out time and the training times next to it, of cells and of the split.

    It is the protocol *neighbours_only*.

    Raises
    ------
    ValueError
        If there is not exactly one held-out time, or it has no training time on one side.
    """
    if len(split.held_times) != 1 or split.held_populations:
        expected = "expected one held-out time and no held-out population"
        raise ValueError(f"neighbours_only: {expected}, got {split.held_times}")
    held = split.held_times[0]
    before = [t for t in split.train_times if t < held]
    after = [t for t in split.train_times if t > held]
    if not before or not after:
        expected = f"time {held:g} needs training times on both sides"
        raise ValueError(f"neighbours_only: {expected}, there are {split.train_times}")
    kept = adata[adata.obs["time"].isin([before[-1], held, after[0]])].copy()
    return kept, hold_out(kept, times=[held])


def setups(board: Board, adata: "AnnData") -> Iterator[Setup]:
    """Yield the set-ups of a board, with coordinates from training cells only."""
    for times in board.setups:
        held_populations = []
        if board.held_populations:
            names = sorted(adata.obs["population"].cat.categories)
            held_populations = names[-board.held_populations :]
        split = hold_out(adata, times=times, populations=held_populations)
        if board.protocol == "neighbours_only":
            seen, split = only_neighbours(adata, split)
        else:
            seen = adata.copy()
        yield Setup(board.name, seen, split, fit_space(seen, split, n_pcs=board.n_pcs))


def inner_setup(setup: Setup, n_pcs: int) -> Setup | None:
    """Return a problem inside the training cells of a set-up.

    ``None`` where two times are all there is. Held-out cells are gone before anything starts. Of
    the training times every second inner one is held out; in a forecast, the last one.
    """
    train = setup.adata[setup.split.train_mask(setup.adata)].copy()
    times = setup.split.train_times
    if len(times) < 3:
        return None
    is_forecast = min(setup.split.held_times, default=-np.inf) > times[-1]
    split = hold_out(train, times=times[-1:] if is_forecast else times[1:-1:2])
    return Setup(f"{setup.board}.inner", train, split, fit_space(train, split, n_pcs=n_pcs))


def inner_neighbours(setup: Setup, n_pcs: int) -> Iterator[Setup]:
    """Yield problems inside the training times of a set-up.

    Each held-out inner time is to be predicted from its two neighbours.
    """
    inner = inner_setup(setup, n_pcs)
    for time in inner.split.held_times:
        split = hold_out(inner.adata, times=[time])
        seen, split = only_neighbours(inner.adata, split)
        space = fit_space(seen, split, n_pcs=n_pcs)
        yield Setup(f"{inner.board}.{time:g}", seen, split, space)


def predicted(model: Sampler, setup: Setup, *, seed: int = 0) -> "AnnData":
    """Predicted cells at every held-out snapshot, as many as the snapshot before has."""
    import anndata as ad

    split = setup.split
    trained = [p for p in sorted(model.starts.density) if p not in split.held_populations]
    parts = []
    if split.held_times:
        parts.append(model.sample(split.held_times, populations=trained, seed=seed))
    for population in split.held_populations:
        first = model.starts.times(population)[0]
        later = [time for time in split.times if time > first]
        parts.append(model.sample(later, populations=[population], seed=seed))
    keys = [str(k) for k in range(len(parts))]
    return ad.concat(parts, index_unique="-", keys=keys, merge="same")
