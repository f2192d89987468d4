"""Waddington-OT: a transport map between the neighbours in time, and cells in between.

Route: https://broadinstitute.github.io/wot
"""

import anndata as ad
import numpy as np
import pandas as pd
import wot
import wot.ot
from protocol import Predict, Task, answer, at_most


def fit(task: Task) -> Predict:
    """Compute the maps between the neighbours of every held-out time."""
    rng = np.random.default_rng(task.seed)
    np.random.seed(task.seed)
    clouds = {}
    for place in task.train_places:
        clouds[place] = at_most(task.at(place), task.settings["most_cells"], rng)
    days = np.concatenate([np.full(len(x), task.time_of(p)) for p, x in clouds.items()])
    cells = np.concatenate(list(clouds.values())).astype(float)
    obs = pd.DataFrame({"day": days}, index=[f"cell{i}" for i in range(len(cells))])
    model = wot.ot.OTModel(ad.AnnData(cells, obs=obs), day_field="day")
    maps = {}
    for k in range(len(task.held_times)):
        before, after, _ = task.way(k)
        if (before, after) not in maps:
            found = model.compute_transport_map(task.time_of(before), task.time_of(after))
            maps[before, after] = np.asarray(found.X)

    def predict(k: int) -> np.ndarray:
        before, after, share = task.way(k)
        pair = (clouds[before], clouds[after])
        n = len(task.at(before))
        return wot.ot.interpolate_with_ot(*pair, maps[before, after], share, n)

    return predict


if __name__ == "__main__":
    answer("wot", fit)
