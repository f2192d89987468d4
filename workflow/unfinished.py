"""A run writes into a folder of its own; a complete one takes the place of the one before it."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nbformat import NotebookNode

from scimf.core import paths
from scimf.core.files import sha256_of
from workflow.pages import write_page
from workflow.pairs import write_notebook
from workflow.runs import figure_files, read_record, run_files, run_record


@dataclass(frozen=True)
class Unfinished:
    """What a run has written so far: ``build/<profile>/<name>.unfinished``."""

    name: str
    profile: str

    @property
    def folder(self) -> Path:
        """Where all of it lies."""
        return paths.BUILD / self.profile / f"{self.name}.unfinished"

    @property
    def places(self) -> dict[str, str]:
        """Folders of this run by kind, as :func:`scimf.start_notebook` takes them."""
        return {kind: str(self.folder / kind) for kind in ("build", "figures", "results")}

    @property
    def _record(self) -> Path:
        return Path(self.places["results"]) / f"{self.name}.json"

    @property
    def _executed(self) -> Path:
        return self.folder / f"{self.name}.ipynb"

    def record(self) -> dict[str, Any]:
        """Return the record of this run, empty when there is none."""
        return read_record(self._record)

    @contextmanager
    def begun(self) -> Iterator[None]:
        """While entered, the folder is there; what has not taken its place by then is dropped."""
        self._drop()  # a run was killed
        self.folder.mkdir(parents=True)
        try:
            yield
        finally:
            self._drop()

    def _drop(self) -> None:
        if self.folder.exists():
            shutil.rmtree(self.folder)

    def add_notebook(self, nb: NotebookNode, *, page: bool) -> None:
        """Write the executed notebook and, if wanted, its ``report.html`` beside the rest."""
        nb.metadata["scimf"] = {"results_sha256": sha256_of(self._record)}
        write_notebook(nb, self._executed)
        if page:
            write_page(nb, Path(self.places["build"]) / "report.html", title=self.name)

    def take_the_place(self) -> None:
        """Replace the results of the run before by those of this one, all of them together."""
        files = run_files(self.name, self.profile)
        figures = paths.FIGURES / self.profile
        for folder in (figures, files.record.parent):
            folder.mkdir(parents=True, exist_ok=True)
        earlier = set(figure_files(run_record(self.name, self.profile)))
        drawn = sorted(Path(self.places["figures"]).iterdir())
        build = paths.BUILD / self.profile / self.name
        # Nothing here takes space, so that a full disk cannot stop it half-way.
        if build.exists():
            os.replace(build, self.folder / "earlier")
        os.replace(self.places["build"], build)
        for path in drawn:
            shutil.move(path, figures / path.name)
        shutil.move(self._record, files.record)
        for name in earlier - {path.name for path in drawn}:
            (figures / name).unlink(missing_ok=True)
        os.replace(self._executed, files.executed)
        os.replace(files.failed_log, files.log)
        files.failed.unlink()
