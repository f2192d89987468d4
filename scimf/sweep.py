"""The scoreboard in pieces: a sweep over boards, set-ups, methods and seeds, as jobs that any engine can run.

``python -m scimf.sweep serial workflow/sweep.toml FOLDER`` does all of it here, by the functions of notebook 06.
``plan`` lists the jobs, ``job`` does one of them and ``table`` joins their results: ``workflow/Snakefile`` calls these.
A job draws from generators of its own and runs in one thread, so both ways give the same table, number for number.
"""

import argparse
import hashlib
import json
import os
import sys
import tomllib
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pandas as pd
import torch

import scimf
from scimf import paths, scoreboard
from scimf.baselines import BASELINES
from scimf.bridge import Mix
from scimf.evaluate import evaluate
from scimf.notebook import say, write_atomic
from scimf.peers import schroedinger_bridge
from scimf.scoreboard import BOARDS, CHEAP_METRICS, LEARNED, TRANSPORT_METRICS, Choice, Setup
from scimf.train import code_hash

#: What a sweep may ask for. The rows of ``scimf_forward``, half of the fits of ``scimf``, come with those of ``scimf``.
METHODS = tuple(name for name in LEARNED if name != "scimf_forward")
#: Rooms whose code decides a score, beside those of the fits.
_ROOMS = ("baselines", "bridge", "datasets", "evaluate", "fitted", "networks", "particles", "peers")
_ROOMS += ("preprocess", "readers", "registry", "scoreboard", "simulate", "sweep")
_ORDER = ["board", "setup", "method", "seed", "kind", "population", "time", "metric", "draw"]


@dataclass(frozen=True)
class Settings:
    """What is asked for; the keys of a sweep's file.

    Attributes
    ----------
    boards, methods, seeds
        Keys of :data:`scimf.scoreboard.BOARDS`, some of :data:`METHODS`, and training seeds.
    steps
        Optimiser steps of a fit.
    draws
        Draws of cells per score; exact transport takes at most two.
    transport_n, n
        Cells on either side of W1 and W2, and of the other scores (0: as many as the board says).
    device
        "cpu", "cuda" or "auto"; equality number for number is promised on "cpu" only.
    """

    boards: tuple[str, ...] = ("toy",)
    methods: tuple[str, ...] = ("scimf", "no_interaction", "attention")
    seeds: tuple[int, ...] = (0, 1)
    steps: int = 200
    draws: int = 10
    transport_n: int = 500
    n: int = 0
    device: str = "cpu"

    def key(self) -> str:
        """Hash of what decides the numbers of a job: these values (not which jobs there are), the code, the data."""
        values = {name: value for name, value in asdict(self).items() if name not in ("boards", "methods", "seeds")}
        registry = (paths.ROOT / "data" / "registry.toml").read_text(encoding="utf-8")
        return hashlib.sha256(repr((values, registry, code_hash(*_ROOMS))).encode()).hexdigest()[:12]


def read_settings(path: Path | str) -> Settings:
    """Read what is asked for from a TOML file; keys that are left out are as in :class:`Settings`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If a key or a value is not as it should be; names the file, the key and what was expected.
    """
    try:
        given = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not a TOML file ({error})") from error
    values = asdict(Settings())
    known = {"boards": tuple(BOARDS), "methods": METHODS, "device": ("cpu", "cuda", "auto")}
    for key, value in given.items():
        if key not in values:
            raise ValueError(f"{path}: unknown key {key!r}, expected some of {', '.join(values)}")
        like, many = values[key], isinstance(values[key], tuple)
        items, kind = (value, type(like[0])) if many and isinstance(value, list) else ([value], type(like))
        if not items or any(type(item) is not kind for item in items) or (kind is int and min(items) < 0):
            raise ValueError(f"{path}: {key} = {value!r}, expected such as {json.dumps(like)}")
        if strange := [item for item in items if item not in known.get(key, items)]:
            raise ValueError(f"{path}: {key}: unknown {strange[0]!r}, expected one of {', '.join(known[key])}")
        values[key] = tuple(dict.fromkeys(value)) if many else value
    return Settings(**values)


@dataclass(frozen=True)
class Job:
    """One cell of the table (board, set-up, method, seed); or, without a seed, "baselines" or "choice" of a set-up.

    "choice" decides the settings of ours (:func:`scimf.scoreboard.choose`), which the other jobs of the set-up need.
    """

    board: str
    setup: int  #: index into the set-ups of the board
    method: str
    seed: int | None = None

    @property
    def file(self) -> str:
        """Where its result goes, below a folder named by :meth:`Settings.key`."""
        return f"{self.board}/{self.setup}/{self.method}{'' if self.seed is None else f'.{self.seed}'}.json"


