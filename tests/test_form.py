"""Rules of the notebooks' form, one test each."""

import ast
import json
import re
import tomllib

import pytest

from scimf import paths
from scimf.notebook import declared_parameters, notebook_names, profile_settings
from scimf.publish import MAX_BYTES, machine_paths, pair_problems, read_source, tags

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
pytestmark = pytest.mark.parametrize("name", notebook_names())


def text_of(name):
    return (paths.ROOT / "notebooks" / f"{name}.py").read_text(encoding="utf-8")


def cells(name, kind="code"):
    return [cell for cell in read_source(name).cells if cell.cell_type == kind]


def first_line(cell):
    return cell.source.strip().split("\n")[0]


def nodes(name):
    """Every syntax node of the code, with the first line of its cell to name it by."""
    return [(node, first_line(cell)) for cell in cells(name) for node in ast.walk(ast.parse(cell.source))]


def of_type(name, *types):
    return [(node, where) for node, where in nodes(name) if isinstance(node, types)]


def test_one_cell_of_literal_parameters_each_explained(name):
    assert {"profile", "seed", "device"} <= set(declared_parameters(name))
    (cell,) = (cell for cell in cells(name) if "parameters" in tags(cell))
    bare = [line for line in cell.source.splitlines() if re.match(r"\w+\s*:", line) and "  # " not in line]
    assert not bare, f"no comment says what these are: {bare}"


def test_every_profile_knows_the_notebook_and_only_its_parameters(name):
    tables = tomllib.loads((paths.ROOT / "notebooks" / "profiles.toml").read_text(encoding="utf-8"))
    for profile, table in tables.items():
        profile_settings(profile, name)
        gone = {key for key, value in table.items() if isinstance(value, dict)} - set(notebook_names())
        assert not gone, f"[{profile}] has tables of notebooks that do not exist: {gone}"


def test_header_is_the_plain_one(name):
    assert text_of(name).startswith(HEADER), "a save rewrote the header (kernel or jupytext version)"


def test_one_import_cell_right_after_the_parameters(name):
    code = cells(name)
    importing = [i for i, c in enumerate(code) if re.search(r"^\s*(import|from)\s", c.source, re.MULTILINE)]
    (parameters,) = (i for i, cell in enumerate(code) if "parameters" in tags(cell))
    assert importing == [parameters + 1], [first_line(code[i]) for i in importing]


def test_code_cells_are_short(name):
    def lines(cell):
        return [line for line in cell.source.splitlines() if line.strip() and not line.strip().startswith("#")]

    long = {first_line(cell): len(lines(cell)) for cell in cells(name) if len(lines(cell)) > 15}
    assert not long, f"more than 15 lines: {long}"


def test_length(name):
    assert 150 <= len(text_of(name).splitlines()) <= 500


def test_one_title_with_the_number(name):
    titles = [line for c in cells(name, "markdown") for line in c.source.splitlines() if line.startswith("# ")]
    assert len(titles) == 1 and titles[0].startswith(f"# {int(name[:2])} · "), titles


def test_nothing_asks_for_the_profile(name):
    def asks(test):
        return any(getattr(n, "id", getattr(n, "attr", None)) == "profile" for n in ast.walk(test))

    asked = [where for node, where in of_type(name, ast.Compare, ast.Match) if asks(node)]
    asked += [where for node, where in of_type(name, ast.If, ast.IfExp) if asks(node.test)]
    assert not asked, f"a profile changes numbers only: {asked}"


def test_no_path_literal(name):
    found = [node.value for node, _ in of_type(name, ast.Constant) if PATH_LITERAL.match(str(node.value))]
    assert not found, f"use run.build, run.input, run.figures or scimf.paths: {found}"


def test_no_magics_and_no_silenced_warnings(name):
    for pattern in (r"^\s*[%!]", r"\bsys\.path\b", r"(filterwarnings|simplefilter)\("):
        found = [first_line(cell) for cell in cells(name) if re.search(pattern, cell.source, re.MULTILINE)]
        assert not found, f"{pattern} in {found}"


def test_no_code_became_text(name):
    def is_code(line):
        try:
            (node,) = ast.parse(line).body
        except (SyntaxError, ValueError):
            return False
        return isinstance(node, ast.Import | ast.ImportFrom) or bool(re.match(r"(\w+\s*=\s*)?run\.\w+\(", line))

    prose = [re.sub(r"```.*?```", "", c.source, flags=re.DOTALL) for c in cells(name, "markdown")]
    found = [line for part in prose for line in part.splitlines() if is_code(line)]
    assert not found, f"code in a markdown cell (a missing '# %%'?): {found}"


def test_at_most_two_definitions(name):
    top = [node for cell in cells(name) for node in ast.parse(cell.source).body]
    found = [node.name for node in top if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    assert len(found) <= 2, f"move to scimf/: {found}"


def test_exercises_are_numbered_and_solved(name):
    sections, solved = [], {}
    for cell in read_source(name).cells:
        if cell.cell_type == "markdown" and (heading := re.search(r"^##+ (.*)", cell.source, re.MULTILINE)):
            sections.append(heading[1])
        if "solution" in tags(cell):
            solved[sections[-1]] = True
    exercises = [s for s in sections if s.startswith("Exercise ")]
    expected = [f"Exercise {int(name[:2])}.{k} · " for k in range(1, len(exercises) + 1)]
    assert exercises and all(s.startswith(e) for s, e in zip(exercises, expected, strict=True)), exercises
    assert not [e for e in exercises if e not in solved], f"without a cell tagged 'solution': {exercises}"


def test_it_starts_and_finishes_a_run(name):
    calls = [ast.unparse(node) for node, _ in of_type(name, ast.Call)]
    assert f"start_notebook('{name}', globals())" in calls and calls.count("run.finish()") == 1


def test_figure_names_are_used_once(name):
    def drawn(notebook):
        calls = [node for node, _ in of_type(notebook, ast.Call) if ast.unparse(node.func) == "run.save_figure"]
        return [ast.unparse(node.args[1]) for node in calls if len(node.args) > 1]

    elsewhere = [figure for other in notebook_names() if other != name for figure in drawn(other)]
    assert len(set(drawn(name))) == len(drawn(name)) and not set(drawn(name)) & set(elsewhere)


def test_pair_is_in_step(name):
    assert not pair_problems(name)


def test_pair_is_fit_to_be_read(name):
    path = paths.ROOT / "notebooks" / f"{name}.ipynb"
    if not path.is_file():
        pytest.skip("no pair yet: make notebooks")
    pair = json.loads(path.read_text(encoding="utf-8"))
    assert path.stat().st_size < MAX_BYTES
    nb = read_source(name)
    nb.metadata, nb.cells = pair["metadata"], [type(nb.cells[0])(cell) for cell in pair["cells"]]
    assert not machine_paths(nb), "a path of the machine"
    if "profile" in pair["metadata"]["scimf"]:
        assert any(cell.get("outputs") for cell in pair["cells"]), "published without outputs"
