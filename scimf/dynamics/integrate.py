"""Simulate populations through time: Euler-Maruyama, the paths of ``torchsde``."""

from dataclasses import dataclass

import torch
from torch import Tensor

from scimf.dynamics.model import InteractingSDE


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
    """

    mask: Tensor | None = None
    density: Tensor | None = None
    context: Tensor | None = None
    start_time: Tensor | None = None

    def only(self, rows: Tensor) -> "Groups":
        """Return what is known of some of the groups."""
        known = {name: value[rows] for name, value in vars(self).items() if value is not None}
        return Groups(**known)


def roll_out(
    sde: InteractingSDE,
    x: Tensor,
    gaps: Tensor,
    *,
    dt: float,
    groups: Groups = Groups(),
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
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

    Returns
    -------
    states, energy
        (intervals, groups, cells, dim) after each interval, and (intervals, groups, cells), the
        kinetic energy accumulated since the start, the integral of |f|^2 dt.
    """
    n_steps = (gaps.double() / dt).round().clamp_min(1)  # (intervals, groups)
    if groups.context is not None:
        n_steps = n_steps.amax(1, keepdim=True).expand_as(n_steps)
    ways, way_of = n_steps.unique(dim=1, return_inverse=True)
    rows, states, energies = [], [], []
    for way, counts in enumerate(ways.int().T.tolist()):  # nobody waits for the longest way
        mine = (way_of == way).nonzero()[:, 0]
        found = _roll_out_together(
            sde, x[mine], gaps[:, mine], counts, groups.only(mine), generator
        )
        rows.append(mine)
        states.append(found[0])
        energies.append(found[1])
    order = torch.cat(rows).argsort()
    return torch.cat(states, 1)[:, order], torch.cat(energies, 1)[:, order]


def _roll_out_together(
    sde: InteractingSDE,
    x: Tensor,
    gaps: Tensor,
    n_steps: list[int],
    groups: Groups,
    generator: torch.Generator | None,
) -> tuple[Tensor, Tensor]:
    """Simulate groups that take equally many steps."""
    options = {}  # a drift that is written in a notebook need not know of these
    if groups.context is not None:
        options["context"] = groups.context
    if groups.start_time is not None:
        options["time"] = groups.start_time.to(x)
    energy = x.new_zeros(x.shape[:2])
    states, energies = [], []
    for gap, n in zip(gaps.to(x), n_steps, strict=True):
        h = (gap / n)[:, None, None]  # (groups, 1, 1)
        for _ in range(n):
            drift = sde.drift(x, groups.mask, groups.density, **options)
            noise = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)
            energy = energy + drift.square().sum(-1) * h[..., 0]
            x = x + drift * h + sde.diffusion(x) * h.sqrt() * noise
            if "time" in options:
                options["time"] = options["time"] + h[:, 0, 0]
        states.append(x)
        energies.append(energy)
    return torch.stack(states), torch.stack(energies)
