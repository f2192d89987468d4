"""Other authors' packages on our boards, beside ours: what ``make peers`` does.

``python -m workflow.peers.run install`` makes an environment for each peer of ``peers.toml``;
``measure`` hands training cells to the drivers in them, takes predicted cells back, scores these by
:func:`scimf.evaluation.held_out.evaluate` beside floors, baselines and our own re-implementations,
and writes ``build/peers/as_shipped.json``, which report ``scoreboard`` shows; ``publish`` copies
that to where the report finds it without this run. What was answered before is read, so an
interrupted run goes on.
"""

import argparse
import ast
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from evidence import as_shipped
from evidence.as_shipped import OURS, Asked, Peer
from evidence.boards import BOARDS, Board
from evidence.choices import choose, recommended
from evidence.other_methods import (
    as_samples,
    attention,
    fit_flow_matching,
    neural_ode,
    potential_sde,
)
from evidence.scores import Sizes, score_setup
from evidence.setups import Setup, predicted, setups
from evidence.summaries import summary

import scimf
from scimf.core import paths
from scimf.core.files import write_file
from scimf.core.identity import identity
from scimf.dynamics.fit import fit_many
from scimf.dynamics.snapshots import ONE_POPULATION
from scimf.notebook import say
from workflow.peers.protocol import cpu_seconds

if TYPE_CHECKING:
    from anndata import AnnData

