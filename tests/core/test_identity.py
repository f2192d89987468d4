"""What counts for an identity, and what does not: on a project of four small files."""

import textwrap
from dataclasses import dataclass

import numpy as np
import pytest

from scimf.core.identity import identity
from scimf.core.reached import Reached
from scimf.dynamics.interactions import mlp
from workflow.source import identity_of_script

FILES = {
    "scimf/__init__.py": """
        _EXPORTS = {"fit": "scimf.model", "load": "scimf.files"}
    """,
    "scimf/model.py": '''
        """A model."""

        from scimf.files import Table, load
        from scimf import maths

        RATE = 0.1  # of learning


        def fit(data: "Data", steps: int = 3):
            """Fit it."""
            data.check()
            return helper(data, steps) * RATE + maths.double(steps)


        def helper(data, steps):
            return [steps for _ in range(steps)]


        def unused():
            return 1


        class Data:
            """Data."""

            def check(self):
                return Table

            def never_called(self):
                return unused()
    ''',
    "scimf/maths.py": """
        import torch


        def double(x):
            return 2 * x


        class Net(torch.nn.Module):
            def forward(self, x):
                return double(x)
    """,
    "scimf/files.py": """
        from scimf.core.identity import by_name
        from pathlib import Path


        def read_a(path):
            return 1


        def read_b(path):
            return 2


        READERS = by_name({"a": read_a, "b": read_b})
        SETS = Path(__file__).with_name("sets.toml")


        def load(name):
            return READERS[name], SETS


        class Table:
            pass
    """,
    "scimf/sets.toml": "[a]\nrows = 1\n[b]\nrows = 2\n",
    "scimf/places.py": """
        CHANGES_NO_RESULT = True


        def folder():
            return "here"
    """,
}


@pytest.fixture
def project(tmp_path):
    for name, content in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(content))
    return tmp_path


def digest(root, *names, texts=()):
    reached = Reached(root)
    reached.add_texts(texts)
    for name in names or ("fit",):
        assert reached.add("scimf.model", name) is not None
    return reached.digest()


def edit(root, file, old, new):
    path = root / "scimf" / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("model.py", "RATE = 0.1", "RATE = 0.2"),
        ("model.py", "[steps for", "[1 + steps for"),
        ("model.py", "steps: int = 3", "steps: int = 4"),
        ("model.py", "return Table", "return [Table]"),
        ("maths.py", "2 * x", "3 * x"),
        ("files.py", "class Table:\n    pass", "class Table:\n    rows = 3"),
    ],
)
def test_what_is_reached_counts(project, file, old, new):
    before = digest(project)
    edit(project, file, old, new)
    assert digest(project) != before


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("model.py", "# of learning", "# another remark"),
        ("model.py", '"""Fit it."""', '"""Fit it well."""'),
        ("model.py", '"""A model."""', '"""The model."""'),
        ("model.py", "steps: int = 3", "steps: float = 3"),
        ("model.py", "return 1", "return 2"),
        ("model.py", "return unused()", "return 5"),
        ("maths.py", "return double(x)", "return x"),
        ("files.py", "return 1", "return 7"),
        ("sets.toml", "rows = 1", "rows = 9"),
        ("places.py", "here", "there"),
    ],
)
def test_what_is_not_reached_does_not_count(project, file, old, new):
    before = digest(project)
    edit(project, file, old, new)
    assert digest(project) == before


def test_a_definition_may_move_and_be_renamed(project):
    before = digest(project)
    edit(project, "model.py", "def helper(data, steps):", "def counted(data, steps):")
    edit(project, "model.py", "helper(data, steps)", "counted(data, steps)")
    assert digest(project) == before
    moved = "def counted(data, steps):\n    return [steps for _ in range(steps)]\n"
    edit(project, "model.py", moved, "")
    (project / "scimf" / "other.py").write_text(moved)
    edit(project, "model.py", "RATE = 0.1", "from scimf.other import counted\nRATE = 0.1")
    assert digest(project) == before


def test_all_methods_of_a_class_with_a_foreign_base_count(project):
    edit(project, "model.py", "return [steps", "maths.Net()\n    return [steps")
    before = digest(project)
    edit(project, "maths.py", "return double(x)", "return x")
    assert digest(project) != before


def test_tables_are_reached_by_the_keys_that_are_named(project):
    edit(project, "model.py", "return [steps", 'load("a")\n    return [steps')
    for file, of_a, of_b in (("files.py", "return 1", "return 2"), ("sets.toml", "= 1", "= 2")):
        before = digest(project)
        edit(project, file, of_b, of_b + "3")
        assert digest(project) == before
        edit(project, file, of_a, of_a + "3")
        assert digest(project) != before


def test_a_table_none_of_whose_keys_is_named_counts_as_a_whole(project):
    edit(project, "model.py", "return [steps", "load(steps)\n    return [steps")
    before = digest(project)
    named = digest(project, texts={"a"})
    edit(project, "files.py", "return 2", "return 23")
    assert digest(project) != before and digest(project, texts={"a"}) == named


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [("wide.txt", "10", "11"), ("wide.toml", "cm = 10", "cm = 11")],
)
def test_a_file_beside_the_code_that_names_it_counts(project, name, before, after):
    edit(project, "model.py", "RATE = 0.1", f"RATE = {name!r}")
    unread = digest(project)
    path = project / "scimf" / name
    path.write_text(before)
    read = digest(project)
    path.write_text(after)
    assert len({unread, read, digest(project)}) == 3


def test_both_halves_of_a_property_count(project):
    halves = """@property
    def check(self):
        return 3

    @check.setter
    def check(self, rows):
        return Table"""
    edit(project, "model.py", "def check(self):\n        return Table", halves)
    before = digest(project)
    edit(project, "model.py", "return 3", "return 4")
    assert digest(project) != before


def test_a_script_reaches_through_the_package_and_its_words_do_not_count(project):
    script = project / "script.py"
    script.write_text('# %% [markdown]\n# # Words\n# %%\nimport scimf\nx = scimf.load("b")\n')
    before = identity_of_script(script, root=project)
    script.write_text(
        '# %% [markdown]\n# # Other words\n# %%\nimport scimf\n\nx = scimf.load("b")\n'
    )
    assert identity_of_script(script, root=project) == before
    edit(project, "model.py", "RATE = 0.1", "RATE = 0.3")
    edit(project, "files.py", "return 1", "return 13")
    assert identity_of_script(script, root=project) == before
    assert identity_of_script(script, root=project, settings={"seed": 1}) != before
    edit(project, "files.py", "return 2", "return 23")
    assert identity_of_script(script, root=project) != before


@dataclass
class Settings:
    rate: float = 0.1
    sizes: tuple = (1, 2)


def test_settings_are_explicit_values_and_arrays_count():
    name = identity(mlp, settings=Settings())
    assert name == identity(mlp, settings={"rate": 0.1, "sizes": [1, 2]}) and len(name) == 24
    assert name != identity(mlp, settings=Settings(sizes=(1, 3)))
    arrays = [np.arange(4.0)]
    assert name != identity(mlp, settings=Settings(), arrays=arrays)
    reshaped = identity(mlp, settings=Settings(), arrays=[np.arange(4.0)[None]])
    assert reshaped != identity(mlp, settings=Settings(), arrays=arrays)
    with pytest.raises(TypeError, match="expected plain values"):
        identity(mlp, settings={"data": arrays[0]})
