"""Simulated counts are what they say: means, dispersions, effects that are there or not."""

import numpy as np

from scimf import simulate
from scimf.autoencode import panel_counts
from scimf.countworlds import counted, factorial
from scimf.realism import fit_dispersion

SMALL = {"n_cells": 1500, "n_genes": 60, "n_types": 2, "n_perturbations": 2}


def share(adata, **where):
    rows = np.all([adata.obs[key] == value for key, value in where.items()], axis=0)
    mean = adata.layers["mean"][rows]
    return (mean / mean.sum(1, keepdims=True)).mean(0)


def test_counts_have_the_means_and_dispersions_they_name():
    adata = factorial(**SMALL)
    counts = panel_counts(adata)
    standard = (counts - adata.layers["mean"]) / np.sqrt(
        adata.layers["mean"] + adata.layers["mean"] ** 2 / adata.var["dispersion"].to_numpy()
    )
    assert abs(standard.mean()) < 0.02 and abs(standard.std() - 1) < 0.05
    often = counts.mean(0) > 2
    ratio = fit_dispersion(counts, adata.layers["mean"])[often] / adata.var["dispersion"][often]
    assert 0.8 < np.median(ratio) < 1.25


def test_a_perturbation_without_strength_does_nothing_and_with_strength_something():
    for strength, changed in ((0.0, False), (1.0, True)):
        adata = factorial(**SMALL, strength=strength)
        gap = [
            np.abs(
                np.log(share(adata, cell_type=k, perturbation="p1") / share(adata, cell_type=k, perturbation="control"))
            )
            for k in "AB"
        ]
        assert bool(np.max(gap) > 0.5) is changed
        assert np.median(gap) < 0.2  # most genes are not moved


def test_what_is_specific_to_a_type_can_be_switched_off():
    shift = {}
    for specific in (0.0, 1.0):
        adata = factorial(**SMALL, specific=specific)
        effects = [
            np.log(share(adata, cell_type=k, perturbation="p1") / share(adata, cell_type=k, perturbation="control"))
            for k in "AB"
        ]
        shift[specific] = np.abs((effects[0] - np.median(effects[0])) - (effects[1] - np.median(effects[1]))).max()
    assert shift[0.0] < 0.3 < shift[1.0]


def test_a_system_seen_through_genes_keeps_its_truth():
    states = simulate.typed(n_populations=2, n_cells=20, n_types=3, dim=3)
    adata = counted(states, n_genes=40)
    assert adata.shape == (states.n_obs, 40) and (adata.obs["time"] == states.obs["time"]).all()
    np.testing.assert_allclose(adata.obsm["state"], states.X, rtol=1e-6)
    assert "type_matrix" in adata.uns["scimf"]["truth"] and adata.uns["scimf"]["form"] == "counts"
    total = adata.layers["mean"].sum(1)
    late, early = (np.log(total[(adata.obs["time"] == t).to_numpy()]).mean() for t in (4.0, 0.0))
    assert abs(late - early + 0.4) < 0.2
    again = counted(simulate.typed(n_populations=3, n_cells=20, n_types=3, dim=3, replicate=1), n_genes=40)
    assert again.var.equals(adata.var) and states.uns["scimf"]["form"] == "state"
