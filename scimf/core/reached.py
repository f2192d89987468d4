"""Which code a function or a script reaches, and how to write it down so that only meaning counts.

Methods, tables and files that a text names are followed, too; ``scimf.core.identity`` says how.
"""

import ast
import hashlib
import json
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scimf.core.sources import Meaning, Place, Sources

CHANGES_NO_RESULT = True  #: see ``scimf.core.identity``
#: How a module marks a table that is reached key by key.
TABLE = "by_name"
#: What a module defines that decides no number.
NO_RESULT = "CHANGES_NO_RESULT"


class Reached:
    """Follows names from definition to definition and keeps what was met.

    Parameters
    ----------
    root
        The folder that holds the package ``scimf``; the present one by default.
    beside
        A folder of what a script imports from its own place.
    """

    def __init__(self, root: Path | None = None, beside: Path | None = None) -> None:
        self._sources = Sources(root or Path(__file__).resolve().parents[2], beside)
        self._numbers: dict[Place, int] = {}
        self._waiting: list[Place] = []
        self._codes: dict[int, str] = {}
        self._methods: dict[Place, str] = {}
        self._tables: dict[Place, ast.Dict] = {}
        self._files: dict[Path, dict[str, Any]] = {}
        self._texts: set[str] = set()
        self._attributes: set[str] = set()

    @property
    def places(self) -> set[Place]:
        """The definitions that were reached."""
        return set(self._numbers)

    def add_texts(self, texts: Iterable[str]) -> None:
        """Take texts as keys that may name entries of tables."""
        self._texts.update(texts)

    @classmethod
    def texts_in(cls, plain: Any) -> set[str]:
        """Collect all texts in plain values, keys of dictionaries included."""
        if isinstance(plain, str):
            return {plain}
        parts: list[Any] = []
        if isinstance(plain, dict):
            parts = [*plain.keys(), *plain.values()]
        elif isinstance(plain, list):
            parts = plain
        return set().union(*map(cls.texts_in, parts))

    def add_script(self, code: str) -> str:
        """Reach everything that a script names; return its code without what does not count."""
        tree = ast.parse(code)
        return _Writer(self, _Scope(self._sources, Sources.imports_of(tree))).text(tree)

    def add(self, module: str, name: str) -> int | None:
        """Reach one definition; return its number, or None if it is none that counts."""
        place = self._sources.resolve(module, name)
        if place is None:
            return None
        home = self._sources.module(place[0])
        if NO_RESULT in home.definitions:
            return None
        if place not in self._numbers:
            self._numbers[place] = len(self._numbers)
            self._waiting.append(place)
            if "" in home.definitions:
                self.add(place[0], "")
        return self._numbers[place]

    def digest(self) -> str:
        """Hash all that was reached, methods and entries of tables that are named included."""
        chosen: dict[str, str] = {}
        size = None
        while size != (len(self._numbers), len(self._texts), len(chosen)):
            size = (len(self._numbers), len(self._texts), len(chosen))
            self._read_waiting()
            for place, method in sorted(self._methods.items()):
                if method in self._attributes or method.startswith("__"):
                    self.add(*place)
            for place, table in sorted(self._tables.items(), key=lambda item: item[0]):
                chosen.update(self._entries(place, table))
            for path, content in sorted(self._files.items()):
                chosen.update(self._parts(path, content))
        lines = [f"{number}\0{self._codes[number]}" for number in sorted(self._codes)]
        lines += [f"{key}\0{chosen[key]}" for key in sorted(chosen)]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def _read_waiting(self) -> None:
        """Read what was reached; first come, first read, so that numbers are stable."""
        while self._waiting:
            place = self._waiting.pop(0)
            writer = _Writer(self, self._scope(place))
            parts = []
            for statement in self._sources.module(place[0]).definitions[place[1]]:
                table = _table_of(statement)
                if table is None:
                    parts.append(writer.definition(statement))
                else:
                    self._tables[place] = table
            self._codes[self._numbers[place]] = "\n".join(parts)

    def _scope(self, place: Place) -> "_Scope":
        home = self._sources.module(place[0])
        return _Scope(self._sources, home.imports, place, home)

    def _named(self, table: ast.Dict) -> list[tuple[ast.AST, ast.AST]]:
        pairs = zip(table.keys, table.values, strict=True)
        return [pair for pair in pairs if pair[0].value in self._texts]

    def _entries(self, place: Place, table: ast.Dict) -> dict[str, str]:
        pairs = self._named(table)
        if not any(self._named(other) for other in self._tables.values()):
            pairs = list(zip(table.keys, table.values, strict=True))
        found = {}
        for key, value in pairs:
            where = f"{self._numbers[place]}[{key.value}]"
            found[where] = _Writer(self, self._scope(place)).text(value)
        return found

    def _parts(self, path: Path, content: dict[str, Any]) -> dict[str, str]:
        named = {key: part for key, part in content.items() if key in self._texts}
        found = {}
        for key, part in (named or content).items():
            self.add_texts(self.texts_in(part))
            found[f"{path.name}[{key}]"] = json.dumps(part, sort_keys=True, default=str)
        return found

    def _add_file(self, folder: Path, name: str) -> None:
        """Count a file that a text in the code names, if it lies beside the code."""
        if not 0 < len(name) < 100 or "/" in name or "." not in name or "\n" in name:
            return
        path = folder / name
        if path in self._files or not path.is_file() or path.suffix == ".py":
            return
        content = path.read_bytes()
        if path.suffix == ".toml":
            self._files[path] = tomllib.loads(content.decode())
        else:
            self._files[path] = {name: hashlib.sha256(content).hexdigest()}


