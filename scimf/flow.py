r"""From noise to latent tokens: flow matching with a diffusion transformer, guided by any number of conditions (scLDM).

With :math:`Z_0 \sim N(0, I)`, data :math:`Z_1` and :math:`Z_t = (1-t) Z_0 + t Z_1`, a network learns the velocity
:math:`E[Z_1 - Z_0 \mid Z_t, y]`; integrating it from 0 to 1 turns noise into data. Conditions :math:`y` are integer
labels (cells, classes); the label after the last one of a class means "not told". Derived in notebook 09.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields

import torch
from torch import nn

from scimf.counts import Attention, SwiGLU, hidden_width

GUIDANCES = ("joint", "additive")
SOLVERS = ("euler", "heun", "dopri5")
FREQUENCIES = 256  #: width of the sinusoids that tell the time
Velocity = Callable[[torch.Tensor, float], torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class FlowConfig:
    """Every setting of a flow and its fit. The defaults train on two CPU cores in minutes."""

    width: int = 96  #: of a token inside the transformer
    blocks: int = 3
    heads: int = 4
    guidance: str = "joint"  #: "joint": all conditions are told or none; "additive": one at a time or none
    drop: float = 0.1  #: probability that a cell's conditions are not told; 0.8 in the published YAML
    batch_cells: int = 128
    steps: int = 3000
    lr: float = 2e-3  #: largest step size; warm-up over a tenth of the steps, then cosine to a tenth
    average: float = 0.999  #: decay of the running mean of the weights, which is what samples
    clip: float = 10.0

    def __post_init__(self) -> None:
        """Refuse what would fail later, naming the setting and its choices."""
        if self.guidance not in GUIDANCES:
            raise ValueError(f"FlowConfig.guidance: expected one of {GUIDANCES}, got {self.guidance!r}")
        for key in ("width", "blocks", "heads", "batch_cells", "steps", "lr"):
            if not getattr(self, key) > 0:
                raise ValueError(f"FlowConfig.{key}: expected a positive number, got {getattr(self, key)!r}")
        if self.width % (2 * self.heads):
            raise ValueError(f"FlowConfig.width: expected a multiple of 2 * heads={2 * self.heads}, got {self.width}")
        for key in ("drop", "average"):
            if not 0 <= getattr(self, key) < 1:
                raise ValueError(f"FlowConfig.{key}: expected a number from 0 to below 1, got {getattr(self, key)!r}")

    def to_dict(self) -> dict:
        """Plain values, for checkpoints and records."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict) -> "FlowConfig":
        """Inverse of :meth:`to_dict`; unknown keys are an error."""
        unknown = set(values) - {f.name for f in fields(cls)}
        if unknown:
            raise ValueError(f"FlowConfig: unknown settings {sorted(unknown)}")
        return cls(**values)


def n_flow_parameters(latent: int, levels: Sequence[int], config: FlowConfig) -> int:
    """Return the closed form for the trained parameters; the position code is frozen and does not count."""
    d, h = config.width, hidden_width(config.width)
    blocks = config.blocks * (4 * d * d + 4 * d + 3 * d * h + 6 * d * d + 6 * d)
    ends = (FREQUENCIES * d + d + d * d + d) + (latent * d + d) + (d * latent + latent + 2 * d * d + 2 * d)
    return blocks + ends + d * sum(n + 1 for n in levels)


