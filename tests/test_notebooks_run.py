"""Every notebook runs under ``smoke``, in order, in a build of its own: a user's runs are not touched.

Later notebooks read what earlier ones wrote, so this file must stay on one worker (``--dist loadfile``).
"""

import os
import subprocess
import sys

import pytest

from scimf import paths
from scimf.notebook import notebook_names


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    root = tmp_path_factory.mktemp("smoke")
    return {f"SCIMF_{place.upper()}": str(root / place) for place in ("build", "figures", "results")}


@pytest.mark.parametrize("name", notebook_names())
def test_notebook_runs(name, places):
    command = [sys.executable, "-m", "scimf.execute", "run", name, "--profile", "smoke"]
    got = subprocess.run(command, cwd=paths.ROOT, env=os.environ | places, capture_output=True, text=True)
    assert got.returncode == 0, got.stderr