def _table_of(statement: ast.stmt) -> ast.Dict | None:
    """Return the dictionary of a statement ``NAME = by_name({"key": ...})``."""
    call = getattr(statement, "value", None)
    if not isinstance(call, ast.Call) or ast.unparse(call.func) != TABLE:
        return None
    (table,) = call.args
    if not isinstance(table, ast.Dict):
        raise TypeError(
            f"{TABLE}: expected a dictionary written out, got {ast.unparse(table)[:60]}"
        )
    return table


# ---------------------------------------------------------------------- writing down what counts


@dataclass
class _Scope:
    """What names mean where a piece of code stands; a script has no place and no home."""

    sources: Sources
    imports: dict[str, Meaning]
    place: Place = ("", "")
    home: Any = None

    def meaning(self, name: str) -> Meaning | None:
        """Return what a name means; None if it is local or not imported."""
        if self.home is not None and name in self.home.definitions:
            return (self.place[0], name)
        if name not in self.imports:
            return None
        module, inner = self.imports[name]
        if inner is not None and self.sources.resolve(module, inner) is None:
            if self.sources.module(f"{module}.{inner}") is not None:
                return (f"{module}.{inner}", None)
        return (module, inner)


class _Writer:
    """Writes code as text: without what does not count, with numbers for the project's names."""

    def __init__(self, reached: Reached, scope: _Scope) -> None:
        self.reached = reached
        self.scope = scope
        self.local: list[set[str]] = []

    def definition(self, node: ast.AST) -> str:
        """Write a definition at the top of a file: its own name does not count."""
        is_method = "." in self.scope.place[1]
        if isinstance(node, ast.ClassDef):
            return self._class(node, "")
        if isinstance(node, ast.FunctionDef):
            if not is_method:
                self._follow_annotations(node)
            return self._function(node, node.name if is_method else "")
        return self.text(node)

    def text(self, node: Any) -> str:
        """Write any piece of code."""
        if isinstance(node, list):
            parts = [self.text(part) for part in node if not self._is_dropped(part)]
            return f"[{','.join(parts)}]"
        if not isinstance(node, ast.AST):
            return repr(node)
        if isinstance(node, ast.Name):
            return self._name(node)
        if isinstance(node, ast.Attribute):
            return self._attribute(node)
        if isinstance(node, ast.ClassDef):
            return self._class(node, node.name)
        if isinstance(node, ast.FunctionDef):
            return self._function(node, node.name)
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            self.reached.add_texts([node.value])
            if self.scope.home is not None:
                self.reached._add_file(self.scope.home.folder, node.value)
        if isinstance(node, ast.AnnAssign):
            self._follow(node.annotation)
        return self._generic(node)

    def _generic(self, node: ast.AST) -> str:
        parts = []
        for field, value in ast.iter_fields(node):
            if field not in ("annotation", "returns", "type_comment", "kind", "ctx"):
                parts.append(self.text(value))
        return f"{type(node).__name__}({','.join(parts)})"

    def _is_dropped(self, node: Any) -> bool:
        if isinstance(node, ast.Import | ast.ImportFrom):
            return True
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return True
        return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)

    def _class(self, node: ast.ClassDef, name: str) -> str:
        body = node.body
        if not name and self._bases_are_ours(node):
            for method in self.scope.sources.methods_of(node):
                place = (self.scope.place[0], f"{node.name}.{method.name}")
                self.reached._methods[place] = method.name
            body = [part for part in body if not isinstance(part, ast.FunctionDef)]
        self.local.append({node.name})
        parts = [self.text(part) for part in (node.bases, node.keywords, body, node.decorator_list)]
        self.local.pop()
        return f"class {name}({','.join(parts)})"

    def _bases_are_ours(self, node: ast.ClassDef) -> bool:
        for base in node.bases:
            dotted = _dotted(base)
            meaning = None if dotted is None else self.scope.meaning(dotted[0])
            if meaning is None or meaning[1] is None:
                return False
            if self.scope.sources.resolve(*meaning) is None:
                return False
        return True

    def _function(self, node: ast.FunctionDef, name: str) -> str:
        self.local.append(_bound_in(node))
        parts = [self.text(part) for part in (node.args, node.body, node.decorator_list)]
        self.local.pop()
        return f"def {name}({','.join(parts)})"

    def _is_local(self, name: str) -> bool:
        return any(name in names for names in self.local)

    def _name(self, node: ast.Name) -> str:
        if isinstance(node.ctx, ast.Store):
            is_own = self.scope.home is not None and not self.local
            return "" if is_own else node.id
        meaning = None if self._is_local(node.id) else self.scope.meaning(node.id)
        if meaning is None or meaning[1] is None:
            return node.id
        return self._numbered(*meaning) or node.id

    def _attribute(self, node: ast.Attribute) -> str:
        self.reached._attributes.add(node.attr)
        dotted = _dotted(node)
        if dotted is not None and not self._is_local(dotted[0]):
            meaning = self.scope.meaning(dotted[0])
            if meaning is not None and meaning[1] is None:
                found = self._through_modules(meaning[0], dotted[1:])
                if found is not None:
                    return found
        return f"{self.text(node.value)}.{node.attr}"

    def _through_modules(self, module: str, names: list[str]) -> str | None:
        """Write ``package.module.name.attribute``; None if it leads out of the project."""
        for k, name in enumerate(names):
            number = self._numbered(module, name)
            if number is not None:
                return ".".join([number, *names[k + 1 :]])
            module = f"{module}.{name}"
            if self.scope.sources.module(module) is None:
                return None
        return None

    def _numbered(self, module: str, name: str) -> str | None:
        number = self.reached.add(module, name)
        return None if number is None else f"@{number}"

    def _follow_annotations(self, node: ast.FunctionDef) -> None:
        for argument in ast.walk(node.args):
            if isinstance(argument, ast.arg):
                self._follow(argument.annotation)
        self._follow(node.returns)

    def _follow(self, annotation: ast.AST | None) -> None:
        """Reach the classes that an annotation names: their methods may be called."""
        if annotation is None:
            return
        for node in ast.walk(annotation):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                try:
                    self._follow(ast.parse(node.value, mode="eval"))
                except SyntaxError:
                    continue
            elif isinstance(node, ast.Name | ast.Attribute):
                self.text(node)


def _bound_in(function: ast.FunctionDef) -> set[str]:
    """Names that are local to a function: its arguments, and what it assigns or defines."""
    bound = {node.arg for node in ast.walk(function.args) if isinstance(node, ast.arg)}
    for node in ast.walk(function):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            bound.add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef) and node is not function:
            bound.add(node.name)
    return bound - set(Sources.imports_of(function))


def _dotted(node: ast.AST) -> list[str] | None:
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.insert(0, node.attr)
        node = node.value
    return [node.id, *names] if isinstance(node, ast.Name) else None
