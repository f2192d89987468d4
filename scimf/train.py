"""Fit an interacting neural SDE to snapshots: one plain loop, resumable, cached by the hash of its inputs.

All randomness of step ``s`` comes from ``(seed, s)``, so a run that was killed and resumed gives the same weights as
one that was not, and nothing but weights, optimiser and history needs to be stored.
"""

import ast
import hashlib
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache as remembered
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from tqdm.auto import tqdm

from scimf.checkpoints import read_checkpoint, write_checkpoint
from scimf.fitted import FittedSDE
from scimf.sde import InteractingSDE, SDEConfig, roll_out
from scimf.snapshots import Clock, Snapshots, Units, pad, starting_snapshots
from scimf.transport import LOSSES, exact_plan

if TYPE_CHECKING:
    from anndata import AnnData

    from scimf.preprocess import Space, Split

CHECKPOINT_EVERY = 200  #: steps between checkpoints


# ------------------------------------------------------------------------------------------------- the loop


@dataclass
class Batch:
    """What one step sees: starts, the intervals to cross, and the observed clouds to meet."""

    start: torch.Tensor  # (groups, cells, dim)
    mask: torch.Tensor  # (groups, cells)
    density: torch.Tensor  # (groups,)
    gaps: torch.Tensor  # (intervals, groups), model time
    begin: torch.Tensor | None  # (groups,), model time of the start, where the settings ask for it
    targets: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]  # per interval: rows, (rows, m, dim), (rows, m)


def _draw(cloud: torch.Tensor, n: int | None, generator: torch.Generator) -> torch.Tensor:
    if n is None or len(cloud) <= n:
        return cloud[torch.randperm(len(cloud), generator=generator)]
    return cloud[torch.randperm(len(cloud), generator=generator)[:n]]


def make_batch(
    clouds: dict, density: dict, clock: Clock, config: SDEConfig, generator: torch.Generator, device: torch.device
) -> Batch:
    """Draw one batch: consecutive intervals from their own snapshots ("segment"), or whole roll-outs from the first."""
    by_population: dict[str, list[float]] = {}
    for p, t in sorted(clouds):
        by_population.setdefault(p, []).append(t)
    if config.start == "segment":
        groups = [(p, (a, b)) for p, ts in by_population.items() for a, b in zip(ts[:-1], ts[1:], strict=True)]
    else:
        groups = [(p, tuple(ts)) for p, ts in by_population.items() if len(ts) > 1]
    if config.batch_groups is not None and len(groups) > config.batch_groups:
        groups = [groups[i] for i in torch.randperm(len(groups), generator=generator)[: config.batch_groups]]

    start, mask = pad([_draw(clouds[p, ts[0]], config.batch_cells, generator) for p, ts in groups])
    if config.start == "segment":
        grids = [(clock(ts[0]), clock(ts[1])) for _, ts in groups]
        meet = [[(g, ts[1]) for g, (_, ts) in enumerate(groups)]]
    else:
        every = sorted({t for _, ts in groups for t in ts})
        grids = [tuple(clock(t) for t in every)] * len(groups)
        meet = [[(g, t) for g, (_, ts) in enumerate(groups) if t in ts[1:]] for t in every[1:]]
        if any(ts[0] != every[0] for _, ts in groups):
            raise ValueError('start="t0" needs all populations to begin at the same time; use start="segment"')
    targets = []
    for pairs in meet:
        seen = [clouds[groups[g][0], t] for g, t in pairs]
        if config.target_cells is not None or config.loss == "debiased_ot":  # halves need a random order
            seen = [_draw(cloud, config.target_cells, generator) for cloud in seen]
        observed, observed_mask = pad(seen)
        targets.append((torch.tensor([g for g, _ in pairs]), observed.to(device), observed_mask.to(device)))
    return Batch(
        start.to(device),
        mask.to(device),
        torch.tensor([density[p] for p, _ in groups], device=device),
        torch.tensor(grids).diff(dim=1).T.to(device),
        torch.tensor([grid[0] for grid in grids], device=device) if config.stages else None,
        targets,
    )


