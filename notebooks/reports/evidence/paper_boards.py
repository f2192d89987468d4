"""Boards for the data sets of both papers: they run the day their files are in the cache.

None of these files was at hand. What is asked of a set, and its size, is in ``paper_boards.toml``;
its files are in the registry. Nothing is chosen on any of these sets: ours is the default of
:class:`evidence.choices.Choice`, fixed on other data.
"""

import json
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from beside.velocities import agreement_with_next
from scimf.core import paths
from scimf.data import registry
from scimf.data.split import SPLITS
from scimf.dynamics.fit import fit_many

from evidence.boards import Board
from evidence.choices import Choice
from evidence.predictions import Training
from evidence.scores import Sizes, score_methods, score_setup
from evidence.setups import Setup, predicted, setups

if TYPE_CHECKING:
    from anndata import AnnData
    from scimf.dynamics.config import SDEConfig
    from scimf.dynamics.fitted import FittedSDE

#: What is trained of ours; the published configuration comes beside it, with its own steps.
OURS = ("scimf", "scimf_forward", "no_interaction")
DIFFICULTIES = ("easy", "med", "hard")  #: splits of scTimeBench
BENCHMARK = "published_scores"  #: its scores, in the registry
GIB = 2**30


def read_sets(kind: str) -> dict[str, dict[str, Any]]:
    """Read the sets of one kind by name: "time_course" (scIMF) or "counts" (scLDM)."""
    with open(Path(__file__).with_name("paper_boards.toml"), "rb") as file:
        return tomllib.load(file)[kind]


TIME_COURSES = read_sets("time_course")
COUNTS = read_sets("counts")


# ------------------------------------------------------------------------- what is waited for


def missing_files(name: str) -> list[str]:
    """Files of a registered set that are not in the cache, as the registry calls them."""
    rows = registry.entries()[name]["files"]
    return [row["file"] for row in rows if not (paths.DATA / row["file"]).is_file()]


def waits_for(name: str) -> str:
    """Say what a set waits for; empty if its files are in the cache."""
    missing = missing_files(name)
    return f"waits for {', '.join(missing)}" if missing else ""


def _bench() -> dict[str, Any]:
    path = paths.ROOT / "results" / "published" / "bench.json"
    return json.loads(path.read_text(encoding="utf-8"))


def recorded_speedup() -> float:
    """How many of our recommended steps take as long as one of the published form, both ours."""
    step = _bench()["step"]
    return step["engine_seconds"]["median"] / step["recommended_seconds"]["median"]


def expected_costs(name: str, steps: int = 3000) -> dict[str, float]:
    """Estimate what a set costs on two cores, from the recorded step and its published size.

    Returns
    -------
    dict
        ``minutes``: of the published configuration over all named splits, ``steps`` steps and one
        training seed, or of one count autoencoder (2,000 genes, 64 cells a step); ``gib``: of the
        matrix, a tenth of it not zero, twice, and of the dense training cells on 2,000 genes.
    """
    bench = _bench()
    about = (TIME_COURSES | COUNTS)[name]
    matrix = 2 * 8 * 0.1 * about["cells"] * about["genes"]
    if name in TIME_COURSES:
        step = bench["step"]["engine_seconds"]["median"]
        size = about["cells"] / bench["step"]["cells_observed"]
        minutes = len(boards_of(name)) * steps * step * size / 60
        dense = 2 * 4 * 2000 * about["cells"]
    else:
        per_second = bench["counts"]["training_cells_per_second.set"]["median"]
        minutes = steps * 64 / (per_second * 500 / 2000) / 60  # the record is of 500 genes
        dense = 0
    return {"minutes": minutes, "gib": (matrix + dense) / GIB}


# ------------------------------------------------------------------------------- time courses


def boards_of(name: str, *, n: int = 1000, n_pcs: int = 50) -> list[Board]:
    """Every named split of a time course that holds something out, then those of scTimeBench."""
    splits = {}
    for split, times in SPLITS[name].items():
        if times:  # all_times holds out nothing: there is nothing to score
            splits[split] = times
    about = TIME_COURSES[name]
    known = registry.entries()[name]["read"]["times"]
    for difficulty in DIFFICULTIES:
        if difficulty in about:
            splits[f"sctimebench_{difficulty}"] = [known[i] for i in about[difficulty]]
    boards = []
    for split, times in splits.items():
        what = ", ".join(f"{time:g}" for time in times)
        asked = {"protocol": "leave_one_out", "setups": (tuple(times),), "n": n, "n_pcs": n_pcs}
        boards.append(Board(name=f"{name}.{split}", dataset=name, what=what, **asked))
    return boards


