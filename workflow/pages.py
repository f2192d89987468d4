"""Executed notebooks as pages: with the code to read, or without it to send to a colleague."""

from pathlib import Path

from nbconvert import HTMLExporter
from nbformat import NotebookNode

from scimf.core import paths
from scimf.core.files import write_file
from scimf.notebook import say
from workflow.pairs import tags
from workflow.runs import Refused, run_files, short
from workflow.settings import notebook_names
from workflow.source import Source


def html(profile: str) -> None:
    """Render the notebooks as executed under a profile, else as published, to ``build/html``."""
    for name in notebook_names():
        page, _ = HTMLExporter().from_filename(str(_to_show(name, profile)))
        write_file(paths.BUILD / "html" / f"{name}.html", page)
    say(f"pages: {short(paths.BUILD / 'html')}")


def _to_show(name: str, profile: str) -> Path:
    for path in (run_files(name, profile).executed, Source(name).path.with_suffix(".ipynb")):
        if path.is_file():
            return path
    raise Refused(f"{name} was not executed yet: make figures PROFILE={profile}")


def write_page(executed: NotebookNode, path: Path, title: str) -> None:
    """Write text and outputs of an executed notebook, without code, as one file.

    Exercises and cells tagged ``example`` are left out; where cells are tagged ``yours``, all
    others.

    Pictures are inside; formulas need a network to be shown as such.
    """
    exporter = HTMLExporter(
        exclude_input=True,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        embed_images=True,
    )
    nb = executed.copy()
    nb.cells = _to_send(executed.cells)
    page, _ = exporter.from_notebook_node(nb, resources={"metadata": {"name": title}})
    write_file(path, page)


def _to_send(cells: list[NotebookNode]) -> list[NotebookNode]:
    if yours := [cell for cell in cells if "yours" in tags(cell)]:
        return yours
    kept = []
    in_exercise = False
    for cell in cells:
        if cell.cell_type == "markdown" and cell.source.startswith("#"):
            in_exercise = cell.source.lstrip("# ").startswith("Exercise ")
        if not in_exercise and not {"solution", "example"} & set(tags(cell)):
            kept.append(cell)
    return kept
