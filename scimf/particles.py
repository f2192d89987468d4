r"""Interacting particles, measured destructively: integrate whole populations, observe disjoint subsets of them.

For cell :math:`i` of a population with :math:`N` cells and relative density :math:`s`,

.. math::

    \mathrm{d}x_i = b(x_i, t)\,\mathrm{d}t
        + \frac{s}{N-1} \sum_{j \ne i} K(x_i, x_j)\,\mathrm{d}t + \sigma\,\mathrm{d}W_i .

:math:`b` is the *own* drift, the sum is the *heard* drift. The systems are in ``scimf.simulate``.
"""

from collections.abc import Callable

import anndata as ad
import numpy as np
import pandas as pd

#: (state (populations, cells, dim), type (populations, cells) or None, time) -> own and heard drift, like the state.
Drift = Callable[[np.ndarray, np.ndarray | None, float], tuple[np.ndarray, np.ndarray]]
#: (state, type) -> net rate of division per cell and unit of time, (populations, cells).
Growth = Callable[[np.ndarray, np.ndarray | None], np.ndarray]


def measure(
    x: np.ndarray,
    drift: Drift,
    *,
    sigma: float,
    step: float,
    times: tuple[float, ...],
    n_cells: int,
    rng: np.random.Generator,
    kind: np.ndarray | None = None,
    density: np.ndarray | None = None,
    growth: Growth | None = None,
) -> ad.AnnData:
    """Integrate all cells together (Euler-Maruyama) and measure a fresh, disjoint subset of them at each time.

    Parameters
    ----------
    x
        State at ``times[0]``, (populations, cells, dim); ``cells`` is at least ``n_cells * len(times)``.
    drift
        The two parts of the drift.
    sigma, step, times, n_cells, rng
        Noise per square root of time, largest step, measured times, measured cells per population and time, source of
        all randomness.
    kind, density
        Type of each cell (populations, cells), and relative density of each population (populations,).
    growth
        Net division rate. The simulated population is a sample of fixed size of a growing one: a dividing cell replaces
        a random other cell, a dying cell is replaced by one (Moran 1958). ``obs["mass"]`` is the number of cells
        relative to the start.

    Returns
    -------
    AnnData
        ``obs``: time, population, cell_type, density, mass where given; ``obsm["drift_own"]``, ``["drift_heard"]``.
    """
    n_populations, n_total, dim = x.shape
    order = np.stack([rng.permutation(n_total) for _ in range(n_populations)])
    rows, mass, now = np.arange(n_populations)[:, None], np.ones(n_populations), times[0]
    states, own_parts, heard_parts, frames = [], [], [], []
    for k, time in enumerate(times):
        if k:
            n_steps = max(1, round((time - times[k - 1]) / step))
            h = (time - times[k - 1]) / n_steps
            for _ in range(n_steps):
                own, heard = drift(x, kind, now)
                x = x + (own + heard) * h + sigma * np.sqrt(h) * rng.standard_normal(x.shape)
                now += h
                if growth is not None:
                    rate = growth(x, kind)
                    mass = mass * np.exp(rate.mean(1) * h)
                    parents = _divide(rate * h, rng)
                    x, kind = x[rows, parents], None if kind is None else kind[rows, parents]
        own, heard = drift(x, kind, time)
        taken = order[:, k * n_cells : (k + 1) * n_cells]  # (populations, n_cells)
        states.append(x[rows, taken].reshape(-1, dim))
        own_parts.append(own[rows, taken].reshape(-1, dim))
        heard_parts.append(heard[rows, taken].reshape(-1, dim))
        frame = pd.DataFrame({"time": float(time), "population": np.repeat(population_names(n_populations), n_cells)})
        if kind is not None:
            frame["cell_type"] = np.array(type_names(kind.max() + 1))[kind[rows, taken].ravel()]
        if density is not None:
            frame["density"] = np.repeat(density, n_cells)
        if growth is not None:
            frame["mass"] = np.repeat(mass, n_cells)
        frames.append(frame)
    obs = pd.concat(frames, ignore_index=True)
    obs.index = [f"cell{i}" for i in range(len(obs))]
    for key in {"population", "cell_type"} & set(obs.columns):
        obs[key] = obs[key].astype("category")
    adata = ad.AnnData(
        np.concatenate(states).astype(np.float32), obs=obs, var=pd.DataFrame(index=[f"x{k + 1}" for k in range(dim)])
    )
    adata.obsm["drift_own"] = np.concatenate(own_parts).astype(np.float32)
    adata.obsm["drift_heard"] = np.concatenate(heard_parts).astype(np.float32)
    return adata


def _divide(expected: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Index of the cell that each place holds after one step, (populations, cells); ``expected``: net divisions."""
    n_populations, n_total = expected.shape
    parents = np.tile(np.arange(n_total), (n_populations, 1))
    rows, cells = np.nonzero(rng.random(expected.shape) < np.abs(expected))
    others = (cells + rng.integers(1, n_total, size=len(cells))) % n_total  # never the cell itself
    divides = expected[rows, cells] > 0
    parents[rows[divides], others[divides]] = cells[divides]
    parents[rows[~divides], cells[~divides]] = others[~divides]
    return parents


def saturating(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    r"""Sum over senders of :math:`w_{ij} (x_j - x_i) / \sqrt{1 + \lVert x_j - x_i\rVert^2}`, (populations, cells, dim).

    ``weight`` (populations, receiver, sender), float32; the pair sums are bound by memory, not by precision.
    """
    single = x.astype(np.float32)
    squares = (single**2).sum(-1)
    pull = single @ single.transpose(0, 2, 1)  # (populations, receiver, sender), reused in place
    pull *= -2
    pull += squares[:, :, None]
    pull += squares[:, None, :] + 1  # 1 + squared distance
    np.sqrt(np.maximum(pull, 1, out=pull), out=pull)
    np.divide(weight, pull, out=pull)
    return (pull @ single - pull.sum(-1, keepdims=True) * single).astype(float)


def pairwise(x: np.ndarray, force: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Mean over senders of ``force(r)`` times the unit vector **from** sender to receiver, like ``x``."""
    n_total, heard = x.shape[1], np.empty_like(x)
    for p, cells in enumerate(x):
        away = cells[:, None] - cells[None]  # (receiver, sender, dim)
        r = np.linalg.norm(away, axis=-1)
        np.fill_diagonal(r, 1.0)
        strength = force(r) / r
        np.fill_diagonal(strength, 0.0)
        heard[p] = np.einsum("ij,ijd->id", strength, away) / (n_total - 1)
    return heard


def population_names(n: int) -> list[str]:
    """Names of ``n`` populations: p00, p01, ..."""
    return [f"p{p:02d}" for p in range(n)]


def type_names(n: int) -> list[str]:
    """Names of ``n`` cell types: A, B, ..."""
    return [chr(ord("A") + k) for k in range(n)]


def provenance(name: str, title: str, truth: dict) -> dict:
    """``uns["scimf"]`` of a simulated set."""
    empty = np.array([], dtype=str)
    return {
        "name": name,
        "title": title,
        "form": "state",
        "time_unit": "a.u.",
        "files": empty,
        "urls": empty,
        "sha256": empty,
        "licence": "MIT (simulated here)",
        "citation": "this repository, scimf/simulate.py",
        "warnings": empty,
        "truth": truth,
    }
