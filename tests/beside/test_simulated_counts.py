"""Simulated counts are what they say: means, dispersions, effects that are there or not."""

import numpy as np
from beside.simulated_counts import counted, factorial

from scimf.counts.fit_autoencoder import panel_counts
from scimf.simulate import systems

SMALL = {"n_cells": 1500, "n_genes": 60, "n_types": 2, "n_perturbations": 2}


def share(adata, **where):
    """Mean share of each gene in the molecules of the cells that are so labelled."""
    rows = np.all([adata.obs[key] == value for key, value in where.items()], axis=0)
    mean = adata.layers["mean"][rows]
    return (mean / mean.sum(1, keepdims=True)).mean(0)


def effect(adata, kind):
    """What perturbation p1 does to each gene of a type, in log shares."""
    perturbed = share(adata, cell_type=kind, perturbation="p1")
    control = share(adata, cell_type=kind, perturbation="control")
    return np.log(perturbed / control)


def test_counts_have_the_means_and_dispersions_they_name():
    adata = factorial(**SMALL)
    counts = panel_counts(adata)
    mean = adata.layers["mean"]
    dispersion = adata.var["dispersion"].to_numpy()
    standard = (counts - mean) / np.sqrt(mean + mean**2 / dispersion)
    assert abs(standard.mean()) < 0.02
    assert abs(standard.std() - 1) < 0.05
    often = counts.mean(0) > 2
    # by the method of moments, over all cells of a gene
    excess = ((counts - mean) ** 2 - mean).mean(0)
    ratio = (mean**2).mean(0)[often] / excess[often] / dispersion[often]
    assert 0.8 < np.median(ratio) < 1.25


def test_a_perturbation_without_strength_does_nothing_and_with_strength_something():
    for strength, changed in ((0.0, False), (1.0, True)):
        adata = factorial(**SMALL, strength=strength)
        gap = np.abs([effect(adata, "A"), effect(adata, "B")])
        assert bool(np.max(gap) > 0.5) is changed
        assert np.median(gap) < 0.2  # most genes are not moved


def test_what_is_specific_to_a_type_can_be_switched_off():
    shift = {}
    for specific in (0.0, 1.0):
        adata = factorial(**SMALL, specific=specific)
        a = effect(adata, "A")
        b = effect(adata, "B")
        shift[specific] = np.abs((a - np.median(a)) - (b - np.median(b))).max()
    assert shift[0.0] < 0.3 < shift[1.0]


def test_a_system_seen_through_genes_keeps_its_truth():
    shape = {"n_cells": 20, "n_types": 3, "dim": 3}
    states = systems.typed(n_populations=2, **shape)
    adata = counted(states, n_genes=40)
    assert adata.shape == (states.n_obs, 40)
    assert (adata.obs["time"] == states.obs["time"]).all()
    np.testing.assert_allclose(adata.obsm["state"], states.X, rtol=1e-6)
    assert "type_matrix" in adata.uns["scimf"]["truth"]
    assert adata.uns["scimf"]["form"] == "counts"
    log_total = np.log(adata.layers["mean"].sum(1))
    time = adata.obs["time"].to_numpy()
    change = log_total[time == 4.0].mean() - log_total[time == 0.0].mean()
    assert abs(change + 0.4) < 0.2
    again = counted(systems.typed(n_populations=3, replicate=1, **shape), n_genes=40)
    assert again.var.equals(adata.var)
    assert states.uns["scimf"]["form"] == "state"
