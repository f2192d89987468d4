import pytest
import torch

from scimf.dynamics.interactions import AdditiveInteraction, CellAttention, OccupancyInteraction

FORMS = [AdditiveInteraction, OccupancyInteraction, CellAttention]


def form_of(form, dim=4):
    torch.manual_seed(0)
    return form(dim).eval()


def test_occupancy_agrees_with_the_equation_written_out():
    layer, x, s = form_of(OccupancyInteraction), torch.randn(5, 4), 1.7
    received, sent = (
        layer.receive(x).unflatten(-1, (2, -1)),
        layer.send(x).unflatten(-1, (2, -1)),
    )  # (cells, heads, .)
    expected = torch.zeros(5, 4)
    for h in range(2):
        (query, u), (key, v) = (part[:, h].split([16, 4], -1) for part in (received, sent))
        for i in range(5):
            weight = {j: s / 4 * torch.exp(query[i] @ key[j] / 16**0.5) for j in range(5) if j != i}
            free = 1 + sum(weight.values())
            for j, w in weight.items():
                expected[i] += w / free * (v[j] - u[i])
    torch.testing.assert_close(
        layer(x[None], density=torch.tensor([s]))[0], expected, atol=1e-6, rtol=1e-4
    )


def test_occupancy_is_proportional_when_sparse_and_a_softmax_when_dense():
    layer, x = form_of(OccupancyInteraction), torch.randn(1, 6, 4)
    sparse = [layer(x, density=torch.tensor([s])) for s in (1e-4, 2e-4)]
    torch.testing.assert_close(sparse[1], 2 * sparse[0], rtol=1e-3, atol=1e-8)
    a, _, _ = layer.occupancy(x, density=torch.tensor([1e6]))
    torch.testing.assert_close(a.sum(-1), torch.ones(1, 2, 6), atol=1e-4, rtol=0)


def test_occupancy_contributions_sum_and_silencing_keeps_the_normaliser():
    layer, x, density = (
        form_of(OccupancyInteraction),
        torch.randn(2, 6, 4),
        torch.tensor([1.0, 2.0]),
    )
    parts = layer.contributions(x, density)
    torch.testing.assert_close(parts.sum(2), layer(x, density=density), atol=1e-6, rtol=1e-4)
    sender_weight = torch.tensor([1.0, 1, 1, 0, 0, 0]).expand(2, 6)
    kept = layer(x, density=density, sender_weight=sender_weight)
    torch.testing.assert_close(kept, parts[:, :, :3].sum(2), atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("form", FORMS)
def test_who_hears_elsewhere_hears_all_cells_there_and_none_at_home(form):
    layer, x = form_of(form), torch.randn(2, 5, 4)
    mask, density = torch.tensor([[True] * 5, [True] * 3 + [False] * 2]), torch.tensor([1.0, 2.0])
    swapped = torch.tensor([1, 0])
    before = layer(x, mask, density, context=swapped)
    moved = x.clone()
    moved[0, 4] = torch.randn(4)  # a cell of population 0
    after = layer(moved, mask, density, context=swapped)
    torch.testing.assert_close(after[0, :4], before[0, :4])  # unheard at home
    assert not torch.allclose(after[1, :3], before[1, :3])  # heard elsewhere
    # A visitor placed into the other population, at its density, hears the same.
    guest = torch.cat([x[:1, :1], x[1:, :3]], 1)
    torch.testing.assert_close(
        layer(guest, density=density[1:])[0, 0], before[0, 0], atol=1e-6, rtol=1e-4
    )


@pytest.mark.parametrize("form", FORMS)
def test_blocks_of_receivers_change_neither_messages_nor_gradients(form, monkeypatch):
    layer, x = form_of(form), torch.randn(2, 11, 4, requires_grad=True)
    mask = torch.tensor([[True] * 11, [True] * 7 + [False] * 4])
    density, sender_weight = torch.tensor([1.0, 2.0]), (torch.rand(2, 11) < 0.7).float()
    for options in ({}, {"sender_weight": sender_weight}, {"context": torch.tensor([1, 0])}):
        found = []
        for pairs in (2**25, 150):  # one block, and blocks of one to four receivers
            monkeypatch.setattr("scimf.dynamics.interactions.PAIRS", pairs)
            message = layer(x, mask, density, **options)
            gradient = torch.autograd.grad(
                (message * mask[..., None]).square().sum(), [x, *layer.parameters()]
            )
            with torch.no_grad():
                torch.testing.assert_close(layer(x, mask, density, **options), message)
            found.append([message, *gradient])
        for whole, blocks in zip(*found, strict=True):
            torch.testing.assert_close(blocks, whole, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("n", [1, 2, 37])
def test_attention_without_a_number_per_pair_is_attention_to_all_others(n):
    layer, x = form_of(CellAttention), torch.randn(2, n, 4, requires_grad=True)
    *_, value = layer.project(x)
    by_hand = layer.feed_forward(
        layer.norm_out((layer.weights(x) @ value).transpose(1, 2).flatten(-2))
    )
    found = []
    for message in (
        layer(x),
        layer(x, torch.ones(2, n, dtype=torch.bool)),
        by_hand * (n > 1),
    ):  # a mask: pairs
        found.append(
            [message, *torch.autograd.grad(message.square().sum(), [x, *layer.parameters()])]
        )
    for fused, pairs, written in zip(*found, strict=True):
        torch.testing.assert_close(fused, pairs, atol=1e-6, rtol=1e-4)
        torch.testing.assert_close(fused, written, atol=1e-6, rtol=1e-4)
