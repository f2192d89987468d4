r"""The interacting neural SDE.

For the cells :math:`x_1, \dots, x_N` of one population with law :math:`\mu` and relative density :math:`s`,

.. math:: \mathrm{d}x_i = \bigl[f_\text{own}(x_i) + f_\text{heard}(x_i, \mu, s)\bigr]\,\mathrm{d}t
          + \sigma(x_i)\,\mathrm{d}W_i .

Shapes: several populations are one batch, ``x`` (groups, cells, dim) with ``mask`` (groups, cells) that is ``False`` on
padding and ``density`` (groups,). Cells hear only their own group, and never themselves. Derived in notebook 02.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields

import torch
from torch import nn
from torch.nn import functional as F

from scimf.interactions import ACTIVATIONS, AdditiveInteraction, CellAttention, Mask, OccupancyInteraction, mlp

INTERACTIONS = ("additive", "occupancy", "attention", "none")
DRIFTS = ("free", "relaxing", "potential")
DIFFUSIONS = ("constant", "per_dimension", "state", "none")


@dataclass(frozen=True, kw_only=True)
class SDEConfig:
    """Every setting of a fit. The defaults are the recommended configuration; :func:`published` is the paper's."""

    interaction: str = "additive"  #: "additive", "occupancy" (mass-aware attention), "attention" (published) or "none"
    drift: str = "free"  #: own drift: "free", "relaxing" (plus a learned decay) or "potential" (minus a gradient)
    stages: tuple[float, ...] = ()  #: model times at which the own drift may change, as a medium does; (): never
    hidden: tuple[int, ...] = (64, 64)  #: hidden layers of the own drift
    activation: str = "silu"  #: "silu" or "leaky_relu" (published)
    rank: int = 8  #: signals in the additive interaction
    hidden_interaction: int = 64  #: hidden layer of receivers and senders, additive and occupancy
    heads: int = 2  #: heads of attention and occupancy
    layers: int = 1  #: attention blocks, chained without residuals
    dropout: float = 0.0  #: on attention weights, training only
    diffusion: str = "constant"  #: "constant", "per_dimension" (learned), "state" (learned) or "none" (an ODE)
    sigma: float = 0.1  #: constant, or start of the learned diffusion; model units per square root of model time
    time: str = "real"  #: "real" (model time 1 = median gap between times) or "index" (rank of the time, published)
    start: str = "segment"  #: each interval from its own observed snapshot, or one roll-out from "t0" (published)
    dt: float = 0.2  #: largest Euler-Maruyama step, in model time
    rescale: bool = True  #: centre, and divide all coordinates by one number (their mean s.d.); False: published
    loss: str = "energy"  #: "energy", "ot", "debiased_ot" or "sinkhorn" (published)
    data_weight: float = 1.0  #: lambda of the paper, weight of the loss between clouds
    kinetic_weight: float = 0.0  #: weight of the mean kinetic energy per unit of time; 1 in the published code
    heard_weight: float = 0.0  #: weight of the mean squared heard drift: what may be own drift then is own drift
    batch_cells: int = 128  #: simulated cells per group and step
    target_cells: int | None = 256  #: observed cells per group and step; None: all of them (published)
    batch_groups: int | None = 16  #: groups (population x interval) per step; None: all of them
    steps: int = 400  #: optimiser steps
    lr: float = 3e-3  #: Adam step size
    schedule: str = "cosine"  #: "cosine" to zero, or "step": x 0.9 every 100 steps (published)
    clip: float = 1.0  #: largest global gradient norm; 0.1 in the published code
    average: float = 0.0  #: decay of the running mean of the weights that is kept in the end; 0: the last weights
    heard_decay: float = 0.0  #: decoupled weight decay of the interaction (AdamW, Loshchilov & Hutter 2019)
    centred: bool = False  #: train the additive form on what is heard beyond the average; the model is the same
    warm_steps: int = 0  #: first steps by flow matching instead of the loss; needs start="segment"

    def __post_init__(self) -> None:
        """Refuse what would fail later, naming the setting and its choices."""
        choices = {
            "interaction": INTERACTIONS,
            "drift": DRIFTS,
            "activation": tuple(ACTIVATIONS),
            "diffusion": DIFFUSIONS,
            "time": ("real", "index"),
            "start": ("segment", "t0"),
            "loss": ("energy", "ot", "debiased_ot", "sinkhorn"),
            "schedule": ("cosine", "step"),
        }
        for key, allowed in choices.items():
            if getattr(self, key) not in allowed:
                raise ValueError(f"SDEConfig.{key}: expected one of {allowed}, got {getattr(self, key)!r}")
        for key in ("rank", "heads", "layers", "batch_cells", "steps", "dt", "lr", "sigma"):
            if not getattr(self, key) > 0:
                raise ValueError(f"SDEConfig.{key}: expected a positive number, got {getattr(self, key)!r}")
        if not 0 <= self.average < 1:
            raise ValueError(f"SDEConfig.average: expected a number from 0 to below 1, got {self.average!r}")
        if self.centred and self.interaction != "additive":
            raise ValueError(f'SDEConfig.centred: needs interaction="additive", got {self.interaction!r}')
        if not self.heard_decay >= 0:
            raise ValueError(f"SDEConfig.heard_decay: expected a number from 0, got {self.heard_decay!r}")
        if self.warm_steps and self.start != "segment":
            raise ValueError(f'SDEConfig.warm_steps: needs start="segment", got start={self.start!r}')
        if list(self.stages) != sorted(self.stages):
            raise ValueError(f"SDEConfig.stages: expected increasing model times, got {self.stages!r}")
        for key in ("hidden", "stages"):
            object.__setattr__(self, key, tuple(getattr(self, key)))

    def to_dict(self) -> dict:
        """Plain values, for checkpoints and records."""
        return asdict(self) | {"hidden": list(self.hidden), "stages": list(self.stages)}

    @classmethod
    def from_dict(cls, values: dict) -> "SDEConfig":
        """Inverse of :meth:`to_dict`; unknown keys are an error."""
        unknown = set(values) - {f.name for f in fields(cls)}
        if unknown:
            raise ValueError(f"SDEConfig: unknown settings {sorted(unknown)}")
        return cls(**values)


