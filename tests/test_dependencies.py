"""Dependencies are named once, the environments agree, and a bare machine can train."""

import re
import subprocess
import sys
import tomllib

import pytest
from source_files import (
    BESIDE,
    CHAPTERS,
    EVIDENCE,
    REPORTS,
    SCIMF,
    WORKFLOW,
    files_below,
    packages_of,
    short,
)

from scimf.core import paths

ROOT = paths.ROOT
TESTS = ROOT / "tests"
IMPORTED_AS = {
    "pot": "ot",
    "scikit-learn": "sklearn",
    "pytest-xdist": "xdist",
    "scvi-tools": "scvi",
}
#: Which extras the files of a folder may import, beside what every user has.
EXTRAS = {
    SCIMF: (),
    WORKFLOW: ("notebooks",),
    CHAPTERS: ("notebooks",),  # jupyter has IPython
    REPORTS: ("notebooks",),
    BESIDE: (),
    EVIDENCE: ("scvi",),
    TESTS: ("notebooks", "dev", "interop", "scvi", "writers"),
}
#: Our own packages, and what tests share.
LOCAL = {"scimf", "beside", "evidence", "workflow"}
LOCAL |= {path.stem for path in files_below(TESTS)}


def plain(requirement):
    """Bare normalised name of a requirement."""
    return re.match(r"[\w.-]+", requirement)[0].lower().replace("_", "-").replace(".", "-")


def numbers(version):
    return [int(number) for number in re.findall(r"\d+", version)]


def modules(requirements):
    """Names under which requirements are imported."""
    names = {plain(requirement) for requirement in requirements}
    return {IMPORTED_AS.get(name, name.replace("-", "_")) for name in names}


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def constraints():
    return (ROOT / "constraints.txt").read_text(encoding="utf-8").split()


@pytest.fixture(scope="module")
def wanted(project):
    """Requirements of the environment that make builds."""
    extras = project["optional-dependencies"]
    return project["dependencies"] + extras["notebooks"] + extras["dev"]


def test_every_dependency_is_pinned(wanted, constraints):
    pinned = {plain(line) for line in constraints}
    assert not {plain(requirement) for requirement in wanted} - pinned, "run make lock"


def test_constraints_are_exact_and_fit_any_machine(constraints):
    assert not [line for line in constraints if not re.fullmatch(r"[\w.-]+==[\w.!]+", line)]


def test_pinned_versions_satisfy_the_bounds(wanted, constraints):
    versions = {plain(line): line.split("==")[1] for line in constraints}
    for requirement in wanted:
        name, bound = requirement.split(">=")
        pinned = versions[plain(name)]
        assert numbers(pinned) >= numbers(bound), f"{requirement}, pinned {pinned}"


def test_environment_yml_defers_to_the_other_two(project):
    text = (ROOT / "environment.yml").read_text(encoding="utf-8")
    items = re.findall(r"^ *- ([^#\n]*[^#\s])", text, re.MULTILINE)
    assert "python=3.11" in items
    assert project["requires-python"] == ">=3.11"
    assert "-c constraints.txt" in items
    assert "-e .[notebooks,dev]" in items
    named = {item for item in items if not item.startswith("-")}
    named -= {"conda-forge", "python=3.11", "pip", "pip:"}
    requirements = project["dependencies"] + project["optional-dependencies"]["notebooks"]
    declared = {plain(requirement) for requirement in requirements}
    assert named <= declared, "not declared in pyproject.toml, or with a version"


def test_the_version_is_named_alike(project):
    import scimf

    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert project["version"] == scimf.__version__
    assert f"\nversion: {scimf.__version__}\n" in citation


@pytest.mark.parametrize("folder", EXTRAS, ids=short)
def test_nothing_undeclared_is_imported(project, folder):
    allowed = modules(project["dependencies"]) | set(sys.stdlib_module_names) | LOCAL
    for extra in EXTRAS[folder]:
        allowed |= modules(project["optional-dependencies"][extra])
    files = folder.glob("*.py") if folder in (CHAPTERS, REPORTS) else files_below(folder)
    # A driver runs in the environment of its peer: tests/workflow/test_peers.py.
    files = [path for path in files if not path.match("peers/fit_*.py")]
    unknown = {short(path): packages_of(path) - allowed for path in files}
    assert not {path: names for path, names in unknown.items() if names}


#: What a machine may lack that only trains.
SINGLE_CELL = ("scanpy", "anndata", "geomloss", "jupytext", "matplotlib", "pooch", "sklearn")


@pytest.mark.parametrize(
    "module", ["scimf.core.optimise", "scimf.dynamics.fit", "scimf.dynamics.losses"]
)
def test_training_needs_no_single_cell_package(module):
    hidden = f"import sys; sys.modules |= dict.fromkeys({SINGLE_CELL})"
    command = [sys.executable, "-c", f"{hidden}; import {module}"]
    got = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert got.returncode == 0, got.stderr