DRIVERS = Path(__file__).parent
#: Every driver counts with one thread, so that seconds can be compared.
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"
) | {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false", "MPLBACKEND": "Agg"}


# ------------------------------------------------------------------------------------ environments


def folder(name: str) -> Path:
    """Where the environment and the answers of a peer lie."""
    return (paths.BUILD / "peers" / name).absolute()


def python_of(name: str) -> Path:
    """Return the Python of a peer's environment, which need not be there."""
    return folder(name) / ".venv" / "bin" / "python"


def is_installed(name: str, peer: Peer) -> bool:
    """Whether the environment holds what the table asks for; the stamp is written last."""
    stamp = folder(name) / "installed"
    return stamp.is_file() and stamp.read_text(encoding="utf-8") == "\n".join(peer.requirements)


def install(name: str, peer: Peer) -> None:
    """Make the environment of a peer; one that cannot be had is said, and is no error."""
    if is_installed(name, peer):
        return
    place = folder(name)
    place.mkdir(parents=True, exist_ok=True)
    pip = [str(python_of(name)), "-m", "pip"]
    commands = [
        [sys.executable, "-m", "venv", "--clear", str(place / ".venv")],
        [*pip, "install", "-q", *peer.requirements],
    ]
    if peer.without:
        commands.append([*pip, "uninstall", "-q", "-y", *peer.without])
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            say(f"{name} cannot be installed: {_last_line(done.stderr)}")
            return
    write_file(place / "installed", "\n".join(peer.requirements))
    say(f"{name} {peer.version}")


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "no reason given"


# ---------------------------------------------------------------------------- what a driver is told


def population_of(setup: Setup) -> str:
    """Return the name of the one population of a set-up.

    Raises
    ------
    ValueError
        If there are several: no peer knows of them.
    """
    if "population" not in setup.adata.obs:
        return ONE_POPULATION
    names = setup.adata.obs["population"].astype(str).unique()
    if len(names) > 1 or setup.split.held_populations:
        raise ValueError(f"board {setup.board}: {len(names)} populations, expected one")
    return names[0]


def task_arrays(setup: Setup, seed: int, settings: dict) -> dict[str, np.ndarray]:
    """Return the arrays of a task: training cells alone, and times without cells."""
    population_of(setup)
    train = setup.adata[setup.split.train_mask(setup.adata)]
    times = train.obs["time"].to_numpy(float)
    held = np.array(setup.split.held_times)
    all_times = np.array(sorted({*setup.split.train_times, *setup.split.held_times}))
    return {
        "cells": np.asarray(train.obsm["X_scimf"], np.float64),
        "times": times,
        "places": np.searchsorted(all_times, times),
        "held_times": held,
        "held_places": np.searchsorted(all_times, held),
        "seed": np.array(seed),
        "settings": np.array(json.dumps(settings)),
    }


def answer_of(
    name: str, peer: Peer, setup: Setup, seed: int, minutes: float
) -> tuple["AnnData", dict[str, Any]]:
    """Return the cells that a peer predicts, and what it says of itself; a kept answer is read.

    Raises
    ------
    RuntimeError
        If the driver fails or takes more CPU time than it may; holds its last line.
    """
    arrays = task_arrays(setup, seed, peer.settings)
    code = [_plain_code(DRIVERS / file) for file in (f"fit_{name}.py", "protocol.py")]
    asked = {"code": code, "requirements": list(peer.requirements)}
    key = identity(settings=asked, arrays=arrays.values())
    path = folder(name) / "answers" / f"{key}.npz"
    if not path.is_file():
        _run_driver(name, arrays, path, minutes)
    with np.load(path, allow_pickle=False) as file:
        about = json.loads(str(file["about"]))
        clouds = [file[f"cells_{k}"] for k in range(len(setup.split.held_times))]
    population = population_of(setup)
    labels = []
    for time, cloud in zip(setup.split.held_times, clouds, strict=True):
        if not np.isfinite(cloud).all():
            raise RuntimeError("its predicted cells are not finite")
        labels += [(time, population)] * len(cloud)
    return as_samples(np.concatenate(clouds), labels), about


def _run_driver(name: str, arrays: dict[str, np.ndarray], path: Path, minutes: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        task = Path(place) / "task.npz"
        given = Path(place) / "answer.npz"
        np.savez(task, **arrays)
        # Not -I, which would hide protocol.py; our own PYTHONPATH must not reach the peer.
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | ONE_THREAD
        limit = f'ulimit -t {round(60 * minutes)}; exec "$@"'
        driver = str(DRIVERS / f"fit_{name}.py")
        command = ["bash", "-c", limit, name, str(python_of(name)), driver, str(task), str(given)]
        # In the temporary folder: some write beside where they are imported.
        options = {"capture_output": True, "text": True, "check": False}
        done = subprocess.run(command, env=environment, cwd=place, **options)
        if done.returncode or not given.is_file():
            if done.returncode < 0:
                raise RuntimeError(f"stopped after {minutes:g} minutes of CPU time")
            raise RuntimeError(_last_line(done.stderr))
        # Moved last: an answer is whole, or not there.
        unfinished = path.with_suffix(".unfinished")
        unfinished.write_bytes(given.read_bytes())
        unfinished.rename(path)


def _plain_code(path: Path) -> str:
    """Code of a driver without comments and docstrings, which change no answer."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        holds_text = isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef)
        if holds_text and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


# -------------------------------------------------------------------------------------- ours beside


def fit_ours(method: str, setup: Setup, seed: int, steps: int) -> tuple["AnnData", dict[str, Any]]:
    """Fit one of :data:`evidence.as_shipped.OURS` as the scoreboard does, never from a cache."""
    plain = recommended(steps=steps)
    if method == "scimf_forward":
        with tempfile.TemporaryDirectory() as cache:
            n_pcs = BOARDS[setup.board].n_pcs
            choice, _ = choose(setup, n_pcs, steps=steps, cache=Path(cache), workers=1)
        plain = recommended(steps=steps, kinetic_weight=choice.kinetic_weight)
    configs = {
        "scimf_forward": plain,
        "attention": attention(plain),
        "neural_ode": neural_ode(plain),
        "potential_sde": potential_sde(plain),
    }
    begin = cpu_seconds()
    if method == "flow_matching":
        model = fit_flow_matching(
            setup.adata, setup.split, hidden=plain.hidden, steps=steps, seed=seed
        )
    else:
        with tempfile.TemporaryDirectory() as cache:
            options = {"cache": Path(cache), "workers": 1, "device": "cpu"}
            asked = {method: configs[method]}
            fits = fit_many(*setup.problem, configs=asked, seeds=[seed], **options)
        (model,) = fits.values()
    seconds = cpu_seconds() - begin
    return predicted(model, setup, seed=seed), {"seconds": seconds, "versions": {}}


#: What decides the answers of ours.
DECIDED_BY = (
    choose,
    recommended,
    fit_many,
    attention,
    neural_ode,
    potential_sde,
    fit_flow_matching,
    predicted,
)


def _kept_ours(method: str, setup: Setup, seed: int, steps: int) -> tuple["AnnData", dict]:
    asked = {"method": method, "seed": seed, "steps": steps, "board": setup.board}
    arrays = task_arrays(setup, seed, {}).values()
    key = identity(*DECIDED_BY, settings=asked, arrays=arrays)
    path = folder("ours") / f"{method}_{key}.npz"
    if not path.is_file():
        cells, about = fit_ours(method, setup, seed, steps)
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = {"cells": cells.obsm["X_scimf"], "time": cells.obs["time"].to_numpy(float)}
        np.savez(path, about=json.dumps(about), **kept)
    with np.load(path, allow_pickle=False) as file:
        labels = [(time, population_of(setup)) for time in file["time"].tolist()]
        return as_samples(file["cells"], labels), json.loads(str(file["about"]))


# ------------------------------------------------------------------------------------------ a board


def measure(board: Board, peers: dict[str, Peer], asked: Asked) -> dict[str, Any]:
    """Score all installed peers on one board, and ours beside them.

    Returns
    -------
    dict
        ``rows``: the columns of :func:`evidence.summaries.summary`; ``seconds``: mean CPU
        seconds of a fit, and how many there were, by method; ``versions`` by peer; ``failed``: the
        reason by peer.
    """
    torch.set_num_threads(1)
    adata = scimf.load(board.dataset, **board.options)
    sizes = Sizes(n=board.n, draws=asked.draws, transport_n=asked.transport_n)
    beside = {method for peer in peers.values() for method in peer.beside if method in OURS}
    tables = []
    seconds: dict[str, list[float]] = {}
    versions: dict[str, dict[str, str]] = {}
    failed: dict[str, str] = {}
    for setup in setups(board, adata):
        samples = {}
        for seed in asked.seeds:
            for method in sorted(beside):
                samples[method, seed], about = _kept_ours(method, setup, seed, asked.steps)
                seconds.setdefault(method, []).append(about["seconds"])
            for name, peer in peers.items():
                if name in failed or not is_installed(name, peer):
                    continue
                try:
                    cells, about = answer_of(name, peer, setup, seed, asked.minutes)
                except RuntimeError as error:
                    failed[name] = str(error)
                    say(f"{board.name}, {name} failed: {error}")
                    continue
                samples[name, seed] = cells
                seconds.setdefault(name, []).append(about["seconds"])
                versions[name] = about["versions"]
                where = f"{board.name} {setup.held_times}, {name}, seed {seed}"
                say(f"{where}: {about['seconds']:.0f} s")
        tables.append(score_setup(setup, samples, sizes, workers=1))
    scores = pd.concat(tables, ignore_index=True)
    scores = scores[~scores["method"].isin(failed)]  # of a set-up or two only
    rows = summary(scores).to_dict("list")
    by_method = {}
    for method, values in seconds.items():
        if method not in failed:
            by_method[method] = {"mean": float(np.mean(values)), "fits": len(values)}
    return {"rows": rows, "seconds": by_method, "versions": versions, "failed": failed}


def measure_all(boards: Sequence[str], peers: dict[str, Peer], asked: Asked) -> dict[str, Any]:
    """Score all boards; the record is written after each, so that it can be looked at."""
    record: dict[str, Any] = {"machine": {"cores": os.cpu_count(), "threads": 1}, "boards": {}}
    record["steps_of_ours"] = asked.steps
    for name in boards:
        record["boards"][name] = measure(BOARDS[name], peers, asked)
        write_file(as_shipped.MEASURED, json.dumps(record, indent=1))
    return record


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    os.environ["SCIMF_UNATTENDED"] = "1"  # a log wants no progress bars
    parser.add_argument("command", choices=["install", "measure", "publish"])
    parser.add_argument("--boards", nargs="+", choices=sorted(BOARDS))
    parser.add_argument("--peers", nargs="+", help="some of peers.toml")
    parser.add_argument("--seeds", nargs="+", type=int)
    given = parser.parse_args(arguments)
    asked, peers = as_shipped.read_peers()
    if unknown := set(given.peers or []) - set(peers):
        parser.error(f"no such peer: {sorted(unknown)}; there are: {', '.join(peers)}")
    if given.peers:
        peers = {name: peers[name] for name in given.peers}
    if given.seeds:
        asked = replace(asked, seeds=tuple(given.seeds))
    if given.command == "install":
        for name, peer in peers.items():
            install(name, peer)
    elif given.command == "measure":
        measure_all(given.boards or asked.boards, peers, asked)
    else:
        text = as_shipped.MEASURED.read_text(encoding="utf-8")
        write_file(as_shipped.PUBLISHED, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
