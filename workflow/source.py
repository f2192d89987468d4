"""Sources of the notebooks: their parameters, their profiles, what their results depend on."""

import ast
import hashlib
import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scimf.core import paths
from scimf.core.reached import Reached
from scimf.notebook import PACKAGES

#: What a profile says of all notebooks, beside the tables of each.
SETTINGS = {"enforce": bool, "wall_seconds": int}
_PARAMETERS_CELL = re.compile(
    r'^# %%.*tags=\[[^\]]*"parameters"[^\]]*\].*\n((?:(?!# %%).*\n?)*)', re.MULTILINE
)


class Source:
    """The source of one notebook: a chapter (``NN_name``), or a report.

    Raises
    ------
    FileNotFoundError
        There is no such notebook.
    """

    def __init__(self, name: str) -> None:
        shelf = paths.ROOT / "notebooks"
        self.name = name
        self.path = (shelf if name[:1].isdigit() else shelf / "reports") / f"{name}.py"
        if not self.path.is_file():
            raise FileNotFoundError(f"{self} does not exist")

    def __str__(self) -> str:
        return self.path.relative_to(paths.ROOT).as_posix()

    def parameters(self) -> dict[str, Any]:
        """Return names and default values in the one cell tagged ``parameters``.

        Raises
        ------
        ValueError
            Not exactly one such cell, or a line in it is not ``name: type = literal``.
        """
        cells = _PARAMETERS_CELL.findall(self.path.read_text(encoding="utf-8"))
        if len(cells) != 1:
            found = f"{len(cells)} cells are tagged 'parameters', expected exactly one"
            raise ValueError(f"{self}: {found}")
        values = {}
        for node in ast.parse(cells[0]).body:
            named = isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
            if not named or not node.value:
                wrong = f"{ast.unparse(node)!r} is not 'name: type = literal'"
                raise ValueError(f"{self}, parameters: {wrong}")
            try:
                values[node.target.id] = ast.literal_eval(node.value)
            except ValueError:
                wrong = f"{node.target.id} is not set to a literal"
                raise ValueError(f"{self}, parameters: {wrong}") from None
        return values

    def settings(self, profile: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the settings of a profile, and the values it gives to the parameters.

        Raises
        ------
        ValueError
            Unknown profile, setting or parameter, or a value that is not of its default's type.
        """
        tables = _profiles()
        where = f"notebooks/profiles.toml, [{profile}.{self.name}]"
        if profile not in tables:
            known = ", ".join(tables)
            raise ValueError(f"notebooks/profiles.toml: no profile {profile!r}; there are: {known}")
        table = tables[profile]
        if self.name not in table:
            raise ValueError(f"{where}: the table is missing (it may be empty)")
        settings = {key: value for key, value in table.items() if not isinstance(value, dict)}
        if {key: type(value) for key, value in settings.items()} != SETTINGS:
            wrong = f"expected {SETTINGS}, found {settings}"
            raise ValueError(f"notebooks/profiles.toml, [{profile}]: {wrong}")
        declared = self.parameters()
        for key, value in table[self.name].items():
            if key not in declared or key == "profile":
                known = ", ".join(declared)
                raise ValueError(
                    f"{where}: {key!r} is no parameter of {self.name}; it has: {known}"
                )
            if not _is_like(value, declared[key]):
                expected = type(declared[key]).__name__
                wrong = f"{key} = {value!r}, expected {expected} as in the notebook"
                raise ValueError(f"{where}: {wrong}")
        return settings, table[self.name]

    def identity(self, profile: str) -> str:
        """Hash what the results under a profile depend on; needs no git.

        That is the notebook's code, the definitions this reaches, its values in the profile, and
        the pinned versions that its record names. Text, comments and docstrings do not count, nor
        does what it never reaches.
        """
        values = _profiles().get(profile, {}).get(self.name)
        settings = {"name": self.name, "values": values, "pins": _pins()}
        return identity_of_script(self.path, settings)

    def order(self, profile: str, places: Mapping[str, str] | None = None) -> str:
        """Tell a run what it cannot know by itself: the environment variable ``SCIMF_RUN``.

        ``places`` are folders by kind: "build", "figures" and "results".
        """
        order = {
            "parameters": list(self.parameters()),
            "enforce": self.settings(profile)[0]["enforce"],
            "source": self.identity(profile),
            "places": dict(places or {}),
        }
        return json.dumps(order)


def identity_of_script(
    path: Path, settings: dict[str, Any] | None = None, *, root: Path | None = None
) -> str:
    """Hash what the results of a script depend on: its code, what that reaches, and settings.

    ``root`` is the folder that holds the package ``scimf``; the present one by default.
    """
    reached = Reached(root or paths.ROOT, path.parent)
    reached.add_texts(Reached.texts_in(settings))
    code = reached.add_script(path.read_text(encoding="utf-8"))
    content = "\n".join([code, reached.digest(), json.dumps(settings, sort_keys=True)])
    return hashlib.sha256(content.encode()).hexdigest()


def _profiles() -> dict[str, Any]:
    file = paths.ROOT / "notebooks" / "profiles.toml"
    return tomllib.loads(file.read_text(encoding="utf-8"))


def _is_like(value: Any, default: Any) -> bool:
    if default is None or type(value) is type(default):
        return True
    return type(default) is float and type(value) is int


def _pins() -> list[str]:
    file = paths.ROOT / "constraints.txt"
    if not file.is_file():
        return []
    known = {package.lower() for package in PACKAGES}
    lines = file.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.split("==")[0].lower() in known]
