r"""What a cell receives from others: the published attention, and two forms read by sender.

All layers take ``x`` (groups, cells, dim), one group a population at one time, and return a message
to every cell of the same shape. Their other arguments, all optional, are

- ``mask`` (groups, cells): ``False`` on padding;
- ``density`` (groups,): relative density of each population;
- ``sender_weight`` (groups, cells): how much each sender counts, **with the normaliser kept**; 0 is
  silence;
- ``weight`` (groups, cells): how many cells each one stands for, where cells divide and die;
- ``context`` (groups,): the group from which each group receives; itself if omitted.

Derived in notebook 02 (attention and additive). Large populations are computed exactly, one block
of receivers after the other: memory grows linearly with the cells.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

ALL = slice(None)
ACTIVATIONS = {"leaky_relu": nn.LeakyReLU, "silu": nn.SiLU}
#: Numbers of a block of receivers (one for each sender, for example) that are held together.
PAIRS = 2**25
#: Numbers that describe a query or a key of the occupancy form.
OCCUPANCY_WIDTH = 16
#: How fast the mean of what is received follows the batches, if centred.
MEAN_RATE = 0.05


def mlp(sizes: Sequence[int], activation: str) -> nn.Sequential:
    """Linear layers of the given sizes with an activation between them."""
    layers: list[nn.Module] = []
    for n_in, n_out in zip(sizes[:-1], sizes[1:], strict=True):
        layers.append(nn.Linear(n_in, n_out))
        layers.append(ACTIVATIONS[activation]())
    return nn.Sequential(*layers[:-1])


class CellAttention(nn.Module):
    r"""The published interaction: a softmax over all other cells, then a feed-forward network.

    With :math:`u = \mathrm{LN}_1(x)` and :math:`\tilde x = \mathrm{LN}_V(x)`, for each head
    :math:`a_{ij} = \mathrm{softmax}_{j \ne i}\, \langle u_i W^Q, u_j W^K\rangle / \sqrt{d_k}`, then
    :math:`o_i = \sum_j a_{ij}\, \tilde x_j W^V` and
    :math:`f_\text{interaction}(x_i) =
    W_2\,\mathrm{LeakyReLU}(W_1\,\mathrm{LN}_2(o_i) + b_1) + b_2`.
    No residual connection, no output projection. The density of the population plays no role: a
    softmax is scale-free.
    """

    def __init__(self, dim: int, heads: int = 2, dropout: float = 0.1) -> None:
        super().__init__()
        if dim % heads:
            expected = "dim must be a multiple of heads"
            raise ValueError(f"CellAttention: {expected}, got dim={dim}, heads={heads}")
        self.heads = heads
        self.dropout = dropout
        self.norm_qk = nn.LayerNorm(dim)
        self.norm_v = nn.LayerNorm(dim)
        self.norm_out = nn.LayerNorm(dim)
        self.query = nn.Linear(dim, dim, bias=False)
        self.key = nn.Linear(dim, dim, bias=False)
        self.value = nn.Linear(dim, dim, bias=False)
        self.feed_forward = mlp([dim, 4 * dim, dim], "leaky_relu")

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values, each (groups, heads, cells, dim / heads)."""
        u = self.norm_qk(x)
        parts = self.query(u), self.key(u), self.value(self.norm_v(x))
        query, key, value = (_split_heads(part, self.heads) for part in parts)
        return query, key, value

    def weights(self, x: Tensor) -> Tensor:
        """Attention of receiver i (row) on sender j (column), (groups, heads, cells, cells)."""
        query, key, _ = self.project(x)
        score = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
        return score.masked_fill(~_may_receive(_everyone(x)), -torch.inf).softmax(-1)

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        density: Tensor | None = None,
        sender_weight: Tensor | None = None,
        context: Tensor | None = None,
        weight: Tensor | None = None,
    ) -> Tensor:  # (g, n, dim)
        """Return the message to each cell; a population of one cell gets none."""
        plain = mask is None and context is None and weight is None
        plain = plain and not (self.dropout and self.training)
        mask = _everyone(x) if mask is None else mask
        query, key, value = self.project(x)
        if sender_weight is not None:
            value = value * sender_weight[:, None, :, None]
        if context is not None:
            key = key[context]
            value = value[context]

        def mix(rows: slice) -> Tensor:
            allowed = _may_receive(mask, context, rows)
            if weight is not None:
                allowed = _log_weight(weight, context).where(allowed, -torch.inf)
            dropout = self.dropout if self.training else 0.0
            return F.scaled_dot_product_attention(
                query[:, :, rows], key, value, attn_mask=allowed, dropout_p=dropout
            )

        if plain and x.device.type == "cpu":
            mixed = _fast_attention_on_cpu(query, key, value)
        else:
            mixed = _in_blocks(mix, x.shape[1], width=x.shape[0] * x.shape[1], axis=2)
        message = self.feed_forward(self.norm_out(mixed.transpose(1, 2).flatten(-2)))
        return message * _has_company(mask)


