"""Rivals answer with counts of the right cells, see no held-out cell, and redraw what they were given."""

import anndata as ad
import numpy as np
import pytest

import scimf
from scimf import rivals, simulate
from scimf.autoencode import fit_counts
from scimf.counts import CountConfig
from scimf.countworlds import counted
from scimf.flow import FlowConfig
from scimf.generate import fit_flow

COUNTS = CountConfig(architecture="mlp", width=4, tokens=2, latent=4, heads=2, steps=10)
SDE = scimf.SDEConfig(hidden=(8,), rank=2, hidden_interaction=8, batch_cells=16, target_cells=16, steps=4)
FLOW = FlowConfig(width=16, blocks=1, heads=2, steps=4)


def assembled(adata, time=2.0, n=20):
    split = scimf.hold_out(adata, times=[time])
    space = scimf.fit_space(adata, split, n_pcs=5)
    model = scimf.fit(adata, split, space, config=SDE, progress=False)
    adata.obs["when"] = adata.obs["time"].astype(str)
    train = split.train_mask(adata)
    counts = fit_counts(adata, train, genes=list(adata.var_names), config=COUNTS, progress=False)
    flow = fit_flow(counts, adata, train, conditions=["when"], config=FLOW, progress=False)
    options = {"space": space, "model": model, "flow": flow, "column": "when"}
    return rivals.assemble(adata, split, time, n=n, seed=1, **options), split, space, flow


@pytest.fixture(scope="module")
def course():
    adata = counted(simulate.typed(n_populations=3, n_cells=25, n_types=3, dim=3), n_genes=30)
    return adata, *assembled(adata)


def test_all_answer_with_counts_of_every_population(course):
    adata, answers, *_ = course
    for name, cells in answers.items():
        values = cells.X.toarray()
        assert list(cells.var_names) == list(adata.var_names), name
        assert (values >= 0).all() and (values == np.round(values)).all(), name
        assert (cells.obs["time"] == 2.0).all(), name
        assert cells.obs["population"].value_counts().to_dict() == {"p00": 20, "p01": 20, "p02": 20}, name


def test_held_out_cells_are_never_seen(course):
    adata, answers, split, *_ = course
    changed = adata.copy()
    changed.X[split.held_mask(changed)] = 7
    for name, cells in assembled(changed)[0].items():
        assert (cells.X != answers[name].X).nnz == 0, name


def test_copies_are_real_cells_of_the_neighbours(course):
    adata, answers, *_ = course
    time = adata.obs["time"].to_numpy()
    for name, times in (("copy_previous", [1.0]), ("mixture", [1.0, 3.0])):
        known = {tuple(row) for row in adata.X[np.isin(time, times)]}
        assert {tuple(row) for row in answers[name].X.toarray()} <= known


def test_redrawn_counts_have_the_library_and_the_profile_they_were_given(course):
    adata, _, _, space, _ = course
    x = np.repeat(space.encode(adata[:1]), 4000, axis=0)
    library = np.full(4000, 500.0)
    drawn, rounded = (rivals.redraw(space, x, library, noise=noise) for noise in (True, False))
    assert abs(drawn.sum(1).mean() / 500 - 1) < 0.01 and abs(drawn.sum(1).var() / 500 - 1) < 0.1  # Poisson
    np.testing.assert_allclose(drawn.mean(0), rounded[0], atol=1)
    assert (rounded == rounded[0]).all()


def test_a_time_outside_has_no_mixture(course):
    adata, _, _, _, flow = course
    last = scimf.hold_out(adata, times=[4.0])
    with pytest.raises(ValueError, match="before or after"):
        rivals.mixture(adata, last, 4.0, n=5)
    with pytest.raises(ValueError, match="both sides"):
        rivals.flow_mixture(adata, last, 5.0, n=5, flow=flow, column="when")


def test_one_population_without_a_name():
    adata = counted(simulate.typed(n_populations=1, n_cells=25, n_types=3, dim=3), n_genes=30)
    plain = ad.AnnData(adata.X, obs=adata.obs[["time"]], var=adata.var, uns=adata.uns)
    assert {len(cells) for cells in assembled(plain)[0].values()} == {20}
