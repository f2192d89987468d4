"""What a run of a notebook leaves behind: its files and its record."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from scimf.core import paths


class Refused(Exception):
    """What was asked for cannot be done; the message says why and what would help."""


class RunFiles(NamedTuple):
    """Files of one run."""

    executed: Path  #: the notebook with its outputs, there only if all went well
    failed: Path  #: the same as far as it came, there only if something went wrong
    record: Path  #: numbers, claims and provenance


def run_files(name: str, profile: str) -> RunFiles:
    """Return where a run of a notebook under a profile leaves its files."""
    build = paths.BUILD / profile
    executed = build / f"{name}.ipynb"
    failed = build / f"{name}.failed.ipynb"
    return RunFiles(executed, failed, paths.RESULTS / profile / f"{name}.json")


def run_record(name: str, profile: str) -> dict[str, Any]:
    """Return the record of the last run of a notebook, empty when there is none."""
    return _read(run_files(name, profile).record)


def published_path(name: str, profile: str) -> Path:
    """Return where the published record of a notebook lies."""
    return paths.RESULTS / "published" / profile / f"{name}.json"


def published_record(name: str, profile: str) -> dict[str, Any]:
    """Return the published record of a notebook, empty when there is none."""
    return _read(published_path(name, profile))


def figure_files(record: dict[str, Any]) -> dict[str, str]:
    """Files of all figures of a run, with their SHA-256."""
    found = {}
    for files in record.get("figures", {}).values():
        found.update(files)
    return found


def short(path: Path) -> str:
    """Return a path as seen from the repository."""
    return str(path.relative_to(paths.ROOT) if path.is_relative_to(paths.ROOT) else path)


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    return json.loads(path.read_text(encoding="utf-8"))
