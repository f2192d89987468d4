"""Read what ``model.save(path)`` wrote: an SDE, a count autoencoder or a latent flow."""

from pathlib import Path
from typing import Any

import torch

from scimf.core.checkpoints import read_checkpoint
from scimf.core.parallel import resolve_device, seeded
from scimf.counts.fit_autoencoder import FittedCounts
from scimf.counts.fit_flow import FittedFlow
from scimf.counts.forecast import LatentSpace
from scimf.dynamics.fitted import FittedSDE


def load_model(path: Path | str, *, device: str = "auto") -> FittedSDE | FittedCounts | FittedFlow:
    """Read what ``model.save(path)`` wrote; it gives what the model gave that was saved.

    Nothing in the file is executed: it holds weights and plain values only. ``device`` is "auto" (a
    GPU when there is one), "cpu" or "cuda".

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file, or it is damaged or no saved model; names it.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        content = read_checkpoint(path)
    except ValueError as error:
        raise ValueError(f"{path}: damaged, or not a model that scimf saved") from error
    kind = str(content.get("kind")) if isinstance(content, dict) else ""
    if kind not in READERS:
        raise ValueError(f"{path}: not a saved model (expected one of the kinds {list(READERS)})")
    try:
        with seeded(0):  # weights are drawn before they are read; the caller's state stays
            model = READERS[kind](content)
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: saved by another version of scimf, or incomplete") from error
    _move(model, resolve_device(device))
    return model


def _read_sde(content: dict[str, Any]) -> FittedSDE:
    space = content["space"]
    if space is not None and "counts" in space:
        space = LatentSpace.from_dict(space)
    elif space is not None:
        from scimf.data.space import Space  # a machine that only trains has no anndata

        space = Space.from_dict(space)
    return FittedSDE.from_dict(content, space)


#: Kind of a model -> what makes it of the content of its file, on the CPU.
READERS = {"sde": _read_sde, "counts": FittedCounts.from_dict, "flow": FittedFlow.from_dict}


def _move(model: FittedSDE | FittedCounts | FittedFlow, device: torch.device) -> None:
    """Move all networks that a model holds to a device."""
    if isinstance(model, FittedSDE):
        model.sde.to(device)
        autoencoder = getattr(model.space, "counts", None)
    else:
        model.model.to(device)
        autoencoder = getattr(model, "counts", None)
    if autoencoder is not None:
        autoencoder.model.to(device)
