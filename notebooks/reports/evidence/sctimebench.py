r"""Our model under somebody else's harness: scTimeBench 0.1.2 (MIT licence).

The task is a forecast of gene expression. The harness splits the data, hands over training cells,
asks for the expression of each test cell at the next *test* time (held-out times and the first
one), and scores clouds per time with its own metrics. Two of our rows answer two different
questions, which its interface does not tell apart:

* ``from_t0``: every held-out time is simulated from the first snapshot; nothing held out is seen.
* ``own_state``: every test cell is moved from its own state, in the context of its own snapshot;
  from the second held-out time on that is a *held-out* cell. Another task, not to be compared with
  the first.

``bridge`` (:mod:`evidence.two_sided`) also uses the training snapshot after the held-out
time. The rows of :data:`UNTRAINED` are neighbours for these numbers: ``mean_first`` repeats one
mean cell (a squared cost per gene likes clouds without spread), ``oracle_pcs`` sends the held-out
cells themselves through our principal components and back.

scTimeBench lives in an environment of its own (:data:`RECIPE`), whose Python ``SCIMF_SCTIMEBENCH``
names; it is imported only there, and runs in a temporary folder.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from scimf.core import paths
from scimf.data.space import Space, fit_space
from scimf.data.split import Split, hold_out
from scimf.dynamics.config import SDEConfig
from scimf.dynamics.fit import fit
from scimf.dynamics.fitted import FittedSDE
from scimf.dynamics.snapshots import KEY, ONE_POPULATION, Snapshots
from scimf.evaluation import baselines

from evidence.choices import recommended
from evidence.two_sided import TwoSided, fit_two_sided

if TYPE_CHECKING:
    from anndata import AnnData

VERSION = "0.1.2"  #: the release whose task and metrics this file was written against
#: The harness's own, at its defaults.
METRICS = ("WassersteinOTLoss", "EnergyDistanceLoss", "MMDLoss", "HausdorffLoss")
TRAINED = ("from_t0", "own_state", "bridge")
UNTRAINED = ("copy_first", "copy_own", "mean_first", "mixture", "copy_first_pcs", "oracle_pcs")
VARIABLE = "SCIMF_SCTIMEBENCH"  #: names the Python of the harness's environment

#: Three lines, from the environment that has scimf.
RECIPE = (
    "\npython -m venv sctimebench\n"
    'python -c "import site; print(site.getsitepackages()[0])" '
    f"> sctimebench/lib/python3.{sys.version_info[1]}/site-packages/a.pth\n"
    f"sctimebench/bin/pip install --no-deps scTimeBench=={VERSION} PyYAML "
    f"&& export {VARIABLE}=$PWD/sctimebench/bin/python\n"
)


@dataclass(frozen=True, kw_only=True)
class RowSettings:
    """What is fitted for a row, and how: it travels as text through the harness's configuration."""

    row: str
    seed: int
    config: dict[str, Any]  #: of :meth:`scimf.SDEConfig.to_dict`
    n_pcs: int
    cache: str


# ------------------------------------------------------------------------- where scimf is installed


