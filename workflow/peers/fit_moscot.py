"""moscot: a temporal problem over the training times, and cells in between.

The cells come from the function that the documented ``compute_interpolated_distance`` compares
with the truth; it is given no truth here.

Route: https://moscot.readthedocs.io
"""

import anndata as ad
import numpy as np
import pandas as pd
from moscot.problems.time import TemporalProblem
from protocol import Predict, Task, answer, at_most


def fit(task: Task) -> Predict:
    """Solve all intervals between training times."""
    rng = np.random.default_rng(task.seed)
    clouds = {}
    for place in task.train_places:
        clouds[place] = at_most(task.at(place), task.settings["most_cells"], rng)
    times = np.concatenate([np.full(len(x), task.time_of(p)) for p, x in clouds.items()])
    cells = np.concatenate(list(clouds.values()))
    obs = pd.DataFrame({"time": times}, index=[f"cell{i}" for i in range(len(cells))])
    obs["time"] = obs["time"].astype("category")
    adata = ad.AnnData(np.zeros((len(cells), 1), np.float32), obs=obs)
    adata.obsm["X_pca"] = cells
    problem = TemporalProblem(adata).prepare(time_key="time", joint_attr="X_pca")
    problem = problem.solve(epsilon=task.settings["epsilon"], scale_cost="mean")

    def predict(k: int) -> np.ndarray:
        before, after, share = task.way(k)
        return problem._interpolate_gex_with_ot(
            number_cells=len(task.at(before)),
            source_data=clouds[before],
            target_data=clouds[after],
            source=task.time_of(before),
            target=task.time_of(after),
            interpolation_parameter=share,
            account_for_unbalancedness=False,
            seed=task.seed,
        )

    return predict


if __name__ == "__main__":
    answer("moscot", fit)
