import pytest

from scimf.core import paths


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    """An empty folder in the place of the cache."""
    monkeypatch.setattr(paths, "DATA", tmp_path)
    return tmp_path
