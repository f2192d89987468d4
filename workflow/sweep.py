"""The scoreboard in pieces: boards, set-ups, methods and seeds as jobs that any engine can run.

``python -m workflow.sweep serial workflow/sweep.toml FOLDER`` does all of it here, by the functions
of report ``scoreboard``. ``plan`` lists the jobs, ``job`` does one and ``table`` joins the results:
``workflow/Snakefile`` calls these. A job draws from generators of its own and runs in one
thread, so both ways give the same table, number for number.
"""

import argparse
import json
import os
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from evidence.boards import BOARDS
from evidence.choices import Choice, choose
from evidence.predictions import LEARNED, Training
from evidence.scores import Sizes, from_columns, score_methods, to_columns
from evidence.setups import Setup, setups
from evidence.summaries import summary
from evidence.two_sided import Mix

import scimf
from scimf.core import paths
from scimf.core.config import Config
from scimf.core.files import write_file
from scimf.core.identity import identity
from scimf.notebook import say
from workflow.settings import reports_folder, search_path

#: What a sweep may ask for. The rows of ``scimf_forward``, half of the fits of ``scimf``, come with
#: those of ``scimf``.
METHODS = tuple(name for name in LEARNED if name != "scimf_forward")
_ALLOWED = {"boards": tuple(BOARDS), "methods": METHODS, "device": ("cpu", "cuda", "auto")}
_ORDER = ["board", "setup", "method", "seed", "kind", "population", "time", "metric", "draw"]


