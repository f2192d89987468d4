"""The latent flow: a transformer that starts at zero, guidance, and samplers."""

from dataclasses import replace

import pytest
import torch

from scimf.counts import flow
from scimf.counts.flow import DiffusionTransformer, FlowConfig, integrate

TINY = FlowConfig(width=16, blocks=2, heads=2, batch_cells=32, steps=10, lr=1e-3, average=0.9)
LEVELS = (3, 2)
LABELS = torch.tensor([[0, 1], [2, 0], [1, 1], [2, 1]])


def model(levels=LEVELS, trained=True, **changes):
    torch.manual_seed(0)
    network = DiffusionTransformer(4, 3, levels, replace(TINY, **changes)).eval()
    if trained:  # the last layer starts at zero
        modulations = [block.modulation[1] for block in network.blocks]
        for part in (network.project_out, network.modulation[1], *modulations):
            torch.nn.init.normal_(part.weight, std=0.3)
        for embedding in network.label_embeddings:
            torch.nn.init.normal_(embedding.weight)
    return network


def noise(n=4):
    return torch.randn(n, 4, 3, generator=torch.Generator().manual_seed(1))


def test_velocity_is_zero_at_the_start_so_the_first_loss_is_known():
    network = model(trained=False)
    z = noise(2000)
    assert (network(z[:4], torch.rand(4), LABELS) == 0).all()
    labels = torch.zeros(2000, 2, dtype=torch.long)
    loss = network.loss(z, labels, torch.Generator().manual_seed(0))
    assert abs(float(loss.detach()) - 2) < 0.1  # E|Z1 - Z0|^2 per entry of two standard normals


def closed_form(latent, levels, config):
    """Parameters that are trained; the code of the position is frozen and does not count."""
    width = config.width
    hidden = -(-int(8 * width / 3) // 4) * 4
    attention = 4 * width * width + 4 * width
    modulation = 6 * width * width + 6 * width
    blocks = config.blocks * (attention + 3 * width * hidden + modulation)
    time_embedding = (flow.FREQUENCIES + 1) * width + (width + 1) * width
    ends = (latent + 1) * width + (width + 1) * latent + 2 * (width + 1) * width
    return blocks + time_embedding + ends + width * sum(n + 1 for n in levels)


@pytest.mark.parametrize(
    ("latent", "levels", "blocks"), [(3, (3, 2), 2), (16, (14,), 8), (5, (), 1)]
)
def test_the_formula_counts_the_parameters_of_a_flow(latent, levels, blocks):
    config = replace(TINY, blocks=blocks)
    network = DiffusionTransformer(4, latent, levels, config)
    found = sum(p.numel() for p in network.parameters())
    assert found == closed_form(latent, levels, config)


def test_the_published_denoiser_has_its_published_size():
    size = closed_form(16, (14,), FlowConfig(width=256, blocks=8, heads=8))
    assert round(size / 1e6, 2) == 9.74


def test_weight_one_is_the_conditional_field_and_zero_the_unconditional_one():
    network = model()
    z = noise()
    t = torch.full((4,), 0.3)
    with torch.no_grad():
        conditional = network(z, t, LABELS)
        base = network(z, t, network.unconditional(4))
        assert (conditional - base).abs().max() > 0.01
        expected = {1.0: conditional, 0.0: base, 3.0: base + 3 * (conditional - base)}
        for weight, field in expected.items():
            torch.testing.assert_close(network.guided(LABELS, weight)(z, 0.3), field)


def test_with_one_attribute_joint_is_additive_and_with_two_it_is_not():
    z = noise()
    for levels, same in (((3,), True), (LEVELS, False)):
        network = model(levels)
        labels = LABELS[:, : len(levels)]
        with torch.no_grad():
            joint = network.guided(labels, 2.0, "joint")(z, 0.5)
            additive = network.guided(labels, 2.0, "additive")(z, 0.5)
        assert torch.allclose(joint, additive, atol=1e-5) is same


def test_an_unknown_kind_of_guidance_is_refused():
    with pytest.raises(ValueError, match="kind.*joint"):
        model().guided(LABELS, 1.0, "both")


@pytest.mark.parametrize("kind", flow.GUIDANCES)
def test_labels_are_hidden_together_or_one_is_shown(kind):
    labels = LABELS.repeat(500, 1)
    unknown = torch.tensor(LEVELS)
    network = model(guidance=kind, drop=0.25)
    shown = network.hide_labels(labels, torch.Generator().manual_seed(0))
    n_shown = (shown != unknown).sum(1)
    assert ((shown == labels) | (shown == unknown)).all()
    assert set(n_shown.tolist()) == ({0, 2} if kind == "joint" else {0, 1})
    assert abs(float((n_shown == 0).float().mean()) - 0.25) < 0.05


def exact(mean, sd):
    """Velocity of the flow from N(0, 1) to N(mean, sd^2)."""

    def velocity(z, t):
        variance = (1 - t) ** 2 + (t * sd) ** 2
        return mean + (t * sd**2 - (1 - t)) / variance * (z - t * mean)

    return velocity


@pytest.mark.parametrize(
    ("solver", "evaluations", "tolerance"),
    [("euler", 200, 0.03), ("heun", 40, 0.03), ("dopri5", 0, 0.02)],
)
def test_samplers_recover_a_gaussian(solver, evaluations, tolerance):
    z = torch.randn(20_000, generator=torch.Generator().manual_seed(0))
    z = (z - z.mean()) / z.std()
    found = integrate(exact(2.0, 0.5), z, solver=solver, evaluations=evaluations)
    assert abs(found.mean() - 2) < tolerance
    assert abs(found.std() - 0.5) < tolerance


@pytest.mark.parametrize(
    ("solver", "asked", "used"), [("euler", 7, 7), ("heun", 8, 8), ("heun", 9, 8)]
)
def test_solvers_use_the_evaluations_they_are_given(solver, asked, used):
    times = []

    def still(z, t):
        times.append(t)
        return torch.zeros_like(z)

    integrate(still, noise(), solver=solver, evaluations=asked)
    assert len(times) == used
    assert min(times) == 0
    assert max(times) <= 1


def test_impossible_solvers_are_refused():
    with pytest.raises(ValueError, match="evaluations"):
        integrate(exact(0, 1), noise(), solver="heun", evaluations=1)
    with pytest.raises(ValueError, match="solver.*euler"):
        integrate(exact(0, 1), noise(), solver="rk4")


def test_heun_is_closer_than_euler_at_equal_cost():
    z = noise(500)
    field = exact(1.0, 0.2)
    best = integrate(field, z, solver="dopri5")
    heun = integrate(field, z, solver="heun", evaluations=20)
    euler = integrate(field, z, solver="euler", evaluations=20)
    assert (heun - best).abs().mean() < (euler - best).abs().mean()


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"guidance": "both"}, "guidance.*joint"),
        ({"width": 20}, "width.*multiple"),
        ({"drop": 1.0}, "drop"),
        ({"steps": 0}, "steps"),
    ],
)
def test_impossible_flow_settings_are_refused(settings, match):
    with pytest.raises(ValueError, match=match):
        FlowConfig(**({"heads": 4} | settings))


def test_flow_settings_can_be_written_down_and_read():
    assert FlowConfig.from_dict(TINY.to_dict()) == TINY
