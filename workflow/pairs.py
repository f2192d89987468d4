"""Each notebook is a ``.py`` with an ``.ipynb`` in step with it; the ``.py`` wins."""

import copy
import hashlib
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jupytext
from nbformat import NotebookNode

from scimf.core import paths
from scimf.core.files import sha256_of, write_file
from scimf.notebook import say
from workflow.runs import Refused, short
from workflow.settings import notebook_names
from workflow.source import Source

MAX_BYTES = 1_000_000  #: of one .ipynb
#: Two or more components after a slash that starts a word: a path of some machine (not a URL, a tag
#: or a fraction).
MACHINE_PATH = re.compile(r"(?<![\w.~/:<*$}\])-])/(?:[\w.+-]+/)+[\w.+-]+")


def read_source(name: str) -> NotebookNode:
    """Read the ``.py`` of a notebook; ids of cells depend on their content and order only."""
    nb = jupytext.read(Source(name).path)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    nb.metadata = {"kernelspec": kernel}
    return with_stable_ids(nb)


def with_stable_ids(nb: NotebookNode) -> NotebookNode:
    """Give each cell the hash of its content as id, so that an unchanged cell keeps it.

    Repeats are numbered.
    """
    seen = Counter()
    for cell in nb.cells:
        content = f"{cell.cell_type}\0{cell.source}"
        digest = hashlib.sha256(content.encode()).hexdigest()[:12]
        seen[digest] += 1
        cell["id"] = digest if seen[digest] == 1 else f"{digest}-{seen[digest]}"
    return nb


def tags(cell: NotebookNode) -> list[str]:
    """Tags of a cell."""
    return list(cell.metadata.get("tags", []))


def write_notebook(nb: NotebookNode, path: Path) -> None:
    """Write an ``.ipynb``, aside first."""
    write_file(path, jupytext.writes(nb, fmt="ipynb"))


# ------------------------------------------------------------------------------------ making a pair


def make_pair(
    name: str, executed: NotebookNode | None = None, provenance: dict[str, str] | None = None
) -> NotebookNode:
    """Return the source of a notebook, with the outputs of unchanged cells of an executed one."""
    nb = read_source(name)
    outputs = {}
    if executed is not None:
        for cell in with_stable_ids(executed).cells:
            if cell.cell_type == "code":
                outputs[cell["id"]] = cell.outputs
    code = [cell for cell in nb.cells if cell.cell_type == "code"]
    for number, cell in enumerate(code, start=1):
        cell.outputs = copy.deepcopy(outputs.get(cell["id"], []))
        cell.execution_count = number if cell["id"] in outputs else None
        for output in cell.outputs:
            if "execution_count" in output:
                output["execution_count"] = number
            output.get("metadata", {}).clear()
    nb.metadata["scimf"] = {"py_sha256": sha256_of(Source(name).path), **(provenance or {})}
    return nb


def pairs() -> None:
    """Make every ``.ipynb`` again from its ``.py``, keeping the outputs of unchanged cells."""
    for name in notebook_names():
        path = Source(name).path.with_suffix(".ipynb")
        before = None
        provenance = {}
        if path.is_file():
            before = jupytext.read(path)
            provenance = dict(before.metadata.get("scimf", {}))
            provenance.pop("py_sha256", None)
        write_notebook(make_pair(name, before, provenance), path)


def student() -> None:
    """Write ``build/student``: notebooks without outputs and without cells tagged ``solution``.

    The packages that lie beside notebooks come along.
    """
    folder = paths.BUILD / "student"
    for name in notebook_names():
        nb = read_source(name)
        nb.cells = [cell for cell in nb.cells if "solution" not in tags(cell)]
        write_notebook(nb, folder / f"{name}.ipynb")
    chapters = paths.ROOT / "notebooks"
    for package in (chapters / "beside", chapters / "reports" / "evidence"):
        if package.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(package, folder / package.name, ignore=ignored, dirs_exist_ok=True)
    say(f"student notebooks: {short(folder)}")


# ---------------------------------------------------------------------------------- checking a pair


def check_pairs() -> None:
    """Refuse a pair that is out of step."""
    problems = []
    for name in notebook_names():
        problems += pair_problems(name)
    if problems:
        raise Refused("\n".join(problems))


def pair_problems(name: str) -> list[str]:
    """List how an ``.ipynb`` differs from its ``.py``; nothing if they are in step."""
    path = Source(name).path.with_suffix(".ipynb")
    if not path.is_file():
        return [f"{short(path)} is missing: make notebooks"]
    pair = jupytext.read(path)
    theirs = _contents(pair)
    ours = _contents(read_source(name))
    problems = []
    if theirs != ours:
        at = min(len(theirs), len(ours))
        for k in range(at):
            if theirs[k] != ours[k]:
                at = k
                break
        problems.append(f"{short(path)}: cell {at + 1} is not that of the .py: make notebooks")
    if pair.metadata.get("scimf", {}).get("py_sha256") != sha256_of(path.with_suffix(".py")):
        problems.append(f"{short(path)} was not made from this .py: make notebooks")
    return problems


def _contents(nb: NotebookNode) -> list[tuple]:
    return [(cell.cell_type, cell.source, tags(cell), cell.get("id")) for cell in nb.cells]


def machine_paths(content: Any) -> list[str]:
    """Absolute paths in the texts of a record, or in outputs and metadata of a notebook.

    The sources of cells and pictures in outputs are left out.
    """
    return sorted(set(_paths_in(content)))


def _paths_in(content: Any) -> Iterator[str]:
    if isinstance(content, str):
        yield from MACHINE_PATH.findall(content)
    elif isinstance(content, dict):
        for key, part in content.items():
            is_source = key == "source" and "cell_type" in content
            is_picture = key.startswith("image/") and key != "image/svg+xml"
            if not is_source and not is_picture:
                yield from _paths_in(part)
    elif isinstance(content, list):
        for part in content:
            yield from _paths_in(part)
