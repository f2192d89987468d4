"""What keeps the repository readable: rooms in order, files and functions of a bounded size.

Also: what serves one report, or one chapter, lies beside it, not in ``scimf``.
"""

import ast
import re

import pytest
from source_files import (
    BESIDE,
    CHAPTERS,
    EVIDENCE,
    REPORTS,
    SCIMF,
    WORKFLOW,
    files_below,
    imported,
    packages_of,
    public_definitions,
    short,
    tree_of,
)

import scimf
from scimf.core import paths
from scimf.core.reached import Reached

#: In the order of the data; a room imports from rooms before it.
ROOMS = [
    "core",
    "simulate",
    "data",
    "dynamics",
    "counts",
    "evaluation",
    "interaction",
    "plots",
    "notebook",
]
MOST_ENTRIES = 10
MOST_LINES = 11_000
MOST_LINES_OF_A_FILE = 400
MOST_NAMES = 150
MOST_ARGUMENTS = 8


def room_of(path):
    return path.relative_to(SCIMF).parts[0].removesuffix(".py")


def in_rooms():
    return [path for path in files_below(SCIMF) if path.parent != SCIMF or path.stem != "__init__"]


# ------------------------------------------------------------------------------------- one way


def test_every_room_has_a_place():
    assert {room_of(path) for path in in_rooms()} == set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_from_rooms_before_it(room):
    allowed = set(ROOMS[: ROOMS.index(room) + 1])
    wrong = []
    for path in in_rooms():
        for module, name in imported(path):
            parts = f"{module}.{name}".split(".")
            if room_of(path) == room and parts[0] == "scimf" and parts[1] not in allowed:
                wrong.append(f"{short(path)} imports {name or module} of {module}")
    assert not wrong


def test_scimf_imports_nothing_that_is_built_on_it():
    built = {"beside", "evidence", "workflow", "notebooks", "tests"}
    wrong = {short(path): packages_of(path) & built for path in files_below(SCIMF)}
    assert not {path: found for path, found in wrong.items() if found}


def test_what_is_offered_at_the_top_is_there_and_is_no_room():
    assert not set(scimf._EXPORTS) & set(ROOMS)
    for name in scimf._EXPORTS:
        assert getattr(scimf, name).__name__ == name


# ------------------------------------------------------------------------------------- size


def lines_of(path):
    return len(path.read_text(encoding="utf-8").splitlines())


def test_few_entries_at_the_top():
    ignored = ("__init__.py", "__pycache__")
    entries = [path.name for path in SCIMF.iterdir() if path.name not in ignored]
    assert len(entries) <= MOST_ENTRIES, sorted(entries)


@pytest.mark.parametrize("folder", [SCIMF, WORKFLOW, BESIDE, EVIDENCE], ids=short)
def test_files_are_not_long(folder):
    long = {}
    for path in files_below(folder):
        if lines_of(path) > MOST_LINES_OF_A_FILE:
            long[short(path)] = lines_of(path)
    assert not long


def test_scimf_is_not_long():
    assert sum(lines_of(path) for path in files_below(SCIMF)) <= MOST_LINES


def test_scimf_has_not_too_many_names():
    count = {short(path): len(public_definitions(path)) for path in files_below(SCIMF)}
    assert sum(count.values()) <= MOST_NAMES, count


def is_public_simulator(path, node):
    """Options of a simulator are its physics: there may be many, all of them by keyword."""
    is_public = node in tree_of(path).body and not node.name.startswith("_")
    by_keyword = not node.args.posonlyargs + node.args.args
    return is_public and by_keyword and ast.unparse(node.returns or node) == "ad.AnnData"


@pytest.mark.parametrize("folder", [SCIMF, WORKFLOW, BESIDE, EVIDENCE], ids=short)
def test_no_function_has_many_arguments(folder):
    many = {}
    for path in files_below(folder):
        for node in ast.walk(tree_of(path)):
            if not isinstance(node, ast.FunctionDef) or is_public_simulator(path, node):
                continue
            n = len(node.args.posonlyargs + node.args.args + node.args.kwonlyargs)
            if n > MOST_ARGUMENTS:
                many[f"{short(path)}: {node.name}"] = n
    assert not many


# ---------------------------------------------------------------------------------- who uses what


SOURCES = Reached(paths.ROOT)


def module_of(path):
    """Dotted name of a file of ``scimf``."""
    parts = path.relative_to(paths.ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def used_by(path):
    """Definitions of ``scimf`` that a file imports, or names as attributes of modules it imports.

    Each as (module, name) of where it is defined.
    """
    bound = {}  # what a name means: a module of scimf
    asked = []
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                whole = alias.name
                if isinstance(node, ast.ImportFrom):
                    whole = f"{node.module}.{alias.name}"
                    asked.append((node.module, alias.name))
                bound[alias.asname or alias.name] = whole
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            asked.append((bound.get(node.value.id, ""), node.attr))
    found = {SOURCES.find(f"{module}.{name}") for module, name in asked if module[:5] == "scimf"}
    return found - {None}


def used_within(path):
    """Public definitions of a file that its other definitions name."""
    public = set(public_definitions(path))
    found = set()
    for statement in tree_of(path).body:
        named = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}
        found |= (named & public) - {getattr(statement, "name", None)}
    return found


