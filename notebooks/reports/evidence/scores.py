"""Scores of every method on the set-ups of a board; a set-up that was scored before is read.

:func:`score_methods` is the one job that boards and sweeps (``workflow/sweep.py``) consist of: a
board asks for all methods and baselines of a set-up at once, a sweep for one method and training
seed at a time. Every prediction draws from a stream of its own, so both ways give the same numbers.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scimf.core.files import write_file
from scimf.core.identity import identity
from scimf.core.parallel import side_by_side
from scimf.data.load import load
from scimf.dynamics.snapshots import Snapshots
from scimf.evaluation.baselines import BASELINES
from scimf.evaluation.distances import wasserstein
from scimf.evaluation.held_out import METRICS, Scoring, evaluate

from evidence.boards import Board
from evidence.choices import ENERGY, Choice, choose
from evidence.other_methods import schroedinger_bridge
from evidence.predictions import Trained, Training, predict
from evidence.setups import Setup, setups

if TYPE_CHECKING:
    from anndata import AnnData

#: Predictions without training, by name.
UNTRAINED = {**BASELINES, "schroedinger_bridge": schroedinger_bridge}
TRANSPORT_METRICS = ("w1", "w2")  #: they take the time
CHEAP_METRICS = tuple(metric for metric in METRICS if metric not in TRANSPORT_METRICS)
TABLES = ("scores", "paired", "whole")
_STAND_IN = ("held-out cells", 0)


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How many cells are compared, how often.

    Attributes
    ----------
    n, draws
        Cells on either side of a score, and draws of these cells; exact transport takes at most two
        draws.
    transport_n
        Cells on either side of W1 and W2.
    paired_draws
        Draws of the table of paired differences; 0: no such table.
    whole
        Whether there is a table of W1 at full size.
    """

    n: int
    draws: int
    transport_n: int
    paired_draws: int = 0
    whole: bool = False

    @property
    def transport_draws(self) -> int:
        """Draws of cells for exact transport."""
        return min(self.draws, 2)


# ------------------------------------------------------------------------------------- whole boards


def score_board(
    board: Board,
    adata: "AnnData",
    training: Training,
    sizes: Sizes,
    *,
    cache: Path,
    device: str = "auto",
    workers: int | None = None,
) -> dict[str, pd.DataFrame]:
    """Choose, fit, predict and score every set-up of a board.

    Parameters
    ----------
    board, adata
        The board, and its data from ``scimf.load(board.dataset, **board.options)``.
    training, sizes
        What is trained, and how it is scored; paired differences are for headline boards only.
    cache
        Folder of fits and of finished scores. A set-up is scored anew if its data, what is asked,
        or the code that decides the numbers changed.
    device, workers
        As for :func:`scimf.fit_many`; the processes score, too.

    Returns
    -------
    dict
        The tables of :func:`score_methods`, over all set-ups; those that were not asked for are
        empty.
    """
    if not board.headline:
        sizes = replace(sizes, paired_draws=0)
    parts: dict[str, list[pd.DataFrame]] = {name: [] for name in TABLES}
    for setup in setups(board, adata):
        path = Path(cache) / f"scores_{_key(board, setup, training, sizes)}.json"
        if not path.is_file():
            options = {"cache": cache, "device": device, "workers": workers}
            choice, _ = choose(setup, board.n_pcs, steps=training.steps, **options)
            tables = score_methods(setup, choice, training, sizes, **options)
            columns = {name: to_columns(table) for name, table in tables.items()}
            write_file(path, json.dumps(columns))
        for name, columns in json.loads(path.read_text(encoding="utf-8")).items():
            parts[name].append(from_columns(columns))
    found = {}
    for name, tables in parts.items():
        found[name] = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
    return found


def _key(board: Board, setup: Setup, training: Training, sizes: Sizes) -> str:
    """Hash of what decides the scores of a set-up: data, what is asked, the code that answers."""
    observed = Snapshots.of(setup.adata, np.ones(setup.adata.n_obs, dtype=bool))
    keys = sorted(observed.cells)
    arrays = [observed.cells[key] for key in keys]
    if "cell_type" in setup.adata.obs:  # a floor of equal composition depends on it
        arrays.append(setup.adata.obs["cell_type"].astype(str).to_numpy(dtype=str))
    settings = {
        "board": setup.board,
        "dataset": board.dataset,
        "options": board.options,
        "n_pcs": board.n_pcs,
        "split": setup.split,
        "training": training,
        "sizes": sizes,
        "snapshots": keys,
        "density": observed.density,
    }
    return identity(*DECIDED_BY, settings=settings, arrays=arrays)


def to_columns(table: pd.DataFrame) -> dict[str, list]:
    """Plain values of a table by column, for JSON; what is missing is None."""
    found = {}
    for name in table:
        values = table[name].astype(object)
        found[name] = values.where(values.notna(), None).tolist()
    return found


def from_columns(columns: dict[str, list]) -> pd.DataFrame:
    """Inverse of :func:`to_columns` for tables of scores."""
    return pd.DataFrame(columns).astype({"seed": "Int64"})


# --------------------------------------------------------------------------------------- one set-up


