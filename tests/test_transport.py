import numpy as np
import ot
import pytest
import torch
from scipy.spatial.distance import cdist

from scimf import transport


@pytest.fixture
def clouds():
    rng = np.random.default_rng(0)
    return rng.standard_normal((40, 3)), 0.5 + rng.standard_normal((30, 3))


def tensors(x, y):
    return torch.as_tensor(x, dtype=torch.float32)[None], torch.as_tensor(y, dtype=torch.float32)[None]


def test_hand_values_on_two_points():
    x, y = np.zeros((2, 1)), np.full((2, 1), 3.0)
    assert transport.w1(x, y) == pytest.approx(3)
    assert transport.w2(x, y) == pytest.approx(3)
    assert transport.energy_distance(x, y) == pytest.approx(3)
    a, b = np.array([[0.0], [2.0]]), np.array([[0.0], [4.0]])  # between: mean(0, 4, 2, 2) = 2; within: 2 and 4
    assert transport.energy_distance(a, b) == pytest.approx(2 - 1 - 2)
    assert transport.energy_loss(*tensors(a, b)).item() == pytest.approx(-1, abs=1e-4)


def test_scores_agree_with_pot(clouds):
    x, y = clouds
    assert transport.w1(x, y) == pytest.approx(ot.emd2([], [], ot.dist(x, y, "euclidean")), rel=1e-6)
    assert transport.w2(x, y) ** 2 == pytest.approx(ot.emd2([], [], ot.dist(x, y)), rel=1e-6)


def test_energy_loss_agrees_with_the_score_and_ignores_padding(clouds):
    x, y = clouds
    expected = transport.energy_distance(x, y)
    a, b = tensors(x, y)
    assert transport.energy_loss(a, b).item() == pytest.approx(expected, abs=1e-4)
    padded = torch.cat([a, torch.full((1, 5, 3), 50.0)], 1)
    mask = torch.tensor([[True] * 40 + [False] * 5])
    assert transport.energy_loss(padded, b, mask).item() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("masked", [False, True])
def test_energy_loss_has_the_gradient_of_autograd(masked):
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, 30, 4, generator=generator) + 100, torch.randn(2, 20, 4, generator=generator) + 100
    x[0, 1] = x[0, 2]  # two cells in one place: no direction between them
    left, right = torch.ones(2, 30, dtype=bool), torch.ones(2, 20, dtype=bool)
    if masked:
        left[1, 25:], right[0, 15:] = False, False
        x[1, 25:], y[0, 15:] = 0.0, 0.0

    def by_autograd(x, y, left, right):
        within = transport.pairwise_distance(x, x) * (left[:, :, None] & left[:, None, :]) * (1 - torch.eye(30))
        between = transport.pairwise_distance(x, y) * (left[:, :, None] & right[:, None, :])
        n, m = left.sum(1), right.sum(1)
        return between.sum((1, 2)) / (n * m) - within.sum((1, 2)) / (n * (n - 1)) / 2

    x, weight = x.double().requires_grad_(), torch.tensor([1.0, -2.0]).double()
    found = torch.autograd.grad(transport.energy_loss(x, y.double(), left, right) @ weight, x)[0]
    expected = torch.autograd.grad(by_autograd(x, y.double(), left, right) @ weight, x)[0]
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)
    assert not found[1, 25:].any() or not masked


def test_ot_loss_is_half_w2_squared_and_sinkhorn_tends_to_it(clouds):
    x, y = clouds[0], clouds[1] + 5  # far apart, so that the entropic bias is small beside the cost
    exact = transport.w2(x, y) ** 2 / 2
    assert transport.ot_loss(*tensors(x, y)).item() == pytest.approx(exact, rel=1e-4)
    assert transport.sinkhorn_loss(*tensors(x, y)).item() == pytest.approx(exact, rel=0.01)


