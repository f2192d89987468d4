r"""Be judged by somebody else's harness: scTimeBench 0.1.2 (MIT licence), forecast of gene expression.

The harness splits the data, hands us training cells, asks for the expression of each test cell at the next *test* time
(held-out times and the first one), and scores clouds per time with its own metrics. Two of our rows answer two
different questions, which its interface does not tell apart:

* ``from_t0``: every held-out time is simulated from the first snapshot; nothing held out is seen.
* ``own_state``: every test cell is moved from its own state, in the context of its own snapshot; from the second
  held-out time on that is a *held-out* cell. Another task, not to be compared with the first.

``bridge`` (:mod:`scimf.bridge`) also uses the training snapshot after the held-out time. The rows of :data:`UNTRAINED`
are neighbours for these numbers: ``mean_first`` repeats one mean cell (a squared cost per gene likes clouds without
spread), ``oracle_pcs`` sends the held-out cells themselves through our principal components and back.

scTimeBench lives in an environment of its own (:data:`RECIPE`), whose Python ``SCIMF_JUDGE`` names; it is imported only
there, and runs in a temporary folder.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from scimf import baselines, paths
from scimf.bridge import Bridge, fit_bridges
from scimf.fitted import FittedSDE
from scimf.preprocess import Space, Split, fit_space, hold_out
from scimf.scoreboard import recommended
from scimf.sde import SDEConfig
from scimf.snapshots import KEY, Snapshots
from scimf.train import fit

if TYPE_CHECKING:
    from anndata import AnnData

VERSION = "0.1.2"  #: the release whose task and metrics this file was written against
METRICS = ("WassersteinOTLoss", "EnergyDistanceLoss", "MMDLoss", "HausdorffLoss")  #: the harness's, at its defaults
TRAINED = ("from_t0", "own_state", "bridge")
UNTRAINED = ("copy_first", "copy_own", "mean_first", "mixture", "copy_first_pcs", "oracle_pcs")
POPULATION = "all"  #: the harness knows no populations; Snapshots calls the only one so

RECIPE = f"""
python -m venv judge
python -c "import site; print(site.getsitepackages()[0])" > judge/lib/python3.{sys.version_info[1]}/site-packages/a.pth
judge/bin/pip install --no-deps scTimeBench=={VERSION} PyYAML && export SCIMF_JUDGE=$PWD/judge/bin/python
"""  #: three lines, from the environment that has scimf


def judge(
    adata: "AnnData",
    times: Iterable[float],
    *,
    rows: Iterable[str] = TRAINED + UNTRAINED,
    seeds: Iterable[int] = (0, 1, 2),
    config: SDEConfig | None = None,
    n_pcs: int = 50,
    cache: Path | None = None,
) -> pd.DataFrame:
    """Score rows on held-out times of one log-normalised population under the harness.

    Training seeds are for :data:`TRAINED` rows, the others run once; ``config`` is
    :func:`scimf.scoreboard.recommended` if omitted, ``cache`` (for fits) a temporary folder.

    Returns
    -------
    DataFrame
        ``row, seed, time, metric, value``; ``time`` is missing for the harness's mean over held-out times, ``seed``
        for rows without training.

    Raises
    ------
    RuntimeError
        If there is no environment with the harness, or if the harness fails (with its last lines).
    ValueError
        If the data do not fit the harness, or a row or a time is unknown.
    """
    rows = list(rows)
    if unknown := set(rows) - {*TRAINED, *UNTRAINED}:
        raise ValueError(f"rows: unknown {sorted(unknown)}, known {[*TRAINED, *UNTRAINED]}")
    held = hold_out(adata, times=times).held_times
    python, tables = interpreter(), []
    with tempfile.TemporaryDirectory(prefix="scimf_judge_") as name:
        folder = Path(name)
        write_dataset(adata, folder / "data.h5ad")
        (folder / "run.sh").write_text(f'exec "{python}" -m scimf.judge --yaml_config "$1"\n', encoding="utf-8")
        fixed = {"config": (config or recommended()).to_dict(), "n_pcs": n_pcs}
        fixed["cache"] = str(Path(cache or folder / "fits").resolve())
        for row, seed in [(r, s) for r in rows for s in (seeds if r in TRAINED else [0])]:
            table = _run(python, folder, request(folder, held, fixed | {"row": row, "seed": seed}))
            tables.append(table.assign(row=row, seed=seed if row in TRAINED else None))
    table = pd.concat(tables, ignore_index=True).rename(columns={"timepoint": "time", "result": "value"})
    table["time"] = pd.to_numeric(table["time"].where(table["time"] != "avg"))
    return table.astype({"seed": "Int64"})[["row", "seed", "time", "metric", "value"]]


def interpreter() -> str:
    """Return the Python that has the harness; ``RuntimeError`` with :data:`RECIPE` if it does not or is not named."""
    python = os.environ.get("SCIMF_JUDGE")
    if not python:
        raise RuntimeError(f"SCIMF_JUDGE is not set, expected the Python of an environment made by{RECIPE}")
    code = "from importlib.metadata import version; print(version('scTimeBench'))"
    try:
        found = subprocess.run([python, "-c", code], capture_output=True, text=True).stdout.strip() or "no such package"
    except OSError as error:
        found = str(error)
    if found != VERSION:
        raise RuntimeError(f"SCIMF_JUDGE={python}: expected scTimeBench {VERSION}, found {found}; make it by{RECIPE}")
    return python


def write_dataset(adata: "AnnData", path: Path) -> None:
    """Write what the harness's ``MEFDataset`` reads: X as it is to be scored, and ``obs["timepoint"]``."""
    import anndata as ad

    form = adata.uns["scimf"]["form"]
    if form == "counts":
        raise ValueError("uns['scimf']['form'] is 'counts', expected log-normalised values: those are predicted")
    if "population" in adata.obs and adata.obs["population"].nunique() > 1:
        raise ValueError(f"obs['population'] has {adata.obs['population'].nunique()} values, the harness knows none")
    obs = pd.DataFrame({"timepoint": adata.obs["time"].to_numpy(float)}, index=adata.obs_names)
    ad.AnnData(adata.X, obs=obs, var=adata.var[[]], uns={"scimf": {"form": form}}).write_h5ad(path)


