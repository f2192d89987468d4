"""A repository in miniature: notebooks of a few cells without torch, whose import takes seconds."""

import hashlib
import io
import json
import os
import shutil
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest

from scimf.core import paths
from workflow.notebooks import main

REPOSITORY = paths.ROOT
TORCH = '''\
"""As much of torch as starting a notebook on a CPU needs."""


class device:
    def __init__(self, name):
        self.type = name


class cuda:
    @staticmethod
    def is_available():
        return False


class Generator:
    pass


class Tensor:
    pass


def manual_seed(seed):
    pass
'''

HEADER = """\
# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 1 · Tiny

# %% tags=["parameters"]
profile: str = "smoke"  # which table
seed: int = 0  # of everything
device: str = "cpu"  # where
n: int = 1  # how many
source: str = ""  # a file

# %%
import sys
from pathlib import Path
from IPython.display import Image
from matplotlib.figure import Figure
from scimf.notebook import start_notebook

run = start_notebook("{name}", globals())
run
"""
BODY = """
# %%
fig = Figure(figsize=(1, 1))
run.save_figure(fig, "fig{name}")
run.record(n=n)
run.expect("n is positive", n > 0)
"""
CLOSING = """
# %% [markdown]
# ## Exercise 1.1 · Find it

# %% tags=["exercise"]
# your turn

# %% tags=["solution"]
secret = 42

# %% [markdown]
# ## What you have now

# %%
run.finish()
"""
#: A report that reads a number from the package beside it.
REPORT_BODY = """
# %%
from evidence.tiny_tables import answer

run.record(n=answer())
"""
TINY_TABLES = '''\
"""What the report rests on."""


def answer():
    return 42
'''
PROFILES = {"smoke": False, "teach": True, "paper": True}


def new_repository(root):
    """Make a repository without notebooks."""
    (root / "notebooks" / "reports").mkdir(parents=True)
    for package in ("scimf", "workflow"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / package, root / package, ignore=ignored)
    for file in ("Makefile", "constraints.txt"):
        shutil.copy(REPOSITORY / file, root)
    (root / "torch.py").write_text(TORCH)
    return root


def add(root, name, body=BODY):
    """Add a notebook, a chapter or a report, or write it anew."""
    folder = root / "notebooks" if name[0].isdigit() else root / "notebooks" / "reports"
    text = (HEADER + body + CLOSING).replace("{name}", name)
    (folder / f"{name}.py").write_text(text)
    tables = root / "notebooks" / "profiles.toml"
    written = tables.read_text() if tables.exists() else ""
    for profile, enforce in PROFILES.items():
        if f"[{profile}]" not in written:
            written += f"[{profile}]\nenforce = {str(enforce).lower()}\nwall_seconds = 60\n"
        if f"[{profile}.{name}]" not in written:
            written += f"[{profile}.{name}]\nn = 2\n"
    tables.write_text(written)


def add_report(root, name="losses"):
    """Add a report, and the package beside it that it imports."""
    evidence = root / "notebooks" / "reports" / "evidence"
    evidence.mkdir(exist_ok=True)
    (evidence / "__init__.py").touch()
    (evidence / "tiny_tables.py").write_text(TINY_TABLES)
    add(root, name, REPORT_BODY)


def results(root, name="01_tiny", profile="teach"):
    """Where the record of a run lies."""
    return root / "results" / profile / f"{name}.json"


def record_of(root, name="01_tiny", profile="teach"):
    """Return the record of a run."""
    return json.loads(results(root, name, profile).read_text())


def kept(root):
    """SHA-256 of every file that runs left, by its path, without those of failed runs."""
    found = {}
    for folder in ("build", "figures", "results"):
        for path in sorted((root / folder).rglob("*")):
            if path.is_file() and ".failed." not in path.name:
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                found[path.relative_to(root).as_posix()] = digest
    return found


def clean_environment(root: Path) -> dict[str, str]:
    """Environment of a process that sees the miniature repository only."""
    ours = ("SCIMF_", "MAKE", "MFLAGS", "PYTEST")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
    return kept | {"PYTHONPATH": str(root), "PYTHON": sys.executable}


@dataclass
class Done:
    """What a command came to."""

    returncode: int
    stdout: str
    stderr: str


def execute(root, *arguments):
    """Run a command here (imports are slow) as if the miniature repository were the current one."""
    out = io.StringIO()
    err = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        for name in list(os.environ):
            if name.startswith("SCIMF_"):
                patch.delenv(name)
        patch.setattr(paths, "ROOT", root)
        for name in ("BUILD", "FIGURES", "RESULTS"):
            patch.setattr(paths, name, root / name.lower())
        code = main(arguments)
    return Done(code, out.getvalue(), err.getvalue())
