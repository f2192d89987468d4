"""Every notebook runs under ``smoke``, in order, in a build of its own: yours is not touched.

Later notebooks read what earlier ones wrote, so this file stays on one worker (``--dist
loadfile``).
"""

import pytest

from scimf.core import paths
from workflow.notebooks import main
from workflow.settings import notebook_names

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def _elsewhere(tmp_path_factory):
    root = tmp_path_factory.mktemp("smoke")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("BUILD", "FIGURES", "RESULTS"):
            patch.setattr(paths, name, root / name.lower())
        yield


@pytest.mark.usefixtures("_elsewhere")
@pytest.mark.parametrize("name", notebook_names())
def test_notebook_runs(name, capfd):
    # In this process: the runner's own imports take as long as a small notebook.
    assert main(["run", name, "--profile", "smoke"]) == 0, capfd.readouterr().err
