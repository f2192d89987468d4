"""What a drift costs beside matrix products, and how costs grow with cells, times, dimensions."""

import time
from collections.abc import Callable, Mapping, Sequence

import torch
from evidence.choices import recommended
from torch import nn

from scimf.core.parallel import seeded
from scimf.dynamics.config import SDEConfig
from scimf.dynamics.interactions import AdditiveInteraction, CellAttention
from scimf.dynamics.model import InteractingSDE
from workflow.benchmarks.peak import peak
from workflow.benchmarks.timing import exponent, in_turns, spread
from workflow.benchmarks.training_steps import four_steps, snapshots_of, wait_for

_PRODUCT = 2048  #: rows and columns of the matrices whose product is the measure of a machine
_N_PRODUCTS = 4
_LIMIT_GIB = 4  #: for which the largest exact population is named


def config_of(form: str) -> SDEConfig:
    """Return settings that stand for a form of interaction: the published ones, or ours."""
    return SDEConfig.paper(dropout=0.0) if form == "attention" else recommended()


# ----------------------------------------------------------------- a drift beside matrix products


def drift_flops(n: int, dim: int, config: SDEConfig) -> float:
    """Operations of one drift of n cells, forward and backward, in linear layers and attention.

    Norms and softmax are not counted.
    """
    sde = InteractingSDE(dim, config)
    weights = 0
    for module in sde.modules():
        if isinstance(module, nn.Linear):
            weights += module.weight.numel()
    forward = 2 * n * weights
    if config.interaction == "attention":
        forward += 4 * n * n * dim  # scores and mix
    return 3 * forward  # backward is twice that


def drift_costs(
    sizes: Sequence[int] = (512, 4096), *, rounds: int, device: str, dim: int = 50
) -> dict:
    """Share of the machine's own matrix-product peak that a drift reaches, by cells."""
    found = {}
    matrix = torch.randn(_PRODUCT, _PRODUCT, device=device)

    def product() -> None:
        for _ in range(_N_PRODUCTS):
            matrix @ matrix
        wait_for(device)

    product_flops = _N_PRODUCTS * 2 * _PRODUCT**3
    for form in ("attention", "additive"):
        config = config_of(form)
        with seeded(0):
            sde = InteractingSDE(dim, config).to(device)
        for n in sizes:
            repeats = max(1, (16384 if form == "additive" else 2048) // n)
            drift = _drift_and_gradient(sde, torch.randn(1, n, dim, device=device), repeats)
            seconds = in_turns({"drift": drift, "product": product}, rounds)
            drift_rate = repeats * drift_flops(n, dim, config) / seconds["drift"]
            product_rate = product_flops / seconds["product"]
            found[f"{form}.seconds_{n}"] = spread(seconds["drift"] / repeats)
            found[f"{form}.fraction_of_matmul_peak_{n}"] = spread(drift_rate / product_rate)
    return found


def _drift_and_gradient(sde: InteractingSDE, x: torch.Tensor, repeats: int) -> Callable[[], None]:
    def run() -> None:
        for _ in range(repeats):
            sde.zero_grad()
            sde.drift(x).square().sum().backward()
        wait_for(x.device.type)

    return run


# ------------------------------------------------------------------------------ growth with cells


def evaluate_drift(*, cells: int, form: str, dim: int = 50) -> dict[str, float]:
    """Time one exact drift of cells that all receive from each other; called in a new process."""
    with seeded(0), torch.no_grad():
        sde = InteractingSDE(dim, config_of(form)).eval()
        x = torch.randn(1, cells, dim)
        sde.drift(x[:, :64])  # what is loaded or planned once
        begin = time.perf_counter()
        sde.drift(x)
        return {"seconds": time.perf_counter() - begin}


def growth(sizes: Sequence[int], *, many: int) -> dict:
    """Seconds and peak memory of one exact drift by cells, and exponents over the top decade.

    ``many`` is a size for the additive form alone.
    """
    found = {}
    for form in ("attention", "additive"):
        every = (*sizes, many) if form == "additive" else sizes
        rows = {n: peak(evaluate_drift, cells=n, form=form) for n in every}
        found[form] = _by_size(rows)
        found[f"{form}.time_exponent"] = _exponent(rows, "seconds")
        found[f"{form}.memory_exponent"] = _exponent(rows, "peak_gib")
        exact = [n for n, row in rows.items() if row["peak_gib"] < _LIMIT_GIB]
        found[f"{form}.cells_exact_4gib"] = max(exact, default=0)
    return found


def _by_size(rows: Mapping[int, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    found = {}
    for n, row in rows.items():
        found[str(n)] = {"seconds": row["seconds"], "peak_gib": row["peak_gib"]}
    return found


def _exponent(rows: Mapping[int, Mapping[str, float]], key: str) -> float:
    return exponent(list(rows), [row[key] for row in rows.values()])


# --------------------------------------------------------------- growth with times and dimensions


def evaluate_step(*, times: int, dim: int, form: str) -> dict[str, float]:
    """Time one of :func:`four_steps` on 1,000 cells at each time; called in a new process."""
    step = four_steps([1000] * times, device="cpu", dim=dim)[form]
    step.run(0)  # what is loaded, planned or remembered once
    begin = time.perf_counter()
    step.run(1)
    return {"seconds": time.perf_counter() - begin}


def growth_of_steps(
    times: Sequence[int] = (4, 12, 40), dims: Sequence[int] = (10, 30, 100)
) -> dict:
    """Seconds and peak memory of a training step.

    By times (of 50 dimensions) and by dimensions (at 4 times).
    """
    found = {}
    for form in ("engine", "recommended"):
        by_times = {n: peak(evaluate_step, times=n, dim=50, form=form) for n in times}
        by_dims = {n: peak(evaluate_step, times=4, dim=n, form=form) for n in dims}
        for name, rows in (("times", by_times), ("dim", by_dims)):
            found[f"{form}.{name}"] = _by_size(rows)
            found[f"{form}.{name}.time_exponent"] = _exponent(rows, "seconds")
            found[f"{form}.{name}.memory_exponent"] = _exponent(rows, "peak_gib")
    return found


# -------------------------------------------------------------------------------- an approximation


def approximation(
    cells: int = 8192, sizes: Sequence[int] = (128, 512, 2048), dim: int = 50
) -> dict[str, float]:
    """Relative error of the message where the cells are cut into random groups of these sizes."""
    found = {}
    with seeded(0), torch.no_grad():
        forms = {"attention": CellAttention(dim, dropout=0.0), "additive": AdditiveInteraction(dim)}
        x = torch.cat(snapshots_of([cells], dim))[None]
        for name, form in forms.items():
            exact = form(x)
            order = torch.randperm(cells)
            for size in sizes:
                groups = x[0, order].view(-1, size, dim)
                guess = torch.empty_like(exact)
                guess[0, order] = form(groups).reshape(-1, dim)
                found[f"{name}.error_{size}"] = float((guess - exact).norm() / exact.norm())
    return found