def jobs(settings: Settings) -> list[Job]:
    """List the jobs of a sweep, in an order in which they can be done."""
    found = []
    for board in settings.boards:
        for k in range(len(BOARDS[board].setups)):
            found += [Job(board, k, "choice"), Job(board, k, "baselines")]
            found += [Job(board, k, method, seed) for method in settings.methods for seed in settings.seeds]
    return found


def do(settings: Settings, job: Job, folder: Path, cache: Path) -> Path:
    """Fit, predict and score what one job asks for, and write its result aside, then rename it; finished ones stay.

    Parameters
    ----------
    settings, job
        What is asked for.
    folder
        Of the sweep's results. "choice" of the set-up has to be there, unless it is what is asked for.
    cache
        Folder of the fits: a finished one is read, an interrupted one continues at its last checkpoint.
    """
    path = folder / settings.key() / job.file
    if _finished(path, job):
        return path
    torch.set_num_threads(1)
    if job.method == "choice":
        options = {"cache": cache, "steps": settings.steps, "device": settings.device, "workers": 1}
        chosen, _ = scoreboard.choose(_setup(job.board, job.setup), BOARDS[job.board].n_pcs, **options)
        content = {"choice": asdict(chosen)}
    else:
        chosen = _read(path.with_name("choice.json"), replace(job, method="choice", seed=None))["choice"]
        choice = Choice(chosen["kinetic_weight"], Mix(**chosen["mix"]))
        content = {"rows": _rows(settings, job, choice, cache).to_dict(orient="list")}
    write_atomic(path, json.dumps({"job": asdict(job), **content}))  # repr of a float: nothing is rounded
    return path


def _rows(settings: Settings, job: Job, choice: Choice, cache: Path) -> pd.DataFrame:
    """Rows of :func:`scimf.scoreboard.score_setup` that are this job's."""
    setup = _setup(job.board, job.setup)
    if job.method == "baselines":  # scores are asked for where there are predictions: the held-out cells stand in
        samples = {"stand-in": setup.adata[setup.split.held_mask(setup.adata)].copy()}
        baselines = BASELINES | {"schroedinger_bridge": schroedinger_bridge}
    else:
        samples, baselines = _predict(settings, setup, choice, (job.method,), [job.seed], cache), {}
    problem, options = (samples, setup.adata, setup.split), {"baselines": baselines, "per_draw": True}
    sizes = _sizes(settings, job.board)
    cheap = evaluate(*problem, setup.space, n=sizes["n"], draws=sizes["draws"], metrics=CHEAP_METRICS, **options)
    exact = {"n": sizes["transport_n"], "draws": sizes["transport_draws"], "metrics": TRANSPORT_METRICS}
    table = pd.concat([cheap, evaluate(*problem, **exact, **options)], ignore_index=True)
    mine = table["method"].isin(samples) if job.seed is not None else table["method"] != "stand-in"
    table = table[mine].assign(seed=job.seed, board=setup.board, choice=str(choice))
    times = ",".join(f"{t:g}" for t in setup.split.held_times)
    return table.assign(method=table["method"].str.split().str[0], setup=times)


def _setup(board: str, k: int) -> Setup:
    one = replace(BOARDS[board], setups=BOARDS[board].setups[k : k + 1])
    (setup,) = scoreboard.setups(one, scimf.load(one.dataset, **one.options))
    return setup


def _sizes(settings: Settings, board: str) -> dict[str, int]:
    sizes = {"n": settings.n or BOARDS[board].n, "transport_n": settings.transport_n}
    return sizes | {"draws": settings.draws, "transport_draws": min(settings.draws, 2)}


def _predict(settings: Settings, setup: Setup, choice: Choice, methods: tuple, seeds: list[int], cache: Path) -> dict:
    methods += ("scimf_forward",) * ("scimf" in methods)
    options = {"cache": cache, "steps": settings.steps, "device": settings.device, "workers": 1}
    return scoreboard.predict(setup, choice, seeds=seeds, peer_seeds=seeds, methods=methods, **options)


def _read(path: Path, job: Job) -> dict:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["job"] == asdict(job):
            return content
        error = f"its job is {content['job']}"
    except (ValueError, KeyError, TypeError) as damage:
        error = repr(damage)
    raise ValueError(f"{path}: not the result of {job} ({error}); delete it and run again")


