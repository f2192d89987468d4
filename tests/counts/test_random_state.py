"""Fits seed themselves: the random state of who calls them stays as it was."""

import numpy as np
import pytest
import torch
from beside.simulated_counts import factorial

import scimf
from scimf.counts.config import CountConfig
from scimf.counts.flow import FlowConfig

SDE = scimf.SDEConfig.paper(hidden=(8,), steps=2, batch_cells=8)  # published: with dropout
COUNTS = CountConfig(width=8, tokens=2, latent=4, layers=1, heads=2, split=True, steps=2)
FLOW = FlowConfig(width=8, blocks=1, heads=2, steps=2)


def fit_an_sde(tiny):
    adata, split, space = tiny
    return scimf.fit(adata, split, space, config=SDE, progress=False)


def fit_an_autoencoder(tiny):
    cells = factorial(seed=1, n_cells=60, n_genes=20)
    return scimf.fit_counts(cells, config=COUNTS, progress=False), cells


def fit_a_flow(tiny):
    counts, cells = fit_an_autoencoder(tiny)
    return scimf.fit_flow(counts, cells, conditions=["cell_type"], config=FLOW, progress=False)


@pytest.mark.parametrize("fit", [fit_an_sde, fit_an_autoencoder, fit_a_flow])
def test_a_fit_leaves_the_random_state_alone(tiny, fit):
    torch.manual_seed(11)
    np.random.seed(12)
    torch_state = torch.get_rng_state()
    _, numpy_state, position, *_ = np.random.get_state()
    fit(tiny)
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)
    assert np.random.get_state()[2] == position