def score_with_sctimebench(
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
    :func:`evidence.choices.recommended` if omitted, ``cache`` (for fits) a temporary folder.

    Returns
    -------
    DataFrame
        ``row, seed, time, metric, value``; ``time`` is missing for the harness's mean over held-out
        times, ``seed`` for rows without training.

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
    held_times = hold_out(adata, times=times).held_times
    python = python_with_sctimebench()
    config = config or recommended()
    tables = []
    with tempfile.TemporaryDirectory(prefix="scimf_sctimebench_") as name:
        folder = Path(name)
        write_dataset(adata, folder / "data.h5ad")
        command = f'exec "{python}" -m evidence.sctimebench --yaml_config "$1"\n'
        (folder / "run.sh").write_text(command, encoding="utf-8")
        fits = str(Path(cache or folder / "fits").resolve())
        fixed = {"config": config.to_dict(), "n_pcs": n_pcs, "cache": fits}
        for row in rows:
            for seed in seeds if row in TRAINED else [0]:
                settings = RowSettings(row=row, seed=seed, **fixed)
                table = _run(python, folder, harness_config(folder, held_times, settings))
                tables.append(table.assign(row=row, seed=seed if row in TRAINED else None))
    table = pd.concat(tables, ignore_index=True)
    table = table.rename(columns={"timepoint": "time", "result": "value"})
    table["time"] = pd.to_numeric(table["time"].where(table["time"] != "avg"))
    return table.astype({"seed": "Int64"})[["row", "seed", "time", "metric", "value"]]


def python_with_sctimebench() -> str:
    """Return the Python that has the harness.

    Raises
    ------
    RuntimeError
        If it is not named or does not have the harness; with :data:`RECIPE`.
    """
    python = os.environ.get(VARIABLE)
    if not python:
        raise RuntimeError(
            f"{VARIABLE} is not set, expected the Python of an environment made by{RECIPE}"
        )
    code = "from importlib.metadata import version; print(version('scTimeBench'))"
    try:
        done = subprocess.run([python, "-c", code], capture_output=True, text=True)
        found = done.stdout.strip() or "no such package"
    except OSError as error:
        found = str(error)
    if found != VERSION:
        expected = f"expected scTimeBench {VERSION}, found {found}"
        raise RuntimeError(f"{VARIABLE}={python}: {expected}; make it by{RECIPE}")
    return python


def write_dataset(adata: "AnnData", path: Path) -> None:
    """Write what the harness's ``MEFDataset`` reads: X, as it is to be scored, and times.

    Raises
    ------
    ValueError
        If the values are counts, or there are several populations.
    """
    import anndata as ad

    form = adata.uns["scimf"]["form"]
    if form == "counts":
        expected = "expected log-normalised values: those are predicted"
        raise ValueError(f"uns['scimf']['form'] is 'counts', {expected}")
    if "population" in adata.obs and adata.obs["population"].nunique() > 1:
        n = adata.obs["population"].nunique()
        raise ValueError(f"obs['population'] has {n} values, the harness knows none")
    obs = pd.DataFrame({"timepoint": adata.obs["time"].to_numpy(float)}, index=adata.obs_names)
    var = adata.var[[]]
    ad.AnnData(adata.X, obs=obs, var=var, uns={"scimf": {"form": form}}).write_h5ad(path)


def harness_config(
    folder: Path, held_times: Iterable[float], settings: RowSettings
) -> dict[str, Any]:
    """Return the harness's configuration of one row.

    Settings travel as text, because YAML reads 1e-05 as a word.
    """
    return {
        "method": {
            "name": f"{settings.row}_{settings.seed}",
            "train_and_test_script": str(folder / "run.sh"),
            "metadata": {"scimf": json.dumps(asdict(settings))},
        },
        "datasets": [
            {
                "name": "MEFDataset",
                "data_path": str(folder / "data.h5ad"),
                "data_preprocessing_steps": [
                    {"name": "TestTimepointSelection", "test_tps": list(held_times)}
                ],
            }
        ],
        "metrics": [{"name": metric} for metric in METRICS],
    }


def _run(python: str, folder: Path, config: dict[str, Any]) -> pd.DataFrame:
    """Run the harness on one row and read its table."""
    name = config["method"]["name"]
    (folder / f"{name}.yaml").write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML
    command = [python, "-m", "scTimeBench.main", "--log_level", "DEBUG"]
    command += ["--config", f"{name}.yaml", "--database_path", f"{name}.db"]
    command += ["--output_dir", str(folder / "outputs")]
    places = [str(paths.ROOT), str(paths.ROOT / "notebooks" / "reports")]
    if "PYTHONPATH" in os.environ:
        places.append(os.environ["PYTHONPATH"])
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(places),
        "PYTHONWARNINGS": "ignore",
        "SCIMF_UNATTENDED": "1",
    }
    for arguments in ([], ["--to_csv", "gex_pred", "--csv_dir", name]):
        done = subprocess.run(
            [*command, *arguments], cwd=folder, env=environment, capture_output=True, text=True
        )
        if done.returncode:
            tail = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
            code = f"return code {done.returncode}"
            raise RuntimeError(f"scTimeBench, row {name}: {code}; it ended with\n{tail}")
    return pd.read_csv(folder / name / "gex_pred.csv")


# ----------------------------------------------------------------------- where the harness calls us


@dataclass
class FittedRow:
    """What is known after training cells were handed over; nothing in it comes from test cells."""

    cells: "AnnData"
    genes: Snapshots  #: training snapshots, all genes
    space: Space
    model: FittedSDE | TwoSided | None  #: None for rows without training

    def to_genes(self, z: np.ndarray) -> np.ndarray:
        """Coordinates (cells, dim) to all genes; those outside the space stay at their mean."""
        mean = np.asarray(self.cells.X.mean(axis=0), np.float32).reshape(1, -1)
        expression = np.tile(mean, (len(z), 1))
        inside = self.cells.var_names.get_indexer(self.space.names)
        expression[:, inside] = self.space.decode(z)
        return expression


