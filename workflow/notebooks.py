"""Run one notebook under one profile; publish complete runs; keep pairs in step.

``python -m workflow.notebooks run 03_train --profile teach``; ``--help`` lists the other commands.
"""

import argparse
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from scimf.core import paths
from scimf.notebook import say
from workflow.overview import data, summary, times
from workflow.pages import html
from workflow.pairs import check_pairs, pairs, read_source, student
from workflow.publish import check_figures, publish
from workflow.runs import Refused, run_files, short
from workflow.settings import given_values, search_path
from workflow.source import Source
from workflow.unfinished import Unfinished
from workflow.yours import NOTEBOOK, existing, folder_of, results_in, values_of

#: Errors by which a file of somebody's own is refused, in one sentence.
REFUSALS = ("ValueError", "FileNotFoundError", "DataUnavailable")


class _OutOfTime(KeyboardInterrupt):
    """Raised by the wall clock; not an Exception, so that no event loop swallows it."""


def run(
    name: str,
    profile: str,
    given: Sequence[str] = (),
    files: Sequence[str] = (),
    own: bool = False,
) -> None:
    """Execute a notebook; only a complete run replaces the results of the one before.

    What went wrong can be read in ``build/<profile>/<name>.failed.ipynb``.

    Parameters
    ----------
    name, profile
        The notebook, and the table of values for its parameters.
    given, files
        Values that go before those of the profile: see :func:`workflow.settings.given_values`.
    own
        Whether it runs on somebody's own file. Then it writes
        ``build/<profile>/<name>/report.html``, too, and a file that cannot be used is refused in
        its one sentence, without code.

    Raises
    ------
    ValueError
        The parameters cell, the profile or a given value is not as it should be.
    Refused
        The notebook failed, ran past the profile's ``wall_seconds``, or did not call
        ``run.finish()``.
    """
    settings, values = Source(name).settings(profile)
    values = values | given_values(name, given, files) | {"profile": profile}
    say(f"{name} ({profile}) ...")
    unfinished = Unfinished(name, profile)
    with unfinished.begun():
        nb = _execute(unfinished, values, settings["wall_seconds"], own)
        record = unfinished.record()
        if record.get("status") != "complete":
            raise Refused(f"{name} ended without run.finish(): its results are not complete")
        unfinished.add_notebook(nb, page=own)
        unfinished.take_the_place()
    say(f"{name} ({profile}) {record['seconds']:.0f} s")
    if own:
        say(f"report: {short(paths.BUILD / profile / name / 'report.html')}")


def yours(file: str, profile: str, given: Sequence[str] = (), notebook: str = NOTEBOOK) -> None:
    """Run notebook 10 on a file of your own, in a folder of its own, and write a report.

    Parameters
    ----------
    file
        Its path; ``~`` may stand for the home folder.
    profile
        The table of values for the notebook's other parameters.
    given
        ``KEY=value`` as ``make`` takes them: see :func:`workflow.yours.values_of`.
    notebook
        Another one that has a parameter ``data``.

    Raises
    ------
    Refused
        There is no such file, or as :func:`run`.
    """
    path = existing(file)
    values, files = values_of(given)
    with results_in(folder_of(path)):
        run(notebook, profile, values, [f"data={path}", *files], own=True)


def _execute(unfinished: Unfinished, values: dict, wall_seconds: int, own: bool):
    """Run all cells in the folder of the notebook, as in Jupyter, and return their outputs."""
    import papermill
    from papermill.exceptions import PapermillException

    name = unfinished.name
    profile = unfinished.profile
    files = run_files(name, profile)
    source = Source(name)
    folder = source.path.parent
    order = source.order(profile, unfinished.places)
    try:
        with _our_kernel(folder, order), _log_to(files.failed_log), _wall_clock(wall_seconds):
            return papermill.execute_notebook(
                read_source(name),
                files.failed,
                parameters=values,
                kernel_name="python3",
                progress_bar=False,
                log_output=True,
                cwd=folder,
            )
    except _OutOfTime:
        limit = f"wall_seconds = {wall_seconds} of profile {profile}"
        raise Refused(f"{name}: stopped at {limit}") from None
    except (PapermillException, RuntimeError) as error:  # RuntimeError: the kernel died
        story = f"the whole story: {short(files.failed)}"
        raise Refused(f"{_brief(name, error, own)}\n{story}") from None


