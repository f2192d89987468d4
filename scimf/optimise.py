"""A training loop that survives being killed: one loss a step, checkpoints, a running mean of the weights."""

import ast
import hashlib
import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm.auto import tqdm

from scimf.checkpoints import read_checkpoint, write_checkpoint

CHECKPOINT_EVERY = 100  #: steps
Losses = Callable[[torch.Generator], dict[str, torch.Tensor]]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How to step: AdamW with a warm-up over the first tenth."""

    steps: int
    lr: float
    schedule: str = "hold"  #: "hold": flat, then square-root decay over the last tenth; "cosine"; both to a tenth
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.0
    clip: float = 10.0  #: largest global gradient norm
    average: float = 0.0  #: decay of the running mean of the weights that is kept in the end; 0: the last weights

    def rate(self, step: int) -> float:
        """Step size of step ``step`` over ``lr``."""
        tenth = max(1, self.steps // 10)
        if step < tenth:
            return 0.01 + 0.99 * step / tenth
        if self.schedule == "cosine":
            done = (step - tenth) / max(1, self.steps - tenth)
            return 0.1 + 0.45 * (1 + math.cos(math.pi * done))
        done = max(0.0, (step - (self.steps - tenth)) / tenth)
        return 0.1 + 0.9 * (1 - math.sqrt(done))


def optimise(
    module: nn.Module,
    losses: Losses,
    plan: Plan,
    *,
    seed: int,
    identity: str,
    path: Path | None = None,
    progress: bool = True,
    label: str = "",
    on_step: Callable[[int, dict[str, float]], None] | None = None,
) -> dict[str, list[float]]:
    """Minimise the sum of the losses; the module then holds the final weights.

    Parameters
    ----------
    losses
        Given the step's generator (on the CPU, from ``seed`` and the step alone), returns the weighted terms.
    identity, path
        Hash of everything that decides the result, and the checkpoint of it. What is there is read, a finished run is
        not repeated, an interrupted one goes on and gives the same numbers.
    on_step
        Called as ``on_step(step, terms)`` after each step; an exception from it ends the training.

    Returns
    -------
    dict
        Every term at every step.

    Raises
    ------
    FloatingPointError
        As soon as a term or the gradient is not finite; names the step and the term.
    ValueError
        If the file at ``path`` is damaged or of another run.
    OSError
        If the checkpoint cannot be written, for example because the disk is full.
    """
    optimiser = torch.optim.AdamW(module.parameters(), lr=plan.lr, betas=plan.betas, weight_decay=plan.weight_decay)
    mean = {name: value.detach().clone() for name, value in module.state_dict().items()}
    history: dict[str, list[float]] = {}
    first = 0
    if path is not None and path.exists():
        saved = read_checkpoint(path, identity)
        module.load_state_dict(saved["weights"])
        optimiser.load_state_dict(saved["optimiser"])
        mean, history, first = saved["mean"], saved["history"], saved["step"]
    module.train()
    hidden = not progress or bool(os.environ.get("SCIMF_UNATTENDED"))
    bar = tqdm(range(first, plan.steps), initial=first, total=plan.steps, disable=hidden, desc=label)
    for step in bar:
        generator = torch.Generator().manual_seed(int(np.random.SeedSequence([seed, step]).generate_state(1)[0]))
        terms = losses(generator)
        optimiser.zero_grad()
        sum(terms.values()).backward()
        norm = torch.nn.utils.clip_grad_norm_(module.parameters(), plan.clip)
        values = {name: float(term.detach()) for name, term in terms.items()}
        for name, value in (values | {"gradient norm": float(norm)}).items():
            if not math.isfinite(value):
                raise FloatingPointError(f"{label}, step {step}: {name} is {value}; lower lr (now {plan.lr})")
        for group in optimiser.param_groups:
            group["lr"] = plan.lr * plan.rate(step)
        optimiser.step()
        decay = min(plan.average, (1 + step) / (10 + step))  # early weights are soon forgotten
        for name, value in module.state_dict().items():
            mean[name] = torch.lerp(mean[name], value, 1 - decay) if value.is_floating_point() else value.clone()
        for name, value in values.items():
            history.setdefault(name, []).append(value)
        bar.set_postfix({name: f"{value:.4g}" for name, value in values.items()}, refresh=False)
        if path is not None and ((step + 1) % CHECKPOINT_EVERY == 0 or step + 1 == plan.steps):
            state = {"weights": module.state_dict(), "optimiser": optimiser.state_dict(), "mean": mean}
            write_checkpoint(path, state | {"identity": identity, "step": step + 1, "history": history})
        if on_step is not None:
            on_step(step, values)
    module.load_state_dict(mean)
    module.eval()
    return history


def identity_of(arrays: Sequence[np.ndarray], settings: object, rooms: Sequence[str]) -> str:
    """Hash of everything that decides a result: data, settings (plain values), and the code of rooms of ``scimf``."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for array in arrays:
        digest.update(f"{array.shape} {array.dtype}".encode() + np.ascontiguousarray(array).tobytes())
    for room in ("optimise", *rooms):
        digest.update(ast.dump(ast.parse(Path(__file__).with_name(f"{room}.py").read_text(encoding="utf-8"))).encode())
    return digest.hexdigest()[:24]