def batch_loss(
    sde: InteractingSDE, batch: Batch, config: SDEConfig, generator: torch.Generator
) -> dict[str, torch.Tensor]:
    """Loss terms of one batch: ``data`` (mean over groups and times), ``kinetic`` (per unit of model time), ``heard``.

    The last is the mean squared heard drift of the start cells, and there only if the settings weigh it.
    """
    crowd = {"mask": batch.mask, "density": batch.density, "begin": batch.begin}
    states, energy = roll_out(sde, batch.start, batch.gaps, dt=config.dt, **crowd, generator=generator)
    values = [
        LOSSES[config.loss](states[k, rows], observed, batch.mask[rows], observed_mask)
        for k, (rows, observed, observed_mask) in enumerate(batch.targets)
    ]
    elapsed = batch.gaps.sum(0)  # (groups,)
    kinetic = ((energy[-1] * batch.mask).sum(1) / batch.mask.sum(1) / elapsed).mean()
    terms = {"data": torch.cat(values).mean(), "kinetic": kinetic}
    if config.heard_weight:
        heard = sde.heard(batch.start, batch.mask, batch.density).square().sum(-1)
        terms["heard"] = (heard * batch.mask).sum() / batch.mask.sum()
    return terms


def flow_matching_loss(sde: InteractingSDE, batch: Batch, generator: torch.Generator) -> dict[str, torch.Tensor]:
    r"""Warm start: regress the drift on straight lines between cells that exact transport pairs.

    :math:`E\,\|f(x_u) - (y - x) / \Delta t\|^2` at :math:`x_u = x + u (y - x)`, u uniform (Tong et al. 2024,
    arXiv:2302.00482, OT-CFM), here with the autonomous drift of the whole population at :math:`x_u`.
    """
    ((_, observed, observed_mask),) = batch.targets
    partner = batch.start.clone()
    for g in range(len(partner)):
        x, y = batch.start[g][batch.mask[g]], observed[g][observed_mask[g]]
        partner[g, batch.mask[g]] = y[exact_plan(x, y).argmax(1)]
    u = torch.rand(len(partner), 1, 1, generator=generator, device=partner.device)
    path = partner - batch.start
    time = None if batch.begin is None else batch.begin + u[:, 0, 0] * batch.gaps[0]
    drift = sde.drift(batch.start + u * path, batch.mask, batch.density, time=time)
    error = drift - path / batch.gaps[0][:, None, None]
    squared = (error.square().mean(-1) * batch.mask).sum() / batch.mask.sum()
    return {"data": squared, "kinetic": torch.zeros_like(squared)}


