r"""Simulated gene networks whose interaction is known: a three-gene circuit, and ligands with receptors and decoys."""

import anndata as ad
import numpy as np

from scimf.particles import measure, pairwise, provenance, type_names


def circuit(
    *,
    seed: int = 0,
    n_populations: int = 16,
    n_cells: int = 60,
    times: tuple[float, ...] = (0.0, 8.0, 16.0, 24.0, 32.0),
    strength: float = 0.2,
    reach: float = 0.5,
    division: float = 0.0,
    step: float = 1.0,
) -> ad.AnnData:
    r"""Three genes that inhibit each other in cells that attract each other; CytoBridge is tested on it.

    Genes 1 and 2 activate themselves and inhibit each other, gene 3 inhibits both and activates itself, all by Hill
    functions with exponent 2 (parameters: Zhang et al. 2025, arXiv:2505.11197, appendix B.1; Hill form: Sha et al.
    2024, TIGON). Attraction is the gradient of :math:`\Phi = r^2` within ``reach``. Cells divide with rate
    ``division`` :math:`\cdot X_2^2/(1 + X_2^2)`. Populations mix the two starting clusters in different proportions
    and densities, which that test does not do: with a single mixture the interaction cannot be told from the circuit.
    """
    rng = np.random.default_rng(seed)
    n_total = n_cells * len(times)
    share = rng.uniform(0.1, 0.9, size=(n_populations, 1))
    density = np.exp(rng.uniform(np.log(0.5), np.log(2.0), size=n_populations))
    second = rng.random((n_populations, n_total)) < share
    x = np.where(second[..., None], [0.0, 0.0, 2.0], [2.0, 0.2, 0.0]) + np.sqrt(0.1) * rng.standard_normal(
        (n_populations, n_total, 3)
    )
    x = np.abs(x)
    noise = np.array([0.05, 0.05, 0.01])

    def drift(x: np.ndarray, kind: np.ndarray, t: float) -> tuple[np.ndarray, np.ndarray]:
        towards = pairwise(x, lambda r: np.where(r < reach, -2 * strength * r, 0.0))
        return circuit_drift(x), density[:, None, None] * towards

    def growth(x: np.ndarray, kind: np.ndarray) -> np.ndarray:
        return division * x[..., 1] ** 2 / (1 + x[..., 1] ** 2)

    settings = {"sigma": noise, "step": step, "times": times, "n_cells": n_cells, "rng": rng, "density": density}
    adata = measure(x, drift, **settings, kind=second.astype(int), growth=growth if division else None)
    truth = {"strength": strength, "reach": reach, "division": division, "share": share.ravel(), "sigma": noise}
    adata.uns["scimf"] = provenance("circuit", "Simulated three-gene circuit with short-range attraction", truth)
    return adata


def circuit_drift(x: np.ndarray) -> np.ndarray:
    """Own drift of :func:`circuit`, (..., 3)."""
    x1, x2, x3 = np.moveaxis(np.maximum(x, 0) ** 2, -1, 0)
    beta, decay = 1.0, 0.4
    first = (0.5 * x1 + beta) / (1 + 0.5 * x1 + 1.0 * x2 + 10.0 * x3 + beta)
    second = (1.0 * x2 + beta) / (1 + 0.5 * x1 + 1.0 * x2 + 10.0 * x3 + beta)
    third = 1.0 * x3 / (1 + 1.0 * x3)
    return np.stack([first, second, third], -1) - decay * x


