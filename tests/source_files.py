"""Which source files there are, and what each of them imports: for the tests of the house."""

import ast
from functools import cache

from scimf.core import paths

SCIMF = paths.ROOT / "scimf"
WORKFLOW = paths.ROOT / "workflow"
CHAPTERS = paths.ROOT / "notebooks"
REPORTS = paths.ROOT / "notebooks" / "reports"
EVIDENCE = REPORTS / "evidence"
BESIDE = CHAPTERS / "beside"


def files_below(folder):
    """All Python files of a folder and those below it, sorted."""
    return sorted(folder.rglob("*.py"))


def short(path):
    """Path as seen from the repository."""
    return path.relative_to(paths.ROOT).as_posix()


@cache
def tree_of(path):
    """Syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(path):
    """What a file imports, wherever it does: (module, name in it); the name is "" for a module."""
    found = []
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found += [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{short(path)}: a relative import"
            found += [(node.module, alias.name) for alias in node.names]
    return found


def packages_of(path):
    """Top-level packages that a file imports."""
    return {module.split(".")[0] for module, _ in imported(path)}


def public_definitions(path):
    """Names of the functions and classes at the top of a file that have no underscore."""
    found = []
    for node in tree_of(path).body:
        is_definition = isinstance(node, ast.FunctionDef | ast.ClassDef)
        if is_definition and not node.name.startswith("_"):
            found.append(node.name)
    return found
