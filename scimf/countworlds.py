r"""Simulated counts whose truth is known: types under perturbations, and any simulated system seen through genes.

A cell's genes share its molecules, :math:`\rho = \mathrm{softmax}(\eta)` of log rates :math:`\eta`; its total
:math:`L` is log-normal, and counts are negative binomial with mean :math:`L\rho_g` and dispersion :math:`\theta_g`.
"""

import anndata as ad
import numpy as np
import pandas as pd

from scimf.particles import provenance, type_names


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

    .. math:: \eta_g = b_g + T_{kg} + \text{strength}\,(P_{pg} + \text{specific}\, I_{kpg}) + z^\top W_g

    for type :math:`k` and perturbation :math:`p`, where perturbation 0, ``control``, has no effect; each perturbation
    moves a tenth of the genes. :math:`I` is what it does in one type alone, so that adding effects is not the whole
    truth; :math:`z` are continuous factors within a type. A perturbation also changes the library size, by up to
    ``strength`` times 30 percent.

    Returns
    -------
    AnnData
        ``X`` (cells, genes), counts; ``obs``: cell_type, perturbation; ``layers["mean"]``, the true mean of every
        count; ``var["dispersion"]``.
    """
    rng = np.random.default_rng(seed)
    base = rng.normal(0, 1.2, n_genes)
    by_type = rng.normal(0, 0.8, (n_types, n_genes)) * (rng.random((n_types, n_genes)) < 0.3)
    moved = rng.random((n_perturbations + 1, 1, n_genes)) < 0.1
    common = rng.normal(0, 1.0, (n_perturbations + 1, 1, n_genes)) * moved
    alone = rng.normal(0, 1.0, (n_perturbations + 1, n_types, n_genes)) * moved
    effect = strength * (common + specific * alone)
    effect[0] = 0
    loadings = rng.normal(0, 0.25, (n_factors, n_genes))
    size = rng.uniform(-0.3, 0.3, (n_perturbations + 1, 1)) * strength * (np.arange(n_perturbations + 1) > 0)[:, None]
    kind, what = rng.integers(n_types, size=n_cells), rng.integers(n_perturbations + 1, size=n_cells)
    log_rate = base + by_type[kind] + effect[what, kind] + rng.standard_normal((n_cells, n_factors)) @ loadings
    log_total = np.log(depth) + rng.normal(0, 0.2, n_types)[kind] + np.log1p(size[what, 0])
    adata = _measured(log_rate, log_total, rng)
    adata.obs["cell_type"] = pd.Categorical(np.array(type_names(n_types))[kind])
    adata.obs["perturbation"] = pd.Categorical(
        np.array(["control", *(f"p{k}" for k in range(1, n_perturbations + 1))])[what]
    )
    truth = {"strength": strength, "specific": specific}
    adata.uns["scimf"] = provenance("factorial", "Simulated cell types under perturbations, as counts", truth)
    adata.uns["scimf"] |= {"form": "counts", "citation": "this repository, scimf/countworlds.py"}
    return adata


def counted(states: ad.AnnData, *, seed: int = 0, n_genes: int = 200, depth: float = 800.0) -> ad.AnnData:
    r"""See a simulated system through genes: :math:`\eta = b + xW` with random loadings, then counts.

    ``obs``, ``obsm`` and ``uns`` of the states come along, the states themselves as ``obsm["state"]``; the library
    size falls by a tenth per unit of time, as it does when cells differentiate. The same seed gives the same genes for
    any states of the same dimension, so that replicates and counterfactuals can be compared.
    """
    x = np.asarray(states.X, float)
    rng = np.random.default_rng(seed)
    base, loadings = rng.normal(0, 1.2, n_genes), rng.normal(0, 0.5, (x.shape[1], n_genes))
    time = states.obs["time"].to_numpy(float)
    adata = _measured(base + x @ loadings, np.log(depth) - 0.1 * (time - time.min()), rng)
    adata.obs = states.obs.copy()
    for key, value in states.obsm.items():
        adata.obsm[key] = value
    adata.obsm["state"] = x.astype(np.float32)
    adata.uns["scimf"] = dict(states.uns["scimf"]) | {"form": "counts"}
    adata.uns["scimf"]["title"] += ", as counts"
    return adata


def _measured(log_rate: np.ndarray, log_total: np.ndarray, rng: np.random.Generator) -> ad.AnnData:
    """Draw counts for log rates (cells, genes), and for log library sizes (cells,) that spread by 0.3."""
    dispersion = np.exp(rng.normal(1.0, 0.5, log_rate.shape[1]))  # before what depends on the number of cells
    share = np.exp(log_rate - log_rate.max(1, keepdims=True))
    total = np.exp(log_total + 0.3 * rng.standard_normal(len(log_total)))
    mean = total[:, None] * share / share.sum(1, keepdims=True)
    counts = rng.poisson(mean * rng.gamma(dispersion, 1 / dispersion, mean.shape)).astype(np.float32)
    empty = np.flatnonzero(counts.sum(1) == 0)
    counts[empty, mean[empty].argmax(1)] = 1  # a cell without a molecule is never seen
    var = pd.DataFrame({"dispersion": dispersion}, index=[f"gene{k + 1}" for k in range(counts.shape[1])])
    obs = pd.DataFrame(index=[f"cell{i}" for i in range(len(counts))])
    return ad.AnnData(counts, obs=obs, var=var, layers={"mean": mean.astype(np.float32)})
