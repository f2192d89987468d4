"""What becomes due when a line of the project changes: neither less nor more than it decides.

A copy of the sources is edited, one definition at a time. Fits, scores and answers are the real
ones; four short scripts stand for notebooks, so that rewriting a chapter changes no expectation.
"""

import ast
import shutil
import textwrap

import pytest

from scimf.core import paths
from scimf.core.reached import Reached
from workflow.source import identity_of_script

#: What each result is made by, and the texts in its settings that name entries of tables.
MADE_BY = {
    "sde fit": (["scimf.dynamics.fit._train"], ["additive", "energy"]),
    "counts fit": (["scimf.counts.fit_autoencoder._train"], []),
    "flow fit": (["scimf.counts.fit_flow._train"], []),
    "scores": (
        [
            "scimf.data.load.load",
            "evidence.setups.setups",
            "evidence.choices.choose",
            "evidence.scores.score_methods",
        ],
        ["typed"],
    ),
    "verdict": (["evidence.verdicts.verdict_on"], ["typed"]),
}
SCRIPTS = {
    "chapter on fits": """
        from scimf import fit, fit_space, hold_out, load, start_notebook
        run = start_notebook("fits", globals())
        adata = load("typed")
        split = hold_out(adata, times=[2.0])
        model = fit(adata, split, fit_space(adata, split))
        run.finish()
    """,
    "chapter on influence": """
        from scimf import influence, load, load_model, plots, start_notebook
        run = start_notebook("influence", globals())
        plots.arrows(None, influence(load_model("model.pt"), load("typed")), None)
        run.finish()
    """,
    "chapter on counts": """
        from scimf import fit_counts, fit_flow, load, start_notebook
        from beside.generation_metrics import generation_table
        run = start_notebook("counts", globals())
        flow = fit_flow(fit_counts(load("counts_pbmc")))
        generation_table({"flow": flow.sample(10)})
        run.finish()
    """,
    "report of a test": """
        from evidence.verdicts import verdict_on
        from scimf import start_notebook
        run = start_notebook("test", globals())
        verdict_on(system="typed")
        run.finish()
    """,
}
RECORDS = set(SCRIPTS)
FITS = {"sde fit", "counts fit", "flow fit"}  # they are given arrays, from wherever
ALL = set(MADE_BY) | RECORDS
#: What trains the dynamics.
DYNAMICS = {"sde fit", "scores", "chapter on fits"}
#: What asks whether cells interact.
TEST = {"verdict", "report of a test"}
#: What trains models of counts, or loads a model of any kind.
COUNTS = {"chapter on counts", "chapter on influence"}


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A copy of the sources, with the scripts."""
    root = tmp_path_factory.mktemp("original")
    for place in ("scimf", "notebooks/beside", "notebooks/reports/evidence"):
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(paths.ROOT / place, root / place, ignore=ignore)
    for name, code in SCRIPTS.items():
        (root / f"{name}.py").write_text(textwrap.dedent(code), encoding="utf-8")
    return root


@pytest.fixture
def copied(original, tmp_path):
    """Another copy, to be edited."""
    return shutil.copytree(original, tmp_path / "edited")


def identities(root):
    """Hash of the code of every result."""
    found = {}
    for result, (functions, texts) in MADE_BY.items():
        reached = Reached(root)
        reached.add_texts(texts)
        for function in functions:
            module, _, name = function.rpartition(".")
            assert reached.add(module, name) is not None, function
        found[result] = reached.digest()
    for name in SCRIPTS:
        found[name] = identity_of_script(root / f"{name}.py", root=root)
    return found


@pytest.fixture(scope="module")
def before(original):
    return identities(original)


def due(before, root):
    """Which results an edit has made due."""
    return {name for name, value in identities(root).items() if value != before[name]}


def change(path, name):
    """Add a statement to a function, method (``Class.method``) or class."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    place = tree
    for part in name.split("."):
        (place,) = [node for node in place.body if getattr(node, "name", None) == part]
    place.body.append(ast.parse("another = 1").body[0])
    path.write_text(ast.unparse(tree), encoding="utf-8")


@pytest.mark.parametrize(
    ("file", "name", "expected"),
    [
        ("core/optimise.py", "optimise", ALL - {"chapter on influence"} - TEST),
        ("core/files.py", "write_file", set()),
        ("simulate/typed.py", "typed", ALL - FITS - {"chapter on counts"}),
        ("../notebooks/beside/growing.py", "growing", set()),
        ("data/readers.py", "_read_labelled_counts", {"chapter on counts"}),
        ("data/split.py", "hold_out", (DYNAMICS | TEST) - {"sde fit"}),
        ("dynamics/losses.py", "_energy_loss", DYNAMICS),
        ("dynamics/interactions.py", "AdditiveInteraction", DYNAMICS | {"chapter on influence"}),
        ("dynamics/fitted.py", "FittedSDE.save", set()),
        ("counts/flow.py", "DiffusionTransformer", {"flow fit"} | COUNTS),
        ("counts/blocks.py", "AttentionBlock", {"counts fit"} | COUNTS),
        ("counts/forecast.py", "forecast_counts", set()),
        ("evaluation/distances.py", "wasserstein", {"scores", "chapter on counts"}),
        ("../notebooks/beside/generation_metrics.py", "_frechet_distance", {"chapter on counts"}),
        ("interaction/influence.py", "influence", {"chapter on influence"}),
        ("interaction/interaction_test.py", "do_cells_interact", TEST),
        ("interaction/regression.py", "regression", TEST),
        ("plots/cells.py", "arrows", {"chapter on influence"}),
        ("notebook.py", "start_notebook", RECORDS),
    ],
)
def test_an_edit_makes_due_what_it_decides(before, copied, file, name, expected):
    change(copied / "scimf" / file, name)
    assert due(before, copied) == expected


def edit_docstrings(text):
    """Begin every docstring with another word."""
    lines = text.split("\n")
    for node in ast.walk(ast.parse(text)):
        is_definition = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        if is_definition and ast.get_docstring(node) is not None:
            at = node.body[0].lineno - 1
            lines[at] = lines[at].replace('"""', '"""Edited. ', 1)
    return "\n".join(lines)


def test_comments_and_docstrings_make_nothing_due(before, copied):
    for path in (copied / "scimf").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        edited = edit_docstrings(text) + "\n# a comment\n"
        assert edited.count("Edited. ") >= 1
        path.write_text(edited, encoding="utf-8")
    assert due(before, copied) == set()
