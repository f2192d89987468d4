r"""Populations whose interaction is known: the ground truth.

Every system is an interacting particle SDE: for cell :math:`i` of a population with :math:`N` cells and density
:math:`s`,

.. math::

    \mathrm{d}x_i = b(x_i)\,\mathrm{d}t
        + \frac{s}{N-1} \sum_{j \ne i} K(x_i, x_j)\,\mathrm{d}t + \sigma\,\mathrm{d}W_i .

:math:`b` is the *own* drift, the sum is the *heard* drift. Cells are destroyed when they are measured, so each snapshot
is a different random subset of one simulated population. The split of the drift is stored cell by cell in
``obsm["drift_own"]`` and ``obsm["drift_heard"]``, everything else that is true in ``uns["scimf"]["truth"]``.
"""

from collections.abc import Callable

import anndata as ad
import numpy as np
import pandas as pd

Drift = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def null(*, seed: int = 0, **options) -> ad.AnnData:
    """Cells that ignore each other: the typed system with an empty type matrix (see :func:`typed`)."""
    adata = typed(seed=seed, active=0.0, **options)
    adata.uns["scimf"] |= {"name": "null", "title": "Simulated cell types that develop without hearing each other"}
    return adata


def linear(
    *,
    seed: int = 0,
    n_populations: int = 8,
    n_cells: int = 100,
    dim: int = 2,
    times: tuple[float, ...] = (0.0, 1.0, 2.0, 3.0),
    theta: float = 0.3,
    kappa: float = 0.5,
    sigma: float = 0.3,
    step: float = 0.01,
) -> ad.AnnData:
    r"""Linear attraction: :math:`b(x) = -\theta x`, :math:`K(x, y) = \kappa (y - x)`; moments in closed form.

    Populations differ in where they start (mean up to 3 from the origin) and how widely (s.d. 0.3 to 1.2), not in
    density.

    Parameters
    ----------
    seed, n_populations, n_cells, dim, times
        ``n_cells`` are observed per population and time, out of ``n_cells * len(times)`` simulated ones.
    theta, kappa, sigma
        Own relaxation rate, attraction rate and noise, per unit of time.
    step
        Euler-Maruyama step of the simulator.

    See Also
    --------
    linear_moments : the exact mean and variance at any time.
    """
    rng = np.random.default_rng(seed)
    start_mean = rng.uniform(-3, 3, size=(n_populations, 1, dim))
    start_sd = rng.uniform(0.3, 1.2, size=(n_populations, 1, 1))
    n_total = n_cells * len(times)
    x = start_mean + start_sd * rng.standard_normal((n_populations, n_total, dim))

    def drift(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        mean_of_others = (x.sum(1, keepdims=True) - x) / (n_total - 1)  # (populations, cells, dim)
        return -theta * x, kappa * (mean_of_others - x)

    adata = _snapshots(x, drift, sigma=sigma, step=step, times=times, n_cells=n_cells, rng=rng)
    adata.uns["scimf"] = _provenance(
        "linear", "Simulated cells that relax and are drawn to their population's mean"
    ) | {"truth": {"theta": theta, "kappa": kappa, "sigma": sigma, "start_sd": start_sd.ravel()}}
    return adata


def linear_moments(
    t: float, *, mean: np.ndarray, variance: float, theta: float, kappa: float, sigma: float
) -> tuple[np.ndarray, float]:
    r"""Exact mean and per-axis variance of :func:`linear` at time ``t`` in the limit of many cells.

    :math:`m_t = m_0 e^{-\theta t}` and :math:`\dot S = -2(\theta + \kappa) S + \sigma^2`.
    """
    rate = 2 * (theta + kappa)
    limit = sigma**2 / rate
    return mean * np.exp(-theta * t), limit + (variance - limit) * np.exp(-rate * t)


def typed(
    *,
    seed: int = 0,
    n_populations: int = 24,
    n_cells: int = 100,
    n_types: int = 5,
    dim: int = 8,
    times: tuple[float, ...] = (0.0, 1.0, 2.0, 3.0, 4.0),
    active: float = 0.4,
    strength: tuple[float, float] = (1.0, 2.0),
    density_range: tuple[float, float] = (0.5, 2.0),
    sigma: float = 0.15,
    step: float = 0.1,
) -> ad.AnnData:
    r"""Cell types that signal to each other without reciprocity.

    A cell of type :math:`a` relaxes towards its fate, :math:`b(x) = \theta(\mu_a - x)`, and a sender of type :math:`b`
    pulls (:math:`A_{ab} > 0`) or pushes (:math:`A_{ab} < 0`) it with a saturating force

    .. math:: K(x_i, x_j) = A_{a_i a_j}\,\frac{x_j - x_i}{\sqrt{1 + \lVert x_j - x_i \rVert^2}} .

    A share ``active`` of the ordered pairs of different types is non-zero, signs are mixed, and at most one
    direction of a pair is active as long as the share allows it. Populations differ in composition (Dirichlet) and in
    density (log-uniform in ``density_range``); the density is known to the experimenter and stored in ``obs``.

    Parameters
    ----------
    seed
        Draws the type matrix, the fates, the compositions and all noise.
    n_populations, n_cells, n_types, dim, times
        ``n_cells`` are observed per population and time, out of ``n_cells * len(times)`` simulated ones.
    active, strength
        Share of active ordered pairs, and the range of their absolute strengths.
    density_range, sigma, step
        Range of the relative density, noise per square root of time, Euler-Maruyama step of the simulator.

    Returns
    -------
    AnnData
        ``X`` (cells, dim); ``obs``: time, population, cell_type, density; ``uns["scimf"]["truth"]["type_matrix"]``
        (receiver, sender).

    Raises
    ------
    ValueError
        If fewer than two types or a share outside [0, 1] is asked for.
    """
    if n_types < 2 or not 0 <= active <= 1:
        raise ValueError(f"typed needs n_types >= 2 and 0 <= active <= 1, got n_types={n_types}, active={active}")
    rng = np.random.default_rng(seed)
    matrix = type_matrix(n_types, active=active, strength=strength, rng=rng)  # (receiver, sender)
    theta = 0.4
    start = 2.0 * np.linalg.qr(rng.standard_normal((max(dim, n_types), max(dim, n_types))))[0][:n_types, :dim]
    common = rng.standard_normal(dim)
    fate = start + 1.0 * common / np.linalg.norm(common) + rng.normal(0, 1.0 / np.sqrt(dim), size=(n_types, dim))

    n_total = n_cells * len(times)
    composition = rng.dirichlet(np.ones(n_types), size=n_populations)  # (populations, types)
    density = np.exp(rng.uniform(*np.log(density_range), size=n_populations))
    kind = np.stack([rng.choice(n_types, size=n_total, p=p) for p in composition])  # (populations, cells)
    x = start[kind] + 0.3 * rng.standard_normal((n_populations, n_total, dim))

    weight = (matrix[kind[:, :, None], kind[:, None, :]] * density[:, None, None] / (n_total - 1)).astype(np.float32)

    def drift(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        single = x.astype(np.float32)  # the pair sums are bound by memory, not by precision
        squares = (single**2).sum(-1)
        pull = single @ single.transpose(0, 2, 1)  # (populations, receiver, sender), reused in place
        pull *= -2
        pull += squares[:, :, None]
        pull += squares[:, None, :] + 1  # 1 + squared distance
        np.sqrt(np.maximum(pull, 1, out=pull), out=pull)
        np.divide(weight, pull, out=pull)
        heard = pull @ single - pull.sum(-1, keepdims=True) * single
        return theta * (fate[kind] - x), heard.astype(float)

    adata = _snapshots(
        x, drift, sigma=sigma, step=step, times=times, n_cells=n_cells, rng=rng, kind=kind, density=density
    )
    adata.uns["scimf"] = _provenance("typed", "Simulated cell types that signal to each other without reciprocity") | {
        "truth": {
            "type_matrix": matrix,
            "types": np.array(_type_names(n_types)),
            "theta": theta,
            "sigma": sigma,
            "start": start,
            "fate": fate,
            "composition": composition,
            "density": density,
        }
    }
    return adata


def type_matrix(
    n_types: int, *, active: float, strength: tuple[float, float], rng: np.random.Generator
) -> np.ndarray:  # (receiver, sender)
    """Draw a signed type matrix without reciprocity: row = receiver, column = sender, zero diagonal."""
    pairs = [(a, b) if rng.random() < 0.5 else (b, a) for a in range(n_types) for b in range(a)]
    rng.shuffle(pairs)
    pairs += [(b, a) for a, b in pairs]  # reciprocal pairs come last, so they are used only if the share demands it
    n_active = round(active * len(pairs))
    matrix = np.zeros((n_types, n_types))
    for k, (a, b) in enumerate(pairs[:n_active]):
        matrix[a, b] = rng.uniform(*strength) * (1 if k % 2 else -1)
    return matrix


def _type_names(n_types: int) -> list[str]:
    return [chr(ord("A") + k) for k in range(n_types)]


def _provenance(name: str, title: str) -> dict:
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
    }


def _snapshots(
    x: np.ndarray,  # (populations, cells, dim), the state at times[0]
    drift: Drift,
    *,
    sigma: float,
    step: float,
    times: tuple[float, ...],
    n_cells: int,
    rng: np.random.Generator,
    kind: np.ndarray | None = None,
    density: np.ndarray | None = None,
) -> ad.AnnData:
    """Integrate all cells together and measure a fresh, disjoint subset of them at each time."""
    n_populations, n_total, dim = x.shape
    order = np.stack([rng.permutation(n_total) for _ in range(n_populations)])
    rows = np.arange(n_populations)[:, None]
    states, own_parts, heard_parts, frames = [], [], [], []
    for k, time in enumerate(times):
        if k:
            n_steps = max(1, round((time - times[k - 1]) / step))
            h = (time - times[k - 1]) / n_steps
            for _ in range(n_steps):
                own, heard = drift(x)
                x = x + (own + heard) * h + sigma * np.sqrt(h) * rng.standard_normal(x.shape)
        own, heard = drift(x)
        taken = order[:, k * n_cells : (k + 1) * n_cells]  # (populations, n_cells)
        states.append(x[rows, taken].reshape(-1, dim))
        own_parts.append(own[rows, taken].reshape(-1, dim))
        heard_parts.append(heard[rows, taken].reshape(-1, dim))
        population = np.repeat([f"p{p:02d}" for p in range(n_populations)], n_cells)
        frame = pd.DataFrame({"time": float(time), "population": population})
        if kind is not None:
            frame["cell_type"] = np.array(_type_names(kind.max() + 1))[kind[rows, taken].ravel()]
        if density is not None:
            frame["density"] = np.repeat(density, n_cells)
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


#: Simulated systems by name, each ``f(*, seed, **options) -> AnnData``.
SYSTEMS: dict[str, Callable[..., ad.AnnData]] = {"null": null, "linear": linear, "typed": typed}