class AdditiveInteraction(nn.Module):
    r"""Low-rank pairwise messages: the receiver decides the direction, the sender how much it says.

    .. math:: f_\text{interaction}(x_i) = s \sum_{r=1}^{R} q_r(x_i)\,
              \frac{1}{N-1} \sum_{j \ne i} v_r(x_j) ,
              \qquad q_r(x) \in \mathbb{R}^d,\; v_r(x) \in \mathbb{R} .

    The contribution of each sender is exact, the cost is linear in the number of cells.
    """

    def __init__(
        self,
        dim: int,
        rank: int = 8,
        hidden: int = 64,
        activation: str = "silu",
        n_out: int | None = None,
    ) -> None:
        super().__init__()
        self.rank = rank
        self.receive = mlp([dim, hidden, rank * (n_out or dim)], activation)
        self.send = mlp([dim, hidden, rank], activation)
        # What is received on average in training, if centred.
        self.register_buffer("usual", torch.zeros(rank))

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        density: Tensor | None = None,
        sender_weight: Tensor | None = None,
        context: Tensor | None = None,
        weight: Tensor | None = None,
        *,
        centred: bool = False,
    ) -> Tensor:  # (g, n, dim)
        """Return the message to each cell, if ``centred`` less :meth:`usual_message`."""
        mask = _everyone(x) if mask is None else mask
        sent = self.send(x) * mask[..., None]  # (g, n, rank)
        for factor in (sender_weight, weight):
            if factor is not None:
                sent = sent * factor[..., None]
        total = sent.sum(1, keepdim=True)
        total = total - sent if context is None else total[context].expand_as(sent)
        received = total / _n_senders(mask, context)
        loudness = _density_of_senders(x, density, context) * _has_company(mask)
        if not centred:
            return self._answer(x, received) * loudness
        received = received * loudness
        if self.training:
            mean = (received.detach() * mask[..., None]).sum((0, 1)) / mask.sum()
            self.usual.lerp_(mean, MEAN_RATE)
        return self._answer(x, received - self.usual)

    def _answer(self, x: Tensor, received: Tensor) -> Tensor:
        # (g, n, dim), (g, n, rank) -> (g, n, dim)
        def answer(rows: slice) -> Tensor:  # directions are (g, rows, rank, dim)
            directions = self.receive(x[:, rows]).unflatten(-1, (self.rank, -1))
            # A product a cell is slow as a batch of products.
            return (directions * received[:, rows, :, None]).sum(2)

        return _in_blocks(answer, x.shape[1], width=x.shape[0] * self.rank * x.shape[2], axis=1)

    def usual_message(self, x: Tensor) -> Tensor:  # (g, n, dim)
        """Message to each cell in the average training population; zero unless centred."""
        return self._answer(x, self.usual.expand(*x.shape[:2], -1))

    def contributions(self, x: Tensor, density: Tensor | None = None) -> Tensor:
        """Exact part of the message to i that comes from j, (groups, receiver, sender, dim).

        Sums over j to :meth:`forward`. Quadratic in the number of cells.
        """
        directions = self.receive(x).unflatten(-1, (self.rank, -1))
        pairs = torch.einsum("gird,gjr->gijd", directions, self.send(x))
        n = x.shape[1]
        others = 1 - torch.eye(n, dtype=x.dtype, device=x.device)
        pairs = pairs * others[None, :, :, None] / max(n - 1, 1)
        return pairs * _density_of_senders(x, density)[..., None]


