r"""What things cost, as ratios measured side by side: ``make bench`` -> ``results/published/bench.json``.

A training step as published and ours; a drift beside the machine's own matrix products; growth with cells, times and
dimensions; counts, trained and generated. How it is measured: ``scimf.timing``.
"""

import argparse
import itertools
import sys
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec

import numpy as np
import torch
import torchsde
from torch import nn

from scimf.interactions import AdditiveInteraction, CellAttention
from scimf.notebook import say
from scimf.scoreboard import recommended
from scimf.sde import InteractingSDE, SDEConfig, published
from scimf.snapshots import Clock
from scimf.timing import about, busy_while, exponent, in_turns, peak, record, spread
from scimf.train import Batch, batch_loss, make_batch

#: As many cells and times as the published sets; how they are spread over the times of zebrafish is not published.
ZEBRAFISH = (500, 653, 854, 1115, 1457, 1904, 2487, 3250, 4246, 5548, 7248, 9469)  # 38,731 in growing snapshots
CITE = (7810,) * 4  # 31,240


# ---------------------------------------------------------------------------------------------------- a training step


class Increments(torchsde.BaseBrownian):
    """Increments that :func:`scimf.sde.roll_out` would draw, for torchsde; none for the energy, the last column."""

    def __init__(self, shape: tuple[int, int], *, generator: torch.Generator | None, like: torch.Tensor) -> None:
        self._shape, self._generator = torch.Size(shape), generator
        self._dtype, self._device = like.dtype, like.device

    def __call__(self, ta, tb=None, return_U=False, return_A=False):
        """Draw the increment from ``ta`` to ``tb``, (cells, dim + 1)."""
        n, dim = self._shape
        noise = torch.randn((n, dim - 1), generator=self._generator, dtype=self._dtype, device=self._device)
        return nn.functional.pad(noise, (0, 1)) * (tb - ta) ** 0.5

    def __repr__(self) -> str:
        return f"Increments({tuple(self._shape)})"

    dtype = property(lambda self: self._dtype)
    device = property(lambda self: self._device)
    shape = property(lambda self: self._shape)
    levy_area_approximation = property(lambda self: "none")


class _AsPublished(nn.Module):
    """The published drift as its equations read: scores of all pairs, a softmax without the diagonal, then the rest."""

    noise_type, sde_type = "diagonal", "ito"

    def __init__(self, sde: InteractingSDE, h: float) -> None:
        super().__init__()
        self.sde, self.h = sde, h

    def f(self, t, y):
        x, (block,) = y[None, :, :-1], self.sde.interaction
        query, key, value = block.project(x)
        score = (query @ key.transpose(-1, -2)) / query.shape[-1] ** 0.5
        itself = torch.eye(x.shape[1], dtype=torch.bool, device=x.device)
        weights = score.masked_fill(itself, -torch.inf).softmax(-1)
        mixed = nn.functional.dropout(weights, block.dropout, self.sde.training) @ value
        heard = block.feed_forward(block.norm_out(mixed.transpose(1, 2).flatten(-2)))
        drift = (self.sde.own(x) + heard)[0]
        return torch.cat([drift, drift.square().sum(-1, keepdim=True)], -1) * self.h

    def g(self, t, y):
        noise = self.sde.diffusion(y[:, :-1]) * self.h**0.5
        return torch.cat([noise, torch.zeros_like(noise[:, :1])], -1)


