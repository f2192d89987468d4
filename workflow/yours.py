"""A file of your own: what ``make`` was told about it, and the folder of its results."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scimf.core import paths
from workflow.runs import Refused

NOTEBOOK = "10_your_data"
#: Options of :func:`scimf.load` that are one parameter of the notebook, ``reading``.
READING = ("form", "layer", "genes", "labels", "sep", "bins", "drop")


def existing(file: str) -> Path:
    """Return the absolute path of a file or folder; ``~`` may stand for the home folder.

    Raises
    ------
    Refused
        It is not there.
    """
    path = Path(os.path.abspath(Path(file).expanduser()))
    if not path.exists():
        raise Refused(f"{path}: there is no such file; DATA= is the path of a file of cells")
    return path


def values_of(given: Iterable[str]) -> tuple[list[str], list[str]]:
    """Turn what ``make`` was told into values for the parameters of the notebook.

    Parameters
    ----------
    given
        ``KEY=value``: keys in capitals or not. ``CELLS`` is a path, ``HELD_OUT`` numbers or labels
        between commas, those of :data:`READING` are options of :func:`scimf.load`; others are
        parameters of the notebook as they are.

    Returns
    -------
    tuple
        ``given`` and ``files`` of :func:`workflow.settings.given_values`.
    """
    values, files, reading = [], [], {}
    for item in given:
        key, _, text = item.partition("=")
        key = key.lower()
        if key == "cells":
            files.append(f"cells={existing(text)}")
        elif key == "held_out":
            times = [_number_or_text(part) for part in text.split(",") if part.strip()]
            values.append(f"held_out={times!r}")
        elif key in READING:
            reading[key] = _number_or_text(text) if key == "bins" else text
        else:
            values.append(f"{key}={text}")
    if reading:
        values.append(f"reading={reading!r}")
    return values, files


def _number_or_text(text: str) -> float | str:
    try:
        number = float(text)
    except ValueError:
        return text.strip()
    return int(number) if number.is_integer() else number


def folder_of(file: Path) -> Path:
    """Return the folder of a file's results, ``build/yours/<its name>``.

    A second file of the same name gets a folder of its own; ``data.txt`` in each says whose it is.
    """
    path = os.fsencode(file)
    line = path + b"\n"
    shelf = paths.BUILD / "yours"
    plain = shelf / file.stem
    marked = shelf / f"{file.stem}-{hashlib.sha256(path).hexdigest()[:6]}"
    for folder in (plain, marked):
        owner = folder / "data.txt"
        if owner.is_file() and owner.read_bytes() == line:
            return folder
    folder = marked if plain.exists() else plain
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "data.txt").write_bytes(line)
    return folder


@contextmanager
def results_in(folder: Path) -> Iterator[None]:
    """While entered, everything that a run leaves goes below a folder."""
    places: dict[str, Any] = {
        "BUILD": folder,
        "FIGURES": folder / "figures",
        "RESULTS": folder / "results",
    }
    before = {name: getattr(paths, name) for name in places}
    for name, place in places.items():
        setattr(paths, name, place)
    try:
        yield
    finally:
        for name, place in before.items():
            setattr(paths, name, place)
