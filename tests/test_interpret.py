import numpy as np
import pandas as pd
import pytest
import torch

from scimf.interpret import (
    attention_by_type,
    edge_recovery,
    edges,
    influence,
    influence_by_snapshot,
    loudness_derivative,
    reciprocity,
    shuffled_labels,
    untrained,
    velocity,
)
from scimf.sde import SDEConfig
from scimf.snapshots import contexts
from scimf.train import fit


def model_of(tiny, interaction):
    config = SDEConfig(interaction=interaction, hidden=(16,), hidden_interaction=16, steps=4, dt=0.5)
    return fit(*tiny, config=config, progress=False)


def test_velocity_is_stored_with_its_two_parts(tiny):
    adata = tiny[0].copy()
    total = velocity(model_of(tiny, "additive"), adata)
    assert np.allclose(total, adata.obsm["velocity_own_scimf"] + adata.obsm["velocity_heard_scimf"])
    assert np.array_equal(total, adata.obsm["velocity_scimf"])


def test_influence_is_the_mean_contribution_of_each_sender(tiny):
    """For the additive form silencing equals summing exact pair contributions."""
    adata = tiny[0][(tiny[0].obs["population"] == "p01") & (tiny[0].obs["time"] == 1.0)].copy()
    model = model_of(tiny, "additive")
    found = influence(model, adata, min_cells=1)
    x, labels = np.asarray(adata.obsm["X_scimf"]), adata.obs["cell_type"].astype(str).to_numpy()
    density = torch.tensor([adata.obs["density"].iloc[0]], dtype=torch.float32)
    with torch.no_grad():
        pairs = model.sde.interaction[0].contributions(model.units.enter(x)[None], density)[0].numpy()
    pairs = pairs * model.units.scale * model.clock.rate(1.0)
    for a in found.index:
        for b in set(found.columns) - {a}:
            towards = x[labels == b].mean(0) - x[labels == a]
            towards /= np.linalg.norm(towards, axis=1, keepdims=True)
            change = pairs[labels == a][:, labels == b].sum(1)
            expected = (change * towards).sum(1).mean() / (labels == b).mean()
            assert found.loc[a, b] == pytest.approx(expected, rel=1e-3, abs=1e-6)
    assert np.isnan(np.diag(found)).all()


@pytest.mark.parametrize("interaction", ["attention", "occupancy", "additive"])
def test_loudness_derivative_is_the_slope(tiny, interaction):
    adata, model = tiny[0], model_of(tiny, interaction)
    (rows, density), *_ = contexts(adata)
    louder = adata.obs["cell_type"].astype(str).to_numpy()[rows] == "A"
    x = model.units.enter(adata.obsm["X_scimf"][rows])[None].double()
    sde, dense = model.sde.double(), torch.tensor([density], dtype=torch.double)

    def heard(volume):
        speak = torch.ones(1, len(rows), dtype=torch.double)
        speak[0, louder] = volume
        return sde.heard(x, density=dense, speak=speak)[0].detach().numpy()

    rate = model.units.scale * model.clock.rate(0.0)
    slope, silenced = (heard(1.01) - heard(0.99)) / 0.02 * rate, (heard(1.0) - heard(0.0)) * rate
    sde.float()
    found = loudness_derivative(model, adata, rows, density, louder)
    np.testing.assert_allclose(found, slope, rtol=2e-3, atol=1e-5)
    if interaction != "attention":  # messages add up: the slope is the whole effect
        np.testing.assert_allclose(found, silenced, rtol=2e-3, atol=1e-5)


def test_influence_towards_velocity_and_fates(tiny):
    adata, model = tiny[0], model_of(tiny, "additive")
    table = influence_by_snapshot(model, adata, towards="velocity", min_cells=1)
    assert (table["receiver"] == table["sender"]).any() and np.isfinite(table["value"]).all()
    names = sorted(set(adata.obs["cell_type"].astype(str)))
    dim = adata.obsm["X_scimf"].shape[1]
    fates = {name: np.full(dim, 1e6) for name in names}  # so far away that the direction is the diagonal
    change = influence_by_snapshot(model, adata, towards=fates, min_cells=1).iloc[0]
    rows, density = next(c for c in contexts(adata) if len(c[0]))
    labels = adata.obs["cell_type"].astype(str).to_numpy()[rows]
    spoke = labels == change["sender"]
    moved = loudness_derivative(model, adata, rows, density, spoke)[labels == change["receiver"]] / spoke.mean()
    assert change["value"] == pytest.approx(moved.sum(1).mean() / dim**0.5, rel=1e-3, abs=1e-7)
    with pytest.raises(KeyError, match="no fate for"):
        influence_by_snapshot(model, adata, towards={})
    with pytest.raises(ValueError, match="towards: expected"):
        influence_by_snapshot(model, adata, towards="home")


def test_no_interaction_has_no_influence(tiny):
    assert np.nanmax(np.abs(influence(model_of(tiny, "none"), tiny[0]))) == 0


