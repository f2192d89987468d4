r"""What a cell receives from others: the published attention, and two forms read by sender.

All layers take ``x`` (groups, cells, dim), one group a population at one time, and return a message
to every cell of the same shape. Their other arguments, all optional, are

- ``mask`` (groups, cells): ``False`` on padding;
- ``density`` (groups,): relative density of each population;
- ``sender_weight`` (groups, cells): how much each sender counts, **with the normaliser kept**; 0 is
  silence;
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
        query = self._split_heads(self.query(u))
        key = self._split_heads(self.key(u))
        value = self._split_heads(self.value(self.norm_v(x)))
        return query, key, value

    def _split_heads(self, x: Tensor) -> Tensor:  # (g, n, dim) -> (g, heads, n, dim / heads)
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def weights(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Attention of receiver i (row) on sender j (column), (groups, heads, cells, cells)."""
        query, key, _ = self.project(x)
        score = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
        return score.masked_fill(~_may_receive(x, mask, None), -torch.inf).softmax(-1)

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        density: Tensor | None = None,
        sender_weight: Tensor | None = None,
        context: Tensor | None = None,
    ) -> Tensor:  # (g, n, dim)
        """Return the message to each cell; a population of one cell gets none."""
        query, key, value = self.project(x)
        if sender_weight is not None:
            value = value * sender_weight[:, None, :, None]
        if context is not None:
            key = key[context]
            value = value[context]
        dropout = self.dropout if self.training else 0.0

        def mix(rows: slice) -> Tensor:
            allowed = _may_receive(x, mask, context, rows)
            return F.scaled_dot_product_attention(
                query[:, :, rows], key, value, attn_mask=allowed, dropout_p=dropout
            )

        plain = mask is None and context is None and not dropout
        if plain and x.device.type == "cpu":
            mixed = _fast_attention_on_cpu(query, key, value)
        else:
            mixed = _in_blocks(mix, x.shape[1], width=x.shape[0] * x.shape[1], axis=2)
        message = self.feed_forward(self.norm_out(mixed.transpose(1, 2).flatten(-2)))
        return message * _has_company(x, mask)