@dataclass(frozen=True, kw_only=True)
class Settings(Config):
    """What is asked for; the keys of a sweep's file.

    Attributes
    ----------
    boards, methods, seeds
        Keys of :data:`evidence.boards.BOARDS`, some of :data:`METHODS`, and training seeds.
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
        """Hash of what decides the numbers of a job: the code, the boards, and these values.

        Which jobs there are does not.
        """
        values = self.to_dict()
        for name in ("boards", "methods", "seeds"):
            del values[name]
        boards = {name: board.to_dict() for name, board in BOARDS.items()}
        return identity(do, settings={**values, "all boards": boards})[:12]


def read_settings(path: Path | str) -> Settings:
    """Read what is asked for from a TOML file; keys left out are as in :class:`Settings`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If a key or a value is not as it should be; names the file, the key and what was expected.
    """
    text = Path(path).read_text(encoding="utf-8")
    try:
        given = tomllib.loads(text)
    except ValueError as error:
        raise ValueError(f"{path}: not a TOML file ({error})") from error
    return _checked_settings(given, path)


def _checked_settings(given: Mapping[str, Any], path: Path | str) -> Settings:
    defaults = Settings().to_dict()
    values = {}
    for key, value in given.items():
        if key not in defaults:
            known = ", ".join(defaults)
            raise ValueError(f"{path}: unknown key {key!r}, expected some of {known}")
        values[key] = _checked_value(key, value, defaults[key], path)
    return Settings(**values)


def _checked_value(key: str, value: Any, default: Any, path: Path | str) -> Any:
    """Return the value of a setting as it is kept: a list as a tuple in which nothing is twice."""
    many = isinstance(default, list)
    if many:
        items = value
        right = isinstance(value, list) and bool(value) and _are_like(value, default[0])
    else:
        items = [value]
        right = _are_like(items, default)
    if not right:
        raise ValueError(f"{path}: {key} = {value!r}, expected such as {json.dumps(default)}")
    allowed = _ALLOWED.get(key, items)
    for item in items:
        if item not in allowed:
            known = ", ".join(allowed)
            raise ValueError(f"{path}: {key}: unknown {item!r}, expected one of {known}")
    return tuple(dict.fromkeys(items)) if many else value


def _are_like(items: Iterable[Any], default: str | int) -> bool:
    """Whether items are texts, or whole numbers from zero up, as the default is."""
    for item in items:
        if type(item) is not type(default) or (isinstance(item, int) and item < 0):
            return False
    return True


@dataclass(frozen=True)
class Job:
    """One cell of the table (board, set-up, method, seed).

    Or, without a seed, "baselines" or "choice" of a set-up. "choice" decides the settings of ours
    (:func:`evidence.choices.choose`), which the other jobs of the set-up need.
    """

    board: str
    setup: int  #: index into the set-ups of the board
    method: str
    seed: int | None = None

    @property
    def file(self) -> str:
        """Where its result goes, below a folder named by :meth:`Settings.key`."""
        name = self.method if self.seed is None else f"{self.method}.{self.seed}"
        return f"{self.board}/{self.setup}/{name}.json"


def jobs(settings: Settings) -> list[Job]:
    """List the jobs of a sweep, in an order in which they can be done."""
    found = []
    for board in settings.boards:
        for k in range(len(BOARDS[board].setups)):
            found += [Job(board, k, "choice"), Job(board, k, "baselines")]
            for method in settings.methods:
                found += [Job(board, k, method, seed) for seed in settings.seeds]
    return found


def do(settings: Settings, job: Job, folder: Path, cache: Path) -> Path:
    """Fit, predict and score what one job asks for, and write its result; finished ones stay.

    Parameters
    ----------
    settings, job
        What is asked for.
    folder
        Of the sweep's results. "choice" of the set-up has to be there, unless it is asked for.
    cache
        Folder of the fits: a finished one is read, an interrupted one goes on at its last
        checkpoint.
    """
    path = folder / settings.key() / job.file
    if _finished(path, job):
        return path
    torch.set_num_threads(1)
    if job.method == "choice":
        chosen = _choice(settings, job.board, _setup(job.board, job.setup), cache)
        content = {"choice": asdict(chosen)}
    else:
        chosen_by = replace(job, method="choice", seed=None)
        chosen = _read(path.with_name("choice.json"), chosen_by)["choice"]
        choice = Choice(chosen["kinetic_weight"], Mix(**chosen["mix"]))
        table = _scores(settings, job, _setup(job.board, job.setup), choice, cache)
        content = {"rows": to_columns(table)}
    # JSON writes the repr of a float: nothing is rounded
    write_file(path, json.dumps({"job": asdict(job), **content}))
    return path


def _choice(settings: Settings, board: str, setup: Setup, cache: Path) -> Choice:
    options = {"cache": cache, "steps": settings.steps, "device": settings.device, "workers": 1}
    chosen, _ = choose(setup, BOARDS[board].n_pcs, **options)
    return chosen


def _scores(
    settings: Settings, job: Job, setup: Setup, choice: Choice, cache: Path
) -> pd.DataFrame:
    """Rows of a set-up that are one job's: of one method and seed, or those without training."""
    methods = () if job.method == "baselines" else (job.method,)
    seeds = () if job.seed is None else (job.seed,)
    return score_methods(
        setup,
        choice,
        _training(settings, methods, seeds),
        _sizes(settings, job.board),
        baselines=job.method == "baselines",
        cache=cache,
        device=settings.device,
        workers=1,
    )["scores"]


def _training(settings: Settings, methods: tuple[str, ...], seeds: tuple[int, ...]) -> Training:
    if "scimf" in methods:
        methods = (*methods, "scimf_forward")
    return Training(methods=methods, seeds=seeds, peer_seeds=seeds, steps=settings.steps)


def _setup(board: str, k: int) -> Setup:
    one = replace(BOARDS[board], setups=BOARDS[board].setups[k : k + 1])
    (setup,) = setups(one, scimf.load(one.dataset, **one.options))
    return setup


def _sizes(settings: Settings, board: str) -> Sizes:
    n = settings.n or BOARDS[board].n
    return Sizes(n=n, draws=settings.draws, transport_n=settings.transport_n)