def paracrine(
    *,
    seed: int = 0,
    n_populations: int = 48,
    n_cells: int = 100,
    n_types: int = 4,
    n_active: int = 3,
    n_decoys: int = 20,
    times: tuple[float, ...] = (0.0, 0.5, 1.0, 1.5, 2.0),
    strength: float = 3.0,
    between_cells: float = 0.5,
    density_range: tuple[float, float] = (0.5, 2.0),
    sigma: float = 0.1,
    step: float = 0.1,
) -> ad.AnnData:
    r"""Genes, ligands and receptors: a few pairs signal, many more are expressed and do nothing.

    Own drift: every gene relaxes to its level in that cell, :math:`\gamma(\ell_{ig} - x_g)`, and a target pushes one
    programme gene (Hill). Heard: with :math:`\bar L_i = s \cdot` mean ligand of the other cells, the two targets of an
    active pair get :math:`\text{strength} \cdot z^2 / (1 + z^2)`, :math:`z = R_i \bar L_i`.

    Decoys can be told from active pairs, which on-off patterns of a few types alone do not allow: a ligand or receptor
    is on in some types, its level differs from cell to cell (log-normal, s.d. ``between_cells``), and of the cells that
    could speak a share does that each population draws anew for each ligand (uniform; the others are at a tenth), so
    that a cell's own ligands hardly tell what it hears. Targets begin anywhere in their range and are measured before
    they settle: at rest a target shows the signal itself, and whatever a state shows can pass for own drift.

    Returns
    -------
    AnnData
        ``X`` (cells, genes): ``lig0...``, ``rec0...`` (pair k is ``lig{k}``, ``rec{k}``), ``tgt...``, ``prog...``;
        truth: ``active`` (pairs,), ``targets`` (gene names, active pairs x 2), ``type_matrix`` (number of active pairs
        that b can speak and a can hear).
    """
    rng = np.random.default_rng(seed)
    n_pairs, n_total, decay = n_active + n_decoys, n_cells * len(times), 0.7
    names = [f"{kind}{k}" for kind in ("lig", "rec") for k in range(n_pairs)]
    names += [f"tgt{k}" for k in range(2 * n_active)] + [f"prog{k}" for k in range(2 * n_types)]
    ligand, receptor = np.arange(n_pairs), n_pairs + np.arange(n_pairs)
    target = 2 * n_pairs + np.arange(2 * n_active)
    programme = target[-1] + 1 + np.arange(2 * n_types)

    active = np.zeros(n_pairs, dtype=bool)
    active[rng.choice(n_pairs, n_active, replace=False)] = True
    level = np.full((n_types, len(names)), 0.1)
    for gene in (*ligand, *receptor):  # on in one to all but one types
        on = rng.choice(n_types, rng.integers(1, n_types), replace=False)
        level[on, gene] = rng.uniform(1.0, 2.0, size=len(on))
    level[np.repeat(np.arange(n_types), 2), programme] = 2.0
    pushed = rng.choice(programme, size=len(target))

    composition = rng.dirichlet(np.ones(n_types), size=n_populations)
    density = np.exp(rng.uniform(*np.log(density_range), size=n_populations))
    kind = np.stack([rng.choice(n_types, size=n_total, p=p) for p in composition])
    factor = np.ones((n_populations, n_total, len(names)))  # of each cell, for good
    expressed = [*ligand, *receptor]
    factor[..., expressed] = np.exp(between_cells * rng.standard_normal((n_populations, n_total, 2 * n_pairs)))
    share = rng.uniform(size=(n_populations, 1, n_pairs))
    factor[..., ligand] *= np.where(rng.random((n_populations, n_total, n_pairs)) < share, 1.0, 0.1)
    home = factor * level[kind]
    begin = home.copy()
    begin[..., programme] *= 0.7
    begin[..., target] = rng.uniform(0, strength / decay, size=(n_populations, n_total, len(target)))
    x = np.maximum(begin + 0.1 * rng.standard_normal(home.shape), 0)

    def drift(x: np.ndarray, kind: np.ndarray, t: float) -> tuple[np.ndarray, np.ndarray]:
        positive = np.maximum(x, 0)
        own = decay * (home - x)
        for gene, to in zip(target, pushed, strict=True):
            own[..., to] += 0.3 * positive[..., gene] ** 2 / (1 + positive[..., gene] ** 2)
        said = positive[..., ligand[active]]
        around = density[:, None, None] * (said.sum(1, keepdims=True) - said) / (n_total - 1)
        bound = (positive[..., receptor[active]] * around) ** 2
        heard = np.zeros_like(x)
        heard[..., target] = np.repeat(strength * bound / (1 + bound), 2, axis=-1)
        return own, heard

    settings = {"sigma": sigma, "step": step, "times": times, "n_cells": n_cells, "rng": rng}
    adata = measure(x, drift, **settings, kind=kind, density=density)
    adata.var_names = names
    speaks, hears = (level[:, genes[active]] > 0.5 for genes in (ligand, receptor))
    truth = {
        "active": active,
        "targets": np.array([names[g] for g in target]).reshape(n_active, 2),
        "type_matrix": hears.astype(float) @ speaks.T,
        "types": np.array(type_names(n_types)),
        "composition": composition,
        "density": density,
        "sigma": sigma,
    }
    adata.uns["scimf"] = provenance("paracrine", "Simulated gene network with ligands, receptors and decoys", truth)
    return adata
