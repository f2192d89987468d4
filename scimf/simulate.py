r"""Populations whose interaction is known: the ground truth.

Every system is an interacting particle SDE (``scimf.particles``) with *own* drift :math:`b` and *heard* drift, the mean
of :math:`K` over all other cells times the density of the population. Cells are destroyed when they are measured, so
each snapshot is a different random subset of one simulated population. The split of the drift is stored cell by cell in
``obsm["drift_own"]`` and ``obsm["drift_heard"]``, everything else that is true in ``uns["scimf"]["truth"]``.

Systems that interact: :func:`linear`, :func:`morse`, :func:`typed`, :func:`quorum`, and with genes :func:`circuit` and
:func:`paracrine` (``scimf.networks``). Systems that do not: :func:`null`, and two that should fool a naive test,
:func:`staged` and :func:`growing`.
"""

from collections.abc import Callable

import anndata as ad
import numpy as np

from scimf.networks import circuit, paracrine
from scimf.particles import measure, pairwise, population_names, provenance, saturating, type_names

TIMES = (0.0, 1.0, 2.0, 3.0, 4.0)
THETA = 0.4  #: rate at which typed cells relax towards their fate, per unit of time


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
    start_mean: float = 3.0,
    start_sd: tuple[float, float] = (0.3, 1.2),
    step: float = 0.01,
) -> ad.AnnData:
    r"""Linear attraction: :math:`b(x) = -\theta x`, :math:`K(x, y) = \kappa (y - x)`; moments in closed form.

    Populations differ in where they start and how widely, not in density.

    Parameters
    ----------
    seed, n_populations, n_cells, dim, times
        ``n_cells`` are observed per population and time, out of ``n_cells * len(times)`` simulated ones.
    theta, kappa, sigma
        Own relaxation rate, attraction rate and noise, per unit of time.
    start_mean, start_sd
        The mean of a population is drawn from ``-start_mean`` to ``start_mean`` on every axis, its s.d. from the range
        ``start_sd``. Where populations do not overlap, no state is ever met in two of them.
    step
        Euler-Maruyama step of the simulator.

    See Also
    --------
    linear_moments : the exact mean and variance at any time.
    """
    rng = np.random.default_rng(seed)
    mean = rng.uniform(-start_mean, start_mean, size=(n_populations, 1, dim))
    sd = rng.uniform(*start_sd, size=(n_populations, 1, 1))
    n_total = n_cells * len(times)
    x = mean + sd * rng.standard_normal((n_populations, n_total, dim))

    def drift(x: np.ndarray, kind: None, t: float) -> tuple[np.ndarray, np.ndarray]:
        mean_of_others = (x.sum(1, keepdims=True) - x) / (n_total - 1)  # (populations, cells, dim)
        return -theta * x, kappa * (mean_of_others - x)

    adata = measure(x, drift, sigma=sigma, step=step, times=times, n_cells=n_cells, rng=rng)
    truth = {"theta": theta, "kappa": kappa, "sigma": sigma, "start_sd": sd.ravel()}
    adata.uns["scimf"] = provenance(
        "linear", "Simulated cells that relax and are drawn to their population's mean", truth
    )
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


