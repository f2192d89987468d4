import numpy as np
import pytest
import torch

from scimf.peers import (
    FlowMatching,
    attention,
    fit_flow_matching,
    neural_ode,
    potential_sde,
    schroedinger_bridge,
    shortened,
)
from scimf.preprocess import hold_out
from scimf.sde import IntrinsicDrift, SDEConfig, published
from scimf.snapshots import Clock, Snapshots, Units
from scimf.train import fit

QUICK = SDEConfig(hidden=(8,), hidden_interaction=8, steps=2, batch_cells=16, batch_groups=2, dt=0.5)


def two_snapshots(shift, n=200, dim=3):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, dim)).astype(np.float32)
    cells = {("all", 0.0): x, ("all", 2.0): (x + shift)[rng.permutation(n)]}
    return Snapshots(cells, {}, {"all": 1.0})


@pytest.mark.parametrize("form", [attention, neural_ode, potential_sde, shortened])
def test_every_configuration_trains(tiny, form):
    model = fit(*tiny, config=form(QUICK), progress=False)
    assert np.isfinite(model.sample([2.0], n=5).obsm["X_scimf"]).all()


def test_shortened_differs_from_published_in_budget_only():
    a, b = shortened(QUICK).to_dict(), published().to_dict()
    assert {k for k in a if a[k] != b[k]} == {"steps", "batch_cells", "target_cells", "batch_groups"}


def test_neural_ode_has_no_noise(tiny):
    model = fit(*tiny, config=neural_ode(QUICK), progress=False)
    one, two = (model.sample([2.0], n=5, seed=0) for _ in range(2))
    assert np.array_equal(one.obsm["X_scimf"], two.obsm["X_scimf"])
    assert not model.sde.diffusion(torch.zeros(1, 4)).any()


def test_potential_drift_is_minus_the_gradient():
    torch.manual_seed(0)
    drift = IntrinsicDrift(3, (8,), "silu", "potential").double()
    x = torch.randn(4, 3, dtype=torch.double)
    jacobian = torch.autograd.functional.jacobian(lambda z: drift(z[None])[0], x[0])
    torch.testing.assert_close(jacobian, jacobian.T)  # a gradient field has no curl
    step = 1e-6 * torch.eye(3, dtype=torch.double)
    psi = [(drift.net(x[:1] + s) - drift.net(x[:1] - s)).item() / 2e-6 for s in step]
    torch.testing.assert_close(drift(x[:1])[0].detach(), -torch.tensor(psi, dtype=torch.double), atol=1e-6, rtol=1e-5)
    with torch.no_grad():
        assert not drift(x).requires_grad


def test_flow_matching_learns_a_translation(tiny):
    adata, split, _ = tiny
    base = two_snapshots(0.0)
    moved = adata[:400].copy()
    moved.obs["time"], moved.obs["density"] = np.repeat([0.0, 2.0], 200), 1.0
    moved.obs["population"] = "all"
    x = base.cells["all", 0.0]
    moved.obsm["X_scimf"] = np.concatenate([x, x + np.float32(3.0)])
    flow = fit_flow_matching(moved, hold_out(moved), hidden=(32,), batch_cells=64, steps=300, seed=0)
    half = flow.push(x, 0.0, 1.0)
    assert np.abs((half - x).mean(0) - 1.5).max() < 0.15
    again = fit_flow_matching(moved, hold_out(moved), hidden=(32,), batch_cells=64, steps=300, seed=0)
    np.testing.assert_array_equal(half, again.push(x, 0.0, 1.0))


def test_flow_follows_its_velocity_in_real_time():
    class Constant(torch.nn.Module):
        def forward(self, inputs):
            return torch.ones(len(inputs), 2)

    starts = Snapshots({("all", 0.0): np.zeros((5, 2), np.float32)}, {}, {"all": 1.0})
    flow = FlowMatching(
        Constant(), Units(np.zeros(2, np.float32), 2.0), Clock.of((0.0, 4.0), (0.0, 4.0), "real"), starts
    )
    np.testing.assert_allclose(
        flow.push(np.zeros((5, 2), np.float32), 0.0, 2.0), 1.0, rtol=1e-5
    )  # half a unit x scale 2


def test_schroedinger_bridge_is_transport_without_noise_and_spreads_with_it():
    starts, rng = two_snapshots(10.0), np.random.default_rng(0)
    cold = schroedinger_bridge(starts, "all", 1.0, 200, rng, epsilon=0.002)
    assert np.abs(cold.mean(0) - starts.cells["all", 0.0].mean(0) - 5).max() < 0.3
    hot = schroedinger_bridge(starts, "all", 1.0, 200, rng, epsilon=0.5)
    assert hot.std(0).mean() > 1.3 * cold.std(0).mean()
    assert schroedinger_bridge(starts, "all", 3.0, 200, rng) is None
