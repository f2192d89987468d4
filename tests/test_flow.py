"""The latent flow: a transformer that starts at zero, guidance, and samplers that recover what is known."""

from dataclasses import replace

import pytest
import torch

from scimf import flow
from scimf.flow import DiffusionTransformer, FlowConfig, guided, integrate

TINY = FlowConfig(width=16, blocks=2, heads=2, batch_cells=32, steps=10, lr=1e-3, average=0.9)
LEVELS = (3, 2)
LABELS = torch.tensor([[0, 1], [2, 0], [1, 1], [2, 1]])


def model(levels=LEVELS, trained=True, **changes):
    torch.manual_seed(0)
    network = DiffusionTransformer(4, 3, levels, replace(TINY, **changes)).eval()
    if trained:  # the last layer starts at zero
        for part in (network.leave, network.modulate[1], *(b.modulate[1] for b in network.blocks)):
            torch.nn.init.normal_(part.weight, std=0.3)
        for table in network.tables:
            torch.nn.init.normal_(table.weight)
    return network


def noise(n=4):
    return torch.randn(n, 4, 3, generator=torch.Generator().manual_seed(1))


def test_velocity_is_zero_at_the_start_so_the_first_loss_is_known():
    network, z = model(trained=False), noise(2000)
    assert (network(z[:4], torch.rand(4), LABELS) == 0).all()
    labels = torch.zeros(2000, 2, dtype=torch.long)
    loss = flow.flow_loss(network, z, labels, torch.Generator().manual_seed(0))
    assert abs(float(loss.detach()) - 2) < 0.1  # E|Z1 - Z0|^2 per entry of two standard normals


@pytest.mark.parametrize(("latent", "levels", "blocks"), [(3, (3, 2), 2), (16, (14,), 8), (5, (), 1)])
def test_the_formula_counts_the_parameters(latent, levels, blocks):
    config = replace(TINY, blocks=blocks)
    network = DiffusionTransformer(4, latent, levels, config)
    assert sum(p.numel() for p in network.parameters()) == flow.n_flow_parameters(latent, levels, config)


def test_the_published_denoiser_has_its_published_size():
    size = flow.n_flow_parameters(16, (14,), FlowConfig(width=256, blocks=8, heads=8))
    assert round(size / 1e6, 2) == 9.74


def test_weight_one_is_the_conditional_field_and_zero_the_unconditional_one():
    network, z = model(), noise()
    at = torch.full((4,), 0.3)
    with torch.no_grad():
        told, untold = network(z, at, LABELS), network(z, at, network.untold(4))
        assert (told - untold).abs().max() > 0.01
        for weight, field in ((1.0, told), (0.0, untold), (3.0, untold + 3 * (told - untold))):
            torch.testing.assert_close(guided(network, LABELS, weight)(z, 0.3), field)


def test_with_one_attribute_joint_is_additive_and_with_two_it_is_not():
    z = noise()
    for levels, same in (((3,), True), (LEVELS, False)):
        network, labels = model(levels), LABELS[:, : len(levels)]
        with torch.no_grad():
            joint, additive = (guided(network, labels, 2.0, kind)(z, 0.5) for kind in flow.GUIDANCES)
        assert torch.allclose(joint, additive, atol=1e-5) is same


def test_labels_are_hidden_together_or_one_is_told():
    labels = LABELS.repeat(500, 1)
    for kind in flow.GUIDANCES:
        shown = flow.hide_labels(
            labels, LEVELS, replace(TINY, guidance=kind, drop=0.25), torch.Generator().manual_seed(0)
        )
        told = (shown != torch.tensor(LEVELS)).sum(1)
        assert ((shown == labels) | (shown == torch.tensor(LEVELS))).all()
        assert set(told.tolist()) == ({0, 2} if kind == "joint" else {0, 1})
        assert abs(float((told == 0).float().mean()) - 0.25) < 0.05


def exact(mean, sd):
    """Velocity of the flow from N(0, 1) to N(mean, sd^2)."""

    def velocity(z, t):
        variance = (1 - t) ** 2 + (t * sd) ** 2
        return mean + (t * sd**2 - (1 - t)) / variance * (z - t * mean)

    return velocity


@pytest.mark.parametrize(
    ("solver", "evaluations", "tolerance"), [("euler", 200, 0.03), ("heun", 40, 0.03), ("dopri5", 0, 0.02)]
)
def test_samplers_recover_a_gaussian(solver, evaluations, tolerance):
    z = torch.randn(20_000, generator=torch.Generator().manual_seed(0))
    z = (z - z.mean()) / z.std()
    found = integrate(exact(2.0, 0.5), z, solver=solver, evaluations=evaluations)
    assert abs(found.mean() - 2) < tolerance and abs(found.std() - 0.5) < tolerance


def test_solvers_use_the_evaluations_they_are_given():
    for solver, asked, used in (("euler", 7, 7), ("heun", 8, 8), ("heun", 9, 8)):
        calls = []
        integrate(
            lambda z, t, calls=calls: calls.append(t) or torch.zeros_like(z), noise(), solver=solver, evaluations=asked
        )
        assert len(calls) == used and min(calls) == 0 and max(calls) <= 1
    with pytest.raises(ValueError, match="evaluations"):
        integrate(exact(0, 1), noise(), solver="heun", evaluations=1)
    with pytest.raises(ValueError, match="solver.*euler"):
        integrate(exact(0, 1), noise(), solver="rk4")


def test_heun_is_closer_than_euler_at_equal_cost():
    z = noise(500)
    best = integrate(exact(1.0, 0.2), z, solver="dopri5")
    gap = {
        s: float((integrate(exact(1.0, 0.2), z, solver=s, evaluations=20) - best).abs().mean())
        for s in ("euler", "heun")
    }
    assert gap["heun"] < gap["euler"]


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"guidance": "both"}, "guidance.*joint"),
        ({"width": 20}, "width.*multiple"),
        ({"drop": 1.0}, "drop"),
        ({"steps": 0}, "steps"),
    ],
)
def test_impossible_settings_are_refused(settings, match):
    with pytest.raises(ValueError, match=match):
        FlowConfig(**({"heads": 4} | settings))
    assert FlowConfig.from_dict(TINY.to_dict()) == TINY
