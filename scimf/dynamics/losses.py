r"""Differentiable distances between two clouds of cells: what a fit can minimise.

Losses take batches of clouds, ``x`` (groups, n, d) predicted and ``y`` (groups, m, d) observed,
with optional masks (groups, n) and (groups, m) that are ``False`` on padding, and return one value
a group.

Conventions, used everywhere in this repository:

* energy distance: :math:`E\|X-Y\| - \tfrac12 E\|X-X'\| - \tfrac12 E\|Y-Y'\|`, unbiased (a cell is
  never paired with itself);
* transport losses and Sinkhorn: ground cost :math:`\tfrac12\|x-y\|^2` as in geomloss, so they tend
  to :math:`\tfrac12 W_2^2`.

Exact scores of two clouds are in :mod:`scimf.evaluation.distances`.
"""

import hashlib
import math
from collections.abc import Callable

import ot
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

CLOSEST = 1e-5  #: distances below are this one, and have no gradient
BLUR = 0.1  #: of the Sinkhorn divergence, as published
SCALING = 0.7  #: of its annealing, as published
REMEMBERED = 256  #: observed clouds whose last term of the Sinkhorn divergence is kept
_of_observed: dict[tuple[str, bytes], Tensor] = {}


# ---------------------------------------------------------------------------------- energy distance


class _MeanDistance(torch.autograd.Function):
    r"""Weighted mean Euclidean distance of pairs, with a gradient for ``x`` alone.

    (g, n, d), (g, m, d), weights (g, n) and (g, m) -> (g,); with ``y`` None, pairs within ``x``.

    The derivative is written by hand because autograd would keep and pass over five matrices of all
    pairs instead of one. The gradient of a distance is the unit vector along it,
    :math:`\partial \|x_i - y_j\| / \partial x_i = (x_i - y_j) / \|x_i - y_j\|`, so the gradient of
    the weighted sum is :math:`a_i \sum_j b_j (x_i - y_j) / \|x_i - y_j\| = a_i \bigl(x_i \sum_j
    w_{ij} - \sum_j w_{ij} y_j\bigr)` with :math:`w_{ij} = b_j / \|x_i - y_j\|`: a row sum and one
    matrix product. Within one cloud every pair counts twice. The gradient of weights that are
    learned (``left``) is :math:`\sum_j b_j \|x_i - y_j\|`, less their part in the number of pairs.
    """

    @staticmethod
    def forward(ctx, x, y, left, right):
        same = y is None
        y = x if same else y
        centre = y.mean(dim=1, keepdim=True)  # large common offsets would cost precision
        x = x - centre
        y = y - centre
        square = x.square().sum(-1)[:, :, None] + y.square().sum(-1)[:, None, :]
        distance = torch.baddbmm(square, x, y.transpose(1, 2), alpha=-2, out=square)
        distance = distance.clamp_min_(CLOSEST**2).sqrt_()
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
        weight = F.threshold(distance, 1.1 * CLOSEST, torch.inf).reciprocal_() * right[:, None]
        along = x * weight.sum(-1, keepdim=True) - weight @ y
        times = (gradient * scale * (1 + ctx.same))[:, None, None]
        of_left = None
        if ctx.needs_input_grad[2]:
            sums = (distance @ right[:, :, None])[..., 0]  # (g, n)
            mean = (left * sums).sum(1, keepdim=True) * scale[:, None]
            pairs = right.sum(1, keepdim=True) - left * ctx.same
            of_left = (sums - mean * pairs) * times[..., 0]
        return along * left[..., None] * times, None, of_left, None


def _weights(mask: Tensor | None, cloud: Tensor) -> Tensor:  # (g, n)
    return cloud.new_ones(cloud.shape[:2]) if mask is None else mask.to(cloud.dtype)


def _energy_loss(
    x: Tensor,
    y: Tensor,
    mask_x: Tensor | None = None,
    mask_y: Tensor | None = None,
    weight: Tensor | None = None,
) -> Tensor:  # (g,)
    """Return the unbiased energy distance of each group; a draw may be negative.

    Székely & Rizzo (2013), doi 10.1016/j.jspi.2013.03.018. Derived in notebook 03. Two cells on
    either side are needed. The gradient is that of ``x``, the prediction, and of its ``weight``
    (g, n), of which only proportions count; ``y`` is observed and has none.
    """
    left = _weights(mask_x, x)
    if weight is not None:
        n = left.sum(1, keepdim=True)
        left = left * weight
        left = left * (n / left.sum(1, keepdim=True))
    right = _weights(mask_y, y)
    between = _MeanDistance.apply(x, y.detach(), left, right)
    within_x = _MeanDistance.apply(x, None, left, left)
    within_y = _MeanDistance.apply(y.detach(), None, right, right)
    return between - within_x / 2 - within_y / 2


# -------------------------------------------------------------------------------- optimal transport


