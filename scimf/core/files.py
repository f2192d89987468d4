"""Write a file so that one that exists is complete, and tell files apart by their content."""

import hashlib
import os
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

CHANGES_NO_RESULT = True  #: see ``scimf.core.identity``


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Give a path beside ``path`` to write to; what was written is renamed when all went well.

    Whatever goes wrong on the way, a file that was at ``path`` stays as it was, and nothing is left
    beside it. The folder is made if it is missing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield aside
        os.replace(aside, path)
    finally:
        with suppress(OSError):  # what matters was raised above
            aside.unlink(missing_ok=True)


def write_file(path: Path, content: str | bytes) -> None:
    """Write a text or bytes aside, then rename."""
    with written_aside(path) as aside:
        aside.write_bytes(content.encode() if isinstance(content, str) else content)


def sha256_of(path: str | Path) -> str:
    """SHA-256 of a file, as hexadecimal."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file."""
    return tomllib.loads(path.read_text("utf-8"))
