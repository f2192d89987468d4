"""scDiffEq: a neural SDE with learned drift and diffusion, by its class and its ``simulate``.

Route: https://pypi.org/project/scdiffeq
"""

import anndata as ad
import numpy as np
import pandas as pd
import scdiffeq
import torch
from protocol import Predict, Task, answer


def fit(task: Task) -> Predict:
    """Train from the first time on."""
    scale = task.cells.std()
    obs = pd.DataFrame({"t": task.places.astype(float)})
    obs.index = [str(i) for i in range(len(obs))]
    cells = ad.AnnData(np.zeros((len(obs), 1), np.float32), obs=obs)
    cells.obsm["X_pca"] = (task.cells / scale).astype(np.float32)
    options = {"time_key": "t", "use_key": "X_pca", "latent_dim": task.cells.shape[1]}
    model = scdiffeq.scDiffEq(cells, seed=task.seed, **options)
    model.fit(train_epochs=task.settings["train_epochs"], accelerator="cpu", ckpt_frequency=10**6)

    def predict(k: int) -> np.ndarray:
        torch.manual_seed(task.seed)
        before = task.before(task.held_places[k])
        start = cells.obs.index[cells.obs["t"] == before]
        n_steps = round((task.held_places[k] - before) / 0.1) + 1
        span = torch.linspace(float(before), float(task.held_places[k]), n_steps)
        moved = scdiffeq.tl.simulate(
            cells, model.DiffEq, idx=start, time_key="t", t=span, device=torch.device("cpu")
        )
        last = moved.obs["t"] == moved.obs["t"].max()
        return np.asarray(moved[last.to_numpy()].X) * scale

    return predict


if __name__ == "__main__":
    answer("scdiffeq", fit)
