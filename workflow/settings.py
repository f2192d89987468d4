"""Which notebooks there are, values for their parameters, and where the project's code is found."""

import ast
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from scimf.core import paths
from workflow.source import Source


def notebook_names() -> list[str]:
    """Names of the chapters (``NN_name``) in reading order, then of the reports."""
    shelf = paths.ROOT / "notebooks"
    chapters = sorted(path.stem for path in shelf.glob("[0-9][0-9]_*.py"))
    reports = sorted(path.stem for path in (shelf / "reports").glob("*.py"))
    return chapters + reports


def is_chapter(name: str) -> bool:
    """Whether a notebook is a numbered chapter; the others are reports."""
    return name[:1].isdigit()


def search_path(*folders: Path) -> str:
    """``PYTHONPATH`` of a new process that finds this checkout, and folders, before anything else.

    What a process inherits comes after them.
    """
    places = [str(paths.ROOT), *map(str, folders)]
    inherited = os.environ.get("PYTHONPATH")
    if inherited:
        places.append(inherited)
    return os.pathsep.join(places)


def reports_folder() -> Path:
    """Where reports lie, and beside them the package ``evidence`` that they share."""
    return paths.ROOT / "notebooks" / "reports"


def given_values(name: str, given: Iterable[str], files: Iterable[str] = ()) -> dict[str, Any]:
    """Read values for the parameters of a notebook from the command line.

    Parameters
    ----------
    name
        The notebook.
    given
        ``key=value`` texts; a value whose parameter is a text is taken as it is.
    files
        ``key=path`` texts; paths are made absolute, because a notebook runs in its own folder.

    Raises
    ------
    ValueError
        If a key is no parameter of the notebook, or a value is not of its default's type.
    """
    declared = Source(name).parameters()
    values = {}
    for item in given:
        key, _, text = item.partition("=")
        values[key] = _value(name, declared, key, text)
    for item in files:
        key, _, text = item.partition("=")
        values[key] = _value(name, declared, key, str(Path(text).expanduser().absolute()))
    return values


def _value(name: str, declared: dict[str, Any], key: str, text: str) -> Any:
    if key not in declared or key == "profile":
        raise ValueError(f"{key!r} is no parameter of {name}; it has: {', '.join(declared)}")
    kind = type(declared[key])
    if kind is str:
        return text
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        value = None
    is_whole_for_float = kind is float and type(value) is int
    if type(value) is not kind and not is_whole_for_float:
        raise ValueError(f"{key}={text!r}: expected {kind.__name__} such as {declared[key]!r}")
    return value
