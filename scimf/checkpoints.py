"""Checkpoints on disk: written aside and renamed, read without unpickling code, their check sums compared.

How a file is written does not decide what a fit gives, so this room is in no fit's identity.
"""

import os
import platform
import zipfile
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

PACKAGES = ("torch", "torchsde", "POT", "numpy", "scvi-tools")


def write_checkpoint(path: Path, content: dict) -> None:
    """Write plain values and tensors, ``content["step"]`` among them, and the versions of what made them.

    Raises
    ------
    OSError
        If it cannot be written, for example because the disk is full; what was there stays as it was.
    """
    aside = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(content | {"versions": _versions()}, aside)
        os.replace(aside, path)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
        raise OSError(f"{path}: the checkpoint of step {content['step']} cannot be written ({error})") from error
    finally:
        with suppress(OSError):  # what matters was raised above
            aside.unlink(missing_ok=True)


def read_checkpoint(path: Path, identity: str | None = None) -> dict:
    """Read what :func:`write_checkpoint` wrote.

    Raises
    ------
    ValueError
        If the file is damaged, be it by one bit, or is of another fit than ``identity``; names it.
    """
    try:
        with zipfile.ZipFile(path) as archive:  # torch itself compares no check sums
            if (part := archive.testzip()) is not None:
                raise ValueError(f"check sum of {part}")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(f"{path}: damaged or not a checkpoint ({error}); delete it and run again") from error
    if identity is not None and content.get("identity") != identity:
        raise ValueError(f"{path}: belongs to another fit (identity {content.get('identity')}, expected {identity})")
    return content


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
