"""Whether real data can be read without the network: tests of it are skipped elsewhere."""

from scimf.core import paths
from scimf.data import registry


def available(name, **options):
    """Whether all files of ``load(name, **options)`` are in the cache."""
    return all((paths.DATA / row["file"]).is_file() for row in registry._rows_of(name, **options))