def fit_row(cells: "AnnData", times: Iterable[float], settings: RowSettings) -> FittedRow:
    """Fit a row on training cells (``obs["time"]``); of held-out cells only times are known."""
    cells = cells.copy()
    train_times = tuple(np.unique(cells.obs["time"]).tolist())
    times = tuple(sorted(float(time) for time in times))
    held_times = tuple(time for time in times if time not in train_times)
    split = Split(held_times, (), times, train_times)
    cells.obsm[KEY] = cells.to_df().to_numpy(np.float32)
    genes = Snapshots.of(cells, split.train_mask(cells))
    space = fit_space(cells, split, n_pcs=settings.n_pcs)
    problem = (cells, split, space)
    config = SDEConfig.from_dict(settings.config)
    model = None
    if settings.row == "bridge":
        options = {"seeds": [settings.seed], "cache": settings.cache, "workers": 1}
        fits = fit_two_sided(*problem, configs={"bridge": config}, **options)
        model = fits["bridge", settings.seed]
    elif settings.row in TRAINED:
        options = {"seed": settings.seed, "cache": settings.cache, "progress": False}
        model = fit(*problem, config=config, **options)
    return FittedRow(cells, genes, space, model)


def predict_next_times(
    fitted: FittedRow, test: "AnnData", row: str, seed: int = 0
) -> np.ndarray:  # (cells, genes)
    """Expression of each test cell at the next test time; NaN where there is none.

    Only ``own_state`` and ``copy_own`` look at the cell they replace, only ``oracle_pcs`` at those
    to be predicted; the others learn from ``test`` no more than how many cells are asked for.
    """
    time = test.obs["time"].to_numpy(float)
    predicted = np.full(test.shape, np.nan, np.float32)
    for now, following in pairwise(np.unique(time)):
        cells = test[time == now].copy()
        if row == "oracle_pcs":
            observed = fitted.space.encode(test[time == following])
            rng = np.random.default_rng(seed)
            z = baselines.resample(observed, cells.n_obs, rng)
            predicted[time == now] = fitted.to_genes(z)
        elif row in TRAINED:
            z = _simulated(fitted, cells, float(following), row, seed)
            predicted[time == now] = fitted.to_genes(z)
        else:
            predicted[time == now] = _without_training(fitted, cells, float(following), row, seed)
    return predicted


def _simulated(
    fitted: FittedRow, cells: "AnnData", time: float, row: str, seed: int
) -> np.ndarray:  # (cells, dim)
    n = cells.n_obs
    if row == "own_state":
        cells.obsm[KEY] = fitted.space.encode(cells)
        model = replace(fitted.model, starts=Snapshots.of(cells, np.ones(n, bool)))
        # Every cell is simulated once, in another order.
        moved = model.sample([time], n=n, max_context=n, seed=seed)
        place = pd.Index(moved.obs["start_cell"]).get_indexer(cells.obs_names)
        return moved.obsm[KEY][place]
    options = {"start": "t0"} if row == "from_t0" else {}
    return fitted.model.sample([time], n=n, seed=seed, **options).obsm[KEY]


def _without_training(
    fitted: FittedRow, cells: "AnnData", time: float, row: str, seed: int
) -> np.ndarray:  # (cells, genes)
    n = cells.n_obs
    rng = np.random.default_rng(seed)
    first_time = float(fitted.cells.obs["time"].min())
    first = fitted.genes.cells[ONE_POPULATION, first_time]
    if row == "copy_own":
        return cells.to_df().to_numpy(np.float32)
    if row == "copy_first":
        return baselines.resample(first, n, rng)
    if row == "mean_first":
        return np.tile(first.mean(0), (n, 1))
    if row == "mixture":
        return baselines.BASELINES["mixture"](fitted.genes, ONE_POPULATION, time, n, rng)
    in_first = (fitted.cells.obs["time"] == first_time).to_numpy()  # copy_first_pcs
    return fitted.to_genes(baselines.resample(fitted.cells.obsm[KEY][in_first], n, rng))


def main() -> None:
    """Run one row as the harness's method; its runner reads the arguments.

    Needs the environment of the harness.
    """
    runner = import_module("scTimeBench.method_utils.method_runner")
    key = import_module("scTimeBench.shared.constants").ObservationColumns.TIMEPOINT.value

    class Row(runner.BaseMethod):
        def train(self, ann_data, all_tps=None):
            self.settings = RowSettings(**json.loads(self.config["method"]["metadata"]["scimf"]))
            ann_data.obs["time"] = ann_data.obs[key].to_numpy(float)
            self.fitted = fit_row(ann_data, all_tps, self.settings)

        def generate_next_tp_gex(self, test_ann_data):
            test_ann_data.obs["time"] = test_ann_data.obs[key].to_numpy(float)
            settings = self.settings
            return predict_next_times(self.fitted, test_ann_data, settings.row, settings.seed)

    torch.set_num_threads(1)  # the harness runs several of these processes
    runner.main(Row)


if __name__ == "__main__":
    main()
