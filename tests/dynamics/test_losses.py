"""Losses against closed forms, autograd and geomloss."""

import numpy as np
import pytest
import torch

from scimf.dynamics import losses
from scimf.evaluation import distances


@pytest.fixture
def clouds():
    rng = np.random.default_rng(0)
    return rng.standard_normal((40, 3)), 0.5 + rng.standard_normal((30, 3))


def tensors(*clouds):
    """Each cloud as a batch of one."""
    return [torch.as_tensor(cloud, dtype=torch.float32)[None] for cloud in clouds]


def test_hand_value_on_two_points():
    # Between: the mean of 0, 4, 2 and 2 is 2; within: 2 and 4.
    x, y = tensors(np.array([[0.0], [2.0]]), np.array([[0.0], [4.0]]))
    assert losses.LOSSES["energy"](x, y).item() == pytest.approx(2 - 1 - 2, abs=1e-4)


def test_energy_loss_agrees_with_the_score_and_ignores_padding(clouds):
    x, y = clouds
    expected = distances.energy_distance(x, y)
    a, b = tensors(x, y)
    assert losses.LOSSES["energy"](a, b).item() == pytest.approx(expected, abs=1e-4)
    padded = torch.cat([a, torch.full((1, 5, 3), 50.0)], 1)
    mask = torch.tensor([[True] * 40 + [False] * 5])
    assert losses.LOSSES["energy"](padded, b, mask).item() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("masked", [False, True])
def test_energy_loss_has_the_gradient_of_autograd(masked):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 30, 4, generator=generator) + 100
    y = torch.randn(2, 20, 4, generator=generator) + 100
    x[0, 1] = x[0, 2]  # two cells in one place: no direction between them
    left = torch.ones(2, 30, dtype=bool)
    right = torch.ones(2, 20, dtype=bool)
    if masked:
        left[1, 25:] = False
        right[0, 15:] = False
        x[1, 25:] = 0.0
        y[0, 15:] = 0.0

    def distance(x, y):
        squared = (x[:, :, None] - y[:, None]).square().sum(-1)
        return squared.clamp_min(losses.CLOSEST**2).sqrt()

    def by_autograd(x, y, left, right):
        pairs = (left[:, :, None] & left[:, None, :]) * (1 - torch.eye(30))
        within = distance(x, x) * pairs
        between = distance(x, y) * (left[:, :, None] & right[:, None, :])
        n = left.sum(1)
        m = right.sum(1)
        return between.sum((1, 2)) / (n * m) - within.sum((1, 2)) / (n * (n - 1)) / 2

    x = x.double().requires_grad_()
    weight = torch.tensor([1.0, -2.0]).double()
    found = torch.autograd.grad(losses.LOSSES["energy"](x, y.double(), left, right) @ weight, x)[0]
    expected = torch.autograd.grad(by_autograd(x, y.double(), left, right) @ weight, x)[0]
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)
    assert not found[1, 25:].any() or not masked


def test_ot_loss_is_half_w2_squared_and_sinkhorn_tends_to_it(clouds):
    x = clouds[0]
    y = clouds[1] + 5  # far apart, so that the entropic bias is small beside the cost
    exact = distances.wasserstein(x, y, order=2) ** 2 / 2
    assert losses.LOSSES["ot"](*tensors(x, y)).item() == pytest.approx(exact, rel=1e-4)
    assert losses.LOSSES["sinkhorn"](*tensors(x, y)).item() == pytest.approx(exact, rel=0.01)


@pytest.mark.parametrize(("n", "m", "shift"), [(40, 60, 0.5), (60, 40, 4.0), (50, 50, 0.0)])
def test_sinkhorn_gives_the_numbers_and_gradients_of_geomloss(n, m, shift):
    from geomloss import SamplesLoss

    peer = SamplesLoss("sinkhorn", p=2, blur=0.1, scaling=0.7, debias=True, backend="tensorized")
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, 10, generator=generator) + shift
    y = 2 * torch.randn(m, 10, generator=generator)
    x.requires_grad_()
    theirs = peer(x, y)
    (their_gradient,) = torch.autograd.grad(theirs, x)
    for _ in range(2):  # the second time the term of y is remembered
        ours = losses.LOSSES["sinkhorn"](x[None], y[None])[0]
        (gradient,) = torch.autograd.grad(ours, x)
        # Their last term sees the diameter of x and y, ours that of y.
        assert abs(ours.item() / theirs.item() - 1) < 0.01
        torch.testing.assert_close(gradient, their_gradient, rtol=1e-2, atol=1e-4)


def test_sinkhorn_forgets_the_oldest_clouds_and_takes_masks(monkeypatch):
    monkeypatch.setattr(losses, "REMEMBERED", 2)
    monkeypatch.setattr(losses, "_of_observed", {})
    x = torch.randn(1, 5, 3)
    clouds = torch.randn(4, 6, 3)
    first = [losses.LOSSES["sinkhorn"](x, y[None]) for y in clouds]
    assert len(losses._of_observed) == 2
    assert torch.equal(losses.LOSSES["sinkhorn"](x, clouds[:1]), first[0])
    padded = torch.cat([clouds[:1], torch.full((1, 2, 3), 99.0)], 1)
    mask = torch.tensor([[True] * 6 + [False] * 2])
    assert torch.equal(losses.LOSSES["sinkhorn"](x, padded, None, mask), first[0])


def test_sinkhorn_cost_is_half_the_squared_distance():
    a = torch.zeros(1, 1, 3)
    b = torch.full((1, 1, 3), 2.0)  # squared distance 12
    assert losses.LOSSES["sinkhorn"](a, b).item() == pytest.approx(6, rel=1e-3)


@pytest.mark.parametrize("name", ["energy", "debiased_ot"])
def test_unbiased_losses_are_zero_on_average_for_equal_laws_and_plain_ot_is_not(name):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(200, 32, 3, generator=generator)
    y = torch.randn(200, 32, 3, generator=generator)
    values = losses.LOSSES[name](x, y)
    assert abs(values.mean().item()) < 3 * values.std().item() / 200**0.5
    assert losses.LOSSES["ot"](x, y).mean().item() > 0.1
