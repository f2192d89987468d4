"""Learn how a population of cells moves between snapshots, and who moves whom.

Companion to scIMF (interacting mean-field neural SDE) and scLDM. Names below load their module on first use, so that
``import scimf`` is quick and a machine with torch, torchsde and POT alone can train.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

__version__ = "0.1.0"

_WHERE = {
    "load": "datasets",
    "hold_out": "preprocess",
    "named_split": "preprocess",
    "fit_space": "preprocess",
    "SDEConfig": "sde",
    "published": "sde",
    "widened_twin": "sde",
    "fit": "train",
    "fit_many": "train",
    "evaluate": "evaluate",
    "interval": "evaluate",
    "velocity": "interpret",
    "influence": "interpret",
    "edges": "interpret",
    "do_cells_interact": "verdict",
    "what_if": "counterfactual",
    "fit_counts": "autoencode",
    "fit_flow": "generate",
    "fit_latent_space": "forecast",
    "forecast_counts": "forecast",
    "start_notebook": "notebook",
}
__all__ = sorted([*_WHERE, "__version__"])


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(f"scimf.{_WHERE[name]}"), name)
    raise AttributeError(f"module 'scimf' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__


class _Package(ModuleType):
    """Keeps ``scimf.evaluate`` the function: importing the module of that name would put the module in its place."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _WHERE and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