class AdditiveInteraction(nn.Module):
    r"""Low-rank pairwise messages: the receiver decides the direction, the sender how much it says.

    .. math:: f_\text{interaction}(x_i) = s \sum_{r=1}^{R} q_r(x_i)\,
              \frac{1}{N-1} \sum_{j \ne i} v_r(x_j) ,
              \qquad q_r(x) \in \mathbb{R}^d,\; v_r(x) \in \mathbb{R} .

    The contribution of each sender is exact, the cost is linear in the number of cells.
    """

    def __init__(self, dim: int, rank: int = 8, hidden: int = 64, activation: str = "silu") -> None:
        super().__init__()
        self.rank = rank
        self.receive = mlp([dim, hidden, rank * dim], activation)
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
        *,
        centred: bool = False,
    ) -> Tensor:  # (g, n, dim)
        """Return the message to each cell, if ``centred`` less :meth:`usual_message`."""
        sent = self.send(x)  # (g, n, rank)
        if sender_weight is not None:
            sent = sent * sender_weight[..., None]
        if mask is not None:
            sent = sent * mask[..., None]
        if context is None:  # (g, n, rank), oneself excluded
            received = (sent.sum(1, keepdim=True) - sent) / _n_others(x, mask)
        else:
            received = sent.sum(1, keepdim=True)[context] / _n_cells(x, mask, context)
            density = None if density is None else density[context]
        received = received.expand(-1, x.shape[1], -1)
        if not centred:
            return self._answer(x, received) * _as_column(density) * _has_company(x, mask)
        received = received * _as_column(density) * _has_company(x, mask)
        if self.training:
            self._update_usual(received.detach(), mask)
        return self._answer(x, received - self.usual)

    def _answer(self, x: Tensor, received: Tensor) -> Tensor:
        # (g, n, dim), (g, n, rank) -> (g, n, dim)
        def answer(rows: slice) -> Tensor:
            directions = self.receive(x[:, rows]).unflatten(
                -1, (self.rank, -1)
            )  # (g, rows, rank, dim)
            # A product a cell is slow as a batch of products.
            return (directions * received[:, rows, :, None]).sum(2)

        return _in_blocks(answer, x.shape[1], width=x.shape[0] * self.rank * x.shape[2], axis=1)

    @torch.no_grad()
    def _update_usual(self, received: Tensor, mask: Tensor | None) -> None:
        if mask is None:
            mean = received.mean((0, 1))
        else:
            mean = (received * mask[..., None]).sum((0, 1)) / mask.sum()
        self.usual.lerp_(mean, MEAN_RATE)

    def usual_message(self, x: Tensor) -> Tensor:  # (g, n, dim)
        """Message to each cell in the average training population; zero unless centred."""
        return self._answer(x, self.usual.expand(*x.shape[:2], -1))

    def contributions(self, x: Tensor, density: Tensor | None = None) -> Tensor:
        """Exact part of the message to i that comes from j, (groups, receiver, sender, dim).

        Sums over j to :meth:`forward`. Quadratic in the number of cells.
        """
        n = x.shape[1]
        directions = self.receive(x).unflatten(-1, (self.rank, -1))
        pairs = torch.einsum("gird,gjr->gijd", directions, self.send(x))
        others = 1 - torch.eye(n, dtype=x.dtype, device=x.device)
        pairs = pairs * others[None, :, :, None] / max(n - 1, 1)
        return pairs if density is None else pairs * density[:, None, None, None]


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
        self.width = OCCUPANCY_WIDTH
        size = heads * (self.width + dim)
        self.receive = mlp([dim, hidden, size], activation)  # query and u
        self.send = mlp([dim, hidden, size], activation)  # key and v

    def occupancy(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        density: Tensor | None = None,
        context: Tensor | None = None,
        rows: slice = ALL,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return a (g, heads, receiver, sender), and v and u (g, heads, cells, dim).

        ``rows`` are the receivers in a and u.
        """
        query, u = self._split_heads(self.receive(x[:, rows]), x.shape[-1])
        key, v = self._split_heads(self.send(x), x.shape[-1])
        size = _n_others(x, mask)
        if context is not None:
            key = key[context]
            v = v[context]
            density = None if density is None else density[context]
            size = _n_cells(x, mask, context)
        score = query @ key.transpose(-1, -2) / self.width**0.5
        amount = torch.as_tensor(_as_column(density) / size, dtype=x.dtype, device=x.device)
        score = score + torch.log(amount)[..., None]
        score = score.masked_fill(~_may_receive(x, mask, context, rows), -torch.inf)
        # The padded sender is nobody, with score 0.
        return F.pad(score, (1, 0)).softmax(-1)[..., 1:], v, u

    def _split_heads(self, x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
        parts = x.unflatten(-1, (self.heads, -1)).transpose(1, 2).split([self.width, dim], -1)
        return parts[0], parts[1]

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        density: Tensor | None = None,
        sender_weight: Tensor | None = None,
        context: Tensor | None = None,
    ) -> Tensor:  # (g, n, dim)
        """Return the message to each cell."""
        counted = None
        if sender_weight is not None:
            counted = sender_weight if context is None else sender_weight[context]
            counted = counted[:, None, None, :]

        def mix(rows: slice) -> Tensor:
            a, v, u = self.occupancy(x, mask, density, context, rows)
            if counted is not None:
                a = a * counted.to(a.dtype)
            return (a @ v - a.sum(-1, keepdim=True) * u).sum(1)

        message = _in_blocks(mix, x.shape[1], width=self.heads * x.shape[0] * x.shape[1], axis=1)
        return message * _has_company(x, mask)

    def contributions(self, x: Tensor, density: Tensor | None = None) -> Tensor:
        """Part of the message to i that comes from j while all others are there.

        (groups, receiver, sender, dim); sums over j to :meth:`forward`.
        """
        a, v, u = self.occupancy(x, None, density)
        return torch.einsum("ghij,ghjd->gijd", a, v) - torch.einsum("ghij,ghid->gijd", a, u)


# ------------------------------------------------------------------------------------- who receives


def _may_receive(
    x: Tensor, mask: Tensor | None, context: Tensor | None, rows: slice = ALL
) -> Tensor:  # (g or 1, 1, rows, n); True: i may receive from j
    senders = torch.arange(x.shape[1], device=x.device)
    if context is None:
        allowed = (senders[rows, None] != senders)[None]
        present = mask
    else:  # somebody else's population: nobody there is oneself
        shape = (1, len(senders[rows]), len(senders))
        allowed = torch.ones(shape, dtype=torch.bool, device=x.device)
        present = None if mask is None else mask[context]
    if present is not None:
        allowed = allowed & present[:, None, :]
    # A softmax over nothing is NaN; such a message is dropped later.
    nobody = ~allowed.any(-1, keepdim=True)
    return (allowed | nobody)[:, None]


def _n_others(x: Tensor, mask: Tensor | None) -> Tensor | float:  # (g, 1, 1)
    """How many cells each cell can receive from in its own population."""
    if mask is None:
        return float(max(x.shape[1] - 1, 1))
    return (mask.sum(1) - 1).clamp_min(1).to(x.dtype)[:, None, None]


def _n_cells(x: Tensor, mask: Tensor | None, context: Tensor) -> Tensor | int:  # (g, 1, 1)
    """How many cells there are in the population that each group receives from."""
    if mask is None:
        return x.shape[1]
    return mask.sum(1).clamp_min(1).to(x.dtype)[context, None, None]


def _has_company(x: Tensor, mask: Tensor | None) -> Tensor | float:  # (g, 1, 1)
    if mask is None:
        return float(x.shape[1] > 1)
    return (mask.sum(1) > 1).to(x.dtype)[:, None, None]


def _as_column(density: Tensor | None) -> Tensor | float:
    return 1.0 if density is None else density[:, None, None]


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
