"""Run one notebook under one profile, publish complete runs, and keep each ``.ipynb`` in step with its ``.py``.

``python -m scimf.execute run 03_train --profile teach``; the other commands are listed by ``--help``.
"""

import argparse
import logging
import os
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path

from scimf import paths
from scimf.notebook import file_hash, given_values, notebook_names, profile_settings, say
from scimf.publish import (
    Refused,
    check_figures,
    check_pairs,
    html,
    pairs,
    publish,
    read_source,
    run_files,
    run_record,
    short,
    student,
    write_notebook,
)


class _OutOfTime(KeyboardInterrupt):
    """Raised by the wall clock; not an Exception, so that no event loop swallows it."""


def run(name: str, profile: str, given: Sequence[str] = ()) -> None:
    """Execute a notebook; only a finished one leaves ``build/<profile>/<name>.ipynb`` behind.

    ``given`` are values for its parameters, ``key=value``, that go before those of the profile.

    Raises
    ------
    ValueError
        The parameters cell, the profile or a given value is not as it should be.
    Refused
        The notebook failed, ran past the profile's ``wall_seconds`` or did not call ``run.finish()``.
    """
    import papermill
    from papermill.exceptions import PapermillException

    done, failed, results = run_files(name, profile)
    _forget(name, profile)
    settings, values = profile_settings(profile, name)
    values = values | given_values(name, given)
    nb = read_source(name)
    done.parent.mkdir(parents=True, exist_ok=True)
    say(f"{name} ({profile}) ...")
    limit = settings["wall_seconds"]
    try:
        with _our_kernel(), _log_to(done.with_suffix(".log")), _wall_clock(limit):
            nb = papermill.execute_notebook(
                nb,
                failed,
                parameters={**values, "profile": profile},
                kernel_name="python3",
                progress_bar=False,
                log_output=True,
                cwd=paths.ROOT,
            )
    except _OutOfTime:
        raise Refused(f"{name}: stopped at wall_seconds = {limit} of profile {profile}") from None
    except (PapermillException, RuntimeError) as error:  # RuntimeError: the kernel died
        raise Refused(f"{name} failed{_brief(error)}\nthe whole story: {short(failed)}") from None
    record = run_record(name, profile)
    if record.get("status") != "complete":
        raise Refused(f"{name} ended without run.finish(): {short(results)} is not complete")
    nb.metadata["scimf"] = {"results_sha256": file_hash(results)}
    write_notebook(nb, failed)
    os.replace(failed, done)
    say(f"{name} ({profile}) {record['seconds']:.0f} s")


def _forget(name: str, profile: str) -> None:
    """Remove what an earlier run left, so that nothing of it can be taken for this one's."""
    for figure in run_record(name, profile).get("figures", {}).values():
        for file in figure:
            (paths.FIGURES / profile / file).unlink(missing_ok=True)
    for path in run_files(name, profile):
        path.unlink(missing_ok=True)


@contextmanager
def _wall_clock(seconds: int):
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
def _our_kernel():
    """While entered, ``python3`` is this interpreter, whatever kernels the user has installed."""
    from ipykernel.kernelspec import write_kernel_spec

    before = dict(os.environ)
    with tempfile.TemporaryDirectory() as folder:
        # Kernels warn about unencrypted local sockets; a notebook's own output is not affected by the log level.
        write_kernel_spec(Path(folder) / "kernels" / "python3", extra_arguments=["--log-level=ERROR"])
        os.environ |= {"JUPYTER_PATH": folder, "SCIMF_UNATTENDED": "1"}
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


@contextmanager
def _log_to(path: Path):
    """While entered, papermill's log goes to a file and not to the terminal."""
    logger, handler = logging.getLogger("papermill"), logging.FileHandler(path, mode="w", encoding="utf-8")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        handler.close()


def _brief(error: Exception) -> str:
    if not hasattr(error, "ename"):
        return f": {error or type(error).__name__}"
    source = "\n".join(f"    {line}" for line in error.source.strip().splitlines())
    return f" in this cell:\n{source}\n{error.ename}: {error.evalue}"


def data() -> None:
    """Fetch every registered data set into the cache, or check the files that are there; name those to get by hand."""
    from scimf import registry

    missing = []
    for name in registry.entries():
        try:
            say(f"{name}: {len(registry.fetch(name))} files")
        except registry.DataUnavailable as reason:
            if "manual" in registry.entries()[name]:
                say(f"{name}: not in the cache, by hand (scimf.load({name!r}) says how)")
            else:
                missing.append(str(reason))
    if missing:
        raise Refused("\n".join(missing))


def times() -> None:
    """Show seconds per notebook and profile: of your own runs, else as published."""
    profiles = ("smoke", "teach", "paper")
    say(f"| notebook | {' | '.join(profiles)} |\n|{' --- |' * (len(profiles) + 1)}")
    for name in notebook_names():
        found = [run_record(name, p) or run_record(name, p, paths.RESULTS / "published") for p in profiles]
        cells = [f"{r['seconds']:.0f} s" if r.get("status") == "complete" else "" for r in found]
        say(f"| {name} | {' | '.join(cells)} |")


def summary(profile: str) -> None:
    """Show what a profile's run came to: seconds, claims, what was skipped and why, and where the figures are."""
    n_figures = 0
    say(f"profile {profile}")
    for name in notebook_names():
        record = run_record(name, profile)
        if record.get("status") != "complete" or not run_files(name, profile)[0].is_file():
            say(f"  {name:<16}      -    no complete run")
            continue
        n_figures += len(record["figures"])
        count = Counter(claim["status"] for claim in record["claims"].values())
        claims = ", ".join(f"{count[status]} {status}" for status in ("kept", "skipped", "failed") if count[status])
        say(f"  {name:<16} {record['seconds']:>6.0f} s  claims: {claims or 'none'}")
        for text, claim in record["claims"].items():
            if claim["status"] != "kept":
                say(f"    {claim['status']}: {text}" + (f" ({claim['reason']})" if "reason" in claim else ""))
        for data, reason in record["skipped"].items():
            say(f"    without {data}: {reason}")
    say(f"{n_figures} figures in {short(paths.FIGURES / profile)}, numbers in {short(paths.RESULTS / profile)}")


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    with_profile = {"run": run, "publish": publish, "html": html, "summary": summary}
    plain = {"pairs": pairs, "check-pairs": check_pairs, "student": student}
    plain |= {"data": data, "times": times, "check-figures": check_figures}
    parser = argparse.ArgumentParser(prog="python -m scimf.execute", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for command, function in (with_profile | plain).items():
        options = commands.add_parser(command, help=function.__doc__.splitlines()[0])
        if command == "run":
            options.add_argument("name", help="a notebook, e.g. 03_train")
            options.add_argument("--set", dest="given", action="append", default=[], metavar="KEY=VALUE")
        if command in with_profile:
            options.add_argument("--profile", default="teach")
    given = vars(parser.parse_args(arguments))
    try:
        (with_profile | plain)[given.pop("command")](**given)
    except (Refused, ValueError, FileNotFoundError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
