"""MIOFlow by its class, in the coordinates it is given (no autoencoder before it).

Route: https://github.com/KrishnaswamyLab/MIOFlow/blob/main/docs/index.md
"""

import anndata as ad
import numpy as np
import pandas as pd
import torch
from mioflow.mioflow import MIOFlow
from protocol import Predict, Task, answer
from torchdiffeq import odeint


def fit(task: Task) -> Predict:
    """Train on all intervals; the package counts training times 0, 1, 2, ..."""
    torch.manual_seed(task.seed)
    np.random.seed(task.seed)
    names = [f"cell{i}" for i in range(len(task.cells))]
    obs = pd.DataFrame({"time_bin": task.places}, index=names)
    cells = ad.AnnData(np.zeros((len(names), 1), np.float32), obs=obs)
    cells.obsm["X_pca"] = task.cells
    model = MIOFlow(cells, obs_time_key="time_bin", debug_level="error", **task.settings)
    model.fit()

    def predict(k: int) -> np.ndarray:
        before, _, share = task.way(k)
        start = task.train_places.index(before)
        scaled = (task.at(before) - model.mean_vals) / model.std_vals
        span = torch.tensor([start, start + share], dtype=torch.float32)
        with torch.no_grad():
            moved = odeint(model.ode_model, torch.tensor(scaled, dtype=torch.float32), span)[-1]
        return moved.numpy() * model.std_vals + model.mean_vals

    return predict


if __name__ == "__main__":
    answer("MIOFlow", fit)
