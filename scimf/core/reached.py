"""Which code a function or a script reaches, written down so that only meaning counts.

``scimf.core.identity`` says what counts. Files of the project are parsed, never imported.
"""

import ast
import hashlib
import tomllib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

CHANGES_NO_RESULT = True  #: see ``scimf.core.identity``
#: Packages that belong to the project; everything else is named by its version, not by its code.
PROJECT = ("scimf", "beside", "evidence", "workflow")
#: The table of a package whose names are loaded on first use: name -> module.
EXPORTS = "_EXPORTS"
#: How a module marks a table that is reached key by key.
TABLE = "by_name"
#: What a module defines that decides no number.
NO_RESULT = "CHANGES_NO_RESULT"
#: What methods are part of, as entries are of tables.
METHODS = "methods"

#: A definition of the project: the module, and the name in it. Of parts that are reached one by
#: one the name is "Class.method", "TABLE[key]" or "file.toml[key]".
Place = tuple[str, str]


class Reached:
    """Follows names from definition to definition and keeps what was met.

    ``root`` is the folder that holds the package ``scimf``, the present one by default, ``beside``
    one of what a script imports from its own place.
    """

    def __init__(self, root: Path | None = None, beside: Path | None = None) -> None:
        root = root or Path(__file__).resolve().parents[2]
        chapters = root / "notebooks"
        self._folders = (root, beside or root, chapters, chapters / "reports")
        self._modules: dict[str, _Module | None] = {}
        self._numbers: dict[Place, int] = {}
        self._waiting: list[Place] = []
        self._codes: list[str] = []
        self._files: set[Path] = set()
        #: Place -> the word that reaches it, and what it is part of.
        self._parts: dict[Place, tuple[str, str]] = {}
        #: All texts, and attributes with their dot.
        self._words: set[str] = set()

    @property
    def places(self) -> set[Place]:
        """The definitions that were reached."""
        return set(self._numbers)

    def add_texts(self, texts: Iterable[str]) -> None:
        """Take texts as keys that may name entries of tables."""
        self._words.update(texts)

    @staticmethod
    def texts_in(plain: Any) -> set[str]:
        """Collect all texts in plain values, keys of dictionaries included."""
        return {node.value for node in ast.walk(ast.parse(repr(plain))) if _is_text(node)}

    def add_script(self, code: str) -> str:
        """Reach everything that a script names; return its code without what does not count."""
        tree = ast.parse(code)
        return _written(_Rewriter(self, _imported(tree)).visit(tree))

    def add(self, module: str, name: str) -> int | None:
        """Reach one definition; return its number, or None if it is none that counts."""
        return self._add(self.find(f"{module}.{name}"))

    def find(self, dotted: str) -> Place | None:
        """Find where ``module.name`` is defined, through re-exports; None if not in the project."""
        module, _, name = dotted.rpartition(".")
        home = self._module(module)
        if home is None or name not in home.names:
            return None
        if name in home.definitions:
            return (module, name)
        return self.find(home.names[name])

    def digest(self) -> str:
        """Hash all that was reached, methods and entries of tables that are named included."""
        while self._waiting:
            self._codes.append(self._read(self._waiting.pop(0)))
            if not self._waiting:
                self._add_named()
            if not self._waiting:
                self._add_unnamed_tables()
        return hashlib.sha256("\n".join(self._codes).encode()).hexdigest()

    def _module(self, name: str) -> "_Module | None":
        if name.split(".")[0] not in PROJECT:
            return None
        if name not in self._modules:
            inner = name.replace(".", "/")
            files = [folder / inner / "__init__.py" for folder in self._folders]
            files += [folder / f"{inner}.py" for folder in self._folders]
            found = [path for path in files if path.is_file()]
            self._modules[name] = _Module(name, found[0]) if found else None
        return self._modules[name]

    def _add(self, place: Place | None) -> int | None:
        if place is None:
            return None
        module, _ = place
        definitions = self._module(module).definitions
        if NO_RESULT in definitions:
            return None
        if place not in self._numbers:
            self._numbers[place] = len(self._numbers)
            self._waiting.append(place)
            if "" in definitions:
                self._add((module, ""))
        return self._numbers[place]

    def _read(self, place: Place) -> str:
        module, name = place
        home = self._module(module)
        code = ast.Module([*home.definitions[name]], [])
        word, _ = self._parts.get(place, ("", ""))
        return word + _written(_Rewriter(self, home.names, home, name).visit(code))

    def _add_named(self) -> None:
        """Reach methods and entries whose names were met; Python itself calls ``__init__``."""
        for place, (word, _) in self._parts.items():
            if word in self._words or word.startswith(".__"):
                self._add(place)

    def _add_unnamed_tables(self) -> None:
        """Reach all of a file none of whose keys was met; and all tables if no key of any was."""
        named = {table for word, table in self._parts.values() if word in self._words}
        for place, (_, table) in self._parts.items():
            if table not in named | {METHODS}:
                self._add(place)