def score_methods(
    setup: Setup,
    choice: Choice,
    training: Training,
    sizes: Sizes,
    *,
    baselines: bool = True,
    cache: Path,
    device: str = "auto",
    workers: int | None = None,
) -> dict[str, pd.DataFrame]:
    """Fit, predict and score what is asked for of one set-up.

    Parameters
    ----------
    setup, choice, training, sizes
        The problem, the settings of ours, what is trained (nothing if there are no methods), and
        how it is scored.
    baselines
        Whether predictions without training, and floors, are scored as well.
    cache, device, workers
        As in :func:`score_board`.

    Returns
    -------
    dict
        ``scores`` (:func:`score_setup`), with a column ``choice``; if asked for, ``paired``
        (:func:`score_paired`) and ``whole`` (:func:`whole_w1`).
    """
    samples = predict(setup, choice, training, cache=cache, device=device, workers=workers)
    scores = score_setup(setup, samples, sizes, baselines=baselines, workers=workers)
    tables = {"scores": scores.assign(choice=str(choice))}
    if sizes.paired_draws:
        tables["paired"] = score_paired(
            setup, samples, n=sizes.n, draws=sizes.paired_draws, workers=workers
        )
    if sizes.whole:
        tables["whole"] = whole_w1(setup, samples, workers=workers)
    return tables


def score_setup(
    setup: Setup,
    samples: dict[Trained, "AnnData"],
    sizes: Sizes,
    *,
    baselines: bool = True,
    workers: int | None = 1,
) -> pd.DataFrame:
    """Score predictions and baselines of one set-up.

    Returns
    -------
    DataFrame
        Columns of :func:`scimf.evaluation.held_out.evaluate` by draw, and ``board, setup``.
        Baselines and floors have no ``seed``.
    """
    asked = samples
    if not samples:  # snapshots are scored where there are predictions
        held_out = setup.split.held_mask(setup.adata)
        asked = {_STAND_IN: setup.adata[held_out].copy()}
    options = {
        "baselines": UNTRAINED if baselines else {},
        "per_draw": True,
        "workers": workers,
    }
    cheap = evaluate(
        asked,
        *setup.problem,
        scoring=Scoring(n=sizes.n, draws=sizes.draws, metrics=CHEAP_METRICS),
        **options,
    )
    transport = Scoring(n=sizes.transport_n, draws=sizes.transport_draws, metrics=TRANSPORT_METRICS)
    exact = evaluate(asked, setup.adata, setup.split, scoring=transport, **options)
    table = pd.concat([cheap, exact], ignore_index=True)
    is_trained = table["seed"].notna()
    if not samples:
        table = table[~is_trained]
    if not baselines:
        table = table[is_trained]
    return table.assign(board=setup.board, setup=setup.held_times)


def score_paired(
    setup: Setup,
    samples: dict[Trained, "AnnData"],
    *,
    n: int,
    draws: int,
    workers: int | None = 1,
) -> pd.DataFrame:
    """Energy distance of ours, the model without interaction and the mixture over many draws.

    Single draws of 2,500 cells differ by 0.1.
    """
    compared = {}
    for (method, seed), cells in samples.items():
        if method in ("scimf", "no_interaction"):
            compared[method, seed] = cells
    table = evaluate(
        compared,
        setup.adata,
        setup.split,
        scoring=replace(ENERGY, n=n, draws=draws),
        baselines={"mixture": BASELINES["mixture"]},
        per_draw=True,
        workers=workers,
    )
    return table.assign(board=setup.board, setup=setup.held_times)


def whole_w1(
    setup: Setup, samples: dict[Trained, "AnnData"], *, workers: int | None = 1
) -> pd.DataFrame:
    """Exact W1 at full size, at which leave-one-out tables are printed.

    As many predicted cells as the snapshot before has, against all held-out cells; of ours,
    two-sided and forward only, and of baselines (once). Columns: ``method, seed, time, w1``.
    """
    truth = Snapshots.of(setup.adata, setup.split.held_mask(setup.adata))
    starts = Snapshots.to_start_from(setup.adata, setup.split)
    predictions = {}
    for (method, seed), cells in samples.items():
        if method in ("scimf", "scimf_forward"):
            everything = np.ones(cells.n_obs, dtype=bool)
            predictions[method, seed] = Snapshots.of(cells, everything).cells
    rows: list[dict[str, Any]] = []
    jobs = []
    for (population, time), observed in truth.cells.items():
        clouds: dict[tuple[str, int | None], np.ndarray | None] = {}
        for trained, predicted in predictions.items():
            clouds[trained] = predicted[population, time]
        previous = max(t for t in starts.times(population) if t < time)
        size = len(starts.cells[population, previous])
        for name in ("copy_previous", "mixture", "ot_interpolation", "mean_shift"):
            rng = np.random.default_rng(0)
            clouds[name, None] = BASELINES[name](starts, population, time, size, rng)
        for (method, seed), cloud in clouds.items():
            if cloud is not None:
                rows.append({"method": method, "seed": seed, "time": time})
                jobs.append((cloud, observed))
    values = side_by_side(wasserstein, jobs, workers=workers)
    return pd.DataFrame(rows).assign(w1=values).astype({"seed": "Int64"})


#: What decides the scores of a set-up, with all that it reaches.
DECIDED_BY = (load, setups, choose, score_methods)