def _finished(path: Path, job: Job) -> bool:
    try:
        return bool(_read(path, job))
    except (ValueError, FileNotFoundError):
        return False


def gather(settings: Settings, folder: Path) -> pd.DataFrame:
    """Join the results of all jobs below ``folder`` into one table.

    Returns
    -------
    DataFrame
        One row per board, set-up, method, seed (none: baselines and floors), held-out snapshot, metric and draw.

    Raises
    ------
    FileNotFoundError, ValueError
        If a result is missing or damaged; names it.
    """
    asked, folder = [job for job in jobs(settings) if job.method != "choice"], folder / settings.key()
    if missing := [job.file for job in asked if not (folder / job.file).is_file()]:
        raise FileNotFoundError(f"{folder}: {len(missing)} of {len(asked)} results are missing, such as {missing[0]}")
    return _sorted(pd.concat([pd.DataFrame(_read(folder / job.file, job)["rows"]) for job in asked]))


def serial(settings: Settings, cache: Path) -> pd.DataFrame:
    """Return the table of :func:`gather` without jobs: choose, predict and score whole set-ups, one after the other."""
    torch.set_num_threads(1)
    options, parts = {"cache": cache, "steps": settings.steps, "device": settings.device, "workers": 1}, []
    for job in (job for job in jobs(settings) if job.method == "choice"):
        setup = _setup(job.board, job.setup)
        choice, _ = scoreboard.choose(setup, BOARDS[job.board].n_pcs, **options)
        samples = _predict(settings, setup, choice, settings.methods, list(settings.seeds), cache)
        table = scoreboard.score_setup(setup, samples, **_sizes(settings, job.board), workers=1)
        parts.append(table.assign(choice=str(choice)))
    return _sorted(pd.concat(parts))


def _sorted(table: pd.DataFrame) -> pd.DataFrame:
    table = table.assign(seed=table["seed"].astype("Int64"))
    return table.sort_values(_ORDER, ignore_index=True)[[*_ORDER, "value", "n", "choice"]]


def write(table: pd.DataFrame, folder: Path) -> None:
    """Write ``scores.csv``, every digit of it, and ``summary.csv``: mean and interval by board, method and metric."""
    write_atomic(folder / "scores.csv", table.to_csv(index=False))
    write_atomic(folder / "summary.csv", scoreboard.summary(table).to_csv(index=False))
    say(f"{len(table)} scores in {folder}/scores.csv, means in {folder}/summary.csv")


def plan(settings: Settings, path: Path) -> None:
    """Write what ``workflow/Snakefile`` needs to know: the files of the jobs, and what makes them, with whole paths."""
    files = [f"{settings.key()}/{job.file}" for job in jobs(settings)]
    where = {"SCIMF_BUILD": str(paths.BUILD), "SCIMF_DATA": str(paths.DATA), "OMP_NUM_THREADS": "1"}
    content = {"plan": str(path.resolve()), "python": sys.executable, "environment": where, "files": files}
    write_atomic(path, json.dumps(content | {"settings": asdict(settings)}, indent=1))
    say(f"{len(files)} jobs in {path}")


def _planned(path: Path) -> Settings:
    values = json.loads(path.read_text(encoding="utf-8"))["settings"]
    return Settings(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m scimf.sweep", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    shapes = {"serial": "settings folder", "plan": "settings plan", "job": "plan file", "table": "plan folder"}
    for command, names in shapes.items():
        options = commands.add_parser(command)
        for name in names.split():
            options.add_argument(name, type=Path)
    given, cache = parser.parse_args(arguments), paths.BUILD / "fits"
    os.environ["SCIMF_UNATTENDED"] = "1"  # a log wants no progress bars
    try:
        if given.command == "serial":
            write(serial(read_settings(given.settings), cache), given.folder)
        elif given.command == "plan":
            plan(read_settings(given.settings), given.plan)
        elif given.command == "table":
            write(gather(_planned(given.plan), given.plan.parent), given.folder)
        else:
            settings = _planned(given.plan)
            found = {f"{settings.key()}/{job.file}": job for job in jobs(settings)}
            if str(given.file) not in found:
                raise ValueError(f"{given.file}: no job of {given.plan}, or the code changed since: make sweep again")
            do(settings, found[str(given.file)], given.plan.parent, cache)
    except (ValueError, FileNotFoundError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
