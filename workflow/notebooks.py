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
from scimf.core.files import sha256_of
from scimf.notebook import say
from workflow.overview import data, summary, times
from workflow.pages import html, write_page
from workflow.pairs import check_pairs, pairs, read_source, student, write_notebook
from workflow.publish import check_figures, publish
from workflow.runs import Refused, figure_files, run_files, run_record, short
from workflow.settings import given_values, search_path
from workflow.source import Source


class _OutOfTime(KeyboardInterrupt):
    """Raised by the wall clock; not an Exception, so that no event loop swallows it."""


def run(
    name: str,
    profile: str,
    given: Sequence[str] = (),
    files: Sequence[str] = (),
    page: bool = False,
) -> None:
    """Execute a notebook; only a finished one leaves ``build/<profile>/<name>.ipynb`` behind.

    Parameters
    ----------
    name, profile
        The notebook, and the table of values for its parameters.
    given, files
        Values that go before those of the profile: see :func:`workflow.settings.given_values`.
    page
        Whether to write ``build/<profile>/<name>/report.html``, too: text and outputs without code.

    Raises
    ------
    ValueError
        The parameters cell, the profile or a given value is not as it should be.
    Refused
        The notebook failed, ran past the profile's ``wall_seconds``, or did not call
        ``run.finish()``.
    """
    _forget(name, profile)
    settings, values = Source(name).settings(profile)
    values = values | given_values(name, given, files) | {"profile": profile}
    say(f"{name} ({profile}) ...")
    executed, failed, results = run_files(name, profile)
    nb = _execute(name, profile, values, settings["wall_seconds"])
    record = run_record(name, profile)
    if record.get("status") != "complete":
        raise Refused(f"{name} ended without run.finish(): {short(results)} is not complete")
    nb.metadata["scimf"] = {"results_sha256": sha256_of(results)}
    write_notebook(nb, executed)
    failed.unlink()
    say(f"{name} ({profile}) {record['seconds']:.0f} s")
    if page:
        target = paths.BUILD / profile / name / "report.html"
        write_page(nb, target, title=name)
        say(f"report: {short(target)}")


def _forget(name: str, profile: str) -> None:
    """Remove what an earlier run left, so that nothing of it can be taken for this one's."""
    for file in figure_files(run_record(name, profile)):
        (paths.FIGURES / profile / file).unlink(missing_ok=True)
    for path in run_files(name, profile):
        path.unlink(missing_ok=True)


def _execute(name: str, profile: str, values: dict, wall_seconds: int):
    """Run all cells in the folder of the notebook, as in Jupyter, and return their outputs."""
    import papermill
    from papermill.exceptions import PapermillException

    executed, failed, _ = run_files(name, profile)
    failed.parent.mkdir(parents=True, exist_ok=True)
    log = executed.with_suffix(".log")
    source = Source(name)
    folder = source.path.parent
    order = source.order(values["profile"])
    try:
        with _our_kernel(folder, order), _log_to(log), _wall_clock(wall_seconds):
            return papermill.execute_notebook(
                read_source(name),
                failed,
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
        story = f"the whole story: {short(failed)}"
        raise Refused(f"{name} failed{_brief(error)}\n{story}") from None


def _brief(error: Exception) -> str:
    if not hasattr(error, "ename"):
        return f": {error or type(error).__name__}"
    source = "\n".join(f"    {line}" for line in error.source.strip().splitlines())
    return f" in this cell:\n{source}\n{error.ename}: {error.evalue}"


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
        # Kernels warn about unencrypted local sockets; a notebook's own output is not affected.
        quiet = ["--log-level=ERROR"]
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
            options.add_argument("--page", action="store_true", help="write report.html, too")
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