class _Module:
    """The definitions of one file, and what names mean in it."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        #: Name -> the statements at the top that define or change it; "" -> those that do more.
        self.definitions: dict[str, list[ast.AST]] = {}
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for statement in tree.body:
            for defined in _defined_by(statement):
                self.definitions.setdefault(defined, []).append(statement)
        exports = self.definitions.get(EXPORTS)
        exported = ast.literal_eval(exports[0].value) if exports else {}
        #: Name -> the dotted name of what is defined here, or imported, be it within a function.
        self.names = {inner: f"{module}.{inner}" for inner, module in exported.items()}
        self.names |= _imported(tree)
        self.names |= {defined: f"{name}.{defined}" for defined in self.definitions}
        beside = [file for file in path.parent.iterdir() if file.suffix != ".py"]
        self.files = {file.name: file for file in beside if file.is_file()}


def _imported(tree: ast.AST) -> dict[str, str]:
    """Collect what the import statements of a piece of code bind: name -> dotted name."""
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                bound = alias.asname or alias.name.split(".")[0]
                found[bound] = alias.name if alias.asname else bound
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                found[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return found


def _defined_by(statement: ast.stmt) -> list[str]:
    """Names that a statement at the top of a file defines or changes; "" for other effects."""
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return [statement.name]
    if _is_dropped(statement):
        return []
    if isinstance(statement, ast.If):
        return [] if "__name__" in ast.unparse(statement.test) else [""]
    targets: list[ast.expr] = []
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, ast.AnnAssign | ast.AugAssign):
        targets = [statement.target]
    names = []
    for target in targets:
        names += [node.id for node in ast.walk(target) if isinstance(node, ast.Name)]
    return names or [""]


def _is_dropped(statement: ast.stmt) -> bool:
    """Whether a statement does not count: an import, one for types alone, or a text."""
    if isinstance(statement, ast.If):
        return getattr(statement.test, "id", "") == "TYPE_CHECKING"
    if isinstance(statement, ast.Expr):
        return isinstance(statement.value, ast.Constant)
    return isinstance(statement, ast.Import | ast.ImportFrom)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


class _Rewriter(ast.NodeTransformer):
    """Takes from code what does not count, and puts numbers for the project's names.

    ``names`` are those of a script, or of the module ``home``; ``own`` is the name there of what is
    rewritten. It does not count: what names it has its number. To rewrite twice changes no more.
    """

    def __init__(
        self, reached: Reached, names: dict[str, str], home: _Module | None = None, own: str = ""
    ) -> None:
        self.reached = reached
        self.names = names
        self.home = home
        self.own = own
        self.local: set[str] = set()

    def visit(self, node: ast.AST) -> Any:
        """Rewrite a piece of code; None if it does not count."""
        return None if _is_dropped(node) else super().visit(node)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if not isinstance(node.ctx, ast.Store):
            return self._numbered(node) or node
        if node.id == self.own:
            node.id = ""
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        self.reached.add_texts([f".{node.attr}"])
        return self._numbered(node) or self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        if node.name == self.own:
            node.name = ""
        outer = self.local
        self.local = outer | _bound_in(node)
        self._follow(node.returns)
        node.returns = None
        self.generic_visit(node)
        self.local = outer
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        if node.name == self.own:
            node.name = ""
            if all(self._numbered(base) for base in node.bases):
                methods = [part for part in node.body if isinstance(part, ast.FunctionDef)]
                for method in methods:
                    name = f"{self.own}.{method.name}"
                    self._put_off(name, method, f".{method.name}", METHODS)
                node.body = [part for part in node.body if part not in methods]
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if self.own and getattr(node.func, "id", "") == TABLE:
            (table,) = node.args
            if not isinstance(table, ast.Dict):
                found = ast.unparse(table)[:60]
                raise TypeError(f"{TABLE}: expected a dictionary written out, got {found}")
            for key, value in zip(table.keys, table.values, strict=True):
                self._put_off(f"{self.own}[{key.value}]", value, key.value, TABLE)
            node.args = []
        return self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if _is_text(node):
            self.reached.add_texts([node.value])
            if self.home is not None and node.value in self.home.files:
                self._put_off_file(self.home.files[node.value])
        return node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        self._follow(node.annotation)
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        self._follow(node.annotation)
        node.annotation = None
        return self.generic_visit(node)

    def _follow(self, annotation: ast.AST | None) -> None:
        """Reach the classes that an annotation names: their methods may be called."""
        for node in [] if annotation is None else ast.walk(annotation):
            if _is_text(node):
                with suppress(SyntaxError):
                    self._follow(ast.parse(node.value))
            elif isinstance(node, ast.Name | ast.Attribute):
                self.visit(node)

    def _numbered(self, node: ast.AST) -> ast.Name | None:
        """Reach what a name stands for, with a module before it or without."""
        number = self.reached._add(self.reached.find(self._dotted(node)))
        return None if number is None else ast.Name(f"@{number}", ast.Load())

    def _dotted(self, node: ast.AST) -> str:
        """Return the dotted name of what a name stands for, or one that leads nowhere."""
        if isinstance(node, ast.Attribute):
            return f"{self._dotted(node.value)}.{node.attr}"
        is_local = not isinstance(node, ast.Name) or node.id in self.local
        return "" if is_local else self.names.get(node.id, "")

    def _put_off(self, name: str, code: ast.AST, word: str, table: str) -> None:
        """Make a part of what is read a definition of its own, to be reached by a word."""
        self.home.definitions.setdefault(name, []).append(code)
        self.reached._parts[self.home.name, name] = (word, table)

    def _put_off_file(self, path: Path) -> None:
        if path in self.reached._files:
            return
        self.reached._files.add(path)
        content = {path.name: hashlib.sha256(path.read_bytes()).hexdigest()}
        if path.suffix == ".toml":
            content = tomllib.loads(path.read_text("utf-8"))
        for key, part in content.items():
            code = ast.parse(repr(part), mode="eval")
            self._put_off(f"{path.name}[{key}]", code, key, path.name)


def _written(node: Any) -> str:
    """Write code as ``ast.dump`` does, but alike in all versions of Python."""
    if isinstance(node, ast.AST):
        parts = [type(node).__name__]
        for field, value in ast.iter_fields(node):
            if value not in (None, []):  # newer versions have more fields, which are empty
                parts.append(f"{field}={_written(value)}")
        return f"({' '.join(parts)})"
    if isinstance(node, list):
        return f"[{','.join(map(_written, node))}]"
    return repr(node)


def _bound_in(function: ast.FunctionDef) -> set[str]:
    """Names that are local to a function: its arguments, and what it assigns or defines."""
    bound = {node.arg for node in ast.walk(function.args) if isinstance(node, ast.arg)}
    for node in ast.walk(function):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            bound.add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef) and node is not function:
            bound.add(node.name)
    return bound - set(_imported(function))