def published_step(
    sde: InteractingSDE, start: torch.Tensor, clouds: Sequence[torch.Tensor], seed: int, gaps: Sequence[int] = ()
) -> float:
    """One step as published: roll-out by torchsde, geomloss against all cells, one backward per training time.

    ``start`` (cells, dim) at model time 0, ``clouds`` the observed cells, each ``gaps`` (1 by default) of model time
    after the one before; gradients are added to those of the parameters. Returns the loss: mean divergence over times
    plus kinetic energy per unit of time.
    """
    from geomloss import SamplesLoss

    divergence = SamplesLoss("sinkhorn", p=2, blur=0.1, scaling=0.7, debias=True, backend="tensorized")
    y, steps, gaps = nn.functional.pad(start, (0, 1)), 10, list(gaps) or [1] * len(clouds)
    noise = Increments(y.shape, generator=torch.Generator(y.device).manual_seed(seed), like=y)
    ticks = steps * torch.tensor([0, *itertools.accumulate(gaps)], dtype=y.dtype, device=y.device)
    path = torchsde.sdeint(_AsPublished(sde, 1 / steps), y, ticks, bm=noise, dt=1.0, method="euler")
    kinetic = path[-1, :, -1].mean() / sum(gaps)
    kinetic.backward(retain_graph=True)
    total = float(kinetic.detach())
    for k, cloud in enumerate(clouds):
        loss = divergence(path[k + 1, :, :-1], cloud) / len(clouds)
        loss.backward(retain_graph=k + 1 < len(clouds))
        total += float(loss.detach())
    return total


def engine_step(
    sde: InteractingSDE, start: torch.Tensor, clouds: Sequence[torch.Tensor], seed: int, config: SDEConfig
) -> float:
    """Take the same loss and gradients by the code that :func:`scimf.fit` runs; returns the loss."""
    device, (n, k) = start.device, (len(start), len(clouds))
    row = torch.zeros(1, dtype=torch.long)
    targets = [(row, cloud[None], torch.ones(1, len(cloud), dtype=torch.bool, device=device)) for cloud in clouds]
    everybody = torch.ones(1, n, dtype=torch.bool, device=device)
    gaps = torch.ones(k, 1, device=device)
    batch = Batch(start[None], everybody, torch.ones(1, device=device), gaps, None, targets)
    terms = batch_loss(sde, batch, config, torch.Generator(device).manual_seed(seed))
    loss = sum(terms.values())
    loss.backward()
    return float(loss.detach())


def snapshots_of(sizes: Sequence[int], dim: int = 50, seed: int = 0) -> list[torch.Tensor]:
    """Clouds of eight types that drift and change their shares, one a time, (cells, dim) each."""
    rng = np.random.default_rng(seed)
    centres, drift = 3 * rng.standard_normal((8, dim)), rng.standard_normal((8, dim))
    clouds = []
    for t, n in enumerate(sizes):
        kinds = rng.choice(8, n, p=np.roll(np.linspace(1, 8, 8), t) / 36)
        clouds.append(torch.as_tensor(centres[kinds] + 0.5 * t * drift[kinds] + rng.standard_normal((n, dim))).float())
    return clouds


def three_steps(
    sizes: Sequence[int], *, device: str, dim: int = 50, cells: int = 512
) -> dict[str, tuple[InteractingSDE, Callable[[int], float]]]:
    """Return the network, and what adds gradients and returns the loss given a seed, of each of three training steps.

    ``published``; ``engine``, ours on the same targets; ``recommended``, the step that we recommend.
    """
    clouds = [cloud.to(device) for cloud in snapshots_of(sizes, dim)]
    config = published(dropout=0.0)  # dropout would draw different masks in the two codes
    torch.manual_seed(0)
    sde = InteractingSDE(dim, config).to(device)
    start = clouds[0][torch.randperm(len(clouds[0]))[:cells]]
    ours, times = recommended(), tuple(float(t) for t in range(len(sizes)))
    torch.manual_seed(0)
    small = InteractingSDE(dim, ours).to(device)
    clock = Clock.of(times, times, ours.time)
    scale = float(torch.cat(clouds).std(0).mean())
    known = {("all", t): cloud.cpu() / scale for t, cloud in zip(times, clouds, strict=True)}

    def recommended_step(seed: int) -> float:
        draws, noise = torch.Generator().manual_seed(seed), torch.Generator(device).manual_seed(seed)
        batch = make_batch(known, {"all": 1.0}, clock, ours, draws, torch.device(device))
        loss = batch_loss(small, batch, ours, noise)["data"]
        loss.backward()
        return float(loss.detach())

    return {
        "published": (sde, lambda seed: published_step(sde, start, clouds[1:], seed)),
        "engine": (sde, lambda seed: engine_step(sde, start, clouds[1:], seed, config)),
        "recommended": (small, recommended_step),
    }