def _brief(name: str, error: Exception, own: bool) -> str:
    if not hasattr(error, "ename"):
        return f"{name} failed: {error or type(error).__name__}"
    if own and error.ename in REFUSALS:
        return error.evalue
    source = "\n".join(f"    {line}" for line in error.source.strip().splitlines())
    return f"{name} failed in this cell:\n{source}\n{error.ename}: {error.evalue}"


# ---------------------------------------------------------------------- what a run is surrounded by


@contextmanager
def _wall_clock(seconds: int) -> Iterator[None]:
    def stop(*_):
        raise _OutOfTime

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def _our_kernel(beside: Path, order: str) -> Iterator[None]:
    """While entered, ``python3`` is this interpreter, whatever kernels the user has installed.

    It finds this checkout and what lies beside the notebook before anything else, and ``order``.
    """
    from ipykernel.kernelspec import write_kernel_spec

    before = dict(os.environ)
    with tempfile.TemporaryDirectory() as folder:
        # Kernels warn about unencrypted sockets, and write when they are stopped at the end; what a
        # notebook itself says is not affected.
        quiet = ["--log-level=CRITICAL"]
        write_kernel_spec(Path(folder) / "kernels" / "python3", extra_arguments=quiet)
        os.environ |= {"JUPYTER_PATH": folder, "SCIMF_UNATTENDED": "1", "SCIMF_RUN": order}
        os.environ["PYTHONPATH"] = search_path(beside)
        # The notebook runs in its own folder; places were meant from where we are.
        os.environ["SCIMF_DATA"] = str(paths.DATA)
        os.environ["SCIMF_BUILD"] = str(paths.BUILD)
        os.environ["SCIMF_FIGURES"] = str(paths.FIGURES)
        os.environ["SCIMF_RESULTS"] = str(paths.RESULTS)
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


@contextmanager
def _log_to(path: Path) -> Iterator[None]:
    """While entered, papermill's log goes to a file and not to the terminal."""
    logger = logging.getLogger("papermill")
    handler = logging.FileHandler(path, mode="w", encoding="utf-8")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        handler.close()


# -------------------------------------------------------------------------------- the command line

#: Commands that speak of one profile, and commands that do not.
_OF_A_PROFILE: dict[str, Callable] = {
    "run": run,
    "yours": yours,
    "publish": publish,
    "html": html,
    "summary": summary,
}
_OF_ALL: dict[str, Callable] = {
    "pairs": pairs,
    "check-pairs": check_pairs,
    "student": student,
    "data": data,
    "times": times,
    "check-figures": check_figures,
}


def _parser() -> argparse.ArgumentParser:
    about = __doc__.splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m workflow.notebooks", description=about)
    commands = parser.add_subparsers(dest="command", required=True)
    for command, function in (_OF_A_PROFILE | _OF_ALL).items():
        options = commands.add_parser(command, help=function.__doc__.splitlines()[0])
        if command in _OF_A_PROFILE:
            options.add_argument("--profile", default="teach")
        if command == "run":
            several = {"action": "append", "default": []}
            options.add_argument("name", help="a notebook, e.g. 03_train")
            options.add_argument("--set", dest="given", metavar="KEY=VALUE", **several)
            options.add_argument("--file", dest="files", metavar="KEY=PATH", **several)
            options.add_argument("--own", action="store_true", help="somebody's own file")
        if command == "yours":
            options.add_argument("--notebook", default=NOTEBOOK, help="one with a parameter data")
            options.add_argument("file", help="your file of cells, or folder")
            options.add_argument("given", nargs="*", metavar="KEY=VALUE", help="e.g. TIME_KEY=day")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    given = vars(_parser().parse_args(arguments))
    command = (_OF_A_PROFILE | _OF_ALL)[given.pop("command")]
    try:
        command(**given)
    except (Refused, ValueError, FileNotFoundError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
