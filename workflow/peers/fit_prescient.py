"""PRESCIENT: a potential fitted from the first time on, by its own ``train.run``.

The command ``process_data`` reads tables of genes and knows whole days only, so what it does
(standardise, principal components) is done here; held-out times are left out of the places that
are trained on, which is how the package's configuration means them to be.

Route: https://cgs.csail.mit.edu/prescient
"""

import numpy as np
import torch
from prescient import simulate, train
from prescient.commands import train_model
from protocol import Predict, Task, answer
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler


def fit(task: Task) -> Predict:
    """Pretrain and train, and take the last model."""
    scaler = StandardScaler().fit(task.cells)
    rotation = PCA().fit(scaler.transform(task.cells))
    clouds = {}
    for place in task.train_places:
        turned = rotation.transform(scaler.transform(task.at(place)))
        clouds[place] = torch.tensor(turned, dtype=torch.float32)
    chosen = dict(task.settings)
    burn_in_cells = chosen.pop("burn_in_cells")
    flags = [f"--{name}={value}" for name, value in chosen.items()]
    arguments = ["-i", "none", "--out_dir", "run", "--seed", str(task.seed), *flags]
    given = train_model.create_parser().parse_args(arguments)
    given.weight = "none"
    kept = {}

    def prepare(given):
        config = train_model.init_config(given)
        config.x_dim = task.cells.shape[1]
        config.start_t, *config.train_t = task.train_places
        config.t = config.train_t[-1] - config.start_t
        config.ns = burn_in_cells
        kept["config"] = config
        even = torch.ones(len(clouds[config.start_t]), dtype=torch.float64)
        weights = {(config.start_t, place): even for place in config.train_t}
        places = {place: place for place in task.train_places}
        return clouds, places, weights, config

    train.run(given, prepare)
    config = kept["config"]
    model = train.AutoGenerator(config)
    last = config.train_pt.format(f"epoch_{given.train_epochs:06d}")
    model.load_state_dict(torch.load(last, weights_only=True)["model_state_dict"])

    def predict(k: int) -> np.ndarray:
        before = task.before(task.held_places[k])
        x = clouds[before].numpy()
        labels = np.full(len(x), before)
        n_steps = round((task.held_places[k] - before) / config.train_dt)
        asked = (1, len(x), n_steps, torch.device("cpu"), before, None)
        runs = simulate.simulate(x, labels, labels, None, model, config, *asked)
        moved = rotation.inverse_transform(runs[0][-1])
        return scaler.inverse_transform(moved)

    return predict


if __name__ == "__main__":
    answer("prescient", fit)