def published(**changes) -> SDEConfig:
    """Return the configuration of the scIMF paper's code: 119,748 parameters at 50 principal components.

    Two settings are undecided by the source: lambda (``data_weight``: 1 by default, 0.5 in the name of a result folder)
    and the checkpoint that was evaluated (here the last step).
    """
    settings = {
        "interaction": "attention", "hidden": (256, 256), "activation": "leaky_relu", "heads": 2, "layers": 1,
        "dropout": 0.1, "diffusion": "constant", "sigma": 0.1, "time": "index", "start": "t0", "dt": 0.1,
        "rescale": False,
        "loss": "sinkhorn", "data_weight": 1.0, "kinetic_weight": 1.0, "batch_cells": 512, "target_cells": None,
        "batch_groups": None, "steps": 3000, "lr": 1e-3, "schedule": "step", "clip": 0.1,
    }  # fmt: skip
    return SDEConfig(**(settings | changes))


class IntrinsicDrift(nn.Module):
    r"""What a cell does by itself, ``f_own``. (…, dim) -> (…, dim).

    ``"free"``: an MLP of its state. ``"relaxing"``: that minus :math:`\gamma \odot x`, rates learned from zero: what is
    no longer made decays. ``"potential"``: :math:`-\nabla \Psi(x)` of an MLP with one output, the drift of the
    potential-gradient family (PRESCIENT, Yeo et al. 2021; PI-SDE). With ``stages`` the network is told, one-hot,
    between which of these model times it is: whatever all populations do alike at one time then is own drift.
    """

    def __init__(
        self,
        dim: int,
        hidden: Sequence[int] = (256, 256),
        activation: str = "leaky_relu",
        kind: str = "free",
        stages: Sequence[float] = (),
    ) -> None:
        super().__init__()
        self.kind = kind
        self.register_buffer("stages", torch.tensor(stages, dtype=torch.float32), persistent=False)  # in the settings
        self.net = mlp([_inputs(dim, stages), *hidden, 1 if kind == "potential" else dim], activation)
        self.rate = nn.Parameter(torch.zeros(dim)) if kind == "relaxing" else None

    def forward(self, x: torch.Tensor, time: Mask = None) -> torch.Tensor:
        """Drift of each cell; ``time`` (groups,), the model time of each group, is needed with ``stages``."""
        told = []
        if len(self.stages):
            if time is None:
                raise ValueError(
                    "this own drift changes with time (SDEConfig.stages): pass the model time of each group"
                )
            stage = torch.bucketize(time.to(self.stages) + 1e-4, self.stages, right=True)  # 1e-4: rounding of the steps
            told = [F.one_hot(stage, len(self.stages) + 1).to(x)[:, None].expand(*x.shape[:-1], -1)]
        if self.kind != "potential":
            made = self.net(torch.cat([x, *told], -1))
            return made if self.rate is None else made - self.rate * x
        keep = torch.is_grad_enabled()
        with torch.enable_grad():
            x = x if x.requires_grad else x.detach().requires_grad_()
            return -torch.autograd.grad(self.net(torch.cat([x, *told], -1)).sum(), x, create_graph=keep)[0]