def step_costs(sizes: Sequence[int], *, rounds: int, device: str, dim: int = 50, cells: int = 512) -> dict:
    """Time the published step, ours on the same targets, and the step that we recommend, in turns."""
    steps = three_steps(sizes, device=device, dim=dim, cells=cells)

    def with_optimiser(network: InteractingSDE, run: Callable[[int], float]) -> Callable[[], None]:
        optimiser, count = torch.optim.Adam(network.parameters(), lr=1e-6), itertools.count()

        def step() -> None:
            optimiser.zero_grad()
            run(next(count))
            optimiser.step()
            if device == "cuda":
                torch.cuda.synchronize()

        return step

    values, gradients = [], []
    for network, run in (steps["published"], steps["engine"]):
        network.zero_grad()
        values.append(run(0))
        gradients.append(torch.cat([p.grad.flatten() for p in network.parameters()]).clone())
    seconds = in_turns({name: with_optimiser(*step) for name, step in steps.items()}, rounds)
    return {
        "cells_observed": int(sum(sizes)), "times": len(sizes), "cells_simulated": cells, "dimensions": dim,
        "euler_steps": 10 * (len(sizes) - 1), "rounds": rounds,
        **{f"{name}_seconds": spread(values) for name, values in seconds.items()},
        "engine_speedup": spread(seconds["published"] / seconds["engine"]),
        "total_speedup": spread(seconds["published"] / seconds["recommended"]),
        "loss_relative_difference": abs(values[1] / values[0] - 1),
        "gradient_cosine": float(torch.cosine_similarity(*gradients, dim=0)),
    }  # fmt: skip


# --------------------------------------------------------------------------------------------------- drift and growth


def drift_flops(n: int, dim: int, config: SDEConfig) -> float:
    """Operations of one drift, forward and backward, in linear layers and attention; norms and softmax not counted."""
    sde = InteractingSDE(dim, config)
    linear = sum(m.weight.numel() for m in sde.modules() if isinstance(m, nn.Linear))
    attention = 3 * 4 * n * n * dim if config.interaction == "attention" else 0  # scores and mix; twice that backward
    return 3 * 2 * n * linear + attention


