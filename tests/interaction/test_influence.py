import numpy as np
import pytest
import torch

from scimf.dynamics.config import SDEConfig
from scimf.dynamics.fit import fit
from scimf.dynamics.snapshots import cell_types, contexts
from scimf.interaction.influence import _sender_derivative, influence


def model_of(tiny, interaction):
    settings = {"hidden": (16,), "hidden_interaction": 16, "steps": 4, "dt": 0.5}
    return fit(*tiny, config=SDEConfig(interaction=interaction, **settings), progress=False)


def test_influence_is_the_mean_contribution_of_each_sender(tiny):
    """For the additive form silencing equals summing exact pair contributions."""
    obs = tiny[0].obs
    adata = tiny[0][(obs["population"] == "p01") & (obs["time"] == 1.0)].copy()
    model = model_of(tiny, "additive")
    found = influence(model, adata, min_cells=1)
    x = np.asarray(adata.obsm["X_scimf"])
    labels = cell_types(adata)
    density = torch.tensor([adata.obs["density"].iloc[0]], dtype=torch.float32)
    with torch.no_grad():
        cells = model.standardiser.transform(x)[None]
        pairs = model.sde.interaction[0].contributions(cells, density)[0].numpy()
    pairs = pairs * model.standardiser.scale * model.time_scale.rate(1.0)
    for a in found.index:
        for b in set(found.columns) - {a}:
            towards = x[labels == b].mean(0) - x[labels == a]
            towards /= np.linalg.norm(towards, axis=1, keepdims=True)
            change = pairs[labels == a][:, labels == b].sum(1)
            expected = (change * towards).sum(1).mean() / (labels == b).mean()
            assert found.loc[a, b] == pytest.approx(expected, rel=1e-3, abs=1e-6)
    assert np.isnan(np.diag(found)).all()


def test_cells_without_a_type_are_unknown(tiny):
    adata = tiny[0].copy()
    kinds = adata.obs["cell_type"].astype(str)
    adata.obs["cell_type"] = kinds.where(kinds != "B").astype("category")
    assert "nan" not in cell_types(adata)
    found = influence(model_of(tiny, "additive"), adata, min_cells=1)
    assert set(found.index) == {*kinds[kinds != "B"], "unknown"}


@pytest.mark.parametrize("interaction", ["attention", "occupancy", "additive"])
def test_the_derivative_by_the_weight_of_senders_is_the_slope(tiny, interaction):
    adata = tiny[0]
    model = model_of(tiny, interaction)
    rows, density = contexts(adata)[0]
    senders = cell_types(adata)[rows] == "A"
    x = model.standardiser.transform(adata.obsm["X_scimf"][rows])[None].double()
    sde = model.sde.double()
    dense = torch.tensor([density], dtype=torch.double)

    def drift(amount):
        weight = torch.ones(1, len(rows), dtype=torch.double)
        weight[0, senders] = amount
        return sde.interaction_drift(x, density=dense, sender_weight=weight)[0].detach().numpy()

    rate = model.standardiser.scale * model.time_scale.rate(0.0)
    slope = (drift(1.01) - drift(0.99)) / 0.02 * rate
    silenced = (drift(1.0) - drift(0.0)) * rate
    sde.float()
    found = _sender_derivative(model, adata, rows, density, senders)
    np.testing.assert_allclose(found, slope, rtol=2e-3, atol=1e-5)
    if interaction != "attention":  # messages add up: the slope is the whole effect
        np.testing.assert_allclose(found, silenced, rtol=2e-3, atol=1e-5)


def test_influence_towards_the_velocity_is_defined_for_a_type_on_itself(tiny):
    found = influence(model_of(tiny, "additive"), tiny[0], towards="velocity", min_cells=1)
    assert np.isfinite(found).all(axis=None)


def test_influence_towards_fates(tiny):
    rows, density = contexts(tiny[0])[0]
    adata = tiny[0][rows].copy()
    model = model_of(tiny, "additive")
    labels = cell_types(adata)
    dim = adata.obsm["X_scimf"].shape[1]
    # So far away that the direction is the diagonal.
    fates = {name: np.full(dim, 1e6) for name in set(labels)}
    found = influence(model, adata, towards=fates, min_cells=1)
    everyone = np.arange(len(rows))
    for sender in found.columns:
        sends = labels == sender
        moved = _sender_derivative(model, adata, everyone, density, sends) / sends.mean()
        for receiver in found.index:
            expected = moved[labels == receiver].sum(1).mean() / dim**0.5
            assert found.loc[receiver, sender] == pytest.approx(expected, rel=1e-3, abs=1e-7)


def test_other_directions_are_refused(tiny):
    model = model_of(tiny, "additive")
    with pytest.raises(KeyError, match="no fate for"):
        influence(model, tiny[0], towards={})
    with pytest.raises(ValueError, match="towards: expected"):
        influence(model, tiny[0], towards="home")


def test_no_interaction_has_no_influence(tiny):
    assert np.nanmax(np.abs(influence(model_of(tiny, "none"), tiny[0]))) == 0


def test_missing_types_are_named(tiny):
    bare = tiny[0].copy()
    del bare.obs["cell_type"]
    with pytest.raises(KeyError, match="cell_type"):
        influence(model_of(tiny, "none"), bare)


def test_untrained_differs_and_leaves_the_model_and_the_random_state_alone(tiny):
    model = model_of(tiny, "additive")
    before = [p.clone() for p in model.sde.parameters()]
    state = torch.get_rng_state()
    fresh = model.untrained(seed=1)
    assert torch.equal(state, torch.get_rng_state())
    assert not torch.equal(next(fresh.sde.parameters()), before[0])
    for kept, now in zip(before, model.sde.parameters(), strict=True):
        assert torch.equal(kept, now)