def morse(
    *,
    seed: int = 0,
    n_populations: int = 16,
    n_cells: int = 60,
    dim: int = 2,
    times: tuple[float, ...] = (0.0, 1.0, 2.0, 3.0),
    repulsion: tuple[float, float] = (1.0, 0.5),
    attraction: tuple[float, float] = (0.5, 2.0),
    strength: float = 3.0,
    density_range: tuple[float, float] = (0.5, 2.0),
    sigma: float = 0.15,
    step: float = 0.05,
) -> ad.AnnData:
    r"""Attraction at a distance, repulsion near by: the Morse potential, and a weak pull to the origin.

    :math:`\Phi(r) = C_r e^{-r/\ell_r} - C_a e^{-r/\ell_a}` and :math:`K(x, y) = -\text{strength}\,\Phi'(r)\,(x - y)/r`.

    Parameters
    ----------
    repulsion, attraction
        :math:`(C_r, \ell_r)` and :math:`(C_a, \ell_a)`.
    strength
        Factor of the force.

    See Also
    --------
    morse_force : the true kernel.
    """
    rng = np.random.default_rng(seed)
    n_total = n_cells * len(times)
    centre = rng.uniform(-1.5, 1.5, size=(n_populations, 1, dim))
    spread = rng.uniform(0.3, 1.5, size=(n_populations, 1, 1))
    density = np.exp(rng.uniform(*np.log(density_range), size=n_populations))
    x = centre + spread * rng.standard_normal((n_populations, n_total, dim))
    shape = {"repulsion": repulsion, "attraction": attraction, "strength": strength}

    def drift(x: np.ndarray, kind: None, t: float) -> tuple[np.ndarray, np.ndarray]:
        return -0.2 * x, density[:, None, None] * pairwise(x, lambda r: morse_force(r, **shape))

    adata = measure(x, drift, sigma=sigma, step=step, times=times, n_cells=n_cells, rng=rng, density=density)
    truth = {key: np.asarray(value) for key, value in shape.items()} | {"theta": 0.2, "sigma": sigma}
    adata.uns["scimf"] = provenance("morse", "Simulated cells that attract from afar and repel near by", truth)
    return adata


def morse_force(
    r: np.ndarray, *, repulsion: tuple[float, float], attraction: tuple[float, float], strength: float
) -> np.ndarray:
    r"""Force of the Morse potential at distance ``r``; above 0 it pushes apart: strength :math:`\cdot -\Phi'(r)`."""
    return strength * sum(
        sign * c / length * np.exp(-r / length) for sign, (c, length) in ((1, repulsion), (-1, attraction))
    )