class OccupancyInteraction(nn.Module):
    r"""Mass-aware attention: senders compete for the receiver, and a receiver may stay free.

    As ligands bind a receptor in equilibrium (Langmuir), with heads :math:`h`,

    .. math:: a^h_{ij} = \frac{\frac{s}{N-1}\, e^{\langle q^h(x_i), k^h(x_j) \rangle / \sqrt{d_k}}}
              {1 + \frac{s}{N-1} \sum_{l \ne i}
              e^{\langle q^h(x_i), k^h(x_l) \rangle / \sqrt{d_k}}},
              \qquad
              f_\text{interaction}(x_i) =
              \sum_h \sum_{j \ne i} a^h_{ij} \bigl(v^h(x_j) - u^h(x_i)\bigr) .

    Sparse populations count in proportion to their density, dense ones saturate into the published
    softmax.
    """

    def __init__(
        self, dim: int, heads: int = 2, hidden: int = 64, activation: str = "silu"
    ) -> None:
        super().__init__()
        self.heads = heads
        size = heads * (OCCUPANCY_WIDTH + dim)
        self.receive = mlp([dim, hidden, size], activation)  # query and u
        self.send = mlp([dim, hidden, size], activation)  # key and v

    def occupancy(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        density: Tensor | None = None,
        context: Tensor | None = None,
        rows: slice = ALL,
        weight: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return a (g, heads, receiver, sender), and v and u (g, heads, cells, dim).

        ``rows`` are the receivers in a and u.
        """
        mask = _everyone(x) if mask is None else mask
        sizes = [OCCUPANCY_WIDTH, x.shape[-1]]
        query, u = _split_heads(self.receive(x[:, rows]), self.heads).split(sizes, -1)
        key, v = _split_heads(self.send(x), self.heads).split(sizes, -1)
        if context is not None:
            key = key[context]
            v = v[context]
        score = query @ key.transpose(-1, -2) / OCCUPANCY_WIDTH**0.5
        amount = _density_of_senders(x, density, context) / _n_senders(mask, context)
        score = score + torch.log(amount)[..., None]
        if weight is not None:
            score = score + _log_weight(weight, context)
        score = score.masked_fill(~_may_receive(mask, context, rows), -torch.inf)
        # The padded sender is nobody, with score 0.
        return F.pad(score, (1, 0)).softmax(-1)[..., 1:], v, u

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        density: Tensor | None = None,
        sender_weight: Tensor | None = None,
        context: Tensor | None = None,
        weight: Tensor | None = None,
    ) -> Tensor:  # (g, n, dim)
        """Return the message to each cell."""
        mask = _everyone(x) if mask is None else mask
        if sender_weight is not None and context is not None:
            sender_weight = sender_weight[context]

        def mix(rows: slice) -> Tensor:
            a, v, u = self.occupancy(x, mask, density, context, rows, weight)
            if sender_weight is not None:
                a = a * sender_weight[:, None, None, :]
            return (a @ v - a.sum(-1, keepdim=True) * u).sum(1)

        message = _in_blocks(mix, x.shape[1], width=self.heads * x.shape[0] * x.shape[1], axis=1)
        return message * _has_company(mask)

    def contributions(self, x: Tensor, density: Tensor | None = None) -> Tensor:
        """Part of the message to i that comes from j while all others are there.

        (groups, receiver, sender, dim); sums over j to :meth:`forward`.
        """
        a, v, u = self.occupancy(x, None, density)
        return torch.einsum("ghij,ghjd->gijd", a, v) - torch.einsum("ghij,ghid->gijd", a, u)


# ------------------------------------------------------------------------------------- who receives


def _everyone(x: Tensor) -> Tensor:  # (g, n)
    return torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)


def _may_receive(
    mask: Tensor, context: Tensor | None = None, rows: slice = ALL
) -> Tensor:  # (g, 1, rows or 1, n); True: i may receive from j
    if context is None:
        cells = torch.arange(mask.shape[1], device=mask.device)
        allowed = mask[:, None, :] & (cells[rows, None] != cells)
    else:  # somebody else's population: nobody there is oneself
        allowed = mask[context][:, None, :]
    # A softmax over nothing is NaN; such a message is dropped later.
    nobody = ~allowed.any(-1, keepdim=True)
    return (allowed | nobody)[:, None]


def _log_weight(weight: Tensor, context: Tensor | None) -> Tensor:  # (g, 1, 1, n)
    return (weight if context is None else weight[context]).log()[:, None, None]


def _n_senders(mask: Tensor, context: Tensor | None) -> Tensor:  # (g, 1, 1)
    """How many cells each cell can receive from, at least one."""
    n = mask.sum(1)
    n = n - 1 if context is None else n[context]
    return n.clamp_min(1)[:, None, None]


def _density_of_senders(
    x: Tensor, density: Tensor | None, context: Tensor | None = None
) -> Tensor:  # (g, 1, 1)
    density = x.new_ones(len(x)) if density is None else density
    density = density if context is None else density[context]
    return density[:, None, None]


def _has_company(mask: Tensor) -> Tensor:  # (g, 1, 1)
    return (mask.sum(1) > 1)[:, None, None]


def _split_heads(x: Tensor, heads: int) -> Tensor:  # (g, n, heads * d) -> (g, heads, n, d)
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


# ------------------------------------------------------------------------------------ the fast path


def _in_blocks(part: Callable[[slice], Tensor], n: int, *, width: int, axis: int) -> Tensor:
    """Concatenate ``part(rows)`` over blocks of the ``n`` receivers, ``width`` numbers each.

    At most PAIRS numbers a block. Gradients of more than one block compute each block again instead
    of keeping it.
    """
    size = max(1, PAIRS // width)
    if size >= n:
        return part(ALL)
    blocks = []
    for start in range(0, n, size):
        rows = slice(start, start + size)
        if torch.is_grad_enabled():
            blocks.append(checkpoint(part, rows, use_reentrant=False))
        else:
            blocks.append(part(rows))
    return torch.cat(blocks, axis)


def _fast_attention_on_cpu(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention of each cell to all others, (g, heads, n, d), without a number per pair.

    The same as a softmax over scores whose diagonal is minus infinity. Receivers are taken in
    reverse: then oneself lies on the other diagonal, where row i and column j have i + j = n - 1,
    and one line of numbers indexed by i + j, read as a matrix by strides, forbids exactly the pairs
    of that diagonal. Fused attention on a CPU reads such a view as it is; that of a GPU would want
    a copy.
    """
    n = query.shape[2]
    width = query.shape[-1]
    line = query.new_zeros(2 * n - 1)
    # A softmax over nothing is NaN; the message to a single cell is dropped later.
    line[n - 1] = -torch.inf if n > 1 else 0.0
    not_oneself = line.as_strided((1, 1, n, n), (0, 0, 1, 1))
    mixed = F.scaled_dot_product_attention(
        _whole_registers(query.flip(2)),
        _whole_registers(key),
        _whole_registers(value),
        attn_mask=not_oneself,
        scale=width**-0.5,
    )
    return mixed[..., :width].flip(2)


def _whole_registers(x: Tensor) -> Tensor:
    """Fill up with zeros, which change no product: whole registers of a CPU multiply faster."""
    return F.pad(x, (0, -x.shape[-1] % 16))
