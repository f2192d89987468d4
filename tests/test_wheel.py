"""The package works where it is installed without its repository: train, save, load, sample."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv

import pytest

from scimf.core import paths

pytest.importorskip("setuptools", minversion="70.1", reason="builds wheels by itself from 70.1 on")
pytestmark = pytest.mark.slow
ROAD = """\
from importlib.metadata import version
from pathlib import Path

import scimf

print(Path(scimf.__file__).resolve())
assert scimf.__version__ == version("scimf")
adata = scimf.load("typed", seed=0, n_populations=3, n_cells=20)
split = scimf.hold_out(adata, times=[2.0])
space = scimf.fit_space(adata, split, n_pcs=4)
config = scimf.SDEConfig(hidden=(8,), hidden_interaction=8, steps=2, batch_cells=8, dt=0.5)
model = scimf.fit(adata, split, space, config=config, seed=0, device="cpu", progress=False)
model.save(Path("model.pt"))
again = scimf.load_model(Path("model.pt"))
cells = again.sample(times=[2.0], n=10)
assert (cells.obsm["X_scimf"] == model.sample(times=[2.0], n=10).obsm["X_scimf"]).all()
assert len(scimf.evaluate(cells, adata, split))
from scimf import plots
from scimf.data import registry

assert len(registry.entries()) > 5
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Build from a copy, so that nothing is left in the checkout."""
    source = tmp_path_factory.mktemp("source")
    shutil.copy(paths.ROOT / "pyproject.toml", source)
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(paths.ROOT / "scimf", source / "scimf", ignore=ignored)
    build = "from setuptools.build_meta import build_wheel; build_wheel('dist')"
    (source / "dist").mkdir()
    run([sys.executable, "-c", build], source)
    (built,) = (source / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory):
    """Return a new interpreter that has the wheel, and the other packages of this environment."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, with_pip=False)
    new = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(new), "install", "--quiet"]
    run([*pip, "--no-deps", "--no-index", str(wheel)], folder)
    # A folder that is named in a .pth is searched last, and a .pth file in it, such as that of an
    # editable scimf, is not read.
    ours = sysconfig.get_path("purelib")
    site = run([str(new), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], folder)
    with open(os.path.join(site.strip(), "others.pth"), "w") as file:
        file.write(ours + "\n")
    return new


def run(command, folder):
    """Run a command in a folder, without what points to the checkout; return what it prints."""
    clean = {}
    for key, value in os.environ.items():
        if not key.startswith(("SCIMF_", "PYTHON", "PYTEST")):
            clean[key] = value
    got = subprocess.run(command, cwd=folder, env=clean, capture_output=True, text=True)
    assert got.returncode == 0, got.stdout + got.stderr
    return got.stdout


def test_a_wheel_holds_every_file_of_the_package(wheel, tmp_path):
    shutil.unpack_archive(wheel, tmp_path, "zip")
    held = {path.relative_to(tmp_path) for path in (tmp_path / "scimf").rglob("*.*")}
    wanted = set()
    for path in (paths.ROOT / "scimf").rglob("*.*"):
        if path.is_file() and "__pycache__" not in path.parts:
            wanted.add(path.relative_to(paths.ROOT))
    assert held == wanted


def test_the_road_can_be_walked_where_the_wheel_is_installed(python, tmp_path):
    printed = run([str(python), "-c", ROAD], tmp_path)
    place = printed.splitlines()[0]
    assert place.startswith(str(python.parents[1])), "not the installed package"
    assert (tmp_path / "model.pt").is_file()
