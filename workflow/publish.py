"""Complete runs become tracked files: figures, records and the outputs in the ``.ipynb`` pairs."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jupytext

from scimf.core import paths
from scimf.core.files import sha256_of, write_file
from scimf.notebook import say
from workflow.pairs import MAX_BYTES, machine_paths, make_pair
from workflow.runs import (
    Refused,
    figure_files,
    published_path,
    published_record,
    run_files,
    run_record,
    short,
)
from workflow.settings import notebook_names
from workflow.source import Source


@dataclass
class _Copies:
    """What is to be written where, and every reason not to."""

    contents: dict[Path, bytes] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def publish(profile: str) -> None:
    """Copy a complete run into ``published/`` (and, for teach, into the pairs); refuse any other.

    Those that were run are published, what was published of the others stays. Of ``teach`` it must
    be of the present sources, so that the pages of a course belong together; a notebook of another
    profile is a job of its own.

    Raises
    ------
    Refused
        With every reason found; nothing was written then.
    """
    names = notebook_names()
    if names and not Source(names[0]).settings(profile)[0]["enforce"]:
        raise Refused(f"profile {profile} does not enforce its claims: nothing of it is published")
    staying = [name for name in names if _stays(name, profile)]
    new = [name for name in names if name not in staying]
    copies = _Copies()
    if not new:
        copies.problems.append(f"nothing was run: make figures PROFILE={profile}")
    for name in new:
        _collect(name, profile, copies)
    if copies.problems:
        reasons = "\n".join(f"  {problem}" for problem in copies.problems)
        raise Refused(f"profile {profile} is not published:\n{reasons}")
    for path, content in copies.contents.items():
        write_file(path, content)
    kept = set(copies.contents)
    for name in staying:
        kept |= _published_files(name, profile)
    _remove_others(profile, kept)
    say(f"published {profile}: {', '.join(new)}")


def _stays(name: str, profile: str) -> bool:
    """Whether a notebook was not run, and what was published of it, if anything, may stay."""
    if run_record(name, profile):
        return False
    if profile != "teach":
        return True
    published = published_record(name, profile)
    return bool(published) and published["source"] == Source(name).identity(profile)


def _collect(name: str, profile: str, copies: _Copies) -> None:
    """Add what is to be written for one notebook, or why nothing is."""
    record = run_record(name, profile)
    current = Source(name).identity(profile)
    problems = _unfit(name, profile, record, current)
    if not problems:
        results = run_files(name, profile).record
        copies.contents[published_path(name, profile)] = results.read_bytes()
        for file in figure_files(record):
            target = paths.FIGURES / "published" / profile / file
            if target in copies.contents:
                problems.append(f"{file} is drawn by an earlier notebook too")
            copies.contents[target] = (paths.FIGURES / profile / file).read_bytes()
        if profile == "teach":
            pair = _published_pair(name, profile, current, problems)
            copies.contents[Source(name).path.with_suffix(".ipynb")] = pair
    copies.problems += [f"{name}: {problem}" for problem in problems]


def _unfit(name: str, profile: str, record: dict[str, Any], current: str) -> list[str]:
    """Why this run of a notebook cannot be published."""
    files = run_files(name, profile)
    if record.get("status") != "complete" or not files.executed.is_file():
        return [f"no complete run: make figures PROFILE={profile}"]
    again = f"rm -r build/stamps/{profile} and make figures PROFILE={profile}"
    reasons = [f"skipped {data}: {why}" for data, why in record["skipped"].items()]
    for text, claim in record["claims"].items():
        if claim["status"] != "kept":
            reasons.append(f"claim {claim['status']}: {text}")
    if record["source"] != current:
        reasons.append(f"was run with other sources: {again}")
    about = jupytext.read(files.executed).metadata.get("scimf", {})
    if about.get("results_sha256") != sha256_of(files.record):
        reasons.append(f"its numbers are not of the executed notebook: {again}")
    for file in _altered(record, paths.FIGURES / profile):
        reasons.append(f"{file} is not as this run drew it: {again}")
    for path in machine_paths(record):
        reasons.append(f"{short(files.record)} holds a machine's path: {path}")
    return reasons


def _altered(record: dict[str, Any], folder: Path) -> list[str]:
    """Figure files of a record that are missing in a folder, or not what was drawn."""
    found = []
    for file, digest in figure_files(record).items():
        path = folder / file
        if not path.is_file() or sha256_of(path) != digest:
            found.append(file)
    return found


def _published_pair(name: str, profile: str, source: str, problems: list[str]) -> bytes:
    executed = jupytext.read(run_files(name, profile).executed)
    nb = make_pair(name, executed, {"profile": profile, "source_sha256": source})
    content = jupytext.writes(nb, fmt="ipynb").encode()
    problems += [f"an output holds a machine's path: {path}" for path in machine_paths(nb)]
    if len(content) > MAX_BYTES:
        size = f"{len(content) / 1e6:.1f} MB, the limit is {MAX_BYTES / 1e6:.0f} MB"
        problems.append(f"the .ipynb would be {size}")
    return content


def _published_files(name: str, profile: str) -> set[Path]:
    record = published_record(name, profile)
    if not record:
        return set()
    folder = paths.FIGURES / "published" / profile
    return {published_path(name, profile), *(folder / file for file in figure_files(record))}


def _remove_others(profile: str, kept: set[Path]) -> None:
    for place in (paths.RESULTS, paths.FIGURES):
        for path in (place / "published" / profile).glob("*"):
            if path not in kept:
                path.unlink()


def check_figures() -> None:
    """Report, without failing, published results not of the current sources, or altered."""
    known = notebook_names()
    stale = 0
    for path in sorted((paths.RESULTS / "published").glob("*/*.json")):
        name = path.stem
        profile = path.parent.name
        record = json.loads(path.read_text(encoding="utf-8"))
        if name not in known or record["source"] != Source(name).identity(profile):
            say(f"{profile}/{name}: made from other sources")
            stale += 1
        for file in _altered(record, paths.FIGURES / "published" / profile):
            say(f"{profile}/{file}: not as the run drew it")
            stale += 1
    if stale:
        say(f"{stale} published files are not current")
    else:
        say("published figures are current")
