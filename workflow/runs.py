"""What a run of a notebook leaves behind: its files and its record."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from scimf.core import paths


class Refused(Exception):
    """What was asked for cannot be done; the message says why and what would help."""


class RunFiles(NamedTuple):
    """Files of one run."""

    executed: Path  #: the notebook of the last complete run, with its outputs
    failed: Path  #: of the last run as far as it came, there only if it went wrong
    log: Path  #: of the last complete run
    failed_log: Path
    record: Path  #: numbers, claims and provenance of the last complete run


def run_files(name: str, profile: str) -> RunFiles:
    """Return where a run of a notebook under a profile leaves its files."""
    build = paths.BUILD / profile
    return RunFiles(
        executed=build / f"{name}.ipynb",
        failed=build / f"{name}.failed.ipynb",
        log=build / f"{name}.log",
        failed_log=build / f"{name}.failed.log",
        record=paths.RESULTS / profile / f"{name}.json",
    )


def run_record(name: str, profile: str) -> dict[str, Any]:
    """Return the record of the last complete run of a notebook, empty when there is none."""
    return read_record(run_files(name, profile).record)


def published_path(name: str, profile: str) -> Path:
    """Return where the published record of a notebook lies."""
    return paths.RESULTS / "published" / profile / f"{name}.json"


def published_record(name: str, profile: str) -> dict[str, Any]:
    """Return the published record of a notebook, empty when there is none."""
    return read_record(published_path(name, profile))


def figure_files(record: dict[str, Any]) -> dict[str, str]:
    """Files of all figures of a run, with their SHA-256."""
    found = {}
    for files in record.get("figures", {}).values():
        found.update(files)
    return found


def short(path: Path) -> str:
    """Return a path as seen from the repository."""
    return str(path.relative_to(paths.ROOT) if path.is_relative_to(paths.ROOT) else path)


def read_record(path: Path) -> dict[str, Any]:
    """Return a record, empty when there is none."""
    if not path.is_file():
        return {}
    return json.loads(path.read_text(encoding="utf-8"))
