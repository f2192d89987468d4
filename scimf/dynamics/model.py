r"""The interacting neural SDE.

For the cells :math:`x_1, \dots, x_N` of one population with law :math:`\mu` and relative density
:math:`s`,

.. math:: \mathrm{d}x_i = \bigl[f_\text{intrinsic}(x_i)
          + f_\text{interaction}(x_i, \mu, s)\bigr]\,\mathrm{d}t + \sigma(x_i)\,\mathrm{d}W_i .

Where cells divide and die, each simulated cell stands for :math:`w_i` cells, with
:math:`\mathrm{d} \log w_i = g(x_i, \mu, s)\,\mathrm{d}t`; they count in :math:`\mu` with their
weights (notebook 06).

Shapes: several populations are one batch, ``x`` (groups, cells, dim) with ``mask`` (groups, cells)
that is ``False`` on padding and ``density`` (groups,). Cells receive from their own group only, and
never from themselves. Derived in notebook 02.
"""

from bisect import bisect_left
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scimf.dynamics.config import SDEConfig
from scimf.dynamics.interactions import (
    AdditiveInteraction,
    CellAttention,
    OccupancyInteraction,
    mlp,
)

ROUNDING = 1e-4  #: of model times that are sums of steps


class _IntrinsicDrift(nn.Module):
    r"""What a cell does by itself. (…, dim) -> (…, dim).

    ``"free"``: an MLP of its state. ``"relaxing"``: that minus :math:`\gamma \odot x`, rates
    learned from zero: what is no longer made decays. ``"potential"``: :math:`-\nabla \Psi(x)` of an
    MLP with one output, the drift of the potential-gradient family (PRESCIENT, Yeo et al. 2021;
    PI-SDE). With ``stages`` the network is told, one-hot, between which of these model times it is:
    whatever all populations do alike at one time then is intrinsic drift.
    """

    def __init__(self, dim: int, config: SDEConfig) -> None:
        super().__init__()
        self.kind = config.drift
        times = torch.tensor(config.stages, dtype=torch.float32)
        self.register_buffer("stages", times, persistent=False)  # they are in the settings
        n_in = dim + len(times) + 1 if len(times) else dim
        n_out = 1 if self.kind == "potential" else dim
        self.net = mlp([n_in, *config.hidden, n_out], config.activation)
        self.rate = nn.Parameter(torch.zeros(dim)) if self.kind == "relaxing" else None

    def forward(self, x: Tensor, time: Tensor | None = None) -> Tensor:
        """Drift of each cell; ``time`` (groups,), the model time, is needed with ``stages``."""
        stage = self._stage(x, time)
        if self.kind == "potential":
            return self._minus_gradient(x, stage)
        drift = self.net(torch.cat([x, *stage], -1))
        return drift if self.rate is None else drift - self.rate * x

    def _stage(self, x: Tensor, time: Tensor | None) -> list[Tensor]:
        """Return the stage of each cell, one-hot, as a list of no or one tensor."""
        if not len(self.stages):
            return []
        if time is None:
            changes = "this intrinsic drift changes with time (SDEConfig.stages)"
            raise ValueError(f"{changes}: pass the model time of each group")
        stage = torch.bucketize(time.to(self.stages) + ROUNDING, self.stages, right=True)
        one_hot = F.one_hot(stage, len(self.stages) + 1).to(x)
        return [one_hot[:, None].expand(*x.shape[:-1], -1)]

    def _minus_gradient(self, x: Tensor, stage: list[Tensor]) -> Tensor:
        keep = torch.is_grad_enabled()
        with torch.enable_grad():
            x = x if x.requires_grad else x.detach().requires_grad_()
            potential = self.net(torch.cat([x, *stage], -1)).sum()
            return -torch.autograd.grad(potential, x, create_graph=keep)[0]


class _Diffusion(nn.Module):
    """Diagonal noise: constant, learned per dimension or from the state, or none."""

    def __init__(self, dim: int, config: SDEConfig) -> None:
        super().__init__()
        self.kind = config.diffusion
        log_sigma = torch.full((dim,), float(config.sigma)).log()
        if self.kind == "per_dimension":
            self.log_sigma = nn.Parameter(log_sigma)
        else:
            self.register_buffer("log_sigma", log_sigma)
        if self.kind == "state":
            self.net = mlp([dim, 32, dim], "silu")
            nn.init.zeros_(self.net[-1].weight)  # starts as the constant
            nn.init.zeros_(self.net[-1].bias)

    def forward(self, x: Tensor) -> Tensor:
        """Noise amplitude per square root of model time."""
        if self.kind == "none":
            return torch.zeros_like(x)
        log_sigma = self.log_sigma
        if self.kind == "state":
            log_sigma = log_sigma + self.net(x).clamp(-5, 5)
        return log_sigma.exp().expand_as(x)


