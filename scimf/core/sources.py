"""The files of the project as definitions and imports: read and parsed, never imported."""

import ast
from pathlib import Path

CHANGES_NO_RESULT = True  #: see ``scimf.core.identity``
#: Packages that belong to the project; everything else is named by its version, not by its code.
PROJECT = ("scimf", "beside", "evidence", "workflow")
#: The table of a package whose names are loaded on first use: name -> module.
EXPORTS = "_EXPORTS"

#: A definition of the project: the module, and the name in it ("Class.method" for a method).
Place = tuple[str, str]
#: What an import binds a name to: a module, and the name in it (None for the module itself).
Meaning = tuple[str, str | None]


class _Module:
    """The definitions and imports of one file.

    Attributes
    ----------
    folder
        Where it lies.
    definitions
        Name -> the statements at the top of the file that define or change it; "Class.method" -> a
        method; "" -> statements that do something else when the file is imported.
    imports
        Name -> its meaning, wherever in the file it is imported.
    """

    def __init__(self, path: Path) -> None:
        self.folder = path.parent
        tree = ast.parse(path.read_text(encoding="utf-8"))
        self.imports = Sources.imports_of(tree)
        self.definitions: dict[str, list[ast.stmt]] = {}
        for statement in tree.body:
            for defined in _defined_by(statement):
                self.definitions.setdefault(defined, []).append(statement)
            if isinstance(statement, ast.ClassDef):
                for method in Sources.methods_of(statement):
                    self.definitions[f"{statement.name}.{method.name}"] = [method]


class Sources:
    """Finds and parses modules of the project."""

    def __init__(self, root: Path, beside: Path | None = None) -> None:
        chapters = root / "notebooks"
        shelves = (chapters, chapters / "reports")
        self.folders = (root, *shelves) if beside is None else (root, beside, *shelves)
        self.known: dict[str, _Module | None] = {}

    def module(self, name: str) -> _Module | None:
        """Return a module of the project by its dotted name; None for anything else."""
        if name not in self.known:
            path = self._path(name)
            self.known[name] = None if path is None else _Module(path)
        return self.known[name]

    def _path(self, name: str) -> Path | None:
        if name.split(".")[0] not in PROJECT:
            return None
        for folder in self.folders:
            place = folder.joinpath(*name.split("."))
            for path in (place.with_suffix(".py"), place / "__init__.py"):
                if path.is_file():
                    return path
        return None

    def resolve(self, module: str, name: str) -> Place | None:
        """Find where a name is defined, through re-exports; None if not in the project."""
        home = self.module(module)
        while home is not None:
            if name in home.definitions:
                return (module, name)
            if name in home.imports:
                module, inner = home.imports[name]
                if inner is None:
                    return None
                name = inner
            else:
                exports = home.definitions.get(EXPORTS)
                table = ast.literal_eval(exports[0].value) if exports else {}
                if name not in table:
                    return None
                module = table[name]
            home = self.module(module)
        return None

    @staticmethod
    def imports_of(tree: ast.AST) -> dict[str, Meaning]:
        """Collect what the import statements of a piece of code bind."""
        found: dict[str, Meaning] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    bound = alias.asname or alias.name.split(".")[0]
                    found[bound] = (alias.name if alias.asname else bound, None)
            elif isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    found[alias.asname or alias.name] = (node.module, alias.name)
        return found

    @staticmethod
    def methods_of(node: ast.ClassDef) -> list[ast.FunctionDef]:
        """Functions that are defined in the body of a class."""
        return [part for part in node.body if isinstance(part, ast.FunctionDef)]


def _defined_by(statement: ast.stmt) -> list[str]:
    """Names that a statement at the top of a file defines or changes; "" for other effects."""
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return [statement.name]
    if isinstance(statement, ast.Import | ast.ImportFrom) or _is_text(statement):
        return []
    if isinstance(statement, ast.If):
        test = ast.unparse(statement.test)
        return [] if test == "TYPE_CHECKING" or "__name__" in test else [""]
    targets: list[ast.expr] = []
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, ast.AnnAssign | ast.AugAssign):
        targets = [statement.target]
    names = []
    for target in targets:
        names += [node.id for node in ast.walk(target) if isinstance(node, ast.Name)]
    return names or [""]


def _is_text(node: ast.AST) -> bool:
    """Whether a statement is a docstring, or a text that does nothing."""
    is_constant = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return is_constant and isinstance(node.value.value, str)
