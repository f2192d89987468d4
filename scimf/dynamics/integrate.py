"""Simulate populations through time: Euler-Maruyama, the paths of ``torchsde``."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from scimf.dynamics.model import InteractingSDE

MOST = 12.0  #: size of the log of a weight: cells that make each other divide would have no end


@dataclass(frozen=True)
class Groups:
    """What is known of each group of a batch; everything may be left out.

    Attributes
    ----------
    mask
        (groups, cells), ``False`` on padding.
    density
        (groups,), relative density of the population.
    context
        (groups,), the group from which each group receives; itself if omitted.
    start_time
        (groups,), model time of the start; only an intrinsic drift with ``stages`` asks for it.
    kind
        (groups, cells), number of the type of each cell; only growth by type asks for it.
    known_growth
        (groups, cells), the rate of division that growth is priced from; 0 if omitted.
    """

    mask: Tensor | None = None
    density: Tensor | None = None
    context: Tensor | None = None
    start_time: Tensor | None = None
    kind: Tensor | None = None
    known_growth: Tensor | None = None

    def only(self, rows: Tensor) -> "Groups":
        """Return what is known of some of the groups."""
        known = {name: value[rows] for name, value in vars(self).items() if value is not None}
        return Groups(**known)


class Paths(NamedTuple):
    """Where cells are after each interval, (intervals, groups, cells, ...)."""

    states: Tensor  #: (..., dim)
    energy: Tensor  #: kinetic, since the start: the integral of |f|^2 dt, times the weight
    weight: Tensor  #: cells that each stands for; 1 at the start, and without growth
    growth: Tensor  #: the integral of g^2 dt (g less what is known of it), times the weight


def roll_out(
    sde: InteractingSDE,
    x: Tensor,
    gaps: Tensor,
    *,
    dt: float,
    groups: Groups = Groups(),
    generator: torch.Generator | None = None,
) -> Paths:
    """Simulate populations through consecutive intervals; the paths are those of ``torchsde``.

    Parameters
    ----------
    sde
        The model.
    x
        Start, (groups, cells, dim).
    gaps
        Length of each interval in model time, (intervals, groups). A group takes ``gap / dt``
        steps, rounded to an integer and at least one, so steps may differ in size. Where groups
        receive from other groups (``context``), all take as many steps as the one with the longest
        way.
    dt
        Largest step.
    groups
        What is known of each group.
    generator
        Source of the noise; on the device of ``x``.
    """
    n_steps = (gaps.double() / dt).round().clamp_min(1)  # (intervals, groups)
    if groups.context is not None:
        n_steps = n_steps.amax(1, keepdim=True).expand_as(n_steps)
    ways, way_of = n_steps.unique(dim=1, return_inverse=True)
    rows, found = [], []
    for way, counts in enumerate(ways.int().T.tolist()):  # nobody waits for the longest way
        mine = (way_of == way).nonzero()[:, 0]
        rows.append(mine)
        together = (sde, x[mine], gaps[:, mine], counts, groups.only(mine), generator)
        found.append(_roll_out_together(*together))
    order = torch.cat(rows).argsort()
    return Paths(*(torch.cat(parts, 1)[:, order] for parts in zip(*found, strict=True)))


def _roll_out_together(
    sde: InteractingSDE,
    x: Tensor,
    gaps: Tensor,
    n_steps: list[int],
    groups: Groups,
    generator: torch.Generator | None,
) -> Paths:
    """Simulate groups that take equally many steps."""
    growth = getattr(sde, "growth", None)
    options = {}  # a drift that is written in a notebook need not know of these
    if groups.context is not None:
        options["context"] = groups.context
    if groups.start_time is not None:
        options["time"] = groups.start_time.to(x)
    energy = x.new_zeros(x.shape[:2])
    weight = x.new_ones(x.shape[:2])
    grown = x.new_zeros(x.shape[:2])
    found = []
    for gap, n in zip(gaps.to(x), n_steps, strict=True):
        h = (gap / n)[:, None, None]  # (groups, 1, 1)
        for _ in range(n):
            if growth is not None:
                options["weight"] = weight
            drift = sde.drift(x, groups.mask, groups.density, **options)
            noise = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)
            energy = energy + weight * drift.square().sum(-1) * h[..., 0]
            if growth is not None:
                rate = growth(x, groups.mask, groups.density, weight, groups.kind, groups.context)
                priced = rate if groups.known_growth is None else rate - groups.known_growth
                grown = grown + weight * priced.square() * h[..., 0]
                more = (rate * h[..., 0]).clamp(-MOST, MOST).exp()
                weight = (weight * more).clamp(math.exp(-MOST), math.exp(MOST))
            x = x + drift * h + sde.diffusion(x) * h.sqrt() * noise
            if "time" in options:
                options["time"] = options["time"] + h[:, 0, 0]
        found.append((x, energy, weight, grown))
    return Paths(*(torch.stack(parts) for parts in zip(*found, strict=True)))