def sinusoids(x: torch.Tensor, width: int) -> torch.Tensor:
    """Cosines, then sines of ``x`` (n,) at ``width / 2`` frequencies from 1 down to 1/10000: (n, width)."""
    rates = torch.exp(-math.log(1e4) * torch.arange(width // 2, device=x.device) / (width // 2))
    angle = x[:, None].float() * rates
    return torch.cat([angle.cos(), angle.sin()], 1)


class _Block(nn.Module):
    """Self-attention and SwiGLU, each shifted, scaled and gated by the conditions; the identity at the start."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-8, elementwise_affine=False)
        self.attention, self.mlp = Attention(width, heads, bias=True), SwiGLU(width)
        self.modulate = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))

    def forward(self, x: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = self.modulate(told)[:, None].chunk(6, -1)
        y = self.norm(x) * (1 + scale_a) + shift_a
        x = x + gate_a * self.attention(y, y)
        return x + gate_m * self.mlp(self.norm(x) * (1 + scale_m) + shift_m)


class DiffusionTransformer(nn.Module):
    """Velocity of latent tokens (n, tokens, latent) at time t (n,) given labels (n, classes); zero at the start.

    ``levels`` holds the number of values of each condition; label ``levels[c]`` is "not told".
    """

    def __init__(self, tokens: int, latent: int, levels: Sequence[int], config: FlowConfig) -> None:
        super().__init__()
        d, self.levels, self.config = config.width, tuple(levels), config
        self.enter = nn.Linear(latent, d)
        self.register_buffer("place", sinusoids(torch.arange(tokens), d).roll(d // 2, 1), persistent=False)
        self.clock = nn.Sequential(nn.Linear(FREQUENCIES, d), nn.SiLU(), nn.Linear(d, d))
        self.tables = nn.ModuleList([nn.Embedding(n + 1, d) for n in self.levels])
        self.blocks = nn.ModuleList([_Block(d, config.heads) for _ in range(config.blocks)])
        self.norm = nn.LayerNorm(d, eps=1e-8, elementwise_affine=False)
        self.modulate, self.leave = nn.Sequential(nn.SiLU(), nn.Linear(d, 2 * d)), nn.Linear(d, latent)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for part in (*self.tables, self.clock[0], self.clock[2]):
            nn.init.normal_(part.weight, std=0.02)
        for part in (self.leave, self.modulate[1], *(block.modulate[1] for block in self.blocks)):
            nn.init.zeros_(part.weight), nn.init.zeros_(part.bias)

    def forward(self, z: torch.Tensor, time: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the velocity, like ``z``."""
        told = self.clock(sinusoids(time, FREQUENCIES))
        for table, label in zip(self.tables, labels.T, strict=True):
            told = told + table(label)
        x = self.enter(z) + self.place
        for block in self.blocks:
            x = block(x, told)
        shift, scale = self.modulate(told)[:, None].chunk(2, -1)
        return self.leave(self.norm(x) * (1 + scale) + shift)

    def untold(self, n: int) -> torch.Tensor:  # (n, classes)
        """Labels that tell nothing."""
        return torch.tensor(self.levels, device=self.enter.weight.device).expand(n, -1)


def hide_labels(
    labels: torch.Tensor, levels: Sequence[int], config: FlowConfig, generator: torch.Generator
) -> torch.Tensor:
    """Labels as training shows them, (n, classes): all or none if joint; one class a cell, or none, if additive."""
    n, classes = labels.shape
    hidden = torch.rand(n, 1, generator=generator) < config.drop
    if config.guidance == "additive" and classes:
        chosen = torch.randint(classes, (n, 1), generator=generator)
        hidden = hidden | (torch.arange(classes) != chosen)
    return torch.where(hidden.to(labels.device), torch.tensor(levels, device=labels.device), labels)


def flow_loss(
    model: DiffusionTransformer, z: torch.Tensor, labels: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    """Mean squared error of the velocity at random times between data ``z`` (n, tokens, latent) and fresh noise."""
    noise = torch.randn(z.shape, generator=generator).to(z)
    time = torch.rand(len(z), generator=generator).to(z)
    labels = hide_labels(labels, model.levels, model.config, generator)
    t = time[:, None, None]
    return (model((1 - t) * noise + t * z, time, labels) - (z - noise)).square().mean()


def guided(model: DiffusionTransformer, labels: torch.Tensor, weight: float, kind: str = "joint") -> Velocity:
    r"""Velocity with classifier-free guidance of strength :math:`\omega` (``weight``).

    ``"joint"``: :math:`v_\emptyset + \omega\,(v_y - v_\emptyset)`, all conditions told together. ``"additive"``:
    :math:`v_\emptyset + \omega \sum_c (v_{y_c} - v_\emptyset)`, each told alone. Weight 0 is the unconditional field,
    and weight 1 the conditional one if joint.
    """
    if kind not in GUIDANCES:
        raise ValueError(f"kind: expected one of {GUIDANCES}, got {kind!r}")
    untold = model.untold(len(labels))
    told = [labels]
    if kind == "additive":
        columns = torch.arange(labels.shape[1], device=labels.device)
        told = [torch.where(columns == c, labels, untold) for c in columns]

    def velocity(z: torch.Tensor, time: float) -> torch.Tensor:
        at = torch.full((len(z),), float(time), device=z.device)
        if weight == 1 and len(told) == 1:
            return model(z, at, told[0])
        null = model(z, at, untold)
        if weight == 0:
            return null
        return null + weight * sum(model(z, at, part) - null for part in told)

    return velocity


@torch.no_grad()
def integrate(
    velocity: Velocity, z: torch.Tensor, *, solver: str = "heun", evaluations: int = 20, tolerance: float = 1e-5
) -> torch.Tensor:
    """Carry ``z`` from time 0 to 1 and return it.

    ``"euler"`` takes ``evaluations`` equal steps, ``"heun"`` half as many of two evaluations each, so that solvers are
    compared at equal cost; ``"dopri5"`` (torchdiffeq) adapts its steps to ``tolerance`` and ignores ``evaluations``.
    """
    if solver == "dopri5":
        from torchdiffeq import odeint

        ends = torch.tensor([0.0, 1.0], device=z.device)
        return odeint(lambda t, y: velocity(y, float(t)), z, ends, atol=tolerance, rtol=tolerance, method="dopri5")[-1]
    if solver not in SOLVERS:
        raise ValueError(f"solver: expected one of {SOLVERS}, got {solver!r}")
    steps = evaluations if solver == "euler" else evaluations // 2
    if steps < 1:
        raise ValueError(f"evaluations: expected at least {2 if solver == 'heun' else 1}, got {evaluations}")
    h = 1 / steps
    for k in range(steps):
        slope = velocity(z, k * h)
        if solver == "heun":
            slope = (slope + velocity(z + h * slope, (k + 1) * h)) / 2
        z = z + h * slope
    return z