def _read(path: Path, job: Job) -> dict[str, Any]:
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
        One row per board, set-up, method, seed (none: baselines and floors), held-out snapshot,
        metric and draw.

    Raises
    ------
    FileNotFoundError, ValueError
        If a result is missing or damaged; names it.
    """
    folder = folder / settings.key()
    scored = [job for job in jobs(settings) if job.method != "choice"]
    missing = [job.file for job in scored if not (folder / job.file).is_file()]
    if missing:
        count = f"{len(missing)} of {len(scored)} results are missing"
        raise FileNotFoundError(f"{folder}: {count}, such as {missing[0]}")
    parts = [from_columns(_read(folder / job.file, job)["rows"]) for job in scored]
    return _sorted(pd.concat(parts))


def serial(settings: Settings, cache: Path) -> pd.DataFrame:
    """Return the table of :func:`gather` without jobs: whole set-ups, one after the other."""
    torch.set_num_threads(1)
    training = _training(settings, settings.methods, settings.seeds)
    options = {"cache": cache, "device": settings.device, "workers": 1}
    parts = []
    for job in (job for job in jobs(settings) if job.method == "choice"):
        setup = _setup(job.board, job.setup)
        choice = _choice(settings, job.board, setup, cache)
        sizes = _sizes(settings, job.board)
        parts.append(score_methods(setup, choice, training, sizes, **options)["scores"])
    return _sorted(pd.concat(parts))


def _sorted(table: pd.DataFrame) -> pd.DataFrame:
    table = table.assign(seed=table["seed"].astype("Int64"))
    return table.sort_values(_ORDER, ignore_index=True)[[*_ORDER, "value", "n", "choice"]]


def write(table: pd.DataFrame, folder: Path) -> None:
    """Write ``scores.csv``, every digit of it, and ``summary.csv``.

    The latter has means and intervals by board, method and metric.
    """
    write_file(folder / "scores.csv", table.to_csv(index=False))
    write_file(folder / "summary.csv", summary(table).to_csv(index=False))
    say(f"{len(table)} scores in {folder}/scores.csv, means in {folder}/summary.csv")


# --------------------------------------------------------------------------------- the command line


def plan(settings: Settings, path: Path) -> None:
    """Write what ``workflow/Snakefile`` needs to know: files of the jobs, and what makes them."""
    files = [f"{settings.key()}/{job.file}" for job in jobs(settings)]
    environment = {
        "SCIMF_BUILD": str(paths.BUILD),
        "SCIMF_DATA": str(paths.DATA),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": search_path(reports_folder()),
    }
    content = {
        "plan": str(path.resolve()),
        "python": sys.executable,
        "environment": environment,
        "files": files,
        "settings": settings.to_dict(),
    }
    write_file(path, json.dumps(content, indent=1))
    say(f"{len(files)} jobs in {path}")


def _planned(path: Path) -> Settings:
    content = json.loads(path.read_text(encoding="utf-8"))
    return _checked_settings(content["settings"], path)


def _planned_job(plan_path: Path, file: Path) -> tuple[Settings, Job]:
    settings = _planned(plan_path)
    for job in jobs(settings):
        if str(file) == f"{settings.key()}/{job.file}":
            return settings, job
    reason = f"no job of {plan_path}, or the code changed since: make sweep again"
    raise ValueError(f"{file}: {reason}")


def _run(given: argparse.Namespace) -> None:
    cache = paths.BUILD / "fits"
    if given.command == "serial":
        write(serial(read_settings(given.settings), cache), given.folder)
    elif given.command == "plan":
        plan(read_settings(given.settings), given.plan)
    elif given.command == "job":
        settings, job = _planned_job(given.plan, given.file)
        do(settings, job, given.plan.parent, cache)
    else:
        write(gather(_planned(given.plan), given.plan.parent), given.folder)


#: Arguments of each command, all of them paths.
_COMMANDS = {
    "serial": ("settings", "folder"),
    "plan": ("settings", "plan"),
    "job": ("plan", "file"),
    "table": ("plan", "folder"),
}


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    about = __doc__.splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m workflow.sweep", description=about)
    commands = parser.add_subparsers(dest="command", required=True)
    for command, names in _COMMANDS.items():
        options = commands.add_parser(command)
        for name in names:
            options.add_argument(name, type=Path)
    os.environ["SCIMF_UNATTENDED"] = "1"  # a log wants no progress bars
    try:
        _run(parser.parse_args(arguments))
    except (ValueError, FileNotFoundError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
