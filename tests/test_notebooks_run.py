"""Every notebook runs under ``smoke``, in order, in a build of its own: yours is not touched.

Later notebooks read what earlier ones wrote, so this file stays on one worker (``--dist
loadfile``).
"""

import os
import subprocess
import sys

import pytest

from scimf.core import paths
from workflow.settings import notebook_names

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    root = tmp_path_factory.mktemp("smoke")
    return {
        "SCIMF_BUILD": str(root / "build"),
        "SCIMF_FIGURES": str(root / "figures"),
        "SCIMF_RESULTS": str(root / "results"),
    }


@pytest.mark.parametrize("name", notebook_names())
def test_notebook_runs(name, places):
    command = [sys.executable, "-m", "workflow.notebooks", "run", name, "--profile", "smoke"]
    environment = os.environ | places
    got = subprocess.run(command, cwd=paths.ROOT, env=environment, capture_output=True, text=True)
    assert got.returncode == 0, got.stderr
