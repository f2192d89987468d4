r"""How cells hear each other: the published attention, and two forms that can be read sender by sender.

All take ``x`` (groups, cells, dim), one group a population at one time, and return a message to every cell of the same
shape. ``mask`` (groups, cells) is ``False`` on padding, ``density`` (groups,) is the relative density of each
population, ``speak`` (groups, cells) silences senders **with the normaliser kept**, and ``hears`` (groups,) is the
index of the group that each group hears, its own if omitted. Derived in notebook 02 (attention and additive).

Large populations are heard exactly, one block of receivers after the other: memory grows linearly with the cells.
"""

from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

Mask = torch.Tensor | None
ALL = slice(None)
ACTIVATIONS = {"leaky_relu": nn.LeakyReLU, "silu": nn.SiLU}
PAIRS = 2**25  #: numbers of a block of receivers (one for each sender, for example) that are held together


def mlp(sizes: Sequence[int], activation: str) -> nn.Sequential:
    """Linear layers of the given sizes with an activation between them."""
    layers: list[nn.Module] = []
    for n_in, n_out in zip(sizes[:-1], sizes[1:], strict=True):
        layers += [nn.Linear(n_in, n_out), ACTIVATIONS[activation]()]
    return nn.Sequential(*layers[:-1])


class CellAttention(nn.Module):
    r"""The published interaction: a softmax over all other cells of the population, then a feed-forward network.

    With :math:`u = \mathrm{LN}_1(x)` and :math:`\tilde x = \mathrm{LN}_V(x)`, for each head
    :math:`a_{ij} = \mathrm{softmax}_{j \ne i}\, \langle u_i W^Q, u_j W^K\rangle / \sqrt{d_k}`, then
    :math:`o_i = \sum_j a_{ij}\, \tilde x_j W^V` and
    :math:`f_\text{heard}(x_i) = W_2\,\mathrm{LeakyReLU}(W_1\,\mathrm{LN}_2(o_i) + b_1) + b_2`.
    No residual connection, no output projection. The density of the population plays no role: softmax is scale-free.
    """

    def __init__(self, dim: int, heads: int = 2, dropout: float = 0.1) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"CellAttention: dim must be a multiple of heads, got dim={dim}, heads={heads}")
        self.heads, self.dropout = heads, dropout
        self.norm_qk, self.norm_v, self.norm_out = nn.LayerNorm(dim), nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.query = nn.Linear(dim, dim, bias=False)
        self.key = nn.Linear(dim, dim, bias=False)
        self.value = nn.Linear(dim, dim, bias=False)
        self.feed_forward = mlp([dim, 4 * dim, dim], "leaky_relu")

    def _split(self, x: torch.Tensor) -> torch.Tensor:  # (g, n, dim) -> (g, heads, n, dim / heads)
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def project(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return queries, keys and values, each (groups, heads, cells, dim / heads)."""
        u = self.norm_qk(x)
        return self._split(self.query(u)), self._split(self.key(u)), self._split(self.value(self.norm_v(x)))

    def weights(self, x: torch.Tensor, mask: Mask = None) -> torch.Tensor:
        """Attention of receiver i (row) on sender j (column), (groups, heads, cells, cells); rows sum to 1."""
        query, key, _ = self.project(x)
        score = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
        return score.masked_fill(~_may_hear(x, mask, None), -torch.inf).softmax(-1)

    def forward(
        self, x: torch.Tensor, mask: Mask = None, density: Mask = None, speak: Mask = None, hears: Mask = None
    ) -> torch.Tensor:  # (g, n, dim)
        """Return the message to each cell.

        ``speak`` (groups, cells) silences senders: their value is zero, the softmax keeps its normaliser.
        ``hears`` (groups,): index of the group that each group hears, its own if omitted.
        A population of one cell gets no message.
        """
        query, key, value = self.project(x)
        if speak is not None:
            value = value * speak[:, None, :, None]
        if hears is not None:
            key, value = key[hears], value[hears]
        dropout = self.dropout if self.training else 0.0

        def mix(rows: slice) -> torch.Tensor:
            allowed = _may_hear(x, mask, hears, rows)
            return F.scaled_dot_product_attention(query[:, :, rows], key, value, attn_mask=allowed, dropout_p=dropout)

        if mask is None and hears is None and not dropout and x.device.type == "cpu":
            whole, width = [_padded(part) for part in (query.flip(2), key, value)], query.shape[-1]
            options = {"attn_mask": _not_itself(x), "scale": width**-0.5}
            mixed = F.scaled_dot_product_attention(*whole, **options)[..., :width].flip(2)
        else:
            mixed = _in_blocks(mix, x.shape[1], width=x.shape[0] * x.shape[1], axis=2)
        message = self.feed_forward(self.norm_out(mixed.transpose(1, 2).flatten(-2)))
        return message * _has_company(x, mask)


class AdditiveInteraction(nn.Module):
    r"""Low-rank pairwise messages: the receiver decides the direction, the sender how much it says.

    .. math:: f_\text{heard}(x_i) = s \sum_{r=1}^{R} q_r(x_i)\, \frac{1}{N-1} \sum_{j \ne i} v_r(x_j),
              \qquad q_r(x) \in \mathbb{R}^d,\; v_r(x) \in \mathbb{R} .

    The contribution of each sender is exact, the cost is linear in the number of cells.
    """

    def __init__(self, dim: int, rank: int = 8, hidden: int = 64, activation: str = "silu") -> None:
        super().__init__()
        self.rank = rank
        self.receive = mlp([dim, hidden, rank * dim], activation)
        self.send = mlp([dim, hidden, rank], activation)
        self.register_buffer("usual", torch.zeros(rank))  # what is heard on average in training, if centred

    def forward(
        self,
        x: torch.Tensor,
        mask: Mask = None,
        density: Mask = None,
        speak: Mask = None,
        hears: Mask = None,
        *,
        centred: bool = False,
    ) -> torch.Tensor:  # (g, n, dim)
        """Return the message to each cell, if ``centred`` less :meth:`usually`; others as in :class:`CellAttention`."""
        sent = self.send(x)  # (g, n, rank)
        if speak is not None:
            sent = sent * speak[..., None]
        if mask is not None:
            sent = sent * mask[..., None]
        if hears is None:
            heard = (sent.sum(1, keepdim=True) - sent) / _others(x, mask)  # (g, n, rank), self excluded
        else:
            size = x.shape[1] if mask is None else mask.sum(1).clamp_min(1).to(x.dtype)[hears, None, None]
            heard = sent.sum(1, keepdim=True)[hears] / size
            density = None if density is None else density[hears]
        heard = heard.expand(-1, x.shape[1], -1)
        if not centred:
            return self._answer(x, heard) * _as_column(density) * _has_company(x, mask)
        heard = heard * _as_column(density) * _has_company(x, mask)
        if self.training:
            self._get_used_to(heard.detach(), mask)
        return self._answer(x, heard - self.usual)

    def _answer(self, x: torch.Tensor, heard: torch.Tensor) -> torch.Tensor:  # (g, n, dim), (g, n, rank) -> (g, n, dim)
        def answer(rows: slice) -> torch.Tensor:
            directions = self.receive(x[:, rows]).unflatten(-1, (self.rank, -1))  # (g, rows, rank, dim)
            return (directions * heard[:, rows, :, None]).sum(2)  # a product a cell is slow as a batch of products

        return _in_blocks(answer, x.shape[1], width=x.shape[0] * self.rank * x.shape[2], axis=1)

    @torch.no_grad()
    def _get_used_to(self, heard: torch.Tensor, mask: Mask) -> None:
        mean = heard.mean((0, 1)) if mask is None else (heard * mask[..., None]).sum((0, 1)) / mask.sum()
        self.usual.lerp_(mean, 0.05)

    def usually(self, x: torch.Tensor) -> torch.Tensor:  # (g, n, dim)
        """Message to each cell in the average population of the training data; zero unless trained centred."""
        return self._answer(x, self.usual.expand(*x.shape[:2], -1))

    def contributions(self, x: torch.Tensor, density: Mask = None) -> torch.Tensor:  # (g, receiver, sender, dim)
        """Exact part of the message to i that comes from j; sums over j to :meth:`forward`. Quadratic in cells."""
        n = x.shape[1]
        pairs = torch.einsum("gird,gjr->gijd", self.receive(x).unflatten(-1, (self.rank, -1)), self.send(x))
        pairs = pairs * (1 - torch.eye(n, dtype=x.dtype, device=x.device))[None, :, :, None] / max(n - 1, 1)
        return pairs if density is None else pairs * density[:, None, None, None]


class OccupancyInteraction(nn.Module):
    r"""Mass-aware attention: senders compete for the receiver, and a receiver may stay free.

    As ligands bind a receptor in equilibrium (Langmuir), with heads :math:`h`,

    .. math:: a^h_{ij} = \frac{\frac{s}{N-1}\, e^{\langle q^h(x_i), k^h(x_j) \rangle / \sqrt{d_k}}}
                            {1 + \frac{s}{N-1} \sum_{l \ne i} e^{\langle q^h(x_i), k^h(x_l) \rangle / \sqrt{d_k}}},
              \qquad f_\text{heard}(x_i) = \sum_h \sum_{j \ne i} a^h_{ij} \bigl(v^h(x_j) - u^h(x_i)\bigr) .

    Sparse populations are heard in proportion to their density, dense ones saturate into the published softmax.
    """

    def __init__(self, dim: int, heads: int = 2, hidden: int = 64, activation: str = "silu") -> None:
        super().__init__()
        self.heads, self.width = heads, 16
        self.receive = mlp([dim, hidden, heads * (self.width + dim)], activation)  # query and u
        self.send = mlp([dim, hidden, heads * (self.width + dim)], activation)  # key and v

    def occupancy(
        self, x: torch.Tensor, mask: Mask = None, density: Mask = None, hears: Mask = None, rows: slice = ALL
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return a (g, heads, receiver, sender), v and u (g, heads, cells, dim), with receivers ``rows`` in a and u."""
        received = self.receive(x[:, rows]).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        query, u = received.split([self.width, x.shape[-1]], -1)
        key, v = self.send(x).unflatten(-1, (self.heads, -1)).transpose(1, 2).split([self.width, x.shape[-1]], -1)
        size = _others(x, mask)
        if hears is not None:
            key, v, density = key[hears], v[hears], None if density is None else density[hears]
            size = x.shape[1] if mask is None else mask.sum(1).clamp_min(1).to(x.dtype)[hears, None, None]
        score = query @ key.transpose(-1, -2) / self.width**0.5
        score = (
            score + torch.log(torch.as_tensor(_as_column(density) / size, dtype=x.dtype, device=x.device))[..., None]
        )
        score = score.masked_fill(~_may_hear(x, mask, hears, rows), -torch.inf)
        return F.pad(score, (1, 0)).softmax(-1)[..., 1:], v, u  # the padded sender is nobody, with score 0

    def forward(
        self, x: torch.Tensor, mask: Mask = None, density: Mask = None, speak: Mask = None, hears: Mask = None
    ) -> torch.Tensor:  # (g, n, dim)
        """Return the message to each cell; ``speak`` and ``hears`` as in :class:`CellAttention`."""
        said = None if speak is None else (speak if hears is None else speak[hears])[:, None, None, :]

        def mix(rows: slice) -> torch.Tensor:
            a, v, u = self.occupancy(x, mask, density, hears, rows)
            a = a if said is None else a * said.to(a.dtype)
            return (a @ v - a.sum(-1, keepdim=True) * u).sum(1)

        message = _in_blocks(mix, x.shape[1], width=self.heads * x.shape[0] * x.shape[1], axis=1)
        return message * _has_company(x, mask)

    def contributions(self, x: torch.Tensor, density: Mask = None) -> torch.Tensor:  # (g, receiver, sender, dim)
        """Part of the message to i that comes from j while all others are there; sums over j to :meth:`forward`."""
        a, v, u = self.occupancy(x, None, density)
        return torch.einsum("ghij,ghjd->gijd", a, v) - torch.einsum("ghij,ghid->gijd", a, u)


def _in_blocks(part: Callable[[slice], torch.Tensor], n: int, *, width: int, axis: int) -> torch.Tensor:
    """Concatenate ``part(rows)`` over blocks of the ``n`` receivers, ``width`` numbers each, at most PAIRS a block.

    Gradients of more than one block compute each block again instead of keeping it.
    """
    size = max(1, PAIRS // width)
    if size >= n:
        return part(ALL)
    run = (lambda rows: checkpoint(part, rows, use_reentrant=False)) if torch.is_grad_enabled() else part
    return torch.cat([run(slice(i, i + size)) for i in range(0, n, size)], axis)


def _padded(part: torch.Tensor) -> torch.Tensor:
    """Fill up with zeros, which change no product, to whole registers of a CPU, which multiply faster."""
    return F.pad(part, (0, -part.shape[-1] % 16))


def _not_itself(x: torch.Tensor) -> torch.Tensor:  # (1, 1, n, n), receivers in reverse: minus infinity, or 0
    """Forbid each cell to hear itself without a number per pair: row i and column j share the number i + j.

    Receivers in reverse have themselves on the other diagonal, where i + j = n - 1. Fused attention on a CPU reads such
    a view as it is; that of a GPU would want a copy.
    """
    n = x.shape[1]
    line = x.new_zeros(2 * n - 1)
    line[n - 1] = -torch.inf if n > 1 else 0.0  # a softmax over nothing is NaN; such a message is dropped later
    return line.as_strided((1, 1, n, n), (0, 0, 1, 1))


def _may_hear(  # (g or 1, 1, rows, n); True: i may hear j
    x: torch.Tensor, mask: Mask, hears: Mask, rows: slice = ALL
) -> torch.Tensor:
    senders = torch.arange(x.shape[1], device=x.device)
    if hears is None:
        allowed = (senders[rows, None] != senders)[None]
        allowed = allowed if mask is None else allowed & mask[:, None, :]
    else:  # somebody else's population: nobody there is oneself
        allowed = torch.ones(1, len(senders[rows]), len(senders), dtype=torch.bool, device=x.device)
        allowed = allowed if mask is None else allowed & mask[hears][:, None, :]
    nobody = ~allowed.any(-1, keepdim=True)  # a softmax over nothing is NaN; such a message is dropped later
    return (allowed | nobody)[:, None]


def _others(x: torch.Tensor, mask: Mask) -> torch.Tensor | float:  # (g, 1, 1): how many cells each cell can hear
    if mask is None:
        return float(max(x.shape[1] - 1, 1))
    return (mask.sum(1) - 1).clamp_min(1).to(x.dtype)[:, None, None]


def _has_company(x: torch.Tensor, mask: Mask) -> torch.Tensor | float:  # (g, 1, 1)
    if mask is None:
        return float(x.shape[1] > 1)
    return (mask.sum(1) > 1).to(x.dtype)[:, None, None]


def _as_column(density: Mask) -> torch.Tensor | float:
    return 1.0 if density is None else density[:, None, None]
