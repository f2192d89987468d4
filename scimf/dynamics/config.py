"""Every setting of a fit of the interacting SDE, and the settings of the paper."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from scimf.core.config import Config
from scimf.core.files import read_toml
from scimf.core.optimise import Plan


@dataclass(frozen=True, kw_only=True)
class SDEConfig(Config):
    """Every setting of a fit. The defaults are recommended; :meth:`paper` gives the paper's."""

    #: "additive", "occupancy" (mass-aware attention), "attention" (published) or "none"
    interaction: str = "additive"
    #: intrinsic drift: "free", "relaxing" (plus a learned decay) or "potential" (minus a gradient)
    drift: str = "free"
    #: model times at which the intrinsic drift may change, as a medium does; (): never
    stages: tuple[float, ...] = ()
    hidden: tuple[int, ...] = (64, 64)  #: hidden layers of the intrinsic drift
    activation: str = "silu"  #: "silu" or "leaky_relu" (published)
    rank: int = 8  #: signals in the additive interaction
    hidden_interaction: int = 64  #: hidden layer of receivers and senders, additive and occupancy
    heads: int = 2  #: heads of attention and occupancy
    layers: int = 1  #: attention blocks, chained without residuals
    dropout: float = 0.0  #: on attention weights, training only
    #: "constant", "per_dimension" (learned), "state" (learned) or "none" (an ODE)
    diffusion: str = "constant"
    #: constant, or start of the learned diffusion; model units per square root of model time
    sigma: float = 0.1
    #: "real" (model time 1 = median gap between times) or "index" (rank of the time, published)
    time: str = "real"
    #: each interval from its own observed snapshot ("segment"), or one roll-out from "t0"
    #: (published)
    start: str = "segment"
    dt: float = 0.2  #: largest Euler-Maruyama step, in model time
    #: centre, and divide all coordinates by one number (their mean s.d.); False: published
    rescale: bool = True
    loss: str = "energy"  #: "energy", "ot", "debiased_ot" or "sinkhorn" (published)
    data_weight: float = 1.0  #: lambda of the paper, weight of the loss between clouds
    #: of the mean kinetic energy per unit of time; 1 in the published code
    kinetic_weight: float = 0.0
    #: of the mean squared interaction drift: what may be intrinsic drift then is intrinsic drift
    interaction_weight: float = 0.0
    batch_cells: int = 128  #: simulated cells per group and step
    #: observed cells per group and step; None: all of them (published)
    target_cells: int | None = 256
    batch_groups: int | None = 16  #: groups (population x interval) per step; None: all of them
    steps: int = 400  #: optimiser steps
    lr: float = 3e-3  #: Adam step size
    schedule: str = "cosine"  #: "cosine" to zero, or "step": x 0.9 every 100 steps (published)
    clip: float = 1.0  #: largest global gradient norm; 0.1 in the published code
    #: decay of the running mean of the weights that is kept in the end; 0: the last weights
    average: float = 0.0
    #: net rate of division: "none", one for each "type", by the "state" of a cell, or by its state
    #: and what it hears from others ("heard")
    growth: str = "none"
    #: of the mean squared growth rate: what may have moved then has not multiplied. Where rates are
    #: known (``obs["known_growth"]``), of what differs from these: the larger, the more they count
    growth_weight: float = 0.01
    mass_weight: float = 1.0  #: of the squared error of the logarithm of totals, where known
    #: decoupled weight decay of the interaction (AdamW, Loshchilov & Hutter 2019)
    interaction_decay: float = 0.0
    #: train the additive form on what is received beyond the average; the model is the same
    centred: bool = False
    warm_steps: int = 0  #: first steps by flow matching instead of the loss; needs start="segment"

    def __post_init__(self) -> None:
        """Refuse what would fail later, naming the setting and its choices."""
        self.require_one_of("interaction", ("additive", "occupancy", "attention", "none"))
        self.require_one_of("drift", ("free", "relaxing", "potential"))
        self.require_one_of("activation", ("leaky_relu", "silu"))
        self.require_one_of("diffusion", ("constant", "per_dimension", "state", "none"))
        self.require_one_of("time", ("real", "index"))
        self.require_one_of("start", ("segment", "t0"))
        self.require_one_of("loss", ("energy", "ot", "debiased_ot", "sinkhorn"))
        self.require_one_of("schedule", ("cosine", "step"))
        self.require_one_of("growth", ("none", "type", "state", "heard"))
        self.require_positive(
            "rank", "heads", "layers", "batch_cells", "steps", "dt", "lr", "sigma"
        )
        if not 0 <= self.average < 1:
            self._refuse("average", "expected a number from 0 to below 1")
        if self.centred and self.interaction != "additive":
            self._refuse("centred", f'needs interaction="additive", not {self.interaction!r}')
        if not self.interaction_decay >= 0:
            self._refuse("interaction_decay", "expected a number from 0")
        if self.growth != "none" and (self.loss != "energy" or self.warm_steps):
            self._refuse("growth", 'needs loss="energy" and no warm_steps')
        if self.warm_steps and self.start != "segment":
            self._refuse("warm_steps", f'needs start="segment", not start={self.start!r}')
        if list(self.stages) != sorted(self.stages):
            self._refuse("stages", "expected increasing model times")
        for name in ("hidden", "stages"):
            object.__setattr__(self, name, tuple(getattr(self, name)))

    @classmethod
    def paper(cls, **changes) -> Self:
        """Return the configuration of the scIMF paper's code: 119,748 parameters at 50 components.

        It is in ``published.toml``, with what the source leaves open.
        """
        settings = {"target_cells": None, "batch_groups": None}  # TOML has no word for none
        settings |= read_toml(Path(__file__).with_name("published.toml"))
        return cls(**(settings | changes))

    def plan(self) -> Plan:
        """Return how the optimiser steps under these settings."""
        return Plan(
            steps=self.steps,
            lr=self.lr,
            schedule="step" if self.schedule == "step" else "cosine_to_zero",
            betas=(0.9, 0.999),
            clip=self.clip,
            average=self.average,
            average_from_start=True,
            weights={
                "data": self.data_weight,
                "kinetic": self.kinetic_weight,
                "interaction": self.interaction_weight,
                "growth": self.growth_weight,
                "mass": self.mass_weight,
            },
            advice=f" or dt (now {self.dt})",
        )

    def _refuse(self, name: str, reason: str) -> None:
        raise ValueError(f"SDEConfig.{name}: {reason}, got {getattr(self, name)!r}")