def test_attention_score_by_hand(tiny):
    adata = tiny[0][(tiny[0].obs["population"] == "p01") & (tiny[0].obs["time"] == 1.0)].copy()
    model = model_of(tiny, "attention")
    found = attention_by_type(model, adata, min_cells=1)
    block, x = model.sde.interaction[0], model.units.enter(adata.obsm["X_scimf"])[None]
    with torch.no_grad():
        cell = (block.weights(x)[0] * block.project(x)[2].norm(dim=-1)[0][:, None, :]).mean(0).numpy()
    labels = adata.obs["cell_type"].astype(str).to_numpy()
    for a in found.index:
        for b in found.columns:
            assert found.loc[a, b] == pytest.approx(cell[np.ix_(labels == a, labels == b)].mean(), rel=1e-4)
    with pytest.raises(ValueError, match="attention"):
        attention_by_type(model_of(tiny, "additive"), adata)


def test_untrained_differs_and_leaves_the_model_alone(tiny):
    model = model_of(tiny, "additive")
    before = [p.clone() for p in model.sde.parameters()]
    fresh = untrained(model, seed=1)
    assert not torch.equal(next(fresh.sde.parameters()), before[0])
    assert all(torch.equal(a, b) for a, b in zip(before, model.sde.parameters(), strict=True))


def test_shuffled_labels_keep_every_composition(tiny):
    adata = tiny[0]
    shuffled, labels = shuffled_labels(adata, seed=0), adata.obs["cell_type"].astype(str).to_numpy()
    assert (shuffled != labels).any()
    for rows, _ in contexts(adata):
        assert sorted(shuffled[rows]) == sorted(labels[rows])


def test_edge_recovery_by_hand():
    truth = np.array([[0, 1.0, 0], [0, 0, -2.0], [0, 0, 0]])
    perfect = edge_recovery(pd.DataFrame(truth), truth)
    assert perfect == {"auroc": 1, "auprc": 1, "prevalence": pytest.approx(1 / 3), "sign_accuracy": 1}
    flipped = edge_recovery(pd.DataFrame(-truth), truth)
    assert flipped["auroc"] == 1 and flipped["sign_accuracy"] == 0
    with pytest.raises(ValueError, match="at least one true edge"):
        edge_recovery(pd.DataFrame(truth), np.zeros((3, 3)))


def test_missing_types_are_named(tiny):
    bare = tiny[0].copy()
    del bare.obs["cell_type"]
    with pytest.raises(KeyError, match="cell_type"):
        influence(model_of(tiny, "none"), bare)


def test_edges_rank_against_the_pooled_null_by_hand(tiny, monkeypatch):
    def matrix(ab, ba):
        return pd.DataFrame([[np.nan, ab], [ba, np.nan]], index=["A", "B"], columns=["A", "B"])

    adata = tiny[0].copy()
    adata.obs["cell_type"] = np.where(np.arange(adata.n_obs) % 2, "A", "B")
    given = {"m0": matrix(9.0, 0.1), "m1": matrix(11.0, 0.3), "n0": matrix(-1.0, 2.0), "n1": matrix(1.0, -2.0)}
    monkeypatch.setattr("scimf.interpret.influence", lambda model, adata, **options: given[model])
    table = edges(["m0", "m1"], ["n0", "n1"], adata)
    # Root mean squares 1 and 2, so every null value is 1 of its own; 10 / 1 exceeds all, 0.2 / 2 none.
    assert table[["receiver", "sender"]].to_numpy().tolist() == [["A", "B"], ["B", "A"]]
    np.testing.assert_allclose(table["value"], [10.0, 0.2])
    np.testing.assert_allclose(table["p"], [1 / 5, 1.0])
    np.testing.assert_allclose(table["q"], [2 / 5, 1.0])
    assert (table["lo"] < table["value"]).all() and (table["value"] < table["hi"]).all()


@pytest.mark.parametrize("one_way", [True, False])
def test_reciprocity_needs_an_asymmetry_that_disjoint_fits_share(one_way):
    p, asymmetry = [], []
    for seed in range(40):
        rng, names = np.random.default_rng(seed), list("ABCDE")
        truth = rng.normal(size=(5, 5))
        truth = np.tril(truth) if one_way else truth + truth.T
        one, two = (pd.DataFrame(truth + 0.3 * rng.normal(size=(5, 5)), names, names) for _ in range(2))
        found = reciprocity(one, two, seed=seed)
        p.append(found["p"])
        asymmetry.append(found["asymmetry"])
    rejected = np.mean(np.array(p) <= 0.05)
    assert found["n_pairs"] == 10
    assert rejected > 0.8 if one_way else rejected <= 0.125  # 5 of 40 by chance: probability 0.05
    assert abs(np.median(asymmetry) - 1) < 0.3 if one_way else np.median(asymmetry) < 0.2


def test_reciprocity_names_what_is_missing():
    names = list("ABC")
    matrix = pd.DataFrame(np.ones((3, 3)), names, names)
    with pytest.raises(ValueError, match="3 pairs of types are in both"):
        reciprocity(matrix, matrix)
    with pytest.raises(ValueError, match="other types"):
        reciprocity(matrix, matrix.rename(index={"C": "D"}))