def _inputs(dim: int, stages: Sequence[float]) -> int:
    return dim + (len(stages) + 1 if len(stages) else 0)


class Diffusion(nn.Module):
    """Diagonal noise, (…, dim) -> (…, dim): constant, learned per dimension, learned from the state, or none."""

    def __init__(self, dim: int, kind: str = "constant", sigma: float = 0.1) -> None:
        super().__init__()
        if kind not in DIFFUSIONS:
            raise ValueError(f"Diffusion: expected one of {DIFFUSIONS}, got {kind!r}")
        self.kind = kind
        log_sigma = torch.full((dim,), float(sigma)).log()
        if kind == "per_dimension":
            self.log_sigma = nn.Parameter(log_sigma)
        else:
            self.register_buffer("log_sigma", log_sigma)
        if kind == "state":
            self.net = mlp([dim, 32, dim], "silu")
            nn.init.zeros_(self.net[-1].weight)  # starts as the constant
            nn.init.zeros_(self.net[-1].bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Noise amplitude per square root of model time."""
        if self.kind == "none":
            return torch.zeros_like(x)
        log_sigma = self.log_sigma + self.net(x).clamp(-5, 5) if self.kind == "state" else self.log_sigma
        return log_sigma.exp().expand_as(x)


class InteractingSDE(nn.Module):
    """Own drift + heard drift + diffusion, in model units (see ``SDEConfig.rescale`` and ``SDEConfig.time``)."""

    def __init__(self, dim: int, config: SDEConfig) -> None:
        super().__init__()
        self.dim, self.centred = dim, config.centred
        self.intrinsic = IntrinsicDrift(dim, config.hidden, config.activation, config.drift, config.stages)
        if config.interaction == "attention":
            blocks = [CellAttention(dim, config.heads, config.dropout) for _ in range(config.layers)]
        elif config.interaction == "additive":
            blocks = [AdditiveInteraction(dim, config.rank, config.hidden_interaction, config.activation)]
        elif config.interaction == "occupancy":
            blocks = [OccupancyInteraction(dim, config.heads, config.hidden_interaction, config.activation)]
        else:
            blocks = []
        self.interaction = nn.ModuleList(blocks)
        self.diffusion = Diffusion(dim, config.diffusion, config.sigma)

    def own(self, x: torch.Tensor, time: Mask = None) -> torch.Tensor:
        """Return what each cell does by itself, (groups, cells, dim); ``time`` (groups,) as in IntrinsicDrift.

        If ``centred``, the network has learned the drift of a cell in the average population; what it hears there goes.
        """
        own = self.intrinsic(x, time)
        return own - self.interaction[0].usually(x) if self.centred else own

    def heard(
        self, x: torch.Tensor, mask: Mask = None, density: Mask = None, speak: Mask = None, hears: Mask = None
    ) -> torch.Tensor:
        """Return what each cell hears, (groups, cells, dim); zero if "none".

        From the others of its group, or from the cells of group ``hears[g]`` (groups,): what would it hear elsewhere?
        """
        if not self.interaction:
            return torch.zeros_like(x)
        for block in self.interaction:  # published form: block l + 1 sees only the message of block l
            x = block(x, mask, density, speak, hears)
        return x

    def drift(
        self,
        x: torch.Tensor,
        mask: Mask = None,
        density: Mask = None,
        speak: Mask = None,
        hears: Mask = None,
        time: Mask = None,
    ) -> torch.Tensor:
        """Own plus heard part, (groups, cells, dim)."""
        if self.centred:
            return self.intrinsic(x, time) + self.interaction[0](x, mask, density, speak, hears, centred=True)
        return self.own(x, time) + self.heard(x, mask, density, speak, hears)


def n_parameters(module: nn.Module) -> int:
    """Trainable parameters."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def widened_twin(dim: int, config: SDEConfig) -> SDEConfig:
    """Return the configuration without interaction, own drift widened to the same parameter count within 1 %."""
    target = n_parameters(InteractingSDE(dim, config))
    depth = len(config.hidden)

    def count(width: int) -> int:
        sizes = [_inputs(dim, config.stages), *[width] * depth, dim]
        rates = dim if config.drift == "relaxing" else 0
        return rates + sum((a + 1) * b for a, b in zip(sizes[:-1], sizes[1:], strict=True))

    width = min(range(1, target), key=lambda w: abs(count(w) - target))
    values = config.to_dict() | {"interaction": "none", "hidden": [width] * depth, "centred": False}
    twin = SDEConfig.from_dict(values)
    found = n_parameters(InteractingSDE(dim, twin))
    if abs(found - target) > 0.01 * target:
        raise ValueError(f"no width gives {target} parameters within 1 % (nearest: {found}); add a hidden layer")
    return twin


# -------------------------------------------------------------------------------------------- integration


def _of(rows: torch.Tensor, value: Mask) -> Mask:
    return None if value is None else value[rows]


def roll_out(
    sde: InteractingSDE,
    x: torch.Tensor,
    gaps: torch.Tensor,
    *,
    dt: float,
    mask: Mask = None,
    density: Mask = None,
    hears: Mask = None,
    begin: Mask = None,
    generator: torch.Generator | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Simulate populations through consecutive intervals by Euler-Maruyama; the paths are those of ``torchsde``.

    Parameters
    ----------
    sde
        The model.
    x
        Start, (groups, cells, dim).
    gaps
        Length of each interval in model time, (intervals, groups); a group takes ``gap / dt`` steps, rounded to an
        integer and at least one, so steps may differ in size. (With ``hears`` all take as many as the longest gap.)
    dt
        Largest step.
    mask, density, hears
        (groups, cells), (groups,) and (groups,), see :meth:`InteractingSDE.heard`.
    begin
        (groups,) model time of the start; only an own drift with ``stages`` asks for it.
    generator
        Source of the noise; on the device of ``x``.

    Returns
    -------
    states, energy
        (intervals, groups, cells, dim) after each interval, and (intervals, groups, cells), the kinetic energy
        accumulated since the start, the integral of |f|^2 dt.
    """
    crowd = {"mask": mask, "density": density, "begin": begin}
    counts, kind = (gaps.double() / dt).round().clamp_min(1).unique(dim=1, return_inverse=True)  # of steps
    if counts.shape[1] > 1 and hears is None:  # nobody waits for the group with the longest way
        rows = [(kind == k).nonzero()[:, 0] for k in range(counts.shape[1])]
        parts = [
            roll_out(sde, x[r], gaps[:, r], dt=dt, generator=generator, **{k: _of(r, v) for k, v in crowd.items()})
            for r in rows
        ]
        back = torch.cat(rows).argsort()
        return tuple(torch.cat(part, 1)[:, back] for part in zip(*parts, strict=True))
    steps, elsewhere = [int(n) for n in counts.amax(1)], {} if hears is None else {"hears": hears}
    energy, states, energies = x.new_zeros(x.shape[:2]), [], []
    now = None if begin is None else begin.to(x)
    for gap, n in zip(gaps.to(x), steps, strict=True):
        h = (gap / n)[:, None, None]  # (g, 1, 1)
        for _ in range(n):
            time = {} if now is None else {"time": now}  # a drift written in a notebook need not know of either
            drift = sde.drift(x, mask, density, **elsewhere, **time)
            noise = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)
            energy = energy + drift.square().sum(-1) * h[..., 0]
            x = x + drift * h + sde.diffusion(x) * h.sqrt() * noise
            now = None if now is None else now + h[:, 0, 0]
        states.append(x), energies.append(energy)
    return torch.stack(states), torch.stack(energies)
