"""Rules of the notebooks' form, one test each: only chapters are numbered, and short."""

import ast
import json
import re
import tomllib

import pytest

from scimf.core import paths
from workflow.pairs import MAX_BYTES, machine_paths, pair_problems, read_source, tags
from workflow.settings import is_chapter, notebook_names
from workflow.source import Source

HEADER = """\
# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---
"""
PATH_LITERAL = re.compile(r"/\w+/|~/|\.\.?/|(build|data|figures|notebooks|results|scimf)/")
MAX_CELL = 15  # lines of code, imports not counted
MAX_CLASS = 25  # of a cell that defines a module of the model, which is read as one equation
MAX_WIDTH = 100
MAX_CHAPTER = 500  # lines of the source
CHAPTERS = [name for name in notebook_names() if is_chapter(name)]
of_every_notebook = pytest.mark.parametrize("name", notebook_names())
of_every_chapter = pytest.mark.parametrize("name", CHAPTERS)


def text_of(name):
    return Source(name).path.read_text(encoding="utf-8")


def cells(name, kind="code"):
    return [cell for cell in read_source(name).cells if cell.cell_type == kind]


def first_line(cell):
    return cell.source.strip().split("\n")[0]


def nodes(name, *types):
    """Syntax nodes of some types, each with the first line of its cell to name it by."""
    found = []
    for cell in cells(name):
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, types):
                found.append((node, first_line(cell)))
    return found


def headings(name):
    """Lines of the text that begin with ``#``, outside of code blocks, with what follows each."""
    found = []
    for cell in cells(name, "markdown"):
        text = re.sub(r"```.*?```", "", cell.source, flags=re.DOTALL)
        found += re.findall(r"^#+ .*", text, re.MULTILINE)
    return found


# ------------------------------------------------------------------------- parameters and imports


@of_every_notebook
def test_one_cell_of_literal_parameters_each_explained(name):
    assert {"profile", "seed", "device"} <= set(Source(name).parameters())
    (cell,) = (cell for cell in cells(name) if "parameters" in tags(cell))
    bare = []
    for node in ast.parse(cell.source).body:
        lines = cell.source.splitlines()[node.lineno - 1 : node.end_lineno]
        if not any("  # " in line for line in lines):
            bare.append(ast.unparse(node))
    assert not bare, f"no comment says what these are: {bare}"


@of_every_notebook
def test_every_profile_knows_the_notebook_and_only_its_parameters(name):
    text = (paths.ROOT / "notebooks" / "profiles.toml").read_text(encoding="utf-8")
    for profile in tomllib.loads(text):
        Source(name).settings(profile)


def test_no_profile_has_a_table_of_a_notebook_that_is_gone():
    text = (paths.ROOT / "notebooks" / "profiles.toml").read_text(encoding="utf-8")
    for profile, table in tomllib.loads(text).items():
        named = {key for key, value in table.items() if isinstance(value, dict)}
        assert not named - set(notebook_names()), profile


@of_every_notebook
def test_header_is_the_plain_one(name):
    assert text_of(name).startswith(HEADER), "a save rewrote the header (kernel or version)"


@of_every_notebook
def test_one_import_cell_right_after_the_parameters(name):
    code = cells(name)
    importing = []
    for i, cell in enumerate(code):
        if re.search(r"^\s*(import|from)\s", cell.source, re.MULTILINE):
            importing.append(i)
    (parameters,) = (i for i, cell in enumerate(code) if "parameters" in tags(cell))
    assert importing == [parameters + 1], [first_line(code[i]) for i in importing]


@of_every_notebook
def test_nothing_is_imported_from_a_shelf_that_is_not_its_own(name):
    # Reports hold the evidence for chapters: they may use what lies beside these, too.
    allowed = {"scimf", "beside"} if is_chapter(name) else {"scimf", "evidence", "beside"}
    local = {"scimf", "beside", "evidence", "workflow", *notebook_names()}
    imported = set()
    for node, _ in nodes(name, ast.Import, ast.ImportFrom):
        names = [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom):
            names = [node.module]
        imported |= {module.split(".")[0] for module in names}
    assert not (imported & local) - allowed


# ------------------------------------------------------------------------------------------ size


@of_every_notebook
def test_code_cells_are_short(name):
    long = {}
    for cell in cells(name):
        lines = [line.strip() for line in cell.source.splitlines()]
        lines = [line for line in lines if line and not line.startswith(("#", "import ", "from "))]
        most = MAX_CELL
        if isinstance(ast.parse(cell.source).body[0], ast.ClassDef):
            most = MAX_CLASS
        if len(lines) > most:
            long[first_line(cell)] = len(lines)
    assert not long, f"too many lines: {long}"


@of_every_notebook
def test_lines_of_code_are_not_long(name):
    wide = []
    for cell in cells(name):
        wide += [line for line in cell.source.splitlines() if len(line) > MAX_WIDTH]
    assert not wide, f"more than {MAX_WIDTH} columns: {wide}"


