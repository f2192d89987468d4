r"""Distances between two clouds of cells: differentiable losses, and exact scores.

Losses take batches of clouds, ``x`` (groups, n, d) predicted and ``y`` (groups, m, d) observed, with optional masks
(groups, n) and (groups, m) that are ``False`` on padding, and return one value a group. Scores take two NumPy arrays.

Conventions, used everywhere in this repository:

* energy distance: :math:`E\|X-Y\| - \tfrac12 E\|X-X'\| - \tfrac12 E\|Y-Y'\|`, unbiased (a cell is never paired with
itself);
* transport losses and Sinkhorn: ground cost :math:`\tfrac12\|x-y\|^2` as in geomloss, so they tend to :math:`\tfrac12
W_2^2`;
* scores W1 and W2 are the distances themselves.
"""

import hashlib
import math

import numpy as np
import ot
import torch
import torch.nn.functional as F
from scipy.spatial.distance import cdist
from torch.autograd.function import once_differentiable

Mask = torch.Tensor | None


# ------------------------------------------------------------------------------------------------- losses


def pairwise_distance(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:  # (g, n, d), (g, m, d) -> (g, n, m)
    """Euclidean distances through one matrix product; the gradient at distance zero is zero."""
    centre = y.mean(dim=1, keepdim=True).detach()  # large common offsets would cost precision
    x, y = x - centre, y - centre
    squared = x.square().sum(-1)[:, :, None] + y.square().sum(-1)[:, None, :] - 2 * x @ y.transpose(1, 2)
    return squared.clamp_min(1e-10).sqrt()


class _MeanDistance(torch.autograd.Function):
    """Weighted mean Euclidean distance of pairs, (g, n, d), (g, m, d), (g, n), (g, m) -> (g,); gradient for x alone.

    Written by hand because autograd would keep and pass over five matrices of all pairs instead of one: the gradient of
    a distance is the unit vector along it, so that of their sum is two matrix products. With y None, pairs within x.
    """

    @staticmethod
    def forward(ctx, x, y, left, right):
        same = y is None
        y = x if same else y
        centre = y.mean(dim=1, keepdim=True)  # large common offsets would cost precision
        x, y = x - centre, y - centre
        square = x.square().sum(-1)[:, :, None] + y.square().sum(-1)[:, None, :]
        distance = torch.baddbmm(square, x, y.transpose(1, 2), alpha=-2, out=square).clamp_min_(CLOSEST**2).sqrt_()
        pairs = left.sum(1) * right.sum(1)
        if same:  # nobody is paired with itself
            distance.diagonal(dim1=1, dim2=2).zero_()
            pairs = pairs - (left * right).sum(1)
        scale = 1 / pairs.clamp_min(1)
        ctx.save_for_backward(x, y, left, right, distance, scale)
        ctx.same = same
        return (left[:, None] @ (distance @ right[:, :, None]))[:, 0, 0] * scale

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        x, y, left, right, distance, scale = ctx.saved_tensors
        inverse = F.threshold(distance, 1.1 * CLOSEST, torch.inf).reciprocal_() * right[:, None]
        along = x * inverse.sum(-1, keepdim=True) - inverse @ y
        return along * left[..., None] * (gradient * scale * (1 + ctx.same))[:, None, None], None, None, None


CLOSEST = 1e-5  #: distances below are this one, and have no gradient


def _weights(mask: Mask, cloud: torch.Tensor) -> torch.Tensor:  # (g, n)
    return cloud.new_ones(cloud.shape[:2]) if mask is None else mask.to(cloud.dtype)


def energy_loss(x: torch.Tensor, y: torch.Tensor, mask_x: Mask = None, mask_y: Mask = None) -> torch.Tensor:  # (g,)
    """Return the unbiased energy distance of each group; two cells on either side are needed, a draw may be negative.

    Székely & Rizzo (2013), doi 10.1016/j.jspi.2013.03.018. Derived in notebook 03. The gradient is that of ``x``, the
    prediction; ``y`` is observed and has none.
    """
    left, right = _weights(mask_x, x), _weights(mask_y, y)
    between = _MeanDistance.apply(x, y.detach(), left, right)
    within_x = _MeanDistance.apply(x, None, left, left)
    within_y = _MeanDistance.apply(y.detach(), None, right, right)
    return between - within_x / 2 - within_y / 2


def _select(x: torch.Tensor, mask: Mask, group: int) -> torch.Tensor:
    return x[group] if mask is None else x[group][mask[group]]


def _emd(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:  # (n, d), (m, d) -> scalar
    """½W₂² with the exact plan held fixed, which is its gradient almost everywhere (envelope theorem)."""
    cost = pairwise_distance(x[None], y[None])[0].square() / 2
    return (cost * exact_plan(x, y)).sum()


@torch.no_grad()
def exact_plan(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:  # (n, d), (m, d) -> (n, m)
    """Optimal plan between two equally weighted clouds for the squared Euclidean cost (POT)."""
    cost = pairwise_distance(x[None], y[None])[0].square() / 2
    plan = ot.emd([], [], cost.double().cpu().numpy(), numItermax=1_000_000)
    return torch.as_tensor(plan, dtype=x.dtype, device=x.device)


def ot_loss(x: torch.Tensor, y: torch.Tensor, mask_x: Mask = None, mask_y: Mask = None) -> torch.Tensor:  # (g,)
    """Exact optimal transport, ½W₂², of each group (POT). On mini-batches it is biased towards too much spread."""
    return torch.stack([_emd(_select(x, mask_x, g), _select(y, mask_y, g)) for g in range(len(x))])


def debiased_ot_loss(x: torch.Tensor, y: torch.Tensor, mask_x: Mask = None, mask_y: Mask = None) -> torch.Tensor:
    """½W₂² between halves minus the same between the halves of one side, so two equal laws score zero on average.

    Both clouds are cut in two (first and second half, in the order given: draw them at random).
    """
    values = []
    for g in range(len(x)):
        a, b = _select(x, mask_x, g).tensor_split(2)
        c, d = _select(y, mask_y, g).tensor_split(2)
        values.append((_emd(a, c) + _emd(b, d) - _emd(a, b) - _emd(c, d)) / 2)
    return torch.stack(values)


def sinkhorn_loss(x: torch.Tensor, y: torch.Tensor, mask_x: Mask = None, mask_y: Mask = None) -> torch.Tensor:  # (g,)
    r"""Debiased Sinkhorn divergence with the published settings, blur 0.1 and scaling 0.7; the numbers of geomloss.

    :math:`S = \mathrm{OT}_\varepsilon(x, y) - \tfrac12 \mathrm{OT}_\varepsilon(x, x) - \tfrac12
    \mathrm{OT}_\varepsilon(y, y)`, symmetric iterations while :math:`\sqrt\varepsilon` falls from the diameter to the
    blur (Feydy et al. 2019, arXiv:1810.08278, and Feydy 2020, annealing). These are few: the value is that of the
    algorithm, not of the limit. The last term does not depend on the prediction and is remembered for each cloud ``y``.
    """
    return torch.stack([_sinkhorn(_select(x, mask_x, g), _select(y, mask_y, g)) for g in range(len(x))])


BLUR, SCALING = 0.1, 0.7
REMEMBERED = 256  #: observed clouds whose last term is kept
_of_observed: dict[tuple[str, bytes], torch.Tensor] = {}


def _sinkhorn(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:  # (n, d), (m, d) -> scalar
    centre = y.mean(0)
    x, y = x - centre, y - centre
    seen, steps = x.detach(), _annealing(torch.cat([x.detach(), y]))
    at_x, at_y = _potentials(_half_squares(seen, y), steps)
    alone = _potentials(_half_squares(seen, seen), steps)[0]
    last = steps[-1]  # the last half-iteration carries the gradient, through the cost alone
    forth = _softmin(last, _half_squares(x, y), at_y) - _softmin(last, _half_squares(x, seen), alone)
    with torch.no_grad():
        back = _softmin(last, _half_squares(y, seen), at_x).mean()
        key = (str(y.device), hashlib.blake2b(y.cpu().numpy().tobytes()).digest())
        if key not in _of_observed:
            if len(_of_observed) >= REMEMBERED:
                del _of_observed[next(iter(_of_observed))]
            own, cost = _annealing(y), _half_squares(y, y)
            _of_observed[key] = _softmin(own[-1], cost, _potentials(cost, own)[0]).mean()
    return forth.mean() + back - _of_observed[key]


def _annealing(cells: torch.Tensor) -> list[float]:
    """Temperatures: the squared diameter of the bounding box twice, then falling by SCALING squared to BLUR squared."""
    diameter = max(float((cells.amax(0) - cells.amin(0)).norm()), BLUR)
    n = math.ceil(math.log(BLUR / diameter) / math.log(SCALING))
    return [diameter**2, *((diameter * SCALING**k) ** 2 for k in range(n)), BLUR**2]


def _half_squares(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:  # (n, d), (m, d) -> (n, m)
    return (x.square().sum(1)[:, None] / 2 + y.square().sum(1) / 2 - x @ y.T).clamp_min(0)


def _softmin(temperature: float, cost: torch.Tensor, potential: torch.Tensor | None) -> torch.Tensor:  # (n, m) -> (n,)
    r""":math:`-\varepsilon \log \frac1m \sum_j e^{(f_j - c_{ij}) / \varepsilon}`, with zero for no potential."""
    at = cost.new_zeros(()) if potential is None else potential / temperature
    exponent = torch.add(at, cost, alpha=-1 / temperature)
    # log_softmax takes each row in one pass through the cache, logsumexp takes four through memory
    total = exponent[:, 0] - exponent.log_softmax(1)[:, 0]
    return (math.log(cost.shape[1]) - total) * temperature


@torch.no_grad()
def _potentials(cost: torch.Tensor, steps: list[float]) -> tuple[torch.Tensor, torch.Tensor]:  # (n, m) -> (n,), (m,)
    turned = cost.T.contiguous()
    f, g = _softmin(steps[0], cost, None), _softmin(steps[0], turned, None)
    for step in steps:
        f, g = (f + _softmin(step, cost, g)) / 2, (g + _softmin(step, turned, f)) / 2
    return f, g


#: Losses by name.
LOSSES = {"energy": energy_loss, "sinkhorn": sinkhorn_loss, "ot": ot_loss, "debiased_ot": debiased_ot_loss}


# ------------------------------------------------------------------------------------------------- scores


def w1(x: np.ndarray, y: np.ndarray) -> float:
    """Exact W1 between two equally weighted clouds, in units of the coordinates."""
    return float(ot.emd2([], [], cdist(x, y), numItermax=1_000_000))


def w2(x: np.ndarray, y: np.ndarray) -> float:
    """Exact W2 between two equally weighted clouds, in units of the coordinates."""
    return float(np.sqrt(ot.emd2([], [], cdist(x, y, "sqeuclidean"), numItermax=1_000_000)))


def distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:  # (n, d), (m, d) -> (n, m)
    """Euclidean distances by one matrix product in double precision."""
    centre = y.mean(0, dtype=np.float64)  # large common offsets would cost precision
    x, y = x - centre, y - centre
    squared = (x @ y.T) * -2
    squared += (x**2).sum(1)[:, None]
    squared += (y**2).sum(1)
    return np.sqrt(np.maximum(squared, 0, out=squared), out=squared)


def within(x: np.ndarray) -> np.ndarray:  # (n, d) -> (n, n)
    """Distances between the cells of one cloud, exactly zero on the diagonal."""
    found = distances(x, x)
    np.fill_diagonal(found, 0)
    return found


def energy_distance(
    x: np.ndarray, y: np.ndarray, *, within_x: np.ndarray | None = None, within_y: np.ndarray | None = None
) -> float:
    """Unbiased energy distance (convention above), in units of the coordinates; zero in expectation for equal laws.

    ``within_x`` and ``within_y`` save work where the distances within a cloud are known.
    """
    n, m = len(x), len(y)
    within_x = within(x) if within_x is None else within_x
    within_y = within(y) if within_y is None else within_y
    inner = within_x.sum() / (n * (n - 1)) + within_y.sum() / (m * (m - 1))
    return float(distances(x, y).mean() - inner / 2)


def cost_of_mean(x: np.ndarray, y: np.ndarray, *, within_y: np.ndarray | None = None) -> float:
    """Energy distance between the observed cells ``y`` and the same cells moved to the mean of ``x``; unbiased.

    What a prediction with the true shape and the mean of ``x`` scores.
    """
    n, shift = len(y), x.mean(0, dtype=np.float64) - y.mean(0, dtype=np.float64)
    within_y = within(y) if within_y is None else within_y
    moved = distances(y, y + shift).sum() - n * np.linalg.norm(shift)  # a cell is not paired with itself
    return float((moved - within_y.sum()) / (n * (n - 1)))


def rbf_mmd2(x: np.ndarray, y: np.ndarray, *, bandwidth: float, scales: tuple[float, ...] = (0.5, 1.0, 2.0)) -> float:
    r"""Unbiased squared MMD with the mean of the kernels :math:`\exp(-\|x-y\|^2 / 2(s\,b)^2)`, s in ``scales``."""
    n, m = len(x), len(y)

    def total(distance: np.ndarray) -> float:
        squared = distance**2
        return sum(float(np.exp(squared / (-2 * (s * bandwidth) ** 2)).sum()) for s in scales) / len(scales)

    inner = (total(within(x)) - n) / (n * (n - 1)) + (total(within(y)) - m) / (m * (m - 1))
    return inner - 2 * total(distances(x, y)) / (n * m)


def gene_sinkhorn(x: np.ndarray, y: np.ndarray) -> float:
    """Debiased Sinkhorn divergence as scNODE and scTimeBench set it: p = 2, blur 0.05, scaling 0.5 (geomloss).

    geomloss halves the squared cost, and so does this number; scTimeBench divides it by the number of genes.
    """
    from geomloss import SamplesLoss  # only this score needs it

    divergence = SamplesLoss("sinkhorn", p=2, blur=0.05, scaling=0.5, debias=True, backend="tensorized")
    return float(divergence(torch.as_tensor(x, dtype=torch.float32), torch.as_tensor(y, dtype=torch.float32)))
