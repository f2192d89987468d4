import numpy as np
import pytest
import torch
from evidence.other_methods import (
    FlowMatching,
    as_samples,
    attention,
    fit_flow_matching,
    neural_ode,
    occupancy,
    potential_sde,
    schroedinger_bridge,
    shortened,
)

from scimf.data.split import hold_out
from scimf.dynamics.config import SDEConfig
from scimf.dynamics.fit import fit
from scimf.dynamics.model import InteractingSDE
from scimf.dynamics.snapshots import Snapshots, Standardiser, TimeScale

QUICK = SDEConfig(
    hidden=(8,), hidden_interaction=8, steps=2, batch_cells=16, batch_groups=2, dt=0.5
)


def two_snapshots(shift, n=200, dim=3):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, dim)).astype(np.float32)
    cells = {("all", 0.0): x, ("all", 2.0): (x + shift)[rng.permutation(n)]}
    return Snapshots(cells, {}, {"all": 1.0})


def differing(one, two):
    """Settings in which two configurations differ."""
    one = one.to_dict()
    two = two.to_dict()
    return {name for name in one if one[name] != two[name]}


@pytest.mark.parametrize("form", [attention, occupancy, neural_ode, potential_sde, shortened])
def test_every_configuration_trains(tiny, form):
    model = fit(*tiny, config=form(QUICK), progress=False)
    assert np.isfinite(model.sample([2.0], n=5).obsm["X_scimf"]).all()


def test_a_form_changes_nothing_but_itself():
    assert differing(attention(QUICK), QUICK) == {"interaction", "dropout"}
    assert differing(occupancy(QUICK), QUICK) == {"interaction"}
    budget = {"steps", "batch_cells", "target_cells", "batch_groups"}
    assert differing(shortened(QUICK), SDEConfig.paper()) == budget


def test_neural_ode_has_no_noise(tiny):
    model = fit(*tiny, config=neural_ode(QUICK), progress=False)
    one = model.sample([2.0], n=5, seed=0).obsm["X_scimf"]
    two = model.sample([2.0], n=5, seed=0).obsm["X_scimf"]
    assert np.array_equal(one, two)
    assert not model.sde.diffusion(torch.zeros(1, 4)).any()


def test_potential_drift_is_minus_the_gradient():
    torch.manual_seed(0)
    drift = InteractingSDE(3, SDEConfig(drift="potential", hidden=(8,))).intrinsic.double()
    x = torch.randn(4, 3, dtype=torch.double)
    jacobian = torch.autograd.functional.jacobian(lambda z: drift(z[None])[0], x[0])
    torch.testing.assert_close(jacobian, jacobian.T)  # a gradient field has no curl
    step = 1e-6 * torch.eye(3, dtype=torch.double)
    slope = [(drift.net(x[:1] + s) - drift.net(x[:1] - s)).item() / 2e-6 for s in step]
    expected = -torch.tensor(slope, dtype=torch.double)
    torch.testing.assert_close(drift(x[:1])[0].detach(), expected, atol=1e-6, rtol=1e-5)
    with torch.no_grad():
        assert not drift(x).requires_grad


def test_flow_matching_learns_a_translation(tiny):
    moved = tiny[0][:400].copy()
    moved.obs["time"] = np.repeat([0.0, 2.0], 200)
    moved.obs["density"] = 1.0
    moved.obs["population"] = "all"
    x = two_snapshots(0.0).cells["all", 0.0]
    moved.obsm["X_scimf"] = np.concatenate([x, x + np.float32(3.0)])
    options = {"hidden": (32,), "batch_cells": 64, "steps": 300, "seed": 0}
    flow = fit_flow_matching(moved, hold_out(moved), **options)
    half = flow.push(x, 0.0, 1.0)
    assert np.abs((half - x).mean(0) - 1.5).max() < 0.15
    again = fit_flow_matching(moved, hold_out(moved), **options)
    np.testing.assert_array_equal(half, again.push(x, 0.0, 1.0))


class Constant(torch.nn.Module):
    """A velocity of one in every direction."""

    def forward(self, inputs):
        return torch.ones(len(inputs), inputs.shape[1] - 1)


def constant_flow(starts):
    standardiser = Standardiser(np.zeros(2, np.float32), 2.0)
    time_scale = TimeScale.of((0.0, 4.0), (0.0, 4.0), "real")
    return FlowMatching(Constant(), standardiser, time_scale, starts)


def test_flow_follows_its_velocity_in_real_time():
    cells = np.zeros((5, 2), np.float32)
    flow = constant_flow(Snapshots({("all", 0.0): cells}, {}, {"all": 1.0}))
    # Half a unit of model time, at a scale of 2.
    np.testing.assert_allclose(flow.push(cells, 0.0, 2.0), 1.0, rtol=1e-5)


def test_a_flow_is_sampled_like_every_other_model():
    cells = np.zeros((5, 2), np.float32)
    starts = {("p", 0.0): cells, ("p", 2.0): cells + 10, ("q", 0.0): cells[:3]}
    flow = constant_flow(Snapshots(starts, {}, {"p": 1.0, "q": 1.0}))
    found = flow.sample([1.0, 4.0])
    sizes = found.obs.groupby(["population", "time"], observed=True).size()
    assert sizes.to_dict() == {("p", 1.0): 5, ("p", 4.0): 5, ("q", 1.0): 3, ("q", 4.0): 3}
    late = (found.obs["population"] == "p") & (found.obs["time"] == 4.0)
    np.testing.assert_allclose(found.obsm["X_scimf"][late.to_numpy()], 11.0, rtol=1e-5)
    assert len(flow.sample([1.0], n=7, populations=["q"])) == 7


def test_samples_are_what_evaluate_reads():
    found = as_samples(np.ones((2, 3)), [(1.0, "p"), (2.0, "q")])
    assert found.obs["time"].tolist() == [1.0, 2.0]
    assert found.obs["population"].tolist() == ["p", "q"]
    assert found.obsm["X_scimf"].shape == (2, 3) and found.n_vars == 0


def test_schroedinger_bridge_is_transport_without_noise_and_spreads_with_it():
    starts = two_snapshots(10.0)
    rng = np.random.default_rng(0)
    cold = schroedinger_bridge(starts, "all", 1.0, 200, rng, epsilon=0.002)
    assert np.abs(cold.mean(0) - starts.cells["all", 0.0].mean(0) - 5).max() < 0.3
    hot = schroedinger_bridge(starts, "all", 1.0, 200, rng, epsilon=0.5)
    assert hot.std(0).mean() > 1.3 * cold.std(0).mean()
    assert schroedinger_bridge(starts, "all", 3.0, 200, rng) is None