@of_every_chapter
def test_a_chapter_is_not_long(name):
    assert len(text_of(name).splitlines()) <= MAX_CHAPTER


@of_every_notebook
def test_at_most_two_definitions(name):
    top = []
    for cell in cells(name):
        top += ast.parse(cell.source).body
    found = [node.name for node in top if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    assert len(found) <= 2, f"move to scimf/, beside/ or evidence/: {found}"


# --------------------------------------------------------------------------- titles and exercises


@of_every_notebook
def test_one_title_and_only_a_chapter_is_numbered(name):
    titles = [heading for heading in headings(name) if heading.startswith("# ")]
    assert len(titles) == 1, titles
    if is_chapter(name):
        assert titles[0].startswith(f"# {int(name[:2])} · ")
    else:
        assert not re.match(r"# \d", titles[0])


@of_every_chapter
def test_exercises_are_numbered(name):
    texts = [heading.lstrip("# ") for heading in headings(name)]
    exercises = [text for text in texts if text.startswith("Exercise ")]
    assert exercises
    for k, exercise in enumerate(exercises, start=1):
        assert exercise.startswith(f"Exercise {int(name[:2])}.{k} · ")


@of_every_notebook
def test_exercises_are_solved(name):
    unsolved = None
    for cell in read_source(name).cells:
        heading = re.search(r"^##+ (.*)", cell.source, re.MULTILINE)
        if cell.cell_type == "markdown" and heading:
            assert unsolved is None, f"without a cell tagged 'solution': {unsolved}"
            unsolved = heading[1] if heading[1].startswith("Exercise ") else None
        if "solution" in tags(cell):
            unsolved = None
    assert unsolved is None, f"without a cell tagged 'solution': {unsolved}"


# ------------------------------------------------------------------------------------- what it does


@of_every_notebook
def test_nothing_asks_for_the_profile(name):
    asked = []
    for node, where in nodes(name, ast.Compare, ast.Match, ast.If, ast.IfExp):
        test = node.test if isinstance(node, ast.If | ast.IfExp) else node
        for part in ast.walk(test):
            if getattr(part, "id", getattr(part, "attr", None)) == "profile":
                asked.append(where)
    assert not asked, f"a profile changes numbers only: {asked}"


@of_every_notebook
def test_no_path_literal(name):
    texts = [str(node.value) for node, _ in nodes(name, ast.Constant)]
    found = [text for text in texts if PATH_LITERAL.match(text)]
    assert not found, f"use run.build, run.figures or scimf.paths: {found}"


@of_every_notebook
@pytest.mark.parametrize(
    "pattern", [r"^\s*[%!]", r"\bsys\.path\b", r"(filterwarnings|simplefilter)\("]
)
def test_no_magics_and_no_silenced_warnings(name, pattern):
    found = []
    for cell in cells(name):
        if re.search(pattern, cell.source, re.MULTILINE):
            found.append(first_line(cell))
    assert not found


@of_every_notebook
def test_no_code_became_text(name):
    found = []
    for cell in cells(name, "markdown"):
        text = re.sub(r"```.*?```", "", cell.source, flags=re.DOTALL)
        found += [line for line in text.splitlines() if is_code(line)]
    assert not found, f"code in a markdown cell (a missing '# %%'?): {found}"


def is_code(line):
    try:
        (node,) = ast.parse(line).body
    except (SyntaxError, ValueError):
        return False
    is_import = isinstance(node, ast.Import | ast.ImportFrom)
    return is_import or re.match(r"(\w+\s*=\s*)?run\.\w+\(", line) is not None


@of_every_notebook
def test_it_starts_and_finishes_a_run(name):
    calls = [ast.unparse(node) for node, _ in nodes(name, ast.Call)]
    start = f"start_notebook('{name}', globals())"
    assert start in calls or f"scimf.{start}" in calls
    assert calls.count("run.finish()") == 1


def test_figure_names_are_used_once():
    drawn = []
    for name in notebook_names():
        for node, _ in nodes(name, ast.Call):
            if ast.unparse(node.func) == "run.save_figure" and len(node.args) > 1:
                drawn.append(ast.unparse(node.args[1]))
    twice = {figure for figure in drawn if drawn.count(figure) > 1}
    assert not twice


# --------------------------------------------------------------------------------------- the pair


@of_every_notebook
def test_pair_is_in_step(name):
    assert not pair_problems(name)


@of_every_notebook
def test_pair_is_fit_to_be_read(name):
    path = Source(name).path.with_suffix(".ipynb")
    if not path.is_file():
        pytest.skip("no pair yet: make notebooks")
    pair = json.loads(path.read_text(encoding="utf-8"))
    assert path.stat().st_size < MAX_BYTES
    assert not machine_paths(pair), "a path of the machine"
    if "profile" in pair["metadata"]["scimf"]:
        assert any(cell.get("outputs") for cell in pair["cells"]), "published without outputs"