def _of_pairs(distance: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    """Make a loss of batches of one of two clouds, (n, d) and (m, d)."""

    def loss(
        x: Tensor, y: Tensor, mask_x: Tensor | None = None, mask_y: Tensor | None = None
    ) -> Tensor:  # (g,)
        values = []
        for g in range(len(x)):
            predicted = x[g] if mask_x is None else x[g][mask_x[g]]
            observed = y[g] if mask_y is None else y[g][mask_y[g]]
            values.append(distance(predicted, observed))
        return torch.stack(values)

    return loss


def _ground_cost(x: Tensor, y: Tensor) -> Tensor:  # (n, d), (m, d) -> (n, m)
    centre = y.mean(0).detach()  # large common offsets would cost precision
    return _half_squares(x - centre, y - centre)


@torch.no_grad()
def exact_plan(x: Tensor, y: Tensor) -> Tensor:  # (n, d), (m, d) -> (n, m)
    """Optimal plan between two equally weighted clouds for the squared Euclidean cost (POT)."""
    cost = _ground_cost(x, y).double().cpu().numpy()
    plan = ot.emd([], [], cost, numItermax=1_000_000)
    return torch.as_tensor(plan, dtype=x.dtype, device=x.device)


def _transport_cost(x: Tensor, y: Tensor) -> Tensor:
    """Exact ½W₂² (POT); on mini-batches it is biased towards too much spread.

    The plan is held fixed: that is the gradient almost everywhere (envelope theorem).
    """
    return (_ground_cost(x, y) * exact_plan(x, y)).sum()


def _debiased_transport_cost(x: Tensor, y: Tensor) -> Tensor:
    """½W₂² between halves minus the same between the halves of one side.

    Two equal laws score zero on average. Both clouds are cut in two (first and second half, in the
    order given: draw them at random).
    """
    a, b = x.tensor_split(2)
    c, d = y.tensor_split(2)
    across = _transport_cost(a, c) + _transport_cost(b, d)
    return (across - _transport_cost(a, b) - _transport_cost(c, d)) / 2


# ---------------------------------------------------------------------------------------- Sinkhorn


def _sinkhorn(x: Tensor, y: Tensor) -> Tensor:
    r"""Debiased Sinkhorn divergence with the published settings; the numbers of geomloss.

    :math:`S = \mathrm{OT}_\varepsilon(x, y) - \tfrac12 \mathrm{OT}_\varepsilon(x, x) - \tfrac12
    \mathrm{OT}_\varepsilon(y, y)`, symmetric iterations while :math:`\sqrt\varepsilon` falls from
    the diameter to the blur (Feydy et al. 2019, arXiv:1810.08278, and Feydy 2020, annealing). These
    are few: the value is that of the algorithm, not of the limit.
    """
    centre = y.mean(0)
    x = x - centre
    y = y - centre
    fixed = x.detach()
    steps = _annealing(torch.cat([fixed, y]))
    at_x, at_y = _potentials(_half_squares(fixed, y), steps)
    alone, _ = _potentials(_half_squares(fixed, fixed), steps)
    # The last half-iteration carries the gradient, through the cost alone.
    last = steps[-1]
    to_y = _softmin(last, _half_squares(x, y), at_y)
    to_itself = _softmin(last, _half_squares(x, fixed), alone)
    with torch.no_grad():
        back = _softmin(last, _half_squares(y, fixed), at_x).mean()
    return (to_y - to_itself).mean() + back - _remembered_term(y)


@torch.no_grad()
def _remembered_term(y: Tensor) -> Tensor:
    """Return the term of the observed cloud alone: no prediction is in it, so it is kept."""
    key = (str(y.device), hashlib.blake2b(y.cpu().numpy().tobytes()).digest())
    if key not in _of_observed:
        if len(_of_observed) >= REMEMBERED:
            oldest = next(iter(_of_observed))
            del _of_observed[oldest]
        steps = _annealing(y)
        cost = _half_squares(y, y)
        potential, _ = _potentials(cost, steps)
        _of_observed[key] = _softmin(steps[-1], cost, potential).mean()
    return _of_observed[key]


def _annealing(cells: Tensor) -> list[float]:
    """Temperatures, from the squared diameter (twice) by SCALING squared to BLUR squared."""
    diameter = max(float((cells.amax(0) - cells.amin(0)).norm()), BLUR)
    n = math.ceil(math.log(BLUR / diameter) / math.log(SCALING))
    falling = [(diameter * SCALING**k) ** 2 for k in range(n)]
    return [diameter**2, *falling, BLUR**2]


def _half_squares(x: Tensor, y: Tensor) -> Tensor:  # (n, d), (m, d) -> (n, m)
    return (x.square().sum(1)[:, None] / 2 + y.square().sum(1) / 2 - x @ y.T).clamp_min(0)


def _softmin(
    temperature: float, cost: Tensor, potential: Tensor | None
) -> Tensor:  # (n, m) -> (n,)
    r""":math:`-\varepsilon \log \frac1m \sum_j e^{(f_j - c_{ij}) / \varepsilon}`; None: 0."""
    at = cost.new_zeros(()) if potential is None else potential / temperature
    exponent = torch.add(at, cost, alpha=-1 / temperature)
    # log_softmax takes each row in one pass through the cache, logsumexp takes four through memory
    total = exponent[:, 0] - exponent.log_softmax(1)[:, 0]
    return (math.log(cost.shape[1]) - total) * temperature


@torch.no_grad()
def _potentials(cost: Tensor, steps: list[float]) -> tuple[Tensor, Tensor]:  # (n, m) -> (n,), (m,)
    turned = cost.T.contiguous()
    f = _softmin(steps[0], cost, None)
    g = _softmin(steps[0], turned, None)
    for step in steps:
        next_f = (f + _softmin(step, cost, g)) / 2
        next_g = (g + _softmin(step, turned, f)) / 2
        f = next_f
        g = next_g
    return f, g


#: Losses by name.
LOSSES = {
    "energy": _energy_loss,
    "sinkhorn": _of_pairs(_sinkhorn),
    "ot": _of_pairs(_transport_cost),
    "debiased_ot": _of_pairs(_debiased_transport_cost),
}
