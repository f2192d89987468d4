r"""Predict a time from both sides of it.

For a time :math:`t` with training snapshots before (:math:`a`) and after (:math:`b`) it,
:math:`w = (t - a) / (b - a)`, and weights :math:`w_k \propto |t - t_k|^{-p}` over all training
times
:math:`t_k` of the population,

.. math::

    \hat\mu_t = \lambda\,\bigl[(1 - w)\, \mu_{a \to t} + w\, \mu_{b \to t}\bigr]
                + (1 - \lambda) \sum_k w_k\, \mu_{t_k} .

:math:`\mu_{a \to t}` are the cells of :math:`a`, moved by a model of forward time; :math:`\mu_{b
\to t}` those of :math:`b`, moved by a second model of reversed time. The last term does not move:
it stands for the possibility that what differs between two days is the day (batch, handling), not
the passing of time. The energy distance is convex in the prediction, so a mixture scores at most
the weighted mean of its parts. Between two snapshots nothing but the kinetic energy says *when*
cells move (Benamou & Brenier 2000). Both are shown in the report ``scoreboard``.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scimf.data.split import Split
from scimf.dynamics.config import SDEConfig
from scimf.dynamics.fit import fit_many
from scimf.dynamics.fitted import FittedSDE
from scimf.dynamics.snapshots import Snapshots

if TYPE_CHECKING:
    from anndata import AnnData
    from scimf.data.space import Space

#: Parts of a prediction: ("forward" | "backward" | "observed", snapshot time).
Part = tuple[str, float]


@dataclass(frozen=True)
class Mix:
    """How the clouds are mixed: the share that moves, and the power of time for the rest."""

    #: lambda; chosen on training times of other data sets (report ``scoreboard``)
    moved: float = 2 / 3
    #: p; 0: all times alike, infinity: the two neighbours, linear in time
    power: float = 1.0


def reversed_time(adata: "AnnData", split: Split) -> tuple["AnnData", Split]:
    """Return the training cells with time negated, and a split that holds nothing out of them.

    Held-out cells are not handed on at all: the first snapshot of reversed time would be a held-out
    population's last.
    """
    train = adata[split.train_mask(adata)].copy()
    train.obs["time"] = -train.obs["time"].to_numpy(float)
    times = tuple(-t for t in reversed(split.train_times))
    return train, Split((), (), times, times)


@dataclass
class TwoSided:
    """A model of forward time, one of reversed time, and the observed snapshots, mixed as above."""

    forward: FittedSDE
    backward: FittedSDE | None  #: None where only later times are asked for
    mix: Mix = Mix()

    @property
    def starts(self) -> Snapshots:
        """Snapshots that predictions may start from."""
        return self.forward.starts

    def weights(self, population: str, time: float) -> dict[Part, float]:
        """Share of each part of a prediction; they sum to 1.

        Where no later snapshot of the population was seen, everything moves forward from the last
        one.
        """
        times = self._train_times(population)
        before = [t for t in self.starts.times(population) if t < time]
        after = [t for t in times if t > time]
        if not before:
            raise ValueError(f"time {time}: population {population!r} has no earlier snapshot")
        a = before[-1]
        if not after:
            return {("forward", a): 1.0}
        b = after[0]
        w = (time - a) / (b - a)
        if np.isinf(self.mix.power):
            closeness = {a: 1 - w, b: w}
        else:
            closeness = {t: abs(time - t) ** -self.mix.power for t in times if t != time}
        total = sum(closeness.values())
        moved = self.mix.moved
        shares = {("forward", a): moved * (1 - w), ("backward", b): moved * w}
        for t, c in closeness.items():
            shares["observed", t] = (1 - moved) * c / total
        return shares

    def _train_times(self, population: str) -> list[float]:
        if self.backward is None or population not in self.backward.starts.density:
            return []
        # These are training snapshots only, their times negated.
        return sorted(-t for t in self.backward.starts.times(population))

    def sample(
        self,
        times: Iterable[float],
        *,
        n: int | None = None,
        populations: Iterable[str] | None = None,
        seed: int = 0,
    ) -> "AnnData":
        """Predicted cells, as from :meth:`FittedSDE.sample`.

        Parameters
        ----------
        times
            Real times, each later than the first snapshot.
        n
            Cells per population and time, as many as the snapshot before has if omitted; shares are
            rounded to whole cells.
        populations
            All by default.
        seed
            Noise and choice of cells.
        """
        import anndata as ad

        names = sorted(self.starts.density)
        if populations is not None:
            names = [str(p) for p in populations]
        times = [float(t) for t in times]
        parts = []
        for p in names:
            for time in times:
                parts += self._parts(p, time, n, seed)
        keys = [str(k) for k in range(len(parts))]
        return ad.concat(parts, index_unique="-", keys=keys, merge="same")

    def _parts(self, population: str, time: float, n: int | None, seed: int) -> list["AnnData"]:
        shares = self.weights(population, time)
        if n is None:
            previous = max(t for t in self.starts.times(population) if t < time)
            n = len(self.starts.cells[population, previous])
        counts = _whole(np.array(list(shares.values())), n)
        found = []
        for k, (part, count) in enumerate(zip(shares, counts, strict=True)):
            if count:
                state = [seed, k, *(population + repr(time)).encode()]
                part_seed = int(np.random.SeedSequence(state).generate_state(1)[0])
                found.append(self._part(part, population, time, int(count), part_seed))
        return found

    def _part(self, part: Part, population: str, time: float, n: int, seed: int) -> "AnnData":
        kind, origin = part
        if kind == "forward":
            return self.forward.sample([time], n=n, populations=[population], seed=seed)
        if kind == "backward":
            cells = self.backward.sample([-time], n=n, populations=[population], seed=seed)
            cells.obs["time"] = time
            cells.obs["start_time"] = -cells.obs["start_time"]
            return cells
        cloud = self.starts.cells[population, origin]
        names = self.starts.names[population, origin]
        rng = np.random.default_rng(seed)
        rounds = -(-n // len(cloud))
        rows = np.concatenate([rng.permutation(len(cloud)) for _ in range(rounds)])[:n]
        labels = [(time, population, origin, names[i]) for i in rows]
        return self.forward.package(cloud[rows], labels)


def _whole(shares: np.ndarray, n: int) -> np.ndarray:
    """Round shares of ``n`` cells to whole cells that sum to ``n`` (largest remainders)."""
    exact = shares / shares.sum() * n
    counts = np.floor(exact).astype(int)
    missing = n - counts.sum()
    largest = np.argsort(counts - exact, kind="stable")[:missing]
    counts[largest] += 1
    return counts


def fit_two_sided(
    adata: "AnnData",
    split: Split,
    space: "Space | None" = None,
    *,
    configs: dict[str, SDEConfig],
    seeds: Iterable[int],
    cache: Path | str,
    mix: Mix = Mix(),
    **options,
) -> dict[tuple[str, int], TwoSided]:
    """Fit each configuration with each seed in forward and in reversed time.

    Reversed time is left out where every held-out time lies after the last training time. Other
    options are those of :func:`scimf.dynamics.fit.fit_many`.
    """
    chosen = {"configs": configs, "seeds": list(seeds), "cache": cache, **options}
    forward = fit_many(adata, split, space, **chosen)
    if not any(
        t < split.train_times[-1] for t in split.held_times
    ):  # nothing lies behind a forecast
        return {key: TwoSided(model, None, mix) for key, model in forward.items()}
    back, nothing_held = reversed_time(adata, split)
    if getattr(space, "split", None) == split:  # its cells are those of the same training times
        space = replace(space, split=nothing_held)
    backward = fit_many(back, nothing_held, space, **chosen)
    return {key: TwoSided(model, backward[key], mix) for key, model in forward.items()}