@pytest.mark.parametrize(("n", "m", "shift"), [(40, 60, 0.5), (60, 40, 4.0), (50, 50, 0.0)])
def test_sinkhorn_gives_the_numbers_and_gradients_of_geomloss(n, m, shift):
    from geomloss import SamplesLoss

    peer = SamplesLoss("sinkhorn", p=2, blur=0.1, scaling=0.7, debias=True, backend="tensorized")
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(n, 10, generator=generator) + shift, 2 * torch.randn(m, 10, generator=generator)
    x.requires_grad_()
    theirs = peer(x, y)
    (their_gradient,) = torch.autograd.grad(theirs, x)
    for _ in range(2):  # the second time the term of y is remembered
        ours = transport.sinkhorn_loss(x[None], y[None])[0]
        (gradient,) = torch.autograd.grad(ours, x)
        assert abs(ours.item() / theirs.item() - 1) < 0.01  # their last term sees the diameter of x and y, ours of y
        torch.testing.assert_close(gradient, their_gradient, rtol=1e-2, atol=1e-4)


def test_sinkhorn_forgets_the_oldest_clouds_and_takes_masks(monkeypatch):
    monkeypatch.setattr(transport, "REMEMBERED", 2)
    monkeypatch.setattr(transport, "_of_observed", {})
    x, clouds = torch.randn(1, 5, 3), torch.randn(4, 6, 3)
    first = [transport.sinkhorn_loss(x, y[None]) for y in clouds]
    assert len(transport._of_observed) == 2
    assert torch.equal(transport.sinkhorn_loss(x, clouds[:1]), first[0])
    padded = torch.cat([clouds[:1], torch.full((1, 2, 3), 99.0)], 1)
    mask = torch.tensor([[True] * 6 + [False] * 2])
    assert torch.equal(transport.sinkhorn_loss(x, padded, None, mask), first[0])


def test_sinkhorn_cost_is_half_the_squared_distance():
    a, b = torch.zeros(1, 1, 3), torch.full((1, 1, 3), 2.0)  # squared distance 12
    assert transport.sinkhorn_loss(a, b).item() == pytest.approx(6, rel=1e-3)


@pytest.mark.parametrize("name", ["energy", "debiased_ot"])
def test_unbiased_losses_are_zero_on_average_for_equal_laws_and_plain_ot_is_not(name):
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(200, 32, 3, generator=generator), torch.randn(200, 32, 3, generator=generator)
    values = transport.LOSSES[name](x, y)
    assert abs(values.mean().item()) < 3 * values.std().item() / 200**0.5
    assert transport.ot_loss(x, y).mean().item() > 0.1


@pytest.mark.parametrize("name", list(transport.LOSSES))
def test_gradients_are_finite_even_for_identical_clouds(name):
    x = torch.randn(1, 16, 3, generator=torch.Generator().manual_seed(0))
    moved = x.clone().requires_grad_()
    transport.LOSSES[name](moved, x).sum().backward()
    assert torch.isfinite(moved.grad).all()


def test_mmd_is_unbiased_and_grows_with_the_shift():
    rng = np.random.default_rng(0)
    draws = [transport.rbf_mmd2(*rng.standard_normal((2, 50, 3)), bandwidth=2.0) for _ in range(200)]
    assert abs(np.mean(draws)) < 3 * np.std(draws) / 200**0.5
    near, far = (
        transport.rbf_mmd2(rng.standard_normal((50, 3)), s + rng.standard_normal((50, 3)), bandwidth=2.0)
        for s in (1, 3)
    )
    assert 0 < near < far


def test_cost_of_mean_by_brute_force_and_zero_without_a_shift():
    rng = np.random.default_rng(0)
    y, x = rng.normal(size=(30, 3)), rng.normal(size=(20, 3)) + 1
    moved = y + x.mean(0) - y.mean(0)
    pairs = [(i, j) for i in range(30) for j in range(30) if i != j]
    between = np.mean([np.linalg.norm(y[i] - moved[j]) for i, j in pairs])
    within = np.mean([np.linalg.norm(y[i] - y[j]) for i, j in pairs])
    assert transport.cost_of_mean(x, y) == pytest.approx(between - within)
    assert abs(transport.cost_of_mean(y, y)) < 1e-9


def test_distances_are_those_of_scipy_far_from_the_origin():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 5)) + 1e4, rng.normal(size=(15, 5)) + 1e4
    np.testing.assert_allclose(transport.distances(x, y), cdist(x, y), rtol=1e-6)
    assert not np.diag(transport.within(x)).any()


def test_gene_sinkhorn_tends_to_half_the_squared_distance():
    x = np.random.default_rng(0).normal(size=(40, 2))
    assert transport.gene_sinkhorn(x, x + np.array([3.0, 4.0])) == pytest.approx(12.5, rel=0.02)