class _Growth(nn.Module):
    """Net rate of division per unit of model time; from zero everywhere.

    One for each ``"type"``, or of the ``"state"`` of a cell, or also of what it hears (``"heard"``,
    an additive interaction with one output).
    """

    def __init__(self, dim: int, config: SDEConfig, n_types: int) -> None:
        super().__init__()
        self.rate = nn.Parameter(torch.zeros(n_types)) if config.growth == "type" else None
        self.net = self.heard = None
        last = []
        if config.growth != "type":
            self.net = mlp([dim, *config.hidden, 1], config.activation)
            last.append(self.net[-1])
        if config.growth == "heard":
            sizes = {"rank": config.rank, "hidden": config.hidden_interaction, "n_out": 1}
            self.heard = AdditiveInteraction(dim, activation=config.activation, **sizes)
            last.append(self.heard.receive[-1])
        for layer in last:
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        density: Tensor | None = None,
        weight: Tensor | None = None,
        kind: Tensor | None = None,
        context: Tensor | None = None,
    ) -> Tensor:  # (groups, cells)
        """Rate of each cell; ``kind`` (groups, cells) is the number of its type."""
        if self.rate is not None:
            return self.rate[kind]
        rate = self.net(x)
        if self.heard is not None:
            rate = rate + self.heard(x, mask, density, context=context, weight=weight)
        return rate[..., 0]


class InteractingSDE(nn.Module):
    """Intrinsic drift + interaction drift + diffusion, and growth; in model units.

    See ``SDEConfig.rescale`` and ``SDEConfig.time`` for the units. ``n_types`` is needed for growth
    by type.
    """

    def __init__(self, dim: int, config: SDEConfig, n_types: int = 0) -> None:
        super().__init__()
        self.dim = dim
        self.centred = config.centred
        self.intrinsic = _IntrinsicDrift(dim, config)
        self.interaction = nn.ModuleList(_interaction_blocks(dim, config))
        self.diffusion = _Diffusion(dim, config)
        self.growth = None if config.growth == "none" else _Growth(dim, config, n_types)

    def intrinsic_drift(self, x: Tensor, time: Tensor | None = None) -> Tensor:
        """Return what each cell does by itself, (groups, cells, dim).

        ``time`` (groups,) as in :class:`_IntrinsicDrift`. If ``centred``, the network has learned
        the drift of a cell in the average population; what it receives there is taken off.
        """
        drift = self.intrinsic(x, time)
        return drift - self.interaction[0].usual_message(x) if self.centred else drift

    def interaction_drift(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        density: Tensor | None = None,
        sender_weight: Tensor | None = None,
        context: Tensor | None = None,
        weight: Tensor | None = None,
    ) -> Tensor:
        """Return what each cell receives from others, (groups, cells, dim); zero if "none".

        Arguments as in :mod:`scimf.dynamics.interactions`.
        """
        if not self.interaction:
            return torch.zeros_like(x)
        for block in self.interaction:  # published: block l + 1 sees only the message of block l
            x = block(x, mask, density, sender_weight, context, weight)
        return x

    def drift(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        density: Tensor | None = None,
        context: Tensor | None = None,
        time: Tensor | None = None,
        weight: Tensor | None = None,
    ) -> Tensor:
        """Intrinsic plus interaction part, (groups, cells, dim)."""
        others = {"context": context, "weight": weight}
        if self.centred:
            message = self.interaction[0](x, mask, density, **others, centred=True)
            return self.intrinsic(x, time) + message
        return self.intrinsic_drift(x, time) + self.interaction_drift(x, mask, density, **others)


def _interaction_blocks(dim: int, config: SDEConfig) -> list[nn.Module]:
    hidden = config.hidden_interaction
    if config.interaction == "attention":
        return [CellAttention(dim, config.heads, config.dropout) for _ in range(config.layers)]
    if config.interaction == "additive":
        return [AdditiveInteraction(dim, config.rank, hidden, config.activation)]
    if config.interaction == "occupancy":
        return [OccupancyInteraction(dim, config.heads, hidden, config.activation)]
    return []


def matched_config(dim: int, config: SDEConfig) -> SDEConfig:
    """Return settings without interaction, the intrinsic drift widened to as many parameters (1 %).

    Raises
    ------
    ValueError
        If no width comes that near.
    """

    def of_width(width: int) -> SDEConfig:
        hidden = (width,) * len(config.hidden)
        growth = "state" if config.growth == "heard" else config.growth
        changes = {"interaction": "none", "centred": False, "growth": growth}
        return replace(config, hidden=hidden, **changes)

    def distance(width: int) -> int:
        return _n_parameters(dim, of_width(width)) - target

    target = _n_parameters(dim, config)
    enough = bisect_left(range(target), 0, lo=1, key=distance)
    width = min(max(enough - 1, 1), enough, key=lambda width: abs(distance(width)))
    if abs(distance(width)) > 0.01 * target:
        near = f"nearest: {target + distance(width)}"
        reason = f"no width gives {target} parameters within 1 % ({near})"
        raise ValueError(f"{reason}; add a hidden layer")
    return of_width(width)


def _n_parameters(dim: int, config: SDEConfig) -> int:
    """Trainable parameters."""
    with torch.device("meta"):  # they are counted, not made
        sde = InteractingSDE(dim, config)
    return sum(p.numel() for p in sde.parameters() if p.requires_grad)
