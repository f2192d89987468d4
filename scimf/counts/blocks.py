"""Blocks of transformers: attention between sets of tokens, plain and shifted by a condition."""

from torch import Tensor, nn
from torch.nn import functional as F

EPS = 1e-8  #: of every LayerNorm, as published


class _SwiGLU(nn.Module):
    r""":math:`W_o(\mathrm{SiLU}(W_1 x) \odot W_2 x)`, no biases; (…, width) -> (…, width)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = -(-int(8 * width / 3) // 4) * 4  # 8/3 of the width, up to a multiple of 4
        self.gate = nn.Linear(width, hidden, bias=False)
        self.value = nn.Linear(width, hidden, bias=False)
        self.out = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        return self.out(F.silu(self.gate(x)) * self.value(x))


class _Attention(nn.Module):
    """Multi-head attention of queries (b, q, width) to a context (b, k, width).

    A batch of 1 is broadcast against the other. ``mask`` (b, k) is ``False`` on padding.
    """

    def __init__(self, width: int, heads: int, bias: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width, bias=bias)
        self.key = nn.Linear(width, width, bias=bias)
        self.value = nn.Linear(width, width, bias=bias)
        self.out = nn.Linear(width, width, bias=bias)

    def forward(self, x: Tensor, context: Tensor, mask: Tensor | None = None) -> Tensor:
        n = max(len(x), len(context))
        query = self._by_head(self.query(x), n)
        key = self._by_head(self.key(context), n)
        value = self._by_head(self.value(context), n)
        allowed = None if mask is None else mask[:, None, None, :]
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=allowed)
        return self.out(mixed.transpose(1, 2).flatten(-2))  # (b, q, width)

    def _by_head(self, x: Tensor, n: int) -> Tensor:
        """(1 or n, tokens, width) -> (n, heads, tokens, width / heads)."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2).expand(n, -1, -1, -1)


class AttentionBlock(nn.Module):
    r"""Queries :math:`S` gather from a context :math:`X`; pre-norm, with residuals (MCAB of scLDM).

    .. math:: F = S + \mathrm{MHA}(\mathrm{LN}(S), \mathrm{LN}(X)), \qquad
              F + \mathrm{MLP}(\mathrm{LN}(F)) .

    With learned queries it pools a set, whatever its order; with one query per gene it answers in
    the order of the queries; without a context the queries attend to each other. Without
    ``norm_context`` it enters as it is, :math:`X` for :math:`\mathrm{LN}(X)`.
    """

    def __init__(self, width: int, heads: int, norm_context: bool = False) -> None:
        super().__init__()
        self.norm_query = nn.LayerNorm(width, eps=EPS)
        self.norm_mlp = nn.LayerNorm(width, eps=EPS)
        self.norm_context = nn.LayerNorm(width, eps=EPS) if norm_context else nn.Identity()
        self.attention = _Attention(width, heads)
        self.mlp = _SwiGLU(width)

    def forward(
        self, query: Tensor, context: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """Return (b, q, width) for queries (1 or b, q, width) and a context (b, k, width).

        ``mask`` (b, k) is ``False`` on padding, which is not attended to.
        """
        normed = self.norm_query(query)
        context = normed if context is None else self.norm_context(context)
        x = query + self.attention(normed, context, mask)
        return x + self.mlp(self.norm_mlp(x))


class ModulatedBlock(nn.Module):
    """Self-attention, shifted, scaled and gated by a condition (of a diffusion transformer).

    Once the modulation is set to zero, as at the start of training, it is the identity (adaLN-Zero,
    Peebles & Xie 2023).
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=EPS, elementwise_affine=False)
        self.attention = _Attention(width, heads, bias=True)
        self.mlp = _SwiGLU(width)
        self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Return tokens like ``x`` (b, tokens, width) given a condition (b, width)."""
        parts = self.modulation(condition)[:, None].chunk(6, -1)  # six of (b, 1, width)
        shift_attention, scale_attention, gate_attention, shift_mlp, scale_mlp, gate_mlp = parts
        y = self.norm(x) * (1 + scale_attention) + shift_attention
        x = x + gate_attention * self.attention(y, y)
        return x + gate_mlp * self.mlp(self.norm(x) * (1 + scale_mlp) + shift_mlp)