def _generators(seed: int, step: int, device: torch.device) -> tuple[torch.Generator, torch.Generator]:
    state = np.random.SeedSequence([seed, step]).generate_state(2, np.uint64)
    draws = torch.Generator().manual_seed(int(state[0] >> 1))
    noise = torch.Generator(device).manual_seed(int(state[1] >> 1))
    return draws, noise


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed what draws without a generator, dropout, for a while."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def fit(
    adata: "AnnData",
    split: "Split",
    space: "Space | None" = None,
    *,
    config: SDEConfig | None = None,
    seed: int = 0,
    device: str = "auto",
    cache: Path | str | None = None,
    progress: bool = True,
    on_step: Callable[[int, dict[str, float]], None] | None = None,
) -> FittedSDE:
    """Fit the model to the training cells of ``split``; held-out cells are never touched.

    Parameters
    ----------
    adata, split, space
        Data with ``obsm["X_scimf"]``, the split, and the space that made the coordinates (kept for going back to
        genes).
    config
        Settings; the recommended ones if omitted.
    seed
        Seeds weights, batches, noise and dropout.
    device
        "auto" (a GPU when there is one), "cpu" or "cuda".
    cache
        Folder for checkpoints. The file name is the hash of data, split, settings, seed and the code of the model, so
        the same fit is read instead of repeated, and an interrupted one continues where its last checkpoint is.
    progress
        Show step, loss terms and time left.
    on_step
        Called as ``on_step(step, terms)`` after each step; an exception from it ends the fit.

    Raises
    ------
    FloatingPointError
        As soon as a loss term or gradient is not finite; names the step and the term.
    ValueError
        If a population offers no interval between two training times, or a cache file is damaged or of another fit.
    """
    config = config or SDEConfig()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else torch.device(device)
    train = Snapshots.of(adata, split.train_mask(adata))
    if not any(len(train.times(p)) > 1 for p in train.density):
        raise ValueError("no population has two training times; nothing to learn from")
    units = Units.of(train, rescale=config.rescale)
    clock = Clock.of(split.times, split.train_times, config.time)
    clouds = {key: units.enter(x) for key, x in train.cells.items()}

    torch.manual_seed(seed)
    sde = InteractingSDE(len(units.centre), config).to(device)
    heard = set(sde.interaction.parameters())
    groups = [
        {"params": [p for p in sde.parameters() if p not in heard], "weight_decay": 0.0},
        {"params": [p for p in sde.parameters() if p in heard], "weight_decay": config.heard_decay},
    ]
    optimiser = torch.optim.AdamW(groups, lr=config.lr)
    identity = fit_key(train, split, config, seed)
    path = None if cache is None else Path(cache) / f"{identity}.pt"
    history: dict[str, list[float]] = {"data": [], "kinetic": []} | ({"heard": []} if config.heard_weight else {})
    model = FittedSDE(sde, config, units, clock, starting_snapshots(adata, split), space, seed, history)
    live = sde.state_dict()  # shares its memory with the weights
    average = {name: value.clone() for name, value in live.items()} if config.average else live
    first = 0
    if path is not None and path.exists():
        first = _read_checkpoint(path, model, optimiser, average, identity)
    sde.train()
    bar = tqdm(range(first, config.steps), initial=first, total=config.steps, disable=not _shown(progress))
    bar.set_description(f"{config.interaction}, seed {seed}")
    for step in bar:
        draws, noise = _generators(seed, step, device)
        with _seeded(seed * 1_000_003 + step, device) if config.dropout else nullcontext():
            batch = make_batch(clouds, train.density, clock, config, draws, device)
            warm = step < config.warm_steps
            terms = flow_matching_loss(sde, batch, noise) if warm else batch_loss(sde, batch, config, noise)
            weights = {name: getattr(config, f"{name}_weight") for name in terms}
            loss = sum(weights[name] * term for name, term in terms.items() if weights[name])
            optimiser.zero_grad()
            loss.backward()
        values = {name: float(term.detach()) for name, term in terms.items()}
        norm = torch.nn.utils.clip_grad_norm_(sde.parameters(), config.clip)
        for name, value in (values | {"gradient norm": float(norm)}).items():
            if not np.isfinite(value):
                raise FloatingPointError(
                    f"step {step}: {name} is {value}; lower lr (now {config.lr}) or dt (now {config.dt})"
                )
        for group in optimiser.param_groups:
            group["lr"] = config.lr * _lr_factor(step, config)
        optimiser.step()
        if config.average:
            for name, value in live.items():
                average[name].lerp_(value, 1 - config.average)
        for name, value in values.items():
            history[name].append(value)
        bar.set_postfix({name: f"{value:.3g}" for name, value in values.items()}, refresh=False)
        if path is not None and (step + 1) % CHECKPOINT_EVERY == 0 and step + 1 < config.steps:
            _write_checkpoint(path, model, optimiser, average, identity)
        if on_step is not None:
            on_step(step, values)
    sde.eval()
    if path is not None and first < config.steps:
        _write_checkpoint(path, model, optimiser, average, identity)
    sde.load_state_dict(average)
    return model


def _shown(progress: bool) -> bool:
    """Whether somebody may be watching; the notebook runner sets the variable, its logs should stay short."""
    return progress and not os.environ.get("SCIMF_UNATTENDED")