def request(folder: Path, held_times: Iterable[float], settings: dict) -> dict:
    """Return the harness's configuration of one row; settings travel as text, because YAML reads 1e-05 as a word."""
    method = {"name": f"{settings['row']}_{settings['seed']}", "train_and_test_script": str(folder / "run.sh")}
    split = {"name": "TestTimepointSelection", "test_tps": list(held_times)}
    data = {"name": "MEFDataset", "data_path": str(folder / "data.h5ad"), "data_preprocessing_steps": [split]}
    method["metadata"] = {"scimf": json.dumps(settings)}
    return {"method": method, "datasets": [data], "metrics": [{"name": metric} for metric in METRICS]}


def _run(python: str, folder: Path, chosen: dict) -> pd.DataFrame:
    name = chosen["method"]["name"]
    (folder / f"{name}.yaml").write_text(json.dumps(chosen), encoding="utf-8")  # JSON is YAML
    command = [python, "-m", "scTimeBench.main", "--config", f"{name}.yaml", "--database_path", f"{name}.db"]
    command += ["--output_dir", str(folder / "outputs"), "--log_level", "DEBUG"]
    path = os.pathsep.join(filter(None, [str(paths.ROOT), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PYTHONPATH": path, "PYTHONWARNINGS": "ignore", "SCIMF_UNATTENDED": "1"}
    for arguments in ([], ["--to_csv", "gex_pred", "--csv_dir", name]):
        done = subprocess.run([*command, *arguments], cwd=folder, env=environment, capture_output=True, text=True)
        if done.returncode:
            tail = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
            raise RuntimeError(f"scTimeBench, row {name}: return code {done.returncode}; it ended with\n{tail}")
    return pd.read_csv(folder / name / "gex_pred.csv")


@dataclass
class Trained:
    """What is known after training cells were handed over; nothing in it comes from test cells."""

    cells: "AnnData"
    genes: Snapshots  #: training snapshots, all genes
    space: Space
    model: FittedSDE | Bridge | None

    def to_genes(self, z: np.ndarray) -> np.ndarray:
        """Coordinates (cells, dim) to all genes; genes outside the space stay at their training mean."""
        whole = np.tile(np.asarray(self.cells.X.mean(axis=0), np.float32).reshape(1, -1), (len(z), 1))
        whole[:, self.cells.var_names.get_indexer(self.space.names)] = self.space.decode(z)
        return whole


def train(cells: "AnnData", times: Iterable[float], settings: dict) -> Trained:
    """Fit a row on training cells (``obs["time"]``); of held-out cells only the times in ``times`` are known."""
    known, every, cells = tuple(np.unique(cells.obs["time"]).tolist()), tuple(sorted(map(float, times))), cells.copy()
    split = Split(tuple(t for t in every if t not in known), (), every, known)
    cells.obsm[KEY] = cells.to_df().to_numpy(np.float32)
    genes = Snapshots.of(cells, split.train_mask(cells))
    space, model = fit_space(cells, split, n_pcs=settings["n_pcs"]), None
    problem, config = (cells, split, space), SDEConfig.from_dict(settings["config"])
    row, seed, options = settings["row"], settings["seed"], {"cache": settings["cache"], "progress": False}
    if row == "bridge":
        model = fit_bridges(*problem, configs={row: config}, seeds=[seed], workers=1, **options)[row, seed]
    elif row in TRAINED:
        model = fit(*problem, config=config, seed=seed, **options)
    return Trained(cells, genes, space, model)


def predict(trained: Trained, test: "AnnData", row: str, seed: int = 0) -> np.ndarray:
    """Expression of each test cell at the next test time, (cells, genes); NaN where there is none.

    Only ``own_state`` and ``copy_own`` look at the cell they replace, only ``oracle_pcs`` at those to be predicted;
    the others learn from ``test`` no more than how many cells are asked for.
    """
    time, predicted = test.obs["time"].to_numpy(float), np.full(test.shape, np.nan, np.float32)
    for now, then in pairwise(np.unique(time)):
        mine = test[time == now].copy()
        predicted[time == now] = _cloud(trained, test, mine, float(then), row, seed)
    return predicted


def _cloud(trained: Trained, test: "AnnData", mine: "AnnData", then: float, row: str, seed: int) -> np.ndarray:
    n, cells, rng = mine.n_obs, trained.cells, np.random.default_rng(seed)
    first = float(cells.obs["time"].min())
    if row == "copy_own":
        return mine.to_df().to_numpy(np.float32)
    if row == "copy_first":
        return baselines.resample(trained.genes.cells[POPULATION, first], n, rng)
    if row == "mean_first":
        return np.tile(trained.genes.cells[POPULATION, first].mean(0), (n, 1))
    if row == "mixture":
        return baselines.mixture(trained.genes, POPULATION, then, n, rng)
    if row == "copy_first_pcs":
        z = baselines.resample(cells.obsm[KEY][cells.obs["time"] == first], n, rng)
    elif row == "oracle_pcs":
        z = baselines.resample(trained.space.encode(test[test.obs["time"] == then]), n, rng)
    elif row == "own_state":
        mine.obsm[KEY] = trained.space.encode(mine)
        model = replace(trained.model, starts=Snapshots.of(mine, np.ones(n, bool)))
        moved = model.sample([then], n=n, max_context=n, seed=seed)  # every cell once, in another order
        z = moved.obsm[KEY][pd.Index(moved.obs["start_cell"]).get_indexer(mine.obs_names)]
    else:
        start = {"start": "t0"} if row == "from_t0" else {}
        z = trained.model.sample([then], n=n, seed=seed, **start).obsm[KEY]
    return trained.to_genes(z)


def main() -> None:
    """Run one row as the harness's method; its runner reads the arguments. Needs the environment of the harness."""
    import torch

    torch.set_num_threads(1)
    runner = import_module("scTimeBench.method_utils.method_runner")
    key = import_module("scTimeBench.shared.constants").ObservationColumns.TIMEPOINT.value

    class Row(runner.BaseMethod):
        def train(self, ann_data, all_tps=None):
            self.settings = json.loads(self.config["method"]["metadata"]["scimf"])
            ann_data.obs["time"] = ann_data.obs[key].to_numpy(float)
            self.trained = train(ann_data, all_tps, self.settings)

        def generate_next_tp_gex(self, test_ann_data):
            test_ann_data.obs["time"] = test_ann_data.obs[key].to_numpy(float)
            return predict(self.trained, test_ann_data, self.settings["row"], self.settings["seed"])

    runner.main(Row)


if __name__ == "__main__":
    main()
