"""The training loop: minimise a sum of losses, survive being killed, keep a mean of the weights.

All randomness of a step comes from the seed and the number of the step, so a run that was killed
and resumed gives the same weights as one that was not, and nothing but weights, optimiser and
history needs to be stored.
"""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm.auto import tqdm

from scimf.core.checkpoints import read_checkpoint, write_checkpoint

CHECKPOINT_EVERY = 100  #: steps
#: Given the number of a step, the terms of the loss before they are weighed.
Losses = Callable[[int], dict[str, torch.Tensor]]
#: Whether to show a bar; or what to call as ``progress(step, terms)`` after each step instead. An
#: exception from it ends the training.
Progress = bool | Callable[[int, dict[str, float]], None]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How to step with AdamW."""

    steps: int
    lr: float
    #: "hold": warm-up over the first tenth, flat, square-root decay over the last tenth to a tenth;
    #: "cosine": the same warm-up, then half a cosine to a tenth; "cosine_to_zero": half a cosine
    #: from the start; "step": times 0.9 every 100 steps.
    schedule: str = "hold"
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.0
    clip: float = 10.0  #: largest global gradient norm
    #: Decay of the running mean of the weights that is kept in the end; 0: the last weights.
    average: float = 0.0
    average_from_start: bool = False  #: False: early weights are soon forgotten
    weights: Mapping[str, float] = field(default_factory=dict)  #: of the terms of the loss; else 1
    advice: str = ""  #: what else to change if a number is not finite

    def rate(self, step: int) -> float:
        """Step size of step ``step`` over ``lr``."""
        if self.schedule == "step":
            return 0.9 ** (step // 100)
        if self.schedule == "cosine_to_zero":
            return 0.5 * (1 + math.cos(math.pi * step / self.steps))
        tenth = max(1, self.steps // 10)
        if step < tenth:
            return 0.01 + 0.99 * step / tenth
        if self.schedule == "cosine":
            done = (step - tenth) / max(1, self.steps - tenth)
            return 0.1 + 0.45 * (1 + math.cos(math.pi * done))
        done = max(0.0, (step - (self.steps - tenth)) / tenth)
        return 0.1 + 0.9 * (1 - math.sqrt(done))

    def decay(self, step: int) -> float:
        """Decay of the running mean at step ``step``."""
        if self.average_from_start:
            return self.average
        return min(self.average, (1 + step) / (10 + step))

    def total(self, terms: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Weighted sum of the terms of the loss; a weight of zero leaves a term out."""
        parts = []
        for name, term in terms.items():
            weight = self.weights.get(name, 1.0)
            if weight:
                parts.append(weight * term)
        return sum(parts)


@dataclass(frozen=True)
class Checkpoint:
    """Where a run is kept, the hash of all that decides its result, and what is kept with it."""

    path: Path
    identity: str
    about: Mapping[str, Any] = field(default_factory=dict)

    def is_finished(self) -> bool:
        """Whether the run has left its last checkpoint."""
        if not self.path.exists():
            return False
        content = read_checkpoint(self.path)
        return content["step"] == content["steps"]


def generator_of(seed: int, step: int) -> torch.Generator:
    """Return the generator (on the CPU) of one step of one run."""
    state = np.random.SeedSequence([seed, step]).generate_state(1)
    return torch.Generator().manual_seed(int(state[0]))


def optimise(
    module: nn.Module,
    losses: Losses,
    plan: Plan,
    *,
    groups: Sequence[dict] | None = None,
    checkpoint: Checkpoint | None = None,
    progress: Progress = True,
    label: str = "",
) -> dict[str, list[float]]:
    """Minimise the sum of the losses; the module then holds the final weights, in evaluation mode.

    Parameters
    ----------
    module, losses, plan
        What is trained, on what, and how.
    groups
        Parameters with settings of their own, as torch's optimisers take them.
    checkpoint
        What is there is read: a finished run is not repeated, an interrupted one goes on and gives
        the same numbers.
    progress, label
        See :data:`Progress`; the text of the bar.

    Returns
    -------
    dict
        Every term at every step.

    Raises
    ------
    FloatingPointError
        As soon as a term or the gradient is not finite; names the step and the term.
    ValueError, OSError
        If the checkpoint is damaged or of another run, or cannot be written.
    """
    optimiser = torch.optim.AdamW(
        groups or module.parameters(), lr=plan.lr, betas=plan.betas, weight_decay=plan.weight_decay
    )
    live = module.state_dict()  # shares its memory with the weights
    mean = live
    if plan.average:
        mean = {name: value.detach().clone() for name, value in live.items()}
    history: dict[str, list[float]] = {}
    first = 0
    if checkpoint is not None and checkpoint.path.exists():
        saved = read_checkpoint(checkpoint.path, checkpoint.identity)
        module.load_state_dict(saved["weights"])
        optimiser.load_state_dict(saved["optimiser"])
        for name, value in saved["mean"].items():
            mean[name].copy_(value)
        history = saved["history"]
        first = saved["step"]

    module.train()
    shown = progress is True and not os.environ.get("SCIMF_UNATTENDED")
    bar = tqdm(
        range(first, plan.steps), initial=first, total=plan.steps, disable=not shown, desc=label
    )
    for step in bar:
        terms = losses(step)
        optimiser.zero_grad()
        plan.total(terms).backward()
        norm = nn.utils.clip_grad_norm_(module.parameters(), plan.clip)
        values = {name: float(term.detach()) for name, term in terms.items()}
        _require_finite(values | {"gradient norm": float(norm)}, step, plan, label)
        for group in optimiser.param_groups:
            group["lr"] = plan.lr * plan.rate(step)
        optimiser.step()
        if plan.average:
            _update_mean(mean, live, plan.decay(step))
        for name, value in values.items():
            history.setdefault(name, []).append(value)
        bar.set_postfix({name: f"{value:.3g}" for name, value in values.items()}, refresh=False)
        done = step + 1
        if checkpoint is not None and (done % CHECKPOINT_EVERY == 0 or done == plan.steps):
            state = {"weights": live, "mean": mean, "optimiser": optimiser.state_dict()}
            about = {"identity": checkpoint.identity, "step": done, "steps": plan.steps}
            write_checkpoint(
                checkpoint.path, {**checkpoint.about, **state, **about, "history": history}
            )
        if callable(progress):
            progress(step, values)
    module.load_state_dict(mean)
    module.eval()
    return history


def _require_finite(values: dict[str, float], step: int, plan: Plan, label: str) -> None:
    for name, value in values.items():
        if not math.isfinite(value):
            advice = f"lower lr (now {plan.lr}){plan.advice}"
            raise FloatingPointError(f"{label}, step {step}: {name} is {value}; {advice}")


def _update_mean(
    mean: dict[str, torch.Tensor], live: dict[str, torch.Tensor], decay: float
) -> None:
    for name, value in live.items():
        if value.is_floating_point():
            mean[name].lerp_(value, 1 - decay)
        else:
            mean[name].copy_(value)
