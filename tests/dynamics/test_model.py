import numpy as np
import pytest
import torch
import torchsde
from beside.moments import linear_moments

from scimf.dynamics.config import SDEConfig
from scimf.dynamics.integrate import Groups, roll_out
from scimf.dynamics.interactions import AdditiveInteraction, CellAttention
from scimf.dynamics.model import InteractingSDE, matched_config
from workflow.benchmarks.training_steps import Increments


def sde_of(interaction="none", dim=4, **settings):
    torch.manual_seed(0)
    return InteractingSDE(
        dim, SDEConfig(interaction=interaction, hidden=(16, 16), **settings)
    ).eval()


def n_parameters(module):
    return sum(p.numel() for p in module.parameters())


def test_published_parameter_counts():
    sde = InteractingSDE(50, SDEConfig.paper())
    assert n_parameters(sde.intrinsic) == 91_698
    assert n_parameters(sde.interaction) == 28_050
    assert n_parameters(sde) == 119_748


def test_published_settings():
    config = SDEConfig.paper()
    assert (config.steps, config.lr, config.clip, config.sigma, config.dt) == (
        3000,
        1e-3,
        0.1,
        0.1,
        0.1,
    )
    assert (config.loss, config.batch_cells, config.target_cells) == ("sinkhorn", 512, None)
    assert SDEConfig.paper(steps=5).steps == 5


@pytest.mark.parametrize(
    "key, value",
    [
        ("loss", "w3"),
        ("interaction", "gravity"),
        ("dt", 0.0),
        ("start", "middle"),
        ("interaction_decay", -1.0),
    ],
)
def test_bad_setting_is_named(key, value):
    with pytest.raises(ValueError, match=f"SDEConfig.{key}"):
        SDEConfig(**{key: value})


def test_config_round_trip_and_unknown_key():
    assert SDEConfig.from_dict(SDEConfig.paper().to_dict()) == SDEConfig.paper()
    with pytest.raises(ValueError, match="learning_rate"):
        SDEConfig.from_dict({"learning_rate": 1.0})


@pytest.mark.parametrize(
    "settings",
    [{"interaction": form} for form in ("additive", "occupancy", "attention")]
    + [{"centred": True, "drift": "relaxing"}, {"drift": "potential"}, {"diffusion": "state"}],
)
def test_twin_has_the_same_size_within_one_percent(settings):
    config = SDEConfig(**settings)
    twin = matched_config(8, config)
    a, b = n_parameters(InteractingSDE(8, config)), n_parameters(InteractingSDE(8, twin))
    assert twin.interaction == "none" and abs(a - b) <= 0.01 * a


def test_attention_rows_sum_to_one_with_zero_diagonal():
    layer, x = CellAttention(6), torch.randn(2, 9, 6)
    weights = layer.weights(x)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 2, 9))
    assert weights.diagonal(dim1=-2, dim2=-1).abs().max() == 0


def test_attention_agrees_with_the_equations_written_out():
    torch.manual_seed(0)
    layer, x = CellAttention(6, heads=2).eval(), torch.randn(5, 6)
    u, values = layer.norm_qk(x), layer.value(layer.norm_v(x))
    query, key = layer.query(u), layer.key(u)
    heads = []
    for h in (slice(0, 3), slice(3, 6)):
        score = query[:, h] @ key[:, h].T / 3**0.5
        heads.append(score.fill_diagonal_(-torch.inf).softmax(-1) @ values[:, h])
    expected = layer.feed_forward(layer.norm_out(torch.cat(heads, -1)))
    torch.testing.assert_close(layer(x[None])[0], expected)


def test_attention_ignores_magnitude_and_offset():
    layer, x = CellAttention(6).eval(), torch.randn(1, 9, 6)
    torch.testing.assert_close(layer(x), layer(3 * x + 2), atol=1e-4, rtol=1e-3)


def test_dropout_only_in_training():
    layer, x = CellAttention(6, dropout=0.5), torch.randn(1, 9, 6)
    assert not torch.equal(layer.train()(x), layer(x))
    assert torch.equal(layer.eval()(x), layer(x))


