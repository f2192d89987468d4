r"""Simulated counts: types under perturbations, and any simulated system seen through genes.

A cell's genes share its molecules, :math:`\rho = \mathrm{softmax}(\eta)` of log rates :math:`\eta`;
its total :math:`L` is log-normal, and counts are negative binomial with mean :math:`L\rho_g` and
dispersion :math:`\theta_g`.
"""

import anndata as ad
import numpy as np
import pandas as pd

from scimf.simulate.particles import SIMULATED, TYPE_NAMES


def factorial(
    *,
    seed: int = 0,
    n_cells: int = 4000,
    n_genes: int = 400,
    n_types: int = 6,
    n_perturbations: int = 3,
    n_factors: int = 6,
    strength: float = 1.0,
    specific: float = 0.5,
    depth: float = 800.0,
) -> ad.AnnData:
    r"""Cell types under perturbations, every combination present.

    .. math:: \eta_g = b_g + T_{kg} + \text{strength}\,(P_{pg} + \text{specific}\, I_{kpg})
              + z^\top W_g

    for type :math:`k` and perturbation :math:`p`, where perturbation 0, ``control``, has no effect;
    each perturbation moves a tenth of the genes. :math:`I` is what it does in one type alone, so
    that adding effects is not the whole truth; :math:`z` are continuous factors within a type. A
    perturbation also changes the library size, by up to ``strength`` times 30 percent.

    Returns
    -------
    AnnData
        ``X`` (cells, genes), counts; ``obs``: cell_type, perturbation; ``layers["mean"]``, the true
        mean of every count; ``var["dispersion"]``.
    """
    rng = np.random.default_rng(seed)
    shape = (n_perturbations + 1, n_types, n_genes)
    table = _draw_log_rates(rng, shape, strength, specific)
    loadings = rng.normal(0, 0.25, (n_factors, n_genes))
    change = rng.uniform(-0.3, 0.3, (n_perturbations + 1, 1)) * strength  # of the library size
    change[0] = 0
    kind = rng.integers(n_types, size=n_cells)
    perturbation = rng.integers(n_perturbations + 1, size=n_cells)
    factors = rng.standard_normal((n_cells, n_factors))
    log_rate = table[perturbation, kind] + factors @ loadings
    of_type = rng.normal(0, 0.2, n_types)
    log_total = np.log(depth) + of_type[kind] + np.log1p(change[perturbation, 0])
    adata = _draw_counts(rng, log_rate, log_total)
    adata.obs["cell_type"] = pd.Categorical(TYPE_NAMES[kind])
    names = np.array(["control", *(f"p{k}" for k in range(1, n_perturbations + 1))])
    adata.obs["perturbation"] = pd.Categorical(names[perturbation])
    adata.uns["scimf"] = {
        **SIMULATED,
        "name": "factorial",
        "title": "Simulated cell types under perturbations, as counts",
        "form": "counts",
        "truth": {"strength": strength, "specific": specific},
    }
    return adata


def _draw_log_rates(
    rng: np.random.Generator, shape: tuple[int, int, int], strength: float, specific: float
) -> np.ndarray:
    """Draw log rates (perturbations, types, genes), before what differs within a type."""
    n, n_types, n_genes = shape
    base = rng.normal(0, 1.2, n_genes)
    of_type = rng.normal(0, 0.8, (n_types, n_genes)) * (rng.random((n_types, n_genes)) < 0.3)
    moved = rng.random((n, 1, n_genes)) < 0.1
    common = rng.normal(0, 1.0, (n, 1, n_genes)) * moved
    in_one_type = rng.normal(0, 1.0, (n, n_types, n_genes)) * moved
    effect = strength * (common + specific * in_one_type)
    effect[0] = 0
    return base + of_type + effect


def counted(
    states: ad.AnnData, *, seed: int = 0, n_genes: int = 200, depth: float = 800.0
) -> ad.AnnData:
    r"""See a system through genes: :math:`\eta = b + xW` with random loadings, then counts.

    ``obs``, ``obsm`` and ``uns`` of the states come along, the states themselves as
    ``obsm["state"]``; the library size falls by a tenth per unit of time, as it does when cells
    differentiate. The same seed gives the same genes for any states of the same dimension, so that
    replicates and counterfactuals can be compared.
    """
    x = np.asarray(states.X, float)
    rng = np.random.default_rng(seed)
    base = rng.normal(0, 1.2, n_genes)
    loadings = rng.normal(0, 0.5, (x.shape[1], n_genes))
    time = states.obs["time"].to_numpy(float)
    log_total = np.log(depth) - 0.1 * (time - time.min())
    adata = _draw_counts(rng, base + x @ loadings, log_total)
    adata.obs = states.obs.copy()
    for key, value in states.obsm.items():
        adata.obsm[key] = value
    adata.obsm["state"] = x.astype(np.float32)
    title = states.uns["scimf"]["title"] + ", as counts"
    adata.uns["scimf"] = {**states.uns["scimf"], "form": "counts", "title": title}
    return adata


def _draw_counts(
    rng: np.random.Generator, log_rate: np.ndarray, log_total: np.ndarray
) -> ad.AnnData:
    """Draw counts for log rates (cells, genes), and log library sizes (cells,) +- 0.3."""
    n_cells, n_genes = log_rate.shape
    # Before what depends on the number of cells, so that the same seed gives the same genes.
    dispersion = np.exp(rng.normal(1.0, 0.5, n_genes))
    share = np.exp(log_rate - log_rate.max(1, keepdims=True))
    total = np.exp(log_total + 0.3 * rng.standard_normal(n_cells))
    mean = total[:, None] * share / share.sum(1, keepdims=True)
    rate = mean * rng.gamma(dispersion, 1 / dispersion, mean.shape)
    counts = rng.poisson(rate).astype(np.float32)
    empty = np.flatnonzero(counts.sum(1) == 0)
    counts[empty, mean[empty].argmax(1)] = 1  # a cell without a molecule is never seen
    genes = [f"gene{k + 1}" for k in range(n_genes)]
    var = pd.DataFrame({"dispersion": dispersion}, index=genes)
    obs = pd.DataFrame(index=[f"cell{i}" for i in range(n_cells)])
    return ad.AnnData(counts, obs=obs, var=var, layers={"mean": mean.astype(np.float32)})