def drift_costs(sizes: Sequence[int] = (512, 4096), *, rounds: int, device: str, dim: int = 50) -> dict:
    """Share of the machine's own matrix-product peak that a drift reaches, forward and backward, by cells."""
    found = {}
    a = torch.randn(2048, 2048, device=device)
    for form, config in (("attention", published(dropout=0.0)), ("additive", recommended())):
        torch.manual_seed(0)
        sde = InteractingSDE(dim, config).to(device)
        for n in sizes:
            x = torch.randn(1, n, dim, device=device)
            repeats = max(1, 16384 // n) if form == "additive" else max(1, 2048 // n)

            def drift(sde=sde, x=x, repeats=repeats) -> None:
                for _ in range(repeats):
                    sde.zero_grad()
                    sde.drift(x).square().sum().backward()
                if device == "cuda":
                    torch.cuda.synchronize()

            def product() -> None:
                for _ in range(4):
                    a @ a
                if device == "cuda":
                    torch.cuda.synchronize()

            seconds = in_turns({"drift": drift, "product": product}, rounds)
            rate = {
                "drift": repeats * drift_flops(n, dim, config) / seconds["drift"],
                "product": 4 * 2 * 2048**3 / seconds["product"],
            }
            found[f"{form}.seconds_{n}"] = spread(seconds["drift"] / repeats)
            found[f"{form}.fraction_of_matmul_peak_{n}"] = spread(rate["drift"] / rate["product"])
    return found


def evaluate_drift(*, cells: int, form: str, dim: int = 50) -> dict[str, float]:
    """One exact evaluation of the drift of ``cells`` cells that all hear each other; called in a process of its own."""
    torch.manual_seed(0)
    sde = InteractingSDE(dim, published(dropout=0.0) if form == "attention" else recommended()).eval()
    x = torch.randn(1, cells, dim)
    with torch.no_grad():
        sde.drift(x[:, :64])  # what is loaded or planned once
        begin = time.perf_counter()
        sde.drift(x)
    return {"seconds": time.perf_counter() - begin}


def growth(sizes: Sequence[int], *, many: int) -> dict:
    """Seconds and peak memory of one exact drift by cells, and exponents over the top decade; ``many`` for additive."""
    found = {}
    for form in ("attention", "additive"):
        rows = {
            n: peak("bench.evaluate_drift", cells=n, form=form)
            for n in (*sizes, *((many,) if form == "additive" else ()))
        }
        found[form] = {str(n): {key: row[key] for key in ("seconds", "peak_gib")} for n, row in rows.items()}
        found[f"{form}.time_exponent"] = exponent(list(rows), [row["seconds"] for row in rows.values()])
        found[f"{form}.memory_exponent"] = exponent(list(rows), [row["peak_gib"] for row in rows.values()])
        found[f"{form}.cells_exact_4gib"] = max((n for n, row in rows.items() if row["peak_gib"] < 4), default=0)
    return found


def evaluate_step(*, times: int, dim: int, form: str) -> dict[str, float]:
    """One of :func:`three_steps` on 1,000 cells at each time; called in a process of its own."""
    _, run = three_steps([1000] * times, device="cpu", dim=dim)[form]
    run(0)  # what is loaded, planned or remembered once
    begin = time.perf_counter()
    run(1)
    return {"seconds": time.perf_counter() - begin}


def growth_of_steps(times: Sequence[int] = (4, 12, 40), dims: Sequence[int] = (10, 30, 100)) -> dict:
    """Seconds and peak memory of a training step by times (of 50 dimensions) and by dimensions (at 4 times)."""
    found = {}
    for form in ("engine", "recommended"):
        for what, sizes in (("times", times), ("dim", dims)):
            rows = {
                n: peak("bench.evaluate_step", **({"times": 4, "dim": 50, "form": form} | {what: n})) for n in sizes
            }
            found[f"{form}.{what}"] = {
                str(n): {key: row[key] for key in ("seconds", "peak_gib")} for n, row in rows.items()
            }
            for kind, key in (("time", "seconds"), ("memory", "peak_gib")):
                found[f"{form}.{what}.{kind}_exponent"] = exponent(sizes, [row[key] for row in rows.values()])
    return found


def approximation(cells: int = 8192, sizes: Sequence[int] = (128, 512, 2048), dim: int = 50) -> dict:
    """Relative error of the heard drift when attention is cut into random companies, against the exact one."""
    torch.manual_seed(0)
    blocks = {"attention": CellAttention(dim, dropout=0.0), "additive": AdditiveInteraction(dim)}
    x, found = torch.cat(snapshots_of([cells], dim))[None], {}
    with torch.no_grad():
        for form, block in blocks.items():
            exact, order = block(x), torch.randperm(cells)
            for size in sizes:
                parts = x[0, order].view(-1, size, dim)
                guess = torch.empty_like(exact)
                guess[0, order] = block(parts).reshape(-1, dim)
                found[f"{form}.error_{size}"] = float((guess - exact).norm() / exact.norm())
    return found


# -------------------------------------------------------------------------------------------------------------- counts


def count_costs(*, rounds: int, steps: int = 20, n_genes: int = 500, device: str) -> dict:
    """Time training (set, plain, and scVI if installed) and sampling (fixed steps and adaptive): cells per second."""
    from scimf import scvi_peer
    from scimf.autoencode import fit_counts
    from scimf.counts import CountConfig
    from scimf.countworlds import factorial
    from scimf.flow import FlowConfig
    from scimf.generate import fit_flow

    world = factorial(seed=0, n_cells=1000, n_genes=n_genes)
    options = {"genes": list(world.var_names), "progress": False, "device": device}
    configs = {"set": CountConfig(tokens=8, split=True, steps=steps)}
    configs["plain"] = CountConfig(tokens=8, split=True, steps=8 * steps, architecture="mlp", lr=1e-3, batch_cells=128)
    run = {name: (lambda c=c: fit_counts(world, config=c, **options)) for name, c in configs.items()}
    cells = {name: c.steps * c.batch_cells for name, c in configs.items()}
    if find_spec("scvi") is not None:
        epochs = 5
        run["scvi"] = lambda: scvi_peer.fit_scvi(world, np.ones(world.n_obs, bool), max_epochs=epochs)
        cells["scvi"] = epochs * 2 * world.n_obs * 0.9
    found = {f"training_cells_per_second.{k}": spread(cells[k] / v) for k, v in in_turns(run, rounds).items()}
    flow = fit_flow(fit_counts(world, config=configs["plain"], **options), world, conditions=("cell_type",),
                    config=FlowConfig(width=64, blocks=2, steps=200), progress=False)  # fmt: skip
    labels = flow.conditions.labels(world.obs[:500])
    ways = {"heun_20": {}, "heun_40": {"evaluations": 40}, "dopri5": {"solver": "dopri5"}}
    drawn = {name: flow.latents(labels, seed=0, **way) for name, way in ways.items()}
    seconds = in_turns(
        {name: (lambda way=way: flow.latents(labels, seed=0, **way)) for name, way in ways.items()}, rounds
    )
    found |= {f"sampling_cells_per_second.{k}": spread(len(labels) / v) for k, v in seconds.items()}
    for name in ("heun_20", "heun_40"):  # the adaptive sampler has a tolerance of 1e-5 a step
        found[f"sampling_error.{name}"] = float(np.sqrt(np.mean(((drawn[name] - drawn["dopri5"]) / flow.sd) ** 2)))
    return found


# ----------------------------------------------------------------------------------------------------------- the whole


def measure(device: str, *, rounds: int = 3, quick: bool = False) -> dict:
    """Everything, as it goes into the record; ``quick`` takes tiny sizes and is for tests alone."""
    sizes = [40, 50, 60] if quick else ZEBRAFISH
    small = {"dim": 8, "cells": 24} if quick else {}
    steps = {"step": (sizes, rounds)} if quick else {"step": (ZEBRAFISH, rounds), "step_cite": (CITE, rounds)}
    found = {}
    for name, (snapshots, n) in steps.items():
        say(f"{name} ...")
        found[name] = step_costs(snapshots, rounds=n, device=device, **small)
    say("drift ...")
    found["drift"] = drift_costs((32, 64) if quick else (512, 4096), rounds=3 * rounds, device=device)
    say("scale ...")
    decades = (200, 400) if quick else (256, 1024, 4096, 16384, 32768, 131072)
    found["scale"] = growth(decades, many=800 if quick else 10**6)
    found["scale_of_steps"] = growth_of_steps(*(((2, 3), (4, 8)) if quick else ()))
    found["companies"] = approximation(256 if quick else 8192, (32, 64) if quick else (128, 512, 2048))
    say("counts ...")
    found["counts"] = count_costs(rounds=rounds, device=device, **({"steps": 2, "n_genes": 30} if quick else {}))
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and write the record; refuse where the machine is busy."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--publish", action="store_true", help="write results/published/bench.json, too")
    given = parser.parse_args(argv)
    named = about(given.device)
    found, busy = busy_while(lambda: measure(given.device, rounds=given.rounds))
    return record(named | found | {"others_busy_cores": busy}, busy, publish=given.publish)


if __name__ == "__main__":
    sys.exit(main())