def typed(
    *,
    seed: int = 0,
    n_populations: int = 24,
    n_cells: int = 100,
    n_types: int = 5,
    dim: int = 8,
    times: tuple[float, ...] = TIMES,
    active: float = 0.4,
    strength: tuple[float, float] = (1.0, 2.0),
    reciprocal: bool = False,
    density_range: tuple[float, float] = (0.5, 2.0),
    compositions: np.ndarray | None = None,
    replicate: int = 0,
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
    active, strength, reciprocal
        Share of active ordered pairs, and the range of their absolute strengths; ``reciprocal`` makes the matrix
        symmetric, which is the null of any claim of asymmetry.
    density_range, sigma, step
        Range of the relative density, noise per square root of time, Euler-Maruyama step of the simulator.
    compositions
        Proportions of types to use instead of the drawn ones, (populations, types); rows sum to 1. For
        counterfactuals: a type removed, halved, doubled.
    replicate
        Other cells and other noise of the same system: two replicates differ as two experiments do.

    Returns
    -------
    AnnData
        ``X`` (cells, dim); ``obs``: time, population, cell_type, density; ``uns["scimf"]["truth"]["type_matrix"]``
        (receiver, sender).

    Raises
    ------
    ValueError
        If fewer than two types, a share outside [0, 1] or proportions that do not sum to 1 are asked for.
    """
    if n_types < 2 or not 0 <= active <= 1:
        raise ValueError(f"typed needs n_types >= 2 and 0 <= active <= 1, got n_types={n_types}, active={active}")
    rng = np.random.default_rng(seed)
    matrix = type_matrix(n_types, active=active, strength=strength, rng=rng)  # (receiver, sender)
    if reciprocal:
        matrix = matrix + matrix.T
    start, fate, composition, density = _design(rng, n_populations, n_types, dim, density_range)
    if compositions is not None:
        composition = np.asarray(compositions, float)
        if composition.shape != (n_populations, n_types) or not np.allclose(composition.sum(1), 1):
            raise ValueError(
                f"typed: compositions must be ({n_populations}, {n_types}) with rows that sum to 1, got shape "
                f"{composition.shape}"
            )
    if replicate:
        rng = np.random.default_rng([seed, replicate])
    n_total = n_cells * len(times)
    kind, x = _cells(rng, start, composition, n_total)
    weight = (matrix[kind[:, :, None], kind[:, None, :]] * density[:, None, None] / (n_total - 1)).astype(np.float32)

    def drift(x: np.ndarray, kind: np.ndarray, t: float) -> tuple[np.ndarray, np.ndarray]:
        return THETA * (fate[kind] - x), saturating(x, weight)

    settings = {"sigma": sigma, "step": step, "times": times, "n_cells": n_cells, "rng": rng}
    truth = {"type_matrix": matrix}
    title = "Simulated cell types that signal to each other without reciprocity"
    return _measured("typed", title, x, drift, kind, (start, fate, composition, density), truth, **settings)


def staged(
    *,
    seed: int = 0,
    n_populations: int = 24,
    n_cells: int = 100,
    n_types: int = 5,
    dim: int = 8,
    times: tuple[float, ...] = TIMES,
    shift: float = 1.5,
    sigma: float = 0.15,
    step: float = 0.1,
) -> ad.AnnData:
    """No interaction, but a medium that is changed once per interval: all fates move together, by ``shift``.

    Fools a naive test: a population tells the time, so a model that hears it predicts better than one that does not.
    """
    rng = np.random.default_rng(seed)
    start, fate, composition, density = _design(rng, n_populations, n_types, dim, (0.5, 2.0))
    medium = rng.standard_normal((len(times), dim))  # one direction per interval
    medium *= shift / np.linalg.norm(medium, axis=1, keepdims=True)
    kind, x = _cells(rng, start, composition, n_cells * len(times))

    def drift(x: np.ndarray, kind: np.ndarray, t: float) -> tuple[np.ndarray, np.ndarray]:
        stage = int(np.clip(np.searchsorted(times, t + 1e-9, side="right") - 1, 0, len(times) - 1))
        return THETA * (fate[kind] + medium[stage] - x), np.zeros_like(x)

    settings = {"sigma": sigma, "step": step, "times": times, "n_cells": n_cells, "rng": rng}
    truth = {"type_matrix": np.zeros((n_types, n_types)), "medium": medium}
    title = "Simulated cell types in a medium that is changed, without interaction"
    return _measured("staged", title, x, drift, kind, (start, fate, composition, density), truth, **settings)


def growing(
    *,
    seed: int = 0,
    n_populations: int = 24,
    n_cells: int = 100,
    n_types: int = 5,
    dim: int = 8,
    times: tuple[float, ...] = TIMES,
    rate: float = 0.5,
    sigma: float = 0.15,
    step: float = 0.1,
) -> ad.AnnData:
    """No interaction, but types divide and die at rates from ``-rate`` to ``rate`` per unit of time.

    Fools a naive test: proportions change by what all cells of the population do. ``obs["mass"]`` is the cell number
    relative to the start, which an experimenter could count.
    """
    rng = np.random.default_rng(seed)
    start, fate, composition, density = _design(rng, n_populations, n_types, dim, (0.5, 2.0))
    rates = rng.permutation(np.linspace(-rate, rate, n_types))
    kind, x = _cells(rng, start, composition, n_cells * len(times))

    def drift(x: np.ndarray, kind: np.ndarray, t: float) -> tuple[np.ndarray, np.ndarray]:
        return THETA * (fate[kind] - x), np.zeros_like(x)

    settings = {"sigma": sigma, "step": step, "times": times, "n_cells": n_cells, "rng": rng}
    settings["growth"] = lambda x, kind: rates[kind]
    truth = {"type_matrix": np.zeros((n_types, n_types)), "rates": rates}
    title = "Simulated cell types that divide and die, without interaction"
    return _measured("growing", title, x, drift, kind, (start, fate, composition, density), truth, **settings)


def quorum(
    *,
    seed: int = 0,
    n_populations: int = 24,
    n_cells: int = 100,
    dim: int = 4,
    times: tuple[float, ...] = TIMES,
    strength: float = 1.5,
    threshold: float = 0.5,
    density_range: tuple[float, float] = (0.2, 5.0),
    sigma: float = 0.15,
    step: float = 0.1,
) -> ad.AnnData:
    r"""Responders (B) turn towards secretors (A) once there are enough of them: the total counts, not the share.

    With :math:`Q = s\,n_A / (N - 1)`, the number of other secretors relative to a reference population, every B cell
    gets :math:`\text{strength} \cdot Q^2 / (\text{threshold}^2 + Q^2)` along one fixed direction, from the fate of B to
    that of A. C listens to nobody. Densities vary by more than an order of magnitude, so a message that is scale-free
    in the number of cells, such as a softmax, cannot say how much is heard.
    """
    rng = np.random.default_rng(seed)
    start, fate, _, density = _design(rng, n_populations, 3, dim, density_range)
    composition = rng.dirichlet(np.full(3, 3.0), size=n_populations)
    n_total = n_cells * len(times)
    kind, x = _cells(rng, start, composition, n_total)
    direction = (fate[0] - fate[1]) / np.linalg.norm(fate[0] - fate[1])
    secretor, responder = kind == 0, kind == 1
    total = density[:, None] * (secretor.sum(1, keepdims=True) - secretor) / (n_total - 1)
    heard = (strength * total**2 / (threshold**2 + total**2) * responder)[..., None] * direction

    def drift(x: np.ndarray, kind: np.ndarray, t: float) -> tuple[np.ndarray, np.ndarray]:
        return THETA * (fate[kind] - x), heard

    settings = {"sigma": sigma, "step": step, "times": times, "n_cells": n_cells, "rng": rng}
    matrix = np.zeros((3, 3))
    matrix[1, 0] = strength
    truth = {"type_matrix": matrix, "threshold": threshold, "direction": direction}
    title = "Simulated responders that count secretors"
    return _measured("quorum", title, x, drift, kind, (start, fate, composition, density), truth, **settings)


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


def _design(rng: np.random.Generator, n_populations: int, n_types: int, dim: int, density_range: tuple[float, float]):
    """Draw where types start and go, (types, dim) each, compositions (populations, types), densities (populations,)."""
    start = 2.0 * np.linalg.qr(rng.standard_normal((max(dim, n_types), max(dim, n_types))))[0][:n_types, :dim]
    common = rng.standard_normal(dim)
    fate = start + 1.0 * common / np.linalg.norm(common) + rng.normal(0, 1.0 / np.sqrt(dim), size=(n_types, dim))
    composition = rng.dirichlet(np.ones(n_types), size=n_populations)
    return start, fate, composition, np.exp(rng.uniform(*np.log(density_range), size=n_populations))


def _cells(rng: np.random.Generator, start: np.ndarray, composition: np.ndarray, n_total: int):
    """Draw the type (populations, cells) and the first state (populations, cells, dim) of all cells."""
    kind = np.stack([rng.choice(len(start), size=n_total, p=p) for p in composition])
    return kind, start[kind] + 0.3 * rng.standard_normal((len(composition), n_total, start.shape[1]))


def _measured(name, title, x, drift, kind, design, truth, *, sigma, **settings) -> ad.AnnData:
    """Measure a system of cell types, and store its truth beside what all such systems share."""
    start, fate, composition, density = design
    adata = measure(x, drift, sigma=sigma, kind=kind, density=density, **settings)
    shared = {
        "types": np.array(type_names(len(start))),
        "populations": np.array(population_names(len(density))),
        "theta": THETA,
        "sigma": sigma,
        "start": start,
        "fate": fate,
        "composition": composition,
        "density": density,
    }
    adata.uns["scimf"] = provenance(name, title, truth | shared)
    return adata


#: Simulated systems by name, each ``f(*, seed, **options) -> AnnData``.
SYSTEMS: dict[str, Callable[..., ad.AnnData]] = {
    system.__name__: system for system in (null, linear, morse, circuit, typed, staged, growing, quorum, paracrine)
}
