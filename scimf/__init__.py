"""Learn how a population of cells moves between snapshots, and who moves whom.

Companion to scIMF (interacting mean-field neural SDE) and scLDM. Names below load their module on
first use, so that ``import scimf`` is quick and a machine with torch, torchsde and POT alone can
train.
"""

from importlib import import_module
from typing import Any

__version__ = "0.2.0"

_EXPORTS = {
    "load": "scimf.data.load",
    "hold_out": "scimf.data.split",
    "fit_space": "scimf.data.space",
    "SDEConfig": "scimf.dynamics.config",
    "matched_config": "scimf.dynamics.model",
    "fit": "scimf.dynamics.fit",
    "fit_many": "scimf.dynamics.fit",
    "evaluate": "scimf.evaluation.held_out",
    "interval": "scimf.evaluation.summary",
    "velocity": "scimf.dynamics.fitted",
    "influence": "scimf.interaction.influence",
    "do_cells_interact": "scimf.interaction.interaction_test",
    "who_moves_whom": "scimf.interaction.who_moves_whom",
    "who_multiplies_whom": "scimf.interaction.who_grows_whom",
    "plan_experiment": "scimf.interaction.plan",
    "fit_counts": "scimf.counts.fit_autoencoder",
    "fit_flow": "scimf.counts.fit_flow",
    "fit_latent_space": "scimf.counts.forecast",
    "forecast_counts": "scimf.counts.forecast",
    "start_notebook": "scimf.notebook",
    "load_model": "scimf.counts.saved_models",
}
__all__ = sorted([*_EXPORTS, "__version__"])


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module 'scimf' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
