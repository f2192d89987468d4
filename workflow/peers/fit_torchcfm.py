"""OT flow matching by torchcfm, on the route of its single-cell example.

One network over all intervals, a batch of every interval a step, coordinates standardised.

Route: https://github.com/atong01/conditional-flow-matching/blob/main/examples/single_cell/single-cell_example.ipynb
"""

import numpy as np
import torch
from protocol import Predict, Task, answer
from sklearn.preprocessing import StandardScaler
from torchcfm.conditional_flow_matching import ExactOptimalTransportConditionalFlowMatcher
from torchcfm.models import MLP
from torchcfm.utils import torch_wrapper
from torchdyn.core import NeuralODE


def fit(task: Task) -> Predict:
    """Train one velocity over all intervals."""
    torch.manual_seed(task.seed)
    np.random.seed(task.seed)
    asked = task.settings
    scaler = StandardScaler().fit(task.cells)
    clouds = {}
    for place in task.train_places:
        clouds[place] = torch.tensor(scaler.transform(task.at(place)), dtype=torch.float32)
    model = MLP(dim=task.cells.shape[1], time_varying=True, w=asked["width"])
    optimiser = torch.optim.Adam(model.parameters(), asked["lr"])
    matcher = ExactOptimalTransportConditionalFlowMatcher(sigma=asked["sigma"])
    for _ in range(asked["steps"]):
        inputs, slopes = batch(matcher, clouds, asked["batch"])
        optimiser.zero_grad()
        loss = (model(inputs) - slopes).square().mean()
        loss.backward()
        optimiser.step()
    flow = NeuralODE(torch_wrapper(model), solver="dopri5", sensitivity="adjoint")

    def predict(k: int) -> np.ndarray:
        before = task.before(task.held_places[k])
        span = torch.linspace(float(before), float(task.held_places[k]), 2)
        with torch.no_grad():
            moved = flow.trajectory(clouds[before], t_span=span)[-1]
        return scaler.inverse_transform(moved.numpy())

    return predict


def batch(
    matcher: ExactOptimalTransportConditionalFlowMatcher, clouds: dict[int, torch.Tensor], n: int
) -> tuple[torch.Tensor, torch.Tensor]:  # (cells, dim + 1), (cells, dim)
    """Points of all intervals with their times, and the velocities there."""
    inputs = []
    slopes = []
    places = sorted(clouds)
    for start, end in zip(places[:-1], places[1:], strict=True):
        x = clouds[start][torch.randint(len(clouds[start]), (n,))]
        y = clouds[end][torch.randint(len(clouds[end]), (n,))]
        u, points, ways = matcher.sample_location_and_conditional_flow(x, y)
        when = start + u * (end - start)
        inputs.append(torch.cat([points, when[:, None]], 1))
        slopes.append(ways / (end - start))
    return torch.cat(inputs), torch.cat(slopes)


if __name__ == "__main__":
    answer("torchcfm", fit)
