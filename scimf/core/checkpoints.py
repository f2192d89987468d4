"""Checkpoints on disk: written aside and renamed, read without unpickling, sums checked."""

import platform
import zipfile
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from scimf.core.files import written_aside

CHANGES_NO_RESULT = True  #: how a file is written does not decide what a fit gives
PACKAGES = ("torch", "torchsde", "POT", "numpy", "scvi-tools")


def write_checkpoint(path: Path, content: dict) -> None:
    """Write plain values and tensors, and the versions of what made them.

    Arrays of numbers are written as tensors, arrays of texts as lists: nothing needs unpickling. An
    ``OSError`` if it cannot be written, as when the disk is full; what was there stays as it was.
    """
    try:
        with written_aside(path) as aside:
            torch.save(_plain(content) | {"versions": _versions()}, aside)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
        what = f"the checkpoint of step {content['step']}" if "step" in content else "the model"
        raise OSError(f"{path}: {what} cannot be written ({error})") from error


def read_checkpoint(path: Path, identity: str | None = None) -> dict:
    """Read what :func:`write_checkpoint` wrote.

    A ``ValueError`` names a file that is damaged, be it by one bit, or of another fit.
    """
    try:
        with zipfile.ZipFile(path) as archive:  # torch itself compares no check sums
            if (part := archive.testzip()) is not None:
                raise ValueError(f"check sum of {part}")
            # One bit makes a part a folder, of which torch reads nothing and says nothing.
            marked = [part.filename for part in archive.infolist() if part.external_attr]
            if marked:
                raise ValueError(f"attributes of {marked[0]}")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = f"damaged or not a checkpoint ({error}); delete it and run again"
        raise ValueError(f"{path}: {reason}") from error
    if identity is not None and content.get("identity") != identity:
        found = content.get("identity")
        raise ValueError(f"{path}: belongs to another fit (identity {found}, expected {identity})")
    return content


def _plain(value: Any) -> Any:
    """Turn what NumPy made into what torch reads without running code."""
    if isinstance(value, dict):
        return {_plain(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)([_plain(part) for part in value])
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        if value.dtype.kind in "US":
            return value.tolist()
        return torch.from_numpy(value.copy(order="K"))
    return value


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
