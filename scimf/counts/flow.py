r"""From noise to latent tokens: flow matching with a guided diffusion transformer (scLDM).

With :math:`Z_0 \sim N(0, I)`, data :math:`Z_1` and :math:`Z_t = (1-t) Z_0 + t Z_1`, a network
learns the velocity :math:`E[Z_1 - Z_0 \mid Z_t, y]`; integrating it from 0 to 1 turns noise into
data. Conditions :math:`y` are integer labels (cells, conditions); the label after the last one of
a condition means "unknown", and the velocity without any known label is the unconditional one.
Derived in notebook 08.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from scimf.core.config import Config
from scimf.counts.blocks import EPS, ModulatedBlock

GUIDANCES = ("joint", "additive")
SOLVERS = ("euler", "heun", "dopri5")
FREQUENCIES = 256  #: width of the sinusoids of the time
TOLERANCE = 1e-5  #: of a step of the adaptive solver, absolute and relative
#: Of latent tokens (cells, tokens, latent) and one time: like the tokens.
Velocity = Callable[[Tensor, float], Tensor]


@dataclass(frozen=True, kw_only=True)
class FlowConfig(Config):
    """Settings of a flow and its fit. The defaults train on two CPU cores in minutes."""

    width: int = 96  #: of a token inside the transformer
    blocks: int = 3
    heads: int = 4
    #: in training "joint": all conditions are known or none; "additive": one at a time or none
    guidance: str = "joint"
    #: probability that a cell's conditions are hidden; 0.8 in the published YAML
    drop: float = 0.1
    batch_cells: int = 128
    steps: int = 3000
    #: largest step size; warm-up over a tenth of the steps, then cosine to a tenth
    lr: float = 2e-3
    average: float = 0.999  #: decay of the running mean of the weights, which is what samples
    clip: float = 10.0

    def __post_init__(self) -> None:
        """Refuse what would fail later, naming the setting and its choices."""
        self.require_one_of("guidance", GUIDANCES)
        self.require_positive("width", "blocks", "heads", "batch_cells", "steps", "lr")
        if self.width % (2 * self.heads):
            self._refuse("width", f"expected a multiple of 2 * heads={2 * self.heads}")
        for name in ("drop", "average"):
            if not 0 <= getattr(self, name) < 1:
                self._refuse(name, "expected a number from 0 to below 1")

    def _refuse(self, name: str, reason: str) -> None:
        raise ValueError(f"FlowConfig.{name}: {reason}, got {getattr(self, name)!r}")


def _sinusoids(x: Tensor, width: int) -> Tensor:
    """Cosines, then sines of ``x`` (n,) at ``width / 2`` frequencies, 1 to 1/10000: (n, width)."""
    rates = torch.exp(-math.log(1e4) * torch.arange(width // 2, device=x.device) / (width // 2))
    angle = x[:, None].float() * rates
    return torch.cat([angle.cos(), angle.sin()], 1)


class DiffusionTransformer(nn.Module):
    """Velocity of latent tokens given time and labels; zero at the start of training.

    ``levels`` holds the number of values of each condition; label ``levels[c]`` is "unknown".
    """

    def __init__(self, tokens: int, latent: int, levels: Sequence[int], config: FlowConfig) -> None:
        super().__init__()
        width = config.width
        self.levels = tuple(levels)
        self.config = config
        self.project_in = nn.Linear(latent, width)
        position = _sinusoids(torch.arange(tokens), width).roll(width // 2, 1)
        self.register_buffer("position", position, persistent=False)
        self.time_embedding = nn.Sequential(
            nn.Linear(FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width)
        )
        self.label_embeddings = nn.ModuleList([nn.Embedding(n + 1, width) for n in self.levels])
        blocks = [ModulatedBlock(width, config.heads) for _ in range(config.blocks)]
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(width, eps=EPS, elementwise_affine=False)
        self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width))
        self.project_out = nn.Linear(width, latent)
        self._initialise()

    def _initialise(self) -> None:
        """Start as published: every block is the identity, the velocity is zero."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for part in (*self.label_embeddings, self.time_embedding[0], self.time_embedding[2]):
            nn.init.normal_(part.weight, std=0.02)
        modulations = [block.modulation[1] for block in self.blocks]
        for part in (self.project_out, self.modulation[1], *modulations):
            nn.init.zeros_(part.weight)
            nn.init.zeros_(part.bias)

    def forward(self, z: Tensor, time: Tensor, labels: Tensor) -> Tensor:
        """Return the velocity, like ``z`` (n, tokens, latent).

        ``time`` (n,) from 0 to 1, ``labels`` (n, conditions).
        """
        condition = self.time_embedding(_sinusoids(time, FREQUENCIES))  # (n, width)
        for embedding, label in zip(self.label_embeddings, labels.T, strict=True):
            condition = condition + embedding(label)
        x = self.project_in(z) + self.position
        for block in self.blocks:
            x = block(x, condition)
        shift, scale = self.modulation(condition)[:, None].chunk(2, -1)
        return self.project_out(self.norm(x) * (1 + scale) + shift)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.position.device

    def unconditional(self, n: int) -> Tensor:
        """Labels (n, conditions) of which none is known."""
        return torch.tensor(self.levels, device=self.device).expand(n, -1)

    def loss(self, z: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        """Mean squared error of the velocity at random times between fresh noise and data ``z``."""
        noise = torch.randn(z.shape, generator=generator).to(z)
        time = torch.rand(len(z), generator=generator).to(z)
        labels = self.hide_labels(labels, generator)
        t = time[:, None, None]
        velocity = self((1 - t) * noise + t * z, time, labels)
        return (velocity - (z - noise)).square().mean()

    def hide_labels(self, labels: Tensor, generator: torch.Generator) -> Tensor:
        """Labels (n, conditions) as training shows them.

        All or none if joint; one condition of each cell, or none, if additive.
        """
        n, conditions = labels.shape
        hidden = torch.rand(n, 1, generator=generator) < self.config.drop
        if self.config.guidance == "additive" and conditions:
            shown = torch.randint(conditions, (n, 1), generator=generator)
            hidden = hidden | (torch.arange(conditions) != shown)
        return torch.where(hidden.to(labels.device), self.unconditional(n), labels)

    def guided(self, labels: Tensor, weight: float, kind: str = "joint") -> Velocity:
        r"""Velocity with classifier-free guidance of strength :math:`\omega` (``weight``).

        ``"joint"``: :math:`v_\emptyset + \omega\,(v_y - v_\emptyset)`, all conditions known
        together. ``"additive"``: :math:`v_\emptyset + \omega \sum_c (v_{y_c} - v_\emptyset)`, each
        known alone.
        Weight 0 is the unconditional field, and weight 1 the conditional one if joint.
        """
        if kind not in GUIDANCES:
            raise ValueError(f"kind: expected one of {GUIDANCES}, got {kind!r}")
        unconditional = self.unconditional(len(labels))
        parts = [labels]
        if kind == "additive":
            columns = torch.arange(labels.shape[1], device=labels.device)
            parts = [torch.where(columns == c, labels, unconditional) for c in columns]

        def velocity(z: Tensor, time: float) -> Tensor:
            t = torch.full((len(z),), float(time), device=z.device)
            if weight == 1 and len(parts) == 1:
                return self(z, t, parts[0])
            base = self(z, t, unconditional)
            if weight == 0:
                return base
            return base + weight * sum(self(z, t, part) - base for part in parts)

        return velocity


@torch.no_grad()
def integrate(
    velocity: Velocity, z: Tensor, *, solver: str = "heun", evaluations: int = 20
) -> Tensor:
    """Carry ``z`` from time 0 to 1 and return it.

    ``"euler"`` takes ``evaluations`` equal steps, ``"heun"`` half as many of two evaluations each,
    so that solvers are compared at equal cost; ``"dopri5"`` (torchdiffeq) adapts its steps to an
    error of 1e-5 each and ignores ``evaluations``. A ``ValueError`` if the solver is unknown, or
    there are too few evaluations for one step.
    """
    if solver not in SOLVERS:
        raise ValueError(f"solver: expected one of {SOLVERS}, got {solver!r}")
    if solver == "dopri5":
        from torchdiffeq import odeint

        ends = torch.tensor([0.0, 1.0], device=z.device)
        options = {"atol": TOLERANCE, "rtol": TOLERANCE, "method": "dopri5"}
        return odeint(lambda time, state: velocity(state, float(time)), z, ends, **options)[-1]
    per_step = 2 if solver == "heun" else 1
    steps = evaluations // per_step
    if steps < 1:
        raise ValueError(f"evaluations: expected at least {per_step}, got {evaluations}")
    h = 1 / steps
    for k in range(steps):
        slope = velocity(z, k * h)
        if solver == "heun":
            slope = (slope + velocity(z + h * slope, (k + 1) * h)) / 2
        z = z + h * slope
    return z