def chapters():
    return sorted(CHAPTERS.glob("*.py"))


def reports():
    return sorted(REPORTS.glob("*.py"))


#: Packages that lie beside notebooks.
SHELVES = {"beside": BESIDE, "evidence": EVIDENCE}


def reached_beside(path):
    """Files beside notebooks that a file imports, directly or through each other."""
    reached = set()
    waiting = [path]
    while waiting:
        for module, name in imported(waiting.pop()):
            shelf = SHELVES.get(module.split(".")[0])
            if shelf is None:
                continue
            for stem in (*module.split(".")[1:], name):
                file = shelf / f"{stem}.py"
                if file.is_file() and file not in reached:
                    reached.add(file)
                    waiting.append(file)
    return reached


def users():
    """Definition of ``scimf`` -> who uses it outside of its own file; tests do not count.

    A file beside notebooks stands for the notebooks that reach it, and for ``workflow`` if that
    does. An ``__init__.py`` only passes on.
    """
    found = {}
    for path in files_below(SCIMF):
        for name in public_definitions(path):
            found[module_of(path), name] = set()

    def add(path, label):
        for definition in used_by(path):
            if definition in found and definition[0] != module_of(path):
                found[definition].add(label)

    for path in files_below(SCIMF):
        if path.stem != "__init__":
            add(path, "scimf")
    for path in [*chapters(), *reports(), *files_below(WORKFLOW)]:
        label = "workflow" if path.is_relative_to(WORKFLOW) else path.stem
        for file in {path, *reached_beside(path)}:
            add(file, label)
    shown = code_in_readme()
    for definition, labels in found.items():
        if scimf._EXPORTS.get(definition[1]) == definition[0]:
            labels.add("the top of scimf")
        if definition[1] in shown:
            labels.add("README")
    return found


def code_in_readme():
    """Words between backticks, of the README and of the page on files and methods of one's own."""
    pages = (paths.ROOT / "README.md", paths.ROOT / "docs" / "YOURS.md")
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    code = re.findall(r"```.*?```|`[^`\n]+`", text, re.DOTALL)
    return set(re.findall(r"\w+", " ".join(code)))


def test_the_readme_is_short_and_its_first_screen_says_all():
    lines = (paths.ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 120
    assert lines.index("## In a few lines") <= 40


def test_links_between_pages_lead_somewhere():
    pages = [paths.ROOT / "README.md", *(paths.ROOT / "docs").glob("*.md")]
    for page in pages:
        for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_users_of_a_function_are_found():
    found = users()
    assert {"workflow", "the top of scimf"} <= found["scimf.dynamics.fit", "fit"]
    assert "scimf" in found["scimf.data.space", "fit_space"]
    assert "workflow" in found["scimf.dynamics.config", "SDEConfig"]
    assert {"01_data", "losses"} <= found["scimf.notebook", "start_notebook"]
    assert "10_your_data" in found["scimf.interaction.design_check", "cannot_be_told"]


def used_by_one_of(notebooks):
    """Definitions of ``scimf`` that serve one of some notebooks and nothing else."""
    names = {path.stem for path in notebooks}
    alone = {}
    for (module, name), labels in users().items():
        if len(labels) == 1 and labels <= names:
            alone[module, name] = labels.pop()
    return alone


def needed_where_they_are():
    """What other definitions of its file need must stay there, such as their options."""
    within = set()
    for path in files_below(SCIMF):
        within |= {(module_of(path), name) for name in used_within(path)}
    return within


def test_what_serves_one_report_lies_beside_it():
    alone = used_by_one_of(reports())
    assert not alone.keys() - needed_where_they_are(), "move it to notebooks/reports/evidence"


def test_what_serves_one_chapter_alone_lies_beside_the_chapters():
    alone = used_by_one_of(chapters())
    assert not alone.keys() - needed_where_they_are(), "move it to notebooks/beside"


def test_what_lies_beside_the_chapters_is_used_there():
    reached = set().union(*map(reached_beside, chapters()))
    assert {path for path in files_below(BESIDE) if path.stem != "__init__"} == reached


# ------------------------------------------------------------------------------ nothing unpickled


@pytest.mark.parametrize("folder", [SCIMF, WORKFLOW, BESIDE, EVIDENCE], ids=short)
def test_nothing_is_unpickled(folder):
    unsafe = []
    for path in files_below(folder):
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Call) and may_unpickle(ast.unparse(node)):
                unsafe.append(f"{short(path)}: {ast.unparse(node)}")
    assert not unsafe


def may_unpickle(call):
    if "allow_pickle=True" in call or "weights_only=False" in call:
        return True
    if call.startswith("torch.load("):
        return "weights_only=True" not in call
    if call.startswith("np.load("):
        return "allow_pickle=False" not in call
    return re.match(r"(pickle|joblib|pd)\.(load|loads|read_pickle)\(", call) is not None