@pytest.mark.parametrize("interaction", ["additive", "occupancy", "attention", "none"])
def test_permutation_equivariance(interaction):
    sde, x, order = sde_of(interaction), torch.randn(2, 7, 4), torch.randperm(7)
    torch.testing.assert_close(sde.drift(x)[:, order], sde.drift(x[:, order]), atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("interaction", ["additive", "occupancy", "attention"])
def test_populations_do_not_hear_each_other_and_padding_is_silent(interaction):
    sde, a, b = sde_of(interaction), torch.randn(1, 5, 4), torch.randn(1, 8, 4)
    padded = torch.cat([torch.cat([a, torch.full((1, 3, 4), 99.0)], 1), b])
    mask = torch.tensor([[True] * 5 + [False] * 3, [True] * 8])
    together = sde.interaction_drift(padded, mask)
    torch.testing.assert_close(together[:1, :5], sde.interaction_drift(a), atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(together[1:], sde.interaction_drift(b), atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("interaction", ["additive", "occupancy", "attention"])
def test_one_cell_population_gets_no_message(interaction):
    sde = sde_of(interaction)
    assert sde.interaction_drift(torch.randn(3, 1, 4)).abs().max() == 0
    padded, mask = torch.randn(1, 4, 4), torch.tensor([[True, False, False, False]])
    heard = sde.interaction_drift(padded, mask)
    assert torch.isfinite(heard).all() and heard[0, 0].abs().max() == 0


def test_additive_contributions_sum_to_the_message_and_density_scales_it():
    torch.manual_seed(0)
    layer, x, density = (
        AdditiveInteraction(4, rank=3),
        torch.randn(2, 6, 4),
        torch.tensor([1.0, 2.0]),
    )
    torch.testing.assert_close(
        layer.contributions(x, density).sum(2), layer(x, density=density), atol=1e-6, rtol=1e-4
    )
    torch.testing.assert_close(layer(x, density=density)[1], 2 * layer(x)[1])


def test_silencing_keeps_the_normaliser():
    torch.manual_seed(0)
    layer, x = AdditiveInteraction(4), torch.randn(1, 6, 4)
    sender_weight = torch.tensor([[1.0, 1, 1, 0, 0, 0]])
    kept = layer.contributions(x)[:, :, :3].sum(2)
    torch.testing.assert_close(layer(x, sender_weight=sender_weight), kept, atol=1e-6, rtol=1e-4)


def test_exactly_110_steps_for_11_units():
    known, asked = Known(lambda x: asked.append(1) or torch.zeros_like(x), 0.1), []
    states, *_ = roll_out(known, torch.zeros(1, 2, 4), torch.ones(11, 1), dt=0.1)
    assert len(asked) == 110 and len(states) == 11


def test_paths_and_energy_are_those_of_torchsde():
    h, sde, x = 0.25, sde_of("attention"), torch.randn(6, 4, generator=_rng())

    class AsTorchsde(torch.nn.Module):
        noise_type, sde_type = "diagonal", "ito"

        def f(self, t, y):
            drift = sde.drift(y[None, :, :-1])[0]
            return torch.cat([drift, drift.square().sum(-1, keepdim=True)], -1) * h

        def g(self, t, y):
            return torch.nn.functional.pad(sde.diffusion(y[:, :-1]) * h**0.5, (0, 1))

    y, ticks = torch.nn.functional.pad(x, (0, 1)), torch.tensor([0.0, 4, 12])
    bm = Increments(y.shape, generator=_rng(1), like=y)
    expected = torchsde.sdeint(AsTorchsde(), y, ticks, bm=bm, dt=1.0, method="euler")[1:]
    states, energy, *_ = roll_out(
        sde, x[None], torch.tensor([[1.0], [2.0]]), dt=h, generator=_rng(1)
    )
    torch.testing.assert_close(states[:, 0], expected[..., :-1])
    torch.testing.assert_close(energy[:, 0], expected[..., -1])


def test_a_group_takes_its_own_steps_whoever_is_in_the_batch():
    sde, x = sde_of("additive", diffusion="none"), torch.randn(4, 5, 4, generator=_rng())
    gaps, density = torch.tensor([[1.0, 2.0, 1.0, 0.1]]), torch.tensor([1.0, 2.0, 0.5, 1.0])
    mask = torch.ones(4, 5, dtype=bool)
    mask[2, 3:] = False
    states, energy, *_ = roll_out(sde, x, gaps, dt=0.5, groups=Groups(mask, density))
    for g in range(4):
        one = slice(g, g + 1)
        mine = Groups(mask[one], density[one])
        alone, effort, *_ = roll_out(sde, x[one], gaps[:, one], dt=0.5, groups=mine)
        torch.testing.assert_close(states[0, g], alone[0, 0])
        torch.testing.assert_close(energy[0, g], effort[0, 0])


class Known(torch.nn.Module):
    """An SDE with a given drift, for moments in closed form."""

    def __init__(self, drift, sigma):
        super().__init__()
        self.f, self.sigma = drift, sigma

    def drift(self, x, mask=None, density=None):
        return self.f(x)

    def diffusion(self, x):
        return torch.full_like(x, self.sigma)


def test_ornstein_uhlenbeck_moments():
    theta, sigma, t = 0.5, 0.4, 2.0
    x = torch.full((1, 40_000, 1), 1.5)
    states, *_ = roll_out(
        Known(lambda x: -theta * x, sigma), x, torch.tensor([[t]]), dt=0.01, generator=_rng()
    )
    mean, variance = linear_moments(
        t, mean=np.array([1.5]), variance=0.0, theta=theta, kappa=0.0, sigma=sigma
    )
    assert states.mean().item() == pytest.approx(mean[0], abs=0.01)
    assert states.var().item() == pytest.approx(variance, rel=0.03)


def test_linear_attraction_moments():
    theta, kappa, sigma, t = 0.3, 0.5, 0.3, 1.5
    x = 2 + 0.8 * torch.randn(1, 20_000, 2, generator=_rng())

    def drift(x):
        return -theta * x + kappa * (x.mean(1, keepdim=True) - x)

    states, *_ = roll_out(Known(drift, sigma), x, torch.tensor([[t]]), dt=0.01, generator=_rng(1))
    mean, variance = linear_moments(
        t, mean=np.array([2, 2]), variance=0.64, theta=theta, kappa=kappa, sigma=sigma
    )
    np.testing.assert_allclose(states[0, 0].mean(0), mean, atol=0.02)
    np.testing.assert_allclose(states[0, 0].var(0), variance, rtol=0.04)


def test_energy_is_the_hand_integral():
    velocity = torch.tensor([3.0, 4.0])
    _, energy, *_ = roll_out(
        Known(lambda x: velocity.expand_as(x), 0.1),
        torch.zeros(1, 5, 2),
        torch.tensor([[2.0], [0.5]]),
        dt=0.1,
    )
    torch.testing.assert_close(energy, torch.tensor([50.0, 62.5])[:, None, None].expand(2, 1, 5))


def test_groups_may_cross_gaps_of_different_length():
    shift = torch.tensor([1.0, 0.0])
    states, *_ = roll_out(
        Known(lambda x: shift.expand_as(x), 1e-6),
        torch.zeros(2, 3, 2),
        torch.tensor([[1.0, 3.0]]),
        dt=0.25,
    )
    torch.testing.assert_close(states[0, :, 0, 0], torch.tensor([1.0, 3.0]), atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", ["constant", "per_dimension", "state"])
def test_diffusion_starts_at_sigma_and_learns_unless_constant(kind):
    noise = InteractingSDE(3, SDEConfig(diffusion=kind, sigma=0.2)).diffusion
    torch.testing.assert_close(noise(torch.randn(2, 5, 3)), torch.full((2, 5, 3), 0.2))
    assert bool(n_parameters(noise)) == (kind != "constant")


def _rng(seed=0):
    return torch.Generator().manual_seed(seed)


def test_own_drift_with_stages_changes_at_them_and_only_there():
    sde, x = sde_of(stages=(1.0, 2.0)), torch.randn(1, 1, 4).expand(4, 1, 4)
    own = sde.intrinsic_drift(x, torch.tensor([0.0, 0.9, 1.0, 2.5]))
    assert (
        torch.equal(own[0], own[1])
        and not torch.allclose(own[1], own[2])
        and not torch.allclose(own[2], own[3])
    )
    with pytest.raises(ValueError, match="SDEConfig.stages"):
        sde.intrinsic_drift(x)
    with pytest.raises(ValueError, match="increasing model times"):
        SDEConfig(stages=(2.0, 1.0))


def test_a_relaxing_drift_is_the_free_one_less_a_decay():
    sde, x = sde_of(drift="relaxing"), torch.randn(1, 5, 4)
    torch.testing.assert_close(sde.intrinsic_drift(x), sde.intrinsic.net(x))  # rates start at zero
    with torch.no_grad():
        sde.intrinsic.rate += torch.tensor([0.5, 0.0, 1.0, 2.0])
    torch.testing.assert_close(
        sde.intrinsic_drift(x), sde.intrinsic.net(x) - x * torch.tensor([0.5, 0.0, 1.0, 2.0])
    )


def test_a_centred_model_learns_beside_the_average_and_splits_as_the_others_do():
    sde, x, density = (
        sde_of("additive", centred=True),
        torch.randn(3, 6, 4),
        torch.tensor([0.5, 1.0, 2.0]),
    )
    mask = torch.ones(3, 6, dtype=bool)
    mask[1, 4:] = False
    block, before = sde.interaction[0], sde.interaction[0].usual.clone()
    sde.drift(x, mask, density)
    assert torch.equal(block.usual, before)  # only training moves the average
    sde.train()
    for _ in range(200):
        sde.drift(x, mask, density)
    sent = block.send(x) * mask[..., None]
    signal = (
        (sent.sum(1, keepdim=True) - sent)
        / (mask.sum(1) - 1)[:, None, None]
        * density[:, None, None]
    )
    torch.testing.assert_close(block.usual, signal[mask].mean(0), atol=1e-3, rtol=1e-3)
    sde.eval()
    together = sde.drift(x, mask, density)
    torch.testing.assert_close(
        sde.intrinsic_drift(x) + sde.interaction_drift(x, mask, density),
        together,
        atol=1e-6,
        rtol=1e-4,
    )
    torch.testing.assert_close(sde.intrinsic_drift(x), sde.intrinsic(x) - block.usual_message(x))
    for other in ({"interaction": "attention"}, {"interaction": "none"}):
        with pytest.raises(ValueError, match="SDEConfig.centred"):
            SDEConfig(centred=True, **other)


def test_roll_out_tells_each_group_its_own_time():
    sde, gaps = sde_of(stages=(1.0,), diffusion="none"), torch.ones(2, 2)
    x = torch.randn(1, 3, 4).expand(2, 3, 4)
    states, *_ = roll_out(sde, x, gaps, dt=0.5, groups=Groups(start_time=torch.tensor([0.0, 1.0])))
    late, *_ = roll_out(
        sde, states[0, :1], gaps[:1, :1], dt=0.5, groups=Groups(start_time=torch.ones(1))
    )
    torch.testing.assert_close(
        late[0, 0], states[1, 0]
    )  # the first group crosses the stage after one interval
    assert not torch.allclose(states[0, 0], states[0, 1])


@pytest.mark.parametrize("stages", [(), (1.0, 2.0)])
def test_twin_counts_the_inputs_of_the_stages(stages):
    config = SDEConfig(stages=stages, hidden=(32, 32))
    sizes = [n_parameters(InteractingSDE(6, c)) for c in (config, matched_config(6, config))]
    assert abs(sizes[0] - sizes[1]) <= 0.01 * sizes[0]
