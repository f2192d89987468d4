"""Repositories in miniature."""

import shutil

import pytest
from miniature import add, execute, new_repository


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """Repository with one complete teach run; not to be changed."""
    root = new_repository(tmp_path_factory.mktemp("mini") / "repo")
    add(root, "01_tiny")
    got = execute(root, "run", "01_tiny", "--profile", "teach")
    assert got.returncode == 0, got.stderr
    return root


@pytest.fixture
def ran(finished, tmp_path):
    """Copy of a repository with one complete teach run."""
    return shutil.copytree(finished, tmp_path / "repo")


@pytest.fixture
def repo(tmp_path):
    """Repository without notebooks."""
    return new_repository(tmp_path / "repo")
