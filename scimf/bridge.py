r"""Predict a time from both sides of it.

For a time :math:`t` with training snapshots before (:math:`a`) and after (:math:`b`) it, :math:`w = (t - a) / (b - a)`,
and weights :math:`w_k \propto |t - t_k|^{-p}` over all training times :math:`t_k` of the population,

.. math::

    \hat\mu_t = \lambda\,\bigl[(1 - w)\, \mu_{a \to t} + w\, \mu_{b \to t}\bigr]
                + (1 - \lambda) \sum_k w_k\, \mu_{t_k} .

:math:`\mu_{a \to t}` are the cells of :math:`a`, moved by a model of forward time; :math:`\mu_{b \to t}` those of
:math:`b`, moved by a second model of reversed time. The last term does not move: it stands for the possibility that
what differs between two days is the day (batch, handling), not the passing of time. The energy distance is convex in
the prediction, so a mixture scores at most the weighted mean of its parts. Between two snapshots nothing but the
kinetic energy says *when* cells move (Benamou & Brenier 2000). Both are shown in notebook 06.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from scimf.fitted import FittedSDE
from scimf.sde import SDEConfig
from scimf.snapshots import Snapshots
from scimf.train import fit_many

if TYPE_CHECKING:
    from anndata import AnnData

    from scimf.preprocess import Space, Split


@dataclass(frozen=True)
class Mix:
    """How the four clouds are mixed: the share that moves, and the power of time by which the rest is weighted."""

    moved: float = 2 / 3  #: lambda; chosen on training times of other data sets (notebook 06)
    power: float = 1.0  #: p; 0: all times alike, infinity: the two neighbours, linear in time


def reversed_time(adata: "AnnData", split: "Split") -> tuple["AnnData", "Split"]:
    """Return the training cells with time negated, and a split that holds nothing out of them.

    Held-out cells are not handed on at all: the first snapshot of reversed time would be a held-out population's last.
    """
    from scimf.preprocess import Split

    train = adata[split.train_mask(adata)].copy()
    train.obs["time"] = -train.obs["time"].to_numpy(float)
    times = tuple(-t for t in reversed(split.train_times))
    return train, Split((), (), times, times)


@dataclass
class Bridge:
    """A model of forward time, one of reversed time, and the observed snapshots, mixed as the module says."""

    forward: FittedSDE
    backward: FittedSDE | None  #: None where only later times are asked for
    mix: Mix = Mix()

    def weights(self, population: str, time: float) -> dict[tuple[str, float], float]:
        """Share of each part, keyed ``("forward" | "backward" | "observed", snapshot time)``; they sum to 1.

        Where no later snapshot of the population was seen, everything moves forward from the last one.
        """
        times = self._train_times(population)
        before = [t for t in self.forward.starts.times(population) if t < time]
        after = [t for t in times if t > time]
        if not before:
            raise ValueError(f"time {time}: population {population!r} has no earlier snapshot")
        if not after:
            return {("forward", before[-1]): 1.0}
        a, b = before[-1], after[0]
        w = (time - a) / (b - a)
        closeness = {t: abs(time - t) ** -self.mix.power for t in times if t != time}
        if np.isinf(self.mix.power):
            closeness = {a: 1 - w, b: w}
        total, moved = sum(closeness.values()), self.mix.moved
        still = {("observed", t): (1 - moved) * c / total for t, c in closeness.items()}
        return {("forward", a): moved * (1 - w), ("backward", b): moved * w} | still

    def _train_times(self, population: str) -> list[float]:
        if self.backward is None:
            return []
        starts: Snapshots = self.backward.starts  # training snapshots only, time negated
        return sorted(-t for t in starts.times(population)) if population in starts.density else []

    def sample(
        self,
        times: Iterable[float],
        *,
        n: int | None = None,
        populations: Iterable[str] | None = None,
        seed: int = 0,
    ) -> "AnnData":
        """Predicted cells, as from :meth:`FittedSDE.sample`; ``n`` defaults to the size of the snapshot before.

        Parameters
        ----------
        times
            Real times, each later than the first snapshot.
        n
            Cells per population and time; shares are rounded to whole cells.
        populations
            All by default.
        seed
            Noise and choice of cells.
        """
        import anndata as ad

        starts = self.forward.starts
        names = sorted(starts.density) if populations is None else [str(p) for p in populations]
        parts = []
        for p in names:
            for time in map(float, times):
                shares = self.weights(p, time)
                previous = max(t for t in starts.times(p) if t < time)
                size = len(starts.cells[p, previous]) if n is None else n
                counts = _whole(np.array(list(shares.values())), size)
                for k, ((kind, origin), m) in enumerate(zip(shares, counts, strict=True)):
                    if m:
                        number = [seed, k, *(p + repr(time)).encode()]
                        parts.append(self._part(kind, p, origin, time, int(m), number))
        return ad.concat(parts, index_unique="-", keys=[str(k) for k in range(len(parts))], merge="same")

    def _part(self, kind: str, population: str, origin: float, time: float, n: int, seed: list[int]) -> "AnnData":
        number = int(np.random.SeedSequence(seed).generate_state(1)[0])
        if kind == "forward":
            return self.forward.sample([time], n=n, populations=[population], seed=number)
        if kind == "backward":
            cells = self.backward.sample([-time], n=n, populations=[population], seed=number)
            cells.obs["time"], cells.obs["start_time"] = time, -cells.obs["start_time"]
            return cells
        cloud, names = (part[population, origin] for part in (self.forward.starts.cells, self.forward.starts.names))
        rng = np.random.default_rng(number)
        rows = np.concatenate([rng.permutation(len(cloud)) for _ in range(-(-n // len(cloud)))])[:n]
        return self.forward.package(cloud[rows], [(time, population, origin, names[i]) for i in rows])


def _whole(shares: np.ndarray, n: int) -> np.ndarray:
    """Round shares of ``n`` cells to whole cells that sum to ``n`` (largest remainders)."""
    exact = shares / shares.sum() * n
    counts = np.floor(exact).astype(int)
    counts[np.argsort(counts - exact, kind="stable")[: n - counts.sum()]] += 1
    return counts


def fit_bridges(
    adata: "AnnData",
    split: "Split",
    space: "Space | None" = None,
    *,
    configs: dict[str, SDEConfig],
    seeds: Iterable[int],
    cache: Path | str,
    mix: Mix = Mix(),
    **options,
) -> dict[tuple[str, int], Bridge]:
    """Fit each configuration with each seed in forward and in reversed time; see :func:`scimf.train.fit_many`.

    Reversed time is left out where every held-out time lies after the last training time.
    """
    seeds = list(seeds)
    chosen = {"configs": configs, "seeds": seeds, "cache": cache, **options}
    forward = fit_many(adata, split, space, **chosen)
    if not any(t < split.train_times[-1] for t in split.held_times):  # a forecast: nothing lies behind it
        return {key: Bridge(model, None, mix) for key, model in forward.items()}
    back, nothing_held = reversed_time(adata, split)
    backward = fit_many(back, nothing_held, space, **chosen)
    return {key: Bridge(forward[key], backward[key], mix) for key in forward}
