"""CytoBridge: velocity and growth (and interaction) as a neural ODE, by its ``fit``.

The package's own configurations are missing from its wheel, so the stages that its documentation
describes stand in ``peers.toml``.

Route: https://github.com/zhenyiizhang/CytoBridge/tree/main/docs/source/notebooks
"""

import anndata as ad
import CytoBridge
import numpy as np
import pandas as pd
import torch
from CytoBridge.tl.methods import ODEFunc
from CytoBridge.utils.utils import load_model_from_adata, set_seed
from protocol import Predict, Task, answer
from torchdiffeq import odeint


def fit(task: Task) -> Predict:
    """Preprocess (no more than naming the times) and train."""
    set_seed(task.seed)
    settings = task.settings
    obs = pd.DataFrame({"place": task.places.astype(float)})
    obs.index = [str(i) for i in range(len(obs))]
    cells = ad.AnnData(task.cells.astype(np.float32), obs=obs)
    plain = {"normalization": False, "log1p": False, "select_hvg": False}
    mapping = {place: place for place in obs["place"].unique()}
    cells = CytoBridge.pp.preprocess(
        cells, time_key="place", dim_reduction="none", time_mapping=mapping, **plain
    )
    nets = {f"{name}_net": settings["net"] for name in settings["components"]}
    defaults = {**settings["defaults"], "batch_size": settings["batch"]}
    config = {
        "ckpt_dir": "run",
        "model": {"components": settings["components"], **nets},
        "training": {"defaults": defaults, "plan": settings["plan"]},
    }
    CytoBridge.tl.fit(cells, config=config, batch_size=settings["batch"], device="cpu")
    model = load_model_from_adata(cells).eval()
    used = {f"{kind}_use": False for kind in ("score", "interaction")}
    used["interaction_use"] = "interaction" in settings["components"]
    moves = ODEFunc(model, use_mass=True, **used)

    def predict(k: int) -> np.ndarray:
        before = task.before(task.held_places[k])
        x = torch.tensor(task.at(before), dtype=torch.float32)
        log_weight = torch.full((len(x), 1), -float(np.log(len(x))))
        state = (x, log_weight, torch.zeros_like(log_weight))
        span = torch.tensor([before, task.held_places[k]], dtype=torch.float32)
        moved, log_weight, _ = odeint(
            moves, state, span, method="euler", options={"step_size": 0.1}
        )
        weight = log_weight[-1, :, 0].detach().softmax(0).numpy().astype(float)
        rng = np.random.default_rng(task.seed)
        rows = rng.choice(len(x), len(x), p=weight / weight.sum())
        return moved[-1].detach().numpy()[rows]

    return predict


if __name__ == "__main__":
    answer("CytoBridge", fit)