def _lr_factor(step: int, config: SDEConfig) -> float:
    if config.schedule == "step":
        return 0.9 ** (step // 100)
    return 0.5 * (1 + math.cos(math.pi * step / config.steps))


def fit_many(
    adata: "AnnData",
    split: "Split",
    space: "Space | None" = None,
    *,
    configs: dict[str, SDEConfig],
    seeds: Iterable[int],
    cache: Path | str,
    device: str = "auto",
    workers: int | None = None,
    progress: bool = True,
) -> dict[tuple[str, int], FittedSDE]:
    """Fit every configuration with every seed, side by side in single-threaded processes; finished fits are read.

    Returns
    -------
    dict
        ``(name, seed) -> FittedSDE``. ``workers`` defaults to the number of cores, at most 8; 1 on a GPU.
    """
    from joblib import Parallel, delayed

    seeds, cache = list(seeds), Path(cache)
    jobs = [(name, seed) for seed in seeds for name in configs]
    on_gpu = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    workers = workers or (1 if on_gpu else min(8, os.cpu_count() or 1))
    train = Snapshots.of(adata, split.train_mask(adata))
    missing = [j for j in jobs if not _finished(cache / f"{fit_key(train, split, configs[j[0]], j[1])}.pt")]
    if missing:
        slim = adata[:, :0].copy() if adata.n_vars else adata  # workers need coordinates, not genes
        run = Parallel(n_jobs=min(workers, len(missing)), return_as="generator_unordered")
        results = run(delayed(_fit_quietly)(slim, split, configs[name], seed, device, cache) for name, seed in missing)
        for _ in tqdm(results, total=len(missing), disable=not _shown(progress), desc="fits"):
            pass
    return {
        (name, seed): fit(
            adata, split, space, config=configs[name], seed=seed, device=device, cache=cache, progress=False
        )
        for name, seed in jobs
    }


def _fit_quietly(adata: "AnnData", split: "Split", config: SDEConfig, seed: int, device: str, cache: Path) -> None:
    torch.set_num_threads(1)  # small networks: two processes of one thread beat one process of two
    fit(adata, split, config=config, seed=seed, device=device, cache=cache, progress=False)


# ------------------------------------------------------------------------------------------------- checkpoints


@remembered  # a small fit takes a second, reading this code a tenth of one
def code_hash(*more: str) -> str:
    """Sha256 of the code that decides what a fit gives, and of ``more`` rooms; comments and docstrings do not count."""
    digest = hashlib.sha256()
    for name in ("snapshots", "interactions", "sde", "transport", "train", *more):
        tree = ast.parse(Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
                node.body[0] = ast.Pass()
        digest.update(ast.dump(tree).encode())
    return digest.hexdigest()


def fit_key(train: Snapshots, split: "Split", config: SDEConfig, seed: int) -> str:
    """Hash of everything that decides what a fit gives."""
    clock = Clock.of(split.times, split.train_times, config.time)
    parts = [train.hash(), repr(clock), json.dumps(config.to_dict(), sort_keys=True), str(seed), code_hash()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]


def _write_checkpoint(
    path: Path, model: FittedSDE, optimiser: torch.optim.Optimizer, average: dict[str, torch.Tensor], identity: str
) -> None:
    content = {
        "identity": identity,
        "step": len(model.history["data"]),
        "weights": model.sde.state_dict(),
        "average": average,
        "optimiser": optimiser.state_dict(),
        "history": model.history,
        "config": model.config.to_dict(),
        "seed": model.seed,
    }
    write_checkpoint(path, content)


def _read_checkpoint(
    path: Path, model: FittedSDE, optimiser: torch.optim.Optimizer, average: dict[str, torch.Tensor], identity: str
) -> int:
    content = read_checkpoint(path, identity)
    model.sde.load_state_dict(content["weights"])
    optimiser.load_state_dict(content["optimiser"])
    for name, value in content["average"].items():
        average[name].copy_(value)
    for name, values in content["history"].items():
        model.history[name][:] = values
    return content["step"]


def _finished(path: Path) -> bool:
    if not path.exists():
        return False
    content = read_checkpoint(path)
    return content["step"] == content["config"]["steps"]