def score_time_course(
    board: Board,
    adata: "AnnData",
    training: Training,
    sizes: Sizes,
    published: "SDEConfig",
    **options,
) -> pd.DataFrame:
    """Score ours, the published configuration, floors and baselines on one split.

    Parameters
    ----------
    board, adata
        One of :func:`boards_of`, and its data.
    training, sizes
        What is trained of ours and how often (``peer_seeds`` are those of the published one), and
        how it is scored.
    published
        The published configuration, with the steps it is given.
    options
        ``cache, device, workers`` as for :func:`scimf.fit_many`.

    Returns
    -------
    DataFrame
        As of :func:`evidence.scores.score_setup`, and the metric ``sctimebench``: the divergence in
        gene space by the number of genes, as that benchmark has it; and ``velocity_cosine`` of the
        published one (:func:`beside.velocities.agreement_with_next`) at held-out times.
    """
    parts = []
    for setup in setups(board, adata):
        parts.append(score_methods(setup, Choice(), training, sizes, **options)["scores"])
        configs = {"published": published}
        fits = fit_many(*setup.problem, configs=configs, seeds=training.peer_seeds, **options)
        samples = {}
        for (method, seed), model in fits.items():
            samples[method, seed] = predicted(model, setup, seed=seed)
        workers = options.get("workers")
        parts.append(score_setup(setup, samples, sizes, baselines=False, workers=workers))
        in_genes = pd.concat(parts[-2:])
        in_genes = in_genes[in_genes["metric"] == "gene_sinkhorn"]
        per_gene = in_genes["value"] / len(setup.space.names)
        parts.append(in_genes.assign(metric="sctimebench", value=per_gene))
        parts.append(_velocities(fits, setup, sizes.n))
    return pd.concat(parts, ignore_index=True)


def published_cells(
    board: Board, adata: "AnnData", published: "SDEConfig", **options
) -> tuple["AnnData", "AnnData"]:
    """Return held-out cells of a board and those that the published configuration predicts.

    Both with ``obsm["X_scimf"]``, in components fitted on training times; the fit is that of
    :func:`score_time_course`, read from the cache, with training seed 0.
    """
    (setup,) = setups(board, adata)
    fits = fit_many(*setup.problem, configs={"published": published}, seeds=(0,), **options)
    observed = setup.adata[setup.split.held_mask(setup.adata)]
    return observed, predicted(fits["published", 0], setup, seed=0)


def _velocities(fits: dict[tuple[str, int], "FittedSDE"], setup: Setup, n: int) -> pd.DataFrame:
    """Agreement of velocities with the next snapshot at held-out times, as rows of scores."""
    parts = []
    for (method, seed), model in fits.items():
        table = agreement_with_next(model, setup.adata, n=n)
        table = table[table["time"].isin(setup.split.held_times)]
        shared = table[["population", "time", "n"]].assign(draw=0)
        parts.append(shared.assign(method=method, seed=seed, value=table["cosine"]))
        if seed == 0:
            direction = {"method": "mean_direction", "seed": None}
            parts.append(shared.assign(**direction, value=table["mean_direction"]))
    found = pd.concat(parts, ignore_index=True).astype({"seed": "Int64"})
    about = {"metric": "velocity_cosine", "kind": "time", "board": setup.board}
    return found.assign(**about, setup=setup.held_times)


# --------------------------------------------------------------------------------- scTimeBench


def benchmark_file() -> Path:
    """Fetch the benchmark's table of scores of predicted expression."""
    return registry.fetch(BENCHMARK)[0]


def read_benchmark(file: Path) -> pd.DataFrame:
    """Read scTimeBench's scores of predicted expression, ``gex_pred.csv`` of its repository.

    Returns
    -------
    DataFrame
        ``board`` (as of :func:`boards_of`), ``method``, ``time`` (its index; missing for the mean
        over held-out times) and ``value``, its Wasserstein score, of sets that have a board.
    """
    table = pd.read_csv(file)
    table = table[table["metric"] == "WassersteinOTLoss"]
    name_of = {}
    for name, about in TIME_COURSES.items():
        if "benchmark" in about:
            name_of[about["benchmark"]] = name
    table = table[table["dataset"].isin(name_of)]
    board = table["dataset"].map(name_of) + ".sctimebench_" + table["interpolation_type"]
    time = pd.to_numeric(table["timepoint"].where(table["timepoint"] != "avg"))
    found = table.assign(board=board, time=time, value=table["result"])
    return found[["board", "method", "time", "value"]].reset_index(drop=True)
